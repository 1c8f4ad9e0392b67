/* Schedule-Free SGD.
 *
 *     x = lr_t*(1 - momentum*(1-c))*g - c*o
 *     o = (1-c)*(o - lr_t*momentum*g)
 *     p = p - x
 *
 *     lr_t = lr*min(1, t/warmup_steps)
 *     weight_sum = weight_sum + lr_t**2,  c = lr_t**2/weight_sum
 *
 * A. Defazio et al., "The road less scheduled", NeurIPS 2024, in the form of the authors' package schedulefree:
 * p is their y, where gradients are taken, and o is z - y. What to use is the average p + (1 - 1/momentum)*o,
 * their x; eval() of the class puts it into the parameters. weight_sum is carried from step to step. Where lr
 * falls, their package goes on weighting with the largest lr.
 *
 * When to use it: in place of SGD with momentum and a schedule, where the number of steps is not known
 * beforehand. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

enum { C, ONE_MINUS_C, A, B, WEIGHT_SUM, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, uint64_t step, double *c)
{
    const double lr = fo_warmed_up(hyper, step);
    c[C] = fo_share_of_weights(lr, step, &c[WEIGHT_SUM]);
    c[ONE_MINUS_C] = 1 - c[C];
    c[A] = lr * (1 - hyper->momentum * (1 - c[C]));
    c[B] = lr * hyper->momentum;
}

#define FO_KERNEL schedule_free_sgd
#define FO_FILE "rules/schedule_free_sgd.c"
#define FO_ROOT_COST FO_NO_ROOT
#define FO_CARRIED WEIGHT_SUM
#define FO_ONE_INSTANCE 1
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, vec *state, FO_UNUSED vec *const *optional, const scalar *c)
{
    vec *o = &state[0];
    const vec x = c[A] * g - c[C] * *o;
    *o = c[ONE_MINUS_C] * (*o - c[B] * g);
    return x;
}

#endif
