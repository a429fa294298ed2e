#include "client/trainer/part.h"

bool rows_next(const struct part *part, struct rows *rows)
{
    const struct seqsync_chunk *chunk;
    int64_t done = 0;

    if (rows->count > 0) {
        done = rows->row + rows->count - part->chunks[rows->chunk].row;
        if (done == part->chunks[rows->chunk].count) {
            rows->chunk++;
            done = 0;
        }
    }
    if (rows->chunk == part->chunk_count) {
        rows->count = 0;
        return false;
    }
    chunk = &part->chunks[rows->chunk];
    rows->row = chunk->row + done;
    rows->count = chunk->count - done < ROWS_MAX ? chunk->count - done : ROWS_MAX;
    rows->position = chunk->position + done;
    rows->global = chunk->first + done;
    rows->sequence = chunk->sequence;
    return true;
}
