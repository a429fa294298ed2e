/*
 * Small helpers around one uv_loop_t: the clock, the count of handles that an owner has open, and
 * what is left at shutdown.
 */
#ifndef SEQSYNC_IO_LOOP_H
#define SEQSYNC_IO_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define LOOP_NS_PER_MS 1000000ull

/* The struct that contains @member at @pointer. */
#define loop_owner(pointer, type, member)                                                          \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/*
 * Handles that belong to one owner. Each adopted handle's data points here, so owners find
 * themselves by loop_owner(). When closing was asked for and the last one is closed, on_empty is
 * called, which may free the owner.
 */
struct loop_handles {
    uint32_t open;
    bool closing;
    void (*on_empty)(struct loop_handles *handles);
};

/* Monotonic nanoseconds, the scale of all *_ns of the daemon. Any thread. */
uint64_t loop_now_ns(void);

/* After a successful uv_*_init(): from now on the handle must be closed by loop_handle_close(). */
void loop_adopt(struct loop_handles *handles, uv_handle_t *handle);

/* Closes an adopted handle, once; later calls do nothing. */
void loop_handle_close(uv_handle_t *handle);

/*
 * The owner is done: on_empty comes when all handles are closed. With none open it comes inside
 * this call, which is why owners call it last.
 */
void loop_handles_close(struct loop_handles *handles);

/*
 * Tells @print of each handle that is not closed yet, and returns their number: a clean shutdown
 * has 0.
 */
uint32_t loop_leftovers(uv_loop_t *loop, void (*print)(void *ctx, const char *type, bool closing),
                        void *ctx);

#endif
