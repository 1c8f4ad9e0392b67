"""Row-wise Adagrad: one accumulator for each row of a table."""

import functools
import json
from pathlib import Path

import formats
import numpy as np
import pytest
from cases import DECAY, LR, every_copy, freeze, numbers
from processes import available_isas, run_python
from reference import adagrad_of_row
from row_wise_worker import NONE, twin

import fastopt
from fastopt import schedules

ROWS, ELEMENTS = 9, 5
INDICES = np.array([7, 2, 7, 0, 2, 7])
PER_ROW = {"state_format": {"state_sum": "row"}}


@pytest.mark.parametrize("isa", available_isas())
def test_every_isa_matches_numpy_at_each_shape_and_thread_count(isa):
    done = run_python(str(Path(__file__).with_name("row_wise_worker.py")), FASTOPT_ISA=isa)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["isa"], found["failures"]) == (isa, [])
    assert found["compared"] > 50


def table(dtype=np.float64, seed=0):
    return numbers(seed, ROWS * ELEMENTS, np.float64).reshape(ROWS, ELEMENTS).astype(dtype)


def some_values(dtype=np.float64, seed=5):
    values = numbers(seed, INDICES.size * ELEMENTS, np.float64).reshape(-1, ELEMENTS)
    return values.astype(dtype)


def trained(steps=3, **keywords):
    param = table()
    optimizer = fastopt.Adagrad(param, lr=LR, **{**PER_ROW, **keywords})
    for step in range(steps):
        optimizer.step(fastopt.Rows(INDICES, some_values(seed=step)))
    return param, optimizer


def test_an_optimizer_keeps_a_number_for_each_row_of_a_table_and_for_each_element_of_a_vector():
    weights = [np.ones((4, 3)), np.ones((2, 3, 2), np.float32), np.ones(3), np.ones(())]
    optimizer = fastopt.Adagrad(weights, initial_accumulator_value=0.5, **PER_ROW)
    sums = [state["state_sum"] for state in optimizer.state]
    assert [array.shape for array in sums] == [(4,), (2,), (3,), ()]
    assert [array.dtype for array in sums] == [w.dtype for w in weights]
    optimizer.step([np.full_like(weight, 2.0) for weight in weights])
    assert all((array == 4.5).all() for array in sums)


@pytest.mark.parametrize("dense", [False, True])
def test_schedules_clipping_and_decay_reach_each_row(dense):
    param, sums = table(), np.zeros(ROWS)
    expected = table()
    lr = schedules.linear(0.5, 0.1, steps=4)
    optimizer = fastopt.Adagrad(param, lr=lr, lr_decay=0.1, weight_decay=DECAY, **PER_ROW)
    for step in (1, 2, 3):
        indices = np.arange(ROWS) if dense else INDICES
        values = numbers(step, indices.size * ELEMENTS, np.float64).reshape(-1, ELEMENTS)
        norm = optimizer.step(values if dense else fastopt.Rows(indices, values), max_norm=0.7)
        twin(
            expected,
            sums,
            indices,
            values,
            lr=lr(step) / (1 + (step - 1) * 0.1),
            weight_decay=DECAY,
            grad_scale=min(1.0, 0.7 / (norm + 1e-6)),
        )
    assert param.tobytes() == expected.tobytes()
    assert optimizer.state[0]["state_sum"].tobytes() == sums.tobytes()


@pytest.mark.needs("ml_dtypes")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "remainder"])
def test_narrow_tables_compute_in_float32(dtype):
    import ml_dtypes

    kept = {"master_weights": True} if dtype == "remainder" else {"rounding": "nearest"}
    stored = np.float16 if dtype == "float16" else ml_dtypes.bfloat16
    param = table(stored)
    optimizer = fastopt.Adagrad(param, lr=LR, weight_decay=DECAY, **PER_ROW, **kept)
    wide, sums = param.astype(np.float32), np.zeros(ROWS, np.float32)
    for step in (1, 2):
        values = some_values(np.float32, seed=step)
        optimizer.step(fastopt.Rows(INDICES, values))
        twin(wide, sums, INDICES, values, lr=LR, weight_decay=DECAY)
        if dtype != "remainder":
            wide = wide.astype(stored).astype(np.float32)
    found = optimizer.state[0]
    if dtype == "remainder":
        got = formats.join(param.view(np.uint16), found["remainder"])
    else:
        got = param.astype(np.float32)
    assert got.tobytes() == wide.tobytes()
    assert found["state_sum"].tobytes() == sums.tobytes()


