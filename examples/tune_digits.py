"""Tune six update rules on handwritten digits: python examples/tune_digits.py

A small neural network in plain NumPy learns to read the 8x8 digits that scikit-learn ships. fastopt
takes the steps. fastopt.tune looks for the learning rate, its schedule, the batch size, the width
of the network, the weight decay, and whatever else a rule has. Four strategies search for each of
the six rules, with the same number of trials each.

A trial trains four networks, each without another quarter of the images, and counts by their mean
loss on the images left out. Every search runs by itself, one trial after another, so the result is
the same each time, with any number of processes. All trials are kept in a SQLite file: started
again after a stop, the program goes on where it was.
"""

import argparse
import functools
import math
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

# Matrices as small as these are multiplied fastest by one thread; NumPy reads this on import.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import fastopt
from fastopt import schedules, tune

FOLDS, EPOCHS = 4, 12
STRATEGIES = ("grid", "random", "sobol", "bayes")

SCHEDULES = {
    "constant": lambda lr, steps: schedules.constant(lr),
    "linear": lambda lr, steps: schedules.linear(lr, 0.0, steps),
    "cosine": schedules.cosine,
    "one_cycle": schedules.one_cycle,
}

# What is searched for every rule. The learning rates are the same for all: that Adam needs a
# hundredth of SGD's is for the search to find out.
SPACE = {
    "lr": tune.Float(1e-4, 1e1, log=True),
    "schedule": tune.Categorical(list(SCHEDULES)),
    "batch": tune.Int(8, 128, log=True),
    "width": tune.Int(16, 256, log=True),
    "weight_decay": tune.Float(1e-6, 1e-2, log=True),
}

# What a rule has besides. Averages are searched by how much they forget, "1-" in the name, for 0.99
# is as far from 0.999 as 0.9 is from 0.99.
MOMENTUM = {"1-momentum": tune.Float(1e-2, 1.0, log=True)}
RHO = {"1-rho": tune.Float(1e-3, 0.5, log=True)}
BETAS = {
    "1-beta1": tune.Float(1e-2, 1.0, log=True),
    "1-beta2": tune.Float(1e-4, 0.5, log=True),
}
EPS = {"eps": tune.Float(1e-10, 1e-2, log=True)}

RULES = {
    "sgd": (fastopt.SGD, {}),
    "momentum": (fastopt.Momentum, MOMENTUM),
    "nag": (fastopt.NAG, MOMENTUM),
    "adagrad": (fastopt.Adagrad, EPS),
    "adadelta": (fastopt.Adadelta, RHO | EPS),
    "adam": (fastopt.Adam, BETAS | EPS),
}

# A grid can afford few hyper-parameters. The others stay at the defaults, of `train` and the rule.
GRID = {"batch": tune.Categorical([16, 64]), "width": tune.Categorical([32, 128])}


@functools.cache
def load_digits():
    """Images, digits as rows of a unit matrix, and who learns from which of them."""
    # Imported here, because the worker processes import this file too.
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    images, digits = datasets.load_digits(return_X_y=True)
    everything = np.arange(len(digits))
    learn, test = train_test_split(everything, test_size=357, stratify=digits, random_state=0)
    folds = np.split(learn, FOLDS)
    parts = {
        "train": np.stack([np.setdiff1d(learn, fold) for fold in folds]),
        "validation": np.stack(folds),
        "learn": np.stack([learn] * FOLDS),
        "test": np.stack([test] * FOLDS),
    }
    return (images / 16).astype(np.float32), np.eye(10, dtype=np.float32)[digits], parts


def network(rng, width):
    """Weights and biases of two layers, with a leading axis for the networks side by side.

    Every rule works element by element, so one optimizer steps all of them.
    """

    def layer(inputs, outputs):
        weight = rng.standard_normal((FOLDS, inputs, outputs), dtype=np.float32)
        weight *= np.float32(math.sqrt(2 / inputs))
        return [weight, np.zeros((FOLDS, 1, outputs), np.float32)]

    return layer(64, width) + layer(width, 10)


def forward(params, images):
    """The hidden layer, and the logarithm of each digit's probability."""
    weight1, bias1, weight2, bias2 = params
    hidden = np.maximum(images @ weight1 + bias1, 0)
    scores = hidden @ weight2 + bias2
    scores -= scores.max(axis=2, keepdims=True)
    return hidden, scores - np.log(np.exp(scores).sum(axis=2, keepdims=True))


def backward(params, images, targets):
    """The gradient of each network's cross-entropy, in the structure of params."""
    hidden, logs = forward(params, images)
    outer = (np.exp(logs) - targets) / np.float32(targets.shape[1])
    inner = (outer @ params[2].swapaxes(1, 2)) * (hidden > 0)
    gradients = []
    for inputs, back in ((images, inner), (hidden, outer)):
        gradients += [inputs.swapaxes(1, 2) @ back, back.sum(axis=1, keepdims=True)]
    return gradients


def loss(params, images, targets):
    """The mean cross-entropy of all networks."""
    return -(forward(params, images)[1] * targets).sum(axis=2).mean(dtype=np.float64)


