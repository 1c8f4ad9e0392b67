"""SearchCV and BayesSearchCV behave as scikit-learn's own searches do."""

import pickle
import warnings

import numpy as np
import pytest
import scipy.stats
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification
from sklearn.decomposition import PCA
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    ShuffleSplit,
    cross_val_score,
)
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import estimator_checks_generator

from fastopt import tune
from fastopt.integrations.sklearn import BayesSearchCV, SearchCV

IRIS = load_iris(return_X_y=True)
SPACE = {"C": tune.Float(1e-2, 1e2, log=True), "kernel": ["linear", "rbf"]}

# scikit-learn expects the same of its own searches (1.9: utils/_test_common/instance_generator.py).
EXPECTED = {
    "check_supervised_y_2d": "a column as y: the estimator within warns or not, as it likes"
}


def searches(kind):
    for estimator, space in [
        (Ridge(), {"alpha": [0.1, 1.0]}),
        (LogisticRegression(), {"C": tune.Float(0.1, 1.0)}),
        (Pipeline([("pca", PCA()), ("ridge", Ridge())]), {"ridge__alpha": [0.1, 1.0]}),
    ]:
        yield kind(estimator, space, n_iter=2, cv=2, error_score="raise", random_state=0)


def checks():
    for search in [*searches(SearchCV), *searches(BayesSearchCV)]:
        for estimator, check in estimator_checks_generator(search, mark=None):
            name = check.func.__name__
            # Those of other array libraries need them installed, and test the estimator within.
            if "array_api" not in name:
                warns = isinstance(search.estimator, LogisticRegression)
                reason = None if warns else EXPECTED.get(name)
                marks = [] if reason is None else [pytest.mark.xfail(reason=reason)]
                label = f"{type(search).__name__}-{type(search.estimator).__name__}-{name}"
                yield pytest.param(estimator, check, marks=marks, id=label)


@pytest.mark.filterwarnings("default")  # the checks provoke NumPy's
@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_scikit_learns_checks_of_an_estimator_pass(estimator, check):
    check(estimator)


def test_results_have_the_form_of_scikit_learns_grid_search():
    space = {"C": [0.1, 1.0, 10.0], "kernel": ["linear", "rbf"]}
    options = dict(cv=3, return_train_score=True)
    theirs = GridSearchCV(SVC(), space, **options).fit(*IRIS)
    ours = SearchCV(SVC(), space, strategy="grid", n_iter=100, **options).fit(*IRIS)
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    assert ours.cv_results_["params"] == theirs.cv_results_["params"]
    for key, expected in theirs.cv_results_.items():
        if key != "params" and "time" not in key:
            np.testing.assert_array_equal(ours.cv_results_[key], expected)
            assert ours.cv_results_[key].dtype == expected.dtype
    assert ours.best_params_ == theirs.best_params_
    assert ours.best_index_ == theirs.best_index_
    assert ours.best_score_ == theirs.best_score_
    np.testing.assert_array_equal(ours.predict(IRIS[0]), theirs.predict(IRIS[0]))
    assert ours.n_splits_ == 3


def test_candidates_are_those_of_a_study_with_the_same_seed():
    search = BayesSearchCV(SVC(), SPACE, n_iter=10, random_state=7).fit(*IRIS)
    study = tune.Study(
        SPACE | {"kernel": tune.Categorical(["linear", "rbf"])}, direction="maximize", seed=7
    )
    study.run(lambda params: cross_val_score(SVC(**params), *IRIS).mean(), n_trials=10)
    assert search.cv_results_["params"] == [trial.params for trial in study.trials]
    assert search.best_params_ == study.best.params


def test_same_random_state_gives_same_candidates_and_another_gives_others():
    def params(random_state):
        search = SearchCV(SVC(), SPACE, strategy="random", n_iter=3, cv=2)
        return search.set_params(random_state=random_state).fit(*IRIS).cv_results_["params"]

    state = np.random.RandomState(0)
    first, second = params(state), params(state)
    assert first != second
    assert params(np.random.RandomState(0)) == first
    assert params(3) == params(3) != params(4)
    assert params(None) != params(None)


def test_several_workers_get_batches_without_repeats():
    space = {"max_depth": tune.Int(1, 6), "min_samples_leaf": tune.Int(1, 5)}
    search = BayesSearchCV(
        DecisionTreeClassifier(random_state=0),
        space,
        n_iter=12,
        n_points=4,
        cv=2,
        n_jobs=2,
        random_state=0,
    ).fit(*IRIS)
    points = {tuple(params.values()) for params in search.cv_results_["params"]}
    assert len(points) == 12
    # in each batch the first point was chosen with what the batches before have shown
    study = tune.Study(space, direction="maximize", seed=0)
    scores = search.cv_results_["mean_test_score"]
    expected = []
    for start in range(0, 12, 4):
        trials = [study.ask() for _ in range(4)]
        expected += [trial.params for trial in trials]
        for trial in trials:
            study.tell(trial, scores[start + trial.number % 4])
    assert search.cv_results_["params"] == expected


