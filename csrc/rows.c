/* One step of many models at once, each of them a row of every buffer.
 *
 * The work is counted in cache lines of param, row after row, and divided among threads wherever a chunk
 * ends. Within a chunk a batch of rows is taken at a time: their coefficients are computed once, and then
 * each tensor is gone through for all rows of the batch, so that memory is read in long runs even where
 * rows are short. */
#include "step.h"

#include "average.h"
#include "check.h"
#include "hyper.h"
#include "narrow.h"
#include "norm.h"
#include "ratio.h"
#include "threads/pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 16 };
enum { BUFFERS = 2 + FO_MAX_STATES };

/* A tensor, with what is the same for all its rows. */
typedef struct row_tensor {
    const fo_tensor *tensor;
    const uint64_t *step; /* or NULL: the tensor's own */
    size_t n;
    fo_loop *loop;
    int is_narrow; /* loop is for buffers of float32, which the tensor's are not */
    fo_narrow_loop *in_registers;
    unsigned optional;
    char *buffer[BUFFERS];
    size_t element_bytes[BUFFERS];
    size_t first_line, end_line; /* within a row */
} row_tensor;

/* A hyper-parameter that differs from row to row. */
typedef struct column {
    int index;
    const double *values;
} column;

typedef struct row_call {
    const fo_group *group;
    const fo_rows *rows;
    column columns[FO_HYPER_COUNT];
    int column_count;
    const row_tensor *tensors;
    size_t count; /* of tensors that have a gradient */
    const fo_tensor *all;
    size_t all_count;
    size_t lines;      /* of a row */
    size_t bytes;      /* of all parameters, in the type that they compute in */
    double grad_scale; /* of all rows, where rows has none */
    /* Where norms are taken, else NULL. */
    const double *scale;
    const unsigned char *skipped;
    const fo_measure
        *measures; /* row after row, of each tensor, where a step has terms, else NULL */
} row_call;

static double value_of(const double *of_rows, size_t row, double otherwise)
{
    return of_rows ? of_rows[row] : otherwise;
}

static double scale_of(const row_call *call, size_t row)
{
    return value_of(call->scale ? call->scale : call->rows->grad_scale, row, call->grad_scale);
}

static void note_columns(row_call *call)
{
    for (int h = 0; h < FO_HYPER_COUNT; h++)
        if (call->rows->hyper[h])
            call->columns[call->column_count++] = (column){h, call->rows->hyper[h]};
}

/* The hyper-parameters of a row, into those of the group. */
static void take_row(fo_group *group, const row_call *call, size_t row)
{
    for (int i = 0; i < call->column_count; i++)
        ((double *)&group->hyper)[call->columns[i].index] = call->columns[i].values[row];
}

static uint64_t step_of(const row_tensor *it, size_t row)
{
    return it->step ? it->step[row] : it->tensor->step;
}

/* A row as a tensor of its own. */
static fo_tensor tensor_of(const row_call *call, const row_tensor *it, size_t row)
{
    fo_tensor tensor = *it->tensor;
    const size_t first = row * it->n;
    tensor.param = it->buffer[0] + first * it->element_bytes[0];
    tensor.grad = it->buffer[1] + first * it->element_bytes[1];
    for (int k = 2; k < BUFFERS; k++)
        tensor.state[k - 2] =
            it->buffer[k]
                ? it->buffer[k] + row * fo_bytes_of(fo_state_format(&tensor, k - 2), it->n)
                : NULL;
    tensor.step = step_of(it, row);
    if (tensor.dtype == FO_MIXED) {
        tensor.remainder = tensor.remainder ? tensor.remainder + first : NULL;
        tensor.copy = tensor.copy ? tensor.copy + first : NULL;
        tensor.seed = call->rows->seed ? call->rows->seed[row] : tensor.seed;
    }
    tensor.average = tensor.average ? fo_average_at(&tensor, first) : NULL;
    tensor.carried = fo_carried(fo_rule_describe(call->group->rule), &tensor, row);
    return tensor;
}

