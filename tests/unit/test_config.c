#include "daemon/host/config.h"

#include "daemon/host/config_key.h"
#include "daemon/host/config_value.h"
#include "daemon/host/log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define GIB (1ull << 30)

struct fixture {
    struct config config;
    struct config_problems problems;
    struct config_host host;
    char dir[256];
    char file[300];
};

static const char *const no_environment[] = {NULL};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    const char *tmp = getenv("TMPDIR");
    f->host = (struct config_host){.environment = no_environment,
                                   .host_name = "node-a.example.org",
                                   .memory_bytes = 100 * GIB,
                                   .cpu_count = 8,
                                   .uid = 0};
    snprintf(f->dir, sizeof(f->dir), "%s/seqsync-config-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(f->dir) == NULL) {
        return -1;
    }
    snprintf(f->file, sizeof(f->file), "%s/seqsync.conf", f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[400];
    snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
    int r = system(command);
    free(f);
    return r;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static int load(struct fixture *f, const char *const *flags, uint32_t flag_count)
{
    struct config_request request = {
        .file = f->file, .flags = flags, .flag_count = flag_count, .host = &f->host};
    return config_load(&request, &f->config, &f->problems);
}

static int load_text(struct fixture *f, const char *text)
{
    write_file(f->file, text);
    return load(f, NULL, 0);
}

static void a_node_without_a_file_is_a_cluster_by_itself(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(load_text(f, ""), 0);
    assert_string_equal(f->config.node_name, "node-a");
    assert_int_equal(f->config.member_count, 1);
    assert_int_equal(f->config.node, 0);
    assert_string_equal(f->config.members[0].name, "node-a");
    assert_string_equal(f->config.members[0].endpoint, "");
    assert_string_equal(f->config.worker_socket, "/run/seqsync/seqsync.sock");
    assert_string_equal(f->config.admin_endpoint, "ipc:///run/seqsync/admin.sock");
    assert_int_equal(f->config.arena_limit_bytes, 80 * GIB);
    assert_int_equal(f->config.arena_user_limit_bytes, 80 * GIB);
    assert_int_equal(f->config.lane_count, 4);
    assert_false(f->config.allow_plaintext);
    assert_false(f->config.has_worker_group);
}

static void a_user_gets_directories_of_their_own(void **state)
{
    struct fixture *f = *state;
    static const char *const environment[] = {"HOME=/home/u", "XDG_RUNTIME_DIR=/run/user/7", NULL};
    f->host.environment = environment;
    f->host.uid = 7;
    assert_int_equal(load_text(f, ""), 0);
    assert_string_equal(f->config.state_dir, "/home/u/.local/state/seqsync");
    assert_string_equal(f->config.worker_socket, "/run/user/7/seqsync/seqsync.sock");
}

static void systemd_says_where_directories_are(void **state)
{
    struct fixture *f = *state;
    static const char *const environment[] = {"STATE_DIRECTORY=/var/lib/x:/var/lib/y",
                                              "RUNTIME_DIRECTORY=/run/x", NULL};
    f->host.environment = environment;
    assert_int_equal(load_text(f, ""), 0);
    assert_string_equal(f->config.state_dir, "/var/lib/x");
    assert_string_equal(f->config.runtime_dir, "/run/x");
}

static void every_key_is_read(void **state)
{
    struct fixture *f = *state;
    int r = load_text(f, "[node]\nname = b\nstate-dir=/s\nruntime-dir = /r\n"
                         "worker-socket = /w\nadmin-endpoint = tcp://127.0.0.1:7000\n"
                         "[peers]\nmember = a tcp://10.0.0.1:7400\n"
                         "\tmember =  b\ttcp://[::1]:7400 \r\n"
                         "member = c ipc:///x/c\n"
                         "[arena]\nlimit = 8GiB\nper-user-limit = 25%\n"
                         "[security]\nallow-plaintext = yes\nworker-user = 1000\n"
                         "worker-user = root\nworker-group = 5\nadmin-group = root\n"
                         "[limits]\nworkers = 10\nworkers-per-user = 5\n"
                         "[timeouts]\njoin = 2min\nstep = 90 s\npeer-silence = 1s\nping = 100ms\n"
                         "handshake = 1s\ncurve-check = 1h\n"
                         "[lanes]\ncount = 3\n[log]\nlevel = debug\n");
    assert_string_equal(f->problems.text, "");
    assert_int_equal(r, 0);
    const struct config *c = &f->config;
    assert_int_equal(c->node, 1);
    assert_int_equal(c->member_count, 3);
    assert_string_equal(c->members[0].bulk_endpoint, "tcp://10.0.0.1:7401");
    assert_string_equal(c->members[1].endpoint, "tcp://[::1]:7400");
    assert_string_equal(c->members[1].bulk_endpoint, "tcp://[::1]:7401");
    assert_string_equal(c->members[2].bulk_endpoint, "ipc:///x/c.bulk");
    assert_int_equal(c->arena_limit_bytes, 8 * GIB);
    assert_int_equal(c->arena_user_limit_bytes, 2 * GIB);
    assert_true(c->allow_plaintext);
    assert_int_equal(c->worker_user_count, 2);
    assert_int_equal(c->worker_users[0], 1000);
    assert_int_equal(c->worker_users[1], 0);
    assert_true(c->has_worker_group);
    assert_int_equal(c->worker_group, 5);
    assert_true(c->has_admin_group);
    assert_int_equal(c->admin_group, 0);
    assert_int_equal(c->workers_max, 10);
    assert_int_equal(c->workers_per_user_max, 5);
    assert_int_equal(c->join_ns, 120000000000);
    assert_int_equal(c->step_ns, 90000000000);
    assert_int_equal(c->ping_ns, 100000000);
    assert_int_equal(c->curve_check_ns, 3600000000000);
    assert_int_equal(c->lane_count, 3);
    assert_int_equal(c->log_level, LOG_LEVEL_DEBUG);
}

struct wrong {
    const char *text;
    const char *problem; /* what stands behind the file's name */
};

static const struct wrong wrongs[] = {
    {"[node]\nnmae = a\n", ":2: unknown key \"nmae\" in node, did you mean \"name\"?"},
    {"[timeouts]\n\npeer_silence = 3s\n", ":3: unknown key \"peer_silence\" in timeouts, did you "
                                          "mean \"peer-silence\"?"},
    {"[secrity]\nallow-plaintext = yes\n",
     ":1: unknown section \"secrity\", did you mean \"security\"?"},
    {"[node]\nzzzzzzzzzzzz = 1\n", ":2: unknown key \"zzzzzzzzzzzz\" in node"},
    {"name = a\n", ":1: a key before the first [section]"},
    {"[node\n", ":1: a section is written [name]"},
    {"[node]\nname\n", ":2: neither [section] nor key = value"},
    {"[node]\nname = \n", ":2: [node] name = : it has no value"},
    {"[node]\nname = a/b\n", ":2: [node] name = a/b: it must be letters"},
    {"[node]\nname = a\nname = b\n", ":3: [node] name is set already on line 2"},
    {"[node]\nstate-dir = x\n", ":2: [node] state-dir = x: it must be an absolute path"},
    {"[arena]\nlimit = 8\n", ":2: [arena] limit = 8: it must be a size with its unit"},
    {"[arena]\nlimit = 8GB\n", ":2: [arena] limit = 8GB: it must be a size with its unit"},
    {"[arena]\nlimit = 101%\n", ":2: [arena] limit = 101%: it must be a size with its unit"},
    {"[arena]\nlimit = 99999999999TiB\n", ":2: [arena] limit = 99999999999TiB: it must be"},
    {"[timeouts]\nstep = 60\n", ":2: [timeouts] step = 60: it must be a time with its unit"},
    {"[timeouts]\nstep = -1s\n", ":2: [timeouts] step = -1s: it must be a time with its unit"},
    {"[timeouts]\nstep = 1ms\n", ":2: [timeouts] step = 1ms: it must be from 100ms to 24h"},
    {"[limits]\nworkers = 0\n", ":2: [limits] workers = 0: it must be from 1 to 4096"},
    {"[limits]\nworkers = 1e3\n", ":2: [limits] workers = 1e3: it must be a whole number"},
    {"[limits]\nworkers = 99999999999999999999\n", ": it must be a whole number"},
    {"[security]\nallow-plaintext = true\n", ": it must be yes or no"},
    {"[log]\nlevel = loud\n", ": it must be error, warning, notice, info or debug"},
    {"[peers]\nmember = a\n", ": it must be NAME ENDPOINT [PUBLICKEY]"},
    {"[peers]\nmember = a tcp://h:1 k x\n", ": it must be NAME ENDPOINT [PUBLICKEY]"},
    {"[peers]\nmember = a tcp://h:1 short\n", ": it has a bad public key"},
    {"[peers]\nmember = a tcp://h\n", ": it has a bad endpoint"},
    {"[peers]\nmember = a tcp://h:65535\n", ": it has a bad endpoint"},
    {"[peers]\nmember = a tcp://:7400\n", ": it has a bad endpoint"},
    {"[peers]\nmember = a ipc://relative\n", ": it has a bad endpoint"},
    {"[peers]\nmember = a udp://h:7400\n", ": it has a bad endpoint"},
};

static void each_mistake_is_named_with_its_place(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
        int r = load_text(f, wrongs[i].text);
        assert_int_equal(r, -EINVAL);
        assert_int_equal(f->problems.count, 1);
        if (strncmp(f->problems.text, f->file, strlen(f->file)) != 0 ||
            strstr(f->problems.text, wrongs[i].problem) == NULL) {
            fail_msg("%s gave: %s", wrongs[i].text, f->problems.text);
        }
    }
}

