/* The loop around one formula, for one instruction set and dtype. */
#define FO_FORMULA
#undef update
#define update FO_NAME(update)
#include FO_FILE
#if FO_HAS_MULTIPLIED_ROOT
/* The formula once more, with the root that leaves the divider alone. */
#undef update
#define update FO_NAME(update_beside_divider)
#undef square_root
#define square_root multiplied_root
#include FO_FILE
#endif
#undef FO_FORMULA
#undef update

#undef load_some
#define load_some FO_NAME(load_some)
FO_INLINE vec load_some(int whole, unsigned variant, const stored *from, size_t count)
{
    if (!whole)
        return load_first(from, count);
    return variant & FO_FAR ? load_far(from) : load(from);
}

#undef one_vector
#define one_vector FO_NAME(one_vector)
/* The vector at element i, or only its first count lanes. whole, beside_divider and variant are
 * constants wherever this is inlined. */
FO_INLINE void one_vector(int whole, int beside_divider, unsigned variant, size_t i, size_t count,
                          void *const *buffers, const scalar *c, const scalar *preparation)
{
    enum { NEEDED = FO_CAT(FO_STATES, FO_KERNEL) };
    const int states = NEEDED + ((variant & FO_WITH_OPTIONAL) ? FO_OPTIONALS : 0);
    stored *const param = (stored *)buffers[0] + i;
    const stored *const grad = (const stored *)buffers[1] + i;
    vec p = load_some(whole, variant, param, count);
    vec g = load_some(whole, variant, grad, count);
    vec state[FO_MAX_STATES];
    for (int k = 0; k < states; k++) {
        const stored *const from = (const stored *)buffers[2 + k] + i;
        state[k] = load_some(whole, variant, from, count);
    }
    if (variant & FO_PREPARED) {
        g = preparation[0] * g;
        if (preparation[3] != 0)
            g = g + preparation[2] * p;
        p = preparation[1] * p;
    } else if (variant & FO_DECAYED) {
        p = preparation[1] * p;
    }
    const int with_optional = (variant & FO_WITH_OPTIONAL) != 0;
#if FO_HAS_MULTIPLIED_ROOT
    if (beside_divider)
        FO_NAME(update_beside_divider)(&p, g, state, c, with_optional);
    else
#else
    (void)beside_divider;
#endif
        FO_NAME(update)(&p, g, state, c, with_optional);
    for (int k = 0; k < states; k++) {
        stored *const to = (stored *)buffers[2 + k] + i;
        if (whole)
            store(to, state[k]);
        else
            store_first(to, state[k], count);
    }
    if (whole)
        store(param, p);
    else
        store_first(param, p, count);
}

#undef run
#define run FO_NAME(run)
FO_INLINE void run(unsigned variant, size_t n, void *const *buffers, const scalar *c,
                   const scalar *preparation)
{
    /* Vectors of param that straddle cache lines would cost every access twice; the states and the
     * gradient usually lie on the line like param does, because allocators repeat themselves. */
    size_t head = (size_t)(-(intptr_t)buffers[0] & (FO_VECTOR_BYTES - 1)) / sizeof(scalar);
    size_t i = 0;
    if (head && n >= 8 * LANES) {
        one_vector(0, 0, variant, 0, head, buffers, c, preparation);
        i = head;
    }
#if FO_HAS_MULTIPLIED_ROOT
    /* While the divider is at a root or a quotient the multipliers have time. So of so many vectors one
     * takes its root by multiplications; of doubles, whose roots take longest, every other one. */
    enum { TURNS = FO_DOUBLE ? 2 : FO_TURNS };
    if (n >= TURNS * LANES && rounds_to_nearest())
        for (; i + TURNS * LANES <= n; i += TURNS * LANES)
            for (size_t turn = 0; turn < TURNS; turn++)
                one_vector(1, turn == TURNS - 1, variant, i + turn * LANES, LANES, buffers, c,
                           preparation);
#endif
    for (; i + LANES <= n; i += LANES)
        one_vector(1, 0, variant, i, LANES, buffers, c, preparation);
    if (i < n)
        one_vector(0, 0, variant, i, n - i, buffers, c, preparation);
}

#undef run_variant
#define run_variant FO_NAME(run_variant)
FO_INLINE void run_variant(unsigned far, unsigned variant, size_t n, void *const *buffers,
                           const scalar *c, const scalar *preparation)
{
    switch (variant) {
    case 0:
        run(far, n, buffers, c, preparation);
        return;
    case FO_DECAYED:
        run(far | FO_DECAYED, n, buffers, c, preparation);
        return;
    case FO_PREPARED:
        run(far | FO_PREPARED, n, buffers, c, preparation);
        return;
#if FO_OPTIONALS
    case FO_WITH_OPTIONAL:
        run(far | FO_WITH_OPTIONAL, n, buffers, c, preparation);
        return;
    case FO_WITH_OPTIONAL | FO_DECAYED:
        run(far | FO_WITH_OPTIONAL | FO_DECAYED, n, buffers, c, preparation);
        return;
    case FO_WITH_OPTIONAL | FO_PREPARED:
        run(far | FO_WITH_OPTIONAL | FO_PREPARED, n, buffers, c, preparation);
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
    /* A decay that rounds to zero still adds its zero. */
    const scalar preparation[4] = {(scalar)prepare->grad_scale, (scalar)prepare->param_factor,
                                   (scalar)prepare->weight_decay, prepare->weight_decay != 0};
    if (FO_LIGHT && variant & FO_FAR)
        run_variant(FO_FAR, variant & ~(unsigned)FO_FAR, n, buffers, c, preparation);
    else
        run_variant(0, variant & ~(unsigned)FO_FAR, n, buffers, c, preparation);
}
