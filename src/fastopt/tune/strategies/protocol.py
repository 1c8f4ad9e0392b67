"""What a strategy is, and what it is shown."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

from fastopt import _checks
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
    "check_directions",
    "satisfies",
]

Direction = Literal["minimize", "maximize"]
Name = Literal["grid", "random", "sobol", "bayes", "tpe"]


def check_directions(
    direction: Direction | None, directions: Sequence[Direction] | None
) -> tuple[Direction, ...]:
    """A direction for each objective, from two arguments of which at most one may be given."""
    if directions is None:
        if isinstance(direction, (list, tuple)):
            raise TypeError(f"direction is for one objective, got {direction!r}; use directions=")
        given = "minimize" if direction is None else direction
        return (_checks.choice("direction", given, get_args(Direction)),)
    if direction is not None:
        raise TypeError("direction is for one objective, directions for several: give one of them")
    if isinstance(directions, str) or not isinstance(directions, Sequence) or not directions:
        raise TypeError(
            "directions must be a list with 'minimize' or 'maximize' for each objective, got "
            f"{directions!r}"
        )
    return tuple(_checks.choice("directions", each, get_args(Direction)) for each in directions)


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
        With several objectives, that of the first.
    number : int
        Number of the trial that is asked for.
    finished : sequence of Trial
        Done, failed and stopped trials in the order in which they were told. Later views of the
        same study only append to it. The ``value`` of a failed trial is None, and of any other
        finite. With several objectives ``value`` is always None, and ``objectives`` has them.
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
    row : int
        In a batch, the number of its trials before this one; else 0.
    directions : tuple of str
        One for each objective.
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
    directions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.directions:
            object.__setattr__(self, "directions", (self.direction,))

    @property
    def signs(self) -> list[float]:
        """For each objective 1 if small values are good, else -1."""
        return [1.0 if direction == "minimize" else -1.0 for direction in self.directions]

    def allows(self, params: Mapping[str, Any]) -> bool:
        """Whether the user's constraint accepts ``params``."""
        return satisfies(self.constraint, params)


class Strategy(Protocol):
    """The one method that every strategy has.

    It may also have these methods.

    ``tell(view, trial)``
        Called once for every finished trial, in the order in which results arrived, before the next
        ``ask``; results of other processes and of earlier sessions included. The built-in
        strategies need none: they read ``view.finished``.
    ``check(space)``
        Called before the first trial; raises ValueError if the strategy cannot search that space.

    The suggestion must be a pure function of what the view holds, its ``cache`` excepted: a study
    that was killed and resumed then goes on exactly as an uninterrupted one. ``ask`` raises
    :class:`SpaceExhausted` when there is nothing left to suggest, and :class:`ImprovementSpent`
    when another trial is not worth its cost. It runs while the study's file is locked: two
    processes never get the same suggestion.

    A description of the strategy is stored with the study and compared on resuming: for a dataclass
    the options that are not at their defaults, else its ``repr``, which should therefore show all
    options.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from fastopt import tune
    >>> @dataclass(frozen=True)
    ... class Climb:
    ...     width: float = 0.2
    ...
    ...     def ask(self, view):
    ...         rng = np.random.default_rng([view.seed, view.number])
    ...         done = [trial for trial in view.finished if trial.state == "done"]
    ...         if not done:
    ...             return view.space.decode(rng.random(len(view.space)))
    ...         best = min(done, key=lambda trial: trial.value)
    ...         step = rng.normal(scale=self.width, size=len(view.space))
    ...         return view.space.decode((view.space.encode(best.params) + step).clip(0, 1))
    >>> study = tune.Study({"x": tune.Float(-2.0, 2.0)}, strategy=Climb(), seed=0)
    >>> study.run(lambda params: (params["x"] - 1) ** 2, n_trials=40)
    >>> study.best_value < 0.01
    True
    """

    def ask(self, view: View) -> dict[str, Any]:
        """Params of the next trial."""
        ...
