"""What a generator objective yields is in the file long before its trial ends."""

import signal
import time

import pytest
import tune_objectives
from processes import assert_session_ends, start_script
from tune_objectives import SMALL

from fastopt import tune
from fastopt.tune.ledger import reports


def open_study(path):
    return tune.Study(SMALL, strategy="grid", storage=path)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_kill_leaves_what_was_yielded_and_the_trial_starts_anew(n_jobs, tmp_path):
    path = tmp_path / "study.db"
    study = open_study(path)
    process = start_script(
        tune_objectives.__file__,
        "run_until_killed",
        path,
        n_jobs,
        stdout=None,
        start_new_session=True,
    )
    while len(study.trials) < n_jobs or min(len(trial.values) for trial in study.trials) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert_session_ends(process)
    study.close()
    study = open_study(path)
    assert [trial.state for trial in study.trials] == ["running"] * n_jobs
    for trial in study.trials:
        assert len(trial.values) >= 3
        assert trial.values == [1.0 / (1 + epoch) for epoch in range(len(trial.values))]
    again = study.ask()
    assert (again.number, again.values) == (0, [])
    assert open_study(path).trials[0].values == []


def test_ctrl_c_leaves_all_that_was_yielded(tmp_path):
    def objective(params):
        yield from [3.0, 2.0, 1.0]
        raise KeyboardInterrupt

    study = open_study(tmp_path / "study.db")
    with pytest.raises(KeyboardInterrupt):
        study.run(objective)
    assert open_study(tmp_path / "study.db").trials[0].values == [3.0, 2.0, 1.0]


def test_quick_epochs_cost_few_writes(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr(reports.time, "monotonic", lambda: now)
    study = open_study(tmp_path / "study.db")
    seen = []

    class Listen:
        def on_report(self, study, trial, step, value):
            nonlocal now
            seen.append(len(other.trials[0].values))
            now += 1.0 if step == 3 else 0.0

    other = open_study(tmp_path / "study.db")
    write = study._ledger.storage.transact

    def transact(*arguments, **options):
        nonlocal now
        now += 0.01
        return write(*arguments, **options)

    monkeypatch.setattr(study._ledger.storage, "transact", transact)
    study.run(lambda params: iter([1.0] * 9), 1, callbacks=[Listen()])
    # The first value is written at once. The fifth, a second later, is written with those before.
    assert seen == [1, 1, 1, 1, 5, 5, 5, 5, 5]
    assert other.trials[0].values == [1.0] * 9


def test_a_locked_file_does_not_hold_up_the_objective(tmp_path):
    study, other = (open_study(tmp_path / "study.db") for _ in range(2))
    trial = study.ask()

    def report_while_locked(connection):
        for value in (1.0, 2.0):
            study._ledger.reports._next_writing = 0.0
            study._ledger.reports.add({trial.number: value})

    other._ledger.storage.transact(report_while_locked)
    assert trial.values == [1.0, 2.0]
    assert other.trials[0].values == []
    study._ledger.reports._next_writing = 0.0
    study._ledger.reports.add({trial.number: 3.0})
    assert other.trials[0].values == [1.0, 2.0, 3.0]


def test_values_are_not_written_to_a_trial_that_another_study_has_taken(tmp_path):
    study, other = (open_study(tmp_path / "study.db") for _ in range(2))

    def objective(params):
        yield 1.0
        if taken:
            return
        other.requeue(0)
        taken.append(other.ask())
        study._ledger.reports._next_writing = 0.0
        yield 2.0
        seen.append((taken[0].values, other.trials[0].values))
        other.tell(taken[0], 5.0)

    taken, seen = [], []
    with pytest.warns(RuntimeWarning, match="trial 0 was queued again and has ended elsewhere"):
        study.run(objective, 1)
    assert seen == [([], [])]
    assert other.trials[0].values == []


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("generator", [False, True])
def test_a_trial_that_ends_elsewhere_does_not_end_a_run(tmp_path, generator, deleted):
    study, other = (open_study(tmp_path / "study.db") for _ in range(2))

    ended = []

    def end_elsewhere():
        if not ended:
            other.requeue(0)
            ended.append(other.ask())
            other.tell(0, 5.0)
            if deleted:
                other.delete(0)
            assert len(study.trials) == 1 - deleted  # it has noticed

    def returning(params):
        end_elsewhere()
        return 1.0

    def yielding(params):
        yield 3.0
        end_elsewhere()
        yield 2.0
        yield 1.0

    with pytest.warns(RuntimeWarning, match="trial 0 was queued again and has ended elsewhere"):
        study.run(yielding if generator else returning, 2)
    with tune.open(tmp_path / "study.db") as file:
        for seen in (file, study):
            ends = {trial.number: (trial.value, trial.values) for trial in seen.trials}
            own = 1.0, [3.0, 2.0, 1.0] if generator else []
            assert ends == {**({} if deleted else {0: (5.0, [])}), 1: own, 2: own}


@pytest.mark.parametrize("fate", ["runs", "has ended", "deleted"])
def test_a_paused_trial_that_another_study_takes_does_not_end_a_run(tmp_path, fate):
    study, other = (open_study(tmp_path / "study.db") for _ in range(2))

    def training(params):
        if tune.current_trial().number == 2:  # the first trial waits at the first rung
            other.requeue(0)
            assert other.ask().number == 0
            if fate != "runs":
                other.tell(0, 5.0)
            if fate == "deleted":
                other.delete(0)
        yield from [3.0, 2.0, 1.0]

    words = "has ended" if fate == "deleted" else fate
    with pytest.warns(RuntimeWarning, match=f"trial 0 was queued again and {words} elsewhere"):
        study.run(training, 4, scheduler=tune.Halving(last=3, pause=True))
    states = {trial.number: trial.state for trial in study.trials}
    assert states.get(0) == {"runs": "running", "has ended": "done"}.get(fate)
    assert sorted(states[n] for n in (1, 2, 3)) == ["done", "stopped", "stopped"]
