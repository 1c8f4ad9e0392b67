"""What is measured: each suite is a list of problems, each of which becomes one row."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import fastopt
from bench.steps import compiled_rivals
from bench.steps.arrays import (
    DROP_IN_MODELS,
    MODELS,
    Tensor,
    apart_in_pages,
    in_torch_memory,
    make_tensors,
)
from bench.steps.narrow import CLIPPED, FULL, NARROW, STORAGES
from bench.steps.populations import APART, FLAT, TOGETHER, perceptrons

DTYPES = ("float32", "float64")
SIZES = (1_000, 100_000, 1_000_000, 40_000_000)
ADAM_SIZES = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 40_000_000)
FLOAT64_RULES = ("adam", "adadelta")
# On larger arrays no difference between the class and the function could be measured.
MAX_SIZE_CLASS = 10_000
# On smaller arrays the copy kernel's call through ctypes matters, and the start of its threads.
MIN_SIZE_COPY, MIN_SIZE_COPY_THREADS = 10_000, 10_000_000
MAX_NORM = 1.0

FUNCTIONS = (
    "fastopt",
    "fastopt class",
    "numpy",
    "torch unfused",
    "torch foreach",
    "torch fused",
    "deepspeed",
    "thinc",
    "optax",
)
# These have rules that the others lack.
PACKAGES = ("pytorch_optimizer", "timm", "schedulefree")
TORCH_AND_OPTAX = ("torch unfused", "torch foreach", "torch fused", "optax")
DROP_INS = ("fastopt torch", "torch unfused", "torch foreach", "torch fused")
THINC_OPTIMIZERS = ("fastopt thinc", "thinc optimizer")
BUSY = ("fastopt", "torch fused")
SPARSE = ("fastopt rows", "fastopt torch rows", "torch sparse")
ROW_WISE = ("fastopt rows", "torch operations")
COMPILED = ("fastopt", "fastopt class", "fastopt from Cython", "fastopt from Numba")
NARROW_TORCH = ("fastopt torch, bfloat16", "torch fused, bfloat16")
NARROW_DEEPSPEED = ("fastopt deepspeed, bfloat16", "deepspeed, bfloat16")
COPIES = ("fastopt copies", "deepspeed, then copies")
STEPPING, TRAINING = (TOGETHER, APART, FLAT), (TOGETHER, APART)


@dataclass(frozen=True)
class Problem:
    """Arrays to step, and who steps them.

    rivals : names in `RIVALS`; those not installed or without the rule are left out.
    options : further arguments for their `make`.
    move : puts the arrays elsewhere in memory.
    busy : whether as many other processes as there are cores compete meanwhile; every rival then
        steps with `threads` and, in a second entry, with one.
    """

    suite: str
    work: str
    rule: str
    dtype: str
    threads: int
    shapes: list[tuple[int, ...]] = field(repr=False)
    rivals: tuple[str, ...] = FUNCTIONS
    options: dict[str, Any] = field(default_factory=dict)
    move: Callable[[list[Tensor]], list[Tensor]] | None = None
    busy: bool = False

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        return self.suite, self.work, self.rule, self.dtype, self.threads

    @property
    def elements(self) -> int:
        return sum(map(math.prod, self.shapes))

    def tensors(self) -> list[Tensor]:
        tensors = make_tensors(fastopt.RULES[self.rule], self.shapes, self.dtype)
        return self.move(tensors) if self.move else tensors


@dataclass(frozen=True)
class Selection:
    """Which problems. None means those that are published."""

    rules: list[str] | None = None
    dtypes: list[str] | None = None
    sizes: list[int] | None = None
    models: list[str] | None = None

    def __post_init__(self) -> None:
        for rule in self.rules or ():
            if rule not in fastopt.RULES:
                raise ValueError(f"rules: got {rule!r}, need some of {list(fastopt.RULES)}")

    def chosen_rules(self, default: tuple[str, ...] | None = None) -> list[str]:
        return list(self.rules or default or fastopt.RULES)


def steps(selection: Selection, threads: int) -> Iterator[Problem]:
    """Every rule, dtype and size: one array, one call."""
    for dtype in selection.dtypes or DTYPES:
        for rule in selection.chosen_rules(FLOAT64_RULES if dtype == "float64" else None):
            usual = ADAM_SIZES if (rule, dtype) == ("adam", "float32") else SIZES
            if dtype == "float64":
                usual = SIZES[:-1]
            for size in selection.sizes or usual:
                rivals = [r for r in FUNCTIONS if r != "fastopt class" or size <= MAX_SIZE_CLASS]
                if size >= (MIN_SIZE_COPY if threads == 1 else MIN_SIZE_COPY_THREADS):
                    rivals.append("copy kernel")
                yield Problem("steps", str(size), rule, dtype, threads, [(size,)], tuple(rivals))


# The rules of which the suite `steps` has rows.
FIRST_RULES = ("sgd", "momentum", "nag", "adagrad", "adadelta", "adam", "adamw", "rmsprop")
RULE_SIZES = (100, 10_000, 1_000_000, 40_000_000)
# Settings that change a rule's formula: keywords that fastopt's class, torch and optax share.
VARIANTS = {"rmsprop": {"centered": {"centered": True}, "momentum": {"momentum": 0.9}}}


def rules(selection: Selection, threads: int) -> Iterator[Problem]:
    """Every other rule against all rivals that have it: one array, one call."""
    others = [name for name in fastopt.RULES if name not in FIRST_RULES]
    # The largest arrays come last, since they take the longest and a run may be interrupted.
    for size in selection.sizes or RULE_SIZES:
        left_out = () if size <= MAX_SIZE_CLASS else ("fastopt class",)
        rivals = tuple(name for name in (*FUNCTIONS, *PACKAGES) if name not in left_out)
        for rule in selection.rules or others:
            yield Problem("rules", str(size), rule, "float32", threads, [(size,)], rivals)
        for rule, variants in VARIANTS.items():
            if selection.rules and rule not in selection.rules:
                continue
            for name, keywords in variants.items():
                yield Problem(
                    suite="rules",
                    work=f"{size}, {name}",
                    rule=rule,
                    dtype="float32",
                    threads=threads,
                    shapes=[(size,)],
                    rivals=("fastopt class", *TORCH_AND_OPTAX),
                    options={"keywords": keywords},
                )


def rows(selection: Selection, threads: int) -> Iterator[Problem]:
    """Some rows of a large table, against torch's optimizers for sparse gradients."""
    works = (
        ("sgd", "sgd", {}, SPARSE),
        ("adagrad", "adagrad", {}, SPARSE),
        ("adam, as SparseAdam", "adam", {"eps_hat": True}, SPARSE),
        ("row-wise adagrad", "adagrad", {"state_format": {"state_sum": "row"}}, ROW_WISE),
    )
    for size in selection.sizes or (1_000_000,):
        for name, rule, keywords, rivals in works:
            yield Problem(
                suite="rows",
                work=f"{name}: 4,096 of {size:,} rows of 64",
                rule=rule,
                dtype="float32",
                threads=threads,
                shapes=[(4096, 64)],
                rivals=rivals,
                options={"rows": size, "keywords": keywords},
            )


