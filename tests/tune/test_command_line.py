"""``python -m fastopt``: what it prints and writes."""

import csv
import json
import math
import os
import re
import subprocess
import sys

import pytest

from fastopt import tune
from fastopt.tune.command_line.main import main
from fastopt.tune.ledger.sqlite import Storage

SPACE = {
    "lr": tune.Float(1e-4, 1.0, log=True),
    "n": tune.Int(1, 9),
    "rule": tune.Categorical(["adam", None, True, 2.5, (1, 2)]),
    "beta": tune.Float(0.5, 1.0, when={"rule": "adam"}),
}


def objective(params):
    if params["n"] == 5:
        raise ValueError("five\x1b[31m is bad")
    tune.note(accuracy=1.0 - params["lr"], tags=["a", 1])
    yield 3.0
    yield params["lr"] + params["n"]


@pytest.fixture
def path(tmp_path):
    path = str(tmp_path / "study.db")
    with tune.Study(SPACE, strategy="random", storage=path, name="first") as study:
        study.run(objective, 30, max_failures=None)
        study.ask()
    return path


def facts(trial):
    return trial.params, trial.value, trial.state, trial.error, trial.notes


def ended(path, name=None):
    with tune.open(path, name) as study:
        return [facts(trial) for trial in study.trials if trial.state != "running"]


def test_studies_lists_what_is_in_a_file(path, capsys):
    tune.Study({"x": tune.Int(0, 1)}, storage=path, name="second", direction="maximize").close()
    assert main(["studies", path]) == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["study", "direction", "best", "strategy", "trials"]
    assert first.split()[:2] == ["first", "minimize"]
    assert "  Random()  31 trials (" in first
    assert second.split() == ["second", "maximize", "Bayes()", "0", "trials", "(none)"]
    assert main(["best", path]) == 1
    assert "name must be given, as the file holds 'first', 'second'" in capsys.readouterr().err
    assert main(["best", path, "--name", "first"]) == 0


def test_show_lists_the_best_trials_first_and_keeps_control_characters_out(path, capsys):
    assert main(["show", path, "--trials", "5"]) == 0
    out = capsys.readouterr().out
    with tune.open(path) as study:
        best = study.best
    *about, header, first = out.splitlines()[:-4]
    assert header.split()[:3] == ["trial", "state", "value"]
    assert first.split()[:2] == [str(best.number), "done"]
    assert any("lr = Float(0.0001, 1.0, log=True)" in line for line in about)
    assert "five?[31m is bad" in out
    assert "\x1b" not in out


def test_show_takes_no_negative_number_of_trials(path, capsys):
    with pytest.raises(SystemExit):
        main(["show", path, "--trials", "-1"])
    assert "--trials: must be at least 0, got -1" in capsys.readouterr().err


