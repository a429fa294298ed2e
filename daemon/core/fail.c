#include "daemon/core/fail.h"

#include <seqsync/status.h>
#include <stdarg.h>
#include <stdio.h>

/* Head of every ending: code and culprit; the texts are begun. */
static void fail_begin(struct job_end *ret, int32_t code, int32_t rank, int32_t node,
                       struct text *ret_text, const char *hint)
{
    ret->code = code;
    ret->rank = rank;
    ret->node = node;
    text_init(ret_text, ret->text, sizeof(ret->text));
    snprintf(ret->hint, sizeof(ret->hint), "%s", hint);
}

static int32_t rank_node(const struct roster *roster, uint32_t rank)
{
    return (int32_t)roster->rank_nodes[rank];
}

static double seconds(uint64_t ns)
{
    return (double)ns * 1e-9;
}

/* The only member, or -1 if there are several. */
static int32_t only(const struct rank_set *set)
{
    const uint32_t first = rank_set_next(set, 0);

    return first != RANK_SET_END && rank_set_next(set, first + 1) == RANK_SET_END ? (int32_t)first
                                                                                  : -1;
}

/* The node of all of them, or -1. */
static int32_t only_node(const struct rank_set *set, const struct roster *roster)
{
    int32_t node = -1;

    for (uint32_t rank = rank_set_next(set, 0); rank != RANK_SET_END;
         rank = rank_set_next(set, rank + 1)) {
        if (node >= 0 && node != rank_node(roster, rank)) {
            return -1;
        }
        node = rank_node(roster, rank);
    }
    return node;
}

/* ---- gone ---- */

void fail_worker_lost(struct job_end *ret, const struct roster *roster, uint32_t rank, int32_t code,
                      const char *how)
{
    struct text text;

    fail_begin(ret, code < 0 ? code : SEQSYNC_ERR_WORKER_LOST, (int32_t)rank,
               rank_node(roster, rank), &text,
               "see that worker's own output for the cause, then start the job again");
    text_add(&text, "rank %u on %s was lost: %s", rank,
             roster->node_names[roster->rank_nodes[rank]], how);
}

void fail_worker_left(struct job_end *ret, const struct roster *roster, uint32_t rank,
                      const char *when)
{
    struct text text;

    fail_begin(ret, SEQSYNC_ERR_WORKER_LOST, (int32_t)rank, rank_node(roster, rank), &text,
               "let all ranks do the same number of steps and collectives before they close");
    text_add(&text, "rank %u on %s left the job %s", rank,
             roster->node_names[roster->rank_nodes[rank]], when);
}

void fail_peer_lost(struct job_end *ret, const struct roster *roster, uint32_t node,
                    const char *how)
{
    struct text text;
    struct rank_set ranks;

    rank_set_clear(&ranks);
    for (uint32_t rank = 0; rank < roster->world_size; rank++) {
        if (roster->rank_nodes[rank] == node) {
            rank_set_add(&ranks, rank);
        }
    }
    fail_begin(
        ret, SEQSYNC_ERR_PEER_LOST, only(&ranks), (int32_t)node, &text,
        "see that node's daemon and the network between the nodes, then start the job again");
    text_add(&text, "node %s, which has ", roster->node_names[node]);
    text_ranks(&text, &ranks);
    text_add(&text, ", was lost: %s", how);
}

void fail_conductor_lost(struct job_end *ret, const char *const *node_names, const char *how)
{
    struct text text;

    fail_begin(ret, SEQSYNC_ERR_PEER_LOST, -1, 0, &text,
               "see that node's daemon and the network to it, then start the job again");
    text_add(&text, "node %s, which conducts, was lost: %s", node_names[0], how);
}

void fail_conductor_unreachable(struct job_end *ret, const char *const *node_names, const char *why)
{
    struct text text;

    fail_begin(ret, SEQSYNC_ERR_UNREACHABLE, -1, 0, &text,
               "start the daemon of that node, or see the network to it, then try again");
    text_add(&text, "node %s, which conducts, cannot be reached: %s", node_names[0], why);
}

/* ---- waits ---- */

