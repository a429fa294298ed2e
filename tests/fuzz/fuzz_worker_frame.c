#include "fuzz.h"
#include "fuzz_frame.h"

static const char *decode(struct frame_memory *memory, const uint8_t *bytes, size_t length,
                          const ProtobufCMessage **ret)
{
    Seqsync__Worker__WorkerMessage *message = NULL;
    const char *why = frame_decode_worker(memory, bytes, length, &message);

    if (why == NULL) {
        *ret = &message->base;
    }
    return why;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_frame(decode, data, size, WIRE_WORKER_FRAME_MAX);
    return 0;
}
