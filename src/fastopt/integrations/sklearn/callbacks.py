"""Calls of scikit-learn's callbacks during a search."""

from __future__ import annotations

from typing import Any

__all__ = ["Watch"]


class Watch:
    """The context of scikit-learn's callbacks (from version 1.9 on): one task for all fits."""

    def __init__(self, search: Any, root: Any, n_fits: int) -> None:
        self._search, self._begun = search, 0
        self._task: Any = None
        if root is not None:
            self._task = root.subcontext(
                task_name="search", max_subtasks=n_fits, sequential_subtasks=False
            )

    def __enter__(self) -> None:
        if self._task is not None:
            self._task.call_on_fit_task_begin(estimator=self._search)

    def keywords(self, n_fits: int) -> dict[str, Any]:
        """Those of ``evaluate_candidates`` for its next call."""
        if self._task is None:
            return {}
        self._first, self._begun = self._begun, self._begun + n_fits
        return {"callback_ctx": self}

    def subcontext(self, *, task_id: int, **keywords: Any) -> Any:
        # scikit-learn counts from 0 in each of its calls.
        return self._task.subcontext(task_id=self._first + task_id, **keywords)

    def __exit__(self, *error: object) -> None:
        if self._task is not None:
            self._task.call_on_fit_task_end(estimator=self._search)
