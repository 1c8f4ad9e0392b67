"""Trials in this process, one at a time."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastopt.tune.running.evaluate import Event, Objective, Steps

__all__ = ["Serial"]


class _TimeIsUp(BaseException):
    """Raised inside of the objective by the alarm; no ``except Exception`` there holds it back."""


@contextmanager
def _alarm(seconds: float | None) -> Iterator[None]:
    """Interrupt the block after this many seconds, where the system and the thread allow it."""
    if (
        seconds is None
        or threading.current_thread() is not threading.main_thread()
        or signal.getitimer(signal.ITIMER_REAL)[0] != 0.0  # an alarm of other code
    ):
        yield
        return

    def interrupt(signum: int, frame: Any) -> None:
        raise _TimeIsUp

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        # The alarm may still come before the timer is off.
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        finally:
            signal.signal(signal.SIGALRM, previous)


class Serial:
    """One trial at a time, in this process.

    A time limit interrupts the objective by SIGALRM, in the main thread only; it cannot end a call
    into C code that never returns, which a worker process can.
    """

    capacity = 1

    answers = True

    def __init__(self, objective: Objective, begin: Callable[..., Steps]) -> None:
        self._objective = objective
        self._begin = begin
        self._task: tuple[int, Steps] | None = None
        self._answer: Any = None
        self._paused: dict[int, Steps] = {}

    def submit(self, number: int, *task: Any) -> None:
        """Make ready; it runs inside of ``events``."""
        self._task = (number, self._begin(self._objective, *task))
        self._answer = None

    def answer(self, number: int, answer: Any) -> None:
        """What the objective gets for its report."""
        self._answer = answer

    def pause(self, number: int) -> None:
        """Keep the trial, which has reported, for later."""
        assert self._task is not None
        self._paused[number] = self._task[1]
        self._task = None

    def resume(self, number: int) -> None:
        """Go on with a trial that was paused."""
        self._task, self._answer = (number, self._paused.pop(number)), None

    def events(self, timeout: float | None) -> Iterator[Event]:
        """Run the trial to its end, or until the time is over."""
        if self._task is None:
            return
        number, steps = self._task
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._task is not None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0.0:
                return
            try:
                # Only the objective is interrupted, never what is done with its reports.
                with _alarm(left):
                    value = steps.send(self._answer)
            except _TimeIsUp:
                return
            except StopIteration as end:
                yield "end", number, end.value
                return
            self._answer = None
            yield "report", number, value

    def cancel(self, number: int) -> None:
        """Forget the trial."""
        self._task = None

    def close(self) -> None:
        """Forget all."""
        self._task = None
        self._paused.clear()
