"""HalvingSearchCV continues to train the best candidates, and reports as scikit-learn's does."""

import math
import pickle

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.datasets import load_iris, make_regression
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import Ridge, SGDClassifier, SGDRegressor
from sklearn.model_selection import HalvingGridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from fastopt import tune
from fastopt.integrations.sklearn import HalvingSearchCV
from fastopt.integrations.sklearn_mlp import MLPClassifier, MLPRegressor

IRIS = load_iris(return_X_y=True)
SPACE = {"learning_rate_init": tune.Float(1e-4, 1.0, log=True)}
pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:Some inputs do not have OOB scores"
)


def network(**options):
    return MLPClassifier((8,), **{"batch_size": 16, "max_iter": 9, "random_state": 0} | options)


def checks():
    # As with the other searches, whether a column as y gives a warning depends on the estimator.
    for estimator, space in [
        (SGDRegressor(max_iter=3, random_state=0), {"alpha": [0.01, 0.1]}),
        (SGDClassifier(max_iter=3, random_state=0), {"alpha": tune.Float(0.01, 0.1)}),
        (
            MLPRegressor(
                hidden_layer_sizes=8, learning_rate_init=0.05, max_iter=40, random_state=0
            ),
            {"alpha": [1e-4, 1e-3]},
        ),
    ]:
        search = HalvingSearchCV(
            estimator, space, n_iter=2, cv=2, error_score="raise", random_state=0
        )
        for copied, check in estimator_checks_generator(search, mark=None):
            name = check.func.__name__
            if "array_api" not in name:
                label = f"{type(estimator).__name__}-{name}"
                yield pytest.param(copied, check, id=label)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_scikit_learns_checks_of_an_estimator_pass(estimator, check):
    check(estimator)


class Counting(RegressorMixin, BaseEstimator):
    """An estimator that learns nothing: its score starts at its level and changes by its slope."""

    calls: list[str] = []  # noqa: RUF012 (of all copies)

    def __init__(self, level=0.0, max_iter=9, fails_after=math.inf, slope=0.0):
        self.level = level
        self.max_iter = max_iter
        self.fails_after = fails_after
        self.slope = slope

    def fit(self, x, y, sample_weight=None):
        self.calls.append("fit")
        self.epochs_ = self.max_iter
        return self

    def partial_fit(self, x, y, sample_weight=None):
        self.calls.append("partial_fit")
        self.epochs_ = getattr(self, "epochs_", 0) + 1
        self.weight_ = sample_weight
        if self.epochs_ > self.fails_after:
            raise FloatingPointError("too far")
        return self

    def predict(self, x):
        return np.zeros(len(x))

    def score(self, x, y):
        return float(self.level + self.slope * self.epochs_)


DATA = make_regression(20, random_state=0)
LEVELS = {"level": [float(level) for level in range(9)]}


def search(space=None, estimator=None, **options):
    options = {"strategy": "grid", "n_iter": 99, "cv": 2, "n_points": None} | options
    return HalvingSearchCV(estimator or Counting(), space or LEVELS, **options)


def test_candidates_that_go_on_keep_their_training():
    Counting.calls.clear()
    fitted = search().fit(*DATA)
    assert fitted.n_resources_ == [1, 3, 9]
    assert fitted.n_candidates_ == [9, 3, 1]
    # Two splits. Besides, scikit-learn needs one fit, and the best is fitted to all data.
    assert Counting.calls.count("partial_fit") == 2 * (9 * 1 + 3 * 2 + 1 * 6)
    assert Counting.calls.count("fit") == 2 + 1
    assert fitted.best_params_ == {"level": 8.0, "max_iter": 9}
    assert fitted.best_estimator_.epochs_ == 9


def test_results_have_the_form_of_scikit_learns_halving():
    ours = search(cv=3, return_train_score=True).fit(*DATA)
    theirs = HalvingGridSearchCV(
        Counting(), LEVELS, cv=3, resource="max_iter", min_resources=1, max_resources=9
    ).fit(*DATA)
    assert list(ours.cv_results_) == list(theirs.cv_results_)

    def rows(results):
        keys = [key for key in results if "time" not in key and key != "params"]
        return sorted(zip(*(results[key].tolist() for key in keys), strict=True))

    assert rows(ours.cv_results_) == rows(theirs.cv_results_)
    for key, column in theirs.cv_results_.items():
        assert isinstance(ours.cv_results_[key], type(column))
    assert ours.cv_results_["params"][-1] == theirs.cv_results_["params"][-1]
    assert ours.best_params_ == theirs.best_params_
    assert ours.best_score_ == theirs.best_score_
    assert (ours.n_resources_, ours.n_candidates_) == (theirs.n_resources_, theirs.n_candidates_)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_scores_are_those_of_models_that_are_trained_epoch_by_epoch(n_jobs):
    x, y = IRIS
    splits = list(StratifiedKFold(3).split(x, y))
    space = {"learning_rate_init": [0.003, 0.03, 0.3], "rule": ["adam", "nag"]}
    fitted = search(space, network(), cv=splits, n_jobs=n_jobs).fit(x, y)
    results = fitted.cv_results_
    assert sorted(results["n_resources"]) == [1] * 6 + [3] * 2 + [9]
    for row, params in enumerate(results["params"]):
        for number, (train, test) in enumerate(splits):
            model = network(**params | {"random_state": np.random.RandomState(0)})
            for _ in range(params["max_iter"]):
                model.partial_fit(x[train], y[train], classes=[0, 1, 2])
            assert results[f"split{number}_test_score"][row] == model.score(x[test], y[test])


