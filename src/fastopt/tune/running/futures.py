"""Trials in an executor that the user gives."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from fastopt.tune.running.evaluate import Event, Objective, Outcome, evaluate_fully, explain
from fastopt.tune.running.pickling import Sent, dumps, not_picklable

__all__ = ["Futures"]


def _sendable(objective: Objective, executor: Any) -> Objective:
    """The objective as the executor can send it; other executors than this have their own ways."""
    if not isinstance(executor, concurrent.futures.ProcessPoolExecutor):
        return objective
    try:
        return Sent(dumps(objective))
    except Exception as error:
        raise not_picklable("executor", error) from error


class Futures:
    """Trials in any :class:`concurrent.futures.Executor`, or what looks like one (Dask).

    Reports come when a trial ends, since a future returns only once; a trial that is over its time
    is given up, but what runs in a foreign executor cannot be killed.

    What the objective raises comes back in its outcome. What a future raises is therefore the
    executor's affair: most often a worker that died, under this trial or under another that it ran
    with. Which one it was shows when they run again, each with nothing beside it.
    """

    answers = False

    def __init__(self, objective: Objective, executor: Any, capacity: int) -> None:
        self._capacity = capacity
        self._objective = _sendable(objective, executor)
        self._executor = executor
        self._owns_executor = False
        self._broken = False
        self._futures: dict[concurrent.futures.Future, int] = {}
        self._tasks: dict[int, tuple] = {}
        self._suspects: list[int] = []
        self._alone: int | None = None

    @property
    def capacity(self) -> int:
        """0 while a trial must run alone, or waits for that."""
        return 0 if self._suspects or self._alone is not None else self._capacity

    def submit(self, number: int, *task: Any) -> None:
        """Hand the trial to the executor."""
        self._tasks[number] = task
        self._start(number)

    def _start(self, number: int) -> None:
        if self._broken:
            self._renew()
        try:
            future = self._executor.submit(evaluate_fully, self._objective, *self._tasks[number])
        except concurrent.futures.BrokenExecutor as error:
            # It broke while idle, or during another trial whose end has not been seen yet.
            future = concurrent.futures.Future()
            future.set_exception(error)
        self._futures[future] = number

    def events(self, timeout: float | None) -> Iterator[Event]:
        """Wait for the next trials to end."""
        if self._suspects and not self._futures:
            for number in self._suspects:
                yield "restart", number, None
            self._alone = self._suspects.pop(0)
            self._start(self._alone)
        finished, _ = concurrent.futures.wait(
            self._futures, timeout, concurrent.futures.FIRST_COMPLETED
        )
        for future in finished:
            number = self._futures.pop(future)
            try:
                outcome = future.result()
            except concurrent.futures.CancelledError as error:
                outcome = Outcome("failed", error=explain(error))
            except Exception as error:
                self._broken |= isinstance(error, BrokenProcessPool)
                if number != self._alone:
                    self._suspects.append(number)
                    yield "restart", number, None
                    continue
                reason = f"{explain(error)} (twice, the second time alone)"
                outcome = Outcome("failed", error=reason)
            self._forget(number)
            for value in outcome.values:
                yield "report", number, (value, None)
            yield "end", number, outcome

    def _forget(self, number: int) -> None:
        del self._tasks[number]
        if number == self._alone:
            self._alone = None

    def _renew(self) -> None:
        """A broken process pool stays broken: go on with a new one of the same kind."""
        old = self._executor
        # The pools of the standard library and of loky, of which joblib has a copy.
        pool = next((c for c in type(old).__mro__ if c.__name__ == "ProcessPoolExecutor"), None)
        if pool is None:
            return
        if pool is concurrent.futures.ProcessPoolExecutor:
            options = {"mp_context": getattr(old, "_mp_context", None)}
        else:
            options = {name: getattr(old, f"_{name}", None) for name in ("context", "env")}
        self._executor = pool(
            self._capacity,
            initializer=getattr(old, "_initializer", None),
            initargs=getattr(old, "_initargs", ()),
            **options,
        )
        if self._owns_executor:
            old.shutdown(wait=False)
        self._owns_executor = True
        self._broken = False

    def cancel(self, number: int) -> None:
        """Give the trial up."""
        self._forget(number)
        if number in self._suspects:
            self._suspects.remove(number)
        for future in [f for f, n in self._futures.items() if n == number]:
            future.cancel()
            del self._futures[future]

    def close(self) -> None:
        """Give up what runs; the executor itself is its owner's."""
        for future in self._futures:
            future.cancel()
        self._futures.clear()
        if self._owns_executor:
            self._executor.shutdown(wait=False)
