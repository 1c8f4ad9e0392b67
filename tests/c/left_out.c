/* Prints for each rule what every step says to it, of a library that may be without it. */
#include <fastopt.h>

#include <stdio.h>
#include <string.h>

enum { N = 4 };

/* Buffers, and a copy that is not to change. */
typedef struct buffers {
    float param[N], grad[N], state[FO_MAX_STATES][N];
    double carried[8];
} buffers;

static fo_tensor tensor_of(const fo_rule_info *info, buffers *in)
{
    fo_tensor tensor = {
        .dtype = FO_FLOAT32, .n = N, .param = in->param, .grad = in->grad, .step = 1};
    for (int k = 0; k < info->state_count; k++)
        tensor.state[k] = in->state[k];
    tensor.carried = info->carried ? in->carried : NULL;
    return tensor;
}

static fo_status by_rows(const fo_group *group, fo_tensor tensor)
{
    uint64_t steps = 1;
    const uint64_t *const step[] = {&steps};
    const fo_rows rows = {.count = 1, .step = step};
    return fo_step_rows(group, &rows, &tensor, 1, NULL, NULL);
}

static fo_status by_indices(const fo_group *group, fo_tensor tensor)
{
    const int64_t first = 0;
    const fo_sparse sparse = {.indices = &first, .is_int64 = 1, .count = 1, .rows = 1};
    return fo_step_sparse(group, 1, &tensor, &sparse, 1, NULL, NULL);
}

/* Both use the loops of sgd. */
static int averages_and_row_wise_steps_work(void)
{
    float param[N] = {1, 1, 1, 1}, grad[N] = {1, 1, 1, 1}, row_sum[1] = {0}, average[N] = {0};
    const int64_t first = 0;
    const fo_sparse sparse = {
        .indices = &first, .is_int64 = 1, .count = 1, .rows = 1, .row_wise = 1};
    const fo_group group = {FO_RULE_adagrad, fo_defaults(FO_RULE_adagrad)};
    fo_tensor tensor = {.dtype = FO_FLOAT32, .n = N, .param = param, .grad = grad, .step = 1};
    tensor.state[0] = row_sum;
    tensor.average = average;
    tensor.ema = 0.5;
    for (int k = 0; k < 2; k++, tensor.step++)
        if (fo_step_sparse(&group, 1, &tensor, &sparse, 1, NULL, NULL) != FO_OK)
            return 0;
    return row_sum[0] == 2 && average[0] > param[0] && average[0] < 1;
}

int main(void)
{
    if (!averages_and_row_wise_steps_work())
        return printf("an average or a row-wise step is wrong\n"), 1;
    for (int rule = 0; rule < FO_RULE_COUNT; rule++) {
        const fo_rule_info *info = fo_rule_describe((fo_rule)rule);
        const fo_group group = {(fo_rule)rule, fo_defaults((fo_rule)rule)};
        fo_group with_rate = group;
        with_rate.hyper.lr = 0.5;
        buffers in = {{1, 2, 3, 4}, {1, 1, 1, 1}, {{0}}, {0}};
        const buffers before = in;
        const fo_tensor tensor = tensor_of(info, &in);
        void *state[FO_MAX_STATES + 1] = {NULL};
        memcpy(state, tensor.state, sizeof tensor.state);
        state[info->state_count + info->optional_count] = tensor.carried;
        const fo_status status = fo_step(&with_rate, 1, &tensor, 1, NULL, NULL);
        if (status == FO_OK && !memcmp(&in, &before, sizeof in))
            return printf("%s did nothing\n", info->name), 1;
        const fo_status others[] = {
            fo_update_states((fo_rule)rule, FO_FLOAT32, N, in.param, in.grad, state,
                             FO_MAX_STATES + 1, 1, &with_rate.hyper),
            by_rows(&with_rate, tensor),
            fo_rule_takes_norms((fo_rule)rule) ? status : by_indices(&with_rate, tensor),
        };
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            if (others[i] != status)
                return printf("%s: %d is not %d\n", info->name, (int)others[i], (int)status), 1;
        if (status != FO_OK && memcmp(&in, &before, sizeof in))
            return printf("%s was refused and wrote\n", info->name), 1;
        printf("%s: %s\n", info->name, fo_status_text(status));
    }
    return 0;
}
