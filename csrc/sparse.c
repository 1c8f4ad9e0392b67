/* One step of tensors whose gradients have only some of their rows, such as the rows of an embedding table
 * that a batch used.
 *
 * The gradients of a row that stands more than once are added up in a tile when the row is stepped, so nothing
 * is gathered or sorted. Only a norm needs all sums beforehand.
 *
 * Row-wise Adagrad is gradient descent with a rate for each row. No two threads share such a row.
 *
 * Rows lie anywhere in memory, where no hardware prefetcher finds them: the rows ahead are prefetched, into
 * the second-level cache, since more lines at a time can be on their way there than into the first. */
#include "step.h"

#include "average.h"
#include "convert.h"
#include "norm.h"
#include "threads/pool.h"
#include "touched.h"

#include <stdlib.h>
#include <string.h>

enum { WRITTEN = 1 + FO_MAX_STATES };
enum { TILE = 512 }; /* elements */
enum { RATE = 0 };   /* the one coefficient of gradient descent */
/* How many rows ahead are prefetched, and how many bytes of each: hardware prefetchers load the rest. */
enum { AHEAD = 8, PREFETCHED = 1024 };

/* A tensor with the loop for its formats. */
typedef struct bound_tensor {
    fo_tensor tensor;
    fo_bound_loop loop;
} bound_tensor;

typedef struct sparse_tensor {
    size_t index; /* among all tensors */
    fo_touched touched;
    size_t n, lines; /* of a row */
    void *sums;      /* NULL, or the gradients of each row added up */
    fo_call call;
    int row_wise;
    fo_group descent;           /* what a row-wise tensor is stepped with */
    bound_tensor given, summed; /* with the gradient as it is, and in the compute type */
    unsigned optional;          /* as in fo_loop */
    char *written[WRITTEN];
    size_t row_bytes[WRITTEN];
} sparse_tensor;

typedef struct sparse_step {
    sparse_tensor *tensors;
    size_t count;
    size_t *starts; /* the first line of each tensor, and the end */
} sparse_step;

static int is_sparse(const fo_tensor *tensor, const fo_sparse *sparse)
{
    return tensor->grad && sparse->indices;
}

/* Going through the rows. */

/* Elements of one row, by its number among those that are touched. */
typedef void row_task(const sparse_tensor *it, size_t number, size_t begin, size_t end);

