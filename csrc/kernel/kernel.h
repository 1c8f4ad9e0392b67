/* What a compiled rule is: its coefficients, and a loop for each instruction set and layout. */
#ifndef FO_KERNEL_H
#define FO_KERNEL_H

#include "build.h"

#include "fastopt.h"
#include "isa.h"
#include "kernel/draws.h"

#include <math.h>

#define FO_UNUSED __attribute__((unused))
#define FO_CAT_(a, b) a##_##b
#define FO_CAT(a, b) FO_CAT_(a, b)

/* The rows of formats.def with FO_LAYOUT. */
typedef enum fo_layout {
#define FO_LAYOUT(name, ...) FO_LAYOUT_##name,
#include "formats.def"
    FO_LAYOUT_COUNT
} fo_layout;

/* Bytes of an element, or of a block. */
static inline size_t fo_size_of(fo_format format)
{
    static const unsigned char sizes[] = {
#define FO_FORMAT(NAME, name, element, compute) sizeof(element),
#include "formats.def"
    };
    return sizes[format];
}

/* 1, or the elements of a block. */
static inline size_t fo_elements_in(fo_format format)
{
    return format == FO_BLOCK8 ? FO_BLOCK : 1;
}

/* Bytes of n elements, and of the rest of the last block. */
static inline size_t fo_bytes_of(fo_format format, size_t n)
{
    return (n + fo_elements_in(format) - 1) / fo_elements_in(format) * fo_size_of(format);
}

/* What happens to the parameter p and the gradient g before the formula sees them. FO_GRAD_PREPARED can
 * stand for the others too: its factors are then 1, which changes no bit. */
typedef enum fo_preparation {
    FO_AS_GIVEN,
    FO_PARAM_DECAYED, /* p is multiplied by param_factor: AdamW by default */
    /* g is multiplied by grad_scale; weight_decay*p is added to it if grad_decayed; p is multiplied by
     * param_factor */
    FO_GRAD_PREPARED,
    FO_MASKED /* the same, and then the update is masked: a cautious step */
} fo_preparation;

enum { FO_MAX_COEFFICIENTS = 17 };

/* What a loop needs besides buffers. Numbers are rounded once to the compute type, in the loop.
 *
 * The sign of maximize is folded into grad_scale, and an absent decoupled decay is a param_factor of 1:
 * both are exact. Coupled decay is switched, since adding 0*p would turn -0 into +0 and an infinite p
 * into NaN. */
typedef struct fo_loop_call {
    fo_preparation preparation;
    int grad_decayed;
    double grad_scale, param_factor, weight_decay;
    /* Of FO_MASKED alone: by what updates are multiplied that have the sign of the gradient. Others are by 0. */
    double mask_weight;
    double coefficients[FO_MAX_COEFFICIENTS];
    /* Bytes of a burst where the loop works in two places in turn, or 0: in one place. */
    size_t burst;
    int narrow_in_turn; /* whether narrow loops do (../narrow.c) */
    int from_memory;    /* the buffers are larger than all caches */
} fo_loop_call;

/* Bytes, in the type that is computed in, between two places that are worth working on in turn. Tests have them
 * closer. */
#ifndef FO_LEAST_APART
#define FO_LEAST_APART (1 << 16)
#endif

/* optional: bit k if the k-th optional state is there. buffers: param, grad, states; what is not there is not
 * read. */
typedef void fo_loop(const fo_loop_call *call, unsigned optional, size_t n, void *const *buffers);

/* Where conversions in registers are compiled: with the vectors of the oldest CPUs they are not worth it. */
#if defined(__aarch64__)
#define FO_NARROW_ISAS(X, x) X(FO_ISA_NEON, neon, x)
#elif FO_HAS_AVX
#define FO_NARROW_ISAS(X, x) X(FO_ISA_AVX2, avx2, x) X(FO_ISA_AVX512, avx512, x)
#else
#define FO_NARROW_ISAS(X, x)
#endif

/* Where blocks of 8-bit codes do: the registers have to hold a block of every buffer. */
#if FO_HAS_AVX
#define FO_BLOCK_ISAS(X, x) X(FO_ISA_AVX512, avx512, x)
#else
#define FO_BLOCK_ISAS(X, x)
#endif

