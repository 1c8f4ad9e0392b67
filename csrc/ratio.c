/* The norms of tensors, and the learning rates that follow from them; the mean of the mask of a cautious step; and sums
 * over all tensors of a step.
 *
 * A step with norms goes through memory twice. First the rule's terms (kernel/rule.h) are computed, as the step will
 * compute them, and their squares are summed in the order of norm.c; nothing is written. Then the step is taken, as that
 * of any other rule, with the learning rate that follows. docs/notes/kernels.md says why it is not done otherwise.
 *
 * A cautious step does the same: its terms are the mask, and the step multiplies that by the inverse of the mean.
 *
 * For a rule that joins tensors the terms themselves are summed: first those of each tensor, in the same order, and
 * then the sums of the tensors, in their order. The numbers that all of them carry to the next step follow from these.
 */
#include "build.h"

#include "ratio.h"

#include "narrow.h"
#include "norm.h"
#include "step.h"
#include "tensor.h"
#include "threads/pool.h"

#include <stdlib.h>
#include <string.h>

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
    fo_measure *measures;
} ratio_job;

static const fo_kernel *kernel_of(const fo_measured *it)
{
    return fo_kernels[it->group.rule];
}

static int has_terms(const fo_measured *it)
{
    return it->tensor.grad && fo_terms_of(&it->group);
}

static int is_joined(const fo_measured *it)
{
    return it->tensor.grad && kernel_of(it)->carry;
}

static size_t carried_bytes(fo_rule rule)
{
    return (size_t)fo_rule_describe(rule)->carried_count * sizeof(double);
}

static size_t block_count(const fo_measured *it)
{
    return has_terms(it) ? (it->tensor.n + FO_NORM_BLOCK - 1) / FO_NORM_BLOCK : 0;
}

/* The sums of a block, one for each term. */
static void sum_block(const fo_measured *it, const fo_loop_call *with, size_t block, double *sums)
{
    const fo_rule_info *info = fo_rule_describe(it->group.rule);
    const fo_kernel *kernel = kernel_of(it);
    const int terms = fo_terms_of(&it->group);
    const int is_double = fo_param_format(&it->tensor) == FO_FLOAT64;
    fo_terms_loop *const take_terms =
        kernel->terms_loop[fo_isa_in_use()][is_double ? FO_LAYOUT_float64 : FO_LAYOUT_float32];
    const size_t begin = block * FO_NORM_BLOCK, left = it->tensor.n - begin;
    const size_t end = begin + (left < FO_NORM_BLOCK ? left : FO_NORM_BLOCK);
    double accumulators[FO_MAX_TERMS][FO_ACCUMULATORS] = {{0}};
    for (size_t i = begin, n; i < end; i += n) {
        n = end - i < FO_TILE ? end - i : FO_TILE;
        fo_tiles tiles;
        term_tile term[FO_MAX_TERMS];
        void *at[2 + FO_MAX_STATES], *const to[FO_MAX_TERMS] = {&term[0], &term[1]};
        fo_widen_tile(info, &it->tensor, i, n, &tiles, at);
        take_terms(with, fo_optional_of(info, &it->tensor), n, at, to);
        for (int k = 0; k < terms; k++)
            (kernel->carry ? fo_add_numbers : fo_add_squares)(accumulators[k], is_double, to[k], n);
    }
    for (int k = 0; k < terms; k++)
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
        if (kernel_of(&it)->ratio)
            it.group.hyper.lr = 1;
        fo_loop_call with;
        const double *carried = fo_numbers(&it.group, &it.tensor, 0, &job->measures[i]);
        fo_fill_loop_call(&with, &it.group, it.tensor.step, carried, 1, it.scale, 0);
        for (; begin < end && begin < job->starts[i + 1]; begin++) {
            double sums[FO_MAX_TERMS];
            sum_block(&it, &with, begin - job->starts[i], sums);
            for (int k = 0; k < fo_terms_of(&it.group); k++)
                job->sums[(size_t)k * blocks + begin] = sums[k];
        }
    }
}

/* The sums over all blocks of an item. The sums of the blocks are overwritten. */
static void take_sums(const ratio_job *job, size_t i, int terms, double *sums)
{
    const size_t first = job->starts[i], blocks = job->starts[i + 1] - first;
    for (int k = 0; k < terms; k++)
        sums[k] = fo_add_in_pairs(job->sums + (size_t)k * job->starts[job->count] + first, blocks);
}

