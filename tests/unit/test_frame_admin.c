/* The admin plane: questions, and the longest answers. */
#include "test_frame_fixture.h"

#include <math.h>
#include <seqsync/status.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void questions_are_of_the_enum(void **state)
{
    struct fixture *f = *state;
    Seqsync__Admin__Request request = SEQSYNC__ADMIN__REQUEST__INIT;

    request.protocol = WIRE_PROTOCOL;
    for (int question = -1; question < 8; question++) {
        const bool shards = question == SEQSYNC__ADMIN__QUESTION__QUESTION_SHARDS;
        request.question = (Seqsync__Admin__Question)question;
        request.job = "";
        if (question < 1 || question > 5) {
            fixture_expect_refused(f, PLANE_REQUEST, &request.base, "no such question");
            continue;
        }
        if (shards) {
            fixture_expect_refused(f, PLANE_REQUEST, &request.base, "job's name");
        } else {
            fixture_expect_ok(f, PLANE_REQUEST, &request.base);
        }
        request.job = "job-1";
        if (shards) {
            fixture_expect_ok(f, PLANE_REQUEST, &request.base);
        } else {
            fixture_expect_refused(f, PLANE_REQUEST, &request.base, "none is asked for");
        }
    }
    request.protocol = WIRE_PROTOCOL + 1;
    fixture_expect_ok(f, PLANE_REQUEST, &request.base);
}

/* ---- answers ---- */

struct answer {
    Seqsync__Admin__Answer answer;
    Seqsync__Admin__Error error;
    Seqsync__Admin__Status status;
    Seqsync__Admin__Node node;
    Seqsync__Admin__Node *nodes[SEQSYNC_NODES_MAX + 1];
    Seqsync__Admin__Job job;
    Seqsync__Admin__Job *jobs[4097];
    Seqsync__Admin__Shards shards;
    Seqsync__Admin__Shard shard;
    Seqsync__Admin__Shard *shard_list[SEQSYNC_RANKS_MAX + 1];
    Seqsync__Admin__Range range;
    Seqsync__Admin__Range *ranges[4097];
    Seqsync__Admin__Cell cell;
    Seqsync__Admin__Cell *cells[SEQSYNC_RANKS_MAX + 1];
    double losses[65];
};

static struct answer *answer_new(void)
{
    struct answer *a = calloc(1, sizeof(*a));

    seqsync__admin__answer__init(&a->answer);
    a->answer.protocol = WIRE_PROTOCOL;
    seqsync__admin__error__init(&a->error);
    seqsync__admin__status__init(&a->status);
    seqsync__admin__node__init(&a->node);
    seqsync__admin__job__init(&a->job);
    seqsync__admin__shards__init(&a->shards);
    seqsync__admin__shard__init(&a->shard);
    seqsync__admin__range__init(&a->range);
    seqsync__admin__cell__init(&a->cell);
    for (size_t i = 0; i <= SEQSYNC_NODES_MAX; i++) {
        a->nodes[i] = &a->node;
    }
    for (size_t i = 0; i <= SEQSYNC_RANKS_MAX; i++) {
        a->shard_list[i] = &a->shard;
        a->cells[i] = &a->cell;
    }
    for (size_t i = 0; i <= 4096; i++) {
        a->jobs[i] = &a->job;
        a->ranges[i] = &a->range;
    }
    a->answer.nodes = a->nodes;
    a->answer.jobs = a->jobs;
    a->job.losses = a->losses;
    a->job.loss = (double)NAN;
    a->range.count = 1;
    a->shards.job = &a->job;
    a->shards.shards = a->shard_list;
    a->shard.chunks = a->ranges;
    a->shard.cells = a->cells;
    return a;
}
#define OK() fixture_expect_ok(f, PLANE_ANSWER, &a->answer.base)
#define REFUSED(what) fixture_expect_refused(f, PLANE_ANSWER, &a->answer.base, what)

