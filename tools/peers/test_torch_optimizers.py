"""Our drop-ins for torch's optimizers over the inputs of torch's own tests of them.

``torch.testing._internal.common_optimizers`` lists for each optimizer settings to be tested,
settings to be refused and schedulers to be tested with. Where torch steps, ours gives the same.
"""

import copy
import warnings

import pytest
import torch
from torch.testing._internal import common_optimizers as common

from fastopt.integrations import torch as fast

INFOS = [info for info in common.optim_db if info.name in fast.__all__]
# With their reasons in the integration's page
REFUSED = {"capturable", "differentiable"}
# Those that carry a number from step to step
NUMBERED = {"ASGD", "NAdam"}
DTYPES = [torch.float32, torch.float64, torch.bfloat16]
# In bfloat16 torch rounds in between, at each of the steps.
TOLERANCE = {
    torch.float32: {"rtol": 1e-4, "atol": 1e-6},
    torch.float64: {"rtol": 1e-9, "atol": 0},
    torch.bfloat16: {"rtol": 0.1, "atol": 0.1},
}


def inputs(info, dtype):
    """All settings, each also with foreach and fused."""
    return common._get_optim_inputs_including_global_cliquey_kwargs("cpu", dtype, info)


def is_refused(info, keywords):
    return any(keywords.get(name) for name in REFUSED)


CASES = [
    pytest.param(info, dtype, case.kwargs, id=f"{info.name}-{dtype}-{number}-{case.desc}")
    for info in INFOS
    for dtype in DTYPES
    for number, case in enumerate(inputs(info, dtype))
]
# The gradients here are dense.
STEPPED = [
    case
    for case in CASES
    if not (case.values[0].only_supports_sparse_grads or is_refused(case.values[0], case.values[2]))
]


def params(dtype):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype))
        for shape in ((10, 5), (10,), (), (0,))
    ]


def closure(optimizer, weights):
    weight, bias, scale, empty = weights

    def evaluate():
        optimizer.zero_grad()
        signal = torch.linspace(-1, 1, 5, dtype=weight.dtype)
        loss = ((weight @ signal + bias) * scale).pow(2).sum() + empty.sum()
        loss.backward()
        return loss

    return evaluate


def own_settings(keywords):
    """A learning rate that is a tensor is the test's; every optimizer gets its own."""
    return copy.deepcopy(keywords)


def torch_settings(keywords):
    """The unfused step, which is torch's reference for its others."""
    return {**copy.deepcopy(keywords), "foreach": False} | {
        name: False for name in ("fused",) if name in keywords
    }


@pytest.fixture(autouse=True)
def numbers_in_double(request):
    """Those that torch keeps beside the states in its default dtype: its own rounding of them to
    float32 would hide what is compared in float64."""
    parameters = getattr(getattr(request.node, "callspec", None), "params", {})
    wide = parameters.get("dtype", torch.float64) is torch.float64
    if wide and "info" in parameters and parameters["info"].name in NUMBERED:
        torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def both(info, dtype, keywords, use):
    """Use both libraries' optimizer in the same way; all that they leave is the same."""
    left = []
    for library, settings in ((fast, own_settings), (torch.optim, torch_settings)):
        weights = params(dtype)
        optimizer = getattr(library, info.name)(weights, **settings(keywords))
        use(optimizer, weights)
        left.append((weights, optimizer.state_dict()["state"]))
    for own, other in zip(left[0][0], left[1][0], strict=True):
        # Some of the settings ascend until nothing is finite.
        torch.testing.assert_close(own, other, **TOLERANCE[dtype], equal_nan=True)
    assert left[0][1].keys() == left[1][1].keys()
    for index, entry in left[1][1].items():
        # torch casts its numbers beside the states, too, when it loads them.
        how = {"check_dtype": dtype is not torch.bfloat16, "equal_nan": True}
        torch.testing.assert_close(left[0][1][index], entry, **TOLERANCE[dtype], **how)


def test_torch_lists_every_class():
    assert {info.name for info in INFOS} == {
        name for name in fast.__all__ if hasattr(torch.optim, name)
    }
    assert len(STEPPED) > 100


@pytest.mark.parametrize(("info", "dtype", "keywords"), STEPPED)
def test_steps_and_state_are_those_of_torch(info, dtype, keywords):
    def use(optimizer, weights):
        for _ in range(10):
            optimizer.step(closure(optimizer, weights))

    both(info, dtype, keywords, use)


@pytest.mark.parametrize(("info", "dtype", "keywords"), STEPPED)
def test_a_loaded_state_goes_on(info, dtype, keywords):
    def use(optimizer, weights):
        for _ in range(4):
            optimizer.step(closure(optimizer, weights))
        state = copy.deepcopy(optimizer.state_dict())
        other = type(optimizer)(weights, **own_settings(keywords))
        other.load_state_dict(state)
        for _ in range(4):
            other.step(closure(other, weights))
        optimizer.load_state_dict(other.state_dict())

    both(info, dtype, keywords, use)


@pytest.mark.parametrize(
    ("info", "dtype", "keywords"),
    [case for case in CASES if is_refused(case.values[0], case.values[2])],
)
def test_what_the_page_says_is_refused(info, dtype, keywords):
    with pytest.raises(ValueError, match=r"must be (0|False)"):
        getattr(fast, info.name)(params(dtype), **own_settings(keywords))


ERRORS = [
    pytest.param(info, error, id=f"{info.name}-{error.optimizer_error_input.desc}")
    for info in INFOS
    for error in info.optim_error_inputs_func("cpu", torch.float32)
]


@pytest.mark.parametrize(("info", "error"), ERRORS)
def test_what_torch_refuses_is_refused_with_its_words(info, error):
    case = error.optimizer_error_input
    weights = params(torch.float32) if case.params is None else case.params
    expected = error.error_type

    def make():
        return getattr(fast, info.name)(weights, **own_settings(case.kwargs))

    assert error.error_on is common.OptimizerErrorEnum.CONSTRUCTION_ERROR
    if issubclass(expected, Warning):
        with pytest.warns(expected, match=error.error_regex):
            make()
    else:
        with pytest.raises(expected, match=error.error_regex):
            make()


SCHEDULES = [
    pytest.param(info, constructors, id=f"{info.name}-{number}")
    for info in INFOS
    if not info.only_supports_sparse_grads
    for number, constructors in enumerate(info.scheduler_inputs)
]


@pytest.mark.parametrize(("info", "constructors"), SCHEDULES)
def test_schedulers_drive_it_as_torch_s(info, constructors):
    def use(optimizer, weights):
        schedulers = [constructor(optimizer) for constructor in constructors]
        for _ in range(30):
            loss = optimizer.step(closure(optimizer, weights))
            for scheduler in schedulers:
                if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
                    scheduler.step(loss)
                else:
                    scheduler.step()

    with warnings.catch_warnings():
        # Chained schedulers of these inputs overwrite each other's rates, and torch says so.
        warnings.simplefilter("ignore")
        both(info, torch.float64, {"lr": 0.01}, use)