@pytest.mark.parametrize(
    ("scheduler", "epochs"),
    [
        (tune.Halving(eta=2, first=2, last=9), [*[2] * 9, *[4] * 4, *[8] * 2, 9]),
        (tune.TopK(2, after=4), [*[4] * 9, *[9] * 2]),
    ],
)
def test_the_scheduler_decides_which_candidates_go_on(scheduler, epochs):
    fitted = search(scheduler=scheduler).fit(*DATA)
    assert fitted.cv_results_["n_resources"].tolist() == epochs
    assert fitted.best_params_["level"] == 8.0


def test_brackets_of_hyperband_are_those_of_the_study():
    scheduler = tune.Hyperband(last=9)
    study = tune.Study(
        {"level": tune.Categorical(LEVELS["level"])}, strategy="grid", direction="maximize"
    )

    def training(params):
        left = params["level"]
        for _ in range(9):
            rows = yield left
            left = left[rows]

    study.run(training, batch=9, scheduler=scheduler)
    results = search(scheduler=scheduler).fit(*DATA).cv_results_
    most = {}
    for level, epochs in zip(results["param_level"], results["n_resources"], strict=True):
        most[level] = max(most.get(level, 0), epochs)
    assert most == {trial.params["level"]: len(trial.values) for trial in study.trials}
    assert set(most.values()) == {1, 3, 9}


class Cautious:
    """A user's own scheduler, which has to see every epoch."""

    def decide(self, moment):
        values = moment.trial.values
        return "stop" if len(values) > 2 and values[-1] <= values[-2] else "go"


def test_a_scheduler_that_does_not_say_when_sees_every_epoch():
    space = {"slope": [0.0, 1.0]}
    fitted = search(space, scheduler=Cautious(), max_resources=5).fit(*DATA)
    results = fitted.cv_results_
    assert results["n_resources"][results["param_slope"] == 0.0].tolist() == [1, 2, 3]
    assert results["n_resources"][results["param_slope"] == 1.0].tolist() == [1, 2, 3, 4, 5]
    assert fitted.best_params_ == {"slope": 1.0, "max_iter": 5}


def test_the_best_is_one_of_those_that_were_trained_most():
    # Scores fall from epoch to epoch, so the first rung has the best.
    fitted = search(estimator=Counting(slope=-10.0)).fit(*DATA)
    assert fitted.best_params_ == {"level": 8.0, "max_iter": 9}
    assert fitted.best_score_ == 8.0 - 90.0
    assert fitted.cv_results_["mean_test_score"].max() == 8.0 - 10.0
    assert search(refit=lambda results: 1).fit(*DATA).best_index_ == 1


def test_batches_come_one_after_the_other_and_are_compared_with_those_before():
    fitted = search(n_points=3).fit(*DATA)
    results = fitted.cv_results_
    assert results["param_level"][:3].tolist() == [0.0, 1.0, 2.0]
    # Each batch of three is better than all batches before it, so more of its candidates go on.
    batches = [0, 0, 0, 1, 2], [0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, 1, 2, 2]
    assert results["iter"].tolist() == [rung for batch in batches for rung in batch]


def test_by_default_a_third_rounded_down_of_27_candidates_at_a_time_goes_on():
    levels = [float(level) for level in range(35)]
    fitted = HalvingSearchCV(
        Counting(), {"level": levels}, strategy="grid", n_iter=99, cv=2, random_state=0
    ).fit(*DATA)
    results = fitted.cv_results_
    assert results["n_resources"][:40].tolist() == [1] * 27 + [3] * 9 + [9] * 3 + [1]
    assert results["param_level"][39:47].tolist() == levels[27:]
    assert search({"level": levels[:8]}).fit(*DATA).n_candidates_ == [8, 2, 1]


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_fits_that_fail_are_recorded_and_trained_no_further():
    space = {"level": [0.0, 1.0, 2.0], "fails_after": [0, math.inf]}
    with pytest.warns(match="3 fits failed|6 fits failed"):
        fitted = search(space).fit(*DATA)
    results = fitted.cv_results_
    failed = results["param_fails_after"] == 0
    assert np.isnan(results["mean_test_score"][failed]).all()
    assert results["n_resources"][failed].tolist() == [1, 1, 1]
    assert fitted.best_params_["fails_after"] == math.inf


