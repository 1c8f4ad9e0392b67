/* One step: everything is checked, the gradients' norm taken if it is asked for, and then all tensors
 * are updated in one region, divided by cache lines and not by tensors. */
#include "fastopt.h"

#include "kernel.h"
#include "norm.h"
#include "parallel.h"

#include <math.h>
#include <stdlib.h>

enum { CACHE_LINE = 64 };
/* In cache lines of param. Long enough that claiming a chunk costs nothing, short enough that the last
 * one does not keep the others waiting. */
enum { CHUNK = 512 };
/* Bytes of param up to which one thread just goes from tensor to tensor. */
enum { SMALL = 1 << 20 };
/* Bytes of param from which on the buffers are not expected in a core's own caches, and in no cache. Tests
 * have both lower. */
#ifndef FO_OWN_CACHES
#define FO_OWN_CACHES (1 << 21)
#define FO_ALL_CACHES (1 << 24)
#endif

static const uint64_t last_step = (uint64_t)1 << 53;

/* What a loop needs besides the buffers; the same for all tensors of a group that are at the same step
 * and of one dtype. */
typedef struct prepared {
    uint32_t group;
    fo_dtype dtype;
    uint64_t step;
    fo_loop *loop;
    unsigned variant;
    fo_preparation preparation;
    double coefficients[FO_MAX_COEFFICIENTS];
} prepared;

/* What holds for all tensors of a call. */
typedef struct call {
    const fo_group *groups;
    double scale; /* of the gradients, besides the groups' own */
    unsigned variant;
} call;

static void prepare(prepared *to, const call *call, const fo_tensor *tensor)
{
    const fo_group *group = &call->groups[tensor->group];
    const fo_kernel *kernel = fo_kernels[group->rule];
    fo_hyper hyper = group->hyper;
    if (hyper.lr_decay != 0 && tensor->step)
        hyper.lr = hyper.lr / (1 + (double)(tensor->step - 1) * hyper.lr_decay);

    to->group = tensor->group;
    to->dtype = tensor->dtype;
    to->step = tensor->step;
    to->loop = kernel->loop[fo_isa_in_use()][tensor->dtype];
    kernel->coefficients(&hyper, tensor->step, to->coefficients);

    const double scale = hyper.grad_scale * call->scale;
    const double decay = hyper.weight_decay;
    const int decoupled = hyper.decoupled != 0;
    to->preparation.grad_scale = hyper.maximize != 0 ? -scale : scale;
    to->preparation.param_factor = decoupled ? 1 - hyper.lr * decay : 1;
    to->preparation.weight_decay = decoupled ? 0 : decay;
    to->variant = call->variant;
    if (decay != 0 && !decoupled)
        to->variant |= FO_COUPLED;
    else if (to->preparation.grad_scale != 1)
        to->variant |= FO_PREPARED;
    else if (decay != 0)
        to->variant |= FO_DECAYED;
}

static int is_for(const prepared *it, const fo_tensor *tensor)
{
    return it->group == tensor->group && it->step == tensor->step && it->dtype == tensor->dtype;
}

static void update_elements(const prepared *with, const fo_rule_info *info, const fo_tensor *tensor,
                            size_t begin, size_t end)
{
    const size_t offset = begin * fo_size_of(tensor->dtype);
    void *buffers[2 + FO_MAX_STATES];
    buffers[0] = (char *)tensor->param + offset;
    buffers[1] = (char *)tensor->grad + offset;
    for (int k = 0; k < FO_MAX_STATES; k++)
        buffers[2 + k] = tensor->state[k] ? (char *)tensor->state[k] + offset : NULL;
    const int optional = info->optional_state && tensor->state[info->state_count];
    with->loop(with->variant | (optional ? FO_WITH_OPTIONAL : 0), end - begin, buffers,
               with->coefficients, &with->preparation);
}

typedef struct update_job {
    const call *call;
    const fo_tensor *tensors;
    size_t count;
    const size_t *starts; /* the first cache line of each tensor, and the end */
    prepared first;
} update_job;

/* The elements before the first cache line that param shares with nothing. */
static size_t elements_before(const fo_tensor *tensor)
{
    return ((uintptr_t)tensor->param & (CACHE_LINE - 1)) / fo_size_of(tensor->dtype);
}

static size_t line_count(const fo_tensor *tensor)
{
    if (!tensor->grad || !tensor->n)
        return 0;
    const size_t per_line = CACHE_LINE / fo_size_of(tensor->dtype);
    return (tensor->n + elements_before(tensor) + per_line - 1) / per_line;
}

static size_t element_at_line(const fo_tensor *tensor, size_t line)
{
    const size_t element = line * (CACHE_LINE / fo_size_of(tensor->dtype));
    const size_t before = elements_before(tensor);
    if (element <= before)
        return 0;
    return element - before < tensor->n ? element - before : tensor->n;
}

