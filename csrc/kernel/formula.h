/* The rule's formula on one vector of each buffer. */
#define FO_FORMULA
#include FO_FILE
#undef FO_FORMULA

/* A vector of each buffer; behind the states, what square_root stands for (rule.h). */
typedef struct operands {
    vec p, g, state[ROOT + 1];
} operands;

/* Factors of the preparation, in the compute type. */
typedef struct factors {
    scalar grad_scale, param_factor, weight_decay;
} factors;

/* Whatever is the same for all vectors of a call. All but the numbers are constants wherever this is
 * inlined. */
typedef struct setting {
    fo_format param, grad, state;
    fo_preparation preparation;
    int has_optional;
    scalar c[FO_MAX_COEFFICIENTS];
    factors by;
} setting;

FO_INLINE int state_count(const setting *s)
{
    return FO_CAT(FO_STATES, FO_KERNEL) + (s->has_optional ? 1 : 0);
}

FO_INLINE fo_format format_of(const setting *s, int buffer)
{
    return buffer == 0 ? s->param : buffer == 1 ? s->grad : s->state;
}

FO_INLINE void *element_of(const setting *s, void *const *buffers, int buffer, size_t i)
{
    return (char *)buffers[buffer] + i * fo_size_of(format_of(s, buffer));
}

FO_INLINE vec *operand(operands *x, int buffer)
{
    return buffer == 0 ? &x->p : buffer == 1 ? &x->g : &x->state[buffer - 2];
}

/* The vector at element i, or only its first count lanes. */
FO_INLINE void load_operands(operands *to, const setting *s, int whole, size_t i, size_t count,
                             void *const *buffers)
{
    for (int k = 0; k < 2 + state_count(s); k++) {
        const void *from = element_of(s, buffers, k, i);
        if (!whole) {
            *operand(to, k) = load_first(format_of(s, k), from, count);
            continue;
        }
        const vec x = load(format_of(s, k), from);
        /* Without a root, steps are bound by memory. */
        if (!FO_ROOT_COST)
            keep_order(x);
        *operand(to, k) = x;
    }
}

FO_INLINE void store_operands(operands *from, const setting *s, int whole, size_t i, size_t count,
                              void *const *buffers)
{
    for (int k = 2; k < 2 + state_count(s); k++) {
        if (whole)
            store(s->state, element_of(s, buffers, k, i), *operand(from, k));
        else
            store_first(s->state, element_of(s, buffers, k, i), *operand(from, k), count);
    }
    if (whole)
        store(s->param, element_of(s, buffers, 0, i), from->p);
    else
        store_first(s->param, element_of(s, buffers, 0, i), from->p, count);
}

FO_INLINE void update_operands(operands *x, const setting *s)
{
    vec *const optional = s->has_optional ? &x->state[FO_CAT(FO_STATES, FO_KERNEL)] : NULL;
    if (s->preparation == FO_GRAD_SCALED || s->preparation == FO_GRAD_DECAYED)
        x->g = s->by.grad_scale * x->g;
    if (s->preparation == FO_GRAD_DECAYED)
        x->g = x->g + s->by.weight_decay * x->p;
    if (s->preparation != FO_AS_GIVEN)
        x->p = s->by.param_factor * x->p;
    x->p = x->p - update(x->g, x->state, optional, s->c);
}
