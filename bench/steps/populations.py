"""K models of the same shapes at once, one after another, and as one array of the same size.

Steps alone, and whole trainings of perceptrons in NumPy: forward, backward and the step.
"""

from __future__ import annotations

import numpy as np

import fastopt
from bench.steps.arrays import LR, Tensor, aligned_copy, make_tensors
from bench.steps.rival import Case, Rival

TOGETHER, APART, FLAT = "fastopt population", "fastopt, one by one", "fastopt, one array"


def rates_of(rows: int) -> np.ndarray:
    """A learning rate for each row, all as tiny as LR."""
    return LR * np.linspace(0.5, 1.0, rows)


def rows_of(tensors: list[Tensor]) -> list[tuple[list[np.ndarray], list[np.ndarray]]]:
    """For each row its parameters and gradients, in memory of their own."""
    return [
        (
            [aligned_copy(tensor.param[row]) for tensor in tensors],
            [aligned_copy(tensor.grad[row]) for tensor in tensors],
        )
        for row in range(len(tensors[0].param))
    ]


class Population(Rival):
    """Arrays with a leading axis of rows, stepped by one call."""

    name = TOGETHER

    def supports(self, rule, dtype, n_tensors):
        return True

    def load(self, threads):
        fastopt.set_num_threads(threads)

    def make(self, rule, tensors, max_norm=None, batch=None):
        params, grads = [t.param for t in tensors], [t.grad for t in tensors]
        models = fastopt.Population(rule.name, params, lr=rates_of(len(params[0])))
        if batch is not None:
            return Case(Training(params, models, batch))
        if max_norm is None:
            return Case(lambda: models.step(grads))
        return Case(lambda: models.step(grads, max_norm=max_norm))


class OneByOne(Population):
    """An optimizer for each row, stepped one after another."""

    name = APART

    def make(self, rule, tensors, max_norm=None, batch=None):
        rows = rows_of(tensors)
        rates = rates_of(len(rows)).tolist()
        make = getattr(fastopt, rule.class_name)
        optimizers = [make(params, lr=lr) for (params, _), lr in zip(rows, rates, strict=True)]
        if batch is not None:
            trainings = [
                Training(params, optimizer, batch)
                for (params, _), optimizer in zip(rows, optimizers, strict=True)
            ]

            def train():
                for training in trainings:
                    training()

            return Case(train)
        pairs = [
            (optimizer.step, grads) for optimizer, (_, grads) in zip(optimizers, rows, strict=True)
        ]
        keywords = {} if max_norm is None else {"max_norm": max_norm}

        def step():
            for step_one, grads in pairs:
                step_one(grads, **keywords)

        return Case(step)


class OneArray(Population):
    """The same number of elements in one array, of one optimizer with one learning rate."""

    name = FLAT

    def make(self, rule, tensors, max_norm=None):
        size = sum(tensor.param.size for tensor in tensors)
        ((param, grad, _),) = make_tensors(rule, [(size,)], tensors[0].param.dtype)
        optimizer = getattr(fastopt, rule.class_name)(param, lr=LR)
        keywords = {} if max_norm is None else {"max_norm": max_norm}
        return Case(lambda: optimizer.step(grad, **keywords))


class Training:
    """Some batches, one after another: perceptrons with one hidden layer, and cross-entropy.

    One by one, a network trains on all batches before the next network begins. So it finds its
    arrays in the cache, as in a training of its own. The arrays are those of one network, or have
    a leading axis of networks: the code is the same.
    """

    IMAGES, BATCHES = 1024, 8

    def __init__(self, params, optimizer, batch):
        rng = np.random.default_rng(0)
        weights = params[0]
        self.params, self.optimizer, self.batch, self.at = params, optimizer, batch, 0
        self.images = rng.random((self.IMAGES, weights.shape[-2])).astype(weights.dtype)
        outputs = params[2].shape[-1]
        self.targets = np.eye(outputs, dtype=weights.dtype)[rng.integers(outputs, size=self.IMAGES)]
        # Kept, since new large arrays would cost page faults in each step.
        hidden = np.empty((*weights.shape[:-2], batch, weights.shape[-1]), weights.dtype)
        outer = np.empty((*hidden.shape[:-1], outputs), weights.dtype)
        self.memory = hidden, np.empty(hidden.shape, bool), outer, np.empty_like(hidden)
        self.grads = [np.empty_like(array) for array in params]

    def __call__(self):
        for _ in range(self.BATCHES):
            chosen = slice(self.at, self.at + self.batch)
            self.at = (self.at + self.batch) % self.IMAGES
            self.optimizer.step(self.gradients(self.images[chosen], self.targets[chosen]))

    def gradients(self, images, targets):
        weight1, bias1, weight2, bias2 = self.params
        hidden, active, outer, inner = self.memory
        np.matmul(images, weight1, out=hidden)
        hidden += bias1[..., None, :]
        np.maximum(hidden, 0, out=hidden)
        np.greater(hidden, 0, out=active)
        np.matmul(hidden, weight2, out=outer)
        outer += bias2[..., None, :]
        outer -= outer.max(axis=-1, keepdims=True)
        np.exp(outer, out=outer)
        outer /= outer.sum(axis=-1, keepdims=True)
        outer -= targets
        outer /= len(images)
        np.matmul(outer, weight2.swapaxes(-1, -2), out=inner)
        inner *= active
        of_weight1, of_bias1, of_weight2, of_bias2 = self.grads
        np.matmul(images.T, inner, out=of_weight1)
        inner.sum(axis=-2, out=of_bias1)
        np.matmul(hidden.swapaxes(-1, -2), outer, out=of_weight2)
        outer.sum(axis=-2, out=of_bias2)
        return self.grads


def perceptrons(rows: int, hidden: int) -> list[tuple[int, ...]]:
    """Shapes of 64-hidden-10 networks, with a leading axis."""
    return [(rows, *shape) for shape in ((64, hidden), (hidden,), (hidden, 10), (10,))]


RIVALS = (Population(), OneByOne(), OneArray())
