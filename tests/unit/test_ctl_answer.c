#include "tests/unit/test_ctl_answer.h"

#include <math.h>
#include <pthread.h>
#include <seqsync/status.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

struct answerer {
    pthread_t thread;
    void *zmq;
    void *socket;
    void *stop;      /* our end of an inproc pair */
    void *stop_peer; /* the thread's end */
    enum answer_mode mode;
    char health[16];
    bool all_valid;
};

static void fill_status(Seqsync__Admin__Status *status, const char *health)
{
    static char *problems[] = {(char *)"SHARD_STRAGGLER rank 5 is 1.47x the median"};
    seqsync__admin__status__init(status);
    status->node = (char *)"node-b";
    status->version = (char *)"0.1.0";
    status->uptime_ns = 3600000000000u;
    status->health = (char *)health;
    if (strcmp(health, "ok") != 0) {
        status->problems = problems;
        status->n_problems = 1;
    }
    status->nodes_up = 2;
    status->workers = 4;
    status->jobs_running = 1;
    status->arena_bytes = 512u << 20;
    status->arena_limit_bytes = 2048u << 20;
    status->reduced_bytes = 1024;
    status->conductor = (char *)"node-a";
    status->rejected_frames = 3;
}

static void fill_node(Seqsync__Admin__Node *node, bool self)
{
    seqsync__admin__node__init(node);
    node->name = (char *)(self ? "node-b" : "node-a");
    node->state = (char *)(self ? "up" : "down");
    node->role = (char *)(self ? "" : "conductor");
    node->self = self;
    node->workers = 2;
    node->tokens = 20160;
    node->arena_bytes = self ? 512u << 20 : 0;
    node->arena_limit_bytes = self ? 2048u << 20 : 0;
    node->rtt_ns = self ? 0 : 200000;
    node->silent_ns = self ? 0 : 4000000000u;
    node->version = (char *)"0.1.0";
    node->reason = (char *)(self ? "" : "silent for 4 s");
    node->endpoint = (char *)"tcp://10.0.0.1:7400";
}

static void fill_job(Seqsync__Admin__Job *job)
{
    static double losses[] = {1, 0.5, 0.25};
    seqsync__admin__job__init(job);
    job->id = 7;
    job->name = (char *)"cockatoo";
    job->generation = 1;
    job->state = (char *)"running";
    job->step = 18;
    job->world_size = 2;
    job->node_count = 2;
    job->tokens = 1000;
    job->loss = 0.25;
    job->losses = losses;
    job->n_losses = 3;
    job->imbalance = 1.38;
    job->step_seconds = 1.32;
    job->tokens_per_second = 61234;
    job->reason = (char *)"";
}

/* Two ranks; rank 0 holds five chunks, more than a table shows. */
struct shards_memory {
    Seqsync__Admin__Shard shards[2];
    Seqsync__Admin__Shard *shard_list[2];
    Seqsync__Admin__Range ranges[6];
    Seqsync__Admin__Range *range_list[6];
    Seqsync__Admin__Cell cells[3];
    Seqsync__Admin__Cell *cell_list[3];
};

static void fill_shards(Seqsync__Admin__Shards *shards, Seqsync__Admin__Job *job,
                        struct shards_memory *memory)
{
    seqsync__admin__shards__init(shards);
    for (uint32_t i = 0; i < 6; i++) {
        seqsync__admin__range__init(&memory->ranges[i]);
        memory->ranges[i].sequence = i / 5;
        memory->ranges[i].first = 200 * (int64_t)i;
        memory->ranges[i].position = i == 5 ? 0 : 200 * (int64_t)i;
        memory->ranges[i].count = 100;
        memory->range_list[i] = &memory->ranges[i];
    }
    for (uint32_t i = 0; i < 3; i++) {
        seqsync__admin__cell__init(&memory->cells[i]);
        memory->cells[i].source = i == 1 ? 1 : 0;
        memory->cells[i].area = i == 1 ? 4000 : 1000;
        memory->cells[i].need_rows = 100;
        memory->cell_list[i] = &memory->cells[i];
    }
    for (uint32_t i = 0; i < 2; i++) {
        Seqsync__Admin__Shard *shard = &memory->shards[i];
        seqsync__admin__shard__init(shard);
        shard->rank = i;
        shard->node = i;
        shard->node_name = (char *)(i ? "node-b" : "node-a");
        shard->pid = i ? 4242 : 0;
        shard->chunks = i ? &memory->range_list[5] : memory->range_list;
        shard->n_chunks = i ? 1 : 5;
        shard->chunk_count = (uint32_t)shard->n_chunks;
        shard->tokens = i ? 100 : 500;
        shard->tile_count = 3;
        shard->area = i ? 1000 : 5000;
        shard->need_bytes = 1024;
        shard->need_remote_bytes = 512;
        shard->compute_seconds = 0.0944;
        shard->wait_seconds = i ? NAN : 0.0443;
        shard->cells = i ? &memory->cell_list[2] : memory->cell_list;
        shard->n_cells = i ? 1 : 2;
        shard->phase = (char *)"kv 3 of step 19";
        memory->shard_list[i] = shard;
    }
    shards->job = job;
    shards->shards = memory->shard_list;
    shards->n_shards = 2;
    shards->kv_planned_bytes = 2048;
    shards->kv_moved_bytes = 1024;
    shards->sequence_count = 2;
}

