/* One step of tensors whose gradients have only some of their rows, such as the rows of an embedding table
 * that a batch used.
 *
 * The gradients of a row that stands more than once are added up in a tile when the row is stepped, so nothing
 * is gathered or sorted. Only a norm needs all sums beforehand.
 *
 * Rows lie anywhere in memory, where no hardware prefetcher finds them: the rows ahead are prefetched, into
 * the second-level cache, since more lines at a time can be on their way there than into the first. */
#include "sparse.h"

#include "average.h"
#include "check.h"
#include "convert.h"
#include "row_wise.h"
#include "threads/pool.h"

#include <stdlib.h>
#include <string.h>

/* How many rows ahead are prefetched: as many as have AHEAD bytes of param, between the other two. And how many bytes
 * of each: hardware prefetchers load the rest. */
enum { AHEAD = 4096, LEAST_AHEAD = 8, MOST_AHEAD = 16, PREFETCHED = 1024 };

typedef struct sparse_step {
    fo_sparse_tensor *tensors;
    size_t count;
    size_t *starts; /* the first line of each tensor, and the end */
} sparse_step;

static int is_sparse(const fo_tensor *tensor, const fo_sparse *sparse)
{
    return tensor->grad && sparse->indices;
}

/* Going through the rows. */

/* Elements of one row, by its number among those that are touched. */
typedef void row_task(const fo_sparse_tensor *it, size_t number, size_t begin, size_t end);

/* Between two lines of all tensors' rows. */
static void for_rows(const sparse_step *step, size_t begin, size_t end, row_task *task)
{
    for (size_t i = fo_interval_of(step->starts, step->count, begin);
         i < step->count && step->starts[i] < end; i++) {
        const fo_sparse_tensor *it = &step->tensors[i];
        const size_t first = step->starts[i];
        const size_t to = (step->starts[i + 1] < end ? step->starts[i + 1] : end) - first;
        size_t from = begin > first ? begin - first : 0;
        if (from >= to)
            continue;
        const size_t per_line = FO_CACHE_LINE / fo_size_of(it->given.tensor.param_format);
        for (size_t number = from / it->lines; from < to; number++) {
            const size_t start = number * it->lines;
            const size_t stop = to - start < it->lines ? to - start : it->lines;
            const size_t last = stop * per_line;
            if (!it->row_wise)
                task(it, number, (from - start) * per_line, last < it->n ? last : it->n);
            else if (from == start) /* else another thread has all of it */
                task(it, number, 0, it->n);
            from = start + stop;
        }
    }
}

/* Adding up. */

void fo_add_gradients(const fo_sparse_tensor *it, size_t place, size_t element, size_t n, void *to)
{
    const fo_format format = it->given.tensor.grad_format;
    const size_t bytes = n * fo_size_of(it->summed.tensor.grad_format);
    fo_added wide;
    for (int is_first = 1; place != FO_NO_MORE; place = it->touched.next[place], is_first = 0) {
        const void *from = fo_gradient_at(it, place, element);
        if (format != it->summed.tensor.grad_format) {
            fo_widen(format, from, NULL, wide.floats, n);
            from = wide.floats;
        }
        if (is_first)
            memcpy(to, from, bytes);
        else if (format == FO_FLOAT64)
            for (size_t i = 0; i < n; i++)
                ((double *)to)[i] += ((const double *)from)[i];
        else
            for (size_t i = 0; i < n; i++)
                ((float *)to)[i] += ((const float *)from)[i];
    }
}

static void sum_row(const fo_sparse_tensor *it, size_t number, size_t begin, size_t end)
{
    const size_t size = fo_size_of(it->summed.tensor.grad_format);
    for (size_t n; it->sums && begin < end; begin += n) {
        n = end - begin < FO_ADDED ? end - begin : FO_ADDED;
        fo_add_gradients(it, it->touched.rows[number].first, begin, n,
                         (char *)it->sums + (number * it->n + begin) * size);
    }
}

static void sum_lines(void *context, size_t begin, size_t end)
{
    for_rows(context, begin, end, sum_row);
}

