#include "client/lib/session_private.h"

#include <string.h>

static int exchange_check(struct seqsync_step *step, uint32_t exchange)
{
    const int r = seqsync__step_check(step);

    if (r != 0) {
        return r;
    }
    if (exchange >= step->session->schema.exchange_count) {
        return seqsync__fail(step->session, SEQSYNC_ERR_INVALID, "exchange %u was not registered",
                             exchange);
    }
    return 0;
}

static const struct part_space *exchange_space(const struct seqsync_step *step, uint32_t exchange)
{
    return &step->part.spaces[step->session->exchanges[exchange].space];
}

static float *floats_at(const struct seqsync__map *map, size_t offset)
{
    return (float *)(void *)(map->data + offset);
}

static int send_ready(struct seqsync_session *session, Seqsync__Worker__ReadyKind kind, uint32_t id,
                      uint64_t sequence)
{
    Seqsync__Worker__WorkerMessage message = SEQSYNC__WORKER__WORKER_MESSAGE__INIT;
    Seqsync__Worker__Ready ready = SEQSYNC__WORKER__READY__INIT;

    ready.kind = kind;
    ready.id = id;
    ready.sequence = sequence;
    message.body_case = SEQSYNC__WORKER__WORKER_MESSAGE__BODY_READY;
    message.ready = &ready;
    return seqsync__send(session, &message);
}

/* ---- keys and values ---- */

int seqsync_kv_buffer(struct seqsync_step *step, uint32_t exchange, float **ret_k, float **ret_v)
{
    const int r = exchange_check(step, exchange);

    if (r != 0) {
        return r;
    }
    const struct arena_rank *layout = &step->rank_layouts[step->local];
    *ret_k = floats_at(&step->session->arenas[step->local], layout->k[exchange]);
    *ret_v = floats_at(&step->session->arenas[step->local], layout->v[exchange]);
    return 0;
}

int seqsync_kv_publish(struct seqsync_step *step, uint32_t exchange)
{
    const int r = exchange_check(step, exchange);

    if (r != 0) {
        return r;
    }
    struct seqsync_session *session = step->session;
    if (step->kv_published[exchange]) {
        return seqsync__fail(session, SEQSYNC_ERR_DUPLICATE,
                             "rank %d published exchange %u of step %llu already", session->rank,
                             exchange, (unsigned long long)step->number);
    }
    step->kv_published[exchange] = true;
    seqsync__raise_word(session->arenas[step->local].data +
                            step->rank_layouts[step->local].kv_ready + 4 * (size_t)exchange,
                        (uint32_t)step->number);
    return send_ready(session, SEQSYNC__WORKER__READY_KIND__READY_KV, exchange, step->number);
}

/* Counts the rows of a source once, when they are first waited for. */
static void count_source(struct seqsync_step *step, uint32_t exchange, uint32_t source)
{
    const uint32_t space = step->session->exchanges[exchange].space;
    const struct seqsync_source *from = &step->part.spaces[space].sources[source];
    const size_t bit = (size_t)exchange * step->part.spaces[space].source_count + source;
    uint64_t *word = &step->source_seen[space][bit / 64];
    const uint64_t mask = UINT64_C(1) << (bit % 64);

    if ((*word & mask) != 0) {
        return;
    }
    *word |= mask;
    const uint64_t bytes = 2 * (uint64_t)from->return_rows *
                           arena_row_elements(&step->session->exchanges[exchange]) * sizeof(float);
    if (from->local == 0) {
        step->kv_remote_bytes += bytes;
        step->session->counters.kv_remote_bytes += bytes;
    } else {
        step->session->counters.kv_local_bytes += bytes;
    }
}

static uint32_t local_index(const struct seqsync_step *step, uint32_t rank)
{
    uint32_t i = 0;

    while (step->part.local_ranks[i] != rank) { /* part_decode() has seen to it that it is there */
        i++;
    }
    return i;
}

static int wait_local(struct seqsync_step *step, uint32_t exchange,
                      const struct seqsync_source *source, const float **ret_k, const float **ret_v)
{
    struct seqsync_session *session = step->session;
    const uint32_t local = local_index(step, source->rank);
    const struct seqsync__map *arena = &session->arenas[local];
    const struct arena_rank *layout = &step->rank_layouts[local];
    const int r = seqsync__wait_word(session, arena->data + layout->kv_ready + 4 * (size_t)exchange,
                                     (uint32_t)step->number,
                                     "keys of rank %u (on this node), exchange %u, step %llu",
                                     source->rank, exchange, (unsigned long long)step->number);

    if (r == 0) {
        *ret_k = floats_at(arena, layout->k[exchange]);
        *ret_v = floats_at(arena, layout->v[exchange]);
    }
    return r;
}

static int wait_remote(struct seqsync_step *step, uint32_t exchange,
                       const struct seqsync_source *source, const float **ret_k,
                       const float **ret_v)
{
    struct seqsync_session *session = step->session;
    const size_t row = arena_row_elements(&session->exchanges[exchange]);
    const size_t word = (size_t)exchange * (size_t)session->world_size + source->rank;
    const int r = seqsync__wait_word(
        session, session->page.data + session->page_layout.kv_ready + 4 * word,
        (uint32_t)step->number, "keys of rank %u on node %u, exchange %u, step %llu", source->rank,
        source->node, exchange, (unsigned long long)step->number);

    if (r == 0) {
        *ret_k = floats_at(&session->inbox, step->inbox_layout.k[exchange]) +
                 (size_t)source->inbox_row * row;
        *ret_v = floats_at(&session->inbox, step->inbox_layout.v[exchange]) +
                 (size_t)source->inbox_row * row;
    }
    return r;
}

