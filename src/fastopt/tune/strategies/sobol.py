"""Quasi-random search."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastopt.tune.strategies.protocol import View
from fastopt.tune.strategies.sequence import SequenceStrategy, distinct

__all__ = ["Sobol", "sobol_points"]

# A power of two, for which the sequence is balanced.
BLOCK = 256


def sobol_points(d: int, seed: int) -> Iterator[np.ndarray]:
    """The scrambled Sobol sequence in [0, 1)^d that belongs to the seed, without end."""
    from scipy.stats import qmc  # takes half a second to import

    engine = qmc.Sobol(d, scramble=True, seed=np.random.default_rng(seed))
    while True:
        yield from engine.random(BLOCK)


@dataclass(frozen=True)
class Sobol(SequenceStrategy):
    """The scrambled Sobol sequence: spreads more evenly than random search.

    Integers, steps and choices own equal cells of the unit interval (under ``log``, cells as wide
    as in the logarithm). In a space with finitely many points none is suggested twice.

    Notes
    -----
    Sobol, USSR Comput. Math. Math. Phys. 7 (1967) 86; scrambled as in Matoušek, J. Complexity 14
    (1998) 527, by :class:`scipy.stats.qmc.Sobol`.

    Examples
    --------
    >>> from fastopt import tune
    >>> study = tune.Study({"x": tune.Float(0.0, 1.0)}, strategy="sobol")
    >>> sorted(int(4 * study.ask().params["x"]) for _ in range(4))
    [0, 1, 2, 3]
    """

    def sequence(self, view: View) -> Iterator[dict[str, Any]]:
        """The sequence that belongs to the seed."""
        return distinct(view, sobol_points(len(view.space), view.seed))
