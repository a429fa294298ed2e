/*
 * Whole steps: two workers of one node, and a third rank that is far away and that the test plays.
 * Keys are numbers made of the global index, so that whoever reads a wrong row sees it; returns are
 * summed here in the plainest way, by the plan's needs.
 */
#include "test_lib_fixture.h"

#include <math.h>
#include <seqsync/collective.h>
#include <seqsync/gradient.h>
#include <seqsync/parameter.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define EXCHANGES 3u
#define ROW 6 /* heads_kv x head_dim */
#define ELEMENTS 5u
#define STEPS 3u
#define SEQUENCES 2u

static const struct seqsync_exchange_shape shapes[EXCHANGES] = {
    {.space = SEQSYNC_SPACE_TOKENS, .heads_kv = 2, .head_dim = 3},
    {.space = SEQSYNC_SPACE_TOKENS, .heads_kv = 1, .head_dim = 6},
    {.space = SEQSYNC_SPACE_TOKENS, .heads_kv = 3, .head_dim = 2},
};
static const struct seqsync_bucket_shape buckets[1] = {
    {.elements = ELEMENTS, .role = SEQSYNC_PARTIAL}};
static const int64_t tokens[SEQUENCES] = {12, 12};

/* All exact in f32. */
static float key(int64_t global, uint32_t exchange, uint64_t step, int plane, int64_t column)
{
    return (float)(global * 1000 + (int64_t)exchange * 100 + (int64_t)step * 20 + plane * 10 +
                   column);
}

static float returned(uint32_t rank, uint32_t exchange, uint64_t step, int plane)
{
    return (float)((rank + 1) * 64 + exchange * 8 + (uint32_t)step * 2 + (uint32_t)plane);
}

/* ---- the daemon's side ---- */

static int64_t global_of(const struct plan_part *part, int64_t row)
{
    uint32_t c = 0;

    while (row >= part->chunks[c].row + part->chunks[c].count) {
        c++;
    }
    return part->chunks[c].first + row - part->chunks[c].row;
}

/* The far rank's keys come into the inbox. */
static void deliver_far_keys(struct fake *fake, uint32_t exchange, uint64_t step)
{
    const struct plan_space *space = &fake->plan->spaces[SEQSYNC_SPACE_TOKENS];

    for (uint32_t m = 0; m < space->move_count; m++) {
        const struct plan_move *move = &space->moves[m];
        if (move->node != 0) {
            continue;
        }
        for (uint32_t i = 0; i < move->range_count; i++) {
            const struct plan_range *range = &space->ranges[move->first_range + i];
            for (int64_t r = 0; r < range->count; r++) {
                const int64_t global =
                    global_of(&space->parts[move->holder], range->holder_row + r);
                for (int64_t c = 0; c < ROW; c++) {
                    const size_t at = (size_t)((range->row + r) * ROW + c);
                    float *k = (float *)(void *)(fake->inbox.data + fake->inbox_layout.k[exchange]);
                    float *v = (float *)(void *)(fake->inbox.data + fake->inbox_layout.v[exchange]);
                    k[at] = key(global, exchange, step, 0, c);
                    v[at] = key(global, exchange, step, 1, c);
                }
            }
        }
        fake_raise(fake->page.data + fake->page_layout.kv_ready +
                       4 * ((size_t)exchange * fake->ranks + move->holder),
                   (uint32_t)step);
    }
}

