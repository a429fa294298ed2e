/*
 * Where expected transfers go. The receiving thread looks up and fills; the loop expects and
 * forgets. While a frame is copied its entry is pinned, and forgetting waits for that: afterwards
 * nobody writes to the memory.
 */
#ifndef SEQSYNC_IO_BULK_TABLE_H
#define SEQSYNC_IO_BULK_TABLE_H

#include "daemon/io/bulk.h"

#include <pthread.h>

#define BULK_TABLE_BUCKETS 4096

struct bulk_entry {
    struct bulk_entry *next;
    struct bulk_key key;
    uint64_t generation;
    uint64_t step;
    uint64_t total;
    uint64_t received; /* offset of the next byte */
    bool busy;         /* the receiving thread is copying */
    bool complete;
    uint32_t piece_count;
    struct bulk_piece pieces[BULK_PIECES_MAX];
};

struct bulk_table {
    pthread_mutex_t lock;
    pthread_cond_t idle; /* an entry is not busy any more */
    struct bulk_entry *buckets[BULK_TABLE_BUCKETS];
};

enum bulk_table_outcome {
    BULK_TABLE_UNEXPECTED = 1, /* nobody waits for it (any more): drop it */
    BULK_TABLE_BROKEN =
        2, /* it is expected, but lengths or offsets do not fit: *ret_text says how */
};

int bulk_table_init(struct bulk_table *table);
void bulk_table_deinit(struct bulk_table *table); /* frees what is left */

/* As bulk_expect(), bulk_forget(), bulk_forget_job(). */
int bulk_table_expect(struct bulk_table *table, const struct bulk_key *key, uint64_t generation,
                      uint64_t step, const struct bulk_piece *pieces, uint32_t piece_count);
void bulk_table_forget(struct bulk_table *table, const struct bulk_key *key);
void bulk_table_forget_job(struct bulk_table *table, uint64_t job);
void bulk_table_forget_steps(struct bulk_table *table, uint64_t job);

/*
 * What bulk_table_place() would answer, without a payload: a frame that nobody expects must not be
 * able to break a job, whatever is wrong with it.
 */
int bulk_table_probe(struct bulk_table *table, const struct bulk_header *header,
                     const char **ret_text);

/*
 * Puts one checked frame in its place. 0 and *ret_complete, or an outcome. Receiving thread.
 */
int bulk_table_place(struct bulk_table *table, const struct bulk_header *header,
                     const void *payload, bool *ret_complete, const char **ret_text);

#endif
