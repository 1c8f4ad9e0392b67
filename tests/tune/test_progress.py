"""What a run shows of its progress, on a terminal and in a file."""

import contextlib
import io
import re
import sys

import pytest
from tune_objectives import SMALL, raises_on_two, small

from fastopt import tune
from fastopt.tune.running import progress

A = {"a": tune.Int(0, 4)}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(stream, objective, n_trials, *, space=A, **options):
    """What a run writes to standard error if that is ``stream``."""
    with contextlib.redirect_stderr(stream):
        tune.Study(space, strategy="grid").run(objective, n_trials, **options)
    return stream.getvalue()


@pytest.mark.needs("tqdm")
def test_a_terminal_shows_best_value_trials_and_time():
    text = shown(Terminal(), raises_on_two, 5)
    assert "5/5" in text
    assert "best 0, 1 failed" in text
    assert re.search(r"\d\d:\d\d<\d\d:\d\d", text)


def test_without_tqdm_one_line_redraws_itself_with_the_time_that_is_left(monkeypatch):
    for name in ("tqdm", "tqdm.auto"):
        monkeypatch.setitem(sys.modules, name, None)
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)

    def objective(params):
        nonlocal now
        now += 31.0
        return raises_on_two(params)

    lines = shown(Terminal(), objective, 5).split("\r\x1b[K")
    assert lines[0] == ""
    assert lines[1] == "1/5 trials, best 0, 2:04 left"
    assert lines[4] == "4/5 trials, best 0, 1 failed, 0:31 left"
    assert lines[5] == "5/5 trials, best 0, 1 failed, 0:00 left\n"


def test_a_file_gets_nothing_unless_asked():
    assert shown(io.StringIO(), small, 20, space=SMALL) == ""


def test_a_file_gets_a_few_plain_lines_if_asked():
    space = {"a": tune.Int(1, 1000)}
    text = shown(io.StringIO(), lambda p: p["a"], 200, space=space, progress=True)
    lines = text.splitlines()
    assert 5 <= len(lines) <= 12
    assert lines[-1].startswith("200/200 trials, best 1")
    assert "\r" not in text


def test_progress_can_be_switched_off():
    assert shown(Terminal(), small, 20, space=SMALL, progress=False) == ""


def test_no_result_yet_is_said():
    text = shown(io.StringIO(), lambda params: None, 1, progress=True, max_failures=None)
    assert text == "1/1 trials, no result yet, 1 failed, 0:00 left\n"
