"""What fastopt must show, as ratios, and whether it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from .alternate import ratio
from .suites import Row

ADAMS = ("adam", "adamw")
OWN = ("fastopt", "fastopt class", "fastopt torch", "fastopt thinc")


def rivals(row: Row) -> list[str]:
    """Contenders from elsewhere."""
    return [name for name in row.samples if not name.startswith("fastopt") and name != "ceiling"]


def own(row: Row) -> str:
    """The function where it takes part, else the class, else the drop-in for another library's."""
    return next(name for name in OWN if name in row.samples)


def best_ratio(row: Row, names, mine: str | None = None) -> tuple[float, str] | None:
    """How many times the fastest of `names` takes as long as fastopt, and who that is."""
    present = [name for name in names if name in row.samples]
    if not present:
        return None
    return min((ratio(row.samples[name], row.samples[mine or own(row)]), name) for name in present)


@dataclass
class Target:
    """One line: the worst of `measure(row)` over the rows that it concerns must reach `needed`."""

    work: str
    against: str
    needed: float
    concerns: Callable[[Row], bool]
    measure: Callable[[Row], tuple[float, str] | None]

    def worst(self, rows: list[Row]) -> tuple[float, str, Row] | None:
        measured = [(self.measure(row), row) for row in rows if self.concerns(row)]
        found = [(*result, row) for result, row in measured if result is not None]
        return min(found, key=lambda item: item[0]) if found else None


def _steps(rules=None, sizes=None, dtype=None, threads=None, at_least=0):
    def concerns(row):
        return (
            row.suite == "steps"
            and (rules is None or row.rule in rules)
            and (sizes is None or row.elements in sizes)
            and (dtype is None or row.dtype == dtype)
            and (threads is None or row.threads == threads)
            and row.elements >= at_least
        )

    return concerns


def _model(*works):
    return lambda row: row.suite == "models" and row.work in works


def _against(*names, mine=None):
    def measure(row):
        if mine is not None and mine not in row.samples:
            return None
        return best_ratio(row, names, mine)

    return measure


def _within(limit: float, contender: str):
    """How many times our median fits into a limit in seconds."""

    def measure(row):
        samples = row.samples.get(contender)
        return (limit / median(samples), contender) if samples else None

    return measure


def _overhead(work):
    return lambda row: row.suite == "overhead" and row.work == work and row.rule == "adam"


def _ceiling(row):
    return best_ratio(row, ("ceiling",))


def _one_thread(row):
    return best_ratio(row, ("fastopt, 1 thread",), "fastopt")


LARGE_ADAM = _steps(ADAMS, (100_000, 1_000_000), "float32", threads=1)
SMALL_ADAM = _steps(ADAMS, (100, 1_000), "float32")
TORCH = ("torch unfused", "torch foreach", "torch fused")
FUSED = ("torch fused", "deepspeed")

TARGETS = (
    Target(
        *("Adam, AdamW float32, 1e5 and 1e6 elements, 1 thread", "torch fused", 2.2),
        *(LARGE_ADAM, _against("torch fused")),
    ),
    Target("the same", "DeepSpeed", 1.1, LARGE_ADAM, _against("deepspeed")),
    Target(
        *("Adam, AdamW, 100 and 1,000 elements, function", "the faster of torch fused, DeepSpeed"),
        *(15, SMALL_ADAM, _against(*FUSED, mine="fastopt")),
    ),
    Target(
        *("the same, class", "the faster of torch fused, DeepSpeed"),
        *(10, SMALL_ADAM, _against(*FUSED, mine="fastopt class")),
    ),
    Target(
        *("Adam, 100 elements, function", "Thinc", 3),
        *(_steps(("adam",), (100,), "float32"), _against("thinc", mine="fastopt")),
    ),
    Target(
        *("every rule, 4e7 elements, 1 and 2 threads", "the ceiling kernel", 0.95),
        *(_steps(sizes=(40_000_000,)), _ceiling),
    ),
    Target(
        *("every rule, every size, 1 and 2 threads", "the best of all rivals", 1.0),
        *(_steps(), lambda row: best_ratio(row, rivals(row))),
    ),
    Target(
        *("Adadelta, 1e5 elements and more", "the best of torch", 8),
        *(_steps(("adadelta",), at_least=100_000), _against(*TORCH)),
    ),
    Target("6-tensor MLP step", "torch fused", 15, _model("mlp"), _against("torch fused")),
    Target(
        *("ResNet-50, GPT-2 small: clip + step", "torch's three calls, fused step", 1.3),
        *(_model("resnet50, clipped", "gpt2, clipped"), _against("torch fused")),
    ),
    Target(
        *("drop-in for torch's optimizers, every rule and model", "the best of torch", 1.0),
        *(lambda row: row.suite == "drop_in", _against(*TORCH)),
    ),
    Target(
        *("whole call of Thinc's optimizer, 1e6 elements", "Thinc", 8),
        *(lambda row: row.suite == "thinc" and row.elements == 1_000_000,),
        _against("thinc optimizer"),
    ),
    Target(
        *("busy machine, 1,000 elements, default threads", "own time on 1 thread", 0.8),
        *(lambda row: row.suite == "busy" and row.elements == 1_000, _one_thread),
    ),
    Target(
        *("Adam, function on 64 elements", "a limit of 300 ns", 1.0),
        *(_overhead("1 array of 64"), _within(300e-9, "fastopt")),
    ),
    Target(
        *("Adam, class on 1 array of 64 elements", "a limit of 1 µs", 1.0),
        *(_overhead("1 array of 64"), _within(1e-6, "fastopt class")),
    ),
    Target(
        *("Adam, class on 100 arrays of 64 elements", "a limit of 10 µs", 1.0),
        *(_overhead("100 arrays of 64"), _within(10e-6, "fastopt class")),
    ),
)
