"""Gradients of single rows: the bits of the twin, and nothing else touched."""

import functools
import json
import pickle
from pathlib import Path

import formats
import numpy as np
import pytest
import sparse_rows
from cases import (
    DECAY,
    ELEMENTWISE,
    LR,
    class_of,
    class_variants,
    every_copy,
    freeze,
    function_keywords,
    function_of,
    numbers,
    present_states,
    states_of,
    step_keyword,
)
from processes import available_isas, run_python

import fastopt
from fastopt._core import norm
from fastopt._formats import named_dtype

needs_bfloat16 = pytest.mark.needs("ml_dtypes")
by_name = pytest.mark.parametrize("rule", ELEMENTWISE, ids=lambda rule: rule.name)

ROWS, ELEMENTS = 9, 5
INDICES = np.array([7, 2, 7, 0, 2, 7])


@functools.cache
def run_worker(name, isa):
    done = run_python(
        str(Path(__file__).with_name(name)), FASTOPT_ISA=isa, OPENBLAS_NUM_THREADS="1", timeout=None
    )
    assert done.returncode == 0, f"exit status {done.returncode} under {isa}\n{done.stderr}"
    return json.loads(done.stdout)


@pytest.mark.parametrize("isa", available_isas())
def test_every_isa_matches_numpy_at_each_shape_and_thread_count(isa):
    found = run_worker("sparse_worker.py", isa)
    assert found["isa"] == isa
    assert not found["failures"]
    assert found["compared"] > 7 * 2 * len(ELEMENTWISE)


@needs_bfloat16
@pytest.mark.parametrize("isa", available_isas())
def test_every_isa_matches_numpy_in_narrow_formats(isa):
    found = run_worker("sparse_narrow_worker.py", isa)
    assert found["isa"] == isa
    assert not found["failures"]
    assert found["compared"] > 5 * len(ELEMENTWISE)


def table(dtype=np.float64, seed=0):
    return numbers(seed, ROWS * ELEMENTS, dtype).reshape(ROWS, ELEMENTS)


def some_values(dtype=np.float64, count=INDICES.size, seed=5):
    return numbers(seed, count * ELEMENTS, dtype).reshape(count, ELEMENTS)


def function_hypers(rule, **given):
    return {**rule.hypers, "lr": LR, "weight_decay": DECAY, **given, **step_keyword(rule, 3)}


@by_name
def test_rows_that_are_not_named_keep_every_bit(rule):
    buffers = [np.abs(table(seed=k)) for k in range(1 + len(states_of(rule, True)))]
    before = [buffer.copy() for buffer in buffers]
    function_of(rule)(
        buffers[0], some_values(), *buffers[1:], rows=INDICES, **function_hypers(rule)
    )
    others = np.setdiff1d(np.arange(ROWS), INDICES)
    for now, then in zip(buffers, before, strict=True):
        assert now[others].tobytes() == then[others].tobytes()
    assert (buffers[0] != before[0])[[0, 2, 7]].any(axis=1).all()  # Rprop leaves some elements


@by_name
def test_all_rows_in_any_order_are_the_dense_step(rule):
    order = np.array([3, 1, 8, 0, 2, 7, 6, 5, 4], np.int32)
    dense = [np.abs(table(seed=k)) for k in range(1 + len(rule.states))]
    rows = [buffer.copy() for buffer in dense]
    grad = table(seed=9)
    function_of(rule)(dense[0], grad, *dense[1:], **function_hypers(rule))
    function_of(rule)(rows[0], grad[order], *rows[1:], rows=order, **function_hypers(rule))
    for a, b in zip(dense, rows, strict=True):
        assert a.tobytes() == b.tobytes()


def test_gradients_of_a_row_are_added_in_their_order():
    param = np.zeros((2, 1), np.float32)
    values = np.array([[1e8], [5], [-1e8], [1]], np.float32)
    for order in ([0, 1, 2, 3], [0, 2, 1, 3], [3, 1, 0, 2]):
        param[...] = 0
        fastopt.sgd(param, values[order], rows=np.ones(4, np.int64), lr=1.0)
        total = values[order[0]].copy()
        for k in order[1:]:
            total += values[k]
        assert param[1] == -total


def test_one_dimension_has_rows_of_one_element():
    param, state = np.zeros(4), np.zeros(4)
    fastopt.adagrad(param, np.array([1.0, 2.0]), state, rows=np.array([3, 0]), lr=0.5, eps=0)
    assert param.tolist() == [-0.5, 0, 0, -0.5]
    assert state.tolist() == [4, 0, 0, 1]


