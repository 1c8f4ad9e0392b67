/* What happens when the library is loaded, and what it says about itself. */
#include "build.h"

#include "fastopt.h"
#include "isa.h"
#include "kernel/kernel.h"
#include "library.h"
#include "threads/cpus.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char settings_error[400];
static int is_sound; /* the self-test has passed */

/* An environment variable, or NULL if it is unset or empty. */
static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* A number of threads at the start of a text, or 0. *end is what follows. */
static int thread_count(const char *text, char **end)
{
    errno = 0;
    const long threads = strtol(text, end, 10);
    return *end != text && !errno && threads >= 1 && threads <= FO_MAX_THREADS ? (int)threads : 0;
}

static int default_threads(void)
{
    char *end;
    const char *own = setting("FASTOPT_NUM_THREADS"), *openmp = setting("OMP_NUM_THREADS");
    if (own) {
        const int threads = thread_count(own, &end);
        if (threads && !*end)
            return threads;
        snprintf(settings_error, sizeof settings_error,
                 "FASTOPT_NUM_THREADS is '%.40s', but must be an integer from 1 to %d", own,
                 FO_MAX_THREADS);
    } else if (openmp) {
        /* A list has a number for each level of nesting. Reporting a wrong value is left to OpenMP. */
        const int threads = thread_count(openmp, &end);
        end += strspn(end, " \t");
        if (threads && (!*end || *end == ','))
            return threads;
    }
    const int cpus = fo_cpu_count();
    return cpus < FO_MAX_THREADS ? cpus : FO_MAX_THREADS;
}

/* One element of float32 and of float64, through the loops of the instruction set in use, against the same
 * operations one by one; volatile keeps the compiler from contracting or reordering those. */
static int loops_are_exact(void)
{
    fo_loop_call call = {.grad_scale = 1, .param_factor = 1};
    volatile double mu = 0.9, lr = 0.1, eps = 1e-8;
    fo_hyper hyper = {.lr = lr, .momentum = mu, .eps = eps};
    int same = 1;

    /* Nesterov: g is the negative of the rounded mu*b, so the sum is zero unless it is contracted. */
    fo_kernels[FO_RULE_nag]->coefficients(&hyper, 0, call.coefficients);
    {
        volatile double b = 1.0 / 3, product = mu * b;
        double param = 1, grad = -product, state = b;
        fo_kernels[FO_RULE_nag]->loop[fo_isa_in_use()][FO_LAYOUT_float64](
            &call, 0, 1, (void *[]){&param, &grad, &state});
        same &= state == 0;
    }
    {
        volatile float b = 1.0f / 3, factor = (float)mu, product = factor * b;
        float param = 1, grad = -product, state = b;
        fo_kernels[FO_RULE_nag]->loop[fo_isa_in_use()][FO_LAYOUT_float32](
            &call, 0, 1, (void *[]){&param, &grad, &state});
        same &= state == 0;
    }

    /* Adagrad: for some of these a product with the reciprocal differs from the quotient. */
    fo_kernels[FO_RULE_adagrad]->coefficients(&hyper, 0, call.coefficients);
    for (int k = 3; k < 30; k++) {
        volatile double g = k / 7.0, square = g * g, root = sqrt(square), under = root + eps,
                        over = lr * g, x = over / under, expected = 1 - x;
        double param = 1, grad = g, state = 0;
        fo_kernels[FO_RULE_adagrad]->loop[fo_isa_in_use()][FO_LAYOUT_float64](
            &call, 0, 1, (void *[]){&param, &grad, &state});
        same &= param == expected;
    }
    for (int k = 3; k < 30; k++) {
        volatile float g = (float)(k / 7.0), square = g * g, root = (float)sqrt((double)square),
                       under = root + (float)eps, over = (float)lr * g, x = over / under,
                       expected = 1 - x;
        float param = 1, grad = g, state = 0;
        fo_kernels[FO_RULE_adagrad]->loop[fo_isa_in_use()][FO_LAYOUT_float32](
            &call, 0, 1, (void *[]){&param, &grad, &state});
        same &= param == expected;
    }
    return same;
}

/* With finite-math-only a check of infinity is compiled to nothing. */
static int infinities_are_seen(void)
{
    volatile double infinity = INFINITY, not_a_number = NAN;
    fo_group group = {FO_RULE_sgd, fo_defaults(FO_RULE_sgd)};
    group.hyper.lr = infinity;
    const int refused = fo_check_hyper(&group, NULL) == FO_BAD_HYPER;
    group.hyper.lr = not_a_number;
    return refused && fo_check_hyper(&group, NULL) == FO_BAD_HYPER;
}

FO_WHEN_LOADED static void set_up(void)
{
    fo_isa_choose(setting("FASTOPT_ISA"), settings_error, sizeof settings_error);
    fo_set_num_threads(default_threads());
    is_sound = loops_are_exact() && infinities_are_seen();
}

int fo_is_sound(void)
{
    return is_sound;
}

const char *fo_settings_error(void)
{
    return !is_sound ? fo_status_text(FO_BAD_BUILD) : settings_error[0] ? settings_error : NULL;
}

int fo_version(void)
{
    return FO_VERSION;
}

const char *fo_status_text(fo_status status)
{
    static const char *const texts[] = {
        [FO_OK] = "no error",
        [FO_BAD_RULE] = "there is no such rule",
        [FO_BAD_HYPER] = "a hyper-parameter is outside its domain",
        [FO_BAD_OPTION] = "an option is outside its domain",
        [FO_BAD_TENSOR] = "a tensor has a NULL buffer, an unknown dtype or an unknown group",
        [FO_BAD_STEP] = "step must be from 1 to 2^53",
        [FO_NO_MEMORY] = "out of memory",
        [FO_BAD_VERSION] = "the caller was compiled with the fastopt.h of another version",
        [FO_BAD_FORMAT] = "the formats of a tensor's buffers do not go together",
        [FO_UNREPRESENTABLE] = "a number that is not 0 becomes 0 or infinity in the type that the "
                               "tensor computes in",
        [FO_BAD_BUILD] = "fastopt was compiled with flags that change floating-point arithmetic: "
                         "compile it without -ffast-math, its parts, and -ffp-contract=fast",
        [FO_BAD_INDEX] = "an index is not that of a row",
        [FO_LEFT_OUT] = "the library was compiled without this rule (RULES, FO_LEAVE_OUT)",
        [FO_NEEDS_WHOLE] = "the step depends on whole tensors: a gradient must have all rows",
    };
    return (unsigned)status < sizeof texts / sizeof *texts ? texts[status] : "unknown status";
}
