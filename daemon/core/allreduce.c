#include "daemon/core/allreduce.h"

#include "daemon/base/num.h"

#include <assert.h>
#include <string.h>

bool allreduce_is_legal(uint32_t dtype, uint32_t op, uint32_t bytes)
{
    if (bytes == 0) {
        return true;
    }
    if (dtype < SEQSYNC_F32 || dtype > SEQSYNC_I64 || op < SEQSYNC_SUM || op > SEQSYNC_MAX) {
        return false;
    }
    return bytes <= ALLREDUCE_BYTES_MAX && bytes % (dtype == SEQSYNC_F32 ? 4 : 8) == 0;
}

uint64_t allreduce_digest(uint32_t dtype, uint32_t op, uint32_t bytes)
{
    if (bytes == 0) {
        return UINT64_C(1) << 63; /* a barrier has neither type nor operation */
    }
    return (uint64_t)dtype << 48 | (uint64_t)op << 40 | bytes;
}

/* @b joins @a. A NaN on either side stays. */
static double combine_f64(double a, double b, uint32_t op)
{
    if (op == SEQSYNC_SUM) {
        return a + b;
    }
    if (a != a || b != b) {
        return a + b;
    }
    return (op == SEQSYNC_MIN) == (b < a) && a != b ? b : a;
}

static bool combine_i64(int64_t *a, int64_t b, uint32_t op)
{
    if (op == SEQSYNC_SUM) {
        return num_add_i64(a, *a, b);
    }
    if (op == SEQSYNC_MIN ? b < *a : b > *a) {
        *a = b;
    }
    return true;
}

static double load_float(const uint8_t *at, uint32_t dtype)
{
    double wide;
    float narrow;

    if (dtype == SEQSYNC_F64) {
        memcpy(&wide, at, sizeof(wide));
        return wide;
    }
    memcpy(&narrow, at, sizeof(narrow));
    return (double)narrow;
}

static void store_float(uint8_t *at, uint32_t dtype, double value)
{
    const float narrow = (float)value;

    if (dtype == SEQSYNC_F64) {
        memcpy(at, &value, sizeof(value));
    } else {
        memcpy(at, &narrow, sizeof(narrow));
    }
}

static bool compute_i64(const uint8_t *values, uint32_t rank_count, uint32_t op, uint32_t offset,
                        uint8_t *ret)
{
    int64_t sum, value;
    bool fits = true;

    memcpy(&sum, values + offset, sizeof(sum));
    for (uint32_t rank = 1; rank < rank_count; rank++) {
        memcpy(&value, values + (size_t)rank * ALLREDUCE_BYTES_MAX + offset, sizeof(value));
        fits &= combine_i64(&sum, value, op);
    }
    memcpy(ret + offset, &sum, sizeof(sum));
    return fits;
}

int allreduce_compute(const uint8_t *values, uint32_t rank_count, uint32_t dtype, uint32_t op,
                      uint32_t bytes, uint8_t *ret)
{
    const uint32_t size = dtype == SEQSYNC_F32 ? 4 : 8;
    bool fits = true;

    assert(rank_count > 0);
    assert(allreduce_is_legal(dtype, op, bytes));
    for (uint32_t offset = 0; offset < bytes; offset += size) {
        if (dtype == SEQSYNC_I64) {
            fits &= compute_i64(values, rank_count, op, offset, ret);
            continue;
        }
        double sum = load_float(values + offset, dtype);
        for (uint32_t rank = 1; rank < rank_count; rank++) {
            sum = combine_f64(
                sum, load_float(values + (size_t)rank * ALLREDUCE_BYTES_MAX + offset, dtype), op);
        }
        store_float(ret + offset, dtype, sum);
    }
    return fits ? 0 : ALLREDUCE_OVERFLOW;
}