/* How a buffer is stored that converts in registers. Where all are of 16 bits, the first vector of a pair has the
 * elements at even places and the second those at odd ones: a formula does not mind, and no element has to
 * move to another lane. */
typedef enum fo_storage {
    FO_IN_FLOAT32,
    FO_IN_ORDER,                /* bfloat16 */
    FO_IN_ORDER_WITH_REMAINDER, /* the same */
    FO_INTERLEAVED,             /* bfloat16 */
    FO_WITH_REMAINDER           /* the same, interleaved */
} fo_storage;

/* Which buffers a loop is for: all of 16 bits; any mixture of bfloat16 with float32; or param in bfloat16 with its
 * remainder, grad in bfloat16 and states in float32. */
typedef enum mixture { OF_HALVES, OF_ANY, OF_SPLIT } mixture;

/* The buffers of a call that converts in registers. */
typedef struct fo_stored {
    fo_storage by[2 + FO_MAX_STATES];
    void *at[2 + FO_MAX_STATES];
    uint16_t *remainder, *copy; /* or NULL */
    int is_random;              /* or rounded to nearest */
    fo_draws draws;
} fo_stored;

enum { FO_NARROW_GROUP = 4 }; /* vectors at most */

/* Steps whole groups of vectors, and returns the number of elements; the rest is for others. Without the
 * optional states. */
typedef size_t fo_narrow_loop(const fo_loop_call *call, const fo_stored *buffers, size_t n);

/* The terms of a rule that takes norms (rule.h), n elements of each. Of one that can be cautious, the mask of a step. */
typedef void fo_terms_loop(const fo_loop_call *call, unsigned optional, size_t n,
                           void *const *buffers, void *const *terms);

enum { FO_MAX_TERMS = 2 };

typedef struct fo_kernel {
    /* If the rule carries a number from step to step, c[carried] is what the last step left, and becomes what
     * this one leaves. If the rule joins tensors, carry computes the numbers, and c has both: those that the last
     * step left, followed by those that this one leaves. */
    void (*coefficients)(const fo_hyper *hyper, uint64_t step, double *c);
    int carried;
    int is_compiled; /* has loops */
    int own_decay;   /* the formula has weight_decay in it */
    int cautious;    /* the rule has the hyper-parameter of this name */
    fo_loop *loop[FO_ISA_COUNT][FO_LAYOUT_COUNT];
    /* For buffers of 16 bits alone, for their mixtures with float32, for that of a remainder with states in float32,
     * and for states in blocks; some are NULL. */
    fo_narrow_loop *in_halves[FO_ISA_COUNT];
    fo_narrow_loop *in_mixture[FO_ISA_COUNT];
    fo_narrow_loop *in_split[FO_ISA_COUNT];
    fo_narrow_loop *in_blocks[FO_ISA_COUNT];
    /* For a rule that takes norms of the whole tensor: how many, by what they multiply lr, and what is summed. A
     * rule that joins tensors has carry in place of ratio. */
    int terms; /* else 0 */
    double (*ratio)(const fo_hyper *hyper, const double *sums, size_t n);
    void (*carry)(const fo_hyper *hyper, const double *sums, double *carried);
    fo_terms_loop *terms_loop[FO_ISA_COUNT][FO_LAYOUT_COUNT];
} fo_kernel;

/* What the table says about each rule, as constants: FO_STATES_adam, FO_OPTIONAL_STATES_adam; and FO_SQUARES_OF_adam,
 * bit k if state k is of squares, the optional ones after the others. A number of states and their bits come from
 * one expression. */
