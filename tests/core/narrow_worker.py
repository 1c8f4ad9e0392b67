"""Steps of the classes over narrow formats, against their twins, under the ISA of this process.

    python narrow_worker.py

Prints one JSON object: how many buffers were compared, and the first that differed.
"""

import functools
import itertools
import json
import sys

import cases
import formats
import ml_dtypes  # noqa: F401 (without it NumPy has no bfloat16)
import numpy as np
from cases import (
    RULES,
    cautious_combinations,
    class_of,
    class_variants,
    function_keywords,
    present_states,
    states_of,
)

import fastopt
from fastopt._formats import named_dtype

SEED = 2**63 + 12345
STEPS = 3
# Lengths near those of vectors, of groups of vectors and of tiles
LENGTHS = (1, 0, 7, 16, 31, 64, 129, 515, 1029)
LARGE = 70_001  # shared by several threads

# param, grad, states, master_weights
COMBINATIONS = (
    *formats.IN_REGISTERS,
    ("bfloat16", "float32", "float32", True),
    ("float16", "bfloat16", "bfloat16", False),
    ("bfloat16", "float16", None, True),
    ("float32", "float16", None, False),
    ("float32", "float32", "block8", False),
    ("float32", "bfloat16", "block8", False),
    ("bfloat16", "bfloat16", "block8", True),
    ("bfloat16", "bfloat16", "block8", False),
    ("float16", "float32", "with block8", False),
)

numbers = functools.cache(cases.numbers)


MIXTURES = {
    None: ("float16", "float32", "bfloat16"),
    "with block8": ("bfloat16", "block8", "float32"),
}


def as_array(stored, format):
    return stored.view(named_dtype(format))


def formats_of(rule, names, state):
    """The formats of the states: the one that is given, or a mixture."""
    mixture = MIXTURES.get(state, (state,))
    return [mixture[k % len(mixture)] for k, _ in enumerate(names)]


class Case:
    """An optimizer of several tensors and what its twin makes of the same buffers."""

    def __init__(self, rule, keywords, combination, rounding, lengths):
        self.rule, self.combination, self.rounding = rule, combination, rounding
        param, grad, state, master = combination
        names = states_of(rule, present_states(rule, keywords))
        self.names = names
        states = formats_of(rule, names, state)
        self.formats = [param, grad, *states]
        self.lengths = lengths
        self.grads = [
            [formats.store(grad, numbers(7 * t + i, n, np.float32)) for i, n in enumerate(lengths)]
            for t in range(STEPS)
        ]
        self.params = [
            formats.store(param, numbers(100 + i, n, np.float32)) for i, n in enumerate(lengths)
        ]
        self.expected = [
            [p.copy(), None, *(formats.store(f, np.zeros(p.size, np.float32)) for f in states)]
            for p in self.params
        ]
        self.carried = [np.zeros(rule.carried_shape) for _ in self.params]
        self.remainders = [np.zeros(p.size, np.int16) if master else None for p in self.params]
        self.optimizer = class_of(rule)(
            [as_array(p, param) for p in self.params],
            **keywords,
            state_format=dict(zip(names, states, strict=True)),
            master_weights=master,
            rounding=rounding,
            seed=SEED,
        )
        self.keywords = keywords
        start = keywords.get(rule.initial_value)
        if start is not None:
            for buffers in self.expected:
                filled = np.full(buffers[0].size, start, np.float32)
                buffers[2][...] = formats.store(states[0], filled, squares=True)

    def step_both(self, t):
        self.optimizer.step([as_array(grad, self.formats[1]) for grad in self.grads[t]])
        position = 0
        for buffers, remainder, grad, carried in zip(
            self.expected, self.remainders, self.grads[t], self.carried, strict=True
        ):
            buffers[1] = grad
            formats.step(
                self.rule.name,
                buffers,
                self.formats,
                function_keywords(self.rule, self.keywords, t + 1, carried),
                names=self.names,
                remainder=remainder,
                seed=SEED if self.rounding == "stochastic" else None,
                count=t + 1,
                position=position,
            )
            position += grad.size

    def pairs(self):
        """Each buffer's name, and its bits here and there."""
        for i, (state, buffers) in enumerate(zip(self.optimizer.state, self.expected, strict=True)):
            yield f"param {i}", self.params[i], buffers[0]
            for name, twin in zip(self.names, buffers[2:], strict=True):
                yield f"{name} {i}", state[name], twin
            if self.remainders[i] is not None:
                yield f"remainder {i}", state["remainder"], self.remainders[i]


def keywords_of(variants, turn):
    """Every choice of flags in turn; averages of squares decay fast enough for every format."""
    keywords = dict(variants[turn % len(variants)])
    keywords.update({name: 0.9 for name in ("beta2", "alpha") if name in keywords})
    keywords.pop("grad_scale", None)
    return keywords


def combinations_of(rule, combinations):
    """Each combination with each rounding, except those that are refused: a narrow sum of squares
    that is rounded to nearest stops growing."""
    for combination, rounding in itertools.product(combinations, ("stochastic", "nearest")):
        is_narrow_sum = rule.kernel == "adagrad" and combination[2] != "float32"
        if not (is_narrow_sum and rounding == "nearest"):
            yield combination, rounding


def every_case():
    turn = 0
    for rule in RULES:
        print(rule.name, file=sys.stderr, flush=True)
        cautious = list(cautious_combinations(rule.class_hypers))
        for place, (combination, rounding) in enumerate(combinations_of(rule, COMBINATIONS)):
            if cautious:
                keywords = keywords_of(cautious, place // 4)
                lengths = (LENGTHS, (LARGE,))[place // 2 % 2]
                yield Case(rule, keywords, combination, rounding, lengths)
            # The twin of a rule that joins arrays steps a single one.
            for lengths in (LENGTHS[-1:] if rule.joins_arrays else LENGTHS, (LARGE,)):
                turn += 5
                keywords = keywords_of(class_variants(rule), turn)
                yield Case(rule, keywords, combination, rounding, lengths)


def main():
    compared, differ = 0, []
    for turn, case in enumerate(every_case()):
        fastopt.set_num_threads(1 + turn % 3)
        for t in range(STEPS):
            case.step_both(t)
        for name, got, twin in case.pairs():
            compared += 1
            if got.tobytes() != twin.tobytes():
                differ.append(
                    [
                        case.rule.name,
                        *map(str, case.combination),
                        case.rounding,
                        name,
                        str(case.keywords),
                    ]
                )
    print(json.dumps({"isa": fastopt.isa(), "compared": compared, "differ": differ[:20]}))


if __name__ == "__main__":
    main()
