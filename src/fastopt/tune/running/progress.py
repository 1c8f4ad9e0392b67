"""One line that says how a study is going."""

from __future__ import annotations

import sys
import time
from typing import Any

from fastopt import _checks

__all__ = ["Progress"]

# Where there is no terminal to redraw a line on, at most this many are printed.
LINES = 10


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return "IPKernelApp" in getattr(shell, "config", {})


class Progress:
    """Best value, trials done, time left, on standard error.

    On a terminal and in a notebook it is tqdm's bar; without tqdm, on a terminal, one line that
    redraws itself. Elsewhere a few plain lines if ``show`` is True, nothing if it is None.

    Parameters
    ----------
    show : bool or None
    total : int or None
        How many trials this run is to finish, if that is known.
    """

    def __init__(self, show: bool | None, total: int | None) -> None:
        self._stream = sys.stderr
        terminal = getattr(self._stream, "isatty", lambda: False)()
        redraws = terminal or _in_notebook()
        self._show = redraws if show is None else _checks.flag("progress", show)
        self._total = total
        self._done = 0
        self._failed = 0
        self._next_line = 0.0
        self._start = time.monotonic()
        self._terminal = terminal
        self._bar = self._make_bar() if self._show and redraws else None

    def _make_bar(self) -> Any:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            return None
        return tqdm(total=self._total, unit="trial", file=self._stream, dynamic_ncols=True)

    def update(self, failed: bool, standing: str) -> None:
        """One more trial has ended; the study stands so."""
        self._done += 1
        self._failed += failed
        if not self._show:
            return
        notes = [standing]
        if self._failed:
            notes.append(f"{self._failed} failed")
        if self._bar is not None:
            self._bar.set_postfix_str(", ".join(notes), refresh=False)
            self._bar.update()
            return
        total = "" if self._total is None else f"/{self._total}"
        line = ", ".join([f"{self._done}{total} trials", *notes, *self._left()])
        if self._terminal:
            self._stream.write(f"\r\x1b[K{line}")
        elif self._done >= self._next_line or self._done == self._total:
            self._next_line = self._done + max(1.0, (self._total or 10 * self._done) / LINES)
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def _left(self) -> list[str]:
        if self._total is None:
            return []
        seconds = (time.monotonic() - self._start) / self._done * (self._total - self._done)
        minutes, seconds = divmod(round(seconds), 60)
        return [f"{minutes}:{seconds:02d} left"]

    def close(self) -> None:
        """Leave the terminal on a line of its own."""
        if self._bar is not None:
            self._bar.close()
        elif self._show and self._terminal and self._done:
            self._stream.write("\n")
