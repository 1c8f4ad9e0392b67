"""Random search."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastopt.tune.strategies.protocol import View
from fastopt.tune.strategies.sequence import SequenceStrategy, distinct

__all__ = ["Random"]


@dataclass(frozen=True)
class Random(SequenceStrategy):
    """Independent draws: uniform (in the logarithm under ``log``), or from the distribution of a
    ``Float`` that has one. In a space with finitely many points none is drawn twice.

    Examples
    --------
    >>> from fastopt import tune
    >>> study = tune.Study({"n": tune.Int(1, 4)}, strategy="random", seed=3)
    >>> sorted(study.ask().params["n"] for _ in range(4))
    [1, 2, 3, 4]
    """

    def sequence(self, view: View) -> Iterator[dict[str, Any]]:
        """The draws that belong to the seed."""
        rng = np.random.default_rng(view.seed)
        d = len(view.space)
        return distinct(view, (rng.random(d) for _ in itertools.count()))
