"""Strategies that walk a fixed sequence of points: what grid, random and sobol share.

The sequence depends on the space, the seed and the constraint alone, and holds no point twice. A
suggestion is its first point that is not taken. That makes it a pure function of the trials, keeps
several processes from repeating each other, and lets the walk be resumed anywhere.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np

from fastopt.tune.strategies.protocol import SpaceExhausted, View

__all__ = ["SequenceStrategy", "distinct"]

# Draws in a row that bring nothing new before the rest of a finite space is listed instead …
MISSES = 1_000
# … or, where it cannot be listed, before it is used up, or its constraint found impossible.
HOPELESS = 100_000
LISTABLE = 1_000_000


class SequenceStrategy:
    """Base of the strategies with a fixed sequence; a subclass gives ``sequence``."""

    def sequence(self, view: View) -> Iterator[dict[str, Any]]:
        """Distinct, allowed points; uses only what is the same in every view of a study."""
        raise NotImplementedError

    def ask(self, view: View) -> dict[str, Any]:
        """The first point of the sequence that is not taken."""
        cache = view.cache
        if "rest" not in cache:
            self._advance(view)
        # The head stays until it is seen among the trials, so a suggestion that could not be stored
        # is made again.
        while cache["head"] is not None and view.space.key(cache["head"]) in view.taken:
            self._advance(view)
        if cache["head"] is None:
            raise SpaceExhausted(
                f"{self!r} has suggested all of its points ({len(view.taken)} in the study)"
            )
        return dict(cache["head"])

    def _advance(self, view: View) -> None:
        cache = view.cache
        try:
            if "rest" not in cache:
                cache["rest"] = self.sequence(view)
            cache["head"] = next(cache["rest"], None)
        except BaseException:
            # Ctrl-C, or an error of the constraint, has ended the generator but not the sequence.
            cache.pop("rest", None)
            raise


def distinct(view: View, draws: Iterator[np.ndarray]) -> Iterator[dict[str, Any]]:
    """The allowed points of an endless sequence in the unit cube, without repeats.

    When a space with few points brings nothing new any more, the rest is taken from the list of its
    points, and the sequence ends.
    """
    space = view.space
    seen: set[Hashable] = set()
    listable = space.size <= LISTABLE
    misses, rejected = 0, False
    while len(seen) < space.size and misses < (MISSES if listable else HOPELESS):
        params = space.decode(next(draws))
        key = space.key(params)
        known = key in seen
        if known or not view.allows(params):
            misses += 1
            rejected = rejected or not known
            continue
        misses, rejected = 0, False
        seen.add(key)
        yield params
    if listable:
        for params in space.points():
            if space.key(params) not in seen and view.allows(params):
                yield params
    elif rejected:  # else there are few floats between the bounds, and they are used up
        raise ValueError(
            f"constraint: {HOPELESS} points in a row were rejected or known; "
            "it must accept a larger part of the space"
        )
