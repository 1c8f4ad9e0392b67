"""The schedule-free optimizers for torch: their two points, their weights, and what they save."""

import copy

import numpy as np
import pytest
import torch
from package_cases import as_array, ours, twin_of
from test_torch_packages import each_way, not_warned_yet, refused  # noqa: F401
from torch_cases import assert_close, assert_equal, copied, make_params, run, set_grads

from fastopt.integrations import torch as fast

NAMES = ["ScheduleFreeAdamW", "ScheduleFreeSGD"]
each_name = pytest.mark.parametrize("name", NAMES)
KEYWORDS = {"lr": 0.05, "warmup_steps": 3}
CARRIED = ("k", "weight_sum", "lr_max", "scheduled_lr", "train_mode")


def trained(name, steps=5, **keywords):
    params = make_params()
    optimizer = ours(name, params, **{**KEYWORDS, **keywords})
    run(optimizer, params, steps)
    return params, optimizer


def as_of_the_package(saved):
    """A state dictionary without what only fastopt's has."""
    saved = copy.deepcopy(saved)
    for group in saved["param_groups"]:
        del group["z_offset_k"]
    for entry in saved["state"].values():
        del entry["z_offset"]
    return saved


# the two points


@each_way
@each_name
def test_the_bits_of_both_points_are_those_of_the_class_for_arrays(name, dtype, way):
    params = make_params(dtype)
    arrays = [as_array(param) for param in params]
    optimizer, twin = ours(name, params, **KEYWORDS, **way), twin_of(name, arrays, KEYWORDS, **way)
    for step in range(9):
        set_grads(params, step)
        twin.step([as_array(param.grad) for param in params])
        optimizer.step()
        if step % 3 == 0:
            for mode in ("eval", "train"):
                before = copy.deepcopy(params)
                getattr(optimizer, mode)()
                getattr(twin, mode)()
                for param, array in zip(params, arrays, strict=True):
                    assert as_array(param).tobytes() == array.tobytes()
                # After the first step they are one point.
                assert torch.equal(params[1], before[1]) == (step == 0)
                getattr(optimizer, mode)()  # which changes nothing
                for param, array in zip(params, arrays, strict=True):
                    assert as_array(param).tobytes() == array.tobytes()


@each_name
def test_a_step_anywhere_else_than_where_gradients_are_taken_is_refused(name):
    params, optimizer = trained(name)
    optimizer.eval()
    set_grads(params, 5)
    with refused(params, optimizer, RuntimeError, r"call train\(\) before the first step\(\)"):
        optimizer.step()
    params = make_params()
    set_grads(params, 0)
    optimizer = getattr(fast, name)(params)
    with refused(params, optimizer, RuntimeError, r"call train\(\)"):
        optimizer.step()


@each_name
def test_a_group_is_added_in_the_mode_of_the_others(name):
    params = make_params()
    optimizer = ours(name, params[:1], **KEYWORDS)
    optimizer.add_param_group({"params": params[1:2]})
    run(optimizer, params[:2], 3)
    optimizer.eval()
    optimizer.add_param_group({"params": params[2:]})
    optimizer.train()
    run(optimizer, params, 3)
    assert [group["k"] for group in optimizer.param_groups] == [6, 6, 3]
    assert [group["train_mode"] for group in optimizer.param_groups] == [True] * 3


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
@each_name
def test_copies_know_the_mode_and_what_the_groups_carry(name, how):
    params, optimizer = trained(name)
    optimizer.eval()
    others, twin = copied(how, params, optimizer)
    for group, other in zip(optimizer.param_groups, twin.param_groups, strict=True):
        assert [group[each] for each in CARRIED] == [other[each] for each in CARRIED]
    for each, given in ((optimizer, params), (twin, others)):
        each.train()
        run(each, given, 3, start=5)
    assert_equal(params, others)


@each_name
def test_a_parameter_that_was_never_stepped_is_at_both_points(name):
    params = make_params()
    optimizer = ours(name, params, **KEYWORDS)
    for step in range(3):
        set_grads(params, step)
        params[1].grad = None
        optimizer.step()
    optimizer.eval()
    assert torch.equal(params[1], make_params()[1])
    assert params[1] not in optimizer.state


@each_name
def test_a_part_of_a_parameter_moves_as_the_whole(name, sharded):
    whole = torch.nn.Parameter(torch.ones(70, 2))
    optimizers = [ours(name, [param], **KEYWORDS) for param in (sharded, whole)]
    for param, optimizer in zip((sharded, whole), optimizers, strict=True):
        for _ in range(3):
            param.grad = torch.ones_like(param)
            optimizer.step()
        optimizer.eval()
    assert torch.equal(sharded.to_local(), whole)
    first, second = (optimizer.state_dict()["state"][0]["z"] for optimizer in optimizers)
    assert torch.equal(first.to_local(), second)


# the weights


