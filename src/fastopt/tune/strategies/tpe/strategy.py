"""Search by tree-structured Parzen estimators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastopt import _checks
from fastopt.tune.space import Space
from fastopt.tune.strategies.protocol import View
from fastopt.tune.strategies.sequence import SequenceStrategy, distinct
from fastopt.tune.strategies.tpe.history import MOST_WORSE, History
from fastopt.tune.strategies.tpe.parzen import Parzen

__all__ = ["TPE"]

# After this number of sets of candidates, all known, a point of the first sequence is taken.
ATTEMPTS = 8


@dataclass(frozen=True)
class TPE:
    """Tree-structured Parzen estimators: cheap with thousands of trials, good with categories.

    The first points are spread over the space. From then on the trials are divided into the better
    ones, a tenth, and the worse ones, and each part gets a density. Points are drawn from the
    density of the better ones. The point at which it exceeds the other density most is suggested.
    Parameters that exist under the same condition are drawn together. No point is suggested twice.

    Parameters
    ----------
    n_initial : int, default 10
        Trials with a value before the first densities.
    n_candidates : int, default 24
        Points drawn for a suggestion. With more, suggestions are nearer to the best trials.

    Notes
    -----
    Stopped trials count as worse than all that are done, and the earlier they were stopped, the
    worse. Infeasible ones are worse still, and the more they violate the constraints, the worse.
    Failed and running trials always belong to the worse part. With several objectives trials are
    ranked: first those that no other dominates, then those that only these dominate, and so on. If
    a part of a rank fits, the trials that together dominate most are taken from it.

    Bergstra, Bardenet, Bengio, Kégl: Algorithms for hyper-parameter optimization, NIPS 2011;
    Watanabe: Tree-structured Parzen estimator, arXiv 2304.11127; Ozaki, Tanigaki, Watanabe, Nomura,
    Onishi: Multiobjective tree-structured Parzen estimator, Journal of Artificial Intelligence
    Research 73 (2022).

    Examples
    --------
    >>> from fastopt import tune
    >>> study = tune.Study({"x": tune.Float(-2.0, 2.0)}, strategy=tune.TPE(n_initial=5))
    >>> study.run(lambda params: (params["x"] - 1.0) ** 2, n_trials=60)
    >>> abs(study.best.params["x"] - 1.0) < 0.1
    True
    """

    n_initial: int = 10
    n_candidates: int = 24

    def __post_init__(self) -> None:
        # As plain integers: the study's file compares what repr shows.
        for name in ("n_initial", "n_candidates"):
            value = _checks.integer(f"TPE: {name}", getattr(self, name), least=1)
            object.__setattr__(self, name, value)

    def ask(self, view: View) -> dict[str, Any]:
        """Params of the next trial."""
        history = view.cache.get("history")
        if history is None:
            history = view.cache["history"] = History(view.space, view.signs)
        history.read(view.finished)
        if history.n_results >= self.n_initial:
            better, worse = history.split()
            pending = [view.space.encode(trial.params) for trial in view.pending[-MOST_WORSE:]]
            worse = np.concatenate([worse, *[row[None] for row in pending]])
            rng = np.random.default_rng((view.seed, view.number))
            groups = _densities(view.space, better, worse)
            for _ in range(ATTEMPTS):
                for candidate in self._candidates(len(view.space), groups, rng):
                    params = view.space.decode(candidate)
                    if view.space.key(params) not in view.taken and view.allows(params):
                        return params
        first = replace(view, cache=view.cache.setdefault("first", {}))
        return _First(self.n_initial).ask(first)

    def _candidates(
        self, d: int, groups: list[tuple[list[int], Parzen, Parzen]], rng: np.random.Generator
    ) -> np.ndarray:
        """Points drawn for a suggestion, the most promising first."""
        points = np.empty((self.n_candidates, d))
        for members, good, bad in groups:
            drawn = good.draw(self.n_candidates, rng)
            scores = good.log_density(drawn) - bad.log_density(drawn)
            points[:, members] = drawn[np.argsort(-scores, kind="stable")]
        return points


@dataclass(frozen=True)
class _First(SequenceStrategy):
    """Points spread over the space: each ``block`` of them in turn is a Latin hypercube."""

    block: int

    def sequence(self, view: View) -> Iterator[dict[str, Any]]:
        return distinct(view, self._draws(len(view.space), np.random.default_rng(view.seed)))

    def _draws(self, d: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        while True:
            cells = np.tile(np.arange(self.block), (d, 1))
            yield from (rng.permuted(cells, axis=1).T + rng.random((self.block, d))) / self.block


def _groups(space: Space) -> list[list[int]]:
    """Dimensions that exist together: those under the same conditions."""
    groups: dict[Any, list[int]] = {}
    for j, dimension in enumerate(space.dimensions):
        groups.setdefault(dimension.parents, []).append(j)
    return list(groups.values())


def _densities(
    space: Space, better: np.ndarray, worse: np.ndarray
) -> list[tuple[list[int], Parzen, Parzen]]:
    """For each group of dimensions its members and two densities, from the trials that have it."""
    parts = [(points, space.active(points)) for points in (better, worse)]
    densities = []
    for members in _groups(space):
        dimensions = [space.dimensions[j] for j in members]
        good, bad = (
            Parzen(dimensions, points[active[:, members[0]]][:, members])
            for points, active in parts
        )
        densities.append((members, good, bad))
    return densities
