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

/* Of the smallest t. */
FO_INLINE uint32_t first_code(int squares)
{
    return squares ? 761 : 889;
}

FO_INLINE scalar shift_of(int squares)
{
    return squares ? 0 : 0x1.2p-16f;
}

FO_INLINE void load_block(const fo_block8 *from, int squares, float *to)
{
    const scalar shift = shift_of(squares), factor = from->scale / (1 - shift);
    for (size_t k = 0; k < FO_BLOCK; k += LANES) {
        const words code = __builtin_convertvector(*(const code_bytes *)(from->codes + k), words);
        const words magnitude = squares ? code : code & 0x7f;
        const words sign = squares ? (words){0} : (code & 0x80) << 24;
        const vec t = (vec)((magnitude + first_code(squares)) << 20);
        store_native(to + k, (vec)((words)((t - shift) * factor) ^ sign));
    }
}

/* The largest magnitude of a block as bits, which have the order of the numbers. */
FO_INLINE uint32_t largest_bits(const float *from)
{
    mask top = {0};
    for (size_t k = 0; k < FO_BLOCK; k += LANES) {
        const mask bits = (mask)load_native(from + k) & 0x7fffffff;
        top = (mask)select_words(bits > top, (words)bits, (words)top);
    }
    lane_bits largest = 0;
    for (size_t lane = 0; lane < LANES; lane++)
        largest = top[lane] > largest ? top[lane] : largest;
    return (uint32_t)largest;
}

/* The number-th buffer that is rounded, from element i of the draws on. */
FO_INLINE void store_block(fo_block8 *to, int squares, fo_rounding rounding, const fo_draws *draws,
                           size_t i, int number, const float *from)
{
    const uint32_t largest = largest_bits(from), smallest_normal = 0x00800000,
                   infinity = 0x7f800000;
    if (largest < smallest_normal || largest >= infinity) {
        *to = (fo_block8){.scale = largest < infinity ? 0 : NAN};
        return;
    }
    __builtin_memcpy(&to->scale, &largest, sizeof largest);
    const scalar shift = shift_of(squares), factor = (1 - shift) / to->scale;
    for (size_t k = 0; k < FO_BLOCK; k += LANES) {
        const vec x = load_native(from + k);
        const words sign = (words)x & 0x80000000;
        const words t = (words)((vec)((words)x ^ sign) * factor + shift);
        const words rounded = rounding == FO_STOCHASTIC
                                  ? t + (random_half(draws, i + k, number) << 4) + 8
                                  : t + 0x7ffff + (t >> 20 & 1);
        const mask code = (mask)(rounded >> 20) - (mask)((words){0} + first_code(squares));
        const words magnitude = (words)code & (words)(code > 0);
        *(code_bytes *)(to->codes + k) =
            __builtin_convertvector(squares ? magnitude : magnitude | sign >> 24, code_bytes);
    }
}
