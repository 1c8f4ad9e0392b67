"""Files that no study can use: each is a clear error that names the file, and nothing changes."""

import contextlib
import os
import re
import sqlite3
import sys
import tempfile
from pathlib import Path

import pytest
from processes import run_code, run_until_killed
from tune_objectives import SMALL, small

from fastopt import tune


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 4}, ["seed", "0 there", "4 here"]),
        ({"direction": "maximize"}, ["direction", "'minimize' there", "'maximize' here"]),
        ({"strategy": "sobol"}, ["strategy", "Random()", "Sobol()"]),
        ({"strategy": tune.Grid(points=2)}, ["strategy", "Grid(points=2)"]),
        ({"space": {**SMALL, "a": tune.Int(0, 5)}}, ["'a'", "high=4", "high=5"]),
        ({"space": {**SMALL, "c": tune.Int(0, 5)}}, ["'c'", "absent there"]),
        ({"space": {"a": SMALL["a"]}}, ["'b'", "absent here"]),
        ({"space": dict(reversed(SMALL.items()))}, ["order", "['a', 'b'] there"]),
        ({"space": {**SMALL, "b": tune.Categorical([*"xyzv"])}}, ["'b'", "'w'", "'v'"]),
    ],
)
def test_another_space_strategy_direction_or_seed_is_refused(tmp_path, change, words):
    options = {"space": SMALL, "strategy": "random", "storage": tmp_path / "study.db"}
    tune.Study(**options).run(small, 3)
    with pytest.raises(ValueError, match=r"study\.db") as caught:
        tune.Study(**{**options, **change})
    for word in words:
        assert word in str(caught.value)
    assert len(tune.Study(**options).trials) == 3


def damage(path, kind):
    if kind == "text":
        path.write_text("this is not a study, " * 100)
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:3000])
    elif kind == "flipped":
        data = bytearray(path.read_bytes())
        data[4096 : 4096 + 64] = os.urandom(64)
        path.write_bytes(data)
    else:
        with sqlite3.connect(path) as connection:
            connection.execute(kind)
        connection.close()


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("text", "not a SQLite file"),
        ("truncated", "damaged"),
        ("flipped", "damaged"),
        ("PRAGMA user_version=2", "newer fastopt"),
        ("PRAGMA application_id=0", "not one of fastopt's"),
        ("DROP TABLE trials", "damaged"),
        ("UPDATE trials SET params = '{'", "damaged"),
        ("UPDATE trials SET params = '{\"q\": 1}'", "damaged"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_clear_error(tmp_path, kind, word):
    path = tmp_path / "study.db"
    study = tune.Study(SMALL, strategy="grid", storage=path)
    study.run(small, 5)
    study.close()
    damage(path, kind)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"study\.db.*{word}"):
        tune.Study(SMALL, strategy="grid", storage=path)
    assert path.read_bytes() == before


def test_a_path_that_cannot_be_written_is_a_clear_error(tmp_path):
    def open_at(path):
        return tune.Study(SMALL, strategy="grid", storage=path)

    with pytest.raises(FileNotFoundError, match="absent"):
        open_at(tmp_path / "absent" / "study.db")
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        open_at(tmp_path)
    with pytest.raises(PermissionError, match=r"/proc/study\.db"):
        open_at("/proc/study.db")  # a read-only folder, for the superuser too


def test_a_lock_held_too_long_is_a_clear_error_and_changes_nothing(tmp_path):
    path = tmp_path / "study.db"
    study = tune.Study(SMALL, strategy="grid", storage=path, lock_timeout=0.05)
    trial = study.ask()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(TimeoutError, match=r"study\.db is locked"):
        study.tell(trial, 1.0)
    other.execute("ROLLBACK")
    other.close()
    assert trial.state == "running"
    study.tell(trial, 1.0)
    assert trial.state == "done"


def lock(path):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


