"""Studies: a search that remembers everything it has seen."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from fastopt.tune._habits import no_attribute
from fastopt.tune.ledger.agreement import Resume
from fastopt.tune.ledger.callbacks import check_callbacks, notify
from fastopt.tune.ledger.copies import copy_study
from fastopt.tune.ledger.database import spare
from fastopt.tune.ledger.encoding import name_strategy
from fastopt.tune.ledger.ledger import Ledger
from fastopt.tune.ledger.results import MISSING, add, add_all, tell
from fastopt.tune.ledger.revisions import correct, delete, invalidate
from fastopt.tune.ledger.winners import best, dominated_volume, front
from fastopt.tune.running.loop import Run
from fastopt.tune.running.stoppers import check_stoppers
from fastopt.tune.space import Parameter, Result, Space, Trial
from fastopt.tune.strategies.protocol import Direction, Name, Strategy, check_directions

if TYPE_CHECKING:
    from typing_extensions import Self

    from fastopt.tune.reporting.plots import Plots
    from fastopt.tune.schedulers.protocol import Scheduler

__all__ = ["Study"]


class Study:
    """A search for the params with the best value of an objective.

    Parameters
    ----------
    space : dict or Space
        Name to :class:`Float`, :class:`Int` or :class:`Categorical`.
    strategy : str or object, default "bayes"
        ``"grid"``, ``"random"``, ``"sobol"``, ``"bayes"`` (a Gaussian process, best where one trial
        takes longer than some milliseconds), ``"tpe"`` (Parzen estimators, for trials that are
        many and cheap), the same with options (``Grid(points=5)``), or any
        object with ``ask(view)`` and, if it wants, ``tell(view, trial)``; see :class:`View`.
    direction : {"minimize", "maximize"}, default "minimize"
    directions : sequence of these, optional
        Instead of it, one for each of several objectives: the objective returns as many numbers.
    seed : int or None, default 0
        With the same seed, space and results the suggestions are the same. None draws one.
    storage : str or path, optional
        A SQLite file, made if absent, resumed if there; several processes may share it, on one
        machine. Without it the study lives in memory.
    name : str, default "study"
        One file may hold several studies.
    constraint : callable, optional
        ``constraint(params) -> bool``: only points for which it is true are suggested, by every
        strategy. It is not part of what is compared on resuming.
    callbacks : iterable
        Objects with any of ``on_study_start(study)``, ``on_trial_start(study, trial)``,
        ``on_report(study, trial, step, value)``, ``on_trial_end(study, trial)``,
        ``on_study_end(study)``. One that raises does not stop the study: it is warned of once.
        An object with none of them is refused.
    lock_timeout : float, default 60.0
        Seconds to wait for other processes that write to the file. A result that is told while the
        file stays locked for longer is kept and written by the next call that can.
    resume : {"same", "extend"}, default "same"
        With ``"extend"`` the space may be wider than that of the file: wider bounds, more choices
        at the end of the list, and new parameters with an ``initial`` value, which the trials that
        are there then count as having had.

    Raises
    ------
    ValueError
        For a wrong argument; for a file of another space, strategy, direction or seed (the message
        shows the difference), of a newer version, damaged, or not a study's.
    OSError
        If the file cannot be opened or written (a folder that is absent or read-only, a full disk);
        TimeoutError, which is one, if another process keeps it locked.

    Notes
    -----
    A result is on disk when ``tell`` returns: killing the process loses only the trials that run.
    Those are queued again, with the same number and params, as soon as somebody asks after their
    process is gone. A process on another host cannot be looked at; see :meth:`requeue`. What a
    generator objective yields is written as it comes, without waiting for the disk and with at most
    a twentieth of the time: other processes see it, and a kill loses the last moments of it.
    The values of such an attempt can be read in ``trial.values`` until the trial starts anew.

    The file alone is whole when it is made, after every ``run``, and after ``close``. In between,
    and after a kill, the last moments may stand in a second file, ``study.db-wal``, as long as one
    is there: close the study before you copy or move the file, or take both. A file that is
    deleted, moved or replaced while it is open is noticed: the next call is a FileNotFoundError,
    and a result that was told then is written once the file is back. Where the second file was left
    behind by one that was moved or deleted, no new study is made: FileExistsError says what to do.

    A suggestion depends on seed, space and the trials told and pending alone, so a resumed study
    goes on exactly as it would have without the interruption. With parallel workers the order of
    results is chance; it is stored, and replay from it is exact.

    An objective may return constraints with its value; see :class:`Result`. Those that a trial
    violates make it infeasible: no strategy forgets it, and it is never the best.

    The objective's value must be a finite real number. Whatever else comes (an exception, NaN, an
    infinity, None, a string) makes the trial ``"failed"``, with the reason in ``error``; strategies
    keep away from places where others fail too; see :class:`Bayes`.

    If a parameter has an ``initial`` value, the first trial is the point with the initial values,
    the other parameters at their centre.

    Examples
    --------
    >>> from fastopt import tune
    >>> study = tune.Study({"x": tune.Float(-2.0, 2.0)}, strategy="sobol")
    >>> for _ in range(64):
    ...     trial = study.ask()
    ...     study.tell(trial, (trial.params["x"] - 1.0) ** 2)
    >>> abs(study.best.params["x"] - 1.0) < 0.05
    True
    """

    def __init__(
        self,
        space: Mapping[str, Parameter] | Space,
        *,
        strategy: Name | Strategy = "bayes",
        direction: Direction | None = None,
        directions: Sequence[Direction] | None = None,
        seed: int | None = 0,
        storage: str | os.PathLike[str] | None = None,
        name: str = "study",
        constraint: Callable[[dict[str, Any]], Any] | None = None,
        callbacks: Iterable[Any] = (),
        lock_timeout: float = 60.0,
        resume: Resume = "same",
    ) -> None:
        self._begin(check_callbacks(callbacks))
        self._ledger = Ledger(
            space,
            strategy=strategy,
            directions=check_directions(direction, directions),
            seed=seed,
            storage=storage,
            name=name,
            constraint=constraint,
            lock_timeout=lock_timeout,
            resume=resume,
        )

    def _begin(self, callbacks: list[Any]) -> None:
        self.callbacks = callbacks
        self._warned: list[Any] = []
        self._stop = threading.Event()

    @classmethod
    def _over(cls, ledger: Ledger, callbacks: Iterable[Any]) -> Study:
        """A study over a ledger that is open."""
        study = cls.__new__(cls)
        study._begin(check_callbacks(callbacks))
        study._ledger = ledger
        return study

    def __repr__(self) -> str:
        where = "" if self.storage is None else f", storage={self.storage!r}"
        failed = f" ({n} failed)" if (n := self._ledger.failed()) else ""
        counts = f"{len(self._ledger)} trials{failed}"
        return f"<Study {self.name!r}: {counts}, {self.strategy!r}{where}>"

    def _repr_html_(self) -> str:
        from fastopt.tune.reporting.page import summary

        return summary(self.name, self._about(), self.directions, self.trials)

    def _about(self) -> str:
        return f"{', '.join(self.directions)} with {name_strategy(self.strategy)}, seed {self.seed}"

    if not TYPE_CHECKING:  # checkers know the methods without it

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(no_attribute(name, dir(type(self))))

    def __reduce__(self) -> Any:
        raise TypeError(
            "a Study cannot be copied or pickled, as the objective of workers is: other processes "
            "open its file, tune.open(path), and study.copy(path) makes another"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def _notify(self) -> Callable[..., None]:
        """``_notify(event, ...)`` tells the callbacks."""
        return partial(notify, self.callbacks, self._warned, self)

    # What it searches

    @property
    def space(self) -> Space:
        """The space that is searched."""
        return self._ledger.space

    @property
    def strategy(self) -> Any:
        """The strategy, as an object."""
        return self._ledger.strategy

    @property
    def direction(self) -> str:
        """``"minimize"`` or ``"maximize"``; ValueError for several objectives."""
        if len(self.directions) > 1:
            raise ValueError(f"the study has several: study.directions is {self.directions!r}")
        return self.directions[0]

    @property
    def directions(self) -> tuple[Direction, ...]:
        """``"minimize"`` or ``"maximize"`` for each objective."""
        return self._ledger.directions

    @property
    def seed(self) -> int:
        """The seed. For ``seed=None`` it is the one that was drawn, or the file's."""
        return self._ledger.seed

    @property
    def name(self) -> str:
        """The study's name in its file."""
        return self._ledger.name

    @property
    def constraint(self) -> Callable[[dict[str, Any]], Any] | None:
        """The constraint on params, or None."""
        return self._ledger.constraint

    @property
    def storage(self) -> str | None:
        """The path of its file; None in memory."""
        return self._ledger.storage.path

    # What it has seen

    @property
    def trials(self) -> list[Trial]:
        """All trials by number, those of other processes included."""
        return self._ledger.trials()

    @property
    def finished(self) -> list[Trial]:
        """The trials that have ended, in the order in which they did."""
        return self._ledger.finished()

    @property
    def best(self) -> Trial:
        """The done and feasible trial with the best value, the first of equals.

        Raises
        ------
        ValueError
            While no trial has succeeded, none is feasible, or for several objectives.
        """
        return best(self._ledger)

    @property
    def best_expected(self) -> Trial:
        """The done and feasible trial at whose params a Gaussian process expects the best value.

        Where the objective has noise the best value may be luck, and its neighbours tell. Without
        noise this is mostly :attr:`best`. The value of another evaluation there is better guessed
        by the mean of several than by ``trial.value``.

        Raises
        ------
        ValueError
            As :attr:`best`.

        Examples
        --------
        >>> import numpy as np
        >>> from fastopt import tune
        >>> noise = np.random.default_rng(0)
        >>> study = tune.Study({"x": tune.Float(-1.0, 1.0)}, strategy="sobol")
        >>> study.run(lambda params: params["x"] ** 2 + 0.3 * noise.normal(), n_trials=64)
        >>> abs(study.best_expected.params["x"]) < abs(study.best.params["x"])
        True
        """
        from fastopt.tune.strategies.bayes.expected import best_expected  # imports SciPy

        _ = self.best  # raises where there is none
        done = [trial for trial in self.finished if trial.state == "done"]
        return best_expected(self.space, 1.0 if self.direction == "minimize" else -1.0, done)

    @property
    def front(self) -> list[Trial]:
        """The feasible trials that no other dominates, from the best in the first objective on.

        A trial dominates another if it is at least as good in every objective and better in one.
        Empty while none is feasible.

        Raises
        ------
        ValueError
            For one objective, which has a best trial instead.
        """
        return front(self._ledger)

    def hypervolume(self, reference: Sequence[float]) -> float:
        """How much space the front dominates: the volume between it and a reference point.

        Exact, for any number of objectives; the time grows with the number of trials on the front
        to the power of half the number of objectives.

        Parameters
        ----------
        reference : sequence of float
            A number for each objective, worse than what is of interest. Of trials that are worse
            than it in one objective nothing counts.

        Raises
        ------
        ValueError
            For one objective, or another number of numbers.

        Examples
        --------
        >>> from fastopt import tune
        >>> study = tune.Study(
        ...     {"x": tune.Int(0, 4)}, strategy="grid", directions=["minimize", "maximize"]
        ... )
        >>> study.run(lambda params: (params["x"], params["x"] ** 2))
        >>> study.hypervolume([5, 0])
        30.0
        """
        return dominated_volume(self._ledger, reference)

    @property
    def best_value(self) -> float:
        """The value of :attr:`best`."""
        value = self.best.value
        assert value is not None  # it is done
        return value

    @property
    def best_params(self) -> dict[str, Any]:
        """The params of :attr:`best`, a copy."""
        return self.best.params

    # Ask and tell

    def ask(self) -> Trial:
        """The next trial to evaluate, now running.

        First come trials whose process died and those given to :meth:`requeue`, then the point of
        the ``initial`` values, then enqueued points, then the strategy's.

        Raises
        ------
        SpaceExhausted
            If there is nothing left to suggest; ImprovementSpent, which is one, if the strategy
            expects too little of it.
        """
        return self._ledger.ask(partial(self._notify, "on_trial_start"))[0]

    def tell(
        self,
        trial: Trial | int,
        value: Any = MISSING,
        *,
        error: str | None = None,
        values: Iterable[float] = (),
        notes: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Store the result of a running trial; it is on disk when this returns.

        Parameters
        ----------
        trial : Trial or int
            The trial, or its number.
        value : float, sequence of float or Result
            A finite real number, one for each of several objectives, or these with constraints.
            With anything else (NaN, an infinity, None, a string) the trial
            counts as failed, and its ``error`` says why.
        error : str, optional
            Instead of a value: why the trial failed.
        values : iterable of float, optional
            The values at each epoch. With one that is not a finite number the trial counts as
            failed, too; it and what comes after it are not kept.
        notes : dict, optional
            Facts for ``trial.notes``: what JSON can hold.

        Raises
        ------
        ValueError
            If there is no such trial, or it is not running.
        TypeError
            For both a value and an error, or neither.
        """
        self._notify("on_trial_end", tell(self._ledger, trial, value, error, values, notes))

    def requeue(self, trial: Trial | int) -> None:
        """Queue a trial again: some ``ask`` will give its params out before the strategy's.

        One that runs keeps its number; this is for trials of a process that has died where that
        cannot be seen, on another host or in another container. One that has failed, perhaps for a
        reason that is gone, stays as it is, and its params become those of a new trial.

        Raises
        ------
        ValueError
            If there is no such trial, or it is done or stopped.

        Examples
        --------
        >>> from fastopt import tune
        >>> study = tune.Study({"x": tune.Int(0, 4)})
        >>> trial = study.ask()
        >>> study.tell(trial, error="the disk was full")
        >>> study.requeue(trial)
        >>> again = study.ask()
        >>> again.number, again.params == trial.params
        (1, True)
        """
        self._ledger.requeue(trial)

    def enqueue(self, params: Mapping[str, Any]) -> None:
        """Add a point of the user's own, to be evaluated before the strategy's.

        A result that is known already is given by :meth:`add`.

        Raises
        ------
        ValueError, TypeError
            If it is not a complete point of the space, or violates the constraint.
        """
        self._ledger.enqueue(params)

    def add(
        self,
        params: Mapping[str, Any],
        value: Any = MISSING,
        *,
        state: Literal["done", "failed", "stopped"] | None = None,
        error: str | None = None,
        values: Iterable[float] = (),
        notes: Mapping[str, Any] = MappingProxyType({}),
    ) -> Trial:
        """Add a result from elsewhere: an earlier study, a paper, a run by hand.

        It becomes a trial of its own, which strategies take into account.

        Parameters
        ----------
        params : dict
            A complete point of the space.
        value : float, sequence of float or Result
            As for :meth:`tell`; left out for a failed trial.
        state : {"done", "failed", "stopped"}, optional
            Default ``"done"``, with ``error`` ``"failed"``.
        error : str, optional
            Why it failed.
        values : iterable of float, optional
            The values at each epoch.
        notes : dict, optional
            Facts for ``trial.notes``: what JSON can hold.

        Returns
        -------
        Trial

        Raises
        ------
        ValueError, TypeError
            If ``params`` is not a point of the space or violates the constraint, ``value`` is not a
            finite number, or the arguments do not fit together.

        Examples
        --------
        >>> from fastopt import tune
        >>> study = tune.Study({"x": tune.Float(-2.0, 2.0)})
        >>> trial = study.add({"x": 0.5}, 0.25)
        >>> study.best_params, study.best_value
        ({'x': 0.5}, 0.25)
        """
        trial = add(self._ledger, params, value, state, error, values, notes)
        self._notify("on_trial_end", trial)
        return trial

    def _add_all(self, trials: Iterable[Trial]) -> None:
        """Add trials of another study that have ended, all or none, in one write."""
        add_all(self._ledger, trials)

    def traceback(self, trial: Trial | int) -> str | None:
        """The traceback of a trial that failed in :meth:`run`, whichever process ran it.

        Its middle is left out if it is longer than 10,000 characters. None if the trial has not
        failed, or for another reason than an exception of the objective: see ``trial.error``.

        Examples
        --------
        >>> from fastopt import tune
        >>> study = tune.Study({"x": tune.Int(0, 4)}, strategy="grid")
        >>> study.run(lambda params: 1 / params["x"])
        >>> print(study.traceback(0).splitlines()[-1])
        ZeroDivisionError: division by zero
        """
        return self._ledger.traceback(trial)

    def correct(self, trial: Trial | int, value: float | Sequence[float] | Result) -> Trial:
        """Give a trial that has ended another value; a failed or stopped one is then done.

        A value alone leaves the constraints as they are; a :class:`Result` replaces them, and may
        have more of them than other trials.

        Here and in :meth:`invalidate` and :meth:`delete` the file has it at once, running studies
        of other processes notice, and to strategies it is as if the trial had ended now.

        Raises
        ------
        ValueError
            If there is no such trial, it is running, or the value is not a finite number.

        Examples
        --------
        >>> from fastopt import tune
        >>> study = tune.Study({"x": tune.Int(1, 3)}, strategy="grid")
        >>> study.run(lambda params: params["x"])
        >>> trial = study.correct(0, 9.0)
        >>> study.best.number
        1
        """
        return correct(self._ledger, trial, value)

    def invalidate(self, trial: Trial | int, error: str) -> Trial:
        """Make a trial that has ended a failed one, for a reason that its ``error`` then says.

        Raises
        ------
        ValueError
            If there is no such trial, or it is running.
        """
        return invalidate(self._ledger, trial, error)

    def delete(self, trial: Trial | int) -> None:
        """Take a trial that has ended out of the study; no other gets its number.

        Its point may be suggested again.

        Raises
        ------
        ValueError
            If there is no such trial, or it is running.
        """
        delete(self._ledger, trial)

    def copy(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        """Write all that the study holds as a study of its own into a file, made if absent.

        A study in memory becomes one in a file by this. Trials that run are queued in the copy. The
        folders of trials (:func:`current_trial`) are not copied.

        Parameters
        ----------
        path : str or path
        name : str, optional
            By default this study's.

        Raises
        ------
        ValueError
            If the file holds a study of that name.
        """
        copy_study(self._ledger, path, self.name if name is None else name)

    def rename(self, name: str) -> None:
        """Give the study another name in its file.

        The folders of its trials (:func:`current_trial`) stay where they are, under the old name.

        Raises
        ------
        ValueError
            If the file holds a study of that name.
        """
        self._ledger.rename(name)

    @property
    def notes(self) -> dict[str, Any]:
        """What :meth:`note` has kept in the study's file, by all processes."""
        return self._ledger.notes()

    def note(self, notes: Mapping[str, Any]) -> None:
        """Keep facts about the study in its file, by name; a name's earlier fact is replaced.

        Parameters
        ----------
        notes : dict of str to object
            What JSON can hold; numbers and arrays of NumPy too.

        Raises
        ------
        TypeError
            For what JSON cannot hold; nothing is kept.

        Examples
        --------
        >>> from fastopt import tune
        >>> study = tune.Study({"x": tune.Int(0, 4)})
        >>> study.note({"data": "digits", "split": [0.8, 0.2]})
        >>> study.notes["split"]
        [0.8, 0.2]
        """
        self._ledger.note(notes)

    def stop(self) -> None:
        """Make ``run`` end when the trials that run have ended; for callbacks."""
        self._stop.set()

    def close(self) -> None:
        """Queue the trials again that were asked from this object but not told, and close."""
        self._ledger.close()

    # A whole search

    def run(
        self,
        objective: Callable[[dict[str, Any]], Any],
        n_trials: int | None = None,
        n_jobs: int | None = None,
        *,
        executor: Any = None,
        timeout: float | None = None,
        trial_timeout: float | None = None,
        batch: int | None = None,
        scheduler: Scheduler | None = None,
        stopper: Any = None,
        max_failures: int | None = 3,
        progress: bool | None = None,
        callbacks: Iterable[Any] = (),
    ) -> None:
        """Ask, evaluate and tell until ``n_trials`` more trials have ended.

        Run it again to go on. It also ends when the space is used up, when the strategy expects too
        little (``tune.Bayes(min_improvement=)``), or after :meth:`stop`.

        Parameters
        ----------
        objective : callable
            ``objective(params)`` returns a float, one for each of several objectives, or a
            :class:`Result`; or it is a generator function that yields one float per epoch: what
            it returns in the end is the trial's value, or the last one yielded if it returns
            nothing. ``params`` is its own copy.
        n_trials : int, optional
            Trials that this call ends, failed ones and those queued again included. Without it
            the run has no end but those above and ``timeout``.
        n_jobs : int, optional
            Worker processes, -1 for one per CPU that may be used; 1, the default, evaluates in
            this process, whose numbers of threads are left as they are. Each worker is a fresh
            ("spawned") Python with one thread for linear algebra (``OMP_NUM_THREADS=1``,
            ``FASTOPT_NUM_THREADS=1`` and the like). The objective must be picklable; with
            cloudpickle installed lambdas and what a notebook defines are too. A script must start
            its work under ``if __name__ == "__main__":``. A worker that dies is replaced and its
            trial run once more; if it dies again, the trial has failed. With ``executor``: how many
            trials are in flight at once, by default as many as it has workers if it is one of the
            standard library's, else 1.
        executor : concurrent.futures.Executor, optional
            Evaluate there, or on a Dask cluster (its ``Client`` is taken too). It is not shut
            down. Trials whose worker dies are run once more, one by one, so that only the culprit
            has failed. A process pool that breaks is replaced for the rest of the run.
        timeout : float, optional
            Seconds for the whole run. Trials that then run are queued again, as after Ctrl-C.
        trial_timeout : float, optional
            Seconds for one trial; when they are over it has failed and the study goes on.
            In a worker the process is killed, with those that it has started. In this process the
            objective is interrupted (in the main thread, and not inside a call into C). In an
            executor it is only given up: its worker stays busy, and for a trial that waits behind
            it the seconds count from when it was handed to the executor.
        batch : int, optional
            How many trials a batched objective trains at once. Its ``params`` are arrays with one
            value for each trial. It is a generator that yields an array of their
            losses after each epoch; ``rows = yield losses`` are the indices of those that go on,
            which alone have losses from then on, and ``rows.params`` their params. A loss that is
            not finite ends its own row only. What it returns in the end are the results, or else
            the last losses are. With ``n_jobs`` each worker has a batch.
        scheduler : object, optional
            Ends poor trials of generator objectives early: :class:`Halving`, :class:`Hyperband`,
            :class:`TopK`, :class:`Median` or another :class:`Scheduler`. Their state is
            ``"stopped"``. In an executor, which brings back nothing before the end, what is known
            when a trial starts decides.
        stopper : object, optional
            The older name of ``scheduler``.
        max_failures : int or None, default 3
            While no trial of the study has succeeded, and none of this run was stopped early, the
            run ends with an error after this many failures, or when all of its trials have failed:
            such an objective has a fault. Values that are NaN or infinite do not count. None never
            ends a run. The first failure of a run is warned of in any case.
        progress : bool, optional
            Show best value, trials done and time left on standard error, by tqdm where it is
            installed. By default on a terminal and in a notebook.
        callbacks : iterable
            More of them, for this run.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C, after everything told has been stored, the trials that run have been queued
            again, and the workers are gone.
        TypeError
            If the objective cannot be sent to workers; no trial has been asked for.
        RuntimeError
            If nothing but failures came, see ``max_failures``; it holds the first one's traceback.

        Examples
        --------
        >>> from fastopt import tune
        >>> study = tune.Study({"x": tune.Int(0, 4)}, strategy="grid")
        >>> study.run(lambda params: (params["x"] - 3) ** 2)
        >>> study.best.params, len(study.trials)
        ({'x': 3}, 5)
        """
        before, everyone = self.callbacks, [*self.callbacks, *check_callbacks(callbacks)]
        check_stoppers(everyone, len(self.directions))
        run = Run(
            self._ledger,
            partial(notify, everyone, self._warned, self),
            self._stop,
            n_trials=n_trials,
            timeout=timeout,
            trial_timeout=trial_timeout,
            batch=batch,
            scheduler=scheduler,
            stopper=stopper,
            max_failures=max_failures,
        )
        self.callbacks = everyone
        try:
            run(objective, n_jobs, executor, progress)
        finally:
            self.callbacks = before

    # What it shows

    def importance(self, objective: int | None = None) -> dict[str, float]:
        """Share of the variance of the results that each parameter explains alone, largest first.

        From 20 done trials on, three for each of up to 20 parameters: first-order Sobol indices of
        a Gaussian process, if that predicts at least half of the variance of trials that are left
        out, and none is orders of magnitude away from the others; or else of one that predicts as
        much of the ranks of the values. Otherwise by functional ANOVA (Hutter, Hoos, Leyton-Brown,
        ICML 2014) on a forest of extremely randomized trees, fitted to the ranks. Together the
        shares are at most 1; what is missing is due to combinations. Of several objectives
        ``objective`` says which, from 0 on.

        Raises
        ------
        ValueError
            For fewer than 8 done trials, or several objectives and none named.
        """
        from fastopt.tune.reporting.importance import (
            importance,  # SciPy's statistics take half a second to import
        )

        return importance(self.space, self.trials, objective)

    def importance_intervals(self, objective: int | None = None) -> dict[str, tuple[float, float]]:
        """Lower and upper bound of each share of :meth:`importance`, in the same order.

        About 95 %: how far the shares hang on single trials, by a jackknife, and which functions
        the trials leave possible, by draws from a Gaussian process and from its length scales and
        noise. Takes some ten times as long.

        Raises
        ------
        ValueError
            For fewer than 8 done trials, or several objectives and none named.
        """
        from fastopt.tune.reporting.importance import intervals

        return intervals(self.space, self.trials, objective)

    @property
    def plot(self) -> Plots:
        """Pictures: ``study.plot.history()``, ``parallel``, ``slices``, ``contour``,
        ``importance``, and ``front`` of several objectives. Each returns a matplotlib Figure.
        """
        from fastopt.tune.reporting.plots import Plots

        return Plots(self.space, self.directions, self._ledger.trials)

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write one HTML page about the study: best params, pictures, best trials, failures.

        The page holds everything itself and opens without a network. Needs matplotlib.

        Raises
        ------
        ValueError
            If ``path`` is the study's own file.
        """
        from fastopt.tune.reporting.page import write_page

        spare(self._ledger.storage.file, path)
        write_page(
            path,
            name=self.name,
            about=self._about(),
            space=self.space,
            directions=self.directions,
            trials=self.trials,
            plots=self.plot,
        )

    def to_pandas(self) -> Any:
        """The trials as a :class:`pandas.DataFrame`, one row each, ``param_…`` for the params.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        from fastopt.tune.reporting.table import to_pandas

        return to_pandas(self.space.names, self.directions, self.trials)
