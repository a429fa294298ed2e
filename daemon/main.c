/* seqsyncd: one per node. argv -> config -> build -> run -> exit code. */
#include "daemon/host/config.h"
#include "daemon/host/log.h"
#include "daemon/host/notify.h"
#include "daemon/host/signals.h"
#include "daemon/io/curve.h"
#include "daemon/io/driver.h"
#include "daemon/io/loop.h"

#include <fcntl.h>
#include <getopt.h>
#include <seqsync/version.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>
#include <zmq.h>

#define STATUS_INTERVAL_MS 1000
#define TERM_DEADLINE_S 10 /* for libzmq to let go of its last bytes */

static const char *arg_config;
static const char *arg_flags[CONFIG_KEYS_MAX];
static uint32_t arg_flag_count;
static const char *arg_genkey;
static bool arg_check_config;
static bool arg_dump_config;
static int arg_exit_with_fd = -1;

struct daemon {
    uv_loop_t loop;
    void *zmq;
    struct driver *driver;
    struct signals signals;
    uv_timer_t status_timer;
    uv_poll_t exit_poll;
    bool polls_exit;
    bool stopping;
    uint64_t watchdog_ns; /* 0 = not wanted */
    uint64_t watchdog_last_ns;
    uint64_t lane_jobs_done; /* at the last sign of life */
};

static struct config config;

static void print_help(FILE *out)
{
    fprintf(
        out,
        "usage: seqsyncd [OPTION]...\n"
        "The daemon of one node: schedules sequence shards and aggregates gradients.\n\n"
        "  -c, --config FILE         read FILE instead of " CONFIG_FILE_DEFAULT "\n"
        "  -s, --set SECTION.KEY=V   set a value, stronger than file and environment\n"
        "      --check-config        read the configuration and exit: 0, or 78 with what is wrong\n"
        "      --dump-config         print the effective values and where they come from\n"
        "      --genkey FILE         make a CURVE key: the secret into FILE, the public key to "
        "stdout\n"
        "      --exit-with-fd FD     shut down when FD reads end of file (for a parent that may "
        "die)\n"
        "      --version\n"
        "  -h, --help\n\n"
        "See seqsyncd(8) and seqsync.conf(5).\n");
}

enum { OPTION_CHECK = 256, OPTION_DUMP, OPTION_GENKEY, OPTION_EXIT_FD, OPTION_VERSION };

/* -1: go on; else the exit status. */
static int parse_argv(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"set", required_argument, NULL, 's'},
        {"check-config", no_argument, NULL, OPTION_CHECK},
        {"dump-config", no_argument, NULL, OPTION_DUMP},
        {"genkey", required_argument, NULL, OPTION_GENKEY},
        {"exit-with-fd", required_argument, NULL, OPTION_EXIT_FD},
        {"version", no_argument, NULL, OPTION_VERSION},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0}};
    for (;;) {
        char *end;
        switch (getopt_long(argc, argv, "c:s:h", options, NULL)) {
        case -1:
            if (optind < argc) {
                fprintf(stderr, "error: unexpected argument '%s'\n  try: seqsyncd --help\n",
                        argv[optind]);
                return EX_USAGE;
            }
            return -1;
        case 'c':
            arg_config = optarg;
            break;
        case 's':
            if (arg_flag_count == CONFIG_KEYS_MAX) {
                fprintf(stderr, "error: too many --set\n");
                return EX_USAGE;
            }
            arg_flags[arg_flag_count++] = optarg;
            break;
        case OPTION_CHECK:
            arg_check_config = true;
            break;
        case OPTION_DUMP:
            arg_dump_config = true;
            break;
        case OPTION_GENKEY:
            arg_genkey = optarg;
            break;
        case OPTION_EXIT_FD:
            arg_exit_with_fd = (int)strtol(optarg, &end, 10);
            if (*optarg == '\0' || *end != '\0' || fcntl(arg_exit_with_fd, F_GETFD) < 0) {
                fprintf(stderr, "error: --exit-with-fd %s: no such descriptor\n", optarg);
                return EX_USAGE;
            }
            break;
        case OPTION_VERSION:
            printf("seqsyncd %s\n", SEQSYNC_VERSION_STRING);
            return EX_OK;
        case 'h':
            print_help(stdout);
            return EX_OK;
        default:
            fprintf(stderr, "  try: seqsyncd --help\n");
            return EX_USAGE;
        }
    }
}

