"""Population-based training: the worst rows go on from the best ones, with changed params."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastopt import _checks
from fastopt.tune.schedulers.protocol import Copy, Decision, Moment
from fastopt.tune.space.categorical import Categorical
from fastopt.tune.space.space import Space

__all__ = ["PopulationBased"]

# After this number of draws that the constraint refuses, the params stay as they are.
TRIES = 10


@dataclass(frozen=True)
class PopulationBased:
    """Population-based training, for batched objectives.

    After each ``every`` values the worst rows of a batch are replaced by copies of the best ones,
    whose params are changed a little. So params are tuned while the models train. ``rows = yield
    losses`` then names some rows twice, and ``rows.params`` has the params to use from now on.
    ``trial.params`` stays what the trial began with; ``trial.lineage`` records the changes.

    Parameters
    ----------
    names : sequence of str
        Params that can change during a training, such as the learning rate.
    every : int
        Values between two exchanges.
    after : int, default 0
        The number of first values after which nothing is exchanged yet.
    quantile : float, default 0.25
        The share of rows that is replaced, and the share that is copied; at most one half.
    factors : tuple of float, default (0.8, 1.2)
        A number is multiplied by one of these, drawn at random.
    resample : float, default 0.25
        The probability that a new value is drawn instead. Categorical params change in no other
        way.

    Notes
    -----
    Jaderberg et al.: Population Based Training of Neural Networks, arXiv 1711.09846. The latest
    values are compared, since a copy has its own from then on.

    Examples
    --------
    >>> from fastopt import tune
    >>> def training(params):
    ...     x, lr = 0.0 * params["lr"] + 5.0, params["lr"]
    ...     for epoch in range(20):
    ...         x = x - lr * x
    ...         rows = yield x**2
    ...         x, lr = x[rows], rows.params["lr"]
    >>> study = tune.Study({"lr": tune.Float(1e-4, 1.0, log=True)}, strategy="random")
    >>> study.run(training, 8, batch=8, scheduler=tune.PopulationBased(["lr"], every=5))
    >>> sum(len(trial.lineage) for trial in study.trials)
    8
    """

    names: Sequence[str]
    every: int
    after: int = 0
    quantile: float = 0.25
    factors: tuple[float, float] = (0.8, 1.2)
    resample: float = 0.25

    def __post_init__(self) -> None:
        what = "PopulationBased"
        if isinstance(self.names, str) or not all(isinstance(name, str) for name in self.names):
            raise TypeError(f"{what}: names must be a list of names, got {self.names!r}")
        object.__setattr__(self, "names", tuple(self.names))
        if not self.names:
            raise ValueError(f"{what}: names must name at least one parameter")
        checked: dict[str, Any] = {
            name: _checks.integer(f"{what}: {name}", getattr(self, name), least=least)
            for name, least in (("every", 1), ("after", 0))
        }
        checked["quantile"] = _checks.number(f"{what}: quantile", self.quantile, above=0, most=0.5)
        checked["resample"] = _checks.number(f"{what}: resample", self.resample, least=0, most=1)
        factors = tuple(_checks.number(f"{what}: factors", f, above=0) for f in self.factors)
        if not factors:
            raise ValueError(f"{what}: factors must hold at least one number")
        for name, value in {**checked, "factors": factors}.items():
            object.__setattr__(self, name, value)

    def check(self, space: Space) -> None:
        """Raise ValueError for a name that the space lacks, or on which others depend."""
        parents = {name for p in space.parameters.values() for name in (p.when or ())}
        for name in self.names:
            if name not in space.parameters:
                raise ValueError(f"PopulationBased: names: the space has no parameter {name!r}")
            if name in parents:
                raise ValueError(
                    f"PopulationBased: names: {name!r} decides which parameters there are, so it "
                    "cannot change during a training"
                )

    def is_due(self, number: int, decided: int, epochs: int) -> bool:
        """Whether rows are exchanged after this number of values."""
        return epochs > max(decided, self.after) and epochs % self.every == 0

    def decide(self, moment: Moment) -> Decision:
        """Every row goes on."""
        return "go"

    def exchange(self, moments: Sequence[Moment]) -> list[Copy]:
        """Which rows go on from which others, and with what params."""
        ranked = sorted(moments, key=lambda m: (m.sign * m.trial.values[-1], m.trial.number))
        count = int(self.quantile * len(ranked))
        if count == 0:
            return []
        first = ranked[0]
        # A function of the seed, the epoch and who takes part.
        lowest = min(moment.trial.number for moment in moments)
        rng = np.random.default_rng((first.seed, lowest, first.epochs))
        copies = []
        for moment in sorted(ranked[-count:], key=lambda m: m.trial.number):
            source = ranked[int(rng.integers(count))]
            params = self._changed(source, rng)
            copies.append(Copy(moment.trial.number, source.trial.number, params))
        return copies

    def _changed(self, source: Moment, rng: np.random.Generator) -> dict[str, Any]:
        for _ in range(TRIES):
            params = source.params.copy()
            for name in self.names:
                if name in params:
                    params[name] = self._change(source.space.parameters[name], params[name], rng)
            if source.allows(params):
                return params
        return source.params

    def _change(self, parameter: Any, value: Any, rng: np.random.Generator) -> Any:
        if rng.random() < self.resample:
            return parameter.from_unit(float(rng.random()))
        factor = self.factors[int(rng.integers(len(self.factors)))]
        if isinstance(parameter, Categorical):
            return value
        if parameter.levels is None:
            low, high = parameter.from_unit(0.0), parameter.from_unit(1.0)
            return min(max(value * factor, low), high)
        first, last = parameter.value(0), parameter.value(parameter.levels - 1)
        place = (value * factor - first) / ((last - first) or 1)
        return parameter.value(
            min(max(round(place * (parameter.levels - 1)), 0), parameter.levels - 1)
        )
