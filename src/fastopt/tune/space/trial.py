"""One evaluation of the objective."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from fastopt.tune.space.categorical import copy_containers

__all__ = ["Result", "Trial", "note_title", "own_values"]


@dataclass(frozen=True)
class Result:
    """What an objective returns that has constraints, which are known only after the evaluation.

    Parameters
    ----------
    value : float or sequence of float
        One number, or one for each of the study's ``directions``.
    constraints : sequence of float
        Each is satisfied where it is at most 0; how far above tells the search how far it is from
        the feasible points. The same number of them each time, all finite.

    Examples
    --------
    >>> from fastopt import tune
    >>> def objective(params):
    ...     seconds = 3 * params["layers"]
    ...     return tune.Result(1 / params["layers"], constraints=[seconds - 10])
    >>> study = tune.Study({"layers": tune.Int(1, 8)}, strategy="grid")
    >>> study.run(objective)
    >>> study.best_params, study.trials[7].constraints, study.trials[7].feasible
    ({'layers': 3}, [14.0], False)
    """

    value: float | Sequence[float]
    constraints: Sequence[float] = ()


def note_title(name: str, parameters: Container[str]) -> str:
    """What a note is called beside params: ``note_NAME`` if a parameter has its name."""
    return f"note_{name}" if name in parameters else name


def _known(facts: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(name, fact) for name, fact in facts if fact is not None]


def _copy_dict(given: Mapping[str, Any]) -> dict[str, Any]:
    copied: dict[str, Any] = copy_containers(dict(given))
    return copied


def _copy_dicts(given: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [_copy_dict(each) for each in given]


@dataclass
class Trial:
    """One evaluation of the objective; the study keeps it up to date.

    Dicts and lists are copies each time they are read: whatever is done to them, the study keeps
    what it was told.

    Attributes
    ----------
    number : int
        Counts from 0.
    params : dict
        What the objective got; parameters whose condition does not hold are absent.
    value : float or None
        The result, always finite; None while running, after a failure, and of several objectives.
    objectives : list of float
        The results of several objectives, in the order of the study's ``directions``.
    constraints : list of float
        Those of :class:`Result`; empty if there are none, or the trial is not done.
    state : {"running", "done", "failed", "stopped"}
        ``"stopped"``: ended early by a scheduler; ``value`` is then the last one reported.
    error : str or None
        Why the trial failed.
    values : list of float
        What a generator objective yielded, one per epoch; of a running trial, so far.
    lineage : list of dict
        Of a row that went on from another (:class:`PopulationBased`): the ``"epoch"`` of each time,
        the ``"source"``, which is a trial's number, and the ``"params"`` from then on.
    started, finished : float or None
        Seconds since 1970.
    notes : dict
        What the objective has kept by :func:`note`.
    """

    number: int
    params: dict[str, Any]
    value: float | None = None
    state: str = "running"
    error: str | None = None
    values: list[float] = field(default_factory=list)
    lineage: list[dict[str, Any]] = field(default_factory=list)
    started: float | None = None
    finished: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    objectives: list[float] = field(default_factory=list)
    constraints: list[float] = field(default_factory=list)

    @property
    def feasible(self) -> bool | None:
        """Whether all constraints are satisfied, if there are any; None of a trial that is not
        done.
        """
        return self.violation == 0.0 if self.state == "done" else None

    @property
    def violation(self) -> float:
        """By how much the constraints are violated, summed."""
        return sum(max(0.0, constraint) for constraint in self.constraints)

    @property
    def seconds(self) -> float | None:
        """How long the trial took; None while it runs."""
        if self.started is None or self.finished is None:
            return None
        return max(0.0, self.finished - self.started)  # a clock may be set back

    def _repr_html_(self) -> str:
        result = {
            "value": self.value,
            "objectives": self.objectives or None,
            "constraints": self.constraints or None,
        }
        notes = [(note_title(name, self.params), fact) for name, fact in self.notes.items()]
        facts = [("state", self.state), *_known(result.items()), *self.params.items()]
        facts += _known([*notes, ("error", self.error)])
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(str(fact))}</td></tr>" for name, fact in facts
        )
        return f"<b>Trial {self.number}</b>\n<table>{rows}</table>"


def own_values(trial: Trial) -> list[float]:
    """The list behind ``trial.values``, without a copy of what may be long.

    For code that only reads it, and for the ledger, which changes it.
    """
    values: list[float] = trial.__dict__["values"]
    return values


def _copied(name: str, copy: Callable[[Any], Any]) -> property:
    """An attribute that is copied when it is written and when it is read."""

    def read(trial: Trial) -> Any:
        return copy(trial.__dict__[name])

    def write(trial: Trial, given: Any) -> None:
        trial.__dict__[name] = copy(given)

    return property(read, write, doc=f"A copy of the trial's {name}.")


_COPIED: dict[str, Callable[[Any], Any]] = {
    "params": _copy_dict,
    "notes": _copy_dict,
    "lineage": _copy_dicts,
    "values": list,
    "objectives": list,
    "constraints": list,
}
# Set here, and not in the class, where a dataclass would take them for defaults.
for _name, _copy in _COPIED.items():
    setattr(Trial, _name, _copied(_name, _copy))
