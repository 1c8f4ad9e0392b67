"""How much each parameter matters: functional ANOVA.

On a Gaussian process where that predicts the values well, or else their ranks: a few values that
are orders of magnitude away from the others hide all else, but not in ranks. Otherwise on a forest
of regression trees.

The forest predicts a value everywhere in the unit cube. The variance of its prediction along one
coordinate, with all others averaged out, as a share of the variance over the whole cube, is what
that coordinate explains alone; the rest is due to combinations. A tree cuts the cube into boxes
with one prediction each, so averaging out is a plain sum over boxes. Hutter, Hoos, Leyton-Brown: An
efficient approach for assessing hyperparameter importance, ICML 2014.

Departures: the trees split the ranks of the values, so that a few diverged trials do not hide all
else; each tree draws its cuts at random between the points (Geurts, Ernst, Wehenkel: Extremely
randomized trees, Machine Learning 63, 2006) instead of resampling the trials; and the shares are
those of the forest's mean, not the mean of the single trees' shares, in which every tree's own
noise counts as a combination.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from fastopt import _checks
from fastopt.tune.reporting import surrogate
from fastopt.tune.space.space import Space
from fastopt.tune.space.trial import Trial

__all__ = ["FEWEST", "importance", "intervals"]

TREES = 64
# Trials below which a share of variance says nothing.
FEWEST = 8
SMALLEST_SPLIT = 4
# A share below this is as good as none.
NOTHING = 0.01
# Of trials, one of which is left out at a time for an interval; at most `FEWEST`.
GROUPS = 8
# Where a forest is looked at: places along one coordinate, and in the whole cube.
PLACES = 256
SAMPLES = 2048


def importance(
    space: Space, trials: Sequence[Trial], objective: int | None = None, seed: int = 0
) -> dict[str, float]:
    """Share of the results' variance that each parameter explains alone, largest first.

    Parameters
    ----------
    space : Space
    trials : sequence of Trial
        Those that are done count; at least 8.
    objective : int, optional
        Which, if the study has several.
    seed : int
        For the forest, and for where the process is looked at.

    Returns
    -------
    dict of str to float
        In [0, 1]; together at most 1, the rest being due to combinations of parameters.

    Raises
    ------
    ValueError
        For fewer than 8 done trials, or if it is not said which of several objectives.

    Examples
    --------
    >>> from fastopt import tune
    >>> space = {"a": tune.Float(0.0, 1.0), "b": tune.Float(0.0, 1.0)}
    >>> study = tune.minimize(lambda p: 9 * p["a"] + p["b"], space, n_trials=64, strategy="sobol")
    >>> shares = study.importance()
    >>> list(shares), shares["a"] > 0.8
    (['a', 'b'], True)
    """
    points, values = _results(space, trials, objective)
    shares = _explained(space, points, values, seed)
    order = np.argsort(-shares, kind="stable")
    return {space.names[j]: float(shares[j]) for j in order}


def intervals(
    space: Space, trials: Sequence[Trial], objective: int | None = None, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """About 95 % of what each share of :func:`importance` may be, by the same names.

    An interval holds what two kinds of doubt allow. One is how far the share hangs on single
    trials: two standard errors each way, by the jackknife, for which an eighth of the trials is
    left out in turn (Efron, Stein: The jackknife estimate of variance, Annals of Statistics 9,
    1981). The other is which functions the trials leave possible, smooth ones with much noise and
    rough ones with little: the shares of 40 such functions lie within. That takes 20 trials, and
    three for each parameter, of which there may be 20.
    """
    found = importance(space, trials, objective, seed)
    points, values = _results(space, trials, objective)
    groups = np.random.default_rng(seed).permutation(len(values)) % GROUPS
    parts = np.array(
        [
            _explained(space, points[groups != group], values[groups != group], seed)
            for group in range(GROUPS)
        ]
    )
    errors = np.sqrt((GROUPS - 1) * parts.var(axis=0))
    shares = np.array([found[name] for name in space.names])
    low, high = shares - 2 * errors, shares + 2 * errors
    seen = (values, rankdata(values))
    told = (each for each in seen if surrogate.shares(space, points, each, seed) is not None)
    drawn = surrogate.drawn_shares(space, points, next(told, values), seed)
    if drawn is not None:
        low, high = np.minimum(low, drawn.min(axis=0)), np.maximum(high, drawn.max(axis=0))
    # A drawn function is never quite flat along a parameter.
    low = np.where(low < NOTHING, 0.0, low)
    bounds = zip(low.tolist(), np.minimum(high, 1.0).tolist(), strict=True)
    by_name = dict(zip(space.names, bounds, strict=True))
    return {name: by_name[name] for name in found}


def _results(
    space: Space, trials: Sequence[Trial], objective: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """The points of the done trials in the unit cube, and what each came to."""
    done = [trial for trial in trials if trial.state == "done"]
    if len(done) < FEWEST:
        raise ValueError(f"importance needs at least {FEWEST} done trials, got {len(done)}")
    several = max(1, len(done[0].objectives))
    if objective is None and several > 1:
        raise ValueError(f"the study has {several} objectives: say which, as objective=0")
    which = _checks.integer(
        "objective", 0 if objective is None else objective, least=0, most=several - 1
    )
    values = [trial.objectives[which] if trial.objectives else trial.value for trial in done]
    return np.array([space.encode(t.params) for t in done]), np.array(values, dtype=float)


def _explained(space: Space, points: np.ndarray, values: np.ndarray, seed: int) -> np.ndarray:
    """The share of each parameter by the process, or else by the forest."""
    for seen in (values, rankdata(values)):
        shares = surrogate.shares(space, points, seen, seed)
        if shares is not None:
            return shares
    return _shares(points, rankdata(values), np.random.default_rng(seed))


def _shares(points: np.ndarray, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The first-order shares of variance of a forest."""
    d = points.shape[1]
    places = (np.arange(PLACES) + 0.5) / PLACES
    samples = rng.random((SAMPLES, d))
    marginals, predictions = np.zeros((d, PLACES)), np.zeros(SAMPLES)
    whole = np.tile([[0.0], [1.0]], d)
    for _ in range(TREES):
        boxes, leaves = _grow(points, values, whole, rng)
        low, high = boxes[:, 0], boxes[:, 1]
        inside = ((low <= samples[:, None]) & (samples[:, None] < high)).all(axis=-1)
        predictions += inside @ leaves
        volumes = (high - low).prod(axis=1)
        for j in range(d):
            along = (low[:, j, None] <= places) & (places < high[:, j, None])
            marginals[j] += (volumes / (high[:, j] - low[:, j]) * leaves) @ along
    total = predictions.var()
    if total <= 0.0:
        return np.zeros(d)
    shares = marginals.var(axis=1) / total
    return shares / max(1.0, shares.sum())


