#include "daemon/host/config.h"

#include "daemon/base/err.h"
#include "daemon/host/config_key.h"
#include "daemon/host/config_parse.h"
#include "daemon/host/config_value.h"
#include "daemon/host/log.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND 1000000000ull
#define LANES_DEFAULT_MAX 8

/* ---- built-in values ---- */

static const char *host_get(const struct config_host *host, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; host->environment != NULL && host->environment[i] != NULL; i++) {
        const char *entry = host->environment[i];
        if (strncmp(entry, name, length) == 0 && entry[length] == '=') {
            return entry + length + 1;
        }
    }
    return NULL;
}

/* The host's name up to its first dot, as far as it may be a node's. */
static void default_name(const struct config_host *host, char ret[SEQSYNC_NAME_MAX + 1])
{
    size_t used = 0;
    for (const char *c = host->host_name; *c != '\0' && *c != '.' && used < SEQSYNC_NAME_MAX; c++) {
        bool ok = isalnum((unsigned char)*c) || *c == '_' || (*c == '-' && used > 0);
        if (ok) {
            ret[used++] = *c;
        }
    }
    ret[used] = '\0';
    if (used == 0) {
        memcpy(ret, "localhost", sizeof("localhost"));
    }
}

/* A directory that systemd made (the first of a list), the system's for root, or the user's own. */
static void default_dir(const struct config_host *host, const char *systemd, const char *system,
                        const char *user, const char *below_home, char ret[CONFIG_TEXT_MAX])
{
    const char *made = host_get(host, systemd);
    const char *own = host_get(host, user);
    const char *home = host_get(host, "HOME");
    if (made != NULL && made[0] == '/') {
        snprintf(ret, CONFIG_TEXT_MAX, "%.*s", (int)strcspn(made, ":"), made);
    } else if (host->uid == 0) {
        snprintf(ret, CONFIG_TEXT_MAX, "%s", system);
    } else if (own != NULL && own[0] == '/') {
        snprintf(ret, CONFIG_TEXT_MAX, "%s/seqsync", own);
    } else if (home != NULL && home[0] == '/' && below_home != NULL) {
        snprintf(ret, CONFIG_TEXT_MAX, "%s/%s", home, below_home);
    } else {
        snprintf(ret, CONFIG_TEXT_MAX, "%s", system);
    }
}

void config_init(struct config *config, const struct config_host *host)
{
    memset(config, 0, sizeof(*config));
    default_name(host, config->node_name);
    default_dir(host, "STATE_DIRECTORY", "/var/lib/seqsync", "XDG_STATE_HOME",
                ".local/state/seqsync", config->state_dir);
    default_dir(host, "RUNTIME_DIRECTORY", "/run/seqsync", "XDG_RUNTIME_DIR", NULL,
                config->runtime_dir);
    snprintf(config->arena_limit_text, sizeof(config->arena_limit_text), "80%%");
    snprintf(config->arena_user_limit_text, sizeof(config->arena_user_limit_text), "100%%");
    config->workers_max = 1024;
    config->workers_per_user_max = 512;
    config->join_ns = 60 * SECOND;
    config->step_ns = 300 * SECOND; /* a step of a long sequence takes minutes on a CPU */
    config->peer_silence_ns = 3 * SECOND;
    config->ping_ns = SECOND / 2;
    config->handshake_ns = 5 * SECOND;
    config->curve_check_ns = 60 * SECOND;
    config->lane_count = host->cpu_count < 2 ? 1 : host->cpu_count / 2;
    if (config->lane_count > LANES_DEFAULT_MAX) {
        config->lane_count = LANES_DEFAULT_MAX;
    }
    config->log_level = LOG_LEVEL_INFO;
}

/* ---- files ---- */

/* The whole of a file, the caller's to free; NULL and errno. */
static char *read_file(const char *path, size_t *ret_length)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return NULL;
    }
    char *bytes = NULL;
    size_t used = 0;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
        status.st_size <= CONFIG_FILE_BYTES_MAX) {
        bytes = malloc(CONFIG_FILE_BYTES_MAX);
        errno = ENOMEM;
    } else {
        errno = EFBIG;
    }
    while (bytes != NULL && used < CONFIG_FILE_BYTES_MAX) {
        ssize_t n = read(fd, bytes + used, CONFIG_FILE_BYTES_MAX - used);
        if (n < 0) {
            int e = errno;
            free(bytes);
            close(fd);
            errno = e;
            return NULL;
        }
        if (n == 0) {
            break;
        }
        used += (size_t)n;
    }
    int e = errno;
    close(fd);
    errno = e;
    *ret_length = used;
    return bytes;
}

static void load_file(struct config *config, const char *path, enum config_source source,
                      bool may_be_missing, struct config_problems *problems)
{
    size_t length = 0;
    char *bytes = read_file(path, &length);
    if (bytes == NULL) {
        if (!(may_be_missing && errno == ENOENT)) {
            config_complain(problems, "%s: cannot be read: %s", path,
                            errno == EFBIG ? "it is no file of at most 1 MiB" : strerror(errno));
        }
        return;
    }
    config_parse(config, bytes, length, path, source, problems);
    free(bytes);
}

static int is_drop_in(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return entry->d_name[0] != '.' && length > 5 &&
           strcmp(entry->d_name + length - 5, ".conf") == 0;
}

/* By bytes, not by locale: the same order everywhere. */
static int compare_entries(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void load_drop_ins(struct config *config, const char *file, struct config_problems *problems)
{
    char dir[CONFIG_TEXT_MAX];
    struct dirent **entries = NULL;
    snprintf(dir, sizeof(dir), "%.250s.d", file);
    int count = scandir(dir, &entries, is_drop_in, compare_entries);
    for (int i = 0; i < count; i++) {
        char path[2 * CONFIG_TEXT_MAX + 2];
        snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name);
        load_file(config, path, CONFIG_DROP_IN, /* may_be_missing= */ false, problems);
        free(entries[i]);
    }
    free(entries);
}

