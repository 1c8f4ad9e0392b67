"""Steps of single rows against their twins, under the ISA of this process.

    python sparse_worker.py

Prints one JSON object: how many buffers were compared, and the first that differed.
"""

import functools
import json
import sys

import cases
import numpy as np
import sparse_rows
from cases import (
    DTYPES,
    ELEMENTWISE,
    function_of,
    function_variants,
    states_of,
    step_keyword,
)

import fastopt

# Numbers of rows, of gradients, and of the elements of a row. These are near the sizes of cache
# lines, vectors, groups of vectors and tiles. Of the large tables, several threads share the rows
# of one, and a single row of the other.
SHAPES = ((1, 1, 1), (5, 3, 0), (7, 30, 3), (40, 64, 16), (40, 90, 64), (9, 20, 67), (3, 5, 1100))
LARGE = ((6000, 5000, 70), (3, 4, 120_001))
STEPS = 2
THREADS = (1, 2, 7)
SEEDS = 10  # of indices: few, since the numbers are cached and take most of the time to make

numbers = functools.cache(cases.numbers)


def indices_of(rows, count, turn):
    """Unsorted, some of them more than once, in one dtype or the other."""
    spread = np.abs(numbers(turn % SEEDS, count, np.float64)) * 1e6
    return (spread.astype(np.int64) % rows).astype((np.int32, np.int64)[turn % 2])


def differ(rule, dtype, keywords, optional, shape, turn):
    """The names of the buffers that are not the twin's after some steps."""
    rows, count, n = shape
    names = ("param", *states_of(rule, optional))
    got = [np.abs(numbers(k, rows * n, dtype)).reshape(rows, n) for k in range(len(names))]
    expected = [buffer.copy() for buffer in got]
    for t in range(STEPS):
        indices = indices_of(rows, count, turn + t)
        values = numbers(9 + t, count * n, dtype).reshape(count, n)
        # Two sets, because a call writes the number that a rule carries.
        own, other = ({**keywords, **step_keyword(rule, t + 1)} for _ in range(2))
        of_twin = dict(zip(names[1:], expected[1:], strict=True))
        states = dict(zip(names[1:], got[1:], strict=True))
        sparse_rows.step(rule.name, expected[0], indices, values, of_twin, other)
        function_of(rule)(got[0], values, rows=indices, **states, **own)
    return [
        name for name, a, b in zip(names, expected, got, strict=True) if a.tobytes() != b.tobytes()
    ]


def main():
    compared, failures, turn = 0, [], 0
    for which, rule in enumerate(ELEMENTWISE):
        print(rule.name, file=sys.stderr, flush=True)
        for dtype in DTYPES:
            # Each rule meets both large shapes, and each dtype.
            which += 1
            choices = list(function_variants(rule))
            for keywords, optional in choices:
                last = (keywords, optional) == choices[-1]
                for shape in (*SHAPES, *([LARGE[which % 2]] if last else [])):
                    turn += 1
                    fastopt.set_num_threads(THREADS[turn % len(THREADS)])
                    wrong = differ(rule, dtype, keywords, optional, shape, turn)
                    compared += 1
                    if wrong:
                        failures.append([rule.name, dtype.__name__, shape, wrong, str(keywords)])
    print(json.dumps({"isa": fastopt.isa(), "compared": compared, "failures": failures[:20]}))


if __name__ == "__main__":
    main()
