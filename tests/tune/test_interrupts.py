"""Studies that are interrupted or killed: what was told is stored, and nothing runs on."""

import concurrent.futures
import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
import tune_objectives
from processes import assert_session_ends, start_script
from tune_objectives import LARGE, SMALL, WHERE, small, somewhere

from fastopt import tune


def grid(space, **options):
    return tune.Study(space, strategy="grid", **options)


@pytest.mark.parametrize("where", ["serial", "processes"])
def test_ctrl_c_stores_what_was_told_and_queues_what_ran(where, tmp_path):
    class Interrupt:
        def on_trial_end(self, study, trial):
            if trial.number == 3:
                signal.raise_signal(signal.SIGINT)

    path = tmp_path / "study.db"
    study = grid(SMALL, storage=path)
    with somewhere(where) as options, pytest.raises(KeyboardInterrupt):
        study.run(tune_objectives.sleepy, callbacks=[Interrupt()], **options)
    told = [trial.number for trial in study.finished]
    running = [trial for trial in study.trials if trial.state == "running"]
    assert 3 in told
    assert len(told) + len(running) == len(study.trials)
    # Another study of this process gets them although the process lives, so they are queued.
    other = grid(SMALL, storage=path)
    assert [other.ask().number for _ in running] == [trial.number for trial in running]
    other.close()
    study.run(small)
    assert len(study.finished) == 20


def test_ctrl_c_in_a_terminal_reaches_all_processes_and_ends_the_study(tmp_path):
    path = tmp_path / "study.db"
    script = tune_objectives.__file__
    process = start_script(
        script, "run", path, "2", stdout=None, stderr=subprocess.PIPE, start_new_session=True
    )
    study = grid(SMALL, storage=path)
    while len(study.finished) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    # One that arrives while another exception is handled is printed with that.
    assert errors.count("Traceback") == 1 + errors.count("During handling of the above exception")
    assert "KeyboardInterrupt" in errors
    assert_session_ends(process)
    study.run(small)
    assert [trial.state for trial in study.trials] == ["done"] * 20


