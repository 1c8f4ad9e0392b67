"""Write a study into another file, or once more into its own."""

from __future__ import annotations

import os

from fastopt.tune.ledger.database import Database
from fastopt.tune.ledger.ledger import Ledger
from fastopt.tune.ledger.sqlite import Storage

__all__ = ["copy_study"]


def copy_study(ledger: Ledger, path: str | os.PathLike[str], name: str) -> None:
    """Write what the ledger holds into the file as a study of that name, which must be new."""
    description, rows = ledger.contents()
    storage = Storage(Database(path), name)
    try:
        storage.write_study(description, rows)
    finally:
        storage.close()
