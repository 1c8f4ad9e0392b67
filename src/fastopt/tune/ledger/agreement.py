"""That a study is in its file what it is taken for here."""

from __future__ import annotations

import json
import sqlite3
from functools import partial
from typing import Any, Literal

from fastopt.tune.ledger.encoding import differences
from fastopt.tune.ledger.extend import extend
from fastopt.tune.ledger.sqlite import Storage
from fastopt.tune.space import Space

__all__ = ["Agreement", "Resume"]

Resume = Literal["same", "extend"]


class Agreement:
    """The description of a study, as this process has it and as the file does.

    Parameters
    ----------
    storage : Storage

    Attributes
    ----------
    description : dict
        As this process has it; empty until one of the two methods that open the study.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.description: dict[str, Any] = {}
        # The file's, when it was last found to agree.
        self._agreed: str | None = None

    def find(self) -> None:
        """Open a study that is there, and take its description."""
        self.description = self._storage.find_study()

    def open(
        self,
        space: Space,
        description: dict[str, Any],
        first: list[str],
        any_seed: bool,
        resume: Resume,
    ) -> int:
        """Make the study, with ``first`` in its queue, or resume it; its seed.

        With ``any_seed`` that is the file's, whatever the description says.
        """
        self.description = here = json.loads(json.dumps(description))
        there = self._storage.open_study(here, first)
        if any_seed:
            here["seed"] = there["seed"]
        lines = differences(there, here)
        if lines and resume == "extend":
            extend(self._storage, space, there, here)
        elif lines:
            raise ValueError(
                f"{self._storage.path}, study {self._storage.name!r}, was started differently and "
                "cannot be resumed so:\n  " + "\n  ".join(lines)
            )
        elif (
            "restore" not in there or there["restore"]["constraint"] < here["restore"]["constraint"]
        ):
            # A file of an earlier version, or a study that was begun without the constraint.
            self._storage.transact(partial(self._storage.describe, description=here))
        seed: int = here["seed"]
        return seed

    def check(self, connection: sqlite3.Connection) -> None:
        """See that no other process has extended the space meanwhile."""
        text = self._storage.description(connection)
        if text == self._agreed:
            return
        lines = differences(json.loads(text), self.description)
        if lines:
            raise ValueError(
                f"{self._storage.path}, study {self._storage.name!r}, has been extended by another "
                "process; open it again with the new space:\n  " + "\n  ".join(lines)
            )
        self._agreed = text