static const struct wrong contradictions[] = {
    {"[peers]\nmember = x tcp://h:1\n", "this node, node-a, is not among the members"},
    {"[peers]\nmember = node-a tcp://h:1\nmember = node-a tcp://h:3\n", "node-a is there twice"},
    {"[peers]\nmember = node-a tcp://h:1\nmember = b tcp://h:1\n", "have the same endpoint"},
    {"[peers]\nmember = node-a tcp://h:1\nmember = b tcp://h:2\n",
     "the endpoint tcp://h:2 of b is the bulk endpoint of node-a"},
    {"[security]\nsecret-key-file = /k\n[peers]\nmember = node-a tcp://h:1\n",
     "node-a has no public key"},
    {"[peers]\nmember = node-a tcp://h:1 0000000000000000000000000000000000000000\n",
     "secret-key-file is not set"},
    {"[arena]\nlimit = 1TiB\n", "this machine has 102400 MiB"},
    {"[arena]\nlimit = 1GiB\nper-user-limit = 2GiB\n", "it is larger than limit = 1GiB"},
    {"[timeouts]\nping = 3s\n", "at least twice ping"},
    {"[security]\nworker-user = no-such-user-here\n", "there is no user no-such-user-here"},
    {"[security]\nadmin-group = no-such-group-here\n", "there is no group no-such-group-here"},
    {"[node]\nruntime-dir = "
     "/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/"
     "0123456789/\n",
     "longer than the 107 bytes"},
};

