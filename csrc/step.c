/* One step: everything is checked, the gradients' norm is taken if it is needed, and then all tensors are
 * updated in one parallel region, divided by cache lines and not by tensors. */
#include "step.h"

#include "average.h"
#include "check.h"
#include "narrow.h"
#include "norm.h"
#include "ratio.h"
#include "tensor.h"
#include "threads/pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of param up to which a single thread steps tensor by tensor, without cutting the work into chunks. */
enum { SMALL = 1 << 20 };
/* Bytes of param from which on all buffers together do not fit into one core's own caches, and into any cache.
 * Tests set both lower. */
#ifndef FO_OWN_CACHES
#define FO_OWN_CACHES (1 << 21)
#define FO_ALL_CACHES (1 << 24)
#endif

static const fo_measure *measure_of(const fo_call *call, size_t i)
{
    return call->measures ? &call->measures[i] : NULL;
}

static int fits(const fo_bound_loop *it, const fo_call *call, const fo_tensor *tensor,
                const fo_measure *measure)
{
    const fo_tensor *first = it->tensor;
    if (first->group != tensor->group || first->step != tensor->step ||
        first->dtype != tensor->dtype || (measure && it->ratio != measure->ratio))
        return 0;
    if (it->number_bytes &&
        memcmp(it->numbers, fo_numbers(&call->groups[tensor->group], tensor, 0, measure),
               it->number_bytes))
        return 0;
    return tensor->dtype != FO_MIXED ||
           (first->param_format == tensor->param_format &&
            first->grad_format == tensor->grad_format &&
            !memcmp(first->state_format, tensor->state_format, sizeof tensor->state_format) &&
            fo_optional_of(it->info, first) == fo_optional_of(it->info, tensor) &&
            !first->remainder == !tensor->remainder && !first->copy == !tensor->copy);
}

/* From memory, shorter bursts are faster, and with more buffers still shorter ones. */
static size_t burst_of(size_t bytes, fo_rule rule)
{
    if (bytes < FO_OWN_CACHES)
        return 0;
    return bytes < FO_ALL_CACHES ? 2048 : fo_rule_describe(rule)->state_count <= 1 ? 1024 : 512;
}

/* The numbers that loops of a rule are given. */
static size_t number_bytes(const fo_kernel *kernel, const fo_rule_info *info)
{
    return (size_t)info->carried_count * (kernel->carry ? 2 : 1) * sizeof(double);
}

void fo_fill_loop_call(fo_loop_call *with, const fo_group *group, uint64_t step,
                       const double *numbers, double ratio, double grad_scale, size_t bytes)
{
    const fo_kernel *kernel = fo_kernels[group->rule];
    const fo_hyper *hyper = &group->hyper;
    fo_hyper changed;
    const int is_masked = fo_is_cautious(group);
    if (is_masked) {
        with->mask_weight = ratio;
        ratio = 1;
    }
    if ((hyper->lr_decay != 0 && step) || ratio != 1) {
        changed = *hyper;
        changed.lr *= ratio;
        if (step)
            changed.lr /= 1 + (double)(step - 1) * hyper->lr_decay;
        hyper = &changed;
    }
    if (numbers)
        memcpy(with->coefficients + kernel->carried, numbers,
               number_bytes(kernel, fo_rule_describe(group->rule)));
    kernel->coefficients(hyper, step, with->coefficients);
    const double scale = hyper->grad_scale * grad_scale;
    const double decay = kernel->own_decay ? 0 : hyper->weight_decay;
    const int decoupled = hyper->decoupled != 0;
    with->grad_scale = hyper->maximize != 0 ? -scale : scale;
    with->param_factor = decoupled ? 1 - hyper->lr * decay : 1;
    with->weight_decay = decoupled ? 0 : decay;
    with->grad_decayed = decay != 0 && !decoupled;
    with->preparation = is_masked                                     ? FO_MASKED
                        : with->grad_decayed || with->grad_scale != 1 ? FO_GRAD_PREPARED
                        : decay != 0                                  ? FO_PARAM_DECAYED
                                                                      : FO_AS_GIVEN;
    with->burst = burst_of(bytes, group->rule);
    with->narrow_in_turn = bytes >= 3 * FO_OWN_CACHES; /* narrow buffers are shorter */
    with->from_memory = bytes >= FO_ALL_CACHES;
}

