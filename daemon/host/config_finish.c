/* What can be judged, and derived, only when all sources are in. */
#include "daemon/host/config_key.h"
#include "daemon/host/config_parse.h"
#include "daemon/host/config_value.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#define LOOKUP_BYTES (64 * 1024)
#define PATH_SOCKET_MAX 107

static void finish_sockets(struct config *config, struct config_problems *problems)
{
    /* A directory that is cut off here is too long for a socket anyway, as is found below. */
    if (config->worker_socket[0] == '\0') {
        snprintf(config->worker_socket, CONFIG_TEXT_MAX, "%.200s/seqsync.sock",
                 config->runtime_dir);
    }
    if (config->admin_endpoint[0] == '\0') {
        snprintf(config->admin_endpoint, CONFIG_TEXT_MAX, "ipc://%.200s/admin.sock",
                 config->runtime_dir);
    }
    if (strlen(config->worker_socket) > PATH_SOCKET_MAX) {
        config_complain(problems,
                        "[node] worker-socket: the path %s is longer than the %d bytes that a "
                        "socket can have: choose a shorter runtime-dir",
                        config->worker_socket, PATH_SOCKET_MAX);
    }
    if (strncmp(config->admin_endpoint, "ipc://", 6) == 0 &&
        strlen(config->admin_endpoint) - 6 > PATH_SOCKET_MAX) {
        config_complain(problems,
                        "[node] admin-endpoint: the path of %s is longer than the %d bytes that a "
                        "socket can have: choose a shorter runtime-dir",
                        config->admin_endpoint, PATH_SOCKET_MAX);
    }
}

/* A name or a number. */
static bool lookup_user(const char *name, uint32_t *ret)
{
    uint64_t number;
    struct passwd entry;
    struct passwd *found = NULL;
    if (config_value_count(name, &number) && number < UINT32_MAX) {
        *ret = (uint32_t)number;
        return true;
    }
    char *buffer = malloc(LOOKUP_BYTES);
    if (buffer != NULL && getpwnam_r(name, &entry, buffer, LOOKUP_BYTES, &found) == 0 &&
        found != NULL) {
        *ret = found->pw_uid;
    }
    free(buffer);
    return found != NULL;
}

static bool lookup_group(const char *name, gid_t *ret)
{
    uint64_t number;
    struct group entry;
    struct group *found = NULL;
    if (config_value_count(name, &number) && number < UINT32_MAX) {
        *ret = (gid_t)number;
        return true;
    }
    char *buffer = malloc(LOOKUP_BYTES);
    if (buffer != NULL && getgrnam_r(name, &entry, buffer, LOOKUP_BYTES, &found) == 0 &&
        found != NULL) {
        *ret = found->gr_gid;
    }
    free(buffer);
    return found != NULL;
}

static void finish_users(struct config *config, struct config_problems *problems)
{
    for (uint32_t i = 0; i < config->worker_user_count; i++) {
        if (!lookup_user(config->worker_user_names[i], &config->worker_users[i])) {
            config_complain(problems, "[security] worker-user: there is no user %s",
                            config->worker_user_names[i]);
        }
    }
    config->has_worker_group = config->worker_group_name[0] != '\0';
    if (config->has_worker_group &&
        !lookup_group(config->worker_group_name, &config->worker_group)) {
        config_complain(problems, "[security] worker-group: there is no group %s",
                        config->worker_group_name);
    }
    config->has_admin_group = config->admin_group_name[0] != '\0';
    if (config->has_admin_group && !lookup_group(config->admin_group_name, &config->admin_group)) {
        config_complain(problems, "[security] admin-group: there is no group %s",
                        config->admin_group_name);
    }
}

/* A size, or a share of @whole. The text was checked when it was set. */
static uint64_t resolve_size(const char *text, uint64_t whole)
{
    uint64_t bytes = 0;
    uint32_t percent;
    if (config_value_percent(text, &percent)) {
        return whole / 100 * percent + whole % 100 * percent / 100;
    }
    (void)config_value_size(text, &bytes);
    return bytes;
}

static void finish_arena(struct config *config, const struct config_host *host,
                         struct config_problems *problems)
{
    config->arena_limit_bytes = resolve_size(config->arena_limit_text, host->memory_bytes);
    config->arena_user_limit_bytes =
        resolve_size(config->arena_user_limit_text, config->arena_limit_bytes);
    if (config->arena_limit_bytes > host->memory_bytes) {
        config_complain(problems, "[arena] limit = %s: this machine has %llu MiB of memory",
                        config->arena_limit_text, (unsigned long long)(host->memory_bytes >> 20));
    }
    if (config->arena_user_limit_bytes > config->arena_limit_bytes) {
        config_complain(problems, "[arena] per-user-limit = %s: it is larger than limit = %s",
                        config->arena_user_limit_text, config->arena_limit_text);
    }
}

/* The two endpoints of each member must be its own. */
static void check_endpoints(const struct config *config, uint32_t i,
                            struct config_problems *problems)
{
    const struct config_member *a = &config->members[i];
    for (uint32_t j = 0; j < config->member_count; j++) {
        const struct config_member *b = &config->members[j];
        if (j < i && strcmp(a->name, b->name) == 0) {
            config_complain(problems, "[peers] member: %s is there twice", a->name);
        } else if (j < i && strcmp(a->endpoint, b->endpoint) == 0) {
            config_complain(problems, "[peers] member: %s and %s have the same endpoint %s",
                            b->name, a->name, a->endpoint);
        } else if (j != i && strcmp(a->endpoint, b->bulk_endpoint) == 0) {
            config_complain(problems,
                            "[peers] member: the endpoint %s of %s is the bulk endpoint of %s (its "
                            "port + 1, or its path + .bulk)",
                            a->endpoint, a->name, b->name);
        }
    }
}

static void finish_peers(struct config *config, struct config_problems *problems)
{
    bool have_keys = config->secret_key_file[0] != '\0';
    bool found = false;
    if (config->member_count == 0) {
        memset(&config->members[0], 0, sizeof(config->members[0]));
        memcpy(config->members[0].name, config->node_name, sizeof(config->node_name));
        config->member_count = 1;
        config->node = 0;
        return;
    }
    for (uint32_t i = 0; i < config->member_count; i++) {
        const struct config_member *member = &config->members[i];
        check_endpoints(config, i, problems);
        if (!found && strcmp(member->name, config->node_name) == 0) {
            config->node = i;
            found = true;
        }
        if (have_keys && member->public_key[0] == '\0') {
            config_complain(problems,
                            "[peers] member: %s has no public key, and secret-key-file is set",
                            member->name);
        }
        if (!have_keys && member->public_key[0] != '\0') {
            config_complain(problems,
                            "[peers] member: %s has a public key, but [security] secret-key-file "
                            "is not set",
                            member->name);
        }
    }
    if (!found) {
        config_complain(problems,
                        "[peers] member: this node, %s, is not among the members: add it, or set "
                        "[node] name",
                        config->node_name);
    }
}

void config_finish(struct config *config, const struct config_host *host,
                   struct config_problems *problems)
{
    finish_sockets(config, problems);
    finish_users(config, problems);
    finish_arena(config, host, problems);
    finish_peers(config, problems);
    if (config->ping_ns * 2 > config->peer_silence_ns) {
        config_complain(problems,
                        "[timeouts] peer-silence: it must be at least twice ping, or one late "
                        "answer costs a job");
    }
}
