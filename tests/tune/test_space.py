"""Spaces: conditions, points and their keys, sizes, choices that are equal."""

import contextlib
import copy
import enum
import itertools
import math
import pickle
import sys
import tracemalloc

import numpy as np
import pytest
from tune_objectives import SPACE

from fastopt import tune
from fastopt.tune.space import categorical, levels

FINITE = {
    "rule": tune.Categorical(["adam", "nag", "sgd"]),
    "amsgrad": tune.Categorical([False, True], when={"rule": "adam"}),
    "power": tune.Int(1, 3, when={"rule": ["nag"]}),
    "deep": tune.Float(0.0, 1.0, step=0.5, when={"amsgrad": [True], "rule": ["adam"]}),
    "n": tune.Int(0, 1),
}


@pytest.mark.parametrize(
    ("space", "error", "words"),
    [
        ({}, ValueError, ["at least one"]),
        ([("a", tune.Int(0, 1))], TypeError, ["dict"]),
        ({"a": 3}, TypeError, ["'a'", "3"]),
        ({3: tune.Int(0, 1)}, TypeError, ["string", "3"]),
        ({"a": tune.Int(0, 1, when={"b": [1]})}, ValueError, ["'a'", "'b'", "not a parameter"]),
        ({"a": tune.Int(0, 1, when={"a": [1]})}, ValueError, ["'a'", "circle"]),
        (
            {"a": tune.Int(0, 1, when={"b": [1]}), "b": tune.Int(0, 1, when={"a": [1]})},
            ValueError,
            ["'a'", "'b'", "circle"],
        ),
        (
            {"a": tune.Int(0, 1), "b": tune.Int(0, 1, when={"a": [7]})},
            ValueError,
            ["'b'", "7"],
        ),
        (
            {"a": tune.Float(0.0, 1.0), "b": tune.Int(0, 1, when={"a": [0.5]})},
            ValueError,
            ["'b'", "'a'", "Float without step"],
        ),
        ({"a": tune.Int(0, 1), "b": tune.Int(0, 1, when={"a": []})}, ValueError, ["'b'", "'a'"]),
        ({"a": tune.Int(0, 1), "b": tune.Int(0, 1, when="a")}, TypeError, ["'b'", "when"]),
    ],
)
def test_bad_space_is_refused_naming_the_parameter(space, error, words):
    with pytest.raises(error) as caught:
        tune.Space(space)
    for word in words:
        assert word in str(caught.value)


def test_conditions_decide_which_parameters_are_there():
    space = tune.Space(FINITE)
    for u in np.random.default_rng(0).random((300, len(space))):
        params = space.decode(u)
        assert ("amsgrad" in params) == (params["rule"] == "adam")
        assert ("power" in params) == (params["rule"] == "nag")
        assert ("deep" in params) == (params.get("amsgrad") is True)
        assert list(params) == [name for name in FINITE if name in params]


def test_points_lists_the_whole_space_once():
    space = tune.Space(FINITE)
    points = list(space.points())
    keys = {space.key(params) for params in points}
    assert len(points) == len(keys) == space.size == 2 * ((1 + 3) + 3 + 1)
    drawn = {space.key(space.decode(u)) for u in np.random.default_rng(1).random((5000, 5))}
    assert drawn == keys


def test_points_changes_the_last_parameter_fastest():
    space = tune.Space({"a": tune.Int(0, 2), "b": tune.Categorical(["x", "y"])})
    expected = [{"a": a, "b": b} for a, b in itertools.product(range(3), "xy")]
    assert list(space.points()) == expected


def test_a_child_may_stand_before_its_parent():
    space = tune.Space(
        {
            "child": tune.Int(0, 1, when={"parent": [True]}),
            "parent": tune.Categorical([True, False]),
        }
    )
    assert space.size == 3
    assert list(space.points())[-1] == {"parent": False}
    assert space.decode([0.9, 0.1]) == {"child": 1, "parent": True}


def test_size_is_infinite_if_a_parameter_is_continuous():
    assert tune.Space(SPACE).size == math.inf
    with pytest.raises(ValueError, match="'lr' is a Float without step"):
        tune.Space(SPACE).points()


