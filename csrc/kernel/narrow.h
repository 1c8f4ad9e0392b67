/* The loop around one formula for the combinations of formats that convert in registers: the rows of
 * formats.def with FO_NARROW. It takes whole groups of vectors; what is left goes through tiles (../narrow.c).
 *
 * Two instances have buffers of 16 bits alone, rounded to nearest and stochastically. A third has the mixtures
 * with float32: how a buffer is stored is looked at for each group, by branches that go the same way every
 * time. An instance for each combination took twice as long to compile (docs/notes/kernels.md). One mixture has an
 * instance of its own, since one branch more made the others slower: a remainder with states in float32. A rule with
 * FO_NARROW_IN_TILES has one for buffers of 16 bits, and its mixtures go through tiles. */
#if !FO_DOUBLE && FO_IN_REGISTERS
#include "kernel/rounding.h"

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
    pair[0] = (vec)(load_halves(from) << 16);
    pair[1] = (vec)(load_halves((const uint16_t *)from + LANES) << 16);
#endif
}

FO_INLINE void store_bfloat16_pair(void *to, const vec *pair)
{
#if FO_VOCABULARY == FO_AVX512
    const words upper = lane_numbers() * 0x00040004 + 0x00030001;
    _mm512_storeu_si512(
        to, _mm512_permutex2var_epi16((__m512i)pair[0], (__m512i)upper, (__m512i)pair[1]));
#else
    store_halves(to, (words)pair[0] >> 16);
    store_halves((uint16_t *)to + LANES, (words)pair[1] >> 16);
#endif
}

/* In order: a parameter and its remainder. */
FO_INLINE void load_split_pair_in_order(const void *from, const void *remainder, vec *pair)
{
    vec low[2];
    load_bfloat16_pair(from, pair);
    load_bfloat16_pair(remainder, low);
    for (int k = 0; k < 2; k++)
        pair[k] = (vec)((words)pair[k] + (words)((mask)low[k] >> 16));
}

FO_INLINE void store_split_pair_in_order(void *to, void *remainder, const vec *pair)
{
    vec high[2], low[2];
    for (int k = 0; k < 2; k++) {
        words upper, lower;
        split(pair[k], &upper, &lower);
        high[k] = (vec)(upper << 16);
        low[k] = (vec)(lower << 16);
    }
    store_bfloat16_pair(to, high);
    store_bfloat16_pair(remainder, low);
}

FO_INLINE void load_interleaved_pair(const void *from, vec *pair)
{
    const words x = *(const unaligned_words *)from;
    pair[0] = (vec)(x << 16);
    pair[1] = (vec)(x & 0xffff0000);
}

FO_INLINE void store_interleaved_pair(void *to, const vec *pair)
{
    *(unaligned_words *)to = (words)pair[0] >> 16 | ((words)pair[1] & 0xffff0000);
}

/* A parameter and its remainder. */
FO_INLINE void load_split_pair(const void *from, const void *remainder, vec *pair)
{
    const words high = *(const unaligned_words *)from;
    const words low = *(const unaligned_words *)remainder;
    pair[0] = (vec)((high << 16) + (words)((mask)(low << 16) >> 16));
    pair[1] = (vec)((high & 0xffff0000) + (words)((mask)low >> 16));
}

FO_INLINE void store_split_pair(void *to, void *remainder, const vec *pair)
{
    words high[2], low[2];
    split(pair[0], &high[0], &low[0]);
    split(pair[1], &high[1], &low[1]);
    *(unaligned_words *)to = high[0] | high[1] << 16;
    *(unaligned_words *)remainder = low[0] | low[1] << 16;
}

/* The vectors of a buffer in operands. */
FO_INLINE vec *vector_of(operands *x, int buffer)
{
    return buffer == 0 ? &x->p : buffer == 1 ? &x->g : &x->state[buffer - 2];
}

FO_INLINE fo_storage storage_of(const fo_stored *buffers, mixture of, int buffer)
{
    switch (of) {
    case OF_HALVES:
        return buffer == 0 && buffers->remainder ? FO_WITH_REMAINDER : FO_INTERLEAVED;
    case OF_SPLIT:
        return buffer == 0 ? FO_IN_ORDER_WITH_REMAINDER : buffer == 1 ? FO_IN_ORDER : FO_IN_FLOAT32;
    default:
        return buffers->by[buffer] == FO_IN_FLOAT32 ? FO_IN_FLOAT32 : FO_IN_ORDER;
    }
}

