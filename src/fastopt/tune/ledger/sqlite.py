"""Studies in a SQLite file: every write is one durable transaction.

Trials are read incrementally: each write to one stamps it with the study's next version, so a
reader asks only for what is newer than the version it knows, and 10,000 trials cost as little as
ten.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from fastopt.tune.ledger.schema import ADDED_LATER, check_header, create_tables, table_names
from fastopt.tune.ledger.values import cut
from fastopt.tune.space.trial import Result

__all__ = ["Access", "Storage"]

T = TypeVar("T")
Access = Literal["create", "write", "read"]

# The key of a connection to memory; one to a file has the ID of its process.
IN_MEMORY = 0
# Seconds between two looks at a lock; it is held for some milliseconds.
POLL = 0.0002
# The log is written into the file at most this often, in units of the time that takes.
SETTLE_EVERY = 20
SET_RESULT = "value = ?, objectives = ?, constraints = ?"


class Storage:
    """One study of one file, or of this process's memory if ``path`` is None.

    Parameters
    ----------
    path : str, path or None
    name : str
        A file may hold several studies.
    lock_timeout : float
        Seconds to wait for other processes that write to the file.
    access : {"create", "write", "read"}
        ``"write"`` and ``"read"`` need a file that is there; to ``"read"`` it is never changed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        name: str,
        lock_timeout: float = 60.0,
        access: Access = "create",
    ) -> None:
        self.path = None if path is None else os.fspath(path)
        self.name = name
        self._lock_timeout = lock_timeout
        self._access = access
        self._connections: dict[int, sqlite3.Connection] = {}
        weakref.finalize(self, _forget, self._connections)
        self._study = -1
        # Absolute, for the working folder may change.
        self._file = None if self.path is None else os.path.abspath(self.path)
        self._place: tuple[int, int] | None = None
        self._settled = self._settling = 0.0
        if self.path is not None:
            if not self.path:
                raise ValueError("storage must be the path of a file or None, got an empty string")
            scheme, separator, rest = str(self.path).partition("://")
            if separator and scheme.isalnum():
                raise ValueError(
                    f"storage: {self.path!r} is a URL, needs the path of a file: "
                    f"storage={rest.lstrip('/') or 'study.db'!r}"
                )
            if os.path.isdir(self.path):
                raise IsADirectoryError(f"storage: {self.path} is a folder, needs a file")
            folder = os.path.dirname(os.path.abspath(self.path))
            if not os.path.isdir(folder):
                raise FileNotFoundError(f"storage: the folder of {self.path} does not exist")
            if access != "create" and not os.path.exists(self.path):
                raise FileNotFoundError(f"storage: there is no file {self.path}")
        with self._errors():
            self._prepare(self._connection())
            self._place = self._look()

    @property
    def _where(self) -> str:
        return "the study in memory" if self.path is None else self.path

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """SQLite's errors as Python's own, with the file's name."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            text = str(error)
            if "locked" in text or "busy" in text:
                raise TimeoutError(f"{self._where} is locked by another process") from error
            if "readonly" in text or "unable to open" in text:
                raise PermissionError(f"{self._where} cannot be written: {text}") from error
            if "not a database" in text:
                raise ValueError(f"{self._where} is not a SQLite file") from error
            if "malformed" in text or "no such" in text:
                raise ValueError(f"{self._where} is damaged: {text}") from error
            raise OSError(f"{self._where}: {text}") from error

    def _look(self) -> tuple[int, int] | None:
        """Which file is at the path, None if there is none."""
        if self._file is None:
            return None
        try:
            status = os.stat(self._file)
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _check_place(self) -> None:
        """Raise if the open file is not the one at the path any more.

        SQLite would go on with it: what is written to a deleted file is lost, and to a renamed one
        it could come apart, for its log keeps the old name.
        """
        if self._file is None or self._study == -1:
            return
        place = self._look()
        if place is None or (self._place is not None and place != self._place):
            what = "is not there any more" if place is None else "is another file now"
            raise FileNotFoundError(
                f"{self._where} {what}: it was deleted, moved or replaced while the study was open."
                " Move it back, or close the study and open it at its new place"
            )
        self._place = place

    def _connection(self) -> sqlite3.Connection:
        self._check_place()
        # SQLite forbids to carry a connection across a fork, and closing the parent's in the child
        # would drop the parent's locks: the child opens its own and leaves that one alone.
        key = os.getpid() if self.path is not None else IN_MEMORY
        if key not in self._connections:
            self._connections[key] = self._connect()
        return self._connections[key]

    def _connect(self) -> sqlite3.Connection:
        if self._file is None or self._access == "create":
            return self._connect_to(":memory:" if self._file is None else self._file)
        uri = f"file:{quote(self._file)}"
        connection = self._connect_to(f"{uri}?mode=rw")
        if self._access == "read":
            try:
                connection.execute("PRAGMA query_only=ON")
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            except sqlite3.OperationalError:
                # In a folder that cannot be written SQLite has no place for what readers share. A
                # file that is whole by itself can be read without.
                connection.close()
                if os.path.exists(f"{self._file}-wal"):
                    raise
                connection = self._connect_to(f"{uri}?immutable=1")
        return connection

    def _connect_to(self, database: str) -> sqlite3.Connection:
        return sqlite3.connect(
            database,
            timeout=self._lock_timeout,
            isolation_level=None,
            check_same_thread=False,
            uri=database.startswith("file:"),
        )

    def _prepare(self, connection: sqlite3.Connection) -> None:
        check_header(connection, self._where)
        if self._access == "read":
            return
        if self.path is not None:
            self._when_free(connection, "PRAGMA journal_mode=WAL")
        self.transact(create_tables)

    def _when_free(self, connection: sqlite3.Connection, statement: str, wait: bool = True) -> None:
        """Execute a statement that takes the lock, as soon as no other process holds it.

        SQLite's own waiting sleeps up to 100 ms between two looks, and not at all before the switch
        to WAL: a process that asks and tells without a pause would starve all others.
        """
        deadline = time.monotonic() + (self._lock_timeout if wait else 0.0)
        connection.execute("PRAGMA busy_timeout=0")
        try:
            while True:
                try:
                    connection.execute(statement).fetchone()
                    return
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error) or time.monotonic() > deadline:
                        raise
                time.sleep(POLL)
        finally:
            connection.execute(f"PRAGMA busy_timeout={round(1000 * self._lock_timeout)}")

    def transact(
        self,
        body: Callable[[sqlite3.Connection], T],
        durable: bool = False,
        wait: bool = True,
    ) -> T:
        """Call ``body`` with the connection: all or nothing, and alone among all processes.

        When this has returned, what was written survives the death of the process; if ``durable``,
        a power cut too, which costs waiting for the disk. Without ``wait`` it is a
        TimeoutError at once if another process writes.

        This is no context manager, because Ctrl-C may strike on the way into its methods, where
        nothing would end the transaction.
        """
        if self._access == "read":
            raise PermissionError(
                f"{self._where} is open for reading only; tune.open(path, writable=True) opens it "
                "for writing"
            )
        with self._errors():
            connection = self._connection()
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            try:
                self._when_free(connection, "BEGIN IMMEDIATE", wait)
                result = body(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            if time.monotonic() - self._settled >= SETTLE_EVERY * self._settling:
                self.settle()
            return result

    def settle(self) -> None:
        """Bring what is in SQLite's log into the file itself, so that a copy of it is whole.

        While another process reads or writes this is left to the next time: nothing waits for it.
        """
        if self._file is None or self._access == "read":
            return
        start = time.monotonic()
        with self._errors():
            connection = self._connection()
            connection.execute("PRAGMA busy_timeout=0")
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.OperationalError as error:
                # What has been written is safe in the log, also where the disk is full.
                if "locked" not in str(error) and "full" not in str(error):
                    raise
            finally:
                connection.execute(f"PRAGMA busy_timeout={round(1000 * self._lock_timeout)}")
        self._settled = time.monotonic()
        self._settling = self._settled - start

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
        later = ", ".join(self._added_later())
        with self._errors():
            return (
                self._connection()
                .execute(
                    "SELECT number, params, state, value, error, epochs, started, finished, owner,"
                    f" {later}, version FROM trials WHERE study = ? AND version > ?"
                    " ORDER BY version",
                    (self._study, version),
                )
                .fetchall()
            )

    def _added_later(self) -> list[str]:
        """The columns that earlier versions did not write; their defaults if they are not there,
        for a file that is read only does not get them."""
        if self._access != "read":
            return list(ADDED_LATER)
        rows = self._connection().execute("PRAGMA table_info(trials)")
        there = {row[1] for row in rows}
        return [
            column if column in there else kind.rpartition(" DEFAULT ")[2]
            for column, kind in ADDED_LATER.items()
        ]

    def names(self) -> list[str]:
        """The names of the studies in the file."""
        with self._errors():
            rows = self._connection().execute("SELECT name FROM studies ORDER BY id")
            return [name for (name,) in rows]

    def find_study(self) -> dict[str, Any]:
        """Find the study, which must be there; the description that it has."""
        with self._errors():
            row = (
                self._connection()
                .execute("SELECT id, description FROM studies WHERE name = ?", (self.name,))
                .fetchone()
            )
        if row is None:
            there = ", ".join(map(repr, self.names())) or "none"
            raise ValueError(f"{self._where} holds no study {self.name!r}; there are: {there}")
        self._study, text = row
        return json.loads(text)

    def rename(self, name: str) -> None:
        """Give the study another name, which no other has."""

        def write(connection: sqlite3.Connection) -> None:
            if name in self.names():
                raise ValueError(f"{self._where} holds a study {name!r} already")
            connection.execute("UPDATE studies SET name = ? WHERE id = ?", (name, self._study))

        self.transact(write, durable=True)
        self.name = name

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """All that the study has in the tables, by table."""
        found: dict[str, list[dict[str, Any]]] = {}
        with self._errors():
            connection = self._connection()
            connection.execute("BEGIN")  # one reading of all tables
            try:
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
        return found

    def write_rows(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        """Write what :meth:`rows` gave into this study, which is new; nobody runs its trials."""
        version = max((trial["version"] for trial in rows["trials"]), default=0)

        def write(connection: sqlite3.Connection) -> None:
            for table, records in rows.items():
                for record in records:
                    record = {**record, "study": self._study}
                    record.pop("id", None)
                    if table == "trials":
                        record["owner"] = None
                    marks = ", ".join("?" * len(record))
                    connection.execute(
                        f"INSERT INTO {table} ({', '.join(record)}) VALUES ({marks})",
                        list(record.values()),
                    )
            connection.execute(
                "UPDATE studies SET version = ? WHERE id = ?", (version, self._study)
            )

        self.transact(write, durable=True)
        self.settle()

    def next_enqueued(self) -> tuple[int, str] | None:
        """The first enqueued point that no trial has taken: (id, params)."""
        with self._errors():
            return (
                self._connection()
                .execute(
                    "SELECT id, params FROM queue WHERE study = ? AND asked IS NULL"
                    " ORDER BY id LIMIT 1",
                    (self._study,),
                )
                .fetchone()
            )

    def notes(self) -> dict[str, str]:
        """What was noted about the study besides its trials."""
        with self._errors():
            return dict(
                self._connection()
                .execute("SELECT key, content FROM notes WHERE study = ?", (self._study,))
                .fetchall()
            )

    def traceback(self, number: int) -> str | None:
        """That of a failed trial, if it has one."""
        with self._errors():
            connection = self._connection()
            if "tracebacks" not in table_names(connection):
                return None  # opened for reading, and of an earlier version
            row = connection.execute(
                "SELECT content FROM tracebacks WHERE study = ? AND number = ?",
                (self._study, number),
            ).fetchone()
        return None if row is None else row[0]

    def enqueue(self, params: str) -> None:
        """Add a point to the queue."""
        insert = "INSERT INTO queue (study, params) VALUES (?, ?)"
        self.transact(lambda connection: connection.execute(insert, (self._study, params)))

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
        """Apply a function to the params of all trials and of all points in the queue."""
        for table, key in (("trials", "number"), ("queue", "id")):
            rows = connection.execute(
                f"SELECT {key}, params FROM {table} WHERE study = ?", (self._study,)
            ).fetchall()
            connection.executemany(
                f"UPDATE {table} SET params = ? WHERE study = ? AND {key} = ?",
                [(rewrite(params), self._study, place) for place, params in rows],
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

    def note(self, connection: sqlite3.Connection, key: str, content: str) -> None:
        """Write a note, or write it anew."""
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

    def close(self) -> None:
        """Close this process's connection to a file; the next use opens another."""
        _close(self._connections)
        self._place = None


def _columns(result: Result | None) -> tuple[float | None, str, str]:
    """What stands in the columns of SET_RESULT: several objectives have one of their own."""
    if result is None:
        return None, "[]", "[]"
    constraints = json.dumps(result.constraints)
    if isinstance(result.value, tuple):
        return None, json.dumps(result.value), constraints
    assert isinstance(result.value, float)  # it has been read
    return result.value, "[]", constraints


def _forget(connections: dict[int, sqlite3.Connection]) -> None:
    """Close what is open when the storage is garbage; a study in memory is gone then."""
    _close(connections)
    in_memory = connections.pop(IN_MEMORY, None)
    if in_memory is not None:
        in_memory.close()


def _close(connections: dict[int, sqlite3.Connection]) -> None:
    connection = connections.pop(os.getpid(), None)
    if connection is not None:
        connection.close()