static void lists_end_at_their_limits(void **state)
{
    struct fixture *f = *state;
    struct answer *a = answer_new();

    OK();
    a->answer.n_nodes = SEQSYNC_NODES_MAX;
    a->answer.n_jobs = 4096;
    OK();
    a->answer.n_nodes++;
    REFUSED("nodes");
    a->answer.n_nodes = 0;
    a->answer.n_jobs++;
    REFUSED("jobs");
    a->answer.n_jobs = 1;
    a->job.n_losses = 64;
    OK();
    a->job.n_losses++;
    REFUSED("jobs");
    a->job.n_losses = 0;
    a->answer.shards = &a->shards;
    a->shards.n_shards = SEQSYNC_RANKS_MAX;
    OK();
    a->shards.n_shards++;
    REFUSED("shards");
    a->shards.n_shards = 1;
    a->shard.n_chunks = 4096;
    a->shard.n_cells = SEQSYNC_RANKS_MAX;
    OK();
    a->shard.n_chunks++;
    REFUSED("shards");
    a->shard.n_chunks = 0;
    a->shard.n_cells++;
    REFUSED("shards");
    a->shard.n_cells = 0;
    a->shards.job = NULL;
    REFUSED("shards");
    free(a);
}

static void numbers_and_texts_are_limited(void **state)
{
    struct fixture *f = *state;
    struct answer *a = answer_new();

    a->answer.error = &a->error;
    a->error.code = SEQSYNC_STATUS_LAST;
    OK();
    a->error.code--;
    REFUSED("error");
    a->error.code = 0;
    a->error.hint = "\x7F";
    REFUSED("error");
    a->answer.error = NULL;
    a->answer.status = &a->status;
    char *problems[] = {"PEER_DOWN b is down", "\xC2\x85"};
    a->status.problems = problems;
    a->status.n_problems = 1;
    OK();
    a->status.n_problems = 2;
    REFUSED("status");
    a->answer.status = NULL;
    a->answer.version = "\xC3";
    REFUSED("version");
    a->answer.version = "0.1.0";
    a->answer.n_nodes = 1;
    a->node.reason = "\x1B]0;owned\x07";
    REFUSED("nodes");
    a->answer.n_nodes = 0;
    a->answer.shards = &a->shards;
    a->shards.n_shards = 1;
    a->shard.n_chunks = a->shard.n_cells = 1;
    OK();
    a->range.first = SEQSYNC_TOKENS_MAX;
    REFUSED("shards");
    a->range.first = INT64_MAX;
    REFUSED("shards");
    a->range.first = 0;
    a->range.sequence = SEQSYNC_SEQUENCES_MAX;
    REFUSED("shards");
    a->range.sequence = 0;
    a->cell.source = SEQSYNC_RANKS_MAX;
    REFUSED("shards");
    a->cell.source = 0;
    a->shard.rank = SEQSYNC_RANKS_MAX;
    REFUSED("shards");
    /* Nothing is said of an answer in another protocol but that. */
    a->answer.protocol = 99;
    OK();
    free(a);
}

/* A map of shards that just fits: every cell and range as short as real ones can be. */
static void the_longest_answer_is_unpacked(void **state)
{
    struct fixture *f = *state;
    struct answer *a = answer_new();

    a->answer.shards = &a->shards;
    a->cell.source = 200;
    a->cell.area = 10000;
    a->cell.need_rows = 100;
    a->range.first = 1000;
    a->range.position = 1000;
    a->shard.n_cells = SEQSYNC_RANKS_MAX;
    a->shard.n_chunks = 64;
    while (protobuf_c_message_get_packed_size(&a->answer.base) <= WIRE_ADMIN_ANSWER_MAX &&
           a->shards.n_shards < SEQSYNC_RANKS_MAX) {
        a->shards.n_shards++;
    }
    a->shards.n_shards--;
    assert_true(protobuf_c_message_get_packed_size(&a->answer.base) >
                WIRE_ADMIN_ANSWER_MAX - WIRE_ADMIN_ANSWER_MAX / 64);
    OK();
    /* And a small one afterwards, in the same memory. */
    a->shards.n_shards = 1;
    OK();
    free(a);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(questions_are_of_the_enum),
        TEST(lists_end_at_their_limits),
        TEST(numbers_and_texts_are_limited),
        TEST(the_longest_answer_is_unpacked),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
