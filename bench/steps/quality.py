"""What narrow memory does to a training: python -m bench.steps.quality

A perceptron (64-32-10) learns scikit-learn's digits with Adam, from five seeds in each storage
format. Prints the mean and the range of the losses, which docs/guides/memory.md quotes. Needs
scikit-learn and ml_dtypes.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split

import fastopt

SEEDS, EPOCHS, BATCH, HIDDEN = 5, 30, 32, 32
FORMATS = {
    "float32": (np.float32, {}),
    "float32, bfloat16 states": (np.float32, {"state_format": "bfloat16"}),
    "bfloat16 with remainder": (ml_dtypes.bfloat16, {"master_weights": True}),
    "bfloat16 with remainder, bfloat16 states": (
        ml_dtypes.bfloat16,
        {"state_format": "bfloat16", "master_weights": True},
    ),
    "bfloat16, bfloat16 states": (ml_dtypes.bfloat16, {"state_format": "bfloat16"}),
    "float32, block8 states": (np.float32, {"state_format": "block8"}),
    "bfloat16 with remainder, block8 states": (
        ml_dtypes.bfloat16,
        {"state_format": "block8", "master_weights": True},
    ),
    "bfloat16, block8 states": (ml_dtypes.bfloat16, {"state_format": "block8"}),
}


def digits() -> list[np.ndarray]:
    """Images and rows of a unit matrix, to learn from and to test with."""
    images, labels = datasets.load_digits(return_X_y=True)
    targets = np.eye(10, dtype=np.float32)[labels]
    images = (images / 16).astype(np.float32)
    return train_test_split(images, targets, test_size=357, stratify=labels, random_state=0)


def forward(params: list[np.ndarray], images: np.ndarray) -> tuple[list[np.ndarray], ...]:
    """The parameters in float32, the hidden layer, and the probabilities."""
    wide = [array.astype(np.float32) for array in params]
    hidden = np.maximum(images @ wide[0] + wide[1], 0)
    scores = hidden @ wide[2] + wide[3]
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return wide, hidden, scores / scores.sum(axis=1, keepdims=True)


def train(seed: int, dtype: type, options: dict[str, object]) -> tuple[float, float]:
    """The losses on what was learned from, and on the test images."""
    images, test_images, targets, test_targets = digits()
    rng = np.random.default_rng(seed)
    first = rng.normal(scale=np.sqrt(2 / 64), size=(64, HIDDEN))
    second = rng.normal(scale=np.sqrt(2 / HIDDEN), size=(HIDDEN, 10))
    arrays = (first, np.zeros((1, HIDDEN)), second, np.zeros((1, 10)))
    params = [array.astype(np.float32).astype(dtype) for array in arrays]
    seeded = {**options, "seed": seed} if options else {}
    optimizer = fastopt.Adam(params, lr=3e-3, **seeded)
    for _ in range(EPOCHS):
        order = rng.permutation(len(images))
        for start in range(0, len(images), BATCH):
            chosen = order[start : start + BATCH]
            wide, hidden, probabilities = forward(params, images[chosen])
            error = (probabilities - targets[chosen]) / len(chosen)
            back = (error @ wide[2].T) * (hidden > 0)
            grads = [
                images[chosen].T @ back,
                back.sum(axis=0, keepdims=True),
                hidden.T @ error,
                error.sum(axis=0, keepdims=True),
            ]
            optimizer.step([np.ascontiguousarray(grad.astype(dtype)) for grad in grads])

    def loss(images: np.ndarray, targets: np.ndarray) -> float:
        return float(-np.log((forward(params, images)[2] * targets).sum(axis=1)).mean())

    return loss(images, targets), loss(test_images, test_targets)


def main() -> None:
    for name, (dtype, options) in FORMATS.items():
        losses = np.array([train(seed, dtype, options) for seed in range(SEEDS)])
        for what, found in zip(("train", "test"), losses.T, strict=True):
            print(f"{name}: {what} {found.mean():.4f} ({found.min():.4f} to {found.max():.4f})")


if __name__ == "__main__":
    main()
