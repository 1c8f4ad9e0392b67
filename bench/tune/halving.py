"""Bayesian search with and without successive halving, on recorded learning curves.

    python -m bench.tune.halving [--seeds 0:8] [--minutes 8] [--methods ...] [--data ...]

Curves of 1,024 perceptrons on each of three data sets are recorded once, in results/curves.npz; the
searches look them up. Each search may use as many epochs as 20 whole trainings. It appends one line
of JSON with every validation loss that was better than all before it, and the number of epochs that
all trials had used by then. Finished searches are skipped. Set OPENBLAS_NUM_THREADS=1.
"""

from __future__ import annotations

import math
import warnings

import numpy as np

import fastopt
from bench.tune import perceptron, sweep
from bench.tune.perceptron import DATA, EPOCHS
from bench.tune.results import CURVES, HALVING, Search
from fastopt import tune

LEVELS = {
    "lr": np.geomspace(1e-4, 1.0, 16),
    "weight_decay": np.geomspace(1e-5, 1e-1, 4),
    "beta1": np.array([0.5, 0.8, 0.9, 0.97]),
    "scale": np.geomspace(0.1, 2.0, 4),
}
SHAPE = tuple(map(len, LEVELS.values()))
TOGETHER = 128
BUDGET = 20 * EPOCHS
METHODS = {
    "bayes, Halving": ("bayes", tune.Halving(last=EPOCHS)),
    "bayes, Hyperband": ("bayes", tune.Hyperband(last=EPOCHS)),
    "bayes": ("bayes", None),
    "random, Halving": ("random", tune.Halving(last=EPOCHS)),
    "random": ("random", None),
}


def record(name: str) -> np.ndarray:
    """The validation losses of each combination of levels after each epoch."""
    data = perceptron.load(name, 0)
    columns = {
        key: values.ravel()
        for key, values in zip(LEVELS, np.meshgrid(*LEVELS.values(), indexing="ij"), strict=True)
    }
    curves = np.empty((math.prod(SHAPE), EPOCHS))
    for start in range(0, len(curves), TOGETHER):
        rows = {key: column[start : start + TOGETHER] for key, column in columns.items()}
        arrays = perceptron.weights(data, 0, rows.pop("scale"))
        models = fastopt.Population("adam", arrays, **rows)
        for epoch in range(EPOCHS):
            perceptron.train(arrays, models, data, 0, epoch)
            curves[start : start + TOGETHER, epoch] = perceptron.loss(arrays, data)
    return curves.reshape(*SHAPE, EPOCHS)


def recorded() -> dict[str, np.ndarray]:
    """The curves of every data set."""
    if not CURVES.exists():
        with np.errstate(all="ignore"):
            np.savez(CURVES, **{name: record(name) for name in DATA})
    with np.load(CURVES) as file:
        return dict(file)


class EpochsAreUsedUp(BaseException):
    """Not an Exception, so that no search takes it for a failure of its objective."""


def search(method: str, data: str, curves: np.ndarray, seed: int) -> Search:
    """One search, until its epochs are used up. The result of a trial is its best loss."""
    strategy, scheduler = METHODS[method]
    space = {name: tune.Int(0, len(values) - 1) for name, values in LEVELS.items()}
    study = tune.Study(space, strategy=strategy, seed=seed)
    used, best, improvements = 0, math.inf, []

    def objective(params):
        nonlocal used, best
        curve = curves[tuple(params[name] for name in LEVELS)].tolist()
        for loss in curve:
            if used == BUDGET:
                raise EpochsAreUsedUp
            used += 1
            if loss < best:
                best = loss
                improvements.append((used, loss))
            yield loss
        return min(curve)

    try:
        study.run(objective, scheduler=scheduler, max_failures=None, progress=False)
    except EpochsAreUsedUp:
        return Search(method, data, "curves", seed, BUDGET, improvements)
    raise RuntimeError(f"{method} ended before its epochs were used up")


def main() -> None:
    parser = sweep.parser("bench.tune.halving", __doc__, seeds="0:8", results=HALVING)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    curves = recorded()
    done = (found.key for found in Search.load(arguments.results))
    for method, data, seed in sweep.pending(arguments, arguments.methods, arguments.data, done):
        search(method, data, curves[data], seed).append_to(arguments.results)


if __name__ == "__main__":
    main()