static void step_elements(const row_call *call, const row_tensor *it, const fo_loop_call *with,
                          size_t row, size_t begin, size_t end)
{
    if (it->is_narrow) {
        const fo_narrow_step how = {it->loop, it->in_registers, with,
                                    fo_rule_describe(call->group->rule)};
        const fo_tensor tensor = tensor_of(call, it, row);
        fo_step_narrow(&how, &tensor, begin, end);
        return;
    }
    void *buffers[BUFFERS];
    for (int k = 0; k < BUFFERS; k++)
        if (it->buffer[k])
            buffers[k] = it->buffer[k] + (row * it->n + begin) * it->element_bytes[k];
    it->loop(with, it->optional, end - begin, buffers);
}

static void update_elements(const row_call *call, const row_tensor *it, const fo_loop_call *with,
                            size_t row, size_t begin, size_t end)
{
    if (!it->tensor->average) {
        step_elements(call, it, with, row, begin, end);
        return;
    }
    const fo_tensor tensor = tensor_of(call, it, row);
    for (size_t n; begin < end; begin += n) {
        n = end - begin < FO_AVERAGED ? end - begin : FO_AVERAGED;
        step_elements(call, it, with, row, begin, begin + n);
        fo_take_average(&tensor, begin, begin + n);
    }
}

/* The part of a row of a tensor that lies between two of the row's lines. */
static void update_part(const row_call *call, const row_tensor *it, const fo_loop_call *with,
                        size_t row, size_t from, size_t to)
{
    const fo_tensor tensor = tensor_of(call, it, row);
    const size_t first = from > it->first_line ? from : it->first_line;
    const size_t last = to < it->end_line ? to : it->end_line;
    const size_t begin = fo_element_at_line(&tensor, first - it->first_line);
    const size_t end = fo_element_at_line(&tensor, last - it->first_line);
    if (begin < end)
        update_elements(call, it, with, row, begin, end);
}

static const fo_measure *measure_of(const row_call *call, size_t row, size_t tensor)
{
    return call->measures ? &call->measures[row * call->count + tensor] : NULL;
}

/* Of a batch of rows, the lines between two of each row. */
static void update_batch(const row_call *call, size_t row, size_t count, size_t from, size_t to)
{
    fo_group group = *call->group;
    fo_loop_call with[BATCH];
    uint64_t step[BATCH];
    const double *numbers[BATCH];
    int filled = 0;
    const size_t number_bytes =
        (size_t)fo_rule_describe(call->group->rule)->carried_count * sizeof(double);
    for (size_t i = 0; i < call->count; i++) {
        const row_tensor *it = &call->tensors[i];
        if (it->end_line <= from || it->first_line >= to)
            continue;
        const int is_whole = from <= it->first_line && it->end_line <= to;
        for (size_t k = 0; k < count; k++) {
            if (call->skipped && call->skipped[row + k])
                continue;
            const uint64_t now = step_of(it, row + k);
            const fo_measure *measure = measure_of(call, row + k, i);
            const double *carried = fo_numbers(&group, it->tensor, row + k, measure);
            if (!filled || step[k] != now || measure ||
                (number_bytes && memcmp(numbers[k], carried, number_bytes))) {
                take_row(&group, call, row + k);
                fo_fill_loop_call(&with[k], &group, now, carried, measure ? measure->ratio : 1,
                                  scale_of(call, row + k), call->bytes);
                step[k] = now;
                numbers[k] = carried;
            }
            if (is_whole)
                update_elements(call, it, &with[k], row + k, 0, it->n);
            else
                update_part(call, it, &with[k], row + k, from, to);
        }
        filled = 1;
    }
}

static void update_lines(void *context, size_t begin, size_t end)
{
    const row_call *call = context;
    while (begin < end) {
        const size_t row = begin / call->lines, line = begin % call->lines;
        const size_t whole = (end - begin) / call->lines;
        if (line || !whole) {
            const size_t left = call->lines - line;
            const size_t count = left < end - begin ? left : end - begin;
            update_batch(call, row, 1, line, line + count);
            begin += count;
        } else {
            const size_t count = whole < BATCH ? whole : BATCH;
            update_batch(call, row, count, 0, call->lines);
            begin += count * call->lines;
        }
    }
}

