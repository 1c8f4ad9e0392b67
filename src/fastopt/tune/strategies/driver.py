"""Show a strategy the trials, and take its suggestion."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from fastopt.tune.space import Space, Trial
from fastopt.tune.strategies.protocol import View

__all__ = ["Driver"]


class Driver:
    """One strategy in one search.

    Parameters
    ----------
    strategy : object
        An object with ``ask(view)`` and perhaps ``tell(view, trial)``.
    space, seed, directions, constraint
        What every view shows.
    """

    def __init__(
        self,
        strategy: Any,
        space: Space,
        *,
        seed: int,
        directions: Sequence[str],
        constraint: Callable[[dict[str, Any]], Any] | None = None,
    ) -> None:
        self._strategy = strategy
        self._space = space
        self._seed = seed
        self._directions = tuple(directions)
        self._constraint = constraint
        self.forget()

    def forget(self) -> None:
        """Start the strategy's scratch memory anew; the next ask tells it all trials again."""
        self._cache: dict[Any, Any] = {}
        self._told = 0

    def ask(
        self,
        number: int,
        finished: Sequence[Trial],
        pending: Sequence[Trial],
        taken: AbstractSet[Hashable],
        row: int = 0,
    ) -> dict[str, Any]:
        """The strategy's suggestion for trial ``number``, checked against the space.

        Parameters
        ----------
        number : int
        finished, pending, taken, row
            As in :class:`View`. Between two calls ``finished`` may only grow; if it changes
            otherwise, call :meth:`forget` first.

        Raises
        ------
        SpaceExhausted
            If there is nothing left to suggest.
        ValueError, TypeError
            If the suggestion is not a point of the space that the constraint allows.
        """
        view = View(
            space=self._space,
            seed=self._seed,
            direction=self._directions[0],
            directions=self._directions,
            number=number,
            finished=finished,
            pending=pending,
            taken=taken,
            row=row,
            constraint=self._constraint,
            cache=self._cache,
        )
        if hasattr(self._strategy, "tell"):
            while self._told < len(finished):
                self._told += 1
                self._strategy.tell(view, finished[self._told - 1])
        params = self._space.check(self._strategy.ask(view))
        if not view.allows(params):
            raise ValueError(
                f"constraint: the suggestion of {self._strategy!r} does not satisfy it: {params!r}"
            )
        return params
