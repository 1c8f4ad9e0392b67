"""`fastopt.minimize` and the methods for `scipy.optimize.minimize`."""

import numpy as np
import pytest
import scipy.optimize

import fastopt
from fastopt.schedules import cosine, exponential, linear

# What a rule needs to solve both problems below to a gradient within 1e-5. With a constant learning
# rate, the steps of some rules do not shrink near the minimum: those of Adadelta, RMSprop and NAdam
# follow their averages, all steps of Lion have one size, and those of LAMB and LARS are in
# proportion to the norm of the parameter.
SETTINGS = {
    "sgd": {"lr": 1.5e-3},
    "momentum": {"lr": 1e-3, "momentum": 0.95},
    "nag": {"lr": 1e-3, "momentum": 0.95},
    "adagrad": {"lr": 1.0},
    "adadelta": {"lr": exponential(1.0, 0.5, steps=2000), "rho": 0.99},
    "adam": {"lr": 0.05},
    "adamw": {"lr": 0.05, "weight_decay": 0.0},
    "rmsprop": {"lr": exponential(0.01, 0.5, steps=1000)},
    "lion": {"lr": exponential(0.01, 0.5, steps=1000), "weight_decay": 0.0},
    "adamax": {"lr": 0.05},
    "radam": {"lr": 2e-3},
    "rprop": {"lr": 0.01, "step_size_min": 1e-12},
    "nadam": {"lr": exponential(0.05, 0.5, steps=2000)},
    "adopt": {"lr": exponential(0.02, 0.5, steps=2000), "beta2": 0.99},
    "ademamix": {"lr": exponential(0.02, 0.5, steps=2000), "beta3": 0.99},
    "asgd": {"lr": 1.5e-3, "lambd": 0.0},
    "stableadamw": {"lr": exponential(0.05, 0.5, steps=2000), "weight_decay": 0.0},
    "lamb": {"lr": exponential(0.1, 0.5, steps=400), "weight_decay": 0.0},
    "lars": {"lr": exponential(30.0, 0.5, steps=400)},
    # With rising rates an average forgets faster.
    "schedule_free_sgd": {"lr": linear(1e-3, 8e-3, steps=30_000), "momentum": 0.95},
    "schedule_free_adamw": {"lr": 0.02, "beta1": 0.95, "eps": 1.0, "warmup_steps": 30_000},
    "prodigy": {"lr": 1.0},
}
STEPS = 30_000

# Condition number 1000, and no axis along an eigenvector.
ROTATION = np.linalg.qr(np.random.default_rng(0).standard_normal((10, 10)))[0]
MATRIX = ROTATION @ np.diag(np.logspace(0, 3, 10)) @ ROTATION.T
SOLUTION = np.linspace(-1.0, 2.0, 10)


def quadratic(x):
    return 0.5 * (x - SOLUTION) @ MATRIX @ (x - SOLUTION)


def quadratic_gradient(x):
    return MATRIX @ (x - SOLUTION)


PROBLEMS = {
    "rosenbrock": (
        scipy.optimize.rosen,
        scipy.optimize.rosen_der,
        np.array([-1.2, 1.0]),
        np.ones(2),
    ),
    "quadratic": (quadratic, quadratic_gradient, np.zeros(10), SOLUTION),
}

each_rule = pytest.mark.parametrize("rule", fastopt.RULES)
each_problem = pytest.mark.parametrize(
    ("fun", "jac", "x0", "solution"), PROBLEMS.values(), ids=PROBLEMS
)


def bowl(x):
    return float(np.sum((x - 3.0) ** 2))


def bowl_gradient(x):
    return 2.0 * (x - 3.0)


def bowl_and_gradient(x):
    return bowl(x), bowl_gradient(x)


def solve(**keywords):
    """A run that succeeds, with anything replaced."""
    given = {"fun": bowl, "x0": np.zeros(2), "jac": bowl_gradient, "method": "sgd", "lr": 0.1}
    return fastopt.minimize(**{**given, **keywords})


# every rule solves both problems, from both sides


def test_every_rule_has_settings():
    assert list(SETTINGS) == list(fastopt.RULES), "give the new rule an entry in SETTINGS"