@by_name
def test_no_rows_change_nothing(rule):
    hypers = function_hypers(rule)
    for shape in ((0, 3), (4, 0), (4, 3), (0,), (4, 0, 3)):
        param, *states = (np.ones(shape) for _ in range(1 + len(rule.states)))
        grad = np.ones((0, *shape[1:]))
        function_of(rule)(param, grad, *states, rows=np.empty(0, np.int64), **hypers)
        assert all((buffer == 1).all() for buffer in (param, *states))
        if shape[0]:
            two = np.array([0, shape[0]])
            with pytest.raises(ValueError, match=f"rows must be from 0 to below {shape[0]}"):
                function_of(rule)(param, np.ones((2, *shape[1:])), *states, rows=two, **hypers)


# Refusals


def test_rows_of_states_in_blocks_are_refused():
    param = np.ones((ROWS, ELEMENTS), np.float32)
    opt = fastopt.Adam(param, state_format="block8")
    before = [
        param.tobytes(),
        *(opt.state[0][name].tobytes() for name in ("exp_avg", "exp_avg_sq")),
    ]
    with pytest.raises(ValueError, match="must not be sparse: the states of params are in"):
        opt.step(fastopt.Rows(INDICES, some_values(np.float32)))
    after = [param.tobytes(), *(opt.state[0][name].tobytes() for name in ("exp_avg", "exp_avg_sq"))]
    assert after == before
    assert opt.state[0]["step"] == 0


def overlapping(param, where):
    """Indices in the memory of an array."""
    view = param.reshape(-1).view(np.int64)[where : where + 2]
    view[...] = 0
    return view


BAD_INDICES = [
    (lambda param: np.array([0, -1]), ValueError, "got -1 at 1"),
    (lambda param: np.array([ROWS, 0], np.int32), ValueError, f"got {ROWS} at 0"),
    (lambda param: np.array([2**62, 0]), ValueError, f"from 0 to below {ROWS}"),
    (lambda param: np.array([-(2**63), 0]), ValueError, f"from 0 to below {ROWS}"),
    (lambda param: np.array([0, 2**32]), ValueError, "got 4294967296 at 1"),
    (lambda param: [0, 1], TypeError, "numpy.ndarray of int32 or int64, got list"),
    (lambda param: 1, TypeError, "got int"),
    (lambda param: np.array([0.0, 1.0]), TypeError, "int32 or int64"),
    (lambda param: np.array([0, 1], np.uint64), TypeError, "int32 or int64"),
    (lambda param: np.array([0, 1], np.int16), TypeError, "int32 or int64"),
    (lambda param: np.array([True, False]), TypeError, "int32 or int64"),
    (lambda param: np.array([0, 1], ">i8"), TypeError, "native byte order"),
    (lambda param: np.array([0, 1], "m8[s]"), TypeError, "int32 or int64"),
    (lambda param: np.array([[0, 1]]), ValueError, "one dimension"),
    (lambda param: np.array(0), ValueError, "one dimension"),
    (lambda param: np.arange(4)[::2], ValueError, "C-contiguous"),
    (lambda param: np.zeros(17, np.uint8)[1:].view(np.int64), ValueError, "aligned"),
    (lambda param: np.array([0, 1, 2]), ValueError, r"got (shape )?\(2, 5\)"),
    (lambda param: np.array([0]), ValueError, r"got (shape )?\(2, 5\)"),
    (lambda param: overlapping(param, 4), ValueError, "must not overlap"),
]


@by_name
def test_bad_indices_change_nothing(rule):
    for make, error, words in BAD_INDICES:
        param, *states = (np.abs(table(seed=k)) for k in range(1 + len(rule.states)))
        grad = some_values(count=2)
        indices = make(param)
        buffers = [param, grad, *states]
        before = [buffer.tobytes() for buffer in buffers]
        with pytest.raises(error, match=words):
            function_of(rule)(param, grad, *states, rows=indices, **function_hypers(rule))
        assert [buffer.tobytes() for buffer in buffers] == before