static void update_lines(void *context, size_t begin, size_t end)
{
    const update_job *job = context;
    prepared now = job->first;
    for (size_t i = fo_find_interval(job->starts, job->count, begin);
         i < job->count && job->starts[i] < end; i++) {
        const size_t from = job->starts[i] > begin ? job->starts[i] : begin;
        const size_t to = job->starts[i + 1] < end ? job->starts[i + 1] : end;
        if (from >= to)
            continue;
        const fo_tensor *tensor = &job->tensors[i];
        if (!is_for(&now, tensor))
            prepare(&now, job->call, tensor);
        update_elements(&now, fo_rule_describe(job->call->groups[tensor->group].rule), tensor,
                        element_at_line(tensor, from - job->starts[i]),
                        element_at_line(tensor, to - job->starts[i]));
    }
}

static void update_alone(const call *call, const fo_tensor *tensors, size_t count)
{
    prepared now = {0};
    int is_prepared = 0;
    for (size_t i = 0; i < count; i++) {
        const fo_tensor *tensor = &tensors[i];
        if (!tensor->grad || !tensor->n)
            continue;
        if (!is_prepared || !is_for(&now, tensor)) {
            prepare(&now, call, tensor);
            is_prepared = 1;
        }
        update_elements(&now, fo_rule_describe(call->groups[tensor->group].rule), tensor, 0,
                        tensor->n);
    }
}

static void update_all(const call *call, const fo_tensor *tensors, size_t count, size_t bytes,
                       int threads)
{
    size_t *starts = threads > 1 || bytes > SMALL ? malloc((count + 1) * sizeof *starts) : NULL;
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
    prepare(&job.first, call, &tensors[first]);
    fo_parallel(threads, lines, CHUNK, update_lines, &job);
    free(starts);
}

static fo_status check_groups(const fo_group *groups, size_t count, fo_result *result)
{
    for (size_t i = 0; i < count; i++) {
        const fo_status status = fo_check_hyper(&groups[i], &result->hyper);
        if (status != FO_OK) {
            result->group = i;
            return status;
        }
    }
    return FO_OK;
}

static fo_status check_tensor(const fo_group *groups, size_t group_count, const fo_tensor *tensor)
{
    if (tensor->group >= group_count || (unsigned)tensor->dtype > FO_FLOAT64)
        return FO_BAD_TENSOR;
    const fo_rule_info *info = fo_rule_describe(groups[tensor->group].rule);
    if (tensor->step > last_step || (info->needs_step && !tensor->step))
        return FO_BAD_STEP;
    if (!tensor->n)
        return FO_OK;
    if (!tensor->param)
        return FO_BAD_TENSOR;
    for (int k = 0; k < info->state_count; k++)
        if (!tensor->state[k])
            return FO_BAD_TENSOR;
    return FO_OK;
}

fo_status fo_step_abi(uint64_t abi, const fo_group *groups, size_t group_count,
                      const fo_tensor *tensors, size_t tensor_count, const fo_options *options,
                      fo_result *result)
{
    if (abi != FO_ABI)
        return FO_BAD_VERSION;
    static const fo_options plain = FO_DEFAULT_OPTIONS;
    fo_result own;
    if (!result)
        result = &own;
    if (!options)
        options = &plain;
    *result = (fo_result){.norm = NAN};

    if (!isfinite(options->grad_scale) ||
        (options->clip && !(isfinite(options->max_norm) && options->max_norm >= 0)))
        return FO_BAD_OPTION;
    const fo_status groups_status = check_groups(groups, group_count, result);
    if (groups_status != FO_OK)
        return groups_status;
    size_t bytes = 0;
    for (size_t i = 0; i < tensor_count; i++) {
        if (!tensors[i].grad)
            continue;
        bytes += tensors[i].n * fo_size_of(tensors[i].dtype);
        const fo_status status = check_tensor(groups, group_count, &tensors[i]);
        if (status != FO_OK) {
            result->tensor = i;
            return status;
        }
    }

    const int threads = fo_threads_for(bytes);
    double scale = options->grad_scale;
    if (options->clip || options->skip_nonfinite) {
        double sum;
        const fo_status status = fo_sum_squares(tensors, tensor_count, threads, &sum);
        if (status != FO_OK)
            return status;
        result->norm = fabs(scale) * sqrt(sum);
        /* A sum can overflow where every gradient is finite, so only the gradients decide. */
        if (options->skip_nonfinite && !isfinite(sum) && !fo_all_finite(tensors, tensor_count)) {
            result->skipped = 1;
            return FO_OK;
        }
        if (options->clip) {
            /* Written so that a norm that is NaN is passed on. */
            const double factor = options->max_norm / (result->norm + 1e-6);
            scale *= factor > 1 ? 1 : factor;
        }
    }
    const unsigned variant =
        (bytes >= FO_ALL_CACHES ? FO_FAR : 0) | (bytes >= FO_OWN_CACHES ? FO_IN_TWO_PLACES : 0);
    const call call = {groups, scale, variant};
    update_all(&call, tensors, tensor_count, bytes, threads);
    return FO_OK;
}
