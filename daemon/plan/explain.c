#include "daemon/plan/explain.h"

void explain_ranks(const struct plan *plan, uint32_t space, int64_t row_bytes,
                   struct explain_rank *ret)
{
    const struct plan_space *of = &plan->spaces[space];

    for (uint32_t r = 0; r < plan->rank_count; r++) {
        ret[r] = (struct explain_rank){
            .tokens = plan->spaces[SEQSYNC_SPACE_TOKENS].parts[r].rows,
            .area = of->parts[r].area,
        };
    }
    for (uint32_t r = 0; r < plan->rank_count; r++) {
        for (uint32_t s = 0; s < of->parts[r].source_count; s++) {
            const struct seqsync_source *source = &of->parts[r].sources[s];
            const int64_t bytes = source->return_rows * row_bytes;
            ret[r].bytes_in += bytes;
            ret[r].bytes_in_remote += source->local ? 0 : bytes;
            ret[source->rank].bytes_out += bytes;
        }
    }
    for (uint32_t m = 0; m < of->move_count; m++) {
        ret[of->moves[m].holder].bytes_sent += of->moves[m].rows * row_bytes;
    }
}

struct tally {
    double sum;
    double largest;
};

static void tally_add(struct tally *tally, int64_t value)
{
    tally->sum += (double)value;
    tally->largest = (double)value > tally->largest ? (double)value : tally->largest;
}

static double tally_ratio(const struct tally *tally, uint32_t count)
{
    return tally->sum > 0 ? tally->largest * count / tally->sum : 1;
}

struct explain_balance explain_balance(const struct explain_rank *ranks, uint32_t count)
{
    struct tally tokens = {0}, area = {0}, bytes_in = {0}, bytes_out = {0};

    for (uint32_t r = 0; r < count; r++) {
        tally_add(&tokens, ranks[r].tokens);
        tally_add(&area, ranks[r].area);
        tally_add(&bytes_in, ranks[r].bytes_in);
        tally_add(&bytes_out, ranks[r].bytes_out);
    }
    return (struct explain_balance){.tokens = tally_ratio(&tokens, count),
                                    .area = tally_ratio(&area, count),
                                    .bytes_in = tally_ratio(&bytes_in, count),
                                    .bytes_out = tally_ratio(&bytes_out, count)};
}
