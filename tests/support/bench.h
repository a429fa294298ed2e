/*
 * What every benchmark needs: a clock, medians, and a report that prints the machine and one row
 * per figure, as a table or as JSON:
 *   {"machine": {"cpu": .., "cores": .., "compiler": .., ..}, "rows": [{"name", "value", "unit",
 * "spread", "target", "ok"}]} A figure is the median of samples taken in interleaved rounds, so
 * that a slow minute of the machine falls on all figures alike; its spread is (largest - smallest)
 * / median.
 */
#ifndef SEQSYNC_TESTS_SUPPORT_BENCH_H
#define SEQSYNC_TESTS_SUPPORT_BENCH_H

#include <stdbool.h>
#include <stddef.h>

enum bench_target {
    BENCH_NO_TARGET,
    BENCH_AT_LEAST,
    BENCH_AT_MOST,
};

struct bench_report; /* owned by one thread */

/* Monotonic seconds. Any thread. */
double bench_seconds(void);

/* The median of @n >= 1 values, mean of the middle two if n is even. @values is left sorted. */
double bench_median(double *values, size_t n);

/* Starts a report with the machine's cpu, cores and compiler filled in. Exits the program if there
 * is no memory. */
struct bench_report *bench_report_new(void);
struct bench_report *bench_report_free(struct bench_report *report);

/* Adds a fact about the machine or the set-up, e.g. "openblas". Copies both. */
void bench_report_machine(struct bench_report *report, const char *key, const char *value);

/* Adds a row: the median and spread of @n samples, which are sorted. @bound is ignored for
 * BENCH_NO_TARGET. Copies. */
void bench_report_add(struct bench_report *report, const char *name, const char *unit,
                      double *samples, size_t n, enum bench_target target, double bound);

/* Prints to standard output. Returns true if every target is met. */
bool bench_report_print(const struct bench_report *report, bool json);

#endif
