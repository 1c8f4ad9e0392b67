"""Steps of some rows of a large table, with gradients as ``torch.nn.Embedding(sparse=True)`` gives.

A batch names random rows, some of them more than once. Each call has another batch, and each rival
a table of its own, so the rows are not in a cache. Making the gradient is not timed. Adding up the
gradients of a row that is named more than once is part of every rival's timed step.
"""

from __future__ import annotations

import itertools
import warnings
from types import MappingProxyType

import numpy as np

import fastopt
from bench.steps.arrays import LR, PAGE, aligned_empty
from bench.steps.rival import Case, Rival
from bench.steps.torch_rivals import load_torch

BATCHES = 16
TORCH_CLASSES = {"sgd": "SGD", "adagrad": "Adagrad", "adam": "SparseAdam"}


def touch(array: np.ndarray) -> None:
    """Write to every page, in a random order.

    Some virtual machines are slow where a page is first used out of order.
    """
    step = PAGE // array.itemsize
    pages = np.random.default_rng(0).permutation(-(-array.size // step))
    array.reshape(-1)[pages * step] += 0


def empty_table(rows: int, columns: int) -> np.ndarray:
    table = aligned_empty((rows, columns), np.float32)
    table.fill(0)
    touch(table)
    return table


def batches(rows: int, size: int):
    """An endless iterator over batches of indices."""
    rng = np.random.default_rng(0)
    return itertools.cycle([rng.integers(0, rows, size) for _ in range(BATCHES)])


def _ready(case: Case) -> Case:
    """After one step: torch's optimizers then have their states."""
    case.restore()
    case.step()
    return case


class FastoptRows(Rival):
    name = "fastopt rows"

    def supports(self, rule, dtype, n_tensors):
        return True

    def load(self, threads):
        fastopt.set_num_threads(threads)

    def make(self, rule, tensors, rows, keywords=MappingProxyType({})):
        ((_, values, _),) = tensors
        make = getattr(fastopt, rule.class_name)
        optimizer = make(empty_table(rows, values.shape[1]), lr=LR, **keywords)
        for state in optimizer.state[0].values():
            if getattr(state, "ndim", 0):
                touch(state)
        following = batches(rows, len(values))
        gradient = None

        def renew():
            nonlocal gradient
            gradient = fastopt.Rows(next(following), values)

        return _ready(Case(lambda: optimizer.step(gradient), renew))


class TorchSparse(Rival):
    name = "torch sparse"
    pool = "torch"
    packages = ("torch",)

    def supports(self, rule, dtype, n_tensors):
        return rule.name in TORCH_CLASSES

    def load(self, threads):
        load_torch(threads)
        warnings.filterwarnings("ignore", message="Sparse invariant checks")

    def optimizers(self):
        import torch

        return torch.optim

    def make(self, rule, tensors, rows, keywords=MappingProxyType({})):
        import torch

        ((_, values, _),) = tensors
        shape = rows, values.shape[1]
        param = torch.from_numpy(empty_table(*shape)).requires_grad_()
        optimizer = getattr(self.optimizers(), TORCH_CLASSES[rule.name])([param], lr=LR)
        following, values = batches(rows, len(values)), torch.from_numpy(values)

        def renew():
            indices = torch.from_numpy(next(following))[None]
            param.grad = torch.sparse_coo_tensor(indices, values, shape)

        case = _ready(Case(optimizer.step, renew))
        for state in optimizer.state[param].values():
            if getattr(state, "ndim", 0):
                touch(state.numpy())
        return case


class FastoptTorchRows(TorchSparse):
    """fastopt.integrations.torch: torch's interface, fastopt's step."""

    name = pool = "fastopt torch rows"

    def load(self, threads):
        super().load(threads)
        fastopt.set_num_threads(threads)

    def optimizers(self):
        from fastopt.integrations import torch

        return torch


class RowWise(TorchSparse):
    """Row-wise Adagrad as its formula is written in torch: no library for this torch has it."""

    name = "torch operations"

    def supports(self, rule, dtype, n_tensors):
        return rule.name == "adagrad"

    def make(self, rule, tensors, rows, keywords=MappingProxyType({})):
        import torch

        ((_, values, _),) = tensors
        table = torch.from_numpy(empty_table(rows, values.shape[1]))
        sums = torch.zeros(rows)
        touch(sums.numpy())
        following, values = batches(rows, len(values)), torch.from_numpy(values)
        indices = None

        def renew():
            nonlocal indices
            indices = torch.from_numpy(next(following))

        def step():
            unique, places = torch.unique(indices, return_inverse=True)
            grad = torch.zeros(len(unique), values.shape[1]).index_add_(0, places, values)
            of_rows = sums[unique].add_(grad.square().mean(dim=1))
            sums[unique] = of_rows
            grad.div_(of_rows.sqrt_().add_(1e-10)[:, None])
            table.index_add_(0, unique, grad, alpha=-LR)

        return _ready(Case(step, renew))


RIVALS = (FastoptRows(), FastoptTorchRows(), TorchSparse(), RowWise())
