"""Studies: a search that remembers everything it has seen."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .ask_tell import AskTell
from .run import Run
from .stopper import Median

if TYPE_CHECKING:
    from .plots import Plots

__all__ = ["Study"]


class Study(AskTell):
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
    goes on exactly as it would have without the interruption. With parallel workers the order of
    results is chance; it is stored, and replay from it is exact.

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

        Run it again to go on. It also ends when the space is used up, when the strategy expects too
        little (``tune.Bayes(min_improvement=)``), or after :meth:`stop`.

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
            this process, whose numbers of threads are left as they are. Each worker is a fresh
            ("spawned") Python with one thread for linear algebra (``OMP_NUM_THREADS=1``,
            ``FASTOPT_NUM_THREADS=1`` and the like). The objective must be picklable, and a script
            must start its work under
            ``if __name__ == "__main__":``. A worker that dies is replaced and its trial run once
            more; if it dies again, the trial has failed. With ``executor``: how many trials are
            in flight at once, by default as many as it has workers if it is one of the standard
            library's, else 1.
        executor : concurrent.futures.Executor, optional
            Evaluate there, e.g. on a cluster with Dask's ``Client.get_executor()``. It is not shut
            down. Trials whose worker dies are run once more, one by one, so that only the culprit
            has failed. A process pool that breaks is replaced for the rest of the run.
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
        run = Run(self, n_trials, timeout, trial_timeout, stopper)
        run(objective, n_jobs, executor, progress, callbacks)

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