/* What a member has not done: "has not ..." */
static void add_undone(struct text *text, enum gather_kind kind, uint64_t sequence)
{
    switch (kind) {
    case GATHER_REGISTER:
        text_add(text, "registered");
        return;
    case GATHER_BATCH:
        text_add(text, "begun step %llu", (unsigned long long)sequence);
        return;
    case GATHER_PLAN:
        text_add(text, "planned step %llu", (unsigned long long)sequence);
        return;
    case GATHER_REDUCE:
        text_add(text, "entered collective %llu", (unsigned long long)sequence);
        return;
    case GATHER_COMMIT:
        text_add(text, "committed step %llu", (unsigned long long)sequence);
        return;
    case GATHER_LEAVE:
    case GATHER_KINDS_N:
        break;
    }
    text_add(text, "left");
}

void fail_missing(struct job_end *ret, const struct roster *roster, enum gather_kind kind,
                  uint64_t sequence, const struct rank_set *members, uint64_t timeout_ns,
                  const char *last)
{
    const bool nodes = kind == GATHER_PLAN;
    const bool one = only(members) >= 0;
    struct text text;

    fail_begin(ret, SEQSYNC_ERR_TIMEOUT, nodes ? -1 : only(members),
               nodes ? only(members) : only_node(members, roster), &text,
               nodes ? "see that node's daemon: is it overloaded or stopped?"
                     : "see whether it hangs, does fewer steps than the others, or needs a longer "
                       "timeout ([timeouts] step)");
    if (nodes) {
        text_add(&text, one ? "node " : "nodes ");
        text_nodes(&text, members->words[0], roster->node_names);
    } else {
        text_ranks_at(&text, members, roster);
    }
    text_add(&text, one ? " has not " : " have not ");
    add_undone(&text, kind, sequence);
    text_add(&text, " within %g s%s%s", seconds(timeout_ns), last[0] != '\0' ? "; last: " : "",
             last);
}

void fail_step_stuck(struct job_end *ret, const char *node_name, uint64_t step, const char *what,
                     int32_t rank, int32_t node, uint64_t timeout_ns)
{
    struct text text;

    fail_begin(ret, SEQSYNC_ERR_TIMEOUT, rank, node, &text,
               "see whether that rank skipped a call that the others made, and the network between "
               "the nodes");
    text_add(&text, "step %llu is not complete within %g s: %s waits for %s",
             (unsigned long long)step, seconds(timeout_ns), node_name, what);
}

void fail_no_answer(struct job_end *ret, const char *const *node_names, uint64_t timeout_ns)
{
    struct text text;

    fail_begin(ret, SEQSYNC_ERR_TIMEOUT, -1, 0, &text,
               "see that node's daemon: is it overloaded or stopped?");
    text_add(&text, "node %s, which conducts, has not answered within %g s", node_names[0],
             seconds(timeout_ns));
}

/* ---- differences ---- */

struct difference {
    int32_t code;
    const char *verb; /* what they did */
    const char *what; /* another ... */
    const char *whats;
    const char *hint;
};

static const struct difference differences[GATHER_KINDS_N] = {
    [GATHER_REGISTER] = {SEQSYNC_ERR_SCHEMA_MISMATCH, "registered", "other exchanges or buckets",
                         "different exchanges or buckets",
                         "register the same shapes, in the same order, on every rank"},
    [GATHER_BATCH] = {SEQSYNC_ERR_BATCH_MISMATCH, "described", "another batch", "different batches",
                      "make the data loaders agree: same samples, lengths, masks and seed on every "
                      "rank"},
    [GATHER_REDUCE] =
        {SEQSYNC_ERR_INVALID, "called", "another collective", "different collectives",
         "call the same collective, with the same type, operation and count, on every "
         "rank"},
    [GATHER_COMMIT] = {SEQSYNC_ERR_PARAMETER_MISMATCH, "trained", "other parameters",
                       "different parameters",
                       "begin with equal parameters (publish and pull them) and update them alike "
                       "on every rank"},
};

void fail_differ(struct job_end *ret, const struct roster *roster, enum gather_kind kind,
                 uint64_t sequence, const struct rank_set *odd, const struct rank_set *others)
{
    const struct difference *as = &differences[kind];
    const bool majority = rank_set_next(others, 0) != RANK_SET_END;
    struct text text;

    fail_begin(ret, as->code, only(odd), only_node(odd, roster), &text, as->hint);
    text_ranks_at(&text, odd, roster);
    text_add(&text, " %s %s", as->verb, majority ? as->what : as->whats);
    if (majority) {
        text_add(&text, " than ");
        text_ranks(&text, others);
    }
    if (kind == GATHER_BATCH || kind == GATHER_COMMIT) {
        text_add(&text, " in step %llu", (unsigned long long)sequence);
    } else if (kind == GATHER_REDUCE) {
        text_add(&text, " as collective %llu", (unsigned long long)sequence);
    }
}

