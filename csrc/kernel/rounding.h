/* From float32 to what the narrow formats keep of it; and the random words of stochastic rounding. */
#if !FO_DOUBLE

/* Rounded bits, of which a bfloat16 keeps the upper half; of a NaN its own, made quiet. */
FO_INLINE vec unless_nan(vec x, words rounded)
{
    return (vec)select_words(x != x, (words)x | 0x400000, rounded);
}

FO_INLINE vec round_to_nearest(vec x)
{
    return unless_nan(x, (words)x + 0x7fff + ((words)x >> 16 & 1));
}

/* random: 16 bits in each lane. */
FO_INLINE vec round_at_random(vec x, words random)
{
    return unless_nan(x, (words)x + random);
}

/* The first word of elements whose positions, with the key added, are at. Two multiplications and three shifts
 * make each bit depend on all of a position's (the constants are those of MurmurHash3's finalizer). */
FO_INLINE words first_word(words at, uint32_t key)
{
    at = (at ^ at >> 16) * 0x85ebca6b;
    at = (at ^ at >> 13 ^ key) * 0xc2b2ae35;
    return at ^ at >> 16;
}

FO_INLINE words next_word(words x)
{
    x *= 0x9e3779b1;
    return x ^ x >> 15;
}

FO_INLINE words lane_numbers(void)
{
    words lane;
    for (uint32_t k = 0; k < LANES; k++)
        lane[k] = k;
    return lane;
}

/* The 16 bits of the number-th buffer that is rounded, at elements from the i-th on. */
FO_INLINE words random_half(const fo_draws *draws, size_t i, int number)
{
    words x = first_word(lane_numbers() + (draws->first + (uint32_t)i), draws->key);
    for (int k = 0; k < number / 2; k++)
        x = next_word(x);
    return number % 2 ? x >> 16 : x & 0xffff;
}
#endif
