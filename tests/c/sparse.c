/* fo_step_sparse: the bits of fo_step for each row, and every error, with nothing written. C and C++. */
#include "check.h"
#include "inputs.h"

enum { ROWS = 5, N = 21, GRADS = 4, STATES = FO_MAX_STATES };

static const int64_t wide_indices[GRADS] = {3, 0, 3, 4};
static const int32_t indices[GRADS] = {3, 0, 3, 4};

typedef struct buffers {
    double param[ROWS * N], state[STATES][ROWS * N], grad[GRADS * N];
} buffers;

static void fill(buffers *b)
{
    for (int i = 0; i < ROWS * N; i++) {
        b->param[i] = 1 + 0.25 * (i % 11);
        for (int k = 0; k < STATES; k++)
            b->state[k][i] = 1 + k + 0.5 * (i % 7);
    }
    for (int i = 0; i < GRADS * N; i++)
        b->grad[i] = 0.1 * (i % 13) - 0.5;
}

/* From a row on. */
static fo_tensor tensor_at(buffers *b, int row)
{
    const int first = row * N;
    fo_tensor tensor = float64_tensor(N, b->param + first, b->grad, b->state[0] + first, ROWS * N);
    tensor.step = 7;
    return tensor;
}

static fo_tensor whole_of(buffers *b)
{
    fo_tensor tensor = tensor_at(b, 0);
    tensor.n = ROWS * N;
    return tensor;
}

static fo_sparse sparse_of(int is_int64)
{
    fo_sparse sparse;
    memset(&sparse, 0, sizeof sparse);
    sparse.rows = ROWS;
    sparse.count = GRADS;
    sparse.indices = is_int64 ? (const void *)wide_indices : (const void *)indices;
    sparse.is_int64 = is_int64;
    return sparse;
}

/* With a decay, too. */
static fo_group decayed(fo_rule rule)
{
    fo_group group = group_of(rule);
    group.hyper.weight_decay = 0.01;
    return group;
}

/* Beside a tensor whose gradient is dense, and one that has none. */
static void check_bits(fo_rule rule, int is_int64)
{
    static buffers together, apart;
    fill(&together);
    fill(&apart);
    double dense[2] = {1, 2}, alone[2] = {1, 2}, grad[2] = {0.5, -0.5}, states[2][STATES][2];
    double carried[2] = {0.5, 0.5}, of_alone = 0.5;
    memset(states, 0, sizeof states);
    const fo_group group = decayed(rule);
    fo_tensor tensors[3] = {whole_of(&together), whole_of(&together), whole_of(&together)};
    tensors[0].n = 2;
    tensors[0].param = dense;
    tensors[0].grad = grad;
    tensors[0].carried = &carried[0];
    tensors[2].carried = &carried[1];
    for (int k = 0; k < STATES; k++)
        tensors[0].state[k] = states[0][k];
    tensors[1].grad = NULL;
    fo_sparse sparse[3] = {sparse_of(is_int64), sparse_of(is_int64), sparse_of(is_int64)};
    sparse[0].indices = NULL;
    CHECK(fo_step_sparse(&group, 1, tensors, sparse, 3, NULL, NULL) == FO_OK);

    tensors[0].param = alone;
    tensors[0].carried = &of_alone;
    for (int k = 0; k < STATES; k++)
        tensors[0].state[k] = states[1][k];
    CHECK(fo_step(&group, 1, tensors, 1, NULL, NULL) == FO_OK);
    CHECK(!memcmp(dense, alone, sizeof dense) && !memcmp(states[0], states[1], sizeof states[0]));
    double sum[N];
    for (int i = 0; i < N; i++)
        sum[i] = apart.grad[i] + apart.grad[2 * N + i];
    const double *const grads[3] = {sum, apart.grad + N, apart.grad + 3 * N};
    const int rows[3] = {3, 0, 4};
    for (int k = 0; k < 3; k++) {
        fo_tensor tensor = tensor_at(&apart, rows[k]);
        double of_row = 0.5;
        tensor.grad = grads[k];
        tensor.carried = &of_row;
        CHECK(fo_step(&group, 1, &tensor, 1, NULL, NULL) == FO_OK);
        CHECK(carried[1] == of_row);
    }
    CHECK(!memcmp(&together, &apart, sizeof apart));
    CHECK(carried[0] == of_alone);
}

