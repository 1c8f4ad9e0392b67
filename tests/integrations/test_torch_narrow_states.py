"""Narrow states of the optimizers for torch: copies, files, and changes between two steps."""

import copy

import pytest
import torch
from test_torch_narrow import KEYWORDS, assert_same_bits, states_of, ways
from torch_cases import copied, make_params, ours, run, theirs

from fastopt.integrations import torch as fast
from fastopt.integrations.torch import storage


@pytest.fixture(autouse=True)
def not_warned_yet(monkeypatch):
    monkeypatch.setattr(storage, "_warned", {"loss"})


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
@pytest.mark.parametrize(("name", "dtype", "way"), list(ways()))
def test_a_copy_goes_on_identically(name, dtype, way, how):
    params = make_params(dtype)
    optimizer = ours(name, params, **KEYWORDS[name], **way)
    run(optimizer, params, 3)
    twin_params, twin = copied(how, params, optimizer)
    assert_same_bits(states_of(twin), states_of(optimizer))
    run(optimizer, params, 3, start=3)
    run(twin, twin_params, 3, start=3)
    assert_same_bits([*params, *states_of(optimizer)], [*twin_params, *states_of(twin)])
    if how == "torch.save":  # which takes no defaults along
        return
    more = [make_params(dtype), make_params(dtype)]
    for own, each in zip(more, (optimizer, twin), strict=True):
        each.add_param_group({"params": own})
        run(each, own, 2)
    assert_same_bits(*more)


def test_the_remainder_of_plain_sgd_survives_copies_and_momentum_that_is_switched_on():
    param = torch.full((100,), 1.0, dtype=torch.bfloat16, requires_grad=True)
    optimizer = fast.SGD([param], lr=1e-4, master_weights=True)
    for _ in range(2):
        param.grad = torch.ones_like(param)
        optimizer.step()
    assert (optimizer.state[param]["remainder"] != 0).all()
    copied = copy.deepcopy(optimizer)
    (twin,) = copied.param_groups[0]["params"]
    for each, group in ((param, optimizer.param_groups[0]), (twin, copied.param_groups[0])):
        group["momentum"] = 0.5
        each.grad = torch.ones_like(each)
    for each in (optimizer, copied):
        each.step()
    whole = torch.tensor(1.0)
    for _ in range(3):
        whole -= torch.tensor(1e-4)
    remainder = optimizer.state[param]["remainder"]
    bits = (param.detach().view(torch.int16).int() << 16) + remainder.int()
    assert (bits.view(torch.float32) == whole).all()
    assert_same_bits(twin, param)
    assert_same_bits(copied.state[twin]["remainder"], remainder)


def test_the_keywords_stay_when_a_dictionary_of_torch_is_loaded():
    params = make_params(torch.bfloat16)
    other = theirs("Adam", params)
    run(other, params, 3)
    optimizer = ours("Adam", params, master_weights=True, state_format="float32")
    optimizer.load_state_dict(other.state_dict())
    run(optimizer, params, 1, start=3)
    assert len(optimizer.state) == len(params)
    for entry in optimizer.state.values():
        assert {key: value.dtype for key, value in entry.items()} == {
            "step": torch.float32,
            "exp_avg": torch.float32,
            "exp_avg_sq": torch.float32,
            "remainder": torch.int16,
        }
        assert entry["step"] == 4


def test_the_keywords_of_a_group_stay_when_a_dictionary_of_torch_is_loaded():
    narrow, wide = make_params(torch.bfloat16), make_params(torch.float32)
    groups = [{"params": narrow, "master_weights": True, "seed": 3}, {"params": wide}]
    theirs = torch.optim.Adam([{"params": narrow}, {"params": wide}])
    for given in ({}, {"rounding": "stochastic"}):
        optimizer = fast.Adam([{**group} for group in groups], **given)
        optimizer.load_state_dict(theirs.state_dict())
        first, second = optimizer.param_groups
        assert (first["master_weights"], first["seed"]) == (True, 3)
        assert not second.get("master_weights")
        assert first.get("rounding") == second.get("rounding") == given.get("rounding")


def test_a_remainder_that_torch_has_cast_is_begun_anew():
    """torch steps the parameter without it, and casts it to bfloat16 when it loads."""
    params = make_params(torch.bfloat16)
    optimizer = ours("Adam", params, master_weights=True)
    run(optimizer, params, 3)
    other = theirs("Adam", params)
    other.load_state_dict(optimizer.state_dict())
    run(other, params, 3, start=3)
    optimizer.load_state_dict(other.state_dict())
    twins = copy.deepcopy(params)
    fresh = ours("Adam", twins, master_weights=True)
    state = copy.deepcopy(other.state_dict())
    for entry in state["state"].values():
        del entry["remainder"]
    fresh.load_state_dict(state)
    run(optimizer, params, 2, start=6)
    run(fresh, twins, 2, start=6)
    assert_same_bits([*params, *states_of(optimizer)], [*twins, *states_of(fresh)])


def test_keywords_that_are_set_in_a_group_hold_from_the_next_step_on():
    params = make_params(torch.bfloat16)
    optimizer = ours("AdamW", params, rounding="nearest")
    run(optimizer, params, 2)
    group = optimizer.param_groups[0]

    def dtypes():
        return {key: value.dtype for key, value in optimizer.state[params[0]].items()}

    group["state_format"] = {"exp_avg_sq": "float32", "exp_avg": "bfloat16"}
    run(optimizer, params, 2)
    assert dtypes()["exp_avg_sq"] == torch.float32
    assert dtypes()["exp_avg"] == torch.bfloat16
    group["master_weights"], group["rounding"] = True, "stochastic"
    run(optimizer, params, 2)
    assert dtypes()["remainder"] == torch.int16
    group["master_weights"], group["state_format"] = False, None
    run(optimizer, params, 2)
    assert set(dtypes()) == {"step", "exp_avg", "exp_avg_sq"}
    assert dtypes()["exp_avg_sq"] == torch.bfloat16
    # Another seed, other bits
    twins, twin = copy.deepcopy((params, optimizer))
    twin.param_groups[0]["seed"] = 5
    run(optimizer, params, 1)
    run(twin, twins, 1)
    assert not torch.equal(params[3], twins[3])


def test_training_goes_on_in_another_dtype():
    """As module.bfloat16() and module.float() leave it."""
    for first, then in ((torch.float32, torch.bfloat16), (torch.bfloat16, torch.float32)):
        params = make_params(first)
        optimizer = ours("Adam", params, master_weights=True)
        run(optimizer, params, 2)
        for param in params:
            param.data = param.data.to(then)
        run(optimizer, params, 2, start=2)
        for param in params:
            entry = optimizer.state[param]
            assert entry["exp_avg"].dtype == then
            assert ("remainder" in entry) == (then == torch.bfloat16)
            assert entry["step"] == 4