static size_t pack(const struct answerer *self, const Seqsync__Admin__Request *request,
                   uint8_t *bytes, size_t capacity)
{
    Seqsync__Admin__Answer answer = SEQSYNC__ADMIN__ANSWER__INIT;
    Seqsync__Admin__Error error = SEQSYNC__ADMIN__ERROR__INIT;
    Seqsync__Admin__Status status;
    Seqsync__Admin__Node nodes[2];
    Seqsync__Admin__Node *node_list[2] = {&nodes[0], &nodes[1]};
    Seqsync__Admin__Job job;
    Seqsync__Admin__Job *job_list[1] = {&job};
    Seqsync__Admin__Shards shards;
    static struct shards_memory memory;
    answer.protocol = self->mode == ANSWER_PROTOCOL ? WIRE_PROTOCOL + 1 : WIRE_PROTOCOL;
    fill_job(&job);
    if (self->mode == ANSWER_ERROR) {
        error.code = SEQSYNC_ERR_INVALID;
        error.text = (char *)"there is no job of that name";
        answer.error = &error;
    } else if (self->mode == ANSWER_WELL) {
        switch (request->question) {
        case SEQSYNC__ADMIN__QUESTION__QUESTION_STATUS:
            fill_status(&status, self->health);
            answer.status = &status;
            break;
        case SEQSYNC__ADMIN__QUESTION__QUESTION_NODES:
            fill_node(&nodes[0], false);
            fill_node(&nodes[1], true);
            answer.nodes = node_list;
            answer.n_nodes = 2;
            break;
        case SEQSYNC__ADMIN__QUESTION__QUESTION_JOBS:
            answer.jobs = job_list;
            answer.n_jobs = 1;
            break;
        case SEQSYNC__ADMIN__QUESTION__QUESTION_SHARDS:
            fill_shards(&shards, &job, &memory);
            answer.shards = &shards;
            break;
        default:
            answer.version = (char *)"0.1.0";
            break;
        }
    }
    return frame_encode(&answer.base, bytes, capacity);
}

static void respond(struct answerer *self, struct frame_memory *memory)
{
    static uint8_t bytes[64 * 1024];
    zmq_msg_t id;
    zmq_msg_t request;
    Seqsync__Admin__Request *asked = NULL;
    zmq_msg_init(&id);
    zmq_msg_init(&request);
    if (zmq_msg_recv(&id, self->socket, 0) >= 0 && zmq_msg_recv(&request, self->socket, 0) >= 0) {
        const char *wrong =
            frame_decode_request(memory, zmq_msg_data(&request), zmq_msg_size(&request), &asked);
        self->all_valid = self->all_valid && !wrong && asked->protocol == WIRE_PROTOCOL;
        if (self->mode != ANSWER_NEVER && self->all_valid) {
            size_t length = pack(self, asked, bytes, sizeof(bytes));
            if (self->mode == ANSWER_GARBAGE) {
                memset(bytes, 0xff, 16);
                length = 16;
            }
            zmq_msg_send(&id, self->socket, ZMQ_SNDMORE);
            zmq_send(self->socket, bytes, length, 0);
        }
    }
    zmq_msg_close(&id);
    zmq_msg_close(&request);
}

static void *answerer_main(void *argument)
{
    struct answerer *self = argument;
    struct frame_memory *memory = frame_memory_new();
    zmq_pollitem_t items[2] = {{.socket = self->socket, .events = ZMQ_POLLIN},
                               {.socket = self->stop_peer, .events = ZMQ_POLLIN}};
    while (memory && zmq_poll(items, 2, -1) >= 0 && !items[1].revents) {
        if (items[0].revents) {
            respond(self, memory);
        }
    }
    frame_memory_free(memory);
    return NULL;
}

struct answerer *answerer_new(const char *endpoint, enum answer_mode mode, const char *health)
{
    struct answerer *self = calloc(1, sizeof(*self));
    int linger = 0;
    if (!self) {
        return NULL;
    }
    self->mode = mode;
    self->all_valid = true;
    strncpy(self->health, health, sizeof(self->health) - 1);
    self->zmq = zmq_ctx_new();
    self->socket = zmq_socket(self->zmq, ZMQ_ROUTER);
    self->stop = zmq_socket(self->zmq, ZMQ_PAIR);
    self->stop_peer = zmq_socket(self->zmq, ZMQ_PAIR);
    zmq_setsockopt(self->socket, ZMQ_LINGER, &linger, sizeof(linger));
    if (zmq_bind(self->socket, endpoint) || zmq_bind(self->stop, "inproc://stop") ||
        zmq_connect(self->stop_peer, "inproc://stop") ||
        pthread_create(&self->thread, NULL, answerer_main, self)) {
        return NULL; /* the test fails then, and ends */
    }
    return self;
}

bool answerer_free(struct answerer *self)
{
    zmq_send(self->stop, "", 0, 0);
    pthread_join(self->thread, NULL);
    zmq_close(self->stop);
    zmq_close(self->stop_peer);
    zmq_close(self->socket);
    zmq_ctx_term(self->zmq);
    bool all_valid = self->all_valid;
    free(self);
    return all_valid;
}