#define FO_SIGNED 0
#define FO_SQUARES 1
#define FO_STATE(name, kind) enum { FO_KIND_##name = kind };
#include "rules.def"
#define FO_NUMBERED(count, bits) ((count) | (bits) << 8)
#define NO_STATES 0
#define ONE_STATE(a) FO_NUMBERED(1, FO_KIND_##a)
#define TWO_STATES(a, b) FO_NUMBERED(2, FO_KIND_##a | FO_KIND_##b << 1)
#define THREE_STATES(a, b, c) FO_NUMBERED(3, FO_KIND_##a | FO_KIND_##b << 1 | FO_KIND_##c << 2)
#define FOUR_STATES(a, b, c, d)                                                                    \
    FO_NUMBERED(4, FO_KIND_##a | FO_KIND_##b << 1 | FO_KIND_##c << 2 | FO_KIND_##d << 3)
#define NO_OPTIONAL 0
#define OPTIONAL(state, flag) ONE_STATE(state)
#define TWO_ADDED(a, flag_a, b, flag_b) TWO_STATES(a, b)
#define FO_RULE(name, class_name, kernel, states, optional, ...)                                   \
    enum {                                                                                         \
        FO_STATES_##name = (states) & 0xff,                                                        \
        FO_OPTIONAL_STATES_##name = (optional) & 0xff,                                             \
        FO_SQUARES_OF_##name = (states) >> 8 | (optional) >> 8 << ((states) & 0xff)                \
    };                                                                                             \
    extern const fo_kernel fo_kernel_##kernel;
#include "rules.def"
#undef FO_NUMBERED
#undef NO_STATES
#undef ONE_STATE
#undef TWO_STATES
#undef THREE_STATES
#undef FOUR_STATES
#undef NO_OPTIONAL
#undef OPTIONAL
#undef TWO_ADDED

/* By the number of the rule. */
extern const fo_kernel *const fo_kernels[FO_RULE_COUNT];

/* Whether the rule has not been left out of the library (rule.h). */
static inline int fo_is_compiled(fo_rule rule)
{
    return fo_kernels[rule]->is_compiled;
}

static inline int fo_is_cautious(const fo_group *group)
{
    return group->hyper.cautious != 0 && fo_kernels[group->rule]->cautious;
}

/* How many numbers of each element are summed over a whole tensor before a step. */
static inline int fo_terms_of(const fo_group *group)
{
    return fo_is_cautious(group) ? 1 : fo_kernels[group->rule]->terms;
}

/* beta**t by repeated squaring, lowest bit first: the C library's pow differs between systems. */
static inline double fo_power(double beta, uint64_t t)
{
    double power = 1.0;
    for (;;) {
        if (t & 1)
            power *= beta;
        t >>= 1;
        if (!t)
            return power;
        /* The square would round to 0, and so would the power. The multiplications that lead there pass
         * through subnormal numbers, where they take many times as long. */
        if (beta < 0x1p-538)
            return 0.0;
        beta *= beta;
    }
}

/* x**y for x > 0 and y >= 0, from whole powers and square roots of x, which have the same bits on every
 * system. The last bits of y count for less than a rounding. */
static inline double fo_real_power(double x, double y)
{
    if (!(y < 0x1p53))
        y = 0x1p53;
    const uint64_t whole = (uint64_t)y;
    double power = fo_power(x, whole), part = y - (double)whole;
    for (int k = 0; k < 64 && part > 0; k++) {
        x = sqrt(x);
        part *= 2;
        if (part >= 1) {
            power *= x;
            part -= 1;
        }
    }
    return power;
}

/* The learning rate of a step of the schedule-free rules. */
static inline double fo_warmed_up(const fo_hyper *hyper, uint64_t step)
{
    const double t = (double)step;
    return t < hyper->warmup_steps ? hyper->lr * (t / hyper->warmup_steps) : hyper->lr;
}

/* Their share of a step in the weights of all steps, whose sum is brought up to date. */
static inline double fo_share_of_weights(double lr, uint64_t step, double *sum)
{
    const double weight = lr * lr;
    *sum = step == 1 ? weight : *sum + weight;
    return *sum > 0 ? weight / *sum : 0;
}

/* eps under the root or beside it. The other is a zero, which changes no bit of a sum that is not
 * below zero. */
static inline void fo_place_eps(const fo_hyper *hyper, double *inside, double *outside)
{
    *inside = hyper->eps_inside != 0 ? hyper->eps : 0.0;
    *outside = hyper->eps_inside != 0 ? 0.0 : hyper->eps;
}

#endif
