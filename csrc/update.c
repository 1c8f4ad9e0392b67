/* One parameter at a time, for callers that do not want structures. */
#include "build.h"

#include "fastopt.h"

fo_status fo_update_states_abi(uint64_t abi, fo_rule rule, fo_format format, size_t n, void *param,
                               const void *grad, void *const *state, int state_count, uint64_t step,
                               const fo_hyper *hyper)
{
    if (abi != FO_ABI)
        return FO_BAD_VERSION;
    const fo_rule_info *info = fo_rule_describe(rule);
    if (!info)
        return FO_BAD_RULE;
    /* To fo_step a tensor without a gradient is one to leave alone. Here it is a mistake. */
    if (n && !grad)
        return FO_BAD_TENSOR;
    if ((unsigned)format >= FO_FORMAT_COUNT)
        return FO_BAD_FORMAT;
    const fo_group group = {rule, hyper ? *hyper : fo_defaults(rule)};
    /* An empty tensor is checked too, so it needs some gradient. */
    static const char nothing;
    fo_tensor tensor = {.dtype = format,
                        .n = n,
                        .param = param,
                        .grad = n ? grad : &nothing,
                        .step = info->needs_step ? step : 0};
    const int states = info->state_count + info->optional_count;
    for (int k = 0; state && k < states && k < state_count; k++)
        tensor.state[k] = state[k];
    if (info->carried && state && states < state_count)
        tensor.carried = state[states];
    return fo_step(&group, 1, &tensor, 1, NULL, NULL);
}

/* For older programs, which do not say how many states they pass. An optional one may not be there, so it
 * is not read. */
fo_status fo_update_abi(uint64_t abi, fo_rule rule, fo_dtype dtype, size_t n, void *param,
                        const void *grad, void *const *state, uint64_t step, const fo_hyper *hyper)
{
    const fo_rule_info *info = fo_rule_describe(rule);
    return fo_update_states_abi(abi, rule, dtype, n, param, grad, state,
                                info ? info->state_count : 0, step, hyper);
}
