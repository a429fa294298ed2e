#include "proto/batch.h"

#include "proto/bytes.h"

#define XXH_INLINE_ALL
#include <string.h>
#include <xxhash.h>

#define BATCH_VERSION 1
#define BATCH_HEAD_BYTES 36
#define BATCH_SEQUENCE_BYTES 44

_Static_assert(BATCH_BYTES_MAX >= BATCH_HEAD_BYTES + SEQSYNC_SEQUENCES_MAX * BATCH_SEQUENCE_BYTES,
               "the bound holds");

static const char *sequence_check(const struct seqsync_sequence *sequence)
{
    if (sequence->tokens < 1 || sequence->tokens > SEQSYNC_TOKENS_MAX) {
        return "a sequence's tokens must be 1 .. SEQSYNC_TOKENS_MAX";
    }
    if (sequence->context_tokens < 0 || sequence->context_tokens > SEQSYNC_TOKENS_MAX) {
        return "a sequence's context_tokens must be 0 .. SEQSYNC_TOKENS_MAX";
    }
    if (sequence->mask < SEQSYNC_MASK_FULL || sequence->mask > SEQSYNC_MASK_WINDOW) {
        return "a sequence's mask is none of enum seqsync_mask";
    }
    if (sequence->mask == SEQSYNC_MASK_WINDOW &&
        (sequence->window_left < 0 || sequence->window_left > SEQSYNC_TOKENS_MAX ||
         sequence->window_right < 0 || sequence->window_right > SEQSYNC_TOKENS_MAX)) {
        return "a window must be 0 .. SEQSYNC_TOKENS_MAX on both sides";
    }
    if (sequence->mask != SEQSYNC_MASK_WINDOW &&
        (sequence->window_left != 0 || sequence->window_right != 0)) {
        return "a window is given, but the mask is not SEQSYNC_MASK_WINDOW";
    }
    return sequence->reserved == 0 ? NULL : "a reserved field of a sequence is not 0";
}

const char *batch_check(const struct seqsync_batch *batch)
{
    int64_t tokens = 0, context = 0;

    if (batch->size != sizeof(*batch)) {
        return "batch size is not sizeof(struct seqsync_batch)";
    }
    if (batch->sequence_count < 1 || batch->sequence_count > SEQSYNC_SEQUENCES_MAX) {
        return "sequence_count must be 1 .. SEQSYNC_SEQUENCES_MAX";
    }
    if (batch->placement > SEQSYNC_PLACE_ZIGZAG) {
        return "placement is none of enum seqsync_placement";
    }
    if (batch->reserved != 0) {
        return "the reserved field of a batch is not 0";
    }
    if (batch->sequences == NULL) {
        return "a batch without its sequences";
    }
    for (uint32_t i = 0; i < batch->sequence_count; i++) {
        const char *why = sequence_check(&batch->sequences[i]);
        if (why != NULL) {
            return why;
        }
        tokens += batch->sequences[i].tokens;
        context += batch->sequences[i].context_tokens;
        if (tokens > SEQSYNC_TOKENS_MAX || context > SEQSYNC_TOKENS_MAX) {
            return "a batch must not have more than SEQSYNC_TOKENS_MAX tokens";
        }
    }
    if (batch->context_role != SEQSYNC_SHARDED && batch->context_role != SEQSYNC_REPLICATED &&
        !(batch->context_role == 0 && context == 0)) {
        return "context_role must be SEQSYNC_SHARDED or SEQSYNC_REPLICATED";
    }
    return NULL;
}

size_t batch_encode(const struct seqsync_batch *batch, uint8_t *ret_bytes)
{
    uint8_t *at = ret_bytes;

    bytes_put(&at, BATCH_VERSION, 4);
    bytes_put(&at, batch->sequence_count, 4);
    bytes_put(&at, batch->placement, 4);
    bytes_put(&at, batch->context_role, 4);
    bytes_put(&at, 0, 4);
    bytes_put(&at, batch->seed, 8);
    bytes_put(&at, batch->content_digest, 8);
    for (uint32_t i = 0; i < batch->sequence_count; i++) {
        const struct seqsync_sequence *sequence = &batch->sequences[i];
        bytes_put(&at, (uint64_t)sequence->tokens, 8);
        bytes_put(&at, (uint64_t)sequence->context_tokens, 8);
        bytes_put(&at, (uint64_t)sequence->window_left, 8);
        bytes_put(&at, (uint64_t)sequence->window_right, 8);
        bytes_put(&at, sequence->sample_id, 8);
        bytes_put(&at, sequence->mask, 4);
    }
    return (size_t)(at - ret_bytes);
}

const char *batch_decode(const uint8_t *bytes, size_t length,
                         struct seqsync_sequence *ret_sequences, struct seqsync_batch *ret_batch)
{
    const uint8_t *at = bytes;
    struct seqsync_batch batch = {.size = sizeof(batch), .sequences = ret_sequences};

    if (length < BATCH_HEAD_BYTES) {
        return "a batch is truncated";
    }
    if (bytes_get(&at, 4) != BATCH_VERSION) {
        return "a batch of another version";
    }
    batch.sequence_count = (uint32_t)bytes_get(&at, 4);
    batch.placement = (uint32_t)bytes_get(&at, 4);
    batch.context_role = (uint32_t)bytes_get(&at, 4);
    batch.reserved = (uint32_t)bytes_get(&at, 4);
    batch.seed = bytes_get(&at, 8);
    batch.content_digest = bytes_get(&at, 8);
    if (batch.sequence_count > SEQSYNC_SEQUENCES_MAX ||
        length != BATCH_HEAD_BYTES + (size_t)batch.sequence_count * BATCH_SEQUENCE_BYTES) {
        return "a batch's length does not fit its sequence_count";
    }
    for (uint32_t i = 0; i < batch.sequence_count; i++) {
        struct seqsync_sequence *sequence = &ret_sequences[i];
        memset(sequence, 0, sizeof(*sequence));
        sequence->tokens = (int64_t)bytes_get(&at, 8);
        sequence->context_tokens = (int64_t)bytes_get(&at, 8);
        sequence->window_left = (int64_t)bytes_get(&at, 8);
        sequence->window_right = (int64_t)bytes_get(&at, 8);
        sequence->sample_id = bytes_get(&at, 8);
        sequence->mask = (uint32_t)bytes_get(&at, 4);
    }
    const char *why = batch_check(&batch);
    if (why == NULL) {
        *ret_batch = batch;
    }
    return why;
}

uint64_t batch_digest(const uint8_t *bytes, size_t length)
{
    const uint64_t digest = XXH3_64bits(bytes, length);

    return digest != 0 ? digest : 1;
}