@pytest.mark.parametrize(("make", "error", "words"), BAD_INDICES)
def test_a_class_refuses_bad_indices_and_counts_no_step(make, error, words):
    params = [table(), table(seed=1)]
    opt = fastopt.Adam(params)
    indices = make(params[1])
    before = [param.tobytes() for param in params]
    with pytest.raises(error, match=words):
        opt.step([table(seed=2), fastopt.Rows(indices, some_values(count=2))])
    assert [param.tobytes() for param in params] == before
    assert all(state["step"] == 0 and not state["exp_avg"].any() for state in opt.state)


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        (np.ones((2, ELEMENTS), np.float32), TypeError, r"values of grads must have the dtype of"),
        (np.ones((2, ELEMENTS + 1)), ValueError, r"values of grads must have a row for each"),
        (np.ones((2, ELEMENTS, 1)), ValueError, "values of grads"),
        (np.ones((3, ELEMENTS)), ValueError, "values must have a row for each of the 2 indices"),
        (np.ones((ELEMENTS, 2)).T, ValueError, "values of grads must be C-contiguous"),
        ([[1.0] * ELEMENTS] * 2, TypeError, "values must be a numpy.ndarray, got list"),
        (np.float64(1), TypeError, "values must be a numpy.ndarray"),
        (np.array(1.0), ValueError, r"got shape \(\)"),
    ],
)
def test_bad_values_change_nothing(values, error, words):
    param = table()
    opt = fastopt.Adam(param)
    before = param.tobytes()
    with pytest.raises(error, match=words):
        opt.step(fastopt.Rows(np.array([0, 1]), values))
    assert param.tobytes() == before
    assert opt.state[0]["step"] == 0


def test_values_that_lie_in_a_parameter_are_refused_however_long_they_were_before():
    memory = np.zeros((12, 4))
    param = memory[4:8]
    opt = fastopt.SGD(param, lr=1.0)
    opt.step(fastopt.Rows(np.arange(4), memory[:4]))
    with pytest.raises(ValueError, match="must not overlap params"):
        opt.step(fastopt.Rows(np.zeros(5, np.int64), memory[:5]))


def test_a_parameter_without_dimensions_has_no_rows():
    opt = fastopt.SGD(np.array(1.0), lr=1.0)
    with pytest.raises(ValueError, match="params must have rows"):
        opt.step(fastopt.Rows(np.array([0]), np.array([1.0])))


def test_a_population_takes_no_rows():
    models = fastopt.Population("adam", table(), lr=0.1)
    with pytest.raises(TypeError, match="a population takes no gradients of single rows"):
        models.step(fastopt.Rows(np.array([0]), some_values(count=1)))


# Classes


def dense_gradient(rows, shape):
    """Zeros except in the rows, each of which occurs once."""
    grad = np.zeros(shape, rows.values.dtype)
    grad[rows.indices] = rows.values
    return grad


@by_name
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_and_arrays_are_stepped_side_by_side(rule, dtype):
    """A class is the function, for each of its parameters."""
    for keywords in class_variants(rule):
        params = [table(dtype), table(dtype, 1), table(dtype, 2), numbers(3, 70, dtype)]
        expected = [param.copy() for param in params]
        names = states_of(rule, present_states(rule, keywords))
        states = [[np.zeros_like(param) for _ in names] for param in params]
        if keywords.get(rule.initial_value):
            for first, *_ in states:
                first[...] = keywords[rule.initial_value]
        carried = [np.zeros(rule.carried_shape) for _ in params]
        opt = class_of(rule)(params, **keywords)
        for t in range(3):
            rows = fastopt.Rows(np.roll(INDICES, t), some_values(dtype, seed=t))
            grads = [rows, table(dtype, t + 5), None, numbers(t + 8, 70, dtype)]
            opt.step(grads)
            of = [function_keywords(rule, keywords, t + 1, number) for number in carried]
            everywhere = np.arange(ROWS)
            by_name_of = [dict(zip(names, each, strict=True)) for each in states]
            sparse_rows.step(
                rule.name, expected[0], rows.indices, rows.values, by_name_of[0], of[0]
            )
            sparse_rows.step(rule.name, expected[1], everywhere, grads[1], by_name_of[1], of[1])
            function_of(rule)(expected[3], grads[3], **by_name_of[3], **of[3])
        for param, twin, state, twins in zip(params, expected, opt.state, states, strict=True):
            assert param.tobytes() == twin.tobytes()
            assert [state[name].tobytes() for name in names] == [s.tobytes() for s in twins]
        assert [state["step"] for state in opt.state] == [3, 3, 0, 3]


