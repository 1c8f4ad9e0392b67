"""Time steps of some rows of a large table: ours against torch's optimizers for sparse gradients.

    python -m bench.steps.rows
    python -m bench.steps.rows --rounds 15 --threads 1

Prints a Markdown table. A batch names random rows, some of them more than once, as the gradient of
``torch.nn.Embedding(sparse=True)`` does. In each round all rivals step the same batch, in a new
random order, each on a table of its own: the rows are in nobody's cache. Making the gradient is not
timed; what adds up its rows is, for everyone.
"""

from __future__ import annotations

import argparse
import random
import time
import warnings
from collections.abc import Callable
from statistics import median

import numpy as np
import torch

import fastopt
from bench.steps.arrays import LR
from bench.steps.results import rounded
from fastopt.integrations import torch as drop_in

RULES = {
    "SGD": ("SGD", {}),
    "Adagrad": ("Adagrad", {}),
    "SparseAdam": ("Adam", {"eps_hat": True}),
}
Step = Callable[[np.ndarray, np.ndarray], Callable[[], object]]


def empty_table(shape: tuple[int, int]) -> torch.Tensor:
    return torch.full(shape, 0.5)


def touch(states: dict) -> None:
    """Write to every page, or the steps that come first would wait for the system's pages."""
    for state in states.values():
        if getattr(state, "ndim", 0):
            state += 0


def torch_step(make: Callable[..., torch.optim.Optimizer], shape: tuple[int, int]) -> Step:
    param = empty_table(shape).requires_grad_()
    optimizer = make([param], lr=LR)

    def prepare(rows, values):
        indices = torch.from_numpy(rows)[None]
        param.grad = torch.sparse_coo_tensor(indices, torch.from_numpy(values), shape)
        return optimizer.step

    prepare(np.zeros(1, np.int64), np.zeros((1, shape[1]), np.float32))()
    touch(optimizer.state[param])
    return prepare


def fastopt_step(name: str, keywords: dict, shape: tuple[int, int]) -> Step:
    optimizer = getattr(fastopt, name)(empty_table(shape).numpy(), lr=LR, **keywords)
    touch(optimizer.state[0])
    return lambda rows, values: lambda: optimizer.step(fastopt.Rows(rows, values))


def rivals(theirs: str, shape: tuple[int, int]) -> dict[str, Step]:
    own, keywords = RULES[theirs]
    return {
        "fastopt": fastopt_step(own, keywords, shape),
        "fastopt torch": torch_step(getattr(drop_in, theirs), shape),
        "PyTorch": torch_step(getattr(torch.optim, theirs), shape),
    }


def measure(
    steps: dict[str, Step], shape: tuple[int, int], batch: int, warm: int, rounds: int
) -> dict[str, list[float]]:
    """Seconds of each rival in each round after the first `warm`."""
    rng, order = np.random.default_rng(0), random.Random(0)
    samples: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(warm + rounds):
        rows = rng.integers(0, shape[0], batch)
        values = rng.standard_normal((batch, shape[1])).astype(np.float32)
        for name in order.sample([*steps], len(steps)):
            step = steps[name](rows, values)
            start = time.perf_counter()
            step()
            samples[name].append(time.perf_counter() - start)
    return {name: times[warm:] for name, times in samples.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.steps.rows",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--elements", type=int, default=64, help="of a row, in float32")
    parser.add_argument("--batch", type=int, default=4096, help="indices of a step")
    # On some virtual machines a page is slow when it is first used out of order.
    parser.add_argument("--warm", type=int, default=60, help="rounds before those that count")
    parser.add_argument("--rounds", type=int, default=45)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    shape = arguments.rows, arguments.elements
    warnings.filterwarnings("ignore", message="Sparse invariant checks")
    print(f"{arguments.batch:,} of {shape[0]:,} rows of {shape[1]}, float32; medians of")
    print(f"{arguments.rounds} rounds, in microseconds\n")
    print("| rule | threads | fastopt | fastopt torch | PyTorch | times as fast |")
    print("|---|---|---|---|---|---|")
    for theirs in RULES:
        steps = rivals(theirs, shape)
        for threads in arguments.threads:
            fastopt.set_num_threads(threads)
            torch.set_num_threads(threads)
            found = measure(steps, shape, arguments.batch, arguments.warm, arguments.rounds)
            medians = {name: rounded(median(times)) for name, times in found.items()}
            cells = " | ".join(f"{1e6 * seconds:,.0f}" for seconds in medians.values())
            factor = medians["PyTorch"] / medians["fastopt"]
            print(f"| {theirs} | {threads} | {cells} | {factor:.1f} |", flush=True)


if __name__ == "__main__":
    main()
