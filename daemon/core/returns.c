#include "daemon/core/returns.h"

#include <assert.h>

void returns_open(struct returns *returns, const struct return_plan *plan)
{
    for (uint32_t i = 0; i < plan->count; i++) {
        returns->sums[i] = (struct return_sum){.state = RETURN_WAITING};
    }
    returns->left = plan->count;
}

int32_t returns_find(const struct return_plan *plan, uint32_t holder)
{
    uint32_t low = 0, high = plan->count;

    while (low < high) {
        const uint32_t mid = low + (high - low) / 2;
        if (plan->returns[mid].holder < holder) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low < plan->count && plan->returns[low].holder == holder ? (int32_t)low : -1;
}

int returns_receive(struct returns *returns, const struct return_plan *plan, uint32_t holder,
                    uint32_t node)
{
    const int32_t i = returns_find(plan, holder);
    const uint64_t bit = UINT64_C(1) << node;

    if (i < 0 || (plan->needs[i].nodes & bit) == 0) {
        return RETURNS_UNEXPECTED;
    }
    if ((returns->sums[i].received & bit) != 0) {
        return RETURNS_DUPLICATE;
    }
    returns->sums[i].received |= bit;
    return 0;
}

int32_t returns_next(struct returns *returns, const struct return_plan *plan, uint32_t from,
                     uint64_t published)
{
    for (uint32_t i = from; i < plan->count; i++) {
        struct return_sum *sum = &returns->sums[i];
        if (sum->state == RETURN_WAITING && (plan->needs[i].ranks & ~published) == 0 &&
            (plan->needs[i].nodes & ~sum->received) == 0) {
            sum->state = RETURN_SUMMING;
            return (int32_t)i;
        }
    }
    return -1;
}

int returns_summed(struct returns *returns, const struct return_plan *plan, uint32_t holder)
{
    const int32_t i = returns_find(plan, holder);

    if (i < 0 || returns->sums[i].state != RETURN_SUMMING) {
        return RETURNS_UNEXPECTED;
    }
    assert(returns->left > 0);
    returns->sums[i].state = RETURN_DONE;
    returns->left--;
    return 0;
}
