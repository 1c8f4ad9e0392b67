/* Lion.
 *
 *     u = sign(beta1*m + (1-beta1)*g)
 *     m = beta2*m + (1-beta2)*g
 *     p = p - lr*u
 *
 * X. Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023. The sign of 0 is 0, as in
 * optax and in the authors' code. Weight decay is always decoupled, with optax' default; lr is the authors'
 * default. As every step has the same size, lr is to be 3 to 10 times smaller, and weight_decay as many
 * times larger, than for AdamW.
 *
 * When to use it: for large networks and large batches, where it needs half the states of AdamW. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

enum { LR, BETA1, ONE_MINUS_BETA1, BETA2, ONE_MINUS_BETA2, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, FO_UNUSED uint64_t step, double *c)
{
    c[LR] = hyper->lr;
    c[BETA1] = hyper->beta1;
    c[ONE_MINUS_BETA1] = 1 - hyper->beta1;
    c[BETA2] = hyper->beta2;
    c[ONE_MINUS_BETA2] = 1 - hyper->beta2;
}

#define FO_KERNEL lion
#define FO_FILE "rules/lion.c"
#define FO_ROOT_COST FO_NO_ROOT
#define FO_ONE_IN_DOUBLE 1
#define FO_CAUTIOUS 1
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, vec *state, FO_UNUSED vec *const *optional, const scalar *c)
{
    vec *m = &state[0];
    const vec u = sign(c[BETA1] * *m + c[ONE_MINUS_BETA1] * g);
    *m = c[BETA2] * *m + c[ONE_MINUS_BETA2] * g;
    return c[LR] * u;
}

#endif
