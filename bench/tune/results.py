"""Finished searches and their files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("results")
PUBLISHED, LATEST = FOLDER / "published.jsonl", FOLDER / "latest.jsonl"
SPEED = FOLDER / "speed.jsonl"
BUDGET, HALVING = FOLDER / "budget.jsonl", FOLDER / "halving.jsonl"
CURVES = FOLDER / "curves.npz"  # not committed


class Line:
    """A dataclass that is one line of JSON in a file."""

    def append_to(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(self.as_line())

    def as_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def load(cls, path: Path) -> list:
        """The lines of a file; none if there is no such file."""
        if not path.exists():
            return []
        return [cls(**json.loads(line)) for line in path.read_text().splitlines()]


@dataclass(frozen=True)
class Timing(Line):
    """Seconds of some suggestions after a number of observations."""

    machine: str
    rival: str
    observations: int
    seconds: list[float]


@dataclass(frozen=True)
class Search(Line):
    """What a searcher found: `improvements` holds (number of the trial from 1, value)."""

    rival: str
    problem: str
    kind: str
    seed: int
    trials: int
    improvements: list[tuple[int, float]]

    @property
    def key(self) -> tuple[str, str, int]:
        return self.rival, self.problem, self.seed

    def best_after(self, stage: float) -> float:
        """The best value of the first part `stage` of the search; infinite if all trials failed."""
        count = max(1, round(stage * self.trials))
        found = [value for number, value in self.improvements if number <= count]
        return found[-1] if found else math.inf


def add_published(published: Path, results: Path, rivals: Iterable[str]) -> list[Search]:
    """All published searches, those of `results` among them from now on, in the order of rivals."""
    found = {search.key: search for path in (published, results) for search in Search.load(path)}
    order = {rival: number for number, rival in enumerate(rivals)}
    searches = sorted(found.values(), key=lambda s: (order[s.rival], s.seed))
    published.parent.mkdir(exist_ok=True)
    published.write_text("".join(search.as_line() for search in searches))
    return searches


@dataclass(frozen=True)
class Training(Line):
    """What a search found in its CPU time: `improvements` holds (seconds, validation loss)."""

    method: str
    data: str
    seed: int
    seconds: float
    improvements: list[tuple[float, float]]

    @property
    def key(self) -> tuple[str, str, int]:
        return self.method, self.data, self.seed

    def best_after(self, seconds: float) -> float:
        """The best validation loss that was known after so much CPU time."""
        return min((loss for at, loss in self.improvements if at <= seconds), default=math.inf)

    def seconds_to(self, loss: float) -> float:
        """The CPU time until a validation loss that is no worse; infinite if there was none."""
        return min((at for at, found in self.improvements if found <= loss), default=math.inf)
