#include "client/attention/kernels.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t kernels_once = PTHREAD_ONCE_INIT;
static const struct kernels *kernels_chosen;

const struct kernels *kernels_find(const char *name)
{
#if defined(__x86_64__)
    if (strcmp(name, kernels_avx512.name) == 0 && __builtin_cpu_supports("avx512f")) {
        return &kernels_avx512;
    }
    if (strcmp(name, kernels_avx2.name) == 0 && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("fma")) {
        return &kernels_avx2;
    }
#endif
    if (strcmp(name, kernels_portable.name) == 0) {
        return &kernels_portable;
    }
    return NULL;
}

static void kernels_choose(void)
{
    static const char *const by_width[] = {"avx512", "avx2", "portable"};
    const char *asked = getenv("SEQSYNC_KERNELS");

    kernels_chosen = asked ? kernels_find(asked) : NULL;
    for (size_t i = 0; !kernels_chosen; i++) {
        kernels_chosen = kernels_find(by_width[i]);
    }
}

const struct kernels *kernels_get(void)
{
    pthread_once(&kernels_once, kernels_choose);
    return kernels_chosen;
}