/* Adds what @rank returns for each local holder to that holder's sum. */
static void add_returns_of(struct fake *fake, uint32_t rank, uint32_t exchange)
{
    const struct plan_part *part = &fake->plan->spaces[SEQSYNC_SPACE_TOKENS].parts[rank];
    const uint32_t slot = exchange % ARENA_RETURN_SLOTS;
    const struct arena_rank *layout = &fake->rank_layouts[rank];
    const uint8_t *arena = fake->workers[rank].arena.data;
    const float *dk = (const float *)(const void *)(arena + layout->return_k[slot]);
    const float *dv = (const float *)(const void *)(arena + layout->return_v[slot]);

    for (uint32_t n = 0; n < part->need_count; n++) {
        const struct plan_range *need = &part->needs[n];
        const struct seqsync_source *source = part->sources;
        while (need->row < source->return_row ||
               need->row >= source->return_row + source->return_rows) {
            source++;
        }
        if (source->rank >= fake->locals) {
            continue;
        }
        uint8_t *inbox = fake->inbox.data;
        float *sum_k = (float *)(void *)(inbox + fake->inbox_layout.sum_k[source->rank][slot]);
        float *sum_v = (float *)(void *)(inbox + fake->inbox_layout.sum_v[source->rank][slot]);
        for (int64_t i = 0; i < need->count * ROW; i++) {
            sum_k[need->holder_row * ROW + i] += dk[need->row * ROW + i];
            sum_v[need->holder_row * ROW + i] += dv[need->row * ROW + i];
        }
    }
}

static void sum_returns(struct fake *fake, uint32_t exchange, uint64_t step)
{
    const uint32_t slot = exchange % ARENA_RETURN_SLOTS;
    uint8_t *page = fake->page.data;

    for (uint32_t local = 0; local < fake->locals; local++) {
        const size_t bytes =
            (size_t)fake->plan->spaces[SEQSYNC_SPACE_TOKENS].parts[local].rows * ROW * 4;
        memset(fake->inbox.data + fake->inbox_layout.sum_k[local][slot], 0, bytes);
        memset(fake->inbox.data + fake->inbox_layout.sum_v[local][slot], 0, bytes);
    }
    for (uint32_t rank = 0; rank < fake->locals; rank++) {
        add_returns_of(fake, rank, exchange);
    }
    for (uint32_t local = 0; local < fake->locals; local++) {
        fake_raise(page + fake->page_layout.return_ready +
                       4 * ((size_t)exchange * fake->locals + local),
                   (uint32_t)step);
    }
    fake_raise(page + fake->page_layout.return_free + 4 * (size_t)exchange, (uint32_t)step);
}

static void sum_gradient(struct fake *fake, uint64_t step, int64_t count)
{
    float *result = (float *)(void *)fake->result.data;

    for (uint32_t i = 0; i < ELEMENTS; i++) {
        float sum = 0;
        for (uint32_t rank = 0; rank < fake->locals; rank++) {
            sum += ((const float *)(const void *)fake->workers[rank].gradient.data)[i];
        }
        result[i] = sum / (float)count;
    }
    memcpy(fake->page.data + fake->page_layout.bucket_count, &count, sizeof(count));
    fake_raise(fake->page.data + fake->page_layout.bucket_ready, (uint32_t)step);
}

static bool serve_returns(struct fake_worker *worker, uint64_t step)
{
    struct fake *fake = worker->fake;

    for (uint32_t e = EXCHANGES; e-- > 0;) {
        if (!fake_expect_ready(worker, SEQSYNC__WORKER__READY_KIND__READY_RETURN, e)) {
            return false;
        }
        fake_meet(fake);
        if (worker->rank == 0) {
            sum_returns(fake, e, step);
        }
    }
    return true;
}

static bool serve_step(struct fake_worker *worker, uint64_t step)
{
    struct fake *fake = worker->fake;
    int64_t *counts = fake->ctx;

    if (!fake_begin(worker, step)) {
        return false;
    }
    for (uint32_t e = 0; e < EXCHANGES; e++) {
        if (!fake_expect_ready(worker, SEQSYNC__WORKER__READY_KIND__READY_KV, e)) {
            return false;
        }
        const uint32_t *words =
            (const uint32_t *)(const void *)(worker->arena.data +
                                             fake->rank_layouts[worker->rank].kv_ready);
        if (words[e] != step || worker->message->ready->sequence != step) {
            fake_problem(fake, "keys of another step, or the word came after the message");
        }
        if (worker->rank == 0) {
            deliver_far_keys(fake, e, step);
        }
    }
    if (!serve_returns(worker, step) ||
        !fake_expect_ready(worker, SEQSYNC__WORKER__READY_KIND__READY_GRADIENT, 0)) {
        return false;
    }
    counts[worker->rank] = worker->message->ready->count;
    fake_meet(fake);
    if (worker->rank == 0) {
        sum_gradient(fake, step, counts[0] + counts[1]);
    }
    return fake_commit(worker, step == 2);
}

