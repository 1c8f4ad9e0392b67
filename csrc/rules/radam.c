/* RAdam.
 *
 *     m = beta1*m + (1-beta1)*g
 *     v = beta2*v + (1-beta2)*(g*g)
 *     p = p - (A*m)/(sqrt(v) + eps) where rho > 5, else p = p - A*m
 *
 *     P = beta2**t,  R = 2/(1-beta2) - 1,  rho = R - 2*t*P/(1-P)
 *     A = lr/(1-beta1**t), and where rho > 5 that times
 *         sqrt(1-P) and times sqrt((rho-4)*(rho-2)*R/((R-4)*(R-2)*rho))
 *
 * L. Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020; eps and the
 * threshold are torch's. rho says of how many gradients v is an average. With the default beta2 the first
 * five steps are those of momentum.
 *
 * When to use it: in place of Adam where training without a warmup of the learning rate is unstable. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

#include <math.h>

enum { BETA1, ONE_MINUS_BETA1, BETA2, ONE_MINUS_BETA2, A, EPS, IS_RECTIFIED, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, uint64_t step, double *c)
{
    const double beta2 = hyper->beta2, power = fo_power(beta2, step), most = 2 / (1 - beta2) - 1;
    const double rho = most - 2 * (double)step * power / (1 - power);
    c[BETA1] = hyper->beta1;
    c[ONE_MINUS_BETA1] = 1 - hyper->beta1;
    c[BETA2] = beta2;
    c[ONE_MINUS_BETA2] = 1 - beta2;
    c[A] = hyper->lr / (1 - fo_power(hyper->beta1, step));
    c[EPS] = hyper->eps;
    c[IS_RECTIFIED] = rho > 5;
    if (rho > 5)
        c[A] = c[A] * sqrt(1 - power) *
               sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho));
}

#define FO_KERNEL radam
#define FO_FILE "rules/radam.c"
#define FO_ROOT_COST FO_MODERATE
#define FO_ONE_IN_DOUBLE 1
#define FO_NARROW_IN_TILES 1
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, vec *state, FO_UNUSED vec *const *optional, const scalar *c)
{
    vec *m = &state[0], *v = &state[1];
    const vec zero = {0}, one = zero + 1;
    *m = c[BETA1] * *m + c[ONE_MINUS_BETA1] * g;
    *v = c[BETA2] * *v + c[ONE_MINUS_BETA2] * (g * g);
    const mask is_rectified = zero + c[IS_RECTIFIED] == one;
    return (c[A] * *m) / where(is_rectified, square_root(*v) + c[EPS], one);
}

#endif
