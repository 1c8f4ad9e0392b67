"""Moving averages of the parameters: the bits of the twin, whatever else a step does."""

import copy
import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from cases import RULES, class_of, every_copy, freeze, numbers
from processes import available_isas, run_python
from reference import average

import fastopt

EMA = 0.8
SHAPES = {"weight": (4, 3), "bias": (3,)}


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize(
    "kind", ["wide", pytest.param("narrow", marks=pytest.mark.needs("ml_dtypes"))]
)
def test_every_isa_and_number_of_threads_matches_numpy_and_leaves_the_step_as_it_is(isa, kind):
    worker = Path(__file__).with_name("averages_worker.py")
    done = run_python(str(worker), kind, FASTOPT_ISA=isa)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["isa"], found["failures"]) == (isa, [])
    assert found["compared"] > 100


def arrays(seed=0):
    return {
        name: numbers(seed + k, int(np.prod(shape)), np.float64).reshape(shape)
        for k, (name, shape) in enumerate(SHAPES.items())
    }


def trained(steps=4, **keywords):
    params = arrays()
    optimizer = fastopt.Adam(params, **{"lr": 0.1, "ema": EMA, **keywords})
    for step in range(steps):
        optimizer.step(arrays(10 + step))
    return params, optimizer


def test_a_parameter_of_i_steps_ago_weighs_ema_to_the_power_of_i():
    param, seen = np.zeros(3), []
    optimizer = fastopt.SGD(param, lr=0.1, ema=EMA)
    for step in range(6):
        optimizer.step(numbers(step, 3, np.float64))
        seen.append(param.copy())
        weights = EMA ** np.arange(step + 1)[::-1]
        expected = np.average(seen, axis=0, weights=weights)
        np.testing.assert_allclose(optimizer.ema, expected, rtol=1e-13)


def test_a_parameter_that_stands_still_is_its_own_average():
    param = numbers(1, 50, np.float32)
    optimizer = fastopt.SGD(param, lr=0.0, ema=0.9999)
    for _ in range(50):
        optimizer.step(np.ones(50, np.float32))
    assert (optimizer.ema == param).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_an_average_that_keeps_nothing_is_the_parameter_also_after_an_infinity(dtype):
    param = np.ones(70, dtype)
    optimizer = fastopt.SGD(param, lr=0.5, ema=0.0)
    for value in (np.inf, 2.0, -0.0):
        param[:] = value
        optimizer.step(np.zeros(70, dtype))
        assert optimizer.ema.astype(dtype).tobytes() == param.tobytes()


def test_averages_have_the_structure_of_the_parameters():
    array = np.ones(3)
    assert fastopt.SGD(array, lr=0.1).ema is None
    assert fastopt.SGD(array, lr=0.1, ema=0.9).ema.tolist() == [1, 1, 1]
    assert isinstance(fastopt.SGD([array], lr=0.1, ema=0.9).ema, list)
    optimizer = fastopt.SGD([{"params": array}, {"params": {"b": np.zeros(1)}}], lr=0.1, ema=0.9)
    optimizer.add_param_group({"params": [np.full(2, 7.0)]})
    first, second, third = optimizer.ema
    assert first is optimizer.state[0]["ema"]
    assert (second["b"].tolist(), third[0].tolist()) == ([0], [7, 7])
    optimizer.step([np.ones(3), {"b": np.ones(1)}, [np.ones(2)]])
    assert [first.tolist(), third[0].tolist()] == [array.tolist(), [6.9, 6.9]]


def test_what_is_not_stepped_is_not_averaged():
    params, optimizer = trained()
    before = freeze((params, optimizer.state_dict()))
    optimizer.step({"weight": None, "bias": None})
    optimizer.step({**arrays(), "bias": np.full(3, np.nan)}, skip_nonfinite=True)
    assert optimizer.skipped
    optimizer.skipped_steps = 0
    assert freeze((params, optimizer.state_dict())) == before


@pytest.mark.parametrize(
    "rule", [r for r in RULES if not r.takes_norms], ids=lambda rule: rule.name
)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_rows_of_a_table_are_averaged_where_they_are_stepped(rule, dtype):
    table = numbers(1, 40 * 9, np.float64).reshape(40, 9).astype(dtype)
    optimizer = class_of(rule)(table, lr=0.1, ema=EMA)
    expected = table.astype(np.float32)
    for step in (1, 2, 3):
        used = np.array([3, 17, 3, 39])[: step + 1]
        values = numbers(step, used.size * 9, np.float64).reshape(-1, 9).astype(dtype)
        optimizer.step(fastopt.Rows(used, values))
        rows = np.unique(used)
        now = expected[rows]
        average(now, table[rows].astype(np.float32), step=step, ema=EMA)
        expected[rows] = now
    assert optimizer.ema.tobytes() == expected.tobytes()


def test_copies_pickles_and_files_go_on_with_the_same_bits():
    params, optimizer = trained()
    copies = list(every_copy(params, optimizer, lambda fresh: fastopt.Adam(fresh, ema=0.5)))
    optimizer.step(arrays(20))
    for others, other in copies:
        other.step(arrays(20))
        assert freeze((others, other.ema)) == freeze((params, optimizer.ema))
        assert other.ema["bias"] is not optimizer.ema["bias"]


