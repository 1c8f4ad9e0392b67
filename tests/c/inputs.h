/* What programs step: a group of a rule with its defaults, and a tensor of float64. */
#include <fastopt.h>

#include <string.h>

static fo_group group_of(fo_rule rule)
{
    fo_group group;
    group.rule = rule;
    group.hyper = fo_defaults(rule);
    group.hyper.lr = 0.1;
    return group;
}

/* The k-th state begins at states + k*apart. */
static fo_tensor float64_tensor(size_t n, double *param, double *grad, double *states, size_t apart)
{
    fo_tensor tensor;
    memset(&tensor, 0, sizeof tensor);
    tensor.dtype = FO_FLOAT64;
    tensor.n = n;
    tensor.param = param;
    tensor.grad = grad;
    for (size_t k = 0; k < FO_MAX_STATES; k++)
        tensor.state[k] = states + k * apart;
    tensor.step = 1;
    return tensor;
}