/* Between two lines of all tensors' rows. */
static void for_rows(const sparse_step *step, size_t begin, size_t end, row_task *task)
{
    for (size_t i = fo_interval_of(step->starts, step->count, begin);
         i < step->count && step->starts[i] < end; i++) {
        const sparse_tensor *it = &step->tensors[i];
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

typedef union tile {
    float floats[TILE];
    double doubles[TILE];
} __attribute__((aligned(FO_CACHE_LINE))) tile;

static const void *gradient_at(const sparse_tensor *it, size_t place, size_t element)
{
    const fo_tensor *tensor = &it->given.tensor;
    const size_t at = place * it->n + element;
    return (const char *)tensor->grad + at * fo_size_of(tensor->grad_format);
}

/* The gradients of a row, n <= TILE elements of each, in the compute type. */
static void add_gradients(const sparse_tensor *it, size_t place, size_t element, size_t n, void *to)
{
    const fo_format format = it->given.tensor.grad_format;
    const size_t bytes = n * fo_size_of(it->summed.tensor.grad_format);
    tile wide;
    for (int is_first = 1; place != FO_NO_MORE; place = it->touched.next[place], is_first = 0) {
        const void *from = gradient_at(it, place, element);
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

static void sum_row(const sparse_tensor *it, size_t number, size_t begin, size_t end)
{
    const size_t size = fo_size_of(it->summed.tensor.grad_format);
    for (size_t n; it->sums && begin < end; begin += n) {
        n = end - begin < TILE ? end - begin : TILE;
        add_gradients(it, it->touched.rows[number].first, begin, n,
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
        sparse_tensor *it = &step->tensors[i];
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
        sparse_tensor *it = &step->tensors[i];
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

/* The rates of row-wise Adagrad. */

/* n <= TILE elements of the gradient of a row as the step sees it, but for the signs of zeros: where they are, or in
 * the tile. Two steps of gradient descent from 0 add up the scaled gradient and the decay. */
static const void *prepare(const sparse_tensor *it, fo_touched_row at, size_t element, size_t n,
                           tile *to)
{
    const fo_tensor *tensor = &it->given.tensor;
    const fo_loop_call *with = &it->given.loop.with;
    const int is_double = tensor->param_format == FO_FLOAT64;
    fo_loop *const add =
        fo_kernels[FO_RULE_sgd]
            ->loop[fo_isa_in_use()][is_double ? FO_LAYOUT_float64 : FO_LAYOUT_float32];
    fo_loop_call plain = {
        .preparation = FO_GRAD_PREPARED, .grad_scale = with->grad_scale, .param_factor = 1};
    if (with->preparation != FO_GRAD_PREPARED) {
        if (it->touched.next[at.first] == FO_NO_MORE &&
            tensor->grad_format == it->summed.tensor.grad_format)
            return gradient_at(it, at.first, element);
        add_gradients(it, at.first, element, n, to);
        return to;
    }
    tile terms;
    memset(to, 0, n * fo_size_of(it->summed.tensor.grad_format));
    add_gradients(it, at.first, element, n, &terms);
    plain.coefficients[RATE] = -1;
    add(&plain, 0, n, (void *const[]){to, &terms});
    if (!with->grad_decayed)
        return to;
    const size_t first = at.row * it->n + element;
    const void *param = (const char *)tensor->param + first * fo_size_of(tensor->param_format);
    if (!is_double && tensor->param_format != FO_FLOAT32) {
        fo_widen(tensor->param_format, param, tensor->remainder ? tensor->remainder + first : NULL,
                 terms.floats, n);
        param = &terms;
    }
    plain.grad_scale = 1;
    plain.coefficients[RATE] = -with->weight_decay;
    add(&plain, 0, n, (void *const[]){to, (void *)(uintptr_t)param});
    return to;
}

static double sum_of_block(const sparse_tensor *it, fo_touched_row at, size_t block)
{
    const int is_double = it->given.tensor.param_format == FO_FLOAT64;
    const size_t begin = block * FO_NORM_BLOCK;
    const size_t end = it->n - begin < FO_NORM_BLOCK ? it->n : begin + FO_NORM_BLOCK;
    double accumulators[FO_ACCUMULATORS] = {0};
    for (size_t i = begin, n; i < end; i += n) {
        tile terms;
        n = end - i < TILE ? end - i : TILE;
        fo_add_squares(accumulators, is_double, prepare(it, at, i, n, &terms), n);
    }
    return fo_add_accumulators(accumulators);
}

/* The blocks in pairs, as fo_add_in_pairs adds them. */
static double sum_of_squares(const sparse_tensor *it, fo_touched_row at, size_t block, size_t count)
{
    if (count == 1)
        return sum_of_block(it, at, block);
    size_t half = 1;
    while (2 * half < count)
        half *= 2;
    const double first = sum_of_squares(it, at, block, half);
    return first + sum_of_squares(it, at, block + half, count - half);
}

/* Brings the sum of a row up to date. */
static double rate_of(const sparse_tensor *it, fo_touched_row at)
{
    const fo_tensor *tensor = &it->given.tensor;
    const size_t blocks = (it->n + FO_NORM_BLOCK - 1) / FO_NORM_BLOCK;
    double sum = sum_of_squares(it, at, 0, blocks) / (double)it->n, inside, outside;
    if (tensor->param_format == FO_FLOAT64) {
        double *const to = (double *)tensor->state[0] + at.row;
        sum = *to += sum;
    } else {
        float *const to = (float *)tensor->state[0] + at.row;
        sum = *to = (float)(*to + sum);
    }
    fo_place_eps(&it->descent.hyper, &inside, &outside);
    return it->given.loop.with.coefficients[RATE] / (sqrt(sum + inside) + outside);
}

/* Updating. */

/* Always inline: GCC takes a function that only prefetches for one that does nothing, and drops the call. */
static inline __attribute__((always_inline)) void prefetch_row(const sparse_tensor *it,
                                                               size_t number)
{
    if (number >= it->touched.count)
        return;
    for (int b = 0; b < WRITTEN; b++) {
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
static void update_elements(const sparse_tensor *it, const bound_tensor *of, double rate,
                            size_t first, size_t n, const void *grad)
{
    const fo_bound_loop *loop = &of->loop;
    fo_bound_loop with_rate;
    if (it->row_wise) {
        with_rate = *loop;
        with_rate.with.coefficients[RATE] = rate;
        loop = &with_rate;
    }
    if (!loop->is_narrow && !of->tensor.average) {
        const size_t before = first * fo_size_of(of->tensor.param_format);
        void *buffers[1 + WRITTEN] = {it->written[0] + before, (void *)(uintptr_t)grad};
        for (int k = 1; k < WRITTEN; k++)
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

static void update_row(const sparse_tensor *it, size_t number, size_t begin, size_t end)
{
    prefetch_row(it, number + AHEAD);
    const fo_touched_row at = it->touched.rows[number];
    const size_t first = at.row * it->n;
    const double rate = it->row_wise ? rate_of(it, at) : 0;
    if (it->touched.next[at.first] == FO_NO_MORE) {
        update_elements(it, &it->given, rate, first + begin, end - begin,
                        gradient_at(it, at.first, begin));
        return;
    }
    for (size_t n; begin < end; begin += n) {
        tile sums;
        n = end - begin < TILE ? end - begin : TILE;
        add_gradients(it, at.first, begin, n, &sums);
        update_elements(it, &it->summed, rate, first + begin, n, &sums);
    }
}

static void update_lines(void *context, size_t begin, size_t end)
{
    for_rows(context, begin, end, update_row);
}

/* The state has been checked to be there, as one of any size. */
static int can_be_row_wise(const fo_group *group, const fo_tensor *tensor, const fo_sparse *sparse)
{
    const fo_format compute = fo_param_format(tensor) == FO_FLOAT64 ? FO_FLOAT64 : FO_FLOAT32;
    return group->rule == FO_RULE_adagrad && sparse->indices &&
           fo_state_format(tensor, 0) == compute;
}

static void update_all(sparse_step *step, const fo_call *call, int threads)
{
    for (size_t i = 0; i < step->count; i++) {
        sparse_tensor *it = &step->tensors[i];
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
static void note_tensor(sparse_tensor *to, const fo_tensor *tensor, const fo_rule_info *info)
{
    to->given.tensor = to->summed.tensor = spelled_out(tensor);
    to->summed.tensor.grad_format = fo_param_format(tensor) == FO_FLOAT64 ? FO_FLOAT64 : FO_FLOAT32;
    to->optional = fo_optional_of(info, tensor);
    to->n = to->touched.places ? tensor->n / to->touched.places : 0;
    for (int b = 0; b < WRITTEN; b++) {
        if (b && !fo_has_state(info, tensor, b - 1))
            continue;
        const fo_format format = b ? fo_state_format(tensor, b - 1) : fo_param_format(tensor);
        to->written[b] = b ? tensor->state[b - 1] : tensor->param;
        to->row_bytes[b] = to->n * fo_size_of(format);
    }
    to->lines = (to->row_bytes[0] + FO_CACHE_LINE - 1) / FO_CACHE_LINE;
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
            const sparse_tensor *it = &step->tensors[i];
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
            !can_be_row_wise(&groups[tensors[i].group], &tensors[i], &sparse[i])) {
            result->tensor = i;
            return FO_BAD_TENSOR;
        }
    for (size_t i = 0; i < tensor_count; i++)
        if (is_sparse(&tensors[i], &sparse[i])) {
            sparse_tensor *it = &step->tensors[step->count];
            it->index = i;
            status = fo_find_rows(&it->touched, &sparse[i], &result->group);
            if (status != FO_OK) {
                result->tensor = i;
                return status;
            }
            if (fo_rule_takes_norms(groups[tensors[i].group].rule)) {
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
