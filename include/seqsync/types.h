/*
 * Plain data that the planner, the engine, the wire contract and the public calls share: limits,
 * masks, batches, chunks and tiles. No functions and no pointers to anything that lives.
 *
 * Index spaces. Every token of a batch has one **global index**: the sequences are laid end to end
 * in the order given, token t of sequence i has index offset(i) + t. Context tokens (the keys of
 * cross-attention) have an index space of their own, formed the same way from context_tokens. A
 * rank's shard is an ordered list of chunks; **row** r of a shard is the r-th token of that list.
 * Positions, labels, segment ids and random-number counters derive from global indices only, so
 * they do not depend on how many ranks there are.
 */
#ifndef SEQSYNC_TYPES_H
#define SEQSYNC_TYPES_H

#include <stddef.h>
#include <stdint.h>

#define SEQSYNC_RANKS_MAX 1024       /* workers of a job */
#define SEQSYNC_NODES_MAX 64         /* daemons of a cluster */
#define SEQSYNC_LOCAL_RANKS_MAX 64   /* workers of a job on one node */
#define SEQSYNC_SEQUENCES_MAX 1024   /* sequences of a batch */
#define SEQSYNC_TOKENS_MAX (1 << 28) /* tokens of a batch */
#define SEQSYNC_EXCHANGES_MAX 256    /* K/V exchanges of a job, about one per attention layer */
#define SEQSYNC_BUCKETS_MAX 256      /* gradient buckets of a job */
#define SEQSYNC_NAME_MAX 63          /* bytes of a job or node name: [A-Za-z0-9._-], not empty */

enum seqsync_dtype {
    SEQSYNC_F32 = 1,
    SEQSYNC_F64 = 2,
    SEQSYNC_I64 = 3,
};

enum seqsync_op {
    SEQSYNC_SUM = 1,
    SEQSYNC_MIN = 2,
    SEQSYNC_MAX = 3,
};

/* Which keys a query may see. Sequences of a batch never see each other (block-diagonal). */
enum seqsync_mask {
    SEQSYNC_MASK_FULL = 1,   /* all keys of its sequence */
    SEQSYNC_MASK_CAUSAL = 2, /* keys at or before it */
    SEQSYNC_MASK_WINDOW = 3, /* keys k with  q - window_left <= k <= q + window_right */
};

/* What a tensor's values on several ranks are to each other, hence how often its gradient counts.
 */
enum seqsync_role {
    SEQSYNC_SHARDED = 1,    /* each rank holds another piece */
    SEQSYNC_REPLICATED = 2, /* every rank holds the same whole: it counts once */
    SEQSYNC_PARTIAL = 3,    /* the whole is the sum over the ranks */
};

/* How chunks are laid on ranks. */
enum seqsync_placement {
    SEQSYNC_PLACE_AUTO = 0, /* zigzag if any sequence is causal, else contiguous */
    SEQSYNC_PLACE_CONTIGUOUS =
        1, /* the batch is cut into P runs whose token counts differ by at most one */
    SEQSYNC_PLACE_ZIGZAG =
        2, /* each sequence is cut into 2P chunks; rank p takes chunks p and 2P-1-p of each */
};

enum seqsync_space {
    SEQSYNC_SPACE_TOKENS = 0,  /* self-attention: keys are the batch's tokens */
    SEQSYNC_SPACE_CONTEXT = 1, /* cross-attention: keys are the batch's context tokens */
    SEQSYNC_SPACES_N = 2,
};

/* One sequence of a batch: a document, a whole video, an utterance. */
struct seqsync_sequence {
    int64_t tokens;         /* >= 1 */
    int64_t context_tokens; /* tokens it attends to by cross-attention, 0 = none */
    int64_t window_left;    /* SEQSYNC_MASK_WINDOW: keys before the query, >= 0 */
    int64_t window_right;   /* SEQSYNC_MASK_WINDOW: keys after the query, >= 0 */
    uint64_t sample_id;     /* caller's id of the sample; part of the batch digest */
    uint32_t mask;          /* enum seqsync_mask */
    uint32_t reserved;      /* 0 */
};

/* The sequences of one step. Borrowed during a call. */
struct seqsync_batch {
    size_t size;                              /* sizeof(struct seqsync_batch), for later growth */
    const struct seqsync_sequence *sequences; /* in order of their global indices */
    uint32_t sequence_count;                  /* 1 .. SEQSYNC_SEQUENCES_MAX */
    uint32_t placement;                       /* enum seqsync_placement */
    uint32_t context_role; /* SEQSYNC_SHARDED or SEQSYNC_REPLICATED: how context tokens are held */
    uint32_t reserved;     /* 0 */
    uint64_t seed;         /* root of every random stream of the step */
    uint64_t content_digest; /* caller's digest of the data itself, 0 = not given; must agree over
                                ranks */
};

/* A range of consecutive tokens of one sequence, held by one rank. */
struct seqsync_chunk {
    int64_t first;     /* global index of the first token */
    int64_t count;     /* >= 1 */
    int64_t row;       /* row of the first token in the rank's shard */
    int64_t position;  /* index of the first token within its sequence */
    uint32_t sequence; /* index into the batch */
    uint32_t rank;
};

/*
 * A rectangle of the attention matrix, cut by a band on the diagonal: query q sees key k iff both
 * are inside the rectangle and band_low <= k - q <= band_high, q and k being global indices of
 * their spaces. Full: INT64_MIN..INT64_MAX.
 */
struct seqsync_tile {
    int64_t q_first;    /* global index of the first query */
    int64_t k_first;    /* global index of the first key */
    int64_t q_count;    /* >= 1 */
    int64_t k_count;    /* >= 1 */
    int64_t q_row;      /* row of the first query in this rank's shard */
    int64_t k_row;      /* row of the first key in the view of @source */
    int64_t return_row; /* row of the first key in the return buffer; -1 where the source is this
                           rank itself */
    int64_t band_low;   /* smallest k - q that is seen */
    int64_t band_high;  /* largest k - q that is seen */
    uint32_t source;    /* index into the part's sources of the tile's space */
    uint32_t reserved;  /* 0 */
};
#define SEQSYNC_BAND_NONE_LOW INT64_MIN
#define SEQSYNC_BAND_NONE_HIGH INT64_MAX

/* Where a rank finds the keys and values held by one rank (possibly itself). */
struct seqsync_source {
    uint32_t rank; /* who holds them */
    uint32_t node; /* that rank's node */
    uint32_t
        local; /* 1: same node, read in place from that rank's arena; 0: in this node's inbox */
    uint32_t reserved;   /* 0 */
    int64_t view_rows;   /* rows of the view: the holder's whole shard if local, else the node's
                            need-set of it */
    int64_t inbox_row;   /* remote: first row of the view in the inbox plane; local: -1 */
    int64_t return_rows; /* rows this rank returns dK/dV for, 0 for itself */
    int64_t return_row;  /* first of them in the return buffer, -1 for itself */
};

#endif
