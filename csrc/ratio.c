/* The norms of tensors, and what they make of the learning rate.
 *
 * A step with norms goes through memory twice. First the rule's terms (kernel/rule.h) are computed, as the step will
 * compute them, and their squares are summed in the order of norm.c; nothing is written. Then the step is taken, as that
 * of any other rule, with the learning rate that follows. docs/notes/kernels.md says why it is not done otherwise. */
#include "build.h"

#include "ratio.h"

#include "narrow.h"
#include "norm.h"
#include "step.h"
#include "tensor.h"
#include "threads/pool.h"

#include <stdlib.h>

enum { CHUNK = 2 };

typedef union term_tile {
    float floats[FO_TILE];
    double doubles[FO_TILE];
} __attribute__((aligned(64))) term_tile;

typedef struct ratio_job {
    fo_measured_of *of;
    const void *context;
    size_t count;
    const size_t *starts; /* the first block of each item, and the end */
    double *sums;         /* of each term, one after the other */
} ratio_job;

static const fo_kernel *kernel_of(const fo_measured *it)
{
    return fo_kernels[it->group.rule];
}

static size_t block_count(const fo_measured *it)
{
    if (!it->tensor.grad || !kernel_of(it)->terms)
        return 0;
    return (it->tensor.n + FO_NORM_BLOCK - 1) / FO_NORM_BLOCK;
}

/* The sums of a block, one for each term. */
static void sum_block(const fo_measured *it, const fo_loop_call *with, size_t block, double *sums)
{
    const fo_rule_info *info = fo_rule_describe(it->group.rule);
    const fo_kernel *kernel = kernel_of(it);
    const int is_double = fo_param_format(&it->tensor) == FO_FLOAT64;
    fo_terms_loop *const take_terms =
        kernel->terms_loop[fo_isa_in_use()][is_double ? FO_LAYOUT_float64 : FO_LAYOUT_float32];
    const size_t begin = block * FO_NORM_BLOCK, left = it->tensor.n - begin;
    const size_t end = begin + (left < FO_NORM_BLOCK ? left : FO_NORM_BLOCK);
    double accumulators[FO_MAX_TERMS][FO_ACCUMULATORS] = {{0}};
    for (size_t i = begin, n; i < end; i += n) {
        n = end - i < FO_TILE ? end - i : FO_TILE;
        fo_tiles tiles;
        term_tile terms[FO_MAX_TERMS];
        void *at[2 + FO_MAX_STATES], *const to[FO_MAX_TERMS] = {&terms[0], &terms[1]};
        fo_widen_tile(info, &it->tensor, i, n, &tiles, at);
        take_terms(with, n, at, to);
        for (int k = 0; k < kernel->terms; k++)
            fo_add_squares(accumulators[k], is_double, to[k], n);
    }
    for (int k = 0; k < kernel->terms; k++)
        sums[k] = fo_add_accumulators(accumulators[k]);
}

static void sum_blocks(void *context, size_t begin, size_t end)
{
    const ratio_job *job = context;
    const size_t blocks = job->starts[job->count];
    for (size_t i = fo_interval_of(job->starts, job->count, begin); begin < end; i++) {
        if (job->starts[i + 1] <= begin)
            continue;
        fo_measured it;
        job->of(job->context, i, &it);
        it.group.hyper.lr = 1;
        fo_loop_call with;
        fo_fill_loop_call(&with, &it.group, it.tensor.step, 0, 1, it.scale, 0);
        for (; begin < end && begin < job->starts[i + 1]; begin++) {
            double sums[FO_MAX_TERMS];
            sum_block(&it, &with, begin - job->starts[i], sums);
            for (int k = 0; k < kernel_of(&it)->terms; k++)
                job->sums[(size_t)k * blocks + begin] = sums[k];
        }
    }
}

static double ratio_of(const ratio_job *job, size_t i)
{
    const size_t first = job->starts[i], blocks = job->starts[i + 1] - first;
    if (!blocks)
        return 1;
    fo_measured it;
    double sums[FO_MAX_TERMS];
    job->of(job->context, i, &it);
    for (int k = 0; k < kernel_of(&it)->terms; k++)
        sums[k] = fo_add_in_pairs(job->sums + (size_t)k * job->starts[job->count] + first, blocks);
    return kernel_of(&it)->ratio(&it.group.hyper, sums, it.tensor.n);
}

fo_status fo_take_ratios(fo_measured_of *of, const void *context, size_t count, int threads,
                         double *ratios)
{
    size_t *const starts = malloc((count + 1) * sizeof *starts);
    if (!starts)
        return FO_NO_MEMORY;
    size_t blocks = 0;
    for (size_t i = 0; i < count; i++) {
        fo_measured it;
        of(context, i, &it);
        starts[i] = blocks;
        blocks += block_count(&it);
    }
    starts[count] = blocks;
    double *const sums = malloc((FO_MAX_TERMS * blocks + 1) * sizeof *sums);
    if (!sums) {
        free(starts);
        return FO_NO_MEMORY;
    }
    ratio_job job = {of, context, count, starts, sums};
    fo_parallel(threads, blocks, CHUNK, sum_blocks, &job);
    for (size_t i = 0; i < count; i++)
        ratios[i] = ratio_of(&job, i);
    free(sums);
    free(starts);
    return FO_OK;
}
