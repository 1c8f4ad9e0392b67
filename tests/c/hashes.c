/* Prints a hash of the buffers after long runs of each rule, dtype, instruction set and flag: one line
 * each, that must be the same on every machine and with every compiler.
 *
 *     rule dtype variant hash
 *
 * With arguments, only of the rules that they name.
 */
#include <fastopt.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 1003, LARGE = 300007, STEPS = 50 };

static uint64_t generator;

static uint64_t next_bits(void)
{
    generator = generator * 6364136223846793005u + 1442695040888963407u;
    return generator >> 11;
}

/* In [-1, 1), exact in float32 as well; now and then a subnormal, a zero of either sign or large. */
static double next_value(void)
{
    const uint64_t bits = next_bits();
    const double x = (double)((int64_t)(bits >> 29 & 0xffffff) - 0x800000) / 0x800000;
    switch (bits & 127) {
    case 0:
        return 0.0;
    case 1:
        return -0.0;
    case 2:
        return x * 1e-40;
    case 3:
        return x * 1e6;
    }
    return x;
}

static void fill(fo_dtype dtype, void *buffer, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double x = next_value();
        if (dtype == FO_FLOAT64)
            ((double *)buffer)[i] = x;
        else
            ((float *)buffer)[i] = (float)x;
    }
}

/* FNV-1a over the elements' bits, lowest byte first. Every NaN counts as the same. */
static uint64_t hash(uint64_t h, fo_dtype dtype, const void *buffer, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = 0;
        int size = 4;
        if (dtype == FO_FLOAT64) {
            double x = ((const double *)buffer)[i];
            memcpy(&bits, &x, size = 8);
            bits = x == x ? bits : 1;
        } else {
            float x = ((const float *)buffer)[i];
            uint32_t word;
            memcpy(&word, &x, 4);
            bits = x == x ? word : 1;
        }
        for (int k = 0; k < size; k++)
            h = (h ^ (bits >> 8 * k & 0xff)) * 1099511628211u;
    }
    return h;
}

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return memory;
}

static void require(fo_status status, const char *name)
{
    if (status != FO_OK) {
        fprintf(stderr, "%s: %s\n", name, fo_status_text(status));
        exit(1);
    }
}

static void run(fo_rule rule, fo_dtype dtype, const char *variant, const fo_hyper *hyper,
                unsigned optional, size_t n, int steps)
{
    const fo_rule_info *info = fo_rule_describe(rule);
    const size_t size = n * (dtype == FO_FLOAT64 ? sizeof(double) : sizeof(float));
    void *param = allocate(size), *grad = allocate(size), *state[FO_MAX_STATES + 1] = {0};
    double carried[FO_MAX_CARRIED] = {0};
    const int states = info->state_count + info->optional_count;
    for (int k = 0; k < states; k++)
        if (k < info->state_count || optional >> (k - info->state_count) & 1)
            state[k] = allocate(size);
    if (info->carried)
        state[states] = carried;
    generator = 1;
    fill(dtype, param, n);
    for (int t = 1; t <= steps; t++) {
        fill(dtype, grad, n);
        require(fo_update_states(rule, dtype, n, param, grad, state, states + !!info->carried,
                                 (uint64_t)t, hyper),
                info->name);
    }
    uint64_t h = hash(14695981039346656037u, dtype, param, n);
    for (int k = 0; k < states; k++)
        if (state[k]) {
            h = hash(h, dtype, state[k], n);
            free(state[k]);
        }
    if (fo_rule_joins_tensors(rule))
        h = hash(h, FO_FLOAT64, carried, (size_t)info->carried_count);
    free(param);
    free(grad);
    printf("%s %s %s %016llx\n", info->name, dtype == FO_FLOAT64 ? "float64" : "float32", variant,
           (unsigned long long)h);
}

/* Values as a bfloat16, or as they are. */
static void fill_as(fo_format format, void *buffer, size_t n)
{
    float *values = allocate(n * sizeof(float));
    fill(FO_FLOAT32, values, n);
    for (size_t i = 0; i < n; i++) {
        uint32_t word;
        memcpy(&word, &values[i], sizeof word);
        if (format == FO_FLOAT32)
            ((float *)buffer)[i] = values[i];
        else
            ((uint16_t *)buffer)[i] = (uint16_t)(word >> 16); /* as a float16, any number */
    }
    free(values);
}

