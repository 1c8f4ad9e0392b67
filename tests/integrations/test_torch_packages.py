"""Optimizers that torch does not have: the steps of the classes for arrays, and torch's manners.

`tools/peers.sh packages` compares them with the optimizers of the packages.
"""

import contextlib
import copy
import inspect
import math

import numpy as np
import pytest
import torch
from package_cases import CASES, as_array, for_arrays, ours, rule_of, twin_of
from torch_cases import (
    assert_a_copy_goes_on_identically,
    assert_close,
    assert_equal,
    assert_hooks_run_around_a_closure,
    make_params,
    run,
    set_grads,
)

from fastopt.integrations import torch as fast
from fastopt.integrations.torch import storage

VARIANTS = [
    pytest.param(name, keywords, id=f"{name}-{keywords}")
    for name, variants in CASES.items()
    for keywords in variants
]
each_variant = pytest.mark.parametrize(("name", "keywords"), VARIANTS)
each_name = pytest.mark.parametrize("name", CASES)
# Dtypes of parameters, and how they and the states are stored
WAYS = [
    (torch.float32, {}),
    (torch.float64, {}),
    (torch.bfloat16, {"state_format": "float32", "rounding": "nearest"}),
    (torch.bfloat16, {"state_format": "bfloat16", "rounding": "stochastic", "seed": 7}),
    (torch.bfloat16, {"state_format": "bfloat16", "master_weights": True}),
    (torch.float16, {"state_format": "float32"}),
    (torch.float32, {"state_format": "block8", "seed": 3}),
]
each_way = pytest.mark.parametrize(("dtype", "way"), WAYS, ids=str)
# Settings for which there is no step, or that are no settings
WRONG = {
    "Lion": [
        ({"corrected_weight_decay": True}, "corrected_weight_decay must be False, got True"),
        ({"betas": (0.9, 1.0)}, "beta2 must be"),
        ({"betas": 0.9}, "betas must be two numbers, got 0.9"),
    ],
    "ADOPT": [
        ({"clip_exp": 0.333}, "clip_exp must be 0.25, got 0.333"),
        ({"clip_exp": None}, "clip_exp must be 0.25, got None"),
        ({"caution": True}, "caution must be False, got True"),
        ({"corrected_weight_decay": True}, "corrected_weight_decay must be False, got True"),
        ({"capturable": True}, "capturable must be False"),
        ({"differentiable": True}, "differentiable must be False"),
        ({"betas": (0.9, 1.0)}, "beta2 must be"),
    ],
    "AdEMAMix": [
        ({"weight_decay": 0.1, "weight_decouple": False}, "weight_decouple must be True with a"),
        ({"fixed_decay": True}, "fixed_decay must be False, got True"),
        ({"betas": (0.9, 0.999)}, "betas must be three numbers, got"),
        ({"betas": (0.9, 0.999, 1.0)}, "beta3 must be"),
        ({"alpha": -1.0}, "alpha must be >= 0, got -1.0"),
        ({"t_alpha_beta3": 0}, "t_alpha_beta3 must be None, or above 0"),
        (
            {"t_alpha_beta3": 9, "betas": (0.0, 0.9, 0.99)},
            r"with betas\[0\] and betas\[2\] between 0 and 1",
        ),
    ],
    "StableAdamW": [
        ({"weight_decouple": False}, "weight_decouple must be True with a weight_decay"),
        ({"betas": (0.9, 1.0)}, "beta2 must be"),
        ({"eps": -1.0}, "eps must be"),
    ],
    "LAMB": [
        ({"bias_correction": False}, "bias_correction must be True, got False"),
        ({"grad_averaging": False}, "grad_averaging must be True, got False"),
        ({"trust_clip": True}, "trust_clip must be False, got True"),
        ({"caution": True}, "caution must be False, got True"),
        ({"decoupled_decay": True}, "decoupled_decay must be False, got True"),
        ({"corrected_weight_decay": True}, "corrected_weight_decay must be False, got True"),
        ({"max_grad_norm": -1.0}, "max_grad_norm must be (None or >= 0|the same in all groups)"),
    ],
    "LARS": [
        ({"dampening": 0.1}, "dampening must be 0, got 0.1"),
        ({"nesterov": True}, "nesterov must be False, got True"),
        ({"trust_clip": True}, "trust_clip must be False, got True"),
        ({"trust_coeff": -1.0}, "trust_coeff must be >= 0, got -1.0"),
        ({"momentum": 1.0}, "momentum must be"),
    ],
    "ScheduleFreeAdamW": [
        ({"betas": (0.0, 0.9)}, r"betas\[0\] must be above 0, got 0"),
        ({"warmup_steps": -1}, "warmup_steps must be"),
        ({"r": math.inf}, "r must be finite"),
        ({"weight_lr_power": "2"}, "weight_lr_power must be a number"),
    ],
    "ScheduleFreeSGD": [
        ({"momentum": 0.0}, "momentum must be above 0, got 0"),
        ({"momentum": 1.0}, "momentum must be"),
        ({"r": True}, "r must be a number"),
    ],
}
each_wrong = pytest.mark.parametrize(
    ("name", "keywords", "words"),
    [
        pytest.param(name, keywords, words, id=f"{name}-{keywords}")
        for name, cases in WRONG.items()
        for keywords, words in [
            *cases,
            ({"lr": -1.0}, "lr must be"),
            ({"lr": 1e39}, "lr must be a number that float32 can hold"),
            ({"weight_decay": -0.1}, "weight_decay must be"),
            ({"state_format": "int8"}, "state_format must be"),
        ]
    ],
)


