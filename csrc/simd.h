/* The SIMD vocabulary of one instruction set and dtype: scalar, vec, LANES; load, store, square root,
 * maximum; the same on the first lanes of a vector only. Arithmetic is that of GNU vector types.
 *
 * Buffers are of the type stored, formulas compute in scalar: only load and store know both, so that
 * a narrower storage needs nothing but conversions here. */
#undef scalar
#undef stored
#undef vec
#undef LANES
#define scalar FO_NAME(scalar)
#define stored FO_NAME(stored)
#define vec FO_NAME(vec)
#define LANES (FO_VECTOR_BYTES / sizeof(scalar))

#if FO_DOUBLE
typedef double scalar;
typedef int64_t FO_NAME(lane_mask);
#else
typedef float scalar;
typedef int32_t FO_NAME(lane_mask);
#endif
typedef scalar stored;
typedef scalar vec __attribute__((vector_size(FO_VECTOR_BYTES)));
typedef scalar FO_NAME(unaligned)
    __attribute__((vector_size(FO_VECTOR_BYTES), aligned(sizeof(scalar)), may_alias));
typedef FO_NAME(lane_mask) FO_NAME(mask) __attribute__((vector_size(FO_VECTOR_BYTES)));

#undef load
#define load FO_NAME(load)
FO_INLINE vec load(const stored *from)
{
    return *(const FO_NAME(unaligned) *)from;
}

/* The same for what comes from memory: of a stream of reads by halves of 64 bytes AMD's prefetchers were
 * seen to bring up to 15 % more in the same time. */
#undef load_far
#define load_far FO_NAME(load_far)
FO_INLINE vec load_far(const stored *from)
{
#if defined(__x86_64__) && FO_VECTOR_BYTES == 64
    __m256i low = _mm256_loadu_si256((const __m256i *)from);
    __asm__("" : "+v"(low)); /* lest a compiler make one read of both */
    return (vec)_mm512_inserti64x4(_mm512_castsi256_si512(low),
                                   _mm256_loadu_si256((const __m256i *)from + 1), 1);
#else
    return load(from);
#endif
}

/* Lest a compiler put what leads to x behind what the code has after it. With fewer registers that is best
 * left to it. */
#undef keep_order
#define keep_order FO_NAME(keep_order)
FO_INLINE void keep_order(vec x)
{
#if defined(__x86_64__) && FO_VECTOR_BYTES == 64
    __asm__ volatile("" : : "v"(x));
#else
    (void)x;
#endif
}

#undef store
#define store FO_NAME(store)
FO_INLINE void store(stored *to, vec x)
{
    *(FO_NAME(unaligned) *)to = x;
}

/* The first count lanes; the others read as zero and are not touched in memory, so that a tail runs
 * through the same formula as the body. */
#undef load_first
#define load_first FO_NAME(load_first)
#undef store_first
#define store_first FO_NAME(store_first)
#if defined(__x86_64__) && FO_VECTOR_BYTES == 64 && FO_DOUBLE
FO_INLINE vec load_first(const stored *from, size_t count)
{
    return (vec)_mm512_maskz_loadu_pd((__mmask8)_bzhi_u32(~0u, (unsigned)count), from);
}
FO_INLINE void store_first(stored *to, vec x, size_t count)
{
    _mm512_mask_storeu_pd(to, (__mmask8)_bzhi_u32(~0u, (unsigned)count), (__m512d)x);
}
#elif defined(__x86_64__) && FO_VECTOR_BYTES == 64
FO_INLINE vec load_first(const stored *from, size_t count)
{
    return (vec)_mm512_maskz_loadu_ps((__mmask16)_bzhi_u32(~0u, (unsigned)count), from);
}
FO_INLINE void store_first(stored *to, vec x, size_t count)
{
    _mm512_mask_storeu_ps(to, (__mmask16)_bzhi_u32(~0u, (unsigned)count), (__m512)x);
}
#else
FO_INLINE vec load_first(const stored *from, size_t count)
{
    vec x = {0};
    for (size_t lane = 0; lane < count; lane++)
        x[lane] = from[lane];
    return x;
}
FO_INLINE void store_first(stored *to, vec x, size_t count)
{
    for (size_t lane = 0; lane < count; lane++)
        to[lane] = x[lane];
}
#endif

/* Correctly rounded, as IEEE 754 asks and NumPy does. By intrinsics: a loop over lanes becomes one
 * instruction only at some optimisation levels. */
#undef square_root
#define square_root FO_NAME(square_root)
FO_INLINE vec square_root(vec x)
{
#if defined(__x86_64__) && FO_VECTOR_BYTES == 64
    return FO_DOUBLE ? (vec)_mm512_sqrt_pd((__m512d)x) : (vec)_mm512_sqrt_ps((__m512)x);
#elif defined(__x86_64__) && FO_VECTOR_BYTES == 32
    return FO_DOUBLE ? (vec)_mm256_sqrt_pd((__m256d)x) : (vec)_mm256_sqrt_ps((__m256)x);
#elif defined(__x86_64__)
    return FO_DOUBLE ? (vec)_mm_sqrt_pd((__m128d)x) : (vec)_mm_sqrt_ps((__m128)x);
#elif defined(__aarch64__)
    return FO_DOUBLE ? (vec)vsqrtq_f64((float64x2_t)x) : (vec)vsqrtq_f32((float32x4_t)x);
#else
    for (size_t lane = 0; lane < LANES; lane++)
        x[lane] = FO_DOUBLE ? __builtin_sqrt(x[lane]) : __builtin_sqrtf(x[lane]);
    return x;
#endif
}

/* As numpy.maximum: a NaN on either side wins. */
#undef maximum
#define maximum FO_NAME(maximum)
FO_INLINE vec maximum(vec a, vec b)
{
    FO_NAME(mask) keep = (a >= b) | (a != a);
    return (vec)((keep & (FO_NAME(mask))a) | (~keep & (FO_NAME(mask))b));
}
