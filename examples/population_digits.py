"""Train hundreds of networks at once on handwritten digits: python examples/population_digits.py

A small neural network in plain NumPy learns to read the 8x8 digits that scikit-learn ships. For
each of six update rules a study tries 162 learning rates. Their networks are trained in one
program: every array has a row for each network, and one call of fastopt.Population steps all of
them. After epochs 1, 3 and 9 only the best third goes on (tune.Halving), and the others are dropped
from the arrays.

The function `train_alone` is the same training for one network. The program runs it for some of the
networks too, prints how much longer that takes, and whether the losses have the same bits.
"""

import argparse
import functools
import os
import time
from pathlib import Path

# Matrices as small as these are multiplied fastest by one thread; NumPy reads this on import.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import fastopt
from fastopt import tune

RULES = ("sgd", "momentum", "nag", "adagrad", "adadelta", "adam")
HIDDEN, BATCH = 32, 32
EPOCHS, RUNGS = 27, (1, 3, 9)


def load_digits():
    """Images, and digits as rows of a unit matrix, for training and validation."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    images, digits = datasets.load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    targets = np.eye(10, dtype=np.float32)[digits]
    split = train_test_split(images, targets, test_size=357, stratify=digits, random_state=0)
    return split[0], split[2], split[1], split[3]


def networks(count, seed=0):
    """Weights and biases of two layers, with a row for each network. All start alike."""
    rng = np.random.default_rng(seed)
    first = rng.normal(scale=np.sqrt(2 / 64), size=(64, HIDDEN))
    second = rng.normal(scale=np.sqrt(2 / HIDDEN), size=(HIDDEN, 10))
    shapes = [first, np.zeros((1, HIDDEN)), second, np.zeros((1, 10))]
    return [np.repeat(array[None].astype(np.float32), count, axis=0) for array in shapes]


# The same functions serve one network, whose arrays have no leading axis, and many.


def forward(params, images):
    """The hidden layer, and the logarithm of each digit's probability."""
    weight1, bias1, weight2, bias2 = params
    hidden = np.maximum(images @ weight1 + bias1, 0)
    scores = hidden @ weight2 + bias2
    scores -= scores.max(axis=-1, keepdims=True)
    return hidden, scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))


def gradients(params, images, targets):
    """The gradients of each network's cross-entropy."""
    hidden, logs = forward(params, images)
    outer = (np.exp(logs) - targets) / np.float32(targets.shape[-2])
    inner = (outer @ params[2].swapaxes(-1, -2)) * (hidden > 0)
    return [
        np.ascontiguousarray(images.swapaxes(-1, -2) @ inner),
        inner.sum(axis=-2, keepdims=True),
        hidden.swapaxes(-1, -2) @ outer,
        outer.sum(axis=-2, keepdims=True),
    ]


def loss(params, images, targets):
    """The mean cross-entropy of each network."""
    return -(forward(params, images)[1] * targets).sum(axis=-1).mean(axis=-1)


def epoch(params, optimizer, data, number):
    """Step through the shuffled images once. All networks get the same batches."""
    images, targets, *_ = data
    order = np.random.default_rng(number).permutation(len(images))
    for start in range(0, len(order) - BATCH + 1, BATCH):
        chosen = order[start : start + BATCH]
        optimizer.step(gradients(params, images[chosen], targets[chosen]))


def train_together(rule, data, params):
    """A batched objective: yields the losses of all networks after each epoch, and drops some."""
    arrays = networks(len(params["lr"]))
    population = fastopt.Population(rule, arrays, lr=params["lr"])
    for number in range(EPOCHS):
        epoch(arrays, population, data, number)
        rows = yield loss(arrays, *data[2:])
        if len(rows) < len(population):
            arrays = population.select(rows)


def search(rule, count, data):
    """The learning rates, and the losses of their networks: a row for each epoch, NaN from where
    one was dropped or diverged."""
    study = tune.Study({"lr": tune.Float(1e-4, 10.0, log=True)}, strategy=tune.Grid(points=count))
    study.run(
        functools.partial(train_together, rule, data),
        n_trials=count,
        batch=count,
        scheduler=tune.Halving(eta=3, last=EPOCHS),
        progress=False,
    )
    trials = sorted(study.trials, key=lambda trial: trial.params["lr"])
    losses = np.full((EPOCHS, count), np.nan)
    for k, trial in enumerate(trials):
        losses[: len(trial.values), k] = trial.values
    return np.array([trial.params["lr"] for trial in trials]), losses


