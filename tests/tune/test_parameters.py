"""Parameters: grids, the unit interval and back, what is refused."""

import math

import numpy as np
import pytest
import scipy.stats

from fastopt import tune

ORDERED = [
    tune.Int(0, 9),
    tune.Int(1, 1000, log=True),
    tune.Int(-7, 20, step=4),
    tune.Int(3, 1001, log=True, step=10),
    tune.Float(0.1, 0.9, step=0.1),
    tune.Float(0.5, 64.0, log=True, step=0.5),
    tune.Float(-1.0, 1.0, step=0.3),
    tune.Float(2.5, 2.5),
    tune.Int(5, 5, log=True),
]
CONTINUOUS = [
    tune.Float(-3.0, 7.0),
    tune.Float(1e-8, 1e3, log=True),
    tune.Float(scipy.stats.norm(1.0, 2.0)),
    tune.Float(scipy.stats.loguniform(1e-3, 10.0)),
]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: tune.Float(2.0, 1.0), ValueError, ["low=2.0", "high=1.0", "greater"]),
        (lambda: tune.Float(0.0, 1.0, log=True), ValueError, ["log=True", "low > 0", "0.0"]),
        (lambda: tune.Float(-1.0, 1.0, log=True), ValueError, ["log=True", "-1.0"]),
        (lambda: tune.Float(math.nan, 1.0), ValueError, ["low", "nan", "finite"]),
        (lambda: tune.Float(0.0, math.inf), ValueError, ["high", "inf", "finite"]),
        (lambda: tune.Float(-1e308, 1.7e308), ValueError, ["high - low", "finite"]),
        (lambda: tune.Float(0.0, 1.0, step=0.0), ValueError, ["step=0.0"]),
        (lambda: tune.Float(0.0, 1.0, step=-0.1), ValueError, ["step=-0.1"]),
        (lambda: tune.Float(0.0, 1.0, step=math.nan), ValueError, ["step", "nan"]),
        (lambda: tune.Float(0.0, 1.0, step=1e-300), ValueError, ["2**53"]),
        (lambda: tune.Float(0.0, 1.0, initial=2.0), ValueError, ["2.0", "bounds"]),
        (lambda: tune.Float(0.0, 1.0, step=0.5, initial=0.3), ValueError, ["0.3", "grid"]),
        (lambda: tune.Float("0", 1.0), TypeError, ["low", "'0'"]),
        (lambda: tune.Float(False, 1.0), TypeError, ["low", "False"]),
        (lambda: tune.Float(0.0, 1.0, log="yes"), TypeError, ["log", "'yes'"]),
        (lambda: tune.Float(1.0), TypeError, ["low and high"]),
        (lambda: tune.Float(scipy.stats.poisson(2.0)), TypeError, ["continuous"]),
        (lambda: tune.Float(scipy.stats.norm(0.0, -1.0)), ValueError, ["invalid"]),
        (lambda: tune.Float(scipy.stats.gamma), TypeError, ["frozen", "gamma_gen"]),
        (lambda: tune.Float(scipy.stats.norm(), log=True), ValueError, ["neither log nor step"]),
        (lambda: tune.Int(3, 1), ValueError, ["low=3", "high=1"]),
        (lambda: tune.Int(0, 8, log=True), ValueError, ["log=True", "low > 0"]),
        (lambda: tune.Int(0, 8, step=0), ValueError, ["step=0"]),
        (lambda: tune.Int(0, 1.5), TypeError, ["high", "1.5", "integer"]),
        (lambda: tune.Int(0, math.nan), ValueError, ["high", "nan"]),
        (lambda: tune.Int(0, True), TypeError, ["high", "True"]),
        (lambda: tune.Int(0, np.timedelta64(8, "s")), TypeError, ["high", "timedelta64"]),
        (lambda: tune.Int(0, 2**54), ValueError, ["2**53"]),
        (lambda: tune.Int(0, 8, step=4, initial=3), ValueError, ["3", "grid"]),
        (lambda: tune.Categorical([]), ValueError, ["at least one"]),
        (lambda: tune.Categorical(["a", "b", "a"]), ValueError, ["'a'", "twice"]),
        (lambda: tune.Categorical([1, 1.0]), ValueError, ["twice"]),
        (lambda: tune.Categorical("adam"), TypeError, ["list or a tuple", "'adam'"]),
        (lambda: tune.Categorical({"a", "b"}), TypeError, ["list or a tuple"]),
        (lambda: tune.Categorical(["a"], initial="b"), ValueError, ["'b'", "choices"]),
    ],
)
def test_bad_parameter_is_refused_with_what_it_got(make, error, words):
    with pytest.raises(error) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("parameter", ORDERED, ids=repr)
def test_every_grid_point_returns_from_its_place_in_the_unit_interval(parameter):
    levels = np.arange(parameter.levels)
    units = parameter.unit(levels)
    assert np.all((units > 0.0) & (units < 1.0))
    assert np.all(np.diff(units) > 0.0)
    np.testing.assert_array_equal(parameter.nearest(units), levels)
    for i in range(parameter.levels):
        value = parameter.value(i)
        assert parameter.index(value) == i
        assert parameter.from_unit(parameter.to_unit(value)) == value
        assert parameter.low <= value <= parameter.high
    assert parameter.from_unit(0.0) == parameter.value(0)
    assert parameter.from_unit(1.0) == parameter.value(parameter.levels - 1)


