"""Cautious steps of the drop-in for torch's optimizers: those of the classes for NumPy arrays."""

import copy
import inspect

import numpy as np
import pytest
import torch
from torch_cases import NAMES, assert_equal, copied, make_params, ours, run, set_grads, theirs

import fastopt
from fastopt import RULES
from fastopt.integrations import torch as fast

# Settings of the drop-in; the rule that it then steps with, and the settings of that
CASES = [
    ("SGD", {"momentum": 0.9}, "momentum", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}, "nag", {"momentum": 0.9}),
    ("Adam", {"amsgrad": True}, "adam", {"amsgrad": True}),
    ("Adam", {"decoupled_weight_decay": True}, "adam", {"decoupled": True}),
    ("AdamW", {}, "adamw", {}),
    ("NAdam", {}, "nadam", {}),
]
KEYWORDS = {name: keywords for name, keywords, _, _ in CASES}
by_name = pytest.mark.parametrize("name", KEYWORDS)


def test_the_classes_whose_rule_can_be_cautious_take_it_last():
    taking = set()
    for name in fast.__all__:
        parameters = [*inspect.signature(getattr(fast, name)).parameters.values()]
        if "cautious" in [parameter.name for parameter in parameters]:
            assert parameters[-1].name == "cautious"
            assert parameters[-1].default is False
            assert parameters[-1].kind is inspect.Parameter.KEYWORD_ONLY
            taking.add(name)
    torch_s = {name for name in NAMES if name != "SGD" and "cautious" in rule_of(name).hypers}
    assert taking == {"SGD", *torch_s}


def rule_of(name):
    return RULES[name.lower()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "keywords", "rule", "settings"), CASES)
def test_the_bits_are_those_of_the_class_for_arrays(name, keywords, rule, settings, dtype):
    params, plain = make_params(dtype), make_params(dtype)
    arrays = [param.detach().numpy().copy() for param in params]
    shared = {"lr": 0.01, "weight_decay": 0.1}
    optimizer = ours(name, params, cautious=True, **shared, **keywords)
    without = ours(name, plain, **shared, **keywords)
    twin = fastopt.create(rule, arrays, cautious=True, **shared, **settings)
    for step in range(10):
        set_grads(params, step)
        set_grads(plain, step)
        grads = [param.grad.numpy().copy() for param in params]
        optimizer.step()
        without.step()
        twin.step(grads)
    for param, array, other in zip(params, arrays, plain, strict=True):
        np.testing.assert_array_equal(param.detach().numpy(), array, strict=True)
        assert param.dim() == 0 or not torch.equal(param, other)


@by_name
def test_without_it_groups_and_state_dictionary_are_those_of_torch(name):
    a, b = make_params(), make_params()
    own = ours(name, a, cautious=False, **KEYWORDS[name])
    other = theirs(name, b, **KEYWORDS[name])
    run(own, a, 2)
    run(other, b, 2)
    groups = own.state_dict()["param_groups"]
    other.param_groups[0]["foreach"] = None
    assert groups == other.state_dict()["param_groups"]


@by_name
@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
def test_a_copy_goes_on_cautiously(name, how):
    params = make_params()
    optimizer = ours(name, params, cautious=True, **KEYWORDS[name])
    run(optimizer, params, 3)
    assert optimizer.state_dict()["param_groups"][0]["cautious"] is True
    twin_params, twin = copied(how, params, optimizer)
    run(optimizer, params, 3, start=3)
    run(twin, twin_params, 3, start=3)
    assert_equal(params, twin_params)


@by_name
def test_a_dictionary_of_torch_leaves_it_as_it_is(name):
    params = make_params()
    optimizer = ours(name, params, cautious=True, **KEYWORDS[name])
    given, plain = make_params(), make_params()
    other, straight = (theirs(name, each, **KEYWORDS[name]) for each in (given, plain))
    optimizer.load_state_dict(copy.deepcopy(other.state_dict()))
    assert optimizer.param_groups[0]["cautious"] is True
    # torch takes the dictionary, and its steps are the plain ones.
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    run(other, given, 3)
    run(straight, plain, 3)
    assert_equal(given, plain)


@by_name
def test_groups_are_cautious_each_for_itself_and_may_change(name):
    params, plain, cautious = make_params(), make_params(), make_params()
    groups = [{"params": params[:2], "cautious": True}, {"params": params[2:]}]
    optimizer = ours(name, groups, **KEYWORDS[name])
    others = [
        ours(name, given, cautious=flag, **KEYWORDS[name])
        for given, flag in ((plain, False), (cautious, True))
    ]
    for each, given in zip((optimizer, *others), (params, plain, cautious), strict=True):
        run(each, given, 4)
    assert_equal(params, [*cautious[:2], *plain[2:]])
    optimizer.param_groups[0]["cautious"] = others[1].param_groups[0]["cautious"] = False
    run(optimizer, params, 4, start=4)
    run(others[1], cautious, 4, start=4)
    assert_equal(params[:2], cautious[:2])
    optimizer.add_param_group({"params": make_params(), "cautious": True})
    assert [group.get("cautious") for group in optimizer.param_groups] == [False, None, True]


def test_a_class_without_such_a_step_refuses_it():
    for name in set(NAMES) - KEYWORDS.keys():
        with pytest.raises(TypeError, match="cautious"):
            ours(name, make_params(), cautious=True)
        with pytest.raises(ValueError, match="cautious must be False"):
            ours(name, [{"params": make_params(), "cautious": True}])


def test_what_is_no_cautious_step_is_refused_before_anything_is_written():
    with pytest.raises(ValueError, match="give it a momentum; got True"):
        ours("SGD", make_params(), cautious=True)
    with pytest.raises(TypeError, match="cautious"):
        ours("Adam", make_params(), cautious=1)
    params = make_params()
    optimizer = ours("SGD", params, momentum=0.9, cautious=True)
    run(optimizer, params, 2)
    optimizer.param_groups[0]["momentum"] = 0
    before = copy.deepcopy(params)
    with pytest.raises(ValueError, match="give it a momentum"):
        optimizer.step()
    assert_equal(params, before)


@by_name
def test_a_sharded_parameter_is_refused(name, sharded):
    with pytest.raises(ValueError, match="cautious must be False for DTensors"):
        ours(name, [sharded], cautious=True, **KEYWORDS[name])
    optimizer = ours(name, [sharded], **KEYWORDS[name])
    sharded.grad = torch.ones_like(sharded)
    optimizer.step()
    before = sharded.detach().to_local().clone()
    optimizer.param_groups[0]["cautious"] = True
    with pytest.raises(ValueError, match="cautious must be False for DTensors"):
        optimizer.step()
    assert torch.equal(sharded.detach().to_local(), before)
