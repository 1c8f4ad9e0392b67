"""Callbacks that end a run: at a value, after many trials without a better one, or after a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fastopt import _checks
from fastopt.tune.space.trial import Trial

__all__ = ["Budget", "Patience", "TargetValue", "check_stoppers"]


class _Stopper:
    """Looks when a run starts and whenever a trial has ended, of this process or any other."""

    def is_enough(self, study: Any) -> bool:
        """Whether the study has come to its end."""
        raise NotImplementedError

    def on_study_start(self, study: Any) -> None:
        """End the run before it starts if the study had come to its end already."""
        if self.is_enough(study):
            study.stop()

    def on_trial_end(self, study: Any, trial: Trial) -> None:
        """End the run if this was enough; trials that run are waited for."""
        if self.is_enough(study):
            study.stop()


def check_stoppers(callbacks: Iterable[Any], n_objectives: int) -> None:
    """Raise TypeError if one of the callbacks could never end a run of so many objectives."""
    for callback in callbacks:
        if n_objectives > 1 and isinstance(callback, (TargetValue, Patience)):
            raise TypeError(
                f"callbacks: {callback!r} goes by the best value, and the study has several "
                "directions"
            )


def _best(study: Any) -> Trial | None:
    try:
        return study.best
    except ValueError:  # none has succeeded yet
        return None


@dataclass(frozen=True)
class TargetValue(_Stopper):
    """Ends a run once the best value is as good as ``value``; one of the ``callbacks`` of ``run``.

    Examples
    --------
    >>> from fastopt import tune
    >>> study = tune.Study({"x": tune.Int(0, 9)}, strategy="grid")
    >>> study.run(lambda params: abs(params["x"] - 4), callbacks=[tune.TargetValue(1)])
    >>> len(study.trials), study.best_value
    (4, 1.0)
    """

    value: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _checks.number("TargetValue: value", self.value))

    def is_enough(self, study: Any) -> bool:
        """Whether the best value is at the target or beyond."""
        best = _best(study)
        if best is None or best.value is None:
            return False
        return (
            best.value <= self.value if study.direction == "minimize" else best.value >= self.value
        )


@dataclass(frozen=True)
class Patience(_Stopper):
    """Ends a run when the last ``trials`` trials have not made the best value better.

    All that have ended count, failed and stopped ones too, but none before the first success.

    Examples
    --------
    >>> from fastopt import tune
    >>> study = tune.Study({"x": tune.Int(0, 9)}, strategy="grid")
    >>> study.run(lambda params: abs(params["x"] - 4), callbacks=[tune.Patience(3)])
    >>> len(study.trials), study.best_params
    (8, {'x': 4})
    """

    trials: int

    def __post_init__(self) -> None:
        trials = _checks.integer("Patience: trials", self.trials, least=1)
        object.__setattr__(self, "trials", trials)

    def is_enough(self, study: Any) -> bool:
        """Whether the best trial is none of the last."""
        best = _best(study)
        return best is not None and all(
            trial.number != best.number for trial in study.finished[-self.trials :]
        )


@dataclass(frozen=True)
class Budget(_Stopper):
    """Ends a run when the trials of the study have taken ``seconds`` together.

    Those of earlier runs count, so a study that is resumed keeps to one budget; so do those that
    ran side by side, each with its own time. Trials that run are waited for: with ``timeout`` a run
    ends by the clock.

    Examples
    --------
    >>> import time
    >>> from fastopt import tune
    >>> def objective(params):
    ...     time.sleep(0.01)
    ...     return params["x"]
    >>> study = tune.Study({"x": tune.Float(0.0, 1.0)}, strategy="sobol")
    >>> study.run(objective, callbacks=[tune.Budget(0.05)])
    >>> 1 <= len(study.trials) <= 5
    True
    """

    seconds: float

    def __post_init__(self) -> None:
        seconds = _checks.number("Budget: seconds", self.seconds, least=0)
        object.__setattr__(self, "seconds", seconds)

    def is_enough(self, study: Any) -> bool:
        """Whether the trials that have ended took so long."""
        return sum(trial.seconds or 0.0 for trial in study.finished) >= self.seconds
