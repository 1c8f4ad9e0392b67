"""Minimising a function with any update rule, in SciPy's manner and inside SciPy itself.

`minimize` is the one function; `methods` has it for each rule, by its name, in the form which SciPy
takes as a method. The keywords of `minimize` and of the rule's class are the options:

>>> from scipy.optimize import minimize as scipy_minimize, rosen, rosen_der
>>> result = scipy_minimize(
...     rosen, [0.5, 0.5], jac=rosen_der, method=methods["adam"], options={"lr": 0.02}
... )
>>> result.success, result.x.round(3)
(True, array([1., 1.]))

SciPy does not pass the names of finite differences on to such a method: there they are forward
ones, or a callable.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastopt import _checks
from fastopt._classes import class_of
from fastopt._core import RULES
from fastopt._rule_names import RuleName

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from scipy.optimize import OptimizeResult

__all__ = ["methods", "minimize"]

# The exponents of machine epsilon that balance truncation and rounding. A complex step has no
# rounding to balance.
_STEP_EXPONENTS = {"2-point": 1 / 2, "3-point": 1 / 3, "cs": 1}

# As in SciPy's own methods.
_SUCCESS, _TOO_MANY, _NOT_FINITE, _STOPPED = 0, 1, 3, 99


def minimize(
    fun: Callable[..., object],
    x0: ArrayLike,
    args: tuple[object, ...] = (),
    *,
    method: RuleName = "adam",
    jac: Callable[..., ArrayLike] | bool | str | None = None,
    lr: float | Callable[[int], float] | None = None,
    maxiter: float | None = None,
    maxfun: float | None = None,
    gtol: float | None = None,
    tol: float | None = None,
    callback: Callable[..., object] | None = None,
    disp: bool = False,
    hess: object = None,
    hessp: object = None,
    bounds: object = None,
    constraints: object = (),
    **hypers: Any,
) -> OptimizeResult:
    """Minimise a scalar function of an array by the steps of one update rule.

    The rule takes the step ``x <- rule(x, gradient of fun at x)`` until the largest element of the
    gradient is small. There is no line search: `lr` decides.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args) -> float``, or ``-> (float, gradient)`` with ``jac=True``. It gets a fresh
        copy of `x` at every call.
    x0 : array_like
        Start, real, of any shape; a number becomes an array of shape (1,). It is not changed.
        float32 stays float32, all else is computed in float64.
    args : tuple
        Further arguments of `fun` and `jac`.
    method : str
        The name of a rule, a key of `fastopt.RULES`; case does not matter.
    jac : callable, True, "2-point", "3-point", "cs" or None
        ``jac(x, *args) -> gradient`` of the shape of `x`; True if `fun` returns it too; or finite
        differences: forward (also None, with a warning), central, or by a complex step. At every
        step differences cost one, two or one evaluation of `fun` for each element of `x`.
    lr : float or callable
        Learning rate, or a schedule that gives the one of every step, counted from 1. The rule's
        own default if not given; "sgd", "momentum" and "nag" have none.
    maxiter : int
        Largest number of steps, rounded down; 10,000 if not given.
    maxfun : int
        No step is taken once `fun` has been evaluated this many times. Evaluations for the
        differences count; those of the last gradient may exceed the number.
    gtol : float
        Success is a gradient with no element above it in magnitude. Default: `tol`, else 1e-5, as
        in SciPy's BFGS.
    tol : float
        What `scipy.optimize.minimize` passes on; gives way to `gtol`.
    callback : callable
        ``callback(x)``, or ``callback(intermediate_result)`` if its one parameter has that name,
        after each step, with a copy of the new iterate; it ends the run by raising StopIteration.
    disp : bool
        Whether to print the outcome.
    hess, hessp, bounds, constraints
        Part of SciPy's protocol for methods. No rule uses second derivatives: a warning. No rule
        keeps to bounds or constraints: an error, unless they bind nothing.
    **hypers
        The rule's other hyper-parameters, as its class takes them, but not ``maximize``. A weight
        decay, which "adamw" has by default, changes what is minimised: `gtol` is then not reached
        where the minimum is elsewhere than at 0.

    Returns
    -------
    scipy.optimize.OptimizeResult
        With ``x, fun, jac, nit, nfev, njev, success, status, message``. On success `x` is the
        iterate whose gradient is within `gtol`, otherwise the one with the lowest finite `fun` of
        all. ``status`` is 0 on success, 1 after `maxiter` steps or `maxfun` evaluations, 3 if `fun`
        or the gradient was not finite, 99 if `callback` stopped.

    Raises
    ------
    TypeError, ValueError
        An argument, or what `fun` or `jac` returned, is not as described; the message names it.

    Warns
    -----
    RuntimeWarning
        `hess` or `hessp` was given; or `jac` was not, so that `fun` is evaluated once more at every
        step for each element of `x`.

    See Also
    --------
    methods : the same for ``scipy.optimize.minimize(method=...)``.

    Examples
    --------
    >>> import numpy as np
    >>> def fun(x):
    ...     return np.sum((x - 3.0) ** 2), 2.0 * (x - 3.0)
    >>> result = minimize(fun, np.zeros(2), jac=True, method="momentum", lr=0.05)
    >>> result.success, result.x.round(4)
    (True, array([3., 3.]))
    """
    from scipy.optimize import OptimizeResult

    optimizer_class = class_of("method", method)
    if "maximize" in hypers:
        raise TypeError("minimize takes no maximize; minimize the negative of fun")
    x = _start(x0)
    limits = _Limits(
        10_000 if maxiter is None else _whole("maxiter", maxiter),
        math.inf if maxfun is None else _whole("maxfun", maxfun),
    )
    gtol = next(value for value in (gtol, tol, 1e-5) if value is not None)
    gtol = _checks.number("gtol", gtol, least=0, finite=False)
    _refuse_unsupported(method, hess, hessp, bounds, constraints)
    if jac is None or jac is False:
        warnings.warn(
            f"jac is not given: every step evaluates fun {x.size} times more for differences. Give "
            "the gradient as jac, or jac='2-point' where this is meant",
            RuntimeWarning,
            stacklevel=2,
        )
    objective = _Objective(fun, jac, args if isinstance(args, tuple) else (args,))
    report = _reporter(callback, OptimizeResult)
    if lr is not None:
        hypers["lr"] = lr
    optimizer = optimizer_class(x, **hypers)

    value, gradient = objective(x)
    best = x.copy(), value, gradient.copy()
    nit = 0
    stopped = False
    while True:
        outcome = _outcome(stopped, value, gradient, gtol, nit, objective.nfev, limits)
        if outcome is not None:
            break
        nit += 1
        optimizer.step(gradient)
        value, gradient = objective(x)
        if math.isfinite(value) and value < best[1]:
            best = x.copy(), value, gradient.copy()
        stopped = report(x, value)
    status, message = outcome
    if status == _SUCCESS:
        best = x, value, gradient.copy()

    result = OptimizeResult(
        x=best[0],
        fun=best[1],
        jac=best[2],
        nit=nit,
        nfev=objective.nfev,
        njev=objective.njev,
        success=status == _SUCCESS,
        status=status,
        message=message,
    )
    if disp:
        print(f"{message} fun={result.fun:g}, {nit} steps, {result.nfev} evaluations.")
    return result


# What SciPy takes as its `method`, for each rule by its name.
methods: Mapping[RuleName, Callable[..., OptimizeResult]] = MappingProxyType(
    {name: partial(minimize, method=name) for name in RULES}
)


class _Objective:
    """The function and its gradient, counted, checked, and in the dtype of `x`."""

    def __init__(self, fun: Any, jac: Any, args: tuple[object, ...]) -> None:
        if not callable(fun):
            raise TypeError(f"fun must be callable, got {type(fun).__name__}")
        if jac is None or jac is False:
            jac = "2-point"
        if not (jac is True or callable(jac) or (isinstance(jac, str) and jac in _STEP_EXPONENTS)):
            raise ValueError(
                f"jac must be callable, True, None or one of {list(_STEP_EXPONENTS)}, got {jac!r}"
            )
        self.fun = fun
        self.jac = jac
        self.args = args
        self.nfev = 0
        self.njev = 0

    def __call__(self, x: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        if self.jac is True:
            pair = self._evaluate(x)
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise ValueError(
                    f"fun must return (value, gradient) with jac=True, got {type(pair).__name__}"
                )
            value, gradient = _scalar(pair[0]), pair[1]
        else:
            value = _scalar(self._evaluate(x))
            if not math.isfinite(value):
                return value, np.full_like(x, np.nan)
            if callable(self.jac):
                gradient = self.jac(x.copy(), *self.args)
            else:
                gradient = self._differences(x, value)
        self.njev += 1
        return value, _gradient(gradient, x)

    def _evaluate(self, x: NDArray[Any]) -> Any:
        self.nfev += 1
        return self.fun(x.copy(), *self.args)

    def _differences(self, x: NDArray[Any], value: float) -> NDArray[Any]:
        gradient = np.empty(x.size)
        relative = float(np.finfo(x.dtype).eps) ** _STEP_EXPONENTS[self.jac]
        for i, element in enumerate(x.flat):
            step = math.copysign(relative * max(1.0, abs(element)), element)
            if self.jac == "cs":
                gradient[i] = self._imaginary_value(x, i, step) / step
                continue
            ahead, behind = x.copy(), x.copy()
            ahead.flat[i] += step
            high, low = _scalar(self._evaluate(ahead)), value
            if self.jac == "3-point":
                behind.flat[i] -= step
                low = _scalar(self._evaluate(behind))
            # What the rounding of x has left of the step, not the step that was asked for.
            gradient[i] = (high - low) / (float(ahead.flat[i]) - float(behind.flat[i]))
        return gradient.reshape(x.shape)

    def _imaginary_value(self, x: NDArray[Any], i: int, step: float) -> float:
        shifted = x.astype(np.result_type(x, np.complex64))
        shifted.flat[i] += 1j * step
        value = np.asarray(self._evaluate(shifted))
        if value.dtype.kind != "c":
            raise TypeError(
                f"fun must return a complex number for complex x with jac='cs', got {value.dtype}"
            )
        return float(value.item().imag)


class _Limits(NamedTuple):
    steps: float
    evaluations: float


def _whole(name: str, value: Any) -> float:
    """A count, rounded down, or infinity."""
    count = _checks.number(name, value, least=0, finite=False)
    return count if math.isinf(count) else math.floor(count)


def _outcome(
    stopped: bool,
    value: float,
    gradient: NDArray[Any],
    gtol: float,
    nit: int,
    nfev: int,
    limits: _Limits,
) -> tuple[int, str] | None:
    """Status and message if this iterate is the last, else None."""
    norm = float(np.max(np.abs(gradient), initial=0.0))
    if stopped:
        return _STOPPED, "`callback` raised `StopIteration`."
    if not math.isfinite(value):
        return _NOT_FINITE, f"The objective is {value} after {nit} steps."
    if not math.isfinite(norm):
        return _NOT_FINITE, f"The gradient is not finite after {nit} steps."
    if norm <= gtol:
        return _SUCCESS, f"The gradient is within gtol={gtol:g}."
    above = f"The gradient is above gtol={gtol:g} after"
    if nit >= limits.steps:
        return _TOO_MANY, f"{above} maxiter={nit} steps."
    if nfev >= limits.evaluations:
        return _TOO_MANY, f"{above} {nfev} evaluations, maxfun={limits.evaluations:g}."
    return None


def _start(x0: ArrayLike) -> NDArray[Any]:
    given = np.asarray(x0)
    if given.dtype.kind not in "iuf":
        raise TypeError(f"x0 must be an array of real numbers, got dtype {given.dtype}")
    dtype = np.float32 if given.dtype.type is np.float32 else np.float64
    return np.array(given, dtype=dtype, order="C", ndmin=1)


def _refuse_unsupported(
    method: str, hess: object, hessp: object, bounds: Any, constraints: Any
) -> None:
    if not _binds_nothing(bounds):
        raise ValueError(f"method {method!r} cannot keep to bounds, got {bounds!r}")
    if constraints not in ((), [], None):
        raise ValueError(f"method {method!r} cannot keep to constraints, got {constraints!r}")
    for name, given in (("hess", hess), ("hessp", hessp)):
        if given is not None:
            warnings.warn(f"method {method!r} does not use {name}", RuntimeWarning, stacklevel=3)


def _binds_nothing(bounds: Any) -> bool:
    """Whether all bounds are None or infinite, as SciPy takes them: pairs or a Bounds."""
    if bounds is None:
        return True
    try:
        if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
            return bool(np.all(np.isneginf(bounds.lb)) and np.all(np.isposinf(bounds.ub)))
        return all(low in (None, -math.inf) and high in (None, math.inf) for low, high in bounds)
    except (TypeError, ValueError):
        return False


def _reporter(callback: Any, result_type: Any) -> Callable[[NDArray[Any], float], bool]:
    """``report(x, value) -> stopped``, by the one of SciPy's two conventions that fits."""
    if callback is None:
        return lambda x, value: False
    if not callable(callback):
        raise TypeError(f"callback must be callable, got {type(callback).__name__}")
    takes_result = set(inspect.signature(callback).parameters) == {"intermediate_result"}

    def report(x: NDArray[Any], value: float) -> bool:
        try:
            if takes_result:
                callback(intermediate_result=result_type(x=x.copy(), fun=value))
            else:
                callback(x.copy())
        except StopIteration:
            return True
        return False

    return report


def _scalar(value: Any) -> float:
    if isinstance(value, tuple):
        raise ValueError(
            "fun must return one number, got a tuple; jac=True is for (value, gradient)"
        )
    array = np.asarray(value)
    if array.size != 1:
        raise ValueError(f"fun must return one number, got an array of shape {array.shape}")
    if array.dtype.kind not in "iuf":
        raise TypeError(f"fun must return a real number, got {value!r}")
    return float(array.item())


def _gradient(gradient: Any, x: NDArray[Any]) -> NDArray[Any]:
    array = np.atleast_1d(np.asarray(gradient))
    if array.dtype.kind not in "iuf":
        raise TypeError(f"jac must give an array of real numbers, got dtype {array.dtype}")
    if array.shape != x.shape:
        raise ValueError(f"jac must give the shape of x, {x.shape}, got {array.shape}")
    with np.errstate(over="ignore"):  # too large for float32 is infinite and ends the run
        return np.require(array, x.dtype, ["C_CONTIGUOUS", "ALIGNED"])