static fo_status check_options(const fo_options *options, const fo_rows *rows, fo_result *result)
{
    for (size_t row = 0; row < rows->count; row++) {
        const double max_norm = value_of(rows->max_norm, row, options->max_norm);
        if (!isfinite(value_of(rows->grad_scale, row, options->grad_scale)) ||
            (options->clip && !(max_norm >= 0))) {
            result->group = row;
            return FO_BAD_OPTION;
        }
        if (!rows->max_norm && !rows->grad_scale)
            break;
    }
    return FO_OK;
}

/* The hyper-parameters of all rows, of which the first is checked as a whole; *held as fo_check_domains has
 * it. */
static fo_status check_hypers(const row_call *call, fo_result *result, int *held)
{
    const fo_rows *rows = call->rows;
    const fo_rule_info *info = fo_rule_describe(call->group->rule);
    fo_group first = *call->group;
    take_row(&first, call, 0);
    const fo_status status = fo_check_domains(&first, &result->hyper, held);
    if (status != FO_OK)
        return status;
    for (int i = 0; i < info->hyper_count; i++) {
        const fo_hyper_entry *entry = &info->hypers[i];
        const double *values = rows->hyper[entry->index];
        const size_t row = values ? fo_check_column(entry, values, rows->count, held) : rows->count;
        if (row < rows->count) {
            result->group = row;
            result->hyper = (int)entry->index;
            return FO_BAD_HYPER;
        }
    }
    const double *own = rows->hyper[FO_grad_scale];
    for (size_t row = 0; row < (own || rows->grad_scale ? rows->count : 1); row++)
        *held &= fo_float32_holds(value_of(own, row, first.hyper.grad_scale) *
                                  value_of(rows->grad_scale, row, call->grad_scale));
    return FO_OK;
}

/* That float32 holds all numbers, row by row. */
static fo_status check_float32(const row_call *call, fo_result *result)
{
    fo_group group = *call->group;
    for (size_t row = 0; row < call->rows->count; row++) {
        take_row(&group, call, row);
        const int lost =
            fo_first_lost(&group, value_of(call->rows->grad_scale, row, call->grad_scale));
        if (lost < FO_HYPER_COUNT) {
            result->group = row;
            result->hyper = lost;
            return FO_UNREPRESENTABLE;
        }
    }
    return FO_OK;
}

static fo_status check_steps(const fo_rule_info *info, const fo_tensor *tensor, const fo_rows *rows,
                             const uint64_t *step, fo_result *result)
{
    for (size_t row = 0; row < rows->count; row++)
        if (!fo_is_step_of(info, step[row]) || (tensor->average && !step[row])) {
            result->group = row;
            return FO_BAD_STEP;
        }
    return FO_OK;
}

/* Checks the tensors that have a gradient, and notes those with elements in call. held: whether float32
 * surely holds all numbers. */
