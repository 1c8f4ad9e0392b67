/* ASGD, averaged stochastic gradient descent.
 *
 *     eta = lr at t = 1, then lr/(1 + lambd*lr*(t-1))**alpha, with the lr of the step before
 *     x = lambd*eta*p + eta*g
 *     p = p - x
 *     a = (1-mu)*a + mu*p, or p where mu is 1
 *
 *     mu = 1/max(1, t-1-t0), which is 1 up to step t0+2
 *
 * B. T. Polyak and A. B. Juditsky, "Acceleration of stochastic approximation by averaging", 1992, with the
 * decay and the rates of L. Bottou's asgd, as torch has them. The average a is what to use after training. eta
 * is carried from step to step, since lr may have changed on the way. Its power is a product of square roots,
 * which gives the same bits on every system.
 *
 * When to use it: for convex problems, such as linear models, with t0 where the loss has become flat; its
 * default begins to average after a million steps. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

enum { ETA, DECAY, MU, ONE_MINUS_MU, NEXT_ETA, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, uint64_t step, double *c)
{
    const double eta = step == 1 ? hyper->lr : c[NEXT_ETA];
    const double averaged = (double)(step - 1) - hyper->t0;
    const double mu = averaged > 1 ? 1 / averaged : 1;
    c[ETA] = eta;
    c[DECAY] = hyper->lambd * eta;
    c[MU] = mu;
    c[ONE_MINUS_MU] = 1 - mu;
    c[NEXT_ETA] =
        hyper->lr / fo_real_power(1 + hyper->lambd * hyper->lr * (double)step, hyper->alpha);
}

#define FO_KERNEL asgd
#define FO_FILE "rules/asgd.c"
#define FO_ROOT_COST FO_NO_ROOT
#define FO_CARRIED NEXT_ETA
#define FO_ONE_INSTANCE 1
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, vec *state, FO_UNUSED vec *const *optional, const scalar *c)
{
    vec *a = &state[0];
    const vec x = c[DECAY] * state[PARAM] + c[ETA] * g;
    const vec moved = state[PARAM] - x;
    *a = c[MU] == 1 ? moved : c[ONE_MINUS_MU] * *a + c[MU] * moved;
    return x;
}

#endif
