"""One study of a SQLite file, row by row.

Trials are read incrementally: each write to one stamps it with the study's next version, so a
reader asks only for what is newer than the version it knows, and 10,000 trials cost as little as
ten.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from typing import Any, TypeVar

from fastopt.tune.ledger.database import Database
from fastopt.tune.ledger.schema import ADDED_LATER, table_names
from fastopt.tune.ledger.values import cut
from fastopt.tune.space.trial import Result

__all__ = ["Storage"]

T = TypeVar("T")
SET_RESULT = "value = ?, objectives = ?, constraints = ?"


class Storage:
    """One study in a file of studies.

    Parameters
    ----------
    database : Database
    name : str
        The study's; a file may hold several.

    Attributes
    ----------
    transact, settle, close
        Those of the database. Every write goes through the first.
    """

    def __init__(self, database: Database, name: str) -> None:
        self.database = database
        self.path, self.file = database.path, database.file
        self.transact = database.transact
        self.settle = database.settle
        self.close = database.close
        self.name = name
        self._study = -1

    def open_study(self, description: dict[str, Any], first: list[str]) -> dict[str, Any]:
        """Find the study, or make it with ``first`` in its queue; the description that it has."""

        def find(connection: sqlite3.Connection) -> tuple[int, str]:
            row = connection.execute(
                "SELECT id, description FROM studies WHERE name = ?", (self.name,)
            ).fetchone()
            if row is None:
                text = json.dumps(description)
                cursor = connection.execute(
                    "INSERT INTO studies (name, description) VALUES (?, ?)", (self.name, text)
                )
                row = cursor.lastrowid, text
                connection.executemany(
                    "INSERT INTO queue (study, params) VALUES (?, ?)",
                    [(row[0], params) for params in first],
                )
            return row

        self._study, text = self.transact(find)
        self.settle()
        # Also for a new study: what JSON makes of a description is what will be compared.
        return json.loads(text)

    def changes(self, version: int) -> list[tuple]:
        """Trials written since ``version``, in the order of their last write."""
        with self.database.reading() as connection:
            later = ", ".join(self._added_later(connection))
            return connection.execute(
                "SELECT number, params, state, value, error, epochs, started, finished, owner,"
                f" {later}, version FROM trials WHERE study = ? AND version > ? ORDER BY version",
                (self._study, version),
            ).fetchall()

    def _added_later(self, connection: sqlite3.Connection) -> list[str]:
        """The columns that earlier versions did not write, or their defaults: a file that is only
        read does not get the columns."""
        if self.database.access != "read":
            return list(ADDED_LATER)
        rows = connection.execute("PRAGMA table_info(trials)")
        there = {row[1] for row in rows}
        return [
            column if column in there else kind.rpartition(" DEFAULT ")[2]
            for column, kind in ADDED_LATER.items()
        ]

    def names(self) -> list[str]:
        """The names of the studies in the file."""
        with self.database.reading() as connection:
            rows = connection.execute("SELECT name FROM studies ORDER BY id")
            return [name for (name,) in rows]

    def find_study(self) -> dict[str, Any]:
        """Find the study, which must be there; the description that it has."""
        with self.database.reading() as connection:
            row = connection.execute(
                "SELECT id, description FROM studies WHERE name = ?", (self.name,)
            ).fetchone()
        if row is None:
            there = ", ".join(map(repr, self.names())) or "none"
            raise ValueError(
                f"{self.database.where} holds no study {self.name!r}; there are: {there}"
            )
        self._study, text = row
        return json.loads(text)

    def rename(self, name: str) -> None:
        """Give the study another name, which no other has."""

        def write(connection: sqlite3.Connection) -> None:
            if name in self.names():
                raise ValueError(f"{self.database.where} holds a study {name!r} already")
            connection.execute("UPDATE studies SET name = ? WHERE id = ?", (name, self._study))

        self.transact(write, durable=True)
        self.name = name

    def contents(self) -> tuple[str, dict[str, list[dict[str, Any]]]]:
        """The description, and all that the study has in the other tables, by table."""
        found: dict[str, list[dict[str, Any]]] = {}
        with self.database.reading() as connection:
            connection.execute("BEGIN")  # one reading of all tables
            try:
                description = self.description(connection)
                for table in ("trials", "queue", "notes", "tracebacks"):
                    if table not in table_names(connection):
                        continue  # opened for reading, and of an earlier version
                    cursor = connection.execute(
                        f"SELECT * FROM {table} WHERE study = ?", (self._study,)
                    )
                    names = [column[0] for column in cursor.description]
                    found[table] = [dict(zip(names, row, strict=True)) for row in cursor]
            finally:
                connection.execute("ROLLBACK")
        return description, found

    def write_study(self, description: str, rows: dict[str, list[dict[str, Any]]]) -> None:
        """Make the study, which must be new, of what :meth:`contents` gave; nobody runs a trial."""
        version = max((trial["version"] for trial in rows["trials"]), default=0)

        def write(connection: sqlite3.Connection) -> None:
            if self.name in self.names():
                raise ValueError(
                    f"{self.path} holds a study {self.name!r} already; give another name"
                )
            study = connection.execute(
                "INSERT INTO studies (name, description, version) VALUES (?, ?, ?)",
                (self.name, description, version),
            ).lastrowid
            for table, records in rows.items():
                for record in records:
                    record = {**record, "study": study}
                    record.pop("id", None)
                    if table == "trials":
                        record["owner"] = None
                    marks = ", ".join("?" * len(record))
                    connection.execute(
                        f"INSERT INTO {table} ({', '.join(record)}) VALUES ({marks})",
                        list(record.values()),
                    )

        self.transact(write, durable=True)
        self.settle()

    def next_enqueued(self) -> tuple[int, str] | None:
        """The first enqueued point that no trial has taken: (id, params)."""
        with self.database.reading() as connection:
            return connection.execute(
                "SELECT id, params FROM queue WHERE study = ? AND asked IS NULL"
                " ORDER BY id LIMIT 1",
                (self._study,),
            ).fetchone()

    def notes(self) -> dict[str, str]:
        """What was noted about the study besides its trials."""
        with self.database.reading() as connection:
            rows = connection.execute(
                "SELECT key, content FROM notes WHERE study = ?", (self._study,)
            )
            return dict(rows.fetchall())

    def traceback(self, number: int) -> str | None:
        """That of a failed trial, if it has one."""
        with self.database.reading() as connection:
            if "tracebacks" not in table_names(connection):
                return None  # opened for reading, and of an earlier version
            row = connection.execute(
                "SELECT content FROM tracebacks WHERE study = ? AND number = ?",
                (self._study, number),
            ).fetchone()
        return None if row is None else row[0]

    def _next_version(self, connection: sqlite3.Connection) -> int:
        connection.execute("UPDATE studies SET version = version + 1 WHERE id = ?", (self._study,))
        (version,) = connection.execute(
            "SELECT version FROM studies WHERE id = ?", (self._study,)
        ).fetchone()
        return version

    # The following are for use in the body of a transaction.

    def description(self, connection: sqlite3.Connection) -> str:
        """The study's description as it stands in the file."""
        (text,) = connection.execute(
            "SELECT description FROM studies WHERE id = ?", (self._study,)
        ).fetchone()
        return text

    def describe(self, connection: sqlite3.Connection, description: dict[str, Any]) -> None:
        """Replace the study's description."""
        connection.execute(
            "UPDATE studies SET description = ? WHERE id = ?",
            (json.dumps(description), self._study),
        )

    def rewrite_params(self, connection: sqlite3.Connection, rewrite: Callable[[str], str]) -> None:
        """Apply a function to the params of all trials, what became of them, and the queue's."""

        def rewrite_lineage(text: str) -> str:
            lineage = json.loads(text)
            return json.dumps([{**c, "params": rewrite(c["params"])} for c in lineage])

        for table, key, column, change in (
            ("trials", "number", "params", rewrite),
            ("trials", "number", "lineage", rewrite_lineage),
            ("queue", "id", "params", rewrite),
        ):
            rows = connection.execute(
                f"SELECT {key}, {column} FROM {table} WHERE study = ?", (self._study,)
            ).fetchall()
            connection.executemany(
                f"UPDATE {table} SET {column} = ? WHERE study = ? AND {key} = ?",
                [(change(text), self._study, place) for place, text in rows],
            )

    def revise(
        self,
        connection: sqlite3.Connection,
        number: int,
        state: str,
        result: Result | None,
        error: str | None,
    ) -> None:
        """Change what a trial that has ended came to."""
        connection.execute(
            f"UPDATE trials SET state = ?, {SET_RESULT}, error = ?, version = ?"
            " WHERE study = ? AND number = ? AND state != 'running'",
            (
                state,
                *_columns(result),
                error and cut(error),
                self._next_version(connection),
                self._study,
                number,
            ),
        )
        if state != "failed":
            connection.execute(
                "DELETE FROM tracebacks WHERE study = ? AND number = ?", (self._study, number)
            )

    def enqueue(self, connection: sqlite3.Connection, params: str) -> None:
        """Add a point to the queue."""
        insert = "INSERT INTO queue (study, params) VALUES (?, ?)"
        connection.execute(insert, (self._study, params))

    def note(self, connection: sqlite3.Connection, key: str, content: str) -> None:
        """Write a note, in place of an earlier one of that key."""
        connection.execute(
            "INSERT OR REPLACE INTO notes (study, key, content) VALUES (?, ?, ?)",
            (self._study, key, content),
        )

    def insert(
        self,
        connection: sqlite3.Connection,
        number: int,
        params: str,
        owner: str,
        queue_id: int | None,
    ) -> None:
        """A new running trial, perhaps from the queue."""
        version = self._next_version(connection)
        connection.execute(
            "INSERT INTO trials (study, number, params, state, started, owner, asked, version)"
            " VALUES (?, ?, ?, 'running', ?, ?, ?, ?)",
            (self._study, number, params, time.time(), owner, version, version),
        )
        if queue_id is not None:
            connection.execute("UPDATE queue SET asked = ? WHERE id = ?", (version, queue_id))

    def claim(self, connection: sqlite3.Connection, number: int, owner: str | None) -> bool:
        """Give a running trial to another owner, or to none; False if it does not run.

        An owner starts from the beginning; what the attempt before had reported is kept up to then.
        """
        cursor = connection.execute(
            "UPDATE trials SET owner = ?, started = ?, version = ?,"
            " epochs = CASE WHEN ? IS NULL THEN epochs ELSE '[]' END"
            " WHERE study = ? AND number = ? AND state = 'running'",
            (owner, time.time(), self._next_version(connection), owner, self._study, number),
        )
        return cursor.rowcount == 1

    def report(
        self,
        connection: sqlite3.Connection,
        number: int,
        owner: str,
        values: list[float],
        decided: int,
    ) -> None:
        """Store what a trial has reported so far, if it still is that owner's."""
        connection.execute(
            "UPDATE trials SET epochs = ?, decided = ?, version = ?"
            " WHERE study = ? AND number = ? AND state = 'running' AND owner = ?",
            (
                json.dumps(values),
                decided,
                self._next_version(connection),
                self._study,
                number,
                owner,
            ),
        )

    def exchange(self, connection: sqlite3.Connection, number: int, lineage: str) -> None:
        """Store what became of a running trial's params."""
        connection.execute(
            "UPDATE trials SET lineage = ?, version = ?"
            " WHERE study = ? AND number = ? AND state = 'running'",
            (lineage, self._next_version(connection), self._study, number),
        )

    def finish(
        self,
        connection: sqlite3.Connection,
        number: int,
        state: str,
        result: Result | None,
        error: str | None,
        values: list[float],
        notes: str,
        traceback: str | None,
    ) -> bool:
        """Store a result; False if the trial does not run."""
        cursor = connection.execute(
            f"UPDATE trials SET state = ?, {SET_RESULT}, error = ?, epochs = ?, finished = ?,"
            " notes = ?, owner = NULL, version = ?"
            " WHERE study = ? AND number = ? AND state = 'running'",
            (
                state,
                *_columns(result),
                error and cut(error),
                json.dumps(values),
                time.time(),
                notes,
                self._next_version(connection),
                self._study,
                number,
            ),
        )
        if cursor.rowcount == 1 and traceback is not None:
            connection.execute(
                "INSERT OR REPLACE INTO tracebacks (study, number, content) VALUES (?, ?, ?)",
                (self._study, number, traceback),
            )
        return cursor.rowcount == 1


def _columns(result: Result | None) -> tuple[float | None, str, str]:
    """What stands in the columns of SET_RESULT: several objectives have one of their own."""
    if result is None:
        return None, "[]", "[]"
    constraints = json.dumps(result.constraints)
    if isinstance(result.value, tuple):
        return None, json.dumps(result.value), constraints
    assert isinstance(result.value, float)  # it has been read
    return result.value, "[]", constraints