def test_a_fit_that_fails_later_has_the_score_of_an_error_from_then_on():
    with pytest.warns(match="fits failed"):
        fitted = search(estimator=Counting(fails_after=1), error_score=-1.0).fit(*DATA)
    results = fitted.cv_results_
    assert results["mean_test_score"][results["n_resources"] == 1].tolist() == LEVELS["level"]
    assert set(results["mean_test_score"][results["n_resources"] > 1]) == {-1.0}


def test_a_fit_that_fails_has_the_score_of_an_error_by_each_of_several_metrics():
    options = {"scoring": ["r2", "neg_max_error"], "refit": "r2", "return_train_score": True}
    with pytest.warns(match="2 fits failed"):
        fitted = search({"fails_after": [0, math.inf]}, error_score=-9.0, **options).fit(*DATA)
    results = fitted.cv_results_
    failed = results["param_fails_after"] == 0
    for metric in ("test_r2", "test_neg_max_error", "train_r2", "train_neg_max_error"):
        assert results[f"mean_{metric}"][failed].tolist() == [-9.0]
    assert fitted.best_params_["fails_after"] == math.inf


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_a_fit_that_fails_between_two_rungs_leaves_the_others_alone():
    space = {"level": [0.0, 1.0, 2.0], "fails_after": [1, math.inf]}
    with pytest.warns(match="fits failed"):
        fitted = search(space).fit(*DATA)
    assert fitted.n_candidates_ == [6, 2, 1]
    assert fitted.best_params_ == {"level": 2.0, "fails_after": math.inf, "max_iter": 9}


def test_errors_are_raised_where_they_should_be():
    with pytest.raises(FloatingPointError, match="too far"):
        search(estimator=Counting(fails_after=2), error_score="raise").fit(*DATA)
    with pytest.raises(ValueError, match=r"All the .* fits failed"):
        search(estimator=Counting(fails_after=0)).fit(*DATA)
    with pytest.raises(ValueError, match="Invalid parameter"):
        search({"depth": [1, 2]}).fit(*DATA)
    with pytest.raises(ValueError, match="does not support early_stopping"):
        search(SPACE, network(early_stopping=True), strategy="sobol", error_score="raise").fit(
            *IRIS
        )


def test_several_metrics_are_searched_by_refit():
    options = dict(space=SPACE, estimator=network(), strategy="sobol", n_iter=9, random_state=0)
    several = search(scoring=["accuracy", "f1_macro"], refit="f1_macro", **options).fit(*IRIS)
    single = search(scoring="f1_macro", **options).fit(*IRIS)
    assert several.cv_results_["params"] == single.cv_results_["params"]
    assert several.best_score_ == single.best_score_
    with pytest.raises(ValueError, match="search_metric must be one of accuracy, f1_macro"):
        search(scoring=["accuracy", "f1_macro"], refit=False, **options).fit(*IRIS)


def test_parameters_of_fit_are_split_and_reach_every_epoch():
    class Weighted(Counting):
        def score(self, x, y, sample_weight=None):
            return float(self.weight_.sum())

    results = (
        search({"level": [1.0]}, Weighted(), cv=KFold(2))
        .fit(*DATA, sample_weight=np.repeat([1.0, 2.0], 10))
        .cv_results_
    )
    assert results["split0_test_score"].tolist() == [20.0] * 3
    assert results["split1_test_score"].tolist() == [10.0] * 3


def test_a_search_is_cloned_pickled_and_put_into_a_pipeline():
    options = dict(strategy="sobol", n_iter=9, random_state=0)
    pipe = make_pipeline(StandardScaler(), search(SPACE, network(), **options)).fit(*IRIS)
    assert pipe.score(*IRIS) > 0.8
    again = pickle.loads(pickle.dumps(pipe))
    assert again.score(*IRIS) == pipe.score(*IRIS)
    twin = clone(pipe).fit(*IRIS)[-1]
    np.testing.assert_array_equal(
        twin.cv_results_["mean_test_score"], pipe[-1].cv_results_["mean_test_score"]
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"estimator": Ridge()}, TypeError, "partial_fit and a parameter max_iter.*make_pipeline"),
        ({"space": {"level": (0.0, 1.0)}}, TypeError, "'level' must be a"),
        ({"space": {"max_iter": [3, 9]}}, ValueError, "must not hold 'max_iter'"),
        ({"max_resources": 0}, ValueError, "max_resources must be at least 1, got 0"),
        ({"n_points": 0}, ValueError, "n_points must be at least 1, got 0"),
        ({"scheduler": "halving"}, TypeError, "scheduler must be an object with decide"),
        ({"scheduler": tune.Halving(pause=True)}, TypeError, "pauses trials"),
        ({"scheduler": tune.PopulationBased(["level"], 3)}, TypeError, "copies rows"),
    ],
)
def test_wrong_arguments_are_named_in_fit(options, error, message):
    with pytest.raises(error, match=message):
        search(**options).fit(*DATA)
