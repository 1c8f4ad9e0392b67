"""What is measured: each suite goes through its cells and yields one row for each."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from .alternate import alternate
from .ceiling import MIN_SIZE, MIN_SIZE_THREADED, Ceiling
from .contenders import CONTENDERS, DROP_INS, THINC_OPTIMIZERS, Contender
from .workload import DROP_IN_MODELS, MODELS, apart_in_pages, in_torch_memory, make_tensors

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 40_000_000)
DTYPES = ("float32", "float64")
# Beyond this the class differs from the function by nothing that could be measured.
MAX_SIZE_CLASS = 10_000
MAX_NORM = 1.0


@dataclass
class Row:
    """One cell: `samples[contender][i]` is seconds per call in round i."""

    suite: str
    work: str
    rule: str
    dtype: str
    threads: int
    elements: int
    samples: dict[str, list[float]] = field(repr=False)
    others: float = 0.0  # cores that other processes used meanwhile

    @property
    def key(self):
        return self.suite, self.work, self.rule, self.dtype, self.threads

    def as_dict(self) -> dict:
        return asdict(self)


@dataclass
class Selection:
    """Which cells to measure, and for how long each. None means what the suite thinks right."""

    threads: int = 1
    rules: list[str] | None = None
    dtypes: list[str] | None = None
    sizes: list[int] | None = None
    works: list[str] | None = None
    against: list[str] | None = None
    seconds: float = 1.0

    def rule_table(self, default: tuple[str, ...] | None = None) -> list:
        import fastopt

        names = self.rules or default or list(fastopt.RULES)
        unknown = [name for name in names if name not in fastopt.RULES]
        if unknown:
            raise ValueError(f"rules: got {unknown}, need some of {list(fastopt.RULES)}")
        return [fastopt.RULES[name] for name in names]

    def contenders(self, everyone: dict[str, Contender] | None = None) -> list[Contender]:
        """Those wanted and installed, loaded."""
        everyone = everyone or {**CONTENDERS, Ceiling.name: Ceiling()}
        known = {**CONTENDERS, Ceiling.name: None}
        unknown = [name for name in self.against or () if name not in known]
        if unknown:
            raise ValueError(f"against: got {unknown}, need some of {list(known)}")
        wanted = [
            contender
            for name, contender in everyone.items()
            if not self.against or name in self.against or name.startswith("fastopt")
        ]
        present = [contender for contender in wanted if contender.installed()]
        for contender in present:
            contender.load(self.threads)
        return present


def _cpu_seconds() -> tuple[float, float]:
    """CPU time of the whole machine and of this process, where the system tells."""
    own = sum(os.times()[:2])
    statistics = Path("/proc/stat")
    if not statistics.exists():
        return own, own
    user, nice, system, _idle, _wait, irq, softirq, *_ = map(
        int, statistics.read_text().splitlines()[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK"), own


def _row(
    suite, work, rule, dtype, shapes, selection, contenders, max_norm=None, move=None, **options
) -> Row:
    tensors = make_tensors(rule, shapes, dtype)
    if move:
        tensors = move(tensors)
    cases = {
        contender.name: contender.make(rule, tensors, max_norm, **options)
        for contender in contenders
        if contender.supports(rule, dtype, len(tensors))
    }
    start, (machine, own) = time.perf_counter(), _cpu_seconds()
    samples = alternate(cases, selection.seconds, settle=selection.threads > 1)
    elapsed, (machine_end, own_end) = time.perf_counter() - start, _cpu_seconds()
    others = max(0.0, (machine_end - machine - own_end + own) / elapsed)
    elements = sum(math.prod(shape) for shape in shapes)
    return Row(suite, work, rule.name, dtype, selection.threads, elements, samples, others)


def steps(selection: Selection) -> Iterator[Row]:
    """Every rule, dtype and size: one array, one call."""
    contenders = selection.contenders()
    for rule in selection.rule_table():
        for dtype in selection.dtypes or DTYPES:
            for size in selection.sizes or SIZES:
                taking_part = [
                    contender
                    for contender in contenders
                    if not (contender.name == "fastopt class" and size > MAX_SIZE_CLASS)
                    and not (
                        contender.name == Ceiling.name
                        and size < (MIN_SIZE if selection.threads == 1 else MIN_SIZE_THREADED)
                    )
                ]
                shapes = [(size,)]
                yield _row("steps", str(size), rule, dtype, shapes, selection, taking_part)


def placement(selection: Selection) -> Iterator[Row]:
    """Arrays that begin at the same place of their pages, and others."""
    # They step arrays of their own, or compute nothing that could wait.
    left_out = ("fastopt class", "optax", Ceiling.name)
    contenders = [c for c in selection.contenders() if c.name not in left_out]
    for rule in selection.rule_table():
        for size in selection.sizes or (100_000,):
            for distance in (0, 16, 64):
                work = f"{size:,}, {distance} bytes apart"
                move = functools.partial(apart_in_pages, distance=distance)
                row = ("placement", work, rule, "float32", [(size,)], selection, contenders)
                yield _row(*row, move=move)


def models(selection: Selection) -> Iterator[Row]:
    """Whole models as lists of tensors; with clipping, torch makes three calls and we one."""
    contenders = [c for c in selection.contenders() if c.name != Ceiling.name]
    for rule in selection.rule_table(default=("adam",)):
        for dtype in selection.dtypes or ("float32",):
            for name in selection.works or MODELS:
                shapes = MODELS[name]()
                for work, max_norm in ((name, None), (f"{name}, clipped", MAX_NORM)):
                    yield _row("models", work, rule, dtype, shapes, selection, contenders, max_norm)


def drop_in(selection: Selection) -> Iterator[Row]:
    """fastopt.integrations.torch for torch's optimizers: whole models, new gradients each step.

    As a training has them: torch's memory, and the states that each optimizer made.
    """
    contenders = selection.contenders(DROP_INS)
    for rule in selection.rule_table():
        for dtype in selection.dtypes or ("float32",):
            for name in selection.works or DROP_IN_MODELS:
                shapes = DROP_IN_MODELS[name]()
                row = ("drop_in", name, rule, dtype, shapes, selection, contenders)
                yield _row(*row, move=in_torch_memory, new_grads=True)


THINC_SETTINGS = {
    "defaults": {},
    "no averages": {"use_averages": False},
    "no averages, no clipping": {"use_averages": False, "grad_clip": 0.0},
    "spaCy's": {"L2": 0.01, "use_averages": False},
    "L2 in the gradient": {"L2": 0.01, "L2_is_weight_decay": False},
}


def thinc(selection: Selection) -> Iterator[Row]:
    """The whole call of Thinc's optimizer: one array of float32, in several settings."""
    (rule,) = Selection(rules=["adam"]).rule_table()
    contenders = selection.contenders(THINC_OPTIMIZERS)
    for size in selection.sizes or (1_000, 100_000, 1_000_000):
        for name, settings in THINC_SETTINGS.items():
            work = f"{size:,}, {name}"
            shapes = [(size,)]
            yield _row(*("thinc", work, rule, "float32", shapes, selection, contenders), **settings)


