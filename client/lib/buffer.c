#include "client/lib/session_private.h"

#include <stdlib.h>
#include <unistd.h>

int seqsync_buffer_create(struct seqsync_session *session, size_t bytes,
                          struct seqsync_buffer **ret)
{
    Seqsync__Worker__WorkerMessage message = SEQSYNC__WORKER__WORKER_MESSAGE__INIT;
    Seqsync__Worker__BufferCreate create = SEQSYNC__WORKER__BUFFER_CREATE__INIT;
    Seqsync__Worker__DaemonMessage *answer;
    struct seqsync__fds fds;
    int r = seqsync__check(session);

    if (r != 0) {
        return r;
    }
    if (bytes == 0 || ret == NULL) {
        return seqsync__fail(session, SEQSYNC_ERR_INVALID, "a buffer of 0 bytes, or for nobody");
    }
    struct seqsync_buffer *buffer = calloc(1, sizeof(*buffer));
    if (buffer == NULL) {
        return seqsync__fail(session, SEQSYNC_ERR_NO_MEMORY, "out of memory");
    }
    create.bytes = bytes;
    message.body_case = SEQSYNC__WORKER__WORKER_MESSAGE__BODY_BUFFER_CREATE;
    message.buffer_create = &create;
    r = seqsync__call(session, &message, SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_BUFFER, true,
                      &answer, &fds);
    if (r != 0) {
        free(buffer);
        return r;
    }
    const char *why = "the answer has not one descriptor";
    if (fds.count == 1) {
        why = seqsync__map_open(&buffer->map, fds.fds[0], bytes, true);
    }
    seqsync__fds_close(&fds);
    if (why != NULL) {
        free(buffer);
        return seqsync__end_answer(session, "a shared buffer", why);
    }
    buffer->session = session;
    buffer->bytes = bytes;
    buffer->id = answer->buffer->buffer;
    buffer->next = session->buffers;
    session->buffers = buffer;
    *ret = buffer;
    return 0;
}

void *seqsync_buffer_data(const struct seqsync_buffer *buffer)
{
    return buffer->map.data;
}

size_t seqsync_buffer_size(const struct seqsync_buffer *buffer)
{
    return buffer->bytes;
}

struct seqsync_buffer *seqsync_buffer_free(struct seqsync_buffer *buffer)
{
    Seqsync__Worker__WorkerMessage message = SEQSYNC__WORKER__WORKER_MESSAGE__INIT;
    Seqsync__Worker__BufferFree body = SEQSYNC__WORKER__BUFFER_FREE__INIT;
    Seqsync__Worker__DaemonMessage *answer;

    if (buffer == NULL) {
        return NULL;
    }
    struct seqsync_session *session = buffer->session;
    for (struct seqsync_buffer **at = &session->buffers; *at != NULL; at = &(*at)->next) {
        if (*at == buffer) {
            *at = buffer->next;
            break;
        }
    }
    if (seqsync__check(session) == 0) {
        body.buffer = buffer->id;
        message.body_case = SEQSYNC__WORKER__WORKER_MESSAGE__BODY_BUFFER_FREE;
        message.buffer_free = &body;
        /* If it fails, the session has failed, and the daemon frees everything with it. */
        (void)seqsync__call(session, &message, SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_FREED, false,
                            &answer, NULL);
    }
    seqsync__map_close(&buffer->map);
    free(buffer);
    return NULL;
}