FO_INLINE void load_buffer(int size, const fo_stored *from, mixture of, int buffer, size_t i,
                           vec *x)
{
    const uint16_t *at = (const uint16_t *)from->at[buffer] + i;
    switch (storage_of(from, of, buffer)) {
    case FO_INTERLEAVED:
        for (int k = 0; k < size; k += 2)
            load_interleaved_pair(at + (size_t)k * LANES, &x[k]);
        break;
    case FO_IN_FLOAT32:
        for (int k = 0; k < size; k++)
            x[k] = load_native((const float *)from->at[buffer] + i + (size_t)k * LANES);
        break;
    case FO_WITH_REMAINDER:
        for (int k = 0; k < size; k += 2)
            load_split_pair(at + (size_t)k * LANES, from->remainder + i + (size_t)k * LANES, &x[k]);
        break;
    case FO_IN_ORDER:
        for (int k = 0; k < size; k += 2)
            load_bfloat16_pair(at + (size_t)k * LANES, &x[k]);
        break;
    case FO_IN_ORDER_WITH_REMAINDER:
        for (int k = 0; k < size; k += 2)
            load_split_pair_in_order(at + (size_t)k * LANES,
                                     from->remainder + i + (size_t)k * LANES, &x[k]);
    }
}

FO_INLINE void load_group(operands *group, int size, const setting s, const fo_stored *from,
                          mixture of, size_t i)
{
    for (int b = 0; b < BUFFERS; b++) {
        if (!has_buffer(s, b))
            continue;
        vec x[FO_NARROW_GROUP] = {{0}};
        load_buffer(size, from, of, b, i, x);
        for (int k = 0; k < size; k++)
            *vector_of(&group[k], b) = x[k];
    }
}

