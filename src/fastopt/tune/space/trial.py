"""One evaluation of the objective."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Any

__all__ = ["Trial"]


@dataclass(slots=True)
class Trial:
    """One evaluation of the objective; the study keeps it up to date, read it only.

    Attributes
    ----------
    number : int
        Counts from 0.
    params : dict
        What the objective got; parameters whose condition does not hold are absent.
    value : float or None
        The result, always finite; None while running and after a failure.
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

    @property
    def seconds(self) -> float | None:
        """How long the trial took; None while it runs."""
        if self.started is None or self.finished is None:
            return None
        return self.finished - self.started

    def _repr_html_(self) -> str:
        facts = {
            "state": self.state,
            "value": self.value,
            **self.params,
            **self.notes,
            "error": self.error,
        }
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(str(fact))}</td></tr>"
            for name, fact in facts.items()
            if fact is not None or name in self.params
        )
        return f"<b>Trial {self.number}</b>\n<table>{rows}</table>"
