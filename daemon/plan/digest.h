/* The fingerprint by which nodes attest that they made the same plan. */
#ifndef SEQSYNC_PLAN_DIGEST_H
#define SEQSYNC_PLAN_DIGEST_H

#include "daemon/plan/plan.h"

/* XXH3-64 over everything in @plan but its digest. Any thread. */
uint64_t plan_digest(const struct plan *plan);

#endif