static void contradictions_are_found(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(contradictions) / sizeof(contradictions[0]); i++) {
        assert_int_equal(load_text(f, contradictions[i].text), -EINVAL);
        if (strstr(f->problems.text, contradictions[i].problem) == NULL) {
            fail_msg("%s gave: %s", contradictions[i].text, f->problems.text);
        }
    }
}

static void all_mistakes_are_told_at_once(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(load_text(f, "[node]\nnmae = a\n[lanes]\ncount = x\n"), -EINVAL);
    assert_int_equal(f->problems.count, 2);
    assert_non_null(strstr(f->problems.text, ":2: "));
    assert_non_null(strstr(f->problems.text, ":4: "));
}

static void many_mistakes_do_not_overflow_their_text(void **state)
{
    struct fixture *f = *state;
    FILE *file = fopen(f->file, "w");
    assert_non_null(file);
    fprintf(file, "[node]\n");
    for (int i = 0; i < 5000; i++) {
        fprintf(file, "wrong-%d = 1\n", i);
    }
    fclose(file);
    assert_int_equal(load(f, NULL, 0), -EINVAL);
    assert_int_equal(f->problems.count, 5000);
    assert_true(strlen(f->problems.text) < sizeof(f->problems.text));
}

static void long_lines_and_nul_bytes_are_refused(void **state)
{
    struct fixture *f = *state;
    char text[3000];
    memset(text, 'x', sizeof(text));
    config_init(&f->config, &f->host);
    config_parse(&f->config, text, sizeof(text), "f", CONFIG_FILE, &f->problems);
    config_parse(&f->config, "[no\0de]", 7, "f", CONFIG_FILE, &f->problems);
    assert_string_equal(
        f->problems.text,
        "f:1: the line is longer than 1023 bytes\nf:1: the line holds a NUL byte\n");
}

/* flag > environment > drop-ins in lexical order > file > built-in, by taking away the strongest
 * one by one. */