def accuracy(params, images, targets):
    """The share of images that are read correctly."""
    return (forward(params, images)[1].argmax(axis=2) == targets.argmax(axis=2)).mean()


def train(rule, part, *, lr, schedule="cosine", batch=32, width=64, **hypers):
    """Train networks on a part of the images; they are yielded after every epoch."""
    images, targets, parts = load_digits()
    rng = np.random.default_rng(0)
    params = network(rng, width)
    steps = parts[part].shape[1] // batch
    lr = SCHEDULES[schedule](lr, EPOCHS * steps)
    optimizer = RULES[rule][0](params, lr=lr, **hypers)
    for _ in range(EPOCHS):
        shuffled = rng.permuted(parts[part], axis=1)
        for i in range(steps):
            chosen = shuffled[:, i * batch : (i + 1) * batch]
            optimizer.step(backward(params, images[chosen], targets[chosen]))
        yield params


def keywords(params):
    """The arguments of `train` for a point of a search space."""
    return {
        name.removeprefix("1-"): 1 - value if name.startswith("1-") else value
        for name, value in params.items()
    }


def objective(rule, params):
    """What is minimized: the validation loss, yielded after every epoch; the last one counts."""
    images, targets, parts = load_digits()
    part = parts["validation"]
    # Too large a learning rate overflows. The loss is NaN then, and the trial counts as failed.
    with np.errstate(over="ignore", invalid="ignore"):
        for networks in train(rule, "train", **keywords(params)):
            yield loss(networks, images[part], targets[part])


def open_study(rule, strategy, options):
    """The study of a rule by a strategy; it knows the trials that were done before."""
    space = SPACE | RULES[rule][1]
    method = strategy
    if strategy == "grid":
        space = GRID | {"lr": SPACE["lr"]}
        method = tune.Grid(points=math.ceil(options.trials / 4))
    return tune.Study(
        space,
        strategy=method,
        seed=options.seed,
        storage=options.output / "digits.db",
        name=f"{rule} by {strategy}, {options.trials} trials, seed {options.seed}",
    )


def search(task):
    """Bring one study to its number of trials, in a worker process, and return all of them."""
    rule, _, options = task
    with open_study(*task) as study:
        left = options.trials - len(study.finished)
        study.run(functools.partial(objective, rule), n_trials=left, progress=False)
        return study.finished


def search_all(options):
    """The trials of each strategy for each rule."""
    tasks = [(rule, strategy, options) for rule in RULES for strategy in options.strategies]
    done = 0
    for task in tasks:
        with open_study(*task) as study:
            done += len(study.finished)
    if done:
        print(f"resuming: {done} of {options.trials * len(tasks)} trials have been done before")

    trials = {rule: {} for rule in RULES}
    # Ctrl-C ends the workers from here. A trial that is cut off is done again the next time.
    ignore = (signal.SIGINT, signal.SIG_IGN)
    with multiprocessing.get_context("spawn").Pool(options.jobs, signal.signal, ignore) as pool:
        for (rule, strategy, _), found in zip(tasks, pool.imap(search, tasks), strict=True):
            trials[rule][strategy] = found
            print(f"{rule:<8} by {strategy:<6}  best loss {lowest(found):.4f}", flush=True)
    return trials


def lowest(trials):
    """The lowest loss; infinity if all trials have failed."""
    return min((trial.value for trial in trials if trial.value is not None), default=math.inf)


class Best(NamedTuple):
    """The best of all trials of a rule, who found it, and how well it reads the test images."""

    strategy: str
    hypers: dict
    losses: list
    accuracy: float


def choose(trials):
    """Train once more with the best hyper-parameters of each rule; only now test the network."""
    images, targets, parts = load_digits()
    test = parts["test"]
    best = {}
    for rule, by_strategy in trials.items():
        done = [(s, t) for s, found in by_strategy.items() for t in found if t.value is not None]
        strategy, trial = min(done, key=lambda pair: pair[1].value)
        hypers = keywords(trial.params)
        *_, networks = train(rule, "learn", **hypers)
        percent = 100 * accuracy(networks, images[test], targets[test])
        best[rule] = Best(strategy, hypers, trial.values, percent)
    return best


def main():
    """Read the options, search, show."""
    start = time.perf_counter()
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--trials", type=int, default=32, help="for each rule and strategy")
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES, choices=STRATEGIES)
    parser.add_argument("--seed", type=int, default=0, help="of the search")
    parser.add_argument("--jobs", type=int, default=2, help="searches at a time, a process each")
    parser.add_argument("--output", type=Path, default=Path("digits"), help="folder of the results")
    options = parser.parse_args()
    for name in ("trials", "jobs"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(options, name)}")
    options.output.mkdir(parents=True, exist_ok=True)

    try:
        trials = search_all(options)
    except KeyboardInterrupt:
        parser.exit(130, "stopped; the same command goes on from here\n")
    best = choose(trials)

    from digits_report import draw, print_tables

    print_tables(trials, best)
    picture = options.output / "digits.png"
    draw(trials, best, picture)
    print(f"\nthe trials are in {options.output / 'digits.db'}, the picture is {picture}")
    print(f"it took {time.perf_counter() - start:.0f} seconds")


if __name__ == "__main__":
    main()
