#include "tests/support/bench.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct bench_report {
    json_t *machine;
    json_t *rows;
};

static void *need(void *pointer)
{
    if (!pointer) {
        (void)fprintf(stderr, "bench: out of memory\n");
        exit(EXIT_FAILURE);
    }
    return pointer;
}

double bench_seconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_median(double *values, size_t n)
{
    qsort(values, n, sizeof(*values), compare_doubles);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* The processor's name as Linux gives it, or "unknown". */
static void read_cpu(char *ret_name, size_t size)
{
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[256];

    (void)snprintf(ret_name, size, "unknown");
    while (file && fgets(line, sizeof(line), file)) {
        const char *colon = strchr(line, ':');

        if (strncmp(line, "model name", 10) == 0 && colon) {
            line[strcspn(line, "\n")] = '\0';
            (void)snprintf(ret_name, size, "%s", colon + 2);
            break;
        }
    }
    if (file) {
        (void)fclose(file);
    }
}

struct bench_report *bench_report_new(void)
{
    struct bench_report *report = need(calloc(1, sizeof(*report)));
    char cpu[256];

    report->machine = need(json_object());
    report->rows = need(json_array());
    read_cpu(cpu, sizeof(cpu));
    bench_report_machine(report, "cpu", cpu);
    (void)json_object_set_new(report->machine, "cores",
                              need(json_integer(sysconf(_SC_NPROCESSORS_ONLN))));
#if defined(__clang__)
    bench_report_machine(report, "compiler", __VERSION__);
#else
    bench_report_machine(report, "compiler", "GCC " __VERSION__);
#endif
    return report;
}

struct bench_report *bench_report_free(struct bench_report *report)
{
    if (report) {
        json_decref(report->machine);
        json_decref(report->rows);
        free(report);
    }
    return NULL;
}

void bench_report_machine(struct bench_report *report, const char *key, const char *value)
{
    (void)json_object_set_new(report->machine, key, need(json_string(value)));
}

void bench_report_add(struct bench_report *report, const char *name, const char *unit,
                      double *samples, size_t n, enum bench_target target, double bound)
{
    double value = bench_median(samples, n);
    double spread = value != 0 ? (samples[n - 1] - samples[0]) / fabs(value) : 0;
    bool ok =
        target == BENCH_NO_TARGET || (target == BENCH_AT_LEAST ? value >= bound : value <= bound);
    json_t *row = need(json_pack("{s:s, s:f, s:s, s:f, s:b}", "name", name, "value", value, "unit",
                                 unit, "spread", spread, "ok", (int)ok));

    (void)json_object_set_new(row, "target",
                              need(target == BENCH_NO_TARGET ? json_null() : json_real(bound)));
    (void)json_array_append_new(report->rows, row);
}

static double row_number(const json_t *row, const char *key)
{
    return json_number_value(json_object_get(row, key));
}

static void print_table(const struct bench_report *report)
{
    const char *key;
    const json_t *value;
    const json_t *row;
    size_t i;

    json_object_foreach(report->machine, key, value)
    {
        if (json_is_string(value)) {
            printf("%-10s %s\n", key, json_string_value(value));
        } else {
            printf("%-10s %" JSON_INTEGER_FORMAT "\n", key, json_integer_value(value));
        }
    }
    printf("\n%-38s %12s %-10s %8s %8s\n", "name", "median", "unit", "spread", "target");
    json_array_foreach(report->rows, i, row)
    {
        printf("%-38s %12.4g %-10s %7.1f%%", json_string_value(json_object_get(row, "name")),
               row_number(row, "value"), json_string_value(json_object_get(row, "unit")),
               100 * row_number(row, "spread"));
        if (json_is_null(json_object_get(row, "target"))) {
            printf("\n");
        } else {
            printf(" %8.4g %s\n", row_number(row, "target"),
                   json_is_true(json_object_get(row, "ok")) ? "met" : "MISSED");
        }
    }
}

bool bench_report_print(const struct bench_report *report, bool json)
{
    const json_t *row;
    bool ok = true;
    size_t i;

    json_array_foreach(report->rows, i, row)
    {
        ok = ok && json_is_true(json_object_get(row, "ok"));
    }
    if (json) {
        json_t *whole =
            need(json_pack("{s:O, s:O}", "machine", report->machine, "rows", report->rows));

        (void)json_dumpf(whole, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        printf("\n");
        json_decref(whole);
    } else {
        print_table(report);
    }
    return ok;
}
