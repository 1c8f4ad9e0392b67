/* The norm of all gradients, or of those of each row.
 *
 * The order of the additions is fixed: each tensor is cut into blocks of BLOCK elements; within a block,
 * element i is added to accumulator i mod ACCUMULATORS; the accumulators are added in halves; and the
 * sums of all blocks, in order, are added in pairs until one is left. Squares of floats are exact in
 * double. */
#ifndef FO_TEMPLATE

#include "build.h"

#include "norm.h"

#include "kernel/kernel.h"
#include "library.h"
#include "tensor.h"
#include "threads/pool.h"

#include <math.h>
#include <stdlib.h>

enum { BLOCK = 4096, ACCUMULATORS = 32, CHUNK = 2 };
/* From this many blocks on, the gradients do not fit into the caches. Then two blocks are summed at a time, one
 * from each half of a chunk, BURST elements of each in turn: hardware prefetchers load the next elements of one
 * while the other is summed. */
#ifndef FO_MANY_BLOCKS /* tests have fewer */
#define FO_MANY_BLOCKS 1024
#endif
enum { BURST = 512 };

/* For one format and instruction set. */
typedef struct block_functions {
    double (*sum)(const void *grad, size_t n);
    /* Of two blocks of n elements each. */
    void (*sum_two)(const void *const *grads, size_t n, double *sums);
    int (*is_finite)(const void *grad, size_t n);
} block_functions;

#define FO_TEMPLATE "norm.c"
#include "kernel/instances.h"

#define FO_BLOCK_(format, isa) block_##format##_##isa
#define FO_BLOCK(isa, name, format) [isa] = &FO_BLOCK_(format, name),
static const block_functions *const functions[FO_FORMAT_COUNT][FO_ISA_COUNT] = {
#define FO_FORMAT(NAME, format, ...) {FO_ISAS(FO_BLOCK, format)},
#include "formats.def"
};

static size_t block_count(const fo_tensor *tensor)
{
    return tensor->grad ? (tensor->n + BLOCK - 1) / BLOCK : 0;
}

typedef struct sum_job {
    const fo_tensor *tensors;
    const size_t *starts; /* the first block of each tensor in a row, and the end */
    size_t count;
    int is_far; /* the gradients are more than caches hold */
    double *sums;
} sum_job;

typedef struct block {
    const void *grad;
    size_t n;
    const block_functions *by;
} block;

static block block_of(const fo_tensor *tensor, size_t row, size_t number)
{
    const fo_format format = fo_grad_format(tensor);
    const size_t first = number * BLOCK, left = tensor->n - first;
    return (block){(const char *)tensor->grad + (row * tensor->n + first) * fo_size_of(format),
                   left < BLOCK ? left : BLOCK, functions[format][fo_isa_in_use()]};
}

/* A block by its row, its number within the row, and its tensor or one before that. */
typedef struct place {
    size_t row, number, tensor;
} place;

static place place_of(const sum_job *job, size_t position)
{
    const size_t per_row = job->starts[job->count], number = position % per_row;
    return (place){position / per_row, number, fo_interval_of(job->starts, job->count, number)};
}

/* The block at a place, which goes on to the next. */
static block next_block(const sum_job *job, place *at)
{
    while (job->starts[at->tensor + 1] <= at->number)
        at->tensor++;
    const block it =
        block_of(&job->tensors[at->tensor], at->row, at->number - job->starts[at->tensor]);
    if (++at->number == job->starts[job->count])
        *at = (place){at->row + 1, 0, 0};
    return it;
}

static void sum_blocks(void *context, size_t begin, size_t end)
{
    const sum_job *job = context;
    const size_t half = job->is_far ? (end - begin) / 2 : 0;
    place at = place_of(job, begin), ahead = place_of(job, begin + half);
    for (size_t i = begin; i < begin + half; i++) {
        const block one = next_block(job, &at), other = next_block(job, &ahead);
        if (one.n == other.n && one.by == other.by) {
            double sums[2];
            one.by->sum_two((const void *[]){one.grad, other.grad}, one.n, sums);
            job->sums[i] = sums[0];
            job->sums[i + half] = sums[1];
        } else {
            job->sums[i] = one.by->sum(one.grad, one.n);
            job->sums[i + half] = other.by->sum(other.grad, other.n);
        }
    }
    for (size_t i = begin + 2 * half; i < end; i++) {
        const block last = next_block(job, &ahead);
        job->sums[i] = last.by->sum(last.grad, last.n);
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

fo_status fo_sum_squares(const fo_tensor *tensors, size_t count, size_t rows, int threads,
                         double *sums)
{
    size_t *starts = malloc((count + 1) * sizeof *starts);
    if (!starts)
        return FO_NO_MEMORY;
    size_t blocks = 0, elements = 0;
    for (size_t i = 0; i < count; i++) {
        starts[i] = blocks;
        blocks += block_count(&tensors[i]);
        elements += tensors[i].grad ? tensors[i].n : 0;
    }
    starts[count] = blocks;
    double *of_blocks = malloc((rows * blocks + 1) * sizeof *of_blocks);
    if (!of_blocks) {
        free(starts);
        return FO_NO_MEMORY;
    }
    sum_job job = {tensors, starts, count, rows * elements / BLOCK >= FO_MANY_BLOCKS, of_blocks};
    /* Of blocks that are not full, more to a chunk. */
    const size_t shorter = blocks * BLOCK / (elements + 1);
    fo_parallel(threads, rows * blocks, CHUNK * (shorter ? shorter : 1), sum_blocks, &job);
    for (size_t row = 0; row < rows; row++)
        sums[row] = add_in_pairs(of_blocks + row * blocks, blocks);
    free(of_blocks);
    free(starts);
    return FO_OK;
}

int fo_all_finite(const fo_tensor *tensors, size_t count, size_t row)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < block_count(&tensors[i]); k++) {
            const block it = block_of(&tensors[i], row, k);
            if (!it.by->is_finite(it.grad, it.n))
                return 0;
        }
    return 1;
}

