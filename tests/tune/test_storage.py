"""A study's file: killed and shared processes, owners of trials, what is stored."""

import contextlib
import dataclasses
import json
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from processes import start_script
from tune_objectives import LARGE, SMALL, SPACE, STRATEGIES, jittered, small, smooth

from fastopt import tune
from fastopt.tune.ledger.liveness import is_alive, register, start_time

SCRIPT = Path(__file__).parent / "tune_objectives.py"


def start(*arguments):
    return start_script(SCRIPT, *arguments)


def told(study):
    return [trial for trial in study.trials if trial.state != "running"]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
@pytest.mark.parametrize("line", ["asked 6", "told 6"])
def test_a_killed_study_goes_on_as_if_nothing_had_happened(tmp_path, strategy, line):
    path = tmp_path / "study.db"
    name = strategy if isinstance(strategy, str) else "grid"
    process = start("main", path, name, 1000)
    output = []
    for text in process.stdout:
        output.append(text.strip())
        if output[-1] == line:
            process.send_signal(signal.SIGKILL)
            break
    output += process.stdout.read().split("\n")  # it may have gone on a little
    process.stdout.close()
    resumed = tune.Study(SPACE, strategy=strategy, seed=11, storage=path)
    said = sum(text.startswith("told") for text in output)
    assert said >= 6
    assert len(told(resumed)) >= said

    while len(told(resumed)) < 18:
        trial = resumed.ask()
        resumed.tell(trial, smooth(trial.params))
    process.wait()  # only now: a zombie, or one on its way there, is dead too
    straight = tune.Study(SPACE, strategy=strategy, seed=11)
    straight.run(smooth, 18)
    assert [(t.number, t.params, t.value) for t in resumed.trials] == [
        (t.number, t.params, t.value) for t in straight.trials
    ]
    resumed.close()


