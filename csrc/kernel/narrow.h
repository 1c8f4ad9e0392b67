/* The loop around one formula for the combinations of formats that convert in registers: the rows of
 * formats.def with FO_NARROW. It takes whole groups of vectors; what is left goes through tiles (../narrow.c). */
#if !FO_DOUBLE && FO_IN_REGISTERS

/* A combination of formats: constants wherever this is inlined. */
typedef struct storage {
    int split;       /* param has a remainder */
    int interleaved; /* all buffers are of 16 bits */
} storage;

typedef words unaligned_words __attribute__((aligned(sizeof(uint16_t)), may_alias));

/* Two vectors. Where all buffers are of 16 bits, the first has the elements at even places and the second
 * those at odd ones: a formula does not mind, and no element has to move to another lane. */
FO_INLINE void load_pair(const setting s, storage by, int buffer, size_t i, void *const *buffers,
                         vec *pair)
{
    const fo_format format = format_of(s, buffer);
    const char *from = element_of(s, buffers, buffer, i);
    if (by.interleaved) {
        const words x = *(const unaligned_words *)from;
        pair[0] = (vec)(x << 16);
        pair[1] = (vec)(x & 0xffff0000);
    } else {
        pair[0] = load(format, 0, from);
        pair[1] = load(format, 0, from + LANES * fo_size_of(format));
    }
}

FO_INLINE void store_pair(const setting s, storage by, int buffer, size_t i, void *const *buffers,
                          const vec *pair)
{
    const fo_format format = format_of(s, buffer);
    char *to = element_of(s, buffers, buffer, i);
    if (by.interleaved) {
        *(unaligned_words *)to = (words)pair[0] >> 16 | ((words)pair[1] & 0xffff0000);
    } else {
        store(format, to, pair[0]);
        store(format, to + LANES * fo_size_of(format), pair[1]);
    }
}

/* A parameter and its remainder. */
FO_INLINE void load_split_pair(size_t i, void *const *buffers, vec *pair)
{
    const words high = *(const unaligned_words *)((uint16_t *)buffers[0] + i);
    const words low = *(const unaligned_words *)((uint16_t *)buffers[FO_REMAINDER] + i);
    pair[0] = (vec)((high << 16) + (words)((mask)(low << 16) >> 16));
    pair[1] = (vec)((high & 0xffff0000) + (words)((mask)low >> 16));
}

FO_INLINE void store_split_pair(size_t i, void *const *buffers, const vec *pair)
{
    words high[2], low[2];
    split(pair[0], &high[0], &low[0]);
    split(pair[1], &high[1], &low[1]);
    *(unaligned_words *)((uint16_t *)buffers[0] + i) = high[0] | high[1] << 16;
    *(unaligned_words *)((uint16_t *)buffers[FO_REMAINDER] + i) = low[0] | low[1] << 16;
}

/* The vectors of a buffer in a pair of operands. */
FO_INLINE vec *vector_of(operands *x, int buffer)
{
    return buffer == 0 ? &x->p : buffer == 1 ? &x->g : &x->state[buffer - 2];
}

FO_INLINE void load_operand_pair(operands *x, const setting s, storage by, size_t i,
                                 void *const *buffers)
{
    for (int b = 0; b < 2 + state_count(s); b++) {
        vec pair[2];
        if (b == 0 && by.split)
            load_split_pair(i, buffers, pair);
        else
            load_pair(s, by, b, i, buffers, pair);
        *vector_of(&x[0], b) = pair[0];
        *vector_of(&x[1], b) = pair[1];
    }
}

