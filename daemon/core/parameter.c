#include "daemon/core/parameter.h"

static int parameter_check(const struct parameter *parameter, uint64_t round)
{
    if (round <= parameter->round) {
        return PARAMETER_STALE;
    }
    if (round > parameter->round + 1) {
        return PARAMETER_FUTURE;
    }
    return parameter->copying ? PARAMETER_BUSY : 0;
}

int parameter_publish(struct parameter *parameter, uint64_t round, uint32_t root)
{
    const int r = parameter_check(parameter, round);

    if (r == 0) {
        parameter->copying = true;
        parameter->root = root;
    }
    return r;
}

bool parameter_copied(struct parameter *parameter, uint64_t round, uint32_t root)
{
    if (!parameter->copying || round != parameter->round + 1 || root != parameter->root) {
        return false;
    }
    parameter->copying = false;
    parameter->round = round;
    return true;
}

int parameter_receive(struct parameter *parameter, uint64_t round)
{
    const int r = parameter_check(parameter, round);

    if (r == 0) {
        parameter->round = round;
    }
    return r;
}
