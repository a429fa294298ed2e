/*
 * What daemons say to each other, as plain data. io turns these into protobuf and back, and has
 * validated every field (ranges, counts, names) before the engine sees one. Pointers are borrowed
 * for the call that carries the message.
 */
#ifndef SEQSYNC_CORE_MESSAGE_H
#define SEQSYNC_CORE_MESSAGE_H

#include <seqsync/types.h>
#include <stdbool.h>

#define MESSAGE_TEXT_MAX 512 /* bytes of a text or hint, with its NUL */

/* Why a job ended. Copied by value: an end is rare. */
struct job_end {
    int32_t code; /* enum seqsync_status as a number; 0 = every rank left in good order */
    int32_t rank; /* culprit, -1 = nobody in particular */
    int32_t node; /* culprit's node, -1 = none */
    char text[MESSAGE_TEXT_MAX];
    char hint[MESSAGE_TEXT_MAX];
};

enum gather_kind {
    GATHER_REGISTER = 1, /* per rank: digest of the schema */
    GATHER_BATCH = 2,    /* per rank: digest of the batch */
    GATHER_PLAN = 3,     /* per node: digest of the plan; the node is ready to receive */
    GATHER_REDUCE = 4,   /* per rank: values; digest = type, operation, count */
    GATHER_COMMIT = 5,   /* per rank: its node is prepared; payload = one rank_report */
    GATHER_LEAVE = 6,    /* per rank: it leaves in good order */
    GATHER_KINDS_N = 7,
};

/* What a rank reports when it commits; the agreed COMMIT carries world_size of them, in rank order.
 */
struct rank_report {
    int64_t tokens;
    uint64_t compute_ns;
    uint64_t wait_ns;
    uint64_t kv_remote_bytes;
    double loss; /* NaN = none */
    /* Digest of the exchanges and buckets that are used in the step, as the rank's node has seen
     * it: never 0, and the same on all ranks. */
    uint64_t used;
};
_Static_assert(sizeof(struct rank_report) * SEQSYNC_RANKS_MAX < 60 * 1024,
               "an agreed commit fits a peer frame");

enum message_kind {
    MESSAGE_JOIN = 1,
    MESSAGE_GATHER = 2,
    MESSAGE_AGREED = 3,
    MESSAGE_FAIL = 4,
};

struct message_join {
    char job[SEQSYNC_NAME_MAX + 1];
    uint32_t rank;
    uint32_t world_size;
    uint32_t nonfinite;
    bool leave; /* the worker went away before the job was formed */
};

struct message_gather {
    enum gather_kind kind;
    uint64_t sequence;
    uint32_t member; /* rank, or node for GATHER_PLAN */
    uint64_t digest;
    uint32_t dtype;
    uint32_t op;
    bool skip;
    uint32_t payload_bytes;
    const void *payload;
};

struct message_agreed {
    enum gather_kind kind;
    uint64_t sequence;
    uint64_t digest;
    bool skip;
    uint32_t payload_bytes;
    const void *payload;
};

struct message {
    enum message_kind kind;
    /*
     * Once the job is formed, its own. Before that, generation is 0 and job is a ticket that the
     * node of the worker draws for each join: MESSAGE_JOIN carries it, and a MESSAGE_FAIL with it
     * says that the conductor refuses that join.
     */
    uint64_t job;
    uint64_t generation;
    union {
        struct message_join join;
        struct message_gather gather;
        struct message_agreed agreed;
        struct job_end fail;
    };
};

enum entry_kind {
    ENTRY_JOB_FORMED = 1,
    ENTRY_JOB_ENDED = 2,
};

/* An entry of the control log. */
struct entry {
    enum entry_kind kind;
    uint64_t index; /* set by the log */
    uint64_t job;
    uint64_t generation;
    union {
        struct {
            char name[SEQSYNC_NAME_MAX + 1];
            uint32_t nonfinite;
            uint32_t world_size;
            uint16_t rank_nodes[SEQSYNC_RANKS_MAX];
        } formed;
        struct job_end ended;
    };
};

#endif
