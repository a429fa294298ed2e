#include "client/lib/session_private.h"

#define XXH_INLINE_ALL
#include <seqsync/collective.h>
#include <seqsync/parameter.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#define PARAMETER_NAMED_MAX 16u /* ranks in an error text; 6 bytes each at most */

uint64_t seqsync_parameter_digest(const float *const *values,
                                  const struct seqsync_bucket_shape *buckets, uint32_t bucket_count)
{
    XXH3_state_t state;

    XXH3_INITSTATE(&state);
    XXH3_64bits_reset(&state);
    for (uint32_t b = 0; b < bucket_count; b++) {
        XXH3_64bits_update(&state, values[b], buckets[b].elements * sizeof(float));
    }
    return XXH3_64bits_digest(&state);
}

/* What both do first: checks, and counts a new round. */
static int parameter_begin(struct seqsync_session *session, int32_t root,
                           const float *const *values)
{
    const int r = seqsync__check(session);

    if (r != 0) {
        return r;
    }
    if (!session->registered || session->step.open) {
        return seqsync__fail(session, SEQSYNC_ERR_INVALID,
                             "parameters travel after registration and between steps");
    }
    if (root < 0 || root >= session->world_size) {
        return seqsync__fail(session, SEQSYNC_ERR_INVALID, "there is no rank %d", root);
    }
    for (uint32_t b = 0; b < session->schema.bucket_count; b++) {
        if (values == NULL || values[b] == NULL) {
            return seqsync__fail(session, SEQSYNC_ERR_INVALID, "no values for bucket %u", b);
        }
    }
    /* Parameters arrive where averaged gradients lie: nobody may still be reading those. */
    const int ready = seqsync_barrier(session);
    session->parameter_round += ready == 0;
    return ready;
}

static int parameter_wait(struct seqsync_session *session, uint32_t bucket, int32_t root)
{
    return seqsync__wait_word(
        session, session->page.data + session->page_layout.parameter_ready + 4 * (size_t)bucket,
        (uint32_t)session->parameter_round, "the parameters of bucket %u from rank %d", bucket,
        root);
}

/*
 * Everybody tells everybody its digest: rank r's at place r, summed with zeros. That all have
 * answered also means that nobody still reads what the next round would overwrite.
 */
static int parameter_compare(struct seqsync_session *session, uint64_t digest, int32_t root)
{
    int64_t digests[SEQSYNC_RANKS_MAX] = {0};
    char ranks[128] = "";
    size_t length = 0;
    uint32_t differing = 0;

    digests[session->rank] = (int64_t)digest;
    const int r =
        seqsync_all_reduce(session, digests, (size_t)session->world_size, SEQSYNC_I64, SEQSYNC_SUM);
    if (r != 0) {
        return r;
    }
    for (int32_t rank = 0; rank < session->world_size; rank++) {
        if (digests[rank] == digests[root]) {
            continue;
        }
        if (differing < PARAMETER_NAMED_MAX) {
            length += (size_t)snprintf(ranks + length, sizeof(ranks) - length, " %d", rank);
        }
        differing++;
    }
    if (differing > 0) {
        return seqsync__end(
            session, SEQSYNC_ERR_PARAMETER_MISMATCH,
            "parameters of %u of %d ranks differ from those of rank %d: rank%s%s%s; "
            "give every rank the same model, and one root",
            differing, session->world_size, root, differing > 1 ? "s" : "", ranks,
            differing > PARAMETER_NAMED_MAX ? " ..." : "");
    }
    return 0;
}

int seqsync_parameter_publish(struct seqsync_session *session, const float *const *values)
{
    int r = parameter_begin(session, session != NULL ? session->rank : 0, values);

    if (r != 0) {
        return r;
    }
    for (uint32_t b = 0; b < session->schema.bucket_count && r == 0; b++) {
        Seqsync__Worker__WorkerMessage message = SEQSYNC__WORKER__WORKER_MESSAGE__INIT;
        Seqsync__Worker__Ready ready = SEQSYNC__WORKER__READY__INIT;
        memcpy(seqsync__bucket_data(session, &session->gradient, b), values[b],
               session->buckets[b].elements * sizeof(float));
        ready.kind = SEQSYNC__WORKER__READY_KIND__READY_PARAMETER;
        ready.id = b;
        ready.sequence = session->parameter_round;
        ready.root = (uint32_t)session->rank;
        message.body_case = SEQSYNC__WORKER__WORKER_MESSAGE__BODY_READY;
        message.ready = &ready;
        r = seqsync__send(session, &message);
    }
    for (uint32_t b = 0; b < session->schema.bucket_count && r == 0; b++) {
        r = parameter_wait(session, b, session->rank);
    }
    if (r != 0) {
        return r;
    }
    return parameter_compare(
        session, seqsync_parameter_digest(values, session->buckets, session->schema.bucket_count),
        session->rank);
}

int seqsync_parameter_pull(struct seqsync_session *session, int32_t root, float *const *values)
{
    int r = parameter_begin(session, root, (const float *const *)values);

    if (r != 0) {
        return r;
    }
    for (uint32_t b = 0; b < session->schema.bucket_count && r == 0; b++) {
        r = parameter_wait(session, b, root);
        if (r == 0) {
            memcpy(values[b], seqsync__bucket_data(session, &session->result, b),
                   session->buckets[b].elements * sizeof(float));
        }
    }
    if (r != 0) {
        return r;
    }
    return parameter_compare(session,
                             seqsync_parameter_digest((const float *const *)values,
                                                      session->buckets,
                                                      session->schema.bucket_count),
                             root);
}