static void stronger_sources_win(void **state)
{
    struct fixture *f = *state;
    static const char *const environment[] = {"SEQSYNC_LANES_COUNT=5", "SEQSYNC_SOCKET=/x", NULL};
    static const char *const flags[] = {"lanes.count=6"};
    char path[400];
    snprintf(path, sizeof(path), "%s.d", f->file);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s.d/20.conf", f->file);
    write_file(path, "[lanes]\ncount = 3\n");
    snprintf(path, sizeof(path), "%s.d/10.conf", f->file);
    write_file(path, "[lanes]\ncount = 2\n");
    snprintf(path, sizeof(path), "%s.d/30.conf.dpkg-old", f->file);
    write_file(path, "nonsense");
    write_file(f->file, "[lanes]\ncount = 1\n");
    f->host.environment = environment;
    assert_int_equal(load(f, flags, 1), 0);
    assert_int_equal(f->config.lane_count, 6);
    assert_int_equal(load(f, NULL, 0), 0);
    assert_int_equal(f->config.lane_count, 5);
    f->host.environment = no_environment;
    assert_int_equal(load(f, NULL, 0), 0);
    assert_int_equal(f->config.lane_count, 3);
    snprintf(path, sizeof(path), "%s.d/20.conf", f->file);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(load(f, NULL, 0), 0);
    assert_int_equal(f->config.lane_count, 2);
    snprintf(path, sizeof(path), "%s.d/10.conf", f->file);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(load(f, NULL, 0), 0);
    assert_int_equal(f->config.lane_count, 1);
}

static void a_stronger_list_replaces_a_weaker_one(void **state)
{
    struct fixture *f = *state;
    static const char *const environment[] = {"SEQSYNC_PEERS_MEMBER=node-a tcp://h:1; x tcp://h:3",
                                              NULL};
    write_file(f->file, "[peers]\nmember = p tcp://h:1\nmember = q tcp://h:3\n"
                        "member = node-a tcp://h:5\n");
    assert_int_equal(load(f, NULL, 0), 0);
    assert_int_equal(f->config.member_count, 3);
    f->host.environment = environment;
    assert_int_equal(load(f, NULL, 0), 0);
    assert_int_equal(f->config.member_count, 2);
    assert_string_equal(f->config.members[1].name, "x");
    static const char *const flags[] = {"peers.member="};
    assert_int_equal(load(f, flags, 1), 0);
    assert_int_equal(f->config.member_count, 1);
    assert_string_equal(f->config.members[0].endpoint, "");
}

static void flags_and_variables_are_named_in_problems(void **state)
{
    struct fixture *f = *state;
    static const char *const flags[] = {"lanes.cuont=6", "lans.count=6", "lanes", "lanes.count=x"};
    static const char *const environment[] = {"SEQSYNC_TIMEOUTS_PEER_SILENCE=1", NULL};
    f->host.environment = environment;
    write_file(f->file, "");
    assert_int_equal(load(f, flags, 4), -EINVAL);
    assert_int_equal(f->problems.count, 5);
    assert_non_null(strstr(f->problems.text, "SEQSYNC_TIMEOUTS_PEER_SILENCE: "));
    assert_non_null(strstr(f->problems.text, "did you mean \"count\"?"));
    assert_non_null(strstr(f->problems.text, "did you mean \"lanes\"?"));
    assert_non_null(strstr(f->problems.text, "--set lanes: it must be section.key=value"));
}

static void a_named_file_must_exist_and_be_one(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(load(f, NULL, 0), -EINVAL);
    assert_non_null(strstr(f->problems.text, "cannot be read: No such file or directory"));
    assert_int_equal(mkdir(f->file, 0700), 0);
    assert_int_equal(load(f, NULL, 0), -EINVAL);
    assert_non_null(strstr(f->problems.text, "it is no file"));
}

static void dump(const struct config *config, char *text, size_t size)
{
    FILE *out = fmemopen(text, size, "w");
    assert_non_null(out);
    config_dump(config, out);
    assert_int_equal(fclose(out), 0);
}

static void a_dump_names_origins_and_reads_back_the_same(void **state)
{
    struct fixture *f = *state;
    char first[8192];
    char second[8192];
    char expected[600];
    assert_int_equal(load_text(f, "[node]\nname = b\n[peers]\nmember = a tcp://h:1\n"
                                  "member = b tcp://h:3\n[security]\nworker-user = 0\n"),
                     0);
    dump(&f->config, first, sizeof(first));
    snprintf(expected, sizeof(expected), "# %s:2\nname = b\n# built-in\nstate-dir = ", f->file);
    assert_non_null(strstr(first, expected));
    assert_non_null(strstr(first, "member = a tcp://h:1\nmember = b tcp://h:3\n"));
    assert_int_equal(load_text(f, first), 0);
    dump(&f->config, second, sizeof(second));
    /* The same but for the origins. */
    char *a_rest = NULL;
    char *b_rest = NULL;
    char *a = strtok_r(first, "\n", &a_rest);
    char *b = strtok_r(second, "\n", &b_rest);
    while (a != NULL && b != NULL) {
        if (a[0] != '#') {
            assert_string_equal(a, b);
        }
        a = strtok_r(NULL, "\n", &a_rest);
        b = strtok_r(NULL, "\n", &b_rest);
    }
    assert_null(a);
    assert_null(b);
}

