#include "tests/unit/test_plan_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture *fixture_new(uint32_t ranks, uint32_t nodes)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    assert_non_null(fixture);
    fixture->batch = (struct seqsync_batch){.size = sizeof(fixture->batch),
                                            .sequences = fixture->sequences,
                                            .context_role = SEQSYNC_SHARDED,
                                            .seed = 7};
    fixture->input = (struct plan_input){.batch = &fixture->batch,
                                         .rank_nodes = fixture->rank_nodes,
                                         .rank_count = ranks,
                                         .node_count = nodes};
    for (uint32_t r = 0; r < ranks; r++) {
        fixture->rank_nodes[r] = r * nodes / ranks;
    }
    return fixture;
}

struct fixture *fixture_free(struct fixture *fixture)
{
    if (fixture) {
        plan_free(fixture->plan);
        free(fixture);
    }
    return NULL;
}

struct seqsync_sequence *fixture_add(struct fixture *fixture, int64_t tokens)
{
    struct seqsync_sequence *sequence = &fixture->sequences[fixture->batch.sequence_count++];

    *sequence = (struct seqsync_sequence){.tokens = tokens, .mask = SEQSYNC_MASK_FULL};
    return sequence;
}

void fixture_plan(struct fixture *fixture)
{
    fixture->plan = plan_free(fixture->plan);
    assert_null(plan_input_check(&fixture->input));
    assert_int_equal(plan_new(&fixture->input, 11, &fixture->plan), 0);
    const char *why = plan_validate(fixture->plan, &fixture->input);
    if (why) {
        fail_msg("the validator refuses the plan: %s", why);
    }
}

