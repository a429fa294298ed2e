/*
 * Up to four nodes in one loop, each with a peer port on an ipc endpoint; and a fake node, made of
 * bare sockets, that says what it is told to.
 */
#ifndef TEST_PEER_PORT_FIXTURE_H
#define TEST_PEER_PORT_FIXTURE_H

#include "daemon/io/curve.h"
#include "daemon/io/peer_port.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

#define NODES_MAX 4
#define SOCKETS_MAX 16

struct fixture;

/* What a node's port reported of one peer. */
struct record {
    uint32_t up;
    uint32_t lost;
    uint32_t heard;
    uint32_t messages;
    uint32_t disorder; /* messages that are not numbered one after the other */
    uint64_t number;   /* of the last message, which is a Join with world_size = number */
    int body;          /* of the last message */
    char how[PEER_PORT_TEXT_MAX];
};

struct node {
    struct fixture *f;
    uint32_t index;
    struct peer_port_config config;
    struct peer_port *port;
    struct record peers[NODES_MAX];
};

struct fixture {
    uv_loop_t loop;
    void *zmq;
    uv_timer_t deadline;
    bool timed_out;
    uint32_t count;
    char dir[256];
    char endpoints[NODES_MAX][300];
    const char *names[NODES_MAX];
    const char *endpoint_list[NODES_MAX];
    struct node nodes[NODES_MAX];
    uint64_t incarnations; /* drawn so far */
    struct curve *curve;
    char text[512];
    bool inside_call;
    bool called_inside;
    void (*hook)(struct node *node, uint32_t peer); /* on_message, on_up */
    void *sockets[SOCKETS_MAX]; /* of fakes, so that a test that fails leaves none open */
};

int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Sets the config of node @i of @count, with a new incarnation; and opens its port. */
struct node *fixture_configure(struct fixture *f, uint32_t i, uint32_t count);
struct node *fixture_open(struct fixture *f, uint32_t i, uint32_t count);
void fixture_close(struct fixture *f, uint32_t i);

/* Run the loop until it is so; fail after a long time. */
void fixture_until(struct fixture *f, bool (*done)(struct fixture *f, void *ctx), void *ctx);
void fixture_until_up(struct fixture *f, uint32_t i, uint32_t peer);
void fixture_until_count(struct fixture *f, const uint32_t *counter, uint32_t count);
void fixture_until_reason(struct fixture *f, uint32_t i, uint32_t peer, const char *part);
void fixture_turns(struct fixture *f, int count);

/* A bare socket without linger; closed at the end of the test, if it was not before. */
void *fixture_socket(struct fixture *f, int type);
void fixture_socket_close(struct fixture *f, void *socket);

/* Sends Join number @number; what peer_port_send() says. */
int node_send(struct node *node, uint32_t peer, uint32_t number);
uint64_t node_rejected(const struct node *node);

/* A node of bare sockets. */
struct fake {
    struct fixture *f;
    uint32_t index;
    void *router; /* what others connect to */
    void *dealer; /* to node 0 */
    uint64_t incarnation;
    uint64_t sequence;
    uint64_t digest;
    uint32_t protocol;
    const char *name;
    struct frame_memory *memory;
    uint8_t id[256]; /* of the connection that the last message came on */
    size_t id_bytes;
    bool fresh; /* the last message is the first of its connection */
};
/* With @keys (secret key file of node @index), if it is not NULL. */
void fake_open(struct fake *fake, struct fixture *f, uint32_t index, const char *keys);
void fake_close(struct fake *fake);
void fake_connect(struct fake *fake, const char *keys); /* again, by a new connection */
void fake_hello(struct fake *fake);
void fake_ping(struct fake *fake);
void fake_join(struct fake *fake, uint32_t number);
void fake_send_bytes(struct fake *fake, const void *bytes, size_t length);
/* The next message on its router, running the loop until it comes. Valid until the next one. */
Seqsync__Peer__PeerMessage *fake_receive(struct fake *fake);

#endif
