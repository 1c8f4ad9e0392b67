"""Optuna: ``FastoptSampler``, the strategies of :mod:`fastopt.tune` in an Optuna study.

Storages, dashboards, pruners and distributed runs stay Optuna's.
"""

from __future__ import annotations

import json
import math
import secrets
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from fastopt import _checks, tune

try:
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
    from optuna.samplers import BaseSampler, RandomSampler
    from optuna.search_space import IntersectionSearchSpace
    from optuna.trial import FrozenTrial, TrialState
except ImportError as error:
    raise ModuleNotFoundError(
        "fastopt.integrations.optuna needs Optuna; install it with: pip install optuna",
        name="optuna",
    ) from error

from fastopt.tune.strategies.by_name import make_strategy
from fastopt.tune.strategies.driver import Driver

__all__ = ["FastoptSampler"]

# A trial shows its parameters to other workers only when the objective has asked for them; until
# then they read them here, in pieces, for a relational storage holds no longer text.
ATTRIBUTE = "fastopt:params"
PIECE = 2000
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def _parameter(distribution: Any) -> Any:
    """Our parameter for a distribution; of choices only their places in the list are used, for
    Optuna has its own idea of which are equal."""
    if isinstance(distribution, CategoricalDistribution):
        return tune.Categorical(range(len(distribution.choices)))
    kind = tune.Int if isinstance(distribution, IntDistribution) else tune.Float
    return kind(distribution.low, distribution.high, log=distribution.log, step=distribution.step)


def _ours(parameter: Any, distribution: BaseDistribution, internal: float) -> Any:
    """Optuna's internal representation of a value as the parameter's own value."""
    if parameter.levels is None:
        return min(max(float(internal), parameter.low), parameter.high)
    if isinstance(distribution, CategoricalDistribution):
        return int(internal)
    # A sum of steps in floating point may miss the grid by more than a parameter accepts.
    i = round((internal - parameter.low) / parameter.step)
    return parameter.value(min(max(i, 0), parameter.levels - 1))


