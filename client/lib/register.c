/* What the job exchanges and aggregates, said once. */
#include "client/lib/session_private.h"

#include <stdlib.h>
#include <string.h>

static int register_send(struct seqsync_session *session, Seqsync__Worker__DaemonMessage **ret,
                         struct seqsync__fds *ret_fds)
{
    Seqsync__Worker__WorkerMessage message = SEQSYNC__WORKER__WORKER_MESSAGE__INIT;
    Seqsync__Worker__Register body = SEQSYNC__WORKER__REGISTER__INIT;
    Seqsync__Worker__ExchangeShape exchanges[SEQSYNC_EXCHANGES_MAX],
        *exchange_list[SEQSYNC_EXCHANGES_MAX];
    Seqsync__Worker__BucketShape buckets[SEQSYNC_BUCKETS_MAX], *bucket_list[SEQSYNC_BUCKETS_MAX];

    for (uint32_t i = 0; i < session->schema.exchange_count; i++) {
        const struct seqsync_exchange_shape *shape = &session->exchanges[i];
        seqsync__worker__exchange_shape__init(&exchanges[i]);
        exchanges[i].space = shape->space;
        exchanges[i].heads_kv = (uint32_t)shape->heads_kv;
        exchanges[i].head_dim = (uint32_t)shape->head_dim;
        exchanges[i].forward_only = shape->forward_only;
        exchange_list[i] = &exchanges[i];
    }
    for (uint32_t i = 0; i < session->schema.bucket_count; i++) {
        seqsync__worker__bucket_shape__init(&buckets[i]);
        buckets[i].elements = session->buckets[i].elements;
        buckets[i].role = session->buckets[i].role;
        bucket_list[i] = &buckets[i];
    }
    body.n_exchanges = session->schema.exchange_count;
    body.exchanges = exchange_list;
    body.n_buckets = session->schema.bucket_count;
    body.buckets = bucket_list;
    message.body_case = SEQSYNC__WORKER__WORKER_MESSAGE__BODY_REGISTER;
    message.register_ = &body;
    return seqsync__call(session, &message, SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_REGISTERED, false,
                         ret, ret_fds);
}

static const char *register_map(struct seqsync_session *session,
                                const Seqsync__Worker__Registered *answer,
                                const struct seqsync__fds *fds)
{
    size_t bucket_bytes;

    if (fds->count != 3) {
        return "the answer to a registration has not three descriptors";
    }
    if (!arena_page_layout(&session->schema, &session->page_layout) ||
        !arena_bucket_offset(&session->schema, session->schema.bucket_count, &bucket_bytes)) {
        return "the registered shapes are larger than memory can be";
    }
    if (answer->page_bytes != session->page_layout.bytes ||
        answer->gradient_bytes != bucket_bytes || answer->result_bytes != bucket_bytes) {
        return "daemon and library lay out memory differently: they are of different versions";
    }
    const char *why =
        seqsync__map_open(&session->page, fds->fds[0], session->page_layout.bytes, false);
    why =
        why != NULL ? why : seqsync__map_open(&session->gradient, fds->fds[1], bucket_bytes, true);
    return why != NULL ? why
                       : seqsync__map_open(&session->result, fds->fds[2], bucket_bytes, false);
}

int seqsync_session_register(struct seqsync_session *session,
                             const struct seqsync_exchange_shape *exchanges,
                             uint32_t exchange_count, const struct seqsync_bucket_shape *buckets,
                             uint32_t bucket_count)
{
    Seqsync__Worker__DaemonMessage *answer;
    struct seqsync__fds fds;
    int r = seqsync__check(session);

    if (r != 0) {
        return r;
    }
    if (session->registered) {
        return seqsync__fail(session, SEQSYNC_ERR_INVALID, "the session has registered already");
    }
    if ((exchanges == NULL && exchange_count > 0) || (buckets == NULL && bucket_count > 0)) {
        return seqsync__fail(session, SEQSYNC_ERR_INVALID,
                             "exchanges or buckets are counted, but not given");
    }
    const struct arena_schema schema = {.exchanges = exchanges,
                                        .buckets = buckets,
                                        .exchange_count = exchange_count,
                                        .bucket_count = bucket_count,
                                        .world_size = (uint32_t)session->world_size,
                                        .local_count = session->local_count};
    const char *why = arena_schema_check(&schema);
    if (why != NULL) {
        return seqsync__fail(session, SEQSYNC_ERR_INVALID, "%s", why);
    }
    if (exchange_count > 0) {
        memcpy(session->exchanges, exchanges, exchange_count * sizeof(*exchanges));
    }
    if (bucket_count > 0) {
        memcpy(session->buckets, buckets, bucket_count * sizeof(*buckets));
    }
    session->schema = schema;
    session->schema.exchanges = session->exchanges;
    session->schema.buckets = session->buckets;
    r = register_send(session, &answer, &fds);
    if (r != 0) {
        return r;
    }
    why = register_map(session, answer->registered, &fds);
    seqsync__fds_close(&fds);
    if (why != NULL) {
        return seqsync__end_answer(session, "registering", why);
    }
    session->registered = true;
    return 0;
}