@pytest.mark.parametrize(("n_jobs", "sizes"), [(1, [1] * 6), (3, [2] * 3), (4, [2] * 3)])
def test_batches_are_as_large_as_the_workers_need(n_jobs, sizes, monkeypatch):
    seen = []

    class Counting(SearchCV):
        def _format_results(self, candidates, n_splits, out, more_results=None):
            seen.append(len(candidates))
            return super()._format_results(candidates, n_splits, out, more_results)

    space = {"alpha": tune.Float(0.0, 1.0)}
    Counting(Ridge(), space, n_iter=6, n_jobs=n_jobs, cv=2, strategy="sobol").fit(*IRIS)
    assert np.diff([0, *seen]).tolist() == sizes


def test_distributions_of_scipy_are_drawn_from():
    space = {"C": scipy.stats.loguniform(1e-2, 1e2), "degree": scipy.stats.randint(2, 5)}
    search = SearchCV(SVC(), space, strategy="random", n_iter=30, cv=2, random_state=0).fit(*IRIS)
    c, degree = search.cv_results_["param_C"], search.cv_results_["param_degree"]
    assert c.min() >= 1e-2
    assert c.max() <= 1e2
    assert 8 <= (c < 1).sum() <= 22
    assert set(degree) == {2, 3, 4}


def test_conditional_parameters_are_masked_where_they_do_not_exist():
    space = {
        "kernel": ["linear", "rbf"],
        "gamma": tune.Float(1e-3, 1.0, log=True, when={"kernel": "rbf"}),
    }
    search = SearchCV(SVC(), space, strategy="sobol", n_iter=8, cv=2).fit(*IRIS)
    results = search.cv_results_
    np.testing.assert_array_equal(
        np.ma.getmaskarray(results["param_gamma"]), results["param_kernel"] == "linear"
    )
    assert set(results["param_kernel"]) == {"linear", "rbf"}


def test_constraint_holds_for_every_candidate():
    space = {"C": tune.Float(0.1, 1.0), "gamma": tune.Float(0.1, 1.0)}
    search = BayesSearchCV(
        SVC(), space, n_iter=8, cv=2, constraint=lambda params: params["gamma"] < params["C"]
    ).fit(*IRIS)
    assert all(params["gamma"] < params["C"] for params in search.cv_results_["params"])


def test_whole_steps_of_a_pipeline_can_be_searched():
    pipe = Pipeline([("model", SVC())])
    space = {"model": [SVC(), LogisticRegression(max_iter=500)]}
    search = SearchCV(pipe, space, strategy="grid", cv=2).fit(*IRIS)
    assert {type(step) for step in search.cv_results_["param_model"]} == {SVC, LogisticRegression}
    assert clone(search).param_distributions["model"][0] is not space["model"][0]


MULTI = ["accuracy", "f1_macro"]


def test_several_metrics_are_searched_by_refit():
    search = BayesSearchCV(
        SVC(), SPACE, n_iter=6, cv=2, scoring=MULTI, refit="f1_macro", random_state=0
    ).fit(*IRIS)
    single = BayesSearchCV(SVC(), SPACE, n_iter=6, cv=2, scoring="f1_macro", random_state=0).fit(
        *IRIS
    )
    assert search.cv_results_["params"] == single.cv_results_["params"]
    assert search.best_score_ == single.best_score_
    assert search.multimetric_
    assert {"mean_test_accuracy", "rank_test_f1_macro"} <= set(search.cv_results_)


def test_several_metrics_without_one_to_search_for_are_refused():
    search = SearchCV(SVC(), SPACE, n_iter=2, cv=2, scoring=MULTI, refit=False)
    with pytest.raises(ValueError, match="search_metric must be one of accuracy, f1_macro: there"):
        search.fit(*IRIS)
    search.set_params(search_metric="precision")
    with pytest.raises(ValueError, match=r"search_metric must be one of .* got 'precision'"):
        search.fit(*IRIS)
    assert not hasattr(search.set_params(search_metric="accuracy").fit(*IRIS), "best_estimator_")


@pytest.mark.parametrize("refit", [False, "hits", lambda results: 0])
def test_a_lone_metric_of_any_name_is_searched(refit):
    def score(model, x, y):
        return {"hits": int((model.predict(x) == y).sum())}

    search = SearchCV(SVC(), SPACE, n_iter=3, cv=2, scoring=score, refit=refit).fit(*IRIS)
    assert len(search.cv_results_["mean_test_hits"]) == 3
    with pytest.raises(ValueError, match="refit"):
        SearchCV(SVC(), SPACE, n_iter=3, cv=2, scoring=score, refit="misses").fit(*IRIS)


