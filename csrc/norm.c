/* The order of the additions is fixed: each tensor is cut into blocks of BLOCK elements; within a block,
 * element i is added to accumulator i mod ACCUMULATORS; the accumulators are added in halves; and the
 * sums of all blocks, in order, are added in pairs until one is left. Squares of floats are exact in
 * double. */
#ifndef FO_TEMPLATE

#include "norm.h"

#include "kernel.h"
#include "parallel.h"

#include <math.h>
#include <stdlib.h>

enum { BLOCK = 4096, ACCUMULATORS = 32, CHUNK = 2 };
/* Of so many blocks, which no cache is expected to hold, two at a time are summed, one from each half of a chunk,
 * so many elements of each in turn: while one waits, the prefetchers get ahead at the other. */
#ifndef FO_MANY_BLOCKS /* tests have fewer */
#define FO_MANY_BLOCKS 1024
#endif
enum { BURST = 512 };

typedef double block_sum(const void *grad, size_t n);
/* Of two blocks of n elements each. */
typedef void two_sums(const void *const *grads, size_t n, double *sums);

#define FO_TEMPLATE "norm.c"
#include "instances.h"

#define FO_BLOCK_SUMS(isa, name)                                                                   \
    [isa] = {FO_CAT(sum_block, FO_CAT(name, f32)), FO_CAT(sum_block, FO_CAT(name, f64))},
static block_sum *const block_sums[FO_ISA_COUNT][2] = {FO_ISAS(FO_BLOCK_SUMS)};
#define FO_TWO_SUMS(isa, name)                                                                     \
    [isa] = {FO_CAT(sum_two, FO_CAT(name, f32)), FO_CAT(sum_two, FO_CAT(name, f64))},
static two_sums *const sums_of_two[FO_ISA_COUNT][2] = {FO_ISAS(FO_TWO_SUMS)};

static size_t block_count(const fo_tensor *tensor)
{
    return tensor->grad ? (tensor->n + BLOCK - 1) / BLOCK : 0;
}

typedef struct sum_job {
    const fo_tensor *tensors;
    const size_t *starts; /* the first block of each tensor, and the end */
    size_t count;
    double *sums;
} sum_job;

typedef struct block {
    const void *grad;
    size_t n;
    fo_dtype dtype;
} block;

/* index is that of its tensor, or of one before that. */
static block block_at(const sum_job *job, size_t position, size_t *index)
{
    while (job->starts[*index + 1] <= position)
        ++*index;
    const fo_tensor *tensor = &job->tensors[*index];
    const size_t first = (position - job->starts[*index]) * BLOCK;
    const size_t left = tensor->n - first;
    return (block){(const char *)tensor->grad + first * fo_size_of(tensor->dtype),
                   left < BLOCK ? left : BLOCK, tensor->dtype};
}

static double sum_of(const block *it)
{
    return block_sums[fo_isa_in_use()][it->dtype](it->grad, it->n);
}

static void sum_blocks(void *context, size_t begin, size_t end)
{
    const sum_job *job = context;
    const size_t half = job->starts[job->count] >= FO_MANY_BLOCKS ? (end - begin) / 2 : 0;
    size_t index = fo_find_interval(job->starts, job->count, begin);
    size_t index_ahead = fo_find_interval(job->starts, job->count, begin + half);
    for (size_t i = begin; i < begin + half; i++) {
        const block one = block_at(job, i, &index), other = block_at(job, i + half, &index_ahead);
        if (one.n == other.n && one.dtype == other.dtype) {
            double sums[2];
            sums_of_two[fo_isa_in_use()][one.dtype]((const void *[]){one.grad, other.grad}, one.n,
                                                    sums);
            job->sums[i] = sums[0];
            job->sums[i + half] = sums[1];
        } else {
            job->sums[i] = sum_of(&one);
            job->sums[i + half] = sum_of(&other);
        }
    }
    for (size_t i = begin + 2 * half; i < end; i++) {
        const block last = block_at(job, i, &index_ahead);
        job->sums[i] = sum_of(&last);
    }
}

static double add_in_pairs(double *sums, size_t count)
{
    if (!count)
        return 0.0;
    while (count > 1) {
        for (size_t i = 0; i < count / 2; i++)
            sums[i] = sums[2 * i] + sums[2 * i + 1];
        if (count & 1)
            sums[count / 2] = sums[count - 1];
        count -= count / 2;
    }
    return sums[0];
}

