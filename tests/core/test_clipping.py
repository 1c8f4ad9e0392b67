"""Large gradients and those that are not finite: the norm, clipping by it, skipped steps."""

import copy
import itertools

import numpy as np
import pytest
from cases import DTYPES, class_of, freeze
from processes import available_isas, run_code
from test_classes import (
    ONE_EACH,
    SHAPES,
    STEPS,
    ByFunctions,
    apart,
    arrays_of,
    assert_same,
    by_name,
    tensors,
)

import fastopt


def clip_factor(norm, max_norm):
    return min(1.0, max_norm / (norm + 1e-6))


@pytest.mark.parametrize(("rule", "keywords"), apart(ONE_EACH))
def test_clipping_multiplies_grad_scale(rule, keywords):
    for scale, max_norm in itertools.product((1.0, 0.5, -3.0), (1e-3, 1.0, 50.0, 1e6)):
        ours, theirs = tensors(1), tensors(1)
        optimizer, reference = class_of(rule)(ours, **keywords), ByFunctions(rule, theirs, keywords)
        for k in range(STEPS):
            grads = tensors(2 + k)
            norm = optimizer.step(grads, max_norm=max_norm, grad_scale=scale)
            assert type(norm) is float
            exact = np.sqrt(sum(np.sum((scale * g.astype(np.float64)) ** 2) for g in grads))
            assert norm == pytest.approx(exact, rel=1e-12, abs=0)
            reference.step(grads, grad_scale=scale * clip_factor(norm, max_norm))
            assert_same(ours, theirs)


NORMS = """
import numpy as np
import fastopt
from cases import numbers
grads = [numbers(i, n, t) for i, n in enumerate((300_007, 3, 0, 70_001, 64, 2_500_000))
         for t in (np.float32, np.float64)]
for threads in (1, 2, 3, 7):
    fastopt.set_num_threads(threads)
    optimizer = fastopt.SGD([np.zeros_like(grad) for grad in grads], lr=0.1)
    print(optimizer.step(grads, max_norm=1.0).hex())
"""


def test_the_norm_is_the_same_on_every_isa_and_thread_count():
    norms = [run_code(NORMS, FASTOPT_ISA=isa).split() for isa in available_isas()]
    assert {len(each) for each in norms} == {4}
    assert len(set(itertools.chain(*norms))) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_norm_neither_overflows_nor_underflows_in_single_precision(dtype):
    for value in (1e30, 1e-30):
        grad = np.full(4, value, dtype)
        norm = fastopt.SGD(np.zeros(4, dtype), lr=0.1).step(grad, max_norm=1.0)
        assert norm == pytest.approx(2 * float(grad[0]), rel=1e-12)


@by_name
def test_an_infinite_norm_is_returned_as_it_is(rule):
    for value in (np.inf, np.nan):
        grads = tensors(2)
        grads[1][0, 0] = value
        norm = class_of(rule)(tensors(1), lr=0.1).step(grads, max_norm=1.0)
        assert norm == value or (np.isnan(norm) and np.isnan(value))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@by_name
def test_skip_nonfinite_leaves_every_byte_as_it_was(rule, value):
    params = tensors(1)
    optimizer = class_of(rule)(params, lr=0.1)
    optimizer.step(tensors(2), skip_nonfinite=True)
    assert (optimizer.skipped, optimizer.skipped_steps) == (False, 0)
    twin = copy.deepcopy(optimizer)
    before = freeze(optimizer.state_dict()), [param.tobytes() for param in params]
    for i in range(len(SHAPES)):
        grads = tensors(3)
        if grads[i].size == 0:
            continue
        grads[i].reshape(-1)[-1] = value
        for keywords in ({}, {"max_norm": 1.0}):
            skipped = optimizer.skipped_steps
            optimizer.step(grads, skip_nonfinite=True, **keywords)
            assert optimizer.skipped is True
            assert optimizer.skipped_steps == skipped + 1
            assert [param.tobytes() for param in params] == before[1]
    after = optimizer.state_dict()
    assert after.pop("skipped_steps") == optimizer.skipped_steps
    assert freeze(after) == before[0]
    optimizer.step(tensors(4), skip_nonfinite=True)
    twin.step(tensors(4))
    assert optimizer.skipped is False
    assert_same(arrays_of(optimizer), arrays_of(twin))


@by_name
def test_large_finite_gradients_are_not_taken_for_infinite(rule):
    """The squares overflow; the gradients do not."""
    params = [np.zeros(5), np.zeros(3, np.float32)]
    optimizer = class_of(rule)(params, lr=0.1)
    optimizer.step([np.full(5, 1e300), np.full(3, 1e38, np.float32)], skip_nonfinite=True)
    assert optimizer.skipped is False


@by_name
def test_without_skipping_a_gradient_that_is_not_finite_is_used(rule):
    param = np.ones(4)
    grad = np.array([1.0, np.nan, 1.0, 1.0])
    optimizer = class_of(rule)(param, lr=0.1)
    optimizer.step(grad)
    assert np.isnan(param[1])
    assert np.isfinite(param[[0, 2, 3]]).all()
    assert optimizer.skipped is False
