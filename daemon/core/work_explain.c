/* What a step waits for. */
#include "daemon/core/work_private.h"

/* ---- local ranks ---- */

/* What local ranks have contributed to, compared. */
struct progress {
    uint64_t covered[SEQSYNC_LOCAL_RANKS_MAX]; /* by rank: those that have done all that it has */
    uint32_t done[SEQSYNC_LOCAL_RANKS_MAX];
    uint32_t used; /* things that some local rank has contributed to */
};

static void progress_look(struct progress *progress, const struct engine_job *job, uint64_t done)
{
    progress->used += done != 0;
    for (uint32_t i = 0; i < job->local_count; i++) {
        if ((done >> i & 1) != 0) {
            progress->covered[i] &= done;
            progress->done[i]++;
        }
    }
}

static void progress_measure(struct progress *progress, const struct engine_job *job)
{
    *progress = (struct progress){.used = 0};
    for (uint32_t i = 0; i < job->local_count; i++) {
        progress->covered[i] = job->members.ranks;
    }
    for (uint32_t i = 0; i < job->exchange_count; i++) {
        progress_look(progress, job, job->exchanges[i].published);
        progress_look(progress, job, job->exchanges[i].returned);
    }
    for (uint32_t i = 0; i < job->bucket_count; i++) {
        progress_look(progress, job, job->buckets[i].contributed);
    }
}

/* Whether some rank has done a true part of what rank @local has. */
static bool is_ahead_of_some(const struct progress *progress, const struct engine_job *job,
                             uint32_t local)
{
    for (uint32_t i = 0; i < job->local_count; i++) {
        if ((progress->covered[i] >> local & 1) != 0 && progress->done[i] < progress->done[local]) {
            return true;
        }
    }
    return false;
}

uint32_t work_behind(const struct engine_job *job, struct rank_set *ret)
{
    struct progress progress;
    uint32_t count = 0;

    rank_set_clear(ret);
    progress_measure(&progress, job);
    for (uint32_t i = 0; i < job->local_count; i++) {
        if (progress.done[i] < progress.used && !is_ahead_of_some(&progress, job, i)) {
            rank_set_add(ret, job->locals[i].rank);
            count++;
        }
    }
    return count;
}

/* The first thing in the list that others have contributed to and rank @local has not. */
static const char *first_missing(const struct engine_job *job, uint32_t local, uint32_t *ret_id)
{
    for (*ret_id = 0; *ret_id < job->exchange_count; (*ret_id)++) {
        const struct exchange *exchange = &job->exchanges[*ret_id];
        if (exchange->published != 0 && (exchange->published >> local & 1) == 0) {
            return work_kv;
        }
    }
    /* Backward goes from the last exchange to the first. */
    for (*ret_id = job->exchange_count; (*ret_id)-- > 0;) {
        const struct exchange *exchange = &job->exchanges[*ret_id];
        if (exchange->returned != 0 && (exchange->returned >> local & 1) == 0) {
            return work_return;
        }
    }
    for (*ret_id = 0; *ret_id < job->bucket_count; (*ret_id)++) {
        const uint64_t contributed = job->buckets[*ret_id].contributed;
        if (contributed != 0 && (contributed >> local & 1) == 0) {
            return work_bucket;
        }
    }
    return NULL;
}

void work_explain_behind(const struct engine_job *job, const struct rank_set *ranks,
                         struct text *text)
{
    const bool one = rank_set_count(ranks) == 1;
    char last[64];
    const char *comma = "";
    uint32_t id;

    for (uint32_t i = 0; i < job->local_count; i++) {
        const struct local_rank *local = &job->locals[i];
        const char *what = first_missing(job, i, &id);
        if (!rank_set_has(ranks, local->rank)) {
            continue;
        }
        activity_text(&local->last, last, sizeof(last));
        text_add(text, "%s", comma);
        if (!one) {
            text_add(text, "rank %u ", local->rank);
        }
        text_add(text, "%s", last);
        if (what != NULL) {
            text_add(text, ", lacks %s %u", what, id);
        }
        comma = "; ";
    }
}

/* ---- other nodes ---- */

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
