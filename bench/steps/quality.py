"""What narrow memory does to a training. Results are appended to results/quality.jsonl.

    python -m bench.steps.quality                 # every training that is not in the file yet
    python -m bench.steps.quality --minutes 8     # as far as one gets; run again to go on

A perceptron learns scikit-learn's digits, and a transformer the characters of a text, with Adam,
from several seeds in each storage. Forward and backward passes are in float32, with parameters as
they are stored; gradients are then rounded to their format. Beside them, torch's Adam with
everything in bfloat16. Needs torch, scikit-learn and ml_dtypes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from bench.steps.arrays import Tensor
from bench.steps.narrow import STORAGES, stored
from bench.steps.results import FOLDER

QUALITY = FOLDER / "quality.jsonl"
TORCH = "torch, all bfloat16"
SEEDS = {"digits": 5, "transformer": 3}
EPOCHS, BATCH, HIDDEN = 30, 32, 32
STEPS, EVERY, TEST_BATCHES = 2000, 100, 40


@dataclass(frozen=True)
class Training:
    """The last losses, and the curve of those on the data that it learns from.

    The curve has a number for each epoch of the perceptron, and for each EVERY steps of the
    transformer.
    """

    task: str
    storage: str
    seed: int
    train: float
    test: float
    curve: list[float]


class Stepper(Protocol):
    """Parameters as an optimizer stores them."""

    def values(self) -> list[np.ndarray]:
        """In float32."""

    def step(self, grads: list[np.ndarray]) -> None: ...


class Fastopt:
    def __init__(self, arrays: list[np.ndarray], storage: str, seed: int, lr: float) -> None:
        chosen = STORAGES[storage]
        tensors = [Tensor(array, array, ()) for array in arrays]
        seeded = {"seed": seed} if chosen.keywords else {}
        self.params, self.grads, self.optimizer = stored("Adam", tensors, chosen, lr=lr, **seeded)

    def values(self):
        return [param.astype(np.float32) for param in self.params]

    def step(self, grads):
        for own, grad in zip(self.grads, grads, strict=True):
            np.copyto(own, grad, casting="unsafe")
        self.optimizer.step(self.grads)


class Torch:
    def __init__(self, arrays: list[np.ndarray], lr: float) -> None:
        import torch

        self.params = [torch.from_numpy(array).bfloat16() for array in arrays]
        self.optimizer = torch.optim.Adam(self.params, lr=lr, fused=True)

    def values(self):
        return [param.float().numpy() for param in self.params]

    def step(self, grads):
        import torch

        for param, grad in zip(self.params, grads, strict=True):
            param.grad = torch.from_numpy(grad).bfloat16()
        self.optimizer.step()


def stepper(arrays: list[np.ndarray], storage: str, seed: int, lr: float) -> Stepper:
    return Torch(arrays, lr) if storage == TORCH else Fastopt(arrays, storage, seed, lr)


def forward(params: list[np.ndarray], images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The hidden layer and the probabilities."""
    hidden = np.maximum(images @ params[0] + params[1], 0)
    scores = hidden @ params[2] + params[3]
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return hidden, scores / scores.sum(axis=1, keepdims=True)


def digits(storage: str, seed: int) -> Training:
    """A perceptron, 64-32-10."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    images, labels = datasets.load_digits(return_X_y=True)
    targets = np.eye(10, dtype=np.float32)[labels]
    images, test_images, targets, test_targets = train_test_split(
        (images / 16).astype(np.float32), targets, test_size=357, stratify=labels, random_state=0
    )
    rng = np.random.default_rng(seed)
    first = rng.normal(scale=np.sqrt(2 / 64), size=(64, HIDDEN))
    second = rng.normal(scale=np.sqrt(2 / HIDDEN), size=(HIDDEN, 10))
    arrays = (first, np.zeros((1, HIDDEN)), second, np.zeros((1, 10)))
    training = stepper([array.astype(np.float32) for array in arrays], storage, seed, lr=3e-3)

    def loss(images: np.ndarray, targets: np.ndarray) -> float:
        return float(-np.log((forward(training.values(), images)[1] * targets).sum(axis=1)).mean())

    curve = []
    for _ in range(EPOCHS):
        order = rng.permutation(len(images))
        for start in range(0, len(images), BATCH):
            chosen = order[start : start + BATCH]
            params = training.values()
            hidden, probabilities = forward(params, images[chosen])
            error = (probabilities - targets[chosen]) / len(chosen)
            back = (error @ params[2].T) * (hidden > 0)
            grads = [
                images[chosen].T @ back,
                back.sum(axis=0, keepdims=True),
                hidden.T @ error,
                error.sum(axis=0, keepdims=True),
            ]
            training.step(grads)
        curve.append(loss(images, targets))
    return Training("digits", storage, seed, curve[-1], loss(test_images, test_targets), curve)


def transformer(storage: str, seed: int) -> Training:
    """Two layers of width 64 over 64 characters."""
    import torch

    from bench.steps.transformer import Text, Transformer, loss_of

    text = Text()
    torch.manual_seed(seed)
    model = Transformer(text.size)
    params = list(model.parameters())
    training = stepper([p.detach().numpy().copy() for p in params], storage, seed, lr=1e-3)

    def load() -> None:
        with torch.no_grad():
            for param, value in zip(params, training.values(), strict=True):
                param.copy_(torch.from_numpy(value))

    rng = np.random.default_rng(seed)
    losses = []
    for _ in range(STEPS):
        load()
        loss = loss_of(model, text.batch(text.learned, rng))
        losses.append(loss.item())
        training.step([grad.numpy() for grad in torch.autograd.grad(loss, params)])
    load()
    rng = np.random.default_rng(0)
    with torch.no_grad():
        test = [loss_of(model, text.batch(text.held_out, rng)).item() for _ in range(TEST_BATCHES)]
    curve = np.array(losses).reshape(-1, EVERY).mean(axis=1).tolist()
    return Training("transformer", storage, seed, curve[-1], float(np.mean(test)), curve)


TASKS: dict[str, Callable[[str, int], Training]] = {"digits": digits, "transformer": transformer}


def load(path: Path = QUALITY) -> list[Training]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [Training(**json.loads(line)) for line in lines]


def wanted() -> Iterator[tuple[str, str, int]]:
    for task, seeds in SEEDS.items():
        for seed in range(seeds):
            for storage in (*STORAGES, TORCH):
                yield task, storage, seed


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.steps.quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, help="begin no training later than this")
    arguments = parser.parse_args()
    done = {(training.task, training.storage, training.seed) for training in load()}
    start = time.monotonic()
    for task, storage, seed in wanted():
        if (task, storage, seed) in done:
            continue
        if arguments.minutes and time.monotonic() - start > 60 * arguments.minutes:
            print("time is up; run again to go on")
            return
        training = TASKS[task](storage, seed)
        with QUALITY.open("a") as file:
            rounded = [float(f"{loss:.5g}") for loss in training.curve]
            line = {**asdict(training), "curve": rounded}
            line |= {name: float(f"{line[name]:.5g}") for name in ("train", "test")}
            file.write(json.dumps(line) + "\n")
        print(
            f"{task}, {storage}, seed {seed}: {training.train:.4f}, {training.test:.4f}", flush=True
        )


if __name__ == "__main__":
    main()
