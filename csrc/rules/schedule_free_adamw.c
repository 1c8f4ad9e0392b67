/* Schedule-Free AdamW.
 *
 *     v = beta2*v + (1-beta2)*(g*g)
 *     d = (R*g)/(sqrt(v) + E) + weight_decay*p
 *     x = lr_t*(1 - beta1*(1-c))*d - c*o
 *     o = (1-c)*(o - lr_t*beta1*d)
 *     p = p - x
 *
 *     R = sqrt(1-beta2**t),  E = eps*sqrt(1-beta2**t)
 *     lr_t = lr*min(1, t/warmup_steps)
 *     weight_sum = weight_sum + lr_t**2,  c = lr_t**2/weight_sum
 *
 * A. Defazio et al., "The road less scheduled", NeurIPS 2024, in the form of the authors' package schedulefree:
 * p is their y, where gradients are taken, and o is z - y. What to use is the average p + (1 - 1/beta1)*o,
 * their x; eval() of the class puts it into the parameters. weight_sum is carried from step to step. Where lr
 * falls, their package goes on weighting with the largest lr.
 *
 * When to use it: in place of AdamW with a schedule, where the number of steps is not known beforehand; with
 * a warmup, and a learning rate above AdamW's. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

#include <math.h>

enum { BETA2, ONE_MINUS_BETA2, R, E, DECAY, C, ONE_MINUS_C, A, B, WEIGHT_SUM, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, uint64_t step, double *c)
{
    const double root = sqrt(1 - fo_power(hyper->beta2, step));
    const double lr = fo_warmed_up(hyper, step);
    c[BETA2] = hyper->beta2;
    c[ONE_MINUS_BETA2] = 1 - hyper->beta2;
    c[R] = root;
    c[E] = hyper->eps * root;
    c[DECAY] = hyper->weight_decay;
    c[C] = fo_share_of_weights(lr, step, &c[WEIGHT_SUM]);
    c[ONE_MINUS_C] = 1 - c[C];
    c[A] = lr * (1 - hyper->beta1 * (1 - c[C]));
    c[B] = lr * hyper->beta1;
}

#define FO_KERNEL schedule_free_adamw
#define FO_FILE "rules/schedule_free_adamw.c"
#define FO_ROOT_COST FO_MODERATE
#define FO_CARRIED WEIGHT_SUM
#define FO_OWN_DECAY 1
#define FO_ONE_IN_DOUBLE 1
#define FO_NARROW_IN_TILES 1
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, vec *state, FO_UNUSED vec *const *optional, const scalar *c)
{
    vec *o = &state[0], *v = &state[1];
    *v = c[BETA2] * *v + c[ONE_MINUS_BETA2] * (g * g);
    vec d = (c[R] * g) / (square_root(*v) + c[E]);
    if (c[DECAY] != 0)
        d = d + c[DECAY] * state[PARAM];
    const vec x = c[A] * d - c[C] * *o;
    *o = c[ONE_MINUS_C] * (*o - c[B] * d);
    return x;
}

#endif
