/*
 * Answers that break the contract, each in one way, at each place of a job: the call says so with
 * the right code, the session is over, and no descriptor is kept.
 */
#include "test_lib_fixture.h"

#include <fcntl.h>
#include <seqsync/collective.h>
#include <seqsync/exchange.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cmocka.h>

enum place {
    AT_WELCOME,
    AT_REGISTERED,
    AT_BUFFER,
    AT_REDUCED,
    AT_STEP_START,
    AT_COMMITTED,
    PLACES
};

static const char *const place_names[PLACES] = {"welcome", "registered", "buffer",
                                                "reduced", "step start", "committed"};

/* An answer on its way: what it says, and what lies beside it. */
struct answer {
    daemon_message message;
    Seqsync__Worker__Welcome welcome;
    Seqsync__Worker__Registered registered;
    Seqsync__Worker__Buffer buffer;
    Seqsync__Worker__Reduced reduced;
    Seqsync__Worker__StepStart start;
    Seqsync__Worker__Committed committed;
    struct fake_segment segment; /* of the buffer, or the part */
    struct fake_segment spare;   /* for spoiling */
    uint64_t arena_bytes[FAKE_RANKS_MAX];
    uint8_t values[8];
    int fds[128];
    uint32_t fd_count;
};

/* Spoils an answer, or sends something else and returns false. */
typedef bool spoil(struct fake_worker *worker, struct answer *answer);

struct attack {
    const char *name;
    spoil *spoil;
    int status;
    uint32_t places; /* bits of enum place */
    uint32_t fd;     /* whose descriptor is spoiled */
};

struct scene {
    const struct attack *attack;
    enum place place;
};

#define AT(place) (1u << (place))
#define EVERYWHERE (AT(PLACES) - 1)

/* ---- attacks ---- */

static bool spoil_end(struct fake_worker *worker, struct answer *answer)
{
    (void)worker;
    (void)answer;
    return false;
}

static bool spoil_garbage(struct fake_worker *worker, struct answer *answer)
{
    fake_send_bytes(worker, "\xff\xff\xff\xff\xff", 5, answer->fds, answer->fd_count);
    return false;
}

static bool spoil_empty(struct fake_worker *worker, struct answer *answer)
{
    /* An empty datagram reads as the end, but it can carry descriptors. */
    fake_send_bytes(worker, "", 0, &worker->fd, 1);
    (void)answer;
    return false;
}

static bool spoil_truncated(struct fake_worker *worker, struct answer *answer)
{
    uint8_t bytes[WIRE_WORKER_FRAME_MAX];

    answer->message.request = worker->message->request;
    const size_t length = frame_encode(&answer->message.base, bytes, sizeof(bytes));
    fake_send_bytes(worker, bytes, length - 1, answer->fds, answer->fd_count);
    return false;
}

static bool spoil_oversized(struct fake_worker *worker, struct answer *answer)
{
    static uint8_t bytes[WIRE_WORKER_FRAME_MAX + 1];
    size_t length;

    answer->message.request = worker->message->request;
    length = frame_encode(&answer->message.base, bytes, sizeof(bytes));
    /* The rest is an unknown field of zeros: all that is wrong is the length. */
    bytes[length] = 0xfa;
    bytes[length + 1] = 0x7f;
    fake_send_bytes(worker, bytes, sizeof(bytes), answer->fds, answer->fd_count);
    return false;
}

static bool spoil_request(struct fake_worker *worker, struct answer *answer)
{
    answer->message.request = worker->message->request + 1;
    return true;
}

static bool spoil_body(struct fake_worker *worker, struct answer *answer)
{
    static Seqsync__Worker__Freed freed = SEQSYNC__WORKER__FREED__INIT;

    (void)worker;
    answer->message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_FREED;
    answer->message.freed = &freed;
    return true;
}

static bool spoil_failure(struct fake_worker *worker, struct answer *answer)
{
    (void)answer;
    fake_send_failure(worker, worker->message->request, SEQSYNC_ERR_SHUTDOWN, "going down");
    return false;
}

static bool spoil_failure_unasked(struct fake_worker *worker, struct answer *answer)
{
    (void)answer;
    fake_send_failure(worker, 0, SEQSYNC_ERR_PEER_LOST, "node-b is gone");
    return false;
}

