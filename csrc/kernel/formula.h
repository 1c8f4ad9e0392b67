/* The rule's formula on one vector of each buffer. */
#define FO_FORMULA
#include FO_FILE
#undef FO_FORMULA

/* A vector of each buffer; behind the states, what square_root stands for, and p again (rule.h). */
typedef struct operands {
    vec p, g, state[PARAM + 1];
} operands;

/* Factors of the preparation, in the compute type. */
typedef struct factors {
    scalar grad_scale, param_factor, weight_decay;
} factors;

/* Whatever is the same for all vectors of a call. All but the numbers and grad_decayed are constants
 * wherever this is inlined. */
typedef struct setting {
    fo_preparation preparation;
    unsigned optional; /* as in fo_loop */
    int from_memory;   /* the buffers are larger than all caches */
    int grad_decayed;
    scalar c[FO_MAX_COEFFICIENTS];
    factors by;
} setting;

/* Of a call, whatever it prepares. */
FO_INLINE setting setting_of(const fo_loop_call *call)
{
    setting s = {.preparation = FO_GRAD_PREPARED};
    s.grad_decayed = call->grad_decayed;
    for (int k = 0; k < COEFFICIENTS; k++)
        s.c[k] = (scalar)call->coefficients[k];
    s.by =
        (factors){(scalar)call->grad_scale, (scalar)call->param_factor, (scalar)call->weight_decay};
    return s;
}

/* States that are always there, and buffers, those included that may not be. */
enum {
    STATES = FO_CAT(FO_STATES, FO_KERNEL),
    BUFFERS = 2 + STATES + FO_CAT(FO_OPTIONAL_STATES, FO_KERNEL)
};

FO_INLINE int is_optional(int buffer)
{
    return buffer >= 2 + STATES;
}

FO_INLINE int has_buffer(const setting s, int buffer)
{
    return !is_optional(buffer) || s.optional >> (buffer - 2 - STATES) & 1;
}

FO_INLINE vec load_operand(const setting s, int buffer, int whole, size_t i, size_t count,
                           void *const *buffers)
{
    const scalar *from = (const scalar *)buffers[buffer] + i;
    /* Lanes without an element are ones, and zeros in optional states. Whatever a rule computes from these,
     * it divides by no zero, and so traps nowhere: RMSprop's variance is not 0 there. */
    if (!whole)
        return load_first_native(from, count, is_optional(buffer) ? 0 : 1);
    const vec x = s.from_memory ? load_far_native(from) : load_native(from);
    /* Without a root, steps are bound by memory. */
    if (!FO_ROOT_COST)
        keep_order(x);
    return x;
}

/* The vector at element i, or only its first count lanes. */
FO_INLINE void load_operands(operands *to, const setting s, int whole, size_t i, size_t count,
                             void *const *buffers)
{
    to->p = load_operand(s, 0, whole, i, count, buffers);
    to->g = load_operand(s, 1, whole, i, count, buffers);
    for (int b = 2; b < BUFFERS; b++)
        if (has_buffer(s, b))
            to->state[b - 2] = load_operand(s, b, whole, i, count, buffers);
}

FO_INLINE void store_operand(int buffer, vec x, int whole, size_t i, size_t count,
                             void *const *buffers)
{
    scalar *to = (scalar *)buffers[buffer] + i;
    if (whole)
        store_native(to, x);
    else
        store_first_native(to, x, count);
}

FO_INLINE void store_operands(const operands *x, const setting s, int whole, size_t i, size_t count,
                              void *const *buffers)
{
    for (int b = 2; b < BUFFERS; b++)
        if (has_buffer(s, b))
            store_operand(b, x->state[b - 2], whole, i, count, buffers);
    store_operand(0, x->p, whole, i, count, buffers);
}

FO_INLINE void prepare(operands *x, const setting s)
{
    if (s.preparation == FO_GRAD_PREPARED) {
        x->g = s.by.grad_scale * x->g;
        if (s.grad_decayed)
            x->g = x->g + s.by.weight_decay * x->p;
    }
    if (s.preparation != FO_AS_GIVEN)
        x->p = s.by.param_factor * x->p;
}

/* Brings the states up to date. */
FO_INLINE vec take_update(operands *x, const setting s)
{
    vec *const first = &x->state[STATES];
    vec *const optional[] = {s.optional & 1 ? first : NULL, s.optional & 2 ? first + 1 : NULL};
    x->state[PARAM] = x->p;
    return update(x->g, x->state, optional, s.c);
}

FO_INLINE void update_operands(operands *x, const setting s)
{
    x->p = x->p - take_update(x, s);
}
