"""The main function of a worker process."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from multiprocessing import connection, parent_process

from fastopt.tune.running.batch import evaluate_batch
from fastopt.tune.running.evaluate import Outcome, Steps, evaluate, explain

__all__ = ["work"]


def _follow_parent() -> None:
    # A killed parent cannot end its workers, and an objective may run for hours.
    parent = parent_process()
    assert parent is not None  # this is a worker
    connection.wait([parent.sentinel])
    os.killpg(0, signal.SIGKILL)


def work(pipe: connection.Connection, payload: bytes) -> None:
    """Evaluate what comes through the pipe until None or its end.

    Messages in: ("run", number, task), ("answer", number, answer). Messages out: ("ready",),
    ("broken", reason), ("report", value), ("end", outcome).
    """
    # A process group of its own, so that ending the worker ends what the objective started, too.
    os.setpgid(0, 0)
    # After Ctrl-C the parent decides about the trial.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    try:
        objective, batched = pickle.loads(payload)
    except BaseException as error:
        pipe.send(("broken", explain(error)))
        return
    pipe.send(("ready",))
    while True:
        try:
            message = pipe.recv()
        except EOFError:
            return
        except Exception as error:
            reason = f"the parameters cannot be unpickled: {explain(error)}"
            pipe.send(("end", Outcome("failed", error=reason)))
            continue
        if message is None:
            return
        what, number, task = message
        # Else it is an answer that came when its trial had ended.
        if what == "run":
            steps = (evaluate_batch if batched else evaluate)(objective, *task)
            pipe.send(("end", _run(pipe, steps, number, waits=batched)))


def _run(pipe: connection.Connection, steps: Steps, number: int, waits: bool) -> Outcome:
    """Report to the end. Rows of a batch wait for the answer; a single trial takes it when it has
    come, so that it loses no time to a parent who is thinking.
    """
    answer = None
    while True:
        try:
            report = steps.send(answer)
        except StopIteration as end:
            return end.value
        pipe.send(("report", report))
        answer = None
        while answer is None and (waits or pipe.poll()):
            _, about, content = pipe.recv()
            if about == number:
                answer = content
