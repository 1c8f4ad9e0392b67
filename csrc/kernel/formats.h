/* Loads and stores of every storage format that computes in float32. A format is a constant wherever speed
 * counts and these are inlined, so the switch leaves one case. A store takes what rounding.h has rounded, and
 * only puts it in place. */

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

FO_INLINE vec load(fo_format format, const void *from)
{
    switch (format) {
    case FO_BFLOAT16:
        return (vec)(load_halves(from) << 16);
    case FO_FLOAT16:
        return from_float16(load_halves(from));
    default: /* float32 */
        return load_native(from);
    }
}

FO_INLINE void store(fo_format format, void *to, vec x)
{
    switch (format) {
    case FO_BFLOAT16:
        store_halves(to, (words)x >> 16);
        return;
    case FO_FLOAT16:
        store_halves(to, to_float16(x));
        return;
    default:
        store_native(to, x);
    }
}

/* The first count elements; see simd.h. */
FO_INLINE vec load_first(fo_format format, const void *from, size_t count)
{
    switch (format) {
    case FO_BFLOAT16:
        return (vec)(load_first_halves(from, count, 0x3f80) << 16);
    case FO_FLOAT16:
        return from_float16(load_first_halves(from, count, 0x3c00));
    default:
        return load_first_native(from, count, 1);
    }
}

FO_INLINE void store_first(fo_format format, void *to, vec x, size_t count)
{
    switch (format) {
    case FO_BFLOAT16:
        store_first_halves(to, (words)x >> 16, count);
        return;
    case FO_FLOAT16:
        store_first_halves(to, to_float16(x), count);
        return;
    default:
        store_first_native(to, x, count);
    }
}

/* 16 random bits for the number-th buffer that is rounded, at each of count elements from the i-th on. halves has
 * room for 2*LANES more. Where those of the first element are, which may have its word in common with the one before
 * it, is returned. */
FO_INLINE const uint16_t *draw_halves(const fo_draws *draws, size_t i, size_t count, int number,
                                      uint16_t *halves)
{
    const uint32_t position = draws->position + (uint32_t)i;
    const size_t before = position & 1;
    for (size_t k = 0; k < count + before; k += 2 * LANES) {
        /* The lower half of the position may begin anew. */
        const words place = (lane_numbers() + (position / 2 + (uint32_t)k / 2)) & 0x7fffffff;
        words x = first_word(place * FO_FIRST_FACTOR + draws->add, draws->key);
        for (int other = 0; other < number; other++)
            x = next_word(x);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        x = x << 16 | x >> 16;
#endif
        __builtin_memcpy(halves + k, &x, sizeof x);
    }
    return halves + before;
}
