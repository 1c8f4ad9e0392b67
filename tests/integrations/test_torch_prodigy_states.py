"""State dictionaries of Prodigy for torch: they lose no bit, and prodigyopt takes them."""

import copy

import pytest
import torch
from prodigy_cases import CARRIED, VARIANTS, assert_agree, carried, ours, theirs
from torch_cases import (
    assert_a_copy_goes_on_identically,
    assert_equal,
    make_params,
    run,
    set_grads,
)

each_variant = pytest.mark.parametrize("keywords", VARIANTS, ids=str)
# Dtypes of parameters, and how they and the states are stored
WAYS = [
    (torch.float32, {}),
    (torch.float64, {}),
    (torch.bfloat16, {}),
    (torch.bfloat16, {"master_weights": True, "state_format": "bfloat16", "seed": 5}),
    (torch.float16, {}),
    (torch.float32, {"state_format": "block8"}),
]
each_way = pytest.mark.parametrize(("dtype", "way"), WAYS, ids=str)


# ours again


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
@each_way
def test_a_copy_goes_on_identically(dtype, way, how):
    params = make_params(dtype)
    optimizer = ours(params, d0=1e-2, **way)
    twin_params, twin = assert_a_copy_goes_on_identically(how, params, optimizer)
    assert carried(optimizer) == carried(twin)
    for param, other in zip(params, twin_params, strict=True):
        entry, expected = optimizer.state[param], twin.state[other]
        assert_equal([entry[name] for name in expected], [*expected.values()])


def test_the_parameters_may_be_loaded_after_the_state():
    """The distance of a state of prodigyopt's is taken at the first step."""
    params = make_params()
    other = theirs(params, d0=1e-2)
    run(other, params, 5)
    saved = copy.deepcopy((params, other.state_dict()))
    run(other, params, 5, start=5)
    fresh = make_params()
    optimizer = ours(fresh)
    optimizer.load_state_dict(saved[1])
    for param, value in zip(fresh, saved[0], strict=True):
        param.data.copy_(value)
    # Saved before the step, it is still prodigyopt's.
    again = copy.deepcopy(optimizer.state_dict())
    for index, entry in saved[1]["state"].items():
        assert torch.equal(again["state"][index]["p0"], entry["p0"])
    optimizer.load_state_dict(again)
    run(optimizer, fresh, 5, start=5)
    assert_agree(optimizer, fresh, other, params)
    assert all("p0" not in entry for entry in optimizer.state.values())


def test_a_refused_step_leaves_the_state_of_prodigyopt():
    params = make_params()
    other = theirs(params, d0=1e-2)
    run(other, params, 3)
    optimizer = ours(params)
    optimizer.load_state_dict(copy.deepcopy(other.state_dict()))
    params[3].grad = params[3].grad.to_sparse()
    with pytest.raises(RuntimeError, match="sparse"):
        optimizer.step()
    for index, entry in other.state_dict()["state"].items():
        state = optimizer.state_dict()["state"][index]
        assert_equal([state[name] for name in ("p0", "s")], [entry["p0"], entry["s"]])


@pytest.mark.parametrize("numbers", [2, 35])
def test_a_start_of_another_size_is_refused(numbers):
    params = make_params()
    optimizer = ours(params)
    run(optimizer, params, 2)
    entry = optimizer.state[params[1]]
    del entry["p0_offset"]
    entry["p0"] = torch.zeros(numbers, dtype=torch.float64)
    before = copy.deepcopy(params)
    with pytest.raises(ValueError, match=r"p0 of params\[1\] must have 15 elements, or 1, got"):
        optimizer.step()
    assert_equal(params, before)


# prodigyopt's


@each_variant
def test_the_state_dictionary_has_what_prodigyopt_keeps(keywords):
    a, b = make_params(torch.float32), make_params(torch.float32)
    own, other = ours(a, **keywords), theirs(b, **keywords)
    run(own, a, 3)
    run(other, b, 3)
    mine, its = own.state_dict(), other.state_dict()
    for index, entry in its["state"].items():
        found = mine["state"][index]
        assert found.keys() == {*entry, "p0_offset"}
        assert type(found["step"]) is int
        for name in entry.keys() - {"step"}:
            assert (found[name].dtype, found[name].shape) == (entry[name].dtype, entry[name].shape)
        torch.testing.assert_close(found["p0"], entry["p0"], rtol=1e-6, atol=1e-6)
    added = {"state_format", "master_weights", "rounding", "seed"}
    (group,), (expected,) = mine["param_groups"], its["param_groups"]
    # What it has written and never reads is left out.
    assert group.keys() - added == expected.keys() - {"d_denom", "d_hat"}
    changing = {*CARRIED} - {"k"}
    assert {name: group[name] for name in group.keys() - added - changing} == {
        name: value for name, value in expected.items() if name in group.keys() - changing
    }


