"""Population-based training: rows of a batch go on from others, and the study remembers it."""

import numpy as np
import pytest
from tune_objectives import Training

from fastopt import tune

SPACE = {
    "lr": tune.Float(1e-3, 1.0, log=True),
    "n": tune.Int(1, 64, log=True),
    "rule": tune.Categorical(["a", "b"]),
    "beta": tune.Float(0.0, 1.0, when={"rule": "b"}),
}
SCHEDULER = tune.PopulationBased(["lr", "n", "beta"], every=3, after=2)


def run(objective, scheduler=SCHEDULER, batch=8, n_trials=8, **options):
    study = tune.Study(SPACE, strategy="random", **options)
    study.run(objective, n_trials, batch=batch, scheduler=scheduler, max_failures=None)
    return study


def fates(study):
    return [(t.number, t.state, t.value, t.values, t.params, t.lineage) for t in study.trials]


def test_the_worst_rows_go_on_from_the_best_with_changed_params():
    objective = Training()
    study = run(objective)
    assert {epoch for trial in study.trials for epoch in [c["epoch"] for c in trial.lineage]} == {
        3, 6, 9,
    }  # fmt: skip
    for epoch, _, rows in objective.seen:
        worst_first = sorted(study.trials, key=lambda t: (-t.values[epoch - 1], t.number))
        changed = {
            t.number: c["source"] for t in study.trials for c in t.lineage if c["epoch"] == epoch
        }
        assert set(changed) == ({t.number for t in worst_first[:2]} if epoch % 3 == 0 else set())
        assert set(changed.values()) <= {t.number for t in worst_first[-2:]}
        assert rows.tolist() == [changed.get(number, number) for number in range(8)]
        assert rows.kept.tolist() == list(range(8))
        assert rows.target.tolist() == sorted(changed)
        assert rows.source.tolist() == [changed[number] for number in sorted(changed)]


def test_the_params_that_hold_reach_the_objective_and_the_lineage():
    objective = Training()
    study = run(objective)
    assert objective.seen
    assert any(trial.lineage for trial in study.trials)
    for epoch, _, rows in objective.seen:
        for trial in study.trials:
            now = trial.params
            for change in trial.lineage:
                if change["epoch"] <= epoch:
                    now = change["params"]
            assert study.space.check(now) == now
            for name, column in rows.params.items():
                value = column[trial.number]
                assert value == now[name] if name in now else np.isnan(value)


def test_numbers_change_by_a_factor_and_stay_within_the_space():
    scheduler = tune.PopulationBased(["lr", "n"], every=1, resample=0.0)
    study = run(Training(), scheduler)
    params = {trial.number: trial.params for trial in study.trials}
    assert any(trial.lineage for trial in study.trials)
    for epoch in range(1, 10):
        before = dict(params)
        for trial in study.trials:
            for change in trial.lineage:
                if change["epoch"] == epoch:
                    old, new = before[change["source"]], change["params"]
                    params[trial.number] = new
                    assert new["lr"] in [min(old["lr"] * f, 1.0) for f in (0.8, 1.2)]
                    assert new["n"] in [min(max(round(old["n"] * f), 1), 64) for f in (0.8, 1.2)]
                    assert {n: v for n, v in new.items() if n not in ("lr", "n")} == {
                        n: v for n, v in old.items() if n not in ("lr", "n")
                    }


def test_choices_are_drawn_anew_and_a_constraint_is_kept():
    space = {"lr": tune.Float(0.1, 1.0), "kind": tune.Categorical(["a", "b", "c"])}
    study = tune.Study(
        space,
        strategy="random",
        constraint=lambda params: params["lr"] < 0.6 or params["kind"] == "a",
    )
    scheduler = tune.PopulationBased(["lr", "kind"], every=1, quantile=0.5, resample=1.0)
    study.run(Training(), 8, batch=8, scheduler=scheduler)
    drawn = [change["params"] for trial in study.trials for change in trial.lineage]
    assert {params["kind"] for params in drawn} == {"a", "b", "c"}
    assert all(params["lr"] < 0.6 or params["kind"] == "a" for params in drawn)


