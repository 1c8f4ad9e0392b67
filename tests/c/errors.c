/* Every error that the C interface can return; nothing may be written then. C and C++. */
#include "check.h"

#include <fastopt.h>

#include <stdlib.h>
#include <string.h>

enum { N = 5 };
static const uint64_t last_step = (uint64_t)1 << 53;

/* param, grad and states, with what they held before. */
typedef struct buffers {
    double before[2 + FO_MAX_STATES][N], now[2 + FO_MAX_STATES][N];
    void *state[FO_MAX_STATES];
    double carried[FO_MAX_CARRIED];
} buffers;

static void fill(buffers *b)
{
    for (int k = 0; k < 2 + FO_MAX_STATES; k++)
        for (int i = 0; i < N; i++)
            b->before[k][i] = b->now[k][i] = 1 + k + 0.5 * i;
    for (int k = 0; k < FO_MAX_STATES; k++)
        b->state[k] = b->now[2 + k];
    for (int k = 0; k < FO_MAX_CARRIED; k++)
        b->carried[k] = 0.5;
}

static int unchanged(const buffers *b)
{
    for (int k = 0; k < FO_MAX_CARRIED; k++)
        if (b->carried[k] != 0.5)
            return 0;
    return !memcmp(b->before, b->now, sizeof b->now);
}

static fo_tensor tensor_of(buffers *b)
{
    fo_tensor tensor;
    memset(&tensor, 0, sizeof tensor);
    tensor.dtype = FO_FLOAT64;
    tensor.n = N;
    tensor.param = b->now[0];
    tensor.grad = b->now[1];
    for (int k = 0; k < FO_MAX_STATES; k++)
        tensor.state[k] = b->state[k];
    tensor.carried = b->carried;
    tensor.step = 1;
    return tensor;
}

static fo_hyper valid(fo_rule rule)
{
    fo_hyper hyper = fo_defaults(rule);
    hyper.lr = 0.1;
    return hyper;
}

static void check_hypers(fo_rule rule)
{
    const fo_rule_info *info = fo_rule_describe(rule);
    const double wrong[] = {NAN, INFINITY, -INFINITY, -1, 1, 0.5};
    buffers b;
    fill(&b);
    const fo_tensor tensor = tensor_of(&b);
    for (int i = 0; i < info->hyper_count; i++) {
        const int index = info->hypers[i].index;
        const fo_domain domain = fo_hyper_describe((fo_hyper_index)index)->domain;
        for (int k = 0; k < 6; k++) {
            const double value = wrong[k];
            int right = 0;
            switch (domain) {
            case FO_FINITE:
                right = k >= 3;
                break;
            case FO_NONNEGATIVE:
                right = k >= 4;
                break;
            case FO_FRACTION:
                right = k == 5;
                break;
            case FO_FLAG:
                right = k == 4;
                break;
            }
            if (right)
                continue;
            fo_group group = {rule, valid(rule)};
            ((double *)&group.hyper)[index] = value;
            int bad = -1;
            CHECK(fo_check_hyper(&group, &bad) == FO_BAD_HYPER && bad == index);
            CHECK(fo_check_hyper(&group, NULL) == FO_BAD_HYPER);
            fo_result result;
            CHECK(fo_step(&group, 1, &tensor, 1, NULL, &result) == FO_BAD_HYPER);
            CHECK(result.group == 0 && result.hyper == index);
            CHECK(fo_update_states(rule, FO_FLOAT64, N, b.now[0], b.now[1], b.state, FO_MAX_STATES,
                                   1, &group.hyper) == FO_BAD_HYPER);
        }
    }
    CHECK(unchanged(&b));
}

