/* Loads and stores of every storage format that computes in this instance's type. A format is a constant
 * wherever speed counts and these are inlined, so the switch leaves one case. A store takes what rounding.h
 * has rounded, and only puts it in place. */

#if !FO_DOUBLE
typedef uint32_t words __attribute__((vector_size(FO_VECTOR_BYTES)));
typedef uint16_t halves
    __attribute__((vector_size(FO_VECTOR_BYTES / 2), aligned(sizeof(uint16_t)), may_alias));

FO_INLINE words load_halves(const uint16_t *from)
{
    return __builtin_convertvector(*(const halves *)from, words);
}

FO_INLINE void store_halves(uint16_t *to, words x)
{
    *(halves *)to = __builtin_convertvector(x, halves);
}

/* The first count lanes; the others are loaded as ones of the format. */
FO_INLINE words load_first_halves(const uint16_t *from, size_t count, uint16_t one)
{
    words x = (words){0} + one;
    for (size_t lane = 0; lane < count; lane++)
        x[lane] = from[lane];
    return x;
}

FO_INLINE void store_first_halves(uint16_t *to, words x, size_t count)
{
    for (size_t lane = 0; lane < count; lane++)
        to[lane] = (uint16_t)x[lane];
}

FO_INLINE words select_words(mask where, words a, words b)
{
    return ((words)where & a) | (~(words)where & b);
}

/* float16: 5 bits of exponent with a bias of 15, 10 of mantissa. By integers and one exact product, so
 * that no mode of the caller's matters. */
FO_INLINE vec from_float16(words h)
{
    const words sign = (h & 0x8000) << 16, magnitude = h & 0x7fff;
    const words normal = (magnitude << 13) + ((127 - 15) << 23);
    const words infinite = normal + ((127 - 15) << 23);
    const words small = (words)(__builtin_convertvector((mask)magnitude, vec) * 0x1p-24f);
    const words x = select_words((mask)magnitude < 0x400, small,
                                 select_words((mask)magnitude < 0x7c00, normal, infinite));
    return (vec)(sign | x);
}

/* Ties to even. */
FO_INLINE words to_float16(vec x)
{
    const words sign = (words)x & 0x80000000, u = (words)x ^ sign;
    const words normal = (u - ((127 - 15) << 23) + 0xfff + (u >> 13 & 1)) >> 13;
    /* The sum has the last place of float16's subnormals. */
    const words small = (words)((vec)u + 0.5f) - 0x3f000000;
    const words large =
        select_words((mask)u > 0x7f800000, (words){0} + 0x7e00, (words){0} + 0x7c00);
    const words h = select_words((mask)u < 0x38800000, small,
                                 select_words((mask)u < 0x47800000, normal, large));
    return sign >> 16 | h;
}

/* A bfloat16 and its remainder, in the place of the last bits: together the float32. */
FO_INLINE vec join(words high, words low)
{
    return (vec)((high << 16) + (words)((mask)(low << 16) >> 16));
}

/* The bfloat16 nearest to x, ties up, and the remainder. x is no NaN but what quiet_nans returns. */
FO_INLINE void split(vec x, words *high, words *low)
{
    *high = ((words)x + 0x8000) >> 16;
    *low = (words)x & 0xffff;
}
#endif

FO_INLINE vec load(fo_format format, int from_memory, const void *from)
{
    switch (format) {
#if !FO_DOUBLE
    case FO_BFLOAT16:
        return (vec)(load_halves(from) << 16);
    case FO_FLOAT16:
        return from_float16(load_halves(from));
#endif
    default: /* the compute type itself */
        return from_memory ? load_far_native(from) : load_native(from);
    }
}

FO_INLINE void store(fo_format format, void *to, vec x)
{
    switch (format) {
#if !FO_DOUBLE
    case FO_BFLOAT16:
        store_halves(to, (words)x >> 16);
        return;
    case FO_FLOAT16:
        store_halves(to, to_float16(x));
        return;
#endif
    default:
        store_native(to, x);
    }
}

/* The first count elements; see simd.h. */
FO_INLINE vec load_first(fo_format format, const void *from, size_t count)
{
    switch (format) {
#if !FO_DOUBLE
    case FO_BFLOAT16:
        return (vec)(load_first_halves(from, count, 0x3f80) << 16);
    case FO_FLOAT16:
        return from_float16(load_first_halves(from, count, 0x3c00));
#endif
    default:
        return load_first_native(from, count);
    }
}

FO_INLINE void store_first(fo_format format, void *to, vec x, size_t count)
{
    switch (format) {
#if !FO_DOUBLE
    case FO_BFLOAT16:
        store_first_halves(to, (words)x >> 16, count);
        return;
    case FO_FLOAT16:
        store_first_halves(to, to_float16(x), count);
        return;
#endif
    default:
        store_first_native(to, x, count);
    }
}

/* WIDE elements as doubles, for the norm. */
#define WIDE (FO_VECTOR_BYTES / sizeof(double))
typedef double wide __attribute__((vector_size(FO_VECTOR_BYTES)));
typedef scalar narrow __attribute__((vector_size(FO_VECTOR_BYTES / sizeof(double) * sizeof(scalar)),
                                     aligned(sizeof(scalar)), may_alias));

/* By intrinsics: compilers convert the halves of a vector one by one and put them together again. */
FO_INLINE wide widen(narrow x)
{
#if FO_DOUBLE
    return x;
#elif FO_VOCABULARY == FO_AVX512
    return (wide)_mm512_cvtps_pd((__m256)x);
#elif FO_VOCABULARY == FO_AVX2
    return (wide)_mm256_cvtps_pd((__m128)x);
#else
    return __builtin_convertvector(x, wide);
#endif
}

/* Two of them, as a whole vector of floats is worth two. */
FO_INLINE void load_wide(const scalar *from, wide *low, wide *high)
{
    *low = widen(*(const narrow *)from);
    *high = widen(*(const narrow *)(from + WIDE));
}
