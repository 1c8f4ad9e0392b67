/* The norm of all gradients, or of those of each row.
 *
 * The order of the additions is fixed: each tensor is cut into blocks of BLOCK elements; within a block,
 * element i is added to accumulator i mod ACCUMULATORS; the accumulators are added in halves; and the
 * sums of all blocks, in order, are added in pairs until one is left. Squares of floats are exact in
 * double. */
#include "build.h"

#include "norm.h"

#include "convert.h"
#include "kernel/kernel.h"
#include "library.h"
#include "tensor.h"
#include "threads/pool.h"

#include <math.h>
#include <stdlib.h>

enum { BLOCK = FO_NORM_BLOCK, ACCUMULATORS = FO_ACCUMULATORS, CHUNK = 2 };
/* From this many blocks on, the gradients do not fit into the caches. Then two blocks are summed at a time, one
 * from each half of a chunk, BURST elements of each in turn: hardware prefetchers load the next elements of one
 * while the other is summed. */
#ifndef FO_MANY_BLOCKS /* tests have fewer */
#define FO_MANY_BLOCKS 1024
#endif
enum { BURST = 512 };

/* For one compute type and instruction set. */
typedef struct block_functions {
    double (*sum)(const void *grad, size_t n);
    /* Of two blocks of n elements each. */
    void (*sum_two)(const void *const *grads, size_t n, double *sums);
    /* Adds the squares of n numbers, or the numbers themselves, to the accumulators. */
    void (*add_squares)(double *accumulators, const void *numbers, size_t n);
    void (*add)(double *accumulators, const void *numbers, size_t n);
} block_functions;

static inline double add_halves(double *accumulators)
{
    for (size_t half = ACCUMULATORS / 2; half; half /= 2)
        for (size_t k = 0; k < half; k++)
            accumulators[k] += accumulators[k + half];
    return accumulators[0];
}

#define FO_TEMPLATE "kernel/sums.h"
#include "kernel/instances.h"

#define FO_BLOCKS(isa, name, compute)                                                              \
    [isa] = {sum_##name##_##compute, sum_two_##name##_##compute, add_squares_##name##_##compute,   \
             add_##name##_##compute},
static const block_functions of_floats[FO_ISA_COUNT] = {FO_ISAS(FO_BLOCKS, f32)};
static const block_functions of_doubles[FO_ISA_COUNT] = {FO_ISAS(FO_BLOCKS, f64)};
/* Of bfloat16, sum and sum_two alone; elsewhere blocks are converted first. */
static const block_functions of_halves[FO_ISA_COUNT] = {
#if FO_HAS_AVX
    [FO_ISA_AVX2] = {.sum = sum_halves_avx2_f32, .sum_two = sum_two_halves_avx2_f32},
    [FO_ISA_AVX512] = {.sum = sum_halves_avx512_f32, .sum_two = sum_two_halves_avx512_f32},
#endif
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
    fo_format format;
} block;

static block block_of(const fo_tensor *tensor, size_t row, size_t number)
{
    const fo_format format = fo_grad_format(tensor);
    const size_t first = number * BLOCK, left = tensor->n - first;
    return (block){(const char *)tensor->grad + (row * tensor->n + first) * fo_size_of(format),
                   left < BLOCK ? left : BLOCK, format};
}

/* For the block as it is, or NULL. */
static const block_functions *functions_of(block it)
{
    const block_functions *const of = it.format == FO_FLOAT64    ? of_doubles
                                      : it.format == FO_FLOAT32  ? of_floats
                                      : it.format == FO_BFLOAT16 ? of_halves
                                                                 : NULL;
    return of && of[fo_isa_in_use()].sum ? &of[fo_isa_in_use()] : NULL;
}

/* The block as floats or doubles: where it is, or converted. */
static const void *numbers_of(block it, float *converted)
{
    if (it.format == FO_FLOAT64 || it.format == FO_FLOAT32)
        return it.grad;
    fo_widen(it.format, it.grad, NULL, converted, it.n);
    return converted;
}

static double sum_block(block it)
{
    const block_functions *const functions = functions_of(it);
    if (functions)
        return functions->sum(it.grad, it.n);
    float converted[BLOCK];
    return of_floats[fo_isa_in_use()].sum(numbers_of(it, converted), it.n);
}

static int is_finite_block(block it)
{
    float converted[BLOCK];
    const void *numbers = numbers_of(it, converted);
    for (size_t i = 0; i < it.n; i++)
        if (!isfinite(it.format == FO_FLOAT64 ? ((const double *)numbers)[i]
                                              : (double)((const float *)numbers)[i]))
            return 0;
    return 1;
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
        const block_functions *const functions = functions_of(one);
        if (functions && one.n == other.n && one.format == other.format) {
            double sums[2];
            functions->sum_two((const void *[]){one.grad, other.grad}, one.n, sums);
            job->sums[i] = sums[0];
            job->sums[i + half] = sums[1];
        } else {
            job->sums[i] = sum_block(one);
            job->sums[i + half] = sum_block(other);
        }
    }
    for (size_t i = begin + 2 * half; i < end; i++) {
        const block last = next_block(job, &ahead);
        job->sums[i] = sum_block(last);
    }
}

void fo_add_squares(double *accumulators, int is_double, const void *numbers, size_t n)
{
    (is_double ? of_doubles : of_floats)[fo_isa_in_use()].add_squares(accumulators, numbers, n);
}

void fo_add_numbers(double *accumulators, int is_double, const void *numbers, size_t n)
{
    (is_double ? of_doubles : of_floats)[fo_isa_in_use()].add(accumulators, numbers, n);
}

double fo_add_accumulators(double *accumulators)
{
    return add_halves(accumulators);
}

double fo_add_in_pairs(double *sums, size_t count)
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
        sums[row] = fo_add_in_pairs(of_blocks + row * blocks, blocks);
    free(of_blocks);
    free(starts);
    return FO_OK;
}

int fo_all_finite(const fo_tensor *tensors, size_t count, size_t row)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < block_count(&tensors[i]); k++) {
            if (!is_finite_block(block_of(&tensors[i], row, k)))
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
        const fo_format format = fo_grad_format(&tensors[i]);
        if ((unsigned)format >= FO_FORMAT_COUNT || format == FO_BLOCK8)
            return FO_BAD_FORMAT;
        bytes += tensors[i].n * fo_size_of(format);
    }
    double sum;
    const fo_status status =
        fo_sum_squares(tensors, tensor_count, 1, fo_engage_threads(bytes), &sum);
    if (status == FO_OK)
        *norm = sqrt(sum);
    return status;
}
