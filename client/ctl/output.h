/*
 * What the workers print, on its way to our standard output and error: whole lines with the rank
 * before them, never mixed, in order of arrival.
 *
 * A line that is overwritten with carriage returns is progress: it is shown on a terminal, for one
 * worker only, and drawn again below whatever else is printed. Elsewhere only its last state is
 * printed, when its line ends.
 *
 * Nothing here blocks: bytes wait in a queue until the descriptor takes them. When the queue is
 * full, output_is_full() says so and the caller stops reading from the workers.
 */
#ifndef SEQSYNC_CTL_OUTPUT_H
#define SEQSYNC_CTL_OUTPUT_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#define OUTPUT_QUEUE_MAX (1024 * 1024)
#define OUTPUT_LINE_MAX (64 * 1024) /* longer lines are broken */
#define OUTPUT_PROGRESS_MAX 512

enum output_stream {
    OUTPUT_OUT,
    OUTPUT_ERR,
    OUTPUT_N,
};

struct output_chunk;

struct output {
    struct output_chunk *head;
    struct output_chunk *tail;
    size_t queued;     /* bytes */
    int fds[OUTPUT_N]; /* borrowed */
    bool is_terminal[OUTPUT_N];
    bool broken; /* the reader of an output is gone: everything is dropped */
    char progress[OUTPUT_PROGRESS_MAX];
};

/* Progress is shown on standard error if that is a terminal, else on standard output if that is. */
void output_init(struct output *output, int out_fd, int err_fd);
void output_deinit(struct output *output);

/* Adds the newline. Out of memory counts as broken. */
void output_line(struct output *output, enum output_stream stream, const char *prefix,
                 const char *text, size_t length);

/* The progress line now; "" removes it. Cut to OUTPUT_PROGRESS_MAX. */
void output_progress(struct output *output, const char *text, size_t length);

bool output_is_full(const struct output *output);

/* Fills @entry with what to wait for; false if nothing is queued. */
bool output_poll(const struct output *output, struct pollfd *entry);

/* Writes what can be written without blocking. */
void output_flush(struct output *output);

/* Cuts one worker's stream into lines. */
struct lines {
    struct output *output;
    enum output_stream stream; /* where its lines go */
    char prefix[32];
    bool may_progress; /* the worker whose progress is shown */
    bool after_return; /* a carriage return came, and nothing behind it yet */
    bool is_progress;  /* the present line began with a carriage return */
    size_t used;
    size_t capacity;
    char *line;
};

/* @prefix is copied. */
void lines_init(struct lines *lines, struct output *output, enum output_stream stream,
                const char *prefix, bool may_progress);
void lines_deinit(struct lines *lines);

void lines_feed(struct lines *lines, const char *bytes, size_t count);

/* The stream has ended: what is there without a newline is a line. */
void lines_end(struct lines *lines);

#endif
