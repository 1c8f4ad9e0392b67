/* The loop around one formula, for one instruction set and compute type. */
#include "kernel/roots.h"

#include "kernel/formula.h"

/* How a rule with a root is cut into groups, where roots can be multiplied: vectors in a group, and how
 * many of them take their root by multiplications. The costlier the rule's other operations, the fewer:
 * while the divider is at a root or a quotient, the multipliers have time for only so much. Roots of
 * doubles take the divider longest. A scaled gradient adds multiplications. */
typedef struct group_plan {
    int size, multiplied;
} group_plan;

FO_INLINE group_plan plan_of(const setting s)
{
    static const group_plan plans[][2][2] = {
        /*              float: as given, scaled    double: as given, scaled */
        [FO_LIGHT] = {{{4, 2}, {4, 2}}, {{3, 2}, {3, 2}}},
        [FO_MODERATE] = {{{3, 1}, {4, 1}}, {{4, 2}, {4, 2}}},
        [FO_HEAVY] = {{{4, 1}, {4, 1}}, {{4, 2}, {4, 2}}},
    };
    const int scaled = s.preparation == FO_GRAD_PREPARED;
    if (!FO_ROOT_COST)
        return (group_plan){FO_VOCABULARY == FO_SSE2 ? 2 : 4, 0};
    /* From memory, the divider is not the bottleneck, and prefetchers follow small groups better. */
    if (!FO_HAS_MULTIPLIED_ROOT || s.from_memory)
        return (group_plan){2, 0};
    if (s.optional) /* as many vectors as there are registers for */
        return (group_plan){2, 1};
    return plans[FO_ROOT_COST][FO_DOUBLE][scaled];
}

/* All arguments of a group's roots, then all roots, and then whatever follows from them: a core looks only
 * a limited number of operations ahead for work for its divider. To get at an argument the whole formula
 * is written; compilers keep only what leads there, and do not compute that twice.
 *
 * The last vectors take their roots by multiplications. Their arguments come first, since their way to a
 * root is the longest. */
FO_INLINE void take_roots(operands *group, group_plan plan, const setting s)
{
#if FO_ROOT_COST
    for (int k = 0; k < plan.size; k++) {
        const int at = (plan.size - plan.multiplied + k) % plan.size;
        operands x = group[at];
        x.state[ROOT] = (vec){0};
        update_operands(&x, s);
        group[at].state[ARGUMENT] = x.state[ARGUMENT];
        if (plan.multiplied)
            keep_order(x.state[ARGUMENT]);
    }
    for (int k = 0; k < plan.size; k++)
        group[k].state[ROOT] = root_of(group[k].state[ARGUMENT], k >= plan.size - plan.multiplied);
#else
    (void)group, (void)plan, (void)s;
#endif
}

/* The first count lanes of one vector, or all of them. */
FO_PART void step_first(const setting s, size_t i, size_t count, void *const *buffers)
{
    operands x;
    load_operands(&x, s, 0, i, count, buffers);
    prepare(&x, s);
    take_roots(&x, (group_plan){1, 0}, s);
    update_operands(&x, s);
    store_operands(&x, s, 0, i, count, buffers);
}

/* One group. Everything is loaded before anything is stored: with 4 KiB aliasing, a load whose address
 * equals a recent store's modulo 4096 stalls until that store is done. */
FO_PART void step_group(const setting s, group_plan plan, size_t i, void *const *buffers)
{
    enum { MOST = 4 };
    operands group[MOST];
    /* Hide the value of i, or GCC makes one induction pointer per buffer and hoists stores above loads. */
    __asm__("" : "+r"(i));
    void *at[2 + FO_MAX_STATES];
    for (int k = 0; k < BUFFERS; k++)
        if (has_buffer(s, k))
            at[k] = (scalar *)buffers[k] + i;
    for (int k = 0; k < plan.size; k++)
        load_operands(&group[k], s, 1, (size_t)k * LANES, LANES, at);
    for (int k = 0; k < plan.size; k++)
        prepare(&group[k], s);
    take_roots(group, plan, s);
    for (int k = 0; k < plan.size; k++)
        update_operands(&group[k], s);
    for (int k = 0; k < plan.size; k++)
        store_operands(&group[k], s, 1, (size_t)k * LANES, LANES, at);
}

/* Whole groups from element i up to n. With a burst, in two places in turn, burst bytes of param
 * at each: while one place waits at the start of a page, or for lines that are not there yet, hardware
 * prefetchers get ahead at the other. Returns the next element. */