/* The file that is installed: its commented lines are the built-in values, each key is mentioned.
 */
static void the_installed_file_shows_the_built_in_values(void **state)
{
    struct fixture *f = *state;
    FILE *file = fopen(SEQSYNC_CONF, "r");
    assert_non_null(file);
    char line[512];
    char text[16384] = "";
    bool seen[CONFIG_KEYS_MAX] = {false};
    char section[64] = "";
    size_t used = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        char name[64] = "";
        const char *keep = "";
        if (line[0] == '[') {
            keep = line;
            assert_int_equal(sscanf(line, "[%63[a-z]]", section), 1);
        } else if (line[0] == '#' && line[1] >= 'a' && line[1] <= 'z') {
            keep = line + 1;
            assert_int_equal(sscanf(keep, "%63[a-z-]", name), 1);
        } else if (sscanf(line, "# for example: %63[a-z-]", name) != 1) {
            continue;
        }
        if (name[0] != '\0') {
            int key = config_key_find(section, name);
            assert_true(key >= 0);
            seen[key] = true;
        }
        assert_true(used + strlen(keep) < sizeof(text));
        memcpy(text + used, keep, strlen(keep) + 1);
        used += strlen(keep);
    }
    fclose(file);
    for (size_t i = 0; i < config_key_count; i++) {
        if (!seen[i]) {
            fail_msg("[%s] %s is not in the installed file", config_keys[i].section,
                     config_keys[i].name);
        }
    }
    assert_int_equal(load_text(f, ""), 0);
    struct config *built_in = malloc(sizeof(*built_in));
    assert_non_null(built_in);
    *built_in = f->config;
    assert_int_equal(load_text(f, text), 0);
    memset(built_in->origins, 0, sizeof(built_in->origins));
    memset(f->config.origins, 0, sizeof(f->config.origins));
    assert_memory_equal(built_in, &f->config, sizeof(*built_in));
    free(built_in);
}

static void numbers_are_exact_at_their_limits(void **state)
{
    (void)state;
    uint64_t n = 7;
    assert_true(config_value_count("18446744073709551615", &n));
    assert_true(n == UINT64_MAX);
    assert_false(config_value_count("18446744073709551616", &n));
    assert_false(config_value_size("16777216TiB", &n));
    assert_true(config_value_size("16777215TiB", &n));
    assert_true(n == 16777215ull << 40);
    assert_false(config_value_duration("5124096h", &n));
    assert_true(config_value_duration("5124095h", &n));
    char text[32];
    config_value_format_duration(n, text, sizeof(text));
    assert_string_equal(text, "5124095h");
    config_value_format_duration(1500000000, text, sizeof(text));
    assert_string_equal(text, "1500ms");
    config_value_format_duration(0, text, sizeof(text));
    assert_string_equal(text, "0ns");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_node_without_a_file_is_a_cluster_by_itself, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_user_gets_directories_of_their_own, setup, teardown),
        cmocka_unit_test_setup_teardown(systemd_says_where_directories_are, setup, teardown),
        cmocka_unit_test_setup_teardown(every_key_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(each_mistake_is_named_with_its_place, setup, teardown),
        cmocka_unit_test_setup_teardown(contradictions_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(all_mistakes_are_told_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(many_mistakes_do_not_overflow_their_text, setup, teardown),
        cmocka_unit_test_setup_teardown(long_lines_and_nul_bytes_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(stronger_sources_win, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stronger_list_replaces_a_weaker_one, setup, teardown),
        cmocka_unit_test_setup_teardown(flags_and_variables_are_named_in_problems, setup, teardown),
        cmocka_unit_test_setup_teardown(a_named_file_must_exist_and_be_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_dump_names_origins_and_reads_back_the_same, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_installed_file_shows_the_built_in_values, setup,
                                        teardown),
        cmocka_unit_test(numbers_are_exact_at_their_limits),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
