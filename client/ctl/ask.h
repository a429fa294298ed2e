/* One question to one daemon over its admin endpoint, and the answer. */
#ifndef SEQSYNC_CTL_ASK_H
#define SEQSYNC_CTL_ASK_H

#include "client/ctl/ctl.h"
#include "client/ctl/error.h"
#include "proto/frame.h"

/* An answer and the memory that it lives in. */
struct ask {
    struct frame_memory *memory;
    const Seqsync__Admin__Answer *answer;
};

#define ASK_NULL                                                                                   \
    {                                                                                              \
        .memory = NULL                                                                             \
    }

/*
 * Asks within ctl->timeout_ns; @job is NULL where the question has none. EX_OK: ask->answer is
 * valid, of our protocol and without an error in it, until ask_deinit(). Else fills @error. In both
 * cases the caller calls ask_deinit().
 */
int ask_daemon(struct ask *ask, const struct ctl *ctl, Seqsync__Admin__Question question,
               const char *job, struct error *error);

/* Accepts ASK_NULL. */
void ask_deinit(struct ask *ask);

/* "/PATH" for "ipc:///PATH" may be typed; @out[size] gets the endpoint in full. */
const char *ask_endpoint(char *out, size_t size, const char *typed);

#endif
