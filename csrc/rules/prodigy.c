/* Prodigy.
 *
 *     m = beta1*m + d*(1-beta1)*g
 *     v = beta2*v + d**2*(1-beta2)*(g*g)
 *     s = beta3*s + (d/d0)*lr_t*g
 *     p = p - (lr_t*m)/(sqrt(v) + next_d*eps)
 *
 *     lr_t = d*lr; with use_bias_correction, times sqrt(1-beta2**t)/(1-beta1**t)
 *     r = beta3*r + sum((d/d0)*lr_t*g*(p0 - p))
 *     d_hat = d_coef*r/sum(abs(s)), both sums over all elements of all arrays
 *     d_max = max(d_max, d_hat)
 *     next_d = min(d_max, growth_rate*d), which is the d of the next step; the first is d0
 *
 * K. Mishchenko and A. Defazio, "Prodigy: an expeditiously adaptive parameter-free learner", ICML 2024, in the form of
 * the authors' package prodigyopt: Adam, whose step size d is an estimate of the distance from the initial parameters
 * p0 to the solution. lr multiplies it, and stays at 1 or follows a schedule. A beta3 of 0 stands for sqrt(beta2), and
 * a growth_rate of 0 for no bound: None and inf of the package. As long as d is d0, it becomes d_hat if that is larger,
 * whatever the growth_rate. With safeguard_warmup, s has d in place of lr_t. Decoupled decay subtracts
 * lr_t*weight_decay*p. The state p0_offset is p0 - p, the sum of all movements: it starts with zeros, and does not see
 * what others write into p. d, r and d_max are carried from step to step and are the same for all arrays; the
 * hyper-parameters for them are those of the array that has taken the most steps. There are three differences from the
 * package. A step counts even if all gradients have been 0 so far. A group may have an lr of its own. And with a beta1
 * of 0, m is d*g as the formula says, where the package has next_d*g.
 *
 * When to use it: where there is no time to tune a learning rate. Keep lr at 1, or let it fall by a cosine. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

#include <math.h>

enum { BETA1, G, BETA2, G_SQUARED, BETA3, S, R, A, E, DECAY, COUPLED_DECAY, COEFFICIENTS };
/* The numbers that are carried */
enum { D, D_NUMERATOR, D_MAX, NUMBERS };
enum { BEFORE = COEFFICIENTS, AFTER = BEFORE + NUMBERS };

static double first_if_0(double number, double first)
{
    return number > 0 ? number : first;
}

static double beta3_of(const fo_hyper *hyper)
{
    return first_if_0(hyper->beta3, sqrt(hyper->beta2));
}

static void coefficients(const fo_hyper *hyper, uint64_t step, double *c)
{
    const double d = first_if_0(c[BEFORE + D], hyper->d0);
    const double next_d = first_if_0(c[AFTER + D], d);
    const double growth = hyper->d0 > 0 ? d / hyper->d0 : 0;
    double rate = d * hyper->lr;
    if (hyper->use_bias_correction != 0)
        rate *= sqrt(1 - fo_power(hyper->beta2, step)) / (1 - fo_power(hyper->beta1, step));
    c[BETA1] = hyper->beta1;
    c[G] = d * (1 - hyper->beta1);
    c[BETA2] = hyper->beta2;
    c[G_SQUARED] = d * d * (1 - hyper->beta2);
    c[BETA3] = beta3_of(hyper);
    c[S] = growth * (hyper->safeguard_warmup != 0 ? d : rate);
    c[R] = growth * rate;
    c[A] = rate;
    c[E] = next_d * hyper->eps;
    c[DECAY] = hyper->decoupled != 0 ? rate * hyper->weight_decay : 0;
    c[COUPLED_DECAY] = hyper->decoupled != 0 ? 0 : hyper->weight_decay;
}

/* Comparisons leave d as it is where a sum is NaN. */
static void carry(const fo_hyper *hyper, const double *sums, double *carried)
{
    double d = first_if_0(carried[D], hyper->d0), most = first_if_0(carried[D_MAX], hyper->d0);
    if (sums[1] != 0) {
        carried[D_NUMERATOR] = beta3_of(hyper) * carried[D_NUMERATOR] + sums[0];
        const double d_hat = hyper->d_coef * carried[D_NUMERATOR] / sums[1];
        if (d == hyper->d0 && d_hat > d)
            d = d_hat;
        if (d_hat > most)
            most = d_hat;
        d = hyper->growth_rate > 0 && d * hyper->growth_rate < most ? d * hyper->growth_rate : most;
    }
    carried[D] = d;
    carried[D_MAX] = most;
}

#define FO_KERNEL prodigy
#define FO_FILE "rules/prodigy.c"
#define FO_ROOT_COST FO_HEAVY
#define FO_CARRIED BEFORE
#define FO_OWN_DECAY 1
#define FO_TERMS 2
#define FO_JOINS 1
#define FO_ONE_INSTANCE 1
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, vec *state, FO_UNUSED vec *const *optional, const scalar *c)
{
    vec *m = &state[0], *v = &state[1], *s = &state[2], *offset = &state[3];
    if (c[COUPLED_DECAY] != 0)
        g = g + c[COUPLED_DECAY] * state[PARAM];
    *m = c[BETA1] * *m + c[G] * g;
    *v = c[BETA2] * *v + c[G_SQUARED] * (g * g);
    *s = c[BETA3] * *s + c[S] * g;
    vec x = (c[A] * *m) / (square_root(*v) + c[E]);
    if (c[DECAY] != 0)
        x = x + c[DECAY] * state[PARAM];
    *offset = *offset + (state[PARAM] - (state[PARAM] - x));
    return x;
}

FO_INLINE void take_terms(vec p, vec g, vec *state, const scalar *c, vec *terms)
{
    if (c[COUPLED_DECAY] != 0)
        g = g + c[COUPLED_DECAY] * p;
    terms[0] = (c[R] * g) * state[3];
    terms[1] = absolute(c[BETA3] * state[2] + c[S] * g);
}

#endif
