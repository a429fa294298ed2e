#include "tests/support/tmp.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TMP_BASE "/tmp"
#define TMP_NAME "seqsync-test-"

static void tmp_die(const char *what, const char *path)
{
    fprintf(stderr, "%s %s: %s\n", what, path, strerror(errno));
    exit(1);
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    remove(path);
    return 0;
}

void tmp_remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* Directories of tests that were killed. */
static void tmp_sweep(void)
{
    DIR *base = opendir(TMP_BASE);
    struct dirent *entry;
    while (base && (entry = readdir(base))) {
        char path[TMP_PATH_MAX];
        if (strncmp(entry->d_name, TMP_NAME, strlen(TMP_NAME)) != 0) {
            continue;
        }
        long pid = strtol(entry->d_name + strlen(TMP_NAME), NULL, 10);
        if (pid > 0 && kill((pid_t)pid, 0) && errno == ESRCH) {
            snprintf(path, sizeof(path), "%s/%.200s", TMP_BASE, entry->d_name);
            tmp_remove_tree(path);
        }
    }
    if (base) {
        closedir(base);
    }
}

void tmp_make(struct tmp *tmp)
{
    tmp_sweep();
    snprintf(tmp->path, sizeof(tmp->path), TMP_BASE "/" TMP_NAME "%d-XXXXXX", (int)getpid());
    if (!mkdtemp(tmp->path)) {
        tmp_die("mkdtemp", tmp->path);
    }
}

void tmp_remove(struct tmp *tmp)
{
    if (tmp->path[0]) {
        tmp_remove_tree(tmp->path);
        tmp->path[0] = '\0';
    }
}

const char *tmp_file(const struct tmp *tmp, char out[TMP_PATH_MAX], const char *name)
{
    snprintf(out, TMP_PATH_MAX, "%s/%s", tmp->path, name);
    return out;
}

const char *tmp_write(const struct tmp *tmp, char out[TMP_PATH_MAX], const char *name,
                      const char *text)
{
    FILE *file = fopen(tmp_file(tmp, out, name), "we");
    if (!file || fputs(text, file) < 0 || fclose(file)) {
        tmp_die("write", out);
    }
    return out;
}

char *tmp_read(const char *path)
{
    FILE *file = fopen(path, "re");
    char *text = NULL;
    size_t capacity = 0;
    if (!file) {
        return NULL;
    }
    if (getdelim(&text, &capacity, '\0', file) < 0) {
        free(text);
        text = ferror(file) ? NULL : strdup("");
    }
    fclose(file);
    return text;
}
