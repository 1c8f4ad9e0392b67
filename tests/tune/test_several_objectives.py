"""Studies with several objectives."""

import json
import warnings

import numpy as np
import pytest
from tune_objectives import STRATEGIES, trade

from fastopt import tune
from fastopt.tune.command_line.main import main
from fastopt.tune.fronts.boxes import hypervolume
from fastopt.tune.fronts.domination import non_dominated
from fastopt.tune.strategies.bayes.scalars import chebyshev
from fastopt.tune.watching.feed import Feed

PLANE = {"x": tune.Float(0.0, 1.0), "y": tune.Float(0.0, 1.0)}
BOTH = ["minimize", "maximize"]


def places(trials):
    return np.array([trial.objectives for trial in trials]) * [1.0, -1.0]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_the_front_holds_all_that_no_other_dominates_whatever_the_strategy(strategy):
    study = tune.Study(PLANE, strategy=strategy, directions=BOTH)
    study.run(trade, n_trials=14)
    trials = study.trials
    assert all(t.state == "done" and t.value is None and t.feasible for t in trials)
    expected = {t.number for t, kept in zip(trials, non_dominated(places(trials))) if kept}  # noqa: B905
    assert {trial.number for trial in study.front} == expected
    firsts = [trial.objectives[0] for trial in study.front]
    assert firsts == sorted(firsts)


@pytest.mark.parametrize("strategy", ["tpe", "bayes"])
def test_learning_strategies_dominate_more_than_random_ones(strategy):
    volumes = []
    for name in (strategy, "random"):
        study = tune.Study(PLANE, strategy=name, directions=BOTH)
        study.run(trade, n_trials=35)
        volumes.append(study.hypervolume([1.0, 0.0]))
    assert volumes[0] > 1.15 * volumes[1]


def test_tpe_compares_huge_objectives_as_others():
    asked = []
    for factor in (1.0, 2.0**1020):
        study = tune.Study(PLANE, strategy="tpe", directions=BOTH)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(30):
                trial = study.ask()
                x, y = trial.params["x"], trial.params["y"]
                study.tell(trial, (factor * (x + y), factor * (x - x * y)))
        asked.append([trial.params for trial in study.trials])
    assert asked[0] == asked[1]


def test_bayes_combines_huge_objectives_as_others():
    values = np.array([[1.9, -1.9, 0.0, 1.0], [-1.9, 1.9, 1.0, 0.5], [0.5, 1.0, 1.5, 1.0]])
    weights = np.array([0.4, 0.3, 0.2, 0.1])
    assert (chebyshev(2.0**1023 * values, weights) == chebyshev(values, weights)).all()


@pytest.mark.parametrize("strategy", ["bayes", "tpe"])
@pytest.mark.parametrize("m", [3, 4])
def test_three_and_more_objectives_have_a_front_and_a_hypervolume(strategy, m):
    study = tune.Study(PLANE, strategy=strategy, directions=["minimize"] * m)

    def corners(params):
        x, y = params["x"], params["y"]
        return [x + y, 1 - x + y, abs(x - y), 1 - y][:m]

    study.run(corners, n_trials=13)
    found = np.array([trial.objectives for trial in study.trials])
    assert found.shape == (13, m)
    front = np.flatnonzero(non_dominated(found)).tolist()
    assert sorted(trial.number for trial in study.front) == front
    assert study.hypervolume([2.0] * m) == pytest.approx(hypervolume(found, np.full(m, 2.0)))
    alone = max(np.prod(2.0 - place) for place in found)
    assert alone < study.hypervolume([2.0] * m) < 2.0**m


def test_infeasible_trials_are_not_on_the_front():
    study = tune.Study(PLANE, strategy="bayes", directions=BOTH)
    study.run(lambda p: tune.Result(trade(p), [p["x"] - 0.5]), n_trials=15)
    assert study.front
    assert all(trial.params["x"] <= 0.5 for trial in study.front)


@pytest.mark.parametrize("strategy", ["bayes", "tpe"])
def test_a_resumed_study_goes_on_as_the_uninterrupted_one(tmp_path, strategy):
    options = {"strategy": strategy, "directions": BOTH, "seed": 5}
    whole = tune.Study(PLANE, **options)
    whole.run(trade, n_trials=16)
    path = tmp_path / "study.db"
    for _ in range(2):
        with tune.Study(PLANE, storage=path, **options) as part:
            part.run(trade, n_trials=8)
    with tune.open(path) as opened:
        assert opened.directions == tuple(BOTH)
        assert [t.objectives for t in opened.trials] == [t.objectives for t in whole.trials]
        assert [t.number for t in opened.front] == [t.number for t in whole.front]
    with pytest.raises(ValueError, match="direction: "):
        tune.Study(PLANE, storage=path, strategy=strategy, seed=5)


