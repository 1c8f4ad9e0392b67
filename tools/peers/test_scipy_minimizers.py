"""SciPy's own generic tests of minimisers, each with all of our rules as methods."""

from unittest import mock

import pytest
from scipy import optimize
from scipy.optimize.tests import test_optimize as theirs

import fastopt
from fastopt.schedules import exponential

METHODS = list(fastopt.methods)
# SciPy's tests leave all options at their defaults. A learning rate has none that suits every
# function, and decoupled weight decay moves the minimum.
SETTINGS = {name: {"lr": 0.1} for name in METHODS} | {
    "sgd": {"lr": 5e-3},
    "momentum": {"lr": 1e-3},
    "nag": {"lr": 1e-3},
    "adagrad": {"lr": 0.5},
    "adadelta": {"lr": 50.0},
    "adamw": {"lr": 0.1, "weight_decay": 0.0},
    # Whose steps do not become smaller by themselves, or are long remembered
    "lion": {"lr": exponential(0.1, 0.5, steps=80), "weight_decay": 0.0},
    "ademamix": {"lr": exponential(0.1, 0.5, steps=150), "beta3": 0.99},
    "stableadamw": {"lr": 0.1, "weight_decay": 0.0},
    "lamb": {"lr": exponential(0.1, 0.5, steps=80), "weight_decay": 0.0},
    "lars": {"lr": exponential(30.0, 0.5, steps=80)},
}
# Some of the functions refuse to be called 6,000 times, and differences cost calls, too.
MAXITER = 1000
scipy_minimize = optimize.minimize
calls = 0


def minimize(*arguments, method=None, **keywords):
    """SciPy's function, where ours have names as its own methods have."""
    global calls
    if method in fastopt.methods:
        calls += 1
        given = keywords.get("options", {})
        keywords["options"] = {"maxiter": MAXITER, **SETTINGS[method], **given}
    return scipy_minimize(*arguments, method=fastopt.methods.get(method, method), **keywords)


@pytest.fixture(autouse=True)
def by_name():
    before = calls
    with (
        mock.patch.object(optimize, "minimize", minimize),
        mock.patch.object(theirs, "MINIMIZE_METHODS", METHODS),
    ):
        yield
    assert calls > before


def with_ours(test):
    """The test with our methods in place of SciPy's."""
    ours = pytest.mark.parametrize("method", METHODS)
    others = [mark for mark in getattr(test, "pytestmark", []) if mark.args[:1] != ("method",)]
    test.pytestmark = [*others, ours.mark]
    return test


class TestOptimizeSimple(theirs.CheckOptimize):
    for name in (
        "test_minimize_callback_copies_array",
        "test_no_increase",
        "test_respect_maxiter",
        "test_nan_values",
        "test_duplicate_evaluations",
        "test_callback_stopiteration",
    ):
        locals()[name] = with_ours(getattr(theirs.TestOptimizeSimple, name))


class TestOptimizeResultAttributes(theirs.TestOptimizeResultAttributes):
    pass


test_minimize_maxiter_noninteger = with_ours(theirs.test_minimize_maxiter_noninteger)
test_x_overwritten_user_function = theirs.test_x_overwritten_user_function
