"""One run of a study: when trials start, and when the run ends."""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from fastopt import _checks
from fastopt.tune.ledger.ledger import Ledger
from fastopt.tune.running.cpus import usable_cpus
from fastopt.tune.running.current import Given, folder_of
from fastopt.tune.running.evaluate import Objective, Outcome
from fastopt.tune.running.futures import Futures
from fastopt.tune.running.interrupts import Interrupts
from fastopt.tune.running.processes import Processes
from fastopt.tune.running.progress import Progress
from fastopt.tune.running.serial import Serial
from fastopt.tune.schedulers.median import Median
from fastopt.tune.space import Trial
from fastopt.tune.space.parameters import copy_containers
from fastopt.tune.strategies.protocol import ImprovementSpent, SpaceExhausted

__all__ = ["Run", "Total"]


def _make_backend(
    objective: Objective, n_jobs: int | None, executor: Any, most: float = math.inf
) -> Any:
    """A backend for ``n_jobs`` trials at once, of which there are ``most``."""
    if not callable(objective):
        raise TypeError(f"objective must be callable, got {objective!r}")
    if executor is not None:
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
    return Serial(objective) if n_jobs == 1 else Processes(objective, int(min(n_jobs, most)))


class Total(int):
    """A number of trials that the study shall hold in the end, those from before a run included."""

    __slots__ = ()


class Run:
    """One call of ``Study.run``, where the arguments are documented: when it ends.

    Calling it runs it.
    """

    def __init__(
        self,
        ledger: Ledger,
        notify: Callable[..., None],
        stop: threading.Event,
        *,
        n_trials: int | None,
        timeout: float | None,
        trial_timeout: float | None,
        stopper: Median | None,
        max_failures: int | None,
    ) -> None:
        if n_trials is not None and not isinstance(n_trials, Total):
            n_trials = _checks.integer("n_trials", n_trials, least=0)
        self._timeout = _checks.seconds("timeout", timeout)
        self._trial_timeout = _checks.seconds("trial_timeout", trial_timeout)
        if stopper is not None and not callable(getattr(stopper, "limits", None)):
            raise TypeError(f"stopper must have a method limits, got {stopper!r}")
        self._ledger = ledger
        self._notify = notify
        self._stop = stop
        self._stopper = stopper
        self._n_trials = n_trials
        self._whole = n_trials if isinstance(n_trials, Total) else None
        if max_failures is not None:
            max_failures = _checks.integer("max_failures", max_failures, least=1)
        self._max_failures = math.inf if max_failures is None else max_failures
        self._failures: list[tuple[int, Outcome]] = []
        self._warned = False
        self._ended = 0
        # The number of each running trial, and when its time is over.
        self._running: dict[int, tuple[Trial, float]] = {}
        self._more = True

    def _left(self) -> float:
        """How many trials may still be started."""
        if self._n_trials is None:
            return math.inf
        before = 0 if self._whole is None else len(self._ledger.finished()) - self._ended
        return self._n_trials - before - self._ended - len(self._running)

    def __call__(
        self, objective: Objective, n_jobs: int | None, executor: Any, progress: bool | None
    ) -> None:
        left = self._left()
        if left <= 0:
            # Workers take a second to start.
            self._backend = Serial(objective)
        else:
            most = min(left, max(1, self._ledger.space.size))
            self._backend = _make_backend(objective, n_jobs, executor, most)
        self._progress = Progress(progress, None if left == math.inf else int(left))
        self._stop.clear()
        try:
            self._notify("on_study_start")
            with Interrupts() as interrupts:
                self._loop(interrupts)
        finally:
            # Something still runs only after the run's timeout, Ctrl-C, or an error of the
            # strategy, the constraint or the storage.
            try:
                self._ledger.release(self._running)
            finally:
                self._backend.close()
                self._progress.close()
                self._notify("on_study_end")

    def _loop(self, interrupts: Interrupts) -> None:
        deadline = time.monotonic() + self._timeout
        while time.monotonic() < deadline:
            # An objective that runs in this thread may catch Ctrl-C for reasons of its own.
            if not isinstance(self._backend, Serial):
                interrupts.check()
            self._start()
            if not self._running:
                self._check_failures(enough=self._ended)
                return
            self._wait(deadline)
        # They are queued again, as after Ctrl-C.
        for number in self._running:
            self._backend.cancel(number)

    def _check_failures(self, enough: float) -> None:
        """Raise if nothing has ever succeeded and ``enough`` trials of this run have failed."""
        failures = self._failures
        if self._max_failures == math.inf or not failures or len(failures) < enough:
            return
        if self._ended > len(failures) or self._ledger.best() is not None:
            return
        number, outcome = failures[0]
        raise RuntimeError(
            f"no trial has succeeded and {len(failures)} failed, so the run ends "
            f"(max_failures={self._max_failures}; None goes on). The first, trial {number}:\n"
            f"{outcome.traceback or outcome.error}"
        )

    def _start(self) -> None:
        ledger = self._ledger
        while (
            self._more
            and not self._stop.is_set()
            and len(self._running) < self._backend.capacity
            and self._left() > 0
        ):
            try:
                trial = ledger.ask(partial(self._notify, "on_trial_start"), self._whole)
            except SpaceExhausted as end:
                # Points used up are so for good: a trial that ends does not give its point back.
                # The improvement to expect may rise again with the result of a running trial.
                self._more = isinstance(end, ImprovementSpent)
                return
            self._running[trial.number] = (trial, time.monotonic() + self._trial_timeout)
            limits = []
            if self._stopper is not None:
                limits = self._stopper.limits(ledger.direction, ledger.finished())
            folder = folder_of(ledger.storage.path, ledger.name, trial.number)
            params = Given(copy_containers(trial.params), trial.number, folder)
            self._backend.submit(trial.number, params, limits, ledger.direction)

    def _wait(self, deadline: float) -> None:
        until = min([deadline, *(end for _, end in self._running.values())])
        timeout = None if until == math.inf else max(0.0, until - time.monotonic())
        for event, number, content in self._backend.events(timeout):
            trial = self._running[number][0]
            if event == "restart":
                trial.values.clear()
                self._running[number] = (trial, time.monotonic() + self._trial_timeout)
            elif event == "report":
                self._ledger.report(number, content)
                self._notify("on_report", trial, len(trial.values) - 1, content)
            else:
                self._end(number, content)
        now = time.monotonic()
        for number, (_, end) in list(self._running.items()):
            if end <= now < deadline:
                self._give_up(number)

    def _give_up(self, number: int) -> None:
        self._backend.cancel(number)
        values = list(self._running[number][0].values)
        error = f"not finished within its timeout of {self._trial_timeout:g} s"
        self._end(number, Outcome("failed", error=error, values=values))

    def _end(self, number: int, outcome: Outcome) -> None:
        trial = self._ledger.finish(
            number,
            outcome.state,
            outcome.value,
            outcome.error,
            outcome.values,
            outcome.notes,
            outcome.traceback,
        )
        self._notify("on_trial_end", trial)
        del self._running[number]
        self._ended += 1
        best = self._ledger.best()
        self._progress.update(outcome.state == "failed", None if best is None else best.value)
        if outcome.state != "failed":
            return
        if not outcome.diverged:
            self._failures.append((number, outcome))
            self._check_failures(enough=self._max_failures)
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"trial {number} failed, the run goes on: {outcome.error}",
                RuntimeWarning,
                stacklevel=6,  # who called Study.run
            )
