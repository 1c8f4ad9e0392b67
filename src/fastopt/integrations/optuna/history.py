"""The trials of an Optuna study as trials of :mod:`fastopt.tune`, for a strategy."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from fastopt import tune
from fastopt.integrations.optuna.taken import Read, Taken

__all__ = ["History", "TrialReader", "is_ours", "ours", "parameter_of", "whole", "write_suggestion"]

# A trial shows its parameters to other workers only when the objective has asked for them. Until
# then they read them in this attribute, in pieces, because a relational storage bounds the length
# of a text.
ATTRIBUTE = "fastopt:params"
PIECE = 2000
# A trial that began longer ago than this and shows nothing belongs to a worker that has died.
DRAWING = timedelta(seconds=10)


def parameter_of(distribution: Any) -> Any:
    """The parameter of :mod:`fastopt.tune` for a distribution.

    Choices are represented by their places in the list, since Optuna and fastopt differ on which
    choices are equal.
    """
    if isinstance(distribution, CategoricalDistribution):
        return tune.Categorical(range(len(distribution.choices)))
    kind = tune.Int if isinstance(distribution, IntDistribution) else tune.Float
    return kind(distribution.low, distribution.high, log=distribution.log, step=distribution.step)


def is_ours(distribution: BaseDistribution) -> bool:
    """Whether there is such a parameter; there is none for integers beyond 2**53, for example."""
    try:
        parameter_of(distribution)
    except (OverflowError, ValueError):
        return False
    return True


def ours(parameter: Any, distribution: BaseDistribution, internal: float) -> Any:
    """Optuna's internal representation of a value as the parameter's own value."""
    if parameter.levels is None:
        return min(max(float(internal), parameter.low), parameter.high)
    if isinstance(distribution, CategoricalDistribution):
        return int(internal)
    # Optuna's value may miss the grid, by rounding, by more than a parameter accepts.
    i = round((internal - parameter.low) / parameter.step)
    return parameter.value(min(max(i, 0), parameter.levels - 1))


@dataclass
class History:
    """What the storage shows of the other trials.

    Attributes
    ----------
    taken : Taken
        The points that trials have or were suggested, and what is the same to the objective.
    finished : list of Trial
        In the order in which they ended; under Hyperband those of the trial's bracket.
    pending : list of Trial
    drawing : list of int
        Earlier trials that are being drawn right now.
    """

    taken: Taken
    finished: list[tune.Trial] = field(default_factory=list)
    pending: list[tune.Trial] = field(default_factory=list)
    drawing: list[int] = field(default_factory=list)


@dataclass
class Facts:
    """What one trial says about the space.

    Attributes
    ----------
    order : tuple
        When it ended.
    trial : Trial or None
        As one of ours, if it has a point.
    keys : list
        Of its point, and of the one that it was suggested.
    read : Read or None
        What it has asked for, if all of that is in the space.
    """

    order: tuple[Any, int]
    trial: tune.Trial | None = None
    keys: list[Hashable] = field(default_factory=list)
    read: Read | None = None


class TrialReader:
    """The trials of a study as points of one space.

    Parameters
    ----------
    distributions : dict of str to distribution
        The space.
    from_centre : bool
        Whether the first trial gets the centre, wherever its parameters are not known yet.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], *, from_centre: bool) -> None:
        self.distributions = dict(distributions)
        self.space = tune.Space({name: parameter_of(item) for name, item in distributions.items()})
        self._from_centre = from_centre
        self._ended: dict[int, Facts] = {}

    def forget(self, number: int) -> None:
        """Read a trial anew the next time."""
        self._ended.pop(number, None)

    def read(self, study: optuna.Study, asking: FrozenTrial, *, with_own: bool = False) -> History:
        """The other trials; ``with_own`` also ``asking`` itself, of whose end no storage knows."""
        history = History(Taken(self.space))
        entire = whole(study)
        bracket = None
        if entire is not study:
            bracket = {frozen.number for frozen in study.get_trials(deepcopy=False)}
        ended: list[tuple[Any, tune.Trial]] = []
        read: list[Read] = []
        for frozen in entire.get_trials(deepcopy=False):
            if frozen.number == asking.number:
                if not with_own:
                    continue
                frozen = asking
            facts = self.facts(frozen)
            trial, keys = facts.trial, facts.keys
            for key in keys:
                history.taken.add(key, frozen.number)
            if facts.read is not None:
                read.append(facts.read)
            if frozen.state.is_finished():
                if trial is not None and (bracket is None or frozen.number in bracket):
                    ended.append((facts.order, trial))
            elif trial is not None:
                history.pending.append(trial)
            elif (
                frozen.state == TrialState.RUNNING
                and frozen.number < asking.number
                and not (keys or frozen.params)
                and _began_together(frozen, asking)
            ):
                history.drawing.append(frozen.number)
        history.taken.add_read(read)
        ended.sort(key=lambda item: item[0])
        history.finished = [trial for _, trial in ended]
        return history

    def facts(self, frozen: FrozenTrial) -> Facts:
        """What a trial says about the space."""
        if frozen.number in self._ended:
            return self._ended[frozen.number]
        fixed = frozen.system_attrs.get("fixed_params", {})
        suggested = self._suggested(frozen)
        params = self._point({**fixed, **frozen.params}, suggested or {})
        keys = [] if params is None else [self.space.key(params)]
        # An objective with another range refused the suggestion, which must not be made again.
        if suggested is not None and not fixed:
            keys.append(self.space.key(suggested))
        trial = None if params is None else tune.Trial(frozen.number, params)
        facts = Facts((frozen.datetime_complete, frozen.number), trial, keys)
        asked = frozen.params.keys()
        ended, failed = (frozen.state == s for s in (TrialState.COMPLETE, TrialState.FAIL))
        # One that failed before the space was known was suggested nothing for the rest.
        rest = self.space.decode([0.5] * len(self.space)) if failed else {}
        read = self._point(frozen.params, rest) if params is None else params
        if read is not None and asked <= self.distributions.keys():
            places = tuple(j for j, name in enumerate(self.space.names) if name in asked)
            facts.read = Read(frozen.number, self.space.key(read), places, ended, failed)
        if not frozen.state.is_finished():
            return facts
        if trial is not None:
            value = frozen.value if frozen.state == TrialState.COMPLETE else None
            if frozen.state == TrialState.PRUNED and frozen.last_step is not None:
                value = frozen.intermediate_values[frozen.last_step]
            values = [float(v) for _, v in sorted(frozen.intermediate_values.items())]
            trial.values = values if all(map(math.isfinite, values)) else []
            if value is None or not math.isfinite(value):
                trial.state = "failed"
            else:
                trial.value = value
                trial.state = "done" if frozen.state == TrialState.COMPLETE else "stopped"
        self._ended[frozen.number] = facts
        return facts

    def _point(
        self,
        given: Mapping[str, Any],
        suggested: Mapping[str, Any],
    ) -> dict[str, Any] | None:
        """A trial's point of the space; None if it has none, or lies outside."""
        params = {}
        for name, distribution in self.distributions.items():
            if name in given:
                try:
                    internal = distribution.to_internal_repr(given[name])
                except (TypeError, ValueError):
                    return None
                if not distribution._contains(internal):
                    return None
                params[name] = ours(self.space.parameters[name], distribution, internal)
            elif name in suggested:
                params[name] = suggested[name]
            else:
                return None
        return params

    def _suggested(self, frozen: FrozenTrial) -> dict[str, Any] | None:
        """What a trial was suggested; None if nothing, or a point of another space."""
        pieces, start = [], 0
        while piece := frozen.system_attrs.get(f"{ATTRIBUTE}:{start}"):
            pieces.append(piece)
            start += PIECE
        try:
            params = json.loads("".join(pieces))
            return self.space.check({name: params[name] for name in self.distributions})
        except (KeyError, TypeError, ValueError):  # nothing yet, half written, another space
            pass
        running = frozen.state == TrialState.RUNNING
        if running and frozen.number == 0 and self._from_centre:
            return self.space.decode([0.5] * len(self.space))
        return None


def write_suggestion(study: optuna.Study, trial: FrozenTrial, params: dict[str, Any]) -> None:
    """Show the other workers what a trial was suggested."""
    text = json.dumps(params)
    # The empty piece at the end hides what is left of a longer text.
    for start in range(0, len(text) + PIECE, PIECE):
        study._storage.set_trial_system_attr(
            trial._trial_id, f"{ATTRIBUTE}:{start}", text[start : start + PIECE]
        )


def _began_together(one: FrozenTrial, other: FrozenTrial) -> bool:
    if one.datetime_start is None or other.datetime_start is None:
        return False
    return one.datetime_start >= other.datetime_start - DRAWING


def whole(study: optuna.Study) -> optuna.Study:
    """The whole study, where Optuna shows one bracket of it, as under Hyperband."""
    return getattr(study, "_study", study)