static void check_tensors(fo_rule rule)
{
    const fo_rule_info *info = fo_rule_describe(rule);
    const fo_group groups[2] = {{rule, valid(rule)}, {rule, valid(rule)}};
    buffers b;
    fill(&b);
    /* The first tensor is valid. It must stay as it is because the second is not. */
    buffers other;
    fill(&other);
    fo_tensor tensors[2] = {tensor_of(&b), tensor_of(&other)};
    fo_result result;
#define REFUSED(status_wanted)                                                                     \
    do {                                                                                           \
        CHECK(fo_step(groups, 2, tensors, 2, NULL, &result) == status_wanted);                     \
        CHECK(result.tensor == 1);                                                                 \
        CHECK(fo_step(groups, 2, tensors, 2, NULL, NULL) == status_wanted);                        \
        CHECK(unchanged(&b) && unchanged(&other));                                                 \
        tensors[1] = tensor_of(&other);                                                            \
    } while (0)
    tensors[1].param = NULL;
    REFUSED(FO_BAD_TENSOR);
    for (int k = 0; k < info->state_count; k++) {
        tensors[1].state[k] = NULL;
        REFUSED(FO_BAD_TENSOR);
    }
    if (info->carried) {
        tensors[1].carried = NULL;
        REFUSED(FO_BAD_TENSOR);
    }
    tensors[1].group = 2;
    REFUSED(FO_BAD_TENSOR);
    tensors[1].dtype = FO_FORMAT_COUNT;
    REFUSED(FO_BAD_FORMAT);
    tensors[1].dtype = FO_MIXED;
    tensors[1].param_format = FO_FORMAT_COUNT;
    REFUSED(FO_BAD_FORMAT);
    /* No kernel converts between these. */
    tensors[1].dtype = FO_MIXED;
    tensors[1].param_format = FO_FLOAT32;
    tensors[1].grad_format = FO_FLOAT64;
    REFUSED(FO_BAD_FORMAT);
    tensors[1].step = last_step + 1;
    REFUSED(FO_BAD_STEP);
    if (info->needs_step) {
        tensors[1].step = 0;
        REFUSED(FO_BAD_STEP);
    }
    /* With an average, the step must be valid for every rule. */
    double average[N] = {0};
    tensors[1].average = average;
    tensors[1].step = 0;
    REFUSED(FO_BAD_STEP);
    static const double not_shares[] = {1.0, -0.1, NAN};
    for (int k = 0; k < 3; k++) {
        tensors[1].average = average;
        tensors[1].ema = not_shares[k];
        REFUSED(FO_BAD_TENSOR);
    }
    for (int k = 0; k < N; k++)
        CHECK(average[k] == 0);
#undef REFUSED
    const fo_hyper *hyper = &groups[0].hyper;
    CHECK(fo_update_states(rule, FO_FLOAT64, N, NULL, b.now[1], b.state, FO_MAX_STATES, 1, hyper) ==
          FO_BAD_TENSOR);
    CHECK(fo_update_states(rule, FO_FLOAT64, N, b.now[0], NULL, b.state, FO_MAX_STATES, 1, hyper) ==
          FO_BAD_TENSOR);
    if (info->state_count)
        CHECK(fo_update_states(rule, FO_FLOAT64, N, b.now[0], b.now[1], NULL, FO_MAX_STATES, 1,
                               hyper) == FO_BAD_TENSOR);
    if (info->needs_step)
        CHECK(fo_update_states(rule, FO_FLOAT64, N, b.now[0], b.now[1], b.state, FO_MAX_STATES, 0,
                               hyper) == FO_BAD_STEP);
    CHECK(fo_update_states(rule, FO_FORMAT_COUNT, N, b.now[0], b.now[1], b.state, FO_MAX_STATES, 1,
                           hyper) == FO_BAD_FORMAT);
    CHECK(unchanged(&b));

    /* Nothing to do is no error. Of a tensor without elements or a gradient nothing else is read. */
    CHECK(fo_update_states(rule, FO_FLOAT32, 0, NULL, NULL, NULL, 0, 1, hyper) == FO_OK);
    tensors[1].grad = NULL;
    tensors[1].param = NULL;
    tensors[1].group = (uint32_t)-1;
    tensors[0].n = 0;
    tensors[0].carried = NULL;
    CHECK(fo_step(groups, 2, tensors, 2, NULL, NULL) == FO_OK);
    CHECK(fo_step(groups, 2, NULL, 0, NULL, NULL) == FO_OK);
    CHECK(fo_step(NULL, 0, NULL, 0, NULL, NULL) == FO_OK);
    CHECK(unchanged(&b) && unchanged(&other));

    tensors[0] = tensor_of(&b);
    CHECK(fo_step(NULL, 0, tensors, 1, NULL, NULL) == FO_BAD_TENSOR);
    CHECK(unchanged(&b));
    tensors[0].step = last_step;
    CHECK(fo_step(groups, 2, tensors, 2, NULL, NULL) == FO_OK);
    CHECK(memcmp(b.before[0], b.now[0], sizeof b.now[0]) != 0);
    CHECK(memcmp(b.before[1], b.now[1], sizeof b.now[1]) == 0);
}

