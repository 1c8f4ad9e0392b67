"""What a rival is: a library, which rules it has, and how it is called."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import NamedTuple

import fastopt
from bench.steps.arrays import Tensor


class Case(NamedTuple):
    """One rival made ready to step.

    step : the call that is timed.
    restore : restores before every call, untimed, what `step` has used up; None if nothing.
    steps : how many steps a call takes.
    """

    step: Callable[[], object]
    restore: Callable[[], None] | None = None
    steps: int = 1


class Rival:
    """A library and a way to call it. Nothing foreign is imported before `load`.

    `pool` names the library whose threads step: with several threads, rivals of different pools
    are measured in different processes, since the threads of one pool spin after a step and would
    take a core from the next rival.
    """

    name: str
    pool = "fastopt"
    packages: tuple[str, ...] = ()

    def installed(self) -> bool:
        return all(importlib.util.find_spec(package) for package in self.packages)

    def supports(self, rule: fastopt.Rule, dtype: str, n_tensors: int) -> bool:
        raise NotImplementedError

    def load(self, threads: int) -> None:
        """Import the library and set its number of threads."""

    def make(
        self, rule: fastopt.Rule, tensors: list[Tensor], max_norm: float | None = None
    ) -> Case:
        raise NotImplementedError