static int load_config(void)
{
    static struct config_problems problems;
    struct config_host host;

    config_host_of_machine(&host);
    const struct config_request request = {
        .file = arg_config, .flags = arg_flags, .flag_count = arg_flag_count, .host = &host};
    if (config_load(&request, &config, &problems) < 0) {
        fprintf(stderr, "error: the configuration has %u problem%s\n%s  try: seqsync.conf(5)\n",
                problems.count, problems.count == 1 ? "" : "s", problems.text);
        return EX_CONFIG;
    }
    return -1;
}

static int generate_key(void)
{
    char public_key[CURVE_KEY_BYTES];
    const int r = curve_generate(arg_genkey, public_key);

    if (r < 0) {
        fprintf(stderr, "error: cannot write the key to %s: %s\n", arg_genkey, strerror(-r));
        return EX_CANTCREAT;
    }
    printf("%s\n", public_key);
    return EX_OK;
}

/* ---- run ---- */

static void daemon_on_closed(void *ctx)
{
    struct daemon *daemon = ctx;

    uv_stop(&daemon->loop);
}

static void daemon_stop(struct daemon *daemon, const char *why)
{
    if (daemon->stopping) {
        return;
    }
    daemon->stopping = true;
    log_msg(LOG_LEVEL_NOTICE, "%s: shutting down", why);
    (void)notify_stopping();
    driver_close(daemon->driver, daemon_on_closed, daemon);
}

static void daemon_on_signal(void *ctx, int signum)
{
    struct daemon *daemon = ctx;
    struct driver_health health;

    switch (signum) {
    case SIGTERM:
    case SIGINT:
        daemon_stop(daemon, signum == SIGTERM ? "SIGTERM" : "SIGINT");
        return;
    case SIGHUP:
        log_msg(LOG_LEVEL_NOTICE,
                "SIGHUP: no setting can be changed while running; restart to apply a new config");
        return;
    default:
        driver_health(daemon->driver, &health);
        log_msg(LOG_LEVEL_NOTICE,
                "state: %u jobs, %u workers, %u of %u peers up, %u lane jobs pending", health.jobs,
                health.workers, health.peers_up, health.peers, health.lane_jobs_pending);
    }
}

static void daemon_on_exit_fd(uv_poll_t *poll, int status, int events)
{
    struct daemon *daemon = poll->data;
    char byte;

    (void)events;
    if (status < 0 || read(arg_exit_with_fd, &byte, 1) <= 0) {
        uv_poll_stop(poll);
        daemon_stop(daemon, "the parent is gone");
    }
}

/* A sign of life is only given if the loop turns and the lanes finish what they have. */
static void daemon_watchdog(struct daemon *daemon, const struct driver_health *health)
{
    const uint64_t now = loop_now_ns();
    const bool progress =
        health->lane_jobs_pending == 0 || health->lane_jobs_done != daemon->lane_jobs_done;

    if (daemon->watchdog_ns == 0 || now - daemon->watchdog_last_ns < daemon->watchdog_ns / 2) {
        return;
    }
    if (progress) {
        (void)notify_watchdog();
        daemon->watchdog_last_ns = now;
        daemon->lane_jobs_done = health->lane_jobs_done;
    }
}

static void daemon_on_status(uv_timer_t *timer)
{
    struct daemon *daemon = timer->data;
    struct driver_health health;

    driver_health(daemon->driver, &health);
    daemon_watchdog(daemon, &health);
    (void)notify_status("%u jobs, %u workers, %u/%u peers", health.jobs, health.workers,
                        health.peers_up, health.peers);
}

static int start_fail(const char *what, const char *why, int status)
{
    fprintf(stderr, "error: seqsyncd cannot start: %s\n  %s\n  try: seqsyncd --check-config\n",
            what, why);
    fflush(stderr);
    /* Threads and half-open sockets are in unknown states; the kernel cleans up better than we
     * could. */
    _exit(status);
}

static int exit_status_of(int r)
{
    switch (r) {
    case -EPERM:
    case -EINVAL:
        return EX_CONFIG;
    case -EACCES:
        return EX_NOPERM;
    case -EADDRINUSE:
        return EX_TEMPFAIL;
    default:
        return EX_OSERR;
    }
}

