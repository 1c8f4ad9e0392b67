"""Which points of a space would repeat what a trial of Optuna has read.

An objective asks for its parameters one by one, and may ask for some only under a condition. Then
points that differ only in what it never read are the same to it: whoever agrees with a trial in all
that the trial read follows it to its end. The trial has tried a whole cell of the space.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from fastopt import tune

__all__ = ["Read", "Taken"]

# Places of parameters in the space, and values there.
Cell = tuple[tuple[int, ...], tuple[Hashable, ...]]


@dataclass
class Read:
    """What a trial has asked for, all of it in the space.

    Attributes
    ----------
    number : int
    key : tuple
        Of its point, as :meth:`fastopt.tune.Space.key` gives it.
    places : tuple of int
        Of the parameters that it has asked for.
    ended : bool
        Whether it ended with a value. One that did not might have asked for more.
    failed : bool
        Whether it has failed, which it would at the same values again.
    """

    number: int
    key: Any
    places: tuple[int, ...]
    ended: bool
    failed: bool = False


class Taken(AbstractSet[Hashable]):
    """The keys of all points that are taken.

    Its elements are the keys of the trials' own points, and it also holds every other key that
    agrees with a trial in all that it has read.

    Parameters
    ----------
    space : Space
        Without conditions of its own.
    """

    def __init__(self, space: tune.Space) -> None:
        self._levels = [dimension.levels for dimension in space.dimensions]
        self._every = tuple(range(len(space)))
        # The least number of a trial that has the cell.
        self._cells: dict[Cell, int] = {}
        self._patterns: Counter[tuple[int, ...]] = Counter()

    def copy(self) -> Taken:
        """A copy, to which points may be added."""
        other = Taken.__new__(Taken)
        other._levels, other._every = self._levels, self._every
        other._cells, other._patterns = self._cells.copy(), self._patterns.copy()
        return other

    def add(self, key: Any, number: int) -> None:
        """A trial has this point, or was suggested it."""
        self._add((self._every, key), number)

    def add_read(self, trials: Sequence[Read]) -> None:
        """Trials have read these parts of their points; all trials at once.

        One that has not ended with a value counts if another did that read the same parameters. One
        that has failed also counts if it read a number without steps: its cell is no part of the
        space, and the numbers next to that one stay free. None counts where another one has the
        same values and read on.
        """
        whole = {trial.places for trial in trials if trial.ended and trial.places}
        parts = set(whole)
        for trial in trials:
            thin = trial.failed and self._share(trial.places) == 0
            if trial.places in whole or thin:
                self._add(_cell(trial.key, trial.places), trial.number)
                parts.add(trial.places)
        for trial in trials:
            for places in parts:
                if set(places) < set(trial.places):
                    self._discard(_cell(trial.key, places))

    def _add(self, cell: Cell, number: int) -> None:
        if cell not in self._cells:
            self._patterns[cell[0]] += 1
        self._cells[cell] = min(number, self._cells.get(cell, number))

    def _discard(self, cell: Cell) -> None:
        if self._cells.pop(cell, None) is not None:
            self._patterns[cell[0]] -= 1

    def number(self, key: Any) -> int | None:
        """The least number of a trial that has taken the point; None if it is free."""
        found = [
            self._cells[cell]
            for places, n in self._patterns.items()
            if n and (cell := _cell(key, places)) in self._cells
        ]
        return min(found, default=None)

    @property
    def is_all(self) -> bool:
        """Whether no point would be new: the cells of what trials have read fill the space."""
        parts = [places for places, n in self._patterns.items() if n and places != self._every]
        if not parts:
            return False
        filled = sum(self._share(places, self._patterns[places]) for places in parts)
        outside = sum(not any(_cell(key, part) in self._cells for part in parts) for key in self)
        return filled + self._share(self._every, outside) >= 1

    def _share(self, places: tuple[int, ...], cells: int = 1) -> Fraction:
        """What part of the space so many cells are, all of the same places."""
        levels = [self._levels[j] for j in places]
        if any(n is None for n in levels):
            return Fraction(0)
        return Fraction(cells, math.prod(n for n in levels if n is not None))

    def holds(self, other: Taken) -> bool:
        """Whether all that the other one holds is taken here too."""
        return other._cells.keys() <= self._cells.keys()

    def __contains__(self, key: object) -> bool:
        return self.number(key) is not None

    def __iter__(self) -> Iterator[Hashable]:
        return (key for places, key in self._cells if places == self._every)

    def __len__(self) -> int:
        return self._patterns[self._every]


def _cell(key: Any, places: tuple[int, ...]) -> Cell:
    return places, tuple(key[j] for j in places)
