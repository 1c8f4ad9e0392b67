/* A step over buffers of any formats that compute in float32. The combinations that matter most convert in
 * registers (kernel/narrow.h, kernel/block_loop.h). All others, cautious steps, and the elements that do not fill a
 * group of vectors, go through tiles: converted to float32 in the first-level cache, stepped by the loop for float32,
 * and converted back. That is written once for all rules and formats. Tiles are of whole blocks, where a state has
 * them. */
#include "build.h"

#include "narrow.h"

#include "convert.h"
#include "tensor.h"

#include <string.h>

enum { TILE = FO_TILE, CACHE_LINE = 64, BUFFERS = 2 + FO_MAX_STATES };
/* Where two places are worked on in turn: elements of a burst, which are whole groups, of mixtures with float32 and of
 * 16 bits alone; and the least distance. */
enum { BURST = 384, BURST_OF_HALVES = 640, LEAST_APART = FO_LEAST_APART / sizeof(float) };

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
        const int halves =
            row->param == FO_BFLOAT16 && row->grad == FO_BFLOAT16 && row->state == FO_BFLOAT16;
        if (same)
            return (row->state == FO_BLOCK8 ? kernel->in_blocks
                    : halves                ? kernel->in_halves
                    : row->split            ? kernel->in_split
                                            : kernel->in_mixture)[fo_isa_in_use()];
    }
    return NULL;
}

static fo_format format_of(const fo_tensor *tensor, int buffer)
{
    return buffer == 0   ? fo_param_format(tensor)
           : buffer == 1 ? fo_grad_format(tensor)
                         : fo_state_format(tensor, buffer - 2);
}

