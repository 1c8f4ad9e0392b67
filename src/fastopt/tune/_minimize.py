"""A whole study in one call."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from fastopt import _checks
from fastopt.tune.running.loop import Total
from fastopt.tune.space import Parameter, Space
from fastopt.tune.strategies.protocol import Direction
from fastopt.tune.study import Study

__all__ = ["maximize", "minimize"]

Objective = Callable[[dict[str, Any]], Any]
Parameters = Mapping[str, Parameter] | Space
OF_RUN = tuple(signature(Study.run).parameters)[3:]
OF_STUDY = ("strategy", "seed", "storage", "name", "constraint", "lock_timeout", "resume")


def minimize(objective: Objective, space: Parameters, n_trials: int, **options: Any) -> Study:
    """Find the params for which the objective is smallest.

    Parameters
    ----------
    objective : callable
        ``objective(params) -> float``, or a generator function; see :meth:`Study.run`.
    space : dict or Space
    n_trials : int
        Trials that the study holds in the end. With ``storage`` those of earlier calls count: the
        same call again finishes what was interrupted, or returns at once.
    **options
        Any of :class:`Study` (``strategy``, ``seed``, ``storage``, ``name``, ``constraint``,
        ``lock_timeout``, ``resume``) and of :meth:`Study.run` (``n_jobs``, ``executor``,
        ``timeout``, …).

    Returns
    -------
    Study
        ``result.best.params``, ``result.best.value``, ``result.trials``.

    Examples
    --------
    >>> from fastopt import tune
    >>> result = tune.minimize(
    ...     lambda params: (params["x"] - 1.0) ** 2,
    ...     {"x": tune.Float(-2.0, 2.0)},
    ...     n_trials=64,
    ...     strategy="sobol",
    ... )
    >>> len(result.trials), result.best.value < 0.01
    (64, True)
    """
    return _search("minimize", objective, space, n_trials, options)


def maximize(objective: Objective, space: Parameters, n_trials: int, **options: Any) -> Study:
    """Find the params for which the objective is largest; see :func:`minimize`.

    Examples
    --------
    >>> from fastopt import tune
    >>> space = {"x": tune.Int(-3, 3)}
    >>> tune.maximize(lambda params: -abs(params["x"]), space, 7, strategy="grid").best.params
    {'x': 0}
    """
    return _search("maximize", objective, space, n_trials, options)


def _search(
    direction: Direction,
    objective: Objective,
    space: Parameters,
    n_trials: int,
    options: dict[str, Any],
) -> Study:
    if n_trials is not None:
        n_trials = Total(_checks.integer("n_trials", n_trials, least=0))
    known = [*OF_STUDY, *OF_RUN]
    for name in options.keys() - {*known}:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"it takes {', '.join(known)}"
        raise TypeError(f"tune.{direction} has no argument {name!r}; {hint}")
    of_study = {name: options.pop(name) for name in OF_STUDY if name in options}
    study = Study(space, direction=direction, **of_study)
    study.run(objective, n_trials, **options)
    return study
