/*
 * What a call of libseqsync can answer: 0, or one negative code of this stable set. The code says
 * what kind of thing went wrong; seqsync_session_error() says, in words, what, where (host, rank,
 * peer), why, and what to do next. No call aborts or exits the caller's process.
 */
#ifndef SEQSYNC_STATUS_H
#define SEQSYNC_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

enum seqsync_status {
    SEQSYNC_OK = 0,
    SEQSYNC_ERR_INVALID = -1, /* an argument or the order of calls is wrong; nothing was changed */
    SEQSYNC_ERR_NO_MEMORY = -2,   /* this process or the daemon could not allocate */
    SEQSYNC_ERR_NO_CAPACITY = -3, /* a quota or limit of the daemon would be exceeded */
    SEQSYNC_ERR_TIMEOUT = -4,     /* a deadline passed; the text names who was waited for */
    SEQSYNC_ERR_UNREACHABLE = -5, /* no daemon answers at the socket */
    SEQSYNC_ERR_PROTOCOL = -6,    /* a message violated the wire contract */
    SEQSYNC_ERR_VERSION =
        -7, /* worker and daemon, or two daemons, speak different protocol versions */
    SEQSYNC_ERR_NOT_PERMITTED =
        -8, /* the daemon refuses this user, or this rank is not this node's */
    SEQSYNC_ERR_WORKER_LOST = -9,      /* another worker of the job died or left in mid-step */
    SEQSYNC_ERR_PEER_LOST = -10,       /* another node of the job is gone or cut off */
    SEQSYNC_ERR_DAEMON_LOST = -11,     /* this node's own daemon is gone */
    SEQSYNC_ERR_SCHEMA_MISMATCH = -12, /* ranks registered different exchanges or buckets */
    SEQSYNC_ERR_BATCH_MISMATCH = -13,  /* ranks described different batches; the text names them */
    SEQSYNC_ERR_PLAN_MISMATCH = -14,   /* nodes derived different plans from one batch */
    SEQSYNC_ERR_PARAMETER_MISMATCH = -15, /* parameters differ between ranks */
    SEQSYNC_ERR_COVERAGE = -16,           /* a plan does not hold every token exactly once */
    SEQSYNC_ERR_ATTESTATION = -17,        /* a rank held or moved something else than planned */
    SEQSYNC_ERR_DUPLICATE = -18,          /* this rank contributed that already */
    SEQSYNC_ERR_STALE = -19,              /* it belongs to an older generation or step */
    SEQSYNC_ERR_NONFINITE =
        -20, /* a NaN or infinity was found while summing, and the policy is to fail */
    SEQSYNC_ERR_LAYOUT = -21,     /* shapes or strides do not fit what was registered */
    SEQSYNC_ERR_CHECKSUM = -22,   /* bytes were damaged between two nodes */
    SEQSYNC_ERR_JOB_FAILED = -23, /* the job failed earlier; the text repeats the first cause */
    SEQSYNC_ERR_SHUTDOWN = -24,   /* the daemon is shutting down */
    SEQSYNC_ERR_CONFIG = -25,     /* environment or configuration is unusable */
    SEQSYNC_ERR_INTERNAL = -26,   /* a fault of seqsync itself; please report it with the text */
};
#define SEQSYNC_STATUS_LAST SEQSYNC_ERR_INTERNAL

/* The code's meaning in a few words, never NULL, static. Any thread. */
const char *seqsync_strerror(int status);

/* The code's name without the prefix, e.g. "WORKER_LOST": the CODE of error messages and JSON. Any
 * thread. */
const char *seqsync_status_name(int status);

#ifdef __cplusplus
}
#endif
#endif
