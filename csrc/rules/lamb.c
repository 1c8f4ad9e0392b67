/* LAMB.
 *
 *     m = beta1*m + (1-beta1)*g
 *     v = beta2*v + (1-beta2)*(g*g)
 *     p = (1 - lr_t*weight_decay)*p - (lr_t*A*m)/(sqrt(v) + E)
 *
 *     A = sqrt(1-beta2**t)/(1-beta1**t)
 *     E = eps*sqrt(1-beta2**t)
 *     lr_t = lr*norm(p)/norm((A*m)/(sqrt(v) + E) + weight_decay*p), norms over all
 *            elements of the array; lr where one of them is 0, or without adapt
 *
 * Y. You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", ICLR 2020, algorithm 2
 * with phi(z) = z: AdamW, whose learning rate is multiplied by the trust ratio of the array. Defaults are those of
 * timm, which also clips the gradients to a common norm of 1 unless told otherwise: max_norm=1 of step does so here.
 *
 * When to use it: for very large batches, where Adam with a learning rate that is scaled up diverges. Turn adapt off
 * for biases and for the scales of normalization layers, in a group of their own. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

#include <math.h>

enum { BETA1, ONE_MINUS_BETA1, BETA2, ONE_MINUS_BETA2, A, E, DECAY, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, uint64_t step, double *c)
{
    const double root = sqrt(1 - fo_power(hyper->beta2, step));
    c[BETA1] = hyper->beta1;
    c[ONE_MINUS_BETA1] = 1 - hyper->beta1;
    c[BETA2] = hyper->beta2;
    c[ONE_MINUS_BETA2] = 1 - hyper->beta2;
    c[A] = hyper->lr * root / (1 - fo_power(hyper->beta1, step));
    c[E] = hyper->eps * root;
    c[DECAY] = hyper->weight_decay;
}

static double ratio(const fo_hyper *hyper, const double *sums, FO_UNUSED size_t n)
{
    const double of_param = sqrt(sums[0]), of_update = sqrt(sums[1]);
    return hyper->adapt != 0 && of_param > 0 && of_update > 0 ? of_param / of_update : 1;
}

#define FO_KERNEL lamb
#define FO_FILE "rules/lamb.c"
#define FO_ROOT_COST FO_MODERATE
#define FO_TERMS 2
#define FO_ONE_INSTANCE 1
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, vec *state, FO_UNUSED vec *const *optional, const scalar *c)
{
    vec *m = &state[0], *v = &state[1];
    *m = c[BETA1] * *m + c[ONE_MINUS_BETA1] * g;
    *v = c[BETA2] * *v + c[ONE_MINUS_BETA2] * (g * g);
    return (c[A] * *m) / (square_root(*v) + c[E]);
}

FO_INLINE void take_terms(vec p, vec g, vec *state, const scalar *c, vec *terms)
{
    terms[0] = p;
    terms[1] = update(g, state, NULL, c) + c[DECAY] * p;
}

#endif
