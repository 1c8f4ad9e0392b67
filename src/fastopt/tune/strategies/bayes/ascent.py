"""Maximisation of an acquisition function over a box, a grid, or a mixture of both.

Many starts climb in lock-step, so that one matrix product serves all of them.
"""

from __future__ import annotations

import numpy as np


def climb(function, start, low, high, scale, *, max_evaluations=60, tolerance=1e-5):
    """Projected BFGS ascent from several starts at once.

    Every row keeps its own inverse Hessian and step length; each round evaluates all rows together.
    A row whose trial point fails Armijo's condition shortens its step in the next round while
    others go on.

    Parameters
    ----------
    function : callable
        Rows (m, columns) -> values (m,) and gradients (m, columns).
    start : (m, columns) array
    low, high : (columns,) arrays
        The box.
    scale : (columns,) array
        Typical lengths; the ascent works in units of them.
    max_evaluations : int
    tolerance : float
        Rows stop when their predicted gain falls below it.

    Returns
    -------
    points, values : (m, columns) and (m,) arrays
    """
    m, columns = start.shape
    x = np.clip(start, low, high)
    value, gradient = function(x)
    gradient = gradient * scale
    identity = np.eye(columns)
    inverse_hessian = np.repeat(identity[None], m, axis=0)
    fresh = np.ones(m, dtype=bool)
    step = np.ones(m)
    renew = np.ones(m, dtype=bool)
    running = np.ones(m, dtype=bool)
    direction = np.zeros_like(x)
    slope = np.zeros(m)
    for _ in range(max_evaluations):
        free = ~(((x <= low) & (gradient < 0.0)) | ((x >= high) & (gradient > 0.0)))
        projected = np.where(free, gradient, 0.0)
        proposal = np.where(free, np.matmul(inverse_hessian, projected[:, :, None])[:, :, 0], 0.0)
        rise = np.einsum("ij,ij->i", proposal, projected)
        length = np.sqrt(np.einsum("ij,ij->i", proposal, proposal))
        # steps of at most a quarter of a length scale at first, of one later: the quadratic model
        # of the function holds no farther
        limit = np.where(fresh, 0.25, 1.0)
        shrink = np.minimum(1.0, limit / np.maximum(length, 1e-300))
        direction = np.where(renew[:, None], proposal * shrink[:, None], direction)
        slope = np.where(renew, rise * shrink, slope)
        step = np.where(renew, 1.0, step)
        running &= slope * step > tolerance
        if not running.any():
            break
        trial = np.clip(x + (step[:, None] * direction) * scale, low, high)
        trial = np.where(running[:, None], trial, x)
        trial_value, trial_gradient = function(trial)
        trial_gradient = trial_gradient * scale
        moved = (trial - x) / scale
        gain = np.einsum("ij,ij->i", gradient, moved)
        accept = running & (trial_value >= value + 1e-4 * np.maximum(gain, 0.0))
        y = gradient - trial_gradient
        curvature = np.einsum("ij,ij->i", moved, y)
        yy = np.einsum("ij,ij->i", y, y)
        update = accept & (curvature > 1e-10 * np.maximum(yy, 1e-300))
        if update.any():
            safe = np.where(update, curvature, 1.0)
            first = update & fresh
            inverse_hessian[first] = identity * (safe / np.maximum(yy, 1e-300))[first, None, None]
            hy = np.matmul(inverse_hessian, y[:, :, None])[:, :, 0]
            factor = (1.0 + np.einsum("ij,ij->i", y, hy) / safe) / safe
            half = moved * (0.5 * factor)[:, None] - hy / safe[:, None]
            change = half[:, :, None] * moved[:, None, :]
            change += change.transpose(0, 2, 1)
            inverse_hessian += np.where(update[:, None, None], change, 0.0)
            fresh &= ~update
        x = np.where(accept[:, None], trial, x)
        value = np.where(accept, trial_value, value)
        gradient = np.where(accept[:, None], trial_gradient, gradient)
        step = np.where(accept, 1.0, step * 0.3)
        renew = accept
    return x, value


class Search:
    """One acquisition search over an encoded space.

    Parameters
    ----------
    encoding : Encoding
    criterion : object
        One of `criteria`.
    low, high : (d,) arrays
        The part of the cube that continuous coordinates may climb in.
    avoided : callable, optional
        Points -> whether each of them is worth nothing.
    """

    def __init__(self, encoding, criterion, low, high, avoided=None):
        self.encoding = encoding
        self.criterion = criterion
        self.low, self.high = low, high
        self.avoided = avoided

    def values(self, points):
        """The acquisition at each row of ``points``."""
        return self._worth(points, self.criterion.values(self.encoding.features(points)))

    def _worth(self, points, values):
        return values if self.avoided is None else np.where(self.avoided(points), -np.inf, values)

    def climb_continuous(self, points):
        """Move the continuous coordinates of every row uphill, the others fixed."""
        continuous = self.encoding.continuous
        columns = self.encoding.continuous_columns
        features = self.encoding.features(points)
        active = self.encoding.space.active(points)[:, continuous]

        fixed = features[:, columns]

        def function(x):
            features[:, columns] = np.where(active, x, fixed)
            value, gradient = self.criterion.gradient(features)
            return value, np.where(active, gradient[:, columns], 0.0)

        scale = np.minimum(1.0 / self.criterion.inverse_length[columns], 1.0)
        found, values = climb(
            function, points[:, continuous], self.low[continuous], self.high[continuous], scale
        )
        result = points.copy()
        # an inactive coordinate stays where the space imputes it
        result[:, continuous] = np.where(active, found, fixed)
        return result, self._worth(result, values)

    def step_discrete(self, points, values):
        """Set each discrete coordinate of every row in turn to its best level.

        Returns the points, their values, and whether any row moved.
        """
        points, values = points.copy(), values.copy()
        moved = False
        rows = np.arange(len(points))
        for j in self.encoding.discrete:
            levels = self.encoding.neighbours(j, points[:, j])
            trials = np.repeat(points[:, None, :], levels.shape[1], axis=1)
            trials[:, :, j] = levels
            trials = trials.reshape(-1, points.shape[1])
            if self.encoding.conditional:
                trials = self.encoding.space.snap(trials)
            found = self.values(trials).reshape(levels.shape)
            choice = found.argmax(axis=1)
            better = found[rows, choice] > values + 1e-9
            chosen = trials.reshape(*levels.shape, -1)[rows, choice]
            points[better] = chosen[better]
            values[better] = found[rows, choice][better]
            moved |= bool(better.any())
        return points, values, moved

    def refine(self, points, values, rounds=4):
        """Alternate both until no discrete coordinate moves."""
        encoding = self.encoding
        for _ in range(rounds if len(encoding.discrete) else 1):
            if len(encoding.continuous):
                points, values = self.climb_continuous(points)
            if not len(encoding.discrete):
                break
            points, values, moved = self.step_discrete(points, values)
            if not moved:
                break
        return points, values
