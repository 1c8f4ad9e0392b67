"""Bayesian search: a Gaussian process, and the point of the greatest expected improvement."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.stats import qmc

from fastopt import _checks
from fastopt.tune.strategies.bayes import basin, trust_region
from fastopt.tune.strategies.bayes.blas import one_blas_thread
from fastopt.tune.strategies.bayes.features import Encoding
from fastopt.tune.strategies.bayes.outlook import Outlook, Prospect
from fastopt.tune.strategies.bayes.stopped import results
from fastopt.tune.strategies.protocol import ImprovementSpent, View
from fastopt.tune.strategies.sobol import Sobol

TOLD = ("done", "stopped")
ENUMERATED_SPACE = 2048
"""Spaces of at most this many points are searched exhaustively."""
LOG2_SOBOL = 10
PERTURBATIONS = 256
STARTS = 10
TIES = 0.1
"""An objective counts as stepped if this share of its values are repeats."""
STALLED = 8
"""After this many trials without improvement, every other point of a stepped objective is from
Sobol's sequence."""
REFINED_ROWS = 8
"""From this row of a batch on the best candidate is taken without refining it. The results of the
rows before it are unknown, so refining gains little, and a batch may have hundreds of rows."""

SOBOL_BITS = 30


@functools.lru_cache(maxsize=16)
def _sobol(dimension: int) -> np.ndarray:
    """The beginning of Sobol's sequence, unscrambled, as integers of `SOBOL_BITS` bits."""
    points = qmc.Sobol(dimension, scramble=False, bits=SOBOL_BITS).random_base2(LOG2_SOBOL)
    return (points * 2.0**SOBOL_BITS).astype(np.int64)


def shifted_sobol(dimension: int, rng) -> np.ndarray:
    """Sobol points under a random digital shift: still a net, and cheap to draw anew."""
    shift = rng.integers(2**SOBOL_BITS, size=dimension)
    return ((_sobol(dimension) ^ shift) + 0.5) / 2.0**SOBOL_BITS


@dataclass(frozen=True)
class Bayes:
    """Gaussian-process search.

    The first points are the ``initial`` values of the parameters (else the centre of the space) and
    Sobol's. From then on a Gaussian process with a Matern-5/2 kernel is fitted to the results, and
    the point of the greatest expected improvement is suggested. Once that is negligible, every
    other trial may leave the surroundings of the best one. No point is suggested twice, with noise
    neither; when none is left, `SpaceExhausted` is raised. Running trials count with their expected
    value.

    A suggestion is a function of the seed, the space, and the trials (in the order in which they
    finished): nothing else is remembered, so a resumed study goes on as if it had never stopped.

    Parameters
    ----------
    n_initial : int, optional
        Trials before the first fit. Default: number of parameters plus one, at least 4 and at most
        10.
    deterministic : bool, default False
        Whether the objective always gives the same value for the same point. The model then passes
        through every value instead of estimating the noise.
    min_improvement : float, default 0.0
        In units of the objective. When the model expects less of its best suggestion, `ask` raises
        `ImprovementSpent` and ``study.run`` ends once nothing runs any more. Zero never ends.
    failures : {"neighbours", "worst", "ignore"}, default "neighbours"
        What a failed trial says about its place. By default the process of the failed and the
        successful trials nearby tells how likely a point is to fail, and what no place explains is
        chance. ``"worst"`` avoids the place of every failure, as if its value were worse than the
        worst. ``"ignore"`` avoids none, which is best if all are chance.

    Examples
    --------
    >>> from fastopt import tune
    >>> tune.Bayes(n_initial=5)
    Bayes(n_initial=5, deterministic=False, min_improvement=0.0)
    """

    n_initial: int | None = None
    deterministic: bool = False
    min_improvement: float = 0.0
    failures: Literal["neighbours", "worst", "ignore"] = "neighbours"

    def __post_init__(self) -> None:
        # As plain numbers: the study's file compares what repr shows.
        if self.n_initial is not None:
            n = _checks.integer("Bayes: n_initial", self.n_initial, least=1)
            object.__setattr__(self, "n_initial", n)
        deterministic = _checks.flag("Bayes: deterministic", self.deterministic)
        object.__setattr__(self, "deterministic", deterministic)
        least = _checks.number("Bayes: min_improvement", self.min_improvement, least=0)
        # Files of earlier versions hold an integer as it was given.
        if not isinstance(self.min_improvement, int):
            object.__setattr__(self, "min_improvement", least)
        _checks.choice("Bayes: failures", self.failures, ("neighbours", "worst", "ignore"))

    def __repr__(self) -> str:
        # Files of earlier versions hold it without this option.
        more = "" if self.failures == "neighbours" else f", failures={self.failures!r}"
        return (
            f"Bayes(n_initial={self.n_initial!r}, deterministic={self.deterministic!r}, "
            f"min_improvement={self.min_improvement!r}{more})"
        )

    def ask(self, view: View) -> dict:
        """Params of the next trial."""
        if self.min_improvement and len(view.directions) > 1:
            raise ValueError(
                f"Bayes: min_improvement is in units of one objective, and the study has "
                f"{len(view.directions)}; leave it out"
            )
        with one_blas_thread():
            return _Suggestion(self, view).params()