@pytest.mark.parametrize("from_ours", [True, False])
@each_variant
def test_training_goes_on_in_the_other_package(keywords, from_ours):
    first, second = (ours, theirs) if from_ours else (theirs, ours)
    a, b = make_params(), make_params()
    before, straight = first(a, **keywords), second(b, **keywords)
    run(before, a, 7)
    after = second(a, lr=0.5, d0=1e-5)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    run(after, a, 7, start=7)
    run(straight, b, 14)
    own, other = (straight, after) if from_ours else (after, straight)
    assert_agree(own, b if from_ours else a, other, a if from_ours else b)


def test_after_steps_of_prodigyopt_the_distance_is_its_own():
    """It carries the distance of our last step along, which is not that of its parameters."""
    a, b = make_params(), make_params()
    straight = theirs(b, d0=1e-2)
    run(straight, b, 20)
    optimizer, other = ours(a, d0=1e-2), theirs(a)
    for start in (0, 10):
        run(optimizer, a, 5, start=start)
        other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        assert other.state[a[0]]["p0_offset"].abs().sum() > 0
        run(other, a, 5, start=start + 5)
        optimizer.load_state_dict(copy.deepcopy(other.state_dict()))
    set_grads(a, 20)
    set_grads(b, 20)
    optimizer.step()
    straight.step()
    assert_agree(optimizer, a, straight, b)


def test_a_parameter_that_was_0_has_one_number_as_its_start_in_prodigyopt():
    a, b = ([torch.nn.Parameter(torch.zeros(3, 4, dtype=torch.float64))] for _ in range(2))
    other, straight = theirs(a, d0=1e-2), theirs(b, d0=1e-2)
    run(other, a, 4)
    run(straight, b, 8)
    assert other.state[a[0]]["p0"].shape == ()
    optimizer = ours(a)
    optimizer.load_state_dict(other.state_dict())
    run(optimizer, a, 4, start=4)
    assert_agree(optimizer, a, straight, b)


@each_way
def test_other_formats_are_loaded_and_the_settings_stay(dtype, way):
    """prodigyopt has everything in the dtype of the parameters."""
    params = make_params(dtype)
    optimizer = ours(params, d0=1e-2, **way)
    run(optimizer, params, 3)
    saved = copy.deepcopy(optimizer.state_dict())
    dtypes = {name: value.dtype for name, value in optimizer.state[params[1]].items()}
    if way.get("state_format") != "block8":
        other = theirs(params)
        other.load_state_dict(copy.deepcopy(saved))
        assert {
            value.dtype
            for value in other.state[params[1]].values()
            if value is not None and torch.is_tensor(value)
        } == {dtype}
        run(other, params, 1)
        saved = copy.deepcopy(other.state_dict())
        for group in saved["param_groups"]:  # as one that never was ours
            for name in ("state_format", "master_weights", "rounding", "seed"):
                del group[name]
    optimizer.load_state_dict(saved)
    group = optimizer.param_groups[0]
    assert {name: group[name] for name in way} == way
    run(optimizer, params, 1)
    assert {name: value.dtype for name, value in optimizer.state[params[1]].items()} == dtypes
    assert all(param.isfinite().all() for param in params)


def test_dictionaries_of_earlier_versions_of_prodigyopt_lack_two_settings():
    params = make_params()
    other = theirs(params, d0=1e-2)
    run(other, params, 2)
    saved = copy.deepcopy(other.state_dict())
    del saved["param_groups"][0]["slice_p"], saved["param_groups"][0]["fsdp_in_use"]
    optimizer = ours(params)
    optimizer.load_state_dict(saved)
    run(optimizer, params, 1)
    saved["param_groups"][0]["slice_p"] = 2
    optimizer.load_state_dict(saved)
    with pytest.raises(ValueError, match="slice_p must be 1, got 2"):
        optimizer.step()


# layouts


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_other_layouts_are_stepped_and_saved_as_the_contiguous_one(layout):
    plain, permuted = make_params(shapes=[(2, 3, 4, 5)]), make_params(shapes=[(2, 3, 4, 5)])
    permuted[0].data = permuted[0].data.to(memory_format=layout)
    optimizers = [ours(params, d0=1e-2) for params in (plain, permuted)]
    for optimizer, params in zip(optimizers, (plain, permuted), strict=True):
        run(optimizer, params, 3)
        for _ in range(2):
            optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
            run(optimizer, params, 3, start=3)
    # The sums are taken in the order of memory.
    torch.testing.assert_close(plain[0], permuted[0], rtol=1e-12, atol=0)
    for name in ("s", "p0"):
        a, b = (optimizer.state_dict()["state"][0][name] for optimizer in optimizers)
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-14)