def _grow(
    points: np.ndarray, values: np.ndarray, box: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, 2, d) and predictions (n,) of a tree over ``box``."""
    split = _split(points, values, rng) if len(values) >= SMALLEST_SPLIT else None
    if split is None:
        return box[None], np.array([values.mean()])
    j, cut = split
    left, below, above = points[:, j] <= cut, box.copy(), box.copy()
    below[1, j] = above[0, j] = cut
    low_boxes, low_values = _grow(points[left], values[left], below, rng)
    high_boxes, high_values = _grow(points[~left], values[~left], above, rng)
    return np.concatenate([low_boxes, high_boxes]), np.concatenate([low_values, high_values])


def _split(
    points: np.ndarray, values: np.ndarray, rng: np.random.Generator
) -> tuple[int, float] | None:
    """Of one random cut per coordinate, the one that reduces the squared error most."""
    best, least = None, values.var() * len(values) * (1 - 1e-9)
    low, high = points.min(axis=0), points.max(axis=0)
    for j in np.flatnonzero(high > low):
        cut = rng.uniform(low[j], high[j])
        left = points[:, j] <= cut
        if left.all():
            continue
        error = sum(part.var() * len(part) for part in (values[left], values[~left]))
        if error < least:
            best, least = (int(j), float(cut)), error
    return best
