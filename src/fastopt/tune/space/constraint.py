"""The user's constraint on params."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastopt import _checks
from fastopt.tune.space.categorical import copy_containers

__all__ = ["satisfies"]


def satisfies(
    constraint: Callable[[dict[str, Any]], Any] | None, params: Mapping[str, Any]
) -> bool:
    """Whether a user's constraint accepts ``params``.

    A number is refused: SciPy's constraints, which are met where they are not negative, give one,
    and nearly every number is true.
    """
    return constraint is None or _checks.flag(
        "what the constraint returns", constraint(copy_containers(dict(params)))
    )