void fail_uses_differ(struct job_end *ret, const struct roster *roster, uint64_t step,
                      const struct rank_set *odd, const struct rank_set *others)
{
    struct text text;

    fail_begin(ret, SEQSYNC_ERR_INVALID, only(odd), only_node(odd, roster), &text,
               "make the same calls on every rank, also on one that holds no tokens");
    text_ranks_at(&text, odd, roster);
    if (rank_set_next(others, 0) != RANK_SET_END) {
        text_add(&text, " did not use the same exchanges and buckets as ");
        text_ranks(&text, others);
    } else {
        text_add(&text, " used different exchanges or buckets");
    }
    text_add(&text, " in step %llu: one is used by some ranks only", (unsigned long long)step);
}

void fail_nodes_differ(struct job_end *ret, const struct roster *roster, uint64_t step,
                       const struct rank_set *odd, const struct rank_set *others)
{
    struct text text;

    fail_begin(ret, SEQSYNC_ERR_PLAN_MISMATCH, -1, only(odd), &text,
               "run the same version of seqsyncd on every node");
    text_nodes(&text, odd->words[0], roster->node_names);
    if (others->words[0] != 0) {
        text_add(&text, " derived another plan than ");
        text_nodes(&text, others->words[0], roster->node_names);
    } else {
        text_add(&text, " derived different plans");
    }
    text_add(&text, " from the batch of step %llu", (unsigned long long)step);
}

/* ---- broken rules ---- */

static void fail_at(struct job_end *ret, int32_t code, int32_t rank, int32_t node, const char *who,
                    const char *hint, const char *format, va_list args)
    __attribute__((format(printf, 7, 0)));

static void fail_at(struct job_end *ret, int32_t code, int32_t rank, int32_t node, const char *who,
                    const char *hint, const char *format, va_list args)
{
    char what[MESSAGE_TEXT_MAX];
    struct text text;

    fail_begin(ret, code, rank, node, &text, hint);
    vsnprintf(what, sizeof(what), format, args);
    text_add(&text, "%s %s", who, what);
}

void fail_rank(struct job_end *ret, const struct roster *roster, uint32_t rank, int32_t code,
               const char *format, ...)
{
    char who[SEQSYNC_NAME_MAX + 32];
    va_list args;

    snprintf(who, sizeof(who), "rank %u on %s", rank, roster->node_names[roster->rank_nodes[rank]]);
    va_start(args, format);
    fail_at(ret, code, (int32_t)rank, rank_node(roster, rank), who,
            "fix the order of calls of that worker", format, args);
    va_end(args);
}

void fail_node(struct job_end *ret, const struct roster *roster, uint32_t node, int32_t code,
               const char *format, ...)
{
    char who[SEQSYNC_NAME_MAX + 32];
    va_list args;

    snprintf(who, sizeof(who), "node %s", roster->node_names[node]);
    va_start(args, format);
    fail_at(ret, code, -1, (int32_t)node, who,
            "run the same version of seqsyncd on every node; if it is, please report this", format,
            args);
    va_end(args);
}

void fail_uncontributed(struct job_end *ret, const struct roster *roster,
                        const struct rank_set *ranks, uint64_t step, const char *what, uint32_t id)
{
    struct text text;

    fail_begin(ret, SEQSYNC_ERR_INVALID, only(ranks), only_node(ranks, roster), &text,
               "make the same calls on every rank, also on one that holds no tokens");
    text_ranks_at(&text, ranks, roster);
    text_add(&text, " committed step %llu without %s %u, which others contributed to",
             (unsigned long long)step, what, id);
}

void fail_attested(struct job_end *ret, const struct roster *roster, uint32_t rank, uint64_t step,
                   const char *what, int64_t given, int64_t planned)
{
    struct text text;

    fail_begin(ret, SEQSYNC_ERR_ATTESTATION, (int32_t)rank, rank_node(roster, rank), &text,
               "compute every tile of the part, and no other, on that rank");
    text_add(&text, "rank %u on %s computed %lld %s in step %llu, but the plan gives it %lld", rank,
             roster->node_names[roster->rank_nodes[rank]], (long long)given, what,
             (unsigned long long)step, (long long)planned);
}

