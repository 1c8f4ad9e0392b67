"""Studies: a search that remembers everything it has seen."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .callbacks import notify
from .evaluate import read_value
from .history import History
from .owner import register
from .parameters import Categorical, Float, Int
from .records import describe, differences, params_to_json
from .run import Run
from .space import Space
from .stopper import Median
from .storage import Storage
from .strategies import make_strategy
from .strategy import Strategy, View
from .trial import Trial

if TYPE_CHECKING:
    from .plots import Plots

__all__ = ["Study"]

MISSING = object()


def _check_seed(seed: int | None) -> int:
    if seed is None:
        return secrets.randbits(32)
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise TypeError(f"seed must be an integer or None, got {seed!r}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed!r}")
    return seed.__index__()


class Study:
    """A search for the params with the best value of an objective.

    Parameters
    ----------
    space : dict or Space
        Name to :class:`Float`, :class:`Int` or :class:`Categorical`.
    strategy : str or object, default "bayes"
        ``"grid"``, ``"random"``, ``"sobol"``, ``"bayes"`` (a Gaussian process, best where one trial
        takes longer than some milliseconds), the same with options (``Grid(points=5)``), or any
        object with ``ask(view)`` and, if it wants, ``tell(view, trial)``; see :class:`View`.
    direction : {"minimize", "maximize"}
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
    process is gone. A process on another host cannot be looked at; see :meth:`requeue`.

    A suggestion depends on seed, space and the trials told and pending alone, so a resumed study
    goes on exactly as it would have without the interruption.

    The objective's value must be a finite real number. Whatever else comes (an exception, NaN, an
    infinity, None, a string) makes the trial ``"failed"``, with the reason in ``error``; strategies
    treat it as worse than every success.

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
        space: Mapping[str, Float | Int | Categorical] | Space,
        *,
        strategy: str | Strategy = "bayes",
        direction: str = "minimize",
        seed: int | None = 0,
        storage: str | os.PathLike[str] | None = None,
        name: str = "study",
        constraint: Callable[[dict[str, Any]], Any] | None = None,
        callbacks: Iterable[Any] = (),
    ) -> None:
        self.space = space if isinstance(space, Space) else Space(space)
        self.strategy = make_strategy(strategy)
        if direction not in ("minimize", "maximize"):
            raise ValueError(f"direction must be 'minimize' or 'maximize', got {direction!r}")
        self.direction = direction
        self.seed = _check_seed(seed)
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, got {name!r}")
        self.name = name
        if constraint is not None and not callable(constraint):
            raise TypeError(f"constraint must be callable, got {constraint!r}")
        self.constraint = constraint
        self.callbacks = list(callbacks)
        if hasattr(self.strategy, "check"):
            self.strategy.check(self.space)
        initial = self.space.initial()
        if initial is not None:
            self._check_constraint(initial, "the point of the initial values")

        self._lock = threading.RLock()
        self._warned: set[int] = set()
        self._stopping = False
        self._told = 0
        self._cache: dict[Any, Any] = {}
        self._owner = register(self)
        self._storage = Storage(storage, name)
        self._history = History(self.space, direction, self._storage)
        try:
            self._open(initial, any_seed=seed is None)
            self._history.refresh()
        except BaseException:
            self._storage.close()
            raise

    def _open(self, initial: dict[str, Any] | None, any_seed: bool) -> None:
        here = describe(self.space, self.strategy, self.direction, self.seed)
        first = [] if initial is None else [params_to_json(self.space, initial)]
        there = self._storage.open_study(here, first)
        if any_seed:
            here["seed"] = self.seed = there["seed"]
        lines = differences(there, here)
        if lines:
            raise ValueError(
                f"{self._storage.path}, study {self.name!r}, was started differently and cannot be "
                "resumed so:\n  " + "\n  ".join(lines)
            )

    def __repr__(self) -> str:
        where = "" if self._storage.path is None else f", storage={self._storage.path!r}"
        return (
            f"<Study {self.name!r}: {len(self._history.trials)} trials, {self.strategy!r}{where}>"
        )

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _check_constraint(self, params: dict[str, Any], what: str) -> None:
        if self.constraint is not None and not self.constraint(dict(params)):
            raise ValueError(f"constraint: {what} does not satisfy it: {params!r}")

    @property
    def trials(self) -> list[Trial]:
        """All trials by number, those of other processes included."""
        with self._lock:
            self._history.refresh()
            return [self._history.trials[number] for number in sorted(self._history.trials)]

    @property
    def finished(self) -> list[Trial]:
        """The trials that have ended, in the order in which they did."""
        with self._lock:
            self._history.refresh()
            return list(self._history.finished)

    @property
    def best(self) -> Trial:
        """The done trial with the best value, the first of equals.

        Raises
        ------
        ValueError
            While no trial has succeeded.
        """
        with self._lock:
            self._history.refresh()
            if self._history.best is None:
                failed = [trial for trial in self._history.finished if trial.state == "failed"]
                last = f"; the last failure: {failed[-1].error}" if failed else ""
                raise ValueError(
                    f"no trial has succeeded yet ({len(self._history.finished)} ended, "
                    f"{len(failed)} failed{last})"
                )
            return self._history.best

    # Ask and tell

    def ask(self) -> Trial:
        """The next trial to evaluate, now running.

        First come trials whose process died and those given to :meth:`requeue`, then enqueued
        points, then the strategy's.

        Raises
        ------
        SpaceExhausted
            If there is nothing left to suggest.
        """
        with self._lock:
            with self._storage.transaction() as connection:
                self._history.refresh()
                number = self._history.orphan()
                if number is not None:
                    self._storage.claim(connection, number, self._owner)
                else:
                    number = len(self._history.trials)
                    queue_id, params = self._storage.next_enqueued() or (None, None)
                    if params is None:
                        params = params_to_json(self.space, self._suggest(number))
                    self._storage.insert(connection, number, params, self._owner, queue_id)
            self._history.refresh()
            trial = self._history.trials[number]
        self._notify("on_trial_start", trial)
        return trial

    def _suggest(self, number: int) -> dict[str, Any]:
        view = View(
            space=self.space,
            seed=self.seed,
            direction=self.direction,
            number=number,
            finished=self._history.finished,
            pending=self._history.pending(),
            taken=self._history.taken,
            constraint=self.constraint,
            cache=self._cache,
        )
        if hasattr(self.strategy, "tell"):
            while self._told < len(self._history.finished):
                self._told += 1
                self.strategy.tell(view, self._history.finished[self._told - 1])
        params = self.space.check(self.strategy.ask(view))
        self._check_constraint(params, f"the suggestion of {self.strategy!r}")
        return params

    def tell(
        self,
        trial: Trial | int,
        value: Any = MISSING,
        *,
        error: str | None = None,
        values: Iterable[float] = (),
    ) -> None:
        """Store the result of a running trial; it is on disk when this returns.

        Parameters
        ----------
        trial : Trial or int
            The trial, or its number.
        value : float
            A finite real number. With anything else (NaN, an infinity, None, a string) the trial
            counts as failed, and its ``error`` says why.
        error : str, optional
            Instead of a value: why the trial failed.
        values : iterable of float, optional
            The values at each epoch.

        Raises
        ------
        ValueError
            If there is no such trial, or it is not running.
        TypeError
            For both a value and an error, or neither.
        """
        if (value is MISSING) is (error is None):
            raise TypeError("tell needs either a value or error=, not both")
        values = [float(item) for item in values]
        if error is not None:
            self._finish(trial, "failed", error=str(error), values=values)
            return
        number, reason = read_value(value)
        if reason is not None:
            self._finish(trial, "failed", error=f"the value is {reason}", values=values)
        else:
            self._finish(trial, "done", value=number, values=values)

    def _finish(
        self,
        trial: Trial | int,
        state: str,
        value: float | None = None,
        error: str | None = None,
        values: Iterable[float] = (),
    ) -> None:
        number = trial.number if isinstance(trial, Trial) else trial
        with self._lock:
            with self._storage.transaction(durable=True) as connection:
                told = self._storage.finish(connection, number, state, value, error, list(values))
                if not told:
                    self._refuse(number)
            self._history.refresh()
            trial = self._history.trials[number]
        self._notify("on_trial_end", trial)

    def _refuse(self, number: Any) -> None:
        self._history.refresh()
        if number not in self._history.trials:
            raise ValueError(
                f"trial {number!r} does not exist; there are {len(self._history.trials)}"
            )
        raise ValueError(
            f"trial {number} is not running, it is {self._history.trials[number].state}"
        )

    def requeue(self, trial: Trial | int) -> None:
        """Queue a running trial again: some ``ask`` will give it out, same number, same params.

        For trials of a process that has died where that cannot be seen: on another host or in
        another container.

        Raises
        ------
        ValueError
            If there is no such trial, or it is not running.
        """
        number = trial.number if isinstance(trial, Trial) else trial
        with self._lock:
            with self._storage.transaction() as connection:
                if not self._storage.claim(connection, number, None):
                    self._refuse(number)
            self._history.refresh()

    def enqueue(self, params: Mapping[str, Any]) -> None:
        """Add a point of the user's own, to be evaluated before the strategy's.

        Raises
        ------
        ValueError, TypeError
            If it is not a complete point of the space, or violates the constraint.
        """
        checked = self.space.check(params)
        self._check_constraint(checked, "the enqueued point")
        with self._lock:
            self._storage.enqueue(params_to_json(self.space, checked))
            self._history.refresh()

    def stop(self) -> None:
        """Make ``run`` end when the trials that run have ended; for callbacks."""
        self._stopping = True

    def close(self) -> None:
        """Queue the trials again that were asked from this object but not told, and close."""
        with self._lock:
            self._history.refresh()
            self._release([n for n, owner in self._history.owners.items() if owner == self._owner])
            self._storage.close()

    # Whole studies

    def run(
        self,
        objective: Callable[[dict[str, Any]], Any],
        n_trials: int | None = None,
        n_jobs: int | None = None,
        *,
        executor: Any = None,
        timeout: float | None = None,
        trial_timeout: float | None = None,
        stopper: Median | None = None,
        progress: bool | None = None,
        callbacks: Iterable[Any] = (),
    ) -> None:
        """Ask, evaluate and tell until ``n_trials`` more trials have ended.

        Run it again to go on. It also ends when the space is used up, or after :meth:`stop`.

        Parameters
        ----------
        objective : callable
            ``objective(params) -> float``, or a generator function that yields one float per
            epoch: the last one is the trial's value. ``params`` is its own copy.
        n_trials : int, optional
            Trials that this call ends, failed ones and those queued again included. Without it
            the run has no end but those above and ``timeout``.
        n_jobs : int, optional
            Worker processes, -1 for one per CPU that may be used; 1, the default, evaluates in
            this process. Each worker is a fresh ("spawned") Python with one thread for linear
            algebra (``OMP_NUM_THREADS=1``, ``FASTOPT_NUM_THREADS=1`` and the like). The objective
            must be picklable, and a script must start its work under
            ``if __name__ == "__main__":``. A worker that dies is replaced and its trial run once
            more; if it dies again, the trial has failed. With ``executor``: how many trials are
            in flight at once, by default as many as it has workers if it is one of the standard
            library's, else 1.
        executor : concurrent.futures.Executor, optional
            Evaluate there, e.g. on a cluster with Dask's ``Client.get_executor()``. It is not shut
            down. A process pool that breaks is replaced for the rest of the run, and the trials
            which ran in it are run again one by one.
        timeout : float, optional
            Seconds for the whole run; trials that then run have failed.
        trial_timeout : float, optional
            Seconds for one trial; when they are over it has failed and the study goes on.
            In a worker the process is killed. In this process the objective is interrupted (in the
            main thread, and not inside a call into C). In an executor it is only given up.
        stopper : Median, optional
            Ends poor trials of generator objectives early; their state is ``"stopped"``.
        progress : bool, optional
            Show best value, trials done and time left on standard error. By default on a
            terminal only.
        callbacks : iterable
            More of them, for this run.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C, after everything told has been stored, the trials that run have been queued
            again, and the workers are gone.
        TypeError
            If the objective cannot be sent to workers; no trial has been asked for.

        Examples
        --------
        >>> from fastopt import tune
        >>> study = tune.Study({"x": tune.Int(0, 4)}, strategy="grid")
        >>> study.run(lambda params: (params["x"] - 3) ** 2)
        >>> study.best.params, len(study.trials)
        ({'x': 3}, 5)
        """
        Run(
            self,
            objective,
            n_trials,
            n_jobs,
            executor=executor,
            timeout=timeout,
            trial_timeout=trial_timeout,
            stopper=stopper,
            progress=progress,
            callbacks=callbacks,
        )()

    def importance(self) -> dict[str, float]:
        """Share of the variance of the results that each parameter explains alone, largest first.

        By functional ANOVA on a forest fitted to the ranks of the done trials' values; see
        :func:`fastopt.tune.importance.importance`, which says how. Together the shares are at most
        1; what is missing is due to combinations.

        Raises
        ------
        ValueError
            For fewer than 8 done trials.
        """
        from .importance import importance  # SciPy's statistics take half a second to import

        return importance(self.space, self.trials)

    @property
    def plot(self) -> Plots:
        """Pictures: ``study.plot.history()``, ``parallel``, ``slices``, ``contour``,
        ``importance``. Each returns a matplotlib Figure; see :class:`fastopt.tune.plots.Plots`.
        """
        from .plots import Plots

        return Plots(self)

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write one HTML page about the study: best params, pictures, best trials, failures.

        The page holds everything itself and opens without a network. Needs matplotlib.
        """
        from .report import report

        report(self, path)

    def to_pandas(self) -> Any:
        """The trials as a :class:`pandas.DataFrame`, one row each, ``param_…`` for the params.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        from .table import to_pandas

        return to_pandas(self.space.names, self.trials)

    def _release(self, numbers: Iterable[int]) -> None:
        """Queue those trials again that still run."""
        with self._lock, self._storage.transaction() as connection:
            for number in numbers:
                self._storage.claim(connection, number, None)

    def _notify(self, event: str, *arguments: Any) -> None:
        notify(self.callbacks, self._warned, event, self, *arguments)
