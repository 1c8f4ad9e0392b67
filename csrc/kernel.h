/* What a compiled rule is: how its coefficients are computed, and one loop per instruction set and
 * dtype. Internal. */
#ifndef FO_KERNEL_H
#define FO_KERNEL_H

#include "fastopt.h"

/* On Windows GCC does not align the stack for the wider vectors (its bug 54412) and is left without them;
 * clang does. */
#if defined(__x86_64__) && !(defined(_WIN32) && defined(__GNUC__) && !defined(__clang__))
#define FO_AVX 1
#else
#define FO_AVX 0
#endif

typedef enum fo_isa_index {
    FO_ISA_BASELINE,
    FO_ISA_AVX2,
    FO_ISA_AVX512,
    FO_ISA_NEON,
    FO_ISA_COUNT
} fo_isa_index;

/* A loop is compiled once plain and once for each way in which it can do more, so that what is not
 * asked for costs nothing; but for FO_IN_TWO_PLACES, which it looks at once a call. */
enum {
    FO_DECAYED = 1,       /* param is decayed, and nothing else: AdamW by default */
    FO_PREPARED = 2,      /* the gradient is scaled or negated, and param perhaps decayed */
    FO_COUPLED = 4,       /* the gradient is decayed, and all that FO_PREPARED says */
    FO_WITH_OPTIONAL = 8, /* the optional state is there */
    FO_FAR = 16,          /* the buffers are in memory rather than in a cache */
    FO_IN_TWO_PLACES = 32 /* they are more than the caches of one core */
};

/* How a gradient is prepared. The sign of maximize is folded into the scale and an absent decay is a
 * factor of 1: both are exact. Coupled decay is switched, since adding 0*p would turn -0 into +0 and
 * an infinite p into NaN. */
typedef struct fo_preparation {
    double grad_scale;
    double param_factor;
    double weight_decay;
} fo_preparation;

/* Bytes of a buffer between two places that are worth working on in turn. Tests have them closer. */
#ifndef FO_LEAST_APART
#define FO_LEAST_APART (1 << 16)
#endif

enum { FO_MAX_COEFFICIENTS = 8 };

static inline size_t fo_size_of(fo_dtype dtype)
{
    return dtype == FO_FLOAT64 ? sizeof(double) : sizeof(float);
}

/* buffers: param, grad, states. Each coefficient is rounded once to the dtype, in the loop. */
typedef void fo_loop(unsigned variant, size_t n, void *const *buffers, const double *coefficients,
                     const fo_preparation *preparation);

typedef struct fo_kernel {
    void (*coefficients)(const fo_hyper *hyper, uint64_t step, double *c);
    fo_loop *loop[FO_ISA_COUNT][2];
} fo_kernel;

#define STATES(...) {__VA_ARGS__}
#define FO_RULE(name, class_name, kernel, states, ...)                                             \
    enum { FO_STATES_##name = sizeof((const char *[])states) / sizeof(const char *) };             \
    extern const fo_kernel fo_kernel_##kernel;
#include "rules.def"
#undef STATES

extern const fo_kernel *const fo_kernels[FO_RULE_COUNT];

/* The instruction set chosen when the library was loaded. */
fo_isa_index fo_isa_in_use(void);

/* beta**t by repeated squaring, lowest bit first: the C library's pow differs between systems. */
static inline double fo_power(double beta, uint64_t t)
{
    double power = 1.0;
    for (; t; t >>= 1) {
        if (t & 1)
            power *= beta;
        beta *= beta;
    }
    return power;
}

/* eps under the root or beside it. The other is a zero, which changes no bit of a sum that is not
 * below zero. */
static inline void fo_place_eps(const fo_hyper *hyper, double *inside, double *outside)
{
    *inside = hyper->eps_inside != 0 ? hyper->eps : 0.0;
    *outside = hyper->eps_inside != 0 ? 0.0 : hyper->eps;
}

#endif