@each_rule
@each_problem
def test_every_rule_solves(rule, fun, jac, x0, solution):
    before = x0.copy()
    result = fastopt.minimize(fun, x0, jac=jac, method=rule, maxiter=STEPS, **SETTINGS[rule])
    assert result.success
    assert result.status == 0
    assert np.abs(jac(result.x)).max() <= 1e-5
    np.testing.assert_allclose(result.x, solution, atol=1e-4)
    assert x0.tobytes() == before.tobytes()


@each_rule
@each_problem
def test_a_method_of_scipy_takes_the_steps_of_the_rule(rule, fun, jac, x0, solution):
    options = {"maxiter": 300, **SETTINGS[rule]}
    method = fastopt.methods[rule]
    result = scipy.optimize.minimize(fun, x0, jac=jac, method=method, options=options)
    ours = fastopt.minimize(fun, x0, jac=jac, method=rule, **options)
    assert (result.success, result.status) == (ours.success, ours.status)
    assert result.x.tobytes() == ours.x.tobytes()
    assert (result.nit, result.nfev, result.njev) == (ours.nit, ours.nfev, ours.njev)


@each_rule
def test_a_rule_minimises_as_its_class_steps(rule):
    settings = dict(SETTINGS[rule])
    schedule = settings.pop("lr")
    x = np.zeros(10)
    optimizer = getattr(fastopt, fastopt.RULES[rule].class_name)(x, lr=1.0, **settings)
    for step in range(1, 21):
        optimizer.lr = schedule(step) if callable(schedule) else schedule
        optimizer.step(quadratic_gradient(x))
    seen = []
    fastopt.minimize(
        quadratic,
        np.zeros(10),
        jac=quadratic_gradient,
        method=rule,
        maxiter=20,
        callback=seen.append,
        **SETTINGS[rule],
    )
    assert len(seen) == 20
    assert seen[-1].tobytes() == x.tobytes()


# the result


@pytest.mark.parametrize(
    ("jac", "evaluations"), [(None, 4), (False, 4), ("2-point", 4), ("3-point", 7), ("cs", 4)]
)
@pytest.mark.filterwarnings("ignore:jac is not given:RuntimeWarning")
def test_finite_differences_solve_and_are_counted(jac, evaluations):
    def fun(x):
        return np.sum((x - 3.0) ** 2)

    result = solve(fun=fun, x0=np.zeros(3), jac=jac)
    assert result.success
    np.testing.assert_allclose(result.x, 3.0, atol=1e-5)
    assert result.njev == result.nit + 1
    assert result.nfev == evaluations * result.njev


@pytest.mark.parametrize(("jac", "error"), [("2-point", 1e-7), ("3-point", 1e-9), ("cs", 1e-15)])
def test_finite_differences_have_the_accuracy_of_their_order(jac, error):
    x = np.array([0.7, -1.3, 2.5, 0.0, -1e-9])

    def fun(x):
        return np.sum(np.sin(x) + 0.1 * x**2)

    result = solve(fun=fun, x0=x, jac=jac, maxiter=0)
    np.testing.assert_allclose(result.jac, np.cos(x) + 0.2 * x, rtol=0, atol=error)


@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 3), (2, 1, 2)])
@pytest.mark.parametrize("jac", [bowl_gradient, "2-point", "3-point"])
def test_any_shape_is_minimised(shape, jac):
    result = solve(x0=np.zeros(shape), jac=jac)
    assert result.success
    assert result.x.shape == result.jac.shape == (shape or (1,))
    np.testing.assert_allclose(result.x, 3.0, atol=1e-5)


@pytest.mark.parametrize(
    ("x0", "dtype"),
    [
        (np.zeros(2, dtype=np.float32), np.float32),
        (np.zeros(2, dtype=">f4"), np.float32),
        (np.zeros(2, dtype=np.float16), np.float64),
        (np.zeros(2, dtype=np.int8), np.float64),
        ([0, 0], np.float64),
        (0.0, np.float64),
        (np.asfortranarray(np.zeros((2, 3)))[:, ::2], np.float64),
    ],
)
def test_dtype_is_float64_unless_the_start_is_float32(x0, dtype):
    seen = []

    def fun(x):
        seen.append(x.dtype)
        return bowl(x)

    result = solve(fun=fun, x0=x0, gtol=1e-4)
    assert result.success
    assert result.x.dtype == result.jac.dtype == dtype
    assert set(seen) == {np.dtype(dtype)}
    assert type(result.fun) is float


