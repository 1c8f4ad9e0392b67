"""The comparison is fair: all rivals do the same work, and the tables say what was measured."""

import math
from dataclasses import replace

import numpy as np
import pytest

import fastopt
from bench.conftest import INSTALLED
from bench.steps import (
    measuring,
    narrow,
    populations,
    problems,
    quality,
    quality_report,
    results,
    sparse_rivals,
    tables,
)
from bench.steps.arrays import MODELS, make_tensors
from bench.steps.measuring import (
    FIRST_ROUNDS,
    Workers,
    calls_per_sample,
    measure,
    rounds_in_turn,
    time_calls,
)
from bench.steps.numpy_steps import STEPS
from bench.steps.plot import plot_steps
from bench.steps.populations import APART, TOGETHER, Training, perceptrons, rates_of, rows_of
from bench.steps.results import Results, Row
from bench.steps.rival import Case
from bench.steps.rivals import RIVALS
from bench.steps.targets import TARGETS


def change_by(rival, rule, dtype):
    """What one step from zero parameters and zero states makes of the parameters."""
    # Whole vectors: past the last one DeepSpeed's Adagrad overwrites its gradients.
    tensors = make_tensors(rule, [(1024,)], dtype)
    ((param, _, states),) = tensors
    param.fill(0)
    case = rival.make(rule, tensors)
    param.fill(0)  # some rivals step once while they are made
    for state in states:
        state.fill(0)
    case.step()
    returned = case.step()  # the first step of ADOPT moves nothing
    return np.array(returned[0]) if rival.name == "optax" else param


def test_every_rival_takes_the_step_of_the_rule():
    """All changes are multiples of NumPy's: the factor is bias correction at another `step`."""
    with_numpy = next(c for c in INSTALLED if c.name == "numpy")
    for rule in fastopt.RULES.values():
        for dtype in ("float32", "float64"):
            expected = change_by(with_numpy, rule, dtype)
            assert np.all(expected != 0)
            for rival in INSTALLED:
                # Thinc starts from moments of 1 (rivals.py).
                if rival.name == "thinc" or not rival.supports(rule, dtype, 1):
                    continue
                change = change_by(rival, rule, dtype)
                if rival.name == "copy kernel":
                    assert not change.any(), "it must leave the values as they are"
                    continue
                if rule.name == "radam":  # others are at a first step, which is that of momentum
                    change, expected = np.sign(change), np.sign(expected)
                factor = change / expected
                np.testing.assert_allclose(factor, factor[0], rtol=1e-4, err_msg=rival.name)
                assert 0.01 < factor[0] < 100, (rival.name, rule.name, factor[0])


def test_numpy_has_a_formula_for_every_rule():
    assert STEPS.keys() == fastopt.RULES.keys()


@pytest.mark.parametrize(
    ("model", "tensors", "elements"),
    [("mlp", 6, 3466), ("resnet50", 161, 25_557_032), ("gpt2", 148, 124_439_808)],
)
def test_models_have_the_published_sizes(model, tensors, elements):
    shapes = MODELS[model]()
    assert len(shapes) == tensors
    assert sum(map(math.prod, shapes)) == elements


def test_the_slower_of_two_has_the_greater_time():
    cases = {
        "short": Case(lambda: sum(range(100))),
        "long": Case(lambda: sum(range(2000))),
        "restored": Case(lambda: sum(range(2000)), restore=lambda: sum(range(50_000))),
    }
    calls = {name: calls_per_sample(case) for name, case in cases.items()}
    taken = rounds_in_turn(lambda name: time_calls(cases[name], calls[name]), list(cases), 0.05)
    short, long, restored = (float(np.median(taken[name])) for name in cases)
    assert long / short > 5
    assert 0.3 < restored / long < 3  # restoring is not timed


def rounds(times, seconds=0.0, **options):
    taken = rounds_in_turn(times.__getitem__, list(times), seconds, **options)
    return {name: len(samples) for name, samples in taken.items()}


