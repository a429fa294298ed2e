/*
 * A fuzz target: a function that is given bytes and stops the program if a promise is broken. The
 * fuzzer, or replay_main.c, calls it.
 */
#ifndef SEQSYNC_TEST_FUZZ_H
#define SEQSYNC_TEST_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Always 0. @data[size] is borrowed for the call. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Stops the program, saying what was promised and is not so. */
#define fuzz_require(condition)                                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
