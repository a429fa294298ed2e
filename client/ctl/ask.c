#include "client/ctl/ask.h"

#include <errno.h>
#include <seqsync/status.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#define ENDPOINT_SIZE 256

const char *ask_endpoint(char *out, size_t size, const char *typed)
{
    snprintf(out, size, "%s%s", typed[0] == '/' ? "ipc://" : "", typed);
    return out;
}

static int ask_unreachable(struct error *error, const char *endpoint, const char *call, int number)
{
    bool denied = number == EACCES || number == EPERM;
    if (denied) {
        error_set(error, EX_NOPERM, "NOT_PERMITTED", "not allowed to ask the daemon at %s",
                  endpoint);
        error_cause(error, "%s: %s", call, strerror(number));
        return error_hint(error, "sudo seqctl ..., or join the group that owns the socket");
    }
    error_set(error, EX_UNAVAILABLE, "UNREACHABLE", "no daemon answers at %s", endpoint);
    error_cause(error, "%s: %s", call, strerror(number));
    return error_hint(error, "systemctl status seqsyncd, or --admin ENDPOINT of another daemon");
}

/*
 * ZeroMQ connects in the background and retries for ever, which hides why nobody answers. One plain
 * connect() to the socket's path tells it at once.
 */
static int ask_probe(const char *endpoint, struct error *error)
{
    if (strncmp(endpoint, "ipc://", 6) != 0) {
        return EX_OK;
    }
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = endpoint + 6;
    if (strlen(path) >= sizeof(address.sun_path)) {
        error_set(error, EX_USAGE, "USAGE", "the path of %s is too long", endpoint);
        return error_cause(error, "at most %zu bytes", sizeof(address.sun_path) - 1);
    }
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return ask_unreachable(error, endpoint, "socket", errno);
    }
    int r = connect(fd, (const struct sockaddr *)&address, sizeof(address));
    int number = errno;
    close(fd);
    return r == 0 ? EX_OK : ask_unreachable(error, endpoint, "connect", number);
}

static int ask_configure(void *socket)
{
    int linger = 0;
    int64_t bytes_max = WIRE_ADMIN_ANSWER_MAX;
    int ipv6 = 1;
    if (zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger)) ||
        zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &bytes_max, sizeof(bytes_max)) ||
        zmq_setsockopt(socket, ZMQ_IPV6, &ipv6, sizeof(ipv6))) {
        return -1;
    }
    return 0;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Waits for one message; 0, or an errno. */
static int ask_receive(void *socket, uint64_t timeout_ns, zmq_msg_t *message)
{
    uint64_t deadline_ns = now_ns() + timeout_ns;
    for (;;) {
        uint64_t now = now_ns();
        uint64_t left_ms = now < deadline_ns ? (deadline_ns - now + 999999) / 1000000 : 0;
        zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
        int r = zmq_poll(&item, 1, (long)left_ms);
        if (r < 0 && zmq_errno() != EINTR) {
            return zmq_errno();
        }
        if (r > 0) {
            return zmq_msg_recv(message, socket, ZMQ_DONTWAIT) < 0 ? zmq_errno() : 0;
        }
        if (left_ms == 0) {
            return ETIMEDOUT;
        }
    }
}

static int ask_no_answer(struct error *error, const char *endpoint, const struct ctl *ctl,
                         int number)
{
    if (number != ETIMEDOUT) {
        return ask_unreachable(error, endpoint, "zeromq", number);
    }
    error_set(error, EX_UNAVAILABLE, "TIMEOUT", "the daemon at %s did not answer", endpoint);
    error_cause(error, "nothing within %.3g s", (double)ctl->timeout_ns / 1e9);
    return error_hint(error, "--timeout 30s; if it stays silent, journalctl -u seqsyncd");
}

/* The daemon says no: its words, our exit status. */
static int ask_refused(struct error *error, const Seqsync__Admin__Error *refusal)
{
    error_set(error, error_exit_status(refusal->code), seqsync_status_name(refusal->code), "%s",
              refusal->text);
    if (refusal->hint && refusal->hint[0]) {
        error_hint(error, "%s", refusal->hint);
    }
    return error->exit_status;
}

static int ask_check(struct ask *ask, const char *endpoint, zmq_msg_t *message, struct error *error)
{
    Seqsync__Admin__Answer *answer = NULL;
    const char *wrong =
        frame_decode_answer(ask->memory, zmq_msg_data(message), zmq_msg_size(message), &answer);
    if (wrong) {
        error_set(error, EX_PROTOCOL, "PROTOCOL", "the answer of %s is malformed", endpoint);
        return error_cause(error, "%s", wrong);
    }
    if (answer->protocol != WIRE_PROTOCOL) {
        error_set(error, EX_PROTOCOL, "VERSION", "the daemon at %s speaks another protocol",
                  endpoint);
        error_cause(error, "it speaks %u, seqctl %d", answer->protocol, WIRE_PROTOCOL);
        return error_hint(error, "the seqctl that was installed with that daemon");
    }
    if (answer->error && answer->error->code != SEQSYNC_OK) {
        return ask_refused(error, answer->error);
    }
    ask->answer = answer;
    return EX_OK;
}

static int ask_exchange(struct ask *ask, const struct ctl *ctl, const char *endpoint, void *socket,
                        const Seqsync__Admin__Request *request, struct error *error)
{
    uint8_t bytes[WIRE_ADMIN_REQUEST_MAX];
    size_t length = frame_encode(&request->base, bytes, sizeof(bytes));
    if (length == 0) {
        return error_set(error, EX_USAGE, "USAGE", "the name is too long");
    }
    if (ask_configure(socket) || zmq_connect(socket, endpoint) ||
        zmq_send(socket, bytes, length, 0) < 0) {
        return ask_unreachable(error, endpoint, "zeromq", zmq_errno());
    }
    zmq_msg_t message;
    zmq_msg_init(&message);
    int number = ask_receive(socket, ctl->timeout_ns, &message);
    int status = number ? ask_no_answer(error, endpoint, ctl, number)
                        : ask_check(ask, endpoint, &message, error);
    zmq_msg_close(&message);
    return status;
}

int ask_daemon(struct ask *ask, const struct ctl *ctl, Seqsync__Admin__Question question,
               const char *job, struct error *error)
{
    char endpoint[ENDPOINT_SIZE];
    Seqsync__Admin__Request request = SEQSYNC__ADMIN__REQUEST__INIT;
    request.protocol = WIRE_PROTOCOL;
    request.question = question;
    request.job = (char *)(job ? job : "");
    ask_endpoint(endpoint, sizeof(endpoint), ctl->admin);

    int status = ask_probe(endpoint, error);
    if (status) {
        return status;
    }
    ask->memory = frame_memory_new();
    void *context = zmq_ctx_new();
    void *socket = context ? zmq_socket(context, ZMQ_DEALER) : NULL;
    if (!ask->memory || !socket) {
        status = error_set(error, EX_OSERR, "NO_MEMORY", "cannot open a socket to ask with");
        error_cause(error, "%s", strerror(errno));
    } else {
        status = ask_exchange(ask, ctl, endpoint, socket, &request, error);
    }
    if (socket) {
        zmq_close(socket);
    }
    if (context) {
        zmq_ctx_term(context);
    }
    return status;
}

void ask_deinit(struct ask *ask)
{
    ask->memory = frame_memory_free(ask->memory);
    ask->answer = NULL;
}
