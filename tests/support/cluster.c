#include "tests/support/cluster.h"

#include <dirent.h>
#include <libgen.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONTROL_PORT 7410 /* inside a network namespace of the test's own */

static void die(const char *what)
{
    fprintf(stderr, "cluster: %s\n", what);
    exit(2);
}

/* The build tree's folders that programs are made in, as seen from its root. */
static const char *const program_folders[] = {
    "daemon",     "client/ctl", "client/trainer", "client/lib/example", "tests/integration",
    "tests/fault"};

const char *cluster_program(const char *name, char out[TMP_PATH_MAX])
{
    char self[TMP_PATH_MAX], *root;
    const ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (length < 0) {
        die("cannot find this program");
    }
    self[length] = '\0';
    root = dirname(dirname(dirname(self))); /* ROOT/tests/FOLDER/PROGRAM */
    for (size_t i = 0; i < sizeof(program_folders) / sizeof(program_folders[0]); i++) {
        if (snprintf(out, TMP_PATH_MAX, "%s/%s/%s", root, program_folders[i], name) <
                TMP_PATH_MAX &&
            access(out, X_OK) == 0) {
            return out;
        }
    }
    fprintf(stderr, "cluster: no program %s below %s\n", name, root);
    exit(2);
}

static void node_name(uint32_t node, char out[16])
{
    snprintf(out, 16, "node-%c", (char)('a' + node));
}

