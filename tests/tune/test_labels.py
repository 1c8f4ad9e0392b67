"""Labels of pictures and tables: short, and different where the values are."""

import re
from html import unescape

import numpy as np
import pytest

from fastopt import tune
from fastopt.tune.reporting.axes import distinct, power_of_ten, titles

needs_matplotlib = pytest.mark.needs("matplotlib")

PREFIX = "a_rather_long_prefix_of_every_model/"
ALIKE = [
    [PREFIX + end for end in ("layers-12/heads-4/a", "layers-12/heads-4/b", "layers-24/heads-4/a")],
    [PREFIX + "x" * 40 + end for end in ("1", "2")] + [PREFIX + "y" * 40 + end for end in "12"],
    [1, "1", True, "True", None, "None", 1.5],
    [lambda: 1, lambda: 2, len],
    ["<lambda>", "<lambda> (1)", "a"],
    [[0] * 20, [0] * 19 + [1], (0,) * 20],
    [0.50001, 0.50002, 0.50003],
    [None, 1, 1.0005, 1.0000001, 12345678.9, 12345679, "1…"],
    [2**53 - 1, 2**53 - 2],
    [f"number {i} of a list of many choices, {i} in all" for i in range(300)],
]


@pytest.mark.parametrize("values", ALIKE, ids=range(len(ALIKE)))
def test_different_values_have_different_labels_that_are_short(values):
    labels = distinct(values)
    assert len(set(labels)) == len(values)
    assert max(map(len, labels)) <= 20
    assert titles([str(i) + PREFIX + str(i) for i in range(30)])[0].startswith("0a_r")


@needs_matplotlib
def test_the_table_of_a_report_tells_choices_apart_as_the_pictures_do(tmp_path):
    choices = [*ALIKE[0], "small", *ALIKE[3]]
    space = {"model": tune.Categorical(choices), "step": tune.Float(0.50001, 0.50003, step=1e-5)}
    study = tune.Study(space, strategy="grid")
    study.run(lambda params: float(choices.index(params["model"])), 20)
    study.report(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    cells = re.findall('<td(?: title="(.*?)")?>(.*?)</td>', text[text.index("<h2>Trials by") :])
    shown = {unescape(content): unescape(whole) for whole, content in cells}
    ticks = [label.get_text() for label in study.plot.slices().axes[0].get_xticklabels()]
    assert len(set(ticks)) == len(choices)
    assert set(ticks) <= set(shown)
    assert [shown[label] for label in ticks[:4]] == [*ALIKE[0], ""]
    assert {"0.50001", "0.50002", "0.50003"} <= set(shown)


WIDE = [
    np.geomspace(1e-280, 1e227, 20),
    np.geomspace(1e-320, 1e308, 20),
    np.geomspace(1, 1e300, 20),
]


@needs_matplotlib
@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("values", WIDE, ids=range(len(WIDE)))
def test_an_axis_over_hundreds_of_decades_shows_them_all(values, tmp_path):
    study = tune.Study({"a": tune.Float(0.0, 1.0), "b": tune.Float(0.0, 1.0)}, strategy="sobol")
    results = iter(values)
    study.run(lambda params: float(next(results)), 20)
    for picture in (study.plot.history(), study.plot.slices()):
        axes = picture.axes[0]
        axes.figure.canvas.draw()
        low, high = axes.get_ylim()
        assert low <= values.min() < values.max() <= high
        heights = axes.transAxes.inverted().transform(
            axes.transData.transform([(0, value) for value in values])
        )[:, 1]
        # Evenly, since the logarithms of the values are evenly spaced.
        assert np.allclose(np.diff(heights), np.diff(heights)[0], rtol=0.05)
        ticks = [label.get_text() for label in axes.get_yticklabels()]
        assert 4 <= len(set(ticks)) == len(ticks)
    study.report(tmp_path / "report.html")


@needs_matplotlib
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_front_over_hundreds_of_decades_shows_them_all():
    study = tune.Study({"a": tune.Float(0.0, 1.0)}, directions=["minimize"] * 2, strategy="sobol")
    results = iter(zip(WIDE[0], WIDE[0][::-1], strict=True))
    study.run(lambda params: tuple(map(float, next(results))), 20)
    axes = study.plot.front().axes[0]
    axes.figure.canvas.draw()
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert len(axes.get_xticklabels()) >= 4


@pytest.mark.parametrize(
    ("exponent", "label"), [(2.0, "100"), (-280.0, "1e-280"), (310.5, "3.2e310"), (60.0, "1e60")]
)
def test_powers_of_ten_beyond_all_floats_are_written(exponent, label):
    assert power_of_ten(exponent) == label
