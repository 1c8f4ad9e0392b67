"""Compare all update rules at equal cost: python examples/compare_rules.py

The program draws two pictures. In rules_paths.png each rule minimises three classic functions of
two variables, with the best of 64 learning rates. In rules_digits.png each rule trains a small
neural network on the 8x8 digits that scikit-learn ships. A search has 64 trials of learning rate
and weight decay, the same ones for every rule. Then 8 fresh trainings follow with the best of them.
That is done five times with other trials, since the luck of a search may matter more than that of a
training. A row of a fastopt.Population is one trial or one training, so all those of a rule run at
once.

Everything but learning rate and weight decay is left at the rule's default. Two runs on the same
machine have the same result.
"""

import argparse
import os
import time
from pathlib import Path

# Matrices as small as these are multiplied fastest by one thread; NumPy reads this on import.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import rules_report
from population_digits import forward, gradients, load_digits, loss, networks

import fastopt
from fastopt import tune

RATES = (1e-5, 1e2)
DECAYS = (1e-6, 1.0)
STEPS = 200
SMALL = 1e-6  # values below are as good as 0
BATCH, EPOCHS, SEARCHES, SEEDS = 32, 12, 5, 8


def population(rule, params, **hypers):
    """The models, and a function that calls another one with the parameters to evaluate in place:
    with the schedule-free rules these are averages."""
    models = fastopt.Population(rule, params, **hypers)
    averages = hasattr(getattr(fastopt, fastopt.RULES[rule].class_name), "eval")

    def evaluate(function):
        if averages:
            models.eval()
        result = function()
        if averages:
            models.train()
        return result

    return models, evaluate


# Functions of two variables: the value and the gradient.


def rosenbrock(x, y):
    curve = y - x**2
    return (1 - x) ** 2 + 100 * curve**2, (-2 * (1 - x) - 400 * x * curve, 200 * curve)


def beale(x, y):
    terms = [(c - x + x * y**k, y**k - 1, k * x * y ** (k - 1)) for k, c in enumerate(BEALE, 1)]
    value = sum(term**2 for term, _, _ in terms)
    return value, tuple(2 * sum(term[0] * term[i] for term in terms) for i in (1, 2))


def valley(x, y):
    """A badly conditioned quadratic function, whose axes are not the parameters."""
    along, across = (x + y) / 2, x - y
    return along**2 + 50 * across**2, (along + 100 * across, along - 100 * across)


BEALE = (1.5, 2.25, 2.625)
# Where all start, the minimum, and what is shown: from x to x, from y to y.
FUNCTIONS = {
    "Rosenbrock": (rosenbrock, (-1.2, 1.0), (1.0, 1.0), ((-1.8, 1.8), (-0.8, 2.2))),
    "Beale": (beale, (0.4, -0.9), (3.0, 0.5), ((-0.2, 4.0), (-1.6, 1.6))),
    "Quadratic, 1:200": (valley, (-2.5, -1.5), (0.0, 0.0), ((-3.0, 1.2), (-2.6, 0.9))),
}


def descend(rule, function, start, window, count):
    """The learning rates; their paths, points of the shape (steps, rates, 2); and how fast each
    descends: the mean of the logarithms of all values on the way, infinite if the path leaves the
    window."""
    rates = np.geomspace(*RATES, count)
    points = np.tile(np.array(start), (count, 1))
    models, evaluate = population(rule, points, lr=rates, weight_decay=0.0)
    path = [points.copy()]
    for _ in range(STEPS):
        models.step(np.stack(function(*points.T)[1], axis=1))
        path.append(evaluate(points.copy))
    path = np.array(path)
    values = function(path[..., 0], path[..., 1])[0]
    means = np.log10(np.maximum(values, SMALL)).mean(axis=0)
    low, high = np.transpose(window)
    inside = ((path >= low) & (path <= high)).all(axis=(0, 2))
    return rates, path, np.where(inside, means, np.inf)


def paths(rule, count):
    """For each function: the learning rate that descends fastest within the window, its path, and
    that mean."""
    found = {}
    for name, (function, start, _, window) in FUNCTIONS.items():
        rates, path, means = descend(rule, function, start, window, count)
        best = np.argmin(means)
        found[name] = rates[best], path[:, best], means[best]
    return found


def split():
    """Images and digits for training, for choosing the settings, and for the report."""
    images, targets, *test = load_digits()
    return (images[:-357], targets[:-357]), (images[-357:], targets[-357:]), tuple(test)


