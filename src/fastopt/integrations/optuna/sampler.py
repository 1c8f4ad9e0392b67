"""The sampler: an Optuna study gets its suggestions from a strategy."""

from __future__ import annotations

import contextlib
import copy
import secrets
import threading
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FrozenTrial, TrialState

from fastopt import _checks, tune
from fastopt.integrations.optuna.history import (
    History,
    TrialReader,
    is_ours,
    parameter_of,
    whole,
    write_suggestion,
)
from fastopt.integrations.optuna.repeats import Repeats
from fastopt.integrations.optuna.taken import Taken
from fastopt.tune.strategies.by_name import make_strategy
from fastopt.tune.strategies.driver import Driver

__all__ = ["FastoptSampler"]

# At most this number of other trials' suggestions are computed: each costs as much as one's own.
FORESEEN = 8
# After this number of draws a worker keeps its point even if another worker has it too.
ATTEMPTS = 20
SCRATCH = ("_lock", "_reader", "_driver", "_of", "_finished", "_shown")


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
        The space, if it is known. Then the strategy makes the first suggestions too. Without it the
        space is what all completed trials have in common. Parameters outside of it are sampled
        independently: at random, except that the first trial of a Bayesian search gets the centre.
    independent_sampler : optuna.samplers.BaseSampler, optional
        For parameters that are sampled independently. By default they are uniform draws that depend
        on the seed, the trial's number and the parameter's name.

    Raises
    ------
    ValueError
        When used in a study of several objectives; for a grid over a float that has neither a
        ``step`` nor ``tune.Grid(points=n)``.
    NotImplementedError
        When a trial has set a constraint.

    Notes
    -----
    A failed trial, and one with an infinite value, counts as worse than all others; ``"bayes"``
    learns instead where trials are likely to fail. A pruned one counts by its rank among those that
    have reported as often.

    An objective may ask for some parameters only under a condition. The others count as they were
    suggested, but no point is suggested that agrees with a trial in all that it asked for. The
    draws of ``independent_sampler`` may.

    ``seed`` may be the same everywhere. Workers see each other's suggestions in the storage, and
    compute those which are being drawn. If two have drawn the same point nevertheless, one draws
    again. Under :class:`optuna.pruners.HyperbandPruner` every bracket learns from its own results,
    and none repeats a point of another.

    ``optimize`` ends when a grid is used up, and when a Bayesian search with ``min_improvement``
    expects less. The other strategies draw the points of a used-up space at random again. Integers
    beyond 2**53 are sampled independently.

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

    __module__ = "fastopt.integrations.optuna"

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
        self._independent_sampler = independent_sampler
        self._intersection = IntersectionSearchSpace()
        self._warned = False
        self._forget()
        self._lock = threading.Lock()
        if searched := _searched(self._search_space or {}):
            self._make_reader(searched)

    def _forget(self) -> None:
        """Drop all that is kept only to save time."""
        self._reader: TrialReader | None = None
        self._driver: Driver | None = None
        self._of: tuple[Any, int] | None = None
        self._finished: list[tune.Trial] = []
        self._shown: Taken | None = None

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        for name in SCRATCH:
            del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()
        self._lock = threading.Lock()

    def reseed_rng(self) -> None:
        """Called by Optuna in every parallel worker, so that they draw different points.

        The seed stays: trials differ by their numbers.
        """
        if self._independent_sampler is not None:
            self._independent_sampler.reseed_rng()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The parameters that are suggested together; Optuna calls it."""
        space = self._search_space
        if space is None:
            # All brackets of Hyperband share one space.
            space = self._intersection.calculate(whole(study))
        return _searched(space)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """One suggestion for all parameters of the space; Optuna calls it."""
        self._raise_error_if_multi_objective(study)
        # A point that the user has enqueued needs no suggestion.
        if search_space.keys() <= trial.system_attrs.get("fixed_params", {}).keys():
            return {}
        # Of two threads that ask at once one must see what the other got.
        with self._lock:
            params = self._suggest(study, trial, search_space)
        if params is None:
            return self._draw_all(study, trial, search_space)
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
        is_first = trial.number == 0 and isinstance(self._strategy, tune.Bayes)
        if is_first and is_ours(param_distribution):
            centre = parameter_of(param_distribution).from_unit(0.5)
            if isinstance(param_distribution, CategoricalDistribution):
                return param_distribution.choices[centre]
            return centre
        return self._draw_independent(study, trial, param_name, param_distribution)

    def _draw_all(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A value for each parameter, one after the other."""
        drawn = copy.copy(trial)
        for name, distribution in search_space.items():
            value = self._draw_independent(study, drawn, name, distribution)
            drawn.params = {**drawn.params, name: value}
            drawn.distributions = {**drawn.distributions, name: distribution}
        return {name: drawn.params[name] for name in search_space}

    def _draw_independent(
        self, study: optuna.Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        if self._independent_sampler is not None:
            return self._independent_sampler.sample_independent(study, trial, name, distribution)
        # One stream per trial: workers with the same seed would share a common one.
        entropy = [self._seed, trial.number, zlib.crc32(name.encode())]
        repeats = Repeats(study, trial, name, distribution)
        for attempt in range(ATTEMPTS):
            spawned = np.random.SeedSequence([*entropy, attempt] if attempt else entropy)
            sampler = RandomSampler(seed=int(spawned.generate_state(1)[0]))
            value = sampler.sample_independent(study, trial, name, distribution)
            if value not in repeats:
                return value
        free = repeats.others()
        return free[np.random.default_rng(entropy).integers(len(free))] if free else value

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Called by Optuna."""
        if self._independent_sampler is not None:
            self._independent_sampler.before_trial(study, trial)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Called by Optuna."""
        if self._independent_sampler is not None:
            self._independent_sampler.after_trial(study, trial, state, values)
        if state == TrialState.COMPLETE and not self._warned:
            self._warn_of_mismatch(trial)
        if any(name.partition(":")[0] == "constraints" for name in trial.system_attrs):
            raise NotImplementedError(
                f"FastoptSampler does not take constraints into account, and trial {trial.number} "
                "has set one; return a worse value instead, or use a sampler of Optuna that does"
            )
        with self._lock:
            if self._is_spent(study, trial, state, values):
                _stop(study)

    def _is_spent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> bool:
        """Whether the strategy has nothing left once this trial has ended as told."""
        strategy = self._strategy
        if not isinstance(strategy, tune.Grid) and not getattr(strategy, "min_improvement", 0.0):
            return False
        reader = self._reader
        if reader is None or self._driver is None or self._of != _identity(study):
            return False
        told = copy.copy(trial)  # the storage learns of it only after this
        told.state, told.datetime_complete = state, datetime.now()
        told.values = None if values is None else list(values)
        history = reader.read(study, told, with_own=True)
        reader.forget(trial.number)
        try:
            self._draw(self._driver, reader.space, trial.number + 1, history, [])
        except tune.SpaceExhausted:
            return True
        return False

    def _warn_of_mismatch(self, trial: FrozenTrial) -> None:
        """Say it once if the objective and ``search_space`` disagree."""
        space = self._search_space or {}
        unread = [name for name in space if name not in trial.params]
        unknown = [name for name in trial.params if name not in space]
        message = None
        # An objective with conditions need not ask for all of them.
        if unread and (unknown or not trial.params):
            asked = ", ".join(map(repr, unknown)) or "nothing"
            missed = ", ".join(map(repr, unread))
            message = f"asks for {asked}, not for {missed}; give the names that it uses"
        for name, distribution in trial.distributions.items():
            if space.get(name, distribution) != distribution:
                message = (
                    f"asks for {name!r} as {distribution!r}, not as {space[name]!r}; give the same "
                    "distribution, else what lies outside of it is drawn independently"
                )
        if message is not None:
            self._warned = True
            warnings.warn(f"search_space: the objective {message}", stacklevel=2)

    # What the strategy is shown

    def _suggest(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any] | None:
        """The strategy's suggestion, known to the other workers; None when the space is used up."""
        reader, driver = self._prepare(study, search_space)
        space = reader.space
        history = reader.read(study, trial)
        ahead: list[int] = []
        params = None
        for _ in range(ATTEMPTS):
            known = history.taken
            try:
                params = self._draw(driver, space, trial.number, history, ahead + history.drawing)
            except tune.ImprovementSpent:
                # It is asked even so by study.ask(), or after another worker's result has come.
                _stop(study)
                driver = self._make_driver(
                    replace(self._strategy, min_improvement=0.0), space, study
                )
                continue
            except tune.SpaceExhausted:
                if isinstance(self._strategy, tune.Grid):
                    _stop(study)
                return None
            write_suggestion(study, trial, params)
            # Of two workers that chose the same point, the one that wrote later finds that here.
            key = space.key(params)
            history = reader.read(study, trial)
            if key not in history.taken or key in known:
                break
            # If both see it, the earlier trial gets the next point, the later one that after.
            first = history.taken.number(key)
            ahead = [first] if first is not None and first < trial.number else []
        return params

    def _prepare(
        self, study: optuna.Study, search_space: dict[str, BaseDistribution]
    ) -> tuple[TrialReader, Driver]:
        of = _identity(study)
        if (
            self._reader is None
            or self._driver is None
            or self._of != of
            or search_space != self._reader.distributions
        ):
            self._forget()
            reader = self._make_reader(search_space)
            self._of = of
            self._driver = self._make_driver(self._strategy, reader.space, study)
            self._reader = reader
        return self._reader, self._driver

    def _make_reader(self, search_space: Mapping[str, BaseDistribution]) -> TrialReader:
        """For a space that the strategy is able to search; ValueError for any other."""
        from_centre = isinstance(self._strategy, tune.Bayes)
        reader = TrialReader(search_space, from_centre=from_centre)
        check = getattr(self._strategy, "check", None)
        try:
            if check is not None:
                check(reader.space)
        except ValueError as error:
            if isinstance(self._strategy, tune.Grid):
                raise ValueError(
                    f"{error}; in a study of Optuna: FastoptSampler(tune.Grid(points=5)) or "
                    "trial.suggest_float(..., step=0.1)"
                ) from None
            raise
        return reader

    def _make_driver(self, strategy: Any, space: tune.Space, study: optuna.Study) -> Driver:
        return Driver(strategy, space, seed=self._seed, directions=[study.direction.name.lower()])

    def _draw(
        self,
        driver: Driver,
        space: tune.Space,
        number: int,
        history: History,
        ahead: Sequence[int],
    ) -> dict[str, Any]:
        """The suggestion for a trial, after those that the trials ``ahead`` are about to get."""
        finished, pending, taken = history.finished, list(history.pending), history.taken.copy()
        # There may be no end to points that all say the same to the objective.
        if taken.is_all:
            raise tune.SpaceExhausted("every point would repeat what a trial has read")
        # A strategy's cache is valid only while the history grows.
        shrunk = self._shown is not None and not taken.holds(self._shown)
        if shrunk or finished[: len(self._finished)] != self._finished:
            driver.forget()
        self._finished = finished
        try:
            for other in sorted(set(ahead))[-FORESEEN:]:
                foreseen = driver.ask(other, finished, pending, taken)
                pending.append(tune.Trial(other, foreseen))
                taken.add(space.key(foreseen), other)
            return driver.ask(number, finished, pending, taken)
        except tune.SpaceExhausted:
            if not ahead:
                raise
        finally:
            self._shown = taken
        return self._draw(driver, space, number, history, [])


def _identity(study: optuna.Study) -> tuple[Any, int]:
    return study._storage, study._study_id


def _stop(study: optuna.Study) -> None:
    """End the running ``optimize``; between ``ask`` and ``tell`` there is none."""
    with contextlib.suppress(RuntimeError):
        study.stop()


def _searched(space: Mapping[str, BaseDistribution]) -> dict[str, BaseDistribution]:
    """The part of a space that a strategy searches: more than one value, and a tune parameter."""
    return {
        name: distribution
        for name, distribution in space.items()
        if not distribution.single() and is_ours(distribution)
    }