/* Rank 1's values for all, then everybody's digest for everybody. */
static bool serve_parameters(struct fake_worker *worker, uint64_t round)
{
    struct fake *fake = worker->fake;
    static int64_t sums[FAKE_RANKS_MAX][FAKE_RANKS_MAX];
    daemon_message message = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
    Seqsync__Worker__Reduced reduced = SEQSYNC__WORKER__REDUCED__INIT;
    int64_t answer[FAKE_RANKS_MAX] = {0};

    if (!fake_barrier(worker)) {
        return false;
    }
    if (worker->rank == 1) {
        if (!fake_expect_ready(worker, SEQSYNC__WORKER__READY_KIND__READY_PARAMETER, 0)) {
            return false;
        }
        if (worker->message->ready->root != 1 || worker->message->ready->sequence != round) {
            fake_problem(fake, "another root or round");
        }
        memcpy(fake->result.data, worker->gradient.data, ELEMENTS * sizeof(float));
        fake_raise(fake->page.data + fake->page_layout.parameter_ready, (uint32_t)round);
    }
    if (!fake_expect(worker, SEQSYNC__WORKER__WORKER_MESSAGE__BODY_REDUCE)) {
        return false;
    }
    const Seqsync__Worker__Reduce *reduce = worker->message->reduce;
    if (reduce->sequence != 2 * round || reduce->dtype != SEQSYNC_I64 ||
        reduce->op != SEQSYNC_SUM || reduce->values.len != fake->ranks * sizeof(int64_t)) {
        fake_problem(fake, "digests are compared in another way");
        return false;
    }
    memcpy(sums[worker->rank], reduce->values.data, reduce->values.len);
    fake_meet(fake);
    for (uint32_t i = 0; i < fake->ranks; i++) {
        for (uint32_t rank = 0; rank < fake->locals; rank++) {
            answer[i] += sums[rank][i];
        }
    }
    /* The far rank, if there is one, has what rank 1 has. */
    for (uint32_t i = fake->locals; i < fake->ranks; i++) {
        answer[i] = answer[1];
    }
    fake_meet(fake);
    reduced.values =
        (ProtobufCBinaryData){.len = fake->ranks * sizeof(int64_t), .data = (uint8_t *)answer};
    message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_REDUCED;
    message.reduced = &reduced;
    fake_send(worker, &message, NULL, 0);
    return true;
}

static void script_train(struct fake_worker *worker)
{
    fake_welcome(worker);
    if (!fake_register(worker) || !serve_parameters(worker, 1) || !serve_parameters(worker, 2)) {
        return;
    }
    for (uint64_t step = 1; step <= STEPS; step++) {
        if (!serve_step(worker, step)) {
            return;
        }
    }
    (void)fake_expect(worker, SEQSYNC__WORKER__WORKER_MESSAGE__BODY_LEAVE);
}

/* ---- the workers' side ---- */

static bool keys_publish(struct fake_run *run, struct seqsync_step *step, uint32_t exchange)
{
    const int64_t rows = seqsync_step_rows(step, SEQSYNC_SPACE_TOKENS);
    int64_t global[16];
    float *k, *v;

    seqsync_step_indices(step, global, NULL, NULL, NULL);
    if (!run_must(run, seqsync_kv_buffer(step, exchange, &k, &v) == 0, "kv_buffer")) {
        return false;
    }
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < ROW; c++) {
            k[r * ROW + c] = key(global[r], exchange, seqsync_step_number(step), 0, c);
            v[r * ROW + c] = key(global[r], exchange, seqsync_step_number(step), 1, c);
        }
    }
    return run_must(run, seqsync_kv_publish(step, exchange) == 0, "kv_publish");
}

