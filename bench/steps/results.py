"""Measured rows: their statistic, and their file.

A row keeps the seconds per step of each rival in every round. The time that is printed is the
median over the rounds, to three digits. A ratio is the quotient of two such times as they are
printed, so that anyone can check it in the table.

The 95 % interval of a ratio decides whether it means anything. It is a bootstrap interval: rounds
are drawn with replacement, the same for both rivals, and each draw gives a ratio of medians.
"""

from __future__ import annotations

import functools
import json
import os
import platform
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).with_name("results")
PUBLISHED, LATEST = FOLDER / "published.jsonl", FOLDER / "latest.jsonl"
# Of the suites `rules`, `rows` and `calls`, and of `narrow`: they have other rivals and may be of
# another machine.
RULES, NARROW = FOLDER / "rules.jsonl", FOLDER / "narrow.jsonl"
PACKAGES = (
    *("numpy", "torch", "deepspeed", "thinc", "optax", "jax"),
    *("pytorch_optimizer", "timm", "schedulefree", "Cython", "numba", "ml_dtypes"),
)
OWN = (
    *("fastopt", "fastopt class", "fastopt torch", "fastopt thinc", "fastopt population"),
    *(
        "fastopt rows",
        "fastopt narrow",
        "fastopt torch, bfloat16",
        "fastopt deepspeed, bfloat16",
        "fastopt copies",
    ),
)
COPY = "copy kernel"
DRAWS = 1000
# A ratio whose interval is wider than ten percent to either side is marked as an estimate.
WIDE = 1.1 / 0.9


def rounded(seconds: float, digits: int = 3) -> float:
    return float(f"{seconds:.{digits}g}")


def ratio_interval(numerator: list[float], denominator: list[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the ratio of medians, over the rounds that both have."""
    count = min(len(numerator), len(denominator))
    drawn = np.random.default_rng(0).integers(count, size=(DRAWS, count))
    above, below = (np.median(np.array(s[:count])[drawn], axis=1) for s in (numerator, denominator))
    low, high = np.quantile(above / below, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class Row:
    """One problem: `samples[rival][i]` is seconds per step in round i."""

    suite: str
    work: str
    rule: str
    dtype: str
    threads: int
    elements: int
    samples: dict[str, list[float]] = field(repr=False)
    others: float = 0.0  # cores that other processes used meanwhile

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        return self.suite, self.work, self.rule, self.dtype, self.threads

    @property
    def own(self) -> str:
        """The function where it takes part, else a class."""
        return next(name for name in OWN if name in self.samples)

    @property
    def rivals(self) -> list[str]:
        return [n for n in self.samples if not n.startswith("fastopt") and n != COPY]

    def time(self, name: str) -> float:
        return rounded(float(np.median(self.samples[name])))

    def ratio(self, name: str, own: str | None = None) -> float:
        """How many times as long as ours the other's step takes."""
        return self.time(name) / self.time(own or self.own)

    def interval(self, name: str, own: str | None = None) -> tuple[float, float]:
        return ratio_interval(self.samples[name], self.samples[own or self.own])

    @functools.cached_property
    def best(self) -> str | None:
        """The fastest rival."""
        return min(self.rivals, key=self.time, default=None)

    @functools.cached_property
    def verdict(self) -> str:
        """'faster' than every rival, 'slower' than one of them, or 'undecided'."""
        intervals = [self.interval(name) for name in self.rivals]
        if any(high < 1 for _, high in intervals):
            return "slower"
        if all(low > 1 for low, _ in intervals) and round(self.ratio(self.best), 2) > 1:
            return "faster"
        return "undecided"


def environment() -> dict:
    """The machine, the system and the versions of all installed packages."""
    import fastopt

    versions = {"fastopt": fastopt.__version__}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "isa": fastopt.isa(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def _cpu_name() -> str:
    information = Path("/proc/cpuinfo")
    for line in information.read_text().splitlines() if information.exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def load(path: Path) -> tuple[dict, list[Row]]:
    """The environment and the rows of a file."""
    first, *lines = path.read_text().splitlines()
    rows = []
    for line in map(json.loads, lines):
        samples = {n: [1e-6 * float(s) for s in text.split()] for n, text in line.pop("us").items()}
        rows.append(Row(samples=samples, **line))
    return json.loads(first), rows


def _as_line(row: Row) -> str:
    line = {name: getattr(row, name) for name in ("suite", "work", "rule", "dtype", "threads")}
    line |= {"elements": row.elements, "others": round(row.others, 2)}
    line["us"] = {
        name: " ".join(f"{rounded(1e6 * s, 4):.10g}" for s in taken)
        for name, taken in row.samples.items()
    }
    return json.dumps(line) + "\n"


class Results:
    """A file that rows are appended to, all of one machine with the same versions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.keys: set[tuple] = set()
        here = environment()
        if path.exists():
            stored, rows = load(path)
            if stored != here:
                raise ValueError(
                    f"{path}: was measured with {stored}, here is {here}; "
                    "remove it or give another --results"
                )
            self.keys = {row.key for row in rows}
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(here) + "\n")

    def append(self, row: Row) -> None:
        with self.path.open("a") as file:
            file.write(_as_line(row))
        self.keys.add(row.key)