def test_best_iterate_is_returned_when_the_steps_run_out():
    values = []

    def fun(x):
        values.append(bowl(x))
        return values[-1]

    # The momentum carries it through the minimum and out again.
    result = solve(fun=fun, method="momentum", lr=0.01, momentum=0.99, maxiter=25)
    assert not result.success
    assert result.status == 1
    assert result.nit == 25
    assert result.message == "The gradient is above gtol=1e-05 after maxiter=25 steps."
    assert result.fun == min(values) < values[-1]
    assert result.fun == bowl(result.x)
    np.testing.assert_array_equal(result.jac, bowl_gradient(result.x))


def test_gradient_in_one_buffer_that_is_used_again_is_right():
    buffer = np.empty(2)

    def jac(x):
        return np.multiply(2.0, x - 3.0, out=buffer)

    for settings in ({}, {"method": "momentum", "lr": 0.01, "momentum": 0.99, "maxiter": 25}):
        result = solve(jac=jac, **settings)
        np.testing.assert_array_equal(result.jac, bowl_gradient(result.x))
        assert not np.shares_memory(result.jac, buffer)


def test_functions_that_change_or_keep_their_argument_do_no_harm():
    kept = []

    def fun(x):
        kept.append(x)
        value = bowl(x)
        x[:] = np.nan
        return value

    def jac(x):
        gradient = bowl_gradient(x)
        x[:] = np.nan
        return gradient

    result = solve(fun=fun, jac=jac, callback=lambda x: x.fill(np.nan))
    assert result.success
    assert not any(np.shares_memory(result.x, x) for x in kept)


def test_no_step_is_taken_from_the_minimum_or_without_steps():
    at_minimum = solve(x0=np.full(2, 3.0))
    assert (at_minimum.success, at_minimum.nit, at_minimum.nfev) == (True, 0, 1)
    without_steps = solve(maxiter=0)
    assert (without_steps.success, without_steps.nit, without_steps.status) == (False, 0, 1)
    np.testing.assert_array_equal(without_steps.x, 0.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_objective_that_is_not_finite_ends_the_run(value):
    def fun(x):
        return value if x[0] > 1.0 else bowl(x)

    result = solve(fun=fun)
    assert not result.success
    assert result.status == 3
    assert result.message == f"The objective is {value} after 2 steps."
    assert result.nit == 2
    assert result.fun == bowl(result.x)
    assert result.x[0] == pytest.approx(0.6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_gradient_that_is_not_finite_ends_the_run(value):
    def jac(x):
        return np.array([value, 1.0]) if x[0] > 1.0 else bowl_gradient(x)

    result = solve(jac=jac)
    assert (result.success, result.status, result.nit) == (False, 3, 2)
    assert result.message == "The gradient is not finite after 2 steps."
    assert np.isfinite(result.x).all()


def test_start_that_is_not_finite_ends_the_run():
    result = solve(x0=[np.nan, 0.0])
    assert (result.success, result.status, result.nit) == (False, 3, 0)
    np.testing.assert_array_equal(result.x, [np.nan, 0.0])


def test_diverging_run_returns_its_best_iterate():
    with np.errstate(over="ignore"):
        result = solve(lr=1.5, maxiter=100_000)
    assert (result.success, result.status) == (False, 3)
    np.testing.assert_array_equal(result.x, 0.0)


def test_gradient_too_large_for_float32_ends_the_run():
    result = solve(x0=np.zeros(1, np.float32), jac=lambda x: np.array([1e300]))
    assert (result.success, result.status) == (False, 3)


def test_schedule_gives_the_rate_of_every_step():
    asked = []

    def schedule(step):
        asked.append(step)
        return cosine(0.4, steps=10)(step)

    seen = []
    solve(lr=schedule, maxiter=10, callback=seen.append)
    x = np.zeros(2)
    for step, iterate in enumerate(seen, start=1):
        x = x - cosine(0.4, steps=10)(step) * bowl_gradient(x)
        np.testing.assert_array_equal(iterate, x)
    assert asked == [1, *range(1, 11)]


def test_args_that_are_no_tuple_are_one_argument():
    result = solve(fun=lambda x, t: np.sum((x - t) ** 2), jac=lambda x, t: 2 * (x - t), args=5.0)
    np.testing.assert_allclose(result.x, 5.0, atol=1e-5)


def test_outcome_is_printed_on_request(capsys):
    solve()
    assert capsys.readouterr().out == ""
    result = solve(disp=True)
    assert result.message in capsys.readouterr().out
