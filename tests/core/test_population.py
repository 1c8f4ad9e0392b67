"""A population: each row has the bits of an optimizer of its own, whatever the others do."""

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from cases import RULES, class_of, freeze, switches_of
from population_cases import Twins, gradients, of_row, settings
from processes import available_isas, run_python

import fastopt
from fastopt import schedules

every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


@pytest.fixture
def random():
    return np.random.default_rng(0)


def make(rule, random, rows=5, shapes=((3,), (2, 2))):
    arrays = [random.normal(size=(rows, *shape)) for shape in shapes]
    return Twins(rule, arrays, settings(rule, rows, random))


@pytest.mark.parametrize("isa", available_isas())
def test_each_row_has_the_bits_of_an_optimizer_of_its_own(isa):
    """Every rule, per-row settings of every kind, odd shapes and places, one thread and several."""
    worker = Path(__file__).with_name("population_cases.py")
    done = run_python(str(worker), FASTOPT_ISA=isa)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"isa": isa, "wrong": {}}


@pytest.mark.needs("ml_dtypes")
@pytest.mark.parametrize("isa", available_isas())
def test_each_row_has_the_bits_in_every_storage_format(isa):
    """float16, bfloat16, remainders, narrow states, a seed for all rows or for each."""
    worker = Path(__file__).with_name("population_cases.py")
    done = run_python(str(worker), "narrow", FASTOPT_ISA=isa)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"isa": isa, "wrong": {}}


STORAGE = [
    (np.float16, {}),
    ("bfloat16", {"master_weights": True, "state_format": "bfloat16", "seed": [1, 2, 3, 4, 5]}),
    (np.float32, {"state_format": "block8", "seed": [1, 2, 3, 4, 5]}),
]


@pytest.mark.needs("ml_dtypes")
@pytest.mark.parametrize(("dtype", "storage"), STORAGE, ids=["float16", "bfloat16", "block8"])
def test_what_is_kept_beside_narrow_arrays_moves_with_their_rows(dtype, storage, random, tmp_path):
    import ml_dtypes

    dtype = getattr(ml_dtypes, dtype) if isinstance(dtype, str) else dtype
    arrays = [random.normal(size=(5, 4)).astype(dtype), random.normal(size=(5, 1)).astype(dtype)]
    twins = Twins(fastopt.RULES["adam"], arrays, {"lr": np.linspace(0.1, 0.5, 5), **storage})
    twins.step(gradients(twins.arrays, random))
    twins.select([3, 1, 4])
    twins.copy_rows([0, 1], [1, 0])
    twins.step(gradients(twins.arrays, random), max_norm=0.1)
    assert twins.differing() is None
    for copied in COPIES.values():
        twins = copied(twins)
        twins.step(gradients(twins.arrays, random))
        assert twins.differing() is None
    before = freeze(twins.population.state_dict())
    twins.population.save(tmp_path / "state", params=True)
    if "seed" in storage:
        storage = {**storage, "seed": 0}
    other = fastopt.Population("adam", [np.zeros_like(a) for a in twins.arrays], **storage)
    other.load(tmp_path / "state")
    assert freeze(other.state_dict()) == before
    twins.population, twins.arrays = other, other.params
    twins.step(gradients(twins.arrays, random))
    assert twins.differing() is None


@every_rule
def test_gradients_may_have_another_format_at_each_step(rule, random):
    for dtype, formats in (
        (np.float32, (np.float16, np.float32, np.float16)),
        (np.float32, (np.float32, np.float16, np.float32)),
        (np.float16, (np.float32, np.float16, np.float32)),
    ):
        arrays = [random.normal(size=(3, *shape)).astype(dtype) for shape in ((5,), (70,))]
        twins = Twins(rule, arrays, {"lr": 0.01})
        for format in formats:
            grads = [grad.astype(format) for grad in gradients(arrays, random)]
            twins.step(grads, max_norm=0.5)
            assert twins.differing() is None


