"""Write a study of :mod:`fastopt.tune` as a study of Optuna, for its dashboard and its plots."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from fastopt import tune

__all__ = ["to_optuna"]

STATES = {
    "done": TrialState.COMPLETE,
    "failed": TrialState.FAIL,
    "stopped": TrialState.PRUNED,
    "running": TrialState.RUNNING,
}
# Types of choices that Optuna stores as they are.
PLAIN = (bool, int, float, str, type(None))


def to_optuna(
    study: tune.Study, storage: Any = None, *, study_name: str | None = None
) -> optuna.Study:
    """Write a study's trials into a storage of Optuna's.

    Parameters
    ----------
    study : fastopt.tune.Study
        A study in a file may be opened by :func:`fastopt.tune.open`.
    storage : str or storage of Optuna's, optional
        As for ``optuna.create_study``; by default in memory.
    study_name : str, optional
        By default the study's own.

    Returns
    -------
    optuna.Study

    Raises
    ------
    optuna.exceptions.DuplicatedStudyError
        If the storage holds a study of that name.

    Notes
    -----
    Notes and the reason of a failure become user attributes. Values by epoch become intermediate
    values. Choices that Optuna cannot store are written as their ``repr``, and choices that it
    takes for equal, such as 1 and True, as their place and ``repr``. If trials have been deleted,
    Optuna numbers the others anew.

    Examples
    --------
    >>> import optuna
    >>> from fastopt import tune
    >>> from fastopt.integrations.optuna import to_optuna
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> study = tune.Study({"x": tune.Int(0, 4)}, strategy="grid")
    >>> study.run(lambda params: (params["x"] - 3) ** 2)
    >>> to_optuna(study).best_params
    {'x': 3}
    """
    seen = study.trials
    distributions = {
        name: _distribution(
            parameter, [trial.params[name] for trial in seen if name in trial.params]
        )
        for name, parameter in study.space.parameters.items()
    }
    trials = [_trial(trial, study.space, distributions) for trial in seen]
    made = optuna.create_study(
        storage=storage,
        study_name=study.name if study_name is None else study_name,
        directions=[optuna.study.StudyDirection[each.upper()] for each in study.directions],
    )
    made.add_trials(trials)
    return made


def _distribution(parameter: Any, values: Sequence[Any]) -> BaseDistribution:
    if isinstance(parameter, tune.Categorical):
        return CategoricalDistribution(_choices(parameter.choices))
    # Not the given bounds: a step may not divide the range, and a distribution may have no end.
    low, high = parameter.from_unit(0.0), parameter.from_unit(1.0)
    if isinstance(parameter, tune.Int):
        # Optuna has no steps under a logarithm.
        return IntDistribution(
            low, high, log=parameter.log, step=1 if parameter.log else parameter.step
        )
    step = None if parameter.log or parameter.distribution is not None else parameter.step
    if parameter.distribution is not None:  # the user may have tried points far out in its tails
        low, high = min([low, *values]), max([high, *values])
    made = FloatDistribution(low, high, log=parameter.log, step=step)
    if not all(map(made._contains, values)):
        # To Optuna a decimal is beside its grid if the step is small and it has many digits.
        made = FloatDistribution(low, high)
    return made


def _choices(choices: Sequence[Any]) -> list[Any]:
    """What Optuna stores for each choice."""
    stored = [choice if type(choice) in PLAIN else repr(choice) for choice in choices]
    if len(set(stored)) == len(stored):
        return stored
    # To Optuna True is 1, and a text may be the repr of another choice.
    return [f"{place}: {choice!r}" for place, choice in enumerate(choices)]


def _trial(
    trial: tune.Trial, space: tune.Space, distributions: dict[str, BaseDistribution]
) -> FrozenTrial:
    params = dict(trial.params)
    for name, value in trial.params.items():
        distribution = distributions[name]
        if isinstance(distribution, CategoricalDistribution):
            params[name] = distribution.choices[space.parameters[name].index(value)]
    attributes = dict(trial.notes)
    if trial.error is not None:
        attributes["error"] = trial.error
    frozen = create_trial(
        state=STATES[trial.state],
        values=trial.objectives or (None if trial.value is None else [trial.value]),
        params=params,
        distributions={name: distributions[name] for name in params},
        user_attrs=attributes,
        system_attrs={"constraints": trial.constraints} if trial.constraints else {},
        intermediate_values=dict(enumerate(trial.values)),
    )
    for name in ("start", "complete"):
        seconds = trial.started if name == "start" else trial.finished
        if seconds is not None:
            setattr(frozen, f"datetime_{name}", datetime.fromtimestamp(seconds))
    return frozen
