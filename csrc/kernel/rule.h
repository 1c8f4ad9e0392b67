/* The loop that all rules share, compiled around the formula of one rule's file.
 *
 * A rule's file is read twice. The first time it defines the indices of its coefficients (the last one is
 * COEFFICIENTS) and
 *
 *     static void coefficients(const fo_hyper *hyper, uint64_t step, double *c)
 *
 * names its kernel, its file and the cost of its root, and includes this file. That comes back to it for
 * every instruction set and compute type with FO_FORMULA defined, and then it defines
 *
 *     FO_INLINE vec update(vec g, vec *state, vec *const *optional, const scalar *c)
 *
 * which brings the states up to date and returns what is subtracted from the parameter. optional has, in the
 * order of rules.def, a pointer to each state that is optional there, NULL if it is absent. How many states
 * there are, and which are optional, stands in rules.def only. state[PARAM] is the parameter, after decoupled
 * decay, for formulas that read it.
 *
 * A rule whose step has norms of the whole tensor in it also defines FO_TERMS, how many norms, and the first time
 *
 *     static double ratio(const fo_hyper *hyper, const double *sums, size_t n)
 *
 * which is what lr is multiplied by, for the decay too; sums are those of the squares of n elements of each term. The
 * second time it defines
 *
 *     FO_INLINE void take_terms(vec p, vec g, vec *state, const scalar *c, vec *terms)
 *
 * which may call update: states are changed for nobody else. No weight decay has been applied to p and g there,
 * and c is that of an lr of 1. Such a rule has no optional state.
 *
 * A rule that joins tensors carries numbers from step to step that depend on sums over all tensors. It defines
 * FO_JOINS as 1, and in place of ratio
 *
 *     static void carry(const fo_hyper *hyper, const double *sums, double *carried)
 *
 * which updates the carried numbers, once for all tensors; sums are those of each term itself, and not of its
 * squares. The coefficients then contain the numbers as the last step left them, followed by the numbers as carry
 * leaves them. In the call of take_terms the latter are 0. Before the first step all are 0.
 *
 * A rule that has the hyper-parameter cautious defines FO_CAUTIOUS as 1, and nothing else: the mask follows from what
 * update returns. It has no terms of its own, and one optional state at most.
 *
 * FO_KERNEL        the name in rules.def
 * FO_FILE          the file's path, from csrc/
 * FO_CARRIED       only if the rule carries a number from step to step (STEP_AND in rules.def): the index of
 *                  the coefficient that coefficients() finds as the last step left it, and updates; for an array,
 *                  the index of its first number
 * FO_OWN_DECAY     1 only if the formula has weight_decay in it, so that neither g nor p is decayed before
 * FO_ALWAYS        1 only if the library itself uses the rule: it is compiled even with FO_LEAVE_OUT
 * FO_ROOT_COST     FO_NO_ROOT, or, if the formula takes a square_root, how costly its multiplications are
 *                  beside that: FO_LIGHT (up to 4), FO_MODERATE, FO_HEAVY (8 and more); see loop.h
 *
 * Three names save instances of the loop, each of which takes space and compile time; docs/notes/kernels.md says how
 * much longer steps then take. The first name is for rules that are seldom used, and includes the others.
 *
 * FO_ONE_INSTANCE  1: the loop scales and decays whether or not that is asked for
 * FO_ONE_IN_DOUBLE 1: the same in float64 alone
 * FO_NARROW_IN_TILES  1: how 16 bits are rounded is decided by a branch; 8-bit states, and mixtures of bfloat16 with
 *                  float32, go through tiles (../narrow.c)
 */
#define FO_NO_ROOT 0
#define FO_LIGHT 1
#define FO_MODERATE 2
#define FO_HEAVY 3

#if !defined(FO_KERNEL) || !defined(FO_FILE) || !defined(FO_ROOT_COST)
#error "a rule defines FO_KERNEL, FO_FILE and FO_ROOT_COST; see kernel/rule.h"
#endif
#ifndef FO_CAUTIOUS
#define FO_CAUTIOUS 0
#endif
#ifndef FO_ONE_INSTANCE
#define FO_ONE_INSTANCE 0
#endif
#if FO_ONE_INSTANCE
#define FO_ONE_IN_DOUBLE 1
#define FO_NARROW_IN_TILES 1
#endif
#ifndef FO_ONE_IN_DOUBLE
#define FO_ONE_IN_DOUBLE 0
#endif
#ifndef FO_NARROW_IN_TILES
#define FO_NARROW_IN_TILES 0
#endif
_Static_assert((int)COEFFICIENTS <= (int)FO_MAX_COEFFICIENTS,
               "FO_MAX_COEFFICIENTS (kernel.h) is too small");

