/* A cautious step, or only its mask, for one instruction set and compute type. The code is short rather than fast: there
 * is one instance for each set of optional states, which takes one vector at a time. */

/* The number where both have the same sign, else 0. Their product would be 0 where both are small, too. */
FO_INLINE vec where_they_agree(vec u, vec g, scalar number)
{
    const mask both = ((u > 0) & (g > 0)) | ((u < 0) & (g < 0));
    return (vec)(both & (mask)((vec){0} + number));
}

/* to: gets the mask, and nothing else is written. Or NULL: a step is taken. */
FO_PART void mask_all(const setting s, scalar weight, size_t n, void *const *buffers, scalar *to)
{
    for (size_t i = 0, count; i < n; i += count) {
        count = n - i < LANES ? n - i : LANES;
        const int whole = count == LANES;
        operands x;
        load_operands(&x, s, whole, i, count, buffers);
        prepare(&x, s);
        take_roots(&x, (group_plan){1, 0}, s);
        const vec u = take_update(&x, s), left = where_they_agree(u, x.g, weight);
        if (to) {
            store_first_native(to + i, left, count);
            continue;
        }
        x.p = x.p - u * left;
        store_operands(&x, s, whole, i, count, buffers);
    }
}

/* The mask goes to *to, as the term of a rule that takes norms does. */
FO_WHOLE void FO_NAME(masked)(const fo_loop_call *call, unsigned optional, size_t n,
                              void *const *buffers, void *const *to)
{
    setting s = setting_of(call);
    if (FO_CAT(FO_OPTIONAL_STATES, FO_KERNEL) && optional) {
        s.optional = 1;
        mask_all(s, (scalar)call->mask_weight, n, buffers, to ? *to : NULL);
    } else {
        s.optional = 0;
        mask_all(s, (scalar)call->mask_weight, n, buffers, to ? *to : NULL);
    }
}
