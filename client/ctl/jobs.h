/* A job of an answer, as `jobs` and `shards` show it. */
#ifndef SEQSYNC_CTL_JOBS_H
#define SEQSYNC_CTL_JOBS_H

#include "client/ctl/table.h"
#include "proto/admin.pb-c.h"

#include <jansson.h>

/* NULL if out of memory. */
json_t *job_json(const Seqsync__Admin__Job *job);

enum table_mood job_mood(const Seqsync__Admin__Job *job);

#endif