static fo_status note_tensors(row_call *call, row_tensor *to, const fo_tensor *tensors,
                              size_t count, int held, fo_result *result)
{
    const fo_rows *rows = call->rows;
    const fo_rule_info *info = fo_rule_describe(call->group->rule);
    int any_float = 0;
    for (size_t i = 0; i < count; i++) {
        const uint64_t *step = rows->step ? rows->step[i] : NULL;
        fo_tensor tensor = tensors[i];
        if (!tensor.grad)
            continue;
        result->tensor = i;
        if (step)
            tensor.step = step[0];
        int is_double;
        fo_status status = fo_check_tensor(call->group, 1, &tensor, &is_double);
        if (status == FO_OK && step)
            status = check_steps(info, &tensor, rows, step, result);
        if (status != FO_OK)
            return status;
        any_float |= !is_double;
        if (!tensor.n)
            continue;
        row_tensor *it = &to[call->count++];
        it->tensor = &tensors[i];
        it->step = step;
        it->n = tensor.n;
        it->loop = fo_loop_of(call->group->rule, &tensor);
        it->is_narrow = !it->loop;
        if (it->is_narrow) {
            const fo_kernel *kernel = fo_kernels[call->group->rule];
            it->in_registers = fo_narrow_loop_of(kernel, info, &tensor);
            it->loop = kernel->loop[fo_isa_in_use()][FO_LAYOUT_float32];
        }
        it->optional = fo_optional_of(info, &tensor);
        for (int k = 0; k < BUFFERS; k++) {
            it->buffer[k] = NULL;
            if (k > 1 && !fo_has_state(info, &tensor, k - 2))
                continue;
            it->buffer[k] = k == 0   ? (char *)tensor.param
                            : k == 1 ? (char *)(uintptr_t)tensor.grad
                                     : (char *)tensor.state[k - 2];
            it->element_bytes[k] = fo_size_of(k == 0   ? fo_param_format(&tensor)
                                              : k == 1 ? fo_grad_format(&tensor)
                                                       : fo_state_format(&tensor, k - 2));
        }
        /* Rows start anywhere on a line, so each may touch one line more than it fills. */
        const size_t per_line = fo_elements_per_line(&tensor);
        it->first_line = call->lines;
        it->end_line = call->lines += (tensor.n - 1) / per_line + 2;
        call->bytes += rows->count * tensor.n * (is_double ? sizeof(double) : sizeof(float));
    }
    result->tensor = 0;
    return any_float && !held ? check_float32(call, result) : FO_OK;
}

/* Norms of all rows, which rows are skipped, and by what the gradients of the others are scaled. */
static fo_status take_norms(const row_call *call, const fo_tensor *tensors, size_t count,
                            const fo_options *options, int threads, double *scale, double *norms,
                            unsigned char *skipped, fo_result *result)
{
    const fo_rows *rows = call->rows;
    const fo_status status = fo_sum_squares(tensors, count, rows->count, threads, scale);
    if (status != FO_OK)
        return status;
    for (size_t row = 0; row < rows->count; row++) {
        const double sum = scale[row];
        const double grad_scale = value_of(rows->grad_scale, row, options->grad_scale);
        const double max_norm = value_of(rows->max_norm, row, options->max_norm);
        const double norm = fabs(grad_scale) * sqrt(sum);
        skipped[row] =
            options->skip_nonfinite && !isfinite(sum) && !fo_all_finite(tensors, count, row);
        result->skipped |= skipped[row];
        scale[row] = grad_scale;
        if (options->clip && isfinite(max_norm))
            scale[row] *= fo_clip_factor(norm, max_norm);
        norms[row] = norm;
    }
    return FO_OK;
}

/* What a tensor carries in this row that has no gradient and has taken steps, or NULL. */
static const double *resting_of(const row_call *call, size_t row)
{
    const fo_rule_info *info = fo_rule_describe(call->group->rule);
    for (size_t i = 0; i < call->all_count; i++) {
        const fo_tensor *tensor = &call->all[i];
        const uint64_t *step = call->rows->step ? call->rows->step[i] : NULL;
        if (!tensor->grad && tensor->carried && (step ? step[row] : tensor->step) > 1)
            return fo_carried(info, tensor, row);
    }
    return NULL;
}

static void measured_of(const void *context, size_t item, fo_measured *to)
{
    const row_call *call = context;
    const size_t row = item / call->count;
    to->tensor = tensor_of(call, &call->tensors[item % call->count], row);
    to->group = *call->group;
    take_row(&to->group, call, row);
    to->scale = scale_of(call, row);
    to->resting = to->tensor.step == 1 ? resting_of(call, row) : NULL;
    if (call->skipped && call->skipped[row])
        to->tensor.grad = NULL;
}

static int takes_measures(const row_call *call)
{
    const double *cautious = call->rows->hyper[FO_cautious];
    int any = fo_terms_of(call->group);
    for (size_t row = 0; cautious && row < call->rows->count; row++)
        any |= cautious[row] != 0;
    return any;
}