@pytest.mark.parametrize(("r", "power"), [(0.0, 2.0), (1.5, 2.0), (0.0, 0), (0.5, 0.7)])
@each_name
def test_the_average_has_the_points_by_number_and_largest_rate(name, r, power):
    """While rates rise, fall, and rise again."""
    params, optimizer = trained(name, 0, r=r, weight_lr_power=power)
    (group,) = optimizer.param_groups
    totals, weights, largest = [torch.zeros_like(param) for param in params], 0.0, 0.0
    for step, factor in enumerate((1.0, 1.0, 2.0, 0.5, 0.1, 3.0, 1.0), start=1):
        group["lr"] = 0.01 * factor
        rate = group["lr"] * min(1, step / 3)
        largest = max(largest, rate)
        weight = step**r * largest**power
        run(optimizer, params, 1, start=step)
        for total, entry in zip(totals, optimizer.state_dict()["state"].values(), strict=True):
            total += weight * entry["z"]
        weights += weight
        assert group["scheduled_lr"] == pytest.approx(rate)
        assert group["lr_max"] == pytest.approx(largest)
        assert group["weight_sum"] == pytest.approx(weights)
    optimizer.eval()
    assert_close(params, [total / weights for total in totals])


@each_name
def test_a_rate_of_0_moves_nothing(name):
    params, optimizer = trained(name)
    before = copy.deepcopy(params)
    optimizer.param_groups[0]["lr"] = 0.0
    run(optimizer, params, 2, start=5)
    assert_equal(params, before)


# state dictionaries


@each_way
@each_name
def test_the_state_dictionary_has_z(name, dtype, way):
    params = make_params(dtype)
    optimizer = ours(name, params, **KEYWORDS, **way)
    run(optimizer, params, 4)
    at_gradients = copy.deepcopy(optimizer.state_dict()["state"])
    optimizer.eval()
    at_average = optimizer.state_dict()["state"]
    rtol = {torch.float64: 1e-12, torch.float32: 1e-5}.get(dtype, 2**-6)
    for index, param in enumerate(params):
        first, second = at_gradients[index]["z"], at_average[index]["z"]
        assert first.dtype == second.dtype == dtype
        assert first.shape == param.shape
        torch.testing.assert_close(first, second, rtol=rtol, atol=rtol)
        assert not torch.equal(first, param)
        assert at_gradients[index].keys() - {"remainder", "exp_avg_sq"} == {"z", "z_offset"}
    assert all("z" not in entry for entry in optimizer.state.values())


@pytest.mark.parametrize("training", [True, False])
@each_name
def test_a_dictionary_of_the_package_goes_on(name, training):
    """Also where the parameters are loaded after it, and where it is saved again before a step."""
    params, optimizer = trained(name)
    if not training:
        optimizer.eval()
    fresh = make_params()
    other = ours(name, fresh)
    other.load_state_dict(as_of_the_package(optimizer.state_dict()))
    other.load_state_dict(copy.deepcopy(other.state_dict()))
    for param, value in zip(fresh, params, strict=True):
        param.data.copy_(value)
    for each, given in ((optimizer, params), (other, fresh)):
        each.train()
        run(each, given, 5, start=5)
        each.eval()
    assert_close(fresh, params)
    assert all("z" not in entry for entry in other.state.values())


@each_name
def test_an_offset_of_before_the_package_s_steps_is_not_taken(name):
    """It carries the offset along, while z is stepped."""
    params, optimizer = trained(name)
    saved = copy.deepcopy(optimizer.state_dict())
    run(optimizer, params, 3, start=5)
    later = optimizer.state_dict()
    for group, old in zip(later["param_groups"], saved["param_groups"], strict=True):
        group["z_offset_k"] = old["z_offset_k"]
    for index, entry in later["state"].items():
        entry["z_offset"] = saved["state"][index]["z_offset"]
    fresh = copy.deepcopy(params)
    other = ours(name, fresh)
    other.load_state_dict(copy.deepcopy(later))
    run(other, fresh, 3, start=8)
    run(optimizer, params, 3, start=8)
    assert_close(fresh, params)


@pytest.mark.parametrize("mode", ["step", "eval"])
@each_name
def test_a_z_of_another_shape_is_refused(name, mode):
    params, optimizer = trained(name)
    fresh = copy.deepcopy(params)
    other = ours(name, fresh)
    saved = as_of_the_package(optimizer.state_dict())
    saved["state"][1]["z"] = torch.zeros(5, dtype=torch.float64)
    other.load_state_dict(saved)
    set_grads(fresh, 5)
    words = r"z of params\[1\] must be of shape \(3, 5\), got \(5,\)"
    with refused(fresh, other, ValueError, words):
        getattr(other, mode)()


@pytest.mark.parametrize("count", [-1, 1.5, np.nan, True, "1"])
def test_what_is_no_count_is_refused(count):
    params, optimizer = trained("ScheduleFreeSGD")
    optimizer.param_groups[0]["k"] = count
    with pytest.raises(ValueError, match="k must be an integer >= 0, got"):
        optimizer.step()
    assert_equal(params, trained("ScheduleFreeSGD")[0])
