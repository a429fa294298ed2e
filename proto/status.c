#include <seqsync/status.h>

/* Indexed by the negated code. */
static const struct {
    const char *name;
    const char *text;
} statuses[] = {
    {"OK", "no error"},
    {"INVALID", "an argument or the order of calls is wrong"},
    {"NO_MEMORY", "out of memory"},
    {"NO_CAPACITY", "a quota or limit of the daemon would be exceeded"},
    {"TIMEOUT", "a deadline passed"},
    {"UNREACHABLE", "no daemon answers at the socket"},
    {"PROTOCOL", "a message violated the wire contract"},
    {"VERSION", "protocol versions differ"},
    {"NOT_PERMITTED", "the daemon refuses this user or rank"},
    {"WORKER_LOST", "a worker of the job died or left in mid-step"},
    {"PEER_LOST", "a node of the job is gone or cut off"},
    {"DAEMON_LOST", "this node's daemon is gone"},
    {"SCHEMA_MISMATCH", "ranks registered different exchanges or buckets"},
    {"BATCH_MISMATCH", "ranks described different batches"},
    {"PLAN_MISMATCH", "nodes derived different plans from one batch"},
    {"PARAMETER_MISMATCH", "parameters differ between ranks"},
    {"COVERAGE", "a plan does not hold every token exactly once"},
    {"ATTESTATION", "a rank held or moved something else than planned"},
    {"DUPLICATE", "this rank contributed that already"},
    {"STALE", "it belongs to an older generation or step"},
    {"NONFINITE", "a NaN or infinity was found while summing"},
    {"LAYOUT", "shapes or strides do not fit what was registered"},
    {"CHECKSUM", "bytes were damaged between two nodes"},
    {"JOB_FAILED", "the job failed earlier"},
    {"SHUTDOWN", "the daemon is shutting down"},
    {"CONFIG", "environment or configuration is unusable"},
    {"INTERNAL", "a fault of seqsync itself"},
};
_Static_assert(sizeof(statuses) / sizeof(statuses[0]) == 1 - SEQSYNC_STATUS_LAST,
               "one row for each code");

__attribute__((visibility("default"))) const char *seqsync_strerror(int status)
{
    return status > 0 || status < SEQSYNC_STATUS_LAST ? "no code of seqsync"
                                                      : statuses[-status].text;
}

__attribute__((visibility("default"))) const char *seqsync_status_name(int status)
{
    return status > 0 || status < SEQSYNC_STATUS_LAST ? "UNKNOWN" : statuses[-status].name;
}
