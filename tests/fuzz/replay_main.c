/*
 * A fuzz target without a fuzzer: runs it over each file of the folders, or each file, that are
 * named as arguments. A folder without files is an error, so that a lost corpus is not a success.
 */
#include <errno.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static unsigned long file_count; /* nftw() has no argument for it */

/* An exact block for each input, so that a sanitizer sees a read past its end. */
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
    LLVMFuzzerTestOneInput(bytes, length);
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
    printf("%lu inputs replayed\n", file_count);
    return EXIT_SUCCESS;
}
