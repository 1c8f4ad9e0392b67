/* fo_step_rows: the bits of fo_step for each row, and every error, with nothing written. C and C++. */
#include "check.h"
#include "inputs.h"

enum { ROWS = 3, N = 21, BUFFERS = 2 + FO_MAX_STATES, NUMBERS = ROWS * FO_MAX_CARRIED };

typedef struct buffers {
    double x[BUFFERS][ROWS * N], carried[NUMBERS];
} buffers;

static void fill(buffers *b)
{
    for (int k = 0; k < BUFFERS; k++)
        for (int i = 0; i < ROWS * N; i++)
            b->x[k][i] = 1 + k + 0.25 * (i % 11);
    for (int k = 0; k < NUMBERS; k++)
        b->carried[k] = 0.5 / (k + 1);
}

static fo_tensor tensor_of(buffers *b)
{
    fo_tensor tensor = float64_tensor(N, b->x[0], b->x[1], b->x[2], ROWS * N);
    tensor.carried = b->carried;
    return tensor;
}

static fo_rows three_rows(void)
{
    fo_rows rows;
    memset(&rows, 0, sizeof rows);
    rows.count = ROWS;
    return rows;
}

/* The rows one by one. */
static void step_apart(fo_group group, const fo_rows *rows, buffers *b, fo_options options)
{
    for (int row = 0; row < ROWS; row++) {
        fo_tensor tensor = tensor_of(b);
        tensor.param = b->x[0] + row * N;
        tensor.grad = b->x[1] + row * N;
        for (int k = 0; k < FO_MAX_STATES; k++)
            tensor.state[k] = b->x[2 + k] + row * N;
        tensor.carried = b->carried + row * fo_rule_describe(group.rule)->carried_count;
        tensor.step = rows->step[0][row];
        group.hyper.lr = rows->hyper[FO_lr][row];
        options.max_norm = rows->max_norm[row];
        options.grad_scale = rows->grad_scale[row];
        fo_result result;
        CHECK(fo_step(&group, 1, &tensor, 1, &options, &result) == FO_OK);
        CHECK(result.norm == rows->norm[row] || (result.skipped && isnan(rows->norm[row])));
        CHECK(result.skipped == rows->skipped[row]);
    }
}

static void check_bits(fo_rule rule)
{
    static buffers together, apart;
    fill(&together);
    together.x[1][N + 3] = NAN;
    apart = together;
    const double lr[] = {0.1, 0.2, 0.3}, max_norm[] = {1, 2, 1e300}, scale[] = {1, 0.5, -2};
    const uint64_t step[] = {1, 5, 1000}, *const steps[] = {step};
    double norm[ROWS];
    unsigned char skipped[ROWS];
    fo_rows rows = three_rows();
    rows.hyper[FO_lr] = lr;
    rows.step = steps;
    rows.grad_scale = scale;
    rows.max_norm = max_norm;
    rows.norm = norm;
    rows.skipped = skipped;
    const fo_group group = group_of(rule);
    const fo_tensor tensor = tensor_of(&together);
    const fo_options options = {1.0, 1, 0.0, 1};
    fo_result result;
    CHECK(fo_step_rows(&group, &rows, &tensor, 1, &options, &result) == FO_OK);
    CHECK(result.skipped && isnan(result.norm));
    CHECK(!skipped[0] && skipped[1] && !skipped[2]);
    step_apart(group, &rows, &apart, options);
    CHECK(!memcmp(together.x[0], apart.x[0], sizeof together.x[0]));
    CHECK(!memcmp(together.x[2], apart.x[2], sizeof together.x - 2 * sizeof together.x[0]));
    CHECK(!memcmp(together.carried, apart.carried, sizeof together.carried));
}

typedef struct narrow_buffers {
    uint16_t param[ROWS * N], state[2][ROWS * N], copy[ROWS * N];
    int16_t remainder[ROWS * N];
    float grad[ROWS * N], wide[ROWS * N];
} narrow_buffers;

/* Row by row from first on; parameters in bfloat16 with a remainder, or in float32 with a copy. */
static fo_tensor narrow_tensor(narrow_buffers *b, int first, int is_wide)
{
    fo_tensor tensor;
    memset(&tensor, 0, sizeof tensor);
    tensor.dtype = FO_MIXED;
    tensor.n = N;
    tensor.param = is_wide ? (void *)(b->wide + first) : b->param + first;
    tensor.param_format = is_wide ? FO_FLOAT32 : FO_BFLOAT16;
    tensor.grad = b->grad + first;
    tensor.grad_format = FO_FLOAT32;
    for (int k = 0; k < 2; k++) {
        tensor.state[k] = b->state[k] + first;
        tensor.state_format[k] = FO_BFLOAT16;
    }
    tensor.rounding = FO_STOCHASTIC;
    tensor.remainder = is_wide ? NULL : b->remainder + first;
    tensor.copy = is_wide ? b->copy + first : NULL;
    tensor.position = 1000;
    return tensor;
}

