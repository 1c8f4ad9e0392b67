"""One HTML page about a study, which needs nothing but a browser."""

from __future__ import annotations

import base64
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from fastopt.tune.reporting.axes import distinct, full_text, shorten
from fastopt.tune.reporting.importance import FEWEST
from fastopt.tune.reporting.order import order_trials
from fastopt.tune.reporting.plots import Plots
from fastopt.tune.reporting.table import result_columns
from fastopt.tune.space import Space
from fastopt.tune.space.trial import Trial, note_title

__all__ = ["summary", "write_page"]

# Bytes of a picture, and pixels across one that is larger.
LARGEST_SVG = 100_000
WIDEST = 1600.0
# Rows of the table of trials.
SHOWN = 20
# Of a parameter with more levels only those in the table are told apart.
MOST_LEVELS = 256
# Columns of notes there.
MOST_NOTES = 8

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #2b2f36; background: #fff;
       max-width: 60rem; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; }
h2 { font-size: 1.1rem; margin: 2.4rem 0 .6rem; }
.facts { color: #5b6470; margin: 0; }
.best { display: flex; gap: 2rem; align-items: baseline; flex-wrap: wrap; margin-top: 1.6rem; }
.best strong { font-size: 2.4rem; font-weight: 600; color: #d1495b; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem 1.2rem .3rem 0; border-bottom: 1px solid #e6e9ed; }
th { font-weight: 600; color: #5b6470; }
tr.first td { color: #d1495b; font-weight: 600; }
figure { margin: 0; }
img { max-width: 100%; height: auto; }
figcaption, .note { color: #5b6470; font-size: .85rem; }
.wide { overflow-x: auto; max-width: 100%; }
h1, .facts { overflow-wrap: anywhere; }
th, td { white-space: nowrap; }
td.long { white-space: normal; overflow-wrap: anywhere; min-width: 12rem; }
@media (max-width: 40rem) { .broad img { width: 44rem; max-width: none; } }
"""

# Cells with more characters than this are broken into lines; a number never is.
LONG = 20
# Pictures of several panels or axes, which a narrow screen scrolls instead of making them tiny.
BROAD = {"slices", "parallel"}

PICTURES = {
    "front": (
        "Front",
        "Red: the feasible trials that no other beats in all objectives. Squares are infeasible.",
    ),
    "history": ("History", "Value of each trial and the best so far."),
    "curves": (
        "Learning curves",
        "What each trial yielded, the best in red. Rings are where trials were stopped, lines "
        "where they were compared.",
    ),
    "slices": ("Each parameter", "Dark points came late, the best trial is red."),
    "parallel": ("All parameters together", "One line per trial: dark is good, red is the best."),
    "importance": (
        "Importance",
        "Share of the variance of the results that each parameter explains alone "
        "(functional ANOVA on a model of them). Lines: what the trials and their noise leave open.",
    ),
    "contour": (
        "The two most important parameters",
        "The two that matter most of those that a trial has together. What a model of the trials "
        "expects on average over all other parameters; where none predicts them, a local average "
        "of the trials.",
    ),
}


@dataclass(frozen=True)
class _Short:
    """A text that is cut, and the whole, which is shown under the pointer."""

    text: str
    whole: str


_EMPTY = _Short("", "")


def _cell(content: str | _Short) -> str:
    if isinstance(content, _Short):
        title = f' title="{escape(content.whole)}"' if content.text != content.whole else ""
        return f"<td{title}>{escape(content.text)}</td>"
    long = ' class="long"' if len(content) > LONG else ""
    return f"<td{long}>{escape(content)}</td>"


def _short(value: Any) -> _Short:
    text = shorten(value)
    return _Short(text, text if isinstance(value, float) else full_text(value))


def _column(name: str, parameter: Any, trials: Sequence[Trial]) -> list[_Short]:
    """A parameter's values, named as in the pictures: different ones of a list look different."""
    cells = [_short(trial.params[name]) if name in trial.params else _EMPTY for trial in trials]
    if parameter.levels is None:
        return cells
    places = [i for i, trial in enumerate(trials) if name in trial.params]
    levels = [parameter.index(trials[i].params[name]) for i in places]
    few = parameter.levels <= MOST_LEVELS
    named = list(range(parameter.levels)) if few else sorted(set(levels))
    texts = dict(zip(named, distinct([parameter.value(i) for i in named]), strict=True))
    for i, level in zip(places, levels, strict=True):
        number = isinstance(trials[i].params[name], float)
        cells[i] = _Short(texts[level], texts[level] if number else cells[i].whole)
    return cells


def _table(
    header: Iterable[str], rows: Iterable[Iterable[str | _Short]], first: str = "", count: int = 1
) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = [f"<table><tr>{head}</tr>"]
    for i, row in enumerate(rows):
        cells = "".join(map(_cell, row))
        lines.append(
            f'<tr class="{first}">{cells}</tr>' if i < count and first else f"<tr>{cells}</tr>"
        )
    return "\n".join(['<div class="wide">', *lines, "</table></div>"])


def _params(params: Mapping[str, Any]) -> str:
    rows = ((n, f"{v:.6g}" if isinstance(v, float) else str(v)) for n, v in params.items())
    return _table(("parameter", "value"), rows)


def _draw(figure: Any) -> tuple[str, bytes]:
    """A picture and its kind: SVG, or PNG where the SVG would be too large."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    if buffer.tell() <= LARGEST_SVG:
        return "svg+xml", buffer.getvalue()
    from PIL import Image  # matplotlib needs it, too

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=min(150.0, WIDEST / figure.get_figwidth()))
    small = io.BytesIO()
    Image.open(buffer).convert("RGB").quantize(128).save(small, "png", optimize=True)
    return "png", small.getvalue()


def _picture(draw: Callable[[], Any], alternative: str) -> str:
    kind, content = _draw(draw())
    data = base64.b64encode(content).decode()
    return f'<img alt="{escape(alternative)}" src="data:image/{kind};base64,{data}">'


def _facts(about: str, trials: Sequence[Trial]) -> str:
    states = Counter(trial.state for trial in trials)
    counts = ", ".join(f"{states[state]} {state}" for state in sorted(states))
    seconds = sum(trial.seconds or 0.0 for trial in trials)
    return f"{about} · {len(trials)} trials ({counts or 'none'}) · {seconds:.1f} s of evaluation"


def _best(best: Trial) -> list[str]:
    params = _params(best.params)
    number = f"trial {best.number}"
    if not best.feasible:
        number = f"no trial is feasible; {number} is nearest, by {best.violation:.6g}"
    return [
        '<div class="best">',
        f'<div><strong>{best.value:.6g}</strong><div class="note">{number}</div></div>',
        f"{params}</div>",
    ]


def _pictures(plots: Plots, done: int, most_params: int, curves: bool) -> list[str]:
    parts = []
    for name in PICTURES:
        if name == "front" or (name == "curves" and not curves):
            continue
        if name == "importance" and done < FEWEST:
            parts.append(f'<p class="note">Importance needs {FEWEST} done trials.</p>')
            return parts
        if name == "contour" and most_params < 2:
            return parts
        parts += _picture_of(name, plots)
    return parts


def _picture_of(name: str, plots: Plots) -> list[str]:
    title, caption = PICTURES[name]
    picture = _picture(getattr(plots, name), f"{title}. {caption}")
    broad = "wide broad" if name in BROAD else "wide"
    return [
        f"<h2>{escape(title)}</h2>",
        f'<figure><div class="{broad}">{picture}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>",
    ]


def _trials(space: Space, n_objectives: int, ranked: Sequence[Trial], n_best: int) -> list[str]:
    shown = ranked[:SHOWN]
    notes = list(dict.fromkeys(name for trial in shown for name in trial.notes))[:MOST_NOTES]
    results = result_columns(n_objectives, shown)
    columns = [_column(name, space.parameters[name], shown) for name in space.names]
    rows = [
        [
            str(trial.number),
            *("" if number is None else f"{number:.6g}" for number in numbers),
            *params,
            *(_short(trial.notes[n]) if n in trial.notes else "" for n in notes),
            f"{trial.seconds:.2f}",
        ]
        for trial, numbers, params in zip(
            shown, zip(*results.values(), strict=True), zip(*columns, strict=True), strict=True
        )
    ]
    title = f"The best {len(rows)} trials" if len(ranked) > SHOWN else "Trials by value"
    if n_objectives > 1:
        title = f"Trials, the {n_best} of the front first"
    titles = [note_title(note, space.names) for note in notes]
    header = ["trial", *results, *space.names, *titles, "seconds"]
    return [f"<h2>{title}</h2>", _table(header, rows, "first", n_best)]


def _failures(trials: Sequence[Trial]) -> list[str]:
    reasons = Counter(trial.error or "" for trial in trials if trial.state == "failed")
    if not reasons:
        return []
    rows = ((str(count), reason) for reason, count in reasons.most_common(SHOWN))
    return ["<h2>Failures</h2>", _table(("trials", "reason"), rows)]


def summary(name: str, about: str, directions: Sequence[str], trials: Sequence[Trial]) -> str:
    """A few lines of HTML, for a notebook."""
    lines = [f"<b>{escape(name)}</b><br>{escape(_facts(about, trials))}"]
    ranked, n_best = order_trials(directions, trials)
    if n_best and len(directions) > 1:
        lines.append(f"<br><b>{n_best}</b> trials on the front")
    elif n_best:
        lines.append(f"<br>best value <b>{ranked[0].value:.6g}</b>, trial {ranked[0].number}")
        lines.append(_params(ranked[0].params))
    elif ranked:
        lines.append("<br>no trial is feasible yet")
    return "\n".join(lines)


def write_page(
    path: str | os.PathLike[str],
    *,
    name: str,
    about: str,
    space: Space,
    directions: Sequence[str],
    trials: Sequence[Trial],
    plots: Plots,
) -> None:
    """Write the page; see :meth:`fastopt.tune.Study.report`.

    Parameters
    ----------
    path : str or path
    name : str
        The title.
    about : str
        How the trials were made, in a line.
    space, directions, trials
        Those of the study.
    plots : Plots
        Of the same trials.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastopt import tune
    >>> space = {"a": tune.Float(0.0, 1.0), "b": tune.Int(1, 9)}
    >>> study = tune.minimize(lambda p: p["a"] * p["b"], space, n_trials=16, strategy="sobol")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study.report(os.path.join(folder, "report.html"))
    ...     os.listdir(folder)
    ['report.html']
    """
    title = escape(name)
    body = [f"<h1>{title}</h1>", f'<p class="facts">{escape(_facts(about, trials))}</p>']
    ranked, n_best = order_trials(directions, trials)
    if ranked and len(directions) > 1:
        body += _picture_of("front", plots)
    elif ranked:
        curves = any(len(trial.values) > 1 for trial in trials)
        most = max(len(trial.params) for trial in ranked)
        body += [*_best(ranked[0]), *_pictures(plots, len(ranked), most, curves)]
    if ranked:
        body += _trials(space, len(directions), ranked, n_best)
    body += _failures(trials)
    page = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{STYLE}</style></head><body>",
        *body,
        "</body></html>\n",
    ]
    with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write("\n".join(page))
