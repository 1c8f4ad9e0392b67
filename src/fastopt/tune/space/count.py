"""How many points a space of discrete parameters has, without listing them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from fastopt.tune.space.levels import Levels, meet

if TYPE_CHECKING:
    from fastopt.tune.space.dimension import Dimension

__all__ = ["Count", "allowances"]

# Dimensions that are not decided yet, parents first: each with those of its parents that are not,
# or with None if it is known to be inactive.
State = tuple[tuple[int, "frozenset[int] | None"], ...]


def _split(state: State) -> list[State]:
    """The parts that no condition connects; their numbers of points multiply."""
    group = {j: {j} for j, _ in state}
    for j, waiting in state:
        for parent in waiting or ():
            if group[parent] is not group[j]:
                merged = group[parent] | group[j]
                group.update(dict.fromkeys(merged, merged))
    parts: dict[int, list] = {}
    for item in state:
        parts.setdefault(id(group[item[0]]), []).append(item)
    return [tuple(part) for part in parts.values()]


def allowances(n: int, children: Mapping[int, Levels]) -> Counter[frozenset[int]]:
    """By how many of the levels of a parent each set of children is allowed together.

    Parameters
    ----------
    n : int
        The parent's number of levels.
    children : dict
        For each child the levels that allow it.
    """
    long = {child: levels for child, levels in children.items() if isinstance(levels, range)}
    cases: Counter[frozenset[int]] = Counter()
    # Between two neighbouring ends a range without gaps allows all levels or none.
    ends = {0, n, *(end for r in long.values() for end in (r[0], r[-1] + 1))}
    for low, high in pairwise(sorted(ends)):
        here = {child: r for child, r in long.items() if r[0] <= low and high <= r[-1] + 1}
        whole = frozenset(child for child, r in here.items() if r.step == 1)
        gaps = {child: r for child, r in here.items() if r.step > 1}
        for allowed, levels in _with_gaps(range(low, high), gaps).items():
            cases[whole | allowed] += levels
    listed: dict[int, set[int]] = {}
    for child in children.keys() - long.keys():
        for level in children[child]:
            listed.setdefault(level, set()).add(child)
    for level, more in listed.items():
        before = frozenset(child for child, r in long.items() if level in r)
        cases[before] -= 1
        cases[before | more] += 1
    return cases


def _with_gaps(span: range, children: Mapping[int, range]) -> Counter[frozenset[int]]:
    """The same for the levels of ``span``, by inclusion and exclusion."""
    together = {frozenset[int](): span}
    for child, levels in children.items():
        for others, there in list(together.items()):
            if both := meet(there, levels):
                together[others | {child}] = both
    exactly: Counter[frozenset[int]] = Counter()
    for allowed in sorted(together, key=len, reverse=True):
        more = sum(exactly[other] for other in exactly if allowed < other)
        exactly[allowed] = len(together[allowed]) - more
    return exactly


class Count:
    """Decides one dimension after the other, its levels together that allow the same children.

    What a decision leaves falls apart into parts that are counted apart, and no part twice: a tree
    of conditions costs about the square of its size, not a power of two.
    """

    def __init__(self, dimensions: Sequence[Dimension]) -> None:
        self._levels = [dimension.levels or 0 for dimension in dimensions]
        # Of each parent: child, and the parent's levels that allow it.
        self._children: list[dict[int, Levels]] = [{} for _ in dimensions]
        self._parents = [frozenset(parent for parent, _ in each.parents) for each in dimensions]
        for j, dimension in enumerate(dimensions):
            for parent, levels in dimension.parents:
                self._children[parent][j] = levels
        self._known: dict[State, int] = {}

    def points(self, order: Sequence[int]) -> int:
        """The number of distinct points; ``order`` has parents first."""
        return self._count(tuple((j, self._parents[j]) for j in order))

    def _count(self, state: State) -> int:
        return math.prod(self._count_part(part) for part in _split(state))

    def _count_part(self, state: State) -> int:
        if state not in self._known:
            (j, waiting), *rest = state
            self._known[state] = sum(
                levels * self._count(tuple((k, self._left(k, w, j, allowed)) for k, w in rest))
                for allowed, levels in self._cases(j, active=waiting is not None)
            )
        return self._known[state]

    def _cases(self, j: int, active: bool) -> list[tuple[frozenset[int], int]]:
        """Which children may be allowed together, and by how many levels of ``j``."""
        if not active:
            return [(frozenset(), 1)]
        cases = allowances(self._levels[j], self._children[j])
        return [(allowed, levels) for allowed, levels in cases.items() if levels]

    @staticmethod
    def _left(
        k: int, waiting: frozenset[int] | None, j: int, allowed: frozenset[int]
    ) -> frozenset[int] | None:
        if waiting is None or j not in waiting:
            return waiting
        return waiting - {j} if k in allowed else None
