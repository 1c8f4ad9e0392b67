/* The sums of one block of numbers, for one instruction set and compute type. norm.c says in which order they are added,
 * and defines ACCUMULATORS, BURST and add_halves. */

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

/* WIDE numbers from number i on; are_halves: of bfloat16, where that has sums of its own. */
FO_INLINE wide load_wide(const void *from, size_t i, int are_halves)
{
#if !FO_DOUBLE && FO_VOCABULARY == FO_AVX512
    if (are_halves) {
        const __m128i halves = _mm_loadu_si128((const __m128i *)((const uint16_t *)from + i));
        return widen((narrow)_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
    }
#elif !FO_DOUBLE && FO_VOCABULARY == FO_AVX2
    if (are_halves) {
        const __m128i halves = _mm_loadl_epi64((const __m128i *)((const uint16_t *)from + i));
        return widen((narrow)_mm_slli_epi32(_mm_cvtepu16_epi32(halves), 16));
    }
#endif
    (void)are_halves;
    return widen(*(const narrow *)((const scalar *)from + i));
}

/* sum + x*x. For floats a fused operation changes no bit, because their squares are exact in double. */
FO_INLINE wide add_square(wide sum, wide x)
{
#if !FO_DOUBLE && FO_VOCABULARY == FO_AVX512
    return (wide)_mm512_fmadd_pd((__m512d)x, (__m512d)x, (__m512d)sum);
#else
    return sum + x * x;
#endif
}

/* The numbers from begin up to end, which are a multiple of ACCUMULATORS apart. */
FO_INLINE void add_whole(wide *to, const void *numbers, size_t begin, size_t end, int squared,
                         int are_halves)
{
    wide sums[ACCUMULATORS / WIDE];
    __builtin_memcpy(sums, to, sizeof sums);
    for (size_t i = begin; i < end; i += ACCUMULATORS)
        for (size_t k = 0; k < ACCUMULATORS / WIDE; k++) {
            const wide x = load_wide(numbers, i + k * WIDE, are_halves);
            sums[k] = squared ? add_square(sums[k], x) : sums[k] + x;
        }
    __builtin_memcpy(to, sums, sizeof sums);
}

/* n < ACCUMULATORS. */
static __attribute__((noinline)) void add_rest(double *accumulators, const scalar *grad, size_t n,
                                               int squared)
{
    for (size_t i = 0; i < n; i += LANES) {
        const size_t count = n - i < LANES ? n - i : LANES;
        const vec g = load_first_native(grad + i, count, 1);
        for (size_t k = 0; k < count; k++)
            accumulators[i + k] += squared ? (double)g[k] * (double)g[k] : (double)g[k];
    }
}

/* Adds the squares of the numbers from begin up to end, fewer than ACCUMULATORS, and then the accumulators. Not a part
 * of its callers, since it is called once for a block. */
static __attribute__((noinline)) double add_up(const wide *sums, const void *numbers, size_t begin,
                                               size_t end, int are_halves)
{
    double lanes[ACCUMULATORS];
    float converted[ACCUMULATORS];
    __builtin_memcpy(lanes, sums, sizeof lanes);
    if (are_halves)
        fo_widen(FO_BFLOAT16, (const uint16_t *)numbers + begin, NULL, converted, end - begin);
    add_rest(lanes, are_halves ? (const scalar *)converted : (const scalar *)numbers + begin,
             end - begin, 1);
    return add_halves(lanes);
}

FO_INLINE double sum_one_block(const void *grad, size_t n, int are_halves)
{
    wide sums[ACCUMULATORS / WIDE] = {{0}};
    const size_t whole = n / ACCUMULATORS * ACCUMULATORS;
    add_whole(sums, grad, 0, whole, 1, are_halves);
    return add_up(sums, grad, whole, n, are_halves);
}

FO_INLINE void sum_two_blocks(const void *const *grads, size_t n, int are_halves, double *to)
{
    wide sums[2][ACCUMULATORS / WIDE] = {{{0}}};
    const size_t whole = n / ACCUMULATORS * ACCUMULATORS;
    for (size_t i = 0; i < whole; i += BURST)
        for (int k = 0; k < 2; k++)
            add_whole(sums[k], grads[k], i, whole - i < BURST ? whole : i + BURST, 1, are_halves);
    for (int k = 0; k < 2; k++)
        to[k] = add_up(sums[k], grads[k], whole, n, are_halves);
}

static double FO_NAME(sum)(const void *grad, size_t n)
{
    return sum_one_block(grad, n, 0);
}

static void FO_NAME(sum_two)(const void *const *grads, size_t n, double *to)
{
    sum_two_blocks(grads, n, 0, to);
}

#if !FO_DOUBLE && (FO_VOCABULARY == FO_AVX2 || FO_VOCABULARY == FO_AVX512)
static double FO_NAME(sum_halves)(const void *grad, size_t n)
{
    return sum_one_block(grad, n, 1);
}

static void FO_NAME(sum_two_halves)(const void *const *grads, size_t n, double *to)
{
    sum_two_blocks(grads, n, 1, to);
}
#endif

FO_INLINE void add_all(double *accumulators, const scalar *x, size_t n, int squared)
{
    wide sums[ACCUMULATORS / WIDE];
    const size_t whole = n / ACCUMULATORS * ACCUMULATORS;
    __builtin_memcpy(sums, accumulators, sizeof sums);
    add_whole(sums, x, 0, whole, squared, 0);
    __builtin_memcpy(accumulators, sums, sizeof sums);
    add_rest(accumulators, x + whole, n - whole, squared);
}

static void FO_NAME(add_squares)(double *accumulators, const void *numbers, size_t n)
{
    add_all(accumulators, numbers, n, 1);
}

static void FO_NAME(add)(double *accumulators, const void *numbers, size_t n)
{
    add_all(accumulators, numbers, n, 0);
}
