/* What a step waits for. */
#include "daemon/core/engine_state.h"
#include "daemon/core/work.h"

uint32_t work_behind(const struct engine_job *job, struct rank_set *ret)
{
    uint64_t behind = 0;
    uint32_t count = 0;

    for (uint32_t i = 0; i < job->exchange_count; i++) {
        const struct exchange *exchange = &job->exchanges[i];
        behind |= exchange->published != 0 ? job->members.ranks & ~exchange->published : 0;
        behind |= exchange->returned != 0 ? job->members.ranks & ~exchange->returned : 0;
    }
    for (uint32_t i = 0; i < job->bucket_count; i++) {
        const uint64_t contributed = job->buckets[i].contributed;
        behind |= contributed != 0 ? job->members.ranks & ~contributed : 0;
    }
    rank_set_clear(ret);
    for (uint32_t i = 0; i < job->local_count; i++) {
        if ((behind >> i & 1) != 0) {
            rank_set_add(ret, job->locals[i].rank);
            count++;
        }
    }
    return count;
}

/* Nodes whose dK/dV partials are missing for sums that local ranks have done their part of. */
static uint64_t awaited_return_nodes(const struct engine_job *job, const struct exchange *exchange)
{
    const struct return_plan *plan = &job->step.plans[exchange->space].returns;
    uint64_t nodes = 0;

    for (uint32_t i = 0; exchange->returning == USE_OPEN && i < plan->count; i++) {
        if ((plan->needs[i].ranks & ~exchange->returned) == 0) {
            nodes |= plan->needs[i].nodes & ~exchange->returns.sums[i].received;
        }
    }
    return nodes;
}

static uint64_t awaited_bucket_nodes(const struct engine_job *job, const struct bucket *bucket)
{
    switch (bucket->state) {
    case BUCKET_PARTIAL:
        return bucket_partial_senders(bucket, &job->members) & ~bucket->partials;
    case BUCKET_SHARED:
        return job->members.peers & ~bucket->results;
    default:
        return 0;
    }
}

static bool awaits_kv(const struct engine_job *job, const struct exchange *exchange)
{
    return exchange->kv == USE_OPEN &&
           exchange->received_count < job->step.plans[exchange->space].receive_count;
}

bool work_awaits_peers(const struct engine_job *job)
{
    for (uint32_t i = 0; i < job->exchange_count; i++) {
        if (awaits_kv(job, &job->exchanges[i]) ||
            awaited_return_nodes(job, &job->exchanges[i]) != 0) {
            return true;
        }
    }
    for (uint32_t i = 0; i < job->bucket_count; i++) {
        if (awaited_bucket_nodes(job, &job->buckets[i]) != 0) {
            return true;
        }
    }
    return false;
}

static void explain_nodes(const struct engine *engine, uint64_t nodes, struct text *text,
                          int32_t *ret_node)
{
    text_nodes(text, nodes, engine->config.node_names);
    *ret_node = (nodes & (nodes - 1)) == 0 ? __builtin_ctzll(nodes) : -1;
}

void work_explain(const struct engine *engine, const struct engine_job *job, char *ret, size_t size,
                  int32_t *ret_rank, int32_t *ret_node)
{
    struct rank_set missing;
    struct text text;

    *ret_rank = -1;
    *ret_node = -1;
    text_init(&text, ret, size);
    for (uint32_t i = 0; i < job->exchange_count; i++) {
        const struct exchange *exchange = &job->exchanges[i];
        const uint64_t nodes = awaited_return_nodes(job, exchange);
        if (awaits_kv(job, exchange)) {
            exchange_missing(exchange, &job->step.plans[exchange->space], &missing);
            text_add(&text, "the keys and values of exchange %u from ", i);
            text_ranks_at(&text, &missing, &job->roster);
            *ret_rank = rank_set_count(&missing) == 1 ? (int32_t)rank_set_next(&missing, 0) : -1;
            *ret_node = *ret_rank >= 0 ? (int32_t)job->rank_nodes[*ret_rank] : -1;
            return;
        }
        if (nodes != 0) {
            text_add(&text, "the dK/dV of exchange %u from ", i);
            explain_nodes(engine, nodes, &text, ret_node);
            return;
        }
    }
    for (uint32_t i = 0; i < job->bucket_count; i++) {
        const uint64_t nodes = awaited_bucket_nodes(job, &job->buckets[i]);
        if (nodes != 0) {
            text_add(&text, "the %s of bucket %u from ",
                     job->buckets[i].state == BUCKET_PARTIAL ? "partial sum" : "result", i);
            explain_nodes(engine, nodes, &text, ret_node);
            return;
        }
    }
    text_add(&text, "nothing");
}
