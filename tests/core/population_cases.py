"""A population beside one optimizer for each of its rows, which it must equal bit for bit."""

import itertools
import json
import sys

import numpy as np
from cases import DTYPES, FRACTIONS, RULES, class_of, same_but_nan_payload

import fastopt

SHAPES = ((), (1,), (3, 5), (64,), (2, 0), (1031,))


def settings(rule, rows, random, share=0.3):
    """Hyper-parameters of every kind: some one for all rows, most one for each."""
    found = {}
    for name, default in rule.class_hypers.items():
        if name in rule.optional.values():
            found[name] = bool(random.random() < 0.5)
            if name in rule.hypers:
                found[name] *= random.uniform(0.1, 0.99, rows)
            continue
        if isinstance(default, bool):
            values = random.random(rows) < 0.5
        elif name in FRACTIONS:
            values = random.uniform(0.1, 0.99, rows)
        else:
            values = random.uniform(1e-4, 0.1, rows)
        if name == "weight_decay":
            values[random.random(rows) < 0.4] = 0
        found[name] = values[0].item() if random.random() < share else values
    return found


def of_row(value, row):
    if isinstance(value, list):
        return value[row]
    return value[row].item() if isinstance(value, np.ndarray) else value


class Twins:
    """The population, and for each row its arrays and an optimizer of its own."""

    def __init__(self, rule, arrays, hypers):
        self.rule = rule
        self.population = fastopt.Population(rule.name, arrays, **hypers)
        self.arrays = arrays
        self.lone = [[np.array(array[row]) for array in arrays] for row in range(len(arrays[0]))]
        self.optimizers = [
            class_of(rule)(params, **{name: of_row(value, row) for name, value in hypers.items()})
            for row, params in enumerate(self.lone)
        ]

    def step(self, grads, max_norm=None, grad_scale=1.0, skip_nonfinite=False):
        norms = self.population.step(
            grads, max_norm=max_norm, grad_scale=grad_scale, skip_nonfinite=skip_nonfinite
        )
        for row, optimizer in enumerate(self.optimizers):
            norm = optimizer.step(
                [None if grad is None else np.array(grad[row]) for grad in grads],
                max_norm=of_row(max_norm, row),
                grad_scale=of_row(grad_scale, row),
                skip_nonfinite=skip_nonfinite,
            )
            assert self.population.skipped[row] == optimizer.skipped
            assert (norms is None) == (norm is None)
            if norm is not None:
                assert same_but_nan_payload(norms[row], np.float64(norm))

    def differing(self):
        """The first thing in which a row is not its own optimizer."""
        states = self.population.state
        for row, (params, optimizer) in enumerate(zip(self.lone, self.optimizers, strict=True)):
            if self.population.skipped_steps[row] != optimizer.skipped_steps:
                return row, "skipped_steps"
            for i, param in enumerate(params):
                if not same_but_nan_payload(self.arrays[i][row], param):
                    return row, i, "param"
                for name, value in optimizer.state[i].items():
                    if not same_but_nan_payload(states[i][name][row], np.asarray(value)):
                        return row, i, name
        return None

    def select(self, rows):
        self.arrays = self.population.select(rows)
        self.lone = [self.lone[row] for row in rows]
        self.optimizers = [self.optimizers[row] for row in rows]

    def copy_rows(self, source, target):
        self.population.copy_rows(source, target)
        params = [[param.copy() for param in self.lone[row]] for row in source]
        states = [self.optimizers[row].state_dict()["state"] for row in source]
        for row, values, state in zip(target, params, states, strict=True):
            for param, value in zip(self.lone[row], values, strict=True):
                param[...] = value
            own = self.optimizers[row].state_dict()
            self.optimizers[row].load_state_dict({**own, "state": state})


def gradients(arrays, random, special=False):
    grads = [np.asarray(random.normal(size=a.shape) * 0.1, a.dtype) for a in arrays]
    for grad in grads if special else ():
        if grad.size:
            with np.errstate(over="ignore", under="ignore"):
                grad.ravel()[random.integers(grad.size)] = random.choice(
                    [np.nan, np.inf, -0.0, 1e30, 1e-40]
                )
    return grads


def placed(shape, dtype, random, offset):
    """An array that begins somewhere in a cache line."""
    size = int(np.prod(shape))
    memory = np.zeros(size + 64 // np.dtype(dtype).itemsize, dtype)
    array = memory[offset : offset + size].reshape(shape)
    array[...] = random.normal(size=shape)
    return array


def run(rule, dtypes, rows, shapes, threads, seed, storage=None):
    """Steps of every kind; what differs, or None."""
    fastopt.set_num_threads(threads)
    random = np.random.default_rng(seed)
    arrays = [
        placed((rows, *shape), dtypes[i % len(dtypes)], random, i % 5)
        for i, shape in enumerate(shapes)
    ]
    twins = Twins(rule, arrays, {**settings(rule, rows, random), **(storage or {})})
    twins.step(gradients(arrays, random))
    twins.step(gradients(arrays, random), max_norm=random.uniform(0, 2, rows))
    grads = gradients(arrays, random, special=True)
    grads[random.integers(len(grads))] = None
    twins.step(grads, grad_scale=random.uniform(-2, 2, rows), skip_nonfinite=True)
    twins.step(gradients(arrays, random, special=True), max_norm=0.5, skip_nonfinite=True)
    limits = random.choice([0.0, 0.5, np.inf], rows)
    twins.step(gradients(arrays, random, special=True), max_norm=limits)
    return twins.differing()


def every_case():
    """Many rows of small arrays, few rows of large ones, with one thread and with several."""
    for number, rule in enumerate(RULES):
        for seed in range(3):
            yield rule, DTYPES, (1, 7, 33)[seed], SHAPES, 1, seed
        yield rule, DTYPES[number % 2 :][:1], 40, ((4099,), (7,)), 2 + number % 3, 10
        yield rule, DTYPES[number % 2 :][:1], 3, ((70_001,), (5,)), 2 + number % 2, 11


def narrow_cases():
    """The storage formats, with rows that share a seed or have their own."""
    from ml_dtypes import bfloat16

    kinds = (
        (np.float16, {}),
        (bfloat16, {"seed": 7}),
        (bfloat16, {"state_format": "bfloat16", "seed": "each"}),
        (bfloat16, {"master_weights": True, "state_format": "bfloat16"}),
        (np.float32, {"state_format": "bfloat16", "seed": "each"}),
        (np.float32, {"state_format": "block8", "seed": "each"}),
        (bfloat16, {"state_format": "block8", "seed": 3}),
    )
    for rule, (dtype, storage) in itertools.product(RULES, kinds):
        for rows, shapes, threads in ((9, SHAPES, 1), (3, ((60_001,), (5,)), 2)):
            chosen = dict(storage)
            if chosen.get("seed") == "each":
                chosen["seed"] = np.arange(rows) * 2**40 + 3
            yield rule, (dtype,), rows, shapes, threads, rows, chosen


if __name__ == "__main__":
    wrong = {}
    for case in narrow_cases() if "narrow" in sys.argv else every_case():
        if (found := run(*case)) is not None:
            wrong[f"{case[0].name}, {case[2]} rows, {case[4]} threads"] = list(map(str, found))
    json.dump({"isa": fastopt.isa(), "wrong": wrong}, sys.stdout)
