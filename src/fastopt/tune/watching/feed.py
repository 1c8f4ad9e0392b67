"""What has changed in a study since it was last asked for."""

from __future__ import annotations

import math
from typing import Any

from fastopt.tune.ledger.encoding import name_strategy
from fastopt.tune.reporting.axes import shorten
from fastopt.tune.space.trial import Trial, note_title

__all__ = ["Feed"]

# Most characters of a text: of an error, a note, a choice.
LONGEST = 300
# Up to this number of levels each one has a tick.
MOST_TICKS = 6


def _shorten(value: Any) -> str:
    text = shorten(value, 4) if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _number(value: float | None) -> float | None:
    """None for what is not finite, which JSON in browsers cannot hold."""
    return value if value is not None and math.isfinite(value) else None


class Feed:
    """The trials of a study, in the order in which they have changed.

    A place in that order is a token. A page sends its last token and gets the trials that have
    changed since, so an update costs the same however many trials have ended.
    """

    def __init__(self, study: Any) -> None:
        self._study = study
        self._log: list[int] = []
        self._shown: dict[int, tuple[Any, ...]] = {}

    def about(self) -> dict[str, Any]:
        """What does not change: names, and the ticks of each parameter's axis."""
        study = self._study
        directions = ", ".join(study.directions)
        about = f"{directions} with {name_strategy(study.strategy)}, seed {study.seed}"
        if len(study.directions) > 1:
            about += ", the first objective is shown"
        return {
            "name": study.name,
            "direction": study.directions[0],
            "about": about,
            "parameters": [
                {"name": name, "ticks": self._ticks(parameter)}
                for name, parameter in study.space.parameters.items()
            ],
        }

    @staticmethod
    def _ticks(parameter: Any) -> list[tuple[float, str]]:
        if parameter.levels is not None and parameter.levels <= MOST_TICKS:
            levels = range(parameter.levels)
            return [(float(parameter.unit(i)), _shorten(parameter.value(i))) for i in levels]
        return [(u, _shorten(parameter.from_unit(u))) for u in (0.0, 0.5, 1.0)]

    def since(self, token: int) -> dict[str, Any]:
        """The trials that have changed after ``token``, and the next token."""
        trials = {trial.number: trial for trial in self._study.trials}
        for number, trial in trials.items():
            result = (trial.value, *trial.objectives, *trial.constraints, trial.error)
            shown = (trial.state, result, len(trial.values), trial.started, len(trial.notes))
            if self._shown.get(number) != shown:
                self._shown[number] = shown
                self._log.append(number)
        for number in self._shown.keys() - trials.keys():
            del self._shown[number]
            self._log.append(number)
        changed = dict.fromkeys(self._log[token:])
        return {
            "token": len(self._log),
            "trials": [
                self._record(trials[number]) if number in trials else {"number": number}
                for number in changed
            ],
        }

    def _facts(self, trial: Trial) -> dict[str, Any]:
        """Objectives and constraints, if any, and the notes."""
        facts = {f"objective_{i}": number for i, number in enumerate(trial.objectives)}
        facts |= {f"constraint_{i}": number for i, number in enumerate(trial.constraints)}
        names = self._study.space.names
        return facts | {note_title(name, names): fact for name, fact in trial.notes.items()}

    def _record(self, trial: Trial) -> dict[str, Any]:
        parameters = self._study.space.parameters
        return {
            "number": trial.number,
            "state": "infeasible" if trial.feasible is False else trial.state,
            "value": _number(trial.objectives[0] if trial.objectives else trial.value),
            "places": [
                round(parameter.to_unit(trial.params[name]), 4) if name in trial.params else None
                for name, parameter in parameters.items()
            ],
            "params": {name: _shorten(value) for name, value in trial.params.items()},
            "notes": {name: _shorten(fact) for name, fact in self._facts(trial).items()},
            "values": [_number(value) for value in trial.values],
            "error": None if trial.error is None else _shorten(trial.error),
            "started": trial.started,
            "seconds": trial.seconds,
        }