/* Every NaN counts as the same. */
static uint64_t hash_as(uint64_t h, fo_format format, const void *buffer, size_t n)
{
    if (format == FO_FLOAT32)
        return hash(h, FO_FLOAT32, buffer, n);
    for (size_t i = 0; format == FO_BLOCK8 && i < n; i += FO_BLOCK) {
        const fo_block8 *block = (const fo_block8 *)buffer + i / FO_BLOCK;
        h = hash(h, FO_FLOAT32, &block->scale, 1);
        for (int k = 0; k < FO_BLOCK; k++)
            h = (h ^ block->codes[k]) * 1099511628211u;
    }
    if (format == FO_BLOCK8)
        return h;
    for (size_t i = 0; i < n; i++) {
        const uint16_t bits = ((const uint16_t *)buffer)[i];
        const int is_nan = format == FO_BFLOAT16 && (bits & 0x7fff) > 0x7f80;
        h = (h ^ (is_nan ? 1 : bits)) * 1099511628211u;
    }
    return h;
}

/* Parameter and gradient, and states, in formats of their own, across a place where the upper half of the
 * positions changes. */
static void run_narrow(fo_rule rule, const char *variant, fo_format param, fo_format grad,
                       fo_format state, int with_remainder, fo_rounding rounding)
{
    const fo_rule_info *info = fo_rule_describe(rule);
    fo_group group = {rule, fo_defaults(rule)};
    double carried[FO_MAX_CARRIED] = {0};
    group.hyper.lr = 0.01;
    fo_tensor tensor = {.dtype = FO_MIXED,
                        .n = N,
                        .param = allocate(N * sizeof(float)),
                        .param_format = param,
                        .grad_format = grad,
                        .rounding = rounding,
                        .seed = 7,
                        .carried = carried,
                        .position = ((uint64_t)1 << 32) - 601};
    for (int k = 0; k < info->state_count; k++) {
        tensor.state[k] = allocate(N * sizeof(float));
        tensor.state_format[k] = state;
    }
    tensor.remainder = with_remainder ? allocate(N * sizeof(int16_t)) : NULL;
    generator = 1;
    fill_as(param, tensor.param, N);
    void *gradient = allocate(N * sizeof(float));
    tensor.grad = gradient;
    for (int t = 1; t <= STEPS; t++) {
        fill_as(grad, gradient, N);
        tensor.step = (uint64_t)t;
        require(fo_step(&group, 1, &tensor, 1, NULL, NULL), info->name);
    }
    uint64_t h = hash_as(14695981039346656037u, param, tensor.param, N);
    for (int k = 0; k < info->state_count; k++) {
        h = hash_as(h, state, tensor.state[k], N);
        free(tensor.state[k]);
    }
    if (with_remainder)
        h = hash_as(h, FO_FLOAT16, tensor.remainder, N);
    free(tensor.remainder);
    free(tensor.param);
    free(gradient);
    printf("%s narrow %s %016llx\n", info->name, variant, (unsigned long long)h);
}

/* All gradients clipped by their common norm: the sum's order is part of the promise. */
static void run_clipped(fo_rule rule)
{
    enum { TENSORS = 5 };
    const fo_rule_info *info = fo_rule_describe(rule);
    const size_t sizes[TENSORS] = {1, 31, 4096, 10007, 64};
    fo_group group = {rule, fo_defaults(rule)};
    fo_tensor tensors[TENSORS] = {{0}};
    double carried[TENSORS][FO_MAX_CARRIED] = {{0}};
    group.hyper.lr = 0.01;
    generator = 1;
    for (int i = 0; i < TENSORS; i++) {
        tensors[i].dtype = i % 2 ? FO_FLOAT64 : FO_FLOAT32;
        tensors[i].n = sizes[i];
        tensors[i].carried = carried[i];
        tensors[i].param = allocate(sizes[i] * sizeof(double));
        for (int k = 0; k < info->state_count; k++)
            tensors[i].state[k] = allocate(sizes[i] * sizeof(double));
        fill(tensors[i].dtype, tensors[i].param, sizes[i]);
    }
    fo_options options = FO_DEFAULT_OPTIONS;
    options.clip = 1;
    options.max_norm = 1.5;
    fo_result result;
    uint64_t h = 14695981039346656037u;
    for (int t = 1; t <= STEPS; t++) {
        for (int i = 0; i < TENSORS; i++) {
            void *grad = allocate(sizes[i] * sizeof(double));
            fill(tensors[i].dtype, grad, sizes[i]);
            tensors[i].grad = grad;
            tensors[i].step = (uint64_t)t;
        }
        require(fo_step(&group, 1, tensors, TENSORS, &options, &result), info->name);
        h = hash(h, FO_FLOAT64, &result.norm, 1);
        for (int i = 0; i < TENSORS; i++)
            free((void *)tensors[i].grad);
    }
    for (int i = 0; i < TENSORS; i++) {
        h = hash(h, tensors[i].dtype, tensors[i].param, sizes[i]);
        free(tensors[i].param);
        for (int k = 0; k < info->state_count; k++) {
            h = hash(h, tensors[i].dtype, tensors[i].state[k], sizes[i]);
            free(tensors[i].state[k]);
        }
        if (fo_rule_joins_tensors(rule))
            h = hash(h, FO_FLOAT64, carried[i], (size_t)info->carried_count);
    }
    printf("%s mixed clipped %016llx\n", info->name, (unsigned long long)h);
}

