"""The tables of a file of studies, and what tells such a file from others."""

from __future__ import annotations

import sqlite3

__all__ = ["ADDED_LATER", "check_header", "create_tables", "table_names"]

APPLICATION_ID = 0x466F7074  # "Fopt", in the header of the file
SCHEMA_VERSION = 1
SCHEMA = (
    """CREATE TABLE studies (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        description TEXT NOT NULL,
        version INTEGER NOT NULL DEFAULT 0
    )""",
    """CREATE TABLE trials (
        study INTEGER NOT NULL REFERENCES studies,
        number INTEGER NOT NULL,
        params TEXT NOT NULL,
        state TEXT NOT NULL,
        value REAL,
        error TEXT,
        epochs TEXT NOT NULL DEFAULT '[]',
        started REAL NOT NULL,
        finished REAL,
        owner TEXT,
        asked INTEGER NOT NULL,
        version INTEGER NOT NULL,
        notes TEXT NOT NULL DEFAULT '{}',
        decided INTEGER NOT NULL DEFAULT 0,
        lineage TEXT NOT NULL DEFAULT '[]',
        objectives TEXT NOT NULL DEFAULT '[]',
        constraints TEXT NOT NULL DEFAULT '[]',
        PRIMARY KEY (study, number)
    )""",
    "CREATE UNIQUE INDEX trial_versions ON trials (study, version)",
    """CREATE TABLE queue (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        study INTEGER NOT NULL REFERENCES studies,
        params TEXT NOT NULL,
        asked INTEGER
    )""",
    "CREATE INDEX queue_waiting ON queue (study, asked, id)",
    """CREATE TABLE notes (
        study INTEGER NOT NULL REFERENCES studies,
        key TEXT NOT NULL,
        content TEXT NOT NULL,
        PRIMARY KEY (study, key)
    )""",
)
# Came after the first files of this version, which earlier programs go on to read.
TRACEBACKS = """CREATE TABLE IF NOT EXISTS tracebacks (
    study INTEGER NOT NULL REFERENCES studies,
    number INTEGER NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (study, number)
)"""

# Columns of the table of trials which also came later.
ADDED_LATER = {
    "notes": "TEXT NOT NULL DEFAULT '{}'",
    "decided": "INTEGER NOT NULL DEFAULT 0",
    "lineage": "TEXT NOT NULL DEFAULT '[]'",
    "objectives": "TEXT NOT NULL DEFAULT '[]'",
    "constraints": "TEXT NOT NULL DEFAULT '[]'",
}


def check_header(connection: sqlite3.Connection, where: str) -> None:
    """Raise ValueError if the file is not one of studies, of a newer version, or damaged."""
    # One reading: another process may be about to make the tables and write the header.
    connection.execute("BEGIN")
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        tables = table_names(connection)
    finally:
        connection.execute("ROLLBACK")
    if tables and application != APPLICATION_ID:
        raise ValueError(f"{where} is a SQLite file, but not one of fastopt's studies")
    if version > SCHEMA_VERSION:
        raise ValueError(
            f"{where} was written by a newer fastopt (file version {version}, "
            f"this one reads up to {SCHEMA_VERSION})"
        )
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise ValueError(f"{where} is damaged: {verdict}")


def create_tables(connection: sqlite3.Connection) -> None:
    """Make the tables, or those that earlier versions did not make."""
    if not table_names(connection):
        for statement in SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    connection.execute(TRACEBACKS)
    there = {row[1] for row in connection.execute("PRAGMA table_info(trials)")}
    for column, kind in ADDED_LATER.items():
        if column not in there:
            connection.execute(f"ALTER TABLE trials ADD COLUMN {column} {kind}")


def table_names(connection: sqlite3.Connection) -> set[str]:
    """Names of all tables and indices."""
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
