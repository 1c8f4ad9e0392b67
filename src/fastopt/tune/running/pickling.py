"""What is sent to other processes, as bytes that :func:`pickle.loads` takes there."""

from __future__ import annotations

import os
import pickle
import sys
from functools import lru_cache
from typing import Any

from fastopt.tune.running.evaluate import explain

__all__ = ["Sent", "dumps", "main_is_a_file", "not_picklable"]


def main_is_a_file() -> bool:
    """Whether a spawned process can import the ``__main__`` module.

    Not that of a notebook or a prompt, which has no file, nor that of a program that was read from
    standard input, whose file is called ``<stdin>``.
    """
    main = sys.modules["__main__"]
    if getattr(main, "__spec__", None) is not None:
        return True
    path = getattr(main, "__file__", None)
    return path is not None and os.path.exists(path)


def dumps(value: Any) -> bytes:
    """``value`` pickled: by the standard library where it can, else by cloudpickle if installed.

    Where ``__main__`` is no file cloudpickle comes first. Pickle would send no more than the name
    of what was defined there, and the other process could not find it.
    """
    try:
        import cloudpickle
    except ImportError:
        return pickle.dumps(value)
    if main_is_a_file():
        try:
            return pickle.dumps(value)
        except Exception:
            pass  # a lambda, a closure: cloudpickle sends the code itself
    return cloudpickle.dumps(value)


def not_picklable(argument: str, error: Exception) -> TypeError:
    """What to raise when the objective cannot be sent."""
    return TypeError(
        f"{argument} sends the objective to other processes, so it must be picklable: a function "
        "at the top level of a module, or with cloudpickle installed (pip install cloudpickle) "
        f"almost any ({explain(error)})"
    )


@lru_cache(maxsize=1)
def _load(payload: bytes) -> Any:
    return pickle.loads(payload)


class Sent:
    """An objective that takes its own pickle along, for pools that would make another one."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload

    def __call__(self, params: dict[str, Any]) -> Any:
        return _load(self._payload)(params)
