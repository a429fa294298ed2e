/* Between the files of the sim. */
#ifndef SEQSYNC_TESTS_SIM_PRIVATE_H
#define SEQSYNC_TESTS_SIM_PRIVATE_H

#include "daemon/cluster/control_log.h"
#include "tests/support/sim.h"

#define SIM_WORKERS_MAX 256
#define SIM_JOBS_MAX 64  /* of one node, ended ones included */
#define SIM_VALUES_MAX 4 /* of a collective */
#define SIM_SLOTS 2      /* of return buffers: exchange e uses slot e % 2 */

/* ---- numbers: everything that is summed is a function of who, what and when ---- */
int64_t sim_value(uint64_t kind, uint64_t step, uint64_t id, uint64_t who, uint64_t to);
/* Whether @rank reads rows of @holder. */
bool sim_needs(uint64_t step, uint32_t space, uint32_t rank, uint32_t holder);
int64_t sim_count(uint64_t step, uint32_t bucket, uint32_t rank);

enum sim_value_kind {
    SIM_KV = 1,
    SIM_RETURN,
    SIM_GRADIENT,
    SIM_COUNT,
    SIM_PARAMETER,
    SIM_COLLECTIVE,
    SIM_NEED,
};

/* ---- the memory of a job on one node, as io and workers share it ---- */
struct sim_slice {
    int64_t sum;
    int64_t divisor;
    bool nonfinite;
};

struct sim_job {
    uint64_t id;
    uint64_t generation;
    const struct sim_script *script;
    struct entry formed;
    bool ended;
    bool admitted;
    uint64_t armed; /* step that is planned, whose transfers may come */
    struct step_shape shape;
    uint32_t *lists; /* of the shape */
    void *returns[SEQSYNC_SPACES_N];
    void *sends[SEQSYNC_SPACES_N];
    void *receives[SEQSYNC_SPACES_N];
    int64_t tokens[SIM_RANKS_MAX];
    int64_t area[SIM_RANKS_MAX];

    /* workers write */
    int64_t kv[SIM_EXCHANGES_MAX][SIM_RANKS_MAX];
    uint64_t kv_published[SIM_EXCHANGES_MAX][SIM_RANKS_MAX];
    int64_t return_buffer[SIM_RANKS_MAX][SIM_SLOTS][SIM_RANKS_MAX];
    int64_t gradient[SIM_RANKS_MAX][SIM_BUCKETS_MAX];
    bool gradient_nan[SIM_RANKS_MAX][SIM_BUCKETS_MAX];

    /* io writes */
    int64_t inbox[SIM_EXCHANGES_MAX][SIM_RANKS_MAX];
    int64_t return_sum[SIM_RANKS_MAX][SIM_SLOTS];
    int64_t return_partial[SIM_EXCHANGES_MAX][SIM_RANKS_MAX]; /* own, for remote holders */
    int64_t return_received[SIM_EXCHANGES_MAX][SIM_RANKS_MAX][SIM_NODES_MAX];
    struct sim_slice partial[SIM_BUCKETS_MAX]; /* own; slice of owner o is sum + o */
    struct sim_slice received[SIM_BUCKETS_MAX][SIM_NODES_MAX];
    struct sim_slice result[SIM_BUCKETS_MAX][SIM_NODES_MAX];
    int64_t parameter[SIM_BUCKETS_MAX];

    /* words */
    int32_t state;
    uint64_t kv_ready[SIM_EXCHANGES_MAX][SIM_RANKS_MAX];
    uint64_t return_ready[SIM_EXCHANGES_MAX][SIM_RANKS_MAX];
    uint64_t return_free[SIM_EXCHANGES_MAX];
    uint64_t bucket_ready[SIM_BUCKETS_MAX];
    int64_t bucket_count[SIM_BUCKETS_MAX];
    bool bucket_skip[SIM_BUCKETS_MAX];
    uint64_t parameter_ready[SIM_BUCKETS_MAX];

    /* what the engine has asked for, to see that it does so once */
    uint64_t summed_return[SIM_EXCHANGES_MAX][SIM_RANKS_MAX];
    uint64_t summed_local[SIM_BUCKETS_MAX];
    uint64_t summed_owned[SIM_BUCKETS_MAX];
    uint64_t sent[5][SIM_EXCHANGES_MAX][SIM_RANKS_MAX][SIM_NODES_MAX];
    uint64_t committed; /* last step whose commit a worker here was told of */
};

