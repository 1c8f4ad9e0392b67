/* A step over buffers of any formats that compute in float32. The combinations that matter most convert in
 * registers (kernel/narrow.h). All others, and the elements that do not fill a group of vectors, go through
 * tiles: converted to float32 in the first-level cache, stepped by the loop for float32, and converted
 * back. That is written once for all rules and formats. */
#include "build.h"

#include "narrow.h"

#include "convert.h"
#include "tensor.h"

enum { TILE = 512, CACHE_LINE = 64, BUFFERS = 2 + FO_MAX_STATES };

typedef struct combination {
    fo_format param, grad, state;
    int split;
} combination;

static const combination combinations[] = {
#define FO_NARROW(name, param, grad, state, split) {param, grad, state, split},
#include "formats.def"
};

fo_narrow_loop *fo_narrow_loop_of(const fo_kernel *kernel, const fo_rule_info *info,
                                  const fo_tensor *tensor)
{
    if (fo_optional_of(info, tensor))
        return NULL;
    for (size_t i = 0; i < sizeof combinations / sizeof *combinations; i++) {
        const combination *row = &combinations[i];
        int same = row->param == fo_param_format(tensor) && row->grad == fo_grad_format(tensor) &&
                   row->split == !!fo_remainder(tensor);
        for (int k = 0; same && k < info->state_count; k++)
            same = row->state == fo_state_format(tensor, k);
        if (same)
            return kernel->in_registers[fo_isa_in_use()];
    }
    return NULL;
}

static fo_format format_of(const fo_tensor *tensor, int buffer)
{
    return buffer == 0   ? fo_param_format(tensor)
           : buffer == 1 ? fo_grad_format(tensor)
                         : fo_state_format(tensor, buffer - 2);
}

/* Where element i of a buffer is. */
static void *element_of(const fo_tensor *tensor, int buffer, size_t i)
{
    const void *start = buffer == 0   ? tensor->param
                        : buffer == 1 ? tensor->grad
                                      : tensor->state[buffer - 2];
    return (char *)start + i * fo_size_of(format_of(tensor, buffer));
}

static int16_t *remainder_at(const fo_tensor *tensor, size_t i)
{
    return fo_remainder(tensor) ? fo_remainder(tensor) + i : NULL;
}

static fo_draws draws_at(const fo_tensor *tensor, size_t i)
{
    return tensor->dtype == FO_MIXED ? fo_draws_at(tensor->seed, tensor->step, tensor->position + i)
                                     : (fo_draws){0, 0, 0};
}

/* One tile of n elements from element i on. */
static void step_tile(const fo_narrow_step *how, const fo_loop_call *call, const fo_tensor *tensor,
                      size_t i, size_t n)
{
    /* A line apart, so that buffers do not have the same addresses modulo 4096. */
    float tiles[BUFFERS][TILE + CACHE_LINE / sizeof(float)] __attribute__((aligned(CACHE_LINE)));
    void *at[BUFFERS] = {0};
    for (int b = 0; b < BUFFERS; b++) {
        if (b > 1 && !fo_has_state(how->info, tensor, b - 2))
            continue;
        const fo_format format = format_of(tensor, b);
        at[b] = element_of(tensor, b, i);
        if (format == FO_FLOAT32)
            continue;
        fo_widen(format, at[b], b ? NULL : remainder_at(tensor, i), tiles[b], n);
        at[b] = tiles[b];
    }
    how->loop(call, fo_optional_of(how->info, tensor), n, at);
    fo_narrowing to = {.rounding = fo_rounding_of(tensor), .draws = draws_at(tensor, i)};
    for (int b = 0; b < BUFFERS; b++) {
        if (b == 1 || !at[b])
            continue;
        to.format = format_of(tensor, b);
        if (to.format == FO_FLOAT32)
            continue;
        to.to = element_of(tensor, b, i);
        to.remainder = b ? NULL : remainder_at(tensor, i);
        fo_narrow(&to, tiles[b], n);
        to.number += to.format == FO_BFLOAT16 && !to.remainder;
    }
    if (fo_copy(tensor)) {
        to = (fo_narrowing){.format = FO_BFLOAT16, .to = fo_copy(tensor) + i};
        fo_narrow(&to, at[0], n);
    }
}

static void step_tiles(const fo_narrow_step *how, const fo_tensor *tensor, size_t begin, size_t end)
{
    fo_loop_call call = *how->call;
    call.burst = 0;
    call.from_memory = 0;
    for (size_t n; begin < end; begin += n) {
        n = end - begin < TILE ? end - begin : TILE;
        step_tile(how, &call, tensor, begin, n);
    }
}

/* Returns the first element that is left. */
static size_t step_in_registers(const fo_narrow_step *how, const fo_tensor *tensor, size_t begin,
                                size_t end)
{
    const int buffers = 2 + how->info->state_count;
    int rounded = 0;
    fo_stored to = {.interleaved = 1,
                    .remainder = (uint16_t *)remainder_at(tensor, begin),
                    .copy = fo_copy(tensor) ? fo_copy(tensor) + begin : NULL,
                    .draws = draws_at(tensor, begin)};
    for (int b = 0; b < buffers; b++) {
        to.at[b] = element_of(tensor, b, begin);
        to.by[b] = format_of(tensor, b) == FO_FLOAT32 ? FO_IN_FLOAT32 : FO_IN_ORDER;
        to.interleaved &= to.by[b] != FO_IN_FLOAT32;
        rounded |= b != 1 && to.by[b] != FO_IN_FLOAT32 && !(b == 0 && to.remainder);
    }
    to.is_random = rounded && fo_rounding_of(tensor) == FO_STOCHASTIC;
    return begin + how->in_registers(how->call, &to, end - begin);
}

void fo_step_narrow(const fo_narrow_step *how, const fo_tensor *tensor, size_t begin, size_t end)
{
    const uint64_t start = tensor->dtype == FO_MIXED ? tensor->position : 0;
    while (begin < end) {
        /* Up to where the upper half of the position changes. */
        const uint64_t left = fo_draws_left(start + begin);
        const size_t stop = end - begin < left ? end : begin + (size_t)left;
        if (how->in_registers) {
            /* Vectors of param then lie in cache lines. */
            const uintptr_t address = (uintptr_t)element_of(tensor, 0, begin);
            size_t head = (-address & (CACHE_LINE - 1)) / fo_size_of(fo_param_format(tensor));
            /* Two elements with a random word in common are not to be parted. */
            if (fo_rounding_of(tensor) == FO_STOCHASTIC)
                head += (start + begin + head) & 1;
            if (head < stop - begin) {
                step_tiles(how, tensor, begin, begin + head);
                begin = step_in_registers(how, tensor, begin + head, stop);
            }
        }
        /* The rest, or what was stopped at. */
        const size_t end_of_tile = stop - begin < TILE ? stop : begin + TILE;
        step_tiles(how, tensor, begin, how->in_registers ? end_of_tile : stop);
        begin = how->in_registers ? end_of_tile : stop;
    }
}
