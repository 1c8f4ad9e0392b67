"""Tune six update rules on handwritten digits: python examples/tune_digits.py

A small neural network in plain NumPy learns to read the 8x8 digits that scikit-learn ships; fastopt
takes the steps, and fastopt.tune looks for the learning rate and the other hyper-parameters of each
rule, with the same number of trials for every rule and every strategy. All trials are kept in a
SQLite file: when the program is stopped, or started again, it goes on where it was.
"""

import argparse
import functools
import math
import os
from pathlib import Path

# Matrices as small as these are multiplied fastest by one thread; NumPy reads this on import.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from tqdm import tqdm

import fastopt
from fastopt import tune

RULES = ("sgd", "momentum", "nag", "adagrad", "adadelta", "adam")
HIDDEN, EPOCHS, BATCH, NOISE = 128, 20, 32, 0.2

# What is searched, by the name of the hyper-parameter. The learning rates are the same for every
# rule: that Adam needs a hundredth of SGD's is for the search to find out. Averages that forget
# are searched by how much they forget, for 0.99 is as far from 0.999 as 0.9 is from 0.99.
SEARCH = {
    "lr": tune.Float(1e-4, 1e1, log=True),
    "eps": tune.Float(1e-10, 1e-2, log=True),
    "1-momentum": tune.Float(1e-2, 1.0, log=True),
    "1-rho": tune.Float(1e-3, 0.5, log=True),
    "1-beta1": tune.Float(1e-2, 1.0, log=True),
    "1-beta2": tune.Float(1e-4, 0.5, log=True),
}


class Network:
    """Two layers with a rectifier between them, and the cross-entropy of what they say."""

    def __init__(self, rng):
        def layer(inputs, outputs):
            scale = math.sqrt(2.0 / inputs)
            weight = scale * rng.standard_normal((inputs, outputs), dtype=np.float32)
            return [weight, np.zeros(outputs, np.float32)]

        self.params = layer(64, HIDDEN) + layer(HIDDEN, 10)

    def forward(self, images):
        """The hidden layer, and the logarithm of each digit's probability."""
        weight1, bias1, weight2, bias2 = self.params
        hidden = np.maximum(images @ weight1 + bias1, 0)
        scores = hidden @ weight2 + bias2
        scores -= scores.max(axis=1, keepdims=True)
        return hidden, scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))

    def backward(self, images, digits):
        """The gradient of the loss with respect to each parameter."""
        hidden, logs = self.forward(images)
        scores = np.exp(logs)
        scores[np.arange(len(digits)), digits] -= 1
        scores /= np.float32(len(digits))
        inner = (scores @ self.params[2].T) * (hidden > 0)
        return [images.T @ inner, inner.sum(axis=0), hidden.T @ scores, scores.sum(axis=0)]

    def loss(self, images, digits):
        """The mean cross-entropy."""
        return -self.forward(images)[1][np.arange(len(digits)), digits].mean(dtype=np.float64)

    def accuracy(self, images, digits):
        """The share of images that are read correctly."""
        return np.mean(self.forward(images)[1].argmax(axis=1) == digits)


def load_digits():
    """Images and digits to learn from (60 %), to choose by (20 %) and to test with (20 %)."""
    # Imported here, for the worker processes import this file too and get the data anyway.
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    images, digits = datasets.load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    split = functools.partial(train_test_split, random_state=0)
    rest, test = split(np.arange(len(digits)), test_size=0.2, stratify=digits)
    train, validation = split(rest, test_size=0.25, stratify=digits[rest])
    parts = {"train": train, "validation": validation, "test": test}
    return {name: (images[part], digits[part]) for name, part in parts.items()}


def hypers_of(params):
    """The optimizer's keywords for a point of the search space."""
    return {
        name.removeprefix("1-"): 1 - value if name.startswith("1-") else value
        for name, value in params.items()
    }


def train(rule, data, seed, params):
    """Train a network; it is yielded after every epoch."""
    images, digits = data["train"]
    rng = np.random.default_rng(seed)
    network = Network(rng)
    optimizer_class = getattr(fastopt, fastopt.RULES[rule].class_name)
    optimizer = optimizer_class(network.params, **hypers_of(params))
    batches = len(images) // BATCH
    schedule = fastopt.schedules.cosine(optimizer.lr, steps=EPOCHS * batches)
    for epoch in range(EPOCHS):
        for i, batch in enumerate(np.array_split(rng.permutation(len(images)), batches)):
            # Noise keeps the network from learning the images by heart.
            noise = np.float32(NOISE) * rng.standard_normal((len(batch), 64), dtype=np.float32)
            optimizer.lr = schedule(epoch * batches + i + 1)
            optimizer.step(network.backward(images[batch] + noise, digits[batch]))
        yield network