/* ---- workers ---- */
enum sim_stage {
    STAGE_HELLO = 0,
    STAGE_WELCOME, /* waits for it, and so on */
    STAGE_REGISTERED,
    STAGE_PUBLISH, /* parameters */
    STAGE_PULL,
    STAGE_BEGIN,
    STAGE_START,
    STAGE_KV,
    STAGE_READ,
    STAGE_RETURN_BUFFER,
    STAGE_RETURN,
    STAGE_RETURN_WAIT,
    STAGE_GRADIENT,
    STAGE_GRADIENT_WAIT,
    STAGE_COMMIT,
    STAGE_COMMITTED,
    STAGE_COLLECTIVE,
    STAGE_REDUCED,
    STAGE_LEAVE,
    STAGE_OVER,
};

struct sim_worker {
    uint32_t handle;
    uint32_t rank;
    uint32_t node;
    const struct sim_script *script;
    struct sim_outcome outcome;
    enum sim_stage stage;
    uint32_t at;   /* exchange or bucket */
    uint64_t step; /* open or last */
    uint64_t awake_ns;
    uint64_t job;          /* io's, once welcomed */
    enum reply_kind reply; /* not yet taken, 0 = none */
    bool skip;
    int64_t values[SIM_VALUES_MAX];
    uint32_t value_count;
    bool connected;
    bool told; /* of a failure */
};

/* ---- the queue ---- */
enum sim_item_kind {
    ITEM_EVENT = 1, /* io's own: admitted, planned, summed */
    ITEM_MESSAGE,   /* over a control link */
    ITEM_ENTRY,
    ITEM_TRANSFER,
    ITEM_WORKER, /* goes on */
    ITEM_UP,
    ITEM_LOST,
    ITEM_PING,
    ITEM_PONG,
    ITEM_WORKER_LOST,
};

struct sim_item {
    uint64_t at_ns;
    uint64_t order;
    enum sim_item_kind kind;
    uint32_t node; /* to */
    uint32_t from;
    uint64_t life;       /* of the receiving node */
    uint64_t connection; /* over which it comes */
    uint32_t worker;     /* index */
    struct event event;
    struct message message;
    struct entry entry;
    void *payload;
    int64_t value;
    bool nonfinite;
    int64_t count;
    struct sim_slice slice;
};

struct sim_node {
    bool alive;
    uint64_t life;
    struct engine *engine;
    struct control_log log;
    struct sim *sim;
    uint32_t index;
    struct sim_job *jobs[SIM_JOBS_MAX];
    uint32_t job_count;
    bool bend_plan;
    bool fail_plan;
    struct entry *pending; /* committed inside a proposal */
    uint32_t pending_count;
};

struct sim {
    uint64_t seed;
    uint64_t random;
    uint64_t now_ns;
    uint64_t order;
    uint32_t node_count;
    uint32_t latency_us;
    uint32_t transfer_lag_us;
    struct sim_node nodes[SIM_NODES_MAX];
    bool cut[SIM_NODES_MAX][SIM_NODES_MAX];
    uint64_t connection[SIM_NODES_MAX][SIM_NODES_MAX];
    uint64_t fifo_ns[SIM_NODES_MAX][SIM_NODES_MAX];
    struct sim_worker *workers[SIM_WORKERS_MAX];
    uint32_t worker_count;
    struct sim_item **heap;
    uint32_t heap_count;
    uint32_t heap_capacity;
    char violation[512];
    char *trace;
    size_t trace_used;
    size_t trace_capacity;
};

uint32_t sim_random(struct sim *sim, uint32_t below);
void sim_violate(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_note(struct sim *sim, uint32_t node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Takes @item. */
void sim_push(struct sim *sim, struct sim_item *item, uint64_t delay_ns);
struct sim_item *sim_item_new(enum sim_item_kind kind, uint32_t node);

/* Feeds an event to a node's engine and performs the actions. */
void sim_step(struct sim_node *node, struct event *event);

/* sim_io.c */
struct sim_job *sim_job_find(struct sim_node *node, uint64_t id);
void sim_io_formed(struct sim_node *node, const struct entry *entry);
void sim_io_perform(struct sim_node *node, const struct action *action);
void sim_io_summed(struct sim_node *node, struct event *event);
void sim_io_arrived(struct sim_node *node, struct sim_item *item);
void sim_io_planned(struct sim_node *node, struct event *event);
void sim_io_free(struct sim_job *job);

/* sim_worker.c */
void sim_worker_run(struct sim *sim, struct sim_worker *worker);
void sim_worker_reply(struct sim_node *node, const struct action *action);
void sim_worker_poke(struct sim *sim, uint32_t node);
void sim_worker_end(struct sim *sim, struct sim_worker *worker, enum sim_state state);
void sim_worker_close(struct sim *sim, uint32_t handle);
struct sim_worker *sim_worker_find(struct sim *sim, uint32_t handle);

/* sim_check.c */
void sim_check_action(struct sim_node *node, const struct action *action);

#endif