/* Every tile finds the keys that it names. */
static bool keys_check(struct fake_run *run, struct seqsync_step *step, uint32_t exchange)
{
    uint32_t count;
    const struct seqsync_tile *tiles = seqsync_step_tiles(step, SEQSYNC_SPACE_TOKENS, &count);
    bool ok = true;

    for (uint32_t t = 0; t < count && ok; t++) {
        const float *k, *v;
        ok =
            run_must(run, seqsync_kv_wait(step, exchange, tiles[t].source, &k, &v) == 0, "kv_wait");
        for (int64_t i = 0; ok && i < tiles[t].k_count * ROW; i++) {
            const int64_t at = tiles[t].k_row * ROW + i, global = tiles[t].k_first + i / ROW;
            const uint64_t number = seqsync_step_number(step);
            ok = run_must(run, k[at] == key(global, exchange, number, 0, i % ROW), "a wrong key") &&
                 run_must(run, v[at] == key(global, exchange, number, 1, i % ROW), "a wrong value");
        }
    }
    return ok;
}

/* With full masks, every other rank of the node returns something for each row. */
static bool returns_check(struct fake_run *run, struct seqsync_step *step, uint32_t exchange)
{
    const uint64_t number = seqsync_step_number(step);
    const int64_t count = seqsync_step_return_rows(step, SEQSYNC_SPACE_TOKENS) * ROW,
                  own = seqsync_step_rows(step, SEQSYNC_SPACE_TOKENS) * ROW;
    const float *sum_k, *sum_v;
    float *dk, *dv;
    bool ok = run_must(run, seqsync_return_buffer(step, exchange, &dk, &dv) == 0, "return_buffer");

    for (int64_t i = 0; i < count && ok; i++) {
        ok = run_must(run, dk[i] == 0 && dv[i] == 0, "a return buffer that is not cleared");
        dk[i] = returned(run->rank, exchange, number, 0);
        dv[i] = returned(run->rank, exchange, number, 1);
    }
    ok = ok && run_must(run, seqsync_return_publish(step, exchange) == 0, "return_publish") &&
         run_must(run, seqsync_return_wait(step, exchange, &sum_k, &sum_v) == 0, "return_wait");
    for (int64_t i = 0; i < own && ok; i++) {
        const uint32_t other = 1 - run->rank;
        ok = run_must(run, sum_k[i] == returned(other, exchange, number, 0), "a wrong sum of dK") &&
             run_must(run, sum_v[i] == returned(other, exchange, number, 1), "a wrong sum of dV");
    }
    return ok;
}

static bool gradient_check(struct fake_run *run, struct seqsync_step *step)
{
    float *buffer = seqsync_gradient_buffer(run->session, 0);
    const float *mean;
    int64_t count;

    for (uint32_t i = 0; i < ELEMENTS; i++) {
        buffer[i] = (float)((run->rank + 1) * (i + 1));
    }
    if (!run_must(run, seqsync_gradient_contribute(step, 0, 2 - (int64_t)run->rank) == 0,
                  "contribute") ||
        !run_must(run, seqsync_gradient_wait(step, 0, &mean, &count) == 0, "gradient_wait") ||
        !run_must(run, count == 3, "another global count")) {
        return false;
    }
    for (uint32_t i = 0; i < ELEMENTS; i++) {
        if (!run_must(run, mean[i] == (float)(i + 1), "a wrong mean")) {
            return false;
        }
    }
    return true;
}

static bool parameters_check(struct fake_run *run)
{
    float values[ELEMENTS];
    float *const list[] = {values};

    for (int round = 1; round <= 2; round++) {
        for (uint32_t i = 0; i < ELEMENTS; i++) {
            values[i] = run->rank == 1 ? (float)i * 0.5f + (float)round : NAN;
        }
        const int r = run->rank == 1
                          ? seqsync_parameter_publish(run->session, (const float *const *)list)
                          : seqsync_parameter_pull(run->session, 1, list);
        if (!run_must(run, r == 0, "parameters")) {
            return false;
        }
        for (uint32_t i = 0; i < ELEMENTS; i++) {
            if (!run_must(run, values[i] == (float)i * 0.5f + (float)round, "a wrong parameter")) {
                return false;
            }
        }
    }
    return true;
}

