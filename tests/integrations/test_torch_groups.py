"""What a group holds is read at each step or refused; frozen parameters are left alone."""

import copy
import inspect

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch_cases import (
    NAMES,
    assert_close,
    assert_equal,
    common,
    first_variant,
    make_params,
    ours,
    run,
    set_grads,
    theirs,
)

from fastopt.integrations import torch as fast
from fastopt.integrations.torch.storage import NUMBERS

# Another value for each setting that torch's classes have
OTHER = {
    "lr": 0.3,
    "lr_decay": 0.1,
    "weight_decay": 0.2,
    "eps": 0.5,
    "rho": 0.3,
    "alpha": 0.3,
    "betas": (0.3, 0.4),
    "momentum_decay": 0.1,
    "lambd": 0.1,
    "t0": 2,
    "etas": (0.2, 1.9),
    "step_sizes": (1e-3, 0.02),
    "momentum": 0.6,
    "dampening": 0.7,
    "nesterov": True,
    "amsgrad": True,
    "maximize": True,
    "decoupled_weight_decay": None,
    "centered": True,
    "capturable": True,
    "differentiable": True,
}
# These do not change the parameters: torch's implementation, the start of states, ASGD's average
VOID = {"foreach", "fused", "initial_accumulator_value", ("Rprop", "lr"), ("ASGD", "t0")}
REFUSED = {"capturable", "differentiable"}
# Settings that need a further state: a KeyError in torch if there is none yet
FURTHER = {("RMSprop", "momentum"), ("RMSprop", "centered")}


def settings():
    for name in NAMES:
        for setting in getattr(torch.optim, name)([torch.zeros(1)]).defaults:
            if not {setting, (name, setting)} & VOID:
                yield pytest.param(name, setting, id=f"{name}-{setting}")


def steps_for(name, setting):
    """The first five steps of RAdam do not use eps."""
    return 7 if (name, setting) == ("RAdam", "eps") else 5


def first_settings(name):
    return {"lr": 0.01} | ({"weight_decay": 0.1} if "weight_decay" in common(name) else {})


def set_after_one_step(make, name, setting):
    params = make_params()
    keywords = first_settings(name)
    if name == "SGD":
        keywords["momentum"] = 0.9
    elif setting == "amsgrad":
        keywords["amsgrad"] = True
    optimizer = make(name, params, **keywords)
    run(optimizer, params, 1)
    group = optimizer.param_groups[0]
    value = OTHER[setting]
    if value is None or setting == "amsgrad":
        value = not group[setting]
    group[setting] = value
    run(optimizer, params, steps_for(name, setting) - 1, start=1)
    return params


@pytest.mark.parametrize(("name", "setting"), list(settings()))
def test_every_setting_of_a_group_is_read_at_each_step_or_refused(name, setting):
    if setting in REFUSED:
        with pytest.raises(ValueError, match=f"{setting} must be"):
            set_after_one_step(ours, name, setting)
        return
    if (name, setting) in FURTHER:
        with pytest.raises(ValueError, match=r"the state of params\[0\] must have"):
            set_after_one_step(ours, name, setting)
        return
    unchanged = make_params()
    changed = set_after_one_step(ours, name, setting)
    assert_close(changed, set_after_one_step(theirs, name, setting))
    keywords = {"momentum": 0.9} if name == "SGD" else {}
    keywords |= {"amsgrad": True} if setting == "amsgrad" else {}
    optimizer = ours(name, unchanged, **first_settings(name), **keywords)
    run(optimizer, unchanged, steps_for(name, setting))
    assert not torch.equal(changed[0], unchanged[0])


