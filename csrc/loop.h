/* The loop around one formula, for one instruction set and dtype. */
#define FO_FORMULA
#undef update
#define update FO_NAME(update)
#if FO_TURNS
/* The formula leaves the argument of its root, and finds the root, behind its states; see take_roots. */
#undef square_root
#define square_root(x) (state[ARGUMENT] = (x), state[ROOT])
#endif
#include FO_FILE
#undef square_root
#define square_root FO_NAME(square_root)
#undef FO_FORMULA
#undef update

#undef FO_BESIDE_DIVIDER
#define FO_BESIDE_DIVIDER (FO_HAS_MULTIPLIED_ROOT && FO_TURNS)

#undef load_some
#define load_some FO_NAME(load_some)
FO_INLINE vec load_some(int whole, unsigned variant, const stored *from, size_t count)
{
    if (!whole)
        return load_first(from, count);
    const vec x = variant & FO_FAR ? load_far(from) : load(from);
    /* Without a root the memory is what is waited for, and prefetchers follow reads better in their order. */
    if (!FO_TURNS)
        keep_order(x);
    return x;
}

/* A vector of each buffer; and of the root, if the formula has one. */
#undef operands
#define operands FO_NAME(operands)
typedef struct operands {
    vec p, g, state[ROOT + 1];
} operands;

#undef state_count
#define state_count FO_NAME(state_count)
FO_INLINE int state_count(unsigned variant)
{
    enum { NEEDED = FO_CAT(FO_STATES, FO_KERNEL) };
    return NEEDED + (variant & FO_WITH_OPTIONAL ? FO_OPTIONALS : 0);
}

/* The vector at element i, or only its first count lanes. whole, size, multiplied and variant are
 * constants wherever these are inlined. */
#undef load_operands
#define load_operands FO_NAME(load_operands)
FO_INLINE void load_operands(operands *to, int whole, unsigned variant, size_t i, size_t count,
                             void *const *buffers)
{
    to->p = load_some(whole, variant, (const stored *)buffers[0] + i, count);
    to->g = load_some(whole, variant, (const stored *)buffers[1] + i, count);
    for (int k = 0; k < state_count(variant); k++)
        to->state[k] = load_some(whole, variant, (const stored *)buffers[2 + k] + i, count);
}

#undef store_some
#define store_some FO_NAME(store_some)
FO_INLINE void store_some(int whole, stored *to, vec x, size_t count)
{
    if (whole)
        store(to, x);
    else
        store_first(to, x, count);
}

#undef store_operands
#define store_operands FO_NAME(store_operands)
FO_INLINE void store_operands(const operands *from, int whole, unsigned variant, size_t i,
                              size_t count, void *const *buffers)
{
    for (int k = 0; k < state_count(variant); k++)
        store_some(whole, (stored *)buffers[2 + k] + i, from->state[k], count);
    store_some(whole, (stored *)buffers[0] + i, from->p, count);
}

#undef update_operands
#define update_operands FO_NAME(update_operands)
FO_INLINE void update_operands(operands *x, unsigned variant, const scalar *c,
                               const scalar *preparation)
{
    if (variant & (FO_PREPARED | FO_COUPLED)) {
        x->g = preparation[0] * x->g;
        if (variant & FO_COUPLED)
            x->g = x->g + preparation[2] * x->p;
        x->p = preparation[1] * x->p;
    } else if (variant & FO_DECAYED) {
        x->p = preparation[1] * x->p;
    }
    FO_NAME(update)(&x->p, x->g, x->state, c, (variant & FO_WITH_OPTIONAL) != 0);
}

#undef root_of
#define root_of FO_NAME(root_of)
FO_INLINE vec root_of(vec x, int by_multiplications)
{
#if FO_BESIDE_DIVIDER
    if (by_multiplications && __builtin_expect(all_fit(x), 1))
        return multiplied_root(x);
#else
    (void)by_multiplications;
#endif
    return square_root(x);
}

/* The roots of so many vectors, if the formula has one. All arguments, all roots, and then what follows from
 * them: a core looks only so many operations ahead for what can go to its divider meanwhile. To get at an
 * argument the whole formula is written, of which compilers leave what leads there, and that only once.
 *
 * The last vectors, so many as are multiplied, take their roots by multiplications, if that can be. Their
 * arguments come first, because that way to a root is the longest. */