def train_alone(rule, rate, data, epochs):
    """The validation losses of one network: the plain loop."""
    params = [array[0] for array in networks(1)]
    optimizer = fastopt.create(rule, params, lr=rate)
    losses = []
    for number in range(epochs):
        epoch(params, optimizer, data, number)
        losses.append(loss(params, *data[2:]))
    return losses


def compare(rule, rates, losses, data):
    """Seconds that all would take alone, from a few networks; whether these have the same bits."""
    epochs_of = (~np.isnan(losses)).sum(axis=0)
    some = np.linspace(0, len(rates) - 1, 12).astype(int)
    start = time.perf_counter()
    alone = [train_alone(rule, rates[k], data, epochs_of[k]) for k in some]
    seconds = (time.perf_counter() - start) * epochs_of.sum() / epochs_of[some].sum()
    together = [losses[: epochs_of[k], k] for k in some]
    return seconds, all(map(np.array_equal, alone, together))


def draw(curves, rates, path):
    """The learning curves of every rule, coloured by the learning rate, with the rungs."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import colors
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(12, 7), sharex=True, sharey=True)
    norm, colours = colors.LogNorm(rates[0], rates[-1]), mpl.colormaps["turbo"]
    at = np.arange(1, EPOCHS + 1)
    for ax, (rule, losses) in zip(axes.flat, curves.items(), strict=True):
        for k in np.argsort((~np.isnan(losses)).sum(axis=0), kind="stable"):
            whole = not np.isnan(losses[-1, k])
            ax.plot(
                at,
                losses[:, k],
                color=colours(norm(rates[k])),
                linewidth=1.6 if whole else 0.6,
                alpha=1.0 if whole else 0.6,
                marker="." if np.isnan(losses[1:, k]).all() else None,
                markersize=3,
            )
        for rung in RUNGS:
            left = (~np.isnan(losses[rung])).sum()
            ax.axvline(rung, color="#888888", linewidth=0.8, linestyle=":")
            ax.text(rung * 1.04, 2.62, left, fontsize=8, color="#555555", va="top")
        best = np.nanargmin(losses[-1])
        ax.set_title(f"{rule}: {losses[-1, best]:.3f} with lr={rates[best]:.2g}", loc="left")
        ax.set(xscale="log", yscale="log", xlim=(0.93, EPOCHS), ylim=(0.05, 2.8))
        ax.set_xticks([1, 3, 9, EPOCHS], ["1", "3", "9", str(EPOCHS)])
        ax.set_yticks([0.05, 0.1, 0.2, 0.5, 1, 2], ["0.05", "0.1", "0.2", "0.5", "1", "2"])
        ax.minorticks_off()
        ax.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("epoch; the number at a dotted line is how many networks go on from there")
    figure.supylabel("validation loss")
    scale = mpl.cm.ScalarMappable(norm, colours)
    figure.colorbar(scale, ax=axes, label="learning rate", fraction=0.025, pad=0.015)
    figure.savefig(path, dpi=100, bbox_inches="tight")
    plt.close(figure)


def main():
    """Train, compare, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--networks", type=int, default=162, help="for each rule")
    parser.add_argument("--output", type=Path, default=Path("population.png"))
    options = parser.parse_args()
    if options.networks < 3 ** len(RUNGS):
        parser.error(f"--networks must be at least {3 ** len(RUNGS)}, got {options.networks}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    data = load_digits()
    curves = {}
    print(f"{'rule':<10}{'best loss':>10}{'its lr':>10}{'seconds':>10}{'alone':>10}  same bits")
    # Too large a learning rate overflows. The loss is NaN then, and the network's trial has failed.
    with np.errstate(over="ignore", invalid="ignore"):
        for rule in RULES:
            start = time.perf_counter()
            rates, losses = search(rule, options.networks, data)
            curves[rule] = losses
            seconds = time.perf_counter() - start
            alone, same = compare(rule, rates, losses, data)
            best = np.nanargmin(losses[-1])
            numbers = f"{losses[-1, best]:>10.4f}{rates[best]:>10.2g}{seconds:>10.2f}{alone:>10.2f}"
            print(f"{rule:<10}{numbers}  {'yes' if same else 'no'}", flush=True)
    draw(curves, rates, options.output)
    print("\nalone: one network after another, estimated from twelve.", end=" ")
    print(f"The picture: {options.output}")


if __name__ == "__main__":
    main()
