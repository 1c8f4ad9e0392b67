/* The one loop that every rule shares, compiled around the formula of the rule's own file.
 *
 * A rule's file reads itself twice. The first time it defines the indices of its coefficients and how
 * they are computed, names its kernel and itself, and includes this file; which comes back to it for
 * every instruction set and dtype with FO_FORMULA defined, and then it defines
 *
 *     FO_INLINE void update(vec *param, vec g, vec *state, const scalar *c, int with_optional)
 *
 * FO_KERNEL        the name in rules.def
 * FO_FILE          the file's path, from csrc/
 * FO_OPTIONALS     1 if the rule has an optional state
 * FO_TURNS         if it has a root: of floats one of so many vectors, two to four, takes it by
 *                  multiplications; see loop.h
 */
#ifndef FO_OPTIONALS
#define FO_OPTIONALS 0
#endif
#ifndef FO_TURNS
#define FO_TURNS 0
#endif

/* Behind the states of a vector. */
enum { ARGUMENT = FO_MAX_STATES, ROOT };

#define FO_TEMPLATE "loop.h"
#include "instances.h"

#define FO_LOOPS(isa, name)                                                                        \
    [isa] = {FO_CAT(loop, FO_CAT(name, f32)), FO_CAT(loop, FO_CAT(name, f64))},
#define FO_KERNEL_NAME_(kernel) fo_kernel_##kernel
#define FO_KERNEL_NAME(kernel) FO_KERNEL_NAME_(kernel)
const fo_kernel FO_KERNEL_NAME(FO_KERNEL) = {coefficients, {FO_ISAS(FO_LOOPS)}};
