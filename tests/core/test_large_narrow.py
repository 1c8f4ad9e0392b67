"""Narrow buffers that no cache holds: they are stepped in two places in turn."""

import formats
import numpy as np
import pytest
from cases import ELEMENTWISE, class_of, numbers

import fastopt
from fastopt._formats import named_dtype

pytestmark = pytest.mark.needs("ml_dtypes")

LENGTH = 4_300_003
PIECE = 20_000  # too short for two places; even, since two elements share a random word

# Where a gradient has a NaN: nowhere, at the first place, at the second, at both.
NANS = ((), (1_000_003,), (3_300_001,), (1_000_003, 3_000_000))


def stored(values, format):
    return formats.store(format, values).view(named_dtype(format))


@pytest.fixture(params=(1, 2))
def threads(request):
    before = fastopt.get_num_threads()
    fastopt.set_num_threads(request.param)
    yield
    fastopt.set_num_threads(before)


def in_pieces(array):
    return [array[begin : begin + PIECE] for begin in range(0, array.size, PIECE)]


def stepped(rule, combination, rounding, values, pieces_of):
    param, grad, state, master = combination
    weights, grads = stored(values[0], param), stored(values[1], grad)
    optimizer = class_of(rule)(
        pieces_of(weights),
        lr=0.01,
        **({"beta2": 0.9} if "beta2" in rule.hypers else {}),  # decays in every format
        state_format=state if rule.states else None,
        master_weights=master,
        rounding=rounding,
        seed=5,
    )
    for _ in range(2):
        optimizer.step(pieces_of(grads))
    names = [*rule.states, *(["remainder"] if master else [])]
    states = [np.concatenate([s[name] for s in optimizer.state]) for name in names]
    return [buffer.tobytes() for buffer in (weights, *states)]


@pytest.fixture(scope="module")
def values():
    """Of the parameters, and of the gradients."""
    return numbers(1, LENGTH, np.float32), numbers(2, LENGTH, np.float32)


@pytest.mark.parametrize("rule", ELEMENTWISE, ids=lambda rule: rule.name)
def test_a_large_array_has_the_bits_of_its_pieces(rule, threads, values):
    for turn, combination in enumerate(formats.IN_REGISTERS, ELEMENTWISE.index(rule)):
        grads = values[1].copy()
        grads[list(NANS[turn % len(NANS)])] = np.nan
        is_narrow_sum = rule.kernel == "adagrad" and combination[2] != "float32"
        rounding = "stochastic" if turn % 2 or is_narrow_sum else "nearest"
        work = rule, combination, rounding, (values[0], grads)
        assert stepped(*work, in_pieces) == stepped(*work, lambda array: [array])
