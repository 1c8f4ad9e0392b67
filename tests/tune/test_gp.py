"""The Gaussian process: derivatives, algebra, what it learns."""

import numpy as np
import pytest
from scipy import integrate

from fastopt.tune.strategies.bayes import gaussian_process as gp


def data(n=25, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.random((n, 4))
    targets = np.sin(4 * features[:, 0]) + (features[:, 1] - 0.4) ** 2
    return features, (targets - targets.mean()) / targets.std(), np.array([0, 1, 2, 2])


def dense_covariance(kernel, a, b, groups):
    """The covariance by the formula, pair by pair."""
    length = np.exp(kernel.log_length)[groups]
    r = np.sqrt((((a[:, None, :] - b[None, :, :]) / length) ** 2).sum(axis=2))
    s = np.sqrt(5.0) * r
    matern = (1 + s + s**2 / 3) * np.exp(-s)
    return np.exp(kernel.log_amplitude) * matern + gp.MEAN_VARIANCE


@pytest.mark.parametrize("warped", [None, np.array([True, True, False, False])])
@pytest.mark.parametrize("noise", [None, 1e-4])
def test_evidence_gradient_is_the_derivative(warped, noise):
    features, targets, groups = data()
    evidence = gp.Evidence(features, targets, groups, gp.Prior(), noise, warped)
    rng = np.random.default_rng(1)
    for _ in range(3):
        theta = evidence.centre + 0.5 * rng.standard_normal(len(evidence.centre))
        _, gradient = evidence(theta)
        for i, direction in enumerate(np.eye(len(theta))):
            e = 1e-5 * direction
            difference = (evidence(theta + e)[0] - evidence(theta - e)[0]) / 2e-5
            assert gradient[i] == pytest.approx(difference, rel=1e-5, abs=1e-6)


def test_evidence_is_the_log_density_of_the_targets_and_the_prior():
    features, targets, groups = data(8)
    evidence = gp.Evidence(features, targets, groups, gp.Prior())
    theta = evidence.centre + 0.3
    kernel = evidence.kernel(theta)
    covariance = dense_covariance(kernel, features, features, groups)
    covariance += np.exp(kernel.log_noise) * np.eye(8)
    _, log_det = np.linalg.slogdet(2 * np.pi * covariance)
    density = -0.5 * targets @ np.linalg.solve(covariance, targets) - 0.5 * log_det
    penalty = 0.5 * (((theta - evidence.centre) / evidence.width) ** 2).sum()
    assert -evidence(theta)[0] == pytest.approx(density - penalty, rel=1e-10)


def test_posterior_agrees_with_dense_algebra():
    features, targets, groups = data()
    kernel = gp.fit(features, targets, groups)
    posterior = gp.Posterior(kernel, features, targets, groups)
    points = np.random.default_rng(2).random((9, 4))
    covariance = dense_covariance(kernel, features, features, groups)
    covariance += np.exp(kernel.log_noise) * np.eye(len(features))
    cross = dense_covariance(kernel, points, features, groups)
    mean, deviation = posterior.predict(points)
    assert mean == pytest.approx(cross @ np.linalg.solve(covariance, targets), abs=1e-7)
    prior = np.exp(kernel.log_amplitude) + gp.MEAN_VARIANCE
    variance = prior - (cross * np.linalg.solve(covariance, cross.T).T).sum(axis=1)
    assert deviation**2 == pytest.approx(variance, abs=1e-7)


@pytest.mark.parametrize("warped", [None, np.array([True, True, False, False])])
def test_posterior_gradient_is_the_derivative(warped):
    features, targets, groups = data()
    kernel = gp.fit(features, targets, groups, warped=warped)
    assert (kernel.log_warp is None) == (warped is None)
    posterior = gp.Posterior(kernel, features, targets, groups)
    points = np.random.default_rng(3).uniform(0.05, 0.95, (6, 4))
    mean, deviation, by_mean, by_deviation = posterior.predict_gradient(points)
    assert np.array_equal(posterior.predict(points), (mean, deviation))
    for j, direction in enumerate(np.eye(4)):
        e = 1e-5 * direction
        high, low = posterior.predict(points + e), posterior.predict(points - e)
        assert by_mean[:, j] == pytest.approx((high[0] - low[0]) / 2e-5, rel=1e-4, abs=1e-6)
        assert by_deviation[:, j] == pytest.approx((high[1] - low[1]) / 2e-5, rel=1e-4, abs=1e-6)


def test_appending_to_the_factor_equals_factorising_the_whole():
    features, targets, groups = data(30)
    kernel = gp.fit(features[:24], targets[:24], groups)
    grown = gp.Posterior(kernel, features[:24], targets[:24], groups)
    expected_mean, wide = grown.predict(features)
    for row in features[24:]:
        grown.fantasise(row[None])
    at_once = gp.Posterior(kernel, features[:24], targets[:24], groups)
    at_once.fantasise(features[24:])
    fantasies = np.concatenate([targets[:24], expected_mean[24:]])
    whole = gp.Posterior(kernel, features, fantasies, groups)
    for posterior in (grown, at_once):
        assert posterior.factor == pytest.approx(whole.factor, abs=1e-9)
        assert posterior.inverse_factor == pytest.approx(whole.inverse_factor, abs=1e-4)
        assert posterior.weights == pytest.approx(whole.weights, abs=1e-4)
        mean, deviation = posterior.predict(features)
        # the mean stays as it was, the variance shrinks at the fantasies
        assert mean == pytest.approx(expected_mean, abs=1e-12)
        assert (deviation[24:] < wide[24:]).all()


def test_one_hot_blocks_make_hamming_distances():
    one_hot = np.eye(4) * np.sqrt(0.5)
    assert gp.squared_distances(one_hot, one_hot) == pytest.approx(1.0 - np.eye(4))


def test_fit_finds_the_coordinates_that_matter():
    features, targets, groups = data(60)
    kernel = gp.fit(features, targets, groups)
    assert kernel.log_length[2] > kernel.log_length[:2].max() + 1.0
    assert np.exp(kernel.log_noise) < 1e-3


def test_fit_finds_the_noise():
    rng = np.random.default_rng(0)
    features = rng.random((150, 2))
    targets = 2 * features[:, 0] + 0.3 * rng.standard_normal(150)
    kernel = gp.fit(features, targets, np.arange(2))
    assert np.exp(0.5 * kernel.log_noise) == pytest.approx(0.3, rel=0.25)
    fixed = gp.fit(features, targets, np.arange(2), noise=1e-6)
    assert fixed.log_noise == np.log(1e-6)


def test_matern_is_a_correlation_and_its_slope_the_derivative():
    r2 = np.array([0.0, 1e-8, 0.3, 2.0, 50.0])
    value, slope = gp.matern(r2.copy())
    assert value[0] == 1.0
    # value(r2) = 1 - integral of slope/2
    for r2_i, value_i in zip(r2, value, strict=True):
        drop, _ = integrate.quad(lambda x: 0.5 * gp.matern(np.array([x]))[1][0], 0.0, r2_i)
        assert value_i == pytest.approx(1.0 - drop, abs=1e-8)
    assert slope[0] == pytest.approx(5 / 3)


def test_cholesky_of_a_singular_matrix_uses_jitter():
    ones = np.ones((5, 5))
    factor = gp.cholesky(ones)
    assert factor @ factor.T == pytest.approx(ones, abs=1e-3)
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        gp.cholesky(-ones)