static fo_status take_measures(row_call *call, int threads, fo_measure **measures)
{
    const size_t count = call->rows->count * call->count;
    if (!takes_measures(call) || !count)
        return FO_OK;
    *measures = malloc(count * sizeof **measures);
    call->measures = *measures;
    return *measures ? fo_take_measures(measured_of, call, count, call->count, threads, *measures)
                     : FO_NO_MEMORY;
}

/* Brings the numbers up to date that the rows carry to the next step. */
static void carry(const row_call *call, const fo_tensor *tensors, size_t count)
{
    const fo_rows *rows = call->rows;
    const fo_rule_info *info = fo_rule_describe(call->group->rule);
    const int joins = fo_rule_joins_tensors(call->group->rule);
    fo_group group = *call->group;
    for (size_t row = 0; row < rows->count; row++) {
        if ((call->skipped && call->skipped[row]) || (joins && !call->count))
            continue;
        take_row(&group, call, row);
        for (size_t i = 0; i < count; i++) {
            const fo_tensor *tensor = &tensors[i];
            const uint64_t step = rows->step && rows->step[i] ? rows->step[i][row] : tensor->step;
            if (tensor->carried && (tensor->grad || joins))
                fo_carry(&group, step, fo_carried(info, tensor, row), measure_of(call, row, 0));
        }
    }
}

fo_status fo_step_rows_abi(uint64_t abi, const fo_group *group, const fo_rows *rows,
                           const fo_tensor *tensors, size_t tensor_count, const fo_options *options,
                           fo_result *result)
{
    fo_result own;
    fo_status status = fo_begin_step(abi, &options, &result, &own);
    if (status != FO_OK)
        return status;
    if (!fo_rule_describe(group->rule))
        return FO_BAD_RULE;
    if (!fo_is_compiled(group->rule))
        return FO_LEFT_OUT;
    if (!rows->count)
        return FO_OK;
    row_call call = {.group = group,
                     .rows = rows,
                     .all = tensors,
                     .all_count = tensor_count,
                     .grad_scale = options->grad_scale};
    note_columns(&call);
    int held = 0;
    status = check_options(options, rows, result);
    if (status == FO_OK)
        status = check_hypers(&call, result, &held);
    if (status != FO_OK)
        return status;

    /* One block of memory: the tensors, and what norms need. */
    const int with_norms = options->clip || options->skip_nonfinite;
    const size_t for_norms = with_norms ? rows->count * (2 * sizeof(double) + 1) : 0;
    row_tensor *noted = malloc((tensor_count + 1) * sizeof *noted + for_norms);
    if (!noted)
        return FO_NO_MEMORY;
    call.tensors = noted;
    status = note_tensors(&call, noted, tensors, tensor_count, held, result);
    const int threads = status == FO_OK ? fo_engage_threads(call.bytes) : 1;
    double *norms = NULL;
    unsigned char *skipped = NULL;
    if (status == FO_OK && with_norms) {
        double *const scale = (double *)(noted + tensor_count + 1);
        norms = scale + rows->count;
        skipped = (unsigned char *)(norms + rows->count);
        status = take_norms(&call, tensors, tensor_count, options, threads, scale, norms, skipped,
                            result);
        call.scale = scale;
        call.skipped = result->skipped ? skipped : NULL;
    }
    fo_measure *measures = NULL;
    if (status == FO_OK)
        status = take_measures(&call, threads, &measures);
    if (status == FO_OK) {
        for (size_t row = 0; row < rows->count; row++) {
            if (rows->norm && norms)
                rows->norm[row] = norms[row];
            if (rows->skipped)
                rows->skipped[row] = skipped && skipped[row];
        }
        fo_parallel(threads, rows->count * call.lines, FO_CHUNK_LINES, update_lines, &call);
        if (fo_rule_describe(group->rule)->carried)
            carry(&call, tensors, tensor_count);
    }
    free(measures);
    free(noted);
    return status;
}