def test_pending_trials_are_not_suggested_again():
    study = tune.Study(PLANE, strategy="bayes", directions=BOTH)
    study.run(trade, n_trials=8)
    asked = [study.ask().params for _ in range(3)]
    assert len({params["x"] for params in asked}) == 3


def test_failed_trials_are_learned_from():
    study = tune.Study(PLANE, strategy="bayes", directions=BOTH)

    def fails(params):
        if params["x"] > 0.5:
            raise ValueError("too large")
        return trade(params)

    with pytest.warns(RuntimeWarning, match="too large"):
        study.run(fails, n_trials=24, max_failures=None)
    late = study.trials[12:]
    assert sum(trial.state == "failed" for trial in late) < len(late) / 2


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1.0, "the value is 1.0, needs 2 numbers, one for each of the study's directions"),
        ([1.0], "needs 2 numbers"),
        ([1.0, float("nan")], "of which number 1 is nan, needs a finite number"),
        ([1.0, "b"], "number 1 is 'b' of type str"),
        ("ab", "needs 2 numbers"),
    ],
)
def test_what_is_not_as_many_numbers_makes_a_failure(value, words):
    study = tune.Study(PLANE, strategy="sobol", directions=BOTH)
    trial = study.ask()
    study.tell(trial, value)
    assert trial.state == "failed"
    assert words in trial.error


@pytest.mark.parametrize("value", [(1, 2), [1.0, 2.0], np.array([1.0, 2.0])])
def test_any_sequence_of_numbers_will_do(value):
    study = tune.Study(PLANE, strategy="sobol", directions=BOTH)
    trial = study.ask()
    study.tell(trial, value)
    assert trial.objectives == [1.0, 2.0]


def test_several_numbers_need_several_directions():
    study = tune.Study(PLANE, strategy="sobol")
    trial = study.ask()
    study.tell(trial, (1.0, 2.0))
    assert "for several objectives the study needs directions=" in trial.error
    one = tune.Study(PLANE, strategy="sobol", directions=["minimize"])
    one.tell(one.ask(), (1.0,))
    assert one.trials[0].error.endswith("(1.0,) of type tuple, needs a real number")


def test_the_arguments_exclude_each_other():
    with pytest.raises(TypeError, match="give one of them"):
        tune.Study(PLANE, direction="minimize", directions=BOTH)
    with pytest.raises(TypeError, match="use directions="):
        tune.Study(PLANE, direction=BOTH)
    for wrong in ("minimize", [], 3):
        with pytest.raises(TypeError, match="directions must be a list"):
            tune.Study(PLANE, directions=wrong)
    with pytest.raises(ValueError, match="did you mean 'maximize'"):
        tune.Study(PLANE, directions=["minimize", "maximise"])


def test_what_belongs_to_one_objective_is_refused_with_the_remedy():
    study = tune.Study(PLANE, strategy="sobol", directions=BOTH)
    study.run(trade, n_trials=4)
    with pytest.raises(ValueError, match=r"study\.front"):
        _ = study.best
    with pytest.raises(ValueError, match=r"study\.directions"):
        _ = study.direction
    with pytest.raises(TypeError, match="scheduler="):
        study.run(trade, n_trials=1, scheduler=tune.Median())
    with pytest.raises(TypeError, match="batch="):
        study.run(trade, n_trials=1, batch=2)

    def generator(params):
        yield 1.0

    with pytest.raises(TypeError, match="without yield"):
        study.run(generator, n_trials=1)
    study.run(lambda params: generator(params), n_trials=1)
    assert "without yield" in study.trials[-1].error
    spent = tune.Study(PLANE, strategy=tune.Bayes(min_improvement=0.1), directions=BOTH)
    with pytest.raises(ValueError, match="min_improvement"):
        spent.ask()
    one = tune.Study(PLANE, strategy="sobol")
    with pytest.raises(ValueError, match=r"study\.best"):
        _ = one.front


def test_the_hypervolume_counts_what_the_front_dominates_of_the_box():
    study = tune.Study({"x": tune.Int(0, 3)}, strategy="grid", directions=BOTH)
    assert study.hypervolume([9, -9]) == 0.0
    study.run(lambda params: (params["x"], 2 * params["x"]))
    # Below 4 and above 1: the strips of heights 1, 3 and 5 of the last three trials.
    assert study.hypervolume([4, 1]) == 1.0 + 3.0 + 5.0
    with pytest.raises(ValueError, match="reference must be 2 numbers"):
        study.hypervolume([1.0])
    with pytest.raises(ValueError, match="reference must be 2 numbers"):
        study.hypervolume(1.0)


