"""Warps: order, derivatives, degenerate values."""

import numpy as np
import pytest

from fastopt.tune.strategies.bayes import warp

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [1e-300, 1e-12, 1.0, 1e12, 1e300])
def test_outputs_keep_the_order_and_are_standardised(seed, scale):
    rng = np.random.default_rng(seed)
    values = np.exp(2.0 * rng.standard_normal(40)) * scale * rng.choice([1, 1e-3])
    targets = warp.outputs(values)
    order = np.argsort(values)
    assert (np.diff(targets[order]) > 0).all()
    assert targets.mean() == pytest.approx(0.0, abs=1e-12)
    assert targets.std() == pytest.approx(1.0)


def test_equal_values_get_equal_targets():
    targets = warp.outputs([3.0, 1.0, 3.0, 2.0, 1.0, 7.0, 7.0])
    assert targets[0] == targets[2]
    assert targets[1] == targets[4]
    assert targets[5] == targets[6]


@pytest.mark.parametrize(
    "values",
    [
        [0.0],
        [NAN, NAN],
        [INF, -INF, NAN],
        [1e300] * 1000,
        [1e-300] * 7,
        [5e-324, 0.0],
        [1e308, -1e308, NAN, 0.0],
        [1.0, 1.0 + 1e-16, 1.0],
        [0.0, 0.0, 0.0, 1e-320],
        [1.0] * 10 + [NAN],
    ],
)
def test_degenerate_values_stay_finite(values):
    targets = warp.outputs(values)
    assert np.isfinite(targets).all()
    good = np.isfinite(values)
    if good.any() and not good.all():
        assert targets[~good].min() > targets[good].max()


def test_targets_do_not_depend_on_scale_or_offset():
    values = np.random.default_rng(0).standard_normal(30)
    assert warp.outputs(values * 1e200) == pytest.approx(warp.outputs(values))
    assert warp.outputs(values * 8.0 + 5.0) == pytest.approx(warp.outputs(values))


def test_one_huge_value_does_not_make_equals_of_the_others():
    values = np.append(np.linspace(0.0, 1.0, 20), 1e300)
    targets = warp.outputs(values)
    assert (np.diff(targets) > 1e-3).all()
    assert targets[:20] == pytest.approx(warp.outputs(np.append(values[:20], 10.0))[:20])


def test_half_rank_keeps_the_better_half_and_draws_in_the_worse():
    values = np.array([1.0, 2.0, 3.0, 4.0, 1e9])
    warped = warp.half_rank(values)
    assert (warped[:3] == values[:3]).all()
    assert 3.0 < warped[3] < warped[4] < 10.0


def test_yeo_johnson_has_its_special_cases():
    x = np.array([-3.0, -0.5, 0.0, 0.5, 3.0])
    assert warp.yeo_johnson(x, 1.0) == pytest.approx(x)
    assert warp.yeo_johnson(x, 0.0)[3:] == pytest.approx(np.log1p(x[3:]))
    assert warp.yeo_johnson(x, 2.0)[:2] == pytest.approx(-np.log1p(-x[:2]))
    assert warp.yeo_johnson(x, 1e-9) == pytest.approx(warp.yeo_johnson(x, 0.0), rel=1e-6)


def test_kumaraswamy_is_a_distribution_with_these_derivatives():
    rng = np.random.default_rng(0)
    log_exponents = rng.normal(0, 0.5, (2, 3))
    x = rng.uniform(0.02, 0.98, (20, 3))
    ends = warp.kumaraswamy(np.array([[0.0] * 3, [1.0] * 3]), log_exponents)
    assert (ends == [[0.0] * 3, [1.0] * 3]).all()
    assert warp.kumaraswamy(x, np.zeros((2, 3))) == pytest.approx(x)
    e = 1e-6
    slope = warp.kumaraswamy(x + e, log_exponents) - warp.kumaraswamy(x - e, log_exponents)
    assert warp.kumaraswamy_slope(x, log_exponents) == pytest.approx(slope / (2 * e), rel=1e-6)
    for which, derivative in enumerate(warp.kumaraswamy_gradient(x, log_exponents)):
        shift = np.zeros((2, 3))
        shift[which] = e
        difference = warp.kumaraswamy(x, log_exponents + shift)
        difference = difference - warp.kumaraswamy(x, log_exponents - shift)
        assert derivative == pytest.approx(difference / (2 * e), rel=1e-5, abs=1e-9)
