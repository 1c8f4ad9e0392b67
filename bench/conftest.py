"""Options of `pytest bench`, which parametrise the benchmarks over rules and rivals."""

from __future__ import annotations

import pytest

import fastopt
from bench.steps.arrays import MODELS
from bench.steps.problems import FUNCTIONS, PACKAGES
from bench.steps.rivals import RIVALS

EVERYONE = tuple(RIVALS[name] for name in (*FUNCTIONS, *PACKAGES, "copy kernel"))
INSTALLED = tuple(rival for rival in EVERYONE if rival.installed())
SMOKE_SIZES = (100,)
USUAL_SIZES = (100, 10_000, 1_000_000)


def pytest_addoption(parser):
    group = parser.getgroup("fastopt's benchmarks")
    group.addoption("--rules", nargs="+", default=list(fastopt.RULES), help="names in RULES")
    group.addoption("--dtypes", nargs="+", default=["float32", "float64"])
    group.addoption("--sizes", nargs="+", type=float, help="numbers of elements, as 1e6")
    group.addoption("--threads", type=int, default=1, help="one count a run: XLA reads it once")


def pytest_report_header(config):
    absent = [rival.name for rival in EVERYONE if rival not in INSTALLED]
    present = ", ".join(rival.name for rival in INSTALLED)
    return f"rivals: {present}; not installed: {', '.join(absent) or 'none'}"


def pytest_configure(config):
    for rival in INSTALLED:
        rival.load(config.getoption("--threads"))


def _id(value):
    return getattr(value, "name", str(value)).replace(" ", "-")


def pytest_generate_tests(metafunc):
    """Parametrise a test that takes `rival` over all work and all installed rivals."""
    if "rival" not in metafunc.fixturenames:
        return
    config = metafunc.config
    smoke = config.getoption("benchmark_disable")
    rules = [fastopt.RULES[name] for name in config.getoption("--rules")]
    sizes = config.getoption("--sizes") or (SMOKE_SIZES if smoke else USUAL_SIZES)
    if "size" in metafunc.fixturenames:
        names = "rule, dtype, size, rival"
        works = [
            (rule, dtype, int(size), 1)
            for rule in rules
            for dtype in config.getoption("--dtypes")
            for size in sizes
        ]
    else:
        names = "rule, model, clip, rival"
        models = ("mlp",) if smoke else MODELS
        works = [(rule, model, clip, 2) for rule in rules for model in models for clip in (0, 1)]
    metafunc.parametrize(
        names,
        [
            pytest.param(*work[:3], rival, id="-".join(map(_id, (*work[:3], rival))))
            for work in works
            for rival in INSTALLED
            if rival.supports(work[0], work[1] if work[3] == 1 else "float32", work[3])
        ],
    )