/* The inverse of the mask's mean, as far as 1000. */
static double weight_of_mask(double ones, size_t n)
{
    const double mean = ones / (double)n;
    return 1 / (mean > 1e-3 ? mean : 1e-3);
}

static double ratio_of(const ratio_job *job, size_t i)
{
    fo_measured it;
    double sums[FO_MAX_TERMS];
    job->of(job->context, i, &it);
    if (!has_terms(&it) || is_joined(&it) || !it.tensor.n)
        return 1;
    take_sums(job, i, fo_terms_of(&it.group), sums);
    if (fo_is_cautious(&it.group))
        return weight_of_mask(sums[0], it.tensor.n);
    return kernel_of(&it)->ratio(&it.group.hyper, sums, it.tensor.n);
}

/* Among the items of a run that the rule joins, the first one with the most steps; the end if there is none. */
static size_t leader_of(const ratio_job *job, fo_rule rule, size_t begin, size_t end)
{
    size_t leader = end;
    uint64_t most = 0;
    for (size_t i = begin; i < end; i++) {
        fo_measured it;
        job->of(job->context, i, &it);
        if (is_joined(&it) && it.group.rule == rule && it.tensor.carried && it.tensor.step > most) {
            leader = i;
            most = it.tensor.step;
        }
    }
    return leader;
}

/* Notes what the leader carries, for all items of a run that the rule joins. A leader in its first step carries
 * nothing yet, but tensors that rest may have gone far. */
static void begin_run(const ratio_job *job, fo_rule rule, size_t begin, size_t end)
{
    const size_t leader = leader_of(job, rule, begin, end);
    fo_measured it;
    double carried[FO_MAX_CARRIED] = {0};
    if (leader == end)
        return;
    job->of(job->context, leader, &it);
    const double *last = it.tensor.step > 1 ? it.tensor.carried : it.resting;
    if (last)
        memcpy(carried, last, carried_bytes(rule));
    for (size_t i = begin; i < end; i++) {
        job->of(job->context, i, &it);
        if (is_joined(&it) && it.group.rule == rule)
            memcpy(job->measures[i].carried, carried, carried_bytes(rule));
    }
}

/* Notes what the leader carries after the step, for the same items. */
static void end_run(const ratio_job *job, fo_rule rule, size_t begin, size_t end)
{
    const size_t leader = leader_of(job, rule, begin, end);
    const int terms = fo_kernels[rule]->terms, count = fo_rule_describe(rule)->carried_count;
    fo_measured it;
    double totals[FO_MAX_TERMS] = {0}, sums[FO_MAX_TERMS], carried[FO_MAX_CARRIED];
    if (leader == end)
        return;
    for (size_t i = begin; i < end; i++) {
        job->of(job->context, i, &it);
        if (!is_joined(&it) || it.group.rule != rule)
            continue;
        take_sums(job, i, terms, sums);
        for (int k = 0; k < terms; k++)
            totals[k] += sums[k];
    }
    job->of(job->context, leader, &it);
    memcpy(carried, job->measures[leader].carried, carried_bytes(rule));
    fo_kernels[rule]->carry(&it.group.hyper, totals, carried);
    for (size_t i = begin; i < end; i++) {
        job->of(job->context, i, &it);
        if (is_joined(&it) && it.group.rule == rule)
            memcpy(job->measures[i].carried + count, carried, carried_bytes(rule));
    }
}

static void for_each_run(const ratio_job *job, size_t run,
                         void (*visit)(const ratio_job *, fo_rule, size_t, size_t))
{
    for (int rule = 0; rule < FO_RULE_COUNT; rule++)
        for (size_t begin = 0; fo_kernels[rule]->carry && begin < job->count; begin += run)
            visit(job, (fo_rule)rule, begin, begin + run);
}

fo_status fo_take_measures(fo_measured_of *of, const void *context, size_t count, size_t run,
                           int threads, fo_measure *measures)
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
        measures[i] = (fo_measure){.ratio = 1};
    }
    starts[count] = blocks;
    double *const sums = malloc((FO_MAX_TERMS * blocks + 1) * sizeof *sums);
    if (!sums) {
        free(starts);
        return FO_NO_MEMORY;
    }
    ratio_job job = {of, context, count, starts, sums, measures};
    for_each_run(&job, run, begin_run);
    fo_parallel(threads, blocks, CHUNK, sum_blocks, &job);
    for (size_t i = 0; i < count; i++)
        measures[i].ratio = ratio_of(&job, i);
    for_each_run(&job, run, end_run);
    free(sums);
    free(starts);
    return FO_OK;
}
