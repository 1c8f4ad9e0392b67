"""The classes agree with the unfused optimizers of torch, in float64, to 1e-12 relative."""

from inspect import signature

import numpy as np
import pytest
import torch
from cases import RULES, class_of, class_variants, numbers
from test_optax import OPTAX

import fastopt

STEPS = 50
SHAPES = ((7,), (3, 5), (1,), ())
RTOL = 1e-12

# Where torch's optimizer is another class, and what to call its keywords
TORCH = {
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {}),
    "nag": ("SGD", {"nesterov": True}),
    "adagrad": ("Adagrad", {}),
    "adadelta": ("Adadelta", {}),
    "adam": ("Adam", {}),
    "adamw": ("AdamW", {}),
    "rmsprop": ("RMSprop", {}),
    "adamax": ("Adamax", {}),
    "radam": ("RAdam", {}),
    "rprop": ("Rprop", {}),
    "nadam": ("NAdam", {}),
    "asgd": ("ASGD", {}),
}
each_rule = pytest.mark.parametrize(
    "rule", [rule for rule in RULES if rule.name in TORCH], ids=lambda rule: rule.name
)
# RAdam's rho is a difference of numbers near 2/(1-beta2): the default 0.999 costs it four digits
WELL_CONDITIONED = {"radam": {"beta2": 0.9}}
# For which torch has no keyword: cautious steps, and conventions of other libraries
ONLY_OURS = {"cautious", "eps_hat", "eps_inside"}
# The rules besides AdamW whose decay may be decoupled in torch, too
DECOUPLED_IN_TORCH = {"adam", "radam", "nadam"}


def torch_keywords(rule, keywords):
    """The same hyper-parameters as torch's keywords, or None if torch lacks one of them."""
    keywords = dict(keywords)
    if any(keywords.pop(name, False) for name in ONLY_OURS):
        return None
    if keywords.pop("decoupled", False):
        if rule.name not in DECOUPLED_IN_TORCH:
            return None
        keywords["decoupled_weight_decay"] = True
    if rule.name == "rprop":
        if keywords.pop("weight_decay"):
            return None
        keywords["etas"] = (keywords.pop("eta_minus"), keywords.pop("eta_plus"))
        keywords["step_sizes"] = (keywords.pop("step_size_min"), keywords.pop("step_size_max"))
    if "beta1" in keywords:
        keywords["betas"] = (keywords.pop("beta1"), keywords.pop("beta2"))
    return {**keywords, **TORCH[rule.name][1]}


CASES = [
    pytest.param(rule, {**keywords, **WELL_CONDITIONED.get(rule.name, {})}, id=f"{rule.name}-{i}")
    for rule in RULES
    if rule.name in TORCH
    for i, keywords in enumerate(class_variants(rule))
    if torch_keywords(rule, keywords) is not None
]


def starting_params():
    return [
        numbers(i, int(np.prod(shape)), np.float64).reshape(shape) for i, shape in enumerate(SHAPES)
    ]


def gradients(step, params):
    """The gradients of a bowl, with noise, so that averages neither vanish nor explode."""
    return [
        np.add(p, numbers(100 + 10 * step + i, p.size, np.float64).reshape(p.shape), out=p.copy())
        for i, p in enumerate(params)
    ]


@pytest.fixture(autouse=True)
def numbers_in_double():
    """The numbers that torch keeps as tensors beside the states, such as NAdam's product."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def torch_optimizer(rule, params, keywords):
    optimizer = getattr(torch.optim, TORCH[rule.name][0])
    unfused = {"fused": False} if "fused" in signature(optimizer).parameters else {}
    return optimizer(params, foreach=False, **unfused, **torch_keywords(rule, keywords))


def assert_fifty_steps_agree(rule, keywords, max_norm=None):
    ours = starting_params()
    theirs = [torch.tensor(p, requires_grad=True) for p in starting_params()]
    optimizer = class_of(rule)(ours, **keywords)
    reference = torch_optimizer(rule, theirs, keywords)
    for step in range(STEPS):
        grads = gradients(step, [t.detach().numpy().copy() for t in theirs])
        for t, g in zip(theirs, grads, strict=True):
            t.grad = torch.from_numpy(g.copy())
        norm = optimizer.step(grads, max_norm=max_norm)
        if max_norm is not None:
            expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, foreach=False)
            assert norm == pytest.approx(float(expected), rel=RTOL, abs=0)
        reference.step()
    for mine, its, start in zip(ours, theirs, starting_params(), strict=True):
        np.testing.assert_allclose(mine, its.detach().numpy(), rtol=RTOL, atol=0)
        assert (mine != start).all()


@pytest.mark.parametrize(("rule", "keywords"), CASES)
def test_fifty_steps_agree_with_torch(rule, keywords):
    assert_fifty_steps_agree(rule, keywords)


def test_every_rule_and_flag_that_torch_has_is_compared():
    assert set(TORCH) == set(fastopt.RULES) - set(OPTAX)
    assert {case.values[0].name for case in CASES} == set(TORCH)
    amsgrad = [case for case in CASES if case.values[1].get("amsgrad")]
    assert {case.values[0].name for case in amsgrad} == {"adam", "adamw"}


@pytest.mark.parametrize("max_norm", [1e-3, 0.7, 1.0, 1e3])
@each_rule
def test_clipped_steps_agree_with_torch(rule, max_norm):
    first = next(case.values[1] for case in CASES if case.values[0] is rule)
    assert_fifty_steps_agree(rule, first, max_norm)


@each_rule
def test_the_defaults_are_those_of_torch(rule):
    theirs = getattr(torch.optim, TORCH[rule.name][0])
    defaults = theirs([torch.zeros(1)]).defaults
    if "betas" in defaults:
        defaults["beta1"], defaults["beta2"] = defaults["betas"]
    if "etas" in defaults:
        defaults["eta_minus"], defaults["eta_plus"] = defaults["etas"]
        defaults["step_size_min"], defaults["step_size_max"] = defaults["step_sizes"]
    ours = {name: value for name, value in rule.class_hypers.items() if value is not None}
    shared = ours.keys() & defaults.keys()
    assert {"maximize", *(defaults.keys() & {"weight_decay"})} <= shared
    for name in shared:
        value = ours[name]
        if name == "momentum" and rule.name != "rmsprop":
            # torch's SGD is all three rules; ours are named after their momentum
            assert value == 0.9
        else:
            assert value == defaults[name], name


@pytest.mark.parametrize("position", [0, 1])
def test_a_tensor_is_not_an_array(position):
    for tensor in (
        torch.zeros(4),
        torch.zeros(4, requires_grad=True),
        torch.zeros(4).to_sparse(),
        torch.zeros(4, device="meta"),  # as on a GPU: its memory is not here
    ):
        arrays = [np.ones(4, np.float32), np.ones(4, np.float32)]
        arrays[position] = tensor
        with pytest.raises(TypeError, match=("param", "grad")[position]):
            fastopt.sgd(*arrays, lr=0.1)


def test_memory_shared_with_a_tensor_is_stepped():
    tensor = torch.ones(5, dtype=torch.float64)
    fastopt.sgd(tensor.numpy(), np.full(5, 2.0), lr=0.25)
    assert tensor.tolist() == [0.5] * 5


def test_tensors_are_sent_to_the_optimizers_of_tensors():
    words = r"params\[0\] must be a numpy.ndarray, got Parameter; fastopt.integrations.torch has"
    with pytest.raises(TypeError, match=words):
        fastopt.Adam(torch.nn.Linear(2, 3).parameters())
