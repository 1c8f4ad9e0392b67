/* The moving average of a parameter:
 *
 *     w = (1-ema)/(1-ema**t)
 *     a = a - w*(a - p)
 *
 * This is the average that starts at zero with its bias corrected as Adam corrects those of its gradients, written
 * so that the array always holds the corrected one: w is 1 in the first step, where a = p, and falls to 1-ema. A
 * parameter that stands still is its own average; (1-w)*a + w*p would be off by the rounding of 1-w, divided by w.
 *
 * The loop of gradient descent computes it: the average is its parameter, the gradient is -p, and a weight decay of
 * 1 adds a to that. If w is 1 the parameter is copied, since a may be NaN before. */
#include "build.h"

#include "average.h"

#include "convert.h"
#include "narrow.h"
#include "tensor.h"

#include <string.h>

void fo_take_average(const fo_tensor *tensor, size_t begin, size_t end)
{
    const fo_kernel *kernel = fo_kernels[FO_RULE_sgd];
    const double weight = (1 - tensor->ema) / (1 - fo_power(tensor->ema, tensor->step));
    const fo_hyper hyper = {.lr = weight};
    fo_loop_call with = {.preparation = FO_GRAD_PREPARED,
                         .grad_decayed = 1,
                         .grad_scale = -1,
                         .param_factor = 1,
                         .weight_decay = 1};
    kernel->coefficients(&hyper, tensor->step, with.coefficients);
    const fo_format format = fo_param_format(tensor);
    const int is_double = format == FO_FLOAT64;
    fo_loop *const loop =
        kernel->loop[fo_isa_in_use()][is_double ? FO_LAYOUT_float64 : FO_LAYOUT_float32];
    for (size_t n; begin < end; begin += n) {
        float wide[FO_TILE];
        void *param = (char *)tensor->param + begin * fo_size_of(format);
        void *const average = fo_average_at(tensor, begin);
        n = end - begin;
        if (!is_double && format != FO_FLOAT32) {
            n = n < FO_TILE ? n : FO_TILE;
            const int16_t *remainder = fo_remainder(tensor);
            fo_widen(format, param, remainder ? remainder + begin : NULL, wide, n);
            param = wide;
        }
        if (weight == 1)
            memcpy(average, param, n * (is_double ? sizeof(double) : sizeof(float)));
        else
            loop(&with, 0, n, (void *const[]){average, param});
    }
}
