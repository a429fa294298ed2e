/*
 * A child process ffmpeg that writes the frames of a video file, scaled and as packed RGB bytes,
 * into a pipe. What it says about errors goes to an unnamed file, so that it can never block on it.
 */
#ifndef SEQSYNC_CLIENT_TRAINER_DECODER_H
#define SEQSYNC_CLIENT_TRAINER_DECODER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct decoder {
    pid_t pid;     /* -1: none */
    int frames_fd; /* -1: none */
    int words_fd;  /* -1: none */
};
#define DECODER_NULL                                                                               \
    {                                                                                              \
        .pid = -1, .frames_fd = -1, .words_fd = -1                                                 \
    }

struct decoder_options {
    const char *path;
    double start_seconds;
    int32_t width;
    int32_t height;
    int64_t frames;
};

/* Starts ffmpeg. Negative errno of spawning it. */
int decoder_open(struct decoder *decoder, const struct decoder_options *options);

/* Reads exactly @n bytes. -ENODATA: the frames ended before. -ETIMEDOUT: nothing for a minute. */
int decoder_read(struct decoder *decoder, uint8_t *bytes, size_t n);

/* The first line of what ffmpeg said, or "" if it said nothing. */
void decoder_words(const struct decoder *decoder, char *ret, size_t n);

/* Ends and reaps ffmpeg, whatever it is doing. Accepts a decoder that was never opened. */
void decoder_close(struct decoder *decoder);

#endif
