"""The basin of the best trial, and when a search has converged in it."""

import numpy as np

from fastopt import tune
from fastopt.tune.space import Space
from fastopt.tune.strategies.bayes.basin import RADIUS, Basin, spread
from fastopt.tune.strategies.bayes.features import Encoding

SPACE = Space({"x": tune.Float(0.0, 1.0), "c": tune.Categorical(["a", "b", "d"])})


def rows(*params):
    return np.array([SPACE.encode({"x": x, "c": c}) for x, c in params])


def test_a_basin_reaches_its_radius_in_numbers_and_no_other_category():
    basin = Basin(Encoding(SPACE), rows((0.5, "b"), (0.1, "a")), np.array([1.0, 2.0]))
    near, far = 0.5 + 0.99 * RADIUS, 0.5 + 1.01 * RADIUS
    held = basin.holds(rows((0.5, "b"), (near, "b"), (far, "b"), (0.5, "a"), (0.5, "d")))
    assert held.tolist() == [True, True, False, False, False]


def test_the_crowd_is_all_of_the_basin_but_its_best_trial():
    points = rows((0.50, "b"), (0.52, "b"), (0.55, "b"), (0.9, "b"), (0.5, "a"))
    basin = Basin(Encoding(SPACE), points, np.array([2.0, 1.0, np.nan, 3.0, 4.0]))
    assert basin.crowd.tolist() == [True, False, True, False, False]


def test_the_spread_is_from_the_median_to_the_best_of_known_values():
    assert spread(np.array([5.0, np.nan, 1.0, 3.0])) == 2.0
    assert spread(np.array([np.nan])) == 0.0