@pytest.mark.parametrize("after", ["ask", "tell", "close", "run"])
def test_a_result_that_meets_a_lock_is_written_by_the_next_call(tmp_path, after):
    path = tmp_path / "study.db"
    study = tune.Study(SMALL, strategy="grid", storage=path, lock_timeout=0.05)
    first, second = study.ask(), study.ask()
    other = lock(path)
    with pytest.raises(TimeoutError, match=r"the value 0\.25 of trial 0 is kept"):
        study.tell(first, 0.25)
    with pytest.raises(TimeoutError, match="locked"):
        study.ask()
    other.close()
    {
        "ask": study.ask,
        "tell": lambda: study.tell(second, 1.0),
        "close": study.close,
        "run": lambda: study.run(small, 1),
    }[after]()
    study.close()
    trial = tune.Study(SMALL, strategy="grid", storage=path).trials[0]
    assert (trial.state, trial.value) == ("done", 0.25)


def test_a_run_that_meets_a_lock_at_the_end_of_a_trial_keeps_its_value(tmp_path):
    path = tmp_path / "study.db"
    study = tune.Study(SMALL, strategy="grid", storage=path, lock_timeout=0.05)
    others = []

    def objective(params):
        others.append(lock(path))
        return 0.75

    with pytest.raises(TimeoutError):
        study.run(objective, 1)
    others[0].close()
    study.run(small, 1)
    assert study.trials[0].value == 0.75
    assert len(study.trials) == 2


def test_a_kept_result_of_a_trial_that_was_told_elsewhere_is_warned_of(tmp_path):
    path = tmp_path / "study.db"
    one = tune.Study(SMALL, strategy="grid", storage=path, lock_timeout=0.05)
    trial = one.ask()
    other = lock(path)
    with pytest.raises(TimeoutError):
        one.tell(trial, 0.25)
    other.close()
    tune.Study(SMALL, strategy="grid", storage=path).tell(0, 2.0)
    with pytest.warns(RuntimeWarning, match=r"trial 0 does not run any more.*0\.25"):
        one.ask()
    assert one.trials[0].value == 2.0


def test_a_kept_result_is_written_by_a_call_that_is_refused_for_another_trial(tmp_path):
    path = tmp_path / "study.db"
    study = tune.Study(SMALL, strategy="grid", storage=path, lock_timeout=0.05)
    first, second = study.ask(), study.ask()
    study.tell(second, 1.0)
    other = lock(path)
    with pytest.raises(TimeoutError):
        study.tell(first, 0.25)
    other.close()
    with pytest.raises(ValueError, match="trial 1 is not running"):
        study.tell(second, 2.0)
    with tune.open(path) as file:
        assert [trial.value for trial in file.trials] == [0.25, 1.0]
    assert [trial.value for trial in study.trials] == [0.25, 1.0]


def test_an_ask_that_a_full_disk_has_undone_is_made_again(tmp_path, monkeypatch):
    study = tune.Study(SMALL, strategy="random", storage=tmp_path / "study.db")
    study.run(small, 2)
    database = study._ledger.storage.database
    connection = database.connection()

    class Full:
        def execute(self, statement, *arguments):
            if statement == "COMMIT":
                raise sqlite3.OperationalError("database or disk is full")
            return connection.execute(statement, *arguments)

        def __getattr__(self, name):
            return getattr(connection, name)

    with monkeypatch.context() as patched:
        patched.setattr(database, "connection", Full)
        with pytest.raises(OSError, match="disk is full"):
            study.ask()
    assert len(study.trials) == 2
    # Another process is given the number and the point.
    with tune.Study(SMALL, strategy="random", storage=tmp_path / "study.db") as other:
        taken = other.ask()
        assert taken.number == 2
        other.tell(taken, 5.0)
    assert study.trials[2].params == taken.params
    assert study.ask().number == 3


def test_a_file_that_lacks_a_trial_goes_on(tmp_path):
    path = tmp_path / "study.db"
    with tune.Study(SMALL, strategy="random", storage=path) as study:
        study.run(small, 3)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM trials WHERE number = 1")
    with tune.Study(SMALL, strategy="random", storage=path) as study:
        study.run(small, 2)
        assert [trial.number for trial in study.trials] == [0, 2, 3, 4]


