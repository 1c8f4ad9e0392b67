/* The loop around one formula for the combinations of formats that convert in registers: the rows of
 * formats.def with FO_NARROW. It takes whole groups of vectors; what is left goes through tiles (../narrow.c). */
#if !FO_DOUBLE && FO_IN_REGISTERS

/* A combination of formats: constants wherever this is inlined. */
typedef struct storage {
    int split;       /* param has a remainder */
    int interleaved; /* all buffers are of 16 bits */
} storage;

typedef words unaligned_words __attribute__((aligned(sizeof(uint16_t)), may_alias));

/* Two vectors of bfloat16 in the order of their elements. With AVX-512 a permutation of halves puts each into
 * its lane at once. */
FO_INLINE void load_bfloat16_pair(const void *from, vec *pair)
{
#if FO_VOCABULARY == FO_AVX512
    const __m512i all = _mm512_loadu_si512(from), lane = (__m512i)(lane_numbers() << 16);
    const __m512i later = (__m512i)((words)lane + (LANES << 16));
    pair[0] = (vec)_mm512_maskz_permutexvar_epi16(0xaaaaaaaa, lane, all);
    pair[1] = (vec)_mm512_maskz_permutexvar_epi16(0xaaaaaaaa, later, all);
#else
    pair[0] = load(FO_BFLOAT16, 0, from);
    pair[1] = load(FO_BFLOAT16, 0, (const uint16_t *)from + LANES);
#endif
}

FO_INLINE void store_bfloat16_pair(void *to, const vec *pair)
{
#if FO_VOCABULARY == FO_AVX512
    const words upper = lane_numbers() * 0x00040004 + 0x00030001;
    _mm512_storeu_si512(
        to, _mm512_permutex2var_epi16((__m512i)pair[0], (__m512i)upper, (__m512i)pair[1]));
#else
    store(FO_BFLOAT16, to, pair[0]);
    store(FO_BFLOAT16, (uint16_t *)to + LANES, pair[1]);
#endif
}

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
    } else if (format == FO_BFLOAT16) {
        load_bfloat16_pair(from, pair);
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
    } else if (format == FO_BFLOAT16) {
        store_bfloat16_pair(to, pair);
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

/* The 16 bits for each vector of a pair, from a vector of words. */
FO_INLINE void spread_halves(storage by, words x, words *random)
{
    if (by.interleaved) {
        random[0] = x & 0xffff;
        random[1] = x >> 16;
    } else {
#if FO_VOCABULARY == FO_AVX512
        const __m512i lane = (__m512i)lane_numbers(), later = (__m512i)(lane_numbers() + LANES);
        random[0] = (words)_mm512_maskz_permutexvar_epi16(0x55555555, lane, (__m512i)x);
        random[1] = (words)_mm512_maskz_permutexvar_epi16(0x55555555, later, (__m512i)x);
#elif FO_VOCABULARY == FO_AVX2
        const __m256i all = (__m256i)x;
        random[0] = (words)_mm256_cvtepu16_epi32(_mm256_castsi256_si128(all));
        random[1] = (words)_mm256_cvtepu16_epi32(_mm256_extracti128_si256(all, 1));
#else
        uint16_t parts[2 * LANES];
        __builtin_memcpy(parts, &x, sizeof parts);
        random[0] = load_halves(parts);
        random[1] = load_halves(parts + LANES);
#endif
    }
}

/* draws: NULL to round to nearest; the position of element i is even. */
FO_INLINE void store_operand_pair(operands *x, const setting s, storage by, const fo_draws *draws,
                                  size_t i, void *const *buffers)
{
    words word = {0};
    if (draws) {
        const uint32_t place = (draws->position + (uint32_t)i) >> 1;
        word = first_word(lane_numbers() * FO_FIRST_FACTOR + (place * FO_FIRST_FACTOR + draws->add),
                          draws->key);
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
            words random[2];
            if (draws && number++)
                word = next_word(word);
            if (draws)
                spread_halves(by, word, random);
            for (int k = 0; k < 2; k++)
                pair[k] = draws ? round_at_random(pair[k], random[k]) : round_to_nearest(pair[k]);
        }
        store_pair(s, by, b, i, buffers, pair);
    }
    if (s.param == FO_FLOAT32 && buffers[FO_COPY]) {
        const vec pair[2] = {round_to_nearest(quiet_nans(x[0].p)),
                             round_to_nearest(quiet_nans(x[1].p))};
        store_bfloat16_pair((uint16_t *)buffers[FO_COPY] + i, pair);
    }
}

