#include "daemon/plan/digest.h"

#include "daemon/base/hash.h"

/* Arrays are hashed as they lie in memory, which is only right for structs without padding. */
_Static_assert(sizeof(struct seqsync_sequence) == 48, "sequence has no padding");
_Static_assert(sizeof(struct seqsync_chunk) == 40, "chunk has no padding");
_Static_assert(sizeof(struct seqsync_tile) == 80, "tile has no padding");
_Static_assert(sizeof(struct seqsync_source) == 48, "source has no padding");
_Static_assert(sizeof(struct plan_range) == 24, "range has no padding");
_Static_assert(sizeof(struct plan_move) == 32, "move has no padding");
_Static_assert(sizeof(struct plan_sum) == 32, "sum has no padding");
_Static_assert(sizeof(struct plan_term) == 16, "term has no padding");

/* The length goes in front, so that elements cannot wander from one array to the next unseen. */
static void hash_array(struct hash *hash, const void *items, uint64_t count, size_t size)
{
    hash_u64(hash, count);
    hash_bytes(hash, items, (size_t)count * size);
}

static void hash_part(struct hash *hash, const struct plan_part *part)
{
    hash_array(hash, part->chunks, part->chunk_count, sizeof(*part->chunks));
    hash_array(hash, part->tiles, part->tile_count, sizeof(*part->tiles));
    hash_array(hash, part->sources, part->source_count, sizeof(*part->sources));
    hash_array(hash, part->needs, part->need_count, sizeof(*part->needs));
    hash_i64(hash, part->rows);
    hash_i64(hash, part->return_rows);
    hash_i64(hash, part->area);
}

static void hash_space(struct hash *hash, const struct plan_space *space, uint32_t rank_count,
                       uint32_t node_count)
{
    for (uint32_t r = 0; r < rank_count; r++) {
        hash_part(hash, &space->parts[r]);
    }
    hash_array(hash, space->moves, space->move_count, sizeof(*space->moves));
    hash_array(hash, space->ranges, space->range_count, sizeof(*space->ranges));
    hash_array(hash, space->sums, space->sum_count, sizeof(*space->sums));
    hash_array(hash, space->terms, space->term_count, sizeof(*space->terms));
    hash_array(hash, space->inbox_rows, node_count, sizeof(*space->inbox_rows));
    hash_i64(hash, space->total);
}

uint64_t plan_digest(const struct plan *plan)
{
    struct hash hash;

    hash_init(&hash);
    hash_u32(&hash, plan->rank_count);
    hash_u32(&hash, plan->node_count);
    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        hash_space(&hash, &plan->spaces[s], plan->rank_count, plan->node_count);
        hash_array(&hash, plan->offsets[s], (uint64_t)plan->sequence_count + 1,
                   sizeof(*plan->offsets[s]));
    }
    hash_array(&hash, plan->sequences, plan->sequence_count, sizeof(*plan->sequences));
    hash_array(&hash, plan->rank_nodes, plan->rank_count, sizeof(*plan->rank_nodes));
    hash_u32(&hash, plan->placement);
    hash_u32(&hash, plan->context_role);
    hash_u64(&hash, plan->seed);
    hash_u64(&hash, plan->batch_digest);
    return hash_end(&hash);
}