/* The format of each buffer may be given instead of one for all; that of an absent state is not read. */
static void check_mixed(fo_rule rule)
{
    const fo_rule_info *info = fo_rule_describe(rule);
    const fo_group group = {rule, valid(rule)};
    buffers one, other;
    fill(&one);
    fill(&other);
    fo_tensor tensor = tensor_of(&one);
    CHECK(fo_step(&group, 1, &tensor, 1, NULL, NULL) == FO_OK);
    tensor = tensor_of(&other);
    tensor.dtype = FO_MIXED;
    tensor.param_format = tensor.grad_format = FO_FLOAT64;
    for (int k = 0; k < FO_MAX_STATES; k++)
        tensor.state_format[k] = FO_FORMAT_COUNT;
    for (int k = 0; k < info->state_count + info->optional_count; k++)
        tensor.state_format[k] = FO_FLOAT64;
    CHECK(fo_step(&group, 1, &tensor, 1, NULL, NULL) == FO_OK);
    CHECK(!memcmp(one.now, other.now, sizeof one.now));
}

/* No state is read beyond those that a caller counts. */
static void check_counts(void)
{
    buffers b;
    fill(&b);
    void *two[2] = {b.now[2], b.now[3]};
    fo_hyper hyper = valid(FO_RULE_adam);
    CHECK(fo_update_states(FO_RULE_adam, FO_FLOAT64, N, b.now[0], b.now[1], two, 1, 1, &hyper) ==
          FO_BAD_TENSOR);
    CHECK(fo_update_states(FO_RULE_adam, FO_FLOAT64, N, b.now[0], b.now[1], two, -1, 1, &hyper) ==
          FO_BAD_TENSOR);
    CHECK(unchanged(&b));
    CHECK(fo_update_states(FO_RULE_adam, FO_FLOAT64, N, b.now[0], b.now[1], two, 2, 1, &hyper) ==
          FO_OK);
    CHECK(!memcmp(b.before[4], b.now[4], sizeof b.now[4]));
}

/* Older functions are not told the length of the array of states: they read what the rule always has. In an
 * allocation of that size an address sanitizer sees a read beyond it. */
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#endif
static void check_superseded(void)
{
    for (int rule = 0; rule < FO_RULE_COUNT; rule++) {
        const int count = fo_rule_describe((fo_rule)rule)->state_count;
        const fo_status wanted = fo_rule_describe((fo_rule)rule)->carried ? FO_BAD_TENSOR : FO_OK;
        const fo_hyper hyper = valid((fo_rule)rule);
        buffers old, counted;
        fill(&old);
        fill(&counted);
        void **state = (void **)malloc((size_t)count * sizeof *state);
        for (int k = 0; state && k < count; k++)
            state[k] = old.state[k];
        CHECK(fo_update((fo_rule)rule, FO_FLOAT64, N, old.now[0], old.now[1], state, 1, &hyper) ==
              wanted);
        CHECK(fo_update_states((fo_rule)rule, FO_FLOAT64, N, counted.now[0], counted.now[1],
                               counted.state, count, 1, &hyper) == wanted);
        CHECK(!memcmp(old.now, counted.now, sizeof old.now));
        if (rule == FO_RULE_adam)
            CHECK(fo_adam(FO_FLOAT64, N, old.now[0], old.now[1], state, 2, &hyper) == FO_OK);
        free(state);
    }
    CHECK(fo_update(FO_RULE_COUNT, FO_FLOAT64, 0, NULL, NULL, NULL, 1, NULL) == FO_BAD_RULE);
}
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

