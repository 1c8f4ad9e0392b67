import base64
import io
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import scipy.stats
from tune_objectives import SPACE, epochs, smooth

from fastopt import tune

needs_matplotlib = pytest.mark.needs("matplotlib")
NAMES = ["history", "parallel", "slices", "contour", "importance"]


def broken(params):
    if params["width"] > 40:
        raise RuntimeError("<b>too & wide</b>")
    return smooth(params)


@pytest.fixture(scope="module")
def study():
    study = tune.Study(SPACE, strategy="sobol", name="<study> & more")
    study.run(broken, 40)
    study.ask()
    return study


def draw(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


@needs_matplotlib
@pytest.mark.parametrize("name", NAMES)
def test_every_picture_can_be_drawn(study, name):
    assert draw(getattr(study.plot, name)()).startswith(b"\x89PNG")


@needs_matplotlib
@pytest.mark.parametrize(
    ("direction", "objective"),
    [
        ("minimize", lambda p: 1.0),
        ("minimize", lambda p: 1e300 * p["a"]),
        ("maximize", lambda p: 10.0 ** (p["a"] * 40 - 20)),
    ],
    ids=["constant", "huge", "wide"],
)
def test_odd_results_can_be_drawn(direction, objective):
    space = {
        "a": tune.Float(-1.0, 1.0),
        "one": tune.Float(2.0, 2.0),
        "d": tune.Float(scipy.stats.norm(0.0, 1.0)),
    }
    study = tune.Study(space, strategy="random", direction=direction)
    study.run(objective, 12)
    for name in NAMES:
        draw(getattr(study.plot, name)())


@needs_matplotlib
@pytest.mark.parametrize("name", ["history", "parallel", "slices"])
def test_a_single_trial_can_be_drawn(name):
    study = tune.Study(SPACE, strategy="random")
    study.run(smooth, 1)
    draw(getattr(study.plot, name)())


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_plot_is_said(name):
    study = tune.Study(SPACE, strategy="random")
    study.tell(study.ask(), error="no")
    with pytest.raises(ValueError, match=r"no trial has succeeded|at least 8"):
        getattr(study.plot, name)()


@needs_matplotlib
def test_history_shows_trials_best_failures_and_stopped_ones():
    space = {"a": tune.Int(0, 9)}
    study = tune.Study(space, strategy="grid", direction="maximize")
    stopper = tune.Median(trials=2, epochs=2)
    study.run(lambda p: (9 - value for value in epochs(p)), 8, stopper=stopper)
    study.tell(study.ask(), error="no")
    axes = study.plot.history().axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["trial", "stopped", "best", "failed"]
    (line,) = axes.lines
    assert line.get_ydata()[-1] == study.best.value
    assert len(axes.collections[0].get_offsets()) == 2
    assert len(axes.collections[1].get_offsets()) == 6


@needs_matplotlib
def test_an_axis_of_ones_own_is_drawn_into(study):
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.subplots()
    assert study.plot.history(axes) is figure
    assert axes.get_ylabel() == "value"


@needs_matplotlib
def test_slices_have_round_ticks_of_the_parameters_own_scale(study):
    axes = study.plot.slices().axes[0]
    assert axes.get_xlabel() == "lr"
    ticks = dict(
        zip([t.get_text() for t in axes.get_xticklabels()], axes.get_xticks(), strict=True)
    )
    assert list(ticks) == ["0.0001", "0.001", "0.01", "0.1", "1"]
    assert list(ticks.values()) == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0], abs=1e-9)


@needs_matplotlib
def test_contour_takes_the_parameters_it_is_given(study):
    axes = study.plot.contour("dropout", "rule").axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("dropout", "rule")
    with pytest.raises(ValueError, match=r"y must be one of.*'momentum'"):
        study.plot.contour("lr", "momentum")


def test_without_matplotlib_the_error_says_what_is_missing(study, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "fastopt.tune.reporting.figure", raising=False)
    with pytest.raises(ImportError, match="needs matplotlib"):
        study.plot.history()


CUBE = {name: tune.Float(0.0, 1.0) for name in "abc"}


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (lambda p: 3.0 * p["b"], {"a": 0.0, "b": 1.0, "c": 0.0}),
        (lambda p: p["a"] + p["b"] + p["c"], {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}),
        (lambda p: (p["a"] - 0.5) * (p["c"] - 0.5), {"a": 0.0, "b": 0.0, "c": 0.0}),
        (lambda p: 7.0, {"a": 0.0, "b": 0.0, "c": 0.0}),
    ],
    ids=["one", "sum", "product", "constant"],
)
def test_importance_of_known_functions(objective, expected):
    study = tune.minimize(objective, CUBE, n_trials=96, strategy="sobol")
    shares = study.importance()
    assert shares == pytest.approx(expected, abs=0.08)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert study.importance() == shares


def test_importance_does_not_see_how_far_diverged_trials_are():
    def objective(params):
        return params["a"] if params["b"] > 0.02 else 1e30

    study = tune.minimize(objective, CUBE, n_trials=96, strategy="sobol")
    assert study.importance()["a"] > 0.8


def test_importance_of_choices_and_conditions():
    study = tune.minimize(smooth, SPACE, n_trials=64, strategy="random")
    assert set(study.importance()) == set(SPACE)


def test_importance_needs_some_trials():
    study = tune.minimize(smooth, SPACE, n_trials=7, strategy="random")
    with pytest.raises(ValueError, match="at least 8 done trials, got 7"):
        study.importance()


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.addresses, self.open, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.addresses += [v for k, v in attributes if k in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += f" {data}"


@needs_matplotlib
def test_the_report_is_one_page_that_needs_no_network(study, tmp_path):
    study.report(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert len(page.addresses) == 5
    for address in page.addresses:
        kind, data = address.split(",", 1)
        assert kind == "data:image/svg+xml;base64"
        picture = base64.b64decode(data).decode()
        assert picture.rstrip().endswith("</svg>")
        assert not re.search(r'(href|src)="(?!#|data:)', picture)
    assert "url(" not in text
    assert "<study> & more" in page.text
    assert "<b>too & wide</b>" in page.text
    assert f"{study.best.value:.6g}" in page.text
    assert repr(study.best.params["lr"]) in page.text
    failed = sum(trial.state == "failed" for trial in study.trials)
    assert f"{failed} failed" in page.text


@needs_matplotlib
def test_the_report_of_a_study_without_results(tmp_path):
    study = tune.Study(SPACE, strategy="random")
    study.report(tmp_path / "empty.html")
    study.tell(study.ask(), error="no memory")
    study.report(tmp_path / "failed.html")
    assert "no memory" in Page((tmp_path / "failed.html").read_text(encoding="utf-8")).text
    study.run(smooth, 2)
    study.report(tmp_path / "young.html")
    assert len(Page((tmp_path / "young.html").read_text(encoding="utf-8")).addresses) == 3


@needs_matplotlib
def test_the_report_of_one_parameter(tmp_path):
    study = tune.minimize(
        lambda p: np.sin(p["x"]), {"x": tune.Float(0.0, 9.0)}, n_trials=20, strategy="sobol"
    )
    study.report(tmp_path / "one.html")
    assert len(Page((tmp_path / "one.html").read_text(encoding="utf-8")).addresses) == 4
