/* The rates of row-wise Adagrad, which is gradient descent with a rate for each row. The squares of a row are added as
 * norm.c adds those of a tensor. */
#include "row_wise.h"

#include "convert.h"
#include "norm.h"

#include <math.h>
#include <string.h>

int fo_can_be_row_wise(const fo_group *group, const fo_tensor *tensor, const fo_sparse *sparse)
{
    const fo_format compute = fo_param_format(tensor) == FO_FLOAT64 ? FO_FLOAT64 : FO_FLOAT32;
    return group->rule == FO_RULE_adagrad && sparse->indices &&
           fo_state_format(tensor, 0) == compute;
}

/* Returns n <= FO_ADDED elements of a row's gradient as the step uses it, except for the signs of zeros: in place, or
 * written to `to`. Two steps of gradient descent from 0 add up the scaled gradient and the decay. */
static const void *prepare(const fo_sparse_tensor *it, fo_touched_row at, size_t element, size_t n,
                           fo_added *to)
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
            return fo_gradient_at(it, at.first, element);
        fo_add_gradients(it, at.first, element, n, to);
        return to;
    }
    fo_added terms;
    memset(to, 0, n * fo_size_of(it->summed.tensor.grad_format));
    fo_add_gradients(it, at.first, element, n, &terms);
    plain.coefficients[FO_RATE] = -1;
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
    plain.coefficients[FO_RATE] = -with->weight_decay;
    add(&plain, 0, n, (void *const[]){to, (void *)(uintptr_t)param});
    return to;
}

static double sum_of_block(const fo_sparse_tensor *it, fo_touched_row at, size_t block)
{
    const int is_double = it->given.tensor.param_format == FO_FLOAT64;
    const size_t begin = block * FO_NORM_BLOCK;
    const size_t end = it->n - begin < FO_NORM_BLOCK ? it->n : begin + FO_NORM_BLOCK;
    double accumulators[FO_ACCUMULATORS] = {0};
    for (size_t i = begin, n; i < end; i += n) {
        fo_added terms;
        n = end - i < FO_ADDED ? end - i : FO_ADDED;
        fo_add_squares(accumulators, is_double, prepare(it, at, i, n, &terms), n);
    }
    return fo_add_accumulators(accumulators);
}

/* The blocks in pairs, as fo_add_in_pairs adds them. */
static double sum_of_squares(const fo_sparse_tensor *it, fo_touched_row at, size_t block,
                             size_t count)
{
    if (count == 1)
        return sum_of_block(it, at, block);
    size_t half = 1;
    while (2 * half < count)
        half *= 2;
    const double first = sum_of_squares(it, at, block, half);
    return first + sum_of_squares(it, at, block + half, count - half);
}

double fo_rate_of_row(const fo_sparse_tensor *it, fo_touched_row at)
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
    return it->given.loop.with.coefficients[FO_RATE] / (sqrt(sum + inside) + outside);
}
