"""Groups with moving averages of their own: each as if alone, after copies, files and edits too."""

import copy
import io

import numpy as np
import pytest
from cases import RULES, class_of, freeze, numbers
from reference import average

import fastopt

# A share of its own, none, one that keeps nothing, and that of the optimizer
OWN = [{"ema": 0.9}, {"ema": None}, {"ema": 0.0}, {}]
SHARES = [0.9, None, 0.0, 0.5]


def arrays(seed=0, dtype=np.float64):
    return [numbers(seed + k, 5 + k, dtype) for k in range(4)]


def grouped(params, own=OWN):
    return [{"params": {"w": param}, **keys} for param, keys in zip(params, own, strict=True)]


def made(own=OWN, ema=0.5, **keywords):
    return fastopt.Adam(grouped(arrays(), own), **{"lr": 0.1, "ema": ema, **keywords})


def run(optimizer, steps, start=0):
    for step in range(start, start + steps):
        optimizer.step([{"w": grad} for grad in arrays(10 + step)])
    return optimizer


def params_of(optimizer):
    return [group["params"] for group in optimizer.param_groups]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_group_is_averaged_with_its_own_share(rule, dtype):
    params, plain = arrays(dtype=dtype), arrays(dtype=dtype)
    optimizer = class_of(rule)(grouped(params), lr=0.1, ema=0.5)
    without = class_of(rule)(grouped(plain, [{}] * 4), lr=0.1)
    wide = np.promote_types(dtype, np.float32)
    expected = [param.astype(wide) for param in params]
    for step in range(1, 6):
        grads = [{"w": grad} for grad in arrays(10 + step, dtype)]
        optimizer.step(grads)
        without.step(grads)
        for array, param, share in zip(expected, params, SHARES, strict=True):
            average(array, param.astype(wide), step=step, ema=share or 0.0)
    assert freeze(params) == freeze(plain)
    assert optimizer.ema[1] is None
    for k in (0, 2, 3):
        assert freeze(optimizer.ema[k]) == freeze({"w": expected[k]})
    assert ["ema" in state for state in optimizer.state] == [True, False, True, True]


def test_a_group_without_averages_has_none_in_its_place():
    optimizer = fastopt.SGD([{"params": np.ones(2), "ema": None}], lr=0.1, ema=0.5)
    assert optimizer.ema is None
    optimizer.add_param_group({"params": [np.ones(3)], "ema": 0.9})
    optimizer.add_param_group({"params": [np.ones(4)]})
    first, second, third = optimizer.ema
    assert first is None
    assert [array.tolist() for array in (*second, *third)] == [[1.0] * 3, [1.0] * 4]
    assert [group.get("ema", "none") for group in optimizer.param_groups] == [None, 0.9, "none"]
    before = second[0]
    optimizer.step([np.ones(2), [np.ones(3)], [np.ones(4)]])
    assert optimizer.ema[1][0] is before
    assert fastopt.SGD([{"params": np.ones(2), "ema": 0.9}], lr=0.1).ema[0].tolist() == [1, 1]


# copies and files


def every_copy(optimizer, make):
    yield copy.deepcopy(optimizer)
    yield copy.copy(optimizer)
    file = io.BytesIO()
    optimizer.save(file, params=True)
    file.seek(0)
    other = make()
    other.load(file)
    yield other
    other = make()
    other.load_state_dict(optimizer.state_dict())
    for group, own in zip(params_of(other), params_of(optimizer), strict=True):
        group["w"][...] = own["w"]
    yield other


def test_copies_and_files_go_on_with_the_same_bits():
    """Also where the loading optimizer had other numbers, or one for all groups."""
    ways = [(OWN, 0.5), ([{"ema": 0.1}, {"ema": None}, {}, {"ema": 0.3}], 0.2)]
    for own, ema in ways:
        optimizer = run(made(), 3)
        optimizer.param_groups[3]["ema"] = 0.75
        others = list(every_copy(optimizer, lambda own=own, ema=ema: made(own, ema)))
        for other in others:
            assert other.ema[0] is not optimizer.ema[0]
        start = copy.deepcopy(params_of(optimizer))
        for each in (optimizer, *others):
            for tree, values in zip(params_of(each), start, strict=True):
                tree["w"][...] = values["w"]  # a shallow copy steps the same arrays
            run(each, 2, start=3)
        for other in others:
            assert freeze(other.ema) == freeze(optimizer.ema)
            assert [group["ema"] for group in other.param_groups] == [0.9, None, 0.0, 0.75]


@pytest.mark.parametrize("own", [[{}] * 4, [{"ema": 0.9}, {}, {"ema": 0.1}, {}]])
def test_a_file_of_one_share_for_all_is_loaded_by_groups_with_their_own(own):
    """As every file of earlier versions is: its share holds from then on."""
    optimizer = run(made([{}] * 4, ema=0.7), 3)
    content = optimizer.state_dict()
    assert all("ema" not in group for group in content["param_groups"])
    other = made(own, ema=0.5)
    other.load_state_dict(content)
    for tree, own in zip(params_of(other), params_of(optimizer), strict=True):
        tree["w"][...] = own["w"]
    assert freeze(run(other, 2, start=3).ema) == freeze(run(optimizer, 2, start=3).ema)


