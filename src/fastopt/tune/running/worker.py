"""The main function of a worker process."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from multiprocessing import connection, parent_process
from typing import Any

from fastopt.tune.running.evaluate import Outcome, evaluate, explain

__all__ = ["work"]


def _follow_parent() -> None:
    # A killed parent cannot end its workers, and an objective may run for hours.
    parent = parent_process()
    assert parent is not None  # this is a worker
    connection.wait([parent.sentinel])
    os.killpg(0, signal.SIGKILL)


def work(pipe: connection.Connection, payload: bytes) -> None:
    """Evaluate what comes through the pipe until None or its end.

    Messages out: ("ready",), ("broken", reason), ("report", value), ("end", outcome).
    """
    # A process group of its own, so that ending the worker ends what the objective started, too.
    os.setpgid(0, 0)
    # After Ctrl-C the parent decides about the trial.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    try:
        objective = pickle.loads(payload)
    except BaseException as error:
        pipe.send(("broken", explain(error)))
        return
    pipe.send(("ready",))
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        except Exception as error:
            reason = f"the parameters cannot be unpickled: {explain(error)}"
            pipe.send(("end", Outcome("failed", error=reason)))
            continue
        if task is None:
            return
        _run(pipe, objective, *task)


def _run(pipe: connection.Connection, objective: Any, *task: Any) -> None:
    steps = evaluate(objective, *task)
    while True:
        try:
            pipe.send(("report", next(steps)))
        except StopIteration as end:
            pipe.send(("end", end.value))
            return
