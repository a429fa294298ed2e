#include "daemon/base/sort.h"

#include <string.h>

/* items[begin, middle) and items[middle, end) are in order each. */
static void merge(struct sort_item *items, struct sort_item *scratch, size_t begin, size_t middle,
                  size_t end)
{
    size_t left = 0, right = middle, to = begin;
    const size_t left_count = middle - begin;

    if (items[middle - 1].key <= items[middle].key) {
        return;
    }
    memcpy(scratch, &items[begin], left_count * sizeof(*items));
    while (left < left_count && right < end) {
        items[to++] = items[right].key < scratch[left].key ? items[right++] : scratch[left++];
    }
    memcpy(&items[to], &scratch[left], (left_count - left) * sizeof(*items));
}

void sort_items(struct sort_item *items, struct sort_item *scratch, size_t n)
{
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t begin = 0; begin + width < n; begin += 2 * width) {
            const size_t end = begin + 2 * width < n ? begin + 2 * width : n;
            merge(items, scratch, begin, begin + width, end);
        }
    }
}
