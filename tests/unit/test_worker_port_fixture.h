/* A worker port in a loop, a record of what it reported, and clients to talk to it. */
#ifndef TEST_WORKER_PORT_FIXTURE_H
#define TEST_WORKER_PORT_FIXTURE_H

#include "daemon/io/worker_port.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define EVENTS_MAX 64

struct fixture {
    uv_loop_t loop;
    uv_timer_t deadline;
    bool timed_out;
    struct worker_port_config config;
    struct worker_port *port;
    char dir[256];
    char path[300];
    char text[512];
    /* what was reported */
    uint32_t message_count;
    uint32_t workers[EVENTS_MAX]; /* of messages, in order */
    int bodies[EVENTS_MAX];
    struct worker_peer peer; /* of the last message */
    uint32_t lost_count;
    uint32_t lost_worker;
    int32_t lost_code;
    char lost_how[256];
    bool inside_call; /* a callback now would be one inside a call of the port */
    bool called_inside;
    /* what callbacks do */
    void (*hook)(struct fixture *f, uint32_t worker);
    struct frame_memory *memory; /* of clients */
};

int fixture_setup(void **state);
int fixture_teardown(void **state); /* closes the port; nothing may be left in the loop */

void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f);

/* Runs the loop until @done; fails after a long time. */
void fixture_until(struct fixture *f, bool (*done)(struct fixture *f));
void fixture_until_messages(struct fixture *f, uint32_t count);
void fixture_until_lost(struct fixture *f, uint32_t count);
void fixture_until_workers(struct fixture *f, uint32_t count); /* connected */
void fixture_turns(struct fixture *f, int count);              /* without waiting */

/* Clients. */
int client_connect(const char *path);
void client_send(int fd, const Seqsync__Worker__WorkerMessage *message);
void client_send_hello(int fd, uint32_t protocol);
void client_send_leave(int fd);

/*
 * The next message of the daemon, running the loop until it comes; NULL at the end of the
 * connection. Valid until the next call. Descriptors beside it go to @fds[WIRE_FDS_MAX] if it is
 * not NULL.
 */
Seqsync__Worker__DaemonMessage *client_receive(struct fixture *f, int fd, int *fds,
                                               uint32_t *ret_fd_count);

/* Connects, says Hello, waits until it is delivered. */
int client_join(struct fixture *f, uint32_t *ret_worker);

/* The next message must be a Failure of @code, with @text in its text, and the last one. */
void client_expect_failure(struct fixture *f, int fd, int32_t code, const char *text);

uint32_t open_fd_count(void);

#endif
