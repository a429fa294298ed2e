/* An admin endpoint that answers as it is told, for the tests of what seqctl makes of answers. */
#ifndef SEQSYNC_TEST_CTL_ANSWER_H
#define SEQSYNC_TEST_CTL_ANSWER_H

#include "proto/frame.h"

#include <stdbool.h>

enum answer_mode {
    ANSWER_WELL,
    ANSWER_ERROR,    /* no such job */
    ANSWER_GARBAGE,  /* bytes that are no message */
    ANSWER_PROTOCOL, /* another protocol version */
    ANSWER_EMPTY,    /* of our protocol, with nothing in it */
    ANSWER_NEVER,
};

struct answerer;

/* Serves @endpoint (ipc) in a thread of its own, with @health in the status. NULL if it cannot. */
struct answerer *answerer_new(const char *endpoint, enum answer_mode mode, const char *health);

/* Stops and joins. true if all requests that came were valid. */
bool answerer_free(struct answerer *answerer);

#endif