static void append(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void append(char *text, size_t size, const char *format, ...)
{
    const size_t length = strlen(text);
    va_list args;

    va_start(args, format);
    const int n = vsnprintf(text + length, size - length, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= size - length) {
        die("a config is too long");
    }
}

static void write_members(const struct cluster *cluster, char *text, size_t size,
                          const char (*keys)[64])
{
    for (uint32_t i = 0; i < cluster->nodes; i++) {
        char name[16], endpoint[TMP_PATH_MAX];
        node_name(i, name);
        if (cluster->netns != NULL) {
            snprintf(endpoint, sizeof(endpoint), "tcp://%s:%d", netns_address(cluster->netns, i),
                     CONTROL_PORT);
        } else {
            snprintf(endpoint, sizeof(endpoint), "ipc://%s/%s.peer", cluster->tmp.path, name);
        }
        append(text, size, "member = %s %s ", name, endpoint);
        append(text, size, "%s\n", keys != NULL ? keys[i] : "");
    }
}

static void write_config(const struct cluster *cluster, const struct cluster_options *options,
                         uint32_t node, const char (*keys)[64])
{
    char text[8192] = "", name[16], path[TMP_PATH_MAX], file[32];

    node_name(node, name);
    append(text, sizeof(text), "[node]\nname = %s\nruntime-dir = %s\n", name, cluster->tmp.path);
    append(text, sizeof(text), "state-dir = %s\nworker-socket = ", cluster->tmp.path);
    append(text, sizeof(text), "%s/%s.sock\n", cluster->tmp.path, name);
    append(text, sizeof(text), "admin-endpoint = ipc://%s/%s.admin\n", cluster->tmp.path, name);
    if (cluster->nodes > 1) {
        append(text, sizeof(text), "[peers]\n");
        write_members(cluster, text, sizeof(text), keys);
    }
    if (keys != NULL) {
        append(text, sizeof(text), "[security]\nsecret-key-file = %s/%s.key\n", cluster->tmp.path,
               name);
    } else if (cluster->netns != NULL) {
        append(text, sizeof(text), "[security]\nallow-plaintext = yes\n");
    }
    append(text, sizeof(text),
           "[timeouts]\njoin = 20s\nstep = %s\npeer-silence = 2s\nping = 200ms\n",
           options->step_timeout != NULL ? options->step_timeout : "8s");
    for (size_t i = 0; options->extra != NULL && options->extra[i] != NULL; i++) {
        const char *dot = strchr(options->extra[i], '.');
        char section[64];
        snprintf(section, sizeof(section), "%.*s", (int)(dot - options->extra[i]),
                 options->extra[i]);
        append(text, sizeof(text), "[%s]\n%s\n", section, dot + 1);
    }
    snprintf(file, sizeof(file), "%s.conf", name);
    tmp_write(&cluster->tmp, path, file, text);
}

static void make_keys(const struct cluster *cluster, char (*ret_keys)[64])
{
    char program[TMP_PATH_MAX], path[TMP_PATH_MAX], name[16];

    for (uint32_t i = 0; i < cluster->nodes; i++) {
        char *out = NULL;
        node_name(i, name);
        snprintf(path, sizeof(path), "%s/%s.key", cluster->tmp.path, name);
        const char *const argv[] = {cluster_program("seqsyncd", program), "--genkey", path, NULL};
        if (proc_run(argv, 10000, &out) != 0) {
            die("cannot make keys");
        }
        out[strcspn(out, "\n")] = '\0';
        snprintf(ret_keys[i], 64, "%s", out);
        free(out);
    }
}

void cluster_start_daemon(struct cluster *cluster, uint32_t node)
{
    char program[TMP_PATH_MAX], config[TMP_PATH_MAX], name[16];

    node_name(node, name);
    snprintf(config, sizeof(config), "%s/%s.conf", cluster->tmp.path, name);
    const char *const argv[] = {cluster_program("seqsyncd", program), "--config", config, NULL};
    const char *const environment[] = {cluster->mark, NULL};
    const struct proc_options options = {
        .argv = argv,
        .environment = environment,
        .name = name,
        .netns = cluster->netns != NULL ? netns_host(cluster->netns, node) : NULL,
        .show = getenv("SEQSYNC_TEST_SHOW") != NULL};
    cluster->daemons[node] = proc_free(cluster->daemons[node]);
    cluster->daemons[node] = proc_start(&options);
}

void cluster_start(struct cluster *cluster, const struct cluster_options *options)
{
    char keys[CLUSTER_NODES_MAX][64] = {{0}};

    memset(cluster, 0, sizeof(*cluster));
    cluster->nodes = options->nodes;
    cluster->netns = options->netns;
    tmp_make(&cluster->tmp);
    snprintf(cluster->mark, sizeof(cluster->mark), "SEQSYNC_TEST_MARK=%d.%llu", (int)getpid(),
             (unsigned long long)proc_now_ms());
    if (options->keys) {
        make_keys(cluster, keys);
    }
    for (uint32_t node = 0; node < cluster->nodes; node++) {
        write_config(cluster, options, node, options->keys ? (const char(*)[64])keys : NULL);
        cluster_start_daemon(cluster, node);
    }
    for (uint32_t node = 0; node < cluster->nodes; node++) {
        if (!cluster_wait_peers(cluster, node, cluster->nodes - 1, 20000)) {
            die("the daemons do not see each other");
        }
    }
}

int cluster_ctl(struct cluster *cluster, uint32_t node, const char *const *args, char **ret_out)
{
    char program[TMP_PATH_MAX], endpoint[TMP_PATH_MAX + 16], name[16];
    const char *argv[16];
    size_t n = 0;

    node_name(node, name);
    snprintf(endpoint, sizeof(endpoint), "ipc://%s/%s.admin", cluster->tmp.path, name);
    argv[n++] = cluster_program("seqctl", program);
    argv[n++] = "--admin";
    argv[n++] = endpoint;
    for (size_t i = 0; args[i] != NULL && n < 15; i++) {
        argv[n++] = args[i];
    }
    argv[n] = NULL;
    return proc_run(argv, 20000, ret_out);
}

struct peers_wanted {
    struct cluster *cluster;
    uint32_t node;
    uint32_t up;
};

static bool peers_are_up(void *ctx)
{
    const struct peers_wanted *wanted = ctx;
    static const char *const args[] = {"status", "--json", NULL};
    char text[64], *out = NULL;

    (void)cluster_ctl(wanted->cluster, wanted->node, args, &out);
    snprintf(text, sizeof(text), "\"nodes_up\": %u", wanted->up + 1);
    const bool found = out != NULL && strstr(out, text) != NULL;
    free(out);
    return found;
}

bool cluster_wait_peers(struct cluster *cluster, uint32_t node, uint32_t up, uint32_t timeout_ms)
{
    struct peers_wanted wanted = {cluster, node, up};

    return proc_wait_until(peers_are_up, &wanted, timeout_ms);
}

static struct proc *worker_start(struct cluster *cluster, const char *job, const char *const *argv,
                                 uint32_t rank, uint32_t world_size, uint32_t node,
                                 uint32_t local_rank)
{
    char socket[TMP_PATH_MAX + 32], name[16], label[32], texts[5][96], program[TMP_PATH_MAX];
    const char *full[24];
    size_t n = 0;

    node_name(node, name);
    snprintf(socket, sizeof(socket), "SEQSYNC_SOCKET=%s/%s.sock", cluster->tmp.path, name);
    snprintf(texts[0], sizeof(texts[0]), "SEQSYNC_JOB=%s", job);
    snprintf(texts[1], sizeof(texts[1]), "RANK=%u", rank);
    snprintf(texts[2], sizeof(texts[2]), "WORLD_SIZE=%u", world_size);
    snprintf(texts[3], sizeof(texts[3]), "LOCAL_RANK=%u", local_rank);
    snprintf(label, sizeof(label), "rank-%u", rank);
    full[n++] = cluster_program(argv[0], program);
    for (size_t i = 1; argv[i] != NULL && n < 23; i++) {
        full[n++] = argv[i];
    }
    full[n] = NULL;
    const char *const environment[] = {socket,
                                       texts[0],
                                       texts[1],
                                       texts[2],
                                       texts[3],
                                       "OPENBLAS_NUM_THREADS=1",
                                       "SEQSYNC_TIMEOUT_MS=300000",
                                       cluster->mark,
                                       NULL};
    return proc_start(&(struct proc_options){.argv = full,
                                             .environment = environment,
                                             .name = label,
                                             .same_stderr = true,
                                             .show = getenv("SEQSYNC_TEST_SHOW") != NULL});
}

void cluster_run(struct cluster *cluster, const char *job, const char *const *argv,
                 uint32_t world_size, const uint32_t *rank_nodes)
{
    uint32_t local[CLUSTER_NODES_MAX] = {0};

    if (world_size > CLUSTER_WORKERS_MAX || cluster->worker_count != 0) {
        die("too many workers, or the last job's are still there");
    }
    for (uint32_t rank = 0; rank < world_size; rank++) {
        const uint32_t node = rank_nodes[rank];
        cluster->worker_nodes[rank] = node;
        cluster->workers[rank] =
            worker_start(cluster, job, argv, rank, world_size, node, local[node]++);
    }
    cluster->worker_count = world_size;
}

bool cluster_wait(struct cluster *cluster, uint32_t timeout_ms, int *ret_statuses)
{
    const uint64_t end = proc_now_ms() + timeout_ms;

    for (uint32_t rank = 0; rank < cluster->worker_count; rank++) {
        const uint64_t now = proc_now_ms();
        if (!proc_wait_exit(cluster->workers[rank], now < end ? (uint32_t)(end - now) : 0,
                            &ret_statuses[rank])) {
            fprintf(stderr, "cluster: rank %u has not ended\n", rank);
            return false;
        }
    }
    return true;
}

void cluster_clear_workers(struct cluster *cluster)
{
    for (uint32_t rank = 0; rank < cluster->worker_count; rank++) {
        cluster->workers[rank] = proc_free(cluster->workers[rank]);
    }
    cluster->worker_count = 0;
}

uint32_t cluster_memfds(const struct cluster *cluster, uint32_t node)
{
    char folder[64], link[TMP_PATH_MAX], target[TMP_PATH_MAX];
    uint32_t count = 0;

    snprintf(folder, sizeof(folder), "/proc/%d/fd", (int)proc_pid(cluster->daemons[node]));
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        snprintf(link, sizeof(link), "%s/%.16s", folder, entry->d_name);
        const ssize_t length = readlink(link, target, sizeof(target) - 1);
        target[length > 0 ? length : 0] = '\0';
        count += strstr(target, "memfd:seqsync-") != NULL;
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return count;
}

uint32_t cluster_stop(struct cluster *cluster)
{
    uint32_t wrong = 0;

    cluster_clear_workers(cluster);
    for (uint32_t node = 0; node < cluster->nodes; node++) {
        if (cluster->daemons[node] != NULL && proc_is_running(cluster->daemons[node])) {
            proc_signal(cluster->daemons[node], SIGTERM);
        }
    }
    for (uint32_t node = 0; node < cluster->nodes; node++) {
        int status = -1;
        if (cluster->daemons[node] == NULL) {
            continue;
        }
        const bool ended = proc_wait_exit(cluster->daemons[node], 15000, &status);
        if (!ended || (status != 0 && status != 128 + SIGKILL)) {
            fprintf(stderr, "cluster: the daemon of node %u ended with %d\n%s\n", node, status,
                    proc_err(cluster->daemons[node]));
            wrong++;
        }
        cluster->daemons[node] = proc_free(cluster->daemons[node]);
    }
    const uint32_t left = proc_count_matching(cluster->mark);
    if (left > 0) {
        fprintf(stderr, "cluster: %u processes are left\n", left);
    }
    tmp_remove(&cluster->tmp);
    return wrong + left;
}