@pytest.mark.filterwarnings("ignore")
def test_a_splitter_without_splits_is_scikit_learns_own_error():
    search = SearchCV(SVC(), SPACE, n_iter=3, cv=iter([]))
    with pytest.raises(ValueError, match="No fits were performed"):
        search.fit(*IRIS)


def test_refit_may_be_a_function_of_the_results():
    search = SearchCV(SVC(), SPACE, n_iter=3, cv=2, strategy="sobol", refit=lambda results: 2)
    assert search.fit(*IRIS).best_params_ == search.cv_results_["params"][2]


class Splitter(KFold):
    """Other splits at every call, which it counts."""

    calls = 0

    def split(self, *data, groups=None):
        self.calls += 1
        return super().split(*data)


def test_all_candidates_are_compared_on_the_same_splits():
    cv = Splitter(3, shuffle=True)
    search = SearchCV(Ridge(), {"copy_X": [True, False]}, strategy="grid", cv=cv).fit(*IRIS)
    assert cv.calls == 1
    assert search.cv is cv
    for split in range(3):
        first, second = search.cv_results_[f"split{split}_test_score"]
        assert first == second


@pytest.mark.parametrize("cv", [KFold(3, shuffle=True), ShuffleSplit(3)], ids=repr)
def test_splits_that_a_resumed_search_would_not_draw_again_are_refused(cv, tmp_path):
    search = SearchCV(Ridge(), {"alpha": [1.0]}, cv=cv, storage=tmp_path / "search.db")
    with pytest.raises(ValueError, match="give its random_state an integer"):
        search.fit(*IRIS)
    cv.random_state = 0
    search.fit(*IRIS)


def test_splits_may_come_from_a_generator():
    splits = list(KFold(3).split(*IRIS))
    space = {"alpha": [0.1, 1.0, 10.0]}
    search = SearchCV(Ridge(), space, strategy="grid", cv=iter(splits)).fit(*IRIS)
    expected = GridSearchCV(Ridge(), space, cv=splits).fit(*IRIS)
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )


def test_conditions_on_estimators_hold_in_a_clone():
    svc, tree = SVC(), DecisionTreeClassifier()
    space = {
        "model": tune.Categorical([svc, tree]),
        "model__C": tune.Float(0.1, 10.0, log=True, when={"model": svc}),
    }
    search = SearchCV(Pipeline([("model", svc)]), space, strategy="sobol", n_iter=6, cv=2)
    params = clone(search).fit(*IRIS).cv_results_["params"]
    assert {type(each["model"]) for each in params} == {SVC, DecisionTreeClassifier}
    assert all(("model__C" in each) == isinstance(each["model"], SVC) for each in params)
    assert clone(clone(search)).param_distributions["model"].choices[0] is not svc


