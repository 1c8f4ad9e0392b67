"""The figures of ``study.plot``. This module imports matplotlib."""

from __future__ import annotations

import io

from matplotlib.figure import Figure as PlainFigure

__all__ = ["Figure"]


class Figure(PlainFigure):
    """A figure outside of pyplot, which a notebook shows by itself."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=2 * self.dpi)
        return buffer.getvalue()
