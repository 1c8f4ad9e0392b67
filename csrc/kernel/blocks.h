/* Blocks of 8-bit codes: fo_block8 in fastopt.h. A code is the 8 bits of a float32 that follow its sign and the
 * uppermost of its exponent's, or 7 of them behind a sign: bits 20 and up of a number t from about 2^-32 or 2^-16
 * to 1, less those of the smallest t.
 *
 *     squares:  x = t*scale                        the smallest t is 9/8*2^-32: no code is 0, or the step would
 *                                                  divide by eps alone
 *     signed:   x = (t - d)*(scale/(1 - d))        d = 9/8*2^-16 is the smallest t: steps of d/8 towards 0, which
 *                                                  has a code
 *
 * and t = |x|*((1 - d)/scale) + d in the other direction, with d = 0 for squares. Of the 20 bits that are dropped
 * then, 16 are compared with random ones; the 8 that is added makes up for the other four. */
typedef uint8_t code_bytes __attribute__((vector_size(FO_VECTOR_BYTES / 4), aligned(1), may_alias));

/* With SSE2 compilers take vectors of 16 and 8 bits apart, so that loops over a block would become long where they are
 * unrolled. */
#undef FO_LOOP_OVER_BLOCK
#if FO_VOCABULARY == FO_SSE2
#define FO_LOOP_OVER_BLOCK _Pragma("GCC unroll 1")
#else
#define FO_LOOP_OVER_BLOCK
#endif

/* By intrinsics, where compilers take bytes one by one. */
FO_INLINE words load_codes(const uint8_t *from)
{
#if FO_VOCABULARY == FO_AVX512
    return (words)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)from));
#elif FO_VOCABULARY == FO_AVX2
    return (words)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)from));
#else
    return __builtin_convertvector(*(const code_bytes *)from, words);
#endif
}

/* 4*LANES codes, those below 0 as 0. */
FO_INLINE void store_codes(uint8_t *to, const mask *codes)
{
#if FO_VOCABULARY == FO_AVX512
    const __m512i low = _mm512_packus_epi32((__m512i)codes[0], (__m512i)codes[1]);
    const __m512i high = _mm512_packus_epi32((__m512i)codes[2], (__m512i)codes[3]);
    /* Packing goes by quarters: four codes of each vector, quarter after quarter. */
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_si512(to, _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high)));
#elif FO_VOCABULARY == FO_AVX2
    const __m256i low = _mm256_packus_epi32((__m256i)codes[0], (__m256i)codes[1]);
    const __m256i high = _mm256_packus_epi32((__m256i)codes[2], (__m256i)codes[3]);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256((__m256i *)to,
                        _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order));
#else
    for (size_t k = 0; k < 4; k++)
        *(code_bytes *)(to + k * LANES) =
            __builtin_convertvector(codes[k] & (codes[k] > 0), code_bytes);
#endif
}

FO_INLINE mask larger(mask a, mask b)
{
#if FO_VOCABULARY == FO_AVX512
    return (mask)_mm512_max_epi32((__m512i)a, (__m512i)b);
#elif FO_VOCABULARY == FO_AVX2
    return (mask)_mm256_max_epi32((__m256i)a, (__m256i)b);
#else
    return (mask)select_words(a > b, (words)a, (words)b);
#endif
}

/* Of the smallest t. */
FO_INLINE uint32_t first_code(int squares)
{
    return squares ? 761 : 889;
}

FO_INLINE scalar shift_of(int squares)
{
    return squares ? 0 : 0x1.2p-16f;
}

/* scale/(1 - d), or for blocks of squares the scale. */
FO_INLINE scalar factor_of(const fo_block8 *block, int squares)
{
    return block->scale / (1 - shift_of(squares));
}

FO_INLINE vec decode(words code, int squares, scalar factor)
{
    const words magnitude = squares ? code : code & 0x7f;
    const vec t = (vec)((magnitude + first_code(squares)) << 20);
    if (squares)
        return t * factor;
    return (vec)((words)((t - shift_of(squares)) * factor) ^ (code & 0x80) << 24);
}

FO_INLINE void load_block(const fo_block8 *from, int squares, float *to)
{
    const scalar factor = factor_of(from, squares);
    FO_LOOP_OVER_BLOCK
    for (size_t k = 0; k < FO_BLOCK; k += LANES)
        store_native(to + k, decode(load_codes(from->codes + k), squares, factor));
}

/* The largest magnitude of a block as bits, which have the order of the numbers. */
FO_INLINE uint32_t largest_bits(const float *from)
{
    mask top = {0};
    for (size_t k = 0; k < FO_BLOCK; k += LANES)
        top = larger(top, (mask)load_native(from + k) & 0x7fffffff);
#if FO_VOCABULARY == FO_AVX512
    return (uint32_t)_mm512_reduce_max_epi32((__m512i)top);
#else
    lane_bits lanes[LANES];
    __builtin_memcpy(lanes, &top, sizeof lanes);
    for (size_t half = LANES / 2; half; half /= 2)
        for (size_t k = 0; k < half; k++)
            lanes[k] = lanes[k] > lanes[k + half] ? lanes[k] : lanes[k + half];
    return (uint32_t)lanes[0];
#endif
}

/* random: 16 bits for each element, or NULL to round to nearest. */
FO_INLINE void store_block(fo_block8 *to, int squares, const uint16_t *random, const float *from)
{
    const uint32_t largest = largest_bits(from), smallest_normal = 0x00800000,
                   infinity = 0x7f800000;
    if (largest < smallest_normal || largest >= infinity) {
        *to = (fo_block8){.scale = largest < infinity ? 0 : NAN};
        return;
    }
    float scale;
    __builtin_memcpy(&scale, &largest, sizeof scale);
    to->scale = scale;
    const scalar shift = shift_of(squares), factor = (1 - shift) / scale;
    const uint32_t first = first_code(squares) << 20;
    FO_LOOP_OVER_BLOCK
    for (size_t k = 0; k < FO_BLOCK; k += 4 * LANES) {
        mask codes[4];
        for (size_t j = 0; j < 4; j++) {
            const vec x = load_native(from + k + j * LANES);
            const words sign = (words)x & 0x80000000;
            const vec relative = (vec)((words)x ^ sign) * factor;
            const words t = (words)(squares ? relative : relative + shift);
            const words rounded = random
                                      ? t + (load_halves(random + k + j * LANES) << 4) + (8 - first)
                                      : t + (t >> 20 & 1) + (0x7ffff - first);
            codes[j] = (mask)rounded >> 20;
            if (!squares)
                codes[j] |= (mask)(sign >> 24);
        }
        store_codes(to->codes + k, codes);
    }
}