def test_copies_pickles_and_files_go_on_with_the_same_bits():
    param, optimizer = trained(ema=0.9)
    make = functools.partial(fastopt.Adagrad, ema=0.5, **PER_ROW)
    copies = list(every_copy(param, optimizer, make))
    grad = table(seed=8)
    optimizer.step(grad)
    for other_param, other in copies:
        other.step(grad)
        assert freeze((other_param, other.state)) == freeze((param, optimizer.state))


def test_states_of_another_shape_are_refused_even_with_convert():
    param, optimizer = trained()
    element_wise = fastopt.Adagrad(table(), lr=LR)
    for to, found in ((optimizer, element_wise), (element_wise, optimizer)):
        before = freeze(to.state_dict())
        for convert in (False, True):
            with pytest.raises(
                ValueError, match=r"state_sum of state_dict.* must be float64 of shape"
            ):
                to.load_state_dict(found.state_dict(), convert=convert)
        assert freeze(to.state_dict()) == before
    narrow = fastopt.Adagrad(param.astype(np.float32), lr=LR, **PER_ROW)
    narrow.load_state_dict(optimizer.state_dict(), convert=True)
    expected = optimizer.state[0]["state_sum"].astype(np.float32)
    assert (narrow.state[0]["state_sum"] == expected).all()


def test_what_has_no_accumulator_for_a_row_is_refused():
    param = table()
    with pytest.raises(ValueError, match=r"state_format\['exp_avg'\] must be one of .*got 'row'"):
        fastopt.Adam(param.astype(np.float32), state_format={"exp_avg": "row"})
    with pytest.raises(ValueError, match="'row' for a population"):
        fastopt.Population("adagrad", param, **PER_ROW)
    with pytest.raises(ValueError, match="state_sum must have the shape of param"):
        fastopt.adagrad(param, param.copy(), np.zeros(ROWS), lr=LR)  # without rows=
    with pytest.raises(ValueError, match="momentum_buffer must have the shape of param"):
        fastopt.momentum(param, some_values(), np.zeros(ROWS), rows=INDICES, lr=LR)
    with pytest.raises(TypeError, match="with a number for each row must be float32, got float16"):
        fastopt.adagrad(
            param.astype(np.float32),
            some_values(np.float32),
            np.zeros(ROWS, np.float16),
            rows=INDICES,
            lr=LR,
        )
    before = param.tobytes()
    with pytest.raises(ValueError, match=r"rows must be from 0 to below 9, .*got 9 at 1"):
        fastopt.adagrad(param, some_values()[:2], np.zeros(ROWS), rows=np.array([1, 9]), lr=LR)
    assert param.tobytes() == before


def test_a_state_that_was_made_unfit_is_refused():
    _, optimizer = trained()
    optimizer.state[0]["state_sum"].flags.writeable = False
    with pytest.raises(ValueError, match="state_sum of params must be writeable"):
        optimizer.step(table())
    optimizer.state[0]["state_sum"].flags.writeable = True
    optimizer.step(table())


@pytest.mark.filterwarnings("ignore:Setting the shape on a NumPy array:DeprecationWarning")
def test_a_table_that_was_given_other_rows_is_refused():
    table = np.zeros((2, 4))
    optimizer = fastopt.Adagrad(table, lr=0.1, **PER_ROW)
    optimizer.step(fastopt.Rows(np.array([1]), np.ones((1, 4))))
    table.shape = (4, 2)
    for grad in (fastopt.Rows(np.array([3]), np.ones((1, 2))), np.ones((4, 2))):
        with pytest.raises(ValueError, match=r"state_sum of params must have the shape of params"):
            optimizer.step(grad)
    table.shape = (2, 2, 2)
    optimizer.step(fastopt.Rows(np.array([1]), np.ones((1, 2, 2))))


def test_a_row_is_stepped_by_the_root_of_the_mean_of_its_squares():
    param, row_sum = np.zeros((2, 4)), np.zeros(2)
    values = np.array([[3.0, -3.0, 3.0, 3.0]])
    fastopt.adagrad(param, values, row_sum, rows=np.array([1]), lr=0.5, eps=0.0)
    assert (row_sum == [0, 9]).all()
    assert (param == [[0] * 4, [-0.5, 0.5, -0.5, -0.5]]).all()
    own = np.array(0.0)
    one = np.zeros(4)
    adagrad_of_row(one, values[0], own, lr=0.5, eps=0.0, **NONE)
    assert one.tobytes() == param[1].tobytes()
