"""From the told trials to where the next one is worth most: models, and a criterion over them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from fastopt.tune.fronts.boxes import undominated_boxes
from fastopt.tune.fronts.domination import non_dominated
from fastopt.tune.strategies.bayes import told, trust_region, warp
from fastopt.tune.strategies.bayes.ascent import Search
from fastopt.tune.strategies.bayes.basin import Basin
from fastopt.tune.strategies.bayes.criteria import Feasibility, Improvement, Product
from fastopt.tune.strategies.bayes.failures import failure_kernel, labels, latest
from fastopt.tune.strategies.bayes.gaussian_process import Posterior
from fastopt.tune.strategies.bayes.hypervolume_improvement import HypervolumeImprovement
from fastopt.tune.strategies.bayes.model import (
    MODEL_LIMIT,
    ModelOptions,
    fit_kernel,
    last_refit,
    representative,
)
from fastopt.tune.strategies.bayes.scalars import chebyshev, reference_point
from fastopt.tune.strategies.bayes.stopped import results

REFINED = 4
"""After this many trials with the incumbent's discrete coordinates comes one with others."""
LITTLE_NOISE = 0.01
"""Up to this ratio of noise variance to target variance the search refines the incumbent."""
INCUMBENTS = 3
FRONT_INCUMBENTS = 16
MOST_EXACT = 3
"""More objectives than this are made one by random weights, since there would be too many boxes."""


@dataclass
class Prospect:
    """What the models of the told trials say about where to look next.

    Attributes
    ----------
    search : Search
        Over the criterion.
    incumbents : (k, d) array
        The told points near which to look closer, the best by the model first.
    unit : float
        What one unit of the model's targets is near the best value.
    local : bool
        Whether the search stays within a trust region.
    """

    search: Search
    incumbents: np.ndarray
    unit: float
    local: bool


def unit_at_best(values, targets) -> float:
    """What one unit of the targets is near the best value, from the two best distinct values.

    Infinite if there are no two distinct values, since nothing is known about the unit then.
    """
    good = np.isfinite(values)
    levels, index = np.unique(values[good], return_index=True)
    if len(levels) < 2:
        return math.inf
    first, second = targets[good][index[:2]]
    # halves: the difference of two huge values must stay finite
    rise = 2.0 * float(0.5 * levels[1] - 0.5 * levels[0])
    return rise / float(second - first) if second > first else math.inf