/* ---- sums ---- */

void fail_nonfinite(struct job_end *ret, const struct roster *roster, int32_t rank, int32_t node,
                    uint64_t step, const char *what)
{
    struct text text;

    fail_begin(ret, SEQSYNC_ERR_NONFINITE, rank, node, &text,
               "find where it arises, lower the learning rate, or choose the policy \"skip\"");
    text_add(&text, "%s of step %llu: ", what, (unsigned long long)step);
    if (rank >= 0) {
        text_add(&text, "rank %d on %s contributed a NaN or an infinity", rank,
                 roster->node_names[roster->rank_nodes[rank]]);
    } else {
        text_add(&text, "the sum has a NaN or an infinity in it");
    }
    if (rank < 0 && node >= 0) {
        text_add(&text, ", found by %s", roster->node_names[node]);
    }
}

void fail_overflow(struct job_end *ret, uint64_t step, const char *what)
{
    struct text text;

    fail_begin(ret, SEQSYNC_ERR_INVALID, -1, -1, &text, "give smaller numbers");
    text_add(&text, "%s %llu has a sum that exceeds 64 bits", what, (unsigned long long)step);
}

/* ---- this daemon ---- */

void fail_daemon(struct job_end *ret, const char *const *node_names, uint32_t node, int32_t code,
                 const char *doing, const char *why)
{
    struct text text;

    fail_begin(ret, code < 0 ? code : SEQSYNC_ERR_INTERNAL, -1, (int32_t)node, &text,
               code == SEQSYNC_ERR_NO_CAPACITY
                   ? "raise the daemon's limit on that node, or make the job smaller"
                   : "see the daemon's log on that node");
    text_add(&text, "node %s could not %s: %s", node_names[node], doing, why);
}

/* ---- joining ---- */

void fail_join_duplicate(struct job_end *ret, const char *job, uint32_t rank, int32_t node,
                         const char *node_name)
{
    struct text text;

    fail_begin(ret, SEQSYNC_ERR_DUPLICATE, (int32_t)rank, node, &text,
               "give every worker a rank of its own, or every run a job name of its own");
    text_add(&text, "rank %u of job %s has joined already, on %s", rank, job, node_name);
}

void fail_join_differs(struct job_end *ret, const char *job, uint32_t rank, int32_t node,
                       const char *what, uint32_t given, uint32_t others)
{
    struct text text;

    fail_begin(ret, SEQSYNC_ERR_INVALID, (int32_t)rank, node, &text,
               "start all workers of a job with the same settings");
    text_add(&text, "rank %u joins job %s with %s %u, but others joined with %u", rank, job, what,
             given, others);
}

void fail_join_capacity(struct job_end *ret, const char *job, uint32_t rank, int32_t node,
                        const char *limit)
{
    struct text text;

    fail_begin(ret, SEQSYNC_ERR_NO_CAPACITY, (int32_t)rank, node, &text,
               "wait until other jobs have ended");
    text_add(&text, "rank %u cannot join job %s: %s", rank, job, limit);
}

void fail_join_timeout(struct job_end *ret, const char *job, uint32_t world_size,
                       const struct rank_set *missing, uint64_t timeout_ns)
{
    struct text text;
    const uint32_t count = rank_set_count(missing);

    fail_begin(ret, SEQSYNC_ERR_TIMEOUT, only(missing), -1, &text,
               "see whether those workers were started, with this job name and world size");
    if (count == 0) {
        text_add(&text,
                 "job %s cannot begin within %g s: an earlier one of that name has not ended", job,
                 seconds(timeout_ns));
        return;
    }
    text_ranks(&text, missing);
    text_add(&text, " of job %s (%u in all) %s not joined within %g s", job, world_size,
             count == 1 ? "has" : "have", seconds(timeout_ns));
}

void fail_join_order(struct job_end *ret, const char *what)
{
    struct text text;

    fail_begin(ret, SEQSYNC_ERR_INVALID, -1, -1, &text, "fix the order of calls of that worker");
    text_add(&text, "%s", what);
}

void fail_left(struct job_end *ret, const char *job)
{
    struct text text;

    fail_begin(ret, 0, -1, -1, &text, "");
    text_add(&text, "every rank of job %s has left", job);
}