def calls(selection: Selection, threads: int) -> Iterator[Problem]:
    """What a call costs from Python, and from a compiled loop of calls."""
    for rule in compiled_rivals.RULES:
        yield Problem("calls", "64 elements", rule, "float32", threads, [(64,)], COMPILED)


NARROW_SIZES = (100_000, 1_000_000, 40_000_000)


def narrow(selection: Selection, threads: int) -> Iterator[Problem]:
    """Buffers of fewer than 32 bits: beside float32, and on a model beside torch and DeepSpeed."""
    for size in selection.sizes or NARROW_SIZES:
        for storage in list(STORAGES)[1:]:
            yield Problem(
                suite="narrow",
                work=f"{size:,}: {storage}",
                rule="adam",
                dtype="float32",
                threads=threads,
                shapes=[(size,)],
                rivals=(NARROW, CLIPPED, FULL),
                options={"storage": storage, "max_norm": MAX_NORM},
            )
    for name in selection.models or ("gpt2",):
        for rivals in (NARROW_TORCH, NARROW_DEEPSPEED, COPIES):
            work = f"{name}, as {rivals[1]}"
            shapes = MODELS[name]()
            yield Problem("narrow", work, "adam", "float32", threads, shapes, rivals)


def placement(selection: Selection, threads: int) -> Iterator[Problem]:
    """Arrays that begin at the same place of their pages, and arrays that do not."""
    # optax and the class step arrays of their own.
    rivals = tuple(name for name in FUNCTIONS if name not in ("fastopt class", "optax"))
    for rule in selection.chosen_rules():
        for size in selection.sizes or (100_000,):
            for distance in (0, 16, 64):
                yield Problem(
                    suite="placement",
                    work=f"{size:,}, {distance} bytes apart",
                    rule=rule,
                    dtype="float32",
                    threads=threads,
                    shapes=[(size,)],
                    rivals=rivals,
                    move=functools.partial(apart_in_pages, distance=distance),
                )


