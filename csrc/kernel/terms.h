/* What a rule's norms are sums over, for one instruction set and compute type. */

/* Buffers that no term needs are loaded by nobody: a masked load is nothing that a compiler keeps. */
FO_PART void take_first_terms(const setting s, size_t i, size_t count, void *const *buffers,
                              void *const *to)
{
    operands x;
    vec terms[FO_TERMS];
    load_operands(&x, s, 0, i, count, buffers);
    prepare(&x, s);
#if FO_ROOT_COST
    operands until_root = x;
    until_root.state[ROOT] = until_root.state[ARGUMENT] = (vec){0};
    take_terms(x.p, x.g, until_root.state, s.c, terms);
    x.state[ROOT] = root_of(until_root.state[ARGUMENT], 0);
#endif
    take_terms(x.p, x.g, x.state, s.c, terms);
    for (int k = 0; k < FO_TERMS; k++)
        store_first_native((scalar *)to[k] + i, terms[k], count);
}

FO_WHOLE void FO_NAME(terms)(const fo_loop_call *call, FO_UNUSED unsigned optional, size_t n,
                             void *const *buffers, void *const *to)
{
    setting s = {.preparation = FO_GRAD_PREPARED};
    for (int k = 0; k < COEFFICIENTS; k++)
        s.c[k] = (scalar)call->coefficients[k];
    s.by = (factors){(scalar)call->grad_scale, 1, 0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        take_first_terms(s, i, LANES, buffers, to);
    if (i < n)
        take_first_terms(s, i, n - i, buffers, to);
}