static bool spoil_more_fds(struct fake_worker *worker, struct answer *answer)
{
    answer->fds[answer->fd_count++] = worker->fd;
    return true;
}

static bool spoil_many_fds(struct fake_worker *worker, struct answer *answer)
{
    while (answer->fd_count < 100) {
        answer->fds[answer->fd_count++] = worker->fd;
    }
    return true;
}

static bool spoil_fewer_fds(struct fake_worker *worker, struct answer *answer)
{
    (void)worker;
    answer->fd_count--;
    return true;
}

static bool spoil_no_fds(struct fake_worker *worker, struct answer *answer)
{
    (void)worker;
    answer->fd_count = 0;
    return true;
}

static uint32_t attacked_fd(const struct fake_worker *worker)
{
    return ((const struct scene *)worker->fake->ctx)->attack->fd;
}

static bool spoil_short(struct fake_worker *worker, struct answer *answer)
{
    fake_segment_make(&answer->spare, 64, F_SEAL_SHRINK | F_SEAL_GROW);
    answer->fds[attacked_fd(worker)] = answer->spare.fd;
    return true;
}

/* Large enough, but it could shrink: SIGBUS for whoever reads. */
static bool spoil_unsealed(struct fake_worker *worker, struct answer *answer)
{
    fake_segment_make(&answer->spare, 1 << 20, F_SEAL_GROW);
    answer->fds[attacked_fd(worker)] = answer->spare.fd;
    return true;
}

static bool spoil_read_only(struct fake_worker *worker, struct answer *answer)
{
    fake_segment_make(&answer->spare, 1 << 20, F_SEAL_SHRINK | F_SEAL_GROW);
    answer->fds[attacked_fd(worker)] = answer->spare.read_fd;
    return true;
}

/* No memory at all. */
static bool spoil_socket(struct fake_worker *worker, struct answer *answer)
{
    answer->fds[attacked_fd(worker)] = worker->fd;
    return true;
}

static bool spoil_page_bytes(struct fake_worker *worker, struct answer *answer)
{
    (void)worker;
    answer->registered.page_bytes += 4096;
    return true;
}

static bool spoil_gradient_bytes(struct fake_worker *worker, struct answer *answer)
{
    (void)worker;
    answer->registered.gradient_bytes -= 1;
    return true;
}

static bool spoil_arena_count(struct fake_worker *worker, struct answer *answer)
{
    (void)worker;
    answer->start.n_arena_bytes = 2;
    return true;
}

static bool spoil_arena_bytes(struct fake_worker *worker, struct answer *answer)
{
    (void)worker;
    answer->arena_bytes[0] = 4096;
    return true;
}

static bool spoil_inbox_bytes(struct fake_worker *worker, struct answer *answer)
{
    (void)worker;
    answer->start.inbox_bytes = 64;
    return true;
}

static bool spoil_huge_bytes(struct fake_worker *worker, struct answer *answer)
{
    (void)worker;
    answer->arena_bytes[0] = UINT64_MAX;
    return true;
}

/* Promises memory of an earlier step that never was. */
static bool spoil_old_arenas(struct fake_worker *worker, struct answer *answer)
{
    (void)worker;
    answer->start.new_arenas = false;
    answer->fd_count = 1;
    return true;
}

static bool spoil_step(struct fake_worker *worker, struct answer *answer)
{
    (void)worker;
    answer->start.step++;
    answer->committed.step++;
    return true;
}

static bool spoil_part_bytes(struct fake_worker *worker, struct answer *answer)
{
    (void)worker;
    answer->start.part_bytes -= 1;
    return true;
}

static bool spoil_part_content(struct fake_worker *worker, struct answer *answer)
{
    (void)worker;
    memset(answer->segment.data + answer->segment.bytes / 2, 0x5a, answer->segment.bytes / 2);
    return true;
}

static bool spoil_reduced(struct fake_worker *worker, struct answer *answer)
{
    (void)worker;
    answer->reduced.values.len = 4;
    return true;
}

static bool spoil_node(struct fake_worker *worker, struct answer *answer)
{
    (void)worker;
    answer->welcome.node = answer->welcome.node_count;
    return true;
}

static bool spoil_locals(struct fake_worker *worker, struct answer *answer)
{
    (void)worker;
    answer->welcome.local_rank = answer->welcome.local_count;
    return true;
}