/* Adds up the gradients of every row. From then on these are what is given. */
static fo_status sum_all(sparse_step *step, int threads)
{
    int any = 0;
    for (size_t i = 0; i < step->count; i++) {
        fo_sparse_tensor *it = &step->tensors[i];
        if (it->touched.count == it->touched.places || !it->n)
            continue;
        it->sums = malloc(it->touched.count * it->n * fo_size_of(it->summed.tensor.grad_format));
        if (!it->sums)
            return FO_NO_MEMORY;
        any = 1;
    }
    if (any)
        fo_parallel(threads, step->starts[step->count], FO_CHUNK_LINES, sum_lines, step);
    for (size_t i = 0; i < step->count; i++) {
        fo_sparse_tensor *it = &step->tensors[i];
        if (!it->sums)
            continue;
        it->given.tensor = it->summed.tensor;
        it->given.tensor.grad = it->sums;
        for (size_t number = 0; number < it->touched.count; number++) {
            it->touched.rows[number].first = number;
            it->touched.next[number] = FO_NO_MORE;
        }
    }
    return FO_OK;
}

/* Updating. */

/* Always inline: GCC takes a function that only prefetches for one that does nothing, and drops the call. */
static inline __attribute__((always_inline)) void prefetch_row(const fo_sparse_tensor *it,
                                                               size_t number)
{
    if (number >= it->touched.count)
        return;
    for (int b = 0; b < FO_WRITTEN; b++) {
        if (!it->written[b])
            continue;
        const size_t bytes = it->row_bytes[b];
        const char *const row = it->written[b] + it->touched.rows[number].row * bytes;
        /* Rows need not begin where a line does: they may end on one more. */
        const size_t before = (uintptr_t)row % FO_CACHE_LINE;
        for (size_t i = 0; i < before + bytes && i < PREFETCHED; i += FO_CACHE_LINE)
            __builtin_prefetch(row - before + i, 1, 2);
    }
    if (it->row_wise)
        __builtin_prefetch((const char *)it->given.tensor.state[0] +
                               it->touched.rows[number].row *
                                   fo_size_of(it->summed.tensor.grad_format),
                           1, 2);
}

/* n elements from one on, whose gradient is somewhere else; the rate of a row-wise tensor. */
static void update_elements(const fo_sparse_tensor *it, const fo_bound_tensor *of, double rate,
                            size_t first, size_t n, const void *grad)
{
    const fo_bound_loop *loop = &of->loop;
    fo_bound_loop with_rate;
    if (it->row_wise) {
        with_rate = *loop;
        with_rate.with.coefficients[FO_RATE] = rate;
        loop = &with_rate;
    }
    if (!loop->is_narrow && !of->tensor.average) {
        const size_t before = first * fo_size_of(of->tensor.param_format);
        void *buffers[1 + FO_WRITTEN] = {it->written[0] + before, (void *)(uintptr_t)grad};
        for (int k = 1; k < FO_WRITTEN; k++)
            if (it->written[k])
                buffers[1 + k] = it->written[k] + before;
        loop->loop(&loop->with, it->optional, n, buffers);
        return;
    }
    fo_tensor part = of->tensor;
    part.grad = grad;
    part.param = (char *)part.param + first * fo_size_of(part.param_format);
    for (int k = 0; k < FO_MAX_STATES; k++)
        if (it->written[1 + k])
            part.state[k] = (char *)part.state[k] + first * fo_size_of(part.state_format[k]);
    part.average = part.average ? fo_average_at(&of->tensor, first) : NULL;
    part.remainder = part.remainder ? part.remainder + first : NULL;
    part.copy = part.copy ? part.copy + first : NULL;
    part.position += first;
    fo_update_elements(loop, &it->call, &part, 0, n);
}

static void update_row(const fo_sparse_tensor *it, size_t number, size_t begin, size_t end)
{
    prefetch_row(it, number + it->ahead);
    const fo_touched_row at = it->touched.rows[number];
    const size_t first = at.row * it->n;
    const double rate = it->row_wise ? fo_rate_of_row(it, at) : 0;
    if (it->touched.next[at.first] == FO_NO_MORE) {
        update_elements(it, &it->given, rate, first + begin, end - begin,
                        fo_gradient_at(it, at.first, begin));
        return;
    }
    for (size_t n; begin < end; begin += n) {
        fo_added sums;
        n = end - begin < FO_ADDED ? end - begin : FO_ADDED;
        fo_add_gradients(it, at.first, begin, n, &sums);
        update_elements(it, &it->summed, rate, first + begin, n, &sums);
    }
}

