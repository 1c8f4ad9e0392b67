"""Studies as plain text for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from fastopt.tune.ledger.encoding import name_strategy
from fastopt.tune.reporting.order import order_trials
from fastopt.tune.reporting.table import result_columns
from fastopt.tune.space.trial import Trial, note_title

__all__ = ["clean", "describe", "list_studies", "list_trials"]

WIDEST = 40


def clean(value: Any, longest: int = WIDEST) -> str:
    """One line, without what would control the terminal."""
    text = f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [list(map(clean, header)), *(list(map(clean, row)) for row in rows)]
    widths = [max(len(line[j]) for line in lines) for j in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _counts(trials: Sequence[Trial]) -> str:
    states = Counter(trial.state for trial in trials)
    listed = ", ".join(f"{states[state]} {state}" for state in sorted(states))
    return f"{len(trials)} trials ({listed or 'none'})"


def list_studies(studies: Iterable[tuple[str, Any]]) -> str:
    """One line for each name and study, or the error that opening it has raised."""
    rows: list[list[Any]] = []
    for name, study in studies:
        if isinstance(study, Exception):
            rows.append([name, "", "", "", str(study)])
            continue
        ranked, n_best = order_trials(study.directions, study.trials)
        several = len(study.directions) > 1
        best = f"{n_best} on the front" if several else ranked[0].value if n_best else None
        strategy = name_strategy(study.strategy)
        directions = ", ".join(study.directions)
        rows.append([name, directions, best, strategy, _counts(study.trials)])
    return _table(["study", "direction", "best", "strategy", "trials"], rows)


def describe(study: Any) -> str:
    """What a study searches and how far it has come."""
    trials = study.trials
    seconds = sum(trial.seconds or 0.0 for trial in trials)
    lines = [
        f"{clean(study.name, 200)}: {', '.join(study.directions)} with "
        f"{clean(name_strategy(study.strategy), 200)}, seed {study.seed}",
        f"{_counts(trials)}, {seconds:.1f} s of evaluation",
        "",
        *(f"{clean(n)} = {clean(p, 200)}" for n, p in study.space.parameters.items()),
    ]
    failed = Counter(trial.error or "" for trial in trials if trial.state == "failed")
    if failed:
        rows = [[count, error] for error, count in failed.most_common(5)]
        lines += ["", _table(["failed", "reason"], rows)]
    return "\n".join(lines)


def list_trials(study: Any, most: int) -> str:
    """The best trials, then those without a result, one a line."""
    trials = study.trials
    done, _ = order_trials(study.directions, trials)
    ranked = [*done, *(trial for trial in trials if trial.state != "done")][:most]
    results = result_columns(len(study.directions), ranked)
    names = study.space.names
    notes = list(dict.fromkeys(name for trial in ranked for name in trial.notes))
    rows = [
        [
            trial.number,
            trial.state,
            *numbers,
            *(trial.params.get(name) for name in names),
            *(trial.notes.get(name) for name in notes),
            None if trial.seconds is None else f"{trial.seconds:.2f}",
        ]
        for trial, numbers in zip(ranked, zip(*results.values(), strict=True), strict=True)
    ]
    titles = [note_title(note, names) for note in notes]
    return _table(["trial", "state", *results, *names, *titles, "seconds"], rows)
