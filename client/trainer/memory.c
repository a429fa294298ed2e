#include "client/trainer/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The value in kB after @name at the start of @line. */
static void line_take(const char *line, const char *name, uint64_t *ret_bytes)
{
    size_t n = strlen(name);

    if (strncmp(line, name, n) == 0) {
        *ret_bytes = strtoull(line + n, NULL, 10) * 1024;
    }
}

struct memory memory_read(void)
{
    struct memory memory = {0};
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];

    while (file && fgets(line, sizeof(line), file)) {
        line_take(line, "RssAnon:", &memory.private_bytes);
        line_take(line, "VmHWM:", &memory.resident_bytes);
    }
    if (file) {
        fclose(file);
    }
    return memory;
}
