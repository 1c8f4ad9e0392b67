"""What a search of :mod:`fastopt.integrations.sklearn` keeps in its study's storage."""

from __future__ import annotations

import json
from typing import Any

import joblib

from fastopt import tune

__all__ = ["Memory", "fingerprint"]


def fingerprint(name: str, value: Any) -> str:
    """A hash of a value that is the same in every process."""
    try:
        return joblib.hash(value)
    except Exception as error:
        raise TypeError(
            f"storage: {name} must be picklable, so that it can be compared when the search is "
            f"resumed, got {value!r}"
        ) from error


class Memory:
    """The splits of all candidates of a search, those of earlier fits included.

    The splits of a candidate are stored before its score is told. ``evaluating`` holds the trials
    whose candidates scikit-learn is evaluating.
    """

    def __init__(self, study: tune.Study) -> None:
        self._study = study
        self.evaluating: list[tune.Trial] = []
        self.replay = False
        notes = study.notes
        self._splits: dict[int, list[dict[str, Any]]] = {
            trial.number: notes[f"splits of {trial.number}"]
            for trial in study.finished
            if f"splits of {trial.number}" in notes
        }

    def __len__(self) -> int:
        return len(self._splits)

    def __reduce__(self) -> Any:
        # scikit-learn sends the search to its workers, which have no use for this: None.
        return type(None), ()

    def compare(self, facts: dict[str, str]) -> None:
        """Raise ValueError if the search in the storage was started with other facts."""
        if not self._study.finished:
            self._study.note({"search": facts})
        there = self._study.notes.get("search", {})
        changed = [name for name, fact in facts.items() if there.get(name) != fact]
        if changed:
            raise ValueError(
                f"{self._study.storage}, study {self._study.name!r}, was started with other "
                f"{', '.join(changed)}; give the same, or another storage or name"
            )

    def known(self) -> tune.Trial | None:
        """A trial whose fits have succeeded, if there is one."""
        trials = {trial.number: trial for trial in self._study.trials}
        done = [number for number in self._splits if trials[number].state == "done"]
        return trials[done[0]] if done else None

    def add(self, n_splits: int, out: list[dict[str, Any]]) -> None:
        """Store the last of ``out``, which belong to ``evaluating``."""
        if self.replay:
            return
        fresh = out[len(out) - n_splits * len(self.evaluating) :]
        self._keep(self.evaluating, n_splits, fresh)

    def add_failed(
        self, trials: list[tune.Trial], n_splits: int, score: float, seconds: float, error: str
    ) -> None:
        """Store what scikit-learn would have recorded of candidates whose fits all failed."""
        split = {
            "fit_error": error,
            "test_scores": score,
            "train_scores": score,
            "n_test_samples": 0,
            "fit_time": seconds,
            "score_time": 0.0,
        }
        self._keep(trials, n_splits, [split] * (n_splits * len(trials)))

    def _keep(self, trials: list[tune.Trial], n_splits: int, fresh: list[dict[str, Any]]) -> None:
        notes = {}
        for index, trial in enumerate(trials):
            splits = fresh[index * n_splits : (index + 1) * n_splits]
            self._splits[trial.number] = splits
            text = json.dumps(splits, default=lambda number: number.item())
            notes[f"splits of {trial.number}"] = json.loads(text)
        self._study.note(notes)

    def all(self) -> tuple[list[Any], list[Any]]:
        """All candidates, and all of their splits in scikit-learn's form."""
        trials = {trial.number: trial for trial in self._study.trials}
        candidates = [trials[number].params for number in self._splits]
        splits = [split for splits in self._splits.values() for split in splits]
        # A failed fit has one score for all metrics: their names are known from the first success.
        scored = next((each for each in splits if isinstance(each["test_scores"], dict)), splits[0])
        keys = scored.keys() & {"test_scores", "train_scores"}
        for split in splits:
            for key in keys:
                if isinstance(scored[key], dict) and not isinstance(split[key], dict):
                    split[key] = dict.fromkeys(scored[key], split[key])
        wanted = min(splits, key=len).keys()
        return candidates, [{key: split[key] for key in wanted} for split in splits]