typedef struct narrow_buffers {
    float param[ROWS * N];
    uint16_t copy[ROWS * N], state[2][ROWS * N], grad[GRADS * N];
} narrow_buffers;

/* Each buffer says its format, and the parameters have a copy in bfloat16. */
static void check_copy(void)
{
    static narrow_buffers together, apart;
    memset(&together, 0, sizeof together);
    for (int i = 0; i < GRADS * N; i++)
        together.grad[i] = (uint16_t)(0x3f80 + i % 50);
    apart = together;
    const fo_group group = decayed(FO_RULE_adam);
    fo_tensor tensor;
    memset(&tensor, 0, sizeof tensor);
    tensor.dtype = FO_MIXED;
    tensor.n = ROWS * N;
    tensor.param = together.param;
    tensor.grad = together.grad;
    tensor.grad_format = FO_BFLOAT16;
    tensor.state[0] = together.state[0];
    tensor.state[1] = together.state[1];
    tensor.state_format[0] = tensor.state_format[1] = FO_BFLOAT16;
    tensor.rounding = FO_STOCHASTIC;
    tensor.copy = together.copy;
    tensor.step = 7;
    tensor.seed = 5;
    tensor.position = 1000;
    const int32_t once[] = {4, 1};
    fo_sparse sparse = sparse_of(0);
    sparse.count = 2;
    sparse.indices = once;
    CHECK(fo_step_sparse(&group, 1, &tensor, &sparse, 1, NULL, NULL) == FO_OK);
    for (int k = 0; k < 2; k++) {
        const int first = once[k] * N;
        tensor.n = N;
        tensor.param = apart.param + first;
        tensor.grad = apart.grad + k * N;
        tensor.state[0] = apart.state[0] + first;
        tensor.state[1] = apart.state[1] + first;
        tensor.copy = apart.copy + first;
        tensor.position = 1000 + (uint64_t)first;
        CHECK(fo_step(&group, 1, &tensor, 1, NULL, NULL) == FO_OK);
    }
    CHECK(!memcmp(&together, &apart, sizeof apart));
    CHECK(together.copy[N] != 0 && together.state[1][N] != 0);
}

/* One format for all buffers, which is not that of the sums. */
static void check_one_narrow_format(void)
{
    uint16_t param[2][2] = {{0, 0}, {0, 0}}, grad[2][2] = {{0x3f80, 0x4000}, {0x3f80, 0x4000}};
    const int32_t twice[] = {1, 1};
    const fo_group group = decayed(FO_RULE_sgd);
    fo_tensor tensor;
    memset(&tensor, 0, sizeof tensor);
    tensor.dtype = FO_BFLOAT16;
    tensor.n = 4;
    tensor.param = param;
    tensor.grad = grad;
    const fo_sparse sparse = {2, 2, twice, 0, 0};
    CHECK(fo_step_sparse(&group, 1, &tensor, &sparse, 1, NULL, NULL) == FO_OK);
    CHECK(!param[0][0] && param[1][0] == 0xbe4d && param[1][1] == 0xbecd); /* -0.2, -0.4 */
}

