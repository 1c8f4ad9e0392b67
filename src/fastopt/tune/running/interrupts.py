"""Ctrl-C that does not get lost."""

from __future__ import annotations

import signal
import threading
from typing import Any

__all__ = ["Interrupts"]


class Interrupts:
    """While it is entered, notices Ctrl-C, so that it can be raised where it was lost.

    Out of a destructor Python raises nothing: KeyboardInterrupt is printed there, and forgotten.
    Futures of a cluster have one that takes its time, and it runs whenever a trial has ended: just
    when somebody who sees that presses the keys.

    A handler of somebody else's is left alone, and so are other threads than the main one, in which
    nothing is ever interrupted.
    """

    def __init__(self) -> None:
        self._noticed = False

    def __enter__(self) -> Interrupts:
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            signal.signal(signal.SIGINT, self._notice)
        return self

    def __exit__(self, *exception: object) -> None:
        if signal.getsignal(signal.SIGINT) == self._notice:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _notice(self, signum: int, frame: Any) -> None:
        self._noticed = True
        signal.default_int_handler(signum, frame)

    def check(self) -> None:
        """Raise the KeyboardInterrupt that was lost, if one was."""
        if self._noticed:
            raise KeyboardInterrupt