static void update_lines(void *context, size_t begin, size_t end)
{
    for_rows(context, begin, end, update_row);
}

static void update_all(sparse_step *step, const fo_call *call, int threads)
{
    for (size_t i = 0; i < step->count; i++) {
        fo_sparse_tensor *it = &step->tensors[i];
        it->call = *call;
        it->call.bytes = it->row_bytes[0];
        if (it->row_wise) {
            it->call.groups = &it->descent;
            it->given.tensor.group = it->summed.tensor.group = 0;
        }
        fo_bind(&it->given.loop, &it->call, &it->given.tensor, NULL);
        fo_bind(&it->summed.loop, &it->call, &it->summed.tensor, NULL);
    }
    fo_parallel(threads, step->starts[step->count], FO_CHUNK_LINES, update_lines, step);
}

/* The whole step. */

/* The tensor with each of its formats said of its own. */
static fo_tensor spelled_out(const fo_tensor *tensor)
{
    fo_tensor to = *tensor;
    if (tensor->dtype == FO_MIXED)
        return to;
    to.dtype = FO_MIXED;
    to.param_format = to.grad_format = tensor->dtype;
    for (int k = 0; k < FO_MAX_STATES; k++)
        to.state_format[k] = tensor->dtype;
    to.rounding = FO_NEAREST;
    to.remainder = NULL;
    to.copy = NULL;
    to.seed = to.position = 0;
    return to;
}

/* tensor: with as many elements as its gradient has. */
static void note_tensor(fo_sparse_tensor *to, const fo_tensor *tensor, const fo_rule_info *info)
{
    to->given.tensor = to->summed.tensor = spelled_out(tensor);
    to->summed.tensor.grad_format = fo_param_format(tensor) == FO_FLOAT64 ? FO_FLOAT64 : FO_FLOAT32;
    to->optional = fo_optional_of(info, tensor);
    to->n = to->touched.places ? tensor->n / to->touched.places : 0;
    for (int b = 0; b < FO_WRITTEN; b++) {
        if (b && !fo_has_state(info, tensor, b - 1))
            continue;
        const fo_format format = b ? fo_state_format(tensor, b - 1) : fo_param_format(tensor);
        to->written[b] = b ? tensor->state[b - 1] : tensor->param;
        to->row_bytes[b] = to->n * fo_size_of(format);
    }
    to->lines = (to->row_bytes[0] + FO_CACHE_LINE - 1) / FO_CACHE_LINE;
    to->ahead = to->row_bytes[0] ? AHEAD / to->row_bytes[0] : 0;
    to->ahead = to->ahead < LEAST_AHEAD  ? LEAST_AHEAD
                : to->ahead > MOST_AHEAD ? MOST_AHEAD
                                         : to->ahead;
}

/* The norm, of gradients that have each row once. */
static fo_status take_norm(sparse_step *step, fo_call *call, fo_tensor *tensors, size_t count,
                           const fo_options *options, int threads, fo_result *result)
{
    if (options->clip || options->skip_nonfinite) {
        const fo_status status = sum_all(step, threads);
        if (status != FO_OK)
            return status;
        for (size_t i = 0; i < step->count; i++) {
            const fo_sparse_tensor *it = &step->tensors[i];
            tensors[it->index] = it->given.tensor;
            tensors[it->index].n = it->touched.count * it->n;
        }
    }
    return fo_take_norm(call, tensors, count, options, threads, result);
}