def test_a_row_that_comes_late_takes_the_count_of_its_optimizer():
    param = np.zeros((2, 1))
    opt = fastopt.Adam(param)
    for _ in range(4):
        opt.step(fastopt.Rows(np.array([0]), np.ones((1, 1))))
    opt.step(fastopt.Rows(np.array([1]), np.ones((1, 1))))
    alone, exp_avg, exp_avg_sq = np.zeros(1), np.zeros(1), np.zeros(1)
    fastopt.adam(alone, np.ones(1), exp_avg, exp_avg_sq, step=5)
    assert param[1].tobytes() == alone.tobytes()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clipping_takes_the_norm_of_the_added_rows(dtype, threads):
    """If each row occurs once, the norm has the bits of that of an array of these rows."""
    fastopt.set_num_threads(threads)
    values = numbers(1, 5000 * 70, dtype).reshape(5000, 70)
    once = np.argsort(numbers(2, 6000, np.float64))[:5000]
    for indices in (once, once % 700):
        rows, sums = sparse_rows.add_up(indices[::-1], values[::-1])
        _, sums = sparse_rows.add_up(indices, values)
        first = sparse_rows.add_up(indices, values)[0]
        last_first = [first.index(row) for row in reversed(rows)]
        expected = norm(np.ascontiguousarray(sums[last_first]))
        param, other = np.zeros((6000, 70), dtype), np.zeros((6000, 70), dtype)
        opt = fastopt.SGD(param, lr=1.0)
        assert opt.step(fastopt.Rows(indices, values), max_norm=0.5) == expected
        factor = min(1.0, 0.5 / (expected + 1e-6))
        fastopt.sgd(other, values, rows=indices, lr=1.0, grad_scale=factor)
        assert param.tobytes() == other.tobytes()


def test_the_norm_is_of_rows_and_arrays_together():
    params = [np.zeros((3, 1)), np.zeros(1)]
    opt = fastopt.SGD(params, lr=1.0)
    grads = [fastopt.Rows(np.array([1, 1]), np.array([[1.0], [2.0]])), np.array([4.0])]
    assert opt.step(grads, max_norm=float("inf")) == 5.0
    assert params[0].ravel().tolist() == [0, -3, 0]
    assert params[1].tolist() == [-4]


def test_a_step_is_skipped_where_a_row_is_not_finite():
    param = table()
    opt = fastopt.Adam([param, np.zeros(2)])
    before = param.tobytes()
    values = some_values()
    values[4, 2] = np.nan
    opt.step([fastopt.Rows(INDICES, values), np.ones(2)], skip_nonfinite=True)
    assert opt.skipped
    assert param.tobytes() == before
    assert [state["step"] for state in opt.state] == [0, 0]


@by_name
def test_copies_and_files_go_on_as_the_optimizer_itself(rule):
    def step(opt, t):
        opt.step(fastopt.Rows(np.roll(INDICES, t), some_values(seed=t)))

    param = table()
    opt = class_of(rule)(param, lr=LR, weight_decay=DECAY)
    step(opt, 0)
    copies = list(every_copy(param, opt, lambda fresh: class_of(rule)(fresh, lr=1.0)))
    step(opt, 1)
    for other_param, other in copies:
        step(other, 1)
        assert other_param.tobytes() == param.tobytes()
        assert freeze(other.state_dict()) == freeze(opt.state_dict())


def test_rows_show_and_pickle_their_arrays():
    rows = fastopt.Rows(np.array([1]), np.array([[2.0]]))
    again = pickle.loads(pickle.dumps(rows))
    assert again.indices.tobytes() == rows.indices.tobytes()
    assert again.values.tobytes() == rows.values.tobytes()
    assert repr(rows) == "Rows(array([1]), array([[2.]]))"


# Narrow formats


@needs_bfloat16
@pytest.mark.parametrize("options", [{"state_format": "bfloat16"}, {"master_weights": True}])
def test_a_row_draws_what_its_place_in_the_array_draws(options):
    """So all rows in any order are the dense step."""
    order = np.array([3, 1, 8, 0, 2, 7, 6, 5, 4])
    first, second = (
        formats.nearest(table(np.float32)).view(named_dtype("bfloat16")) for _ in range(2)
    )
    before = np.zeros(11, first.dtype)  # so that positions do not begin at 0
    dense, rows = (fastopt.Adam([before.copy(), each], **options) for each in (first, second))
    for t in range(3):
        grad = table(np.float32, t + 1)
        dense.step([None, grad])
        rows.step([None, fastopt.Rows(order, grad[order])])
    assert first.tobytes() == second.tobytes()
    assert freeze(dense.state_dict()) == freeze(rows.state_dict())
