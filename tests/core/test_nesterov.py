"""`nag` is Nesterov's method, seen from the look-ahead point."""

import numpy as np
import pytest

import fastopt

N_STEPS = 60
TARGET = np.array([1.0, -2.0, 0.5, 3.0])
CURVATURE = np.array([1.0, 10.0, 0.1, 30.0])


def gradient(x):
    """Of a quadratic with a quartic term, so that the gradient is not linear."""
    return CURVATURE * (x - TARGET) + 0.1 * (x - TARGET) ** 3


def classical_nag(x, lr, momentum):
    """v = momentum*v + lr*gradient(x - momentum*v);  x = x - v."""
    v = np.zeros_like(x)
    look_ahead_points = []
    for _ in range(N_STEPS):
        v = momentum * v + lr * gradient(x - momentum * v)
        x = x - v
        look_ahead_points.append(x - momentum * v)
    return look_ahead_points, x


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99])
def test_nag_gives_the_iterates_of_the_classical_method(momentum):
    lr = 0.01
    start = np.array([5.0, 4.0, -3.0, 2.0])
    expected, x = classical_nag(start, lr, momentum)
    point, buffer = start.copy(), np.zeros(4)
    for look_ahead in expected:
        fastopt.nag(point, gradient(point), buffer, lr=lr, momentum=momentum)
        # The same real numbers in another order of operations
        np.testing.assert_allclose(point, look_ahead, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(point + momentum * (lr * buffer), x, rtol=1e-12, atol=1e-13)


def test_nag_is_not_plain_momentum():
    start = np.array([5.0, 4.0, -3.0, 2.0])
    with_nag, with_momentum = start.copy(), start.copy()
    a, b = np.zeros(4), np.zeros(4)
    for _ in range(3):
        fastopt.nag(with_nag, gradient(with_nag), a, lr=0.01, momentum=0.9)
        fastopt.momentum(with_momentum, gradient(with_momentum), b, lr=0.01, momentum=0.9)
    assert np.abs(with_nag - with_momentum).max() > 0.1
