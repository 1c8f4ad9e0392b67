"""Values that are drawn one by one, and after which a trial could only repeat others."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from fastopt.integrations.optuna.history import is_ours, ours, parameter_of, whole

__all__ = ["Repeats"]

# Of more values than these none is looked for that is free.
LISTABLE = 10_000


class Repeats:
    """The values of ``name`` after which a trial could only read what another one has read.

    A set of parameters counts once a trial that read just these has ended with a value: until then
    there may be more to ask for. A number between two bounds repeats none.
    """

    def __init__(
        self, study: optuna.Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> None:
        self._distribution = distribution
        self._parameter = parameter_of(distribution) if is_ours(distribution) else None
        self._levels: set[int] = set()
        if self._parameter is None or self._parameter.levels is None:
            return
        prefix = _read(trial)
        others = [o for o in whole(study).get_trials(deepcopy=False) if name in o.params]
        complete = {frozenset(o.params) for o in others if o.state == TrialState.COMPLETE}
        filled: dict[int, Fraction] = {}
        known = set()
        for other in others:
            read = _read(other)
            if other.number == trial.number or read in known or not prefix <= read:
                continue
            if frozenset(other.params) in complete:
                known.add(read)
                rest = other.params.keys() - trial.params.keys() - {name}
                for level in self._level(other.params[name]):
                    share = _share([other.distributions[n] for n in rest])
                    filled[level] = filled.get(level, Fraction(0)) + share
        # What trials read after the value fills all that there is after it.
        self._levels = {level for level, share in filled.items() if share >= 1}

    def _level(self, value: Any) -> set[int]:
        """The level of a value; none if it is from another distribution."""
        try:
            internal = self._distribution.to_internal_repr(value)
        except (TypeError, ValueError):
            return set()
        if self._parameter is None or not self._distribution._contains(internal):
            return set()
        return {self._parameter.index(ours(self._parameter, self._distribution, internal))}

    def __contains__(self, value: Any) -> bool:
        return bool(self._levels) and not self._levels.isdisjoint(self._level(value))

    def others(self) -> list[Any]:
        """All values that repeat no trial, if they can be listed."""
        parameter = self._parameter
        if parameter is None or parameter.levels is None or parameter.levels > LISTABLE:
            return []
        free = [i for i in range(parameter.levels) if i not in self._levels]
        if isinstance(self._distribution, CategoricalDistribution):
            return [self._distribution.choices[i] for i in free]
        return [parameter.value(i) for i in free]


def _read(trial: FrozenTrial) -> frozenset[tuple[str, float]]:
    """What a trial has read, by Optuna's representation, which has a hash for every choice."""
    return frozenset(
        (name, trial.distributions[name].to_internal_repr(value))
        for name, value in trial.params.items()
    )


def _share(distributions: Sequence[BaseDistribution]) -> Fraction:
    """What part of all their values one value of each is."""
    share = Fraction(1)
    for distribution in distributions:
        levels = parameter_of(distribution).levels if is_ours(distribution) else None
        if levels is None:
            return Fraction(0)
        share /= levels
    return share
