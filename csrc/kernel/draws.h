/* What stochastic rounding draws its random words from: the same words for any instruction set, number of
 * threads and division of the work. */
#ifndef FO_DRAWS_H
#define FO_DRAWS_H

#include "fastopt.h"

/* For elements whose positions have the upper half in common. */
typedef struct fo_draws {
    uint32_t position; /* of the first element, the lower half */
    uint32_t add, key; /* the two halves of a key */
} fo_draws;

/* The finalizer of splitmix64 (Steele, Lea and Flood, OOPSLA 2014). */
static inline uint64_t fo_mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline fo_draws fo_draws_at(uint64_t seed, uint64_t step, uint64_t position)
{
    const uint64_t golden = 0x9e3779b97f4a7c15u;
    uint64_t key = fo_mix(seed + golden);
    key = fo_mix((key ^ step) + golden);
    key = fo_mix((key ^ position >> 32) + golden);
    return (fo_draws){(uint32_t)position, (uint32_t)key, (uint32_t)(key >> 32)};
}

/* Elements from this position on, itself included, that have the upper half in common with it. */
static inline uint64_t fo_draws_left(uint64_t position)
{
    return ((uint64_t)1 << 32) - (uint32_t)position;
}

#endif
