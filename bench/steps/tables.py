"""Markdown from rows."""

from __future__ import annotations

from collections import Counter

import fastopt
from bench.documents import NOT_MEASURED, table
from bench.steps.arrays import bytes_per_element
from bench.steps.narrow import CLIPPED, FULL, NARROW, STORAGES
from bench.steps.problems import DROP_IN_MODELS
from bench.steps.results import COPY, WIDE, Row
from bench.steps.rivals import RIVALS
from bench.steps.targets import (
    NARROW_TARGETS,
    RULE_TARGETS,
    TARGETS,
    UNFUSED,
    Target,
    storage_of,
)

# The README's rows: what Adam steps, in few words, so that the table fits 80 columns.
SHORT = {
    ("steps", "1000"): "1,000 floats",
    ("models", "mlp"): "MLP, 6 arrays",
    ("steps", "1000000"): "1 million floats",
    ("models", "gpt2"): "GPT-2 small",
    ("models", "gpt2, clipped"): "GPT-2, clipped",
}
NAMES = {"torch fused": "torch", "torch foreach": "torch", "torch unfused": "torch"}
NAMES |= {"deepspeed": "DeepSpeed", "thinc": "Thinc", "numpy": "NumPy"}
TITLES = {
    "placement": "Arrays that begin elsewhere in their pages",
    "models": "Whole models",
    "drop_in": "Drop-in for torch's optimizers, whole models",
    "thinc": "Whole call of Thinc's optimizer",
    "overhead": "Call overhead",
    "population": "One step of many models, a learning rate each",
    "population_training": "Whole training of many models: forward, backward, step",
    "rows": "Some rows of a large table",
    "calls": "A call from Python, and from a compiled loop of calls",
}