@pytest.mark.parametrize(
    ("own", "shares"),
    [
        ([{}] * 4, [0.9, 0.2, 0.0, 0.5]),
        ([{"ema": None}, {"ema": 0.3}, {}, {}], [None, 0.3, 0.0, 0.5]),
    ],
)
def test_averages_that_only_one_side_has_need_convert(own, shares):
    """Then a share is what the file says where both have averages, else what it was."""
    content = run(made(), 3).state_dict()
    optimizer = run(made(own, ema=0.2), 2)
    before = freeze((optimizer.state_dict(), params_of(optimizer)))
    with pytest.raises(ValueError, match=r"has (no )?ema.*convert=True"):
        optimizer.load_state_dict(content)
    assert freeze((optimizer.state_dict(), params_of(optimizer))) == before
    optimizer.load_state_dict(content, convert=True)
    assert [group.get("ema", 0.5) for group in optimizer.param_groups] == shares
    expected = copy.deepcopy(optimizer.ema)
    run(optimizer, 1, start=3)
    for tree, params, share in zip(expected, params_of(optimizer), shares, strict=True):
        if share is not None:
            average(tree["w"], params["w"], step=4, ema=share)
    assert freeze(optimizer.ema) == freeze(expected)


@pytest.mark.parametrize("value", [1.0, "0.9", True])
def test_a_wrong_share_in_a_state_dict_is_refused(value):
    optimizer = run(made(), 2)
    content = optimizer.state_dict()
    content["param_groups"][2]["ema"] = value
    before = freeze(optimizer.state_dict())
    with pytest.raises(ValueError, match=r"does not fit: ema of param_groups\[2\] must be"):
        optimizer.load_state_dict(content)
    assert freeze(optimizer.state_dict()) == before


# edits


@pytest.mark.parametrize("lr", [0.1, lambda step: 0.1 / step], ids=["number", "schedule"])
def test_a_changed_share_holds_from_the_next_step(lr):
    optimizer = run(made(lr=lr), 2)
    expected = optimizer.ema[0]["w"].copy(), optimizer.ema[3]["w"].copy()
    optimizer.param_groups[0]["ema"] = np.float32(0.25)
    groups = [{**group} for group in optimizer.param_groups]
    groups[3]["ema"] = 0.8
    optimizer.param_groups = groups
    for step in (3, 4):
        run(optimizer, 1, start=step)
        for array, k, share in zip(expected, (0, 3), (0.25, 0.8), strict=True):
            average(array, params_of(optimizer)[k]["w"], step=step, ema=share)
            assert freeze(optimizer.ema[k]["w"]) == freeze(array)


@pytest.mark.parametrize(
    ("k", "value", "error", "words"),
    [
        (0, 1.0, ValueError, r"ema of param_groups\[0\] must be less than 1, got 1.0"),
        (3, "0.9", TypeError, r"ema of param_groups\[3\] must be a number, got '0.9'"),
        (2, np.True_, TypeError, r"ema of param_groups\[2\] must be a number"),
        (2, None, ValueError, r"ema of param_groups\[2\] cannot be changed from 0.0 to None"),
        (1, 0.5, ValueError, r"ema of param_groups\[1\] cannot be changed from None to 0.5"),
    ],
)
@pytest.mark.parametrize(
    "use",
    [
        lambda optimizer: run(optimizer, 1),
        lambda optimizer: optimizer.state_dict(),
        lambda optimizer: optimizer.ema,
        lambda optimizer: copy.deepcopy(optimizer),
        lambda optimizer: optimizer.add_param_group({"params": np.ones(2)}),
    ],
    ids=["step", "state_dict", "ema", "deepcopy", "add_param_group"],
)
def test_a_share_that_cannot_be_is_refused_until_it_is_taken_back(k, value, error, words, use):
    optimizer, twin = run(made(), 2), run(made(), 2)
    group, before = optimizer.param_groups[k], freeze(params_of(optimizer))
    was = group.get("ema")
    group["ema"] = value
    for _ in range(2):
        with pytest.raises(error, match=words):
            use(optimizer)
    assert freeze(params_of(optimizer)) == before
    group["ema"] = 0.5 if k == 3 else was
    assert freeze(run(optimizer, 2, start=2).ema) == freeze(run(twin, 2, start=2).ema)


def test_a_share_that_is_deleted_is_that_of_the_optimizer_again():
    optimizer, twin = run(made(), 2), run(made([{}, *OWN[1:]]), 2)
    del optimizer.param_groups[0]["ema"]
    optimizer.ema[0]["w"][...] = twin.ema[0]["w"]
    assert freeze(run(optimizer, 2, start=2).ema) == freeze(run(twin, 2, start=2).ema)
    del optimizer.param_groups[1]["ema"]
    with pytest.raises(ValueError, match=r"ema of param_groups\[1\] cannot be changed from None"):
        run(optimizer, 1)


def test_a_wrong_share_of_a_new_group_is_named_and_the_group_left_out():
    with pytest.raises(ValueError, match=r"ema of param_groups\[1\] must be at least 0, got -1"):
        made([{}, {"ema": -1}, {}, {}])
    optimizer = run(made(), 2)
    with pytest.raises(ValueError, match=r"ema of param_groups\[4\] must be less than 1"):
        optimizer.add_param_group({"params": np.ones(2), "ema": 2})
    assert freeze(run(optimizer, 1, start=2).ema) == freeze(run(made(), 3).ema)


def test_other_keywords_of_the_class_are_still_those_of_all_groups():
    with pytest.raises(TypeError, match="unexpected keyword argument 'state_format'"):
        made([{"state_format": "float32"}, {}, {}, {}])


def test_a_share_is_not_changed_in_the_middle_of_another_thread_s_step():
    optimizer, twin = run(made(), 2), run(made(), 2)
    twin.param_groups[0]["ema"] = 0.25
    with optimizer._tensors:  # as if it was being stepped
        optimizer.param_groups[0]["ema"] = 0.25
        for _ in range(2):
            with pytest.raises(RuntimeError, match="another thread is in the middle of a step"):
                run(optimizer, 1)
    assert freeze(run(optimizer, 1, start=2).ema) == freeze(run(twin, 1, start=2).ema)
