/* The SIMD vocabulary of one instruction set and compute type: scalar, vec, LANES; load, store, the same
 * for the first lanes only; root_by_divider; and some functions of NumPy. Arithmetic is that of GNU vector types. */
#define LANES (FO_VECTOR_BYTES / sizeof(scalar))

#if FO_DOUBLE
typedef double scalar;
typedef int64_t lane_bits;
#else
typedef float scalar;
typedef int32_t lane_bits;
#endif
typedef scalar vec __attribute__((vector_size(FO_VECTOR_BYTES)));
typedef scalar unaligned
    __attribute__((vector_size(FO_VECTOR_BYTES), aligned(sizeof(scalar)), may_alias));
typedef lane_bits mask __attribute__((vector_size(FO_VECTOR_BYTES)));

FO_INLINE vec load_native(const scalar *from)
{
    return *(const unaligned *)from;
}

/* By halves, where vectors are of 64 bytes: from memory, hardware prefetchers bring more of a stream that is
 * read so (docs/notes/kernels.md). In a cache it is slower. */
FO_INLINE vec load_far_native(const scalar *from)
{
#if FO_VOCABULARY == FO_AVX512
    __m256i low = _mm256_loadu_si256((const __m256i *)from);
    __asm__("" : "+v"(low)); /* or the compiler makes one load of both */
    return (vec)_mm512_inserti64x4(_mm512_castsi256_si512(low),
                                   _mm256_loadu_si256((const __m256i *)from + 1), 1);
#else
    return load_native(from);
#endif
}

FO_INLINE void store_native(scalar *to, vec x)
{
    *(unaligned *)to = x;
}

/* The first count lanes, up to all, so that a tail runs through the same formula as the body. The others are rest,
 * and are neither read nor written in memory. */
#if FO_VOCABULARY == FO_AVX512 && FO_DOUBLE
FO_INLINE vec load_first_native(const scalar *from, size_t count, scalar rest)
{
    return (vec)_mm512_mask_loadu_pd(_mm512_set1_pd(rest),
                                     (__mmask8)_bzhi_u32(~0u, (unsigned)count), from);
}

FO_INLINE void store_first_native(scalar *to, vec x, size_t count)
{
    _mm512_mask_storeu_pd(to, (__mmask8)_bzhi_u32(~0u, (unsigned)count), (__m512d)x);
}
#elif FO_VOCABULARY == FO_AVX512
FO_INLINE vec load_first_native(const scalar *from, size_t count, scalar rest)
{
    return (vec)_mm512_mask_loadu_ps(_mm512_set1_ps(rest),
                                     (__mmask16)_bzhi_u32(~0u, (unsigned)count), from);
}

FO_INLINE void store_first_native(scalar *to, vec x, size_t count)
{
    _mm512_mask_storeu_ps(to, (__mmask16)_bzhi_u32(~0u, (unsigned)count), (__m512)x);
}
#elif FO_VOCABULARY == FO_AVX2
FO_INLINE mask first_lanes(size_t count)
{
    mask lane;
    for (size_t k = 0; k < LANES; k++)
        lane[k] = (lane_bits)k;
    return lane < (lane_bits)count;
}

FO_INLINE vec load_first_native(const scalar *from, size_t count, scalar rest)
{
    const mask first = first_lanes(count);
    const mask others = (mask)((vec){0} + rest) & ~first;
    return FO_DOUBLE
               ? (vec)(others | (mask)_mm256_maskload_pd((const double *)from, (__m256i)first))
               : (vec)(others | (mask)_mm256_maskload_ps((const float *)from, (__m256i)first));
}

FO_INLINE void store_first_native(scalar *to, vec x, size_t count)
{
    if (FO_DOUBLE)
        _mm256_maskstore_pd((double *)to, (__m256i)first_lanes(count), (__m256d)x);
    else
        _mm256_maskstore_ps((float *)to, (__m256i)first_lanes(count), (__m256)x);
}
#else
FO_INLINE vec load_first_native(const scalar *from, size_t count, scalar rest)
{
    if (count == LANES)
        return load_native(from);
    vec x = (vec){0} + rest;
    for (size_t lane = 0; lane < count; lane++)
        x[lane] = from[lane];
    return x;
}

FO_INLINE void store_first_native(scalar *to, vec x, size_t count)
{
    if (count == LANES)
        store_native(to, x);
    else
        for (size_t lane = 0; lane < count; lane++)
            to[lane] = x[lane];
}
#endif

/* Compute x before anything that the source has after this: compilers otherwise reorder loads, and
 * hardware prefetchers follow them better in their order. With fewer registers than AVX-512 has, the
 * order is best left to the compiler. */
FO_INLINE void keep_order(vec x)
{
#if FO_VOCABULARY == FO_AVX512
    __asm__ volatile("" : : "v"(x));
#else
    (void)x;
#endif
}

/* Correctly rounded, as IEEE 754 requires and NumPy does. By intrinsics: a loop over lanes becomes one
 * instruction only at some optimisation levels. */
FO_INLINE vec root_by_divider(vec x)
{
#if FO_VOCABULARY == FO_AVX512
    return FO_DOUBLE ? (vec)_mm512_sqrt_pd((__m512d)x) : (vec)_mm512_sqrt_ps((__m512)x);
#elif FO_VOCABULARY == FO_AVX2
    return FO_DOUBLE ? (vec)_mm256_sqrt_pd((__m256d)x) : (vec)_mm256_sqrt_ps((__m256)x);
#elif FO_VOCABULARY == FO_SSE2
    return FO_DOUBLE ? (vec)_mm_sqrt_pd((__m128d)x) : (vec)_mm_sqrt_ps((__m128)x);
#elif FO_VOCABULARY == FO_NEON
    return FO_DOUBLE ? (vec)vsqrtq_f64((float64x2_t)x) : (vec)vsqrtq_f32((float32x4_t)x);
#else
    for (size_t lane = 0; lane < LANES; lane++)
        x[lane] = FO_DOUBLE ? __builtin_sqrt(x[lane]) : __builtin_sqrtf(x[lane]);
    return x;
#endif
}

/* The following are as in NumPy. */
FO_INLINE vec where(mask condition, vec a, vec b)
{
    return (vec)((condition & (mask)a) | (~condition & (mask)b));
}

/* A NaN on either side wins; in minimum, too. */
FO_INLINE vec maximum(vec a, vec b)
{
    return where((a >= b) | (a != a), a, b);
}

FO_INLINE vec minimum(vec a, vec b)
{
    return where((a <= b) | (a != a), a, b);
}

FO_INLINE vec absolute(vec x)
{
    return (vec)((mask)x & (lane_bits)(FO_DOUBLE ? INT64_MAX : INT32_MAX));
}

/* Of a zero of either sign 0, and of NaN NaN. */
FO_INLINE vec sign(vec x)
{
    const vec one = (vec){0} + 1;
    const mask of_number = ((x > 0) & (mask)one) | ((x < 0) & (mask)-one);
    return (vec)(of_number | ((x != x) & (mask)x));
}