def test_who_is_far_behind_is_measured_in_the_first_rounds_only():
    times = {"best": 1.0, "close": 1.5, "far": 20.0}
    assert rounds(times, min_rounds=30) == {"best": 30, "close": 30, "far": FIRST_ROUNDS}
    assert rounds(times, min_rounds=9, first_rounds=2) == {"best": 9, "close": 9, "far": 2}


def test_rounds_go_on_until_it_is_decided_or_time_is_up():
    times = {"a": 1.0, "b": 1.0}
    assert rounds(times, 60.0, decided=lambda s: len(s["a"]) == 17) == {"a": 17, "b": 17}
    assert rounds(times, 60.0, max_rounds=21) == {"a": 21, "b": 21}
    assert rounds(times, 0.0) == {"a": measuring.MIN_ROUNDS, "b": measuring.MIN_ROUNDS}


def row(own, rival, **others):
    samples = {"fastopt": own, "torch fused": rival, **others}
    return Row("steps", "100", "adam", "float32", 1, 100, samples)


WON = row([1.0, 1.1, 1.2], [3.0, 3.1, 3.2])
LOST = row([2.0, 4.0, 2.0], [1.0, 2.0, 1.0])
# The rival's median is far above ours, but half of its rounds are below.
SCATTERED = row([60.0] * 15, [43.0] * 7 + [90.0] * 8)


@pytest.mark.parametrize(
    ("measured", "verdict", "text"),
    [(WON, "faster", "2.82x"), (LOST, "slower", "**0.50x slower**")],
)
def test_a_clear_row_says_who_is_faster(measured, verdict, text):
    assert measured.verdict == verdict
    assert tables.best(measured) == ["torch fused", text]


def test_a_row_whose_rounds_scatter_is_no_win():
    assert SCATTERED.ratio("torch fused") == 1.5
    assert SCATTERED.verdict == "undecided"
    assert tables.best(SCATTERED) == ["torch fused", "1.50x?"]


def test_a_ratio_that_prints_as_one_is_no_win():
    assert row([1000.0] * 15, [1001.0] * 15).verdict == "undecided"


def test_a_second_rival_that_may_be_faster_is_no_win_either():
    both = row([60.0] * 15, [62.0] * 15, numpy=[43.0] * 7 + [90.0] * 8)
    assert both.best == "torch fused"
    assert both.verdict == "undecided"


def test_printed_times_divide_to_the_printed_ratio():
    rng = np.random.default_rng(1)
    for _ in range(100):
        ours, theirs = 10 ** rng.uniform(-7, -1, 2)
        measured = row([ours] * 3, [theirs] * 3)
        printed = [measured.time(name) for name in measured.samples]
        for name, seconds in zip(measured.samples, printed, strict=True):
            digits, unit = tables.time(measured.time(name)).split()
            scale = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}[unit]
            assert float(digits) * scale == pytest.approx(seconds, rel=1e-12)
        assert measured.ratio("torch fused") == printed[1] / printed[0]


def test_losses_undecided_rows_and_missed_targets_are_listed():
    text = tables.not_won([WON, LOST, SCATTERED])
    assert (
        "Of all 3 rows fastopt is faster than every rival in 1, slower than the fastest in 1"
        in text
    )
    assert "| **0.50x slower** |" in text
    assert "| 1.50x? |" in text
    assert "2.82x" not in text
    assert "**no**" in tables.targets_table([LOST])
    of_all = next(target for target in TARGETS if target.against == "the best of all rivals")
    assert of_all.worst([WON, LOST])[2] is LOST


def test_rows_where_an_unfused_rival_is_near_are_listed():
    near = row([1.0, 1.1, 1.2], [9.0, 9.1, 9.2], numpy=[2.9, 3.0, 3.1])
    far = row([1.0, 1.1, 1.2], [2.0, 2.1, 2.2], numpy=[9.0, 9.1, 9.2])
    text = tables.unfused([near, far])
    assert text.startswith("In 1 of 2 rows fastopt is at least 3 times as fast")
    assert text.count("2.73x") == 1
    assert "8.27x" not in text


