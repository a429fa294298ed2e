/*
 * What went wrong, in the form that every message of seqctl has:
 *
 *     error: no daemon answers at ipc:///run/seqsync/admin.sock (UNREACHABLE)
 *       connect: No such file or directory
 *       try: systemctl status seqsyncd
 *
 * and as JSON
 * {"schema":"seqctl.error/1","error":{"code","message","node","rank","cause":[],"hint"}}.
 */
#ifndef SEQSYNC_CTL_ERROR_H
#define SEQSYNC_CTL_ERROR_H

#include "client/ctl/ctl.h"

struct error {
    int exit_status; /* 0 = nothing went wrong */
    char code[32];
    char message[512]; /* what; no full stop */
    char cause[512];   /* why; "" = not known */
    char hint[512];    /* what to do next; "" = nothing sensible */
    char node[64];     /* whom it concerns; "" = nobody in particular */
    int rank;          /* -1 = no rank in particular */
};

/* Fills in status, code and message, clears the rest. Returns @exit_status. */
int error_set(struct error *error, int exit_status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Cut to size. Return error->exit_status, so that they can be chained behind error_set(). */
int error_cause(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
int error_hint(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The exit status that belongs to an enum seqsync_status. */
int error_exit_status(int status);

/* JSON to stdout, else three lines to stderr. */
void error_print(const struct ctl *ctl, const struct error *error);

#endif