void fo_carry(const fo_group *group, uint64_t step, double *carried, const fo_measure *measure)
{
    const size_t count = (size_t)fo_rule_describe(group->rule)->carried_count;
    if (fo_kernels[group->rule]->carry) {
        memcpy(carried, measure->carried + count, count * sizeof(double));
        return;
    }
    fo_loop_call with;
    fo_fill_loop_call(&with, group, step, carried, 1, 1, 0);
    memcpy(carried, with.coefficients + fo_kernels[group->rule]->carried, count * sizeof(double));
}

fo_loop *fo_loop_of(fo_rule rule, const fo_tensor *tensor)
{
    const fo_layout layout = fo_layout_of(tensor, fo_rule_describe(rule));
    return layout == FO_LAYOUT_COUNT ? NULL : fo_kernels[rule]->loop[fo_isa_in_use()][layout];
}

void fo_bind(fo_bound_loop *to, const fo_call *call, const fo_tensor *tensor,
             const fo_measure *measure)
{
    const fo_group *group = &call->groups[tensor->group];
    const fo_rule_info *info = fo_rule_describe(group->rule);
    to->tensor = tensor;
    to->info = info;
    to->loop = fo_loop_of(group->rule, tensor);
    to->is_narrow = !to->loop;
    if (to->is_narrow) {
        const fo_kernel *kernel = fo_kernels[group->rule];
        to->in_registers = fo_narrow_loop_of(kernel, info, tensor);
        to->loop = kernel->loop[fo_isa_in_use()][FO_LAYOUT_float32];
    }
    to->number_bytes = number_bytes(fo_kernels[group->rule], info);
    to->numbers = fo_numbers(group, tensor, 0, measure);
    to->ratio = measure ? measure->ratio : 1;
    fo_fill_loop_call(&to->with, group, tensor->step, to->numbers, to->ratio, call->scale,
                      call->bytes);
}

static void step_elements(const fo_bound_loop *it, const fo_call *call, const fo_tensor *tensor,
                          size_t begin, size_t end)
{
    const fo_rule_info *info = fo_rule_describe(call->groups[tensor->group].rule);
    if (it->is_narrow) {
        const fo_narrow_step how = {it->loop, it->in_registers, &it->with, info};
        fo_step_narrow(&how, tensor, begin, end);
        return;
    }
    void *buffers[2 + FO_MAX_STATES];
    buffers[0] = (char *)tensor->param + begin * fo_size_of(fo_param_format(tensor));
    buffers[1] = (char *)tensor->grad + begin * fo_size_of(fo_grad_format(tensor));
    for (int k = 0; k < FO_MAX_STATES; k++)
        if (fo_has_state(info, tensor, k))
            buffers[2 + k] =
                (char *)tensor->state[k] + begin * fo_size_of(fo_state_format(tensor, k));
    it->loop(&it->with, fo_optional_of(info, tensor), end - begin, buffers);
}

void fo_update_elements(const fo_bound_loop *it, const fo_call *call, const fo_tensor *tensor,
                        size_t begin, size_t end)
{
    if (!tensor->average) {
        step_elements(it, call, tensor, begin, end);
        return;
    }
    for (size_t n; begin < end; begin += n) {
        n = end - begin < FO_AVERAGED ? end - begin : FO_AVERAGED;
        step_elements(it, call, tensor, begin, begin + n);
        fo_take_average(tensor, begin, begin + n);
    }
}

typedef struct update_job {
    const fo_call *call;
    const fo_tensor *tensors;
    size_t count;
    const size_t *starts; /* the first cache line of each tensor, and the end */
    fo_bound_loop first;
} update_job;

