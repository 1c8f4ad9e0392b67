"""The best trial by a model, where values are noisy."""

import numpy as np
import pytest

from fastopt import tune

LINE = {"x": tune.Float(-1.0, 1.0)}


def noisy(seed, deviation=0.3):
    rng = np.random.default_rng(seed)
    study = tune.Study(LINE, strategy="sobol", seed=seed, direction="maximize")
    study.run(lambda params: deviation * rng.normal() - params["x"] ** 2, n_trials=48)
    return study


def test_it_is_nearer_to_the_optimum_than_the_luckiest_trial():
    studies = [noisy(seed) for seed in range(6)]
    expected = np.mean([abs(study.best_expected.params["x"]) for study in studies])
    assert expected < 0.6 * np.mean([abs(study.best.params["x"]) for study in studies])


def test_without_noise_it_is_the_best_trial():
    study = noisy(0, deviation=0.0)
    assert study.best_expected is study.best


def test_it_is_feasible():
    study = tune.Study(LINE, strategy="sobol")
    study.run(lambda params: tune.Result(params["x"] ** 2, [0.3 - params["x"]]), n_trials=16)
    assert study.best_expected is study.best


def test_there_must_be_a_best():
    with pytest.raises(ValueError, match="no trial has succeeded yet"):
        _ = tune.Study(LINE).best_expected
    with pytest.raises(ValueError, match=r"study\.front"):
        _ = tune.Study(LINE, directions=["minimize"] * 2).best_expected