/* The 16 bits for each vector of a pair, from a vector of words. */
FO_INLINE void spread_halves(fo_storage by, words x, words *random)
{
    if (by == FO_INTERLEAVED) {
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

/* words_of: a vector of random words for each pair, or NULL to round to nearest. */
FO_INLINE void round_buffer(int size, fo_storage by, const words *words_of, vec *x)
{
    for (int k = 0; k < size; k += 2) {
        words random[2] = {{0}};
        if (words_of)
            spread_halves(by, words_of[k / 2], random);
        for (int j = k; j < k + 2; j++)
            x[j] = words_of ? round_at_random(x[j], random[j - k]) : round_to_nearest(x[j]);
    }
}

FO_INLINE void store_rounded(int size, fo_storage by, uint16_t *at, const vec *x)
{
    for (int k = 0; k < size; k += 2)
        if (by == FO_INTERLEAVED)
            store_interleaved_pair(at + (size_t)k * LANES, &x[k]);
        else
            store_bfloat16_pair(at + (size_t)k * LANES, &x[k]);
}

/* word: of each pair, as in round_buffer; those after this buffer's are left there. */
FO_INLINE void store_buffer(int size, const fo_stored *to, mixture of, int buffer, size_t i,
                            words *word, vec *x)
{
    const fo_storage by = storage_of(to, of, buffer);
    uint16_t *at = (uint16_t *)to->at[buffer] + i;
    if (by == FO_IN_FLOAT32) {
        for (int k = 0; k < size; k++)
            store_native((float *)to->at[buffer] + i + (size_t)k * LANES, x[k]);
    } else if (buffer == 0 && by == FO_WITH_REMAINDER) {
        for (int k = 0; k < size; k += 2)
            store_split_pair(at + (size_t)k * LANES, to->remainder + i + (size_t)k * LANES, &x[k]);
    } else if (buffer == 0 && by == FO_IN_ORDER_WITH_REMAINDER) {
        for (int k = 0; k < size; k += 2)
            store_split_pair_in_order(at + (size_t)k * LANES, to->remainder + i + (size_t)k * LANES,
                                      &x[k]);
    } else {
        round_buffer(size, by, to->is_random ? word : NULL, x);
        if (to->is_random)
            for (int k = 0; k < size; k += 2)
                word[k / 2] = next_word(word[k / 2]);
        store_rounded(size, by, at, x);
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

/* Compilers take x for a new value, so that nothing that follows from it is computed earlier. */
FO_INLINE void hide_value(vec *x)
{
#if FO_VOCABULARY == FO_NEON
    __asm__ volatile("" : "+w"(*x));
#else
    __asm__ volatile("" : "+v"(*x));
#endif
}

/* A vector for each pair. product: that of the first pair's words, as first_word takes it. */
FO_INLINE void draw_words(int size, const fo_draws *draws, words product, words *word)
{
    for (int k = 0; k < size; k += 2)
        word[k / 2] = first_word(product + (uint32_t)(k / 2 * LANES) * FO_FIRST_FACTOR, draws->key);
}

FO_INLINE int has_nan(int size, const vec *x)
{
    nans_seen nans = {0};
    for (int k = 0; k < size; k += 2)
        nans = add_nans(nans, x[k], x[k + 1]);
    return __builtin_expect(any_nan(nans), 0);
}

/* word: as in store_buffer. */
FO_INLINE void store_params(int size, const fo_stored *to, mixture of, size_t i, words *word,
                            vec *x)
{
    const int in_float32 = storage_of(to, of, 0) == FO_IN_FLOAT32;
    if (in_float32)
        store_buffer(size, to, of, 0, i, word, x);
    if (in_float32 && !to->copy)
        return;
    if (has_nan(size, x))
        for (int k = 0; k < size; k++)
            x[k] = quiet_nans(x[k]);
    if (in_float32) {
        round_buffer(size, FO_IN_ORDER, NULL, x);
        store_rounded(size, FO_IN_ORDER, to->copy + i, x);
    } else {
        store_buffer(size, to, of, 0, i, word, x);
    }
}

/* Returns 0, and stores nothing, if a state is NaN. Between the roots and the quotients the states are rounded and
 * stored: work for a core while its divider is busy, as in block_loop.h. */
FO_INLINE int step_narrow_group(const setting s, int size, const fo_stored *buffers, mixture of,
                                size_t i, words product)
{
    operands group[FO_NARROW_GROUP];
    __asm__("" : "+r"(i)); /* as in step_group */
    load_group(group, size, s, buffers, of, i);
    for (int k = 0; k < size; k++)
        prepare(&group[k], s);
    /* Conversions keep the multipliers busy, so that roots are best left to the divider. */
    take_roots(group, (group_plan){size, 0}, s);
    vec state[STATES + 1][FO_NARROW_GROUP];
    for (int k = 0; k < size; k++) {
        operands x = group[k];
        update_operands(&x, s);
        for (int b = 0; b < STATES; b++)
            state[b][k] = x.state[b];
    }
    for (int b = 0; b < STATES; b++)
        if (has_nan(size, state[b]))
            return 0;
    words word[FO_NARROW_GROUP / 2] = {{0}}, word_of_param[FO_NARROW_GROUP / 2] = {{0}};
    if (buffers->is_random) {
        draw_words(size, &buffers->draws, product, word);
        const fo_storage by = storage_of(buffers, of, 0);
        if (by == FO_INTERLEAVED || by == FO_IN_ORDER)
            for (int k = 0; k < size / 2; k++) {
                word_of_param[k] = word[k];
                word[k] = next_word(word[k]);
            }
    }
    for (int b = 0; b < STATES; b++)
        store_buffer(size, buffers, of, 2 + b, i, word, state[b]);
    vec param[FO_NARROW_GROUP];
    for (int k = 0; k < size; k++) {
        if (FO_ROOT_COST)
            hide_value(&group[k].state[ROOT]);
        update_operands(&group[k], s);
        param[k] = group[k].p;
    }
    store_params(size, buffers, of, i, word_of_param, param);
    return 1;
}

FO_INLINE size_t step_narrow_groups(const setting s, const fo_stored *buffers, mixture of, size_t n)
{
    const int size = FO_ROOT_COST ? 2 : FO_NARROW_GROUP;
    words product = {0};
    if (buffers->is_random)
        product = lane_numbers() * FO_FIRST_FACTOR +
                  ((buffers->draws.position >> 1) * FO_FIRST_FACTOR + buffers->draws.add);
    size_t i = 0;
    while (i + size * LANES <= n && step_narrow_group(s, size, buffers, of, i, product)) {
        i += size * LANES;
        product += (uint32_t)(size / 2 * LANES) * FO_FIRST_FACTOR;
    }
    return i;
}

/* Buffers of 16 bits alone. Scaling and decay are done in any case: multiplications by 1 cost little beside
 * conversions. Here and below buffers are copied, or a compiler reads them again after each store. */
static size_t FO_CAT(in_halves, FO_ISA)(const fo_loop_call *call, const fo_stored *buffers,
                                        size_t n)
{
    const setting s = setting_of(call);
    fo_stored own = *buffers;
    if (FO_NARROW_IN_TILES || own.is_random)
        return step_narrow_groups(s, &own, OF_HALVES, n);
    own.is_random = 0; /* as a constant */
    return step_narrow_groups(s, &own, OF_HALVES, n);
}

#if !FO_NARROW_IN_TILES
static size_t FO_CAT(in_mixture, FO_ISA)(const fo_loop_call *call, const fo_stored *buffers,
                                         size_t n)
{
    const setting s = setting_of(call);
    const fo_stored own = *buffers;
    return step_narrow_groups(s, &own, OF_ANY, n);
}

static size_t FO_CAT(in_split, FO_ISA)(const fo_loop_call *call, const fo_stored *buffers, size_t n)
{
    const setting s = setting_of(call);
    fo_stored own = *buffers;
    own.is_random = 0;
    return step_narrow_groups(s, &own, OF_SPLIT, n);
}
#endif
#endif
