/* Buffers of any format that computes in float32, to float32 and back. Internal. */
#ifndef FO_CONVERT_H
#define FO_CONVERT_H

#include "kernel/kernel.h"

void fo_widen(fo_format format, const void *from, const int16_t *remainder, float *to, size_t n);

/* The same from blocks; to has room for the whole of the last one. */
void fo_widen_blocks(const fo_block8 *from, int squares, float *to, size_t n);

/* Where and how numbers of float32 are stored. */
typedef struct fo_narrowing {
    fo_format format;
    fo_rounding rounding;
    fo_draws draws;
    int number;  /* of the buffer, among those that are rounded stochastically */
    int squares; /* whether blocks are of squares */
    void *to;
    int16_t *remainder; /* or NULL */
} fo_narrowing;

void fo_narrow(const fo_narrowing *how, const float *from, size_t n);

#endif
