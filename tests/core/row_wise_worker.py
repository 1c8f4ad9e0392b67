"""Row-wise Adagrad against its twin, under the ISA of this process.

    python row_wise_worker.py

Prints one JSON object: how many tables were compared, and the first that differed.
"""

import itertools
import json
import sys

import numpy as np
from cases import DECAY, DTYPES, LR, numbers
from reference import adagrad_of_row
from sparse_rows import add_up
from sparse_worker import LARGE, SHAPES, THREADS, indices_of

import fastopt

NONE = {"weight_decay": 0.0, "decoupled": False, "grad_scale": 1.0, "maximize": False}
VARIANTS = [
    {},
    {"weight_decay": DECAY, "eps_inside": True},
    {"weight_decay": DECAY, "decoupled": True, "grad_scale": 0.37},
    {"weight_decay": DECAY, "maximize": True, "grad_scale": 0.37},
]


def twin(param, sums, indices, values, **hypers):
    for row, total in zip(*add_up(indices, values), strict=True):
        adagrad_of_row(param[row], total, sums[row, ...], **{**NONE, "eps": 1e-10, **hypers})


def main():
    compared, failures = 0, []
    cases = itertools.product((*SHAPES, *LARGE), DTYPES, VARIANTS)
    for turn, ((rows, count, n), dtype, hypers) in enumerate(cases):
        if n == 0 or (rows > 5000 and turn % 3):
            continue
        fastopt.set_num_threads(THREADS[turn % len(THREADS)])
        got = [numbers(1, rows * n, dtype).reshape(rows, n), np.abs(numbers(2, rows, dtype))]
        expected = [array.copy() for array in got]
        for t in range(2):
            indices = indices_of(rows, count, turn + t)
            values = numbers(9 + t, count * n, dtype).reshape(count, n)
            twin(*expected, indices, values, lr=LR, **hypers)
            fastopt.adagrad(got[0], values, got[1], rows=indices, lr=LR, **hypers)
        compared += 1
        if any(a.tobytes() != b.tobytes() for a, b in zip(got, expected, strict=True)):
            failures.append([rows, count, n, dtype.__name__, str(hypers)])
    json.dump({"isa": fastopt.isa(), "compared": compared, "failures": failures[:10]}, sys.stdout)


if __name__ == "__main__":
    main()