@pytest.mark.needs("ml_dtypes")
def test_the_row_that_keeps_most_decides_whether_rounding_to_nearest_can_work():
    def population(beta2):
        options = {"state_format": "bfloat16", "rounding": "nearest", "beta2": beta2}
        return fastopt.Population("adam", np.zeros((3, 2), np.float32), **options)

    for beta2 in (0.999, [0.9, 0.995, 0.9]):
        with pytest.raises(
            ValueError, match=r"exp_avg_sq of params would never decay with beta2=0"
        ):
            population(beta2)
    models = population([0.9, 0.99, 0.9])
    models.hypers["beta2"][2] = 0.999
    with pytest.raises(ValueError, match="would never decay"):
        models.step(np.zeros((3, 2), np.float32))


def test_wrong_seeds_are_named():
    weights = np.zeros((3, 2), np.float32)
    with pytest.raises(
        ValueError, match="seed must have one number, or 3, one for each row, got 2"
    ):
        fastopt.Population("adam", weights, seed=[1, 2])
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        fastopt.Population("adam", weights, seed=[1, 2, -1])
    with pytest.raises(TypeError, match="seed must be an integer"):
        fastopt.Population("adam", weights, seed=1.5)


@every_rule
def test_large_rows_and_many_steps_keep_the_bits(rule, random):
    twins = make(rule, random, rows=2, shapes=((150_000,),))
    for _ in range(2):
        twins.step(gradients(twins.arrays, random), max_norm=1.0)
    assert twins.differing() is None


@every_rule
def test_one_number_is_that_of_all_rows(rule):
    one, each = np.ones((4, 3)), np.ones((4, 3))
    shared = fastopt.Population(rule.name, one, lr=0.25)
    apart = fastopt.Population(rule.name, each, lr=np.full(4, 0.25))
    for _ in range(3):
        shared.step(np.ones((4, 3)))
        apart.step(np.ones((4, 3)))
    assert one.tobytes() == each.tobytes()
    assert shared.lr == 0.25
    assert apart.lr.tolist() == [0.25] * 4


@pytest.mark.parametrize("kind", ["one for all", "one each", "some"])
def test_a_schedule_is_asked_for_the_step_of_each_row(kind, random):
    first = schedules.exponential(0.1, 0.5)
    second = schedules.linear(1.0, 0.0, steps=10)
    lr = {"one for all": first, "one each": [first, second, first], "some": [first, 0.3, second]}
    twins = Twins(fastopt.RULES["momentum"], [random.normal(size=(3, 4))], {"lr": lr[kind]})
    for special in (False, True, True, False, True):
        grads = gradients(twins.arrays, random)
        if special:
            grads[0][random.integers(3), 0] = np.nan
        twins.step(grads, skip_nonfinite=True)
        assert twins.differing() is None
    rates = np.broadcast_to(twins.population.lr, 3)
    assert rates.tolist() == [optimizer.lr for optimizer in twins.optimizers]
    assert len(set(twins.population.steps.tolist())) > 1


def test_a_schedule_is_called_once_where_all_rows_are_at_the_same_step():
    asked = []
    models = fastopt.Population(
        "sgd", np.zeros((5, 2)), lr=lambda step: asked.append(step) or 1.0 / step
    )
    asked.clear()
    models.step(np.ones((5, 2)))
    models.step(np.ones((5, 2)))
    assert asked == [1, 2]


@every_rule
def test_select_moves_rows_and_their_states_to_the_front(rule, random):
    twins = make(rule, random)
    grads = gradients(twins.arrays, random)
    grads[0][2, 0] = np.nan
    twins.step(grads, skip_nonfinite=True)
    whole = twins.arrays
    twins.select([2, 4, 0])
    assert [array.base is not None for array in twins.arrays] == [True, True]
    assert all(
        np.shares_memory(view, array) for view, array in zip(twins.arrays, whole, strict=True)
    )
    assert [view.ctypes.data for view in twins.arrays] == [a.ctypes.data for a in whole]
    assert len(twins.population) == 3
    assert twins.differing() is None
    for _ in range(2):
        twins.step(gradients(twins.arrays, random), max_norm=0.5)
    assert twins.differing() is None
    twins.select([1])
    twins.step(gradients(twins.arrays, random))
    assert twins.differing() is None