static bool step_check(struct fake_run *run, uint64_t number, const struct seqsync_batch *batch)
{
    struct seqsync_step *step;
    int skip = -1;
    bool ok = run_must(run, seqsync_step_begin(run->session, batch, &step) == 0, "begin") &&
              run_must(run, seqsync_step_number(step) == number, "another number") &&
              run_must(run, seqsync_step_seed(step) == 42, "another seed") &&
              run_must(run, seqsync_step_total(step, SEQSYNC_SPACE_TOKENS) == 24, "another total");

    for (uint32_t e = 0; e < EXCHANGES && ok; e++) {
        ok = keys_publish(run, step, e) && keys_check(run, step, e);
    }
    for (uint32_t e = EXCHANGES; e-- > 0 && ok;) {
        ok = keys_check(run, step, e) && returns_check(run, step, e);
    }
    const struct seqsync_attestation attestation = {
        .size = sizeof(attestation),
        .tokens = ok ? seqsync_step_rows(step, SEQSYNC_SPACE_TOKENS) : 0,
        .area = ok ? seqsync_step_area(step, SEQSYNC_SPACE_TOKENS) : 0};
    return ok && gradient_check(run, step) &&
           run_must(run, seqsync_step_commit(step, number == 1 ? NULL : &attestation, &skip) == 0,
                    "commit") &&
           run_must(run, skip == (number == 2), "another opinion of skipping");
}

static void work_train(struct fake_run *run)
{
    struct seqsync_sequence sequences[SEQUENCES];
    struct seqsync_batch batch;
    struct seqsync_session_counters counters;

    if (!run_must(run, seqsync_session_register(run->session, shapes, EXCHANGES, buckets, 1) == 0,
                  "register") ||
        !parameters_check(run)) {
        return;
    }
    batch_of(&batch, sequences, SEQUENCES, tokens, SEQSYNC_MASK_FULL, SEQSYNC_PLACE_ZIGZAG);
    for (uint64_t number = 1; number <= STEPS; number++) {
        if (!step_check(run, number, &batch)) {
            return;
        }
    }
    seqsync_session_counters(run->session, &counters);
    run_must(run, counters.gradient_bytes == STEPS * ELEMENTS * sizeof(float),
             "gradient bytes are miscounted");
    run_must(run, (counters.kv_remote_bytes > 0) == (run->fake->ranks > run->fake->locals),
             "remote bytes are miscounted");
}

static void train(uint32_t ranks, bool keep_memory)
{
    struct fake fake;
    int64_t counts[FAKE_RANKS_MAX] = {0};
    const uint32_t before = open_descriptors();

    fake_prepare(&fake, ranks, 2, script_train);
    fake.ctx = counts;
    fake.keep_memory = keep_memory;
    fake_listen(&fake);
    fake_work(&fake, work_train, NULL);
    fake_stop(&fake);
    assert_int_equal(open_descriptors(), before);
}

static void two_ranks_of_a_node_train(void **state)
{
    (void)state;
    train(2, false);
}

static void memory_of_an_earlier_step_serves_again(void **state)
{
    (void)state;
    train(2, true);
}

static void rows_of_far_ranks_are_found_in_the_inbox(void **state)
{
    (void)state;
    train(3, false);
    train(4, false);
}

/* ---- indices ---- */

struct indices {
    int64_t rows, global[8], position[8], label[8];
    uint32_t sequence[8];
};

static void script_begin(struct fake_worker *worker)
{
    fake_welcome(worker);
    if (fake_register(worker) && fake_begin(worker, 1)) {
        while (fake_receive(worker)) {
        }
    }
}

struct indices_ask {
    struct indices got;
    const int64_t *tokens;
    uint32_t count;
};

