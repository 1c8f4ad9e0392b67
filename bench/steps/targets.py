"""What fastopt must show, as ratios, and whether it did."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench.steps.narrow import BFLOAT16, BLOCK8, CLIPPED, FLOAT32, FULL, NARROW, STORAGES, Storage
from bench.steps.populations import APART, FLAT
from bench.steps.results import COPY, Row

ADAMS = ("adam", "adamw")
TORCH = ("torch unfused", "torch foreach", "torch fused")
FUSED = ("torch fused", "deepspeed")
# Rivals that go over the arrays several times in each step.
UNFUSED = (
    *("numpy", "torch unfused", "torch foreach"),
    *("pytorch_optimizer", "timm", "schedulefree", "torch sparse", "torch operations"),
)


@dataclass(frozen=True)
class Target:
    """In every row that it concerns, the ratio to the fastest of `rivals` must reach `needed`.

    rivals : names, or None for all rivals.
    own : which of fastopt's entries is meant; None for the function where it takes part.
    limit : seconds; the ratio is this limit to our own time, whatever the rivals take.
    allowed : how many times as long as a rival's ours may take; the ratio is multiplied by it.
    """

    work: str
    against: str
    needed: float
    concerns: Callable[[Row], bool]
    rivals: tuple[str, ...] | None = None
    own: str | None = None
    limit: float | None = None
    allowed: Callable[[Row], float] = lambda row: 1.0

    def measured(self, row: Row) -> tuple[float, str] | None:
        own = self.own or row.own
        if own not in row.samples:
            return None
        if self.limit is not None:
            return self.limit / row.time(own), own
        names = row.rivals if self.rivals is None else self.rivals
        present = [name for name in names if name in row.samples]
        allowed = self.allowed(row)
        return min(((allowed * row.ratio(name, own), name) for name in present), default=None)

    def worst(self, rows: Iterable[Row]) -> tuple[float, str, Row] | None:
        measured = [(self.measured(row), row) for row in rows if self.concerns(row)]
        found = [(*result, row) for result, row in measured if result is not None]
        return min(found, key=lambda item: item[0], default=None)


def _large_adam(row: Row) -> bool:
    return (
        (row.suite, row.dtype, row.threads) == ("steps", "float32", 1)
        and row.rule in ADAMS
        and row.elements in (100_000, 1_000_000)
    )


def _small_adam(row: Row) -> bool:
    return (
        (row.suite, row.dtype) == ("steps", "float32")
        and row.rule in ADAMS
        and row.elements in (100, 1_000)
    )


def _overhead(work: str, named: str, own: str, limit: float, written: str) -> Target:
    """A limit for a call on arrays so small that the call itself takes the time."""
    return Target(
        work=named,
        against=f"a limit of {written}",
        needed=1.0,
        concerns=lambda row: (row.suite, row.work, row.rule) == ("overhead", work, "adam"),
        own=own,
        limit=limit,
    )


def _population(work: str) -> Callable[[Row], bool]:
    return lambda row: (row.suite, row.work, row.rule) == ("population", work, "adam")


def _population_training(batches: str) -> Callable[[Row], bool]:
    return lambda row: row.suite == "population_training" and row.work.endswith(batches)


TARGETS = (
    Target(
        work="Adam, AdamW float32, 1e5 and 1e6 elements, 1 thread",
        against="torch fused",
        needed=2.2,
        concerns=_large_adam,
        rivals=("torch fused",),
    ),
    Target(
        work="the same",
        against="DeepSpeed",
        needed=1.1,
        concerns=_large_adam,
        rivals=("deepspeed",),
    ),
    Target(
        work="Adam, AdamW, 100 and 1,000 elements, function",
        against="the faster of torch fused, DeepSpeed",
        needed=15,
        concerns=_small_adam,
        rivals=FUSED,
        own="fastopt",
    ),
    Target(
        work="the same, class",
        against="the faster of torch fused, DeepSpeed",
        needed=10,
        concerns=_small_adam,
        rivals=FUSED,
        own="fastopt class",
    ),
    Target(
        work="Adam, 100 elements, function",
        against="Thinc",
        needed=3,
        concerns=lambda row: _small_adam(row) and (row.rule, row.elements) == ("adam", 100),
        rivals=("thinc",),
        own="fastopt",
    ),
    Target(
        work="every rule, 4e7 elements, 1 and 2 threads",
        against="the copy kernel",
        needed=0.95,
        concerns=lambda row: row.suite == "steps" and row.elements == 40_000_000,
        rivals=(COPY,),
    ),
    Target(
        work="every rule, every size, 1 and 2 threads",
        against="the best of all rivals",
        needed=1.0,
        concerns=lambda row: row.suite == "steps",
    ),
    Target(
        work="Adadelta, 1e5 elements and more",
        against="the best of torch",
        needed=8,
        concerns=lambda row: (
            (row.suite, row.rule) == ("steps", "adadelta") and row.elements >= 100_000
        ),
        rivals=TORCH,
    ),
    Target(
        work="6-tensor MLP step",
        against="torch fused",
        needed=15,
        concerns=lambda row: (row.suite, row.work) == ("models", "mlp"),
        rivals=("torch fused",),
    ),
    Target(
        work="ResNet-50, GPT-2 small: clip + step",
        against="torch's three calls, fused step",
        needed=1.3,
        concerns=lambda row: (
            row.suite == "models" and row.work in ("resnet50, clipped", "gpt2, clipped")
        ),
        rivals=("torch fused",),
    ),
    Target(
        work="drop-in for torch's optimizers, every rule and model",
        against="the best of torch",
        needed=1.0,
        concerns=lambda row: row.suite == "drop_in",
        rivals=TORCH,
    ),
    Target(
        work="whole call of Thinc's optimizer, 1e6 elements",
        against="Thinc",
        needed=8,
        concerns=lambda row: row.suite == "thinc" and row.elements == 1_000_000,
        rivals=("thinc optimizer",),
    ),
    Target(
        work="busy machine, 1,000 elements, default threads",
        against="own time on 1 thread",
        needed=0.8,
        concerns=lambda row: row.suite == "busy" and row.elements == 1_000,
        rivals=("fastopt, 1 thread",),
    ),
    _overhead("1 array of 64", "Adam, function on 64 elements", "fastopt", 300e-9, "300 ns"),
    _overhead(
        "1 array of 64", "Adam, class on 1 array of 64 elements", "fastopt class", 1e-6, "1 µs"
    ),
    _overhead(
        "100 arrays of 64",
        "Adam, class on 100 arrays of 64 elements",
        "fastopt class",
        10e-6,
        "10 µs",
    ),
    Target(
        work="population step, 64 perceptrons of four arrays, 1 and 2 threads",
        against="an optimizer for each, one by one",
        needed=8,
        concerns=_population("64 perceptrons, 64-32-10"),
        rivals=(APART,),
    ),
    Target(
        work="the same",
        against="one array of the same size",
        needed=1 / 2.0,
        concerns=_population("64 perceptrons, 64-32-10"),
        rivals=(FLAT,),
    ),
    Target(
        work="population step, 1,000 rows of 64, a learning rate each",
        against="one array of the same size",
        needed=1 / 4,
        concerns=_population("1,000 rows of 64"),
        rivals=(FLAT,),
    ),
    *(
        Target(
            work=f"training 64 perceptrons, batches of {batch}",
            against="one by one, with the same bits",
            needed=needed,
            concerns=_population_training(f"batches of {batch}"),
            rivals=(APART,),
        )
        for batch, needed in ((8, 8), (32, 3), (128, 1.5))
    ),
)
# For the other rules, and for rows of tables.
RULE_TARGETS = (
    Target(
        work="other rules, every size, 1 and 2 threads",
        against="the best of all rivals",
        needed=1.0,
        concerns=lambda row: row.suite == "rules",
    ),
    Target(
        work="the same",
        against="the best that is not fused",
        needed=3.0,
        concerns=lambda row: row.suite == "rules",
        rivals=UNFUSED,
    ),
    Target(
        work="4,096 rows of a million",
        against="torch",
        needed=3.0,
        concerns=lambda row: row.suite == "rows",
    ),
)


def storage_of(row: Row) -> Storage | None:
    """That of a row of one array in the suite `narrow`."""
    size, _, name = row.work.partition(": ")
    return STORAGES.get(name) if row.suite == "narrow" and size == f"{row.elements:,}" else None


def _narrow(
    formats: tuple[str, str, str],
    elements: int,
    threads: int,
    needed: float,
    remainder: bool = False,
) -> Target:
    """A step of narrow memory against our own in float32."""
    storage = next(
        storage
        for storage in STORAGES.values()
        if (storage.param, storage.grad, storage.states, storage.remainder) == (*formats, remainder)
    )
    return Target(
        work=f"{storage.name}, {elements:,} elements, {threads} thread{'s' if threads > 1 else ''}",
        against="our float32",
        needed=needed,
        concerns=lambda row: (
            storage_of(row) == storage and (row.elements, row.threads) == (elements, threads)
        ),
        rivals=(FULL,),
    )


def _model(work: str, rival: str, threads: int, needed: float) -> Target:
    return Target(
        work=f"{work}, GPT-2 small, {threads} thread{'s' if threads > 1 else ''}",
        against=rival,
        needed=needed,
        concerns=lambda row: (row.work, row.threads) == (f"gpt2, as {rival}", threads),
        rivals=(rival,),
    )


ALL_BFLOAT16 = (BFLOAT16, BFLOAT16, BFLOAT16)
NARROW_TARGETS = (
    _narrow(ALL_BFLOAT16, 40_000_000, 1, 1.5),
    _narrow(ALL_BFLOAT16, 40_000_000, 2, 1.6),
    _narrow(ALL_BFLOAT16, 100_000, 1, 0.7),
    _narrow(ALL_BFLOAT16, 1_000_000, 1, 0.9),
    _narrow(ALL_BFLOAT16, 40_000_000, 2, 1.35, remainder=True),
    _narrow((FLOAT32, FLOAT32, BFLOAT16), 40_000_000, 2, 1.25),
    _narrow((BFLOAT16, BFLOAT16, BLOCK8), 40_000_000, 2, 1.35, remainder=True),
    _model("drop-in, all bfloat16 to nearest", "torch fused, bfloat16", 1, 1.9),
    _model("the same", "torch fused, bfloat16", 2, 1.3),
    _model("bfloat16, float32 states", "deepspeed, bfloat16", 1, 1.25),
    _model("float32, gradient in bfloat16, bfloat16 copy", "deepspeed, then copies", 1, 1.3),
    _model("the same", "deepspeed, then copies", 2, 1.3),
    Target(
        work="clipping, every combination, 40,000,000 elements, 1 and 2 threads",
        against="the same without, and the gradient read once more",
        needed=1.0,
        concerns=lambda row: storage_of(row) is not None and row.elements == 40_000_000,
        rivals=(NARROW,),
        own=CLIPPED,
        allowed=lambda row: storage_of(row).clipped,
    ),
)
