"""Studies on a real Dask cluster: worker processes, one of which is killed in the middle."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from unittest import mock

import dask
import dask_objectives
import pytest
from distributed import Client, LocalCluster
from processes import assert_session_ends, start_script

from fastopt import tune

SCRIPT = Path(__file__).parent / "dask_script.py"

# Dask warns of dead workers, as it should.
pytestmark = pytest.mark.filterwarnings("default")
X = tune.Int(0, 9)


@contextlib.contextmanager
def cluster_of(**workers):
    # A trial that kills every worker that runs it is given up after the second one. A busy machine
    # may need long to start a new worker, and the cluster must not count it as lost.
    settings = {
        "distributed.scheduler.allowed-failures": 1,
        "distributed.deploy.lost-worker-timeout": "1 hour",
    }
    # Two workers that start together leave their numbers of threads in this process's environment.
    # Processes that later tests start would then round differently.
    with (
        mock.patch.dict(os.environ),
        dask.config.set(settings),
        LocalCluster(dashboard_address=None, **workers) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def client():
    with cluster_of(n_workers=2, threads_per_worker=1) as client:
        yield client


def run(client, objective, space, n_jobs=2, **options):
    study = tune.Study(space, strategy="grid", **options)
    study.run(objective, executor=client.get_executor(pure=False), n_jobs=n_jobs)
    return study


def states(study):
    return {trial.params["x"]: trial.state for trial in study.trials}


def test_every_trial_is_evaluated_once_on_the_cluster(client):
    study = run(client, dask_objectives.square, {"x": X})
    assert [trial.value for trial in study.trials] == [float(x * x) for x in range(10)]


def test_trial_of_a_killed_worker_is_run_again_and_nothing_is_lost(client, tmp_path):
    mark = tmp_path / "killed"
    storage = tmp_path / "study.db"
    space = {"x": X, "mark": tune.Categorical([str(mark)])}
    study = run(client, dask_objectives.kill_worker_once, space, storage=storage)
    assert mark.exists()
    assert [trial.value for trial in study.trials] == [float(x * x) for x in range(10)]
    assert set(states(study).values()) == {"done"}
    study.close()
    with tune.Study(space, strategy="grid", storage=storage) as stored:
        assert [trial.value for trial in stored.trials] == [float(x * x) for x in range(10)]


def test_trial_that_kills_every_worker_has_failed_and_the_others_are_done(client):
    study = run(client, dask_objectives.always_kill_worker, {"x": X})
    assert states(study) == {x: "failed" if x == 3 else "done" for x in range(10)}
    assert study.trials[3].error.startswith("KilledWorker")
    assert study.best.params == {"x": 0}


def test_trial_that_kills_its_workers_does_not_take_its_neighbours_with_it(tmp_path):
    space = {"x": tune.Int(0, 5), "log": tune.Categorical([str(tmp_path)])}
    with cluster_of(n_workers=1, threads_per_worker=2) as client:
        study = run(client, dask_objectives.kill_worker_under_others, space)
    starts = [len((tmp_path / f"{x}").read_text()) for x in (0, 1, 2, 4, 5)]
    assert max(starts) > 1, "no worker died while another trial was running on it"
    assert states(study) == {x: "failed" if x == 3 else "done" for x in range(6)}
    assert [study.trials[x].value for x in (0, 1, 2, 4, 5)] == [0.0, 1.0, 4.0, 16.0, 25.0]
    assert "alone" in study.trials[3].error


def test_trial_that_raises_has_failed_with_its_reason(client):
    study = run(client, dask_objectives.raise_on_three, {"x": X})
    assert states(study) == {x: "failed" if x == 3 else "done" for x in range(10)}
    assert study.trials[3].error.startswith("ValueError: three")


def interrupt(path, send, *arguments):
    """Interrupt the script by ``send`` after five trials; return the lines that it printed."""
    process = start_script(SCRIPT, path, *arguments, stderr=subprocess.PIPE, start_new_session=True)
    first = [process.stdout.readline() for _ in range(5)]
    send(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert_session_ends(process)
    return "".join([*first, output]).splitlines()


def assert_all_that_was_said_is_stored(path, numbers):
    study = tune.Study(dask_objectives.LONG, strategy="grid", storage=path)
    finished = [trial.number for trial in study.finished]
    assert finished[: len(numbers)] == numbers
    assert len(finished) <= len(numbers) + 1  # one may be stored and not yet printed
    assert len(finished) < 100
    assert all(trial.value == trial.number**2 for trial in study.finished)
    running = [trial.number for trial in study.trials if trial.state == "running"]
    assert len(running) <= 2
    # These are queued again, and come before new ones.
    left = [number for number in range(len(study.trials) + 3) if number not in finished]
    assert left[: len(running)] == running
    assert [study.ask().number for _ in range(3)] == left[:3]
    study.close()


def test_sigint_ends_a_study_and_leaves_its_owners_cluster_as_usable_as_before(tmp_path):
    path = tmp_path / "study.db"
    *told, cluster, last = interrupt(path, os.kill, "use")
    assert (cluster, last) == ("cluster 49.0", "interrupted")
    assert_all_that_was_said_is_stored(path, list(map(int, told)))


def test_ctrl_c_in_a_terminal_ends_study_and_cluster_and_all_told_is_stored(tmp_path):
    """Ctrl-C reaches Dask's workers as well, and each of them prints a traceback."""
    path = tmp_path / "study.db"
    *told, last = interrupt(path, os.killpg)
    assert last == "interrupted"
    assert_all_that_was_said_is_stored(path, list(map(int, told)))


def test_a_client_is_taken_for_its_executor(client):
    study = tune.Study({"x": X}, strategy="grid")
    study.run(dask_objectives.square, executor=client, n_jobs=2)
    assert [trial.value for trial in study.trials] == [float(x * x) for x in range(10)]