fo_status fo_norm_abi(uint64_t abi, const fo_tensor *tensors, size_t tensor_count, double *norm)
{
    const fo_status caller = fo_check_caller(abi);
    if (caller != FO_OK)
        return caller;
    size_t bytes = 0;
    for (size_t i = 0; i < tensor_count; i++) {
        if (!tensors[i].grad)
            continue;
        if ((unsigned)fo_grad_format(&tensors[i]) >= FO_FORMAT_COUNT)
            return FO_BAD_FORMAT;
        bytes += tensors[i].n * fo_size_of(fo_grad_format(&tensors[i]));
    }
    double sum;
    const fo_status status =
        fo_sum_squares(tensors, tensor_count, 1, fo_engage_threads(bytes), &sum);
    if (status == FO_OK)
        *norm = sqrt(sum);
    return status;
}

#else

/* sum + x*x. For floats a fused operation changes no bit, because their squares are exact in double. */
FO_INLINE wide add_square(wide sum, wide x)
{
#if !FO_DOUBLE && FO_VOCABULARY == FO_AVX512
    return (wide)_mm512_fmadd_pd((__m512d)x, (__m512d)x, (__m512d)sum);
#else
    return sum + x * x;
#endif
}

/* n is a multiple of ACCUMULATORS. */
FO_INLINE void add_squares(fo_format format, wide *to, const void *grad, size_t n)
{
    const char *g = grad;
    const size_t size = fo_size_of(format);
    wide sums[ACCUMULATORS / WIDE];
    __builtin_memcpy(sums, to, sizeof sums);
    for (size_t i = 0; i < n; i += ACCUMULATORS)
        for (size_t k = 0; k < ACCUMULATORS / WIDE; k += 2) {
            wide low, high;
            load_wide(format, g + (i + k * WIDE) * size, &low, &high);
            sums[k] = add_square(sums[k], low);
            sums[k + 1] = add_square(sums[k + 1], high);
        }
    __builtin_memcpy(to, sums, sizeof sums);
}

/* Adds the squares of the last n < ACCUMULATORS elements, and then the accumulators. */
FO_INLINE double add_up(fo_format format, const wide *sums, const void *grad, size_t n)
{
    double lanes[ACCUMULATORS];
    __builtin_memcpy(lanes, sums, sizeof lanes);
    for (size_t i = 0; i < n; i += LANES) {
        const size_t count = n - i < LANES ? n - i : LANES;
        const vec g = load_first(format, (const char *)grad + i * fo_size_of(format), count);
        for (size_t k = 0; k < count; k++)
            lanes[i + k] += (double)g[k] * (double)g[k];
    }
    for (size_t half = ACCUMULATORS / 2; half; half /= 2)
        for (size_t k = 0; k < half; k++)
            lanes[k] += lanes[k + half];
    return lanes[0];
}

FO_INLINE double sum_one(fo_format format, const void *grad, size_t n)
{
    wide sums[ACCUMULATORS / WIDE] = {{0}};
    const size_t whole = n / ACCUMULATORS * ACCUMULATORS;
    add_squares(format, sums, grad, whole);
    return add_up(format, sums, (const char *)grad + whole * fo_size_of(format), n - whole);
}

FO_INLINE void sum_pair(fo_format format, const void *const *grads, size_t n, double *to)
{
    wide sums[2][ACCUMULATORS / WIDE] = {{{0}}};
    const size_t whole = n / ACCUMULATORS * ACCUMULATORS, size = fo_size_of(format);
    for (size_t i = 0; i < whole; i += BURST)
        for (int k = 0; k < 2; k++)
            add_squares(format, sums[k], (const char *)grads[k] + i * size,
                        whole - i < BURST ? whole - i : BURST);
    for (int k = 0; k < 2; k++)
        to[k] = add_up(format, sums[k], (const char *)grads[k] + whole * size, n - whole);
}

FO_INLINE int all_finite(fo_format format, const void *grad, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        const size_t count = n - i < LANES ? n - i : LANES;
        const vec g = load_first(format, (const char *)grad + i * fo_size_of(format), count);
        for (size_t k = 0; k < count; k++)
            if (!isfinite((double)g[k]))
                return 0;
    }
    return 1;
}

#define FO_FUNCTION(what, format) FO_CAT(FO_CAT(what, format), FO_ISA)
#define FO_FORMAT(NAME, format, element, compute)                                                  \
    FO_OF_##compute(                                                                               \
        static double FO_FUNCTION(sum, format)(const void *grad, size_t n) {                       \
            return sum_one(FO_##NAME, grad, n);                                                    \
        } static void FO_FUNCTION(sum_two, format)(const void *const *grads, size_t n,             \
                                                   double *to) {                                   \
            sum_pair(FO_##NAME, grads, n, to);                                                     \
        } static int FO_FUNCTION(is_finite, format)(const void *grad, size_t n) {                  \
            return all_finite(FO_##NAME, grad, n);                                                 \
        } static const block_functions FO_FUNCTION(block,                                          \
                                                   format) = {FO_FUNCTION(sum, format),            \
                                                              FO_FUNCTION(sum_two, format),        \
                                                              FO_FUNCTION(is_finite, format)};)
#include "formats.def"
#undef FO_FUNCTION

#endif
