"""Steps of single rows in narrow formats against their twins, under the ISA of this process.

    python sparse_narrow_worker.py

Prints one JSON object: how many optimizers were compared, and the first that differed.
"""

import json
import sys

import formats
import numpy as np
import sparse_rows
from cases import (
    ELEMENTWISE,
    class_of,
    class_variants,
    function_keywords,
    numbers,
    present_states,
    states_of,
)
from narrow_worker import (
    COMBINATIONS,
    SEED,
    as_array,
    combinations_of,
    formats_of,
    keywords_of,
)
from sparse_worker import indices_of

import fastopt

# A row need not begin where a block does, so blocks are refused.
ROWS_COMBINATIONS = [each for each in COMBINATIONS if "block8" not in str(each[2])]

SHAPES = ((7, 30, 3), (40, 60, 67), (3, 5, 1100))
BEFORE = 13  # elements of another parameter, so that positions do not begin at 0
STEPS = 2


def differ(rule, keywords, combination, rounding, shape, turn):
    rows, count, n = shape
    param_format, grad_format, state_format, master = combination
    names = states_of(rule, present_states(rule, keywords))
    state_formats = formats_of(rule, names, state_format)
    stored = [param_format, grad_format, *state_formats]
    param = formats.store(param_format, numbers(turn, rows * n, np.float32)).reshape(rows, n)
    expected = param.copy()
    states = [
        formats.store(each, np.full((rows, n), 0.0, np.float32)).reshape(rows, n)
        for each in state_formats
    ]
    start = keywords.get(rule.initial_value)
    if start:
        filled = np.full((rows, n), start, np.float32)
        states[0][...] = formats.store(state_formats[0], filled)
    remainder = np.zeros((rows, n), np.int16) if master else None
    first = formats.store(param_format, np.zeros(BEFORE, np.float32))
    opt = class_of(rule)(
        [as_array(first, param_format), as_array(param, param_format)],
        **keywords,
        state_format=dict(zip(names, state_formats, strict=True)),
        master_weights=master,
        rounding=rounding,
        seed=SEED,
    )
    carried = np.zeros(())
    for t in range(STEPS):
        indices = indices_of(rows, count, turn + t)
        values = formats.store(grad_format, numbers(7 * t + turn, count * n, np.float32))
        values = values.reshape(count, n)
        opt.step([None, fastopt.Rows(indices, as_array(values, grad_format))])
        sparse_rows.step_narrow(
            rule.name,
            expected,
            indices,
            values,
            dict(zip(names, states, strict=True)),
            stored,
            function_keywords(rule, keywords, t + 1, carried),
            remainder=remainder,
            position=BEFORE,
            seed=SEED if rounding == "stochastic" else None,
            count=t + 1,
        )
    state = opt.state[1]
    pairs = [("param", param, expected)]
    pairs += [(name, state[name], twin) for name, twin in zip(names, states, strict=True)]
    if master:
        pairs.append(("remainder", state["remainder"], remainder))
    return [name for name, got, twin in pairs if got.tobytes() != twin.tobytes()]


def main():
    compared, failures, turn = 0, [], 0
    for rule in ELEMENTWISE:
        print(rule.name, file=sys.stderr, flush=True)
        for combination, rounding in combinations_of(rule, ROWS_COMBINATIONS):
            for shape in SHAPES:
                turn += 5
                fastopt.set_num_threads(1 + turn % 3)
                keywords = keywords_of(class_variants(rule), turn)
                wrong = differ(rule, keywords, combination, rounding, shape, turn)
                compared += 1
                if wrong:
                    failures.append([rule.name, *map(str, combination), rounding, shape, wrong])
    print(json.dumps({"isa": fastopt.isa(), "compared": compared, "failures": failures[:20]}))


if __name__ == "__main__":
    main()
