#include "daemon/core/exchange.h"

#include <assert.h>

void exchange_reset(struct exchange *exchange)
{
    exchange->kv = USE_NONE;
    exchange->returning = USE_NONE;
    exchange->published = 0;
    exchange->returned = 0;
    exchange->received_count = 0;
    memset(exchange->received, 0, exchange->words * sizeof(uint64_t));
}

static void exchange_open_returns(struct exchange *exchange, const struct exchange_plan *plan)
{
    if (exchange->returning == USE_NONE) {
        exchange->returning = USE_OPEN;
        returns_open(&exchange->returns, &plan->returns);
    }
}

int exchange_publish(struct exchange *exchange, uint32_t local)
{
    const uint64_t bit = UINT64_C(1) << local;

    if ((exchange->published & bit) != 0) {
        return EXCHANGE_DUPLICATE;
    }
    exchange->kv = USE_OPEN;
    exchange->published |= bit;
    return 0;
}

int exchange_return(struct exchange *exchange, const struct exchange_plan *plan, uint32_t local)
{
    const uint64_t bit = UINT64_C(1) << local;

    if ((exchange->returned & bit) != 0) {
        return EXCHANGE_DUPLICATE;
    }
    exchange_open_returns(exchange, plan);
    exchange->returned |= bit;
    return 0;
}

int exchange_receive(struct exchange *exchange, const struct exchange_plan *plan, uint32_t holder)
{
    if (!rank_set_has(&plan->receives, holder)) {
        return EXCHANGE_UNEXPECTED;
    }
    assert(holder / 64 < exchange->words);
    uint64_t *word = &exchange->received[holder / 64];
    const uint64_t bit = UINT64_C(1) << (holder % 64);
    if ((*word & bit) != 0) {
        return EXCHANGE_DUPLICATE;
    }
    *word |= bit;
    exchange->received_count++;
    exchange->kv = USE_OPEN;
    return 0;
}

int exchange_receive_return(struct exchange *exchange, const struct exchange_plan *plan,
                            uint32_t holder, uint32_t node)
{
    const int32_t i = returns_find(&plan->returns, holder);

    if (i < 0 || (plan->returns.needs[i].nodes >> node & 1) == 0) {
        return EXCHANGE_UNEXPECTED;
    }
    exchange_open_returns(exchange, plan);
    switch (returns_receive(&exchange->returns, &plan->returns, holder, node)) {
    case 0:
        return 0;
    case RETURNS_DUPLICATE:
        return EXCHANGE_DUPLICATE;
    default:
        return EXCHANGE_UNEXPECTED;
    }
}

bool exchange_settle_kv(struct exchange *exchange, const struct exchange_plan *plan,
                        uint64_t locals)
{
    if (exchange->kv != USE_OPEN || exchange->published != locals ||
        exchange->received_count != plan->receive_count) {
        return false;
    }
    exchange->kv = USE_DONE;
    return true;
}

bool exchange_settle_returns(struct exchange *exchange, uint64_t locals)
{
    if (exchange->returning != USE_OPEN || exchange->returned != locals ||
        exchange->returns.left > 0) {
        return false;
    }
    exchange->returning = USE_DONE;
    return true;
}

void exchange_missing(const struct exchange *exchange, const struct exchange_plan *plan,
                      struct rank_set *ret)
{
    *ret = plan->receives;
    for (uint32_t i = 0; i < exchange->words; i++) {
        ret->words[i] &= ~exchange->received[i];
    }
}

uint32_t exchange_first_send(const struct exchange_plan *plan, uint32_t holder)
{
    uint32_t low = 0, high = plan->send_count;

    while (low < high) {
        const uint32_t mid = low + (high - low) / 2;
        if (plan->sends[mid].holder < holder) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low < plan->send_count && plan->sends[low].holder == holder ? low : plan->send_count;
}
