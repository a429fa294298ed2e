#include "daemon/cluster/control_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#define NODES 3

struct member {
    struct fixture *fixture;
    uint64_t indices[16];
    uint64_t jobs[16];
    uint32_t count;
};

/* Three logs in one process; what one sends is received by the other at once. */
struct fixture {
    struct control_log logs[NODES];
    struct member members[NODES];
};

static void on_send(void *ctx, uint32_t node, const struct entry *entry)
{
    struct fixture *fixture = ((struct member *)ctx)->fixture;
    const uint32_t from = entry->index == 0 ? 1 : 0;

    assert_int_equal(control_log_receive(&fixture->logs[node], from, entry), 0);
}

static void on_committed(void *ctx, const struct entry *entry)
{
    struct member *member = ctx;

    member->indices[member->count] = entry->index;
    member->jobs[member->count++] = entry->job;
}

static void fixture_init(struct fixture *fixture)
{
    const struct control_log_ops ops = {.send = on_send, .committed = on_committed};

    memset(fixture, 0, sizeof(*fixture));
    for (uint32_t i = 0; i < NODES; i++) {
        fixture->members[i].fixture = fixture;
        control_log_init(&fixture->logs[i], i, NODES, &ops, &fixture->members[i]);
    }
}

static struct entry entry_of(uint64_t job)
{
    return (struct entry){.kind = ENTRY_JOB_ENDED, .job = job};
}

static void log_commits_in_one_order_on_all_nodes(void **state)
{
    static struct fixture fixture;
    const struct entry first = entry_of(7), second = entry_of(8);
    (void)state;

    fixture_init(&fixture);
    control_log_propose(&fixture.logs[0], &first);
    control_log_propose(&fixture.logs[1], &second);
    for (uint32_t i = 0; i < NODES; i++) {
        assert_int_equal(fixture.members[i].count, 2);
        assert_int_equal(fixture.members[i].jobs[0], 7);
        assert_int_equal(fixture.members[i].jobs[1], 8);
        assert_int_equal(fixture.members[i].indices[1], 2);
    }
}

static void log_drops_what_it_has_seen_and_counts_gaps(void **state)
{
    static struct fixture fixture;
    struct entry entry = entry_of(7);
    (void)state;

    fixture_init(&fixture);
    entry.index = 1;
    assert_int_equal(control_log_receive(&fixture.logs[1], 0, &entry), 0);
    assert_int_equal(control_log_receive(&fixture.logs[1], 0, &entry), CONTROL_LOG_OLD);
    entry.index = 4;
    assert_int_equal(control_log_receive(&fixture.logs[1], 0, &entry), 0);
    assert_int_equal(fixture.logs[1].gaps, 2);
    assert_int_equal(fixture.members[1].count, 2);
}

static void log_takes_entries_from_the_conductor_only(void **state)
{
    static struct fixture fixture;
    struct entry entry = entry_of(7);
    (void)state;

    fixture_init(&fixture);
    assert_int_equal(control_log_receive(&fixture.logs[2], 1, &entry), CONTROL_LOG_NOT_CONDUCTOR);
    entry.index = 1;
    assert_int_equal(control_log_receive(&fixture.logs[2], 1, &entry),
                     CONTROL_LOG_NOT_FROM_CONDUCTOR);
    assert_int_equal(control_log_receive(&fixture.logs[0], 1, &entry),
                     CONTROL_LOG_NOT_FROM_CONDUCTOR);
    assert_int_equal(fixture.members[0].count + fixture.members[2].count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_commits_in_one_order_on_all_nodes),
        cmocka_unit_test(log_drops_what_it_has_seen_and_counts_gaps),
        cmocka_unit_test(log_takes_entries_from_the_conductor_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