def train(rule, seeds, learn, epochs, **hypers):
    """Trained networks. Each has a seed of its own for its start and the order of the images."""
    starts = [networks(1, seed) for seed in seeds]
    params = [np.concatenate(arrays) for arrays in zip(*starts, strict=True)]
    models, evaluate = population(rule, params, **hypers)
    images, targets = learn
    orders = [np.random.default_rng([s, 1]) for s in seeds]
    for _ in range(epochs):
        shuffled = np.stack([rng.permutation(len(images)) for rng in orders])
        for start in range(0, len(images) - BATCH + 1, BATCH):
            chosen = shuffled[:, start : start + BATCH]
            models.step(gradients(params, images[chosen], targets[chosen]))
    return evaluate(lambda: [array.copy() for array in params])


def wrong(params, images, targets):
    """The share of images that each network reads wrongly."""
    digits = forward(params, images)[1].argmax(axis=-1)
    return (digits != targets.argmax(axis=-1)).mean(axis=-1)


def trials(count):
    """Learning rates and weight decays, evenly spread, of the shape (searches, count)."""
    space = {"lr": tune.Float(*RATES, log=True), "weight_decay": tune.Float(*DECAYS, log=True)}
    studies = [tune.Study(space, strategy="sobol", seed=k) for k in range(SEARCHES)]
    asked = [[study.ask().params for _ in range(count)] for study in studies]
    return {name: np.array([[p[name] for p in some] for some in asked]) for name in space}


def tuned(rule, settings, data, epochs):
    """Of each search the setting whose network has the lowest loss on the validation images."""
    learn, validation, _ = data
    hypers = {name: values.ravel() for name, values in settings.items()}
    # The seeds of the fresh trainings are below these.
    seeds = 1000 + np.arange(settings["lr"].size)
    losses = loss(train(rule, seeds, learn, epochs, **hypers), *validation)
    losses = np.where(np.isfinite(losses), losses, np.inf).reshape(SEARCHES, -1)
    best = np.arange(SEARCHES), losses.argmin(axis=1)
    return {name: values[best] for name, values in settings.items()}


def interval(values):
    """95 % bootstrap interval of the median of values of the shape (searches, seeds).

    Searches are drawn with replacement, and then seeds, a thousand times.
    """
    rng = np.random.default_rng(0)
    searches, seeds = (rng.integers(n, size=(1000, n)) for n in values.shape)
    drawn = values[searches[:, :, None], seeds[:, None, :]]
    return np.quantile(np.median(drawn, axis=(1, 2)), [0.025, 0.975])


def learn_digits(rules, count, seeds, epochs):
    """{rule: its settings, and the losses and errors of its networks on the test images}"""
    data, settings = split(), trials(count)
    found = {}
    for rule in rules:
        best = tuned(rule, settings, data, epochs)
        hypers = {name: np.repeat(values, seeds) for name, values in best.items()}
        params = train(rule, np.tile(np.arange(seeds), SEARCHES), data[0], epochs, **hypers)
        measured = (function(params, *data[2]) for function in (loss, wrong))
        found[rule] = best, *(values.reshape(SEARCHES, seeds) for values in measured)
    return found


def not_told_from(found):
    """{rule: the best of the rules from which its difference may be chance}, the best first.

    All have the same trials, starts and batches, so the differences are taken pair by pair.
    """
    order = sorted(found, key=lambda rule: np.median(found[rule][1]))
    return {
        rule: next(o for o in order if interval(found[rule][1] - found[o][1])[0] <= 0)
        for rule in order
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--trials", type=int, default=64, help="of each search")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="fresh trainings after it")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of a training")
    parser.add_argument("--output", type=Path, default=Path(), help="folder for the pictures")
    options = parser.parse_args()
    for name in ("trials", "seeds", "epochs"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(options, name)}")
    options.output.mkdir(parents=True, exist_ok=True)
    start, rules = time.perf_counter(), list(fastopt.RULES)
    # Too large a learning rate overflows. Its value is infinite or NaN then, and is not chosen.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        descents = {rule: paths(rule, options.trials) for rule in rules}
        found = learn_digits(rules, options.trials, options.seeds, options.epochs)
        equals = not_told_from(found)
    rules_report.show(found, equals, interval)
    rules_report.draw_paths(descents, FUNCTIONS, options.output / "rules_paths.png")
    rules_report.draw_digits(found, equals, interval, options.output / "rules_digits.png")
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