def models(selection: Selection, threads: int) -> Iterator[Problem]:
    """Whole models as lists of tensors; with clipping, torch makes three calls and fastopt one."""
    for rule in selection.chosen_rules(("adam",)):
        for dtype in selection.dtypes or ("float32",):
            for name in selection.models or MODELS:
                shapes = MODELS[name]()
                yield Problem("models", name, rule, dtype, threads, shapes)
                options = {"max_norm": MAX_NORM}
                work = f"{name}, clipped"
                yield Problem("models", work, rule, dtype, threads, shapes, options=options)


def drop_in(selection: Selection, threads: int) -> Iterator[Problem]:
    """fastopt.integrations.torch for torch's optimizers: whole models, new gradients each step.

    As in a training, the memory is torch's, and each optimizer has the states that it made.
    """
    for rule in selection.chosen_rules():
        usual = DROP_IN_MODELS if rule == "adam" else ("mlp", "cnn", "resnet50")
        for name in selection.models or usual:
            yield Problem(
                suite="drop_in",
                work=name,
                rule=rule,
                dtype="float32",
                threads=threads,
                shapes=DROP_IN_MODELS[name](),
                rivals=DROP_INS,
                options={"new_grads": True},
                move=in_torch_memory,
            )


THINC_SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "no averages": {"use_averages": False},
    "no averages, no clipping": {"use_averages": False, "grad_clip": 0.0},
    "spaCy's": {"L2": 0.01, "use_averages": False},
    "L2 in the gradient": {"L2": 0.01, "L2_is_weight_decay": False},
}


def thinc(selection: Selection, threads: int) -> Iterator[Problem]:
    """The whole call of Thinc's optimizer: one array of float32, in several settings."""
    for size in selection.sizes or (1_000, 1_000_000):
        for name, settings in THINC_SETTINGS.items():
            yield Problem(
                suite="thinc",
                work=f"{size:,}, {name}",
                rule="adam",
                dtype="float32",
                threads=threads,
                shapes=[(size,)],
                rivals=THINC_OPTIMIZERS,
                options=settings,
            )


def overhead(selection: Selection, threads: int) -> Iterator[Problem]:
    """What a call costs beyond its arithmetic."""
    for rule in selection.chosen_rules(("adam",)):
        for work, shapes in (("1 array of 64", [(64,)]), ("100 arrays of 64", [(64,)] * 100)):
            yield Problem("overhead", work, rule, "float32", threads, shapes)


def busy(selection: Selection, threads: int) -> Iterator[Problem]:
    """Default threads against one thread while another process wants every core."""
    for rule in selection.chosen_rules(("adam",)):
        for size in selection.sizes or (1_000, 1_000_000, 10_000_000):
            work = str(size)
            yield Problem("busy", work, rule, "float32", threads, [(size,)], BUSY, busy=True)


# Rows, and the shapes of each.
POPULATIONS = {
    "64 perceptrons, 64-32-10": perceptrons(64, hidden=32),
    "1,000 rows of 64": [(1000, 64)],
}


def population(selection: Selection, threads: int) -> Iterator[Problem]:
    """A step of many models with a learning rate each."""
    for rule in selection.chosen_rules():
        for work, shapes in POPULATIONS.items():
            yield Problem("population", work, rule, "float32", threads, shapes, STEPPING)


def population_training(selection: Selection, threads: int) -> Iterator[Problem]:
    """Forward, backward and step of 64 perceptrons, a learning rate each."""
    for rule in selection.chosen_rules(("adam",)):
        for batch, hidden in ((8, 16), (32, 32), (128, 32)):
            yield Problem(
                suite="population_training",
                work=f"64 perceptrons, 64-{hidden}-10, batches of {batch}",
                rule=rule,
                dtype="float32",
                threads=threads,
                shapes=perceptrons(64, hidden),
                rivals=TRAINING,
                options={"batch": batch},
            )


SUITES = {
    "models": models,
    "steps": steps,
    "drop_in": drop_in,
    "thinc": thinc,
    "overhead": overhead,
    "busy": busy,
    "placement": placement,
    "population": population,
    "population_training": population_training,
    "rules": rules,
    "rows": rows,
    "calls": calls,
    "narrow": narrow,
}
SUITE_THREADS = {
    "models": (1, 2),
    "steps": (1, 2),
    "drop_in": (1, 2),
    "thinc": (1, 2),
    "overhead": (1,),
    "busy": (2,),
    "placement": (1,),
    "population": (1, 2),
    "population_training": (1,),
    "rules": (1, 2),
    "rows": (1, 2),
    "calls": (1,),
    "narrow": (1, 2),
}
PUBLISHED_SUITES = (
    "models",
    "steps",
    "drop_in",
    "thinc",
    "overhead",
    "busy",
    "population",
    "population_training",
)
