"""Parameters as coordinates: the unit interval of the search, and the values to show along it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from fastopt.tune.reporting.axes import round_numbers, shorten_choices
from fastopt.tune.space import Categorical, Trial

__all__ = ["label_axis", "positions", "ticks"]


def ticks(parameter: Any) -> tuple[list[float], list[str]]:
    """Places in the unit interval and the values there, which are round numbers."""
    if parameter.levels is not None and parameter.levels <= 8:
        places = [float(parameter.unit(i)) for i in range(parameter.levels)]
        return places, shorten_choices([parameter.value(i) for i in range(parameter.levels)])
    if isinstance(parameter, Categorical) or getattr(parameter, "distribution", None):
        places = [0.0, 0.25, 0.5, 0.75, 1.0]
        return places, shorten_choices([parameter.from_unit(place) for place in places])
    numbers = round_numbers(float(parameter.low), float(parameter.high), parameter.log)
    grid = np.linspace(0.0, 1.0, 2001)
    values = [float(parameter.from_unit(u)) for u in grid]
    return [float(np.interp(n, values, grid)) for n in numbers], shorten_choices(numbers)


def label_axis(axis: Any, title: str, parameter: Any, width: float = math.inf) -> None:
    """Put the ticks and the name of a parameter on an axis in unit coordinates.

    Labels that would overlap in a row of ``width`` points are written aslant.
    """
    from matplotlib.textpath import TextPath

    places, labels = ticks(parameter)
    # Blanks alone have no shape; the stroke is also what keeps labels apart.
    half = [TextPath((0, 0), label + "|", size=9).get_extents().width / 2 for label in labels]
    rows = zip(pairwise(places), pairwise(half), strict=True)
    aslant = any((b - a) * width < left + right for (a, b), (left, right) in rows)
    slope = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if aslant else {}
    axis.set_ticks(places, labels, **slope)
    axis.set_label_text(title)


def positions(trials: Sequence[Trial], name: str, parameter: Any) -> np.ndarray:
    """Coordinates of the trials in the unit interval, NaN where the parameter is inactive.

    Points on few levels are spread a little, in a fixed way, so that each can be seen.
    """
    units = np.array(
        [
            parameter.to_unit(trial.params[name]) if name in trial.params else math.nan
            for trial in trials
        ]
    )
    if isinstance(parameter, Categorical):
        golden = np.array([trial.number * 0.618 % 1.0 - 0.5 for trial in trials])
        units = units + 0.4 * golden / parameter.levels
    return units
