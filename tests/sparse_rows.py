"""Steps of single rows in NumPy: the rows of an array as a smaller array of their own."""

import copy

import formats
import numpy as np
from reference import REFERENCE


def add_up(indices, values):
    """Each row once, in the order of their first occurrence, and its gradients, added in order."""
    sums = {}
    for index, value in zip(indices.tolist(), values, strict=True):
        sums[index] = sums[index] + value if index in sums else value
    shape = (len(sums), *values.shape[1:])
    return list(sums), np.array(list(sums.values()), values.dtype).reshape(shape)


def step(rule, param, indices, values, states, hypers):
    """The twin's step of those rows, in place; states by name."""
    rows, sums = add_up(indices, values)
    of_param, parts = param[rows], {name: state[rows] for name, state in states.items()}
    REFERENCE[rule](of_param, sums, **parts, **hypers)
    param[rows] = of_param
    for name, part in parts.items():
        states[name][rows] = part


def step_narrow(rule, param, indices, values, states, stored, hypers, *, remainder=None, **how):
    """The same of buffers in the formats that `stored` gives for param, values and states."""
    position = how.pop("position", 0)
    rows, sums = add_up(indices, formats.LOADS[stored[1]](values))
    stored = [stored[0], "float32", *stored[2:]]
    for row, total in zip(rows, sums, strict=True):
        # A number that the rule carries is the same for all rows.
        own = {name: copy.copy(value) for name, value in hypers.items()}
        formats.step(
            rule,
            [param[row], total, *(state[row] for state in states.values())],
            stored,
            own,
            names=tuple(states),
            remainder=None if remainder is None else remainder[row],
            position=position + row * param[row].size,
            **how,
        )
    for name, value in hypers.items():
        if rows and isinstance(value, np.ndarray):
            value[...] = own[name]