fo_status fo_sum_squares(const fo_tensor *tensors, size_t count, int threads, double *sum)
{
    size_t *starts = malloc((count + 1) * sizeof *starts);
    if (!starts)
        return FO_NO_MEMORY;
    size_t blocks = 0;
    for (size_t i = 0; i < count; i++) {
        starts[i] = blocks;
        blocks += block_count(&tensors[i]);
    }
    starts[count] = blocks;
    double *sums = malloc((blocks + 1) * sizeof *sums);
    if (!sums) {
        free(starts);
        return FO_NO_MEMORY;
    }
    sum_job job = {tensors, starts, count, sums};
    fo_parallel(threads, blocks, CHUNK, sum_blocks, &job);
    *sum = add_in_pairs(sums, blocks);
    free(sums);
    free(starts);
    return FO_OK;
}

int fo_all_finite(const fo_tensor *tensors, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const fo_tensor *tensor = &tensors[i];
        for (size_t k = 0; tensor->grad && k < tensor->n; k++)
            if (tensor->dtype == FO_FLOAT64 ? !isfinite(((const double *)tensor->grad)[k])
                                            : !isfinite(((const float *)tensor->grad)[k]))
                return 0;
    }
    return 1;
}

#else

#define wide FO_NAME(wide)
#define narrow FO_NAME(narrow)
#define WIDE (FO_VECTOR_BYTES / sizeof(double))
typedef double wide __attribute__((vector_size(FO_VECTOR_BYTES)));
typedef stored narrow __attribute__((vector_size(FO_VECTOR_BYTES / sizeof(double) * sizeof(stored)),
                                     aligned(sizeof(stored)), may_alias));

/* By intrinsics: compilers convert the halves of a vector one by one and put them together again. */
#define widen FO_NAME(widen)
FO_INLINE wide widen(const stored *from)
{
#if FO_DOUBLE
    return *(const narrow *)from;
#elif defined(__x86_64__) && FO_VECTOR_BYTES == 64
    return (wide)_mm512_cvtps_pd(_mm256_loadu_ps(from));
#elif defined(__x86_64__) && FO_VECTOR_BYTES == 32
    return (wide)_mm256_cvtps_pd(_mm_loadu_ps(from));
#else
    return __builtin_convertvector(*(const narrow *)from, wide);
#endif
}

/* sum + x*x. In one operation where that changes no bit: the square of a float is exact. */
#define add_square FO_NAME(add_square)
FO_INLINE wide add_square(wide sum, wide x)
{
#if !FO_DOUBLE && defined(__x86_64__) && FO_VECTOR_BYTES == 64
    return (wide)_mm512_fmadd_pd((__m512d)x, (__m512d)x, (__m512d)sum);
#else
    return sum + x * x;
#endif
}

/* n is a multiple of ACCUMULATORS. */
#define add_squares FO_NAME(add_squares)
FO_INLINE void add_squares(wide *to, const stored *g, size_t n)
{
    wide sums[ACCUMULATORS / WIDE];
    __builtin_memcpy(sums, to, sizeof sums);
    for (size_t i = 0; i < n; i += ACCUMULATORS) {
        for (size_t k = 0; k < ACCUMULATORS / WIDE; k++)
            sums[k] = add_square(sums[k], widen(g + i + k * WIDE));
    }
    __builtin_memcpy(to, sums, sizeof sums);
}

/* With the squares of the last elements, fewer than ACCUMULATORS. */
#define add_up FO_NAME(add_up)
FO_INLINE double add_up(const wide *sums, const stored *g, size_t n)
{
    double lanes[ACCUMULATORS];
    __builtin_memcpy(lanes, sums, sizeof lanes);
    for (size_t k = 0; k < n; k++)
        lanes[k] += (double)g[k] * (double)g[k];
    for (size_t half = ACCUMULATORS / 2; half; half /= 2)
        for (size_t k = 0; k < half; k++)
            lanes[k] += lanes[k + half];
    return lanes[0];
}

static double FO_NAME(sum_block)(const void *grad, size_t n)
{
    const stored *g = grad;
    wide sums[ACCUMULATORS / WIDE] = {{0}};
    const size_t whole = n / ACCUMULATORS * ACCUMULATORS;
    add_squares(sums, g, whole);
    return add_up(sums, g + whole, n - whole);
}

static void FO_NAME(sum_two)(const void *const *grads, size_t n, double *to)
{
    wide sums[2][ACCUMULATORS / WIDE] = {{{0}}};
    const size_t whole = n / ACCUMULATORS * ACCUMULATORS;
    for (size_t i = 0; i < whole; i += BURST)
        for (int k = 0; k < 2; k++)
            add_squares(sums[k], (const stored *)grads[k] + i,
                        whole - i < BURST ? whole - i : BURST);
    for (int k = 0; k < 2; k++)
        to[k] = add_up(sums[k], (const stored *)grads[k] + whole, n - whole);
}

#undef add_square
#undef add_squares
#undef add_up
#undef wide
#undef widen
#undef narrow
#undef WIDE

#endif
