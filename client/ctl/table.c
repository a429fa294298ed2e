#include "client/ctl/table.h"

#include "client/ctl/text.h"

#include <libsmartcols/libsmartcols.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_CELL_MAX 1024

struct table_cell {
    char *text;
    enum table_mood mood;
};

struct table {
    const struct table_column *columns;
    uint32_t column_count;
    struct table_cell *cells; /* [capacity], row by row */
    size_t cell_count;
    size_t capacity;
    size_t row_count;
    bool failed; /* out of memory */
};

struct table *table_new(const struct table_column *columns, uint32_t count)
{
    struct table *table = calloc(1, sizeof(*table));
    if (table) {
        table->columns = columns;
        table->column_count = count;
    }
    return table;
}

struct table *table_free(struct table *table)
{
    if (table) {
        for (size_t i = 0; i < table->cell_count; i++) {
            free(table->cells[i].text);
        }
        free(table->cells);
        free(table);
    }
    return NULL;
}

void table_row(struct table *table)
{
    if (table) {
        table->row_count++;
    }
}

void table_cell(struct table *table, const char *format, ...)
{
    if (!table || table->failed) {
        return;
    }
    if (table->cell_count == table->capacity) {
        size_t capacity = table->capacity ? 2 * table->capacity : 64;
        void *grown = reallocarray(table->cells, capacity, sizeof(table->cells[0]));
        if (!grown) {
            table->failed = true;
            return;
        }
        table->cells = grown;
        table->capacity = capacity;
    }
    char text[TABLE_CELL_MAX];
    char clean[TABLE_CELL_MAX];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    struct table_cell cell = {.text = strdup(text_clean(clean, sizeof(clean), text))};
    if (!cell.text) {
        table->failed = true;
        return;
    }
    table->cells[table->cell_count++] = cell;
}

void table_mood(struct table *table, enum table_mood mood)
{
    if (table && !table->failed && table->cell_count) {
        table->cells[table->cell_count - 1].mood = mood;
    }
}

static const struct table_cell *table_at(const struct table *table, size_t row, uint32_t column)
{
    return &table->cells[row * table->column_count + column];
}

static void csv_cell(FILE *out, const char *text)
{
    if (!strpbrk(text, ",\"\n")) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"') {
            fputc('"', out);
        }
        fputc(*text, out);
    }
    fputc('"', out);
}

static int table_print_csv(const struct table *table, const struct ctl *ctl)
{
    for (uint32_t c = 0; c < table->column_count && !ctl->no_headers; c++) {
        fprintf(ctl->out, "%s%s", c ? "," : "", table->columns[c].name);
    }
    if (!ctl->no_headers) {
        fputc('\n', ctl->out);
    }
    for (size_t row = 0; row < table->row_count; row++) {
        for (uint32_t c = 0; c < table->column_count; c++) {
            fputs(c ? "," : "", ctl->out);
            csv_cell(ctl->out, table_at(table, row, c)->text);
        }
        fputc('\n', ctl->out);
    }
    return 0;
}

static int table_fill_row(const struct table *table, size_t row, bool wide,
                          struct libscols_table *target)
{
    static const char *const colours[] = {NULL, "green", "yellow", "red"};
    struct libscols_line *line = scols_table_new_line(target, NULL);
    size_t shown = 0;
    if (!line) {
        return -1;
    }
    for (uint32_t c = 0; c < table->column_count; c++) {
        const struct table_cell *cell = table_at(table, row, c);
        if ((table->columns[c].flags & TABLE_WIDE) && !wide) {
            continue;
        }
        if (scols_line_set_data(line, shown, cell->text)) {
            return -1;
        }
        if (cell->mood != TABLE_PLAIN) {
            scols_cell_set_color(scols_line_get_cell(line, shown), colours[cell->mood]);
        }
        shown++;
    }
    return 0;
}

static int table_fill(const struct table *table, const struct ctl *ctl,
                      struct libscols_table *target)
{
    bool wide = ctl->format == CTL_WIDE;
    for (uint32_t c = 0; c < table->column_count; c++) {
        const struct table_column *column = &table->columns[c];
        int flags = (column->flags & TABLE_RIGHT ? SCOLS_FL_RIGHT : 0) |
                    (column->flags & TABLE_TRUNC ? SCOLS_FL_TRUNC : 0);
        if ((column->flags & TABLE_WIDE) && !wide) {
            continue;
        }
        if (!scols_table_new_column(target, column->name, 0, flags)) {
            return -1;
        }
    }
    for (size_t row = 0; row < table->row_count; row++) {
        if (table_fill_row(table, row, wide, target)) {
            return -1;
        }
    }
    return 0;
}

static int table_print_columns(const struct table *table, const struct ctl *ctl)
{
    struct libscols_table *target = scols_new_table();
    char *text = NULL;
    int r = -1;
    if (target) {
        scols_table_enable_noheadings(target, ctl->no_headers);
        scols_table_enable_colors(target, ctl->colour);
        scols_table_enable_ascii(target, ctl->ascii);
        r = table_fill(table, ctl, target);
        if (r == 0) {
            scols_table_set_stream(target, ctl->out);
            r = scols_print_table_to_string(target, &text);
        }
    }
    if (r == 0 && text) {
        fputs(text, ctl->out);
        fputs(text[0] && text[strlen(text) - 1] != '\n' ? "\n" : "", ctl->out);
    }
    free(text);
    scols_unref_table(target);
    return r;
}

int table_print(const struct table *table, const struct ctl *ctl, struct error *error)
{
    int r = -1;
    if (table && !table->failed) {
        switch (ctl->format) {
        case CTL_CSV:
            r = table_print_csv(table, ctl);
            break;
        case CTL_NAME:
            for (size_t row = 0; row < table->row_count; row++) {
                fprintf(ctl->out, "%s\n", table_at(table, row, 0)->text);
            }
            r = 0;
            break;
        default:
            r = table_print_columns(table, ctl);
            break;
        }
    }
    if (r) {
        return error_set(error, EX_OSERR, "NO_MEMORY", "not enough memory for the table");
    }
    return EX_OK;
}
