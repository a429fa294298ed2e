#include "daemon/io/lanes.h"

#include "daemon/base/err.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

struct lane_list {
    struct lane_job *head;
    struct lane_job **tail;
};

struct lanes {
    uv_async_t wake; /* from lanes to the loop: something is finished */
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct lane_list queued;   /* under lock */
    struct lane_list finished; /* under lock */
    bool stopping;             /* under lock */
    uint32_t pending;
    uint64_t completed;
    uint32_t thread_count;
    pthread_t threads[];
};

static void list_init(struct lane_list *list)
{
    list->head = NULL;
    list->tail = &list->head;
}

static void list_push(struct lane_list *list, struct lane_job *job)
{
    job->next = NULL;
    *list->tail = job;
    list->tail = &job->next;
}

static struct lane_job *list_pop(struct lane_list *list)
{
    struct lane_job *job = list->head;
    if (job != NULL) {
        list->head = job->next;
        if (list->head == NULL) {
            list->tail = &list->head;
        }
    }
    return job;
}

static void *lane_main(void *arg)
{
    struct lanes *lanes = arg;

    pthread_mutex_lock(&lanes->lock);
    for (;;) {
        struct lane_job *job = list_pop(&lanes->queued);
        if (job == NULL) {
            if (lanes->stopping) {
                break;
            }
            pthread_cond_wait(&lanes->work, &lanes->lock);
            continue;
        }
        pthread_mutex_unlock(&lanes->lock);
        job->run(job);
        pthread_mutex_lock(&lanes->lock);
        list_push(&lanes->finished, job);
        uv_async_send(&lanes->wake);
    }
    pthread_mutex_unlock(&lanes->lock);
    return NULL;
}

/* Completions are moved to a list of their own first: done() may submit more. */
static void lanes_report(struct lanes *lanes)
{
    struct lane_list ready;

    list_init(&ready);
    pthread_mutex_lock(&lanes->lock);
    if (lanes->finished.head != NULL) {
        ready.head = lanes->finished.head;
        ready.tail = lanes->finished.tail;
        list_init(&lanes->finished);
    }
    pthread_mutex_unlock(&lanes->lock);

    for (struct lane_job *job = ready.head, *next; job != NULL; job = next) {
        next = job->next;
        assert(lanes->pending > 0);
        lanes->pending--;
        lanes->completed++;
        job->done(job);
    }
}

static void lanes_on_wake(uv_async_t *async)
{
    lanes_report(async->data);
}

int lanes_new(uv_loop_t *loop, uint32_t count, struct lanes **ret)
{
    struct lanes *lanes = calloc(1, sizeof(*lanes) + count * sizeof(pthread_t));
    int r;

    if (lanes == NULL) {
        return err_origin(-ENOMEM);
    }
    pthread_mutex_init(&lanes->lock, NULL);
    pthread_cond_init(&lanes->work, NULL);
    list_init(&lanes->queued);
    list_init(&lanes->finished);
    r = uv_async_init(loop, &lanes->wake, lanes_on_wake);
    if (r < 0) {
        free(lanes);
        return err_origin(r);
    }
    lanes->wake.data = lanes;
    for (; lanes->thread_count < count; lanes->thread_count++) {
        r = pthread_create(&lanes->threads[lanes->thread_count], NULL, lane_main, lanes);
        if (r != 0) {
            lanes_close(lanes);
            return err_origin(-r);
        }
    }
    *ret = lanes;
    return 0;
}

void lanes_submit(struct lanes *lanes, struct lane_job *job)
{
    lanes->pending++;
    pthread_mutex_lock(&lanes->lock);
    assert(!lanes->stopping);
    list_push(&lanes->queued, job);
    pthread_cond_signal(&lanes->work);
    pthread_mutex_unlock(&lanes->lock);
}

uint32_t lanes_pending(const struct lanes *lanes)
{
    return lanes->pending;
}

uint64_t lanes_completed(const struct lanes *lanes)
{
    return lanes->completed;
}

static void lanes_on_closed(uv_handle_t *handle)
{
    struct lanes *lanes = handle->data;

    pthread_cond_destroy(&lanes->work);
    pthread_mutex_destroy(&lanes->lock);
    free(lanes);
}

void lanes_close(struct lanes *lanes)
{
    if (lanes == NULL) {
        return;
    }
    pthread_mutex_lock(&lanes->lock);
    lanes->stopping = true;
    pthread_cond_broadcast(&lanes->work);
    pthread_mutex_unlock(&lanes->lock);
    for (uint32_t i = 0; i < lanes->thread_count; i++) {
        pthread_join(lanes->threads[i], NULL);
    }
    lanes_report(lanes);
    assert(lanes->pending == 0);
    uv_close((uv_handle_t *)&lanes->wake, lanes_on_closed);
}