#undef take_roots
#define take_roots FO_NAME(take_roots)
FO_INLINE void take_roots(operands *group, int size, int multiplied, unsigned variant,
                          const scalar *c, const scalar *preparation)
{
#if FO_TURNS
    for (int k = 0; k < size; k++) {
        const int at = (size - multiplied + k) % size;
        operands x = group[at];
        x.state[ROOT] = (vec){0};
        update_operands(&x, variant, c, preparation);
        group[at].state[ARGUMENT] = x.state[ARGUMENT];
        if (multiplied)
            keep_order(x.state[ARGUMENT]);
    }
    for (int k = 0; k < size; k++)
        group[k].state[ROOT] = root_of(group[k].state[ARGUMENT], k >= size - multiplied);
#else
    (void)group, (void)size, (void)multiplied, (void)variant, (void)c, (void)preparation;
#endif
}

#undef step_vector
#define step_vector FO_NAME(step_vector)
FO_INLINE void step_vector(int whole, unsigned variant, size_t i, size_t count,
                           void *const *buffers, const scalar *c, const scalar *preparation)
{
    operands x;
    load_operands(&x, whole, variant, i, count, buffers);
    take_roots(&x, 1, 0, variant, c, preparation);
    update_operands(&x, variant, c, preparation);
    store_operands(&x, whole, variant, i, count, buffers);
}

/* So many vectors, all loaded before the first is stored. A load from where a store has just been, but for
 * a multiple of 4096 bytes, waits until that is written: one buffer 64 bytes behind another, modulo 4096,
 * made a step on floats in cache up to half as long again. */
#undef step_group
#define step_group FO_NAME(step_group)
FO_INLINE void step_group(int size, int multiplied, unsigned variant, size_t i,
                          void *const *buffers, const scalar *c, const scalar *preparation)
{
    enum { MOST = 4 };
    operands group[MOST];
    /* Lest a compiler see how i goes on, make pointers of it, and move stores before other loads. */
    __asm__("" : "+r"(i));
    /* Where the group begins in each buffer, from which the rest is a constant distance. */
    void *at[2 + FO_MAX_STATES];
    for (int k = 0; k < 2 + state_count(variant); k++)
        at[k] = (stored *)buffers[k] + i;
    for (int k = 0; k < size; k++)
        load_operands(&group[k], 1, variant, (size_t)k * LANES, LANES, at);
    take_roots(group, size, multiplied, variant, c, preparation);
    for (int k = 0; k < size; k++)
        update_operands(&group[k], variant, c, preparation);
    for (int k = 0; k < size; k++)
        store_operands(&group[k], 1, variant, (size_t)k * LANES, LANES, at);
}

/* Groups of vectors, as many as there are from element i up to n; if asked for, in two places in turn, a burst of
 * groups at each: while one waits at the beginning of a page, or for what is not there yet, the prefetchers get
 * ahead at the other. Returns the next element. */
#undef step_groups
#define step_groups FO_NAME(step_groups)
FO_INLINE size_t step_groups(int size, int multiplied, int in_two_places, unsigned variant,
                             size_t i, size_t n, void *const *buffers, const scalar *c,
                             const scalar *preparation)
{
    /* Bytes of each buffer. From far memory shorter bursts are better, the more so the more buffers there are. */
    const size_t burst_bytes = !(variant & FO_FAR) ? 2048 : state_count(variant) <= 1 ? 1024 : 512;

    const size_t group = (size_t)size * LANES;
    const size_t burst = burst_bytes / FO_VECTOR_BYTES / (size_t)size * group;
    const size_t half = (n - i) / 2 / burst * burst;
    if (in_two_places && half >= FO_LEAST_APART / sizeof(scalar)) {
        for (const size_t end = i + half; i < end; i += burst)
            for (size_t place = i; place <= i + half; place += half)
                for (size_t k = place; k < place + burst; k += group)
                    step_group(size, multiplied, variant, k, buffers, c, preparation);
        i += half;
    }
    for (; i + group <= n; i += group)
        step_group(size, multiplied, variant, i, buffers, c, preparation);
    return i;
}

