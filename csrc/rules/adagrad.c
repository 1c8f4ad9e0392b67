/* Adagrad.
 *
 *     h = h + g*g
 *     p = p - (lr*g)/(sqrt(h) + eps), or with eps_inside p = p - (lr*g)/sqrt(h + eps)
 *
 * J. Duchi, E. Hazan and Y. Singer, JMLR 12 (2011). */
#ifndef FO_FORMULA

#include "kernel.h"

enum { LR, EPS_INSIDE, EPS, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, uint64_t step, double *c)
{
    (void)step;
    c[LR] = hyper->lr;
    fo_place_eps(hyper, &c[EPS_INSIDE], &c[EPS]);
}

/* Two multiplications, fewer than in Adam, leave room for every other root. */
#define FO_TURNS 2
#define FO_KERNEL adagrad
#define FO_FILE "rules/adagrad.c"
#include "rule.h"

#else

FO_INLINE void update(vec *p, vec g, vec *state, const scalar *c, int with_optional)
{
    (void)with_optional;
    vec *h = &state[0];
    *h = *h + g * g;
    *p = *p - (c[LR] * g) / (square_root(*h + c[EPS_INSIDE]) + c[EPS]);
}

#endif