FO_PART size_t step_groups(const setting s, group_plan plan, size_t burst_bytes, size_t i, size_t n,
                           void *const *buffers)
{
    const size_t size = (size_t)plan.size * LANES;
    size_t burst = n, half = 0, middle = i;
    if (burst_bytes) {
        burst = burst_bytes / FO_VECTOR_BYTES / (size_t)plan.size * size;
        half = (n - i) / 2 / burst * burst;
        if (half < FO_LEAST_APART / sizeof(scalar))
            half = 0;
        middle = i + half;
    }
    /* i, i + half, the burst after i, ...; from the middle on, that half is done, and the rest follows. */
    for (int ahead = 0;;) {
        const int is_rest = i >= middle;
        size_t k = is_rest ? i + half : ahead ? i + half : i;
        const size_t end = is_rest ? n : k + burst;
        for (; k + size <= end; k += size)
            step_group(s, plan, k, buffers);
        if (is_rest)
            return k;
        i += ahead ? burst : 0;
        ahead = !ahead;
    }
}

FO_PART void run(const setting s, const fo_loop_call *call, size_t n, void *const *all_buffers)
{
    /* Copied, or a compiler reads them again after each store. */
    void *buffers[2 + FO_MAX_STATES];
    for (int k = 0; k < BUFFERS; k++)
        if (has_buffer(s, k))
            buffers[k] = all_buffers[k];
    /* A vector that straddles cache lines costs two accesses, so the body starts where a vector of param
     * starts on a line. States and gradient usually lie on the line as param does, because allocators
     * repeat themselves. */
    const size_t head = (size_t)(-(intptr_t)buffers[0] & (FO_VECTOR_BYTES - 1)) / sizeof(scalar);
    const group_plan plan = plan_of(s);
    const size_t group = (size_t)plan.size * LANES;
    const int in_groups = !plan.multiplied || rounds_to_nearest();
    /* First the head; then groups, and what they leave, in vectors and a part of one. There is one call of
     * each, because a call is an inlined copy. */
    size_t i = 0, count = n >= 8 * LANES ? head : 0;
    for (;;) {
        if (count)
            step_first(s, i, count, buffers);
        i += count;
        if (i == n)
            return;
        if (in_groups && n - i >= group)
            i = step_groups(s, plan, call->burst, i, n, buffers);
        count = n - i < LANES ? n - i : LANES;
    }
}

#if FO_CAUTIOUS
#include "kernel/masked.h"
#endif

/* Each call of run is an instance of it. FO_GRAD_PREPARED includes the other preparations. From memory its factors of 1
 * cost nothing; nor does one of them where no roots are multiplied, since the multipliers are idle there. SSE2 has one
 * instance and short groups, since hardly a CPU is left that has nothing wider. From memory, reading by halves gains
 * nothing where there are states and no roots. Optional states have only one instance, since they are seldom used. */
FO_WHOLE void FO_NAME(loop)(const fo_loop_call *call, unsigned optional, size_t n,
                            void *const *buffers)
{
    enum {
        OPTIONAL_STATES = FO_CAT(FO_OPTIONAL_STATES, FO_KERNEL),
        HAS_ONE = FO_ONE_INSTANCE || (FO_DOUBLE && FO_ONE_IN_DOUBLE) || FO_VOCABULARY == FO_SSE2,
        HAS_FAR = FO_VOCABULARY == FO_AVX512 && (FO_ROOT_COST != FO_NO_ROOT || !STATES),
        HAS_DECAYED = !HAS_ONE && FO_ROOT_COST != FO_NO_ROOT && FO_HAS_MULTIPLIED_ROOT
    };
#if FO_CAUTIOUS
    if (call->preparation == FO_MASKED) {
        FO_NAME(masked)(call, optional, n, buffers, NULL);
        return;
    }
#endif
    setting s = setting_of(call);
    if (OPTIONAL_STATES > 0 && optional == 1) {
        s.optional = 1;
        run(s, call, n, buffers);
    } else if (OPTIONAL_STATES > 1 && optional == 2) {
        s.optional = 2;
        run(s, call, n, buffers);
    } else if (OPTIONAL_STATES > 1 && optional == 3) {
        s.optional = 3;
        run(s, call, n, buffers);
    } else if (HAS_FAR && call->from_memory) {
        s.from_memory = 1;
        run(s, call, n, buffers);
    } else if (!HAS_ONE && call->preparation == FO_AS_GIVEN) {
        s.preparation = FO_AS_GIVEN;
        run(s, call, n, buffers);
    } else if (HAS_DECAYED && call->preparation == FO_PARAM_DECAYED) {
        s.preparation = FO_PARAM_DECAYED;
        run(s, call, n, buffers);
    } else {
        run(s, call, n, buffers);
    }
}

#include "kernel/narrow.h"

#include "kernel/block_loop.h"

#ifdef FO_TERMS
#include "kernel/terms.h"
#endif
