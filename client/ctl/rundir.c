#include "client/ctl/rundir.h"

#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SETTINGS_MAX (CTL_SETTINGS_MAX + 100)
#define SETTING_TEXT_MAX 320

/* A socket's path has 108 bytes with NUL, and "/xx.peer.bulk" comes behind the directory's. */
#define RUNDIR_BASE_MAX 70

static bool rundir_try(struct rundir *dir, const char *base)
{
    if (!base || base[0] != '/' || strlen(base) > RUNDIR_BASE_MAX) {
        return false;
    }
    snprintf(dir->path, sizeof(dir->path), "%s/seqsync-run.XXXXXX", base);
    return mkdtemp(dir->path) != NULL;
}

int rundir_make(struct rundir *dir, struct error *error)
{
    if (rundir_try(dir, getenv("XDG_RUNTIME_DIR")) || rundir_try(dir, getenv("TMPDIR")) ||
        rundir_try(dir, "/tmp")) {
        return EX_OK;
    }
    error_set(error, EX_CANTCREAT, "NO_DIRECTORY", "cannot make a private directory");
    error_cause(error, "%s: %s", dir->path, strerror(errno));
    return error_hint(error, "TMPDIR=/some/short/writable/path seqctl run ...");
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    remove(path); /* what cannot be removed is no reason to leave the rest */
    return 0;
}

void rundir_remove(const struct rundir *dir)
{
    nftw(dir->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *rundir_node_letter(char out[4], uint32_t node)
{
    uint32_t digits = 0;
    if (node >= 26) {
        out[digits++] = (char)('a' + (node / 26 - 1) % 26);
    }
    out[digits++] = (char)('a' + node % 26);
    out[digits] = '\0';
    return out;
}

const char *rundir_file(const struct rundir *dir, char out[RUNDIR_PATH_MAX], uint32_t node,
                        const char *suffix)
{
    char letter[4];
    snprintf(out, RUNDIR_PATH_MAX, "%s/%s.%s", dir->path, rundir_node_letter(letter, node), suffix);
    return out;
}

static const char *rundir_kept(const struct rundir *dir, const struct ctl_run *run,
                               char out[RUNDIR_PATH_MAX], uint32_t node, const char *suffix)
{
    char letter[4];
    int length =
        snprintf(out, RUNDIR_PATH_MAX, "%s/node-%s.%s", run->keep_logs ? run->keep_logs : dir->path,
                 rundir_node_letter(letter, node), suffix);
    return length < RUNDIR_PATH_MAX ? out : "";
}

const char *rundir_config(const struct rundir *dir, const struct ctl_run *run,
                          char out[RUNDIR_PATH_MAX], uint32_t node)
{
    return rundir_kept(dir, run, out, node, "conf");
}

const char *rundir_log(const struct rundir *dir, const struct ctl_run *run,
                       char out[RUNDIR_PATH_MAX], uint32_t node)
{
    return rundir_kept(dir, run, out, node, "log");
}

/* The settings of one daemon: ours first, the user's --set over them. */
struct settings {
    uint32_t count;
    struct {
        char section[32];
        char key[32];
        char value[SETTING_TEXT_MAX];
    } items[SETTINGS_MAX];
};

static void settings_add(struct settings *settings, const char *section, const char *key,
                         const char *value)
{
    if (settings->count < SETTINGS_MAX) {
        uint32_t i = settings->count++;
        snprintf(settings->items[i].section, sizeof(settings->items[i].section), "%.31s", section);
        snprintf(settings->items[i].key, sizeof(settings->items[i].key), "%.31s", key);
        snprintf(settings->items[i].value, sizeof(settings->items[i].value), "%s", value);
    }
}

/* The user's own choice takes the place of all that we said for that key. */
static void settings_replace(struct settings *settings, const char *section, const char *key)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < settings->count; i++) {
        bool same = strcmp(settings->items[i].section, section) == 0 &&
                    strcmp(settings->items[i].key, key) == 0;
        if (!same) {
            settings->items[kept++] = settings->items[i];
        }
    }
    settings->count = kept;
}

