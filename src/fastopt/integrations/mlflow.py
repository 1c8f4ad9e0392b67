"""MLflow: a callback that records a study as a run with a nested run for each trial."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from typing import Any

from fastopt.tune import Study, Trial

try:
    from mlflow.entities import Param
    from mlflow.tracking import MlflowClient
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
except ImportError as error:
    raise ModuleNotFoundError(
        "fastopt.integrations.mlflow needs MLflow; install it with: pip install mlflow "
        "(or mlflow-skinny, with sqlalchemy and alembic for a local store)",
        name="mlflow",
    ) from error

__all__ = ["MLflow"]

STATUS = {"done": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
# MLflow's limits.
LARGEST_BATCH = 100
LONGEST_KEY = 250
LONGEST_TAG = 5000


def _keys(names: Iterable[str]) -> dict[str, str]:
    """For each parameter a key that MLflow accepts: of a batch with one bad key it drops all."""
    keys: dict[str, str] = {}
    taken = set()
    for name in names:
        key = re.sub(r"[^\w.\- :/]", "_", name)[:LONGEST_KEY] or "_"
        if posixpath.normpath(key) != key or key.startswith((".", "/")):
            key = re.sub(r"^\.|/", "_", key)
        plain, n = key, 1
        while key in taken:
            n += 1
            key = f"{plain[: LONGEST_KEY - len(str(n)) - 1]}_{n}"
        taken.add(key)
        keys[name] = key
    return keys


class MLflow:
    """A callback for :class:`fastopt.tune.Study` that records to an MLflow store.

    Each call of ``study.run`` is a run named like the study, with the metric ``best`` by trial
    number. Each trial is a run nested in it, with its params, a metric ``epoch`` for every value
    that the objective yields, and the metric ``value`` in the end. Notes that are numbers are
    metrics ``note/NAME``, other notes are tags. A trial that was stopped early has the status
    KILLED. One that failed has the status FAILED and the tag ``error``. MLflow's own current run is
    neither used nor changed. Characters that MLflow does not allow in the name of a param are
    written as ``_``.

    Parameters
    ----------
    tracking_uri : str, optional
        A server or a local store (``"sqlite:///mlflow.db"``); by default MLflow's own.
    experiment : str, default "fastopt"
        The name of the experiment, which is created if absent.

    Examples
    --------
    >>> from fastopt import tune
    >>> from fastopt.integrations.mlflow import MLflow
    >>> tracker = MLflow("sqlite:///mlflow.db")
    >>> study = tune.Study({"x": tune.Int(0, 4)}, strategy="grid", callbacks=[tracker])
    """

    def __init__(self, tracking_uri: str | None = None, *, experiment: str = "fastopt") -> None:
        self._uri = tracking_uri
        self._experiment = experiment
        self._client: Any = None
        self._experiment_id: str | None = None
        self._parent: str | None = None
        self._runs: dict[int, str] = {}

    def _create(self, name: str, tags: dict[str, str]) -> str:
        if self._client is None:
            # Not in the constructor: a server that is down must not end the user's program.
            client = MlflowClient(self._uri)
            found = client.get_experiment_by_name(self._experiment)
            self._experiment_id = (
                client.create_experiment(self._experiment) if found is None else found.experiment_id
            )
            self._client = client
        return self._client.create_run(self._experiment_id, run_name=name, tags=tags).info.run_id

    def on_study_start(self, study: Study) -> None:
        """Begin the parent run."""
        tags = {"direction": ", ".join(study.directions), "strategy": repr(study.strategy)}
        self._parent = self._create(study.name, tags)

    def on_trial_start(self, study: Study, trial: Trial) -> None:
        """Begin a run with the trial's params."""
        tags = {"trial": str(trial.number)}
        if self._parent is not None:
            tags[MLFLOW_PARENT_RUN_ID] = self._parent
        run = self._runs[trial.number] = self._create(f"trial {trial.number}", tags)
        keys = _keys(study.space.names)
        params = [Param(keys[name], str(value)) for name, value in trial.params.items()]
        for start in range(0, len(params), LARGEST_BATCH):
            self._client.log_batch(run, params=params[start : start + LARGEST_BATCH])

    def on_report(self, study: Study, trial: Trial, step: int, value: float) -> None:
        """Record what the objective yielded."""
        self._client.log_metric(self._runs[trial.number], "epoch", value, step=step)

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        """Record value and state, and end the run."""
        run = self._runs.pop(trial.number, None)
        if run is not None:
            if trial.value is not None:
                self._client.log_metric(run, "value", trial.value)
            for kind in ("objective", "constraint"):
                for i, number in enumerate(getattr(trial, f"{kind}s")):
                    self._client.log_metric(run, f"{kind}_{i}", number)
            keys = _keys(trial.notes)
            for name, fact in trial.notes.items():
                if isinstance(fact, (int, float)):
                    self._client.log_metric(run, f"note/{keys[name]}"[:LONGEST_KEY], fact)
                else:
                    self._client.set_tag(
                        run, f"note/{keys[name]}"[:LONGEST_KEY], str(fact)[:LONGEST_TAG]
                    )
            if trial.error is not None:
                self._client.set_tag(run, "error", trial.error[:LONGEST_TAG])
            self._client.set_terminated(run, STATUS[trial.state])
        if self._parent is not None and trial.feasible and len(study.directions) == 1:
            self._client.log_metric(self._parent, "best", study.best.value, step=trial.number)

    def on_study_end(self, study: Study) -> None:
        """End the parent run, and the runs of trials that are queued again."""
        while self._runs:
            self._client.set_terminated(self._runs.popitem()[1], "KILLED")
        if self._parent is not None:
            self._client.set_terminated(self._parent, "FINISHED")
            self._parent = None