int seqsync_kv_wait(struct seqsync_step *step, uint32_t exchange, uint32_t source,
                    const float **ret_k, const float **ret_v)
{
    int r = exchange_check(step, exchange);

    if (r != 0) {
        return r;
    }
    const struct part_space *space = exchange_space(step, exchange);
    if (source >= space->source_count) {
        return seqsync__fail(step->session, SEQSYNC_ERR_INVALID,
                             "source %u of exchange %u is not in the plan", source, exchange);
    }
    const struct seqsync_source *from = &space->sources[source];
    if (from->rank == (uint32_t)step->session->rank && !step->kv_published[exchange]) {
        return seqsync__fail(step->session, SEQSYNC_ERR_INVALID,
                             "publish exchange %u before waiting for it", exchange);
    }
    r = from->local ? wait_local(step, exchange, from, ret_k, ret_v)
                    : wait_remote(step, exchange, from, ret_k, ret_v);
    if (r == 0) {
        count_source(step, exchange, source);
    }
    return r;
}

/* ---- returns ---- */

static int return_check(struct seqsync_step *step, uint32_t exchange)
{
    const int r = exchange_check(step, exchange);

    if (r == 0 && step->session->exchanges[exchange].forward_only) {
        return seqsync__fail(step->session, SEQSYNC_ERR_INVALID,
                             "exchange %u was registered as forward only", exchange);
    }
    return r;
}

static size_t return_plane_bytes(const struct seqsync_step *step, uint32_t exchange)
{
    return (size_t)exchange_space(step, exchange)->return_rows *
           arena_row_elements(&step->session->exchanges[exchange]) * sizeof(float);
}

int seqsync_return_buffer(struct seqsync_step *step, uint32_t exchange, float **ret_dk,
                          float **ret_dv)
{
    int r = return_check(step, exchange);

    if (r != 0) {
        return r;
    }
    struct seqsync_session *session = step->session;
    const uint32_t slot = exchange % ARENA_RETURN_SLOTS;
    const int32_t user = step->slot_user[slot];
    if (user >= 0 && user != (int32_t)exchange) {
        if (!step->return_published[user]) {
            return seqsync__fail(session, SEQSYNC_ERR_INVALID,
                                 "exchange %u uses the return buffer of exchange %d: publish that "
                                 "first",
                                 exchange, user);
        }
        r = seqsync__wait_word(
            session, session->page.data + session->page_layout.return_free + 4 * (size_t)user,
            (uint32_t)step->number, "the sums of returns of exchange %d, step %llu", user,
            (unsigned long long)step->number);
        if (r != 0) {
            return r;
        }
    }
    if (step->return_published[exchange]) {
        return seqsync__fail(session, SEQSYNC_ERR_DUPLICATE,
                             "rank %d returned exchange %u of step %llu already", session->rank,
                             exchange, (unsigned long long)step->number);
    }
    step->slot_user[slot] = (int32_t)exchange;
    const struct arena_rank *layout = &step->rank_layouts[step->local];
    const size_t bytes = return_plane_bytes(step, exchange);
    *ret_dk = floats_at(&session->arenas[step->local], layout->return_k[slot]);
    *ret_dv = floats_at(&session->arenas[step->local], layout->return_v[slot]);
    memset(*ret_dk, 0, bytes);
    memset(*ret_dv, 0, bytes);
    return 0;
}

int seqsync_return_publish(struct seqsync_step *step, uint32_t exchange)
{
    const int r = return_check(step, exchange);

    if (r != 0) {
        return r;
    }
    struct seqsync_session *session = step->session;
    if (step->return_published[exchange]) {
        return seqsync__fail(session, SEQSYNC_ERR_DUPLICATE,
                             "rank %d returned exchange %u of step %llu already", session->rank,
                             exchange, (unsigned long long)step->number);
    }
    /* Who has nothing to return need not ask for the buffer. */
    const uint64_t bytes = 2 * (uint64_t)return_plane_bytes(step, exchange);
    if (bytes > 0 && step->slot_user[exchange % ARENA_RETURN_SLOTS] != (int32_t)exchange) {
        return seqsync__fail(session, SEQSYNC_ERR_INVALID,
                             "take the return buffer of exchange %u before publishing it",
                             exchange);
    }
    step->return_published[exchange] = true;
    step->return_bytes += bytes;
    session->counters.return_bytes += bytes;
    return send_ready(session, SEQSYNC__WORKER__READY_KIND__READY_RETURN, exchange, step->number);
}

int seqsync_return_wait(struct seqsync_step *step, uint32_t exchange, const float **ret_dk,
                        const float **ret_dv)
{
    int r = return_check(step, exchange);

    if (r != 0) {
        return r;
    }
    struct seqsync_session *session = step->session;
    if (!step->return_published[exchange]) {
        return seqsync__fail(session, SEQSYNC_ERR_INVALID,
                             "publish the returns of exchange %u before waiting for them",
                             exchange);
    }
    const size_t word = (size_t)exchange * session->local_count + step->local;
    r = seqsync__wait_word(
        session, session->page.data + session->page_layout.return_ready + 4 * word,
        (uint32_t)step->number, "the other ranks' returns for rank %d, exchange %u, step %llu",
        session->rank, exchange, (unsigned long long)step->number);
    if (r == 0) {
        const uint32_t slot = exchange % ARENA_RETURN_SLOTS;
        *ret_dk = floats_at(&session->inbox, step->inbox_layout.sum_k[step->local][slot]);
        *ret_dv = floats_at(&session->inbox, step->inbox_layout.sum_v[step->local][slot]);
    }
    return r;
}
