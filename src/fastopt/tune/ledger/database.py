"""A SQLite file that several processes share: every write is one durable transaction."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar
from urllib.parse import quote

from fastopt.tune.ledger.schema import check_header, create_tables, table_names

__all__ = ["Access", "Database", "spare"]

T = TypeVar("T")
Access = Literal["create", "write", "read"]

# The key of a connection to memory; one to a file has the ID of its process.
IN_MEMORY = 0
# Seconds between two looks at a lock; it is held for some milliseconds.
POLL = 0.0002
# The log is written into the file at most this often, in units of the time that takes.
SETTLE_EVERY = 20


def spare(own: str | None, path: str | os.PathLike[str]) -> None:
    """Raise ValueError if what is to be written at ``path`` would replace the study's own file."""
    if own is not None and os.path.exists(path) and os.path.samefile(own, path):
        raise ValueError(f"{os.fspath(path)} is the file of the study itself: give another path")


class Database:
    """A file of studies, or this process's memory if ``path`` is None.

    Parameters
    ----------
    path : str, path or None
    lock_timeout : float
        Seconds to wait for other processes that write to the file.
    access : {"create", "write", "read"}
        ``"write"`` and ``"read"`` need a file that is there; to ``"read"`` it is never changed.

    Attributes
    ----------
    path : str or None
        As it was given.
    file : str or None
        The same whatever the working folder is now.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        lock_timeout: float = 60.0,
        access: Access = "create",
    ) -> None:
        if path is not None and not isinstance(path, (str, bytes, os.PathLike)):
            raise TypeError(f"storage must be the path of a file or None, got {path!r}")
        self.path = None if path is None else os.fsdecode(path)
        self._lock_timeout = lock_timeout
        self.access = access
        self._connections: dict[int, sqlite3.Connection] = {}
        weakref.finalize(self, _forget, self._connections)
        self.file = None if self.path is None else os.path.abspath(self.path)
        self._place: tuple[int, int] | None = None
        self._open = False
        self._settled = self._settling = 0.0
        if self.path is not None:
            _check_path(self.path, access)
        if self.file is not None and access == "create":
            _take_place(self.file)
        try:
            self._prepare(self.connection())
        except sqlite3.DatabaseError as error:
            raise self._named(error) from error
        self._place = self._look()
        self._open = True

    @property
    def where(self) -> str:
        """The file, as a message names it."""
        return "the study in memory" if self.path is None else self.path

    def _named(self, error: sqlite3.DatabaseError) -> Exception:
        """SQLite's error as one of Python's own, with the file's name."""
        text = str(error)
        if "locked" in text or "busy" in text:
            return TimeoutError(f"{self.where} is locked by another process")
        if "readonly" in text or "unable to open" in text:
            return PermissionError(f"{self.where} cannot be written: {text}")
        if "not a database" in text:
            return ValueError(f"{self.where} is not a SQLite file")
        if "malformed" in text or "no such" in text:
            return ValueError(f"{self.where} is damaged: {text}")
        return OSError(f"{self.where}: {text}")

    def _look(self) -> tuple[int, int] | None:
        """Which file is at the path, None if there is none."""
        if self.file is None:
            return None
        try:
            status = os.stat(self.file)
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _check_place(self) -> None:
        """Raise if the open file is not the one at the path any more.

        SQLite would go on with it: what is written to a deleted file is lost, and to a renamed one
        it could come apart, because its log keeps the old name.
        """
        if self.file is None or not self._open:
            return
        place = self._look()
        if place is None or (self._place is not None and place != self._place):
            # SQLite shares what it knows of a file within the process: the file could not be opened
            # at its new place, where its log has another name.
            connection = self._connections.get(os.getpid())
            if connection is not None and not connection.in_transaction:
                _close(self._connections)
            what = "is not there any more" if place is None else "is another file now"
            raise FileNotFoundError(
                f"{self.where} {what}: it was deleted, moved or replaced while the study was open."
                " Move it back, or close the study and open it at its new place"
            )
        self._place = place

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for statements outside of a transaction."""
        try:
            yield self.connection()
        except sqlite3.DatabaseError as error:
            raise self._named(error) from error

    def connection(self) -> sqlite3.Connection:
        """This process's connection."""
        self._check_place()
        # SQLite forbids to carry a connection across a fork, and closing the parent's in the child
        # would drop the parent's locks: the child opens its own and leaves that one alone.
        key = os.getpid() if self.path is not None else IN_MEMORY
        if key not in self._connections:
            self._connections[key] = self._connect()
        return self._connections[key]

    def _connect(self) -> sqlite3.Connection:
        if self.file is None or self.access == "create":
            return self._connect_to(":memory:" if self.file is None else self.file)
        uri = f"file:{quote(os.fsencode(self.file))}"
        connection = self._connect_to(f"{uri}?mode=rw")
        if self.access == "read":
            try:
                connection.execute("PRAGMA query_only=ON")
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            except sqlite3.DatabaseError as error:
                connection.close()
                # In a folder that cannot be written SQLite has no place for what readers share. A
                # file that is whole by itself can be read without.
                is_operational = isinstance(error, sqlite3.OperationalError)
                if not is_operational or os.path.exists(f"{self.file}-wal"):
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
        check_header(connection, self.where)
        if self.access == "read":
            if not table_names(connection):
                raise ValueError(f"{self.where} is empty: no study has been written to it")
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
        if self.access == "read":
            raise PermissionError(
                f"{self.where} is open for reading only; tune.open(path, writable=True) opens it "
                "for writing"
            )
        try:
            connection = self.connection()
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            try:
                self._when_free(connection, "BEGIN IMMEDIATE", wait)
                result = body(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.DatabaseError as error:
            raise self._named(error) from error
        if time.monotonic() - self._settled >= SETTLE_EVERY * self._settling:
            self.settle()
        return result

    def settle(self) -> None:
        """Bring what is in SQLite's log into the file itself, so that a copy of it is whole.

        While another process reads or writes this is left to the next time: nothing waits for it.
        """
        if self.file is None or self.access == "read":
            return
        start = time.monotonic()
        with self.reading() as connection:
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

    def close(self) -> None:
        """Close this process's connection to a file; the next use opens another."""
        _close(self._connections)
        self._place = None


def _check_path(path: str, access: Access) -> None:
    if not path:
        raise ValueError("storage must be the path of a file or None, got an empty string")
    if "\0" in os.fsdecode(path):
        raise ValueError(f"storage must be the path of a file, got a null character in {path!r}")
    scheme, separator, rest = str(path).partition("://")
    if separator and scheme.isalnum():
        raise ValueError(
            f"storage: {path!r} is a URL, needs the path of a file: "
            f"storage={rest.lstrip('/') or 'study.db'!r}"
        )
    if path == ":memory:" and not os.path.exists(path):  # as SQLite says it
        raise ValueError("storage: without it a study is in memory; ':memory:' would be a file")
    if os.path.isdir(path):
        raise IsADirectoryError(f"storage: {path} is a folder, needs a file")
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"storage: the folder of {path} does not exist")
    if access != "create" and not os.path.exists(path):
        raise FileNotFoundError(f"storage: there is no file {path}")


def _take_place(file: str) -> None:
    """Make a new file where the logs of one lie that was moved or deleted while it was open.

    SQLite would delete the log, which may hold results, and take the index of the old file, which
    other processes may still use, for that of the new one.
    """
    logs = [f"{file}-wal", f"{file}-shm"]
    if os.path.exists(file) or not any(map(os.path.exists, logs)):
        return
    import fcntl  # Windows has none, nor this: it does not let an open file be moved

    folder = os.open(os.path.dirname(file), os.O_RDONLY)
    try:
        # One process at a time, else the second would take the logs of the first for left behind.
        fcntl.flock(folder, fcntl.LOCK_EX)
        if os.path.exists(file):
            return
        if os.path.exists(logs[0]) and os.path.getsize(logs[0]):
            raise FileExistsError(
                f"{logs[0]} is there without {file}: it holds the last results of a file that was "
                "moved or deleted. Give it the name of the moved file followed by -wal, or delete "
                "it to begin anew"
            )
        for log in logs:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(log)
        os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o644))
    finally:
        os.close(folder)


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
