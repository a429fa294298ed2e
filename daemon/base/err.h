/*
 * Error returns of the whole daemon: 0 is success, negative is a fatal negative errno that is
 * forwarded unchanged, positive is an outcome of the callee's own enum that its immediate caller
 * handles and never forwards.
 *
 *     return err_origin(-ENOMEM);   where an error is born
 *     return err_trace(r);          where one passes through; free on success
 *     return err_fold(r);           where a positive outcome was not expected: it becomes
 * -ENOTRECOVERABLE
 *
 * With SEQSYNC_TRACE_ERRORS in the environment of a debug build each step is printed with file and
 * line.
 */
#ifndef SEQSYNC_BASE_ERR_H
#define SEQSYNC_BASE_ERR_H

#include <errno.h>

int err_report(int r, const char *file, int line, const char *function);

#define err_origin(r) err_report((r), __FILE__, __LINE__, __func__)
#define err_trace(r) err_step((r), __FILE__, __LINE__, __func__)
#define err_fold(r) err_fold_at((r), __FILE__, __LINE__, __func__)

static inline int err_step(int r, const char *file, int line, const char *function)
{
    return r < 0 ? err_report(r, file, line, function) : r;
}

static inline int err_fold_at(int r, const char *file, int line, const char *function)
{
    if (r > 0) {
        r = -ENOTRECOVERABLE;
    }
    return r < 0 ? err_report(r, file, line, function) : r;
}

#endif