def test_select_keeps_which_rows_were_skipped():
    models = fastopt.Population("sgd", np.zeros((3, 1)), lr=1.0)
    models.step(np.array([[np.nan], [1.0], [np.inf]]), skip_nonfinite=True)
    models.select([1, 2])
    assert models.skipped.tolist() == [False, True]
    assert models.skipped_steps.tolist() == [0, 1]


def test_rates_without_a_schedule_are_an_array_once_those_with_one_are_dropped():
    schedule = fastopt.schedules.linear(1.0, 0.0, steps=10)
    models = fastopt.Population("sgd", np.zeros((3, 1)), lr=[schedule, 0.1, 0.2])
    models.select([2, 1])
    models.hypers["lr"] *= 2
    assert models.lr.tolist() == [0.4, 0.2]


def test_select_takes_a_mask_and_returns_the_structure_of_the_parameters():
    arrays = {"w": np.arange(6.0).reshape(3, 2), "b": np.arange(3.0)}
    models = fastopt.Population("sgd", arrays, lr=[0.1, 0.2, 0.3])
    views = models.select(np.array([False, True, True]))
    assert list(views) == ["w", "b"]
    assert views["w"].tolist() == [[2, 3], [4, 5]]
    assert views["b"].tolist() == [1, 2]
    assert models.lr.tolist() == [0.2, 0.3]
    models.step({"w": np.ones((2, 2)), "b": np.ones(2)})
    assert arrays["b"].tolist() == [1 - 0.2, 2 - 0.3, 2]


@every_rule
def test_copied_rows_go_on_as_their_source_with_settings_of_their_own(rule, random):
    twins = make(rule, random)
    twins.step(gradients(twins.arrays, random))
    grads = gradients(twins.arrays, random)
    grads[0][1, 0] = np.nan
    twins.step(grads, skip_nonfinite=True)
    twins.copy_rows([1, 2, 1], [0, 1, 4])
    twins.copy_rows([], [])
    assert twins.differing() is None
    twins.step(gradients(twins.arrays, random))
    assert twins.differing() is None


def test_hyper_parameters_may_be_changed_between_steps():
    weights = np.zeros((3, 1))
    lr = np.array([0.1, 0.2, 0.3])
    models = fastopt.Population("sgd", weights, lr=lr)
    lr[:] = 7  # the caller's own
    models.hypers["lr"][1] = 0.5
    models.step(np.ones((3, 1)))
    assert weights.ravel().tolist() == [-0.1, -0.5, -0.3]
    models.lr = 1
    models.step(np.ones((3, 1)))
    models.hypers["lr"] = [0, 0, 1]
    models.hypers["maximize"] = [False, False, True]
    models.step(np.ones((3, 1)))
    assert weights.ravel().tolist() == [-1.1, -1.5, -0.30000000000000004]


def test_a_whole_number_may_be_changed_to_any_other(tmp_path):
    models = fastopt.Population("sgd", np.zeros((3, 1)), lr=[1, 2, 4], weight_decay=(0, 0, 0))
    models.hypers["lr"][0] *= 0.5
    models.hypers["weight_decay"][1] = 0.25
    assert models.lr.tolist() == [0.5, 2, 4]
    models.select([1, 2])
    models.save(tmp_path / "state")
    models.lr = np.array([1, 2], np.uint8)
    models.lr[0] *= 0.5
    assert models.lr.tolist() == [0.5, 2]
    models.load(tmp_path / "state")
    models.hypers["lr"][1] *= 0.125
    assert models.lr.tolist() == [2, 0.5]
    assert models.hypers["weight_decay"].tolist() == [0.25, 0]


