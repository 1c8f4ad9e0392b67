"""Worker processes of our own: one dying or hanging costs its own trial at most.

The standard library's pool breaks as a whole when one worker dies, cannot end a single one, and
brings back nothing before the end. Here every worker has a pipe of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection
from typing import Any

from fastopt.tune.running.evaluate import Event, Objective, Outcome, explain
from fastopt.tune.running.pickling import dumps, main_is_a_file, not_picklable
from fastopt.tune.running.worker import work

__all__ = ["Processes"]

# Each worker computes with one thread: n_jobs of them share the machine.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "FASTOPT_NUM_THREADS",
)
STARTING = threading.Lock()


@contextmanager
def _main_that_can_be_imported() -> Iterator[None]:
    """A new process imports the file of ``__main__``: not where there is none of that name."""
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    if path is None or main_is_a_file():
        yield
        return
    main.__file__ = None
    try:
        yield
    finally:
        main.__file__ = path


@contextmanager
def _one_thread() -> Iterator[None]:
    # The libraries read these when they are loaded, before any code of ours runs in the worker:
    # it must inherit them.
    with STARTING:
        before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


class _Worker:
    """A process, our end of its pipe, and the number of the trial that it runs."""

    def __init__(self, payload: bytes) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, payload))
        try:
            with _one_thread(), _main_that_can_be_imported():
                self.process.start()
        except BaseException:  # such as Ctrl-C: nothing else would end this worker
            if self.process.pid is not None:
                self.process.kill()
            raise
        finally:
            # Only the worker holds the other end now: the pipe ends when the worker does.
            theirs.close()
        self.number: int | None = None
        # Whether it was told to end its trial, and has not yet.
        self.stops = False

    def end(self) -> str:
        """Kill the process and what the objective started in it; how it ended."""
        self.process.kill()
        # Before waiting for the process: until then its process ID cannot be given to another.
        assert self.process.pid is not None  # 0 would be our own group
        with suppress(ProcessLookupError, PermissionError):  # it had no time to make a group
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()
        self.pipe.close()
        code = self.process.exitcode or 0  # never None after join
        self.process.close()
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


class Processes:
    """Trials in ``capacity`` spawned processes; see :mod:`fastopt.tune.running`."""

    answers = True

    def __init__(self, objective: Objective, capacity: int, batched: bool) -> None:
        self.capacity = capacity
        try:
            self._payload = dumps((objective, batched))
        except Exception as error:
            raise not_picklable(f"n_jobs={capacity}", error) from error
        self._workers: list[_Worker] = []
        self._tasks: dict[int, tuple] = {}
        self._retried: set[int] = set()
        try:
            for _ in range(capacity):
                self._workers.append(_Worker(self._payload))
            for worker in self._workers:
                self._await_ready(worker)
        except BaseException:
            self.close()
            raise

    def _await_ready(self, worker: _Worker) -> None:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            raise RuntimeError(
                "a worker process died while starting. If its output above speaks of "
                "bootstrapping: it imports the main script, which must therefore start its work "
                'under `if __name__ == "__main__":`'
            ) from None
        if message[0] == "broken":
            raise TypeError(
                "the objective cannot be loaded in a worker process; it must stand in a file that "
                "can be imported there, unless cloudpickle is installed: pip install cloudpickle "
                f"({message[1]})"
            )

    def submit(self, number: int, *task: Any) -> None:
        """Send the trial to an idle worker."""
        self._tasks[number] = task
        if len(self._workers) < self.capacity:
            self._workers.append(_Worker(self._payload))
        worker = next(worker for worker in self._workers if worker.number is None)
        worker.number = number
        try:
            worker.pipe.send_bytes(dumps(("run", task)))
        except OSError:
            pass  # it died while idle: its end is found by events()
        except Exception as error:
            worker.number = None
            self._tasks[number] = (Outcome("failed", error=f"its parameters: {explain(error)}"),)

    def answer(self, number: int, answer: Any) -> None:
        """Send the worker what its objective gets for its report."""
        for worker in self._workers:
            if worker.number == number:
                worker.stops = answer == "stop"
                with suppress(OSError):  # its end is found by events()
                    worker.pipe.send(("answer", answer))

    def events(self, timeout: float | None) -> Iterator[Event]:
        """Wait for the next messages of the workers, or for one's death."""
        for number, task in list(self._tasks.items()):
            if isinstance(task[0], Outcome):
                del self._tasks[number]
                yield "end", number, task[0]
                return
        busy = [(worker, worker.number) for worker in self._workers if worker.number is not None]
        waited: dict[Any, _Worker] = {worker.pipe: worker for worker, _ in busy}
        # A grandchild may keep the pipe open after the worker is gone.
        waited |= {worker.process.sentinel: worker for worker, _ in busy}
        happened = {waited[key] for key in connection.wait(list(waited), timeout)}
        for worker, number in busy:
            if worker in happened:
                yield from self._receive(worker, number)

    def _receive(self, worker: _Worker, number: int) -> Iterator[Event]:
        try:
            if not worker.pipe.poll():
                raise EOFError
            message = worker.pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            yield from self._bury(worker, number)
            return
        if message[0] == "report":
            yield "report", number, message[1]
        elif message[0] == "end":
            worker.number, worker.stops = None, False
            del self._tasks[number]
            yield "end", number, message[1]
        elif message[0] == "broken":
            yield from self._bury(worker, number)

    def _bury(self, worker: _Worker, number: int) -> Iterator[Event]:
        """The worker died: run its trial once more in a new one, then call it failed."""
        how = worker.end()
        self._workers.remove(worker)
        task = self._tasks.pop(number)
        if worker.stops:
            yield "end", number, Outcome("stopped")
        elif number in self._retried:
            error = f"its worker process died, twice ({how})"
            yield "end", number, Outcome("failed", error=error)
        else:
            self._retried.add(number)
            yield "restart", number, None
            self.submit(number, *task)

    def cancel(self, number: int) -> None:
        """Kill the worker that runs the trial; the next ``submit`` starts another."""
        self._tasks.pop(number, None)
        for worker in [worker for worker in self._workers if worker.number == number]:
            worker.end()
            self._workers.remove(worker)

    def close(self) -> None:
        """Dismiss workers that are idle or end a stopped trial, kill the others."""
        for worker in self._workers:
            if worker.number is None or worker.stops:
                with suppress(OSError):
                    worker.pipe.send(None)
        deadline = time.monotonic() + 2.0
        for worker in self._workers:
            if worker.number is None or worker.stops:
                left = max(0.0, deadline - time.monotonic())
                connection.wait([worker.process.sentinel], left)
            worker.end()
        self._workers.clear()