/* tensors are copies. To the checks and the norm, a sparse one is as long as its gradient. */
static fo_status step_with(sparse_step *step, const fo_group *groups, size_t group_count,
                           fo_tensor *tensors, const fo_sparse *sparse, size_t tensor_count,
                           const fo_options *options, fo_result *result)
{
    for (size_t i = 0; i < tensor_count; i++)
        if (is_sparse(&tensors[i], &sparse[i])) {
            const size_t rows = sparse[i].rows;
            /* A row need not begin where a block does. */
            if (fo_has_blocks(&tensors[i])) {
                result->tensor = i;
                return FO_BAD_FORMAT;
            }
            if (rows ? tensors[i].n % rows : tensors[i].n) {
                result->tensor = i;
                return FO_BAD_TENSOR;
            }
            tensors[i].n = rows ? tensors[i].n / rows * sparse[i].count : 0;
        }
    fo_call call = {.groups = groups, .group_count = group_count, .scale = options->grad_scale};
    fo_status status =
        fo_check_step(groups, group_count, tensors, tensor_count, options, result, &call.bytes);
    if (status != FO_OK)
        return status;
    for (size_t i = 0; i < tensor_count; i++)
        if (tensors[i].grad && sparse[i].row_wise &&
            !fo_can_be_row_wise(&groups[tensors[i].group], &tensors[i], &sparse[i])) {
            result->tensor = i;
            return FO_BAD_TENSOR;
        }
    for (size_t i = 0; i < tensor_count; i++)
        if (is_sparse(&tensors[i], &sparse[i])) {
            fo_sparse_tensor *it = &step->tensors[step->count];
            it->index = i;
            status = fo_find_rows(&it->touched, &sparse[i], &result->group);
            if (status != FO_OK) {
                result->tensor = i;
                return status;
            }
            if (fo_terms_of(&groups[tensors[i].group])) {
                result->tensor = i;
                return FO_NEEDS_WHOLE;
            }
            fo_rule rule = groups[tensors[i].group].rule;
            if (sparse[i].row_wise)
                rule = FO_RULE_sgd;
            note_tensor(it, &tensors[i], fo_rule_describe(rule));
            it->row_wise = sparse[i].row_wise;
            it->descent = (fo_group){rule, groups[tensors[i].group].hyper};
            step->starts[step->count + 1] =
                step->starts[step->count] + it->touched.count * it->lines;
            step->count++;
        }
    const int threads = fo_engage_threads(call.bytes);
    status = take_norm(step, &call, tensors, tensor_count, options, threads, result);
    if (status != FO_OK || result->skipped)
        return status;
    for (size_t i = 0; i < step->count; i++)
        tensors[step->tensors[i].index].grad = NULL;
    status = fo_update_all(&call, tensors, tensor_count, threads);
    if (status != FO_OK)
        return status;
    update_all(step, &call, threads);
    for (size_t i = 0; i < step->count; i++)
        tensors[step->tensors[i].index].grad = step->tensors[i].given.tensor.grad;
    fo_carry_all(&call, group_count, tensors, tensor_count);
    return FO_OK;
}

fo_status fo_step_sparse_abi(uint64_t abi, const fo_group *groups, size_t group_count,
                             const fo_tensor *tensors, const fo_sparse *sparse, size_t tensor_count,
                             const fo_options *options, fo_result *result)
{
    fo_result own;
    fo_status status = fo_begin_step(abi, &options, &result, &own);
    if (status != FO_OK)
        return status;
    size_t count = 0;
    for (size_t i = 0; i < tensor_count; i++)
        count += is_sparse(&tensors[i], &sparse[i]);
    /* One block of memory for what is as long as the lists of tensors. */
    sparse_step step = {.tensors = calloc(1, count * sizeof *step.tensors +
                                                 (count + 1) * sizeof *step.starts +
                                                 tensor_count * sizeof *tensors)};
    if (!step.tensors)
        return FO_NO_MEMORY;
    fo_tensor *const copies = (fo_tensor *)(step.tensors + count);
    step.starts = (size_t *)(copies + tensor_count);
    if (tensor_count)
        memcpy(copies, tensors, tensor_count * sizeof *tensors);
    status = step_with(&step, groups, group_count, copies, sparse, tensor_count, options, result);
    for (size_t i = 0; i < count; i++) {
        free(step.tensors[i].touched.memory);
        free(step.tensors[i].sums);
    }
    free(step.tensors);
    return status;
}