#define WITH_FDS (AT(AT_REGISTERED) | AT(AT_BUFFER) | AT(AT_STEP_START))

static const struct attack attacks[] = {
    {"end", spoil_end, SEQSYNC_ERR_DAEMON_LOST, EVERYWHERE, 0},
    {"garbage", spoil_garbage, SEQSYNC_ERR_PROTOCOL, EVERYWHERE, 0},
    {"empty datagram with a descriptor", spoil_empty, SEQSYNC_ERR_PROTOCOL, EVERYWHERE, 0},
    {"truncated", spoil_truncated, SEQSYNC_ERR_PROTOCOL, EVERYWHERE, 0},
    {"oversized", spoil_oversized, SEQSYNC_ERR_PROTOCOL, EVERYWHERE, 0},
    {"wrong request", spoil_request, SEQSYNC_ERR_PROTOCOL, EVERYWHERE, 0},
    {"wrong body", spoil_body, SEQSYNC_ERR_PROTOCOL, EVERYWHERE, 0},
    {"failure", spoil_failure, SEQSYNC_ERR_SHUTDOWN, EVERYWHERE, 0},
    {"failure unasked", spoil_failure_unasked, SEQSYNC_ERR_PEER_LOST, EVERYWHERE, 0},
    {"a descriptor too many", spoil_more_fds, SEQSYNC_ERR_PROTOCOL, EVERYWHERE, 0},
    {"100 descriptors", spoil_many_fds, SEQSYNC_ERR_PROTOCOL, EVERYWHERE, 0},
    {"a descriptor too few", spoil_fewer_fds, SEQSYNC_ERR_PROTOCOL, WITH_FDS, 0},
    {"no descriptors", spoil_no_fds, SEQSYNC_ERR_PROTOCOL, WITH_FDS, 0},
    {"short memory, first", spoil_short, SEQSYNC_ERR_PROTOCOL, WITH_FDS, 0},
    {"short memory, second", spoil_short, SEQSYNC_ERR_PROTOCOL,
     AT(AT_REGISTERED) | AT(AT_STEP_START), 1},
    {"short memory, third", spoil_short, SEQSYNC_ERR_PROTOCOL,
     AT(AT_REGISTERED) | AT(AT_STEP_START), 2},
    {"unsealed memory, first", spoil_unsealed, SEQSYNC_ERR_PROTOCOL, WITH_FDS, 0},
    {"unsealed memory, third", spoil_unsealed, SEQSYNC_ERR_PROTOCOL,
     AT(AT_REGISTERED) | AT(AT_STEP_START), 2},
    {"no memory, first", spoil_socket, SEQSYNC_ERR_PROTOCOL, WITH_FDS, 0},
    {"no memory, second", spoil_socket, SEQSYNC_ERR_PROTOCOL, AT(AT_REGISTERED) | AT(AT_STEP_START),
     1},
    {"read-only buffer", spoil_read_only, SEQSYNC_ERR_PROTOCOL, AT(AT_BUFFER), 0},
    {"read-only gradient or arena", spoil_read_only, SEQSYNC_ERR_PROTOCOL,
     AT(AT_REGISTERED) | AT(AT_STEP_START), 1},
    {"another page", spoil_page_bytes, SEQSYNC_ERR_PROTOCOL, AT(AT_REGISTERED), 0},
    {"another gradient", spoil_gradient_bytes, SEQSYNC_ERR_PROTOCOL, AT(AT_REGISTERED), 0},
    {"another number of arenas", spoil_arena_count, SEQSYNC_ERR_PROTOCOL, AT(AT_STEP_START), 0},
    {"a small arena", spoil_arena_bytes, SEQSYNC_ERR_PROTOCOL, AT(AT_STEP_START), 0},
    {"a small inbox", spoil_inbox_bytes, SEQSYNC_ERR_PROTOCOL, AT(AT_STEP_START), 0},
    {"a huge arena", spoil_huge_bytes, SEQSYNC_ERR_PROTOCOL, AT(AT_STEP_START), 0},
    {"no arenas", spoil_old_arenas, SEQSYNC_ERR_PROTOCOL, AT(AT_STEP_START), 0},
    {"another step", spoil_step, SEQSYNC_ERR_PROTOCOL, AT(AT_STEP_START) | AT(AT_COMMITTED), 0},
    {"a truncated part", spoil_part_bytes, SEQSYNC_ERR_PROTOCOL, AT(AT_STEP_START), 0},
    {"a damaged part", spoil_part_content, SEQSYNC_ERR_PROTOCOL, AT(AT_STEP_START), 0},
    {"other values", spoil_reduced, SEQSYNC_ERR_PROTOCOL, AT(AT_REDUCED), 0},
    {"a node beyond", spoil_node, SEQSYNC_ERR_PROTOCOL, AT(AT_WELCOME), 0},
    {"a local rank beyond", spoil_locals, SEQSYNC_ERR_PROTOCOL, AT(AT_WELCOME), 0},
};

