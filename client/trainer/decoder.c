#include "client/trainer/decoder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define DECODER_TIMEOUT_MS 60000

extern char **environ;

static int spawn(struct decoder *decoder, const struct decoder_options *options, int write_fd)
{
    posix_spawn_file_actions_t actions;
    char start[32];
    char frames[32];
    char scale[64];
    char input[4096];
    /*
     * The start is sought by decoding from the beginning: jumping to it lands, in the files of some
     * encoders, between pictures that refer to earlier ones, and gives garbage. And what cannot be
     * decoded ends ffmpeg instead of being painted over.
     */
    char *const argv[] = {"ffmpeg",    "-v",    "error",  "-xerror", "-err_detect", "explode",
                          "-nostdin",  "-i",    input,    "-an",     "-ss",         start,
                          "-frames:v", frames,  "-vf",    scale,     "-f",          "rawvideo",
                          "-pix_fmt",  "rgb24", "pipe:1", NULL};
    int r;

    if ((size_t)snprintf(input, sizeof(input), "file:%s", options->path) >= sizeof(input)) {
        return -ENAMETOOLONG;
    }
    snprintf(start, sizeof(start), "%.3f", options->start_seconds);
    snprintf(frames, sizeof(frames), "%" PRId64, options->frames);
    snprintf(scale, sizeof(scale), "scale=%" PRId32 ":%" PRId32, options->width, options->height);

    r = posix_spawn_file_actions_init(&actions);
    if (r) {
        return -r;
    }
    r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!r) {
        r = posix_spawn_file_actions_adddup2(&actions, write_fd, STDOUT_FILENO);
    }
    if (!r) {
        r = posix_spawn_file_actions_adddup2(&actions, decoder->words_fd, STDERR_FILENO);
    }
    if (!r) {
        r = posix_spawnp(&decoder->pid, argv[0], &actions, NULL, argv, environ);
    }
    if (r) {
        decoder->pid = -1;
    }
    posix_spawn_file_actions_destroy(&actions);
    return -r;
}

int decoder_open(struct decoder *decoder, const struct decoder_options *options)
{
    int pipe_fds[2];
    int r;

    *decoder = (struct decoder)DECODER_NULL;
    decoder->words_fd = memfd_create("ffmpeg-errors", MFD_CLOEXEC);
    if (decoder->words_fd < 0) {
        return -errno;
    }
    if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
        r = -errno;
        decoder_close(decoder);
        return r;
    }
    decoder->frames_fd = pipe_fds[0];
    r = spawn(decoder, options, pipe_fds[1]);
    close(pipe_fds[1]);
    if (r < 0) {
        decoder_close(decoder);
    }
    return r;
}

int decoder_read(struct decoder *decoder, uint8_t *bytes, size_t n)
{
    while (n > 0) {
        struct pollfd ready = {.fd = decoder->frames_fd, .events = POLLIN};
        int events = poll(&ready, 1, DECODER_TIMEOUT_MS);
        ssize_t got;

        if (events == 0) {
            return -ETIMEDOUT;
        }
        got = events < 0 ? -1 : read(decoder->frames_fd, bytes, n);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -errno;
        }
        if (got == 0) {
            return -ENODATA;
        }
        bytes += got;
        n -= (size_t)got;
    }
    return 0;
}

void decoder_words(const struct decoder *decoder, char *ret, size_t n)
{
    ssize_t got = decoder->words_fd < 0 ? -1 : pread(decoder->words_fd, ret, n - 1, 0);

    ret[got > 0 ? got : 0] = '\0';
    ret[strcspn(ret, "\r\n")] = '\0';
}

void decoder_close(struct decoder *decoder)
{
    if (decoder->frames_fd >= 0) {
        close(decoder->frames_fd);
    }
    if (decoder->words_fd >= 0) {
        close(decoder->words_fd);
    }
    if (decoder->pid > 0) {
        kill(decoder->pid, SIGKILL);
        while (waitpid(decoder->pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    *decoder = (struct decoder)DECODER_NULL;
}