static void daemon_open(struct daemon *daemon)
{
    char why[512];
    int listen_fd = -1;
    int r = uv_loop_init(&daemon->loop);

    if (r < 0) {
        start_fail("no event loop", uv_strerror(r), EX_OSERR);
    }
    daemon->zmq = zmq_ctx_new();
    if (daemon->zmq == NULL) {
        start_fail("no ZeroMQ context", zmq_strerror(zmq_errno()), EX_OSERR);
    }
    if (notify_take_listen_fd(&listen_fd) < 0) {
        start_fail("socket activation", "systemd passed something else than one SEQPACKET socket",
                   EX_CONFIG);
    }
    r = driver_new(&daemon->loop, daemon->zmq, &config, listen_fd, &daemon->driver, why,
                   sizeof(why));
    if (r < 0) {
        start_fail(strerror(-r), why, exit_status_of(r));
    }
    r = signals_open(&daemon->signals, &daemon->loop, daemon_on_signal, daemon);
    if (r < 0) {
        start_fail("no signals", uv_strerror(r), EX_OSERR);
    }
    uv_timer_init(&daemon->loop, &daemon->status_timer);
    daemon->status_timer.data = daemon;
    daemon->watchdog_ns = notify_watchdog_interval_ns();
    const uint64_t watchdog_ms = daemon->watchdog_ns / 4 / LOOP_NS_PER_MS + 1;
    const uint64_t ms = daemon->watchdog_ns != 0 && watchdog_ms < STATUS_INTERVAL_MS
                            ? watchdog_ms
                            : STATUS_INTERVAL_MS;
    uv_timer_start(&daemon->status_timer, daemon_on_status, ms, ms);
    if (arg_exit_with_fd >= 0) {
        r = uv_poll_init(&daemon->loop, &daemon->exit_poll, arg_exit_with_fd);
        if (r < 0) {
            start_fail("--exit-with-fd", uv_strerror(r), EX_USAGE);
        }
        daemon->exit_poll.data = daemon;
        daemon->polls_exit = true;
        uv_poll_start(&daemon->exit_poll, UV_READABLE | UV_DISCONNECT, daemon_on_exit_fd);
    }
}

static void print_leftover(void *ctx, const char *type, bool closing)
{
    (void)ctx;
    log_msg(LOG_LEVEL_ERROR, "a handle of type %s was left open at exit%s", type,
            closing ? " (closing)" : "");
}

static int daemon_finish(struct daemon *daemon)
{
    /* libzmq may hang here if one of its pipes is stuck: a deadline by SIGALRM, whose default is to
     * end the process. */
    alarm(TERM_DEADLINE_S);
    zmq_ctx_term(daemon->zmq);
    alarm(0);
    driver_free(daemon->driver);
    signals_close(&daemon->signals);
    uv_close((uv_handle_t *)&daemon->status_timer, NULL);
    if (daemon->polls_exit) {
        uv_close((uv_handle_t *)&daemon->exit_poll, NULL);
    }
    for (int turn = 0; turn < 10 && uv_loop_alive(&daemon->loop); turn++) {
        uv_run(&daemon->loop, UV_RUN_NOWAIT);
    }
    if (loop_leftovers(&daemon->loop, print_leftover, NULL) > 0 ||
        uv_loop_close(&daemon->loop) != 0) {
        return EX_SOFTWARE;
    }
    log_msg(LOG_LEVEL_NOTICE, "stopped");
    return EX_OK;
}

int main(int argc, char **argv)
{
    static struct daemon daemon;
    int status = parse_argv(argc, argv);

    if (status >= 0) {
        return status;
    }
    if (arg_genkey != NULL) {
        return generate_key();
    }
    status = load_config();
    if (status >= 0) {
        return status;
    }
    if (arg_dump_config) {
        config_dump(&config, stdout);
        return EX_OK;
    }
    if (arg_check_config) {
        return EX_OK;
    }
    umask(0077);
    log_set_level((enum log_level)config.log_level);
    daemon_open(&daemon);
    log_msg(LOG_LEVEL_NOTICE, "seqsyncd %s: %s, node %u of %u, workers at %s",
            SEQSYNC_VERSION_STRING, config.node_name, config.node + 1, config.member_count,
            config.worker_socket);
    (void)notify_ready();
    uv_run(&daemon.loop, UV_RUN_DEFAULT);
    return daemon_finish(&daemon);
}