Bayes.__module__ = "fastopt.tune"  # where it is documented; it is imported from there on use


class _Suggestion:
    """One ask: what the view holds, encoded, and the ways to pick a point from it."""

    def __init__(self, strategy: Bayes, view: View):
        self.strategy = strategy
        self.view = view
        self.space = view.space
        cache = view.cache
        if "encoding" not in cache:
            cache["encoding"] = Encoding(view.space)
        self.encoding = cache["encoding"]
        self.rng = np.random.default_rng((view.seed, view.number))
        self.outlook = Outlook(strategy, view, self.encoding)
        self.n_initial = strategy.n_initial or min(max(len(self.space) + 1, 4), 10)

    def params(self) -> dict:
        if self._is_initial():
            found = self._initial()
        elif self.view.number % 2 == 0 and self._is_stuck():
            found = None
        elif self.space.size <= ENUMERATED_SPACE:
            found = self._best_of_all()
        else:
            found = self._best_by_search()
        return found if found is not None else self._next_of_sobol()

    def _is_initial(self):
        view = self.view
        begun = len(view.finished) + len(view.pending)
        # a model of failures alone would say nothing
        return begun < self.n_initial or not any(trial.state in TOLD for trial in view.finished)

    def _is_stuck(self):
        """Whether values repeat, as on a plateau or in steps, and the best is many trials old.

        Such values mislead the model. The warp magnifies small steps among the best values, until
        all other places seem hopeless in comparison.
        """
        values = [trial.value for trial in self.view.finished if trial.feasible]
        if (
            len(self.view.directions) > 1
            or not values
            or len(set(values)) > (1.0 - TIES) * len(values)
        ):
            return False
        best = min(values) if self.view.direction == "minimize" else max(values)
        return len(values) - values.index(best) > STALLED

    def _new(self, u):
        """The params at ``u``, or None if they are taken or not allowed."""
        params = self.space.decode(u)
        if self.space.key(params) in self.view.taken or not self.view.allows(params):
            return None
        return params

    def _initial(self):
        """The initial values or else the centre; then Sobol's points."""
        view = self.view
        params = self.space.initial() or self.space.decode(np.full(len(self.space), 0.5))
        if self.space.key(params) not in view.taken and view.allows(params):
            return params
        return None

    def _next_of_sobol(self):
        """The first Sobol point that is not taken, or whatever is left of a finite space."""
        return Sobol().ask(replace(self.view, cache=self.view.cache.setdefault("sobol", {})))

    def _best_of_all(self):
        cache = self.view.cache
        if "all" not in cache:
            every = list(self.space.points())
            rows = np.array([self.space.encode(params) for params in every])
            cache["all"] = every, [self.space.key(params) for params in every], rows
        every, keys, rows = cache["all"]
        taken = self.view.taken
        left = [i for i, key in enumerate(keys) if key not in taken and self.view.allows(every[i])]
        if not left:
            return None
        prospect = self.outlook.prospect(self.rng)
        scores = prospect.search.values(rows[left])
        self._check_improvement(math.exp(float(scores.max())) * prospect.unit)
        return dict(every[left[int(scores.argmax())]])

    def _best_by_search(self):
        prospect = self.outlook.prospect(self.rng)
        params, score = self._best_of(prospect)
        refined = self.view.row < REFINED_ROWS
        if params is None or prospect.search.avoided is not None or not refined:
            return params
        expected = math.exp(score) * prospect.unit
        self._check_improvement(expected)
        if self.view.number % 2 == 0 and self._has_converged(prospect, expected):
            # the basin is refined by the trials between
            elsewhere = self.outlook.elsewhere()
            other, score = self._best_of(elsewhere)
            if math.exp(score) * elsewhere.unit > expected:
                return other
        return params

    def _has_converged(self, prospect, expected):
        """Whether an expected improvement is negligible beside the spread of the first values."""
        if prospect.local or self.outlook.n_constraints or len(self.view.directions) > 1:
            return False
        values = results(self.view.finished, self.view.signs[0])
        return expected < basin.CONVERGED * basin.spread(values[: self.n_initial])

    def _best_of(self, prospect):
        """The params of the best point that is new, and its score; None if there is none."""
        search = prospect.search
        candidates = self._candidates(prospect)
        scores = search.values(candidates)
        if self.view.row >= REFINED_ROWS:
            return self._first_new(candidates, scores)
        starts = self._starts(candidates, scores)
        starts = starts[np.isfinite(scores[starts])]
        found, found_scores = search.refine(candidates[starts], scores[starts])
        pool = np.concatenate([found, candidates])
        return self._first_new(pool, np.concatenate([found_scores, scores]))

    def _first_new(self, points, scores):
        """The params of the best point that is new, and its score; None if there is none."""
        for i in np.argsort(-scores, kind="stable"):
            params = self._new(points[i])
            if params is not None:
                return params, float(scores[i])
        return None, -math.inf

    def _check_improvement(self, expected):
        """Raise if the best suggestion is expected to improve less than the user's minimum."""
        if expected < self.strategy.min_improvement:
            raise ImprovementSpent(
                f"{self.strategy!r} expects an improvement of only {expected:.3g} from the next "
                f"trial ({len(self.view.finished)} have ended)"
            )

    def _candidates(self, prospect: Prospect):
        """Sobol points, and incumbents moved a little everywhere or far in some coordinates."""
        rng, d, count = self.rng, len(self.space), PERTURBATIONS
        incumbents, search = prospect.incumbents, prospect.search
        spread = shifted_sobol(d, rng)
        if prospect.local:
            spread = trust_region.candidates(spread, incumbents[0], search.low, search.high, rng)
        origin = incumbents[rng.integers(len(incumbents), size=count)]
        small = np.arange(count)[:, None] % 2 == 0
        some = rng.random((count, d)) < max(1.0 / d, 0.3)
        width = np.where(small, 10.0 ** rng.uniform(-3.0, -1.5, (count, 1)), 0.15 * some)
        near = origin + rng.standard_normal((count, d)) * width
        self._move_levels(near, origin)
        return self.space.snap(np.concatenate([spread, near]))

    def _move_levels(self, near, origin):
        """Move about two discrete coordinates of every row: the widths above leave most in place.

        Ordered ones mostly go to a level next to the origin's, categorical ones to any.
        """
        rng, discrete = self.rng, self.encoding.discrete
        chosen = rng.random((len(near), len(discrete))) < min(1.0, 2.0 / max(1, len(discrete)))
        draws = rng.random(chosen.shape)
        signs = rng.choice([-1, 1], size=chosen.shape)
        for k, j in enumerate(discrete):
            parameter = self.space.dimensions[j].parameter
            if self.encoding.categorical[j]:
                moved = draws[:, k]
            else:
                n = parameter.levels
                far = 1 + np.floor(-0.05 * n * np.log1p(-draws[:, k])).astype(np.int64)
                level = parameter.nearest(origin[:, j]) + signs[:, k] * far
                moved = parameter.unit(np.clip(level, 0, n - 1))
            near[:, j] = np.where(chosen[:, k], moved, near[:, j])

    def _starts(self, candidates, scores):
        """The best candidates, the best near the incumbents, and a draw with odds exp(score)."""
        order = np.argsort(-scores, kind="stable")
        near = order[order >= len(scores) - PERTURBATIONS]
        chosen = np.concatenate([order[:2], near[:3]])
        # Gumbel's trick: a weighted draw without replacement is the top of scores plus Gumbel noise
        drawn = scores - np.log(-np.log(self.rng.random(len(scores))))
        drawn[chosen] = np.inf
        return np.argsort(-drawn, kind="stable")[:STARTS]
