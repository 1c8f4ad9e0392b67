"""A network with one hidden layer in NumPy, stepped by fastopt."""

from __future__ import annotations

import math

import numpy as np

import fastopt

EPOCHS = 8
RULES = {
    "momentum": fastopt.Momentum,
    "adam": fastopt.Adam,
    "rmsprop": fastopt.RMSprop,
    "adagrad": fastopt.Adagrad,
}


def _forward(weights, x):
    w1, b1, w2, b2 = weights
    hidden = np.maximum(x @ w1 + b1, 0.0)
    logits = hidden @ w2 + b2
    logits -= logits.max(axis=1, keepdims=True)
    exponentials = np.exp(logits)
    return hidden, exponentials / exponentials.sum(axis=1, keepdims=True)


def _gradients(weights, x, labels):
    hidden, probability = _forward(weights, x)
    probability[np.arange(len(x)), labels] -= 1.0
    probability /= len(x)
    back = probability @ weights[2].T
    back[hidden <= 0.0] = 0.0
    return [x.T @ back, back.sum(axis=0), hidden.T @ probability, probability.sum(axis=0)]


def validation_loss(params, x, y, seed):
    """Cross-entropy on a third of the data after training on the rest; infinite if it diverged."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    held_out, training = np.split(order, [len(x) // 3])
    width, classes = params["hidden"], int(y.max()) + 1
    shapes = [(x.shape[1], width), (width,), (width, classes), (classes,)]
    weights = [
        rng.standard_normal(shape) * (params["init_scale"] / math.sqrt(shape[0]))
        if len(shape) == 2
        else np.zeros(shape)
        for shape in shapes
    ]
    optimizer = RULES[params["rule"]](weights, lr=params["lr"], weight_decay=params["weight_decay"])
    with np.errstate(all="ignore"):
        for _ in range(EPOCHS):
            rng.shuffle(training)
            for start in range(0, len(training), params["batch"]):
                rows = training[start : start + params["batch"]]
                optimizer.step(_gradients(weights, x[rows], y[rows]))
        _, probability = _forward(weights, x[held_out])
        chosen = probability[np.arange(len(held_out)), y[held_out]]
        loss = -float(np.log(np.maximum(chosen, 1e-300)).mean())
    return loss if math.isfinite(loss) else math.inf
