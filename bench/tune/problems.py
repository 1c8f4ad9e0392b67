"""The problems of the tuning benchmark: what is searched, and what a trial costs.

A space is a dict from name to ("float" | "int", low, high, log) or ("choice", choices), which every
rival translates into its own types. Objectives are minimised. None of these problems was used to
choose a default.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

BBOB_FUNCTIONS = (2, 3, 6, 8, 10, 13, 15, 17, 20, 21)
"""Two of each group: separable, moderate, ill-conditioned, multi-modal, weakly structured."""
MIXED_FUNCTIONS = (2, 8, 15, 21)


@dataclass(frozen=True)
class Problem:
    name: str
    kind: str
    space: dict[str, tuple]
    budget: int
    start: Callable[[int], Callable[[dict[str, Any]], float]]
    """From the seed to the objective; the seed selects the instance."""


def _coco_problem(suite, function, dimension, seed):
    import cocoex

    instance = 1 + seed % 15
    options = f"function_indices:{function} dimensions:{dimension} instance_indices:{instance}"
    return cocoex.Suite(suite, "", options)[0]


def _coco(suite, function, dimension, budget):
    sample = _coco_problem(suite, function, dimension, 0)
    n_integer = getattr(sample, "number_of_integer_variables", 0)
    space: dict[str, tuple] = {}
    for i, (low, high) in enumerate(zip(sample.lower_bounds, sample.upper_bounds, strict=True)):
        if i < n_integer:
            space[f"x{i}"] = ("int", int(low), int(high), False)
        else:
            space[f"x{i}"] = ("float", float(low), float(high), False)

    def start(seed):
        problem = _coco_problem(suite, function, dimension, seed)
        return lambda params: float(problem(np.array([params[name] for name in space])))

    kind = f"{suite} {dimension}-d"
    return Problem(f"{suite}-f{function:02d}-d{dimension:02d}", kind, space, budget, start)


def _cross_validated(make_model, data):
    """Error of three-fold cross-validation, the folds drawn by the seed."""

    def start(seed):
        from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score

        x, y, regression = data()
        folds = (KFold if regression else StratifiedKFold)(3, shuffle=True, random_state=seed)
        scoring = "neg_root_mean_squared_error" if regression else "accuracy"

        def objective(params):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                scores = cross_val_score(make_model(params, seed), x, y, cv=folds, scoring=scoring)
            return -float(scores.mean()) if regression else 1.0 - float(scores.mean())

        return objective

    return start


@functools.cache
def _digits():
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return x[:600] / 16.0, y[:600], False


@functools.cache
def _diabetes():
    from sklearn.datasets import load_diabetes

    return *load_diabetes(return_X_y=True), True


@functools.cache
def _cancer():
    from sklearn.datasets import load_breast_cancer

    return *load_breast_cancer(return_X_y=True), False


def _svm(params, seed):
    from sklearn.svm import SVC

    return SVC(**params)


SVM_SPACE = {
    "C": ("float", 1e-3, 1e3, True),
    "gamma": ("float", 1e-5, 1e1, True),
    "kernel": ("choice", ["rbf", "poly", "sigmoid"]),
    "degree": ("int", 2, 5, False),
    "coef0": ("float", 0.0, 1.0, False),
}


def _boosting(params, seed):
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(random_state=seed, **params)


def _boosted_regression(params, seed):
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(random_state=seed, **params)


BOOSTING_SPACE = {
    "learning_rate": ("float", 1e-3, 1.0, True),
    "n_estimators": ("int", 10, 60, True),
    "max_depth": ("int", 1, 5, False),
    "subsample": ("float", 0.4, 1.0, False),
    "min_samples_leaf": ("int", 1, 30, True),
    "max_features": ("float", 0.1, 1.0, False),
}

MLP_SPACE = {
    "rule": ("choice", ["momentum", "adam", "rmsprop", "adagrad"]),
    "lr": ("float", 1e-5, 1.0, True),
    "hidden": ("int", 4, 64, True),
    "batch": ("int", 16, 256, True),
    "weight_decay": ("float", 1e-6, 1e-1, True),
    "init_scale": ("float", 0.1, 3.0, True),
}


def _mlp(seed):
    from bench.tune.network import validation_loss

    x, y, _ = _digits()
    return lambda params: validation_loss(params, x, y, seed)


def problems() -> list[Problem]:
    """All problems, the cheap ones first."""
    budgets = {2: 30, 5: 50, 10: 80}
    chosen = [_coco("bbob", f, d, budgets[d]) for d in budgets for f in BBOB_FUNCTIONS]
    chosen += [_coco("bbob-mixint", f, d, budgets[d]) for d in (5, 10) for f in MIXED_FUNCTIONS]
    real = "real models"
    chosen.append(Problem("svm-digits", real, SVM_SPACE, 50, _cross_validated(_svm, _digits)))
    boosting = {
        "boosting-cancer": (_boosting, _cancer),
        "boosting-diabetes": (_boosted_regression, _diabetes),
    }
    for name, (model, data) in boosting.items():
        chosen.append(Problem(name, real, BOOSTING_SPACE, 50, _cross_validated(model, data)))
    chosen.append(Problem("mlp-digits", real, MLP_SPACE, 50, _mlp))
    return chosen
