"""What is measured: each suite is a list of problems, each of which becomes one row."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import fastopt
from bench.steps.arrays import (
    DROP_IN_MODELS,
    MODELS,
    Tensor,
    apart_in_pages,
    in_torch_memory,
    make_tensors,
)
from bench.steps.populations import APART, FLAT, TOGETHER, perceptrons

DTYPES = ("float32", "float64")
SIZES = (1_000, 100_000, 1_000_000, 40_000_000)
ADAM_SIZES = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 40_000_000)
FLOAT64_RULES = ("adam", "adadelta")
# Beyond this the class differs from the function by nothing that could be measured.
MAX_SIZE_CLASS = 10_000
# Below, the copy kernel's call through ctypes counts; with more threads, their start at each call.
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
DROP_INS = ("fastopt torch", "torch unfused", "torch foreach", "torch fused")
THINC_OPTIMIZERS = ("fastopt thinc", "thinc optimizer")
BUSY = ("fastopt", "torch fused")
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


def placement(selection: Selection, threads: int) -> Iterator[Problem]:
    """Arrays that begin at the same place of their pages, and others."""
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

    As a training has them: torch's memory, and the states that each optimizer made.
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
    """Default threads against one thread while every core is wanted by someone else."""
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
}
# Overhead is one thread's matter.
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