@pytest.mark.parametrize("wrong", [-1, "1", float("nan")])
def test_a_lock_timeout_is_checked(wrong):
    with pytest.raises((TypeError, ValueError), match="lock_timeout"):
        tune.Study(SMALL, lock_timeout=wrong)


def test_an_opened_study_waits_for_a_lock_as_long_as_is_said(tmp_path):
    path = tmp_path / "study.db"
    tune.minimize(lambda params: 1.0, SMALL, 1, storage=path, lock_timeout=0.05).close()
    study = tune.open(path, writable=True, lock_timeout=0.05)
    other = lock(path)
    with pytest.raises(TimeoutError, match="is locked"):
        study.correct(0, 2.0)
    other.close()
    study.correct(0, 2.0)
    assert study.best_value == 2.0


def test_opening_a_file_that_is_locked_too_long_is_a_clear_error(tmp_path):
    path = tmp_path / "study.db"
    options = {"space": SMALL, "strategy": "grid", "storage": path, "lock_timeout": 0.05}
    tune.Study(**options).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(TimeoutError, match=rf"{re.escape(str(path))} is locked"):
        tune.Study(**options)
    other.execute("ROLLBACK")
    other.close()
    tune.Study(**options).close()


def test_the_lock_of_a_process_that_was_killed_is_gone_with_it(tmp_path):
    """The process is killed in the middle of a transaction, which is then undone."""
    path = tmp_path / "study.db"
    code = (
        "import os, signal\n"
        "from fastopt import tune\n"
        "from tune_objectives import SMALL\n"
        f"study = tune.Study(SMALL, strategy='grid', storage={str(path)!r})\n"
        "study.tell(study.ask(), 1.0)\n"
        "def half(connection):\n"
        "    connection.execute('UPDATE trials SET value = 7.0')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "study._ledger.storage.transact(half, durable=True)\n"
    )
    run_until_killed(code)
    study = tune.Study(SMALL, strategy="grid", storage=path)
    study._ledger.storage.database._lock_timeout = 5
    study.tell(study.ask(), 2.0)
    assert [trial.value for trial in study.trials] == [1.0, 2.0]


@pytest.fixture
def read_only_folder():
    """With a study and a state file in it; whoever is not root may only read there."""
    with tempfile.TemporaryDirectory() as folder:
        with tune.Study(SMALL, strategy="grid", storage=Path(folder) / "old.db") as study:
            study.run(small, 2)
        (Path(folder) / "old.state").write_bytes(b"old")
        for path in Path(folder).iterdir():
            path.chmod(0o444)
        os.chmod(folder, 0o555)
        yield folder
        os.chmod(folder, 0o755)


def test_a_folder_that_may_only_be_read_is_a_clear_error(read_only_folder):
    before = {path.name: path.read_bytes() for path in Path(read_only_folder).iterdir()}
    code = (
        "import os, sys\n"
        "import numpy as np, fastopt\n"
        "from fastopt import tune\n"
        "from tune_objectives import SMALL\n"
        "tune.Study(SMALL, strategy='grid').ask()\n"
        "optimizer = fastopt.SGD(np.ones(3), lr=0.1)\n"
        "if os.getuid() == 0:\n"
        "    os.setuid(65534)  # no folder is read-only to root\n"
        f"os.chdir({read_only_folder!r})\n"
        "for action, name in (\n"
        "    (lambda path: tune.Study(SMALL, strategy='grid', storage=path), 'old.db'),\n"
        "    (lambda path: tune.Study(SMALL, strategy='grid', storage=path), 'new.db'),\n"
        "    (optimizer.save, 'old.state'),\n"
        "    (optimizer.save, 'new.state'),\n"
        "):\n"
        "    try:\n"
        "        action(name)\n"
        "    except PermissionError as error:\n"
        "        print(name in str(error), end=' ')\n"
    )
    path = os.pathsep.join(filter(None, sys.path))
    assert run_code(code, PYTHONPATH=path) == "True True True True"
    assert {path.name: path.read_bytes() for path in Path(read_only_folder).iterdir()} == before
