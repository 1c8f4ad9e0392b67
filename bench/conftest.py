"""Options of `pytest bench`, which parametrise the benchmarks over rules and contenders."""

from __future__ import annotations

import pytest

import fastopt

from .ceiling import Ceiling
from .contenders import CONTENDERS
from .workload import MODELS

CEILING = Ceiling()
EVERYONE = (*CONTENDERS.values(), CEILING)
INSTALLED = tuple(contender for contender in EVERYONE if contender.installed())
SMOKE_SIZES = (100,)
USUAL_SIZES = (100, 10_000, 1_000_000)


def pytest_addoption(parser):
    group = parser.getgroup("fastopt's benchmarks")
    group.addoption("--rules", nargs="+", default=list(fastopt.RULES), help="names in RULES")
    group.addoption("--dtypes", nargs="+", default=["float32", "float64"])
    group.addoption("--sizes", nargs="+", type=float, help="numbers of elements, as 1e6")
    group.addoption("--threads", type=int, default=1, help="one count a run: XLA reads it once")


def pytest_report_header(config):
    absent = [contender.name for contender in EVERYONE if contender not in INSTALLED]
    present = ", ".join(contender.name for contender in INSTALLED)
    return f"contenders: {present}; not installed: {', '.join(absent) or 'none'}"


def pytest_configure(config):
    for contender in INSTALLED:
        contender.load(config.getoption("--threads"))


def _id(value):
    return getattr(value, "name", str(value)).replace(" ", "-")


def pytest_generate_tests(metafunc):
    """Give `work` (rule, dtype, size or model) and `contender` where a test asks for them."""
    if "contender" not in metafunc.fixturenames:
        return
    config = metafunc.config
    smoke = config.getoption("benchmark_disable")
    rules = [fastopt.RULES[name] for name in config.getoption("--rules")]
    sizes = config.getoption("--sizes") or (SMOKE_SIZES if smoke else USUAL_SIZES)
    if "size" in metafunc.fixturenames:
        names = "rule, dtype, size, contender"
        works = [
            (rule, dtype, int(size), 1)
            for rule in rules
            for dtype in config.getoption("--dtypes")
            for size in sizes
        ]
    else:
        names = "rule, model, clip, contender"
        models = ("mlp",) if smoke else MODELS
        works = [(rule, model, clip, 2) for rule in rules for model in models for clip in (0, 1)]
    metafunc.parametrize(
        names,
        [
            pytest.param(*work[:3], contender, id="-".join(map(_id, (*work[:3], contender))))
            for work in works
            for contender in INSTALLED
            if contender.supports(work[0], work[1] if work[3] == 1 else "float32", work[3])
        ],
    )
