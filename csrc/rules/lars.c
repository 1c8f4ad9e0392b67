/* LARS.
 *
 *     b = momentum*b + lr_t*(g + weight_decay*p)
 *     p = p - b
 *
 *     lr_t = lr*trust_coefficient*norm(p)/(norm(g) + weight_decay*norm(p) + eps), norms over all
 *            elements of the array; lr where norm(p) or norm(g) is 0, or without adapt
 *
 * Y. You, I. Gitman and B. Ginsburg, "Large batch training of convolutional networks", 2017, algorithm 1. As there,
 * and in optax, the learning rate goes into the buffer; timm and others multiply the buffer by it, which is the same
 * while it is constant. eps is timm's.
 *
 * When to use it: for convolutional networks and very large batches, with a learning rate that rises slowly. Turn
 * adapt off for biases and for the scales of normalization layers, in a group of their own. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

#include <math.h>

enum { LR, MOMENTUM, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, FO_UNUSED uint64_t step, double *c)
{
    c[LR] = hyper->lr;
    c[MOMENTUM] = hyper->momentum;
}

static double ratio(const fo_hyper *hyper, const double *sums, FO_UNUSED size_t n)
{
    const double of_param = sqrt(sums[0]), of_grad = sqrt(sums[1]);
    if (hyper->adapt == 0 || !(of_param > 0 && of_grad > 0))
        return 1;
    return hyper->trust_coefficient * of_param /
           (of_grad + hyper->weight_decay * of_param + hyper->eps);
}

#define FO_KERNEL lars
#define FO_FILE "rules/lars.c"
#define FO_ROOT_COST FO_NO_ROOT
#define FO_TERMS 2
#define FO_ONE_INSTANCE 1
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, vec *state, FO_UNUSED vec *const *optional, const scalar *c)
{
    vec *b = &state[0];
    *b = c[MOMENTUM] * *b + c[LR] * g;
    return *b;
}

FO_INLINE void take_terms(vec p, vec g, FO_UNUSED vec *state, FO_UNUSED const scalar *c, vec *terms)
{
    terms[0] = p;
    terms[1] = g;
}

#endif