class Outlook:
    """The models of one view, and the criteria made of them.

    Parameters
    ----------
    strategy : Bayes
    view : View
    encoding : Encoding
    """

    def __init__(self, strategy, view, encoding):
        self.strategy = strategy
        self.view = view
        self.space = view.space
        self.encoding = encoding
        self.options = ModelOptions(deterministic=strategy.deterministic)
        self.points = self._points()
        self.n_constraints = told.n_constraints(view.finished)
        self.violations = told.violations(view.finished) if self.n_constraints else None
        pending = [self.space.encode(trial.params) for trial in view.pending]
        self.pending = encoding.features(np.array(pending)) if pending else None

    def _points(self):
        finished, cache = self.view.finished, self.view.cache
        known = cache.get("points", np.empty((0, len(self.space))))
        if len(known) < len(finished):
            rows = [self.space.encode(trial.params) for trial in finished[len(known) :]]
            known = cache["points"] = np.concatenate([known, rows])
        return known

    def prospect(self, rng) -> Prospect:
        """Where to look next."""
        feasibility = self._feasibility() + self._success()
        if self.violations is not None and not (self.violations == 0.0).any():
            return self._towards_feasible(feasibility)
        signs = self.view.signs
        if len(signs) == 1:
            return self._one(self._results, feasibility, "objective")
        if len(signs) > MOST_EXACT:
            weights = rng.dirichlet(np.ones(len(signs)))
            return self._one(lambda n: self._scalars(n, weights), feasibility, None)
        return self._several(feasibility)

    def _kernel(self, name, fit: Callable):
        """The kernel of the last scheduled refit, from memory if it was fitted in this session."""
        finished = self.view.finished
        # Where all trials up to then have failed, it is fitted at the first that has not.
        first = next(n for n, trial in enumerate(finished, 1) if trial.state != "failed")
        n = max(last_refit(len(finished)), first)
        kernels = self.view.cache.setdefault("kernels", {})
        if kernels.get(name, (None, None))[0] != n:
            kernels[name] = n, fit(n)
        return kernels[name][1]

    # One objective

    def _results(self, n):
        return results(self.view.finished[:n], self.view.signs[0])

    def _scalars(self, n, weights):
        objectives = told.objectives(self.view.finished[:n], self.view.signs)
        return chebyshev(objectives, weights)

    def elsewhere(self) -> Prospect:
        """Where to look outside the basin of the best trial, for one objective.

        The model knows only the best trial of the basin. The others, which differ little, would
        decide how the values are warped, and would make all other places look hopeless.
        """
        feasibility = self._feasibility() + self._success()
        return self._one(self._results, feasibility, "elsewhere", outside=True)

    def _one(self, values_of, feasibility, kernel_name, outside=False) -> Prospect:
        """By the expected improvement.

        ``values_of(n)`` gives the values of the first n finished trials, to be minimised, NaN for
        failures. It is a function, because the value of a stopped trial depends on the other
        trials. ``kernel_name`` is None if the next suggestion is not made from the same values.
        With ``outside``, the best trial stands for its basin, whose points are worth nothing.
        """
        options, worst = self.options, self.strategy.failures == "worst"
        if self.violations is not None:
            options = replace(options, outputs=warp.gentle)

        def known(n):
            values = values_of(n)
            kept = ~np.isnan(values) | worst
            if outside:
                kept &= ~Basin(self.encoding, self.points[:n], values).crowd
            return self.points[:n][kept], values[kept], kept

        def fit(n):
            points, values, _ = known(n)
            return fit_kernel(self.encoding, points, values, options)

        n = len(self.points)
        kernel = self._kernel(kernel_name, fit) if kernel_name else fit(n)
        points, values, kept = known(n)
        targets = options.outputs(values)
        unit = unit_at_best(values, targets)
        violations = None if self.violations is None else self.violations[kept]
        importance = targets
        if violations is not None:
            importance = np.empty(len(targets))
            importance[np.lexsort((targets, violations))] = np.arange(len(targets))
        chosen = representative(importance, MODEL_LIMIT)
        points, targets = points[chosen], targets[chosen]
        features = self.encoding.features(points)
        posterior = Posterior(kernel, features, targets, self.encoding.groups)
        # under noise the lowest value may be luck; the posterior mean there is not
        fitted, _ = posterior.predict(features)
        if violations is None:
            order = np.argsort(fitted, kind="stable")
            best = float(fitted.min())
        else:
            order = np.lexsort((fitted, violations[chosen]))
            best = float(fitted[violations[chosen] == 0.0].min())
        if self.pending is not None:
            # a pending point is taken to reach its mean, so going there again improves nothing
            likely = self._likely(feasibility, self.pending)
            if likely.any():
                best = min(best, float(posterior.predict(self.pending)[0][likely].min()))
            posterior.fantasise(self.pending)
        ranked = points[order]
        low, high = np.zeros(len(self.space)), np.ones(len(self.space))
        local = len(self.space) > trust_region.DIMENSION
        if local:
            if violations is not None:
                values = self._merits(values, violations)
            length = trust_region.region_length(values, len(self.space))
            scales = np.exp(kernel.log_length)
            low, high = trust_region.region(ranked[0], length, scales, self.encoding.categorical)
        # The estimate of the noise is never quite zero. With little noise and nothing pending, a
        # point next to the incumbent refines it; otherwise it mostly measures the same again.
        repeats = len(self.view.pending) or posterior.noise > LITTLE_NOISE
        noise = math.sqrt(posterior.noise) if repeats else 0.0
        improvement = Improvement(posterior, best, noise)
        criterion = Product([improvement, *feasibility]) if feasibility else improvement
        if outside:
            avoided = Basin(self.encoding, self.points, values_of(n)).holds
            ranked = np.concatenate([ranked[~avoided(ranked)], ranked])
        else:
            avoided = self._avoided(self.points, ranked[0])
        search = Search(self.encoding, criterion, low, high, avoided)
        return Prospect(search, ranked[:INCUMBENTS], unit, local)

    def _avoided(self, points, incumbent):
        """What has the incumbent's discrete coordinates, if the last trials have all had them too.

        Otherwise the search might refine the continuous coordinates for ever, by less and less,
        since the warp of the values magnifies each gain.
        """
        encoding = self.encoding
        if not (len(encoding.continuous) and len(encoding.discrete)):
            return None
        cell = incumbent[encoding.discrete]
        last = points[-REFINED:, encoding.discrete]
        if not (last == cell).all():
            return None
        return lambda points: (points[:, encoding.discrete] == cell).all(axis=1)

    @staticmethod
    def _merits(values, violations):
        """Values in which every infeasible point is worse than the feasible ones."""
        worst = np.nanmax(values[violations == 0.0])
        return np.where(violations == 0.0, values, worst + violations)

    # Constraints

    def _feasibility(self):
        """A criterion for each constraint, from the trials of which they are known."""
        if not self.n_constraints:
            return []
        known = told.constraints(self.view.finished, self.n_constraints)
        return [self._feasible(k, known[:, k]) for k in range(self.n_constraints)]

    def _feasible(self, k, column):
        def part(n):
            there = np.flatnonzero(~np.isnan(column[:n]))
            if not len(there):  # only later trials have constraints, by study.correct
                there = np.flatnonzero(~np.isnan(column))
            targets, limit = warp.signed(column[there])
            return self.points[there], targets, limit

        def fit(n):
            points, targets, limit = part(n)
            options = replace(self.options, outputs=np.asarray)
            return fit_kernel(self.encoding, points, targets, options, np.abs(targets - limit))

        kernel = self._kernel(("constraint", k), fit)
        points, targets, limit = part(len(column))
        chosen = representative(np.abs(targets - limit), MODEL_LIMIT)
        features = self.encoding.features(points[chosen])
        posterior = Posterior(kernel, features, targets[chosen], self.encoding.groups)
        if self.pending is not None:
            posterior.fantasise(self.pending)
        return Feasibility(posterior, limit)

    def _success(self):
        """A criterion for success, if failures are to be avoided and belong to their places."""
        if self.strategy.failures != "neighbours":
            return []
        failed = np.array([trial.state == "failed" for trial in self.view.finished])

        def fit(n):
            return failure_kernel(self.encoding, self.points[:n], failed[:n])

        kernel = self._kernel("failures", fit) if failed.any() else None
        if kernel is None:
            return []
        chosen = latest(len(failed), MODEL_LIMIT)
        targets, limit = labels(failed)
        features = self.encoding.features(self.points[chosen])
        posterior = Posterior(kernel, features, targets[chosen], self.encoding.groups)
        if self.pending is not None:
            posterior.fantasise(self.pending)
        return [Feasibility(posterior, limit)]

    @staticmethod
    def _likely(feasibility, features):
        """Whether the points are more likely feasible than not."""
        likely = np.ones(len(features), dtype=bool)
        for part in feasibility:
            likely &= part.posterior.mean(features) <= part.limit
        return likely

    def _towards_feasible(self, feasibility) -> Prospect:
        """While no trial is feasible: where all constraints are most likely satisfied."""
        nearest = self.points[np.argsort(self.violations, kind="stable")[:INCUMBENTS]]
        low, high = np.zeros(len(self.space)), np.ones(len(self.space))
        search = Search(self.encoding, Product(feasibility), low, high)
        return Prospect(search, nearest, math.inf, local=False)

    # Several objectives

    def _several(self, feasibility) -> Prospect:
        """By the expected improvement of the hypervolume."""
        finished = self.view.finished
        options = replace(self.options, outputs=warp.gentle)
        posteriors, columns = [], []
        for k in range(len(self.view.signs)):

            def part(n, k=k):
                values = told.objectives(finished[:n], self.view.signs)[:, k]
                kept = ~np.isnan(values) | (self.strategy.failures == "worst")
                return np.flatnonzero(kept), values[kept]

            def fit(n, part=part):
                kept, values = part(n)
                return fit_kernel(self.encoding, self.points[kept], values, options)

            kernel = self._kernel(("objective", k), fit)
            kept, values = part(len(finished))
            targets = options.outputs(values)
            chosen = representative(targets, MODEL_LIMIT)
            features = self.encoding.features(self.points[kept])
            posterior = Posterior(kernel, features[chosen], targets[chosen], self.encoding.groups)
            columns.append(posterior.mean(features))
            posteriors.append(posterior)
        # Under noise an extreme value may be luck; the posterior mean there is not.
        fitted, points = np.stack(columns, axis=1), self.points[kept]
        if self.violations is not None:
            feasible = self.violations[kept] == 0.0
            fitted, points = fitted[feasible], points[feasible]
        front = non_dominated(fitted)
        fitted, points = fitted[front], points[front]
        order = np.argsort(fitted[:, 0], kind="stable")
        spread = np.linspace(0, len(order) - 1, min(len(order), FRONT_INCUMBENTS)).astype(int)
        incumbents = points[order[spread]]
        reference = reference_point(fitted)
        if self.pending is not None:
            likely = self._likely(feasibility, self.pending)
            means = np.stack([p.mean(self.pending) for p in posteriors], axis=1)
            fitted = np.concatenate([fitted, means[likely]])
            for posterior in posteriors:
                posterior.fantasise(self.pending)
        improvement = HypervolumeImprovement(posteriors, undominated_boxes(fitted, reference))
        criterion = Product([improvement, *feasibility]) if feasibility else improvement
        low, high = np.zeros(len(self.space)), np.ones(len(self.space))
        return Prospect(Search(self.encoding, criterion, low, high), incumbents, math.inf, False)
