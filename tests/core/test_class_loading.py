"""State dictionaries and files that do not fit are refused, and nothing has moved."""

import copy
import pickle

import numpy as np
import pytest
from cases import RULES, class_of, freeze, in_groups
from test_class_validation import N_TENSORS, Watched, arrays, by_name

import fastopt


def without_each_part(tree):
    """Copies of a tree of dicts and lists, each with one entry taken away somewhere."""
    if isinstance(tree, dict):
        for key in tree:
            yield {k: v for k, v in tree.items() if k != key}
            yield from ({**tree, key: part} for part in without_each_part(tree[key]))
    elif isinstance(tree, list | tuple):
        for i, item in enumerate(tree):
            yield type(tree)([*tree[:i], *tree[i + 1 :]])
            yield from (
                type(tree)([*tree[:i], part, *tree[i + 1 :]]) for part in without_each_part(item)
            )


def with_each_leaf_spoilt(tree):
    """Copies of a tree, each with one leaf of another type, shape, dtype or sign."""
    if isinstance(tree, dict):
        for key in tree:
            yield from ({**tree, key: part} for part in with_each_leaf_spoilt(tree[key]))
    elif isinstance(tree, list | tuple):
        for i, item in enumerate(tree):
            yield from (
                type(tree)([*tree[:i], part, *tree[i + 1 :]])
                for part in with_each_leaf_spoilt(item)
            )
    elif isinstance(tree, np.ndarray):
        yield tree[None]
        yield tree[:-1] if tree.ndim else tree.reshape(1)
        yield tree.astype(np.float64 if tree.dtype == np.float32 else np.float32)
        yield tree.astype(object)
        yield tree.tolist()
        yield None
    elif isinstance(tree, bool):
        yield "yes"
        yield None
    elif isinstance(tree, int):
        yield -1
        yield 2**53 + 1
        yield 1.5
        yield "1"
    elif isinstance(tree, float):
        yield float("nan")
        yield -1.0
        yield "x"
    elif isinstance(tree, str):
        yield "nonsense"
        yield None


def other_tensors():
    yield arrays(1)[:-1]
    yield [*arrays(1), np.ones(3, np.float32)]
    yield [array.T.copy() for array in arrays(1)]
    yield [array.astype(np.float64) for array in arrays(1)]


REFUSALS = (TypeError, ValueError)


@pytest.mark.parametrize("spoil", [without_each_part, with_each_leaf_spoilt])
@by_name
def test_a_state_dict_with_a_missing_or_bad_part_is_refused(rule, spoil):
    watched = Watched(rule)
    spoilt = list(spoil(watched.optimizer.state_dict()))
    assert len(spoilt) > len(rule.class_hypers)
    for state in spoilt:
        with pytest.raises(REFUSALS):
            watched.optimizer.load_state_dict(state)
        assert watched.everything() == watched.before
    watched.steps_on()


@by_name
def test_a_state_dict_of_another_optimizer_is_refused(rule):
    watched = Watched(rule)
    for other in RULES:
        if other is rule:
            continue
        state = Watched(other).optimizer.state_dict()
        watched.refuses(
            ValueError, other.name, lambda s=state: watched.optimizer.load_state_dict(s)
        )
    watched.steps_on()


@by_name
def test_a_state_dict_of_other_tensors_is_refused(rule):
    watched = Watched(rule)
    for params in other_tensors():
        if not rule.states and len(params) == N_TENSORS:
            # Without states nothing is left that would not fit
            continue
        other = class_of(rule)(params, lr=0.1)
        other.step(copy.deepcopy(params))
        state = other.state_dict()
        watched.refuses(ValueError, "state", lambda s=state: watched.optimizer.load_state_dict(s))
    groups = [{"params": part} for part in in_groups(arrays(1))]
    state = class_of(rule)(groups, lr=0.1).state_dict()
    watched.refuses(ValueError, "param_groups", lambda: watched.optimizer.load_state_dict(state))
    watched.steps_on()