def test_size_counts_without_listing():
    assert tune.Space({str(i): tune.Int(1, 1000) for i in range(20)}).size == 1000**20


@pytest.mark.parametrize("parameters", [SPACE, FINITE], ids=["mixed", "finite"])
def test_snap_is_where_decode_evaluates(parameters):
    space = tune.Space(parameters)
    points = np.random.default_rng(2).random((500, len(space)))
    snapped = space.snap(points)
    np.testing.assert_array_equal(space.snap(snapped), snapped)
    discrete = [j for j, dimension in enumerate(space.dimensions) if dimension.levels is not None]
    for u, v in zip(points, snapped, strict=True):
        params = space.decode(u)
        assert space.key(space.decode(v)) == space.key(params)
        np.testing.assert_allclose(space.encode(params), v, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(space.encode(params)[discrete], v[discrete])


def test_active_agrees_with_decode():
    space = tune.Space(FINITE)
    points = np.random.default_rng(3).random((300, len(space)))
    for u, active in zip(points, space.active(points), strict=True):
        assert [name for name, on in zip(space.names, active, strict=True) if on] == list(
            space.decode(u)
        )


def test_dimensions_tell_a_strategy_what_it_needs():
    dimensions = {dimension.name: dimension for dimension in tune.Space(SPACE).dimensions}
    assert (dimensions["lr"].kind, dimensions["lr"].levels) == ("continuous", None)
    assert (dimensions["width"].kind, dimensions["width"].levels) == ("ordered", 61)
    assert (dimensions["rule"].kind, dimensions["rule"].levels) == ("categorical", 3)
    assert dimensions["beta"].parents == ((3, (0, 1)),)


def test_the_key_tells_points_apart_and_equal_ones_not():
    space = tune.Space({"c": tune.Categorical([True, 1, "1", (1,)]), "x": tune.Float(0.0, 1.0)})
    keys = {space.key({"c": choice, "x": 0.5}) for choice in (True, 1, "1", (1,))}
    assert len(keys) == 4
    assert space.key({"c": 1, "x": 0.5}) != space.key({"c": 1, "x": math.nextafter(0.5, 1)})


@pytest.mark.parametrize(
    ("params", "error", "words"),
    [
        ({"rule": "sgd"}, ValueError, ["'n'", "missing"]),
        ({"rule": "sgd", "n": 0, "m": 1}, ValueError, ["'m'", "not a parameter"]),
        ({"rule": "sgd", "n": 5}, ValueError, ["'n'", "5", "bounds"]),
        ({"rule": "sgd", "n": "0"}, TypeError, ["'n'", "'0'"]),
        ({"rule": "sgd", "n": 0, "power": 2}, ValueError, ["'power'", "absent"]),
        ({"rule": "lion", "n": 0}, ValueError, ["'rule'", "'lion'"]),
        (7, TypeError, ["dict"]),
    ],
)
def test_bad_params_are_refused_naming_the_parameter(params, error, words):
    with pytest.raises(error) as caught:
        tune.Space(FINITE).check(params)
    for word in words:
        assert word in str(caught.value)


def test_check_gives_the_spaces_own_values_in_order():
    checked = tune.Space(FINITE).check({"n": np.int64(1), "power": 2, "rule": "nag"})
    assert list(checked.items()) == [("rule", "nag"), ("power", 2), ("n", 1)]
    assert type(checked["n"]) is int


def test_a_condition_takes_a_range():
    space = tune.Space({"n": tune.Int(1, 9), "c": tune.Int(0, 1, when={"n": range(4, 7)})})
    assert space.active(space.encode({"n": 4})[None]).tolist() == [[True, True]]
    assert space.active(space.encode({"n": 7})[None]).tolist() == [[True, False]]


@contextlib.contextmanager
def little_work(steps, memory):
    """Refuse more steps of Python inside the block, and more bytes at any moment of it.

    Listing values in Python takes steps, and listing them in C takes memory.
    """
    taken, before = 0, sys.gettrace()

    def count(frame, event, argument):
        nonlocal taken
        taken += 1
        assert taken <= steps
        return count

    tracemalloc.start()
    sys.settrace(count)
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        sys.settrace(before)
        tracemalloc.stop()
    assert taken > 0
    assert 0 < peak <= memory


MILLION = 10**6
HUGE = [
    (tune.Int(1, MILLION), range(5, MILLION), [5, 6, MILLION - 1], [4, MILLION]),
    (tune.Int(1, MILLION), range(MILLION, 5, -3), [7, MILLION], [4, 5, 6, MILLION - 1]),
    (tune.Int(0, 10 * MILLION, step=10), range(50, 10 * MILLION, 20), [50, 70], [40, 60]),
    (tune.Int(1, 2**53), range(5, 2**53, 7), [5, 12], [4, 6]),
    (tune.Int(1, 10**5), list(range(5, 10**5)), [5, 6], [4, 10**5]),
    (tune.Int(1, 10**5), np.arange(5, 10**5), [5, 6], [4, 10**5]),
    (tune.Int(1, 10**5), set(range(5, 10**5)), [5, 6], [4, 10**5]),
    (tune.Float(0.0, 1e6, step=0.5), range(5, MILLION), [5.0, 6.0], [4.5, 5.5, 1e6]),
]


@pytest.mark.parametrize(("parent", "values", "inside", "outside"), HUGE, ids=range(len(HUGE)))
def test_a_condition_on_very_many_values_costs_little(parent, values, inside, outside):
    # What is a list already is read a few times. A range is not listed.
    listed = 0 if isinstance(values, range) else len(values)
    with little_work(steps=20_000 + 20 * listed, memory=100_000 + 250 * listed):
        space = tune.Space({"n": parent, "c": tune.Int(1, 2, when={"n": values})})
        assert space.size == parent.levels + len(values)
        for n in inside:
            assert space.check({"n": n, "c": 1}) == {"n": n, "c": 1}
            assert space.active(space.snap([[parent.to_unit(n), 0.5]])).tolist() == [[True, True]]
        for n in outside:
            assert space.check({"n": n}) == {"n": n}
            assert space.active(space.snap([[parent.to_unit(n), 0.5]])).tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("parent", "values", "first"),
    [
        (tune.Int(1, 999), range(5, 2**60), "1000 is outside"),
        (tune.Int(1, 999), range(900, -(2**60), -7), "-3 is outside"),
        (tune.Int(1, 999), range(2**60), "0 is outside"),
        (tune.Int(0, 2**50, step=2), range(4, 2**60, 3), "7 is not a point of the grid"),
        (tune.Int(0, 2**50, step=2), range(5, 2**60, 2), "5 is not a point of the grid"),
    ],
)
def test_the_first_value_that_a_range_may_not_have_is_named(parent, values, first):
    with pytest.raises(ValueError, match=first):
        tune.Space({"n": parent, "c": tune.Int(0, 1, when={"n": values})})