@pytest.fixture(autouse=True)
def not_warned_yet(monkeypatch):
    monkeypatch.setattr(storage, "_warned", {"loss"})


def states_of(optimizer, param):
    """In the order of the rule."""
    (group, *_) = optimizer.param_groups
    names = optimizer._state_names(optimizer._rule(group), group)
    return [optimizer.state[param][name] for name in names]


@contextlib.contextmanager
def refused(params, optimizer, error, words):
    """The error of what is within, which changes nothing."""
    before = copy.deepcopy((params, optimizer.state_dict()))
    with pytest.raises(error, match=words):
        yield
    assert_equal(params, before[0])
    saved = optimizer.state_dict()
    assert saved["param_groups"] == before[1]["param_groups"]
    assert saved["state"].keys() == before[1]["state"].keys()
    for index, entry in before[1]["state"].items():
        assert_equal(saved["state"][index].values(), entry.values())


def test_every_class_that_torch_lacks_is_tested():
    lacking = {name for name in fast.__all__ if not hasattr(torch.optim, name)}
    assert {*CASES} == {*WRONG} == lacking - {"Prodigy"}


# the steps


@each_way
@each_variant
def test_the_bits_are_those_of_the_class_for_arrays(name, keywords, dtype, way):
    params, rule = make_params(dtype), rule_of(name)
    arrays = [as_array(param) for param in params]
    groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.03}]
    optimizer = ours(name, groups, **keywords, **way)
    groups = [{"params": arrays[:2]}, {"params": arrays[2:], "lr": 0.03}]
    twin = twin_of(name, groups, keywords, **way)
    for step in range(20):
        set_grads(params, step)
        grads = [as_array(param.grad) for param in params]
        optimizer.step()
        twin.step([grads[:2], grads[2:]])
    for param, array, entry in zip(params, arrays, twin.state, strict=True):
        assert as_array(param).tobytes() == array.tobytes()
        for own, state in zip(states_of(optimizer, param), rule.states, strict=True):
            assert as_array(own).tobytes() == entry[state].tobytes()
    assert not torch.equal(params[0], make_params(dtype)[0])


@each_name
def test_by_default_narrow_states_have_the_dtype_of_their_parameters(name):
    for dtype in (torch.bfloat16, torch.float16):
        params = make_params(dtype)
        optimizer = ours(name, params, rounding="nearest")
        run(optimizer, params, 3)
        found = {state.dtype for param in params for state in states_of(optimizer, param)}
        assert found == {dtype}
        assert all(param.isfinite().all() for param in params)


@each_variant
@pytest.mark.parametrize("tensor_lr", [False, True])
def test_a_scheduler_changes_the_rate_of_the_step(name, keywords, tensor_lr):
    params = make_params()
    arrays = [as_array(param) for param in params]
    lr = torch.tensor(0.05, dtype=torch.float64) if tensor_lr else 0.05
    optimizer = ours(name, params, **{**keywords, "lr": lr})
    twin = twin_of(name, arrays, keywords)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=5)
    for step in range(8):
        twin.lr = float(optimizer.param_groups[0]["lr"])
        set_grads(params, step)
        twin.step([as_array(param.grad) for param in params])
        optimizer.step()
        schedule.step()
    for param, array in zip(params, arrays, strict=True):
        assert as_array(param).tobytes() == array.tobytes()
    assert twin.lr == pytest.approx(0.05)


