/* RMSprop.
 *
 *     v = alpha*v + (1-alpha)*(g*g)
 *     p = p - (lr*g)/(sqrt(v) + eps), or with eps_inside p = p - (lr*g)/sqrt(v + eps)
 *
 *     centered: a = alpha*a + (1-alpha)*g, and max(v - a*a, 0) stands for v under the root
 *     with momentum: b = momentum*b + g/d, where d is the denominator above, and p = p - lr*b
 *
 * G. Hinton, "Neural networks for machine learning", lecture 6e, 2012; eps outside the root as in
 * torch, inside as in Keras. Centred: A. Graves, "Generating sequences with recurrent neural networks",
 * arXiv 1308.0850. v - a*a is a variance, which rounding can make negative: it is then 0, where torch's
 * parameters become NaN.
 *
 * When to use it: in recurrent networks and reinforcement learning, where it is the custom. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

enum { LR, ALPHA, ONE_MINUS_ALPHA, EPS_INSIDE, EPS, MU, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, FO_UNUSED uint64_t step, double *c)
{
    c[LR] = hyper->lr;
    c[ALPHA] = hyper->alpha;
    c[ONE_MINUS_ALPHA] = 1 - hyper->alpha;
    c[MU] = hyper->momentum;
    fo_place_eps(hyper, &c[EPS_INSIDE], &c[EPS]);
}

#define FO_KERNEL rmsprop
#define FO_FILE "rules/rmsprop.c"
#define FO_ROOT_COST FO_LIGHT
#define FO_ONE_IN_DOUBLE 1
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, vec *state, vec *const *optional, const scalar *c)
{
    vec *v = &state[0], *average = optional[0], *b = optional[1], spread;
    *v = c[ALPHA] * *v + c[ONE_MINUS_ALPHA] * (g * g);
    spread = *v;
    if (average) {
        *average = c[ALPHA] * *average + c[ONE_MINUS_ALPHA] * g;
        spread = maximum(*v - *average * *average, (vec){0});
    }
    const vec denominator = square_root(spread + c[EPS_INSIDE]) + c[EPS];
    if (!b)
        return (c[LR] * g) / denominator;
    *b = c[MU] * *b + g / denominator;
    return c[LR] * *b;
}

#endif
