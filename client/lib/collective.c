#include "client/lib/session_private.h"

#include <seqsync/collective.h>
#include <string.h>

static int reduce_call(struct seqsync_session *session, void *values, size_t bytes, uint32_t dtype,
                       uint32_t op)
{
    Seqsync__Worker__WorkerMessage message = SEQSYNC__WORKER__WORKER_MESSAGE__INIT;
    Seqsync__Worker__Reduce reduce = SEQSYNC__WORKER__REDUCE__INIT;
    Seqsync__Worker__DaemonMessage *answer;

    reduce.sequence = ++session->reduce_sequence;
    reduce.dtype = dtype;
    reduce.op = op;
    reduce.values = (ProtobufCBinaryData){.len = bytes, .data = values};
    message.body_case = SEQSYNC__WORKER__WORKER_MESSAGE__BODY_REDUCE;
    message.reduce = &reduce;
    const uint64_t start = seqsync__now_ns();
    const int r = seqsync__call(session, &message, SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_REDUCED,
                                false, &answer, NULL);
    const uint64_t waited = seqsync__now_ns() - start;
    session->counters.wait_ns += waited;
    session->step.wait_ns += waited;
    if (r != 0) {
        return r;
    }
    if (answer->reduced->values.len != bytes) {
        return seqsync__end(session, SEQSYNC_ERR_PROTOCOL,
                            "the daemon reduced another number of values");
    }
    if (bytes > 0) {
        memcpy(values, answer->reduced->values.data, bytes);
    }
    return 0;
}

int seqsync_all_reduce(struct seqsync_session *session, void *values, size_t count,
                       enum seqsync_dtype dtype, enum seqsync_op op)
{
    const int r = seqsync__check(session);
    const size_t size = dtype == SEQSYNC_F32 ? 4 : 8;

    if (r != 0) {
        return r;
    }
    if (dtype < SEQSYNC_F32 || dtype > SEQSYNC_I64 || op < SEQSYNC_SUM || op > SEQSYNC_MAX) {
        return seqsync__fail(session, SEQSYNC_ERR_INVALID, "no such type or operation");
    }
    if (count > SEQSYNC_ALL_REDUCE_BYTES_MAX / size) {
        return seqsync__fail(session, SEQSYNC_ERR_INVALID,
                             "%zu values are more than %d bytes: use a bucket for large sums",
                             count, SEQSYNC_ALL_REDUCE_BYTES_MAX);
    }
    if (count == 0) {
        return seqsync_barrier(session);
    }
    if (values == NULL) {
        return seqsync__fail(session, SEQSYNC_ERR_INVALID, "%zu values are counted, but not given",
                             count);
    }
    return reduce_call(session, values, count * size, dtype, op);
}

int seqsync_barrier(struct seqsync_session *session)
{
    const int r = seqsync__check(session);

    return r != 0 ? r : reduce_call(session, NULL, 0, SEQSYNC_I64, SEQSYNC_SUM);
}