@pytest.mark.parametrize("seed", range(20))
def test_ranges_are_counted_as_their_values_are(seed, monkeypatch):
    monkeypatch.setattr(levels, "LISTED", 3)
    random = np.random.default_rng(seed)

    def some():
        first, step, n = random.integers([0, 1, 1], [20, 7, 20]).tolist()
        values = list(range(first, min(first + step * n, 60), step))
        return values + [59] * bool(random.integers(2))

    space = {"p0": tune.Int(0, 59), "p1": tune.Int(0, 59, when={"p0": some()})}
    for i in range(2, 6):
        space[f"p{i}"] = tune.Int(0, 1, when={"p0": some(), f"p{i - 1}": 0 if i > 2 else some()})
    space = tune.Space(space)
    assert space.size == sum(1 for _ in space.points())
    assert any(isinstance(allowed, range) for d in space.dimensions for _, allowed in d.parents)
    for point in random.random((200, len(space))):
        params = space.decode(point)
        active = dict(zip(space.names, space.active(point[None])[0], strict=True))
        assert {name for name, there in active.items() if there} == set(params)


def switches(n, chained):
    space = {}
    for i in range(n):
        when = {f"s{i - 1}": True} if chained and i else None
        space[f"s{i}"] = tune.Categorical([False, True], when=when)
        space[f"x{i}"] = tune.Int(1, 5, when={f"s{i}": True})
    return space