uint64_t fixture_random_u64(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int64_t random_below(uint64_t *state, int64_t end)
{
    return (int64_t)(fixture_random_u64(state) % (uint64_t)end);
}

struct fixture *fixture_random(uint64_t seed)
{
    uint64_t state = seed;
    const uint32_t ranks = 1 + (uint32_t)random_below(&state, 12);
    const uint32_t nodes = 1 + (uint32_t)random_below(&state, 5);
    struct fixture *fixture = fixture_new(ranks, nodes);
    const int64_t longest = random_below(&state, 3) == 0 ? 4 : 30;
    const uint32_t count = 1 + (uint32_t)random_below(&state, longest == 4 ? 20 : 4);

    if (random_below(&state, 2)) {
        for (uint32_t r = 0; r < ranks; r++) {
            fixture->rank_nodes[r] = (uint32_t)random_below(&state, nodes);
        }
    }
    fixture->batch.placement = (uint32_t)random_below(&state, 3);
    fixture->batch.context_role = random_below(&state, 2) ? SEQSYNC_SHARDED : SEQSYNC_REPLICATED;
    fixture->batch.seed = fixture_random_u64(&state);
    for (uint32_t i = 0; i < count; i++) {
        struct seqsync_sequence *sequence = fixture_add(fixture, 1 + random_below(&state, longest));
        sequence->mask = 1 + (uint32_t)random_below(&state, 3);
        sequence->context_tokens = random_below(&state, 3) ? 0 : random_below(&state, 12);
        sequence->sample_id = fixture_random_u64(&state);
        if (sequence->mask == SEQSYNC_MASK_WINDOW) {
            sequence->window_left = random_below(&state, 4) ? random_below(&state, 8) : INT64_MAX;
            sequence->window_right = random_below(&state, 2) ? random_below(&state, 8) : 0;
        }
    }
    return fixture;
}

int64_t *fixture_shard(const struct fixture *fixture, uint32_t space, uint32_t rank,
                       int64_t *ret_count)
{
    const struct plan_part *part = &fixture->plan->spaces[space].parts[rank];
    int64_t *shard = calloc((size_t)part->rows + 1, sizeof(*shard));

    assert_non_null(shard);
    for (uint32_t c = 0; c < part->chunk_count; c++) {
        for (int64_t i = 0; i < part->chunks[c].count; i++) {
            shard[part->chunks[c].row + i] = part->chunks[c].first + i;
        }
    }
    *ret_count = part->rows;
    return shard;
}

/* ---- the oracle ---- */

/* The world of one space, in integers. Two-dimensional arrays are [rank or node][row]. */
struct world {
    const struct fixture *fixture;
    const struct plan_space *space;
    uint32_t index;
    int64_t stride;    /* rows of each line of an array: no rank or node ever has more */
    int64_t queries;   /* of the token space */
    uint8_t *computed; /* [query][key]: how often */
    int64_t **q_shards;
    int64_t **shards;
    int64_t *inbox;   /* [node]: key there, -1 = nothing */
    int64_t *own;     /* [rank]: what a rank adds to rows that it holds */
    int64_t *returns; /* [rank]: its return buffer */
    bool *returned;   /* [rank] */
    int64_t *partial; /* [node]: laid out like the inbox */
    bool *summed_away;
    int64_t *sum; /* [rank]: holder rows */
    bool *summed;
};

static bool mask_shows(const struct world *world, int64_t q, int64_t k)
{
    const struct seqsync_batch *batch = &world->fixture->batch;
    int64_t q_first = 0, k_first = 0;

    for (uint32_t s = 0; s < batch->sequence_count; s++) {
        const struct seqsync_sequence *sequence = &batch->sequences[s];
        const int64_t k_count =
            world->index == SEQSYNC_SPACE_TOKENS ? sequence->tokens : sequence->context_tokens;
        if (q >= q_first && q < q_first + sequence->tokens) {
            if (k < k_first || k >= k_first + k_count) {
                return false;
            }
            if (world->index == SEQSYNC_SPACE_CONTEXT || sequence->mask == SEQSYNC_MASK_FULL) {
                return true;
            }
            if (sequence->mask == SEQSYNC_MASK_CAUSAL) {
                return k <= q;
            }
            return q - k <= sequence->window_left && k - q <= sequence->window_right;
        }
        q_first += sequence->tokens;
        k_first += k_count;
    }
    return false;
}

/* What a pair adds to its key's gradient. */
static int64_t weight(int64_t q, int64_t k)
{
    return 1 + (q * 31 + k * 17) % 1009;
}

static void *array(int64_t lines, int64_t stride, size_t size)
{
    void *items = calloc((size_t)(lines * stride) + 1, size);

    assert_non_null(items);
    return items;
}

static void world_init(struct world *world, const struct fixture *fixture, uint32_t index)
{
    const struct plan *plan = fixture->plan;
    const int64_t ranks = plan->rank_count, nodes = plan->node_count;
    int64_t count;

    *world = (struct world){.fixture = fixture,
                            .space = &plan->spaces[index],
                            .index = index,
                            .stride = plan->spaces[index].total,
                            .queries = plan->spaces[SEQSYNC_SPACE_TOKENS].total};
    world->computed = array(world->queries, world->stride, sizeof(uint8_t));
    world->q_shards = array(ranks, 1, sizeof(int64_t *));
    world->shards = array(ranks, 1, sizeof(int64_t *));
    world->inbox = array(nodes, world->stride, sizeof(int64_t));
    world->own = array(ranks, world->stride, sizeof(int64_t));
    world->returns = array(ranks, world->stride, sizeof(int64_t));
    world->returned = array(ranks, world->stride, sizeof(bool));
    world->partial = array(nodes, world->stride, sizeof(int64_t));
    world->summed_away = array(nodes, world->stride, sizeof(bool));
    world->sum = array(ranks, world->stride, sizeof(int64_t));
    world->summed = array(ranks, world->stride, sizeof(bool));
    for (uint32_t r = 0; r < ranks; r++) {
        world->q_shards[r] = fixture_shard(fixture, SEQSYNC_SPACE_TOKENS, r, &count);
        world->shards[r] = fixture_shard(fixture, index, r, &count);
    }
    for (int64_t i = 0; i < nodes * world->stride; i++) {
        world->inbox[i] = -1;
    }
}

static void world_deinit(struct world *world)
{
    for (uint32_t r = 0; r < world->fixture->plan->rank_count; r++) {
        free(world->q_shards[r]);
        free(world->shards[r]);
    }
    free(world->computed);
    free((void *)world->q_shards);
    free((void *)world->shards);
    free(world->inbox);
    free(world->own);
    free(world->returns);
    free(world->returned);
    free(world->partial);
    free(world->summed_away);
    free(world->sum);
    free(world->summed);
}

static const char *move_keys(struct world *world)
{
    const struct plan_space *space = world->space;

    for (uint32_t m = 0; m < space->move_count; m++) {
        const struct plan_move *move = &space->moves[m];
        for (uint32_t i = 0; i < move->range_count; i++) {
            const struct plan_range *range = &space->ranges[move->first_range + i];
            for (int64_t j = 0; j < range->count; j++) {
                int64_t *to = &world->inbox[move->node * world->stride + range->row + j];
                if (*to != -1) {
                    return "two keys share an inbox row";
                }
                *to = world->shards[move->holder][range->holder_row + j];
            }
        }
    }
    for (uint32_t n = 0; n < world->fixture->plan->node_count; n++) {
        for (int64_t row = 0; row < world->stride; row++) {
            if ((world->inbox[n * world->stride + row] != -1) != (row < space->inbox_rows[n])) {
                return "an inbox is not filled to its size";
            }
        }
    }
    return NULL;
}

/* Computes a tile: reads its keys from where its source's view is, and adds to their gradients. */
static const char *compute_tile(struct world *world, uint32_t rank, const struct seqsync_tile *tile)
{
    const struct plan_part *part = &world->space->parts[rank];
    const struct seqsync_source *source = &part->sources[tile->source];
    const int64_t *keys =
        source->local
            ? world->shards[source->rank]
            : &world->inbox[world->fixture->rank_nodes[rank] * world->stride + source->inbox_row];

    if (tile->k_row < 0 || tile->k_row + tile->k_count > source->view_rows) {
        return "a tile reads outside its view";
    }
    for (int64_t i = 0; i < tile->q_count; i++) {
        const int64_t q = world->q_shards[rank][tile->q_row + i];
        if (q != tile->q_first + i) {
            return "a tile's query is another one";
        }
        for (int64_t j = 0; j < tile->k_count; j++) {
            const int64_t k = keys[tile->k_row + j];
            if (k != tile->k_first + j) {
                return "a tile's key is another one";
            }
            const bool is_own = source->rank == rank;
            const int64_t at = rank * world->stride + (is_own ? tile->k_row : tile->return_row) + j;
            if (!is_own) {
                world->returned[at] = true;
            }
            if (k - q < tile->band_low || k - q > tile->band_high) {
                continue;
            }
            world->computed[q * world->stride + k]++;
            (is_own ? world->own : world->returns)[at] += weight(q, k);
        }
    }
    return NULL;
}

static const char *compute(struct world *world)
{
    for (uint32_t r = 0; r < world->fixture->plan->rank_count; r++) {
        const struct plan_part *part = &world->space->parts[r];
        for (uint32_t t = 0; t < part->tile_count; t++) {
            const char *why = compute_tile(world, r, &part->tiles[t]);
            if (why) {
                return why;
            }
        }
        for (int64_t row = 0; row < world->stride; row++) {
            if (world->returned[r * world->stride + row] != (row < part->return_rows)) {
                return "a return buffer is not filled to its size";
            }
        }
    }
    for (int64_t q = 0; q < world->queries; q++) {
        for (int64_t k = 0; k < world->stride; k++) {
            if (world->computed[q * world->stride + k] != mask_shows(world, q, k)) {
                return "a pair is not computed exactly as often as the mask shows it";
            }
        }
    }
    return NULL;
}

/* The sums of other nodes than the holder's, or, after those, of the holders' own. */
static const char *add_up(struct world *world, bool is_home)
{
    const struct plan_space *space = world->space;
    const uint32_t *nodes = world->fixture->rank_nodes;

    for (uint32_t s = 0; s < space->sum_count; s++) {
        const struct plan_sum *sum = &space->sums[s];
        if ((sum->node == nodes[sum->holder]) != is_home) {
            continue;
        }
        for (int64_t i = 0; i < sum->count; i++) {
            const int64_t at = (is_home ? sum->holder : sum->node) * world->stride + sum->row + i;
            bool *done = is_home ? &world->summed[at] : &world->summed_away[at];
            int64_t *to = is_home ? &world->sum[at] : &world->partial[at];
            if (*done) {
                return "a row is summed twice";
            }
            *done = true;
            for (uint32_t t = 0; t < sum->term_count; t++) {
                const struct plan_term *term = &space->terms[sum->first_term + t];
                const int64_t from = term->from * world->stride + term->row + i;
                *to += term->from_node ? world->partial[from] : world->returns[from];
            }
        }
    }
    return NULL;
}

static const char *compare_gradients(const struct world *world)
{
    const bool is_replicated = world->index == SEQSYNC_SPACE_CONTEXT &&
                               world->fixture->batch.context_role == SEQSYNC_REPLICATED;
    int64_t *total = array(1, world->stride, sizeof(int64_t));
    const char *why = NULL;

    for (uint32_t r = 0; r < world->fixture->plan->rank_count; r++) {
        for (int64_t row = 0; row < world->space->parts[r].rows; row++) {
            const int64_t at = r * world->stride + row;
            total[world->shards[r][row]] += world->sum[at] + world->own[at];
            if (world->summed[at] == is_replicated) {
                why = "a holder's row is not summed, or a replicated one is";
            }
        }
    }
    for (int64_t k = 0; k < world->stride; k++) {
        for (int64_t q = 0; q < world->queries; q++) {
            total[k] -= mask_shows(world, q, k) ? weight(q, k) : 0;
        }
        if (total[k] != 0) {
            why = "a key's gradient is not the sum over the queries that see it";
        }
    }
    free(total);
    return why;
}

/* Nothing is moved or returned but keys that some query of the receiver sees. */
static const char *check_lean(const struct world *world)
{
    const struct plan *plan = world->fixture->plan;
    const int64_t ranks = plan->rank_count, nodes = plan->node_count;
    int64_t *holder = array(1, world->stride, sizeof(int64_t));
    bool *seen_by_rank = array(ranks, world->stride, sizeof(bool));
    bool *seen_by_node = array(nodes, world->stride, sizeof(bool));
    const char *why = NULL;

    for (uint32_t r = 0; r < ranks; r++) {
        for (int64_t row = 0; row < world->space->parts[r].rows; row++) {
            holder[world->shards[r][row]] = r;
        }
        const int64_t q_rows = plan->spaces[SEQSYNC_SPACE_TOKENS].parts[r].rows;
        for (int64_t i = 0; i < q_rows * world->stride; i++) {
            const int64_t k = i % world->stride;
            if (mask_shows(world, world->q_shards[r][i / world->stride], k)) {
                seen_by_rank[r * world->stride + k] = true;
                seen_by_node[plan->rank_nodes[r] * world->stride + k] = true;
            }
        }
    }
    for (uint32_t r = 0; r < ranks; r++) {
        int64_t rows = 0;
        for (int64_t k = 0; k < world->stride; k++) {
            rows += seen_by_rank[r * world->stride + k] && holder[k] != r;
        }
        if (rows != world->space->parts[r].return_rows) {
            why = "a rank does not need exactly the keys that it sees";
        }
    }
    for (uint32_t n = 0; n < nodes; n++) {
        int64_t rows = 0;
        for (int64_t k = 0; k < world->stride; k++) {
            rows += seen_by_node[n * world->stride + k] && plan->rank_nodes[holder[k]] != n;
        }
        if (rows != world->space->inbox_rows[n]) {
            why = "a node does not receive exactly the keys that its ranks see";
        }
    }
    free(holder);
    free(seen_by_rank);
    free(seen_by_node);
    return why;
}

static const char *check_space(const struct fixture *fixture, uint32_t index)
{
    struct world world;
    const bool is_replicated =
        index == SEQSYNC_SPACE_CONTEXT && fixture->batch.context_role == SEQSYNC_REPLICATED;

    world_init(&world, fixture, index);
    const char *why = move_keys(&world);
    if (!why) {
        why = compute(&world);
    }
    if (!why) {
        why = add_up(&world, /* is_home= */ false);
    }
    if (!why) {
        why = add_up(&world, /* is_home= */ true);
    }
    if (!why) {
        why = compare_gradients(&world);
    }
    if (!why && !is_replicated) {
        why = check_lean(&world);
    }
    world_deinit(&world);
    return why;
}

const char *fixture_oracle(const struct fixture *fixture)
{
    const char *why = NULL;

    for (uint32_t s = 0; !why && s < SEQSYNC_SPACES_N; s++) {
        why = check_space(fixture, s);
    }
    return why;
}