def test_best_prints_text_that_reads_back_and_json(path, capsys):
    assert main(["best", path]) == 0
    out = capsys.readouterr().out
    with tune.open(path) as study:
        best = study.best
    assert f"{best.value!r} in trial {best.number}" in out
    assert f"lr = {best.params['lr']!r}" in out
    assert main(["best", path, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["params"]["lr"] == best.params["lr"]
    assert found["notes"] == best.notes


def test_an_imported_study_goes_on_with_the_space_of_the_program_that_made_it(tmp_path, path):
    out, target = str(tmp_path / "out.json"), str(tmp_path / "target.db")
    assert main(["export", path, "--json", out]) == 0
    assert main(["import", target, "--json", out]) == 0
    with tune.Study(SPACE, strategy="random", storage=target, name="first") as study:
        assert len(study.trials) == 30
    assert main(["import", path, "--json", out]) == 0  # into the study that was exported
    assert len(ended(path)) == 60


def test_best_prints_json_that_every_program_reads(tmp_path, capsys):
    path = str(tmp_path / "study.db")
    with tune.Study({"x": tune.Categorical([math.inf])}, storage=path) as study:
        study.tell(study.ask(), 1.0, notes={"losses": [2.0, math.nan]})
    assert main(["best", path, "--json"]) == 0
    out = capsys.readouterr().out
    assert "NaN" not in out
    assert "Infinity" not in out
    found = json.loads(out)
    assert (found["params"], found["notes"]) == ({"x": None}, {"losses": [2.0, None]})


@pytest.mark.parametrize("command", ["best", "show"])
def test_a_note_with_the_name_of_a_parameter_does_not_stand_for_it(tmp_path, command, capsys):
    path = str(tmp_path / "study.db")
    with tune.Study({"x": tune.Int(3, 3)}, storage=path) as study:
        study.tell(study.ask(), 1.0, notes={"x": 5, "y": 7})
    assert main([command, path]) == 0
    out = capsys.readouterr().out
    if command == "best":
        assert out.splitlines()[1:] == ["x = 3", "note_x = 5", "y = 7"]
    else:
        header, row = out.splitlines()[-2:]
        assert header.split()[2:6] == ["value", "x", "note_x", "y"]
        assert row.split()[2:6] == ["1", "3", "5", "7"]


def test_each_line_of_an_error_is_a_line(tmp_path, path, capsys):
    out, target = str(tmp_path / "out.json"), str(tmp_path / "target.db")
    assert main(["export", path, "--json", out]) == 0
    tune.Study({"\x1b[31m": tune.Int(1, 2)}, storage=target, name="first").close()
    assert main(["import", target, "--json", out]) == 1
    first, *lines = capsys.readouterr().err.splitlines()
    assert first.endswith("cannot be resumed so:")
    assert any(line.startswith("  space, 'lr': ") for line in lines)
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_what_is_exported_is_imported_again(tmp_path, path, kind, capsys):
    out = str(tmp_path / f"out.{kind}")
    target = str(tmp_path / "target.db")
    assert main(["export", path, f"--{kind}", out]) == 0
    if kind == "csv":
        tune.Study(SPACE, strategy="random", storage=target, name="first").close()
    assert main(["import", target, f"--{kind}", out]) == 0
    assert "30 trials added to 'first'" in capsys.readouterr().err
    assert ended(target) == ended(path)
    if kind == "json":
        with tune.open(target) as copied, tune.open(path) as study:
            assert [t.values for t in copied.trials] == [t.values for t in study.trials][:30]
            assert repr(copied.strategy) == repr(study.strategy)


@pytest.mark.parametrize("nothing", [None, ""])
def test_an_empty_cell_is_a_choice_where_the_condition_of_its_parameter_holds(tmp_path, nothing):
    space = {
        "solver": tune.Categorical(["adam", "sgd"]),
        "clip": tune.Categorical([1.0, nothing], when={"solver": "sgd"}),
        "then": tune.Categorical([nothing, 2.0], when={"clip": nothing}),
    }
    path, target, out = (str(tmp_path / name) for name in ("study.db", "target.db", "out.csv"))
    with tune.Study(space, strategy="grid", storage=path) as study:
        study.run(lambda params: float(len(params)))
        assert sorted(len(trial.params) for trial in study.trials) == [1, 2, 3, 3]
    tune.Study(space, strategy="grid", storage=target).close()
    assert main(["export", path, "--csv", out]) == 0
    assert main(["import", target, "--csv", out]) == 0
    assert ended(target) == ended(path)


def test_a_cell_that_is_the_text_of_two_choices_adds_nothing(tmp_path, capsys):
    space = {"flag": tune.Categorical(["x", True, "True"])}
    path, out = str(tmp_path / "study.db"), str(tmp_path / "out.csv")
    with tune.Study(space, strategy="grid", storage=path) as study:
        study.run(lambda params: 1.0)
    before = ended(path)
    assert main(["export", path, "--csv", out]) == 0
    assert main(["import", path, "--csv", out]) == 1
    error = capsys.readouterr().err
    assert "line 3: 'True' is the text of several choices, True, 'True'" in error
    assert ended(path) == before


def test_what_became_of_params_is_exported_as_json(tmp_path):
    def training(params):
        for _ in range(3):
            rows = yield params["x"]
            params = rows.params

    space = {"x": tune.Float(0.0, 1.0), "kind": tune.Categorical([(1, 2), None])}
    path, out = str(tmp_path / "study.db"), tmp_path / "out.json"
    with tune.Study(space, strategy="sobol", storage=path) as study:
        study.run(training, 8, batch=8, scheduler=tune.PopulationBased(["x"], every=1))
        trials = study.trials
    assert any(trial.lineage for trial in trials)
    assert main(["export", path, "--json", str(out)]) == 0
    for trial, record in zip(trials, json.loads(out.read_text())["trials"], strict=True):
        lineage = record.get("lineage", [])
        assert [(c["epoch"], c["source"]) for c in lineage] == [
            (c["epoch"], c["source"]) for c in trial.lineage
        ]
        assert [c["params"]["x"] for c in lineage] == [c["params"]["x"] for c in trial.lineage]
    assert main(["import", str(tmp_path / "new.db"), "--json", str(out)]) == 0


@pytest.mark.parametrize(
    "command", [["export", "--csv"], ["export", "--json"], ["report"]], ids=" ".join
)
@pytest.mark.parametrize("link", [False, True])
def test_the_file_of_the_study_is_not_written_over(tmp_path, path, command, link, capsys):
    out = str(tmp_path / "link") if link else path
    if link:
        os.symlink(path, out)
    before = ended(path)
    name, *option = command
    assert main([name, path, *option, out]) == 1
    assert f"{out} is the file of the study itself" in capsys.readouterr().err
    assert ended(path) == before


def test_a_table_has_a_column_for_each_parameter_and_note(path, capsys):
    assert main(["export", path, "--csv", "-"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(rows) == 31
    assert {"param_lr", "param_beta", "note_accuracy", "error"} <= rows[0].keys()
    assert rows[30]["state"] == "running"
    done = next(row for row in rows if row["state"] == "done")
    assert json.loads(done["note_tags"]) == ["a", 1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n", "no column param_lr, param_n, param_rule, param_beta"),
        ("param_lr,param_n,param_rule,param_beta\n", "no column value"),
        ("value,param_lr,param_n,param_rule,param_beta\n1,9,1,adam,1\n", "line 2.*'lr'"),
        ("value,param_lr,param_n,param_rule,param_beta\n1,1,1,x,\n", "line 2.*'x' is not the text"),
        ("value,param_lr,param_n,param_rule,param_beta\n1,1,1,2.5,\nnan,1,1,2.5,\n", "finite"),
        ("value,param_lr,param_n,param_rule,param_beta,error\n1,1,1,2.5,,slow\n", "failed trials"),
        (
            "value,param_lr,param_n,param_rule,param_beta,note_a\n1,1,1,2.5,,b\n",
            "note_a must be JSON",
        ),
    ],
)
def test_a_table_that_does_not_fit_adds_nothing(tmp_path, path, text, words, capsys):
    table = tmp_path / "in.csv"
    table.write_text(text)
    before = ended(path)
    assert main(["import", path, "--csv", str(table)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("fastopt: ")
    assert re.search(words, error), error
    assert ended(path) == before


def test_trials_with_constraints_that_others_lack_add_nothing(tmp_path, path, capsys):
    out, other = str(tmp_path / "out.json"), str(tmp_path / "other.db")
    with tune.open(path) as study:
        space = study.space
        params = study.trials[0].params
    with tune.Study(space, strategy="random", storage=other, name="first") as study:
        study.add(params, error="the first one has failed")
        study.add(params, tune.Result(1.0, [0.5]))
    assert main(["export", other, "--json", out]) == 0
    before = ended(path)
    assert main(["import", path, "--json", out]) == 1
    assert "a result with 1 constraints, needs 0" in capsys.readouterr().err
    assert ended(path) == before


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_an_import_that_cannot_be_written_to_its_end_adds_nothing(
    tmp_path, path, kind, monkeypatch, capsys
):
    out, before = str(tmp_path / f"out.{kind}"), ended(path)
    assert main(["export", path, f"--{kind}", out]) == 0
    finish = Storage.finish

    def full(self, connection, number, *outcome):
        if number == 40:
            raise OSError("the disk is full")
        return finish(self, connection, number, *outcome)

    monkeypatch.setattr(Storage, "finish", full)
    assert main(["import", path, f"--{kind}", out]) == 1
    assert "the disk is full" in capsys.readouterr().err
    assert ended(path) == before


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_long_list_in_a_note_is_imported(tmp_path, kind):
    path, out = str(tmp_path / "study.db"), str(tmp_path / f"out.{kind}")
    with tune.Study({"x": tune.Int(1, 9)}, strategy="grid", storage=path) as study:
        study.add({"x": 1}, 1.0, notes={"curve": [0.123456789] * 20_000})
    assert main(["export", path, f"--{kind}", out]) == 0
    assert main(["import", path, f"--{kind}", out]) == 0
    first, second = ended(path)
    assert first == second


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path, path, kind):
    out, before = tmp_path / f"out.{kind}", len(ended(path))
    if kind == "json":
        assert main(["export", path, "--json", str(out)]) == 0
        text = out.read_text()
    else:
        text = "value,param_lr,param_n,param_rule,param_beta\n1,1,1,2.5,\n"
    out.write_text(text, encoding="utf-8-sig")
    assert main(["import", path, f"--{kind}", str(out)]) == 0
    assert len(ended(path)) > before


def test_json_that_is_no_study_is_refused(tmp_path, path, capsys):
    other = tmp_path / "other.json"
    for text in ("{", "[]", "{}", '{"format": "x", "version": 1}'):
        other.write_text(text)
        assert main(["import", str(tmp_path / "new.db"), "--json", str(other)]) == 1
        assert "not a study that fastopt has written" in capsys.readouterr().err
    assert not (tmp_path / "new.db").exists()


def test_json_without_a_fact_about_the_study_is_refused(tmp_path, path, capsys):
    out = tmp_path / "out.json"
    assert main(["export", path, "--json", str(out)]) == 0
    content = json.loads(out.read_text())
    for fact in ("name", "direction", "strategy", "seed"):
        out.write_text(json.dumps({name: content[name] for name in content if name != fact}))
        assert main(["import", str(tmp_path / "new.db"), "--json", str(out)]) == 1
        assert fact in capsys.readouterr().err
    assert not (tmp_path / "new.db").exists()


def test_a_file_that_is_not_there_is_one_line_and_is_not_made(tmp_path, capsys):
    for command in ("studies", "show", "best", "watch"):
        assert main([command, str(tmp_path / "none.db")]) == 1
        assert "there is no file" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_it_runs_as_a_module_and_says_what_it_can():
    result = subprocess.run(
        [sys.executable, "-m", "fastopt", "--help"], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0
    for command in ("studies", "show", "best", "report", "export", "import", "watch"):
        assert command in result.stdout


@pytest.mark.needs("matplotlib")
def test_report_writes_a_page(tmp_path, path):
    assert main(["report", path, str(tmp_path / "page.html")]) == 0
    assert "<h1>first</h1>" in (tmp_path / "page.html").read_text()


def test_a_table_holds_a_choice_that_is_no_text(tmp_path):
    table = str(tmp_path / "table.csv")
    files = [str(tmp_path / name) for name in ("first.db", "second.db")]
    space = {"file": tune.Categorical(["a", "caf\udce9"])}
    studies = [tune.Study(space, strategy="grid", storage=file) for file in files]
    studies[0].run(lambda params: len(params["file"]))
    assert main(["export", files[0], "--csv", table]) == 0
    assert main(["import", files[1], "--csv", table]) == 0
    there, here = ([(t.params, t.value) for t in study.trials] for study in studies)
    assert there == here
