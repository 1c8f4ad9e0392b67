/* Square roots beside the divider. With AVX-512 a second way to a root uses multiplications only; with
 * round-to-nearest it gives the bits of root_by_divider. A group of vectors takes some of its roots this
 * way while the divider is busy with the others and with the quotients.
 *
 * An estimate of 1/sqrt(x) is only where Goldschmidt's iteration begins. It ends with root and h within a
 * few units in the last place of sqrt(x) and 1/(2 sqrt(x)); then the remainder x - root*root times h is
 * added in one rounding. Before that rounding the sum is off by so little (2^-99 of it in double, 2^-43 in
 * float) that it can go astray only where sqrt(x) is as close to the middle of two numbers. These x are few:
 * tests/c/roots.c lists them and tries each from every estimate that the instruction may give. */
#undef FO_HAS_MULTIPLIED_ROOT
#if FO_VOCABULARY == FO_AVX512
#define FO_HAS_MULTIPLIED_ROOT 1

FO_INLINE int rounds_to_nearest(void)
{
    return (_mm_getcsr() & _MM_ROUND_MASK) == _MM_ROUND_NEAREST;
}

/* c + a*b and c - a*b in one rounding. */
FO_INLINE vec add_product(vec c, vec a, vec b)
{
    return FO_DOUBLE ? (vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c)
                     : (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}

FO_INLINE vec subtract_product(vec c, vec a, vec b)
{
    return FO_DOUBLE ? (vec)_mm512_fnmadd_pd((__m512d)a, (__m512d)b, (__m512d)c)
                     : (vec)_mm512_fnmadd_ps((__m512)a, (__m512)b, (__m512)c);
}

/* root and h, from an estimate of 1/sqrt(x) that is off by less than 2^-14 of it. */
FO_INLINE void iterate_root(vec x, vec estimate, vec *root, vec *h)
{
    const vec half = (vec){0} + (scalar)0.5;
    const lane_bits one_exponent = (lane_bits)1 << (FO_DOUBLE ? 52 : 23);
    *root = x * estimate;
    /* Halved by its exponent, as the multipliers are the bottleneck. */
    *h = (vec)((mask)estimate - one_exponent);
    for (int bits = 14; bits < (FO_DOUBLE ? 53 : 24); bits *= 2) {
        const vec error = subtract_product(half, *root, *h);
        *root = add_product(*root, *root, error);
        *h = add_product(*h, *h, error);
    }
}

FO_INLINE vec finish_root(vec x, vec root, vec h)
{
    return add_product(root, subtract_product(x, root, root), h);
}

/* Whether every lane is a number whose remainder is a normal one, which flush-to-zero leaves alone. Zeros,
 * infinities and NaN are not; nor are negative numbers, which come last in the unsigned order of bits. */
FO_INLINE int all_fit(vec x)
{
    if (FO_DOUBLE) {
        const long long lowest = (1023 - 900ll) << 52, infinity = 2047ll << 52;
        const __m512i above = _mm512_sub_epi64((__m512i)x, _mm512_set1_epi64(lowest));
        return !_mm512_cmpge_epu64_mask(above, _mm512_set1_epi64(infinity - lowest));
    }
    const int lowest = (127 - 72) << 23, infinity = 255 << 23;
    const __m512i above = _mm512_sub_epi32((__m512i)x, _mm512_set1_epi32(lowest));
    return !_mm512_cmpge_epu32_mask(above, _mm512_set1_epi32(infinity - lowest));
}

/* Off by less than 2^-14 of 1/sqrt(x) on every CPU, and a float, so that there are few estimates to test. */
FO_INLINE vec estimate_of(vec x)
{
    if (FO_DOUBLE) {
        const __m512i estimate = (__m512i)_mm512_rsqrt14_pd((__m512d)x);
        return (vec)_mm512_and_si512(estimate, _mm512_set1_epi64(~((1ll << 29) - 1)));
    }
    return (vec)_mm512_rsqrt14_ps((__m512)x);
}

/* Right where all_fit. */
FO_INLINE vec multiplied_root(vec x)
{
    vec root, h;
    iterate_root(x, estimate_of(x), &root, &h);
    return finish_root(x, root, h);
}
#else
#define FO_HAS_MULTIPLIED_ROOT 0

FO_INLINE int rounds_to_nearest(void)
{
    return 0;
}
#endif

FO_INLINE vec root_of(vec x, int by_multiplications)
{
#if FO_HAS_MULTIPLIED_ROOT
    if (by_multiplications && __builtin_expect(all_fit(x), 1))
        return multiplied_root(x);
#endif
    (void)by_multiplications;
    return root_by_divider(x);
}
