/* The loop around one formula where all states are in blocks of 8-bit codes. With AVX-512 a block is four vectors
 * of each buffer, and the registers hold it from the codes that are loaded to those that are stored. Parameters and
 * gradients are float32 or bfloat16, by branches as in narrow.h. Where a block has a NaN or an infinity, and where
 * blocks end, tiles go on (../narrow.c). */
#if !FO_DOUBLE && FO_VOCABULARY == FO_AVX512 && !FO_NARROW_IN_TILES
#include "kernel/blocks.h"

enum { BLOCK_VECTORS = FO_BLOCK / LANES };

FO_INLINE int has_squares(int state)
{
    return FO_CAT(FO_SQUARES_OF, FO_KERNEL) >> state & 1;
}

FO_INLINE void load_split(const fo_stored *from, size_t i, vec *x)
{
    const uint16_t *high = (const uint16_t *)from->at[0] + i, *low = from->remainder + i;
    for (size_t k = 0; k < BLOCK_VECTORS; k++) {
        const __m256i rest = _mm256_loadu_si256((const __m256i *)(low + k * LANES));
        x[k] = (vec)((load_halves(high + k * LANES) << 16) + (words)_mm512_cvtepi16_epi32(rest));
    }
}

FO_INLINE void store_split(const fo_stored *to, size_t i, const vec *x)
{
    const __m512i lower = (__m512i)(lane_numbers() * 0x00040004 + 0x00020000);
    for (size_t k = 0; k < BLOCK_VECTORS; k += 2) {
        const vec rounded[] = {(vec)((words)x[k] + 0x8000), (vec)((words)x[k + 1] + 0x8000)};
        store_bfloat16_pair((uint16_t *)to->at[0] + i + k * LANES, rounded);
        _mm512_storeu_si512(to->remainder + i + k * LANES,
                            _mm512_permutex2var_epi16((__m512i)x[k], lower, (__m512i)x[k + 1]));
    }
}

/* In each lane. Of a NaN, an infinity or a negative square at least the bits of infinity. */
FO_INLINE __m128i largest_in(const vec *x, int squares)
{
    __m512i top = (__m512i)(squares ? x[0] : absolute(x[0]));
    for (size_t k = 1; k < BLOCK_VECTORS; k++)
        top = _mm512_max_epu32(top, (__m512i)(squares ? x[k] : absolute(x[k])));
    const __m256i half =
        _mm256_max_epu32(_mm512_castsi512_si256(top), _mm512_extracti64x4_epi64(top, 1));
    __m128i least = _mm_max_epu32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    least = _mm_max_epu32(least, _mm_shuffle_epi32(least, 0x4e));
    return _mm_max_epu32(least, _mm_shuffle_epi32(least, 0xb1));
}

/* The random words of the block at element i, those of vectors 2k and 2k + 1 in word[k], and one more vector. */
FO_INLINE void first_words(const fo_draws *draws, size_t i, words *word)
{
    const uint32_t place = (draws->position + (uint32_t)i) >> 1;
    words product = lane_numbers() * FO_FIRST_FACTOR + (place * FO_FIRST_FACTOR + draws->add);
    for (size_t k = 0; k <= BLOCK_VECTORS / 2; k++) {
        if (k < BLOCK_VECTORS / 2 || draws->position & 1)
            word[k] = first_word(product, draws->key);
        product += (uint32_t)LANES * FO_FIRST_FACTOR;
    }
}

/* Takes those of one buffer, and leaves those of the next. Where the first element is the second of its word,
 * every element is. */
FO_INLINE void take_words(const fo_draws *draws, words *word, words *taken)
{
    for (size_t k = 0; k < BLOCK_VECTORS / 2; k++)
        taken[k] = word[k];
    if (draws->position & 1)
        for (size_t k = 0; k < BLOCK_VECTORS / 2; k++) {
            const words later =
                (words)_mm512_alignr_epi32((__m512i)word[k + 1], (__m512i)word[k], 1);
            taken[k] = word[k] >> 16 | later << 16;
        }
    for (size_t k = 0; k <= BLOCK_VECTORS / 2; k++)
        if (k < BLOCK_VECTORS / 2 || draws->position & 1)
            word[k] = next_word(word[k]);
}

