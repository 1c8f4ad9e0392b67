"""What the comparison rests on: everyone does the same work, and the tables say what was seen."""

import math

import numpy as np
import pytest

import fastopt

from . import results, tables
from .alternate import alternate, ratio
from .conftest import CEILING, INSTALLED
from .contenders import Case
from .numpy_steps import STEPS
from .plot import plot_steps
from .suites import SUITES, Row, Selection
from .targets import TARGETS, best_ratio
from .workload import MODELS, make_tensors


def change_by(contender, rule, dtype):
    """What one step from zero parameters and zero states makes of the parameters."""
    # Whole vectors: past the last one DeepSpeed's Adagrad overwrites its gradients.
    tensors = make_tensors(rule, [(1024,)], dtype)
    ((param, _, states),) = tensors
    param.fill(0)
    case = contender.make(rule, tensors)
    param.fill(0)  # some contenders step once while they are made
    for state in states:
        state.fill(0)
    returned = case.step()
    return np.array(returned[0]) if contender.name == "optax" else param


def test_every_contender_takes_the_step_of_the_rule():
    """All changes are multiples of NumPy's: the factor is bias correction at another `step`."""
    numpy_contender = next(c for c in INSTALLED if c.name == "numpy")
    for rule in fastopt.RULES.values():
        for dtype in ("float32", "float64"):
            expected = change_by(numpy_contender, rule, dtype)
            assert np.all(expected != 0)
            for contender in INSTALLED:
                # Thinc starts from moments of 1, see there; the ceiling must change nothing.
                if contender.name == "thinc" or not contender.supports(rule, dtype, 1):
                    continue
                change = change_by(contender, rule, dtype)
                if contender is CEILING:
                    assert not change.any()
                    continue
                factor = change / expected
                np.testing.assert_allclose(factor, factor[0], rtol=1e-4, err_msg=contender.name)
                assert 0.01 < factor[0] < 100, (contender.name, rule.name, factor[0])


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


def test_slower_contender_has_the_greater_ratio():
    cases = {
        "short": Case(lambda: sum(range(100))),
        "long": Case(lambda: sum(range(2000))),
        "restored": Case(lambda: sum(range(2000)), restore=lambda: sum(range(50_000))),
    }
    samples = alternate(cases, seconds=0.05)
    assert ratio(samples["long"], samples["short"]) > 5
    assert 0.3 < ratio(samples["restored"], samples["long"]) < 3  # restoring is not timed


def test_who_is_far_behind_sits_out():
    works = {"best": 1000, "close": 1500, "far": 20_000}
    cases = {name: Case(lambda n=n: sum(range(n))) for name, n in works.items()}
    rounds = {name: len(taken) for name, taken in alternate(cases, 0.0, 30, 4).items()}
    assert rounds == {"best": 30, "close": 30, "far": 4}


def test_ratio_is_over_the_rounds_that_both_took_part_in():
    assert ratio([6.0, 6.0, 6.0], [1.0, 2.0, 2.0, 100.0, 100.0]) == 3


def row(**samples):
    return Row("steps", "100", "adam", "float32", 1, 100, samples)


def test_losses_and_missed_targets_are_shown():
    lost = row(fastopt=[2.0, 4.0], **{"torch fused": [1.0, 2.0], "numpy": [9.0, 9.0]})
    assert best_ratio(lost, ["numpy", "torch fused"]) == (0.5, "torch fused")
    assert "0.50x loses" in tables.steps_table([lost])
    assert "slower than the best rival in 1 of 1 rows" in tables.losses([lost])
    assert "**no**" in tables.targets_table([lost])
    won = row(fastopt=[1.0], numpy=[3.0])
    assert "loses" not in tables.steps_table([won])
    assert TARGETS[6].worst([won, lost])[2] is lost


def test_every_suite_runs_and_is_reported(tmp_path, pytestconfig):
    selection = Selection(
        threads=pytestconfig.getoption("--threads"), sizes=[100], works=["mlp"], seconds=0
    )
    path = tmp_path / "latest.json"
    for suite in SUITES.values():
        rows = list(suite(selection))
        assert rows
        results.save(path, rows)
        results.save(path, rows)  # the same cells again: replaced, not doubled
    environment, kept = results.load(path)
    assert len({row.key for row in kept}) == len(kept)
    assert all(min(samples) > 0 for row in kept for samples in row.samples.values())
    whole, short = tables.whole(environment, kept), tables.short(environment, kept)
    for rule in fastopt.RULES:
        assert f"| {rule} |" in whole
    assert "busy" in whole.lower()
    assert "fastopt" in short
    plot_steps(kept, tmp_path / "steps.png")
    assert (tmp_path / "steps.png").read_bytes().startswith(b"\x89PNG")
