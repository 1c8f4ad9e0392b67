"""The choice of where trials run."""

from __future__ import annotations

import math
from typing import Any

from fastopt import _checks
from fastopt.tune.running.batch import evaluate_batch
from fastopt.tune.running.cpus import usable_cpus
from fastopt.tune.running.evaluate import Objective, evaluate
from fastopt.tune.running.futures import Futures
from fastopt.tune.running.processes import Processes
from fastopt.tune.running.serial import Serial

__all__ = ["make_backend"]


def make_backend(
    objective: Objective,
    n_jobs: int | None,
    executor: Any,
    most: float = math.inf,
    batched: bool = False,
) -> Any:
    """A backend for ``n_jobs`` tasks at once, of which there are ``most``."""
    if not callable(objective):
        raise TypeError(f"objective must be callable, got {objective!r}")
    if executor is not None:
        if batched:
            raise TypeError(
                "batch needs to answer what the objective yields, which no executor can; "
                "use n_jobs= instead of executor="
            )
        if isinstance(executor, type):
            raise TypeError(
                f"executor must be an object, got a class: write {executor.__name__}(…)"
            )
        if callable(getattr(executor, "get_executor", None)):  # a Dask client
            executor = executor.get_executor(pure=False)
        if not callable(getattr(executor, "submit", None)):
            raise TypeError(f"executor must have a method submit, got {executor!r}")
        if n_jobs is None:
            n_jobs = getattr(executor, "_max_workers", 1)
    n_jobs = 1 if n_jobs is None else _checks.integer("n_jobs", n_jobs)
    n_jobs = usable_cpus() if n_jobs == -1 else _checks.integer("n_jobs", n_jobs, least=1)
    if executor is not None:
        return Futures(objective, executor, n_jobs)
    if n_jobs == 1:
        return Serial(objective, evaluate_batch if batched else evaluate)
    return Processes(objective, int(min(n_jobs, most)), batched)