static size_t line_count(const fo_tensor *tensor)
{
    if (!tensor->grad || !tensor->n)
        return 0;
    const size_t per_line = fo_elements_per_line(tensor);
    return (tensor->n + fo_elements_before(tensor) + per_line - 1) / per_line;
}

static void update_lines(void *context, size_t begin, size_t end)
{
    const update_job *job = context;
    fo_bound_loop now = job->first;
    for (size_t i = fo_interval_of(job->starts, job->count, begin);
         i < job->count && job->starts[i] < end; i++) {
        const size_t from = job->starts[i] > begin ? job->starts[i] : begin;
        const size_t to = job->starts[i + 1] < end ? job->starts[i + 1] : end;
        if (from >= to)
            continue;
        const fo_tensor *tensor = &job->tensors[i];
        const fo_measure *measure = measure_of(job->call, i);
        if (!fits(&now, job->call, tensor, measure))
            fo_bind(&now, job->call, tensor, measure);
        fo_update_elements(&now, job->call, tensor,
                           fo_element_at_line(tensor, from - job->starts[i]),
                           fo_element_at_line(tensor, to - job->starts[i]));
    }
}

static void update_alone(const fo_call *call, const fo_tensor *tensors, size_t count)
{
    fo_bound_loop now; /* to clear all of it would take as long as a short step */
    now.loop = NULL;
    for (size_t i = 0; i < count; i++) {
        const fo_tensor *tensor = &tensors[i];
        if (!tensor->grad || !tensor->n)
            continue;
        const fo_measure *measure = measure_of(call, i);
        if (!now.loop || !fits(&now, call, tensor, measure))
            fo_bind(&now, call, tensor, measure);
        fo_update_elements(&now, call, tensor, 0, tensor->n);
    }
}

static void update_all(const fo_call *call, const fo_tensor *tensors, size_t count, int threads)
{
    size_t *starts =
        threads > 1 || call->bytes > SMALL ? malloc((count + 1) * sizeof *starts) : NULL;
    if (!starts) {
        update_alone(call, tensors, count);
        return;
    }
    size_t lines = 0, first = count;
    for (size_t i = 0; i < count; i++) {
        starts[i] = lines;
        lines += line_count(&tensors[i]);
        if (first == count && lines)
            first = i;
    }
    starts[count] = lines;
    update_job job = {call, tensors, count, starts, {0}};
    if (lines) {
        fo_bind(&job.first, call, &tensors[first], measure_of(call, first));
        fo_parallel(threads, lines, FO_CHUNK_LINES, update_lines, &job);
    }
    free(starts);
}

typedef struct measured_job {
    const fo_call *call;
    const fo_tensor *tensors;
    const double *resting[FO_RULE_COUNT];
} measured_job;

/* For each rule that joins tensors: what one carries that has no gradient and has taken steps. Nothing else of such
 * tensors has been checked. */
static void find_resting(measured_job *job, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const fo_tensor *tensor = &job->tensors[i];
        if (tensor->grad || tensor->group >= job->call->group_count || tensor->step <= 1)
            continue;
        const fo_rule rule = job->call->groups[tensor->group].rule;
        if (fo_kernels[rule]->carry && tensor->carried)
            job->resting[rule] = tensor->carried;
    }
}

static void measured_of(const void *context, size_t i, fo_measured *to)
{
    const measured_job *job = context;
    to->tensor = job->tensors[i];
    if (!to->tensor.grad) /* then nothing else of it has been checked */
        return;
    to->group = job->call->groups[to->tensor.group];
    to->scale = job->call->scale;
    to->resting = job->resting[to->group.rule];
}

