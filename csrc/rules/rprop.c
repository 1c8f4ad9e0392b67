/* Rprop.
 *
 *     y = g*prev
 *     s = lr where s is 0, as it is at the start
 *     s = min(max(s*f, step_size_min), step_size_max)
 *         f = eta_plus where y > 0, eta_minus where y < 0, else 1
 *     g = 0 where y < 0
 *     p = p - sign(g)*s,  prev = g
 *
 * M. Riedmiller and H. Braun, "A direct adaptive method for faster backpropagation learning", 1993; without
 * the step back where the gradient changes its sign, as torch (C. Igel and M. Hüsken, 2000, call it iRprop-).
 * lr is where the step sizes start: a schedule of it changes nothing later but decoupled decay.
 *
 * When to use it: with exact gradients of a whole data set. With minibatches, whose gradients change their
 * sign by chance, it fails. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

enum { LR, ETA_MINUS, ETA_PLUS, LEAST, MOST, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, FO_UNUSED uint64_t step, double *c)
{
    c[LR] = hyper->lr;
    c[ETA_MINUS] = hyper->eta_minus;
    c[ETA_PLUS] = hyper->eta_plus;
    c[LEAST] = hyper->step_size_min;
    c[MOST] = hyper->step_size_max;
}

#define FO_KERNEL rprop
#define FO_FILE "rules/rprop.c"
#define FO_ROOT_COST FO_NO_ROOT
#define FO_ONE_INSTANCE 1
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, vec *state, FO_UNUSED vec *const *optional, const scalar *c)
{
    vec *prev = &state[0], *s = &state[1];
    const vec zero = {0}, y = g * *prev;
    const vec factor =
        where(y > 0, zero + c[ETA_PLUS], where(y < 0, zero + c[ETA_MINUS], zero + 1));
    *s = where(*s == 0, zero + c[LR], *s);
    *s = minimum(maximum(*s * factor, zero + c[LEAST]), zero + c[MOST]);
    *prev = where(y < 0, zero, g);
    return sign(*prev) * *s;
}

#endif