/* ---- the daemon's side ---- */

static bool take_question(struct fake_worker *worker, enum place place)
{
    switch (place) {
    case AT_WELCOME:
        return true; /* it is here */
    case AT_REGISTERED:
        return fake_take_register(worker);
    case AT_BUFFER:
        return fake_expect(worker, SEQSYNC__WORKER__WORKER_MESSAGE__BODY_BUFFER_CREATE);
    case AT_REDUCED:
        return fake_expect(worker, SEQSYNC__WORKER__WORKER_MESSAGE__BODY_REDUCE);
    case AT_STEP_START:
        return fake_take_begin(worker);
    case AT_COMMITTED:
        return fake_expect(worker, SEQSYNC__WORKER__WORKER_MESSAGE__BODY_COMMIT);
    case PLACES:
        break;
    }
    return false;
}

static void answer_init(struct fake_worker *worker, enum place place, struct answer *answer)
{
    daemon_message *message = &answer->message;

    memset(answer, 0, sizeof(*answer));
    answer->segment.fd = answer->spare.fd = -1;
    seqsync__worker__daemon_message__init(message);
    seqsync__worker__welcome__init(&answer->welcome);
    seqsync__worker__buffer__init(&answer->buffer);
    seqsync__worker__reduced__init(&answer->reduced);
    seqsync__worker__committed__init(&answer->committed);
    switch (place) {
    case AT_WELCOME:
        answer->welcome.node_count = answer->welcome.local_count = 1;
        answer->welcome.node_name = (char *)(uintptr_t) "node-a";
        message->body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_WELCOME;
        message->welcome = &answer->welcome;
        return;
    case AT_REGISTERED:
        fake_registered_init(worker, message, &answer->registered, answer->fds);
        answer->fd_count = 3;
        return;
    case AT_BUFFER:
        fake_segment_make(&answer->segment, 4096, F_SEAL_SHRINK | F_SEAL_GROW);
        answer->buffer.buffer = 1;
        answer->buffer.bytes = 4096;
        answer->fds[0] = answer->segment.fd;
        answer->fd_count = 1;
        message->body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_BUFFER;
        message->buffer = &answer->buffer;
        return;
    case AT_REDUCED:
        answer->reduced.values = (ProtobufCBinaryData){.len = 8, .data = answer->values};
        message->body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_REDUCED;
        message->reduced = &answer->reduced;
        return;
    case AT_STEP_START:
        fake_step_start_init(worker, 1, &answer->segment, message, &answer->start,
                             answer->arena_bytes, answer->fds);
        answer->fd_count = 3;
        return;
    case AT_COMMITTED:
        answer->committed.step = 1;
        message->body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_COMMITTED;
        message->committed = &answer->committed;
        return;
    case PLACES:
        return;
    }
}

/* Honest up to the attacked place. */
static void script_attack(struct fake_worker *worker)
{
    const struct scene *scene = worker->fake->ctx;
    struct answer *answer = malloc(sizeof(*answer));

    if (answer == NULL) {
        abort();
    }
    for (enum place place = AT_WELCOME; place <= scene->place; place++) {
        if (!take_question(worker, place)) {
            fake_problem(worker->fake, "the worker stopped before %s", place_names[place]);
            break;
        }
        answer_init(worker, place, answer);
        if (place < scene->place || scene->attack->spoil(worker, answer)) {
            fake_send(worker, &answer->message, answer->fds, answer->fd_count);
        }
        fake_segment_free(&answer->segment);
        fake_segment_free(&answer->spare);
    }
    free(answer);
}