static void settings_user(struct settings *settings, const struct ctl_run *run)
{
    char section[CTL_SETTINGS_MAX][32];
    char key[CTL_SETTINGS_MAX][32];
    for (uint32_t i = 0; i < run->setting_count; i++) {
        const char *text = run->settings[i];
        const char *dot = strchr(text, '.');
        const char *equals = strchr(text, '=');
        snprintf(section[i], sizeof(section[i]), "%.*s", (int)(dot - text), text);
        snprintf(key[i], sizeof(key[i]), "%.*s", equals > dot ? (int)(equals - dot - 1) : 0,
                 dot + 1);
        settings_replace(settings, section[i], key[i]);
    }
    for (uint32_t i = 0; i < run->setting_count; i++) {
        settings_add(settings, section[i], key[i], strchr(run->settings[i], '=') + 1);
    }
}

static void settings_ns(struct settings *settings, const char *key, uint64_t ns)
{
    char text[32];
    if (ns) {
        snprintf(text, sizeof(text), "%lluns", (unsigned long long)ns);
        settings_add(settings, "timeouts", key, text);
    }
}

static void settings_own(struct settings *settings, const struct rundir *dir,
                         const struct ctl_run *run, uint32_t node)
{
    char letter[4];
    char path[RUNDIR_PATH_MAX];
    char text[SETTING_TEXT_MAX];
    snprintf(text, sizeof(text), "node-%s", rundir_node_letter(letter, node));
    settings_add(settings, "node", "name", text);
    settings_add(settings, "node", "runtime-dir", dir->path);
    settings_add(settings, "node", "state-dir", rundir_file(dir, path, node, "d"));
    settings_add(settings, "node", "worker-socket", rundir_file(dir, path, node, "sock"));
    snprintf(text, sizeof(text), "ipc://%s", rundir_file(dir, path, node, "admin"));
    settings_add(settings, "node", "admin-endpoint", text);
    for (uint32_t i = 0; i < run->nodes && run->nodes > 1; i++) {
        snprintf(text, sizeof(text), "node-%s ipc://%s", rundir_node_letter(letter, i),
                 rundir_file(dir, path, i, "peer"));
        settings_add(settings, "peers", "member", text);
    }
    settings_ns(settings, "join", run->join_timeout_ns);
    settings_ns(settings, "step", run->step_timeout_ns);
    settings_ns(settings, "peer-silence", run->peer_silence_ns);
    if (run->log_level) {
        settings_add(settings, "log", "level", run->log_level);
    }
}

/* Grouped by section, sections and keys in order of their first appearance. */
static void settings_print(const struct settings *settings, FILE *out)
{
    for (uint32_t first = 0; first < settings->count; first++) {
        const char *section = settings->items[first].section;
        bool seen = false;
        for (uint32_t i = 0; i < first; i++) {
            seen = seen || strcmp(settings->items[i].section, section) == 0;
        }
        if (seen) {
            continue;
        }
        fprintf(out, "[%s]\n", section);
        for (uint32_t i = first; i < settings->count; i++) {
            if (strcmp(settings->items[i].section, section) == 0) {
                fprintf(out, "%s = %s\n", settings->items[i].key, settings->items[i].value);
            }
        }
    }
}

int rundir_write_config(const struct rundir *dir, const struct ctl_run *run, uint32_t node,
                        struct error *error)
{
    char path[RUNDIR_PATH_MAX];
    const char *name = rundir_config(dir, run, path, node);
    struct settings *settings = calloc(1, sizeof(*settings));
    if (!settings) {
        return error_set(error, EX_OSERR, "NO_MEMORY", "not enough memory for the settings");
    }
    settings_own(settings, dir, run, node);
    settings_user(settings, run);
    FILE *out = fopen(name, "we");
    if (out) {
        settings_print(settings, out);
    }
    free(settings);
    if (!out || fclose(out)) {
        error_set(error, EX_CANTCREAT, "NO_FILE", "cannot write the daemons' configuration");
        return error_cause(error, "%s: %s", name, strerror(errno));
    }
    return EX_OK;
}
