/* Tensors that share a group, of which only some have an optional state: each is stepped as if it were alone. C and
 * C++. */
#include "check.h"

#include <fastopt.h>

#include <string.h>

enum { N = 300, BLOCKS = (N + (int)FO_BLOCK - 1) / (int)FO_BLOCK };

typedef union state {
    uint16_t halves[N];
    fo_block8 blocks[BLOCKS];
} state;

typedef struct buffers {
    float param[N];
    state states[3];
} buffers;

static float grad[N];

static fo_tensor tensor_of(buffers *b, fo_format format, int states)
{
    fo_tensor tensor;
    memset(&tensor, 0, sizeof tensor);
    tensor.dtype = FO_MIXED;
    tensor.n = N;
    tensor.param = b->param;
    tensor.grad = grad;
    tensor.step = 1;
    for (int k = 0; k < 3; k++)
        tensor.state_format[k] = format;
    for (int k = 0; k < states; k++)
        tensor.state[k] = &b->states[k];
    return tensor;
}

static void check_format(fo_format format)
{
    static const int states[] = {2, 3, 2};
    const fo_group group = {FO_RULE_adam, fo_defaults(FO_RULE_adam)};
    static buffers together[3], apart[3];
    fo_tensor tensors[3];
    memset(together, 0, sizeof together);
    memset(apart, 0, sizeof apart);
    for (int i = 0; i < 3; i++) {
        tensors[i] = tensor_of(&apart[i], format, states[i]);
        CHECK(fo_step(&group, 1, &tensors[i], 1, NULL, NULL) == FO_OK);
        tensors[i] = tensor_of(&together[i], format, states[i]);
    }
    CHECK(fo_step(&group, 1, tensors, 3, NULL, NULL) == FO_OK);
    CHECK(!memcmp(together, apart, sizeof apart));
}

int main(void)
{
    for (int i = 0; i < N; i++)
        grad[i] = 0.25f * (float)(1 + i % 5);
    check_format(FO_BFLOAT16);
    check_format(FO_BLOCK8);
    return failures != 0;
}
