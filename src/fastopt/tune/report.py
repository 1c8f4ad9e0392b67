"""One HTML page about a study, which needs nothing but a browser."""

from __future__ import annotations

import base64
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable
from html import escape
from typing import TYPE_CHECKING, Any

from .importance import FEWEST
from .plots import shorten

if TYPE_CHECKING:
    from .study import Study

__all__ = ["report"]

# Rows of the table of trials.
SHOWN = 20

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
.wide { overflow-x: auto; }
"""

PICTURES = {
    "history": ("History", "Value of each trial and the best so far."),
    "slices": ("Each parameter", "Dark points came late, the best trial is red."),
    "parallel": ("All parameters together", "One line per trial: dark is good, red is the best."),
    "importance": (
        "Importance",
        "Share of the variance of the results that each parameter explains alone "
        "(functional ANOVA on a forest fitted to their ranks).",
    ),
    "contour": (
        "The two most important parameters",
        "Local average of the value over trials that differ in all else too.",
    ),
}


def _table(header: Iterable[str], rows: Iterable[Iterable[str]], first: str = "") -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = [f"<table><tr>{head}</tr>"]
    for i, row in enumerate(rows):
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row)
        lines.append(
            f'<tr class="{first}">{cells}</tr>' if i == 0 and first else f"<tr>{cells}</tr>"
        )
    return "\n".join([*lines, "</table>"])


def _picture(draw: Callable[[], Any], alternative: str) -> str:
    buffer = io.BytesIO()
    draw().savefig(buffer, format="svg", metadata={"Date": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{escape(alternative)}" src="data:image/svg+xml;base64,{data}">'


def _facts(study: Study) -> str:
    states = Counter(trial.state for trial in study.trials)
    counts = ", ".join(f"{states[state]} {state}" for state in sorted(states))
    seconds = sum(trial.seconds or 0.0 for trial in study.trials)
    return (
        f"{study.direction} with {study.strategy!r}, seed {study.seed} · "
        f"{len(study.trials)} trials ({counts or 'none'}) · {seconds:.1f} s of evaluation"
    )


def _best(study: Study) -> list[str]:
    best = study.best
    params = _table(("parameter", "value"), ((n, repr(v)) for n, v in best.params.items()))
    return [
        '<div class="best">',
        f'<div><strong>{best.value:.6g}</strong><div class="note">trial {best.number}</div></div>',
        f"{params}</div>",
    ]


def _pictures(study: Study) -> list[str]:
    done = sum(trial.state == "done" for trial in study.trials)
    parts = []
    for name, (title, caption) in PICTURES.items():
        if name == "importance" and done < FEWEST:
            parts.append(f'<p class="note">Importance needs {FEWEST} done trials.</p>')
            return parts
        if name == "contour" and len(study.space) < 2:
            return parts
        picture = _picture(getattr(study.plot, name), f"{title}. {caption}")
        parts.append(f"<h2>{escape(title)}</h2>")
        parts.append(f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>")
    return parts


def _trials(study: Study) -> list[str]:
    sign = 1.0 if study.direction == "minimize" else -1.0
    done = [(t.value, t) for t in study.trials if t.state == "done" and t.value is not None]
    done.sort(key=lambda item: (sign * item[0], item[1].number))
    rows = [
        [
            str(trial.number),
            f"{value:.6g}",
            *(shorten(trial.params[n]) if n in trial.params else "" for n in study.space.names),
            f"{trial.seconds:.2f}",
        ]
        for value, trial in done[:SHOWN]
    ]
    title = f"The best {len(rows)} trials" if len(done) > SHOWN else "Trials by value"
    header = ["trial", "value", *study.space.names, "seconds"]
    return [f"<h2>{title}</h2>", f'<div class="wide">{_table(header, rows, "first")}</div>']


def _failures(study: Study) -> list[str]:
    reasons = Counter(trial.error or "" for trial in study.trials if trial.state == "failed")
    if not reasons:
        return []
    rows = ((str(count), reason) for reason, count in reasons.most_common(SHOWN))
    return ["<h2>Failures</h2>", _table(("trials", "reason"), rows)]


def report(study: Study, path: str | os.PathLike[str]) -> None:
    """Write the page; see :meth:`fastopt.tune.Study.report`.

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
    title = escape(study.name)
    body = [f"<h1>{title}</h1>", f'<p class="facts">{escape(_facts(study))}</p>']
    if any(trial.state == "done" for trial in study.trials):
        body += [*_best(study), *_pictures(study), *_trials(study)]
    body += _failures(study)
    page = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{STYLE}</style></head><body>",
        *body,
        "</body></html>\n",
    ]
    with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write("\n".join(page))