/* Numbers that are not 0 but would be in float32, or infinite. */
static void check_unrepresentable(fo_rule rule)
{
    const fo_rule_info *info = fo_rule_describe(rule);
    float narrow[2 + FO_MAX_STATES][N];
    double carried[FO_MAX_CARRIED] = {0.5};
    buffers b;
    fill(&b);
    for (int k = 0; k < 2 + FO_MAX_STATES; k++)
        for (int i = 0; i < N; i++)
            narrow[k][i] = 1;
    fo_tensor tensors[2] = {tensor_of(&b), tensor_of(&b)};
    tensors[1].dtype = FO_FLOAT32;
    tensors[1].param = narrow[0];
    tensors[1].grad = narrow[1];
    tensors[1].carried = carried;
    for (int k = 0; k < FO_MAX_STATES; k++)
        tensors[1].state[k] = narrow[2 + k];
    const double lost[] = {ldexp(1, -150), 5e-324, ldexp(1 - ldexp(1, -25), 128), 1e300};
    const double held[] = {0, ldexp(1.0001, -150), ldexp(1 - ldexp(1.0001, -25), 128)};
    for (int i = 0; i < info->hyper_count; i++) {
        const int index = info->hypers[i].index;
        const fo_domain domain = fo_hyper_describe((fo_hyper_index)index)->domain;
        if (domain == FO_FLAG)
            continue;
        fo_group group = {rule, valid(rule)};
        fo_result result;
        for (int k = 0; k < (domain == FO_FRACTION ? 2 : 4); k++) {
            ((double *)&group.hyper)[index] = lost[k];
            CHECK(fo_step(&group, 1, tensors, 2, NULL, &result) == FO_UNREPRESENTABLE);
            CHECK(result.tensor == 1 && result.group == 0 && result.hyper == index);
            CHECK(unchanged(&b) && narrow[0][0] == 1);
        }
        for (int k = 0; k < (domain == FO_FRACTION ? 2 : 3); k++) {
            ((double *)&group.hyper)[index] = held[k];
            CHECK(fo_step(&group, 1, &tensors[1], 1, NULL, NULL) == FO_OK);
            for (int m = 0; m < 2 + FO_MAX_STATES; m++)
                for (int n = 0; n < N; n++)
                    narrow[m][n] = 1;
        }
    }
    fo_options options = FO_DEFAULT_OPTIONS;
    options.grad_scale = 1e39;
    const fo_group group = {rule, valid(rule)};
    CHECK(fo_step(&group, 1, tensors, 2, &options, NULL) == FO_UNREPRESENTABLE);
    CHECK(unchanged(&b) && narrow[0][0] == 1);
}

static void check_norm(void)
{
    double grads[2][2] = {{3, 0}, {0, 4}}, norm = -1;
    fo_tensor tensors[3];
    memset(tensors, 0, sizeof tensors);
    for (int i = 0; i < 2; i++) {
        tensors[i].dtype = FO_FLOAT64;
        tensors[i].n = 2;
        tensors[i].grad = grads[i];
    }
    CHECK(fo_norm(tensors, 3, &norm) == FO_OK && norm == 5);
    CHECK(fo_norm(NULL, 0, &norm) == FO_OK && norm == 0);
    CHECK(fo_norm_abi(FO_ABI + 1, tensors, 3, &norm) == FO_BAD_VERSION && norm == 0);
    tensors[1].dtype = FO_FORMAT_COUNT;
    CHECK(fo_norm(tensors, 3, &norm) == FO_BAD_FORMAT && norm == 0);
}

static fo_tensor mixed_tensor(size_t n, void *param, void *grad)
{
    fo_tensor tensor;
    memset(&tensor, 0, sizeof tensor);
    tensor.dtype = FO_MIXED;
    tensor.n = n;
    tensor.param = param;
    tensor.grad = grad;
    return tensor;
}