/* Where element i of a buffer is, or a block that begins with it. */
static void *element_of(const fo_tensor *tensor, int buffer, size_t i)
{
    const void *start = buffer == 0   ? tensor->param
                        : buffer == 1 ? tensor->grad
                                      : tensor->state[buffer - 2];
    return (char *)start + fo_bytes_of(format_of(tensor, buffer), i);
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

static int is_of_squares(const fo_rule_info *info, int buffer)
{
    return buffer > 1 && (info->squares >> (buffer - 2) & 1);
}

static int is_random(const fo_narrowing *to)
{
    return to->rounding == FO_STOCHASTIC && !to->remainder &&
           (to->format == FO_BFLOAT16 || to->format == FO_BLOCK8);
}

/* What comes after a change of the upper half of the position, if that is within a tile: the tile is then a
 * single block. All of it is rounded again, with the words that come after the change. */
static void narrow_rest(const fo_narrowing *to, const fo_tensor *tensor, size_t i,
                        const float *from, size_t n)
{
    const uint64_t left = fo_draws_left(tensor->position + i);
    if (left >= n)
        return;
    union {
        fo_block8 block;
        uint16_t halves[FO_BLOCK];
    } again;
    fo_narrowing rest = *to;
    rest.to = &again;
    rest.draws = draws_at(tensor, i + left);
    rest.draws.position = to->draws.position;
    fo_narrow(&rest, from, n);
    if (to->format == FO_BLOCK8)
        memcpy(((fo_block8 *)to->to)->codes + left, again.block.codes + left, n - left);
    else
        memcpy((uint16_t *)to->to + left, again.halves + left, (n - left) * sizeof(uint16_t));
}

void fo_widen_tile(const fo_rule_info *info, const fo_tensor *tensor, size_t i, size_t n,
                   fo_tiles *tiles, void **at)
{
    for (int b = 0; b < BUFFERS; b++) {
        at[b] = NULL;
        if (b > 1 && !fo_has_state(info, tensor, b - 2))
            continue;
        const fo_format format = format_of(tensor, b);
        at[b] = element_of(tensor, b, i);
        if (format == FO_FLOAT32 || format == FO_FLOAT64)
            continue;
        float *const tile = tiles->of[b];
        if (format == FO_BLOCK8)
            fo_widen_blocks(at[b], is_of_squares(info, b), tile, n);
        else
            fo_widen(format, at[b], b ? NULL : remainder_at(tensor, i), tile, n);
        at[b] = tile;
    }
}

/* One tile of n elements from element i on. */
static void step_tile(const fo_narrow_step *how, const fo_loop_call *call, const fo_tensor *tensor,
                      size_t i, size_t n)
{
    fo_tiles tiles;
    void *at[BUFFERS];
    fo_widen_tile(how->info, tensor, i, n, &tiles, at);
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
        to.squares = is_of_squares(how->info, b);
        fo_narrow(&to, tiles.of[b], n);
        if (is_random(&to)) {
            narrow_rest(&to, tensor, i, tiles.of[b], n);
            to.number++;
        }
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

static fo_stored stored_at(const fo_narrow_step *how, const fo_tensor *tensor, size_t begin)
{
    const int buffers = 2 + how->info->state_count;
    int rounded = 0;
    fo_stored to = {.remainder = (uint16_t *)remainder_at(tensor, begin),
                    .copy = fo_copy(tensor) ? fo_copy(tensor) + begin : NULL,
                    .draws = draws_at(tensor, begin)};
    for (int b = 0; b < buffers; b++) {
        to.at[b] = element_of(tensor, b, begin);
        to.by[b] = format_of(tensor, b) == FO_FLOAT32 ? FO_IN_FLOAT32 : FO_IN_ORDER;
        rounded |= b != 1 && to.by[b] != FO_IN_FLOAT32 && !(b == 0 && to.remainder);
    }
    to.is_random = rounded && fo_rounding_of(tensor) == FO_STOCHASTIC;
    return to;
}

/* Returns the first element that is left. */
static size_t step_in_registers(const fo_narrow_step *how, const fo_tensor *tensor, size_t begin,
                                size_t end)
{
    const fo_stored to = stored_at(how, tensor, begin);
    return begin + how->in_registers(how->call, &to, end - begin);
}

/* Up to where the upper half of the position changes, or with the block that it changes in. */
static size_t stop_of(const fo_tensor *tensor, uint64_t start, size_t begin, size_t end)
{
    uint64_t left = fo_draws_left(start + begin);
    if (fo_has_blocks(tensor))
        left = left < FO_BLOCK ? FO_BLOCK : left / FO_BLOCK * FO_BLOCK;
    return end - begin < left ? end : begin + (size_t)left;
}

/* Elements that come before what converts in registers. */
static size_t head_of(const fo_tensor *tensor, uint64_t start, size_t begin)
{
    /* With blocks, only one in which the upper half of the position changes. */
    if (fo_has_blocks(tensor))
        return fo_draws_left(start + begin) < FO_BLOCK ? FO_BLOCK : 0;
    /* Vectors of param then lie in cache lines. */
    const uintptr_t address = (uintptr_t)element_of(tensor, 0, begin);
    const size_t head = (-address & (CACHE_LINE - 1)) / fo_size_of(fo_param_format(tensor));
    /* Two elements with a random word in common are not to be parted. */
    return fo_rounding_of(tensor) == FO_STOCHASTIC ? head + ((start + begin + head) & 1) : head;
}

/* Of the first element, in the sequence of random words. */
static uint64_t position_of(const fo_tensor *tensor)
{
    return tensor->dtype == FO_MIXED ? tensor->position : 0;
}

static int converts_in_registers(const fo_narrow_step *how)
{
    return how->in_registers && how->call->preparation != FO_MASKED;
}

static void step_in_one_place(const fo_narrow_step *how, const fo_tensor *tensor, size_t begin,
                              size_t end)
{
    const uint64_t start = position_of(tensor);
    const int in_registers = converts_in_registers(how);
    while (begin < end) {
        const size_t stop = stop_of(tensor, start, begin, end);
        if (in_registers) {
            const size_t head = head_of(tensor, start, begin);
            if (head < stop - begin) {
                step_tiles(how, tensor, begin, begin + head);
                begin = step_in_registers(how, tensor, begin + head, stop);
            }
        }
        /* The rest, or what was stopped at. */
        const size_t end_of_tile = stop - begin < TILE ? stop : begin + TILE;
        step_tiles(how, tensor, begin, in_registers ? end_of_tile : stop);
        begin = in_registers ? end_of_tile : stop;
    }
}

/* How many elements lie between two places that are worth working on in turn, or 0. Whole pages of any format and a
 * part of one: at other distances some lengths of a burst are slower than one place, and at whole pages alone the loads
 * of one place would have the addresses of the other's stores modulo 4096. */
static size_t apart_of(const fo_narrow_step *how, const fo_tensor *tensor, size_t begin, size_t end)
{
    enum { PAGE = 4096 / sizeof(uint16_t), PART = PAGE / 4 };
    if (!converts_in_registers(how) || !how->call->narrow_in_turn || fo_has_blocks(tensor) ||
        begin + 2 * PART >= end || fo_draws_left(position_of(tensor) + begin) < end - begin)
        return 0;
    const size_t apart = ((end - begin) / 2 - PART) / PAGE * PAGE + PART;
    return apart < LEAST_APART ? 0 : apart;
}

/* The buffers n elements on. */
static void move_on(fo_stored *stored, const fo_narrow_step *how, size_t n)
{
    for (int b = 0; b < 2 + how->info->state_count; b++)
        stored->at[b] = (char *)stored->at[b] +
                        n * (stored->by[b] == FO_IN_FLOAT32 ? sizeof(float) : sizeof(uint16_t));
    stored->remainder = stored->remainder ? stored->remainder + n : NULL;
    stored->copy = stored->copy ? stored->copy + n : NULL;
    stored->draws.position += (uint32_t)n;
}

/* As many elements as lie apart, from begin and from begin + apart on, a burst at each place in turn: hardware
 * prefetchers get ahead at one place while the other is stepped. Where that ends early, at a NaN, done says how many
 * there are of each. */
static void step_in_turn(const fo_narrow_step *how, const fo_tensor *tensor, size_t begin,
                         size_t apart, size_t *done)
{
    fo_stored stored[] = {stored_at(how, tensor, begin), stored_at(how, tensor, begin + apart)};
    size_t burst = BURST_OF_HALVES;
    for (int b = 0; b < 2 + how->info->state_count; b++)
        burst = stored->by[b] == FO_IN_FLOAT32 ? BURST : burst;
    done[0] = done[1] = 0;
    for (int there = 0; done[there] < apart; there = !there) {
        const size_t left = apart - done[there], n = left < burst ? left : burst;
        const size_t now = how->in_registers(how->call, &stored[there], n);
        done[there] += now;
        if (now < n)
            return;
        move_on(&stored[there], how, n);
    }
}

void fo_step_narrow(const fo_narrow_step *how, const fo_tensor *tensor, size_t begin, size_t end)
{
    const size_t first = begin + head_of(tensor, position_of(tensor), begin);
    const size_t apart = apart_of(how, tensor, first, end);
    if (apart) {
        size_t done[2];
        step_in_one_place(how, tensor, begin, first);
        step_in_turn(how, tensor, first, apart, done);
        step_in_one_place(how, tensor, first + done[0], first + apart);
        begin = first + apart + done[1];
    }
    step_in_one_place(how, tensor, begin, end);
}