def test_the_front_follows_corrections_and_deletions():
    study = tune.Study({"x": tune.Int(0, 3)}, strategy="grid", directions=BOTH)
    study.run(lambda params: (params["x"], params["x"]))
    study.correct(0, (5.0, 0.0))
    assert [trial.number for trial in study.front] == [1, 2, 3]
    study.delete(2)
    assert [trial.number for trial in study.front] == [1, 3]


def test_workers_bring_several_values_back():
    study = tune.Study(PLANE, strategy="sobol", directions=BOTH)
    study.run(trade, n_trials=4, n_jobs=2)
    assert all(tuple(trial.objectives) == trade(trial.params) for trial in study.trials)


def test_the_command_line_shows_writes_and_reads_the_front(tmp_path, capsys):
    path = str(tmp_path / "study.db")
    with tune.Study(PLANE, strategy="sobol", directions=BOTH, storage=path) as study:
        study.run(trade, n_trials=8)
        front, trials = study.front, study.trials
    assert main(["best", path, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [record["objectives"] for record in shown] == [t.objectives for t in front]
    assert main(["show", path]) == 0
    assert "minimize, maximize with Sobol()" in capsys.readouterr().out
    assert main(["studies", path]) == 0
    assert f"{len(front)} on the front" in capsys.readouterr().out
    for kind in ("json", "csv"):
        assert main(["export", path, f"--{kind}", str(tmp_path / kind)]) == 0
    again = str(tmp_path / "again.db")
    assert main(["import", again, "--json", str(tmp_path / "json")]) == 0
    assert main(["import", again, "--csv", str(tmp_path / "csv")]) == 0
    with tune.open(again) as study:
        assert [t.objectives for t in study.trials] == 2 * [t.objectives for t in trials]


def test_the_page_that_watches_gets_every_objective_and_what_is_infeasible():
    study = tune.Study(PLANE, strategy="sobol", directions=BOTH)
    study.run(lambda p: tune.Result(trade(p), [p["x"] - 0.5]), n_trials=4)
    feed = Feed(study)
    assert "minimize, maximize" in feed.about()["about"]
    found = feed.since(0)
    for record, trial in zip(found["trials"], study.trials, strict=True):
        assert record["value"] == trial.objectives[0]
        assert {"objective_1", "constraint_0"} <= record["notes"].keys()
        assert record["state"] == ("done" if trial.feasible else "infeasible")
    study.correct(0, (1.0, 1.0))
    assert [record["number"] for record in feed.since(found["token"])["trials"]] == [0]


def test_importance_is_that_of_the_objective_that_is_named():
    study = tune.Study(PLANE, strategy="sobol", directions=BOTH)
    study.run(lambda p: (p["x"], p["y"]), n_trials=32)
    for objective, name in enumerate(["x", "y"]):
        assert study.importance(objective)[name] > 0.8
        low, high = study.importance_intervals(objective)[name]
        assert low <= study.importance(objective)[name] <= high
    for wrong in (None, 2, -1):
        with pytest.raises(ValueError, match="objective"):
            study.importance(wrong)
        with pytest.raises(ValueError, match="objective"):
            study.importance_intervals(wrong)
    with pytest.raises(TypeError, match="objective must be an integer, got False"):
        study.importance(False)


@pytest.mark.needs("pandas")
def test_the_table_has_a_column_for_each_objective_and_constraint():
    study = tune.Study(PLANE, strategy="sobol", directions=BOTH)
    study.run(lambda p: tune.Result(trade(p), [p["x"] - 0.5]), n_trials=4)
    frame = study.to_pandas()
    assert frame["objective_1"].tolist() == [trial.objectives[1] for trial in study.trials]
    assert frame["constraint_0"].tolist() == [trial.constraints[0] for trial in study.trials]
    assert frame["feasible"].tolist() == [trial.feasible for trial in study.trials]


@pytest.mark.needs("matplotlib")
@pytest.mark.parametrize("m", [2, 3])
def test_front_and_report_show_the_non_dominated_trials(tmp_path, m):
    study = tune.Study(PLANE, strategy="sobol", directions=["minimize", "maximize", "minimize"][:m])
    study.run(lambda p: tune.Result((*trade(p), p["y"])[:m], [p["x"] - 0.7]), n_trials=12)
    panels = [axes for axes in study.plot.front().axes if axes.get_visible()]
    assert len(panels) == m * (m - 1) // 2
    (front,) = [c for c in panels[0].collections if c.get_label() == "front"]
    expected = [trial.objectives[:2] for trial in study.front]
    assert sorted(front.get_offsets().tolist()) == sorted(expected)
    study.report(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert f"the {len(study.front)} of the front first" in page
    with pytest.raises(ValueError, match=r"study\.plot\.front"):
        study.plot.history()