#undef run
#define run FO_NAME(run)
FO_INLINE void run(unsigned variant, int in_two_places, size_t n, void *const *all_buffers,
                   const scalar *c, const scalar *preparation)
{
    /* Copied, lest a compiler read them anew after each store. */
    void *buffers[2 + FO_MAX_STATES];
    for (int k = 0; k < 2 + state_count(variant); k++)
        buffers[k] = all_buffers[k];
    /* Vectors of param that straddle cache lines would cost every access twice; the states and the
     * gradient usually lie on the line like param does, because allocators repeat themselves. */
    size_t head = (size_t)(-(intptr_t)buffers[0] & (FO_VECTOR_BYTES - 1)) / sizeof(scalar);
    size_t i = 0;
    if (head && n >= 8 * LANES) {
        step_vector(0, variant, 0, head, buffers, c, preparation);
        i = head;
    }
#if FO_BESIDE_DIVIDER
    /* While the divider is at a root or a quotient the multipliers have time. So some vectors of a group take
     * their roots by multiplications: of floats one of FO_TURNS, of doubles, whose roots take longest, two of
     * three or four; fewer where a prepared gradient adds to the multiplications, and with an optional state as
     * many as the registers hold. What waits for memory waits for no divider. */
    const int is_light = FO_TURNS == 2, is_prepared = (variant & (FO_PREPARED | FO_COUPLED)) != 0;
    const int has_optional = (variant & FO_WITH_OPTIONAL) != 0;
    const int multiplied = !has_optional && (FO_DOUBLE || is_light) ? 2 : 1;
    const int is_smaller = !is_prepared && (FO_DOUBLE ? is_light : FO_TURNS == 3);
    const int size = has_optional ? 2 : is_smaller ? 3 : 4;
    if (!(variant & FO_FAR) && n >= (size_t)size * LANES && rounds_to_nearest())
        i = step_groups(size, multiplied, in_two_places, variant, i, n, buffers, c, preparation);
#endif
    const int left = FO_TURNS || variant & FO_FAR ? 2 : 4;
    const int all_is_left = !FO_BESIDE_DIVIDER || variant & FO_FAR;
    i = step_groups(left, 0, all_is_left && in_two_places, variant, i, n, buffers, c, preparation);
    for (; i + LANES <= n; i += LANES)
        step_vector(1, variant, i, LANES, buffers, c, preparation);
    if (i < n)
        step_vector(0, variant, i, n - i, buffers, c, preparation);
}

#undef run_variant
#define run_variant FO_NAME(run_variant)
FO_INLINE void run_variant(unsigned far, unsigned variant, int in_two_places, size_t n,
                           void *const *buffers, const scalar *c, const scalar *preparation)
{
    switch (variant) {
    case 0:
        run(far, in_two_places, n, buffers, c, preparation);
        return;
    case FO_DECAYED:
        run(far | FO_DECAYED, in_two_places, n, buffers, c, preparation);
        return;
    case FO_PREPARED:
        run(far | FO_PREPARED, in_two_places, n, buffers, c, preparation);
        return;
    case FO_COUPLED:
        run(far | FO_COUPLED, in_two_places, n, buffers, c, preparation);
        return;
#if FO_OPTIONALS
    case FO_WITH_OPTIONAL:
        run(far | FO_WITH_OPTIONAL, in_two_places, n, buffers, c, preparation);
        return;
    case FO_WITH_OPTIONAL | FO_DECAYED:
        run(far | FO_WITH_OPTIONAL | FO_DECAYED, in_two_places, n, buffers, c, preparation);
        return;
    case FO_WITH_OPTIONAL | FO_PREPARED:
        run(far | FO_WITH_OPTIONAL | FO_PREPARED, in_two_places, n, buffers, c, preparation);
        return;
    case FO_WITH_OPTIONAL | FO_COUPLED:
        run(far | FO_WITH_OPTIONAL | FO_COUPLED, in_two_places, n, buffers, c, preparation);
        return;
#endif
    }
}

static void FO_NAME(loop)(unsigned variant, size_t n, void *const *buffers,
                          const double *coefficients, const fo_preparation *prepare)
{
    scalar c[FO_MAX_COEFFICIENTS];
    for (int k = 0; k < COEFFICIENTS; k++)
        c[k] = (scalar)coefficients[k];
    const scalar preparation[3] = {(scalar)prepare->grad_scale, (scalar)prepare->param_factor,
                                   (scalar)prepare->weight_decay};
    const int in_two_places = (variant & FO_IN_TWO_PLACES) != 0;
    const unsigned more = variant & ~(unsigned)(FO_FAR | FO_IN_TWO_PLACES);
    if (FO_VECTOR_BYTES == 64 && variant & FO_FAR)
        run_variant(FO_FAR, more, in_two_places, n, buffers, c, preparation);
    else
        run_variant(0, more, in_two_places, n, buffers, c, preparation);
}
