/*
 * The trainer's link over libseqsync: one exchange for each layer, one bucket for each of the
 * model's. Gradients are written straight into the session's contribution buffers.
 *
 * Errors are those of libseqsync; seqsync_session_error() has the words.
 */
#ifndef SEQSYNC_CLIENT_TRAINER_LINK_SESSION_H
#define SEQSYNC_CLIENT_TRAINER_LINK_SESSION_H

#include <seqsync/gradient.h>
#include <seqsync/plan.h>

#include "client/trainer/link.h"
#include "client/trainer/model.h"
#include "client/trainer/part.h"

struct link_session {
    struct link link;                /* first: the model's view */
    struct seqsync_session *session; /* borrowed */
    struct seqsync_step *step;       /* the one that is open; NULL between steps */
    uint32_t exchanges;
    uint32_t buckets;
    struct seqsync_bucket_shape *shapes; /* [buckets] */
    float **gradients;
    struct part part; /* of the open step */
};

/* Registers the exchanges and buckets of @model; collective. Borrows @session. */
int link_session_init(struct link_session *link, struct seqsync_session *session,
                      const struct model *model);
void link_session_deinit(struct link_session *link);

/* Begins a step and fills in the part. Collective. */
int link_session_begin(struct link_session *link, const struct seqsync_batch *batch);

/* For a step without a backward pass: hands in nothing for every exchange and bucket. */
int link_session_forgo(struct link_session *link);

/* Waits for all mean gradients, mean[bucket]. They stay readable until the next contribution. */
int link_session_means(struct link_session *link, const float **ret_mean);

/* The digest of the model's parameters, as seqsync_parameter_digest() has it. */
uint64_t link_session_digest(const struct link_session *link, const struct model *model);

/* Commits. *ret_skip is 1 if a gradient was not finite and the session skips such steps. */
int link_session_commit(struct link_session *link, const struct seqsync_attestation *attestation,
                        int *ret_skip);

#endif
