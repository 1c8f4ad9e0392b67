"""A study's file at rest is whole, and one that goes away while it is open is noticed."""

import os
import shutil
import signal
import sys

import pytest
from processes import run_python
from tune_objectives import SMALL, small

from fastopt import tune

OPTIONS = {"space": SMALL, "strategy": "random"}


def values_in_copy(path):
    """What a study of the file alone, without SQLite's log, holds."""
    copy = path.with_name("copy.db")
    shutil.copyfile(path, copy)
    with tune.Study(**OPTIONS, storage=copy) as study:
        return [trial.value for trial in study.trials]


def test_a_copy_of_an_open_file_holds_all_trials_of_its_runs(tmp_path):
    path = tmp_path / "study.db"
    study = tune.Study(**OPTIONS, storage=path)
    assert values_in_copy(path) == []
    study.run(small, 12)
    assert values_in_copy(path) == [trial.value for trial in study.trials]
    assert len(study.trials) == 12


def test_two_open_studies_of_one_file_leave_it_whole(tmp_path):
    path = tmp_path / "study.db"
    first, second = (tune.Study(**OPTIONS, storage=path) for _ in range(2))
    first.run(small, 3)
    second.run(small, 4)
    first.close()
    assert len(values_in_copy(path)) == 7


def test_a_copy_after_a_kill_holds_what_was_told_before_the_last_moment(tmp_path):
    path = tmp_path / "study.db"
    code = (
        "import os, signal, time\n"
        "from fastopt import tune\n"
        "from tune_objectives import SMALL\n"
        f"study = tune.Study(SMALL, strategy='random', storage={str(path)!r})\n"
        "study._ledger.storage.database._settling = 0.0  # as after a pause\n"
        "study.tell(study.ask(), 1.0)\n"
        "study._ledger.storage.database._settling = 0.0\n"
        "study.tell(study.ask(), 2.0)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = run_python("-c", code, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert values_in_copy(path)[0] == 1.0


@pytest.mark.parametrize("how", ["both files", "closed first"])
def test_what_the_guide_says_to_copy_after_a_kill_is_whole(how, tmp_path):
    path, copy = tmp_path / "study.db", tmp_path / "copy.db"
    code = (
        "import os, signal\n"
        "from fastopt import tune\n"
        "from tune_objectives import SMALL\n"
        f"study = tune.Study(SMALL, strategy='random', storage={str(path)!r})\n"
        "study._ledger.storage.database._settling = 1000.0  # no more from here on\n"
        "for value in range(9):\n"
        "    study.tell(study.ask(), value)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = run_python("-c", code, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert values_in_copy(path) == []
    copy.unlink()
    if how == "both files":
        shutil.copyfile(f"{path}-wal", f"{copy}-wal")
    else:
        tune.Study(**OPTIONS, storage=path).close()
    assert values_in_copy(path) == list(range(9))


def test_a_file_moved_after_a_kill_is_not_touched_by_a_new_one_of_its_name(tmp_path):
    path, moved = tmp_path / "study.db", tmp_path / "moved.db"
    code = (
        "import os, signal\n"
        "from fastopt import tune\n"
        "from tune_objectives import SMALL, small\n"
        f"study = tune.Study(SMALL, strategy='random', storage={str(path)!r})\n"
        "study.run(small, 6)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = run_python("-c", code, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    assert done.returncode == -signal.SIGKILL, done.stderr
    path.rename(moved)
    with tune.Study(**OPTIONS, storage=path) as new:
        new.run(small, 2)
        assert len(new.trials) == 2
    with tune.Study(**OPTIONS, storage=moved) as old:
        assert len(old.trials) == 6


@pytest.mark.parametrize("how", ["deleted", "renamed", "replaced"])
def test_an_open_file_that_goes_away_is_noticed(tmp_path, how):
    path = tmp_path / "study.db"
    study = tune.Study(**OPTIONS, storage=path)
    study.run(small, 3)
    trial = study.ask()
    if how == "deleted":
        path.unlink()
    else:
        path.rename(tmp_path / "elsewhere.db")
    if how == "replaced":
        tune.Study(**OPTIONS, storage=path).close()
    for action in (
        lambda: study.tell(trial, 1.0),
        study.ask,
        lambda: study.trials,
        lambda: study.run(small, 1),
        study.close,
        study.ask,
    ):
        if how == "replaced" and action == study.close:
            break  # afterwards the other file counts
        with pytest.raises(FileNotFoundError, match=r"study\.db .*while the study was open"):
            action()
    assert path.exists() is (how == "replaced")


def test_a_file_that_is_moved_back_goes_on(tmp_path):
    path = tmp_path / "study.db"
    study = tune.Study(**OPTIONS, storage=path)
    trial = study.ask()
    path.rename(tmp_path / "elsewhere.db")
    with pytest.raises(FileNotFoundError):
        study.tell(trial, 0.5)
    (tmp_path / "elsewhere.db").rename(path)
    study.tell(trial, 0.5)
    assert [trial.value for trial in study.trials] == [0.5]


def test_another_working_folder_is_no_missing_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = tune.Study(**OPTIONS, storage="study.db")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    study.run(small, 2)
    study.close()
    study.run(small, 1)
    assert len(study.trials) == 3
    assert os.listdir(".") == []