def test_a_shallow_copy_has_averages_of_its_own():
    _, optimizer = trained()
    other = copy.copy(optimizer)
    before = freeze(other.ema)
    optimizer.step(arrays(20))
    assert freeze(other.ema) == before != freeze(optimizer.ema)


def test_averages_that_only_one_side_has_need_convert():
    params, optimizer = trained()
    _, without = trained(ema=None)
    for to, found in ((without, optimizer.state_dict()), (optimizer, without.state_dict())):
        before = freeze(to.state_dict())
        with pytest.raises(ValueError, match=r"(has ema \(ema=\)|has no ema), .*convert=True"):
            to.load_state_dict(found)
        assert freeze(to.state_dict()) == before
        to.load_state_dict(found, convert=True)
    assert without.ema is None
    # The averages start again at the parameters, but the next step has the weight of its count.
    assert freeze(optimizer.ema) == freeze(params)
    began = params["bias"].copy()
    optimizer.step(arrays(20))
    weight = (1 - EMA) / (1 - EMA**5)
    expected = began + weight * (params["bias"] - began)
    np.testing.assert_allclose(optimizer.ema["bias"], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (1.0, ValueError, "ema must be less than 1, got 1.0"),
        (-0.1, ValueError, "ema must be at least 0, got -0.1"),
        (np.nan, ValueError, "ema must be a finite number, got nan"),
        (True, TypeError, "ema must be a number, got True"),
        ("0.9", TypeError, "ema must be a number, got '0.9'"),
    ],
)
def test_a_wrong_share_is_named(value, error, message):
    for make in (fastopt.SGD, lambda *args, **hypers: fastopt.Population("sgd", *args, **hypers)):
        with pytest.raises(error, match=message):
            make(np.zeros((2, 2)), lr=0.1, ema=value)


def test_averages_that_were_made_unfit_are_refused_before_a_step():
    params, optimizer = trained()
    optimizer.ema["bias"].flags.writeable = False
    before = freeze(params)
    with pytest.raises(ValueError, match=r"ema of params\['bias'\] must be writeable"):
        optimizer.step(arrays(3))
    assert freeze(params) == before
    optimizer.ema["bias"].flags.writeable = True
    with pytest.raises(ValueError, match=r"must not overlap ema of params\['weight'\]"):
        optimizer.step({"weight": optimizer.ema["weight"], "bias": np.ones(3)})


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_rows_of_a_population_are_averaged_as_if_alone(rule):
    rng = np.random.default_rng(0)
    params = [rng.normal(size=(4, 1100)), rng.normal(size=(4, 2)).astype(np.float16)]
    alone = [[param[k].copy() for param in params] for k in range(4)]
    models = fastopt.Population(rule.name, params, lr=[0.1, 0.2, 0.3, 0.4], ema=EMA)
    lone = [
        class_of(rule)(alone[k], lr=0.1 * (k + 1) if k != 2 else 0.3, ema=EMA) for k in range(4)
    ]
    for step in range(3):
        grads = [rng.normal(size=param.shape).astype(param.dtype) for param in params]
        grads[0][1, 5] = np.nan if step == 1 else 1.0
        models.step(grads, skip_nonfinite=True)
        for k, optimizer in enumerate(lone):
            optimizer.step([np.array(grad[k]) for grad in grads], skip_nonfinite=True)
    for k, optimizer in enumerate(lone):
        for rows, own in zip(models.ema, optimizer.ema, strict=True):
            assert rows[k].tobytes() == own.tobytes()


def test_the_averages_of_a_population_move_with_its_rows():
    weights = np.arange(8.0).reshape(4, 2)
    models = fastopt.Population("adam", weights, lr=[0.1, 0.2, 0.3, 0.4], ema=EMA)
    for step in range(2):
        models.step(numbers(step, 8, np.float64).reshape(4, 2))
    before = models.ema.copy()
    models.copy_rows([0], [1])
    assert (models.ema == before[[0, 0, 2, 3]]).all()
    weights = models.select([3, 1])
    assert (models.ema == before[[3, 0]]).all()
    file = io.BytesIO()
    models.save(file, params=True)
    file.seek(0)
    other = fastopt.Population("adam", np.zeros((2, 2)), ema=0.5)
    other.load(file)
    copied = pickle.loads(pickle.dumps(models))
    grads = numbers(5, 4, np.float64).reshape(2, 2)
    for population in (models, other, copied):
        population.step(grads)
        assert population.ema.tobytes() == models.ema.tobytes()
    content = models.state_dict()
    with pytest.raises(ValueError, match="ema"):
        fastopt.Population("adam", np.zeros((2, 2))).load_state_dict(content)
    assert models.ema.shape == weights.shape


def test_a_schedule_free_average_is_not_disturbed():
    optimizer = fastopt.ScheduleFreeSGD(np.zeros(3), lr=0.5, ema=EMA)
    for _ in range(3):
        optimizer.step(np.ones(3))
    before = optimizer.ema.copy()
    optimizer.eval()
    assert (optimizer.ema == before).all()
