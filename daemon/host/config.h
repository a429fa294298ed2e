/*
 * The daemon's configuration: INI files, environment, flags.
 *
 * A key's value is the one of the strongest source that has it: flag ("section.key=value"),
 * environment variable SEQSYNC_SECTION_KEY, drop-ins FILE.d/NAME.conf in lexical order, FILE,
 * built-in. A key that may be repeated ([peers] member, [security] worker-user) is a list; a
 * stronger source replaces the list of a weaker one. Unknown sections and keys, malformed values,
 * and values out of range are problems, each with file and line.
 *
 * Values: sizes "8GiB" (B, KiB, MiB, GiB, TiB) or, where it says so, "80%"; durations "500ms" (ns,
 * us, ms, s, min, h); booleans yes, no. "#" or ";" begins a comment at the start of a line.
 */
#ifndef SEQSYNC_HOST_CONFIG_H
#define SEQSYNC_HOST_CONFIG_H

#include <seqsync/types.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#define CONFIG_TEXT_MAX 256 /* of a path, endpoint or other text, with NUL */
#define CONFIG_USERS_MAX 64
#define CONFIG_KEYS_MAX 64
#define CONFIG_FILE_DEFAULT "/etc/seqsync/seqsync.conf"
#define CONFIG_FILE_BYTES_MAX (1024 * 1024)

struct config_member {
    char name[SEQSYNC_NAME_MAX + 1];
    char endpoint[CONFIG_TEXT_MAX];      /* control: tcp://HOST:PORT or ipc:///PATH */
    char bulk_endpoint[CONFIG_TEXT_MAX]; /* derived: PORT + 1, or PATH.bulk */
    char public_key[41];                 /* Z85; "" = none */
};

/* Where a value came from. */
enum config_source {
    CONFIG_BUILT_IN = 0,
    CONFIG_FILE,
    CONFIG_DROP_IN,
    CONFIG_ENVIRONMENT,
    CONFIG_FLAG,
};
struct config_origin {
    enum config_source source;
    uint32_t line;
    char file[CONFIG_TEXT_MAX]; /* FILE, DROP_IN: path; ENVIRONMENT: variable */
};

struct config {
    /* [node] */
    char node_name[SEQSYNC_NAME_MAX + 1];
    char state_dir[CONFIG_TEXT_MAX];
    char runtime_dir[CONFIG_TEXT_MAX];
    char worker_socket[CONFIG_TEXT_MAX];
    char admin_endpoint[CONFIG_TEXT_MAX];
    /* [peers]; without any there is one member: this node, without endpoints */
    struct config_member members[SEQSYNC_NODES_MAX];
    uint32_t member_count;
    uint32_t node; /* this node's index in members */
    /* [arena] */
    uint64_t arena_limit_bytes;      /* percentages are of this machine's memory ... */
    uint64_t arena_user_limit_bytes; /* ... and of arena_limit_bytes */
    /* [security] */
    char secret_key_file[CONFIG_TEXT_MAX]; /* "" = no keys */
    bool allow_plaintext;
    uint32_t worker_users[CONFIG_USERS_MAX]; /* uids */
    uint32_t worker_user_count;
    bool has_worker_group;
    gid_t worker_group;
    bool has_admin_group;
    gid_t admin_group;
    /* [limits] */
    uint64_t workers_max;
    uint64_t workers_per_user_max;
    /* [timeouts] */
    uint64_t join_ns;
    uint64_t step_ns;
    uint64_t peer_silence_ns;
    uint64_t ping_ns;
    uint64_t handshake_ns;
    uint64_t curve_check_ns;
    /* [lanes] */
    uint64_t lane_count;
    /* [log] */
    int log_level; /* enum log_level */

    struct config_origin origins[CONFIG_KEYS_MAX]; /* by place in the table of config.c */
    char worker_user_names[CONFIG_USERS_MAX][64];  /* as written */
    char worker_group_name[64];
    char admin_group_name[64];
    char arena_limit_text[32];
    char arena_user_limit_text[32];
};

/* What is wrong, one line each, "FILE:LINE: what" and a hint. */
struct config_problems {
    uint32_t count;
    char text[8192]; /* lines beyond it are counted only */
};

/* What the built-in values depend on; a test's choice. */
struct config_host {
    const char *const *environment; /* "NAME=VALUE", NULL-terminated */
    const char *host_name;
    uint64_t memory_bytes;
    uint32_t cpu_count;
    uid_t uid;
};

/* Fills @ret from this machine and process; points to static memory and environ. */
void config_host_of_machine(struct config_host *ret);

struct config_request {
    const char *file; /* NULL = CONFIG_FILE_DEFAULT, which may be missing; a named file may not */
    const char *const *flags; /* "section.key=value" */
    uint32_t flag_count;
    const struct config_host *host;
};

/*
 * Reads everything. 0, or -EINVAL with at least one problem: the process prints them and exits
 * with 78. struct config is large: it belongs in static or heap memory.
 */
int config_load(const struct config_request *request, struct config *ret,
                struct config_problems *problems);

/* Effective values, in the form of a config file, each with its origin as a comment. */
void config_dump(const struct config *config, FILE *out);

/* --- pieces of config_load(), for tests --- */

/* Built-in values. */
void config_init(struct config *config, const struct config_host *host);

/* Puts the values of one file's bytes over those of @config. Reads nothing else; any bytes will do.
 */
void config_parse(struct config *config, const char *bytes, size_t length, const char *file,
                  enum config_source source, struct config_problems *problems);

/* Derives and cross-checks after all sources are in. */
void config_finish(struct config *config, const struct config_host *host,
                   struct config_problems *problems);

#endif
