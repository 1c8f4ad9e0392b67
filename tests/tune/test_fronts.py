"""Dominance, hypervolume and boxes, against counting the cells of a grid."""

import itertools

import numpy as np
import pytest

from fastopt.tune.fronts.boxes import Bounds, hypervolume, undominated_boxes
from fastopt.tune.fronts.domination import dominates, non_dominated, ranks

SIDE = 5


def cells(m):
    return np.array(list(itertools.product(range(SIDE), repeat=m)))


def counted(points, m):
    """Unit cells below the reference point (SIDE, ...) that integer points dominate."""
    return (points[:, None] <= cells(m)).all(axis=2).any(axis=0).sum()


def draws(m, count=30):
    rng = np.random.default_rng(m)
    for _ in range(count):  # many coordinates are equal, some lie beyond the reference point
        yield rng.integers(0, SIDE + 2, (rng.integers(0, 10), m)).astype(float)


@pytest.mark.parametrize("m", [2, 3, 4])
def test_the_hypervolume_is_the_number_of_dominated_cells(m):
    for points in draws(m):
        assert hypervolume(points, np.full(m, SIDE)) == counted(points, m)


@pytest.mark.parametrize("m", [2, 3, 4])
def test_boxes_hold_each_cell_that_is_left_once(m):
    for points in draws(m):
        low, high = undominated_boxes(points, np.full(m, float(SIDE)))
        here = cells(m)[:, None]
        held = ((low <= here) & (here < high)).all(axis=2).sum(axis=1)
        left = ~(points[:, None] <= cells(m)).all(axis=2).any(axis=0)
        assert (held == left).all()


@pytest.mark.parametrize("m", [2, 3, 4])
def test_gains_are_differences_of_hypervolumes(m):
    for points, others in itertools.pairwise(draws(m)):
        bounds = Bounds(np.full(m, float(SIDE)))
        for point in points:
            bounds.add(point)
        before = counted(points, m)
        after = [counted(np.vstack([points, other]), m) for other in others]
        assert (bounds.gains(others) == np.array(after) - before).all()


@pytest.mark.parametrize("m", [1, 2, 3])
def test_the_non_dominated_are_those_that_none_dominates(m):
    for points in draws(m):
        expected = [not any(dominates(b, a) for b in points) for a in points]
        assert non_dominated(points).tolist() == expected


def test_ranks_count_the_longest_chain_of_dominating_points():
    for points in draws(2):
        rank = ranks(points)
        for i, point in enumerate(points):
            above = [rank[j] + 1 for j, b in enumerate(points) if dominates(b, point)]
            assert rank[i] == max(above, default=0)


def test_ranks_stop_once_enough_have_one():
    points = np.array([[float(i), float(i)] for i in range(6)])
    assert ranks(points, enough=2).tolist() == [0, 1, 2, 2, 2, 2]