/* random: as taken from take_words, or NULL to round to nearest. */
FO_INLINE void encode(fo_block8 *to, int squares, __m128i largest, const words *random,
                      const vec *x)
{
    const __m128i smallest_normal = _mm_set1_epi32(0x00800000);
    if (__builtin_expect(_mm_cmplt_epu32_mask(largest, smallest_normal), 0)) {
        *to = (fo_block8){.scale = 0};
        return;
    }
    const __m128 scale = _mm_castsi128_ps(largest);
    _mm_store_ss(&to->scale, scale);
    const scalar shift = shift_of(squares);
    const vec factor = (vec)_mm512_broadcastss_ps(_mm_div_ss(_mm_set_ss(1 - shift), scale));
    __m512i code[BLOCK_VECTORS];
    for (size_t k = 0; k < BLOCK_VECTORS; k++) {
        const vec relative = (squares ? x[k] : absolute(x[k])) * factor;
        const words t = (words)(squares ? relative : relative + shift);
        words more = (t >> 20 & 1) + 0x7ffff;
        if (random) {
            /* The 16 bits in the upper half, over a half of what is dropped. */
            const __m512i half = (__m512i)(lane_numbers() * 0x10000 + (k & 1 ? 0x100000u : 0));
            more = (words)_mm512_mask_permutexvar_epi16(_mm512_set1_epi32(0x8000), 0xaaaaaaaa, half,
                                                        (__m512i)random[k / 2]) >>
                   12;
        }
        code[k] = (__m512i)(t + more);
    }
    /* Upper halves of pairs, of which the last four bits are dropped. */
    const __m512i upper = (__m512i)(lane_numbers() * 0x00040004 + 0x00030001);
    const __m512i first = _mm512_set1_epi16((short)first_code(squares));
    const __m512i low = _mm512_permutex2var_epi16(code[0], upper, code[1]);
    const __m512i high = _mm512_permutex2var_epi16(code[2], upper, code[3]);
    __m512i all = _mm512_packus_epi16(_mm512_subs_epu16(_mm512_srli_epi16(low, 4), first),
                                      _mm512_subs_epu16(_mm512_srli_epi16(high, 4), first));
    if (!squares) {
        const __m512i signs =
            _mm512_packs_epi16(_mm512_permutex2var_epi16((__m512i)x[0], upper, (__m512i)x[1]),
                               _mm512_permutex2var_epi16((__m512i)x[2], upper, (__m512i)x[3]));
        all = _mm512_ternarylogic_epi32(all, signs, _mm512_set1_epi8(-128), 0xf8);
    }
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    _mm512_storeu_si512(to->codes, _mm512_permutexvar_epi64(order, all));
}

/* As decode in blocks.h, but a code below 0x80 comes with zeros and others with ones above it. */
FO_INLINE void load_states(const fo_block8 *from, int squares, vec *x)
{
    const scalar factor = factor_of(from, squares);
    for (size_t k = 0; k < BLOCK_VECTORS; k++) {
        const uint8_t *at = from->codes + k * LANES;
        if (squares) {
            x[k] = decode(load_codes(at), 1, factor);
            continue;
        }
        const words code = (words)_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)at));
        const vec t = (vec)((code << 20 & 0x07f00000) + (first_code(0) << 20));
        const vec magnitude = (t - shift_of(0)) * factor;
        x[k] = (vec)_mm512_ternarylogic_epi32((__m512i)magnitude, (__m512i)code,
                                              _mm512_set1_epi32(INT32_MIN), 0x78);
    }
}

FO_INLINE void load_operands_of_block(operands *group, const fo_stored *from, size_t i)
{
    vec x[2 + STATES][BLOCK_VECTORS];
    if (from->remainder)
        load_split(from, i, x[0]);
    else
        load_buffer(BLOCK_VECTORS, from, OF_ANY, 0, i, x[0]);
    load_buffer(BLOCK_VECTORS, from, OF_ANY, 1, i, x[1]);
    for (int b = 2; b < 2 + STATES; b++)
        load_states((const fo_block8 *)from->at[b] + i / FO_BLOCK, has_squares(b - 2), x[b]);
    for (int b = 0; b < 2 + STATES; b++)
        for (size_t k = 0; k < BLOCK_VECTORS; k++)
            *vector_of(&group[k], b) = x[b][k];
}