@each_name
def test_hooks_run_and_the_closure_is_evaluated_with_gradients(name):
    params = make_params()
    optimizer = ours(name, params)
    assert_hooks_run_around_a_closure(optimizer, params)
    first = copy.deepcopy(params)
    # The first step of ADOPT moves nothing.
    optimizer.step()
    assert not torch.equal(params[0], first[0])


@each_variant
def test_groups_are_stepped_as_if_alone(name, keywords):
    together, alone = make_params(), make_params()
    optimizer = ours(name, together[:2], **keywords)
    optimizer.add_param_group({"params": together[2:], "lr": 0.03})
    others = [ours(name, alone[:2], **keywords), ours(name, alone[2:], **{**keywords, "lr": 0.03})]
    for step in range(5):
        set_grads(together, step)
        set_grads(alone, step)
        for each in (optimizer, *others):
            each.step()
    assert_equal(together, alone)


@each_variant
def test_a_parameter_without_gradient_is_left_alone(name, keywords):
    params, alone = make_params(), make_params()
    optimizer, other = ours(name, params, **keywords), ours(name, alone[1:], **keywords)
    for step in range(5):
        set_grads(params, step)
        set_grads(alone, step)
        params[0].grad = None
        optimizer.step()
        other.step()
    assert_equal(params, [make_params()[0], *alone[1:]])


each_that_counts_by_group = pytest.mark.parametrize(
    "name", [name for name in CASES if getattr(fast, name)._counted_by_group]
)


@each_that_counts_by_group
def test_what_another_thread_steps_with_is_left_alone(name):
    params = make_params()
    optimizer = ours(name, params)
    run(optimizer, params, 2)
    optimizer.param_groups[0][optimizer._counted_by_group] = 40
    tensors = optimizer._plan.tensors
    before = copy.deepcopy((tensors.steps, optimizer._plan.carried))
    with tensors, pytest.raises(RuntimeError, match="another thread is in the middle of a step"):
        optimizer.step()
    assert (tensors.steps, optimizer._plan.carried) == before
    optimizer.step()
    assert set(tensors.steps) == {41}


@each_that_counts_by_group
def test_a_group_counts_the_steps_of_all_its_parameters(name):
    """Also of one that has no gradient yet, as the packages do."""
    params, keywords, rule = make_params(), CASES[name][0], rule_of(name)
    optimizer = ours(name, [{"params": params[:2]}, {"params": params[2:]}], **keywords)
    for step in range(5):
        set_grads(params, step)
        if step < 4:
            params[0].grad = params[2].grad = params[3].grad = None
        before = copy.deepcopy(optimizer.param_groups)
        optimizer.step()
    hypers = for_arrays(name, keywords)
    arguments = {key: hypers[key] for key in hypers.keys() & rule.hypers.keys()} | {"step": 5}
    for param, start in zip(params, make_params(), strict=True):
        if param is not params[1]:
            array = as_array(start)
            if rule.carried:
                arguments[rule.carried] = np.array(before[0][rule.carried])
            states = [np.zeros_like(array) for _ in rule.states]
            rule.function(array, as_array(param.grad), *states, **arguments)
            assert as_array(param).tobytes() == array.tobytes()
    assert [group[optimizer._counted_by_group] for group in optimizer.param_groups] == [5, 5]


@each_variant
def test_other_layouts_are_stepped_as_the_contiguous_one(name, keywords):
    plain, permuted = make_params(shapes=[(2, 3, 4, 5)]), make_params(shapes=[(2, 3, 4, 5)])
    permuted[0].data = permuted[0].data.to(memory_format=torch.channels_last)
    for params in (plain, permuted):
        run(ours(name, params, **keywords), params, 5)
    # Norms are summed in the order of memory.
    torch.testing.assert_close(plain[0], permuted[0], rtol=1e-12, atol=0)


