"""What a strategy is, and what it is shown.

A strategy is any object with ``ask(view) -> params``. It may also have

``tell(view, trial)``
    called once for every finished trial, in the order in which results arrived, before the next
    ``ask``; results of other processes and of earlier sessions included. The built-in strategies
    need none: they read ``view.finished``.
``check(space)``
    called before the first trial; raises ValueError if the strategy cannot search that space.

The suggestion must be a pure function of what the view holds (``cache`` excepted): a study that was
killed and resumed then goes on exactly as an uninterrupted one. ``ask`` raises
:class:`SpaceExhausted` when there is nothing left to suggest, or :class:`ImprovementSpent` when it
is not worth while. Of a dataclass the options that are
not at their defaults are stored with the study and compared on resuming, of any other strategy its
``repr``, so options belong in it.

``ask`` runs while the study's file is locked: two processes never get the same suggestion.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from fastopt.tune.space.constraint import satisfies
from fastopt.tune.space.space import Space
from fastopt.tune.space.trial import Trial

__all__ = [
    "Direction",
    "ImprovementSpent",
    "Name",
    "SpaceExhausted",
    "Strategy",
    "View",
    "satisfies",
]

Direction = Literal["minimize", "maximize"]
Name = Literal["grid", "random", "sobol", "bayes", "tpe"]


class SpaceExhausted(Exception):  # noqa: N818 (an end, as StopIteration, not an error)
    """Every point of the space has been suggested; there is nothing left to ask for."""


class ImprovementSpent(SpaceExhausted):
    """The strategy expects too little of any point; results of running trials may change that."""


@dataclass(frozen=True)
class View:
    """A study at the moment of an ``ask``. Read it, never write to it.

    Attributes
    ----------
    space : Space
    seed : int
        Not negative.
    direction : {"minimize", "maximize"}
    number : int
        Number of the trial that is asked for.
    finished : sequence of Trial
        Done, failed and stopped trials in the order in which they were told. Later views of the
        same study only append to it. The ``value`` of a failed trial is None, any other is finite.
    pending : sequence of Trial
        Trials that are running or queued again, by number.
    taken : set
        ``space.key(params)`` of every finished and pending trial. Points that the user has enqueued
        are among them: a strategy is asked only when the queue is empty.
    constraint : callable or None
        Use :meth:`allows`.
    cache : dict
        Scratch memory of this strategy, kept as long as the study object lives; it may save time
        but must never change a result. It starts empty when a study is resumed.
    """

    space: Space
    seed: int
    direction: str
    number: int
    finished: Sequence[Trial]
    pending: Sequence[Trial]
    taken: AbstractSet[Hashable]
    constraint: Callable[[dict[str, Any]], Any] | None
    cache: dict[Any, Any]
    row: int = 0

    def allows(self, params: Mapping[str, Any]) -> bool:
        """Whether the user's constraint accepts ``params``."""
        return satisfies(self.constraint, params)


class Strategy(Protocol):
    """The one method that every strategy has."""

    def ask(self, view: View) -> dict[str, Any]:
        """Params of the next trial."""
        ...