/* Whether a vector has a NaN is known from one comparison of two, so that few operations look for what is
 * hardly ever there. */
#if FO_VOCABULARY == FO_AVX512
typedef __mmask16 nans_seen;
FO_INLINE nans_seen add_nans(nans_seen seen, vec a, vec b)
{
    return seen | _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_UNORD_Q);
}

FO_INLINE int any_nan(nans_seen seen)
{
    return seen != 0;
}
#else
typedef mask nans_seen;
FO_INLINE nans_seen add_nans(nans_seen seen, vec a, vec b)
{
#if FO_VOCABULARY == FO_AVX2
    return seen | (mask)_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_UNORD_Q);
#else
    return seen | (a != a) | (b != b);
#endif
}

FO_INLINE int any_nan(nans_seen seen)
{
#if FO_VOCABULARY == FO_AVX2
    return !_mm256_testz_si256((__m256i)seen, (__m256i)seen);
#else
    lane_bits any = 0;
    for (size_t k = 0; k < LANES; k++)
        any |= seen[k];
    return any != 0;
#endif
}
#endif

/* Returns 0, and stores nothing, if a NaN is to be narrowed. */
FO_INLINE int step_narrow_group(const setting s, storage by, group_plan plan, const fo_draws *draws,
                                size_t i, void *const *buffers)
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
    nans_seen nans = {0};
    for (int b = 0; b < 2 + state_count(s); b++)
        if (b != 1 && format_of(s, b) == FO_BFLOAT16)
            for (int k = 0; k < plan.size; k += 2)
                nans = add_nans(nans, *vector_of(&group[k], b), *vector_of(&group[k + 1], b));
    if (__builtin_expect(any_nan(nans), 0))
        return 0;
    for (int k = 0; k < plan.size; k += 2)
        store_operand_pair(&group[k], s, by, draws, i + (size_t)k * LANES, buffers);
    return 1;
}

FO_INLINE size_t step_narrow_groups(const setting s, storage by, group_plan plan,
                                    const fo_draws *draws, size_t n, void *const *buffers)
{
    const size_t size = (size_t)plan.size * LANES;
    size_t i = 0;
    while (i + size <= n && step_narrow_group(s, by, plan, draws, i, buffers))
        i += size;
    return i;
}

/* As constants, which the compiler folds into instances. */
FO_INLINE size_t run_narrow(fo_format param, fo_format grad, fo_format state, int split,
                            const fo_loop_call *call, const fo_draws *draws, size_t n,
                            void *const *all_buffers)
{
    setting s = {.param = param, .grad = grad, .state = state};
    const storage by = {split, param == FO_BFLOAT16 && grad == FO_BFLOAT16 && state == FO_BFLOAT16};
    s.grad_decayed = call->grad_decayed;
    for (int k = 0; k < COEFFICIENTS; k++)
        s.c[k] = (scalar)call->coefficients[k];
    s.by =
        (factors){(scalar)call->grad_scale, (scalar)call->param_factor, (scalar)call->weight_decay};
    void *buffers[FO_BUFFERS];
    for (int k = 0; k < FO_BUFFERS; k++)
        buffers[k] = all_buffers[k];
    /* Conversions keep the multipliers busy, so that roots are best left to the divider. */
    const group_plan plan = {FO_ROOT_COST ? 2 : 4, 0};
    /* Few instances: where float32 stands beside bfloat16, multiplications by 1 cost little. */
    const int is_rounded =
        (param == FO_BFLOAT16 && !split) || (state == FO_BFLOAT16 && state_count(s));
    const fo_draws own = draws ? *draws : (fo_draws){0, 0, 0};
    if (by.interleaved && call->preparation == FO_AS_GIVEN) {
        s.preparation = FO_AS_GIVEN;
        return draws && is_rounded ? step_narrow_groups(s, by, plan, &own, n, buffers)
                                   : step_narrow_groups(s, by, plan, NULL, n, buffers);
    }
    s.preparation = FO_GRAD_PREPARED;
    return draws && is_rounded ? step_narrow_groups(s, by, plan, &own, n, buffers)
                               : step_narrow_groups(s, by, plan, NULL, n, buffers);
}

#define FO_NARROW(name, param, grad, state, split)                                                 \
    static size_t FO_CAT(FO_CAT(in_registers, name), FO_ISA)(                                      \
        const fo_loop_call *call, const fo_draws *draws, size_t n, void *const *buffers)           \
    {                                                                                              \
        return run_narrow(param, grad, state, split, call, draws, n, buffers);                     \
    }
#include "formats.def"
#endif