/* ---- environment and flags ---- */

/* Lists stand in one value, divided by ";". */
static void set_entries(struct config *config, int key, const char *value,
                        const struct config_origin *origin, struct config_problems *problems)
{
    char entry[CONFIG_VALUE_MAX];
    if (!config_key_is_list(&config_keys[key])) {
        config_set(config, key, value, origin, problems);
        return;
    }
    for (;;) {
        size_t length = strcspn(value, ";");
        snprintf(entry, sizeof(entry), "%.*s", (int)length, value);
        config_set(config, key, entry + strspn(entry, " "), origin, problems);
        if (value[length] == '\0') {
            return;
        }
        value += length + 1;
    }
}

static void load_environment(struct config *config, const struct config_host *host,
                             struct config_problems *problems)
{
    for (size_t i = 0; i < config_key_count; i++) {
        struct config_origin origin = {.source = CONFIG_ENVIRONMENT};
        snprintf(origin.file, sizeof(origin.file), "SEQSYNC_%s_%s", config_keys[i].section,
                 config_keys[i].name);
        for (char *c = origin.file; *c != '\0'; c++) {
            *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
        }
        const char *value = host_get(host, origin.file);
        if (value != NULL) {
            set_entries(config, (int)i, value, &origin, problems);
        }
    }
}

static void load_flag(struct config *config, const char *flag, struct config_problems *problems)
{
    char section[64];
    char name[64];
    char place[CONFIG_TEXT_MAX];
    snprintf(place, sizeof(place), "--set %.200s", flag);
    const char *dot = strchr(flag, '.');
    const char *equals = strchr(flag, '=');
    if (dot == NULL || equals == NULL || dot > equals || (size_t)(dot - flag) >= sizeof(section) ||
        (size_t)(equals - dot) > sizeof(name)) {
        config_complain(problems, "%s: it must be section.key=value", place);
        return;
    }
    snprintf(section, sizeof(section), "%.*s", (int)(dot - flag), flag);
    snprintf(name, sizeof(name), "%.*s", (int)(equals - dot - 1), dot + 1);
    int key = config_key_find(section, name);
    if (key < 0) {
        bool known = config_key_section_exists(section);
        config_complain_unknown(problems, place, known ? section : NULL, known ? name : section);
        return;
    }
    struct config_origin origin = {.source = CONFIG_FLAG};
    snprintf(origin.file, sizeof(origin.file), "--set %s.%s", section, name);
    set_entries(config, key, equals + 1, &origin, problems);
}

int config_load(const struct config_request *request, struct config *ret,
                struct config_problems *problems)
{
    const char *file = request->file != NULL ? request->file : CONFIG_FILE_DEFAULT;
    memset(problems, 0, sizeof(*problems));
    config_init(ret, request->host);
    load_file(ret, file, CONFIG_FILE, /* may_be_missing= */ request->file == NULL, problems);
    load_drop_ins(ret, file, problems);
    load_environment(ret, request->host, problems);
    for (uint32_t i = 0; i < request->flag_count; i++) {
        load_flag(ret, request->flags[i], problems);
    }
    /* Cross-checks over values of which some are wrong would only blur what is wrong. */
    if (problems->count == 0) {
        config_finish(ret, request->host, problems);
    }
    return problems->count > 0 ? err_origin(-EINVAL) : 0;
}

void config_host_of_machine(struct config_host *ret)
{
    static char name[256];
    extern char **environ;
    if (gethostname(name, sizeof(name) - 1) != 0) {
        name[0] = '\0';
    }
    long pages = sysconf(_SC_PHYS_PAGES);
    long page_bytes = sysconf(_SC_PAGESIZE);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    ret->environment = (const char *const *)environ;
    ret->host_name = name;
    ret->memory_bytes = pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : 0;
    ret->cpu_count = cpus > 0 ? (uint32_t)cpus : 1;
    ret->uid = geteuid();
}

/* ---- dump ---- */

static void dump_origin(const struct config_origin *origin, FILE *out)
{
    switch (origin->source) {
    case CONFIG_BUILT_IN:
        fprintf(out, "# built-in\n");
        break;
    case CONFIG_FILE:
    case CONFIG_DROP_IN:
        fprintf(out, "# %s:%u\n", origin->file, (unsigned)origin->line);
        break;
    case CONFIG_ENVIRONMENT:
    case CONFIG_FLAG:
        fprintf(out, "# %s\n", origin->file);
        break;
    }
}

void config_dump(const struct config *config, FILE *out)
{
    const char *section = "";
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        char value[CONFIG_VALUE_MAX];
        if (strcmp(section, key->section) != 0) {
            section = key->section;
            fprintf(out, "%s[%s]\n", i > 0 ? "\n" : "", section);
        }
        dump_origin(&config->origins[i], out);
        uint32_t count = config_key_entries(config, key);
        /* The one member of a node by itself has no endpoint, and cannot be written. */
        bool alone = key->kind == CONFIG_KIND_MEMBER && config->members[0].endpoint[0] == '\0';
        for (uint32_t j = 0; j < count && !alone; j++) {
            config_key_format(config, key, j, value);
            fprintf(out, "%s =%s%s\n", key->name, value[0] != '\0' ? " " : "", value);
        }
        if (count == 0 || alone) {
            fprintf(out, "%s =\n", key->name);
        }
    }
}
