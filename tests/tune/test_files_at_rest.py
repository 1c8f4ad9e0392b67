"""A study's file at rest is complete, and it is noticed if an open file is moved or deleted."""

import os
import shutil

import pytest
from processes import run_until_killed
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
    run_until_killed(code)
    assert values_in_copy(path)[0] == 1.0


@pytest.mark.parametrize("how", ["both files", "closed first"])
def test_what_the_guide_says_to_copy_after_a_kill_is_whole(how, tmp_path):
    path, copy = tmp_path / "study.db", tmp_path / "copy.db"
    code = (
        "import os, signal\n"
        "from fastopt import tune\n"
        "from tune_objectives import SMALL\n"
        f"study = tune.Study(SMALL, strategy='random', storage={str(path)!r})\n"
        "study._ledger.storage.database._settling = 1000.0  # what follows stays in the log\n"
        "for value in range(9):\n"
        "    study.tell(study.ask(), value)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run_until_killed(code)
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
    run_until_killed(code)
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
        tune.Study(**OPTIONS, storage=tmp_path / "other.db").close()
        (tmp_path / "other.db").rename(path)
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


@pytest.mark.parametrize("noticed", [False, True])
def test_a_file_moved_while_open_and_a_new_one_of_its_name_are_both_whole(tmp_path, noticed):
    path, moved = tmp_path / "study.db", tmp_path / "moved.db"
    options = {"space": {"x": tune.Float(0.0, 1.0)}, "strategy": "random"}
    study = tune.Study(**options, storage=path)
    study.run(lambda params: params["x"], 50)  # the file has more pages than a new one
    path.rename(moved)
    if noticed:
        with pytest.raises(FileNotFoundError):
            study.ask()
    new = tune.Study(**options, storage=path)
    new.run(lambda params: params["x"], 2)
    old = tune.Study(**options, storage=moved)
    assert [len(opened.trials) for opened in (old, new)] == [50, 2]
    for opened in (old, new):
        opened.run(lambda params: params["x"], 1)
    assert [len(opened.trials) for opened in (old, new)] == [51, 3]


def test_the_log_of_a_moved_file_is_not_thrown_away(tmp_path):
    path, moved = tmp_path / "study.db", tmp_path / "moved.db"
    study = tune.Study(**OPTIONS, storage=path)
    study._ledger.storage.database._settling = 1000.0  # what follows stays in the log
    for value in range(9):
        study.tell(study.ask(), value)
    path.rename(moved)
    with pytest.raises(FileExistsError, match=r"study\.db-wal .* name of the moved file"):
        tune.Study(**OPTIONS, storage=path)
    (tmp_path / "study.db-wal").rename(tmp_path / "moved.db-wal")
    with pytest.raises(FileNotFoundError):
        study.ask()
    with tune.Study(**OPTIONS, storage=path) as new:
        assert new.trials == []
    with tune.Study(**OPTIONS, storage=moved) as old:
        assert [trial.value for trial in old.trials] == list(range(9))


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
