/* Buffers of any format that computes in float32, to float32 and back. */
#ifndef FO_TEMPLATE

#include "build.h"

#include "convert.h"

/* Elements for which random bits are drawn together. */
enum { RUN = 512 };

typedef struct conversions {
    void (*to_float32)(fo_format format, const void *from, const int16_t *remainder, float *to,
                       size_t n);
    void (*from_float32)(const fo_narrowing *how, const float *from, size_t n);
    void (*from_blocks)(const fo_block8 *from, int squares, float *to, size_t n);
} conversions;

#define FO_TEMPLATE "convert.c"
#include "kernel/instances.h"

#define FO_CONVERSIONS(isa, name, unused) [isa] = &conversions_##name,
static const conversions *const conversions_of[FO_ISA_COUNT] = {FO_ISAS(FO_CONVERSIONS, )};

void fo_widen(fo_format format, const void *from, const int16_t *remainder, float *to, size_t n)
{
    conversions_of[fo_isa_in_use()]->to_float32(format, from, remainder, to, n);
}

void fo_widen_blocks(const fo_block8 *from, int squares, float *to, size_t n)
{
    conversions_of[fo_isa_in_use()]->from_blocks(from, squares, to, n);
}

void fo_narrow(const fo_narrowing *how, const float *from, size_t n)
{
    conversions_of[fo_isa_in_use()]->from_float32(how, from, n);
}

#elif !FO_DOUBLE

#include "kernel/rounding.h"

#include "kernel/formats.h"

#include "kernel/blocks.h"

FO_INLINE void widen_buffer(fo_format format, const void *from, float *to, size_t n)
{
    const char *at = from;
    const size_t size = fo_size_of(format);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        store_native(to + i, load(format, at + i * size));
    if (i < n)
        store_native(to + i, load_first(format, at + i * size, n - i));
}

FO_INLINE void join_buffers(const uint16_t *high, const uint16_t *low, float *to, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        store_native(to + i, join(load_halves(high + i), load_halves(low + i)));
    if (i < n)
        store_native(to + i, join(load_first_halves(high + i, n - i, 0x3f80),
                                  load_first_halves(low + i, n - i, 0)));
}

FO_INLINE void split_buffer(const float *from, uint16_t *high, uint16_t *low, size_t n)
{
    words above, below;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        split(quiet_nans(load_native(from + i)), &above, &below);
        store_halves(high + i, above);
        store_halves(low + i, below);
    }
    if (i < n) {
        split(quiet_nans(load_first_native(from + i, n - i, 1)), &above, &below);
        store_first_halves(high + i, above, n - i);
        store_first_halves(low + i, below, n - i);
    }
}

static void FO_CAT(to_float32, FO_ISA)(fo_format format, const void *from, const int16_t *remainder,
                                       float *to, size_t n)
{
    if (remainder) {
        join_buffers(from, (const uint16_t *)remainder, to, n);
        return;
    }
    switch (format) { /* without a default, so that the compiler names a new format */
    case FO_BFLOAT16:
        widen_buffer(FO_BFLOAT16, from, to, n);
        return;
    case FO_FLOAT16:
        widen_buffer(FO_FLOAT16, from, to, n);
        return;
    case FO_FLOAT32:
    case FO_FLOAT64:
    case FO_BLOCK8:
    case FO_FORMAT_COUNT:
    case FO_MIXED:
        return; /* is not converted here */
    }
}

/* Here and below: random is 16 bits for each element, or NULL to round to nearest. */
FO_INLINE void narrow_buffer(fo_format format, char *to, const uint16_t *random, const float *from,
                             size_t n)
{
    const size_t size = fo_size_of(format);
    for (size_t i = 0; i < n; i += LANES) {
        const size_t count = n - i < LANES ? n - i : LANES;
        vec x = count == LANES ? load_native(from + i) : load_first_native(from + i, count, 1);
        if (format == FO_BFLOAT16) {
            x = quiet_nans(x);
            x = random ? round_at_random(x, load_halves(random + i)) : round_to_nearest(x);
        }
        if (count == LANES)
            store(format, to + i * size, x);
        else
            store_first(format, to + i * size, x, count);
    }
}

FO_INLINE void narrow_blocks(int squares, fo_block8 *to, const uint16_t *random, const float *from,
                             size_t n)
{
    float last[FO_BLOCK];
    while (n) {
        /* The whole blocks, or the part of one that is left. */
        const size_t blocks = n < FO_BLOCK ? 1 : n / FO_BLOCK;
        const float *x = from;
        if (n < FO_BLOCK) {
            __builtin_memset(last, 0, sizeof last);
            x = __builtin_memcpy(last, from, n * sizeof *last);
        }
        for (size_t k = 0; k < blocks; k++)
            store_block(&to[k], squares, random ? random + k * FO_BLOCK : NULL, x + k * FO_BLOCK);
        if (n < FO_BLOCK) {
            __builtin_memset(to->codes + n, 0, FO_BLOCK - n);
            return;
        }
        to += blocks;
        from += blocks * FO_BLOCK;
        random = random ? random + blocks * FO_BLOCK : NULL;
        n -= blocks * FO_BLOCK;
    }
}

FO_INLINE void narrow_run(const fo_narrowing *how, size_t i, const uint16_t *random,
                          const float *from, size_t n)
{
    char *to = (char *)how->to + fo_bytes_of(how->format, i);
    switch (how->format) { /* as above */
    case FO_BFLOAT16:
        narrow_buffer(FO_BFLOAT16, to, random, from, n);
        return;
    case FO_FLOAT16:
        narrow_buffer(FO_FLOAT16, to, NULL, from, n);
        return;
    case FO_BLOCK8:
        if (how->squares)
            narrow_blocks(1, (fo_block8 *)to, random, from, n);
        else
            narrow_blocks(0, (fo_block8 *)to, random, from, n);
        return;
    case FO_FLOAT32:
    case FO_FLOAT64:
    case FO_FORMAT_COUNT:
    case FO_MIXED:
        return; /* is not converted */
    }
}

static void FO_CAT(from_float32, FO_ISA)(const fo_narrowing *how, const float *from, size_t n)
{
    if (how->remainder) {
        split_buffer(from, how->to, (uint16_t *)how->remainder, n);
    } else if (how->rounding == FO_NEAREST || how->format == FO_FLOAT16) {
        narrow_run(how, 0, NULL, from, n);
    } else {
        uint16_t halves[RUN + 2 * LANES];
        for (size_t i = 0; i < n; i += RUN) {
            const size_t count = n - i < RUN ? n - i : RUN;
            narrow_run(how, i, draw_halves(&how->draws, i, count, how->number, halves), from + i,
                       count);
        }
    }
}

FO_INLINE void widen_blocks(const fo_block8 *from, int squares, float *to, size_t n)
{
    for (size_t i = 0; i < n; i += FO_BLOCK)
        load_block(&from[i / FO_BLOCK], squares, to + i);
}

static void FO_CAT(from_blocks, FO_ISA)(const fo_block8 *from, int squares, float *to, size_t n)
{
    if (squares)
        widen_blocks(from, 1, to, n);
    else
        widen_blocks(from, 0, to, n);
}

static const conversions FO_CAT(conversions, FO_ISA) = {
    FO_CAT(to_float32, FO_ISA), FO_CAT(from_float32, FO_ISA), FO_CAT(from_blocks, FO_ISA)};

#endif
