#include "fuzz_frame.h"

#include "fuzz.h"

#include <string.h>

static struct frame_memory *memory_of(struct frame_memory **memory)
{
    if (*memory == NULL) {
        *memory = frame_memory_new();
        fuzz_require(*memory != NULL);
    }
    return *memory;
}

void fuzz_frame(fuzz_decode_fn *decode, const uint8_t *data, size_t size, size_t frame_max)
{
    /* Kept from input to input, as a port keeps its own. */
    static struct frame_memory *memories[2];
    const ProtobufCMessage *untouched = (const void *)&memories;
    const ProtobufCMessage *first = untouched, *second = NULL;

    const char *why = decode(memory_of(&memories[0]), data, size, &first);
    if (why != NULL) {
        fuzz_require(strlen(why) > 0 && first == untouched);
        return;
    }
    fuzz_require(size <= frame_max && first->n_unknown_fields == 0);
    const size_t length = protobuf_c_message_get_packed_size(first);
    if (length == 0 || length > frame_max) {
        return; /* negative numbers may have come in fewer bytes than they go in */
    }
    uint8_t *once = malloc(length), *twice = malloc(length);
    fuzz_require(once != NULL && twice != NULL);
    fuzz_require(frame_encode(first, once, length - 1) == 0);
    fuzz_require(frame_encode(first, once, length) == length);
    fuzz_require(decode(memory_of(&memories[1]), once, length, &second) == NULL);
    fuzz_require(frame_encode(second, twice, length) == length);
    fuzz_require(memcmp(once, twice, length) == 0);
    free(once);
    free(twice);
}
