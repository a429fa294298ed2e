/*
 * The engine of one node: jobs, gathers, steps, buckets, liveness. Events in, actions out:
 *
 *     engine_step(engine, &event, &actions);   perform the actions in order, before the next event
 *     engine_deadline_ns(engine)               feed EVENT_TICK no later than this
 *
 * It knows no clock, socket, protobuf or tensor. It sees only *committed* control entries, so that
 * one node, three nodes and a simulation differ outside it. Everything it needs for a job is
 * allocated when the job is admitted; a step allocates nothing. It is deterministic: the same
 * events give the same actions.
 *
 * Roles. Node 0 of the member list conducts: joins and gathers go to it, it proposes entries and
 * says what is agreed. A node takes part in a job if it has ranks of it.
 *
 * A job's life, on a node with ranks of it:
 *
 *   WORKER_HELLO     -> JOIN to the conductor; when all ranks joined it proposes JOB_FORMED. It
 *                       refuses what does not fit: FAILURE and CLOSE to that worker alone.
 *   COMMITTED formed -> WELCOME to the local workers
 *   WORKER_REGISTER  from all local ranks -> ACTION_ADMIT -> ADMITTED -> GATHER_REGISTER for each;
 *                       agreed -> REGISTERED to the workers
 *   WORKER_BEGIN     -> GATHER_BATCH; agreed -> ACTION_PLAN -> PLANNED -> GATHER_PLAN; agreed ->
 *                       STEP_START to the workers. So nobody can send to a node that does not
 *                       expect it yet; but a node may receive a little before its own STEP_START.
 *   WORKER_READY     KV: SEND to each node that has a move of this rank; RAISE nothing (local
 *                       readers watch the rank's own word)
 *                    RETURN, GRADIENT, PARAMETER: see returns.h, bucket.h and parameter.h
 *   RECEIVED kv      -> RAISE kv_ready
 *   WORKER_COMMIT    held until this node has every result of the step, then GATHER_COMMIT;
 *                       agreed -> COMMITTED to the workers, STEP_END
 *   WORKER_LEAVE     -> GATHER_LEAVE; agreed -> the conductor proposes JOB_ENDED with code 0
 *   anything wrong   -> FAIL to the conductor, which proposes JOB_ENDED; committed -> FAILURE and
 *                       CLOSE to all local workers, the state word is raised, ACTION_END. If the
 *                       conductor is the one that is lost, each node ends the job by itself.
 *
 * An exchange or a bucket that nobody uses in a step is no part of it (evaluation); what some ranks
 * use, all must.
 *
 * Failures that the engine names: a worker lost or left in mid-job; a peer lost; a gather whose
 * members did not all come before its deadline (it names who is missing and what each did last);
 * digests that differ (it names the minority, or all if there is none); duplicates; stale or future
 * sequence numbers; attested tokens that differ from the plan; missing contributions at commit;
 * non-finite sums under the policy "fail"; a step that exceeds its deadline.
 */
#ifndef SEQSYNC_CORE_ENGINE_H
#define SEQSYNC_CORE_ENGINE_H

#include "daemon/core/message.h"

#define ENGINE_JOBS_MAX 16
#define ENGINE_LOSSES_MAX 64 /* history kept for seqctl */

struct engine;

struct engine_config {
    uint32_t node; /* this one's index in the member list */
    uint32_t node_count;
    const char *const *node_names; /* [node_count], borrowed for the engine's life */
    uint64_t join_timeout_ns;      /* from the first join of a job to its forming */
    uint64_t step_timeout_ns;      /* of a gather, and from STEP_START to the agreed commit */
    uint64_t peer_silence_ns;      /* a peer not heard for so long is lost */
    uint64_t ping_interval_ns;
};

/* A transfer or sum that io knows the memory of. */
enum transfer_kind {
    TRANSFER_KV = 1,     /* id = exchange, part = holder rank */
    TRANSFER_RETURN = 2, /* id = exchange, part = holder rank */
    TRANSFER_PARTIAL =
        3, /* id = bucket, part = owner node: a node's partial of that owner's slice */
    TRANSFER_RESULT = 4,    /* id = bucket, part = owner node */
    TRANSFER_PARAMETER = 5, /* id = bucket, part = root rank */
};

enum sum_kind {
    SUM_RETURN = 1, /* id = exchange, part = holder rank: this node's plan_sums of that holder */
    SUM_LOCAL = 2,  /* id = bucket: local contributions -> partial; if the job has one node, ->
                       result, divided */
    SUM_OWNED = 3,  /* id = bucket: all nodes' partials of this node's slice -> result, divided */
    SUM_PARAMETER = 4, /* id = bucket, part = root rank (local): its buffer -> result */
};

/* What the engine must know of a plan; made by io from struct plan, borrowed from PLANNED until
 * ACTION_STEP_END. */