# copies and state dictionaries


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
@each_way
@each_variant
def test_a_copy_goes_on_identically(name, keywords, dtype, way, how):
    params = make_params(dtype)
    optimizer = ours(name, params, **keywords, **way)
    twin_params, twin = assert_a_copy_goes_on_identically(how, params, optimizer)
    assert optimizer.state_dict()["param_groups"] == twin.state_dict()["param_groups"]
    for param, other in zip(params, twin_params, strict=True):
        entry, expected = optimizer.state[param], twin.state[other]
        assert entry.keys() == expected.keys()
        assert_equal(entry.values(), expected.values())


@each_name
def test_what_a_dictionary_lacks_stays_as_it_is(name):
    """Those of other versions of a package lack settings, and all lack fastopt's keywords."""
    params = make_params(torch.float32)
    optimizer = ours(name, params, state_format="bfloat16")
    run(optimizer, params, 2)
    saved = copy.deepcopy(optimizer.state_dict())
    for lacking in ("state_format", "master_weights", "rounding", "seed", "foreach"):
        saved["param_groups"][0].pop(lacking, None)
    optimizer.load_state_dict(saved)
    run(optimizer, params, 1)
    assert optimizer.param_groups[0]["state_format"] == "bfloat16"
    assert optimizer.param_groups[0].get("foreach") is optimizer.defaults.get("foreach")
    found = {state.dtype for param in params for state in states_of(optimizer, param)}
    assert found == {torch.bfloat16}


# what is refused


@each_wrong
def test_what_is_not_supported_is_refused(name, keywords, words):
    """At construction, in a group that is added, in a group that is changed."""
    with pytest.raises((TypeError, ValueError), match=words):
        ours(name, make_params(torch.float32), **keywords)
    params = make_params(torch.float32)
    optimizer = ours(name, params[:1])
    run(optimizer, params[:1], 2)
    with pytest.raises((TypeError, ValueError), match=words):
        optimizer.add_param_group({"params": params[1:], **keywords})
    assert len(optimizer.param_groups) == 1
    optimizer.param_groups[0].update(keywords)
    with refused(params, optimizer, (TypeError, ValueError), words):
        optimizer.step()


@each_name
def test_sparse_gradients_are_refused_and_nothing_is_written(name):
    params = make_params()
    optimizer = ours(name, params)
    run(optimizer, params, 2)
    params[1].grad = params[1].grad.to_sparse()
    with refused(params, optimizer, RuntimeError, f"{name} does not support sparse gradients"):
        optimizer.step()


@each_name
def test_a_refused_first_step_leaves_nothing_behind(name):
    params = make_params()
    optimizer = ours(name, params)
    set_grads(params, 0)
    params[3].grad = params[3].detach()
    with refused(params, optimizer, ValueError, "overlap"):
        optimizer.step()
    assert not optimizer.state


@each_name
def test_parts_of_parameters_are_stepped_unless_the_step_depends_on_the_whole(name, sharded):
    whole = torch.nn.Parameter(torch.ones(70, 2))
    if rule_of(name).takes_norms:
        for param in (sharded, whole):
            whole._fsdp_flattened = True  # so FSDP marks its own
            with pytest.raises(ValueError, match="must be whole"):
                ours(name, [param])
        params = make_params(torch.float32)
        optimizer = ours(name, params)
        run(optimizer, params, 1)
        optimizer.param_groups[0]["params"][1] = sharded
        sharded.grad = torch.ones_like(sharded)
        with pytest.raises(ValueError, match="must be whole"):
            optimizer.step()
        return
    optimizers = [ours(name, [param]) for param in (sharded, whole)]
    for _ in range(3):
        for param, optimizer in zip((sharded, whole), optimizers, strict=True):
            param.grad = torch.ones_like(param)
            optimizer.step()
    assert torch.equal(sharded.to_local(), whole)
    saved = [optimizer.state_dict()["state"][0] for optimizer in optimizers]
    assert saved[0].keys() == saved[1].keys()
    assert_equal(
        (each.to_local() for each in saved[0].values() if hasattr(each, "to_local")),
        (each for each in saved[1].values() if each.dim()),
    )


# what tools see


@each_name
def test_the_signature_has_the_keywords_of_all_classes_at_its_end(name):
    parameters = inspect.signature(getattr(fast, name)).parameters
    torch_s = inspect.signature(fast.Adamax).parameters
    added = ["state_format", "master_weights", "rounding", "seed"]
    assert [*parameters][-4:] == added
    assert [parameters[each] for each in added] == [torch_s[each] for each in added]
    assert inspect.Parameter.empty not in [each.annotation for each in parameters.values()]
    assert getattr(fast, name).__module__ == "fastopt.integrations.torch"