ALL = {f"s{i}": True for i in range(60)}
LARGE = [
    (switches(60, chained=False), 6**60),
    # With one switch less: nothing is behind a switch that is off. Behind one that is on are five
    # points and the rest.
    (switches(60, chained=True), 1 + sum(5**i for i in range(1, 61))),
    (
        {
            **{name: tune.Categorical([False, True]) for name in ALL},
            "x": tune.Int(1, 5, when=ALL),
        },
        2**60 + 4,
    ),
    ({"n": tune.Int(1, 10**7), "x": tune.Int(0, 9, when={"n": [1, 2]})}, 10**7 + 18),
    ({"c": tune.Categorical([str(i) for i in range(60_000)])}, 60_000),
]


@pytest.mark.parametrize(("parameters", "size"), LARGE, ids=range(len(LARGE)))
def test_counting_a_large_space_costs_about_the_square_of_the_number_of_parameters(
    parameters, size
):
    square = len(parameters) ** 2
    with little_work(steps=5_000 + 40 * square, memory=50_000 + 150 * square):
        assert tune.Space(parameters).size == size


@pytest.mark.parametrize("seed", range(20))
def test_size_is_the_number_of_points(seed):
    random = np.random.default_rng(seed)
    space = {}
    for i in range(6):
        parents = random.choice(i, random.integers(0, min(i, 3) + 1), replace=False)
        when = {
            f"p{j}": random.choice(3, random.integers(1, 3), replace=False).tolist()
            for j in parents
        }
        space[f"p{i}"] = tune.Int(0, int(random.integers(2, 4)), when=when or None)
    space = tune.Space(space)
    assert space.size == len({space.key(point) for point in space.points()})


class Rule(str, enum.Enum):
    ADAM = "adam"


def test_choices_are_found_by_equality_whatever_their_hash():
    choices = [1, True, "nag", Rule.ADAM, (1, 2), [3], {"a"}, None, 0.5]
    parameter = tune.Categorical(choices)
    assert [parameter.index(choice) for choice in choices] == list(range(len(choices)))
    assert parameter.index("adam") == 3
    assert parameter.index(frozenset({"a"})) == 6
    assert parameter.index(np.float64(0.5)) == 8
    assert parameter.index(np.bool_(True)) == 1
    for value in (0, False, "x", 1.5, [4]):
        with pytest.raises(ValueError, match="not one of the choices"):
            parameter.index(value)


def test_dicts_and_objects_without_an_equality_are_found_without_a_search(monkeypatch):
    choices = [{"a": i, 1: [None, {"b": str(i)}]} for i in range(50)]
    choices += [object() for _ in range(50)] + [lambda: 0, lambda: 0]
    monkeypatch.setattr(categorical, "_same", None)
    parameter = tune.Categorical(choices)
    assert [parameter.index(choice) for choice in choices] == list(range(len(choices)))
    assert parameter.index({1: [None, {"b": "7"}], "a": 7.0}) == 7
    with pytest.raises(ValueError, match="twice"):
        tune.Categorical([*choices, choices[60]])
    with pytest.raises(ValueError, match="not one of the choices"):
        parameter.index({"a": 7})


def test_objects_are_found_in_a_copy_and_a_pickle_among_its_own_choices():
    parameter = tune.Categorical([object(), object(), [{}], "nag"], initial="nag")
    for other in (copy.deepcopy(parameter), pickle.loads(pickle.dumps(parameter))):
        assert [other.index(choice) for choice in other.choices] == [0, 1, 2, 3]
        assert other.initial == "nag"
        with pytest.raises(ValueError, match="not one of the choices"):
            other.index(parameter.choices[0])


def test_lists_and_tuples_of_plain_values_are_found_without_a_search(monkeypatch):
    choices = [kind([i, None, [str(i)]]) for i in range(50) for kind in (list, tuple)]
    monkeypatch.setattr(categorical, "_same", None)
    parameter = tune.Categorical(choices)
    assert [parameter.index(choice) for choice in choices] == list(range(100))
    assert parameter.index([7.0, None, ["7"]]) == 14
    with pytest.raises(ValueError, match="twice"):
        tune.Categorical([*choices, [True, None, ["1"]]])
    with pytest.raises(ValueError, match="not one of the choices"):
        parameter.index([7, None, "7"])
