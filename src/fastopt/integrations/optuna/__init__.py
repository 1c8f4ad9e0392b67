"""Optuna: the strategies of :mod:`fastopt.tune` as a sampler, and studies written into its storage.

``FastoptSampler`` makes the suggestions in an Optuna study; storages, dashboards, pruners and
distributed runs stay Optuna's. ``to_optuna`` writes a study of fastopt as one of Optuna.

``sampler`` is the sampler, ``history`` what it reads of Optuna's trials, ``taken`` which points
these have taken, ``repeats`` the values that are drawn one by one, ``export`` the way to Optuna.
"""

try:
    import optuna  # noqa: F401
except ImportError as error:
    raise ModuleNotFoundError(
        "fastopt.integrations.optuna needs Optuna; install it with: pip install optuna",
        name="optuna",
    ) from error

from fastopt.integrations.optuna.export import to_optuna
from fastopt.integrations.optuna.sampler import FastoptSampler

__all__ = ["FastoptSampler", "to_optuna"]
