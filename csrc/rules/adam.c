/* Adam, and with decoupled decay AdamW.
 *
 *     m = beta1*m + (1-beta1)*g
 *     v = beta2*v + (1-beta2)*(g*g)
 *     p = p - (A*m)/(sqrt(v) + E)
 *
 *     A = lr*sqrt(1-beta2**t)/(1-beta1**t)
 *     E = eps*sqrt(1-beta2**t), or with eps_hat just eps
 *
 * D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1, with
 * the bias corrections moved out of the loop; eps_hat is the variant at the end of their section 2.
 * AMSGrad (S. J. Reddi, S. Kale and S. Kumar, ICLR 2018) keeps the largest v so far, h, and has it
 * under the root; of the uncorrected v, as torch and Keras do. AdamW: I. Loshchilov and F. Hutter,
 * "Decoupled weight decay regularization", ICLR 2019.
 *
 * When to use it: as the default, which needs the least tuning on networks. AdamW, with its weight decay, is
 * the custom for transformers. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

#include <math.h>

enum { BETA1, ONE_MINUS_BETA1, BETA2, ONE_MINUS_BETA2, A, E, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, uint64_t step, double *c)
{
    const double root = sqrt(1 - fo_power(hyper->beta2, step));
    c[BETA1] = hyper->beta1;
    c[ONE_MINUS_BETA1] = 1 - hyper->beta1;
    c[BETA2] = hyper->beta2;
    c[ONE_MINUS_BETA2] = 1 - hyper->beta2;
    c[A] = hyper->lr * root / (1 - fo_power(hyper->beta1, step));
    c[E] = hyper->eps_hat != 0 ? hyper->eps : hyper->eps * root;
}

#define FO_KERNEL adam
#define FO_FILE "rules/adam.c"
#define FO_ROOT_COST FO_MODERATE
#define FO_CAUTIOUS 1
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, vec *state, vec *const *optional, const scalar *c)
{
    vec *m = &state[0], *v = &state[1], *amsgrad = optional[0];
    *m = c[BETA1] * *m + c[ONE_MINUS_BETA1] * g;
    *v = c[BETA2] * *v + c[ONE_MINUS_BETA2] * (g * g);
    if (amsgrad)
        *amsgrad = maximum(*amsgrad, *v);
    return (c[A] * *m) / (square_root(amsgrad ? *amsgrad : *v) + c[E]);
}

#endif
