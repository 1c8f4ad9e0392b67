"""Who decides what becomes of trials that report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from fastopt.tune.space.trial import Trial

__all__ = ["Decider"]


class Decider(Protocol):
    """What the ledger asks, in the transaction that stores the values."""

    def are_due(self, trials: Iterable[Trial]) -> bool:
        """Whether there is something to decide about what trials have just reported."""
        ...

    def decide(self, trials: Sequence[Trial]) -> Mapping[int, str]:
        """``"go"``, ``"stop"`` or ``"pause"`` for each, by number."""
        ...

    def exchange(self, trials: Sequence[Trial]) -> Iterable[tuple[int, int, dict[str, Any]]]:
        """Which of those that go on do so from others: target, source, params."""
        ...

    def resume(self, trials: Iterable[Trial], more: bool) -> int | None:
        """The number of a paused trial that goes on; ``more``: new ones can start."""
        ...

    def forget(self, trials: Iterable[Trial]) -> None:
        """What these have reported is not stored after all."""
        ...
