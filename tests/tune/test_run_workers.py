"""Workers that die or hang, and what can be sent to them."""

import concurrent.futures
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
import tune_objectives
from test_run import A, error_of_the_only_failure, grid
from tune_objectives import somewhere

from fastopt import tune


@pytest.mark.parametrize("where", ["processes", "pool"])
def test_a_worker_that_dies_costs_its_own_trial_only(where):
    study = grid()
    with somewhere(where) as options:
        study.run(tune_objectives.dies_on_two, **options)
    assert "twice" in error_of_the_only_failure(study)


@pytest.mark.parametrize("where", ["processes", "pool"])
def test_a_worker_that_dies_once_costs_nothing(where, tmp_path):
    study = grid({**A, "flag": tune.Categorical([str(tmp_path / "died")])})
    with somewhere(where) as options:
        study.run(tune_objectives.dies_once, **options)
    assert (tmp_path / "died").exists()
    assert [trial.state for trial in study.trials] == ["done"] * 5


@pytest.mark.parametrize("where", ["processes", "pool"])
def test_several_trials_that_kill_their_workers_cost_no_other(where):
    study = grid({"a": tune.Int(0, 7)})
    with somewhere(where) as options:
        study.run(tune_objectives.dies_on_odd, **options)
    assert [trial.state for trial in study.trials] == ["done", "failed"] * 4


def test_what_the_executor_itself_raises_is_tried_once_more_alone():
    """The executor here fails every trial that runs together with another one."""

    class Crowded(concurrent.futures.Executor):
        running = 0

        def submit(self, function, *arguments):
            future = concurrent.futures.Future()
            self.running += 1
            pool.submit(self.work, future, function, arguments)
            return future

        def work(self, future, function, arguments):
            time.sleep(0.05)
            if self.running > 1:
                future.set_exception(OSError("a lost worker"))
            else:
                future.set_result(function(*arguments))
            self.running -= 1

    study = grid()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        study.run(tune_objectives.raises_on_two, executor=Crowded(), n_jobs=3)
    assert "two is bad" in error_of_the_only_failure(study)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_trial_that_hangs_fails_by_its_timeout_and_the_study_goes_on(n_jobs):
    study = grid()
    # Without the timeout it would end as well, but with a result.
    study.run(tune_objectives.hangs_on_two, n_jobs=n_jobs, trial_timeout=0.5)
    assert "not finished within its timeout of 0.5 s" in error_of_the_only_failure(study)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_study_that_hangs_ends_at_its_timeout_and_its_trials_are_queued_again(n_jobs):
    study = grid()
    # Without the timeout the trials would end as well, and fail, since they return nothing.
    study.run(tune_objectives.hangs, n_jobs=n_jobs, timeout=0.5)
    assert [trial.state for trial in study.trials] == ["running"] * n_jobs
    study.run(lambda params: 0.0)
    assert [trial.number for trial in study.finished] == [0, 1, 2, 3, 4]
    assert {trial.state for trial in study.trials} == {"done"}


class Children:
    """Notes the processes that objectives start, and ends the run then if asked to."""

    def __init__(self, interrupt):
        self.interrupt = interrupt
        self.pids = []

    def on_report(self, study, trial, step, value):
        self.pids.append(int(value))
        if self.interrupt:
            raise KeyboardInterrupt


def is_running(pid):
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return done.stdout.strip() not in ("", "Z")  # in a container an orphan may stay a zombie


