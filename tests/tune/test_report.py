"""The report: one page that shows a study and needs no network."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from tune_objectives import SPACE, smooth, with_failures

from fastopt import tune

needs_matplotlib = pytest.mark.needs("matplotlib")


@pytest.fixture(scope="module")
def study():
    return with_failures()


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
        if kind == "data:image/png;base64":
            assert base64.b64decode(data).startswith(b"\x89PNG")
            continue
        assert kind == "data:image/svg+xml;base64"
        picture = base64.b64decode(data).decode()
        assert picture.rstrip().endswith("</svg>")
        assert not re.search(r'(href|src)="(?!#|data:)', picture)
    assert "url(" not in text
    assert "<study> & more" in page.text
    assert "<b>too & wide</b>" in page.text
    assert f"{study.best.value:.6g}" in page.text
    assert f"{study.best.params['lr']:.6g}" in page.text
    failed = sum(trial.state == "failed" for trial in study.trials)
    assert f"{failed} failed" in page.text


@needs_matplotlib
@pytest.mark.parametrize("seen", ["xab", "x"])
def test_the_report_of_parameters_that_no_trial_has_together(tmp_path, seen):
    space = {
        "model": tune.Categorical(["a", "b", "x"]),
        "of_a": tune.Float(0.0, 1.0, when={"model": "a"}),
        "of_b": tune.Float(0.0, 1.0, when={"model": "b"}),
    }
    study = tune.Study(space, strategy="sobol")
    for i in range(20):
        model = seen[i % len(seen)]
        own = {} if model == "x" else {f"of_{model}": i / 20}
        study.add({"model": model, **own}, sum(own.values()) or 0.5)
    study.report(tmp_path / "report.html")
    text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert ("The two most important parameters" in text) is (len(seen) > 1)
    assert "Trials by value" in text


@needs_matplotlib
def test_the_report_names_a_note_that_is_called_as_a_parameter_is(tmp_path):
    study = tune.Study({"x": tune.Int(3, 3)})
    study.tell(study.ask(), 1.0, notes={"x": 5})
    study.report(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<th>x</th><th>note_x</th>" in text


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


@needs_matplotlib
def test_the_report_has_curves_short_numbers_and_is_small(tmp_path):
    space = {f"p{i}": tune.Float(0.0, 1.0) for i in range(12)}
    study = tune.Study(space, seed=0, strategy=tune.Bayes(n_initial=400))
    for _ in range(300):
        trial = study.ask()
        study.tell(trial, sum(trial.params.values()), values=[9.0, 3.0])
    study.report(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert len(text) < 1_000_000
    assert "Learning curves" in text
    assert "with Bayes(n_initial=400), seed 0" in text
    best = study.best.params["p3"]
    assert f"<td>{best:.6g}</td>" in text
    assert repr(best) not in text


@needs_matplotlib
def test_on_a_narrow_screen_long_texts_are_broken_and_numbers_are_not(tmp_path):
    def objective(params):
        if params["x"] > 0.8:
            raise OSError("/a/path/without/a/space/" + "x" * 200)
        return params["x"]

    study = tune.Study({"x": tune.Float(0.0, 1.0)}, strategy="sobol", name="n" * 60)
    study.run(objective, 20)
    study.report(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert f"<td>{study.best.value:.6g}</td>" in text
    assert '<td class="long">OSError: /a/path' in text
    assert "h1, .facts { overflow-wrap: anywhere; }" in text
    # Whatever is wide is in a box that scrolls by itself.
    assert text.count("<table>") == text.count('<div class="wide">\n<table>')
    assert text.count("<img") == len(re.findall(r'<div class="wide( broad)?"><img', text))


@needs_matplotlib
def test_a_choice_that_is_no_text_is_shown_with_an_escape(tmp_path):
    space = {"file": tune.Categorical(["a", "caf\udce9"]), "x": tune.Int(0, 4)}
    study = tune.Study(space, strategy="grid")
    study.run(lambda params: params["x"])
    study.report(tmp_path / "report.html")
    assert r"caf\udce9" in (tmp_path / "report.html").read_text(encoding="utf-8")
