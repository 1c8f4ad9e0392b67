"""The best validation loss after equal CPU time: many at once, one by one, and other libraries.

    python -m bench.tune.budget [--seeds 0:3] [--minutes 8] [--methods ...] [--data ...]

All tune learning rate, weight decay and beta1 of Adam for a perceptron on three data sets. A search
runs in a process of its own until it has used its seconds of CPU time (``time.process_time``, all
threads together, imports and loading not counted). It appends one line of JSON with every
validation loss that was better than all before it, and the CPU time at which it was known. Finished
searches are skipped, so that a run can be interrupted and repeated. Set OPENBLAS_NUM_THREADS=1.
"""

from __future__ import annotations

import itertools
import math
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from bench.tune import perceptron, sweep
from bench.tune.perceptron import BATCH, DATA, EPOCHS, HIDDEN
from bench.tune.results import BUDGET, Training

TOGETHER, FIRST = 81, 9
RANGES = {"lr": (1e-4, 1.0), "weight_decay": (1e-6, 1e-1), "beta1": (0.5, 0.99)}


class TimeIsUp(BaseException):
    """Not an Exception, so that no search takes it for a failure of its objective."""


class Clock:
    """The CPU time of a search, and what it has found in it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.best = math.inf
        self.improvements: list[tuple[float, float]] = []
        self.start = time.process_time()

    def see(self, losses) -> None:
        """Note validation losses that are known now; end the search when its time is over."""
        now = time.process_time() - self.start
        if now > self.seconds:
            raise TimeIsUp
        least = float(np.nanmin(losses, initial=math.inf))
        if least < self.best:
            self.best = least
            self.improvements.append((round(now, 4), least))


def _alone(params, data, seed):
    """The validation losses of one network."""
    import fastopt

    arrays = perceptron.weights(data, seed)
    optimizer = fastopt.Adam(arrays, **params)
    for epoch in range(EPOCHS):
        perceptron.train(arrays, optimizer, data, seed, epoch)
        yield float(perceptron.loss(arrays, data))


def _study(data, seed, *, strategy="sobol", together=False, halving=True):
    """A search by fastopt.tune; returns what starts it."""
    import fastopt
    from fastopt import tune

    space = {
        name: tune.Float(low, high, log=name != "beta1") for name, (low, high) in RANGES.items()
    }
    study = tune.Study(space, strategy=strategy, seed=seed)
    options = {"scheduler": tune.Halving(first=FIRST, last=EPOCHS)} if halving else {}

    def one(params, clock):
        for loss in _alone(params, data, seed):
            clock.see(loss)
            yield loss

    def many(params, clock):
        arrays = perceptron.weights(data, seed, np.ones(len(params["lr"])))
        models = fastopt.Population("adam", arrays, **params)
        for epoch in range(EPOCHS):
            perceptron.train(arrays, models, data, seed, epoch)
            losses = perceptron.loss(arrays, data)
            clock.see(losses)
            rows = yield losses
            if len(rows) < len(models):
                arrays = models.select(rows)

    objective = many if together else one
    if together:
        options["batch"] = TOGETHER
    return lambda clock: study.run(
        lambda params: objective(params, clock), max_failures=None, progress=False, **options
    )


def _optuna(data, seed):
    """Optuna's multivariate TPE with its HyperbandPruner."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True),
        pruner=optuna.pruners.HyperbandPruner(
            min_resource=1, max_resource=EPOCHS, reduction_factor=3
        ),
    )

    def objective(trial, clock):
        params = {
            name: trial.suggest_float(name, low, high, log=name != "beta1")
            for name, (low, high) in RANGES.items()
        }
        for epoch, loss in enumerate(_alone(params, data, seed), start=1):
            clock.see(loss)
            trial.report(loss, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return loss

    return lambda clock: study.optimize(lambda trial: objective(trial, clock))


def _sklearn(data, seed):
    """scikit-learn's HalvingRandomSearchCV, repeated; it starts its networks again at each rung."""
    from scipy.stats import loguniform, uniform
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.metrics import log_loss
    from sklearn.model_selection import HalvingRandomSearchCV
    from sklearn.neural_network import MLPClassifier

    x = np.concatenate([data.inputs, data.held_out])
    y = np.concatenate([data.targets, data.held_out_targets]).argmax(axis=1)
    split = [(np.arange(len(data.inputs)), np.arange(len(data.inputs), len(x)))]
    low, high = RANGES["beta1"]
    distributions = {
        "learning_rate_init": loguniform(*RANGES["lr"]),
        # scikit-learn divides the penalty by the size of the batch.
        "alpha": loguniform(*(BATCH * bound for bound in RANGES["weight_decay"])),
        "beta_1": uniform(low, high - low),
    }

    def search(clock):
        def score(model, x, y):
            loss = log_loss(y, model.predict_proba(x), labels=model.classes_)
            clock.see(loss)
            return -loss

        for repetition in itertools.count():
            HalvingRandomSearchCV(
                MLPClassifier((HIDDEN,), batch_size=BATCH, random_state=seed),
                distributions,
                n_candidates=TOGETHER,
                resource="max_iter",
                min_resources=1,
                max_resources=EPOCHS,
                cv=split,
                scoring=score,
                refit=False,
                return_train_score=False,  # the scores would be seen as losses
                random_state=1000 * seed + repetition,
            ).fit(x, y)

    return search


METHODS = {
    "fastopt, many at once, halving": lambda *given: _study(*given, together=True),
    "the same, tpe": lambda *given: _study(*given, together=True, strategy="tpe"),
    "the same, bayes": lambda *given: _study(*given, together=True, strategy="bayes"),
    "fastopt, one by one, halving": _study,
    "fastopt, one by one": lambda *given: _study(*given, halving=False),
    "optuna, TPE, HyperbandPruner": _optuna,
    "scikit-learn, HalvingRandomSearchCV": _sklearn,
}


def search(method: str, data: str, seed: int, seconds: float) -> Training:
    """One search, until its time is over."""
    warnings.simplefilter("ignore")
    begin = METHODS[method](perceptron.load(data, seed), seed)
    with np.errstate(all="ignore"):
        clock = Clock(seconds)
        try:
            begin(clock)
        except TimeIsUp:
            return Training(method, data, seed, seconds, clock.improvements)
    raise RuntimeError(f"{method} ended before its time")


def main() -> None:
    parser = sweep.parser("bench.tune.budget", __doc__, seeds="0:3", results=BUDGET)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA)
    parser.add_argument("--seconds", type=float, default=6.0, help="of CPU time for each search")
    arguments = parser.parse_args()
    done = (found.key for found in Training.load(arguments.results))
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as process:
        for key in sweep.pending(arguments, arguments.methods, arguments.data, done):
            found = process.submit(search, *key, arguments.seconds).result()
            found.append_to(arguments.results)


if __name__ == "__main__":
    main()