/* What a remainder and a copy may stand beside, and what a copy is. */
static void check_formats(void)
{
    enum { N_NARROW = 300 };
    static float param[N_NARROW], grad[N_NARROW];
    static uint16_t narrow[N_NARROW], copy[N_NARROW];
    static int16_t remainder[N_NARROW];
    fo_group group = {FO_RULE_sgd, valid(FO_RULE_sgd)};
    group.hyper.lr = 0;
    fo_tensor tensor = mixed_tensor(N_NARROW, param, grad);
    tensor.remainder = remainder;
    CHECK(fo_step(&group, 1, &tensor, 1, NULL, NULL) == FO_BAD_FORMAT);
    tensor.param = narrow;
    tensor.param_format = FO_BFLOAT16;
    CHECK(fo_step(&group, 1, &tensor, 1, NULL, NULL) == FO_OK);
    tensor.dtype = FO_BFLOAT16;
    CHECK(fo_step(&group, 1, &tensor, 1, NULL, NULL) == FO_BAD_FORMAT);
    tensor.remainder = NULL;
    tensor.dtype = FO_MIXED;
    tensor.copy = copy;
    CHECK(fo_step(&group, 1, &tensor, 1, NULL, NULL) == FO_BAD_FORMAT);
    tensor.param = param;
    tensor.dtype = FO_FLOAT32;
    CHECK(fo_step(&group, 1, &tensor, 1, NULL, NULL) == FO_BAD_FORMAT);
    tensor.param = narrow;
    tensor.dtype = FO_MIXED;
    tensor.copy = NULL;
    tensor.rounding = (fo_rounding)2;
    CHECK(fo_step(&group, 1, &tensor, 1, NULL, NULL) == FO_BAD_FORMAT);

    /* Blocks are for states alone. */
    static fo_block8 blocks[(N_NARROW + (int)FO_BLOCK - 1) / (int)FO_BLOCK];
    double norm;
    tensor = mixed_tensor(N_NARROW, blocks, grad);
    tensor.param_format = FO_BLOCK8;
    CHECK(fo_step(&group, 1, &tensor, 1, NULL, NULL) == FO_BAD_FORMAT);
    tensor = mixed_tensor(N_NARROW, param, (float *)blocks);
    tensor.grad_format = FO_BLOCK8;
    CHECK(fo_step(&group, 1, &tensor, 1, NULL, NULL) == FO_BAD_FORMAT);
    CHECK(fo_norm(&tensor, 1, &norm) == FO_BAD_FORMAT);
    tensor.dtype = FO_BLOCK8;
    CHECK(fo_step(&group, 1, &tensor, 1, NULL, NULL) == FO_BAD_FORMAT);
    fo_group with_state = {FO_RULE_momentum, valid(FO_RULE_momentum)};
    tensor = mixed_tensor(N_NARROW, param, grad);
    tensor.state[0] = blocks;
    tensor.state_format[0] = FO_BLOCK8;
    CHECK(fo_step(&with_state, 1, &tensor, 1, NULL, NULL) == FO_OK);

    /* The nearest bfloat16, ties to even: 1 + 2^-8 lies between 1 and 1 + 2^-7. */
    const float half = 1.0f / 256;
    for (int i = 0; i < N_NARROW; i++)
        param[i] = i % 3 == 0 ? 1 + half : i % 3 == 1 ? 1 + 3 * half : 1 + half + half / 256;
    static const uint16_t expected[] = {0x3f80, 0x3f82, 0x3f81};
    tensor = mixed_tensor(N_NARROW, param, grad);
    tensor.copy = copy;
    for (int narrow_grad = 0; narrow_grad < 2; narrow_grad++) {
        tensor.grad_format = narrow_grad ? FO_BFLOAT16 : FO_FLOAT32;
        tensor.rounding = narrow_grad ? FO_STOCHASTIC : FO_NEAREST;
        memset(copy, 0, sizeof copy);
        CHECK(fo_step(&group, 1, &tensor, 1, NULL, NULL) == FO_OK);
        for (int i = 0; i < N_NARROW; i++)
            CHECK(copy[i] == expected[i % 3]);
    }
}

static void check_options(void)
{
    buffers b;
    fill(&b);
    const fo_group group = {FO_RULE_sgd, valid(FO_RULE_sgd)};
    fo_tensor tensor = tensor_of(&b);
    const double not_finite[] = {NAN, INFINITY, -INFINITY};
    for (int k = 0; k < 3; k++) {
        fo_options options = FO_DEFAULT_OPTIONS;
        options.grad_scale = not_finite[k];
        CHECK(fo_step(&group, 1, &tensor, 1, &options, NULL) == FO_BAD_OPTION);
        options.grad_scale = 1;
        options.clip = 1;
        options.max_norm = not_finite[k];
        CHECK(fo_step(&group, 1, &tensor, 1, &options, NULL) == FO_BAD_OPTION);
    }
    fo_options options = FO_DEFAULT_OPTIONS;
    options.clip = 1;
    options.max_norm = -1;
    CHECK(fo_step(&group, 1, &tensor, 1, &options, NULL) == FO_BAD_OPTION);
    CHECK(unchanged(&b));

    options.clip = 0;
    options.skip_nonfinite = 1;
    b.before[1][N - 1] = b.now[1][N - 1] = INFINITY;
    fo_result result;
    CHECK(fo_step(&group, 1, &tensor, 1, &options, &result) == FO_OK && result.skipped);
    CHECK(unchanged(&b));
}

