/* The rows of rules.def and formats.def as descriptions, defaults and domains. */
#include "build.h"

#include "fastopt.h"
#include "kernel/kernel.h"
#include "library.h"

#include <math.h>

#define FO_HYPER(name, domain) {#name, domain},
static const fo_hyper_info hyper_infos[] = {
#include "rules.def"
};

#define HYPERS(...) {__VA_ARGS__}
#define HYPER(name, value) {FO_##name, value, FO_COMMON}
#define REQUIRED(name) {FO_##name, NAN, FO_COMMON}
#define CLASS_ONLY(name, value) {FO_##name, value, FO_CLASS_ONLY}
#define ADDED(name, value) {FO_##name, value, FO_COMMON}
#define CALL_ONLY(name, value) {FO_##name, value, FO_CALL_ONLY}
#define FIXED(name, value) {FO_##name, value, FO_FIXED}
#define FO_RULE(name, class_name, kernel, states, optional, initial, step, hypers)                 \
    static const fo_hyper_entry hypers_of_##name[] = hypers;
#include "rules.def"

#define NO_STATES {NULL}
#define ONE_STATE(a) {#a}
#define TWO_STATES(a, b) {#a, #b}
#define THREE_STATES(a, b, c) {#a, #b, #c}
#define FOUR_STATES(a, b, c, d) {#a, #b, #c, #d}
#define OPTIONAL(state, flag)                                                                      \
    #state, #flag, 1, {#state},                                                                    \
    {                                                                                              \
        #flag                                                                                      \
    }
#define TWO_ADDED(a, flag_a, b, flag_b)                                                            \
    #a, #flag_a, 2, {#a, #b},                                                                      \
    {                                                                                              \
        #flag_a, #flag_b                                                                           \
    }
#define NO_OPTIONAL                                                                                \
    NULL, NULL, 0, {NULL},                                                                         \
    {                                                                                              \
        NULL                                                                                       \
    }
#define INITIAL(name) #name
#define NO_INITIAL NULL
#define STEP 1, NULL, 0
#define STEP_AND(number) 1, #number, 1
#define STEP_AND_ARRAY(numbers, count) 1, #numbers, count
#define NO_STEP 0, NULL, 0
#define FO_RULE(name, class_name, kernel, states, optional, initial, step, hypers)                 \
    {#name,                                                                                        \
     #class_name,                                                                                  \
     #kernel,                                                                                      \
     states,                                                                                       \
     FO_STATES_##name,                                                                             \
     optional,                                                                                     \
     initial,                                                                                      \
     step,                                                                                         \
     hypers_of_##name,                                                                             \
     sizeof hypers_of_##name / sizeof(fo_hyper_entry),                                             \
     FO_SQUARES_OF_##name},
static const fo_rule_info rule_infos[] = {
#include "rules.def"
};

/* A kernel is compiled for the states of the rule of its own name. */
#define FO_RULE(name, class_name, kernel, ...)                                                     \
    _Static_assert((int)FO_STATES_##name == (int)FO_STATES_##kernel &&                             \
                       (int)FO_OPTIONAL_STATES_##name == (int)FO_OPTIONAL_STATES_##kernel,         \
                   #name " must have the states of " #kernel);
#include "rules.def"

#define FO_RULE(name, class_name, kernel, ...) &fo_kernel_##kernel,
const fo_kernel *const fo_kernels[FO_RULE_COUNT] = {
#include "rules.def"
};

const fo_rule_info *fo_rule_describe(fo_rule rule)
{
    return (unsigned)rule < FO_RULE_COUNT ? &rule_infos[rule] : NULL;
}

int fo_rule_takes_norms(fo_rule rule)
{
    return (unsigned)rule < FO_RULE_COUNT && fo_kernels[rule]->terms != 0;
}

int fo_rule_joins_tensors(fo_rule rule)
{
    return (unsigned)rule < FO_RULE_COUNT && fo_kernels[rule]->carry != NULL;
}

const fo_hyper_info *fo_hyper_describe(fo_hyper_index index)
{
    return (unsigned)index < FO_HYPER_COUNT ? &hyper_infos[index] : NULL;
}

const fo_format_info *fo_format_describe(fo_format format)
{
    static const fo_format_info infos[] = {
#define FO_FORMAT(NAME, name, element, compute)                                                    \
    {#name, sizeof(element), FO_##NAME == FO_BLOCK8 ? FO_BLOCK : 1},
#include "formats.def"
    };
    return (unsigned)format < FO_FORMAT_COUNT ? &infos[format] : NULL;
}

fo_status fo_defaults_abi(uint64_t abi, fo_rule rule, fo_hyper *hyper)
{
    if (abi != FO_ABI)
        return FO_BAD_VERSION;
    const fo_rule_info *info = fo_rule_describe(rule);
    if (!info)
        return FO_BAD_RULE;
    *hyper = (fo_hyper){.grad_scale = 1.0};
    for (int i = 0; i < info->hyper_count; i++)
        ((double *)hyper)[info->hypers[i].index] = info->hypers[i].value;
    return FO_OK;
}