@every_rule
def test_state_dicts_and_files_go_on_with_the_same_bits(rule, random, tmp_path):
    twins = make(rule, random)
    grads = gradients(twins.arrays, random)
    grads[0][2, 0] = np.inf
    twins.step(grads, skip_nonfinite=True)
    before = freeze(twins.population.state_dict())
    optional = switches_of(rule, twins.population.hypers)
    twins.population.save(tmp_path / "state", params=True)
    for way in ("dict", "file"):
        arrays = [np.zeros_like(array) for array in twins.arrays]
        other = fastopt.Population(rule.name, arrays, lr=1.0, **optional)
        if way == "dict":
            other.load_state_dict(twins.population.state_dict())
            for array, own in zip(arrays, twins.arrays, strict=True):
                array[...] = own
        else:
            other.load(tmp_path / "state")
        assert freeze(other.state_dict()) == before
        twins.population, twins.arrays = other, arrays
        twins.step(gradients(arrays, random))
        assert twins.differing() is None
        before = freeze(other.state_dict())
        other.save(tmp_path / "state", params=True)


def test_a_schedule_stays_where_a_state_is_loaded():
    def population(lr):
        return fastopt.Population("sgd", np.zeros((2, 1)), lr=lr)

    def half(step):
        return 0.5**step

    found = population([0.25, 0.75])
    found.step(np.ones((2, 1)))
    for lr, expected in ((half, 0.25), ([half, 3], [0.25, 0.75]), (3, [0.25, 0.75])):
        models = population(lr)
        models.load_state_dict(found.state_dict())
        before = models.params.copy()
        models.step(np.ones((2, 1)))
        assert (before - models.params).ravel().tolist() == np.broadcast_to(expected, 2).tolist()
    assert population(half).state_dict()["hypers"]["lr"] == 0.5


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "oldest pickle": lambda thing: pickle.loads(pickle.dumps(thing, 0)),
}


@every_rule
@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copied_population_steps_the_copied_arrays(copied, rule, random):
    twins = make(rule, random)
    twins.step(gradients(twins.arrays, random))
    twins.select([3, 1])
    other = copied(twins)
    before = [array.tobytes() for array in twins.arrays]
    grads = gradients(twins.arrays, random)
    other.step(grads)
    assert other.differing() is None
    assert [array.tobytes() for array in twins.arrays] == before
    twins.step(grads)
    assert freeze(twins.population.state_dict()) == freeze(other.population.state_dict())


def test_a_shallow_copy_steps_the_same_arrays_with_states_of_its_own():
    weights = np.zeros((2, 1))
    models = fastopt.Population("momentum", weights, lr=[1.0, 2.0])
    other = copy.copy(models)
    other.step(np.ones((2, 1)))
    other.lr[0] = 5
    assert weights.ravel().tolist() == [-1, -2]
    assert models.steps.tolist() == [0, 0]
    assert models.state[0]["momentum_buffer"].tolist() == [[0], [0]]
    assert models.lr.tolist() == [1, 2]


def test_a_subclass_keeps_its_attributes_in_copies():
    class Named(fastopt.Population):
        pass

    models = Named("sgd", np.zeros((2, 1)), lr=1.0)
    models.name = "mine"
    other = copy.deepcopy(models)
    assert type(other) is Named
    assert other.name == "mine"


def test_it_shows_how_many_rows_and_what_differs():
    models = fastopt.Population("sgd", [np.zeros((3, 2))], lr=[0.1, 0.2, 0.3])
    assert repr(models).startswith("Population('sgd', 3 rows of 1 arrays, lr=array of 3, ")


@every_rule
def test_settings_of_the_tests_reach_every_hyper_parameter(rule, random):
    found = settings(rule, 4, random, share=0.0)
    assert found.keys() == rule.class_hypers.keys()
    class_of(rule)(np.zeros(2), **{name: of_row(value, 1) for name, value in found.items()})