@pytest.mark.parametrize(
    ("name", "setting"), [case for case in settings() if case.values[1] in REFUSED]
)
def test_what_there_is_no_step_for_is_refused_when_it_is_loaded(name, setting):
    params = make_params()
    other = theirs(name, params)
    run(other, params, 2)
    loaded = copy.deepcopy(other.state_dict())
    loaded["param_groups"][0][setting] = True
    optimizer = ours(name, params)
    optimizer.load_state_dict(loaded)
    before, state = copy.deepcopy((params, optimizer.state_dict()["state"]))
    with pytest.raises(ValueError, match=f"{setting} must be False"):
        optimizer.step()
    assert_equal(params, before)
    for index, entry in state.items():
        assert_equal(optimizer.state_dict()["state"][index].values(), entry.values())
    optimizer.param_groups[0][setting] = False
    run(optimizer, params, 1)


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_settings_that_change_in_place_are_noticed(name):
    results = []
    for make in (ours, theirs):
        params = make_params()
        betas, lr = [0.9, 0.999], torch.tensor(0.01, dtype=torch.float64)
        optimizer = make(name, params, lr=lr, betas=betas)
        run(optimizer, params, 2)
        betas[0], betas[1] = 0.5, 0.6
        run(optimizer, params, 2, start=2)
        lr *= 3
        run(optimizer, params, 2, start=4)
        results.append(params)
    assert_close(*results)


@pytest.mark.parametrize("setting", ["lr", "eps", "betas"])
def test_a_setting_that_is_gone_is_missed_by_name(setting):
    params = make_params()
    optimizer = ours("Adam", params)
    run(optimizer, params, 1)
    del optimizer.param_groups[0][setting]
    before = copy.deepcopy(params)
    with pytest.raises(ValueError, match=f"must have '{setting}'"):
        optimizer.step()
    assert_equal(params, before)


@pytest.mark.parametrize(
    ("name", "setting"), [("Adam", "betas"), ("Rprop", "etas"), ("Rprop", "step_sizes")]
)
@pytest.mark.parametrize("value", [(0.5,), (0.5, 0.6, 0.7), 0.5, None])
def test_what_is_no_pair_is_refused_by_name(name, setting, value):
    params = make_params()
    optimizer = ours(name, params)
    run(optimizer, params, 1)
    optimizer.param_groups[0][setting] = value
    before = copy.deepcopy(params)
    with pytest.raises(ValueError, match=f"{setting} must be two numbers, got"):
        optimizer.step()
    assert_equal(params, before)


@pytest.mark.parametrize("flag", ["amsgrad", "maximize", "decoupled_weight_decay"])
def test_a_flag_is_what_python_takes_for_true(flag):
    results = []
    for make in (ours, theirs):
        params = make_params()
        run(make("Adam", params, weight_decay=0.1, **{flag: 1}), params, 3)
        results.append(params)
    assert_close(*results)


def test_a_refused_first_step_leaves_no_states_behind():
    for name in NAMES:
        params = make_params()
        optimizer = ours(name, params, **first_variant(name))
        before = copy.deepcopy(dict(optimizer.state_dict()["state"]))
        set_grads(params, 0)
        params[3].grad = params[3].detach()
        with pytest.raises(ValueError, match="overlap"):
            optimizer.step()
        after = optimizer.state_dict()["state"]
        assert after.keys() == before.keys()
        for index, entry in before.items():
            assert after[index].keys() == entry.keys()
            assert_equal(after[index].values(), entry.values())
        set_grads(params, 0)
        optimizer.step()


# parameters without a gradient


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_parameter_may_be_anything(name, when):
    """Its dtype, layout, device and overlaps are none of the optimizer's business."""
    frozen = {
        "bfloat16": lambda p: p.data.bfloat16(),
        "strided": lambda p: torch.zeros(10, dtype=p.dtype)[::2],
        "meta": lambda p: p.data.to("meta"),
    }
    for change in frozen.values():
        results = []
        for make in (ours, theirs):
            params = make_params(shapes=[(7,), (5,), (3,)])
            odd = torch.nn.Parameter(change(params[1]), requires_grad=False)
            before, version = odd.detach().clone(), odd._version
            if when == "before":
                params[1] = odd
            optimizer = make(name, params, **first_variant(name))
            if when == "after":
                run(optimizer, params, 2)
                optimizer.param_groups[0]["params"][1] = odd
                optimizer.state[odd] = optimizer.state.pop(params[1], {})
            rest = [params[0], params[2]]
            run(optimizer, rest, 3, start=2)
            results.append(rest)
            assert odd._version == version
            assert odd.is_meta or torch.equal(odd, before)
        assert_close(*results)