class Recorder:
    """A callback in scikit-learn's protocol."""

    max_propagation_depth = 1

    def __init__(self):
        self.begun, self.places = [], []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(context.task_name)
        if context.task_name == "candidate-split-evaluation" or context.source_task_name:
            self.places.append(context.task_id)

    def on_fit_task_end(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass


def test_callbacks_of_scikit_learn_see_every_fit():
    recorder = Recorder()
    search = SearchCV(Ridge(), {"alpha": [0.1, 1.0]}, strategy="grid", n_iter=2, cv=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ridge itself knows no callbacks
        search.set_callbacks(recorder).fit(*IRIS)
    assert "search" in recorder.begun
    assert sorted(recorder.places) == [0, 1, 2, 3, 4, 5]


def test_metric_to_refit_by_is_checked_as_scikit_learn_does():
    search = SearchCV(SVC(), SPACE, n_iter=2, cv=2, scoring=MULTI, refit="wrong")
    with pytest.raises(ValueError, match="the parameter refit must be set to a scorer key"):
        search.fit(*IRIS)
    search.set_params(scoring=lambda model, x, y: {"accuracy": model.score(x, y), "zero": 0.0})
    with pytest.raises(ValueError, match="the parameter refit must be set to a scorer key"):
        search.fit(*IRIS)


def test_spaces_are_written_as_in_scikit_optimize():
    space = {
        "C": (1e-2, 1e2, "log-uniform"),
        "coef0": (0.0, 1.0),
        "degree": (2, 4),
        "kernel": ("poly", "rbf"),
        "max_iter": range(100, 301, 100),
    }
    search = BayesSearchCV(SVC(), search_spaces=space, n_iter=3, cv=2, strategy="random")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some do not converge
        search.fit(*IRIS)
    study = search._study()
    assert study.space.parameters == {
        "C": tune.Float(1e-2, 1e2, log=True),
        "coef0": tune.Float(0.0, 1.0),
        "degree": tune.Int(2, 4),
        "kernel": tune.Categorical(["poly", "rbf"]),
        "max_iter": tune.Int(100, 300, step=100),
    }
    assert set(search.get_params(deep=False)) == {
        *SearchCV(SVC(), {}).get_params(deep=False),
        "search_spaces",
    }
    with pytest.raises(ValueError, match="prior of 'C' must be 'uniform' or 'log-uniform'"):
        search.set_params(search_spaces={"C": (0.1, 1.0, "log")}).fit(*IRIS)
    with pytest.raises(TypeError, match="search_spaces or param_distributions, and not both"):
        search.set_params(param_distributions=space).fit(*IRIS)


def test_callback_sees_the_study_and_ends_the_search():
    seen = []

    def callback(study):
        seen.append(len(study.finished))
        return len(study.finished) == 3

    search = BayesSearchCV(Ridge(), {"alpha": (0.1, 1.0)}, n_iter=9, cv=2, strategy="sobol")
    search.fit(*IRIS, callback=callback)
    assert seen == [1, 2, 3]
    assert len(search.cv_results_["params"]) == 3
    with pytest.raises(TypeError, match="callback must be callable"):
        search.fit(*IRIS, callback=[None])


def test_space_that_is_used_up_ends_the_search():
    search = SearchCV(Ridge(), {"alpha": [0.1, 1.0, 10.0]}, strategy="random", cv=2)
    assert len(search.fit(*IRIS).cv_results_["params"]) == 3


def test_fitted_search_is_pickled_and_scores_as_before():
    search = BayesSearchCV(SVC(), SPACE, n_iter=3, cv=2, random_state=0).fit(*IRIS)
    again = pickle.loads(pickle.dumps(search))
    assert again.score(*IRIS) == search.score(*IRIS)
    assert again.best_params_ == search.best_params_


def test_fit_parameters_and_groups_reach_the_estimator_and_the_splitter():
    x, y = make_classification(60, random_state=0)
    data = dict(X=x, y=y, groups=np.arange(60) % 3, sample_weight=np.arange(60) % 2)
    space, cv = {"C": [0.1, 1.0]}, GroupKFold(3)
    search = SearchCV(LogisticRegression(), space, strategy="grid", cv=cv).fit(**data)
    theirs = GridSearchCV(LogisticRegression(), space, cv=cv).fit(**data)
    for split in range(3):
        np.testing.assert_array_equal(
            search.cv_results_[f"split{split}_test_score"],
            theirs.cv_results_[f"split{split}_test_score"],
        )
    np.testing.assert_array_equal(search.best_estimator_.coef_, theirs.best_estimator_.coef_)


def test_metadata_is_routed_as_in_scikit_learn():
    """The weights reach the fits and the scores that ask for them, the groups the splitter."""
    x, y = make_classification(60, random_state=0)
    data = dict(X=x, y=y, groups=np.arange(60) % 3, sample_weight=1.0 + np.arange(60) % 4)
    space, cv = {"C": [0.1, 1.0]}, GroupKFold(3)
    with config_context(enable_metadata_routing=True):
        model = LogisticRegression()
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            SearchCV(model, space, strategy="grid", cv=cv).fit(**data)
        results = []
        for weighted in (True, False):
            model = LogisticRegression().set_fit_request(sample_weight=weighted)
            model.set_score_request(sample_weight=True)
            ours = SearchCV(model, space, strategy="grid", cv=cv).fit(**data)
            theirs = GridSearchCV(model, space, cv=cv).fit(**data)
            results.append(ours.cv_results_["mean_test_score"])
            np.testing.assert_array_equal(results[-1], theirs.cv_results_["mean_test_score"])
    assert (results[0] != results[1]).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_iter": 0}, ValueError, "n_iter must be at least 1, got 0"),
        ({"n_iter": 2.5}, TypeError, "n_iter must be an integer, got 2.5"),
        ({"n_points": 0}, ValueError, "n_points must be at least 1, got 0"),
        ({"strategy": "best"}, ValueError, "strategy must be one of"),
        ({"param_distributions": []}, TypeError, "param_distributions must be a dict"),
        ({"param_distributions": {}}, ValueError, "at least one parameter"),
        ({"param_distributions": {"C": (1e-6, 1e6, "log-uniform")}}, TypeError, "'C' must be a"),
        ({"param_distributions": {"C": scipy.stats.poisson(3)}}, TypeError, "other than randint"),
    ],
)
def test_wrong_arguments_are_named_in_fit(options, error, message):
    search = SearchCV(SVC(), SPACE, cv=2).set_params(**options)
    with pytest.raises(error, match=message):
        search.fit(*IRIS)