/* A group of vectors takes all its roots together (loop.h), while a formula needs its root in the middle.
 * So square_root leaves its argument behind the states, and finds the root there. */
enum { ARGUMENT = FO_MAX_STATES, ROOT, PARAM };
#if FO_ROOT_COST
#define square_root(x) (state[ARGUMENT] = (x), state[ROOT])
#else
#define square_root(x) FO_ROOT_COST_is_FO_NO_ROOT /* does not compile */
#endif

/* With FO_LEAVE_OUT a rule has no loop, but for the rules that the library itself uses (FO_ALWAYS). All tables and
 * numbers stay as they are, and steps refuse the rule. */
#if defined(FO_LEAVE_OUT) && !defined(FO_ALWAYS)
#define FO_ISAS(X, x)
#undef FO_NARROW_ISAS
#define FO_NARROW_ISAS(X, x)
#undef FO_BLOCK_ISAS
#define FO_BLOCK_ISAS(X, x)
#define FO_IS_COMPILED 0
#else
#define FO_TEMPLATE "kernel/loop.h"
#include "kernel/instances.h"
#define FO_IS_COMPILED 1
#endif

#define FO_LOOP(isa, name, unused)                                                                 \
    [isa] = {[FO_LAYOUT_float32] = loop_##name##_f32, [FO_LAYOUT_float64] = loop_##name##_f64},
#define FO_HALVES_LOOP(isa, name, unused) [isa] = in_halves_##name,
#if FO_NARROW_IN_TILES
#define FO_MIXTURE_LOOP(isa, name, unused) [isa] = NULL,
#define FO_SPLIT_LOOP(isa, name, unused) [isa] = NULL,
#define FO_BLOCK_LOOP(isa, name, unused) [isa] = NULL,
#else
#define FO_MIXTURE_LOOP(isa, name, unused) [isa] = in_mixture_##name,
#define FO_SPLIT_LOOP(isa, name, unused) [isa] = in_split_##name,
#define FO_BLOCK_LOOP(isa, name, unused) [isa] = in_blocks_##name,
#endif
#if FO_CAUTIOUS
_Static_assert(FO_CAT(FO_OPTIONAL_STATES, FO_KERNEL) <= 1, "a mask has one optional state at most");
#define FO_MASKED_LOOP(isa, name, unused)                                                          \
    [isa] = {[FO_LAYOUT_float32] = masked_##name##_f32, [FO_LAYOUT_float64] = masked_##name##_f64},
#define FO_NORMS .cautious = 1, .terms_loop = {FO_ISAS(FO_MASKED_LOOP, )}
#elif defined(FO_TERMS)
_Static_assert(!FO_CAT(FO_OPTIONAL_STATES, FO_KERNEL), "terms have no optional states");
#define FO_TERMS_LOOP(isa, name, unused)                                                           \
    [isa] = {[FO_LAYOUT_float32] = terms_##name##_f32, [FO_LAYOUT_float64] = terms_##name##_f64},
#ifdef FO_JOINS
#define FO_SUMMED .carry = carry
#else
#define FO_SUMMED .ratio = ratio
#endif
#define FO_NORMS .terms = FO_TERMS, FO_SUMMED, .terms_loop = {FO_ISAS(FO_TERMS_LOOP, )}
#else
#define FO_NORMS .terms = 0
#endif
#ifndef FO_CARRIED
#define FO_CARRIED 0
#endif
#ifndef FO_OWN_DECAY
#define FO_OWN_DECAY 0
#endif
const fo_kernel FO_CAT(fo_kernel, FO_KERNEL) = {.coefficients = coefficients,
                                                .carried = FO_CARRIED,
                                                .is_compiled = FO_IS_COMPILED,
                                                .own_decay = FO_OWN_DECAY,
                                                .loop = {FO_ISAS(FO_LOOP, )},
                                                .in_halves = {FO_NARROW_ISAS(FO_HALVES_LOOP, )},
                                                .in_mixture = {FO_NARROW_ISAS(FO_MIXTURE_LOOP, )},
                                                .in_split = {FO_NARROW_ISAS(FO_SPLIT_LOOP, )},
                                                .in_blocks = {FO_BLOCK_ISAS(FO_BLOCK_LOOP, )},
                                                FO_NORMS};
