#include "client/ctl/heat.h"

#include "client/ctl/text.h"

#include <stdlib.h>
#include <string.h>

#define HEAT_LEFT 16      /* characters before the first cell */
#define HEAT_NODE_WIDTH 8 /* of the node's name, which is cut */

/* Areas of query rank by source run, with what their colours need. */
struct heat {
    int64_t *areas; /* [rows * runs] */
    size_t rows;
    uint32_t runs;
    uint32_t run_ranks; /* source ranks in one cell */
    uint32_t cell_width;
    int64_t low; /* least and largest area that is not 0 */
    int64_t high;
};

static uint32_t heat_rank_count(const Seqsync__Admin__Shards *shards)
{
    uint32_t count = shards->job ? shards->job->world_size : 0;
    for (size_t i = 0; i < shards->n_shards; i++) {
        const Seqsync__Admin__Shard *shard = shards->shards[i];
        count = shard->rank >= count ? shard->rank + 1 : count;
        for (size_t c = 0; c < shard->n_cells; c++) {
            count = shard->cells[c]->source >= count ? shard->cells[c]->source + 1 : count;
        }
    }
    return count;
}

static bool heat_init(struct heat *heat, const Seqsync__Admin__Shards *shards, uint32_t columns)
{
    uint32_t ranks = heat_rank_count(shards);
    uint32_t room = columns > HEAT_LEFT + 8 ? columns - HEAT_LEFT - 2 : 8;
    *heat = (struct heat){.rows = shards->n_shards};
    heat->cell_width = 2 * ranks <= room ? 2 : 1;
    heat->run_ranks = (ranks * heat->cell_width + room - 1) / room;
    heat->run_ranks = heat->run_ranks ? heat->run_ranks : 1;
    heat->runs = (ranks + heat->run_ranks - 1) / heat->run_ranks;
    heat->areas = calloc(heat->rows * heat->runs + 1, sizeof(heat->areas[0]));
    if (!heat->areas) {
        return false;
    }
    for (size_t i = 0; i < heat->rows; i++) {
        const Seqsync__Admin__Shard *shard = shards->shards[i];
        for (size_t c = 0; c < shard->n_cells; c++) {
            int64_t *area =
                &heat->areas[i * heat->runs + shard->cells[c]->source / heat->run_ranks];
            if (__builtin_add_overflow(*area, shard->cells[c]->area, area)) {
                *area = INT64_MAX;
            }
        }
    }
    for (size_t i = 0; i < heat->rows * heat->runs; i++) {
        int64_t area = heat->areas[i];
        if (area > 0) {
            heat->low = heat->low == 0 || area < heat->low ? area : heat->low;
            heat->high = area > heat->high ? area : heat->high;
        }
    }
    return true;
}

static void heat_cell(const struct ctl *ctl, const struct heat *heat, int64_t area)
{
    const char *glyph = text_heat_glyph(text_heat_level(area, heat->low, heat->high), ctl->ascii);
    for (uint32_t i = 0; i < heat->cell_width; i++) {
        fputs(glyph, ctl->out);
    }
}

/* Column numbers, one above every fifth cell, so that they stay apart. */
static void heat_header(const struct ctl *ctl, const struct heat *heat)
{
    char line[2048];
    size_t length = (size_t)heat->runs * heat->cell_width;
    if (length + 16 > sizeof(line)) {
        return;
    }
    memset(line, ' ', sizeof(line));
    uint32_t stride = heat->cell_width == 2 && heat->run_ranks == 1 && heat->runs <= 10 ? 1 : 5;
    size_t end = 0;
    for (uint32_t run = 0; run < heat->runs; run += stride) {
        char number[16];
        int digits = snprintf(number, sizeof(number), "%u", run * heat->run_ranks);
        size_t at = (size_t)run * heat->cell_width;
        memcpy(line + at, number, (size_t)digits);
        end = at + (size_t)digits;
    }
    fprintf(ctl->out, " rank node     | %.*s\n", (int)end, line);
}

static void heat_scale(const struct ctl *ctl, const struct heat *heat)
{
    char text[32];
    if (heat->high == 0) {
        fprintf(ctl->out, " scale  blank: nothing\n");
        return;
    }
    fprintf(ctl->out, " scale  %s %s", text_heat_glyph(1, ctl->ascii),
            text_count(text, sizeof(text), (double)heat->low));
    for (uint32_t level = 1; level < TEXT_HEAT_LEVELS; level++) {
        int64_t bound = text_heat_bound(level, heat->low, heat->high);
        if (level > 1) {
            fprintf(ctl->out, "  %s ", text_heat_glyph(level, ctl->ascii));
        }
        fprintf(ctl->out, "-%s", text_count(text, sizeof(text), (double)bound));
        if (heat->low == heat->high) {
            break; /* all cells are alike */
        }
    }
    fprintf(ctl->out, "  query-key pairs, blank: none");
    if (heat->run_ranks > 1) {
        fprintf(ctl->out, "; one column is %u ranks", heat->run_ranks);
    }
    fputc('\n', ctl->out);
}

int heat_print(const struct ctl *ctl, const Seqsync__Admin__Shards *shards, uint32_t columns,
               struct error *error)
{
    struct heat heat;
    if (!heat_init(&heat, shards, columns)) {
        return error_set(error, EX_OSERR, "NO_MEMORY", "not enough memory for the map");
    }
    heat_header(ctl, &heat);
    for (size_t i = 0; i < heat.rows; i++) {
        const Seqsync__Admin__Shard *shard = shards->shards[i];
        fprintf(ctl->out, " %4u %-*.*s | ", shard->rank, HEAT_NODE_WIDTH, HEAT_NODE_WIDTH,
                shard->node_name);
        for (uint32_t run = 0; run < heat.runs; run++) {
            heat_cell(ctl, &heat, heat.areas[i * heat.runs + run]);
        }
        fputc('\n', ctl->out);
    }
    heat_scale(ctl, &heat);
    free(heat.areas);
    return EX_OK;
}