def time(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, scale in (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        if seconds < 999.5 * scale or unit == "s":
            value = seconds / scale
            break
    return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f} {unit}"


def number(ratio: float, low: float, high: float) -> str:
    """Two decimals below ten, else one; a wide interval is marked."""
    return f"{'~' if high > WIDE * low else ''}{ratio:.{2 if ratio < 10 else 1}f}x"


def against(row: Row, name: str, own: str | None = None) -> str:
    return number(row.ratio(name, own), *row.interval(name, own))


def best(row: Row) -> list[str]:
    """The fastest rival and the ratio, which is marked unless fastopt is clearly faster."""
    if row.best is None:
        return ["-", "-"]
    text = against(row, row.best)
    marked = {
        "faster": text,
        "slower": f"**{text} slower**",
        "undecided": f"{text.removeprefix('~')}?",
    }
    return [row.best, marked[row.verdict]]


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _where(row: Row) -> str:
    return f"{row.suite}: {row.rule} {row.dtype} {row.work}, {_threads(row.threads)}"


def _columns(rows: list[Row]) -> list[str]:
    present = {name for row in rows for name in row.samples}
    ordered = [name for name in RIVALS if name in present]
    return ordered + sorted(present - set(ordered))


def _cells(row: Row, columns: list[str]) -> list[str]:
    return [time(row.time(name)) if name in row.samples else "-" for name in columns]


def throughput(row: Row) -> float:
    """GB/s of our step."""
    per_element = bytes_per_element(fastopt.RULES[row.rule], row.dtype)
    return row.elements * per_element / row.time(row.own) / 1e9


def steps_table(rows: list[Row]) -> str:
    """One line for each rule and size."""
    columns = _columns(rows)
    header = ["rule", "elements", *columns, "GB/s", "copy ÷ ours", "fastest rival", "its ÷ ours"]
    lines = []
    for row in rows:
        copy = f"{row.ratio(COPY):.2f}" if COPY in row.samples else "-"
        cells = [row.rule, f"{row.elements:,}", *_cells(row, columns)]
        lines.append([*cells, f"{throughput(row):.1f}", copy, *best(row)])
    return table(header, lines)


def works_table(rows: list[Row]) -> str:
    """One line for each work that is not a single array."""
    columns = _columns(rows)
    header = ["work", "rule", *columns, "fastest rival", "its ÷ ours"]
    return table(header, [[r.work, r.rule, *_cells(r, columns), *best(r)] for r in rows])


def busy_table(rows: list[Row]) -> str:
    columns = _columns(rows)
    lines = []
    for row in rows:
        kept = against(row, f"{row.own}, 1 thread")
        lines.append([row.rule, f"{row.elements:,}", *_cells(row, columns), kept])
    return table(["rule", "elements", *columns, "1 thread ÷ default"], lines)


def targets_table(rows: list[Row], targets: tuple[Target, ...] = TARGETS) -> str:
    """Each target with the worst ratio seen and where."""
    lines = []
    for target in targets:
        worst = target.worst(rows)
        needed = f"{target.needed:g}x"
        if worst is None:
            lines.append([target.work, target.against, needed, "-", "-", "not run"])
            continue
        value, name, row = worst
        verdict = "yes" if value >= target.needed else "**no**"
        cells = [needed, f"{value:.2f}x", f"{_where(row)}, {name}", verdict]
        lines.append([target.work, target.against, *cells])
    return table(["work", "against", "needed", "worst measured", "where", "reached"], lines)


def _compared(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.suite != "busy" and row.best is not None]


def counts(rows: list[Row]) -> str:
    """One sentence: in how many rows fastopt is faster, slower, or neither can be said."""
    compared = _compared(rows)
    found = Counter(row.verdict for row in compared)
    return (
        f"Of all {len(compared)} rows fastopt is faster than every rival in {found['faster']}, "
        f"slower than the fastest in {found['slower']}; {found['undecided']} are undecided.\n"
    )


def not_won(rows: list[Row]) -> str:
    """Every row in which a rival is faster, or may be."""
    found = [row for row in _compared(rows) if row.verdict != "faster"]
    lines = [[_where(row), *best(row)] for row in found]
    listed = table(["row", "fastest rival", "its ÷ ours"], lines) if lines else ""
    return f"{counts(rows)}\n{listed}"


def machine(environment: dict) -> str:
    return (
        f"{environment['cpu']}, {environment['cores']} cores, kernels: {environment['isa']}; "
        f"{environment['system']}, Python {environment['python']}"
    )


def _versions(environment: dict) -> str:
    return ", ".join(f"{name} {text}" for name, text in environment["versions"].items())


def _others(rows: list[Row]) -> str:
    """Whether other processes used the machine; the system counts their time in ticks, to a few
    percent."""
    disturbed = [row for row in rows if row.others > 0.1]
    if not disturbed:
        return "No other process used more than a tenth of a core meanwhile.\n"
    worst = max(row.others for row in disturbed)
    return (
        f"In {len(disturbed)} of {len(rows)} rows other processes used more than a tenth of a "
        f"core meanwhile, at most {worst:.1f} cores: distrust their times with several threads.\n"
    )


def _select(rows: list[Row], suite: str, **wanted: object) -> list[Row]:
    found = [
        row
        for row in rows
        if row.suite == suite and all(getattr(row, name) == value for name, value in wanted.items())
    ]
    rule_order = list(fastopt.RULES)
    return sorted(found, key=lambda row: (rule_order.index(row.rule), row.elements, row.work))


def whole(environment: dict, rows: list[Row]) -> str:
    """For the notes: everything."""
    parts = [f"{machine(environment)}; {_versions(environment)}.\n", _others(rows)]
    parts += ["### Targets\n", targets_table(rows)]
    parts += ["### Rows that are not won\n", not_won(rows)]
    threads_seen = sorted({row.threads for row in rows})
    for dtype in ("float32", "float64"):
        for threads in threads_seen:
            found = _select(rows, "steps", dtype=dtype, threads=threads)
            if found:
                parts += [f"### One array, {dtype}, {_threads(threads)}\n", steps_table(found)]
    for suite, title in TITLES.items():
        for threads in threads_seen:
            found = _select(rows, suite, threads=threads)
            if found:
                parts += [f"### {title}, {_threads(threads)}\n", works_table(found)]
    found = _select(rows, "busy")
    if found:
        parts += ["### Busy machine: as many processes as cores besides\n", busy_table(found)]
    return "\n".join(parts)


def _size(elements: int) -> str:
    return f"{elements // 1_000_000} million" if elements >= 1_000_000 else f"{elements:,}"


def rules_table(rows: list[Row]) -> str:
    """One line for each rule: our time at each size, and the fastest rival."""
    sizes = sorted({row.elements for row in rows})
    lines: dict[str, list[str]] = {}
    for row in rows:
        _, *variant = row.work.split(", ")
        cells = lines.setdefault(", ".join([row.rule, *variant]), ["-"] * len(sizes))
        text = time(row.time(row.own))
        if row.best is not None:
            name, ratio = best(row)
            text += f"; {ratio} {name}"
        cells[sizes.index(row.elements)] = text
    return table(["rule", *map(_size, sizes)], [[rule, *cells] for rule, cells in lines.items()])


def unfused(rows: list[Row], needed: float = 3.0) -> str:
    """In how many rows fastopt is far ahead of what is not fused; then the other rows."""
    near, count = [], 0
    for row in rows:
        name = min((name for name in row.rivals if name in UNFUSED), key=row.time, default=None)
        if name is None:
            continue
        count += 1
        if row.ratio(name) < needed:
            near.append([_where(row), name, against(row, name)])
    text = (
        f"In {count - len(near)} of {count} rows fastopt is at least {needed:g} times as fast as "
        "every rival that is not fused. "
    )
    if not near:
        return text + "\n"
    return f"{text}The others:\n\n{table(['row', 'rival', 'its ÷ ours'], near)}"


def every_rule(environment: dict, rows: list[Row]) -> str:
    """For the notes on rivals: the suites `rules`, `rows` and `calls`."""
    of_rules = [row for row in rows if row.suite == "rules"]
    parts = [f"{machine(environment)}; {_versions(environment)}.\n", _others(rows)]
    parts += ["### Targets\n", targets_table(rows, RULE_TARGETS)]
    parts += ["### Rows that are not won\n", not_won(rows)]
    parts += ["### Against what is not fused\n", unfused(of_rules)]
    for suite in ("rules", "rows", "calls"):
        for threads in sorted({row.threads for row in rows}):
            found = _select(rows, suite, threads=threads)
            if found and suite == "rules":
                parts += [f"### One array, float32, {_threads(threads)}\n", rules_table(found)]
            elif found:
                parts += [f"### {TITLES[suite]}, {_threads(threads)}\n", works_table(found)]
    return "\n".join(parts)


def _bytes(count: float) -> str:
    return f"{count:.1f}".removesuffix(".0")


def storages_table(rows: list[Row]) -> str:
    """One line for each combination of formats."""
    lines = []
    for row in rows:
        storage = storage_of(row)
        cells = [
            storage.buffers,
            storage.states,
            _bytes(storage.moved),
            *_cells(row, [FULL, NARROW]),
        ]
        cells += [
            against(row, FULL),
            f"{1 / row.ratio(NARROW, CLIPPED):.2f}",
            f"{storage.clipped:.2f}",
        ]
        lines.append(cells)
    header = ["parameter, gradient", "states", "bytes moved", FULL, NARROW, "float32 ÷ narrow"]
    return table([*header, "clipped ÷ not", "its bytes"], lines, left=2)


def _stored(rows: list[Row], elements: int, threads: int) -> list[Row]:
    """Those of one array of so many elements, in the order of `STORAGES`."""
    found = [
        row
        for row in rows
        if storage_of(row) and (row.elements, row.threads) == (elements, threads)
    ]
    return sorted(found, key=lambda row: list(STORAGES).index(storage_of(row).name))


def every_storage(environment: dict, rows: list[Row]) -> str:
    """For the notes on narrow formats: every size, and whole models beside torch and DeepSpeed."""
    parts = [f"{machine(environment)}; {_versions(environment)}.\n", _others(rows)]
    parts += ["### Targets\n", targets_table(rows, NARROW_TARGETS)]
    models = [row for row in _select(rows, "narrow") if storage_of(row) is None]
    if models:
        threads = sorted({row.threads for row in models})
        for count in threads:
            found = [row for row in models if row.threads == count]
            parts += [f"### Whole models, {_threads(count)}\n", works_table(found)]
    arrays = [row for row in rows if storage_of(row)]
    for elements in sorted({row.elements for row in arrays}):
        for count in sorted({row.threads for row in arrays}):
            title = f"### {elements:,} elements, {_threads(count)}\n"
            parts += [title, storages_table(_stored(rows, elements, count))]
    return "\n".join(parts)


def memory(environment: dict, rows: list[Row]) -> str:
    """For the guide: what each combination holds, moves and gains where memory is the limit."""
    elements = max(row.elements for row in rows if storage_of(row))
    speeds = {
        (storage_of(row).name, threads): f"{row.ratio(FULL):.2f}"
        for threads in (1, 2)
        for row in _stored(rows, elements, threads)
    }
    lines = []
    for storage in STORAGES.values():
        cells = [storage.buffers, storage.states, f"`{storage.how}`", storage.accuracy]
        cells.append(f"{_bytes(storage.held)} / {_bytes(storage.moved)}")
        lines.append([*cells, *(speeds.get((storage.name, count), "1") for count in (1, 2))])
    header = ["parameter, gradient", "states", "how", "accuracy", "held / moved"]
    text = table([*header, "speed, 1 thread", "2 threads"], lines, left=4)
    return f"{text}\n{elements:,} elements. {machine(environment)}.\n"


def printed(environment: dict, rows: list[Row]) -> str:
    """All tables of a file or a run."""
    of_suite = {"rules": every_rule, "narrow": every_storage}
    make = next((of_suite[row.suite] for row in rows if row.suite in of_suite), whole)
    return make(environment, rows)


def short(environment: dict, rows: list[Row]) -> str:
    """For the README: Adam on a few works, with one thread and with two."""
    lines = []
    for (suite, work), title in SHORT.items():
        for row in _select(rows, suite, work=work, rule="adam", dtype="float32"):
            if row.best is None or (row.elements < 10_000 and row.threads > 1):
                continue  # one thread steps so few elements, however many are allowed
            rival = f"{time(row.time(row.best))}, {NAMES.get(row.best, row.best)}"
            work = title if row.threads == 1 else f"{title}, {_threads(row.threads)}"
            lines.append([work, time(row.time(row.own)), rival, best(row)[1]])
    header = ["Adam, float32", "fastopt", "fastest rival", "ratio"]
    legend = "The ratio is the rival's time ÷ fastopt's."
    return f"{table(header, lines)}\n{legend} {machine(environment)}. {counts(rows)}"


def drop_in(environment: dict, rows: list[Row]) -> str:
    """For the page on torch: how many times as long the fastest of torch's own steps takes."""
    found = {row.key: row for row in _select(rows, "drop_in")}
    rules = list(dict.fromkeys(row.rule for row in found.values()))
    lines = []
    for threads in sorted({row.threads for row in found.values()}):
        for model in DROP_IN_MODELS:
            keys = [("drop_in", model, rule, "float32", threads) for rule in rules]
            if any(key in found for key in keys):
                cells = [best(found[key])[1] if key in found else "-" for key in keys]
                lines.append([model, str(threads), *cells])
    return f"{table(['model', 'threads', *rules], lines)}\n{machine(environment)}.\n"


def thinc(environment: dict, rows: list[Row]) -> str:
    """For the page on Thinc: how many times as long the whole call of its optimizer takes."""
    found = _select(rows, "thinc")
    threads = sorted({row.threads for row in found})
    works = list(dict.fromkeys(row.work for row in found))
    cells = {(row.work, row.threads): best(row)[1] for row in found}
    lines = [[work, *(cells.get((work, count), "-") for count in threads)] for work in works]
    header = ["elements, settings", *(_threads(count) for count in threads)]
    return f"{table(header, lines)}\n{machine(environment)}.\n"


def summary(row: Row) -> str:
    """One line while measuring."""
    ours = f"{_where(row)}: {time(row.time(row.own))}"
    return f"{ours}, {' '.join(best(row))}" if row.best else ours


def published(make, measured: tuple[dict, list[Row]] | None) -> str:
    return make(*measured) if measured else NOT_MEASURED