/* Writes what a rule that joins tensors carries into all of them. */
static void carry_joined(const fo_call *call, const fo_tensor *tensors, size_t count)
{
    const fo_measure *of_rule[FO_RULE_COUNT] = {NULL};
    for (size_t i = 0; i < count; i++)
        if (tensors[i].grad && tensors[i].n)
            of_rule[call->groups[tensors[i].group].rule] = &call->measures[i];
    for (size_t i = 0; i < count; i++) {
        /* Nothing has been checked about a tensor without a gradient. */
        if (!tensors[i].carried || tensors[i].group >= call->group_count)
            continue;
        const fo_group *group = &call->groups[tensors[i].group];
        if (fo_kernels[group->rule]->carry && of_rule[group->rule])
            fo_carry(group, tensors[i].step, tensors[i].carried, of_rule[group->rule]);
    }
}

fo_status fo_update_all(const fo_call *call, const fo_tensor *tensors, size_t count, int threads)
{
    int any = 0;
    for (size_t i = 0; i < count; i++)
        any |= tensors[i].grad && fo_terms_of(&call->groups[tensors[i].group]);
    if (!any) {
        update_all(call, tensors, count, threads);
        return FO_OK;
    }
    fo_measure *const measures = malloc(count * sizeof *measures);
    if (!measures)
        return FO_NO_MEMORY;
    measured_job job = {call, tensors, {NULL}};
    find_resting(&job, count);
    const fo_status status = fo_take_measures(measured_of, &job, count, count, threads, measures);
    if (status == FO_OK) {
        fo_call with_measures = *call;
        with_measures.measures = measures;
        update_all(&with_measures, tensors, count, threads);
        carry_joined(&with_measures, tensors, count);
    }
    free(measures);
    return status;
}

void fo_carry_all(const fo_call *call, size_t group_count, const fo_tensor *tensors, size_t count)
{
    int any = 0;
    for (size_t i = 0; i < group_count; i++)
        any |= fo_rule_describe(call->groups[i].rule)->carried != NULL;
    for (size_t i = 0; any && i < count; i++) {
        const fo_tensor *tensor = &tensors[i];
        if (!tensor->grad || !tensor->carried)
            continue;
        const fo_group *group = &call->groups[tensor->group];
        if (fo_rule_describe(group->rule)->carried && !fo_kernels[group->rule]->carry)
            fo_carry(group, tensor->step, tensor->carried, NULL);
    }
}

fo_status fo_take_norm(fo_call *call, const fo_tensor *tensors, size_t count,
                       const fo_options *options, int threads, fo_result *result)
{
    if (!options->clip && !options->skip_nonfinite)
        return FO_OK;
    double sum;
    const fo_status status = fo_sum_squares(tensors, count, 1, threads, &sum);
    if (status != FO_OK)
        return status;
    result->norm = fabs(call->scale) * sqrt(sum);
    /* A sum can overflow where every gradient is finite, so only the gradients decide. */
    result->skipped =
        options->skip_nonfinite && !isfinite(sum) && !fo_all_finite(tensors, count, 0);
    if (options->clip)
        call->scale *= fo_clip_factor(result->norm, options->max_norm);
    return FO_OK;
}

fo_status fo_step_abi(uint64_t abi, const fo_group *groups, size_t group_count,
                      const fo_tensor *tensors, size_t tensor_count, const fo_options *options,
                      fo_result *result)
{
    fo_result own;
    fo_status status = fo_begin_step(abi, &options, &result, &own);
    fo_call call = {.groups = groups, .group_count = group_count};
    if (status == FO_OK)
        status =
            fo_check_step(groups, group_count, tensors, tensor_count, options, result, &call.bytes);
    if (status != FO_OK)
        return status;
    call.scale = options->grad_scale;
    const int threads = fo_engage_threads(call.bytes);
    status = fo_take_norm(&call, tensors, tensor_count, options, threads, result);
    if (status != FO_OK || result->skipped)
        return status;
    status = fo_update_all(&call, tensors, tensor_count, threads);
    if (status == FO_OK)
        fo_carry_all(&call, group_count, tensors, tensor_count);
    return status;
}
