/* Schedule-Free SGD.
 *
 *     x = c*(p - z) + lr_t*(1 - momentum*(1-c))*g
 *     z = z - lr_t*g
 *     p = p - x
 *
 *     z = p at the start
 *     lr_t = lr*min(1, t/warmup_steps)
 *     weight_sum = weight_sum + lr_t**2,  c = lr_t**2/weight_sum
 *
 * A. Defazio et al., "The road less scheduled", NeurIPS 2024, in the form of the authors' package schedulefree:
 * p is their y, where gradients are taken. What to use is the average p + (1 - 1/momentum)*(z - p), their x;
 * eval() of the class puts it into the parameters. weight_sum is carried from step to step. Where lr falls,
 * their package goes on weighting with the largest lr.
 *
 * When to use it: in place of SGD with momentum and a schedule, where the number of steps is not known
 * beforehand. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

enum { FIRST, C, A, LR, WEIGHT_SUM, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, uint64_t step, double *c)
{
    const double lr = fo_warmed_up(hyper, step);
    c[FIRST] = step == 1;
    c[C] = fo_share_of_weights(lr, step, &c[WEIGHT_SUM]);
    c[A] = lr * (1 - hyper->momentum * (1 - c[C]));
    c[LR] = lr;
}

#define FO_KERNEL schedule_free_sgd
#define FO_FILE "rules/schedule_free_sgd.c"
#define FO_ROOT_COST FO_NO_ROOT
#define FO_CARRIED WEIGHT_SUM
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, vec *state, FO_UNUSED vec *const *optional, const scalar *c)
{
    vec *z = &state[0];
    const vec y = state[PARAM];
    *z = c[FIRST] != 0 ? y : *z;
    const vec x = c[C] * (y - *z) + c[A] * g;
    *z = *z - c[LR] * g;
    return x;
}

#endif
