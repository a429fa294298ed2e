/*
 * A private directory for one test, removed with all that is in it. Its path is short, so that
 * socket names fit into it. Names carry the test's pid; what a killed test left behind is removed
 * by the next one that asks for a directory.
 */
#ifndef SEQSYNC_TESTS_SUPPORT_TMP_H
#define SEQSYNC_TESTS_SUPPORT_TMP_H

#include <stdbool.h>

#define TMP_PATH_MAX 256

struct tmp {
    char path[64];
};

/* Ends the program with a message if no directory can be made. */
void tmp_make(struct tmp *tmp);

/* Removes the directory. Accepts a zeroed struct. */
void tmp_remove(struct tmp *tmp);

/* @out = PATH/NAME. Returns @out. */
const char *tmp_file(const struct tmp *tmp, char out[TMP_PATH_MAX], const char *name);

/* Writes @text into the file NAME. Ends the program if it cannot. Returns the path, in @out. */
const char *tmp_write(const struct tmp *tmp, char out[TMP_PATH_MAX], const char *name,
                      const char *text);

/* The whole of a file as text, which the caller frees; NULL if it cannot be read. */
char *tmp_read(const char *path);

/* Removes @path and everything below it. Harmless if it is not there. */
void tmp_remove_tree(const char *path);

#endif