class FastoptSampler(BaseSampler):
    """Suggestions for an Optuna study by a strategy of :mod:`fastopt.tune`.

    Parameters
    ----------
    strategy : str or object, default "bayes"
        As in :class:`fastopt.tune.Study`.
    seed : int, optional
        With the same seed and history the suggestions are the same, and those of a
        :class:`fastopt.tune.Study` over the same space.
    search_space : dict of str to distribution, optional
        The space, where it is known: then the strategy makes the first suggestions too. Without
        it the space is what all completed trials have in common, and parameters outside of it are
        sampled independently: at random, but for the first trial of a Bayesian search, which gets
        the centre.
    independent_sampler : optuna.samplers.BaseSampler, optional
        For those parameters; default :class:`optuna.samplers.RandomSampler`.

    Raises
    ------
    ValueError
        When used in a study of several objectives.

    Notes
    -----
    A failed trial, and one with an infinite value, counts as worse than all others; a pruned one
    has the value that it reported last. Running trials of all workers are known, so that nobody
    repeats them; ``seed`` may be the same everywhere. When a finite space is used up, points are
    drawn at random again. Constraints (``constraints_func``) are not taken into account.

    Examples
    --------
    >>> import optuna
    >>> from fastopt.integrations.optuna import FastoptSampler
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> study = optuna.create_study(sampler=FastoptSampler(seed=0))
    >>> study.optimize(lambda trial: (trial.suggest_float("x", -2, 2) - 1) ** 2, n_trials=20)
    >>> abs(study.best_params["x"] - 1) < 0.01
    True
    """

    def __init__(
        self,
        strategy: Any = "bayes",
        *,
        seed: int | None = None,
        search_space: Mapping[str, BaseDistribution] | None = None,
        independent_sampler: BaseSampler | None = None,
    ) -> None:
        if seed is not None:
            seed = _checks.integer("seed", seed, least=0)
        for name, distribution in (search_space or {}).items():
            if not isinstance(distribution, BaseDistribution):
                raise TypeError(
                    f"search_space: {name!r} must be a distribution of Optuna, got {distribution!r}"
                )
        self._strategy = make_strategy(strategy)
        self._seed = secrets.randbits(32) if seed is None else seed
        self._search_space = None if search_space is None else dict(search_space)
        self._independent_sampler = independent_sampler or RandomSampler(seed=seed)
        self._intersection = IntersectionSearchSpace(include_pruned=True)
        self._forget()
        self._lock = threading.Lock()

    def _forget(self) -> None:
        """Start anew with what only saves time."""
        self._space: tune.Space | None = None
        self._distributions: dict[str, BaseDistribution] = {}
        self._finished: list[tune.Trial] = []
        self._driver: Driver | None = None

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        for name in ("_lock", "_space", "_distributions", "_finished", "_driver"):
            del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()
        self._lock = threading.Lock()

    def reseed_rng(self) -> None:
        """Called by Optuna in every parallel worker, lest they all draw the same.

        The strategy's seed stays: trials differ by their numbers, and running ones are known.
        """
        self._independent_sampler.reseed_rng()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The parameters that are suggested together; Optuna calls it."""
        space = self._search_space
        if space is None:
            space = self._intersection.calculate(study)
        return {
            name: distribution for name, distribution in space.items() if not distribution.single()
        }

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """One suggestion for all parameters of the space; Optuna calls it."""
        self._raise_error_if_multi_objective(study)
        if not search_space:
            return {}
        # Two threads that ask at once must see what the other one got.
        with self._lock:
            params = self._suggest(study, trial, search_space)
            if params is None:
                return {
                    name: self._independent_sampler.sample_independent(
                        study, trial, name, distribution
                    )
                    for name, distribution in search_space.items()
                }
            text = json.dumps(params)
            for start in range(0, len(text), PIECE):
                study._storage.set_trial_system_attr(
                    trial._trial_id, f"{ATTRIBUTE}:{start}", text[start : start + PIECE]
                )
        return {
            name: distribution.choices[params[name]]
            if isinstance(distribution, CategoricalDistribution)
            else params[name]
            for name, distribution in search_space.items()
        }

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A value for a parameter outside of the space; Optuna calls it."""
        self._raise_error_if_multi_objective(study)
        if trial.number == 0 and isinstance(self._strategy, tune.Bayes):
            centre = _parameter(param_distribution).from_unit(0.5)
            if isinstance(param_distribution, CategoricalDistribution):
                return param_distribution.choices[centre]
            return centre
        return self._independent_sampler.sample_independent(
            study, trial, param_name, param_distribution
        )

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Called by Optuna."""
        self._independent_sampler.before_trial(study, trial)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Called by Optuna."""
        self._independent_sampler.after_trial(study, trial, state, values)

    # What the strategy is shown

    def _suggest(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any] | None:
        """The strategy's suggestion; None when the space is used up."""
        if self._space is None or self._driver is None or search_space != self._distributions:
            self._forget()
            self._distributions = dict(search_space)
            self._space = tune.Space(
                {name: _parameter(item) for name, item in search_space.items()}
            )
            self._driver = Driver(
                self._strategy,
                self._space,
                seed=self._seed,
                direction=study.direction.name.lower(),
            )
        space = self._space
        finished, pending = self._read(study, trial.number, space)
        # A strategy's memory holds for a history that only grows.
        if finished[: len(self._finished)] != self._finished:
            self._driver.forget()
        self._finished = finished
        taken = {space.key(known.params) for known in [*finished, *pending]}
        try:
            return self._driver.ask(trial.number, finished, pending, taken)
        except tune.SpaceExhausted:
            return None

    def _read(
        self, study: optuna.Study, number: int, space: tune.Space
    ) -> tuple[list[tune.Trial], list[tune.Trial]]:
        """The finished trials in the order in which they ended, and the running ones."""
        ended, pending = [], []
        for frozen in study.get_trials(deepcopy=False, states=(*FINISHED, TrialState.RUNNING)):
            params = self._params(frozen, space)
            if params is None or frozen.number == number:
                continue
            trial = tune.Trial(frozen.number, params)
            if frozen.state == TrialState.RUNNING:
                pending.append(trial)
                continue
            value = frozen.value if frozen.state == TrialState.COMPLETE else None
            if frozen.state == TrialState.PRUNED and frozen.last_step is not None:
                value = frozen.intermediate_values[frozen.last_step]
            if value is None or not math.isfinite(value):
                trial.state = "failed"
            else:
                trial.value = value
                trial.state = "done" if frozen.state == TrialState.COMPLETE else "stopped"
            ended.append((frozen.datetime_complete, frozen.number, trial))
        ended.sort(key=lambda item: item[:2])
        return [trial for _, _, trial in ended], pending

    def _params(self, frozen: FrozenTrial, space: tune.Space) -> dict[str, Any] | None:
        """A trial's point of the space; None if it has none, or lies in another space."""
        if all(
            frozen.distributions.get(name) == distribution
            for name, distribution in self._distributions.items()
        ):
            return {
                name: _ours(
                    space.parameters[name],
                    distribution,
                    distribution.to_internal_repr(frozen.params[name]),
                )
                for name, distribution in self._distributions.items()
            }
        if frozen.state != TrialState.RUNNING:
            return None
        pieces, start = [], 0
        while (piece := frozen.system_attrs.get(f"{ATTRIBUTE}:{start}")) is not None:
            pieces.append(piece)
            start += PIECE
        try:
            return space.check(json.loads("".join(pieces)))
        except (TypeError, ValueError):  # nothing suggested yet, half written, another space
            return None
