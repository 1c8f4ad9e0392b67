"""Cases and steps for the tests of the drop-in for torch's optimizers."""

import copy
import io
import itertools
import pickle

import pytest
import torch

from fastopt.integrations import torch as fast

# Of torch's classes all but SparseAdam, which takes no gradients such as these
NAMES = [name for name in fast.__all__ if name != "SparseAdam" and hasattr(torch.optim, name)]

# Between results that differ only by the order of roundings, after 50 steps in float64
RTOL = 1e-12

COMMON = {"lr": (0.01,), "weight_decay": (0.0, 0.03), "maximize": (False, True)}
CASES = {
    "SGD": [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.3},
        {"momentum": 0.9, "nesterov": True},
    ],
    "Adagrad": [{}, {"lr_decay": 0.07}, {"initial_accumulator_value": 0.2}, {"eps": 1e-3}],
    "Adadelta": [{}, {"rho": 0.7, "eps": 1e-3}],
    "Adam": [
        {},
        {"amsgrad": True},
        {"betas": (0.5, 0.7), "eps": 1e-3},
        {"decoupled_weight_decay": True},
    ],
    "AdamW": [{}, {"amsgrad": True}, {"betas": (0.5, 0.7), "eps": 1e-3}],
    "Adamax": [{}, {"betas": (0.5, 0.7), "eps": 1e-3}],
    "RAdam": [
        {},
        {"betas": (0.5, 0.7), "eps": 1e-3},
        {"decoupled_weight_decay": True},
    ],
    "ASGD": [
        {},
        {"lambd": 0.1, "alpha": 0.5},
        {"t0": 20, "lambd": 0.03},
    ],
    "NAdam": [
        {},
        {"betas": (0.5, 0.7), "eps": 1e-3, "momentum_decay": 0.03},
        {"decoupled_weight_decay": True},
    ],
    "RMSprop": [
        {},
        {"alpha": 0.7, "eps": 1e-3},
        {"momentum": 0.9},
        {"centered": True},
        {"momentum": 0.5, "centered": True},
    ],
    "Rprop": [{}, {"etas": (0.3, 1.5), "step_sizes": (1e-3, 0.1)}],
}


def common(name):
    """Values of the settings that most classes have."""
    return {key: COMMON[key] for key in COMMON if key != "weight_decay" or name != "Rprop"}


def variants():
    for name, extras in CASES.items():
        for extra in extras:
            shared = common(name)
            for values in itertools.product(*shared.values()):
                keywords = {**dict(zip(shared, values, strict=True)), **extra}
                yield pytest.param(name, keywords, id=f"{name}-{keywords}")


def ours(name, params, **keywords):
    return getattr(fast, name)(params, **keywords)


def theirs(name, params, **keywords):
    return getattr(torch.optim, name)(params, foreach=False, **keywords)


def copied(how, params, optimizer):
    """A copy of parameters and optimizer; "torch.save" writes and loads the state dictionary."""
    if how == "deepcopy":
        return copy.deepcopy((params, optimizer))
    if how == "pickle":
        return pickle.loads(pickle.dumps((params, optimizer)))
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    twin_params = copy.deepcopy(params)
    twin = type(optimizer)(twin_params)
    twin.load_state_dict(torch.load(file))
    return twin_params, twin


def assert_a_copy_goes_on_identically(how, params, optimizer):
    """The copy, with its parameters, and both with ten steps."""
    run(optimizer, params, 5)
    twin_params, twin = copied(how, params, optimizer)
    run(optimizer, params, 5, start=5)
    assert not torch.equal(params[0], twin_params[0])
    run(twin, twin_params, 5, start=5)
    assert_equal(params, twin_params)
    return twin_params, twin


def handed_over(name, keywords, first, second):
    """Seven steps of `first`, and seven more of `second` with its state dictionary; and fourteen of
    `second` alone. Of each, optimizer and parameters."""
    a, b = make_params(), make_params()
    before, straight = first(name, a, **keywords), second(name, b, **keywords)
    run(before, a, 7)
    after = second(name, a, lr=0.5)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    run(after, a, 7, start=7)
    run(straight, b, 14)
    return (after, a), (straight, b)


def assert_hooks_run_around_a_closure(optimizer, params):
    """Which is evaluated with gradients, and whose loss the step returns."""
    calls = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))

    def closure():
        optimizer.zero_grad()
        loss = sum((param**2).sum() for param in params)
        loss.backward()
        calls.append("closure")
        return loss

    expected = sum((param**2).sum() for param in params).item()
    assert optimizer.step(closure).item() == expected
    assert calls == ["before", "closure", "after"]


def make_params(dtype=torch.float64, shapes=((7,), (3, 5), (), (2, 3, 4))):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in shapes
    ]


def set_grads(params, step):
    """The gradients of a bowl, with noise, the same for equal parameters."""
    generator = torch.Generator().manual_seed(step)
    for param in params:
        noise = torch.randn(param.shape, generator=generator, dtype=param.dtype)
        param.grad = param.detach() + noise


def run(optimizer, params, steps, start=0):
    for step in range(start, start + steps):
        set_grads(params, step)
        optimizer.step()


def assert_close(a, b, rtol=RTOL):
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=rtol, atol=rtol * 1e-2)


def assert_equal(a, b):
    for x, y in zip(a, b, strict=True):
        assert torch.equal(x, y)


def first_variant(name):
    first = {key: values[-1] for key, values in common(name).items() if key != "maximize"}
    return {**first, **CASES[name][-1]}