def test_a_row_that_diverges_leaves_and_the_others_are_exchanged():
    objective = Training(fails=(1, 2))
    study = run(objective)
    states = [trial.state for trial in study.trials]
    assert 0 < states.count("failed") < 8
    exchanges = [len(rows) for _, _, rows in objective.seen if len(rows.target)]
    assert min(exchanges) < max(exchanges) == 8  # there are some before a row leaves and after
    for _, began, rows in objective.seen:
        assert len(rows) <= len(began)
        assert rows.kept.tolist() == sorted(set(rows.kept.tolist()))
        expected = rows.kept.copy()
        expected[rows.target] = rows.kept[rows.source]
        assert rows.tolist() == expected.tolist()


@pytest.mark.parametrize("n", [4, 25, 30, 60])
def test_interrupted_and_resumed_it_is_the_same(tmp_path, n):
    class Interrupt:
        left = n

        def on_report(self, study, trial, step, value):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    path = tmp_path / "study.db"
    whole = run(Training())
    broken_off = tune.Study(SPACE, strategy="random", storage=path)
    with broken_off, pytest.raises(KeyboardInterrupt):
        broken_off.run(Training(), 8, batch=8, scheduler=SCHEDULER, callbacks=[Interrupt()])
    with tune.Study(SPACE, strategy="random", storage=path) as study:
        study.run(Training(), 8, batch=8, scheduler=SCHEDULER)
        assert fates(study) == fates(whole)


def test_changed_params_are_points_of_the_space_to_which_the_study_is_extended(tmp_path):
    path = tmp_path / "study.db"
    with run(Training(), storage=path) as study:
        before = [trial.lineage for trial in study.trials]
    wider = {**SPACE, "layers": tune.Int(1, 4, initial=2)}
    with tune.Study(wider, strategy="random", storage=path, resume="extend") as study:
        after = [trial.lineage for trial in study.trials]
    assert any(before)
    assert after == [
        [{**change, "params": {**change["params"], "layers": 2}} for change in lineage]
        for lineage in before
    ]


def test_workers_do_the_same():
    here, there = run(Training()), tune.Study(SPACE, strategy="random")
    there.run(Training(), 8, batch=8, n_jobs=2, scheduler=SCHEDULER)
    assert fates(there) == fates(here)


def test_maximizing_is_minimizing_the_negative():
    def negative(params):
        steps = Training()(params)
        rows = None
        while True:
            try:
                rows = yield -(next(steps) if rows is None else steps.send(rows))
            except StopIteration:
                return

    study = run(negative, direction="maximize")
    assert [t.lineage for t in study.trials] == [t.lineage for t in run(Training()).trials]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: tune.PopulationBased("lr", every=1), TypeError, "names must be a list"),
        (lambda: tune.PopulationBased([], every=1), ValueError, "names must name"),
        (lambda: tune.PopulationBased(["lr"], every=0), ValueError, "every"),
        (lambda: tune.PopulationBased(["lr"], every=1, quantile=0.6), ValueError, "quantile"),
        (lambda: tune.PopulationBased(["lr"], every=1, factors=(0,)), ValueError, "factors"),
        (lambda: tune.PopulationBased(["lr"], every=1, factors=()), ValueError, "factors"),
        (lambda: run(Training(), tune.PopulationBased(["x"], every=1)), ValueError, "'x'"),
        (lambda: run(Training(), tune.PopulationBased(["rule"], every=1)), ValueError, "'rule'"),
        (lambda: run(Training(), batch=None), TypeError, "needs batch="),
    ],
)
def test_what_cannot_be_is_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_options_are_plain_values():
    scheduler = tune.PopulationBased(["lr"], np.int64(2), quantile=np.float32(0.25))
    assert eval(repr(scheduler), vars(tune)) == scheduler