def test_killed_at_any_moment_the_file_opens_and_holds_what_was_told(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "study.db"
    said = 0
    for lines in range(1, 7):
        process = start("main", path, "random", 1000)
        said += sum(process.stdout.readline().startswith("told") for _ in range(lines))
        time.sleep(rng.uniform(0.0, 0.1))
        process.kill()
        said += process.stdout.read().count("told")
        process.wait()
        process.stdout.close()
        with tune.Study(SPACE, strategy="random", seed=11, storage=path) as study:
            finished = told(study)
            assert len(finished) >= said
            assert [trial.value for trial in finished] == [smooth(t.params) for t in finished]
            assert len(study.trials) - len(finished) <= 1
    assert said >= 0 + 1 + 1 + 2 + 2 + 3  # every second line
    expected = tune.Study(SPACE, strategy="random", seed=11)
    assert [t.params for t in finished] == [expected.ask().params for _ in finished]


def test_several_processes_share_a_file_without_a_repeat(tmp_path):
    path, folder = tmp_path / "study.db", tmp_path / "meeting"
    folder.mkdir()
    processes = [start("share", path, folder, "3") for _ in range(3)]
    counts = [int(process.stdout.read()) for process in processes]
    for process in processes:
        assert process.wait() == 0
        process.stdout.close()
    study = tune.Study(LARGE, strategy="grid", storage=path)
    trials = study.trials
    assert [trial.number for trial in trials] == list(range(200))
    assert [trial.state for trial in trials] == ["done"] * 200
    assert len({study.space.key(trial.params) for trial in trials}) == 200
    assert min(counts) >= 1
    assert sum(counts) == 200
    study.close()


def test_numbers_are_unique_when_two_studies_ask_in_turn(tmp_path):
    one, two = (tune.Study(SPACE, strategy="sobol", storage=tmp_path / "s.db") for _ in range(2))
    mixed = [(one, two)[i % 2].ask() for i in range(10)]
    assert [trial.number for trial in mixed] == list(range(10))
    alone = tune.Study(SPACE, strategy="sobol")
    assert [trial.params for trial in mixed] == [alone.ask().params for _ in range(10)]
    two.tell(3, 1.0)
    assert one.trials[3].value == 1.0
    assert one.best.number == 3


def test_trials_of_a_living_study_are_left_alone(tmp_path):
    one = tune.Study(SPACE, strategy="random", storage=tmp_path / "study.db")
    trial = one.ask()
    with tune.Study(SPACE, strategy="random", storage=tmp_path / "study.db") as two:
        assert two.ask().number == 1
    # `two` is closed, so its trial comes again, and only that one.
    assert one.ask().number == 1
    assert one.ask().number == 2
    one.tell(trial, 0.0)


def test_trials_of_a_dropped_study_are_queued_again(tmp_path):
    path = tmp_path / "study.db"
    study = tune.Study(SPACE, strategy="random", storage=path)
    params = study.ask().params
    del study
    again = tune.Study(SPACE, strategy="random", storage=path).ask()
    assert (again.number, again.params) == (0, params)


@pytest.mark.parametrize(
    ("field", "value", "orphan"),
    [
        (0, "elsewhere", False),  # another host: it may live
        (1, "earlier boot", True),
        (2, "pid:[1]", False),  # another container
        (3, str(2**22 + 1), True),  # no such process
        (4, "12", True),  # the id belongs to another process now
    ],
)
def test_only_what_must_be_dead_counts_as_dead(tmp_path, field, value, orphan):
    path = tmp_path / "study.db"
    study = tune.Study(SPACE, strategy="random", storage=path)
    study.ask()
    with sqlite3.connect(path) as connection:
        (owner,) = connection.execute("SELECT owner FROM trials").fetchone()
        owner = owner.split("|")
        owner[field] = value
        connection.execute("UPDATE trials SET owner = ?", ("|".join(owner),))
    connection.close()
    other = tune.Study(SPACE, strategy="random", storage=path)
    assert other.ask().number == (0 if orphan else 1)


def test_a_killed_process_counts_as_dead_once_its_output_has_ended():
    here = register(tune.Study(SMALL, strategy="random")).split("|")
    for _ in range(400):  # many, since the time that a process takes to die varies
        process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with process:
            owner = "|".join([*here[:3], str(process.pid), start_time(process.pid), here[5]])
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"\n"  # it runs, and can be interrupted
            assert is_alive(owner)
            process.kill()
            assert process.stdout.read() == b""
            assert not is_alive(owner)


def test_without_a_seed_the_stored_one_is_taken(tmp_path):
    options = {"space": SPACE, "strategy": "random", "storage": tmp_path / "study.db"}
    assert tune.Study(seed=17, **options).seed == tune.Study(seed=None, **options).seed == 17


def test_a_file_may_hold_several_studies(tmp_path):
    path = tmp_path / "studies.db"
    for name in ("one", "two"):
        study = tune.Study(SMALL, strategy="grid", storage=path, name=name)
        study.run(small, 3 if name == "one" else 5)
    study.enqueue({"a": 4, "b": "w"})
    assert len(tune.Study(SMALL, strategy="grid", storage=path, name="one").trials) == 3
    two = tune.Study(SMALL, strategy="grid", storage=path, name="two")
    assert len(two.trials) == 5
    assert two.ask().params == {"a": 4, "b": "w"}


class Thing:
    pass


THING = Thing()


def test_params_come_back_exactly(tmp_path):
    space = {
        "x": tune.Float(1e-300, 1e300, log=True),
        "d": tune.Float(scipy.stats.norm(0.0, 1.0)),
        "c": tune.Categorical([None, True, 1, 0.1, "ü\n\ud800", (64, 64), np.float64, THING]),
    }
    options = {"strategy": "sobol", "storage": tmp_path / "study.db"}
    study = tune.Study(space, **options)
    asked = [study.ask().params for _ in range(64)]
    study.close()
    read = [trial.params for trial in tune.Study(space, **options).trials]
    assert read == asked
    assert {type(params["c"]) for params in read} == {type(c) for c in space["c"].choices}
    assert all(
        params["c"] is other["c"] or params["c"] == other["c"]
        for params, other in zip(read, asked, strict=True)
    )


def test_the_initial_point_is_queued_once(tmp_path):
    space = {"n": tune.Int(0, 9, initial=4)}
    for number in range(3):
        study = tune.Study(space, strategy="random", storage=tmp_path / "study.db")
        trial = study.ask()
        study.tell(trial, 0.0)
        assert (trial.params["n"] == 4) == (number == 0)


def test_what_was_pending_and_told_at_each_ask_is_stored(tmp_path):
    """From the file alone every suggestion can be made again, whatever the order of results."""
    path = tmp_path / "study.db"
    study = tune.Study(SMALL, strategy="random", storage=path)
    running = [study.ask() for _ in range(3)]
    order = [2, 0, 3, 1, 5, 4]
    for number in order:
        study.tell(number, 1.0)
        running.append(study.ask())
    assert [trial.number for trial in study.finished] == order
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT number, asked, version, state FROM trials").fetchall()
    connection.close()
    for number, asked, _, _ in rows[3:]:
        told_before = [n for n, _, version, state in rows if state == "done" and version < asked]
        assert sorted(told_before) == sorted(order[: number - 2])


@pytest.mark.parametrize("strategy", ["bayes", "sobol", tune.TPE(n_initial=4)], ids=str)
def test_a_run_with_two_workers_is_replayed_exactly_from_its_file(tmp_path, strategy):
    """The order of results is chance, but it is stored, and the suggestions follow from it."""
    options = {"space": SPACE, "strategy": strategy, "seed": 3}
    path = tmp_path / "study.db"
    with tune.Study(**options, storage=path) as study:
        study.run(jittered, 9, n_jobs=2)
    with tune.Study(**options, storage=path) as resumed:
        resumed.run(jittered, 9, n_jobs=2)
        trials = {trial.number: trial for trial in resumed.trials}
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT number, asked, version FROM trials").fetchall()
    asks = [(asked, "ask", number) for number, asked, _ in rows]
    tells = [(version, "tell", number) for number, _, version in rows]
    ended = [number for _, _, number in sorted(tells)]
    assert ended != sorted(ended)
    replay = tune.Study(**options)
    for _, what, number in sorted(asks + tells):
        if what == "ask":
            assert replay.ask().params == trials[number].params
        else:
            replay.tell(number, trials[number].value)


def test_a_suggestion_that_could_not_be_stored_is_made_again(tmp_path):
    study = tune.Study(SPACE, strategy="random", storage=tmp_path / "study.db")
    undisturbed = tune.Study(SPACE, strategy="random")
    expected = [undisturbed.ask().params for _ in range(2)]
    assert study.ask().params == expected[0]
    insert = study._ledger.storage.insert

    def fail(*arguments):
        insert(*arguments)
        raise OSError("disk full")

    study._ledger.storage.insert = fail
    with pytest.raises(OSError, match="disk full"):
        study.ask()
    study._ledger.storage.insert = insert
    assert study.ask().params == expected[1]
    assert len(study.trials) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_opens_its_own_connection(tmp_path):
    study = tune.Study(SMALL, strategy="grid", storage=tmp_path / "study.db")
    study.tell(study.ask(), 0.0)
    child = os.fork()
    if child == 0:
        trial = study.ask()
        study.tell(trial, 5.0)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert study.trials[1].value == 5.0
    study.tell(study.ask(), 0.0)
    assert len(study.trials) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("end", ["close", "death"])
def test_the_trials_of_a_forked_child_are_its_own(tmp_path, end):
    study = tune.Study(SMALL, strategy="grid", storage=tmp_path / "study.db")
    ours = study.ask()
    child = os.fork()
    if child == 0:
        study.ask()
        if end == "close":
            study.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    # That of the child is queued again, and ours is not.
    with tune.Study(SMALL, strategy="grid", storage=tmp_path / "study.db") as other:
        assert [other.ask().number for _ in range(2)] == [1, 2]
    assert study.ask().number == 1
    study.tell(ours, 0.0)


def test_the_file_is_plain_sqlite_with_json(tmp_path):
    path = tmp_path / "study.db"
    study = tune.Study(SMALL, strategy="grid", storage=path)
    study.run(small, 2)
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT params, value FROM trials ORDER BY number").fetchall()
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    connection.close()
    assert [(json.loads(params), value) for params, value in rows] == [
        ({"a": 0, "b": "x"}, 1.0),
        ({"a": 0, "b": "y"}, 1.0),
    ]
    assert mode == "wal"


@dataclasses.dataclass(frozen=True)
class Middle:
    shift: float = 0.0

    def ask(self, view):
        return view.space.decode(np.full(len(view.space), 0.5 + self.shift))


@dataclasses.dataclass(frozen=True)
class LaterMiddle(Middle):
    scale: float = 1.0


LaterMiddle.__name__ = LaterMiddle.__qualname__ = "Middle"


def test_flags_in_place_of_numbers_are_other_choices(tmp_path):
    path = tmp_path / "study.db"
    tune.Study({"x": tune.Categorical([0, 1])}, storage=path).close()
    with pytest.raises(ValueError, match=r"choices=\[0, 1\].* there, .*choices=\[False, True\]"):
        tune.Study({"x": tune.Categorical([False, True])}, storage=path)
    tune.Study({"x": tune.Categorical([0.0, 1.0])}, storage=path).close()


def test_the_order_of_a_set_among_the_choices_does_not_matter(tmp_path):
    def open_with(*order):
        choices = [set(order), (frozenset(i + 1 for i in order), "a"), {"key": [set(order)]}]
        space = {"x": tune.Categorical(choices)}
        return tune.Study(space, strategy="grid", storage=tmp_path / "study.db")

    assert repr({0, 8}) != repr({8, 0})  # as of texts, whose hashes are drawn for each process
    with open_with(0, 8) as study:
        study.run(lambda params: 1.0, 1)
    assert open_with(8, 0).best_params == {"x": {0, 8}}
    with pytest.raises(ValueError, match=r"\{0, 8\}.* there, .*\{0, 16\}.* here"):
        open_with(0, 16)


def test_a_study_opens_when_its_strategy_has_got_another_option(tmp_path):
    storage = tmp_path / "study.db"
    space = {"x": tune.Float(0.0, 1.0)}
    tune.Study(space, strategy=Middle(0.25), storage=storage).close()
    tune.Study(space, strategy=LaterMiddle(0.25), storage=storage).close()
    for other in (LaterMiddle(0.25, scale=2.0), LaterMiddle(0.3)):
        with pytest.raises(ValueError, match=r"strategy: 'Middle\(shift=0.25\)' there"):
            tune.Study(space, strategy=other, storage=storage)


@pytest.mark.parametrize("path", ["", "study\0.db"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ValueError, match="storage must be the path of a file"):
        tune.Study({"x": tune.Float(0.0, 1.0)}, storage=path)


def test_minimize_in_several_processes_holds_exactly_n_trials(tmp_path):
    path, flag = tmp_path / "study.db", tmp_path / "go"
    processes = [start("minimize_together", path, flag) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    flag.touch()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with tune.Study(LARGE, strategy="random", storage=path) as study:
        assert [trial.state for trial in study.trials] == ["done"] * 20
