/* A second square root, which leaves the divider alone: with AVX-512, as long as the caller has numbers
 * rounded to the nearest, it gives the bits of square_root (simd.h) by multiplications. loop.h mixes both.
 *
 * An estimate of 1/sqrt(x) is only where Goldschmidt's iteration begins. It ends with root and h within a
 * few units in the last place of sqrt(x) and 1/(2 sqrt(x)); then the remainder x - root*root times h is
 * added in one rounding. Before that rounding the sum is off by so little (2^-99 of it in double, 2^-43 in
 * float) that it can go astray only where sqrt(x) is as close to the middle of two numbers. These x are few:
 * tests/c/roots.c lists them and tries each from every estimate that the instruction may give. */
#undef FO_HAS_MULTIPLIED_ROOT
#if defined(__x86_64__) && FO_VECTOR_BYTES == 64
#define FO_HAS_MULTIPLIED_ROOT 1

#undef rounds_to_nearest
#define rounds_to_nearest FO_NAME(rounds_to_nearest)
FO_INLINE int rounds_to_nearest(void)
{
    return (_mm_getcsr() & _MM_ROUND_MASK) == _MM_ROUND_NEAREST;
}

/* c + a*b and c - a*b in one rounding. */
#undef add_product
#define add_product FO_NAME(add_product)
FO_INLINE vec add_product(vec c, vec a, vec b)
{
    return FO_DOUBLE ? (vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c)
                     : (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
#undef subtract_product
#define subtract_product FO_NAME(subtract_product)
FO_INLINE vec subtract_product(vec c, vec a, vec b)
{
    return FO_DOUBLE ? (vec)_mm512_fnmadd_pd((__m512d)a, (__m512d)b, (__m512d)c)
                     : (vec)_mm512_fnmadd_ps((__m512)a, (__m512)b, (__m512)c);
}

/* root and h, from an estimate of 1/sqrt(x) that is off by less than 2^-14 of it. */
#undef iterate_root
#define iterate_root FO_NAME(iterate_root)
FO_INLINE void iterate_root(vec x, vec estimate, vec *root, vec *h)
{
    const vec half = (vec){0} + (scalar)0.5;
    const FO_NAME(lane_mask) one_exponent = (FO_NAME(lane_mask))1 << (FO_DOUBLE ? 52 : 23);
    *root = x * estimate;
    /* Halved by its exponent: the multipliers are what is short. */
    *h = (vec)((FO_NAME(mask))estimate - one_exponent);
    for (int bits = 14; bits < (FO_DOUBLE ? 53 : 24); bits *= 2) {
        const vec error = subtract_product(half, *root, *h);
        *root = add_product(*root, *root, error);
        *h = add_product(*h, *h, error);
    }
}

#undef finish_root
#define finish_root FO_NAME(finish_root)
FO_INLINE vec finish_root(vec x, vec root, vec h)
{
    return add_product(root, subtract_product(x, root, root), h);
}

/* Whether all are numbers whose remainder is a normal one, so that no flush-to-zero touches it: no
 * zeros, infinities, NaN, nor anything negative, which comes last in the order of the bits. */
#undef all_fit
#define all_fit FO_NAME(all_fit)
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

/* Off by less than 2^-14 of 1/sqrt(x), on whichever CPU, and a float: so there are few to be tried. */
#undef estimate_of
#define estimate_of FO_NAME(estimate_of)
FO_INLINE vec estimate_of(vec x)
{
    if (FO_DOUBLE) {
        const __m512i estimate = (__m512i)_mm512_rsqrt14_pd((__m512d)x);
        return (vec)_mm512_and_si512(estimate, _mm512_set1_epi64(~((1ll << 29) - 1)));
    }
    return (vec)_mm512_rsqrt14_ps((__m512)x);
}

/* Right where all_fit. */
#undef multiplied_root
#define multiplied_root FO_NAME(multiplied_root)
FO_INLINE vec multiplied_root(vec x)
{
    vec root, h;
    iterate_root(x, estimate_of(x), &root, &h);
    return finish_root(x, root, h);
}
#else
#define FO_HAS_MULTIPLIED_ROOT 0
#endif