def test_time_of_a_call_that_takes_many_steps_is_that_of_a_step():
    one = Case(lambda: sum(range(2000)))
    many = Case(lambda: [sum(range(2000)) for _ in range(50)], steps=50)
    each, of_many = (time_calls(case, calls) for case, calls in ((one, 200), (many, 4)))
    assert 0.3 < each / of_many < 3


def test_everyone_steps_the_same_rows_of_a_table(monkeypatch):
    kept = []
    make = sparse_rivals.empty_table
    monkeypatch.setattr(sparse_rivals, "empty_table", lambda *s: kept.append(make(*s)) or kept[-1])
    for problem in problems.rows(problems.Selection(sizes=[300]), threads=1):
        kept.clear()
        for name in problem.rivals:
            if RIVALS[name].installed():
                RIVALS[name].load(1)
                rule, tensors = fastopt.RULES[problem.rule], problem.tensors()
                case = RIVALS[name].make(rule, tensors, **problem.options)
                case.restore()
                case.step()
        assert kept[0].all()
        for table in kept:
            np.testing.assert_allclose(table, kept[0], rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("storage", narrow.STORAGES.values(), ids=lambda storage: storage.name)
def test_bytes_that_a_storage_holds_are_those_of_its_arrays(storage):
    tensors = make_tensors(fastopt.RULES["adam"], [(6400,)], "float32")
    param, grad, optimizer = narrow.stored("Adam", tensors, storage)
    states = [state for state in optimizer.state[0].values() if getattr(state, "ndim", 0)]
    assert sum(array.nbytes for array in (*param, *grad, *states)) == 6400 * storage.held


NARROW_PAIRS = [
    names
    for names in (problems.NARROW_TORCH, problems.NARROW_DEEPSPEED)
    if all(RIVALS[name].installed() for name in names)
]


@pytest.mark.parametrize("names", NARROW_PAIRS, ids=lambda names: names[1])
def test_both_steps_of_bfloat16_move_the_same_parameters(names):
    rule, moved = fastopt.RULES["adam"], []
    for name in names:
        RIVALS[name].load(1)
        params = narrow.in_torch(make_tensors(rule, [(1024,)], "float32"))
        for param in params:
            param.zero_()
        optimizer = RIVALS[name].optimizer(rule, params)
        for _ in range(3):
            optimizer.step()
        moved.append(params[0].float().numpy())
    assert moved[0].all()
    np.testing.assert_allclose(*moved, rtol=0.02)


def test_rows_come_back_from_their_file_to_four_digits(tmp_path):
    path = tmp_path / "rows.jsonl"
    Results(path).append(row([1.23456e-7] * 2, [0.391e0, 2e-3]))
    again = Results(path)
    assert again.keys == {("steps", "100", "adam", "float32", 1)}
    (kept,) = results.load(path)[1]
    assert kept.samples["fastopt"] == pytest.approx([1.235e-7] * 2, rel=1e-12)
    assert kept.samples["torch fused"] == pytest.approx([0.391, 2e-3], rel=1e-12)


def test_results_of_another_machine_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    Results(path)
    here = results.environment()
    monkeypatch.setattr(results, "environment", lambda: {**here, "cpu": "another"})
    with pytest.raises(ValueError, match="give another --results"):
        Results(path)


def test_every_suite_runs_and_is_reported(tmp_path, pytestconfig):
    every_rule = problems.Selection(sizes=[100], models=["mlp"])
    path = tmp_path / "latest.jsonl"
    kept = Results(path)
    threads = pytestconfig.getoption("--threads")
    with Workers() as workers:
        for name, suite in problems.SUITES.items():
            if name == "calls":  # compiles for long; `make` compares its loops with Python's calls
                continue
            # Which rivals there are depends on the rule in these two alone.
            one = name not in ("steps", "drop_in")
            selection = replace(every_rule, rules=["adam"]) if one else every_rule
            for problem in suite(selection, threads):
                if measuring.participants(problem, None):
                    kept.append(measure(problem, workers, seconds=0, min_rounds=3))
    environment, rows = results.load(path)
    assert {row.key for row in rows} == kept.keys
    assert all(min(samples) > 0 for row in rows for samples in row.samples.values())
    whole = tables.whole(environment, rows)
    for rule in fastopt.RULES:
        assert f"| {rule} |" in whole
    assert "busy" in whole.lower()
    of_rules = tables.printed(environment, rows)
    assert "| adam |" in of_rules.partition("### One array")[2]
    assert "row-wise adagrad: 4,096 of 100 rows of 64 |" in of_rules
    assert "MLP" in tables.short(environment, rows)
    of_formats = tables.every_storage(environment, rows)
    assert "mlp, as torch fused, bfloat16 |" in of_formats
    for storage in narrow.STORAGES.values():
        line = f"| {storage.buffers} | {storage.states} |"
        assert line in of_formats or storage.name == narrow.ALL_FLOAT32
        assert tables.memory(environment, rows).count(line) == 1
    plot_steps(rows, tmp_path / "steps.png")
    assert (tmp_path / "steps.png").read_bytes().startswith(b"\x89PNG")


def test_rivals_with_several_threads_step_in_processes_of_their_own():
    problem = next(problems.overhead(problems.Selection(), threads=2))
    with Workers() as workers:
        measure(problem, workers, seconds=0, min_rounds=1)
        assert ("fastopt", 2) in workers
        assert {pool for pool, _ in workers} == {rival.pool for rival in INSTALLED}


def test_networks_trained_at_once_and_one_by_one_are_those_trained_alone(monkeypatch):
    rule = fastopt.RULES["adam"]
    tensors = make_tensors(rule, perceptrons(3, hidden=4), "float32")
    alone, apart = rows_of(tensors), rows_of(tensors)
    monkeypatch.setattr(populations, "rows_of", lambda tensors: apart)
    cases = [RIVALS[name].make(rule, tensors, batch=8) for name in (APART, TOGETHER)]
    for (params, _), rate in zip(alone, rates_of(3).tolist(), strict=True):
        training = Training(params, fastopt.Adam(params, lr=rate), batch=8)
        for _ in range(5):
            training()
    for case in cases:
        for _ in range(5):
            case.step()
    for row, (expected, _) in enumerate(alone):
        for tensor, param, one in zip(tensors, expected, apart[row][0], strict=True):
            assert np.array_equal(tensor.param[row], param)
            assert np.array_equal(one, param)


def trainings():
    """Two seeds of each: in torch's bfloat16 the loss is higher, else what it is in float32."""
    for seed, first in enumerate((3.0, 3.2)):
        for task in quality.TASKS:
            for storage in (*narrow.STORAGES, quality.TORCH):
                last = first / 2 + (storage == quality.TORCH)
                yield quality.Training(task, storage, seed, last, last + 0.5, [first, last])


def test_a_storage_outside_the_range_of_float32_is_bold(tmp_path):
    measured = list(trainings())
    *others, of_torch = quality_report.quality_table(measured).splitlines()[2:]
    assert len(others) == len(narrow.STORAGES)
    assert not any("**" in line for line in others)
    assert of_torch.count("**2.5500 (2.5000 to 2.6000)**") == 2
    quality_report.plot_losses(measured, tmp_path / "losses.png")
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("storage", [narrow.ALL_FLOAT32, quality.TORCH])
def test_a_training_learns_from_what_is_stored(storage, monkeypatch):
    monkeypatch.setattr(quality, "EPOCHS", 2)
    found = quality.digits(storage, seed=0)
    assert found.curve[1] < found.curve[0] < np.log(10)
    assert found.test < np.log(10)
