/* What must hold between the arrays of a part whose counts and places have been checked. */
#ifndef SEQSYNC_PROTO_PART_CHECK_H
#define SEQSYNC_PROTO_PART_CHECK_H

#include "proto/part.h"

/* Whether this may be a number of rows or tokens. */
static inline bool part_rows_ok(int64_t rows)
{
    return rows >= 0 && rows <= SEQSYNC_TOKENS_MAX;
}

/* NULL, or a static sentence. The scalars have been checked and the arrays can be read. */
const char *part_check(const struct part *part);

#endif
