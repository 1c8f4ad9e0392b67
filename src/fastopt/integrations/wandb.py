"""Weights & Biases: a callback that records every trial of a study as a run of one group."""

from __future__ import annotations

from typing import Any

from fastopt.tune import Study, Trial

try:
    import wandb
except ImportError as error:
    raise ModuleNotFoundError(
        "fastopt.integrations.wandb needs Weights & Biases; install it with: pip install wandb",
        name="wandb",
    ) from error

__all__ = ["WandB"]


class WandB:
    """A callback for :class:`fastopt.tune.Study` that records to Weights & Biases.

    Each trial is a run in the study's group. Its params are the config, and ``epoch`` is logged for
    every value that the objective yields. The summary gets ``value``, ``state``, ``error`` and the
    trial's notes as ``note/NAME``. Runs of failed trials end with exit code 1.

    Parameters
    ----------
    project : str, default "fastopt"
    **options
        Further arguments of ``wandb.init``: ``entity``, ``dir``, ``tags``, ``mode="offline"``, …

    Examples
    --------
    >>> from fastopt import tune
    >>> from fastopt.integrations.wandb import WandB
    >>> tracker = WandB("demo", mode="disabled")
    >>> study = tune.Study({"x": tune.Int(0, 4)}, strategy="grid", callbacks=[tracker])
    >>> study.run(lambda params: (params["x"] - 3) ** 2)
    """

    def __init__(self, project: str = "fastopt", **options: Any) -> None:
        self._options = {"project": project, **options}
        self._runs: dict[int, Any] = {}

    def on_trial_start(self, study: Study, trial: Trial) -> None:
        """Begin a run with the trial's params."""
        # Several trials may run at once, next to a run of the user's own.
        self._runs[trial.number] = wandb.init(
            **{
                "group": study.name,
                "name": f"{study.name}-{trial.number}",
                "job_type": "trial",
                "reinit": "create_new",
                **self._options,
                "config": {**self._options.get("config", {}), **trial.params},
            }
        )

    def on_report(self, study: Study, trial: Trial, step: int, value: float) -> None:
        """Record what the objective yielded."""
        self._runs[trial.number].log({"epoch": value}, step=step)

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        """Record value and state, and end the run."""
        run = self._runs.pop(trial.number, None)
        if run is not None:
            run.summary.update({f"note/{name}": fact for name, fact in trial.notes.items()})
            for kind in ("objective", "constraint"):
                numbers = enumerate(getattr(trial, f"{kind}s"))
                run.summary.update({f"{kind}_{i}": number for i, number in numbers})
            run.summary.update({"value": trial.value, "state": trial.state, "error": trial.error})
            run.finish(exit_code=1 if trial.state == "failed" else 0)

    def on_study_end(self, study: Study) -> None:
        """End the runs of trials that are queued again."""
        while self._runs:
            self._runs.popitem()[1].finish(exit_code=1)
