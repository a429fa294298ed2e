#include "daemon/base/err.h"

#ifdef SEQSYNC_TRACE_ERRORS
#include <stdio.h>
#include <string.h>

int err_report(int r, const char *file, int line, const char *function)
{
    fprintf(stderr, "trace: %s (%d) in %s at %s:%d\n", strerror(-r), r, function, file, line);
    return r;
}
#else
int err_report(int r, const char *file, int line, const char *function)
{
    (void)file;
    (void)line;
    (void)function;
    return r;
}
#endif
