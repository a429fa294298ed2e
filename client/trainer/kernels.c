#include "client/trainer/kernels.h"

#include <stddef.h>
#include <string.h>

const struct trainer_kernels *trainer_kernels_find(const char *name)
{
#if defined(__x86_64__)
    if (strcmp(name, trainer_kernels_avx512.name) == 0 && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
        return &trainer_kernels_avx512;
    }
    if (strcmp(name, trainer_kernels_avx2.name) == 0 && __builtin_cpu_supports("avx2")) {
        return &trainer_kernels_avx2;
    }
#endif
    return strcmp(name, trainer_kernels_portable.name) == 0 ? &trainer_kernels_portable : NULL;
}

const struct trainer_kernels *trainer_kernels_get(void)
{
    static const char *const by_width[] = {"avx512", "avx2", "portable"};

    for (size_t i = 0; i < sizeof(by_width) / sizeof(*by_width); i++) {
        const struct trainer_kernels *kernels = trainer_kernels_find(by_width[i]);

        if (kernels) {
            return kernels;
        }
    }
    return &trainer_kernels_portable;
}