def overhead(selection: Selection) -> Iterator[Row]:
    """What a call costs beyond its arithmetic."""
    contenders = [c for c in selection.contenders() if c.name != Ceiling.name]
    for rule in selection.rule_table(default=("adam",)):
        for work, shapes in (("1 array of 64", [(64,)]), ("100 arrays of 64", [(64,)] * 100)):
            yield _row("overhead", work, rule, "float32", shapes, selection, contenders)


@contextlib.contextmanager
def hogs(count: int):
    """So many processes that do nothing but use a core."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def busy(selection: Selection) -> Iterator[Row]:
    """Default threads against one thread while every core is wanted by someone else."""
    import fastopt

    cores = len(os.sched_getaffinity(0))
    rivals = [c for c in selection.contenders() if c.name in ("fastopt", "torch fused")]
    setters: dict[str, Callable[[int], None]] = {"fastopt": fastopt.set_num_threads}
    if any(c.name == "torch fused" for c in rivals):
        import torch

        setters["torch fused"] = torch.set_num_threads

    def before(name, threads):
        return lambda: setters[name](threads)

    for rule in selection.rule_table(default=("adam",)):
        for size in selection.sizes or (1_000, 1_000_000, 10_000_000):
            tensors = make_tensors(rule, [(size,)], "float32")
            cases = {}
            for rival in rivals:
                if rival.supports(rule, np.float32, 1):
                    case = rival.make(rule, tensors)
                    cases[rival.name] = case._replace(before=before(rival.name, cores))
                    cases[f"{rival.name}, 1 thread"] = case._replace(before=before(rival.name, 1))
            with hogs(cores):
                samples = alternate(cases, selection.seconds, settle=True)
            yield Row("busy", str(size), rule.name, "float32", cores, size, samples)


SUITES = {
    "steps": steps,
    "placement": placement,
    "models": models,
    "drop_in": drop_in,
    "thinc": thinc,
    "overhead": overhead,
    "busy": busy,
}
# Overhead is one thread's matter; the busy machine sets both counts itself.
SUITE_THREADS = {
    "steps": (1, 2),
    "placement": (1,),
    "models": (1, 2),
    "drop_in": (1, 2),
    "thinc": (1, 2),
    "overhead": (1,),
    "busy": (2,),
}
