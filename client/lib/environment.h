/* Who this process is, from its environment: launchers' variables in the order of
 * seqsync/session.h. */
#ifndef SEQSYNC_LIB_ENVIRONMENT_H
#define SEQSYNC_LIB_ENVIRONMENT_H

#include <stddef.h>
#include <stdint.h>

struct seqsync__environment {
    int32_t rank;
    int32_t world_size;
    uint32_t timeout_ms;
    const char *socket_path;
    char job[128];
    const char *source; /* which launcher's variables gave the rank, for the debug line */
    /* NULL, or a static sentence naming the variables that cannot be used. */
    const char *ranks_problem;
    const char *timeout_problem;
};

/* Fills in everything, also where a variable cannot be used: options may take its place. */
void seqsync__environment_read(struct seqsync__environment *ret);

#endif
