#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "client/trainer/trainer.h"

struct answer {
    int status;
    int exit_code;
    const char *hint;
};

static const struct answer answers[] = {
    {SEQSYNC_ERR_UNREACHABLE, EX_UNAVAILABLE,
     "seqctl run --workers 2 -- seqsync-trainer ..., or start seqsyncd on this machine"},
    {SEQSYNC_ERR_DAEMON_LOST, EX_UNAVAILABLE, "seqctl status; then start the job again"},
    {SEQSYNC_ERR_WORKER_LOST, EX_TEMPFAIL, "the named worker's output; then start the job again"},
    {SEQSYNC_ERR_PEER_LOST, EX_TEMPFAIL, "seqctl nodes; then start the job again"},
    {SEQSYNC_ERR_TIMEOUT, EX_TEMPFAIL, "seqctl jobs, to see who is behind"},
    {SEQSYNC_ERR_SHUTDOWN, EX_TEMPFAIL, "start the job again when the daemon is back"},
    {SEQSYNC_ERR_VERSION, EX_PROTOCOL, "seqctl version on each node"},
    {SEQSYNC_ERR_PROTOCOL, EX_PROTOCOL, "seqctl version on each node"},
    {SEQSYNC_ERR_NOT_PERMITTED, EX_NOPERM, "ask for access to the daemon's socket"},
    {SEQSYNC_ERR_CONFIG, EX_CONFIG, "check SEQSYNC_RANK, SEQSYNC_WORLD_SIZE and SEQSYNC_SOCKET"},
    {SEQSYNC_ERR_NO_CAPACITY, EX_UNAVAILABLE, "fewer --frames, a smaller --size, or more workers"},
    {SEQSYNC_ERR_NO_MEMORY, EX_OSERR, "fewer --frames, a smaller --size, or more workers"},
    {SEQSYNC_ERR_NONFINITE, EX_DATAERR, "a smaller --lr, or --nonfinite skip"},
    {SEQSYNC_ERR_SCHEMA_MISMATCH, EX_USAGE, "give every worker the same options"},
    {SEQSYNC_ERR_BATCH_MISMATCH, EX_USAGE, "give every worker the same options"},
};

/* "what, where, why; next" of the session becomes two lines. */
static void words_split(struct failure *failure, const char *words, const char *hint)
{
    const char *next = strrchr(words, ';');

    if (next && next[1] == ' ' && next[2]) {
        next += 2;
        snprintf(failure->why, sizeof(failure->why), "%.*s", (int)(next - 2 - words), words);
        snprintf(failure->hint, sizeof(failure->hint), "%.250s",
                 strncmp(next, "try: ", 5) == 0 ? next + 5 : next);
    } else {
        snprintf(failure->why, sizeof(failure->why), "%s", words);
        snprintf(failure->hint, sizeof(failure->hint), "%s", hint);
    }
}

int trainer_fail_status(struct trainer *trainer, int status, const char *doing)
{
    const char *words = trainer->session ? seqsync_session_error(trainer->session) : "";
    const char *hint = "seqctl jobs";
    int exit_code = EX_SOFTWARE;

    for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
        if (answers[i].status == status) {
            hint = answers[i].hint;
            exit_code = answers[i].exit_code;
        }
    }
    snprintf(trainer->failure.what, sizeof(trainer->failure.what), "cannot %.80s (%s)", doing,
             seqsync_status_name(status));
    words_split(&trainer->failure, words[0] ? words : seqsync_strerror(status), hint);
    return exit_code;
}

int trainer_fail_errno(struct trainer *trainer, int r, const char *doing, const char *name)
{
    struct failure *failure = &trainer->failure;

    snprintf(failure->what, sizeof(failure->what), "cannot %.80s", doing);
    if (r == -EBADMSG) {
        snprintf(failure->why, sizeof(failure->why),
                 "%.300s is neither a summary.json nor an array of numbers", name);
    } else if (r == -ENODATA) {
        snprintf(failure->why, sizeof(failure->why),
                 "%.300s does not hold every patch once: do all ranks see the same folder?", name);
    } else {
        snprintf(failure->why, sizeof(failure->why), "%.300s: %s", name, strerror(-r));
    }
    if (r == -ENOMEM) {
        snprintf(failure->hint, sizeof(failure->hint), "%s",
                 "fewer --frames, a smaller --size, or more workers");
        return EX_OSERR;
    }
    snprintf(failure->hint, sizeof(failure->hint), "%s",
             r == -ENOSPC ? "--out on a disk with room" : "seqsync-trainer --help");
    return r == -EACCES || r == -EROFS ? EX_CANTCREAT : EX_IOERR;
}