struct step_send {
    uint32_t holder; /* local rank */
    uint32_t node;   /* that needs rows of it */
};
struct step_receive {
    uint32_t holder; /* remote rank whose rows come to this node */
};
struct step_return {
    uint32_t holder;
    uint32_t rank_count; /* local ranks whose return buffers are read */
    uint32_t node_count; /* holder is local: nodes that send a partial. Else 0: this node sends its
                            partial to holder's */
    const uint32_t *ranks;
    const uint32_t *nodes;
};
struct step_shape {
    struct {
        const struct step_send *sends; /* sorted by holder */
        const struct step_receive *receives;
        const struct step_return
            *returns; /* every local holder (even without terms), and remote holders with terms */
        uint32_t send_count;
        uint32_t receive_count;
        uint32_t return_count;
    } spaces[SEQSYNC_SPACES_N];
    const int64_t *local_tokens; /* [local ranks, ascending rank]: rows in the token space, to check
                                    attestations */
    const int64_t *local_area;   /* likewise: planned area of self-attention */
    int64_t total_tokens;
    uint64_t plan_digest;
};

enum ready_kind { READY_KV = 1, READY_RETURN = 2, READY_GRADIENT = 3, READY_PARAMETER = 4 };

enum event_kind {
    EVENT_TICK = 1,
    EVENT_WORKER_HELLO,
    EVENT_WORKER_REGISTER,
    EVENT_WORKER_BEGIN,
    EVENT_WORKER_READY,
    EVENT_WORKER_REDUCE,
    EVENT_WORKER_COMMIT,
    EVENT_WORKER_LEAVE,
    EVENT_WORKER_LOST, /* EOF, exit, or a violation of the wire contract */
    EVENT_PEER_UP,     /* a Hello arrived that fits the config */
    EVENT_PEER_HEARD,  /* any valid message */
    EVENT_PEER_LOST,   /* connection ended, new incarnation, or a violation */
    EVENT_MESSAGE,
    EVENT_COMMITTED,  /* an entry of the control log */
    EVENT_ADMITTED,   /* answer to ACTION_ADMIT */
    EVENT_PLANNED,    /* answer to ACTION_PLAN */
    EVENT_RECEIVED,   /* a whole transfer is in its place */
    EVENT_SUMMED,     /* answer to ACTION_SUM */
    EVENT_JOB_BROKEN, /* io cannot serve the job any more, e.g. a damaged transfer */
};

struct event {
    enum event_kind kind;
    uint64_t now_ns;
    union {
        struct {
            uint32_t worker; /* io's handle of the connection, unique among living ones */
            const char *job; /* validated name */
            uint32_t rank;
            uint32_t world_size;
            uint32_t nonfinite;
            int32_t pid;
        } hello;
        struct {
            uint32_t worker;
            uint64_t digest; /* of the schema */
            uint32_t exchange_count;
            uint32_t bucket_count;
            const uint8_t *exchange_spaces;       /* [exchange_count] */
            const uint8_t *exchange_forward_only; /* [exchange_count] */
            const uint8_t *bucket_roles;          /* [bucket_count] enum seqsync_role */
        } reg;
        struct {
            uint32_t worker;
            uint64_t step;
            uint64_t digest; /* of the batch; io keeps the bytes */
        } begin;
        struct {
            uint32_t worker;
            enum ready_kind kind;
            uint32_t id;
            uint64_t sequence;
            int64_t count;
            uint32_t root;
        } ready;
        struct {
            uint32_t worker;
            uint64_t sequence;
            uint32_t dtype;
            uint32_t op;
            uint32_t bytes;
            const void *values;
        } reduce;
        struct {
            uint32_t worker;
            uint64_t step;
            int64_t area;              /* -1 = not counted */
            uint64_t parameter_digest; /* 0 = not given */
            struct rank_report report;
        } commit;
        struct {
            uint32_t worker;
            int32_t code;     /* LOST: enum seqsync_status to fail the job with */
            const char *text; /* LOST: how, e.g. "killed by signal 9" */
        } worker;             /* LEAVE, LOST */
        struct {
            uint32_t node;
            const char *text; /* LOST: how */
        } peer;               /* UP, HEARD, LOST */
        struct {
            uint32_t node;
            const struct message *message;
        } message;
        const struct entry *entry; /* COMMITTED */
        struct {
            uint64_t job;
            const char *error; /* NULL = done */
            int32_t code;
        } admitted;
        struct {
            uint64_t job;
            uint64_t step;
            const struct step_shape *shape; /* NULL on error */
            const char *error;
            int32_t code;
        } planned;
        struct {
            uint64_t job;
            uint64_t step; /* or parameter round */
            enum transfer_kind kind;
            uint32_t id;
            uint32_t part;
            uint32_t node; /* sender */
            int64_t count;
            bool nonfinite;
        } received;
        struct {
            uint64_t job;
            uint64_t step;
            enum sum_kind kind;
            uint32_t id;
            uint32_t part;
            bool nonfinite;
            int32_t rank; /* local rank whose contribution was non-finite first, -1 = none or a
                             peer's */
        } summed;
        struct {
            uint64_t job;
            struct job_end end;
        } broken;
    };
};

enum reply_kind {
    REPLY_WELCOME = 1,
    REPLY_REGISTERED,
    REPLY_STEP_START,
    REPLY_REDUCED,
    REPLY_COMMITTED,
    REPLY_FAILURE
};

