#include "client/lib/session_private.h"

#include <string.h>

float *seqsync__bucket_data(const struct seqsync_session *session, const struct seqsync__map *map,
                            uint32_t bucket)
{
    size_t offset = 0;

    (void)arena_bucket_offset(&session->schema, bucket,
                              &offset); /* registration has seen that it does not overflow */
    return (float *)(void *)(map->data + offset);
}

float *seqsync_gradient_buffer(struct seqsync_session *session, uint32_t bucket)
{
    if (session == NULL || !session->registered || bucket >= session->schema.bucket_count) {
        return NULL;
    }
    return seqsync__bucket_data(session, &session->gradient, bucket);
}

static int bucket_check(struct seqsync_step *step, uint32_t bucket)
{
    const int r = seqsync__step_check(step);

    if (r == 0 && bucket >= step->session->schema.bucket_count) {
        return seqsync__fail(step->session, SEQSYNC_ERR_INVALID, "bucket %u was not registered",
                             bucket);
    }
    return r;
}

int seqsync_gradient_contribute(struct seqsync_step *step, uint32_t bucket, int64_t count)
{
    Seqsync__Worker__WorkerMessage message = SEQSYNC__WORKER__WORKER_MESSAGE__INIT;
    Seqsync__Worker__Ready ready = SEQSYNC__WORKER__READY__INIT;
    const int r = bucket_check(step, bucket);

    if (r != 0) {
        return r;
    }
    struct seqsync_session *session = step->session;
    if (count < 0) {
        return seqsync__fail(session, SEQSYNC_ERR_INVALID, "a negative count for bucket %u",
                             bucket);
    }
    if (step->contributed[bucket]) {
        return seqsync__fail(session, SEQSYNC_ERR_DUPLICATE,
                             "rank %d contributed bucket %u of step %llu already", session->rank,
                             bucket, (unsigned long long)step->number);
    }
    step->contributed[bucket] = true;
    session->counters.gradient_bytes += session->buckets[bucket].elements * sizeof(float);
    ready.kind = SEQSYNC__WORKER__READY_KIND__READY_GRADIENT;
    ready.id = bucket;
    ready.sequence = step->number;
    ready.count = count;
    message.body_case = SEQSYNC__WORKER__WORKER_MESSAGE__BODY_READY;
    message.ready = &ready;
    return seqsync__send(session, &message);
}

int seqsync_gradient_wait(struct seqsync_step *step, uint32_t bucket, const float **ret_mean,
                          int64_t *ret_count)
{
    int r = bucket_check(step, bucket);

    if (r != 0) {
        return r;
    }
    struct seqsync_session *session = step->session;
    if (!step->contributed[bucket]) {
        return seqsync__fail(session, SEQSYNC_ERR_INVALID,
                             "contribute bucket %u before waiting for it", bucket);
    }
    r = seqsync__wait_word(
        session, session->page.data + session->page_layout.bucket_ready + 4 * (size_t)bucket,
        (uint32_t)step->number, "the sum of bucket %u, step %llu", bucket,
        (unsigned long long)step->number);
    if (r == 0) {
        *ret_mean = seqsync__bucket_data(session, &session->result, bucket);
        if (ret_count != NULL) {
            memcpy(ret_count,
                   session->page.data + session->page_layout.bucket_count + 8 * (size_t)bucket,
                   sizeof(*ret_count));
        }
    }
    return r;
}