FO_INLINE void store_params_of_block(const fo_stored *to, size_t i, vec *x)
{
    const int in_float32 = to->by[0] == FO_IN_FLOAT32;
    if (in_float32)
        for (size_t k = 0; k < BLOCK_VECTORS; k++)
            store_native((float *)to->at[0] + i + k * LANES, x[k]);
    if (in_float32 && !to->copy)
        return;
    nans_seen nans = {0};
    for (int k = 0; k < BLOCK_VECTORS; k += 2)
        nans = add_nans(nans, x[k], x[k + 1]);
    if (__builtin_expect(any_nan(nans), 0))
        for (int k = 0; k < BLOCK_VECTORS; k++)
            x[k] = quiet_nans(x[k]);
    if (to->remainder) {
        store_split(to, i, x);
        return;
    }
    const int is_random = to->is_random && !in_float32;
    words word[BLOCK_VECTORS / 2 + 1], random[BLOCK_VECTORS / 2];
    if (is_random) {
        first_words(&to->draws, i, word);
        take_words(&to->draws, word, random);
    }
    round_buffer(BLOCK_VECTORS, FO_IN_ORDER, is_random ? random : NULL, x);
    store_rounded(BLOCK_VECTORS, FO_IN_ORDER, in_float32 ? to->copy + i : (uint16_t *)to->at[0] + i,
                  x);
}

FO_INLINE void encode_states(const fo_stored *to, size_t i, const __m128i *largest,
                             vec (*x)[BLOCK_VECTORS])
{
    words word[BLOCK_VECTORS / 2 + 1] = {{0}}, random[BLOCK_VECTORS / 2];
    if (to->is_random) {
        first_words(&to->draws, i, word);
        if (to->by[0] != FO_IN_FLOAT32 && !to->remainder)
            take_words(&to->draws, word, random);
    }
#pragma GCC unroll 4
    for (int b = 0; b < STATES; b++) {
        if (to->is_random)
            take_words(&to->draws, word, random);
        encode((fo_block8 *)to->at[2 + b] + i / FO_BLOCK, has_squares(b), largest[b],
               to->is_random ? random : NULL, x[b]);
    }
}

/* Returns 0, and stores nothing, if a state is not finite.
 *
 * The states are encoded between the roots and the quotients, so that a core that looks only a limited number of
 * operations ahead has work while its divider is busy. Hiding a root keeps compilers from computing the quotient
 * earlier. */
FO_INLINE int step_block(const setting s, const fo_stored *buffers, size_t i)
{
    operands group[BLOCK_VECTORS];
    __asm__("" : "+r"(i)); /* as in step_group */
    load_operands_of_block(group, buffers, i);
    for (int k = 0; k < BLOCK_VECTORS; k++)
        prepare(&group[k], s);
    take_roots(group, (group_plan){BLOCK_VECTORS, 0}, s);
    vec state[STATES + 1][BLOCK_VECTORS];
    for (int k = 0; k < BLOCK_VECTORS; k++) {
        operands x = group[k];
        update_operands(&x, s);
        for (int b = 0; b < STATES; b++)
            state[b][k] = x.state[b];
    }
    __m128i largest[STATES + 1];
    __mmask8 lost = 0;
#pragma GCC unroll 4
    for (int b = 0; b < STATES; b++) {
        largest[b] = largest_in(state[b], has_squares(b));
        lost |= _mm_cmpge_epu32_mask(largest[b], _mm_set1_epi32(0x7f800000));
    }
    if (__builtin_expect(lost, 0))
        return 0;
    encode_states(buffers, i, largest, state);
    vec param[BLOCK_VECTORS];
    for (int k = 0; k < BLOCK_VECTORS; k++) {
        if (FO_ROOT_COST)
            hide_value(&group[k].state[ROOT]);
        update_operands(&group[k], s);
        param[k] = group[k].p;
    }
    store_params_of_block(buffers, i, param);
    return 1;
}

static size_t FO_CAT(in_blocks, FO_ISA)(const fo_loop_call *call, const fo_stored *buffers,
                                        size_t n)
{
    if (!STATES)
        return 0;
    setting s = setting_of(call);
    s.preparation = call->preparation;
    const fo_stored own = *buffers;
    size_t i = 0;
    while (i + FO_BLOCK <= n && step_block(s, &own, i))
        i += FO_BLOCK;
    return i;
}
#endif
