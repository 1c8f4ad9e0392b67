/* A step over buffers of any formats that compute in float32: tile by tile they are converted to float32 in
 * the first-level cache, stepped by the loop for float32, and converted back. It is written once for all
 * rules and formats. */
#include "build.h"

#include "tile.h"

#include "convert.h"
#include "tensor.h"

enum { TILE = 512, CACHE_LINE = 64, BUFFERS = 2 + FO_MAX_STATES };

static fo_format format_of_buffer(const fo_tensor *tensor, int buffer)
{
    return buffer == 0   ? fo_param_format(tensor)
           : buffer == 1 ? fo_grad_format(tensor)
                         : fo_state_format(tensor, buffer - 2);
}

static char *buffer_of(const fo_tensor *tensor, int buffer)
{
    return buffer == 0   ? tensor->param
           : buffer == 1 ? (void *)tensor->grad
                         : tensor->state[buffer - 2];
}

void fo_step_in_tiles(fo_loop *loop, const fo_loop_call *call, const fo_rule_info *info,
                      const fo_tensor *tensor, size_t begin, size_t end)
{
    /* A line apart, so that buffers do not have the same addresses modulo 4096. */
    float tiles[BUFFERS][TILE + CACHE_LINE / sizeof(float)] __attribute__((aligned(CACHE_LINE)));
    const int has_optional = fo_has_optional(info, tensor);
    const int buffers = 2 + info->state_count + has_optional;
    const int is_mixed = tensor->dtype == FO_MIXED;
    const uint64_t start = is_mixed ? tensor->position : 0;
    const uint64_t seed = is_mixed ? tensor->seed : 0;
    fo_loop_call in_cache = *call;
    in_cache.burst = 0;
    in_cache.from_memory = 0;
    for (size_t n, i = begin; i < end; i += n) {
        const uint64_t left = fo_draws_left(start + i);
        n = end - i < TILE ? end - i : TILE;
        n = n < left ? n : (size_t)left;
        void *at[BUFFERS];
        for (int b = 0; b < buffers; b++) {
            const fo_format format = format_of_buffer(tensor, b);
            at[b] = buffer_of(tensor, b) + i * fo_size_of(format);
            if (format == FO_FLOAT32)
                continue;
            int16_t *remainder = b ? NULL : fo_remainder(tensor);
            fo_widen(format, at[b], remainder ? remainder + i : NULL, tiles[b], n);
            at[b] = tiles[b];
        }
        loop(&in_cache, has_optional, n, at);
        fo_narrowing how = {.rounding = fo_rounding_of(tensor),
                         .draws = fo_draws_at(seed, tensor->step, start + i)};
        for (int b = 0; b < buffers; b++) {
            how.format = format_of_buffer(tensor, b);
            if (b == 1 || how.format == FO_FLOAT32)
                continue;
            how.to = buffer_of(tensor, b) + i * fo_size_of(how.format);
            how.remainder = b || !fo_remainder(tensor) ? NULL : fo_remainder(tensor) + i;
            fo_narrow(&how, tiles[b], n);
            how.number += how.format == FO_BFLOAT16 && !how.remainder;
        }
        if (fo_copy(tensor)) {
            how = (fo_narrowing){.format = FO_BFLOAT16, .to = fo_copy(tensor) + i};
            fo_narrow(&how, at[0], n);
        }
    }
}