static void check_versions(void)
{
    buffers b;
    fill(&b);
    const fo_group group = {FO_RULE_sgd, valid(FO_RULE_sgd)};
    const fo_tensor tensor = tensor_of(&b);
    fo_hyper hyper = group.hyper;
    int bad = -1;
    for (int bit = 0; bit < 64; bit++) {
        const uint64_t other = FO_ABI ^ (uint64_t)1 << bit;
        /* What another version would read may not be what these pointers say, so it is not read. */
        CHECK(fo_step_abi(other, NULL, 1, NULL, 1, NULL, NULL) == FO_BAD_VERSION);
        CHECK(fo_step_abi(other, &group, 1, &tensor, 1, NULL, NULL) == FO_BAD_VERSION);
        CHECK(fo_update_states_abi(other, FO_RULE_sgd, FO_FLOAT64, N, b.now[0], b.now[1], NULL, 0,
                                   1, &hyper) == FO_BAD_VERSION);
        CHECK(fo_defaults_abi(other, FO_RULE_adam, &hyper) == FO_BAD_VERSION);
        CHECK(fo_check_hyper_abi(other, &group, &bad) == FO_BAD_VERSION);
    }
    CHECK(bad == -1 && unchanged(&b) && !memcmp(&hyper, &group.hyper, sizeof hyper));
    CHECK(fo_version() == FO_VERSION);
}

static void check_rules(void)
{
    buffers b;
    fill(&b);
    const fo_rule wrong[] = {FO_RULE_COUNT, (fo_rule)-1};
    for (int k = 0; k < 2; k++) {
        const fo_group groups[2] = {{FO_RULE_sgd, valid(FO_RULE_sgd)},
                                    {wrong[k], valid(FO_RULE_sgd)}};
        const fo_tensor tensor = tensor_of(&b);
        fo_result result;
        CHECK(fo_step(groups, 2, &tensor, 1, NULL, &result) == FO_BAD_RULE && result.group == 1);
        CHECK(fo_check_hyper(&groups[1], NULL) == FO_BAD_RULE);
        CHECK(fo_update_states(wrong[k], FO_FLOAT64, N, b.now[0], b.now[1], NULL, 0, 1, NULL) ==
              FO_BAD_RULE);
        CHECK(isnan(fo_defaults(wrong[k]).lr) && isnan(fo_defaults(wrong[k]).maximize));
        CHECK(!fo_rule_describe(wrong[k]));
    }
    /* Without hyper-parameters, the defaults; which sgd has not for lr. */
    CHECK(fo_sgd_f64(N, b.now[0], b.now[1], NULL) == FO_BAD_HYPER);
    CHECK(unchanged(&b));
    CHECK(fo_adam_f64(N, b.now[0], b.now[1], b.now[2], b.now[3], b.now[4], 1, NULL) == FO_OK);
    CHECK(!unchanged(&b));
    CHECK(!fo_hyper_describe(FO_HYPER_COUNT) && !fo_hyper_describe((fo_hyper_index)-1));
}

static void check_settings(void)
{
    const int before = fo_get_num_threads();
    CHECK(fo_set_num_threads(0) == FO_BAD_OPTION);
    CHECK(fo_set_num_threads(-1) == FO_BAD_OPTION);
    CHECK(fo_set_num_threads(FO_MAX_THREADS + 1) == FO_BAD_OPTION);
    CHECK(fo_get_num_threads() == before);
    CHECK(fo_set_num_threads(2) == FO_OK && fo_get_num_threads() == 2);
    CHECK(!fo_isa_available(-1) && fo_isa_available(0) && !fo_isa_available(100));
    for (int status = -1; status < 100; status++)
        CHECK(fo_status_text((fo_status)status)[0] != 0);
    CHECK(strcmp(fo_status_text(FO_BAD_BUILD), fo_status_text((fo_status)(FO_BAD_BUILD + 1))));
    CHECK(fo_cpu_count() >= 1 && !fo_settings_error());
}

int main(void)
{
    for (int rule = 0; rule < FO_RULE_COUNT; rule++) {
        check_hypers((fo_rule)rule);
        check_tensors((fo_rule)rule);
        check_mixed((fo_rule)rule);
        check_unrepresentable((fo_rule)rule);
    }
    check_counts();
    check_superseded();
    check_norm();
    check_formats();
    check_options();
    check_versions();
    check_rules();
    check_settings();
    return failures != 0;
}
