"""One run of a study: when trials start, what they are answered, and when the run ends."""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import isgeneratorfunction
from typing import Any

from fastopt import _checks
from fastopt.tune.ledger.ledger import Ledger
from fastopt.tune.running.backends import make_backend
from fastopt.tune.running.batch import diverged_outcome, row_outcome, stack
from fastopt.tune.running.current import Given, folder_of
from fastopt.tune.running.decisions import Decisions
from fastopt.tune.running.evaluate import NO_GENERATOR, Objective, Outcome
from fastopt.tune.running.interrupts import Interrupts
from fastopt.tune.running.progress import Progress
from fastopt.tune.running.serial import Serial
from fastopt.tune.schedulers.driver import check_scheduler
from fastopt.tune.space import Trial
from fastopt.tune.space.categorical import copy_containers
from fastopt.tune.space.trial import own_values
from fastopt.tune.strategies.protocol import ImprovementSpent, SpaceExhausted

__all__ = ["Run", "Total"]


class Total(int):
    """A number of trials that the study holds in the end, including those from before the run."""

    __slots__ = ()


@dataclass
class _Task:
    """What a backend runs: one trial, or the rows of a batch.

    Attributes
    ----------
    trials : list of Trial
        All that it began with.
    rows : list of Trial
        Those that the objective holds now, in the order of its arrays.
    deadline : float
    params : dict of int to dict
        The params of each trial by its number, as they are now.
    notes : dict of int to dict
        Those of each trial by its number, so far.
    """

    trials: list[Trial]
    rows: list[Trial]
    deadline: float
    params: dict[int, dict[str, Any]]
    notes: dict[int, dict[str, Any]] = field(default_factory=dict)


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
        batch: int | None,
        scheduler: Any,
        stopper: Any,
        max_failures: int | None,
    ) -> None:
        if n_trials is not None and not isinstance(n_trials, Total):
            n_trials = _checks.integer("n_trials", n_trials, least=0)
        self._timeout = _checks.seconds("timeout", timeout)
        self._trial_timeout = _checks.seconds("trial_timeout", trial_timeout)
        self._batch = None if batch is None else _checks.integer("batch", batch, least=1)
        if stopper is not None:
            if scheduler is not None:
                raise TypeError("stopper is an older name of scheduler: give one of them")
            scheduler = check_scheduler("stopper", stopper)
        elif scheduler is not None:
            check_scheduler("scheduler", scheduler)
        if hasattr(scheduler, "exchange") and batch is None:
            raise TypeError(f"scheduler: {scheduler!r} is for batched objectives, needs batch=")
        if len(ledger.directions) > 1 and (scheduler is not None or batch is not None):
            name = "batch" if scheduler is None else "scheduler"
            raise TypeError(
                f"{name}= goes by the values of one objective, and the study has several directions"
            )
        if hasattr(scheduler, "check"):
            scheduler.check(ledger.space)
        self._scheduler = scheduler
        self._ledger = ledger
        self._notify = notify
        self._stop = stop
        self._n_trials = n_trials
        self._whole = n_trials if isinstance(n_trials, Total) else None
        if max_failures is not None:
            max_failures = _checks.integer("max_failures", max_failures, least=1)
        self._max_failures = math.inf if max_failures is None else max_failures
        self._failures: list[tuple[int, Outcome]] = []
        # Their number, but rows that have failed together count once.
        self._incidents = 0
        self._warned = False
        self._ended = 0
        # Whether a trial of this run has ended without failing.
        self._survived = False
        # By the number of its first trial. One of which all trials have ended stays until the
        # backend is done with it.
        self._tasks: dict[int, _Task] = {}
        self._paused: dict[int, _Task] = {}
        self._running: dict[int, Trial] = {}
        self._more = True

    def _refuse_to_pause(self) -> None:
        raise TypeError(
            f"scheduler: {self._scheduler!r} pauses trials, whose generators wait in this process; "
            "it goes without batch=, n_jobs= and executor= only"
        )

    def _left(self) -> float:
        """How many trials may still be started."""
        if self._n_trials is None:
            return math.inf
        before = 0 if self._whole is None else len(self._ledger.finished()) - self._ended
        return self._n_trials - before - self._ended - len(self._running)

    def __call__(
        self, objective: Objective, n_jobs: int | None, executor: Any, progress: bool | None
    ) -> None:
        batched = self._batch is not None
        if len(self._ledger.directions) > 1 and isgeneratorfunction(objective):
            raise TypeError(f"objective: {NO_GENERATOR}")
        if getattr(self._scheduler, "pause", False) is True and (
            batched or executor is not None or n_jobs not in (None, 1)
        ):
            self._refuse_to_pause()
        left = self._left()
        if left <= 0:
            # Workers take a second to start.
            self._backend = make_backend(objective, None, None, batched=batched)
        else:
            most = min(left, max(1, self._ledger.space.size))
            if self._batch is not None and most < math.inf:
                most = -(-most // self._batch)
            self._backend = make_backend(objective, n_jobs, executor, most, batched)
        self._progress = Progress(progress, None if left == math.inf else int(left))
        self._stop.clear()
        self._decisions: Decisions | None = None
        try:
            if self._scheduler is not None:
                self._decisions = Decisions(self._scheduler, self._ledger)
            self._notify("on_study_start")
            with Interrupts() as interrupts:
                self._loop(interrupts)
        finally:
            # Something still runs only after the run's timeout, Ctrl-C, or an error of the
            # strategy, the constraint or the storage.
            try:
                self._ledger.release(self._running)
            finally:
                if self._decisions is not None:
                    self._decisions.close()
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
            if not self._running and not (self._tasks and self._wants_more()):
                self._check_failures(at_end=True)
                return
            self._wait(deadline)
        # They are queued again, as after Ctrl-C.
        for number in self._tasks:
            self._backend.cancel(number)

    def _check_failures(self, at_end: bool = False) -> None:
        """Raise if nothing has ever succeeded, and enough has failed or all of it.

        Trainings that diverge are neither the one nor the other.
        """
        failures = self._failures
        if at_end:
            enough = 0 < len(failures) == self._ended
        else:
            enough = self._incidents >= self._max_failures
        if self._max_failures == math.inf or not enough:
            return
        if self._survived or self._ledger.has_succeeded():
            return
        number, outcome = failures[0]
        raise RuntimeError(
            f"no trial has succeeded and {len(failures)} failed, so the run ends "
            f"(max_failures={self._max_failures}; None goes on). The first, trial {number}:\n"
            f"{outcome.traceback or outcome.error}"
        )

    def _wants_more(self) -> bool:
        return self._more and not self._stop.is_set() and self._left() > 0

    def _start(self) -> None:
        while len(self._tasks) < self._backend.capacity:
            if not (self._resume(self._wants_more()) or self._ask() or self._resume(more=False)):
                break
        if not self._tasks:
            # No trial is left that they could wait for.
            for number in list(self._paused):
                notes = self._paused.pop(number).notes.get(number, {})
                if self._has_gone(number, self._ledger.reports.owns(number)):
                    continue
                values = self._running[number].values
                self._end(number, Outcome("stopped", values[-1], values=values, notes=notes))

    def _ask(self) -> bool:
        """Start a new trial, or a batch of them; False if there is none."""
        if not self._wants_more():
            return False
        count = int(min(self._batch or 1, self._left()))
        try:
            announce = partial(self._notify, "on_trial_start")
            trials = self._ledger.ask(announce, count, self._whole)
        except SpaceExhausted as end:
            # Points used up are so for good: a trial that ends does not give its point back.
            # The improvement to expect may rise again with the result of a running trial.
            self._more = isinstance(end, ImprovementSpent)
            return False
        self._running.update((trial.number, trial) for trial in trials)
        deadline = time.monotonic() + self._trial_timeout
        params = {trial.number: trial.params for trial in trials}
        self._tasks[trials[0].number] = _Task(trials, trials, deadline, params)
        self._backend.submit(trials[0].number, *self._describe(trials))
        return True

    def _resume(self, more: bool) -> bool:
        """Go on with a paused trial; False if there is none that may."""
        if not self._paused or self._stop.is_set() or self._decisions is None:
            return False
        # Those of a run that was broken off come first: they were compared with.
        if more and self._ledger.has_orphans():
            return False
        number = self._ledger.reports.resume(list(self._paused), more, self._decisions)
        if number is None:
            return False
        task = self._tasks[number] = self._paused.pop(number)
        task.deadline = time.monotonic() + self._trial_timeout
        self._backend.resume(number)
        return True

    def _describe(self, trials: Sequence[Trial]) -> tuple:
        """What the backend needs to know of a task."""
        limits = {} if self._decisions is None else self._decisions.start(trials)
        params = [trial.params for trial in trials]
        path, name = self._ledger.storage.file, self._ledger.name
        of_trials = [(trial.number, folder_of(path, name, trial.number)) for trial in trials]
        if self._batch is not None:
            return stack(self._ledger.space, params), of_trials
        given = Given(params[0], *of_trials[0], len(self._ledger.directions))
        if self._backend.answers:
            return (given,)
        if limits is None:
            raise TypeError(
                f"scheduler: {self._scheduler!r} cannot tell its limits in advance (it has no "
                "method thresholds), and an executor answers nothing later; use n_jobs="
            )
        return given, limits, self._ledger.directions[0]

    def _wait(self, deadline: float) -> None:
        until = min([deadline, *(task.deadline for task in self._tasks.values())])
        timeout = None if until == math.inf else max(0.0, until - time.monotonic())
        for event, number, content in self._backend.events(timeout):
            task = self._tasks[number]
            if event == "restart":
                task.rows = task.trials
                task.params = {trial.number: trial.params for trial in task.trials}
                task.deadline = time.monotonic() + self._trial_timeout
                self._ledger.reports.restart([t for t in task.rows if t.number in self._running])
            elif event == "report":
                self._report(number, task, content)
            else:
                del self._tasks[number]
                self._finish(task, content)
        now = time.monotonic()
        for number, task in list(self._tasks.items()):
            if task.deadline <= now < deadline:
                self._give_up(number)

    def _report(self, number: int, task: _Task, content: Any) -> None:
        """Store what a trial or a batch has reported, and answer."""
        losses, notes = content
        if self._batch is None:
            losses = [losses]
            notes = None if notes is None else {number: notes}
        task.notes = task.notes if notes is None else notes
        reported, diverged = {}, []
        for trial, loss in zip(task.rows, losses):  # noqa: B905 (a stopped trial has no row)
            if trial.number in self._running and not self._has_gone(trial.number):
                if math.isfinite(loss):
                    reported[trial.number] = loss
                else:
                    failure = diverged_outcome(trial, loss, task.notes.get(trial.number, {}))
                    diverged.append((trial.number, failure))
        decisions = self._decisions if self._backend.answers else None
        decided = self._ledger.reports.add(reported, decisions, task.notes)
        alone = self._batch is None and isinstance(self._backend, Serial)
        if not alone and "pause" in decided.values():
            self._refuse_to_pause()
        for reporting, loss in reported.items():
            trial = self._running[reporting]
            self._notify("on_report", trial, len(own_values(trial)) - 1, loss)
            if trial.state == "stopped":
                self._note_end(trial)
        for failed, outcome in diverged:
            self._end(failed, outcome)
        kept = [i for i, trial in enumerate(task.rows) if trial.number in self._running]
        before, task.rows = task.rows, [task.rows[i] for i in kept]
        if before and not kept:
            self._backend.answer(number, "stop")
        elif self._batch is not None:
            self._backend.answer(number, (kept, *self._exchange(task)))
        elif decided.get(number) == "pause":
            self._paused[number] = self._tasks.pop(number)
            self._backend.pause(number)

    def _exchange(self, task: _Task) -> tuple[list[int], dict[str, Any] | None]:
        """From which row of the task each goes on, and all params, if some have changed."""
        places = {trial.number: place for place, trial in enumerate(task.rows)}
        sources = list(range(len(task.rows)))
        changed = False
        for place, trial in enumerate(task.rows):
            for change in trial.lineage:
                if change["epoch"] == len(own_values(trial)):
                    task.params[trial.number] = change["params"]
                    sources[place] = places.get(change["source"], place)
                    changed = True
        if not changed:
            return sources, None
        rows = [copy_containers(task.params[trial.number]) for trial in task.rows]
        return sources, stack(self._ledger.space, rows)

    def _finish(self, task: _Task, outcome: Outcome) -> None:
        """End the trials that the task still has."""
        before = len(self._failures)
        for i, trial in enumerate(task.rows):
            if trial.number in self._running:
                single = self._batch is None
                self._end(trial.number, outcome if single else row_outcome(outcome, i, trial))
        if len(self._failures) > before:
            self._incidents += 1
            self._check_failures()

    def _give_up(self, number: int) -> None:
        self._backend.cancel(number)
        task = self._tasks.pop(number)
        error = f"not finished within its timeout of {self._trial_timeout:g} s"
        outcome = Outcome("failed", error=error, notes=task.notes)
        if self._batch is None:
            outcome.notes = task.notes.get(number, {})
            outcome.values = task.rows[0].values if task.rows else []
        self._finish(task, outcome)

    def _has_gone(self, number: int, own: bool = True) -> bool:
        """Whether a trial of this run has been queued again and has ended elsewhere, or runs there
        if it is not our ``own`` any more.
        """
        runs = self._ledger.history.runs(number)
        if runs and own:
            return False
        del self._running[number]
        warnings.warn(
            f"trial {number} was queued again and {'runs' if runs else 'has ended'} elsewhere: "
            "what it comes to here is not stored",
            RuntimeWarning,
            stacklevel=2,
        )
        return True

    def _end(self, number: int, outcome: Outcome) -> None:
        try:
            trial = self._ledger.finish(
                number,
                outcome.state,
                outcome.value,
                outcome.error,
                outcome.values,
                outcome.notes,
                outcome.traceback,
            )
        except ValueError:
            if self._has_gone(number):
                return
            raise
        self._note_end(trial)
        if trial.state != "failed":
            return
        outcome = replace(outcome, error=trial.error)
        if not outcome.diverged:
            self._failures.append((number, outcome))
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"trial {number} failed, the run goes on: {outcome.error}",
                RuntimeWarning,
                stacklevel=7,  # who called Study.run
            )

    def _note_end(self, trial: Trial) -> None:
        self._notify("on_trial_end", trial)
        del self._running[trial.number]
        self._ended += 1
        self._survived |= trial.state != "failed"
        self._progress.update(trial.state == "failed", self._ledger.standing())
