"""The training of candidates, epoch by epoch, until a scheduler stops them."""

from __future__ import annotations

import numbers
import time
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from joblib import delayed
from sklearn.base import clone, is_classifier
from sklearn.model_selection._validation import _score
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import _check_method_params, _num_samples

from fastopt import tune

__all__ = ["Data", "Epochs"]


@dataclass(frozen=True)
class Data:
    """What all candidates are trained and scored with."""

    inputs: Any
    targets: Any
    splits: list[tuple[Any, Any]]
    fit_params: dict[str, Any]
    score_params: dict[str, Any]
    scorer: Any
    error_score: Any
    return_train_score: bool


@dataclass
class Fold:
    """A candidate's model for one split, and the error that ended its training, if any."""

    model: Any
    error: str | None = None


@dataclass
class Candidate:
    """A row of a batch: a trial of the study, with a model for each split."""

    params: dict[str, Any]
    number: int
    folds: list[Fold]


@dataclass
class Records:
    """The results of each candidate at each rung, in the form of scikit-learn."""

    params: list[dict[str, Any]] = field(default_factory=list)
    splits: list[dict[str, Any]] = field(default_factory=list)
    more: dict[str, list[int]] = field(default_factory=lambda: {"iter": [], "n_resources": []})


def _new_model(estimator: Any, params: dict[str, Any]) -> Any:
    model = clone(estimator).set_params(**clone(params, safe=False))
    seed = model.get_params(deep=False).get("random_state")
    if isinstance(seed, numbers.Integral):
        # partial_fit would take the same integer at each call, and shuffle all epochs alike.
        model.set_params(random_state=check_random_state(int(seed)))
    return model


def _train_on(
    fold: Fold, data: Data, split: int, epochs: int
) -> tuple[Fold, list[Any], dict[str, Any]]:
    """Train for more epochs: the fold, its score after each, and a record with the last score."""
    model, (train, test) = fold.model, data.splits[split]
    x, y = _safe_split(model, data.inputs, data.targets, train)
    x_test, y_test = _safe_split(model, data.inputs, data.targets, test, train)
    params = _check_method_params(data.inputs, params=data.fit_params, indices=train)
    if is_classifier(model):
        params["classes"] = unique_labels(y)

    def score(inputs: Any, targets: Any, indices: Any) -> Any:
        routed = _check_method_params(data.inputs, params=data.score_params, indices=indices)
        return _score(model, inputs, targets, data.scorer, routed, data.error_score)

    scores: list[Any] = []
    times = {"fit_time": 0.0, "score_time": 0.0}
    while len(scores) < epochs and fold.error is None:
        started = time.perf_counter()
        try:
            model.partial_fit(*((x,) if y is None else (x, y)), **params)
        except Exception:
            if data.error_score == "raise":
                raise
            fold.error = traceback.format_exc()
            break
        trained = time.perf_counter()
        scores.append(score(x_test, y_test, test))
        times["fit_time"] += trained - started
        times["score_time"] += time.perf_counter() - trained
    # As scikit-learn has it: of several metrics a number for each.
    metrics = getattr(data.scorer, "_scorers", None)
    failed = data.error_score if metrics is None else dict.fromkeys(metrics, data.error_score)
    scores += [failed] * (epochs - len(scores))
    record = {"fit_error": fold.error, "test_scores": scores[-1], **times}
    record["n_test_samples"] = _num_samples(x_test)
    if data.return_train_score:
        record["train_scores"] = failed if fold.error else score(x, y, train)
    return fold, scores, record


class Epochs:
    """A batched objective: each row is a candidate, each value its mean score after an epoch.

    Parameters
    ----------
    study : Study
    parallel : joblib.Parallel
    estimator : estimator
    data : Data
    scheduler : object
        All epochs up to the next one at which it decides are trained in one call.
    max_iter : int
    metric : callable
        ``metric(results)``: the column of ``cv_results_`` to maximize.
    """

    def __init__(
        self,
        study: tune.Study,
        parallel: Callable[..., Any],
        estimator: Any,
        data: Data,
        scheduler: Any,
        max_iter: int,
        metric: Callable[[Any], str],
    ) -> None:
        self._study, self._parallel, self._estimator = study, parallel, estimator
        self._data, self._scheduler, self._max_iter = data, scheduler, max_iter
        self._metric = metric
        self.records = Records()
        self.error: Exception | None = None

    def __call__(self, columns: dict[str, np.ndarray]) -> Generator[np.ndarray, Any, None]:
        try:
            yield from self._train()
        except Exception as error:
            # An error of the search, which fit raises, and not of these trials alone.
            self.error = error
            self._study.stop()
            raise

    def _train(self) -> Generator[np.ndarray, Any, None]:
        params = {trial.number: trial.params for trial in self._study.trials}
        rows = [
            Candidate(
                params[trial.number],
                trial.number,
                [
                    Fold(_new_model(self._estimator, params[trial.number]))
                    for _ in self._data.splits
                ],
            )
            for trial in tune.current_trials()
        ]
        epochs = rung = 0
        while epochs < self._max_iter:
            until = self._next_rung(rows, epochs)
            scores = self._train_until(rows, rung, epochs, until)
            for epoch in range(until - epochs):
                # A row may end between two rungs too, where its score is not finite.
                going = yield scores[:, epoch]
                scores, rows = scores[going], [rows[place] for place in going]
            epochs, rung = until, rung + 1

    def _next_rung(self, rows: list[Candidate], epochs: int) -> int:
        is_due = getattr(self._scheduler, "is_due", lambda *moment: True)
        for until in range(epochs + 1, self._max_iter):
            if any(is_due(row.number, epochs, until) for row in rows):
                return until
        return self._max_iter

    def _train_until(self, rows: list[Candidate], rung: int, epochs: int, until: int) -> np.ndarray:
        """Train all rows on and record them; the mean scores, a row for each candidate."""
        trained = self._parallel(
            delayed(_train_on)(fold, self._data, split, until - epochs)
            for row in rows
            for split, fold in enumerate(row.folds)
        )
        n_splits = len(self._data.splits)
        for place, row in enumerate(rows):
            row.folds = [fold for fold, _, _ in trained[place * n_splits : (place + 1) * n_splits]]
            self.records.params.append({**row.params, "max_iter": until})
            self.records.more["iter"].append(rung)
            self.records.more["n_resources"].append(until)
        self.records.splits += [record for _, _, record in trained]
        scores = [self._number(score) for _, by_epoch, _ in trained for score in by_epoch]
        return np.mean(np.reshape(scores, (len(rows), n_splits, until - epochs)), axis=1)

    def _number(self, score: Any) -> float:
        if not isinstance(score, dict):
            return score
        column = self._metric({f"mean_test_{name}": None for name in score})
        return score[column.removeprefix("mean_test_")]
