/* StableAdamW.
 *
 *     m = b1*m + (1-b1)*g
 *     v = b2*v + (1-b2)*(g*g)
 *     p = p - (lr_t*m)/(sqrt(v) + eps)
 *
 *     b1 = beta1*(1 - beta1**(t-1))/(1 - beta1**t), and b2 of beta2
 *     lr_t = lr/rms if rms > 1, else lr
 *     rms = sqrt(mean((g/max(sqrt(v), eps))**2)), over all elements of the array
 *
 * M. Wortsman et al., "Stable and low-precision training for large-scale vision-language models", NeurIPS 2023,
 * algorithm 2: AdamW with the update clipping of Adafactor in place of clipping by the gradients' norm. The averages are
 * without bias from the first step on, since their shares grow to beta1 and beta2. Weight decay is always
 * decoupled, and is multiplied by lr_t. The defaults are those of the package optimi.
 *
 * When to use it: in place of AdamW with clipping, where the gradients of some arrays jump. It steps less where a
 * gradient is large beside its average, and needs no max_norm. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

#include <math.h>

enum { LR, BETA1, ONE_MINUS_BETA1, BETA2, ONE_MINUS_BETA2, EPS, COEFFICIENTS };

static double share(double beta, uint64_t step)
{
    return beta * (1 - fo_power(beta, step - 1)) / (1 - fo_power(beta, step));
}

static void coefficients(const fo_hyper *hyper, uint64_t step, double *c)
{
    c[LR] = hyper->lr;
    c[BETA1] = share(hyper->beta1, step);
    c[ONE_MINUS_BETA1] = 1 - c[BETA1];
    c[BETA2] = share(hyper->beta2, step);
    c[ONE_MINUS_BETA2] = 1 - c[BETA2];
    c[EPS] = hyper->eps;
}

static double ratio(FO_UNUSED const fo_hyper *hyper, const double *sums, size_t n)
{
    const double rms = sqrt(sums[0] / (double)n);
    return rms > 1 ? 1 / rms : 1;
}

#define FO_KERNEL stableadamw
#define FO_FILE "rules/stableadamw.c"
#define FO_ROOT_COST FO_MODERATE
#define FO_TERMS 1
#define FO_ONE_INSTANCE 1
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, vec *state, FO_UNUSED vec *const *optional, const scalar *c)
{
    vec *m = &state[0], *v = &state[1];
    *m = c[BETA1] * *m + c[ONE_MINUS_BETA1] * g;
    *v = c[BETA2] * *v + c[ONE_MINUS_BETA2] * (g * g);
    return (c[LR] * *m) / (square_root(*v) + c[EPS]);
}

FO_INLINE void take_terms(FO_UNUSED vec p, vec g, vec *state, const scalar *c, vec *terms)
{
    const vec v = c[BETA2] * state[1] + c[ONE_MINUS_BETA2] * (g * g);
    terms[0] = g / maximum(square_root(v), (vec){0} + c[EPS]);
}

#endif