@pytest.mark.parametrize("parameter", ORDERED[:1] + ORDERED[2:3] + ORDERED[4:5], ids=repr)
def test_every_level_owns_an_equal_share_of_the_interval(parameter):
    shares = np.bincount(parameter.nearest((np.arange(50_400) + 0.5) / 50_400))
    np.testing.assert_array_equal(shares, 50_400 // parameter.levels)


def test_an_integer_under_log_owns_the_logarithm_of_its_widened_cell():
    parameter = tune.Int(1, 4, log=True)
    u = (np.arange(100_000) + 0.5) / 100_000
    shares = np.bincount(parameter.nearest(u))[0:] / u.size
    edges = np.log([0.5, 1.5, 2.5, 3.5, 4.5])
    np.testing.assert_allclose(shares, np.diff(edges) / (edges[-1] - edges[0]), atol=2e-5)


def test_steps_are_decimal_sums():
    values = [tune.Float(0.1, 1.0, step=0.1).value(i) for i in range(10)]
    assert [repr(value) for value in values] == [
        "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0",
    ]  # fmt: skip


def test_a_step_that_does_not_divide_the_range_is_kept():
    parameter = tune.Float(0.0, 1.0, step=0.3)
    assert [parameter.value(i) for i in range(parameter.levels)] == [0.0, 0.3, 0.6, 0.9]
    assert tune.Int(1, 10, step=4).levels == 3


def test_a_rounding_error_is_not_another_grid_point():
    assert tune.Float(0.0, 1.0, step=0.1).check(0.1 + 0.1 + 0.1) == 0.3


@pytest.mark.parametrize("parameter", CONTINUOUS, ids=repr)
def test_continuous_values_return_from_the_unit_interval(parameter):
    for u in np.linspace(0.01, 0.99, 37):
        value = parameter.from_unit(u)
        assert isinstance(value, float)
        assert parameter.low <= value <= parameter.high
        assert parameter.to_unit(value) == pytest.approx(u, rel=1e-12, abs=1e-12)
    assert math.isfinite(parameter.from_unit(0.0))
    assert math.isfinite(parameter.from_unit(1.0))


def test_bounds_of_a_float_are_reached_exactly():
    parameter = tune.Float(0.1, 0.7, log=True)
    assert (parameter.from_unit(0.0), parameter.from_unit(1.0)) == (0.1, 0.7)


def test_log_is_even_in_the_logarithm():
    assert tune.Float(1e-4, 1e2, log=True).from_unit(0.5) == pytest.approx(0.1, rel=1e-14)


def test_values_are_python_numbers_for_numpy_bounds():
    assert type(tune.Float(np.float32(0.5), np.int64(2)).from_unit(0.3)) is float
    assert type(tune.Int(np.int32(1), np.int64(5)).from_unit(0.3)) is int


def test_choices_may_be_any_objects():
    array = np.arange(3)
    choices = [None, True, 1, "a", (64, 64), array, math.sin]
    parameter = tune.Categorical(choices)
    for i, choice in enumerate(choices):
        assert parameter.index(choice) == i
        assert parameter.value(i) is choice
    assert repr(tune.Categorical([array, 1], initial=array)).endswith("initial=array([0, 1, 2]))")


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        (tune.Float(0.1, 0.7, step=0.1), 0.1 * 7, 0.7),
        (tune.Float(-0.3, 0.3, step=0.1), -0.1 * 3, -0.3),
        (tune.Float(0.1, 0.7), 0.1 * 7, 0.7),
        (tune.Float(0.1, 1.0, log=True), 0.1 * (1 - 2**-52), 0.1),
        (tune.Int(0, 8), 3.0, 3),
        (tune.Int(0, 8), np.float32(8.0), 8),
    ],
)
def test_a_number_that_a_rounding_error_or_its_type_sets_apart_is_accepted(
    parameter, value, expected
):
    checked = parameter.check(value)
    assert checked == expected
    assert type(checked) is type(expected)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        (tune.Float(0.1, 0.7, step=0.1), 0.8),
        (tune.Float(0.1, 0.7, step=0.1), 0.70001),
        (tune.Float(0.1, 0.7), 0.7000001),
        (tune.Int(0, 8), 9.0),
    ],
)
def test_what_is_outside_of_the_bounds_is_said_to_be(parameter, value):
    with pytest.raises(ValueError, match="outside of the bounds"):
        parameter.check(value)


@pytest.mark.parametrize(("low", "high"), [(1e-200, 1e200), (5e-324, 1.0), (1e-308, 1.7e308)])
def test_log_holds_any_two_positive_numbers(low, high):
    parameter = tune.Float(low, high, log=True)
    for u in np.linspace(0.0, 1.0, 11):
        value = parameter.from_unit(u)
        exact = u * np.log(high) + (1 - u) * np.log(low)
        assert abs(np.log(value) - exact) < 1e-10 * np.log(high) - 1e-10 * np.log(low)
        assert abs(parameter.to_unit(value) - u) < 1e-12
    study = tune.Study({"x": parameter}, strategy="bayes", seed=0)
    study.run(lambda params: abs(np.log(params["x"])), 15)
    assert len({trial.params["x"] for trial in study.trials}) == 15
