#include "daemon/plan/validate.h"

/* The sums of one holder on one node, in order. */
struct cover {
    const struct plan_move *move; /* what the node has of the holder; NULL on the holder's node */
    int64_t next_row;             /* that no sum covers yet */
    uint32_t range;               /* of the move, that next_row lies in */
};

static const char *check_rank_term(const struct validation *v, const struct plan_sum *sum,
                                   const struct plan_term *term, int64_t holder_row)
{
    const uint32_t ranks = v->input->rank_count;

    if (term->from >= ranks || term->from == sum->holder ||
        v->input->rank_nodes[term->from] != sum->node) {
        return "a term is of a rank that does not contribute here";
    }
    const struct need_run *run = &v->runs[(size_t)term->from * ranks + sum->holder];
    const struct plan_range *need = validate_find(&v->space->parts[term->from].needs[run->first],
                                                  run->count, holder_row, sum->count);
    if (!need || term->row != need->row + (holder_row - need->holder_row)) {
        return "a term's rows are not the rank's return rows of the sum";
    }
    v->open_rows[(size_t)sum->holder * v->input->node_count + sum->node] -= sum->count;
    return NULL;
}

/* Adds the rows to *partial_rows, to be compared with what moves to other nodes. */
static const char *check_node_term(const struct validation *v, const struct plan_sum *sum,
                                   const struct plan_term *term, int64_t holder_row,
                                   int64_t *partial_rows)
{
    if (term->from >= v->input->node_count || sum->node != v->input->rank_nodes[sum->holder]) {
        return "a term is of a node that does not contribute here";
    }
    const struct plan_move *move = validate_find_move(v->space, sum->holder, term->from);
    const struct plan_range *range = move ? validate_find(&v->space->ranges[move->first_range],
                                                          move->range_count, holder_row, sum->count)
                                          : NULL;
    if (!range || term->row != range->row + (holder_row - range->holder_row)) {
        return "a term's rows are not the node's partial rows of the sum";
    }
    *partial_rows += sum->count;
    return NULL;
}

/* Node by node, ranks of the own node ascending: two terms that compare equal are the same
 * contribution twice. */
static bool is_before(const struct validation *v, const struct plan_term *a,
                      const struct plan_term *b)
{
    const uint32_t a_node = a->from_node ? a->from : v->input->rank_nodes[a->from];
    const uint32_t b_node = b->from_node ? b->from : v->input->rank_nodes[b->from];

    return a_node != b_node ? a_node < b_node : a->from < b->from;
}

static const char *check_terms(const struct validation *v, const struct plan_sum *sum,
                               int64_t holder_row, int64_t *partial_rows)
{
    const struct plan_term *terms = &v->space->terms[sum->first_term];

    for (uint32_t t = 0; t < sum->term_count; t++) {
        const char *why = terms[t].from_node
                              ? check_node_term(v, sum, &terms[t], holder_row, partial_rows)
                              : check_rank_term(v, sum, &terms[t], holder_row);
        if (why) {
            return why;
        }
        if (terms[t].from_node > 1) {
            return "a term is neither of a rank nor of a node";
        }
        if (t > 0 && !is_before(v, &terms[t - 1], &terms[t])) {
            return "terms are not in the order of nodes and ranks";
        }
    }
    return NULL;
}

/* The holder's row of the sum's first row, which must be the next one uncovered; -1 if not. */
static int64_t cover_rows(const struct validation *v, struct cover *cover,
                          const struct plan_sum *sum)
{
    if (sum->row != cover->next_row || sum->count < 1) {
        return -1;
    }
    if (!cover->move) {
        if (!validate_within(sum->row, sum->count, 0, v->space->parts[sum->holder].rows)) {
            return -1;
        }
        cover->next_row += sum->count;
        return sum->row;
    }
    if (cover->range >= cover->move->range_count) {
        return -1;
    }
    const struct plan_range *range = &v->space->ranges[cover->move->first_range + cover->range];
    const int64_t end = range->row + range->count;
    if (!validate_within(sum->row, sum->count, range->row, end)) {
        return -1;
    }
    cover->next_row += sum->count;
    cover->range += cover->next_row == end;
    return range->holder_row + (sum->row - range->row);
}

/* All sums of @holder on @node, which begin at *sum. */
static const char *check_node(const struct validation *v, uint32_t holder, uint32_t node,
                              uint32_t *sum, uint32_t *next_term, int64_t *partial_rows)
{
    const struct plan_space *space = v->space;
    const bool is_home = node == v->input->rank_nodes[holder];
    struct cover cover = {.move = validate_find_move(space, holder, node)};

    if (!is_home && !cover.move) {
        return v->open_rows[(size_t)holder * v->input->node_count + node] == 0
                   ? NULL
                   : "rows that a node needs do not move to it";
    }
    if (cover.move) {
        cover.next_row = cover.move->inbox_row;
    }
    const int64_t end = cover.move ? cover.next_row + cover.move->rows : space->parts[holder].rows;
    for (; *sum < space->sum_count; (*sum)++) {
        const struct plan_sum *at = &space->sums[*sum];
        if (at->holder != holder || at->node != node) {
            break;
        }
        if (at->first_term != *next_term || at->term_count > space->term_count - *next_term) {
            return "a sum's terms do not follow the sum before";
        }
        *next_term += at->term_count;
        if (!is_home && at->term_count == 0) {
            return "a row moves to a node that does not need it";
        }
        const int64_t holder_row = cover_rows(v, &cover, at);
        if (holder_row < 0) {
            return "sums do not cover the rows once each in order";
        }
        const char *why = check_terms(v, at, holder_row, partial_rows);
        if (why) {
            return why;
        }
    }
    if (cover.next_row != end) {
        return "sums do not cover the rows once each in order";
    }
    return v->open_rows[(size_t)holder * v->input->node_count + node] == 0
               ? NULL
               : "a contribution is left out of the sums";
}

/*
 * Terms are right one by one and none is there twice, so if the rows they add up are as many as the
 * rows needed, no contribution is left out.
 */
const char *validate_sums(const struct validation *v)
{
    const struct plan_space *space = v->space;
    uint32_t sum = 0, next_term = 0, move = 0;

    if (v->is_replicated) {
        return space->sum_count == 0 && space->term_count == 0
                   ? NULL
                   : "a replicated context's gradient is summed";
    }
    for (uint32_t holder = 0; holder < v->input->rank_count; holder++) {
        int64_t partial_rows = 0, moved_rows = 0;
        for (uint32_t node = 0; node < v->input->node_count; node++) {
            const char *why = check_node(v, holder, node, &sum, &next_term, &partial_rows);
            if (why) {
                return why;
            }
        }
        for (; move < space->move_count && space->moves[move].holder == holder; move++) {
            moved_rows += space->moves[move].rows;
        }
        if (partial_rows != moved_rows) {
            return "a node's partial is left out of the sums";
        }
    }
    if (sum != space->sum_count) {
        return "sums are not sorted by holder and node";
    }
    return next_term == space->term_count ? NULL : "a term belongs to no sum";
}
