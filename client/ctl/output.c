#include "client/ctl/output.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLEAR_LINE "\r\033[K"

struct output_chunk {
    struct output_chunk *next;
    size_t length;
    size_t written;
    enum output_stream stream;
    char bytes[];
};

void output_init(struct output *output, int out_fd, int err_fd)
{
    *output = (struct output){
        .fds = {out_fd, err_fd},
        .is_terminal = {isatty(out_fd) == 1, isatty(err_fd) == 1},
    };
}

/* Where progress is shown; OUTPUT_N = nowhere. */
static enum output_stream output_progress_stream(const struct output *output)
{
    if (output->is_terminal[OUTPUT_ERR]) {
        return OUTPUT_ERR;
    }
    return output->is_terminal[OUTPUT_OUT] ? OUTPUT_OUT : OUTPUT_N;
}

static void output_drop(struct output *output)
{
    while (output->head) {
        struct output_chunk *chunk = output->head;
        output->head = chunk->next;
        free(chunk);
    }
    output->tail = NULL;
    output->queued = 0;
}

void output_deinit(struct output *output)
{
    output_drop(output);
}

/* Queues the pieces as one chunk, so that they stay together. */
static void output_queue(struct output *output, enum output_stream stream,
                         const char *const *pieces, const size_t *lengths, size_t count)
{
    size_t length = 0;
    for (size_t i = 0; i < count; i++) {
        length += lengths[i];
    }
    if (output->broken || length == 0) {
        return;
    }
    struct output_chunk *chunk = malloc(sizeof(*chunk) + length);
    if (!chunk) {
        output->broken = true;
        output_drop(output);
        return;
    }
    *chunk = (struct output_chunk){.length = length, .stream = stream};
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        memcpy(chunk->bytes + used, pieces[i], lengths[i]);
        used += lengths[i];
    }
    if (output->tail) {
        output->tail->next = chunk;
    } else {
        output->head = chunk;
    }
    output->tail = chunk;
    output->queued += length;
}

static void output_queue_text(struct output *output, enum output_stream stream, const char *text)
{
    size_t length = strlen(text);
    output_queue(output, stream, &text, &length, 1);
}

void output_line(struct output *output, enum output_stream stream, const char *prefix,
                 const char *text, size_t length)
{
    const char *pieces[] = {prefix, text, "\n"};
    size_t lengths[] = {strlen(prefix), length, 1};
    bool redraw = output->progress[0] && output->is_terminal[stream];
    if (redraw) {
        output_queue_text(output, output_progress_stream(output), CLEAR_LINE);
    }
    output_queue(output, stream, pieces, lengths, 3);
    if (redraw) {
        output_queue_text(output, output_progress_stream(output), output->progress);
    }
}

void output_progress(struct output *output, const char *text, size_t length)
{
    size_t cut = length < OUTPUT_PROGRESS_MAX ? length : OUTPUT_PROGRESS_MAX - 1;
    enum output_stream stream = output_progress_stream(output);
    if (stream == OUTPUT_N || (cut == 0 && !output->progress[0])) {
        return;
    }
    memcpy(output->progress, text, cut);
    output->progress[cut] = '\0';
    const char *pieces[] = {CLEAR_LINE, output->progress};
    size_t lengths[] = {strlen(CLEAR_LINE), strlen(output->progress)};
    output_queue(output, stream, pieces, lengths, 2);
}

bool output_is_full(const struct output *output)
{
    return output->queued >= OUTPUT_QUEUE_MAX;
}

bool output_poll(const struct output *output, struct pollfd *entry)
{
    if (!output->head) {
        return false;
    }
    *entry = (struct pollfd){.fd = output->fds[output->head->stream], .events = POLLOUT};
    return true;
}

/*
 * The descriptors are shared with whoever started us, so O_NONBLOCK is not ours to set. After
 * POLLOUT a pipe takes PIPE_BUF bytes without blocking.
 */
void output_flush(struct output *output)
{
    while (output->head) {
        struct output_chunk *chunk = output->head;
        struct pollfd entry = {.fd = output->fds[chunk->stream], .events = POLLOUT};
        if (poll(&entry, 1, 0) <= 0) {
            return;
        }
        size_t left = chunk->length - chunk->written;
        ssize_t count =
            write(entry.fd, chunk->bytes + chunk->written, left < PIPE_BUF ? left : PIPE_BUF);
        if (count < 0 && (errno == EINTR || errno == EAGAIN)) {
            return;
        }
        if (count < 0) {
            output->broken = true;
            output_drop(output);
            return;
        }
        chunk->written += (size_t)count;
        output->queued -= (size_t)count;
        if (chunk->written == chunk->length) {
            output->head = chunk->next;
            output->tail = output->head ? output->tail : NULL;
            free(chunk);
        }
    }
}

void lines_init(struct lines *lines, struct output *output, enum output_stream stream,
                const char *prefix, bool may_progress)
{
    *lines = (struct lines){.output = output, .stream = stream, .may_progress = may_progress};
    strncpy(lines->prefix, prefix, sizeof(lines->prefix) - 1);
}

void lines_deinit(struct lines *lines)
{
    free(lines->line);
    lines->line = NULL;
    lines->capacity = 0;
    lines->used = 0;
}

static void lines_emit(struct lines *lines)
{
    if (lines->is_progress && lines->may_progress) {
        output_progress(lines->output, "", 0);
    }
    output_line(lines->output, lines->stream, lines->prefix, lines->line ? lines->line : "",
                lines->used);
    lines->used = 0;
    lines->is_progress = false;
}

static void lines_add(struct lines *lines, char byte)
{
    if (lines->used == lines->capacity) {
        size_t capacity = lines->capacity ? 2 * lines->capacity : 256;
        char *grown = realloc(lines->line, capacity);
        if (!grown) {
            lines_emit(lines); /* a line broken too early is better than none */
            if (!lines->line) {
                return;
            }
        } else {
            lines->line = grown;
            lines->capacity = capacity;
        }
    }
    lines->line[lines->used++] = byte;
    if (lines->used == OUTPUT_LINE_MAX) {
        lines_emit(lines);
    }
}

void lines_feed(struct lines *lines, const char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] == '\n') {
            lines->after_return = false;
            lines_emit(lines);
        } else if (bytes[i] == '\r') {
            lines->after_return = true;
        } else {
            if (lines->after_return) {
                lines->used = 0; /* what stood there is overwritten */
                lines->is_progress = true;
                lines->after_return = false;
            }
            lines_add(lines, bytes[i]);
        }
    }
    bool is_progress = lines->is_progress || (lines->after_return && lines->used);
    if (is_progress && lines->may_progress) {
        output_progress(lines->output, lines->line, lines->used);
    }
}

void lines_end(struct lines *lines)
{
    if (lines->used) {
        lines_emit(lines);
    }
    lines->after_return = false;
}