static int is_asked_for(const char *rule, int count, char **names)
{
    int found = count == 0;
    for (int i = 0; i < count; i++)
        found |= !strcmp(names[i], rule);
    return found;
}

int main(int count, char **arguments)
{
    if (fo_settings_error()) {
        fprintf(stderr, "%s\n", fo_settings_error());
        return 1;
    }
    fprintf(stderr, "%s\n", fo_isa());
    for (int r = 0; r < FO_RULE_COUNT; r++) {
        const fo_rule rule = (fo_rule)r;
        const fo_rule_info *info = fo_rule_describe(rule);
        if (!is_asked_for(info->name, count - 1, arguments + 1))
            continue;
        for (int d = 0; d < 2; d++) {
            const fo_dtype dtype = d ? FO_FLOAT64 : FO_FLOAT32;
            fo_hyper hyper = fo_defaults(rule);
            hyper.lr = 0.01;
            run(rule, dtype, "plain", &hyper, 0, N, STEPS);
            run(rule, dtype, "large", &hyper, 0, LARGE, 3);
            fo_hyper with_momentum = hyper;
            with_momentum.momentum = 0.75;
            for (int k = 0; k < info->optional_count; k++)
                run(rule, dtype, info->optional_flags[k], &with_momentum, 1u << k, N, STEPS);
            if (info->optional_count > 1)
                run(rule, dtype, "both", &with_momentum, 3, N, STEPS);
            for (int i = 0; i < info->hyper_count; i++) {
                const fo_hyper_entry *entry = &info->hypers[i];
                const fo_hyper_info *about = fo_hyper_describe(entry->index);
                if (entry->scope == FO_FIXED)
                    continue;
                fo_hyper other = hyper;
                other.weight_decay = 0.01;
                ((double *)&other)[entry->index] = about->domain == FO_FLAG       ? 1.0
                                                   : about->domain == FO_FRACTION ? 0.75
                                                                                  : 0.125;
                run(rule, dtype, about->name, &other, info->optional_count == 1, N, STEPS);
            }
        }
        run_clipped(rule);
        run_narrow(rule, "stochastic", FO_BFLOAT16, FO_BFLOAT16, FO_BFLOAT16, 0, FO_STOCHASTIC);
        run_narrow(rule, "nearest", FO_BFLOAT16, FO_BFLOAT16, FO_BFLOAT16, 0, FO_NEAREST);
        run_narrow(rule, "remainder", FO_BFLOAT16, FO_BFLOAT16, FO_BFLOAT16, 1, FO_STOCHASTIC);
        run_narrow(rule, "states", FO_FLOAT32, FO_FLOAT32, FO_BFLOAT16, 0, FO_STOCHASTIC);
        run_narrow(rule, "gradient", FO_FLOAT32, FO_BFLOAT16, FO_FLOAT32, 0, FO_NEAREST);
        run_narrow(rule, "tiles", FO_BFLOAT16, FO_FLOAT16, FO_BFLOAT16, 0, FO_STOCHASTIC);
        run_narrow(rule, "blocks", FO_BFLOAT16, FO_BFLOAT16, FO_BLOCK8, 0, FO_STOCHASTIC);
        run_narrow(rule, "blocks nearest", FO_FLOAT32, FO_FLOAT32, FO_BLOCK8, 0, FO_NEAREST);
    }
    return 0;
}
