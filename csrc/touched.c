/* Which rows a gradient has: a hash table finds the indices that stand more than once. */
#include "build.h"

#include "touched.h"

#include "kernel/draws.h"

#include <stdlib.h>
#include <string.h>

static int64_t index_at(const fo_sparse *sparse, size_t place)
{
    return sparse->is_int64 ? ((const int64_t *)sparse->indices)[place]
                            : ((const int32_t *)sparse->indices)[place];
}

/* From the last place to the first, so that a link leads to a later place. */
fo_status fo_find_rows(fo_touched *to, const fo_sparse *sparse, size_t *bad)
{
    const size_t count = sparse->count;
    if (count > SIZE_MAX / 64)
        return FO_NO_MEMORY;
    int bits = 1;
    while ((size_t)1 << bits < 2 * count)
        bits++;
    const size_t slot_count = (size_t)1 << bits;
    to->memory =
        malloc(count * (sizeof *to->rows + sizeof *to->next) + slot_count * sizeof(size_t));
    if (!to->memory)
        return FO_NO_MEMORY;
    fo_touched_row *const rows = to->memory;
    to->next = (size_t *)(rows + count);
    size_t *const slots = to->next + count; /* one more than the place in rows, or 0 */
    memset(slots, 0, slot_count * sizeof *slots);
    size_t start = count;
    for (size_t place = count; place-- > 0;) {
        const int64_t index = index_at(sparse, place);
        if (index < 0 || (uint64_t)index >= sparse->rows) {
            *bad = place;
            return FO_BAD_INDEX;
        }
        const size_t row = (size_t)index;
        size_t slot = (size_t)(fo_mix(row) >> (64 - bits));
        while (slots[slot] && rows[slots[slot] - 1].row != row)
            slot = (slot + 1) & (slot_count - 1);
        if (slots[slot]) {
            fo_touched_row *const same = &rows[slots[slot] - 1];
            to->next[place] = same->first;
            same->first = place;
        } else {
            rows[--start] = (fo_touched_row){row, place};
            to->next[place] = FO_NO_MORE;
            slots[slot] = start + 1;
        }
    }
    to->rows = rows + start;
    to->count = count - start;
    to->places = count;
    return FO_OK;
}