# AdEMAMix


def test_the_slow_average_s_weight_and_beta_rise_with_the_count():
    steps, beta1, beta3 = 8, 0.5, 0.99
    keywords = {"lr": 0.01, "betas": (beta1, 0.9, beta3), "alpha": 4.0}
    params = make_params()
    arrays = [as_array(param) for param in params]
    optimizer = ours("AdEMAMix", params, t_alpha_beta3=steps, **keywords)
    twin = twin_of("AdEMAMix", arrays, keywords)
    for step in range(1, 12):
        if step < steps:
            share = step / steps
            inverse = (1 - share) / math.log(beta1) + share / math.log(beta3)
            risen = {"beta3": math.exp(1 / inverse), "slow_weight": 4.0 * share}
        else:
            risen = {"beta3": beta3, "slow_weight": 4.0}
        twin.param_groups[0].update(risen)
        set_grads(params, step)
        twin.step([as_array(param.grad) for param in params])
        optimizer.step()
    assert_close(params, [torch.from_numpy(array) for array in arrays])


# LAMB


def test_gradients_are_scaled_down_to_the_norm_and_left_as_they_are():
    for most in (1.0, 0.2, 1e3):
        params = make_params()
        arrays = [as_array(param) for param in params]
        groups = [{"params": params[:1]}, {"params": params[1:]}]
        optimizer = ours("LAMB", groups, lr=0.01, max_grad_norm=most)
        twin = twin_of("LAMB", arrays, {"lr": 0.01})
        for step in range(3):
            set_grads(params, step)
            grads = [as_array(param.grad) for param in params]
            norm = float(torch.nn.utils.get_total_norm([param.grad for param in params]))
            optimizer.step()
            twin.step(grads, grad_scale=min(1.0, most / norm))
            for param, array, grad in zip(params, arrays, grads, strict=True):
                assert as_array(param).tobytes() == array.tobytes()
                assert as_array(param.grad).tobytes() == grad.tobytes()


def test_a_norm_that_is_not_finite_scales_nothing():
    results = []
    for most in (1.0, None):
        params = make_params()
        optimizer = ours("LAMB", params, max_grad_norm=most)
        set_grads(params, 0)
        params[1].grad[0, 0] = math.inf
        optimizer.step()
        results.append([params[0], *params[2:], optimizer.state[params[0]]["exp_avg"]])
    assert not params[1].isfinite().all()
    assert_equal(*results)


def test_a_norm_is_that_of_all_groups():
    params = make_params()
    with pytest.raises(ValueError, match="max_grad_norm must be the same in all groups"):
        ours("LAMB", [{"params": params[:1]}, {"params": params[1:], "max_grad_norm": 2.0}])


# LARS


def test_the_velocity_has_a_format_by_its_name():
    params = make_params(torch.float32)
    optimizer = ours("LARS", params, state_format={"velocity": "bfloat16"})
    run(optimizer, params, 2)
    assert {optimizer.state[param]["velocity"].dtype for param in params} == {torch.bfloat16}
    with pytest.raises(ValueError, match="state_format"):
        ours("LARS", params, state_format={"speed": "bfloat16"})


def test_a_buffer_without_the_rate_is_refused():
    params = make_params()
    optimizer = ours("LARS", params, momentum=0.9)
    run(optimizer, params, 2)
    saved = copy.deepcopy(optimizer.state_dict())
    for entry in saved["state"].values():
        entry["momentum_buffer"] = entry.pop("velocity")
    optimizer.load_state_dict(saved)
    with refused(params, optimizer, ValueError, r"params\[0\] must not have 'momentum_buffer'"):
        optimizer.step()


# Lion


def test_a_group_of_lion_may_be_cautious_by_either_name():
    results = []
    for setting in ("caution", "cautious"):
        params = make_params()
        optimizer = ours("Lion", [{"params": params, setting: True}], lr=0.01)
        run(optimizer, params, 3)
        results.append(params)
    assert_equal(*results)
    plain = make_params()
    run(ours("Lion", plain, lr=0.01), plain, 3)
    assert not torch.equal(plain[1], results[0][1])


def test_a_cautious_step_of_a_part_is_refused(sharded):
    with pytest.raises(ValueError, match="cautious must be False for DTensors"):
        ours("Lion", [sharded], caution=True)
