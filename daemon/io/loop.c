#include "daemon/io/loop.h"

#include <assert.h>
#include <time.h>

uint64_t loop_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

void loop_adopt(struct loop_handles *handles, uv_handle_t *handle)
{
    assert(!handles->closing);
    handle->data = handles;
    handles->open++;
}

static void loop_on_closed(uv_handle_t *handle)
{
    struct loop_handles *handles = handle->data;
    assert(handles->open > 0);
    handles->open--;
    if (handles->open == 0 && handles->closing && handles->on_empty != NULL) {
        handles->on_empty(handles);
    }
}

void loop_handle_close(uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, loop_on_closed);
    }
}

void loop_handles_close(struct loop_handles *handles)
{
    assert(!handles->closing);
    handles->closing = true;
    if (handles->open == 0 && handles->on_empty != NULL) {
        handles->on_empty(handles);
    }
}

struct leftovers {
    uint32_t count;
    void (*print)(void *ctx, const char *type, bool closing);
    void *ctx;
};

static void leftovers_visit(uv_handle_t *handle, void *arg)
{
    struct leftovers *leftovers = arg;
    leftovers->count++;
    if (leftovers->print != NULL) {
        leftovers->print(leftovers->ctx, uv_handle_type_name(handle->type),
                         uv_is_closing(handle) != 0);
    }
}

uint32_t loop_leftovers(uv_loop_t *loop, void (*print)(void *ctx, const char *type, bool closing),
                        void *ctx)
{
    struct leftovers leftovers = {.print = print, .ctx = ctx};
    uv_walk(loop, leftovers_visit, &leftovers);
    return leftovers.count;
}
