#include "client/lib/session_private.h"

#include "proto/batch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int seqsync__step_check(struct seqsync_step *step)
{
    const int r = seqsync__check(step != NULL ? step->session : NULL);

    if (r != 0) {
        return r;
    }
    return step->open ? 0 : seqsync__fail(step->session, SEQSYNC_ERR_INVALID, "the step has ended");
}

void seqsync__step_close(struct seqsync_step *step)
{
    step->open = false;
    seqsync__map_close(&step->part_map);
    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        free(step->source_seen[s]);
        step->source_seen[s] = NULL;
    }
}

/* ---- begin ---- */

/* Maps new arenas and inbox, if the daemon made some. */
static const char *step_map_arenas(struct seqsync_session *session,
                                   const Seqsync__Worker__StepStart *start,
                                   const struct seqsync__fds *fds)
{
    const uint32_t wanted = start->new_arenas ? session->local_count + 2 : 1;
    const char *why = NULL;

    if (fds->count != wanted || start->n_arena_bytes != session->local_count) {
        return "the start of a step has another number of descriptors than local ranks";
    }
    for (uint32_t i = 0; i < session->local_count && start->new_arenas && why == NULL; i++) {
        why = seqsync__map_open(&session->arenas[i], fds->fds[1 + i], start->arena_bytes[i],
                                i == session->local_rank);
    }
    if (start->new_arenas && why == NULL) {
        why = seqsync__map_open(&session->inbox, fds->fds[1 + session->local_count],
                                start->inbox_bytes, false);
    }
    return why;
}

/* Computes where everything lies and checks that the segments are large enough for it. */
static const char *step_layout(struct seqsync_step *step)
{
    struct seqsync_session *session = step->session;
    const struct part *part = &step->part;
    int64_t inbox_rows[SEQSYNC_SPACES_N];

    if (part->local_count != session->local_count || part->rank != (uint32_t)session->rank ||
        part->local_ranks[session->local_rank] != part->rank) {
        return "the part of the plan is another rank's";
    }
    for (uint32_t i = 0; i < part->local_count; i++) {
        struct arena_rows rows;
        for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
            rows.rows[s] = part->local_rows[i][s];
            rows.return_rows[s] = part->local_return_rows[i][s];
        }
        if (!arena_rank_layout(&session->schema, &rows, &step->rank_layouts[i]) ||
            session->arenas[i].bytes < step->rank_layouts[i].bytes) {
            return "an arena is smaller than the plan needs";
        }
    }
    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        inbox_rows[s] = part->spaces[s].inbox_rows;
    }
    if (!arena_inbox_layout(&session->schema, inbox_rows, part->local_rows, &step->inbox_layout) ||
        session->inbox.bytes < step->inbox_layout.bytes) {
        return "the inbox is smaller than the plan needs";
    }
    return NULL;
}

static const char *step_open(struct seqsync_step *step, const Seqsync__Worker__StepStart *start,
                             const struct seqsync__fds *fds)
{
    struct seqsync_session *session = step->session;
    const char *why = step_map_arenas(session, start, fds);

    why = why != NULL ? why
                      : seqsync__map_open(&step->part_map, fds->fds[0], start->part_bytes, false);
    why = why != NULL ? why : part_decode(step->part_map.data, step->part_map.bytes, &step->part);
    why = why != NULL ? why : step_layout(step);
    if (why == NULL && (start->step != step->number || step->part.step != step->number)) {
        why = "the daemon started another step";
    }
    for (uint32_t s = 0; s < SEQSYNC_SPACES_N && why == NULL; s++) {
        const size_t bits =
            (size_t)session->schema.exchange_count * step->part.spaces[s].source_count;
        step->source_seen[s] = calloc(bits / 64 + 1, sizeof(uint64_t));
        why = step->source_seen[s] != NULL ? NULL : seqsync__out_of_memory;
    }
    return why;
}

int seqsync_step_begin(struct seqsync_session *session, const struct seqsync_batch *batch,
                       struct seqsync_step **ret)
{
    Seqsync__Worker__WorkerMessage message = SEQSYNC__WORKER__WORKER_MESSAGE__INIT;
    Seqsync__Worker__Begin begin = SEQSYNC__WORKER__BEGIN__INIT;
    Seqsync__Worker__DaemonMessage *answer;
    struct seqsync__fds fds;
    struct seqsync_step *step;
    uint8_t bytes[BATCH_BYTES_MAX];
    char what[32];
    int r = seqsync__check(session);

    if (r != 0) {
        return r;
    }
    step = &session->step;
    if (!session->registered || step->open) {
        return seqsync__fail(session, SEQSYNC_ERR_INVALID,
                             step->open ? "the last step is still open: commit it first"
                                        : "register exchanges and buckets before the first step");
    }
    const char *why =
        batch == NULL || ret == NULL ? "no batch, or nowhere to put the step" : batch_check(batch);
    if (why != NULL) {
        return seqsync__fail(session, SEQSYNC_ERR_INVALID, "%s", why);
    }
    memset(step, 0, sizeof(*step));
    step->session = session;
    step->number = session->step_number + 1;
    step->local = session->local_rank;
    for (uint32_t slot = 0; slot < ARENA_RETURN_SLOTS; slot++) {
        step->slot_user[slot] = -1;
    }
    begin.step = step->number;
    begin.batch = (ProtobufCBinaryData){.len = batch_encode(batch, bytes), .data = bytes};
    message.body_case = SEQSYNC__WORKER__WORKER_MESSAGE__BODY_BEGIN;
    message.begin = &begin;
    const uint64_t start_ns = seqsync__now_ns();
    r = seqsync__call(session, &message, SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_STEP_START, false,
                      &answer, &fds);
    session->counters.wait_ns += seqsync__now_ns() - start_ns;
    if (r != 0) {
        return r;
    }
    why = step_open(step, answer->step_start, &fds);
    seqsync__fds_close(&fds);
    if (why != NULL) {
        seqsync__step_close(step);
        snprintf(what, sizeof(what), "step %llu", (unsigned long long)step->number);
        return seqsync__end_answer(session, what, why);
    }
    session->step_number = step->number;
    step->begun_ns = seqsync__now_ns();
    step->open = true;
    *ret = step;
    return 0;
}