@pytest.mark.parametrize("where", WHERE)
def test_sigint_ends_a_run_with_all_told_stored_and_no_process_left(where, tmp_path):
    path = tmp_path / "study.db"
    process = start_script(
        tune_objectives.__file__,
        "run_until_interrupted",
        path,
        where,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    first = [process.stdout.readline() for _ in range(5)]
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert errors == ""
    *told, last = "".join([*first, output]).splitlines()
    assert last == "interrupted"
    if where in ("threads", "pool"):
        assert told.pop() == f"executor {small({'a': 2, 'b': 'x'})}"
    assert_session_ends(process)
    study = grid(LARGE, storage=path)
    finished = [trial.number for trial in study.finished]
    assert finished[: len(told)] == [int(number) for number in told]
    assert len(finished) <= len(told) + 1  # one may be stored and not yet printed
    running = [trial.number for trial in study.trials if trial.state == "running"]
    assert len(running) <= 2
    assert [study.ask().number for _ in running] == running  # queued again


def test_workers_do_not_outlive_a_killed_study(tmp_path):
    path = tmp_path / "study.db"
    code = (
        "from fastopt import tune; import tune_objectives as o\n"
        "if __name__ == '__main__':\n"
        f"    study = tune.Study(o.SMALL, strategy='grid', storage={str(path)!r})\n"
        "    study.run(o.hangs_with_a_child, n_jobs=2)\n"
    )
    (tmp_path / "main.py").write_text(code)
    process = start_script(tmp_path / "main.py", stdout=None, start_new_session=True)
    study = grid(SMALL, storage=path)
    while len(study.trials) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert_session_ends(process)
    study.run(small)
    assert [trial.state for trial in study.trials] == ["done"] * 20


class LosesInterrupts(concurrent.futures.Executor):
    """Ctrl-C comes while the second trial's future is destroyed, as can happen with Dask."""

    def __init__(self):
        self.count = 0

    def submit(self, function, *arguments):
        self.count += 1
        future = Interrupted() if self.count == 2 else concurrent.futures.Future()
        future.set_result(function(*arguments))
        return future


class Interrupted(concurrent.futures.Future):
    def __del__(self):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_that_a_destructor_swallows_ends_the_run_all_the_same(tmp_path):
    study = grid(SMALL, storage=tmp_path / "study.db")
    with pytest.raises(KeyboardInterrupt):
        study.run(small, executor=LosesInterrupts(), n_jobs=1)
    assert [trial.number for trial in study.finished] == [0, 1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    study.run(small)
    assert len(study.finished) == 20


@pytest.mark.parametrize("where", WHERE)
def test_somebody_elses_handler_of_ctrl_c_decides(where):
    """If that handler raises nothing, the run goes on, wherever the trials run."""
    heard = []
    handler = lambda *_: heard.append(1)  # noqa: E731
    before = signal.signal(signal.SIGINT, handler)
    try:

        class Interrupt:
            def on_trial_end(self, study, trial):
                if trial.number == 1:
                    signal.raise_signal(signal.SIGINT)

        study = grid({"a": tune.Int(0, 4)})
        with somewhere(where) as options:
            study.run(tune_objectives.first, callbacks=[Interrupt()], **options)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [1]
    assert len(study.finished) == 5


class InterruptsTheStart:
    """Ctrl-C when a trial has been asked for, but does not run yet."""

    def on_trial_start(self, study, trial):
        raise KeyboardInterrupt

    def limits(self, direction, finished):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "options", [{"callbacks": [InterruptsTheStart()]}, {"stopper": InterruptsTheStart()}]
)
def test_ctrl_c_before_a_trial_runs_queues_it(options):
    study = grid(SMALL)
    with pytest.raises(KeyboardInterrupt):
        study.run(small, **options)
    assert [trial.state for trial in study.trials] == ["running"]
    study.run(small)
    assert [trial.number for trial in study.finished] == list(range(20))


PACKAGE = os.path.dirname(tune.__file__)


def interrupt_at(place, action):
    """Ctrl-C where Python looks for signals in our code the ``place``-th time in ``action``.

    Returns whether that place was reached, and whether the action ended all the same, since a
    destructor may swallow Ctrl-C.
    """
    left, ended = place, False

    def look(frame, event, argument):
        nonlocal left
        if event in ("call", "c_return") and PACKAGE in frame.f_code.co_filename:
            left -= 1
            if left == 0:
                raise KeyboardInterrupt

    gc.disable()  # otherwise destructors of objects of other tests may run here
    with contextlib.suppress(KeyboardInterrupt):
        sys.setprofile(look)
        try:
            action()
            ended = True
        finally:
            sys.setprofile(None)
            gc.enable()
    return left <= 0, ended


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("strategy", ["grid", pytest.param("random", marks=pytest.mark.slow)])
def test_ctrl_c_anywhere_in_ask_loses_no_trial(strategy, tmp_path):
    whole = tune.Study(SMALL, strategy=strategy)
    expected = [whole.ask().params for _ in range(2)]
    place, reached = 0, True
    while reached:
        place += 1
        path = tmp_path / f"{place}.db"
        study, other = (tune.Study(SMALL, strategy=strategy, storage=path) for _ in range(2))
        study.callbacks.append(object())
        reached, ended = interrupt_at(place, study.ask)
        if not ended:
            assert [trial.state for trial in other.trials] in ([], ["running"])
            assert [other.ask().number, study.ask().number] == [0, 1]
        assert [trial.params for trial in study.trials] == expected[: len(study.trials)]
    assert place > 30


def test_ctrl_c_anywhere_in_tell_leaves_all_or_nothing(tmp_path):
    path = tmp_path / "study.db"
    study, other = grid(LARGE, storage=path), grid(LARGE, storage=path)
    place, reached = 0, True
    while reached:
        place += 1
        trial = study.ask()
        reached, _ = interrupt_at(place, partial(study.tell, trial, 1.0))
        if other.trials[trial.number].state == "running":
            other.tell(trial, 1.0)
    assert place > 30
    for known in (study, other):
        assert [trial.number for trial in known.finished] == list(range(place))


@pytest.mark.parametrize("revise", ["delete", "correct"])
def test_ctrl_c_anywhere_in_a_revision_leaves_all_or_nothing(tmp_path, revise):
    path = tmp_path / "study.db"
    study, other = grid(LARGE, storage=path), grid(LARGE, storage=path)
    place, reached, trial = 0, True, None
    while reached:
        place += 3
        if trial is None or revise == "delete":
            trial = study.ask()
            study.tell(trial, 1.0)
        value = float(place)
        call = {"delete": study.delete, "correct": partial(study.correct, value=value)}[revise]
        reached, _ = interrupt_at(place, partial(call, trial))
        assert [each.number for each in study.finished] == [e.number for e in other.finished]
        assert [each.value for each in study.trials] == [each.value for each in other.trials]
    assert place > 30


def test_an_objective_may_keep_ctrl_c_to_itself():
    """For instance to end its training early, in this thread."""

    def objective(params):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            return params["a"]

    study = grid({"a": tune.Int(0, 4)})
    study.run(objective)
    assert [trial.value for trial in study.finished] == [0.0, 1.0, 2.0, 3.0, 4.0]
