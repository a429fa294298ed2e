#include "fuzz.h"

#include "proto/batch.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct seqsync_sequence sequences[SEQSYNC_SEQUENCES_MAX];
    static uint8_t again[BATCH_BYTES_MAX];
    struct seqsync_batch batch;
    int64_t tokens = 0;

    if (batch_decode(data, size, sequences, &batch) != NULL) {
        return 0;
    }
    fuzz_require(batch_check(&batch) == NULL);
    fuzz_require(batch.sequences == sequences && batch.sequence_count <= SEQSYNC_SEQUENCES_MAX);
    for (uint32_t i = 0; i < batch.sequence_count; i++) {
        tokens += sequences[i].tokens;
    }
    fuzz_require(tokens >= batch.sequence_count && tokens <= SEQSYNC_TOKENS_MAX);
    /* One batch has one encoding: equal digests are equal batches. */
    fuzz_require(batch_encode(&batch, again) == size && memcmp(again, data, size) == 0);
    fuzz_require(batch_digest(data, size) != 0);
    return 0;
}
