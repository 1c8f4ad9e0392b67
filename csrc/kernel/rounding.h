/* From float32 to what the narrow formats keep of it, and the random words of stochastic rounding. A bfloat16
 * is the upper half of what these return. */
typedef uint32_t words __attribute__((vector_size(FO_VECTOR_BYTES)));
typedef uint16_t halves
    __attribute__((vector_size(FO_VECTOR_BYTES / 2), aligned(sizeof(uint16_t)), may_alias));

/* By an intrinsic: a compiler converts the halves of a vector one by one and puts them together again. */
FO_INLINE words load_halves(const uint16_t *from)
{
#if FO_VOCABULARY == FO_AVX512
    return (words)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from));
#else
    return __builtin_convertvector(*(const halves *)from, words);
#endif
}

FO_INLINE void store_halves(uint16_t *to, words x)
{
    *(halves *)to = __builtin_convertvector(x, halves);
}

FO_INLINE words select_words(mask where, words a, words b)
{
    return ((words)where & a) | (~(words)where & b);
}

/* NaN made quiet, and of its own upper half alone, to which what rounding adds cannot carry. */
FO_INLINE vec quiet_nans(vec x)
{
    return (vec)select_words(x != x, ((words)x | 0x400000) & 0xffff0000, (words)x);
}

/* The following are for what quiet_nans has seen. */
FO_INLINE vec round_to_nearest(vec x)
{
    return (vec)((words)x + 0x7fff + ((words)x >> 16 & 1));
}

/* random: 16 bits in each lane. */
FO_INLINE vec round_at_random(vec x, words random)
{
    return (vec)((words)x + random);
}

/* Two elements side by side, the first at an even position, have a word in common, of which the first takes the
 * lower half. Of words at consecutive places the product is one addition. */
#define FO_FIRST_FACTOR 0x9e3779b1u

/* The first word of a place, multiplied by FO_FIRST_FACTOR and with half of the key added. */
FO_INLINE words first_word(words product, uint32_t key)
{
    words x = (product ^ product >> 16 ^ key) * 0x85ebca6b;
    return x ^ x >> 15;
}

FO_INLINE words next_word(words x)
{
    x *= 0xc2b2ae35;
    return x ^ x >> 15;
}

FO_INLINE words lane_numbers(void)
{
    words lane;
    for (uint32_t k = 0; k < LANES; k++)
        lane[k] = k;
    return lane;
}

/* The bfloat16 nearest to x, ties up, and the remainder. x is no NaN but what quiet_nans returns. */
FO_INLINE void split(vec x, words *high, words *low)
{
    *high = ((words)x + 0x8000) >> 16;
    *low = (words)x & 0xffff;
}