def test_frozen_parameters_may_overlap_those_that_are_stepped():
    results = []
    for make in (ours, theirs):
        base = torch.arange(8.0, dtype=torch.float64)
        params = [base[:5].requires_grad_(), torch.ones(4, dtype=torch.float64)]
        params[1].requires_grad_()
        optimizer = make("Adam", params, lr=0.01)
        run(optimizer, params, 2)
        params[1].grad = None
        params[1].data = base[4:]
        run(optimizer, params[:1], 2, start=2)
        results.append([base])
    assert_close(*results)


def test_memory_that_a_frozen_parameter_had_may_be_a_gradient_s():
    results = []
    for make in (ours, theirs):
        params = make_params(shapes=[(4,), (4,)])
        optimizer = make("Adam", params, lr=0.01)
        run(optimizer, params, 2)
        memory = params[1].data
        params[1].grad = None
        params[1].data = torch.zeros(4, dtype=torch.float64)
        params[0].grad = memory
        optimizer.step()
        assert optimizer.state[params[0]]["step"] == 3
        results.append([*params, memory])
    assert_close(*results)


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("name", NAMES)
def test_training_goes_on_in_another_dtype(name, after):
    """As after module.double(): parameters and gradients have the new dtype, states do not."""
    for first, then in ((torch.float32, torch.float64), (torch.float64, torch.float32)):
        results = []
        for make in (ours, theirs):
            params = make_params(first)
            optimizer = make(name, params, lr=0.01)
            run(optimizer, params, after)
            for param in params:
                param.data = param.data.to(then)
                if make is theirs:  # whose Adam needs it
                    for key, state in optimizer.state.get(param, {}).items():
                        if key not in NUMBERS:
                            optimizer.state[param][key] = state.to(then)
            run(optimizer, params, 3, start=after)
            results.append(params)
            for entry in optimizer.state_dict()["state"].values():
                assert {v.dtype for k, v in entry.items() if k not in NUMBERS} <= {then}
        assert_close(*results, rtol=1e-12 if after == 0 and then == torch.float64 else 1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_may_leave_out_other_parameters_at_each_step(name):
    """Its parameters are then checked once, and not again in each step."""
    results = []
    for make in (ours, theirs):
        params = make_params()
        optimizer = make(name, params, **first_variant(name))
        run(optimizer, params, 1)
        plan = getattr(optimizer, "_plan", None)
        for step in range(1, 9):
            set_grads(params, step)
            params[step % 3].grad = None
            optimizer.step()
            assert getattr(optimizer, "_plan", None) is plan
        results.append(params)
    assert_close(*results)


# what tools see


@pytest.mark.parametrize("name", NAMES)
def test_signatures_are_those_of_torch_and_keywords_after_them(name):
    own = inspect.signature(getattr(fast, name)).parameters
    other = inspect.signature(getattr(torch.optim, name)).parameters
    assert {key: own[key] for key in other} == dict(other)
    cautious = ["cautious"] if name in ("SGD", "Adam", "AdamW", "NAdam") else []
    assert [*own] == [*other, "state_format", "master_weights", "rounding", "seed", *cautious]
    assert inspect.Parameter.empty not in [parameter.annotation for parameter in own.values()]


@pytest.mark.filterwarnings("ignore:`torch.jit.trace` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("how", ["real", "pre_dispatch", "jit"])
def test_a_step_that_is_traced_is_an_error(how):
    param = torch.nn.Parameter(torch.ones(3))
    optimizer = ours("SGD", [param], lr=0.1)

    def train(gradient):
        param.grad = gradient
        optimizer.step()
        return param * 2

    def trace():
        if how == "jit":
            return torch.jit.trace(train, (torch.ones(3),), check_trace=False)
        return make_fx(train, pre_dispatch=how == "pre_dispatch")(torch.ones(3))

    with pytest.raises(RuntimeError, match="cannot be traced"):
        trace()
    assert torch.equal(param, torch.ones(3))


@pytest.mark.parametrize("name", NAMES)
def test_what_the_parameters_cannot_hold_is_refused_when_a_group_is_made(name):
    with pytest.raises(ValueError, match="lr must be a number that float32 can hold"):
        ours(name, make_params(torch.float32), lr=1e39)
    optimizer = ours(name, make_params(torch.float64), lr=1e39)
    with pytest.raises(ValueError, match="lr must be a number that float32 can hold"):
        optimizer.add_param_group({"params": make_params(torch.float32)})
    assert len(optimizer.param_groups) == 1
