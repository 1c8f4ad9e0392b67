"""Objectives that a cluster's workers import by name."""

import os
import signal
import time

from fastopt import tune

LONG = {"x": tune.Int(0, 199)}


def square(params):
    return float(params["x"] ** 2)


def slow_square(params):
    time.sleep(0.2)
    return square(params)


def kill_worker_once(params):
    """Kill the worker that runs it the first time, and succeed later."""
    if params["x"] == 3:
        try:
            os.close(os.open(params["mark"], os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return square(params)


def always_kill_worker(params):
    if params["x"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return square(params)


def kill_worker_under_others(params):
    """As always_kill_worker, but only after another trial has started on the same worker. The
    starts of x are written to the file of that name in the folder ``log``."""
    with open(os.path.join(params["log"], str(params["x"])), "a") as log:
        log.write("s")
    time.sleep(0.2 if params["x"] == 3 else 0.6)
    return always_kill_worker(params)


def raise_on_three(params):
    if params["x"] == 3:
        raise ValueError("three")
    return square(params)