def objective(rule, data, seed, params):
    """What is minimized: the validation loss, yielded after every epoch; the last one counts."""
    # Too large a learning rate overflows. The loss is NaN then, and the trial counts as failed.
    with np.errstate(over="ignore", invalid="ignore"):
        for network in train(rule, data, seed, params):
            yield network.loss(*data["validation"])


def space_of(rule):
    """The learning rate and whatever else the rule has that is in the table above."""
    hypers = fastopt.RULES[rule].class_hypers
    names = [name if name in SEARCH else f"1-{name}" for name in hypers]
    return {name: SEARCH[name] for name in names if name in SEARCH}


def make_grid(space, trials):
    """Two values of most hyper-parameters, and as many learning rates as use up the trials."""
    points, others = dict.fromkeys(space, 1), 1
    for name in space:
        if name != "lr" and trials >= 8 * others:
            points[name] = 2
            others *= 2
    return tune.Grid(points=points | {"lr": math.ceil(trials / others)})


def open_studies(options, strategies):
    """A study for each rule and strategy, all in one file; they know what they have seen before."""
    studies = {}
    for rule in RULES:
        space = space_of(rule)
        for strategy in strategies:
            studies[rule, strategy] = tune.Study(
                space,
                strategy=make_grid(space, options.trials) if strategy == "grid" else strategy,
                seed=options.seed,
                storage=options.output / "digits.db",
                name=f"{rule} by {strategy}, {options.trials} trials, seed {options.seed}",
            )
    return studies


class Progress:
    """A bar for all the studies together, on a terminal."""

    def __init__(self, done, total):
        self.bar = tqdm(total=total, initial=done, unit=" trials", disable=None, leave=False)

    def on_trial_end(self, study, trial):
        """Called by every study."""
        self.bar.set_description(study.name.partition(",")[0], refresh=False)
        self.bar.update()


def run(studies, data, options):
    """Bring every study to its number of trials."""
    done, total = sum(len(s.finished) for s in studies.values()), options.trials * len(studies)
    if done:
        print(f"resuming: {done} of {total} trials have been done before")
    progress = Progress(done, total)
    for (rule, strategy), study in studies.items():
        left = options.trials - len(study.finished)
        if left <= 0:
            continue
        study.run(
            functools.partial(objective, rule, data, options.seed),
            n_trials=left,
            n_jobs=options.jobs,
            progress=False,
            callbacks=[progress],
        )
        tqdm.write(f"{rule:<8} by {strategy:<6}  {left} trials, best loss {study.best.value:.4f}")
    progress.bar.close()


def evaluate(studies, data, options):
    """Train once more with the best hyper-parameters of each rule; only now test the network."""
    results = {}
    for rule in RULES:
        study = studies[rule, options.strategy]
        *_, network = train(rule, data, options.seed, study.best.params)
        results[rule] = {
            "hypers": hypers_of(study.best.params),
            "validation": 100 * network.accuracy(*data["validation"]),
            "test": 100 * network.accuracy(*data["test"]),
            "seconds": sum(trial.seconds for trial in study.trials),
        }
    return results


def print_tables(results, studies, options):
    """One line for each rule, then what each strategy found with the same number of trials."""
    head = f"{'rule':<9} {'best hyper-parameters':<50} validation     test  seconds"
    print(f"\n{head}\n{'-' * len(head)}")
    for rule, result in results.items():
        hypers = "  ".join(f"{name}={value:.4g}" for name, value in result["hypers"].items())
        accuracies = f"{result['validation']:>8.2f} % {result['test']:>6.2f} %"
        print(f"{rule:<9} {hypers:<50} {accuracies} {result['seconds']:>8.1f}")

    strategies = list(dict.fromkeys(strategy for _, strategy in studies))
    print(f"\nbest loss after {options.trials:>3} trials" + "".join(f"{s:>9}" for s in strategies))
    for rule in RULES:
        losses = [studies[rule, strategy].best.value for strategy in strategies]
        print(f"{rule:<26}" + "".join(f"{loss:>9.4f}" for loss in losses))


def main():
    """Read the options, search, show."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--trials", type=int, default=16, help="for each rule and strategy")
    parser.add_argument("--strategy", default="bayes", choices=("grid", "random", "sobol", "bayes"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--output", type=Path, default=Path("digits"), help="folder of the results")
    options = parser.parse_args()
    if options.trials < 1:
        parser.error(f"--trials must be at least 1, got {options.trials}")
    options.output.mkdir(parents=True, exist_ok=True)

    data = load_digits()
    studies = open_studies(options, dict.fromkeys(("grid", "random", options.strategy)))
    try:
        run(studies, data, options)
    except KeyboardInterrupt:
        parser.exit(130, "stopped; the same command goes on from here\n")
    results = evaluate(studies, data, options)
    print_tables(results, studies, options)

    from digits_picture import draw

    picture = options.output / "digits.png"
    draw(results, studies, options.strategy, picture)
    print(f"\nthe trials are in {options.output / 'digits.db'}, the picture is {picture}")


if __name__ == "__main__":
    main()
