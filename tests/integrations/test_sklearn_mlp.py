"""scikit-learn's perceptrons trained by fastopt: with its solvers' own rules, the same training."""

import pickle
import warnings

import joblib
import numpy as np
import pytest
import sklearn.neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import permutation_importance
from sklearn.model_selection import train_test_split

import fastopt
from fastopt.integrations.sklearn_mlp import MLPClassifier, MLPRegressor

OPTIONS = {"hidden_layer_sizes": (20,), "random_state": 0, "learning_rate_init": 0.005}
# scikit-learn's solvers in our words
SAME = [
    ("adam", {"eps_hat": True}, {"solver": "adam"}),
    (
        "momentum",
        {"momentum": 0.8},
        {"solver": "sgd", "momentum": 0.8, "nesterovs_momentum": False},
    ),
    ("nag", {}, {"solver": "sgd"}),
    ("sgd", {}, {"solver": "sgd", "momentum": 0.0}),
]


@pytest.fixture(scope="module")
def digits():
    images, labels = load_digits(return_X_y=True)
    return train_test_split(images / 16, labels, random_state=0)


def fit(model, inputs, labels):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(inputs, labels)


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.parametrize(("rule", "options", "solver"), SAME)
def test_the_solvers_of_scikit_learn_are_met(digits, kind, rule, options, solver):
    inputs, _, labels, _ = digits
    ours = {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}[kind]
    theirs = getattr(sklearn.neural_network, kind)
    own = fit(ours(rule=rule, rule_options=options, max_iter=10, **OPTIONS), inputs, labels)
    other = fit(theirs(max_iter=10, **solver, **OPTIONS), inputs, labels)
    assert own.loss_curve_[-1] < own.loss_curve_[0]
    np.testing.assert_allclose(own.loss_curve_, other.loss_curve_, rtol=1e-9)
    for mine, its in zip(own.coefs_, other.coefs_, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("rule", fastopt.RULES)
def test_every_rule_learns_the_digits(digits, rule):
    inputs, test_inputs, labels, test_labels = digits
    rates = {"adagrad": 0.02, "adadelta": 1.0, "sgd": 0.3, "momentum": 0.05, "nag": 0.05}
    rates |= {"radam": 0.02, "asgd": 0.3, "lars": 5.0}
    rates |= {"schedule_free_sgd": 1.0, "schedule_free_adamw": 0.02}
    rates |= {"prodigy": 1.0}
    options = {**OPTIONS, "learning_rate_init": rates.get(rule, 0.005)}
    if rule == "rprop":  # which needs the gradients of the whole data set
        options["batch_size"] = len(inputs)
    model = fit(MLPClassifier(rule=rule, max_iter=40, **options), inputs, labels)
    assert type(model._optimizer.steps).__name__ == fastopt.RULES[rule].class_name
    assert model.score(test_inputs, test_labels) > 0.93


@pytest.mark.parametrize("rule", ["schedule_free_sgd", "schedule_free_adamw"])
def test_a_trained_model_has_the_average_of_a_schedule_free_rule(digits, rule):
    inputs, _, labels, _ = digits
    model = fit(MLPClassifier(rule=rule, max_iter=3, **OPTIONS), inputs, labels)
    for _ in range(2):
        steps, average = model._optimizer.steps, model.coefs_[0].copy()
        assert not steps.training
        steps.train()
        assert np.abs(model.coefs_[0] - average).max() > 1e-4
        steps.eval()
        np.testing.assert_allclose(model.coefs_[0], average, rtol=1e-12, atol=1e-15)
        model.partial_fit(inputs[:500], labels[:500])
        assert (model.coefs_[0] != average).any()


def test_the_best_weights_are_those_that_were_validated(digits):
    inputs, _, labels, _ = digits
    common = {**OPTIONS, "early_stopping": True, "n_iter_no_change": 2, "max_iter": 30}
    model = fit(MLPClassifier(rule="schedule_free_sgd", **common), inputs, labels)
    assert model._optimizer.steps.training
    assert all(np.array_equal(a, b) for a, b in zip(model.coefs_, model._best_coefs, strict=True))


def test_schedules_and_early_stopping_are_those_of_scikit_learn(digits):
    inputs, _, labels, _ = digits
    common = {**OPTIONS, "learning_rate": "invscaling", "early_stopping": True, "max_iter": 8}
    own = fit(MLPClassifier(rule="sgd", **common), inputs, labels)
    other = sklearn.neural_network.MLPClassifier(solver="sgd", momentum=0.0, **common)
    fit(other, inputs, labels)
    assert own.validation_scores_ == other.validation_scores_
    assert own._optimizer.learning_rate == other._optimizer.learning_rate < 0.005


@pytest.mark.parametrize("learning_rate", ["constant", "invscaling", "adaptive"])
def test_a_warm_start_goes_on_as_scikit_learn_s(digits, learning_rate):
    inputs, _, labels, _ = digits
    common = {**OPTIONS, "learning_rate": learning_rate, "warm_start": True, "max_iter": 4}
    if learning_rate == "adaptive":  # every epoch lowers the rate
        common |= {"tol": 10.0, "n_iter_no_change": 1}
    own = MLPClassifier(rule="sgd", **common)
    other = sklearn.neural_network.MLPClassifier(solver="sgd", momentum=0.0, **common)
    for count in (4, 8):
        fit(own, inputs, labels)
        fit(other, inputs, labels)
        assert len(own.loss_curve_) == count
        np.testing.assert_allclose(own.loss_curve_, other.loss_curve_, rtol=1e-9)
        assert own._optimizer.learning_rate == other._optimizer.learning_rate
    assert (own._optimizer.learning_rate < 0.005) == (learning_rate != "constant")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_partial_fit_goes_on_and_a_pickled_model_does_so_identically(digits, dtype):
    inputs, _, labels, _ = digits
    inputs = inputs.astype(dtype)
    model = MLPClassifier(rule="adam", **OPTIONS)
    for _ in range(3):
        model.partial_fit(inputs, labels, classes=range(10))
    twin = pickle.loads(pickle.dumps(model))
    steps = model._optimizer.steps.state[0]["step"]
    assert steps == 3 * -(-len(inputs) // 200)
    for each in (model, twin):
        each.partial_fit(inputs, labels)
        assert each._optimizer.steps.state[0]["step"] > steps
    assert model.coefs_[0].dtype == dtype
    assert model.coefs_[0].tobytes() == twin.coefs_[0].tobytes()


def test_weights_that_were_replaced_keep_their_state(digits):
    inputs, _, labels, _ = digits
    model, other = (MLPClassifier(rule="adam", **OPTIONS) for _ in range(2))
    for each in (model, other):
        each.partial_fit(inputs, labels, classes=range(10))
    model.coefs_ = [coef.copy() for coef in model.coefs_]
    for each in (model, other):
        each.partial_fit(inputs, labels)
    assert model.coefs_[0].tobytes() == other.coefs_[0].tobytes()


def test_a_model_in_read_only_memory_predicts_and_says_why_it_cannot_train(digits, tmp_path):
    inputs, _, labels, _ = digits
    model = fit(MLPClassifier(rule="adam", max_iter=2, **OPTIONS), inputs, labels)
    joblib.dump(model, tmp_path / "model")
    mapped = joblib.load(tmp_path / "model", mmap_mode="r")
    assert isinstance(mapped.coefs_[0], np.memmap)
    np.testing.assert_array_equal(mapped.predict(inputs), model.predict(inputs))
    with pytest.raises(ValueError, match="must be writeable, got a read-only array"):
        mapped.partial_fit(inputs, labels)


@pytest.mark.parametrize("mode", ["c", "r+"])
def test_a_model_in_memory_of_a_file_trains_on(digits, tmp_path, mode):
    inputs, _, labels, _ = digits
    model = fit(MLPClassifier(rule="adam", max_iter=2, **OPTIONS), inputs, labels)
    joblib.dump(model, tmp_path / "model")
    mapped = joblib.load(tmp_path / "model", mmap_mode=mode)
    for each in (model, mapped):
        each.partial_fit(inputs, labels)
        each.partial_fit(inputs, labels)
    assert mapped.coefs_[0].tobytes() == model.coefs_[0].tobytes()


def test_models_with_large_weights_go_to_workers(digits):
    inputs, _, labels, _ = digits
    inputs, labels = inputs[:200], labels[:200]
    wide = {**OPTIONS, "hidden_layer_sizes": (2200,)}  # joblib shares arrays of over a megabyte
    model = fit(MLPClassifier(rule="sgd", max_iter=2, **wide), inputs, labels)
    assert model.coefs_[0].nbytes > 1 << 20
    importances = permutation_importance(model, inputs, labels, n_repeats=2, n_jobs=2)
    assert importances.importances.shape == (64, 2)


def test_parameters_are_those_of_an_estimator():
    model = MLPClassifier(rule="rmsprop", rule_options={"alpha": 0.9}, alpha=0.1)
    params = model.get_params()
    assert params["rule"] == "rmsprop"
    assert params["alpha"] == 0.1
    assert "solver" not in params
    assert clone(model).get_params() == params
    assert model.set_params(rule="sgd").rule == "sgd"
    with pytest.raises(TypeError, match="solver"):
        MLPClassifier(solver="adam")


@pytest.mark.parametrize(
    ("keywords", "error", "match"),
    [
        ({"rule": "adm"}, ValueError, "rule must be one of .* got 'adm'"),
        ({"rule": "sgd", "rule_options": {"betas": 1}}, TypeError, "betas"),
        ({"rule": "adam", "rule_options": {"beta1": 2.0}}, ValueError, "beta1"),
    ],
)
def test_bad_rules_and_options_are_refused(digits, keywords, error, match):
    inputs, _, labels, _ = digits
    with pytest.raises(error, match=match):
        MLPClassifier(**keywords).fit(inputs, labels)
