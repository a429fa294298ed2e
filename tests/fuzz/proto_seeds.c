#include "proto_seeds.h"

#include "proto/batch.h"
#include "proto/bulk.h"
#include "proto/part.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *arg_folder;

void seed_write(const char *target, const char *name, const void *bytes, size_t length)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/%s", arg_folder, target);
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    snprintf(path, sizeof(path), "%s/%s/%s", arg_folder, target, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, length, file) != length || fclose(file) != 0) {
        perror(path);
        exit(EXIT_FAILURE);
    }
}

static void seed_batches(void)
{
    static struct seqsync_sequence sequences[SEQSYNC_SEQUENCES_MAX];
    static uint8_t bytes[BATCH_BYTES_MAX];
    struct seqsync_batch batch = {.size = sizeof(batch),
                                  .sequences = sequences,
                                  .sequence_count = 1,
                                  .context_role = SEQSYNC_REPLICATED,
                                  .seed = 7};

    for (uint32_t i = 0; i < SEQSYNC_SEQUENCES_MAX; i++) {
        sequences[i] =
            (struct seqsync_sequence){.tokens = 1 + i, .context_tokens = i % 3, .mask = 1 + i % 3};
    }
    sequences[2].window_left = SEQSYNC_TOKENS_MAX;
    seed_write("fuzz_batch", "one", bytes, batch_encode(&batch, bytes));
    batch.sequence_count = 3;
    seed_write("fuzz_batch", "three", bytes, batch_encode(&batch, bytes));
    seed_write("fuzz_batch", "truncated", bytes, batch_encode(&batch, bytes) - 1);
    batch.sequence_count = SEQSYNC_SEQUENCES_MAX;
    seed_write("fuzz_batch", "most", bytes, batch_encode(&batch, bytes));
    bytes[4] = bytes[5] = bytes[6] = bytes[7] = 0xFF; /* sequence_count */
    seed_write("fuzz_batch", "count", bytes, 36);
}

static void seed_bulk_headers(void)
{
    struct bulk_header header = {.job = 1, .total = 1 << 20, .length = 4096, .incarnation = 9};
    uint8_t bytes[BULK_HEADER_BYTES];
    char name[] = "kind-0";

    for (uint8_t kind = 0; kind <= BULK_PARAMETER + 1; kind++) {
        header.kind = kind;
        name[5] = (char)('0' + kind);
        bulk_header_encode(&header, bytes);
        seed_write("fuzz_bulk_header", name, bytes, sizeof(bytes));
    }
    header.kind = BULK_KV;
    header.offset = UINT64_MAX; /* offset + length wraps around */
    bulk_header_encode(&header, bytes);
    seed_write("fuzz_bulk_header", "wraps", bytes, sizeof(bytes));
    seed_write("fuzz_bulk_header", "truncated", bytes, sizeof(bytes) - 1);
}

/* Rank 2 of four on two nodes: 6 of 20 tokens in two chunks, and keys of its own, of its neighbour,
 * and of the other node. */
static void seed_parts(void)
{
    static const struct seqsync_chunk chunks[] = {
        {.first = 4, .count = 3, .row = 0, .position = 4, .sequence = 0, .rank = 2},
        {.first = 13, .count = 3, .row = 3, .position = 3, .sequence = 1, .rank = 2}};
    static const struct seqsync_source sources[] = {
        {2, 1, 1, 0, .view_rows = 6, .inbox_row = -1, .return_rows = 0, .return_row = -1},
        {3, 1, 1, 0, .view_rows = 5, .inbox_row = -1, .return_rows = 2, .return_row = 0},
        {0, 0, 0, 0, .view_rows = 4, .inbox_row = 1, .return_rows = 3, .return_row = 2}};
    static const struct seqsync_tile tiles[] = {
        {4, 4, 3, 3, 0, 0, -1, INT64_MIN, 0, 0, 0},
        {13, 13, 3, 3, 3, 3, -1, INT64_MIN, INT64_MAX, 0, 0},
        {13, 16, 3, 2, 3, 1, 0, -5, 5, 1, 0},
        {5, 0, 2, 3, 1, 1, 2, INT64_MIN, INT64_MAX, 2, 0}};
    static const int64_t local_rows[][SEQSYNC_SPACES_N] = {{6, 0}, {5, 0}};
    static const int64_t local_return_rows[][SEQSYNC_SPACES_N] = {{5, 0}, {1, 0}};
    static const uint32_t local_ranks[] = {2, 3};
    static const int64_t ends[] = {10, 20};
    struct part part = {.spaces[0] = {.chunks = chunks,
                                      .tiles = tiles,
                                      .sources = sources,
                                      .chunk_count = 2,
                                      .tile_count = 4,
                                      .source_count = 3,
                                      .rows = 6,
                                      .return_rows = 5,
                                      .inbox_rows = 5,
                                      .total = 20,
                                      .area = 30},
                        .local_rows = local_rows,
                        .local_return_rows = local_return_rows,
                        .local_ranks = local_ranks,
                        .sequence_ends = ends,
                        .local_count = 2,
                        .sequence_count = 2,
                        .rank = 2,
                        .placement = SEQSYNC_PLACE_ZIGZAG,
                        .step = 3};
    struct part got;
    size_t length;

    if (!part_bytes(&part, &length)) {
        exit(EXIT_FAILURE);
    }
    uint8_t *bytes = aligned_alloc(64, (length + 63) / 64 * 64);
    part_encode(&part, bytes);
    const char *why = part_decode(bytes, length, &got);
    if (why != NULL) {
        fprintf(stderr, "the seed of parts is none: %s\n", why);
        exit(EXIT_FAILURE);
    }
    seed_write("fuzz_part", "part", bytes, length);
    seed_write("fuzz_part", "truncated", bytes, length - 8);
    free(bytes);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return EXIT_FAILURE;
    }
    arg_folder = argv[1];
    seed_batches();
    seed_bulk_headers();
    seed_parts();
    seed_frames();
    return EXIT_SUCCESS;
}
