"""A perceptron with one hidden layer in NumPy, alone or in rows, on data that scikit-learn ships.

Arrays of many networks have a leading axis with a row for each; those of one network have none. A
matrix of weights has a row for each output, and activations have a column for each example. So the
first layers of all networks, whose batches are the same, are multiplied as one matrix. All networks
have the same start.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import numpy as np

HIDDEN, BATCH, EPOCHS = 32, 32, 27
DATA = ("digits", "cancer", "diabetes")


class Data(NamedTuple):
    """Standardised inputs, and targets as rows of a unit matrix, for training and validation."""

    inputs: np.ndarray
    targets: np.ndarray
    held_out: np.ndarray
    held_out_targets: np.ndarray


@functools.cache
def load(name: str, seed: int) -> Data:
    """A data set; the seed chooses the third that is held out."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    loaders = {
        "digits": datasets.load_digits,
        "cancer": datasets.load_breast_cancer,
        "diabetes": datasets.load_diabetes,
    }
    x, y = loaders[name](return_X_y=True)
    if name == "diabetes":
        # The classes are the thirds of the patients by the progress of the disease.
        y = np.searchsorted(np.quantile(y, [1 / 3, 2 / 3]), y)
    train, held_out, y_train, y_held_out = train_test_split(
        x, y, test_size=1 / 3, stratify=y, random_state=seed
    )
    mean, deviation = train.mean(axis=0), train.std(axis=0) + 1e-2
    unit = np.eye(y.max() + 1, dtype=np.float32)
    train, held_out = (((part - mean) / deviation).astype(np.float32) for part in (train, held_out))
    return Data(train, unit[y_train], held_out, unit[y_held_out])


def weights(data: Data, seed: int, scale: float | np.ndarray = 1.0) -> list[np.ndarray]:
    """Weights of a network, drawn as scikit-learn draws them; of K networks for K scales."""
    rng = np.random.default_rng(seed)
    sizes = [data.inputs.shape[1], HIDDEN, data.targets.shape[1]]
    arrays: list[np.ndarray] = []
    for inputs, outputs in itertools.pairwise(sizes):
        bound = np.sqrt(6 / (inputs + outputs))
        for shape in (inputs, outputs), (1, outputs):
            drawn = rng.uniform(-bound, bound, size=shape).T
            arrays.append(np.multiply.outer(scale, drawn).astype(np.float32, order="C"))
    return arrays


def _forward(arrays, x):
    first, inner_bias, second, outer_bias = arrays
    hidden = (first.reshape(-1, x.shape[1]) @ x.T).reshape(*first.shape[:-1], len(x))
    hidden += inner_bias
    np.maximum(hidden, np.float32(0), out=hidden)
    scores = second @ hidden + outer_bias
    scores -= scores.max(axis=-2, keepdims=True)
    return hidden, scores - np.log(np.exp(scores).sum(axis=-2, keepdims=True))


def loss(arrays: list[np.ndarray], data: Data) -> np.ndarray:
    """The cross-entropy of each network on the held-out data."""
    _, logarithms = _forward(arrays, data.held_out)
    return -np.einsum("...ji,ij->...", logarithms, data.held_out_targets) / len(data.held_out)


def train(arrays: list[np.ndarray], optimizer, data: Data, seed: int, epoch: int) -> None:
    """One epoch. A network that overflows is NaN from then on."""
    order = np.random.default_rng((seed, epoch)).permutation(len(data.inputs))
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        x = data.inputs[chosen]
        hidden, logarithms = _forward(arrays, x)
        outer = (np.exp(logarithms) - data.targets[chosen].T) / np.float32(len(chosen))
        inner = arrays[2].swapaxes(-1, -2) @ outer
        inner *= hidden > 0
        optimizer.step(
            [
                (inner.reshape(-1, len(chosen)) @ x).reshape(arrays[0].shape),
                inner.sum(axis=-1, keepdims=True),
                outer @ hidden.swapaxes(-1, -2),
                outer.sum(axis=-1, keepdims=True),
            ]
        )
