"""Functions with several objectives, and functions with constraints.

All variables are floats, all objectives are minimised, a constraint is satisfied where it is at
most 0. None of these was used to choose a default.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Values = tuple[Sequence[float], Sequence[float]]
BUDGET = 60


@dataclass(frozen=True)
class Problem:
    """One function; ``evaluate(x)`` gives the objectives and the constraints.

    ``reference`` is the point that the hypervolume is measured to; with one objective it holds the
    known optimum.
    """

    name: str
    kind: str
    bounds: tuple[tuple[float, float], ...]
    reference: tuple[float, ...]
    evaluate: Callable[[np.ndarray], Values]
    n_constraints: int = 0


# Several objectives: Zitzler, Deb, Thiele 2000 (ZDT); Deb, Thiele, Laumanns, Zitzler 2005 (DTLZ);
# Huband, Hingston, Barone, While 2006 (WFG); Binh, Korn 1997.


def zdt(shape: Callable[[float, float], float]) -> Callable[[np.ndarray], Values]:
    def evaluate(x: np.ndarray) -> Values:
        g = 1.0 + 9.0 * x[1:].mean()
        return (x[0], g * shape(x[0], g)), ()

    return evaluate


def zdt1(f: float, g: float) -> float:
    return 1.0 - math.sqrt(f / g)


def zdt2(f: float, g: float) -> float:
    return 1.0 - (f / g) ** 2


def zdt3(f: float, g: float) -> float:
    return 1.0 - math.sqrt(f / g) - f / g * math.sin(10.0 * math.pi * f)


def dtlz2(x: np.ndarray) -> Values:
    r = 1.0 + ((x[2:] - 0.5) ** 2).sum()
    a, b = 0.5 * math.pi * x[:2]
    return (r * math.cos(a) * math.cos(b), r * math.cos(a) * math.sin(b), r * math.sin(a)), ()


def wfg4(z: np.ndarray) -> Values:
    """Two objectives, two position variables."""
    y = z / (2.0 * np.arange(1, len(z) + 1))
    c = np.abs(y - 0.35) / (2.0 * (np.floor(0.35 - y) + 0.35))
    t = (1.0 + np.cos(122.0 * math.pi * (0.5 - c)) + 40.0 * c**2) / 12.0
    position, distance = t[:2].mean(), t[2:].mean()
    x = max(distance, 1.0) * (position - 0.5) + 0.5
    shape = math.sin(0.5 * math.pi * x), math.cos(0.5 * math.pi * x)
    return (distance + 2.0 * shape[0], distance + 4.0 * shape[1]), ()


def binh_korn(x: np.ndarray) -> Values:
    a, b = x
    objectives = 4.0 * a**2 + 4.0 * b**2, (a - 5.0) ** 2 + (b - 5.0) ** 2
    return objectives, ((a - 5.0) ** 2 + b**2 - 25.0, 7.7 - (a - 8.0) ** 2 - (b + 3.0) ** 2)


# One objective and constraints: Liang et al. 2006 (CEC 2006); Arora 1989 (spring).


def g04(x: np.ndarray) -> Values:
    a, b, c, d, e = x
    value = 5.3578547 * c**2 + 0.8356891 * a * e + 37.293239 * a - 40792.141
    u = 85.334407 + 0.0056858 * b * e + 0.0006262 * a * d - 0.0022053 * c * e
    v = 80.51249 + 0.0071317 * b * e + 0.0029955 * a * b + 0.0021813 * c**2
    w = 9.300961 + 0.0047026 * c * e + 0.0012547 * a * c + 0.0019085 * c * d
    return (value,), (u - 92.0, -u, v - 110.0, 90.0 - v, w - 25.0, 20.0 - w)


def g06(x: np.ndarray) -> Values:
    a, b = x
    value = (a - 10.0) ** 3 + (b - 20.0) ** 3
    first = 100.0 - (a - 5.0) ** 2 - (b - 5.0) ** 2
    return (value,), (first, (a - 6.0) ** 2 + (b - 5.0) ** 2 - 82.81)


def g08(x: np.ndarray) -> Values:
    a, b = x
    wave = math.sin(2.0 * math.pi * a) ** 3 * math.sin(2.0 * math.pi * b)
    value = -wave / max(a**3 * (a + b), 1e-9)
    return (value,), (a**2 - b + 1.0, 1.0 - a + (b - 4.0) ** 2)


def g24(x: np.ndarray) -> Values:
    a, b = x
    first = -2.0 * a**4 + 8.0 * a**3 - 8.0 * a**2 + b - 2.0
    second = -4.0 * a**4 + 32.0 * a**3 - 88.0 * a**2 + 96.0 * a + b - 36.0
    return (-a - b,), (first, second)


def spring(x: np.ndarray) -> Values:
    """The weight of a tension spring: wire diameter, coil diameter, active coils."""
    d, coil, n = x
    bend = (4.0 * coil**2 - d * coil) / (12566.0 * (coil * d**3 - d**4)) + 1.0 / (5108.0 * d**2)
    constraints = (
        1.0 - coil**3 * n / (71785.0 * d**4),
        bend - 1.0,
        1.0 - 140.45 * d / (coil**2 * n),
        (coil + d) / 1.5 - 1.0,
    )
    return ((n + 2.0) * coil * d**2,), constraints


UNIT = ((0.0, 1.0),)

PROBLEMS = (
    Problem("zdt1", "fronts", 6 * UNIT, (1.1, 6.0), zdt(zdt1)),
    Problem("zdt2", "fronts", 6 * UNIT, (1.1, 6.0), zdt(zdt2)),
    Problem("zdt3", "fronts", 6 * UNIT, (1.1, 6.0), zdt(zdt3)),
    Problem("dtlz2", "fronts", 6 * UNIT, (1.5, 1.5, 1.5), dtlz2),
    Problem("wfg4", "fronts", tuple((0.0, 2.0 * i) for i in range(1, 7)), (3.0, 5.0), wfg4),
    Problem("binh-korn", "fronts", ((0.0, 5.0), (0.0, 3.0)), (140.0, 50.0), binh_korn, 2),
    Problem(
        "g04",
        "constrained",
        ((78.0, 102.0), (33.0, 45.0), *3 * ((27.0, 45.0),)),
        (-30665.53867,),
        g04,
        6,
    ),
    Problem("g06", "constrained", ((13.0, 100.0), (0.0, 100.0)), (-6961.81388,), g06, 2),
    Problem("g08", "constrained", ((0.0, 10.0), (0.0, 10.0)), (-0.095825,), g08, 2),
    Problem("g24", "constrained", ((0.0, 3.0), (0.0, 4.0)), (-5.508013,), g24, 2),
    Problem(
        "spring", "constrained", ((0.05, 2.0), (0.25, 1.3), (2.0, 15.0)), (0.012665,), spring, 4
    ),
)