enum word_kind {
    WORD_STATE = 1,       /* value = code */
    WORD_KV_READY,        /* id = exchange, index = holder rank */
    WORD_RETURN_READY,    /* id = exchange, index = holder rank, one of this node */
    WORD_RETURN_FREE,     /* id = exchange */
    WORD_BUCKET_READY,    /* id = bucket, count, skip */
    WORD_PARAMETER_READY, /* id = bucket */
};

enum action_kind {
    ACTION_REPLY = 1,
    ACTION_CLOSE,   /* the worker's connection, after what was sent to it */
    ACTION_MESSAGE, /* to a peer; never to oneself */
    ACTION_PING,
    ACTION_PROPOSE,
    ACTION_ADMIT,    /* make page, gradient arenas and results of the job -> ADMITTED */
    ACTION_PLAN,     /* plan the step and make arenas and inbox; arm all its transfers -> PLANNED */
    ACTION_STEP_END, /* the step is committed: its shape and transfers may go */
    ACTION_SEND,     /* -> nothing; the peer's RECEIVED */
    ACTION_SUM,      /* -> SUMMED */
    ACTION_RAISE,
    ACTION_END,   /* the job is over here: cancel sums and transfers, free its memory when they are
                     done */
    ACTION_TRACE, /* one line for the log */
};

struct action {
    enum action_kind kind;
    union {
        struct {
            uint32_t worker;
            enum reply_kind kind;
            uint64_t job;   /* WELCOME, REGISTERED, STEP_START: whose */
            uint64_t step;  /* STEP_START, COMMITTED */
            bool skip;      /* COMMITTED */
            uint32_t bytes; /* REDUCED */
            const void *values;
            const struct job_end *end; /* FAILURE */
        } reply;
        struct {
            uint32_t worker;
        } close;
        struct {
            uint32_t node;
            const struct message *message;
        } message;
        struct {
            uint32_t node;
        } ping;
        const struct entry *entry; /* PROPOSE */
        struct {
            uint64_t job;
            uint64_t step;
        } job; /* ADMIT, PLAN, STEP_END, END */
        struct {
            uint64_t job;
            uint64_t step;
            enum transfer_kind kind;
            uint32_t id;
            uint32_t part;
            uint32_t node; /* to */
            int64_t count; /* PARTIAL, RESULT */
            bool nonfinite;
        } send;
        struct {
            uint64_t job;
            uint64_t step;
            enum sum_kind kind;
            uint32_t id;
            uint32_t part;
            int64_t count; /* divisor: SUM_LOCAL with one node, SUM_OWNED; 0 = the result is zero */
        } sum;
        struct {
            uint64_t job;
            enum word_kind word;
            uint32_t id;
            uint32_t index;
            uint64_t stamp; /* step or round */
            int64_t count;
            int32_t value;
            bool skip;
        } raise;
        struct {
            int level; /* syslog: 3 error .. 7 debug */
            char text[MESSAGE_TEXT_MAX];
        } trace;
    };
};

/* Actions of one step. Valid, with all they point to, until the next engine_step(). Owned by the
 * engine. */
struct actions {
    const struct action *items;
    uint32_t count;
};

/* -ENOMEM. The caller frees it. Thread: one at a time, as for every call below. */
int engine_new(const struct engine_config *config, uint64_t now_ns, struct engine **ret);
struct engine *engine_free(struct engine *engine);

/* Never fails: what cannot be done becomes an action that says so. */
void engine_step(struct engine *engine, const struct event *event, struct actions *ret);

/* UINT64_MAX if nothing is pending. */
uint64_t engine_deadline_ns(const struct engine *engine);

/* --- what seqctl may ask; pointers are valid until the next engine_step() --- */
enum job_state { JOB_FORMING = 1, JOB_RUNNING, JOB_FAILED, JOB_ENDED };

struct rank_view {
    uint32_t node;
    int32_t pid; /* 0 on another node */
    bool joined;
    struct rank_report report; /* of the last committed step */
    char phase[64];            /* local ranks: what it did last, e.g. "kv 3 of step 18" */
};

struct job_view {
    uint64_t id;
    uint64_t generation;
    const char *name;
    enum job_state state;
    uint32_t world_size;
    uint32_t rank_count; /* entries of ranks */
    const struct rank_view *ranks;
    uint64_t step;      /* last committed */
    uint64_t step_open; /* in progress, 0 = none */
    uint64_t step_ns;   /* duration of the last committed step */
    int64_t total_tokens;
    const double *losses; /* oldest first; mean of the ranks' reports */
    uint32_t loss_count;
    const struct job_end *end; /* FAILED, ENDED */
};

/* Jobs known here, running first, then the last ended ones (kept while there is room). Returns the
 * count, at most max. */
uint32_t engine_jobs(const struct engine *engine, struct job_view *ret_jobs, uint32_t max);

struct peer_view {
    bool up;
    uint64_t silent_ns; /* since it was last heard, at the last event's time */
    const char *reason; /* why it is down, "" */
};
void engine_peer(const struct engine *engine, uint32_t node, struct peer_view *ret);

#endif