/* ---- commit ---- */

int seqsync_step_commit(struct seqsync_step *step, const struct seqsync_attestation *attestation,
                        int *ret_skip)
{
    Seqsync__Worker__WorkerMessage message = SEQSYNC__WORKER__WORKER_MESSAGE__INIT;
    Seqsync__Worker__Commit commit = SEQSYNC__WORKER__COMMIT__INIT;
    Seqsync__Worker__DaemonMessage *answer;
    int r = seqsync__step_check(step);

    if (r != 0) {
        return r;
    }
    struct seqsync_session *session = step->session;
    if (attestation != NULL &&
        (attestation->size != sizeof(*attestation) || attestation->tokens < 0)) {
        return seqsync__fail(session, SEQSYNC_ERR_INVALID,
                             "attestation.size or tokens is not possible");
    }
    commit.step = step->number;
    commit.tokens =
        attestation != NULL ? attestation->tokens : seqsync_step_rows(step, SEQSYNC_SPACE_TOKENS);
    commit.area = attestation != NULL ? attestation->area : -1;
    commit.compute_ns = attestation != NULL ? attestation->compute_ns : 0;
    if (commit.compute_ns == 0) {
        /* Not measured by the caller: whatever it did not wait for. */
        const uint64_t elapsed = seqsync__now_ns() - step->begun_ns;
        commit.compute_ns = elapsed > step->wait_ns ? elapsed - step->wait_ns : 0;
    }
    commit.parameter_digest = attestation != NULL ? attestation->parameter_digest : 0;
    commit.loss = attestation != NULL ? attestation->loss : (double)NAN;
    commit.wait_ns = step->wait_ns;
    commit.kv_remote_bytes = step->kv_remote_bytes;
    commit.return_bytes = step->return_bytes;
    message.body_case = SEQSYNC__WORKER__WORKER_MESSAGE__BODY_COMMIT;
    message.commit = &commit;
    const uint64_t start_ns = seqsync__now_ns();
    r = seqsync__call(session, &message, SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_COMMITTED, false,
                      &answer, NULL);
    session->counters.wait_ns += seqsync__now_ns() - start_ns;
    if (r == 0 && answer->committed->step != step->number) {
        r = seqsync__end(session, SEQSYNC_ERR_PROTOCOL, "the daemon committed another step");
    }
    if (r == 0 && ret_skip != NULL) {
        *ret_skip = answer->committed->skip ? 1 : 0;
    }
    seqsync__step_close(step);
    return r;
}

/* ---- queries ---- */

uint64_t seqsync_step_number(const struct seqsync_step *step)
{
    return step->number;
}

uint64_t seqsync_step_seed(const struct seqsync_step *step)
{
    return step->part.seed;
}

uint64_t seqsync_step_plan_digest(const struct seqsync_step *step)
{
    return step->part.plan_digest;
}

int64_t seqsync_step_rows(const struct seqsync_step *step, enum seqsync_space space)
{
    return step->part.spaces[space].rows;
}

int64_t seqsync_step_total(const struct seqsync_step *step, enum seqsync_space space)
{
    return step->part.spaces[space].total;
}

int64_t seqsync_step_area(const struct seqsync_step *step, enum seqsync_space space)
{
    return step->part.spaces[space].area;
}

int64_t seqsync_step_return_rows(const struct seqsync_step *step, enum seqsync_space space)
{
    return step->part.spaces[space].return_rows;
}

const struct seqsync_chunk *seqsync_step_chunks(const struct seqsync_step *step,
                                                enum seqsync_space space, uint32_t *ret_count)
{
    *ret_count = step->part.spaces[space].chunk_count;
    return step->part.spaces[space].chunks;
}

const struct seqsync_tile *seqsync_step_tiles(const struct seqsync_step *step,
                                              enum seqsync_space space, uint32_t *ret_count)
{
    *ret_count = step->part.spaces[space].tile_count;
    return step->part.spaces[space].tiles;
}

const struct seqsync_source *seqsync_step_sources(const struct seqsync_step *step,
                                                  enum seqsync_space space, uint32_t *ret_count)
{
    *ret_count = step->part.spaces[space].source_count;
    return step->part.spaces[space].sources;
}

void seqsync_step_indices(const struct seqsync_step *step, int64_t *global, int64_t *position,
                          uint32_t *sequence, int64_t *label)
{
    const struct part_space *space = &step->part.spaces[SEQSYNC_SPACE_TOKENS];

    for (uint32_t c = 0; c < space->chunk_count; c++) {
        const struct seqsync_chunk *chunk = &space->chunks[c];
        const int64_t end = step->part.sequence_ends[chunk->sequence];
        for (int64_t i = 0; i < chunk->count; i++) {
            const int64_t row = chunk->row + i, index = chunk->first + i;
            if (global != NULL) {
                global[row] = index;
            }
            if (position != NULL) {
                position[row] = chunk->position + i;
            }
            if (sequence != NULL) {
                sequence[row] = chunk->sequence;
            }
            if (label != NULL) {
                label[row] = index + 1 < end ? index + 1 : -1;
            }
        }
    }
}
