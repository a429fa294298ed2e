#include "client/lib/environment.h"

#include <errno.h>
#include <limits.h>
#include <seqsync/types.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS 600000 /* beyond the daemon's own 5 min, which names the culprit */

/* In order of precedence: the first whose rank variable is set wins, and must then be complete. */
static const struct launcher {
    const char *name;
    const char *rank;
    const char *world_size;
    const char *problem;
} launchers[] = {
    {"SEQSYNC_*", "SEQSYNC_RANK", "SEQSYNC_WORLD_SIZE",
     "SEQSYNC_RANK and SEQSYNC_WORLD_SIZE do not fit together"},
    {"torchrun", "RANK", "WORLD_SIZE", "RANK and WORLD_SIZE do not fit together"},
    {"Slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_PROCID and SLURM_NTASKS do not fit together"},
    {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
     "OMPI_COMM_WORLD_RANK and OMPI_COMM_WORLD_SIZE do not fit together"},
    {"PMI", "PMI_RANK", "PMI_SIZE", "PMI_RANK and PMI_SIZE do not fit together"},
};

/* A whole decimal number from 0 to @max. */
static bool number_of(const char *text, long max, long *ret)
{
    char *end;

    if (text == NULL || *text < '0' || *text > '9') {
        return false;
    }
    errno = 0;
    const long value = strtol(text, &end, 10);
    if (errno != 0 || *end != '\0' || value > max) {
        return false;
    }
    *ret = value;
    return true;
}

static const char *ranks_read(struct seqsync__environment *ret)
{
    for (size_t i = 0; i < sizeof(launchers) / sizeof(launchers[0]); i++) {
        const char *text = getenv(launchers[i].rank);
        long rank, world_size;
        if (text == NULL) {
            continue;
        }
        if (!number_of(text, SEQSYNC_RANKS_MAX - 1, &rank) ||
            !number_of(getenv(launchers[i].world_size), SEQSYNC_RANKS_MAX, &world_size) ||
            rank >= world_size) {
            return launchers[i].problem;
        }
        ret->rank = (int32_t)rank;
        ret->world_size = (int32_t)world_size;
        ret->source = launchers[i].name;
        return NULL;
    }
    ret->rank = 0;
    ret->world_size = 1;
    ret->source = "a single process";
    return NULL;
}

static void job_read(struct seqsync__environment *ret)
{
    const char *job = getenv("SEQSYNC_JOB");
    const char *slurm = getenv("SLURM_JOB_ID");
    const char *step = getenv("SLURM_STEP_ID");

    if (job == NULL || *job == '\0') {
        job = getenv("TORCHELASTIC_RUN_ID");
    }
    if (job != NULL && *job != '\0') {
        snprintf(ret->job, sizeof(ret->job), "%s", job);
    } else if (slurm != NULL) {
        snprintf(ret->job, sizeof(ret->job), "%s.%s", slurm, step != NULL ? step : "0");
    } else {
        snprintf(ret->job, sizeof(ret->job), "default");
    }
}

void seqsync__environment_read(struct seqsync__environment *ret)
{
    const char *timeout = getenv("SEQSYNC_TIMEOUT_MS");
    long ms = TIMEOUT_MS;

    *ret = (struct seqsync__environment){.world_size = 1, .timeout_ms = TIMEOUT_MS};
    ret->socket_path = getenv("SEQSYNC_SOCKET");
    if (ret->socket_path == NULL || *ret->socket_path == '\0') {
        ret->socket_path = "/run/seqsync/seqsync.sock";
    }
    if (timeout != NULL && (!number_of(timeout, INT_MAX / 2, &ms) || ms == 0)) {
        ret->timeout_problem = "SEQSYNC_TIMEOUT_MS is no number of milliseconds";
    } else {
        ret->timeout_ms = (uint32_t)ms;
    }
    job_read(ret);
    ret->ranks_problem = ranks_read(ret);
}