/* draws: NULL to round to nearest. */
FO_INLINE void store_operand_pair(operands *x, const setting s, storage by, const fo_draws *draws,
                                  size_t i, void *const *buffers)
{
    words random[2];
    if (draws) {
        const words lane = by.interleaved ? lane_numbers() * 2 : lane_numbers();
        const words at = lane + (draws->first + (uint32_t)i);
        random[0] = first_word(at, draws->key);
        random[1] = first_word(at + (uint32_t)(by.interleaved ? 1 : LANES), draws->key);
    }
    int number = 0;
    for (int b = 0; b < 2 + state_count(s); b++) {
        if (b == 1)
            continue;
        vec pair[2] = {*vector_of(&x[0], b), *vector_of(&x[1], b)};
        if (b == 0 && by.split) {
            store_split_pair(i, buffers, pair);
            continue;
        }
        if (format_of(s, b) == FO_BFLOAT16) {
            for (int k = 0; k < 2; k++) {
                if (draws && number && number % 2 == 0)
                    random[k] = next_word(random[k]);
                pair[k] = draws ? round_at_random(pair[k], number % 2 ? random[k] >> 16
                                                                      : random[k] & 0xffff)
                                : round_to_nearest(pair[k]);
            }
            number++;
        }
        store_pair(s, by, b, i, buffers, pair);
    }
    if (s.param == FO_FLOAT32 && buffers[FO_COPY]) {
        uint16_t *copy = (uint16_t *)buffers[FO_COPY] + i;
        store(FO_BFLOAT16, copy, round_to_nearest(x[0].p));
        store(FO_BFLOAT16, copy + LANES, round_to_nearest(x[1].p));
    }
}

FO_INLINE void step_narrow_group(const setting s, storage by, group_plan plan,
                                 const fo_draws *draws, size_t i, void *const *buffers)
{
    enum { MOST = 4 };
    operands group[MOST];
    __asm__("" : "+r"(i)); /* as in step_group */
    for (int k = 0; k < plan.size; k += 2)
        load_operand_pair(&group[k], s, by, i + (size_t)k * LANES, buffers);
    for (int k = 0; k < plan.size; k++)
        prepare(&group[k], s);
    take_roots(group, plan, s);
    for (int k = 0; k < plan.size; k++)
        update_operands(&group[k], s);
    for (int k = 0; k < plan.size; k += 2)
        store_operand_pair(&group[k], s, by, draws, i + (size_t)k * LANES, buffers);
}

/* Returns how many elements have been stepped. */
FO_INLINE size_t run_narrow(fo_format param, fo_format grad, fo_format state, int split,
                            const fo_loop_call *call, const fo_draws *draws, size_t n,
                            void *const *all_buffers)
{
    setting s = {.param = param, .grad = grad, .state = state, .preparation = FO_GRAD_PREPARED};
    s.grad_decayed = call->grad_decayed;
    const storage by = {split, param == FO_BFLOAT16 && grad == FO_BFLOAT16 && state == FO_BFLOAT16};
    for (int k = 0; k < COEFFICIENTS; k++)
        s.c[k] = (scalar)call->coefficients[k];
    s.by =
        (factors){(scalar)call->grad_scale, (scalar)call->param_factor, (scalar)call->weight_decay};
    void *buffers[FO_BUFFERS];
    for (int k = 0; k < FO_BUFFERS; k++)
        buffers[k] = all_buffers[k];
    const group_plan plan = !FO_ROOT_COST            ? (group_plan){4, 0}
                            : FO_HAS_MULTIPLIED_ROOT ? (group_plan){4, 1}
                                                     : (group_plan){2, 0};
    if (plan.multiplied && !rounds_to_nearest())
        return 0;
    const size_t size = (size_t)plan.size * LANES;
    size_t i = 0;
    if (draws) {
        const fo_draws own = *draws;
        for (; i + size <= n; i += size)
            step_narrow_group(s, by, plan, &own, i, buffers);
    } else {
        for (; i + size <= n; i += size)
            step_narrow_group(s, by, plan, NULL, i, buffers);
    }
    return i;
}

#define FO_NARROW(name, param, grad, state, split)                                                 \
    static size_t FO_CAT(FO_CAT(in_registers, name), FO_ISA)(const fo_loop_call *call,                   \
                                                       const fo_draws *draws, size_t n,            \
                                                       void *const *buffers)                       \
    {                                                                                              \
        return run_narrow(param, grad, state, split, call, draws, n, buffers);                     \
    }
#include "formats.def"
#endif
