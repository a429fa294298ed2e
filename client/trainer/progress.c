#include "client/trainer/progress.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BAR_WIDTH 20

/* `seqctl run` stands between us and the terminal, and says whether there is one. */
static bool on_terminal(void)
{
    const char *told = getenv("SEQSYNC_PROGRESS");

    return told ? strcmp(told, "1") == 0 : isatty(STDERR_FILENO) == 1;
}

void progress_init(struct progress *progress, bool shown, int64_t steps, int64_t tokens)
{
    *progress = (struct progress){.shown = shown,
                                  .terminal = on_terminal(),
                                  .steps = steps,
                                  .tokens = tokens,
                                  .every = steps > 20 ? steps / 20 : 1};
}

void progress_step(struct progress *progress, const struct progress_step *step)
{
    char bar[BAR_WIDTH + 1];
    double seconds = (double)(step->step_ns ? step->step_ns : 1) * 1e-9;
    double waiting = 100.0 * (double)step->wait_ns * 1e-9 / seconds;
    int64_t full = progress->steps ? step->done * BAR_WIDTH / progress->steps : BAR_WIDTH;

    if (!progress->shown) {
        return;
    }
    if (!progress->terminal) {
        if (step->done % progress->every == 0 || step->done == progress->steps || step->done == 1) {
            fprintf(stderr,
                    "step %" PRId64 "/%" PRId64
                    "  loss %.4f  lr %.2e  %.0f tokens/s  waiting %.1f %%\n",
                    step->done, progress->steps, step->loss, step->rate,
                    (double)progress->tokens / seconds, waiting);
        }
        return;
    }
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', (size_t)(full < BAR_WIDTH ? full : BAR_WIDTH));
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr,
            "\r[%s] %" PRId64 "/%" PRId64 "  loss %.4f  %.0f tokens/s  waiting %.1f %%\033[K", bar,
            step->done, progress->steps, step->loss, (double)progress->tokens / seconds, waiting);
}

void progress_say(struct progress *progress, const char *format, ...)
{
    va_list arguments;

    if (!progress->shown) {
        return;
    }
    if (progress->terminal) {
        fputs("\r\033[K", stderr);
    }
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

void progress_end(struct progress *progress)
{
    if (progress->shown && progress->terminal) {
        fputc('\n', stderr);
    }
}