def of_two_arrays(dtype):
    return [np.ones((2, 3), dtype), np.ones(3, dtype)]


def stepped_in_float64(cls, value):
    optimizer = cls(of_two_arrays(np.float64), lr=0.1)
    optimizer.step([np.ones((2, 3)), np.full(3, value)])
    return optimizer.state_dict()


def test_a_conversion_that_fails_changes_nothing():
    other = fastopt.NAdam(of_two_arrays(np.float32), lr=0.3)
    before = freeze(other.state_dict())
    too_large = stepped_in_float64(fastopt.NAdam, 1e30)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        other.load_state_dict(too_large, convert=True)
    assert freeze(other.state_dict()) == before
    misshapen = stepped_in_float64(fastopt.NAdam, 1.0)
    misshapen["state"][1]["mu_product"] = np.ones(3)
    with pytest.raises(ValueError, match=r"mu_product of state_dict\['state'\]\[1\] must be"):
        other.load_state_dict(misshapen, convert=True)
    assert freeze(other.state_dict()) == before


def test_numbers_that_a_conversion_rounds_to_0_are_no_error():
    other = fastopt.Adagrad(of_two_arrays(np.float32))
    with np.errstate(all="raise"):
        other.load_state_dict(stepped_in_float64(fastopt.Adagrad, 1e-30), convert=True)
    assert not other.state[1]["state_sum"].any()


@by_name
def test_what_is_no_state_dict_is_refused(rule):
    watched = Watched(rule)
    for state in (None, {}, [], "state", 1, np.ones(3), {"state": {}}, {"rule": rule.name}):
        with pytest.raises(REFUSALS):
            watched.optimizer.load_state_dict(state)
        assert watched.everything() == watched.before
    watched.steps_on()


def stepped(rule, params):
    optimizer = class_of(rule)(params, lr=0.1)
    optimizer.step([np.abs(param) for param in params])
    return optimizer


def flipped(content):
    return content[:200] + bytes([content[200] ^ 8]) + content[201:]


@by_name
def test_a_damaged_state_file_changes_nothing(rule, tmp_path):
    path = tmp_path / "s"
    watched = Watched(rule)
    watched.optimizer.save(path)
    content = path.read_bytes()
    for bad in (
        content[:-1],
        content[: len(content) // 2],
        b"",
        flipped(content),
        pickle.dumps(watched.optimizer.state_dict()),
    ):
        path.write_bytes(bad)
        caught = watched.refuses(
            fastopt.StateFileError, str(path), lambda: watched.optimizer.load(path)
        )
        assert isinstance(caught.value, ValueError)
    watched.steps_on()


@by_name
def test_a_state_file_of_another_optimizer_changes_nothing(rule, tmp_path):
    path = tmp_path / "s"
    watched = Watched(rule)
    for other in RULES:
        if other is not rule:
            Watched(other).optimizer.save(path)
            caught = watched.refuses(ValueError, other.name, lambda: watched.optimizer.load(path))
            assert str(path) in str(caught.value)
    watched.steps_on()


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if rule.states], ids=lambda rule: rule.name
)
def test_a_state_file_of_other_tensors_changes_nothing(rule, tmp_path):
    path = tmp_path / "s"
    watched = Watched(rule)
    for params in other_tensors():
        stepped(rule, params).save(path)
        caught = watched.refuses(ValueError, "state", lambda: watched.optimizer.load(path))
        assert str(path) in str(caught.value)
    watched.steps_on()


def test_a_state_file_that_is_not_there_or_a_folder_changes_nothing(tmp_path):
    watched = Watched(RULES[0])
    watched.refuses(
        FileNotFoundError, str(tmp_path / "none"), lambda: watched.optimizer.load(tmp_path / "none")
    )
    watched.refuses(IsADirectoryError, str(tmp_path), lambda: watched.optimizer.load(tmp_path))
    watched.steps_on()
