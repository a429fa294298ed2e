/* Waiting for words in shared memory. */
#include "client/lib/session_private.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define WAIT_SPINS 200 /* about 10 us: shorter than putting a thread to sleep and waking it */
#define WAIT_WORDS_MS 200
#define WAIT_SLICE_NS 10000000 /* a futex sleeps so long at most, then the daemon is looked at */

uint64_t seqsync__now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t seqsync__deadline_ns(const struct seqsync_session *session)
{
    const uint32_t tenth = session->timeout_ms / 10;
    const uint32_t grace = tenth < SEQSYNC__GRACE_MS_MAX ? tenth : SEQSYNC__GRACE_MS_MAX;

    return seqsync__now_ns() + ((uint64_t)session->timeout_ms + grace) * 1000000;
}

static uint32_t word_load(const void *word)
{
    return atomic_load_explicit((const _Atomic uint32_t *)word, memory_order_acquire);
}

void seqsync__raise_word(void *word, uint32_t value)
{
    atomic_store_explicit((_Atomic uint32_t *)word, value, memory_order_release);
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void spin_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void word_sleep(const void *word, uint32_t seen)
{
    const struct timespec slice = {.tv_sec = 0, .tv_nsec = WAIT_SLICE_NS};

    /* Not private: the daemon and other workers wake it. A wrong return only means another look. */
    syscall(SYS_futex, word, FUTEX_WAIT, seen, &slice, NULL, 0);
}

/* Whether the job is over: the state word is quick, the socket says why. */
static int wait_check(struct seqsync_session *session)
{
    int r = seqsync__poll_failure(session, 0);

    if (r != 0) {
        return r;
    }
    const int32_t state = (int32_t)word_load(session->page.data + session->page_layout.state);
    if (state != 0) {
        /* The words come with the message, which is on its way. */
        r = seqsync__poll_failure(session, WAIT_WORDS_MS);
        if (r != 0) {
            return r;
        }
        return seqsync__end(
            session, state < 0 && state >= SEQSYNC_STATUS_LAST ? state : SEQSYNC_ERR_JOB_FAILED,
            "the job has failed; see seqctl jobs");
    }
    return 0;
}

int seqsync__wait_word(struct seqsync_session *session, const void *word, uint32_t value,
                       const char *format, ...)
{
    char what[256];
    va_list args;

    for (int i = 0; i < WAIT_SPINS; i++) {
        if (word_load(word) == value) {
            return 0;
        }
        spin_pause();
    }
    const uint64_t start = seqsync__now_ns();
    const uint64_t deadline = seqsync__deadline_ns(session);
    int r = 0;
    for (;;) {
        const uint32_t seen = word_load(word);
        if (seen == value) {
            break;
        }
        word_sleep(word, seen);
        if (word_load(word) == value) {
            break;
        }
        r = wait_check(session);
        if (r != 0) {
            break;
        }
        if (seqsync__now_ns() >= deadline) {
            va_start(args, format);
            vsnprintf(what, sizeof(what), format, args);
            va_end(args);
            r = seqsync__end(session, SEQSYNC_ERR_TIMEOUT,
                             "rank %d waited %llu ms for %s; seqctl shards %s shows who is behind",
                             session->rank,
                             (unsigned long long)((seqsync__now_ns() - start) / 1000000), what,
                             session->job);
            break;
        }
    }
    const uint64_t waited = seqsync__now_ns() - start;
    session->counters.wait_ns += waited;
    session->step.wait_ns += waited;
    return r;
}