static void check_that_nothing_is_written(void)
{
    static buffers before, now;
    fill(&now);
    before = now;
    fo_group group = decayed(FO_RULE_adam);
    const fo_tensor tensor = whole_of(&now);
    const fo_sparse sparse = sparse_of(1);
    const int64_t wrong[][GRADS] = {{0, 1, ROWS, 2}, {0, 1, -1, 2}, {0, 1, INT64_MIN, 2}};
    fo_result result;
    for (int k = 0; k < 3; k++) {
        fo_sparse bad = sparse;
        bad.indices = wrong[k];
        CHECK(fo_step_sparse(&group, 1, &tensor, &bad, 1, NULL, &result) == FO_BAD_INDEX);
        CHECK(result.tensor == 0 && result.group == 2);
        CHECK(fo_step_sparse(&group, 1, &tensor, &bad, 1, NULL, NULL) == FO_BAD_INDEX);
    }
    fo_sparse bad = sparse;
    bad.rows = 4;
    CHECK(fo_step_sparse(&group, 1, &tensor, &bad, 1, NULL, &result) == FO_BAD_TENSOR);
    bad.rows = 0;
    CHECK(fo_step_sparse(&group, 1, &tensor, &bad, 1, NULL, &result) == FO_BAD_TENSOR);
    fo_tensor lacking = tensor;
    lacking.state[1] = NULL;
    CHECK(fo_step_sparse(&group, 1, &lacking, &sparse, 1, NULL, &result) == FO_BAD_TENSOR);
    lacking = tensor;
    lacking.group = 1;
    CHECK(fo_step_sparse(&group, 1, &lacking, &sparse, 1, NULL, &result) == FO_BAD_TENSOR);
    lacking = tensor;
    lacking.step = 0;
    CHECK(fo_step_sparse(&group, 1, &lacking, &sparse, 1, NULL, &result) == FO_BAD_STEP);
    group.hyper.lr = -1;
    CHECK(fo_step_sparse(&group, 1, &tensor, &sparse, 1, NULL, &result) == FO_BAD_HYPER);
    group.hyper.lr = 0.1;
    const fo_options options = {NAN, 0, 0.0, 0};
    CHECK(fo_step_sparse(&group, 1, &tensor, &sparse, 1, &options, &result) == FO_BAD_OPTION);
    CHECK(fo_step_sparse_abi(FO_ABI + 1, &group, 1, &tensor, &sparse, 1, NULL, &result) ==
          FO_BAD_VERSION);
    CHECK(!memcmp(&before, &now, sizeof now));

    /* A sum for each row is Adagrad's alone, and goes with indices. */
    bad = sparse;
    bad.row_wise = 1;
    CHECK(fo_step_sparse(&group, 1, &tensor, &bad, 1, NULL, &result) == FO_BAD_TENSOR);
    const fo_group adagrad = group_of(FO_RULE_adagrad);
    bad.indices = NULL;
    CHECK(fo_step_sparse(&adagrad, 1, &tensor, &bad, 1, NULL, &result) == FO_BAD_TENSOR);
    CHECK(!memcmp(&before, &now, sizeof now));

    /* No tensors, no indices, no elements. */
    CHECK(fo_step_sparse(&group, 1, NULL, NULL, 0, NULL, &result) == FO_OK);
    bad = sparse;
    bad.count = 0;
    CHECK(fo_step_sparse(&group, 1, &tensor, &bad, 1, NULL, &result) == FO_OK);
    lacking = tensor;
    lacking.n = 0;
    CHECK(fo_step_sparse(&group, 1, &lacking, &sparse, 1, NULL, &result) == FO_OK);
    bad = sparse;
    bad.rows = 0;
    CHECK(fo_step_sparse(&group, 1, &lacking, &bad, 1, NULL, &result) == FO_BAD_INDEX);
    CHECK(!memcmp(&before, &now, sizeof now));
}

/* The norm of some rows is not that of the tensor, nor is the mean of a mask. */
static void check_that_all_rows_are_needed(fo_group group)
{
    static buffers before, now;
    fill(&now);
    before = now;
    double carried[2][FO_MAX_CARRIED] = {{0.5}, {0.5}};
    fo_tensor tensors[2] = {whole_of(&now), whole_of(&now)};
    for (int i = 0; i < 2; i++)
        tensors[i].carried = carried[i];
    fo_sparse sparse[2] = {sparse_of(1), sparse_of(1)};
    sparse[0].indices = NULL;
    fo_result result;
    CHECK(fo_step_sparse(&group, 1, tensors, sparse, 2, NULL, &result) == FO_NEEDS_WHOLE);
    CHECK(result.tensor == 1);
    CHECK(!memcmp(&before, &now, sizeof now) && carried[0][0] == 0.5 && carried[1][0] == 0.5);
}

int main(void)
{
    for (int rule = 0; rule < FO_RULE_COUNT; rule++) {
        if (fo_rule_takes_norms((fo_rule)rule)) {
            check_that_all_rows_are_needed(group_of((fo_rule)rule));
            continue;
        }
        for (int is_int64 = 0; is_int64 < 2; is_int64++)
            check_bits((fo_rule)rule, is_int64);
    }
    fo_group cautious = group_of(FO_RULE_nadam);
    cautious.hyper.cautious = 1;
    check_that_all_rows_are_needed(cautious);
    check_copy();
    check_one_narrow_format();
    check_that_nothing_is_written();
    return failures != 0;
}
