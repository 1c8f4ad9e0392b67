"""Pictures of a study: all can be drawn, and show what they say."""

import io
import itertools
import math
import sys

import numpy as np
import pytest
import scipy.stats
from tune_objectives import SPACE, epochs, smooth, with_failures

from fastopt import tune
from fastopt.tune.reporting import surrogate
from fastopt.tune.reporting.axes import shorten

needs_matplotlib = pytest.mark.needs("matplotlib")
NAMES = ["history", "parallel", "slices", "contour", "importance"]


@pytest.fixture(scope="module")
def study():
    return with_failures()


def draw(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def assert_all_trials_are_shown(study):
    """Each has all parameters, and is in the history, in every slice, and a line across them."""
    names, n = study.space.names, len(study.trials)
    for axes in (study.plot.history().axes[0], *study.plot.slices().axes[: len(names)]):
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        x, y = axes.collections[0].get_offsets().T
        assert ((left < x) & (x < right) & (low < y) & (y < high)).tolist() == [True] * len(x)
        assert len(x) == n
    # One line for each trial, parameter and the value.
    assert len(study.plot.parallel().axes[0].lines) == n + len(names) + 1


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
        assert draw(getattr(study.plot, name)()).startswith(b"\x89PNG")
    assert_all_trials_are_shown(study)


@needs_matplotlib
@pytest.mark.parametrize("name", ["history", "parallel", "slices"])
def test_a_single_trial_can_be_drawn(name):
    study = tune.Study(SPACE, strategy="random")
    study.run(smooth, 1)
    assert draw(getattr(study.plot, name)()).startswith(b"\x89PNG")
    assert_all_trials_are_shown(study)


@needs_matplotlib
def test_trials_and_epochs_are_counted_in_whole_numbers():
    study = tune.Study({"x": tune.Float(0.0, 1.0), "y": tune.Int(1, 3)}, seed=0)
    study.tell(study.ask(), 0.5, values=[0.5])
    history, curves = study.plot.history().axes[0], study.plot.curves().axes[0]
    for axes, number in ((history, 0), (curves, 1)):
        low, high = axes.get_xlim()
        assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [number]
    bar = study.plot.slices().axes[-1]
    assert bar.get_yticks().tolist() == [0.0, 1.0]
    assert bar.get_ylim() == (0.0, 1.0)


@needs_matplotlib
@pytest.mark.parametrize(
    ("values", "named"),
    [
        ([7.0], {1.0: "7"}),
        ([2.0, 2.0, 2.0, 2.0], {1.0: "2"}),
        ([0.0, 0.0, 0.0, 3.0], {1.0: "0", 0.0: "3"}),
        ([1.0, 4.0, 2.0], {1.0: "1", 0.5: "2", 0.0: "4"}),
    ],
)
def test_values_are_named_where_lines_end(values, named):
    study = tune.Study({"x": tune.Float(0.0, 1.0)}, strategy="sobol")
    for value in values:
        study.tell(study.ask(), value)
    axes = study.plot.parallel().axes[0]
    labels = {text.xy[1]: text.get_text() for text in axes.texts if text.xy[0] == 1}
    assert labels == named
    assert named.keys() <= {line.get_ydata()[-1] for line in axes.lines if line.get_marker() == "o"}


@needs_matplotlib
@pytest.mark.parametrize("value", [0.3, 0.0, -5.0])
def test_equal_results_are_one_level_and_leave_nothing_to_explain(value):
    study = tune.Study({"x": tune.Float(0.0, 1.0), "y": tune.Int(1, 3)}, strategy="random")
    study.run(lambda params: value, 20)
    bar = study.plot.contour().axes[1]
    (label,) = bar.get_yticklabels()
    assert float(label.get_text().replace("\N{MINUS SIGN}", "-")) == value
    assert [bar.get_width() for bar in study.plot.importance().axes[0].patches] == [0.0] * 3


@needs_matplotlib
def test_a_contour_of_few_trials_is_of_the_first_parameters():
    study = tune.Study({name: tune.Float(0.0, 1.0) for name in "abc"}, strategy="sobol")
    study.run(lambda params: params["c"], 7)
    axes = study.plot.contour().axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("a", "b")


@needs_matplotlib
def test_curves_are_drawn_before_a_trial_has_succeeded():
    study = tune.Study({"x": tune.Float(0.0, 1.0)}, strategy="sobol")
    study.tell(study.ask(), error="no", values=[3.0, 2.0])
    (line,) = study.plot.curves().axes[0].lines
    assert line.get_ydata().tolist() == [3.0, 2.0]


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


def two_models(seen=("a", "b")):
    """Each model has a parameter, on which alone the value depends."""
    space = {
        "none": tune.Categorical(["x", "y"]),
        "model": tune.Categorical(["a", "b"]),
        "of_a": tune.Float(0.0, 1.0, when={"model": "a"}),
        "of_b": tune.Float(0.0, 1.0, when={"model": "b"}),
    }
    study = tune.Study(space, strategy="sobol")

    def objective(params):
        if params["model"] not in seen:
            raise ValueError(params["model"])
        return params.get("of_a", 0.5) - params.get("of_b", 0.5)

    study.run(objective, 40)
    return study


@needs_matplotlib
def test_contour_is_of_parameters_that_a_trial_has_together():
    study = two_models()
    important = list(study.importance())
    assert {*important[:2]} == {"of_a", "of_b"}  # which no trial has together
    axes = study.plot.contour().axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (important[0], important[2])
    axes = study.plot.contour("of_b").axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("of_b", important[2])
    axes = study.plot.contour(y="of_b").axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (important[2], "of_b")
    with pytest.raises(ValueError, match="no trial has both 'of_a' and 'of_b'"):
        study.plot.contour("of_a", "of_b")
    with pytest.raises(ValueError, match="no trial has one beside 'of_b'"):
        two_models(seen="a").plot.contour("of_b")


@needs_matplotlib
def test_contour_needs_two_parameters():
    study = tune.Study({"x": tune.Float(0.0, 1.0)}, strategy="sobol")
    study.run(lambda params: params["x"], 8)
    with pytest.raises(ValueError, match="a contour needs two parameters, and no trial has two"):
        study.plot.contour()


@needs_matplotlib
def test_the_values_beside_a_contour_are_written_as_on_the_axes():
    study = tune.Study({"x": tune.Float(1.0, 5000.0, log=True), "n": tune.Int(1, 9)}, seed=0)
    study.run(lambda params: 1000.0 * params["x"] + params["n"], n_trials=20)
    figure = study.plot.contour()
    figure.savefig(io.BytesIO())
    bar = figure.axes[1]
    numbers = [label.get_text() for label in bar.get_yticklabels()]
    assert "10000" in numbers
    assert not [number for number in numbers if "e+" in number]


@needs_matplotlib
def test_contour_is_the_process_where_that_predicts_the_trials():
    space = {name: tune.Float(0.0, 1.0) for name in "abc"}
    study = tune.Study(space, strategy="sobol")
    study.run(lambda p: 4 * p["a"] + 2 * p["b"] + 100 * (p["c"] - 0.5) ** 2, 40)
    points = np.array([study.space.encode(trial.params) for trial in study.trials])
    values = np.array([trial.value for trial in study.trials])
    places = np.linspace(0.0, 1.0, 11)
    found = surrogate.surface(study.space, points, values, (0, 1), places)
    # The third parameter, averaged out, is a constant, 100/12.
    expected = 4 * places + 2 * places[:, None] + 100 / 12
    assert np.abs(found - expected).max() < 0.5
    assert study.plot.contour("a", "b").axes[1].get_ylabel() == "value, mean of a Gaussian process"
    rng = np.random.default_rng(0)
    study = tune.Study(space, strategy="sobol")
    study.run(lambda p: rng.random(), 40)
    assert study.plot.contour("a", "b").axes[1].get_ylabel() == "value, local average"


def test_a_surface_is_blank_where_a_parameter_is_inactive():
    space = tune.Space(
        {
            "rule": tune.Categorical(["adam", "sgd"]),
            "momentum": tune.Float(0.0, 1.0, when={"rule": ["sgd"]}),
            "lr": tune.Float(0.0, 1.0),
        }
    )
    study = tune.Study(space, strategy="sobol")
    study.run(lambda p: p["lr"] + p.get("momentum", 0.5), 60)
    points = np.array([space.encode(trial.params) for trial in study.trials])
    values = np.array([trial.value for trial in study.trials])
    places = np.array([0.25, 0.75])  # adam and sgd
    found = surrogate.surface(space, points, values, (0, 1), places)
    assert np.isnan(found).tolist() == [[True, False], [True, False]]
    found = surrogate.surface(space, points, values, (2, 1), places)
    assert np.abs(found - [[0.5, 1.0], [1.0, 1.5]]).max() < 0.1


@needs_matplotlib
def test_importance_is_drawn_with_its_intervals():
    study = tune.Study({name: tune.Float(0.0, 1.0) for name in "ab"}, strategy="sobol")
    study.run(lambda p: 3 * p["a"] + p["b"], 24)
    axes = study.plot.importance().axes[0]
    (lines,) = axes.collections
    drawn = [segment[:, 0] for segment in lines.get_segments()]
    intervals = list(study.importance_intervals().values())
    assert np.allclose(drawn, intervals)
    labels = [text.get_text() for text in axes.texts]
    low, high = intervals[0]
    assert f"{low:.0%}" != f"{high:.0%}"
    assert labels[0] == f"{study.importance()['a']:.0%} ({low:.0%} to {high:.0%})"
    assert labels[-1].endswith("%")
    assert not study.plot.importance(with_intervals=False).axes[0].collections


def test_without_matplotlib_the_error_says_what_is_missing(study, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "fastopt.tune.reporting.figure", raising=False)
    with pytest.raises(ImportError, match="needs matplotlib; install it with"):
        study.plot.history()


@needs_matplotlib
def test_a_report_of_odd_names_choices_and_sizes(tmp_path):
    space = {
        "a$b$c": tune.Categorical(["${lr}_${wd}", "$x$", r"$\frac$", "<b>&"]),
        "learning_rate_of_the_encoder_layers": tune.Float(1e-200, 1e290, log=True),
        "learning_rate_of_the_decoder_layers": tune.Float(1e-5, 1e-1, log=True),
        "strategy": tune.Categorical(["", " "]),
    }
    study = tune.Study(space, strategy="sobol", seed=0, name="$odd$ <name>")
    values = iter([1e290, *np.geomspace(1e-290, 1e200, 19)])
    study.run(lambda params: next(values), 20)
    for name in ("history", "slices", "parallel", "importance", "contour"):
        draw(getattr(study.plot, name)())
    study.report(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "$odd$ &lt;name&gt;" in page
    assert "<name>" not in page


@needs_matplotlib
def test_labels_of_long_names_stay_apart_and_short():
    names = [
        f"learning_rate_of_the_{part}coder_layers" + "x" * i for i, part in enumerate(["en", "de"])
    ]
    study = tune.Study({name: tune.Float(0.0, 1.0) for name in names}, strategy="sobol", seed=0)
    study.run(lambda params: sum(params.values()), 16)
    labels = [text.get_text() for text in study.plot.parallel().axes[0].get_xticklabels()[:2]]
    assert all(len(label) <= 16 for label in labels)
    labels = [text.get_text() for text in study.plot.importance().axes[0].get_yticklabels()[:2]]
    assert len(set(labels)) == 2
    assert all(len(label) <= 30 for label in labels)


@needs_matplotlib
def test_labels_along_a_narrow_axis_do_not_overlap_and_differ_where_the_values_do():
    space = {
        f"a_long_name_of_the_hyperparameter_{i}_of_the_encoder": tune.Float(1e-290, 1e290, log=True)
        for i in range(6)
    }
    space["choice"] = tune.Categorical([f"a rather long choice number {i}" for i in range(6)])
    study = tune.Study(space, strategy="sobol", seed=0)
    study.run(lambda params: len(params["choice"]), 16)
    slices = study.plot.slices()
    panels = slices.axes[: len(space)]
    assert len({axes.get_xlabel() for axes in panels}) == len(space)
    contour = study.plot.contour("choice", next(iter(space)))
    for axes in (*panels, contour.axes[0]):
        axes.figure.canvas.draw()
        labels = [text for text in axes.get_xticklabels() if text.get_text()]
        assert len({text.get_text() for text in labels}) == len(labels) > 2
        for one, other in itertools.pairwise(labels):
            # Rows of letters: their distance across, and along where they are in one line.
            slope = math.radians(one.get_rotation())
            apart = axes.transData.transform([(t.get_position()[0], 0) for t in (one, other)])
            distance = apart[1, 0] - apart[0, 0]
            line = one.get_fontsize() * axes.figure.dpi / 72
            width = (one.get_window_extent().width + other.get_window_extent().width) / 2
            assert distance * math.sin(slope) > line if slope else distance > width


@pytest.mark.parametrize(
    ("value", "label"),
    [(1000.0, "1000"), (123456.0, "123456"), (1e-5, "1e-5"), (2.5e7, "2.5e7"), (0.25, "0.25")],
)
def test_numbers_are_written_as_people_do(value, label):
    assert shorten(value) == label


@needs_matplotlib
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_one_outlier_does_not_flatten_the_pictures(direction):
    sign = 1.0 if direction == "minimize" else -1.0
    study = tune.Study(
        {"x": tune.Float(-1.0, 1.0), "y": tune.Float(-1.0, 1.0)},
        strategy="sobol",
        seed=0,
        direction=direction,
    )
    study.run(lambda p: sign * (1e6 if len(study.finished) == 5 else p["x"] ** 2 - 0.5), 30)
    low, high = study.plot.history().axes[0].get_ylim()
    assert high - low < 5
    assert low < sign * study.best.value * sign < high
    low, high = study.plot.contour("x", "y").axes[1].get_ylim()
    assert high - low < 5


@needs_matplotlib
def test_curves_show_what_was_yielded():
    def objective(params):
        for epoch in range(4):
            yield params["x"] / (1 + epoch)

    study = tune.Study({"x": tune.Int(0, 9)}, strategy="grid")
    with pytest.raises(ValueError, match="nothing to plot"):
        study.plot.curves()
    study.run(objective)
    lines = study.plot.curves().axes[0].lines
    assert [line.get_ydata().tolist() for line in lines] == [t.values for t in study.trials]


def trained(scheduler, last, n_trials=27):
    def objective(params):
        for epoch in range(1, last + 1):
            yield params["x"] + 1.0 / epoch

    study = tune.Study({"x": tune.Int(0, n_trials - 1)}, strategy="random")
    study.run(objective, scheduler=scheduler)
    return study


@needs_matplotlib
def test_curves_mark_the_rungs_and_who_was_stopped():
    study = trained(tune.Halving(), 81)
    axes = study.plot.curves().axes[0]
    lengths = [len(trial.values) for trial in study.trials]
    marks = {text.xy[0]: text.get_text() for text in axes.texts}
    assert set(marks) == {1, 3, 9}
    for rung, text in marks.items():
        reached = sum(length >= rung for length in lengths)
        assert text == f"{sum(length > rung for length in lengths)} of {reached}\ngo on"
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "3", "9", "81"]
    curves = axes.lines[: len(lengths)]
    assert [list(line.get_xdata()) for line in curves] == [[*range(1, n + 1)] for n in lengths]
    ringed = [line.get_marker() == "o" for line in curves]
    assert ringed == [trial.state == "stopped" for trial in study.trials]
    draw(axes.figure)


@needs_matplotlib
def test_curves_have_no_marks_that_would_overlap():
    for scheduler, last, marks in [
        (tune.Median(trials=2), 30, 0),
        (tune.TopK(3, after=4), 10, 1),
        (None, 10, 0),
    ]:
        axes = trained(scheduler, last).plot.curves().axes[0]
        assert len(axes.texts) == marks
        assert axes.get_xscale() == "linear"


@needs_matplotlib
@pytest.mark.parametrize(
    "values", [[-1.7e308, 1.7e308], [-1.7e308], [1.0, 1.79e308], [-1.0, 1e308]]
)
def test_the_largest_floats_are_drawn(values):
    """A linear axis of matplotlib cannot hold their differences: they are divided."""
    space = {"x": tune.Float(0.0, 1.0), "y": tune.Float(0.0, 1.0)}
    study = tune.Study(space, strategy="sobol", seed=0)
    several = tune.Study(space, strategy="sobol", seed=0, directions=["minimize", "maximize"])
    for value in values * 8:
        study.tell(study.ask(), value, values=[value, value])
        several.tell(several.ask(), [value, value])
    label = "value / 1e308" if min(values) < 0 else "value"
    with np.errstate(over="raise"):
        for picture in (study.plot.history(), study.plot.curves(), study.plot.slices()):
            draw(picture)
            assert picture.axes[0].get_ylabel() == label
        assert label in [axes.get_ylabel().split(",")[0] for axes in study.plot.contour().axes]
        draw(several.plot.front())