/* ---- the worker's side ---- */

/* Does what a worker does, up to @last; the result of that. Sets *ret_early if it is not reached.
 */
static int work(struct fake *fake, enum place last, struct seqsync_session **ret_session,
                bool *ret_early)
{
    static const struct seqsync_exchange_shape shape = {
        .space = SEQSYNC_SPACE_TOKENS, .heads_kv = 4, .head_dim = 64};
    static const struct seqsync_bucket_shape bucket = {.elements = 40, .role = SEQSYNC_PARTIAL};
    const int64_t tokens = 16;
    struct seqsync_session_options options;
    struct seqsync_sequence sequence;
    struct seqsync_batch batch;
    struct seqsync_buffer *buffer;
    struct seqsync_step *step = NULL;
    double value = 0;
    int r = 0;

    fake_options(fake, 0, &options);
    batch_of(&batch, &sequence, 1, &tokens, SEQSYNC_MASK_FULL, SEQSYNC_PLACE_AUTO);
    *ret_early = false;
    for (enum place place = AT_WELCOME; place <= last; place++) {
        switch (place) {
        case AT_WELCOME:
            r = seqsync_session_open(&options, ret_session);
            break;
        case AT_REGISTERED:
            r = seqsync_session_register(*ret_session, &shape, 1, &bucket, 1);
            break;
        case AT_BUFFER:
            r = seqsync_buffer_create(*ret_session, 4096, &buffer);
            break;
        case AT_REDUCED:
            r = seqsync_all_reduce(*ret_session, &value, 1, SEQSYNC_F64, SEQSYNC_SUM);
            break;
        case AT_STEP_START:
            r = seqsync_step_begin(*ret_session, &batch, &step);
            break;
        case AT_COMMITTED:
            r = seqsync_step_commit(step, NULL, NULL);
            break;
        case PLACES:
            break;
        }
        if (r != 0) {
            *ret_early = place != last;
            return r;
        }
    }
    return r;
}

static void run_attack(const struct attack *attack, enum place place)
{
    struct scene scene = {.attack = attack, .place = place};
    struct seqsync_session *session = NULL;
    struct fake fake;
    char text[1024];
    bool early;

    fake_prepare(&fake, 1, 1, script_attack);
    fake.ctx = &scene;
    fake_listen(&fake);
    const int r = work(&fake, place, &session, &early);
    snprintf(text, sizeof(text), "%s", seqsync_session_error(session));
    const int after = seqsync_barrier(session);
    seqsync_session_close(session);
    fake_stop(&fake);
    if (early || r != attack->status || text[0] == '\0') {
        fail_msg("%s at %s: %s: %s", attack->name, place_names[place], seqsync_status_name(r),
                 text);
    }
    if (after != r) {
        fail_msg("%s at %s: the session goes on: %s", attack->name, place_names[place],
                 seqsync_status_name(after));
    }
}

static void broken_answers_end_the_session_and_leave_nothing(void **state)
{
    (void)state;
    const uint32_t before = open_descriptors();

    for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
        for (enum place place = AT_WELCOME; place < PLACES; place++) {
            if ((attacks[i].places & AT(place)) != 0) {
                run_attack(&attacks[i], place);
                if (open_descriptors() != before) {
                    fail_msg("%s at %s keeps descriptors", attacks[i].name, place_names[place]);
                }
            }
        }
    }
}

/* The same script without an attack, or the above would prove nothing. */
static bool spoil_nothing(struct fake_worker *worker, struct answer *answer)
{
    (void)worker;
    (void)answer;
    return true;
}

static void honest_answers_pass(void **state)
{
    (void)state;
    const struct attack none = {"none", spoil_nothing, 0, 0, 0};
    struct scene scene = {.attack = &none, .place = AT_COMMITTED};
    struct seqsync_session *session;
    struct fake fake;
    bool early;

    fake_prepare(&fake, 1, 1, script_attack);
    fake.ctx = &scene;
    fake_listen(&fake);
    assert_int_equal(work(&fake, AT_COMMITTED, &session, &early), 0);
    seqsync_session_close(session);
    fake_stop(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(honest_answers_pass),
        cmocka_unit_test(broken_answers_end_the_session_and_leave_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