static void check_narrow(int is_wide)
{
    static narrow_buffers together, apart;
    memset(&together, 0, sizeof together);
    for (int i = 0; i < ROWS * N; i++) {
        together.grad[i] = (float)(i % 13) - 6;
        together.wide[i] = (float)(i % 7);
    }
    apart = together;
    const uint64_t step[] = {1, 5, 1000}, *const steps[] = {step}, seed[] = {3, 4, 1ull << 60};
    fo_rows rows = three_rows();
    rows.step = steps;
    rows.seed = seed;
    const fo_group group = group_of(FO_RULE_adam);
    const fo_tensor tensor = narrow_tensor(&together, 0, is_wide);
    CHECK(fo_step_rows(&group, &rows, &tensor, 1, NULL, NULL) == FO_OK);
    for (int row = 0; row < ROWS; row++) {
        fo_tensor alone = narrow_tensor(&apart, row * N, is_wide);
        alone.step = step[row];
        alone.seed = seed[row];
        CHECK(fo_step(&group, 1, &alone, 1, NULL, NULL) == FO_OK);
    }
    CHECK(!memcmp(&together, &apart, sizeof apart));
    CHECK(is_wide ? together.copy[0] != 0 : together.param[0] != 0);
    CHECK(memcmp(together.state[0], together.state[0] + N, N * sizeof(uint16_t)));
}

static void check_that_nothing_is_written(void)
{
    static buffers before, now;
    fill(&now);
    before = now;
    fo_group group = group_of(FO_RULE_adam);
    fo_tensor tensor = tensor_of(&now);
    fo_result result;
    fo_options options = FO_DEFAULT_OPTIONS;
    fo_rows rows = three_rows();

    const double lr[] = {0.1, 0.1, -0.1};
    rows.hyper[FO_lr] = lr;
    CHECK(fo_step_rows(&group, &rows, &tensor, 1, NULL, &result) == FO_BAD_HYPER);
    CHECK(result.group == 2 && result.hyper == FO_lr);
    CHECK(fo_step_rows(&group, &rows, &tensor, 1, NULL, NULL) == FO_BAD_HYPER);
    rows.hyper[FO_lr] = NULL;

    /* What a row overrides does not count. */
    group.hyper.lr = NAN;
    CHECK(fo_step_rows(&group, &rows, &tensor, 1, NULL, &result) == FO_BAD_HYPER);
    CHECK(result.group == 0 && result.hyper == FO_lr);
    group.hyper.lr = 0.1;

    const double wrong[] = {1, NAN, 1};
    rows.grad_scale = wrong;
    CHECK(fo_step_rows(&group, &rows, &tensor, 1, NULL, &result) == FO_BAD_OPTION);
    CHECK(result.group == 1);
    rows.grad_scale = NULL;
    rows.max_norm = wrong;
    options.clip = 1;
    CHECK(fo_step_rows(&group, &rows, &tensor, 1, &options, &result) == FO_BAD_OPTION);
    CHECK(result.group == 1);
    rows.max_norm = NULL;
    options.clip = 0;

    const uint64_t step[] = {1, 2, 0}, *const steps[] = {step};
    rows.step = steps;
    CHECK(fo_step_rows(&group, &rows, &tensor, 1, NULL, &result) == FO_BAD_STEP);
    CHECK(result.group == 2 && result.tensor == 0);
    rows.step = NULL;

    fo_tensor bad = tensor;
    bad.state[1] = NULL;
    CHECK(fo_step_rows(&group, &rows, &bad, 1, NULL, &result) == FO_BAD_TENSOR);
    bad = tensor;
    bad.group = 1;
    CHECK(fo_step_rows(&group, &rows, &bad, 1, NULL, &result) == FO_BAD_TENSOR);
    bad = tensor;
    bad.dtype = FO_FORMAT_COUNT;
    CHECK(fo_step_rows(&group, &rows, &bad, 1, NULL, &result) == FO_BAD_FORMAT);

    static float floats[BUFFERS][ROWS * N];
    bad = tensor;
    bad.dtype = FO_FLOAT32;
    bad.param = floats[0];
    bad.grad = floats[1];
    for (int k = 0; k < FO_MAX_STATES; k++)
        bad.state[k] = floats[2 + k];
    const double tiny[] = {1e-8, 1e-60, 1e-8};
    rows.hyper[FO_eps] = tiny;
    CHECK(fo_step_rows(&group, &rows, &bad, 1, NULL, &result) == FO_UNREPRESENTABLE);
    CHECK(result.group == 1 && result.hyper == FO_eps);
    rows.hyper[FO_eps] = NULL;

    CHECK(fo_step_rows_abi(FO_ABI + 1, &group, &rows, &tensor, 1, NULL, &result) == FO_BAD_VERSION);
    group.rule = FO_RULE_COUNT;
    CHECK(fo_step_rows(&group, &rows, &tensor, 1, NULL, &result) == FO_BAD_RULE);
    group.rule = FO_RULE_adam;

    /* No rows, no gradient, no elements. */
    rows.count = 0;
    CHECK(fo_step_rows(&group, &rows, &tensor, 1, NULL, &result) == FO_OK);
    rows.count = ROWS;
    bad = tensor;
    bad.grad = NULL;
    CHECK(fo_step_rows(&group, &rows, &bad, 1, NULL, &result) == FO_OK);
    bad = tensor;
    bad.n = 0;
    options.clip = 1;
    CHECK(fo_step_rows(&group, &rows, &bad, 1, &options, &result) == FO_OK);
    CHECK(!memcmp(&before, &now, sizeof now));
}

int main(void)
{
    for (int rule = 0; rule < FO_RULE_COUNT; rule++)
        check_bits((fo_rule)rule);
    check_narrow(0);
    check_narrow(1);
    check_that_nothing_is_written();
    return failures != 0;
}
