/*
 * A fuzz target without a fuzzer: runs it over each file of the folders, or each file, that are
 * named as arguments. A folder without files is an error, so that a lost corpus is not a success.
 * Of small files every truncation and some changes of every byte are tried, too, so that a build
 * without a fuzzer looks at more than what was kept.
 */
#include "fuzz.h"

#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>

#define SMALL_BYTES 1024

static unsigned long file_count; /* nftw() has no argument for it */
static unsigned long run_count;

/* An exact block for each input, so that a sanitizer sees a read past its end. */
static void run(const uint8_t *bytes, size_t length)
{
    uint8_t *copy = malloc(length > 0 ? length : 1);

    fuzz_require(copy != NULL);
    if (length > 0) {
        memcpy(copy, bytes, length);
    }
    LLVMFuzzerTestOneInput(copy, length);
    free(copy);
    run_count++;
}

static void run_variants(uint8_t *bytes, size_t length)
{
    static const uint8_t changes[] = {0x01, 0x80, 0xFF};

    for (size_t i = 0; i < length; i++) {
        run(bytes, i);
        for (size_t c = 0; c < sizeof(changes); c++) {
            bytes[i] ^= changes[c];
            run(bytes, length);
            bytes[i] ^= changes[c];
        }
    }
}

static int replay(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)ftw;
    if (type != FTW_F) {
        return type == FTW_D ? 0 : EIO;
    }
    FILE *in = fopen(path, "rb");
    size_t length = (size_t)status->st_size;
    uint8_t *bytes = malloc(length > 0 ? length : 1);
    if (in == NULL || bytes == NULL || fread(bytes, 1, length, in) != length) {
        fprintf(stderr, "cannot read %s: %s\n", path, strerror(errno));
        if (in != NULL) {
            fclose(in);
        }
        free(bytes);
        return EIO;
    }
    fclose(in);
    printf("%s\n", path);
    fflush(stdout); /* so that the last line names the input that ended the process */
    run(bytes, length);
    if (length <= SMALL_BYTES) {
        run_variants(bytes, length);
    }
    free(bytes);
    file_count++;
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s FOLDER-OR-FILE...\n", argv[0]);
        return EXIT_FAILURE;
    }
    for (int i = 1; i < argc; i++) {
        unsigned long before = file_count;
        if (nftw(argv[i], replay, 8, FTW_PHYS) != 0 || file_count == before) {
            fprintf(stderr, "%s: not all could be replayed, or nothing is there\n", argv[i]);
            return EXIT_FAILURE;
        }
    }
    printf("%lu inputs replayed in %lu runs\n", file_count, run_count);
    return EXIT_SUCCESS;
}