@pytest.mark.parametrize("how", ["trial_timeout", "timeout", "Ctrl-C", "dies"])
def test_what_an_objective_started_ends_with_its_worker(how):
    children = Children(interrupt=how == "Ctrl-C")
    objective = tune_objectives.hangs_with_a_child
    options = {}
    if how == "dies":
        objective = tune_objectives.dies_with_a_child
    elif how != "Ctrl-C":
        options[how] = 1.5
    study = grid({"a": tune.Int(0, 1)})
    with pytest.raises(KeyboardInterrupt) if children.interrupt else contextlib.nullcontext():
        study.run(objective, n_jobs=2, callbacks=[children], max_failures=None, **options)
    assert children.pids
    deadline = time.monotonic() + 60
    while any(map(is_running, children.pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    left = list(filter(is_running, children.pids))
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


def test_what_a_trial_reported_before_it_was_queued_again_does_not_count():
    def objective(params):
        yield 1.0
        if wait:
            time.sleep(60)
        yield 2.0

    study = grid()
    wait = True
    study.run(objective, timeout=0.3)
    assert study.trials[0].values == [1.0]
    wait = False
    steps = []

    class Listen:
        def on_report(self, study, trial, step, value):
            steps.append((step, value))

    study.run(objective, 1, callbacks=[Listen()])
    assert steps == [(0, 1.0), (1, 2.0)]
    assert study.trials[0].values == [1.0, 2.0]


def test_a_hanging_trial_in_an_executor_is_given_up():
    release = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        study = grid()
        study.run(
            lambda params: release.wait(60) if params["a"] == 0 else 1.0,
            executor=executor,
            trial_timeout=0.3,
        )
        release.set()
    assert [trial.state for trial in study.trials] == ["failed"] + ["done"] * 4


def test_an_except_clause_in_the_objective_does_not_hold_the_timeout_back():
    def objective(params):
        try:
            time.sleep(60)
        except Exception:
            return 1.0

    study = grid()
    study.run(objective, 1, trial_timeout=0.1, max_failures=None)
    assert study.trials[0].state == "failed"
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


WITH_AND_WITHOUT = pytest.mark.parametrize(
    "cloudpickle", [pytest.param(True, marks=pytest.mark.needs("cloudpickle")), False]
)


@WITH_AND_WITHOUT
@pytest.mark.parametrize(("where", "word"), [("processes", "n_jobs=2"), ("pool", "executor")])
def test_an_objective_that_cannot_be_sent_is_refused_before_any_trial(
    where, word, cloudpickle, monkeypatch
):
    if not cloudpickle:
        monkeypatch.setitem(sys.modules, "cloudpickle", None)
    lock = threading.Lock()
    study = grid()
    with (
        somewhere(where) as options,
        pytest.raises(TypeError, match=rf"{word} .*picklable.*cannot pickle|{word} .*Can't"),
    ):
        study.run(lambda params: lock and 0.0, **options)
    assert study.trials == []


@pytest.mark.needs("cloudpickle")
@pytest.mark.parametrize("where", ["processes", "pool"])
def test_cloudpickle_sends_a_lambda(where):
    offset = 7.0
    study = grid()
    with somewhere(where) as options:
        study.run(lambda params: offset + params["a"], **options)
    assert [trial.value for trial in study.trials] == [7.0, 8.0, 9.0, 10.0, 11.0]


@pytest.mark.needs("joblib")
def test_a_pool_of_loky_that_loses_a_worker_goes_on():
    from joblib.externals import loky

    study = grid()
    executor = loky.get_reusable_executor(2)
    try:
        study.run(tune_objectives.dies_on_two, executor=executor)
    finally:
        loky.get_reusable_executor(2).shutdown(kill_workers=True)
    assert "TerminatedWorkerError" in error_of_the_only_failure(study)


def test_params_that_cannot_be_sent_fail_their_own_trial():
    space = {"f": tune.Categorical([1, threading.Lock(), 3])}
    study = grid(space)
    study.run(tune_objectives.threads, n_jobs=2)
    assert [trial.state for trial in study.trials] == ["done", "failed", "done"]
    assert re.search("pickle|local object", study.trials[1].error)


def test_workers_use_one_thread_and_this_process_is_left_as_it_was():
    before = dict(os.environ)
    study = grid()
    study.run(tune_objectives.threads, 2, n_jobs=2)
    assert [trial.value for trial in study.trials] == [3.0, 3.0]
    assert dict(os.environ) == before


def test_the_objective_may_change_its_params():
    def objective(params):
        return params.pop("a")

    study = grid()
    study.run(objective)
    assert [trial.params["a"] for trial in study.trials] == [0, 1, 2, 3, 4]


def test_a_script_without_a_main_guard_gets_told_so(tmp_path):
    (tmp_path / "main.py").write_text(
        "from fastopt import tune; import tune_objectives as o\n"
        "tune.Study(o.SMALL, strategy='grid').run(o.small, n_jobs=2)\n"
    )
    process = subprocess.run(
        [sys.executable, tmp_path / "main.py"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert process.returncode == 1
    assert "a worker process died while starting" in process.stderr
    assert 'if __name__ == "__main__"' in process.stderr


@pytest.mark.parametrize("way", ["-c", "-"])
@WITH_AND_WITHOUT
def test_an_objective_that_stands_in_no_file_needs_cloudpickle(cloudpickle, way):
    code = (
        "import sys\n"
        f"if not {cloudpickle}: sys.modules['cloudpickle'] = None\n"
        "from fastopt import tune\n"
        "def choice(): return 2.5\n"
        "def f(params): return params['a']()\n"
        "study = tune.Study({'a': tune.Categorical([choice])}, strategy='grid')\n"
        "study.run(f, n_jobs=2)\n"
        "print(study.best.value)\n"
    )
    process = subprocess.run(
        [sys.executable, way, *([code] if way == "-c" else [])],
        input=code if way == "-" else None,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if cloudpickle:
        assert process.stdout == "2.5\n", process.stderr
    else:
        assert "TypeError: the objective cannot be loaded in a worker process" in process.stderr
        assert "pip install cloudpickle" in process.stderr
