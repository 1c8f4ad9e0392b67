"""Markdown from rows."""

from __future__ import annotations

from statistics import median

import fastopt

from .contenders import CONTENDERS, DROP_INS, THINC_OPTIMIZERS
from .suites import SUITE_THREADS, Row
from .targets import TARGETS, best_ratio, own, rivals
from .workload import bytes_per_element

SHORT_RULE, SHORT_SIZE = "adam", 1_000_000


def table(header: list[str], lines: list[list[str]]) -> str:
    """Markdown; all columns but the first to the right."""
    rule = ["---"] + ["--:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *lines)) + "\n"


def time(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, scale in (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        if seconds < 999.5 * scale or unit == "s":
            value = seconds / scale
            break
    return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f} {unit}"


def count(elements: int) -> str:
    return f"{elements:,}"


def times(value: float) -> str:
    """A ratio of a rival's time to ours; a loss is marked."""
    return f"{value:.2f}x" if value >= 1 else f"**{value:.2f}x loses**"


def _columns(rows: list[Row]) -> list[str]:
    names = [*CONTENDERS, *DROP_INS, *THINC_OPTIMIZERS, "ceiling"]
    names += [name for row in rows for name in row.samples]
    present = {name for row in rows for name in row.samples}
    return [name for name in dict.fromkeys(names) if name in present]


def _cell(row: Row, name: str) -> str:
    return time(median(row.samples[name])) if name in row.samples else "-"


def _best(row: Row) -> list[str]:
    found = best_ratio(row, rivals(row))
    return [times(found[0]), found[1]] if found else ["-", "-"]


def throughput(row: Row) -> float:
    """GB/s of our step."""
    per_element = bytes_per_element(fastopt.RULES[row.rule], row.dtype)
    return row.elements * per_element / median(row.samples[own(row)]) / 1e9


def _of_ceiling(row: Row) -> str:
    found = best_ratio(row, ("ceiling",))
    return f"{found[0]:.2f}" if found else "-"


def steps_table(rows: list[Row], columns: list[str] | None = None) -> str:
    """One line for each rule and size."""
    columns = columns or [name for name in _columns(rows) if name != "ceiling"]
    header = ["rule", "elements", *columns, "GB/s", "of ceiling", "best rival", "is"]
    return table(
        header,
        [
            [
                *(row.rule, count(row.elements)),
                *(_cell(row, name) for name in columns),
                *(f"{throughput(row):.1f}", _of_ceiling(row), *_best(row)),
            ]
            for row in rows
        ],
    )


def works_table(rows: list[Row]) -> str:
    """One line for each model or the like."""
    columns = _columns(rows)
    return table(
        ["work", "rule", *columns, "best rival", "is"],
        [
            [row.work, row.rule, *(_cell(row, name) for name in columns), *_best(row)]
            for row in rows
        ],
    )


def busy_table(rows: list[Row]) -> str:
    columns = _columns(rows)
    lines = []
    for row in rows:
        kept = best_ratio(row, ("fastopt, 1 thread",), "fastopt")
        cells = [_cell(row, name) for name in columns]
        lines.append([row.rule, count(row.elements), *cells, f"{kept[0]:.2f}x" if kept else "-"])
    return table(["rule", "elements", *columns, "1 thread ÷ default"], lines)


def targets_table(rows: list[Row]) -> str:
    """Each target with the worst ratio seen and where."""
    lines = []
    for target in TARGETS:
        worst = target.worst(rows)
        if worst is None:
            lines.append([target.work, target.against, f"{target.needed:g}x", "-", "-", "not run"])
            continue
        value, name, row = worst
        where = f"{row.rule} {row.dtype} {row.work}, {_threads(row.threads)}, {name}"
        verdict = "yes" if value >= target.needed else "**no**"
        needed = f"{target.needed:g}x"
        lines.append([target.work, target.against, needed, f"{value:.2f}x", where, verdict])
    return table(["work", "against", "needed", "worst measured", "where", "reached"], lines)


def losses(rows: list[Row]) -> str:
    """Every row in which a rival is faster."""
    lines = []
    compared = 0
    for row in rows:
        found = best_ratio(row, rivals(row)) if row.suite != "busy" else None
        if found is None:
            continue
        compared += 1
        if found[0] < 1:
            where = f"{row.suite}: {row.rule} {row.dtype} {row.work}, {_threads(row.threads)}"
            lines.append([where, found[1], f"{found[0]:.2f}x"])
    text = f"fastopt is slower than the best rival in {len(lines)} of {compared} rows.\n"
    return text + "\n" + table(["row", "rival", "its time ÷ ours"], lines) if lines else text


def _threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"


def _others(rows: list[Row]) -> str:
    """Whether the machine was the benchmark's alone: tick counts are good to a few percent."""
    disturbed = [row for row in rows if row.others > 0.1]
    if not disturbed:
        return "No other process used more than a tenth of a core meanwhile.\n"
    worst = max(row.others for row in disturbed)
    return (
        f"In {len(disturbed)} of {len(rows)} rows other processes used more than a tenth of a "
        f"core meanwhile, at most {worst:.1f} cores: distrust their times with several threads.\n"
    )


def _select(rows, suite, **wanted):
    found = [
        row
        for row in rows
        if row.suite == suite and all(getattr(row, name) == value for name, value in wanted.items())
    ]
    rule_order = list(fastopt.RULES)
    return sorted(found, key=lambda row: (rule_order.index(row.rule), row.elements, row.work))


def _environment_line(environment: dict) -> str:
    versions = ", ".join(f"{name} {text}" for name, text in environment["versions"].items())
    return (
        f"{environment['cpu']}, {environment['cores']} cores, kernels: {environment['isa']}; "
        f"{environment['system']}, Python {environment['python']}; {versions}.\n"
    )


def whole(environment: dict, rows: list[Row]) -> str:
    """For docs/performance.md: everything."""
    parts = [_environment_line(environment), _others(rows), "### Targets\n", targets_table(rows)]
    parts += ["### Where fastopt loses\n", losses(rows)]
    threads_seen = sorted({row.threads for row in rows})
    for dtype in ("float32", "float64"):
        for threads in threads_seen:
            found = _select(rows, "steps", dtype=dtype, threads=threads)
            if found:
                parts += [f"### One array, {dtype}, {_threads(threads)}\n", steps_table(found)]
    titles = {
        "placement": "Arrays that begin elsewhere in their pages",
        "models": "Whole models",
        "drop_in": "Drop-in for torch's optimizers, whole models",
        "thinc": "Whole call of Thinc's optimizer",
        "overhead": "Call overhead",
    }
    for suite, title in titles.items():
        for threads in threads_seen:
            found = _select(rows, suite, threads=threads)
            if found:
                parts += [f"### {title}, {_threads(threads)}\n", works_table(found)]
    found = _select(rows, "busy")
    if found:
        parts += ["### Busy machine: as many processes as cores besides\n", busy_table(found)]
    return "\n".join(parts)


def short(environment: dict, rows: list[Row]) -> str:
    """For the README: one rule at every size, every rule at one size, the models."""
    parts = [_environment_line(environment), _others(rows)]
    names = {"fastopt", "numpy", "torch foreach", "torch fused", "deepspeed", "thinc", "optax"}
    for threads in SUITE_THREADS["steps"]:
        by_size = _select(rows, "steps", rule=SHORT_RULE, dtype="float32", threads=threads)
        by_rule = _select(rows, "steps", elements=SHORT_SIZE, dtype="float32", threads=threads)
        found = by_size + [row for row in by_rule if row.rule != SHORT_RULE]
        if found:
            columns = [name for name in _columns(found) if name in names]
            parts += [f"One array of float32, {_threads(threads)}:\n", steps_table(found, columns)]
        found = _select(rows, "models", threads=threads)
        if found:
            parts += [f"Whole models, {_threads(threads)}:\n", works_table(found)]
    parts.append(losses(rows))
    return "\n".join(parts)
