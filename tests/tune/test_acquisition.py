"""The expected improvement in logarithms: digits, derivatives, ascent."""

import decimal
from decimal import Decimal

import numpy as np
import pytest
from scipy import integrate, stats

from fastopt.tune.strategies.bayes import expected_improvement as acquisition
from fastopt.tune.strategies.bayes.ascent import climb


def log_h_reference(z: float) -> float:
    """log(phi(z) + z Phi(z)) with 200 decimals.

    Phi by its everywhere convergent series Phi(z) = 1/2 + phi(z) * sum z^(2k+1) / (1*3*...*(2k+1)).
    """
    with decimal.localcontext() as context:
        context.prec = 1200 if abs(z) > 20 else 260
        z_exact = Decimal(z)
        pi = _pi(context.prec)
        phi = (-z_exact * z_exact / 2).exp() / (2 * pi).sqrt()
        term = total = z_exact
        k = 0
        while abs(term) > Decimal(10) ** (-context.prec) * max(abs(total), Decimal(1)):
            k += 1
            term = term * z_exact * z_exact / (2 * k + 1)
            total += term
        ndtr = Decimal("0.5") + phi * total
        return float((phi + z_exact * ndtr).ln())


def _pi(precision: int) -> Decimal:
    """Machin: pi = 16 atan(1/5) - 4 atan(1/239)."""

    def arctan_inverse(x: int) -> Decimal:
        power = total = Decimal(1) / x
        k = 1
        while abs(power) > Decimal(10) ** (-precision - 5):
            power = -power / (x * x)
            k += 2
            total += power / k
        return total

    return 16 * arctan_inverse(5) - 4 * arctan_inverse(239)


@pytest.mark.parametrize(
    "z", [-40.0, -25.0, -10.0, -5.5, -2.0, -1.2, -1.0 - 1e-9, -1.0, -0.9, -0.3, 0.0, 0.5, 3.0, 9.0]
)
def test_log_h_has_all_digits(z):
    reference = log_h_reference(z)
    assert float(acquisition.log_h(z)) == pytest.approx(reference, rel=5e-15, abs=5e-15)


@pytest.mark.parametrize("z", [-1e3, -1.5e3, -1e5, -1e8, -1e150])
def test_log_h_in_the_far_tail_agrees_with_its_asymptotic_series(z):
    x = Decimal(z)
    # Mills: h(z) = phi(z) / z^2 * (1 - 3/z^2 + 15/z^4 - 105/z^6 + ...)
    series = 1 - 3 / x**2 + 15 / x**4 - 105 / x**6
    reference = -x * x / 2 - (2 * _pi(40)).ln() / 2 - (x * x).ln() + series.ln()
    assert float(acquisition.log_h(z)) == pytest.approx(float(reference), rel=1e-15)


def test_log_h_is_finite_monotone_and_continuous_where_its_forms_meet():
    for seam in (-1.0, -1e3):
        z = seam + np.linspace(-1e-6, 1e-6, 2001) * abs(seam)
        values = acquisition.log_h(z)
        assert np.isfinite(values).all()
        assert (np.diff(values) > 0).all()


@pytest.mark.parametrize("noise", [0.0, 1e-3, 0.5])
@pytest.mark.parametrize("z", [-2000.0, -50.0, -3.0, -1.0, -0.5, 0.0, 2.0, 8.0])
def test_gradient_is_the_derivative(z, noise):
    deviation = 0.3
    mean = np.array([1.0 - z * deviation])
    deviation = np.array([deviation])
    value, by_mean, by_deviation = acquisition.log_ei_gradient(mean, deviation, 1.0, noise)
    assert value == acquisition.log_ei(mean, deviation, 1.0, noise)
    for derivative, shift_mean, shift_deviation in (
        (by_mean, 1.0, 0.0),
        (by_deviation, 0.0, 1.0),
    ):
        e = 1e-6
        up, down = e * np.array([[shift_mean, shift_deviation], [-shift_mean, -shift_deviation]])
        high = acquisition.log_ei(mean + up[0], deviation + up[1], 1.0, noise)
        low = acquisition.log_ei(mean + down[0], deviation + down[1], 1.0, noise)
        assert derivative == pytest.approx((high - low) / (2 * e), rel=1e-6, abs=1e-9)


def test_expected_improvement_is_the_integral_and_noise_scales_it():
    mean, deviation, best, noise = 0.4, 0.7, 0.1, 0.2
    expected, _ = integrate.quad(
        lambda x: max(best - x, 0.0) * stats.norm.pdf(x, mean, deviation), -8.0, best
    )
    assert np.exp(acquisition.log_ei(mean, deviation, best)) == pytest.approx(expected, rel=1e-7)
    factor = 1.0 - noise / np.hypot(deviation, noise)
    found = np.exp(acquisition.log_ei(mean, deviation, best, noise))
    assert found == pytest.approx(factor * expected, rel=1e-7)


def test_climb_finds_the_maximum_of_every_start_inside_the_box():
    centre = np.array([0.3, 1.7, 0.2])
    hessian = np.array([[4.0, 1.0, 0.0], [1.0, 9.0, 2.0], [0.0, 2.0, 3.0]])

    def function(x):
        offset = x - centre
        return -0.5 * np.einsum("ij,jk,ik->i", offset, hessian, offset), -offset @ hessian

    start = np.random.default_rng(0).random((7, 3))
    found, values = climb(
        function, start, np.zeros(3), np.ones(3), np.full(3, 0.5), tolerance=1e-14
    )
    # the second coordinate is held at its bound; the others solve the remaining equations
    rest = [0, 2]
    shift = np.linalg.solve(hessian[np.ix_(rest, rest)], -hessian[rest, 1] * (1.0 - centre[1]))
    expected = np.insert(centre[rest] + shift, 1, 1.0)
    assert np.abs(found - expected).max() < 1e-6
    assert values == pytest.approx(function(expected[None])[0][0])


def test_climb_never_goes_down_nor_leaves_the_box():
    def function(x):
        return np.sin(9.0 * x).sum(axis=1), 9.0 * np.cos(9.0 * x)

    start = np.random.default_rng(1).random((20, 4))
    low, high = np.full(4, 0.2), np.full(4, 0.9)
    found, values = climb(function, start, low, high, np.full(4, 0.3))
    assert (found >= low).all()
    assert (found <= high).all()
    assert (values >= function(np.clip(start, low, high))[0]).all()
    assert (values == function(found)[0]).all()
