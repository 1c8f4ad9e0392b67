"""What ``minimize`` and the methods of SciPy are given: arguments, callbacks, what is refused."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import scipy.optimize
from test_minimize import bowl, bowl_and_gradient, bowl_gradient, each_rule, solve

import fastopt

# what is passed to SciPy


def test_methods_are_those_of_the_table():
    assert list(fastopt.methods) == list(fastopt.RULES)
    with pytest.raises(TypeError):
        fastopt.methods["adam"] = None


@each_rule
def test_method_is_pickled_and_copied(rule):
    method = fastopt.methods[rule]
    for same in (pickle.loads(pickle.dumps(method)), copy.deepcopy(method)):
        result = scipy.optimize.minimize(
            bowl, [0.0], jac=bowl_gradient, method=same, options={"lr": 0.1, "maxiter": 3}
        )
        assert result.nit == 3


def test_scipy_with_jac_true_evaluates_once_a_step():
    calls = []

    def fun(x):
        calls.append(x)
        return bowl_and_gradient(x)

    method = fastopt.methods["sgd"]
    result = scipy.optimize.minimize(fun, [0.0, 1.0], jac=True, method=method, options={"lr": 0.1})
    assert result.success
    assert len(calls) == result.nfev == result.njev == result.nit + 1


def test_scipy_without_a_gradient_uses_forward_differences():
    method = fastopt.methods["sgd"]
    with pytest.warns(RuntimeWarning, match="jac is not given: every step evaluates fun 2 times"):
        result = scipy.optimize.minimize(bowl, [0.0, 1.0], method=method, options={"lr": 0.1})
    assert result.success
    assert result.nfev == 3 * result.njev == 3 * (result.nit + 1)
    np.testing.assert_allclose(result.x, 3.0, atol=1e-5)


def test_tolerance_of_scipy_gives_way_to_gtol():
    def last_gradient(tol=None, **options):
        method = fastopt.methods["sgd"]
        options = {"lr": 0.1, **options}
        result = scipy.optimize.minimize(
            bowl, [0.0], jac=bowl_gradient, method=method, tol=tol, options=options
        )
        return abs(result.jac[0])

    assert 1e-6 < last_gradient() <= 1e-5
    assert 1e-2 < last_gradient(tol=1e-1) <= 1e-1
    assert 1e-4 < last_gradient(tol=1e-1, gtol=1e-3) <= 1e-3


def test_scipy_passes_args_and_callback_on():
    seen = []
    result = scipy.optimize.minimize(
        lambda x, target, scale: scale * np.sum((x - target) ** 2),
        [0.0],
        args=(2.0, 3.0),
        jac=lambda x, target, scale: 2 * scale * (x - target),
        method=fastopt.methods["sgd"],
        options={"lr": 0.1},
        callback=seen.append,
    )
    np.testing.assert_allclose(result.x, 2.0, atol=1e-5)
    assert len(seen) == result.nit


@pytest.mark.parametrize(
    "bounds", [[(0, 1), (0, 1)], scipy.optimize.Bounds([0, 0], [1, 1])], ids=["pairs", "Bounds"]
)
def test_bounds_are_an_error(bounds):
    with pytest.raises(ValueError, match="method 'sgd' cannot keep to bounds, got"):
        scipy.optimize.minimize(
            bowl, [0.0, 0.0], method=fastopt.methods["sgd"], bounds=bounds, options={"lr": 0.1}
        )
    with pytest.raises(ValueError, match="method 'sgd' cannot keep to bounds, got"):
        solve(bounds=bounds)


@pytest.mark.parametrize(
    "constraints",
    [
        {"type": "eq", "fun": bowl},
        [{"type": "ineq", "fun": bowl}],
        scipy.optimize.LinearConstraint(np.ones((1, 2)), 0, 1),
        scipy.optimize.NonlinearConstraint(bowl, 0, 1),
    ],
    ids=["dict", "list", "linear", "nonlinear"],
)
def test_constraints_are_an_error(constraints):
    with pytest.raises(ValueError, match="method 'sgd' cannot keep to constraints, got"):
        scipy.optimize.minimize(
            bowl,
            [0.0, 0.0],
            method=fastopt.methods["sgd"],
            constraints=constraints,
            options={"lr": 0.1},
        )
    with pytest.raises(ValueError, match="method 'sgd' cannot keep to constraints, got"):
        solve(constraints=constraints)


@pytest.mark.parametrize("name", ["hess", "hessp"])
def test_second_derivatives_are_a_warning(name):
    with pytest.warns(RuntimeWarning, match=f"method 'sgd' does not use {name}$") as caught:
        result = solve(**{name: lambda x: np.eye(2)})
    assert result.success
    # The line that calls minimize.
    assert caught[0].filename == solve.__code__.co_filename


@pytest.mark.parametrize(
    "bounds",
    [
        [(None, None), (None, None)],
        [(-np.inf, np.inf), (None, np.inf)],
        scipy.optimize.Bounds(-np.inf, np.inf),
        scipy.optimize.Bounds([-np.inf] * 2, [np.inf] * 2),
        [],
    ],
    ids=["None", "infinite", "Bounds", "Bounds of arrays", "empty"],
)
def test_bounds_that_bind_nothing_are_taken(bounds):
    assert solve(bounds=bounds).x.tobytes() == solve().x.tobytes()


@pytest.mark.parametrize("bounds", [[(None, 1), (None, None)], [(-np.inf, None), (0, None)], 3])
def test_bounds_that_bind_one_side_are_an_error(bounds):
    with pytest.raises(ValueError, match="method 'sgd' cannot keep to bounds, got"):
        solve(bounds=bounds)


# limits and names


def test_maxiter_is_taken_as_scipy_takes_it():
    assert solve(gtol=0.0, lr=1e-9, maxiter=100.1).nit == 100
    assert solve(gtol=0.0, lr=1e-9, maxiter=np.float64(7.9)).nit == 7
    assert solve(gtol=0.0, lr=1e-9, maxiter=None).nit == 10_000
    assert solve(maxiter=np.inf).success


def test_maxfun_ends_the_run_before_the_next_step():
    result = solve(gtol=0.0, lr=1e-9, maxfun=25)
    assert (result.success, result.status, result.nfev, result.nit) == (False, 1, 25, 24)
    assert "25 evaluations, maxfun=25" in result.message
    # Two elements: a gradient by differences takes three evaluations.
    result = solve(jac="2-point", gtol=0.0, lr=1e-9, maxfun=10)
    assert (result.nfev, result.nit) == (12, 3)
    assert solve(maxfun=0).nit == 0


def test_method_is_found_in_either_case():
    assert solve(method="SGD").x.tobytes() == solve(method="sgd").x.tobytes()
    assert solve(method="AdamW").nit == solve(method="adamw").nit


def test_a_run_without_jac_says_what_it_costs_and_a_named_difference_does_not():
    with pytest.warns(RuntimeWarning, match="fun 2 times more for differences.*jac='2-point'") as w:
        silent = solve(jac=None)
    assert w[0].filename == solve.__code__.co_filename
    assert solve(jac="2-point").x.tobytes() == silent.x.tobytes()


# callbacks


def test_callback_gets_a_copy_of_every_iterate():
    seen = []
    result = solve(callback=seen.append)
    assert len(seen) == result.nit
    assert seen[0].tolist() == [0.1 * 6.0] * 2
    assert seen[-1].tobytes() == result.x.tobytes()


def test_callback_with_intermediate_result_gets_one():
    seen = []

    def callback(intermediate_result):
        seen.append(intermediate_result)

    result = solve(callback=callback)
    assert len(seen) == result.nit
    assert all(type(one) is scipy.optimize.OptimizeResult for one in seen)
    assert all(one.fun == bowl(one.x) for one in seen)


def test_callback_stops_the_run():
    seen = []

    def callback(x):
        seen.append(x)
        if len(seen) == 3:
            raise StopIteration

    result = solve(callback=callback)
    assert (result.success, result.status, result.nit) == (False, 99, 3)
    assert result.message == "`callback` raised `StopIteration`."
    assert result.x.tobytes() == seen[-1].tobytes()


def test_other_errors_of_callback_and_functions_pass_through():
    def fails(*arguments):
        raise ZeroDivisionError

    for name in ("fun", "jac", "callback", "lr"):
        with pytest.raises(ZeroDivisionError):
            solve(**{name: fails})


# bad arguments


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"method": "sdg"}, ValueError, r"method must be one of 'sgd', .* did you mean 'sgd'"),
        ({"method": None}, TypeError, "method must be one of .* got None"),
        ({"method": []}, TypeError, r"method must be one of .* got \[\]"),
        ({"fun": 1.0}, TypeError, "fun must be callable, got float"),
        ({"jac": "4-point"}, ValueError, "jac must be callable, True, None or one of .* '4-point'"),
        ({"jac": 3}, ValueError, "jac must be callable, True, None or one of .* got 3"),
        ({"callback": 1}, TypeError, "callback must be callable, got int"),
        ({"x0": ["a"]}, TypeError, "x0 must be an array of real numbers, got dtype <U1"),
        ({"x0": [1j]}, TypeError, "x0 must be an array of real numbers, got dtype complex128"),
        ({"x0": [True]}, TypeError, "x0 must be an array of real numbers, got dtype bool"),
        ({"x0": None}, TypeError, "x0 must be an array of real numbers, got dtype object"),
        ({"maxiter": -1}, ValueError, "maxiter must be at least 0, got -1"),
        ({"maxiter": "10"}, TypeError, "maxiter must be a number, got '10'"),
        ({"maxiter": True}, TypeError, "maxiter must be a number, got True"),
        ({"maxiter": np.nan}, ValueError, "maxiter must be a finite number, got nan"),
        ({"maxfun": -1}, ValueError, "maxfun must be at least 0, got -1"),
        ({"gtol": -1e-3}, ValueError, "gtol must be at least 0, got -0.001"),
        ({"gtol": np.nan}, ValueError, "gtol must be a finite number, got nan"),
        ({"gtol": "small"}, TypeError, "gtol must be a number, got 'small'"),
        ({"maximize": True}, TypeError, "minimize takes no maximize"),
        ({"beta3": 1.0}, TypeError, "unexpected keyword argument 'beta3'"),
        ({"learning_rate": 1.0}, TypeError, "unexpected keyword argument 'learning_rate'"),
        ({"lr": None}, TypeError, "needs the keyword argument lr"),
        ({"lr": -1.0}, ValueError, "lr must be .* got -1.0"),
        ({"lr": "0.1"}, TypeError, "lr must be .* got str '0.1'"),
        ({"lr": lambda step: -1.0}, ValueError, r"lr\(1\) must be .* got -1.0"),
        ({"lr": lambda step: None if step > 1 else 0.1}, TypeError, "lr"),
        ({"method": "momentum", "momentum": 1.0}, ValueError, "momentum must be .* got 1.0"),
    ],
)
def test_bad_argument_is_refused_before_the_first_step(keywords, error, message):
    x0 = np.zeros(2)
    with pytest.raises(error, match=message):
        solve(**{"x0": x0, **keywords})
    assert x0.tobytes() == bytes(16)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (None, TypeError, "fun must return a real number, got None"),
        ("1", TypeError, "fun must return a real number, got '1'"),
        (1j, TypeError, "fun must return a real number, got 1j"),
        (np.ones(2), ValueError, r"fun must return one number, got an array of shape \(2,\)"),
        ((1.0, np.ones(2)), ValueError, "fun must return one number, got a tuple; jac=True is for"),
    ],
)
def test_bad_value_of_the_function_is_refused(value, error, message):
    with pytest.raises(error, match=message):
        solve(fun=lambda x: value)


@pytest.mark.parametrize(
    ("gradient", "error", "message"),
    [
        (None, TypeError, "jac must give an array of real numbers, got dtype object"),
        ([1j, 1j], TypeError, "jac must give an array of real numbers, got dtype complex128"),
        (np.ones(3), ValueError, r"jac must give the shape of x, \(2,\), got \(3,\)"),
        (np.ones((2, 1)), ValueError, r"jac must give the shape of x, \(2,\), got \(2, 1\)"),
        (1.0, ValueError, r"jac must give the shape of x, \(2,\), got \(1,\)"),
    ],
)
def test_bad_gradient_is_refused(gradient, error, message):
    with pytest.raises(error, match=message):
        solve(jac=lambda x: gradient)
    with pytest.raises(error, match=message):
        solve(fun=lambda x: (bowl(x), gradient), jac=True)


def test_function_that_owes_its_gradient_is_refused():
    message = r"fun must return \(value, gradient\) with jac=True, got float"
    with pytest.raises(ValueError, match=message):
        solve(jac=True)


def test_complex_step_needs_a_complex_function():
    with pytest.raises(TypeError, match="fun must return a complex number for complex x"):
        solve(fun=lambda x: np.sum(np.abs(x)), jac="cs")


def test_import_of_fastopt_does_not_import_scipy():
    code = "import sys, fastopt; print([name for name in sys.modules if name.startswith('scipy')])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
