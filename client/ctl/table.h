/*
 * A table of text cells, printed through libsmartcols, or as CSV, or as its first column. Running
 * out of memory is remembered and reported by table_print().
 */
#ifndef SEQSYNC_CTL_TABLE_H
#define SEQSYNC_CTL_TABLE_H

#include "client/ctl/ctl.h"
#include "client/ctl/error.h"

#define TABLE_COLUMNS_MAX 24

enum {
    TABLE_RIGHT = 1 << 0, /* numbers */
    TABLE_WIDE = 1 << 1,  /* with -o wide and in CSV only */
    TABLE_TRUNC = 1 << 2, /* may be cut when the terminal is narrow */
};

enum table_mood {
    TABLE_PLAIN = 0,
    TABLE_GOOD,
    TABLE_DOUBTFUL,
    TABLE_BAD,
};

struct table_column {
    const char *name;
    int flags;
};

struct table;

/* @columns[count] are borrowed for life. NULL if out of memory. */
struct table *table_new(const struct table_column *columns, uint32_t count);
struct table *table_free(struct table *table); /* accepts NULL; returns NULL */

/* Begins a row. Accepts NULL, as the next two. */
void table_row(struct table *table);

/* The next cell of the row; control characters are replaced. */
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A colour for the cell that was added last; the text says the same in words. */
void table_mood(struct table *table, enum table_mood mood);

/* Returns EX_OK, or fills @error. Accepts NULL. */
int table_print(const struct table *table, const struct ctl *ctl, struct error *error);

#endif
