"""The splits of cross-validation, the same for all candidates."""

from __future__ import annotations

from typing import Any

__all__ = ["SameSplits"]


class SameSplits:
    """A splitter that splits once: all candidates are compared on the same splits."""

    def __init__(self, cv: Any) -> None:
        self._cv = cv
        self._splits: list[Any] | None = None
        self.n_splits = 0

    def __getattr__(self, name: str) -> Any:
        # scikit-learn asks a splitter for its metadata routing.
        if name == "_cv":
            raise AttributeError(name)
        return getattr(self._cv, name)

    def get_n_splits(self, *data: Any, **params: Any) -> int:
        self.n_splits = self._cv.get_n_splits(*data, **params)
        return self.n_splits

    def split(self, *data: Any, **params: Any) -> list[Any]:
        if self._splits is None:
            self._splits = list(self._cv.split(*data, **params))
        return self._splits