static void work_indices(struct fake_run *run)
{
    struct indices_ask *ask = run->ctx;
    struct seqsync_sequence sequences[2];
    struct seqsync_batch batch;
    struct seqsync_step *step;

    batch_of(&batch, sequences, ask->count, ask->tokens, SEQSYNC_MASK_CAUSAL, SEQSYNC_PLACE_ZIGZAG);
    if (run_must(run, seqsync_session_register(run->session, NULL, 0, NULL, 0) == 0, "register") &&
        run_must(run, seqsync_step_begin(run->session, &batch, &step) == 0, "begin")) {
        ask->got.rows = seqsync_step_rows(step, SEQSYNC_SPACE_TOKENS);
        seqsync_step_indices(step, ask->got.global, ask->got.position, ask->got.sequence,
                             ask->got.label);
        seqsync_step_indices(step, NULL, NULL, NULL, NULL);
    }
}

static void indices_ask(struct indices_ask asks[2], uint32_t count, const int64_t *lengths)
{
    struct fake fake;
    void *const ctxs[] = {&asks[0], &asks[1]};

    for (int i = 0; i < 2; i++) {
        asks[i] = (struct indices_ask){.tokens = lengths, .count = count};
    }
    fake_start(&fake, 2, 2, script_begin);
    fake_work(&fake, work_indices, ctxs);
    fake_stop(&fake);
}

static void expect_row(const char *what, const int64_t *got, const int64_t *wanted, int64_t rows)
{
    for (int64_t r = 0; r < rows; r++) {
        if (got[r] != wanted[r]) {
            fail_msg("%s of row %d is %d, not %d", what, (int)r, (int)got[r], (int)wanted[r]);
        }
    }
}

/* S46: two packed documents of 4 tokens; rank 0 holds tokens 0, 3, 4, 7, not 0, 3, 0, 3. */
static void packed_documents_keep_their_global_indices(void **state)
{
    (void)state;
    struct indices_ask asks[2];
    const int64_t lengths[] = {4, 4};

    indices_ask(asks, 2, lengths);
    assert_int_equal(asks[0].got.rows, 4);
    assert_int_equal(asks[1].got.rows, 4);
    expect_row("index", asks[0].got.global, (const int64_t[]){0, 3, 4, 7}, 4);
    expect_row("index", asks[1].got.global, (const int64_t[]){1, 2, 5, 6}, 4);
    expect_row("position", asks[0].got.position, (const int64_t[]){0, 3, 0, 3}, 4);
    expect_row("position", asks[1].got.position, (const int64_t[]){1, 2, 1, 2}, 4);
    for (int r = 0; r < 4; r++) {
        assert_int_equal(asks[0].got.sequence[r], r / 2);
        assert_int_equal(asks[1].got.sequence[r], r / 2);
    }
    /* The label of a document's last token is not the next document's first. */
    expect_row("label", asks[0].got.label, (const int64_t[]){1, -1, 5, -1}, 4);
    expect_row("label", asks[1].got.label, (const int64_t[]){2, 3, 6, 7}, 4);
}

/* S50, S51: labels are shifted before sharding, and once. */
static void labels_are_shifted_once_before_sharding(void **state)
{
    (void)state;
    struct indices_ask asks[2];
    const int64_t lengths[] = {8};

    indices_ask(asks, 1, lengths);
    expect_row("label", asks[0].got.label, (const int64_t[]){1, 2, 7, -1}, 4);
    expect_row("label", asks[1].got.label, (const int64_t[]){3, 4, 5, 6}, 4);
}

/* S43: fewer tokens than ranks. */
static void a_rank_without_tokens_takes_part(void **state)
{
    (void)state;
    struct indices_ask asks[2];
    const int64_t lengths[] = {1};

    indices_ask(asks, 1, lengths);
    assert_int_equal(asks[0].got.rows + asks[1].got.rows, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_ranks_of_a_node_train),
        cmocka_unit_test(memory_of_an_earlier_step_serves_again),
        cmocka_unit_test(rows_of_far_ranks_are_found_in_the_inbox),
        cmocka_unit_test(packed_documents_keep_their_global_indices),
        cmocka_unit_test(labels_are_shifted_once_before_sharding),
        cmocka_unit_test(a_rank_without_tokens_takes_part),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
