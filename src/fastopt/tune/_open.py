"""Open a study's file without the program that made it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from fastopt import _checks
from fastopt.tune.ledger.database import Database
from fastopt.tune.ledger.ledger import Ledger
from fastopt.tune.ledger.restore import has_objects, unpack_space
from fastopt.tune.ledger.sqlite import Storage
from fastopt.tune.strategies.by_name import Unknown, restore_strategy
from fastopt.tune.study import Study

__all__ = ["open", "studies"]


def studies(path: str | os.PathLike[str]) -> list[str]:
    """The names of the studies in a file, in the order in which they were made.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, of a newer version, or not one of studies.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastopt import tune
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "study.db")
    ...     tune.Study({"x": tune.Int(1, 3)}, storage=path, name="first").close()
    ...     tune.studies(path)
    ['first']
    """
    storage = Storage(Database(path, access="read"), "")
    try:
        return storage.names()
    finally:
        storage.close()


def open(
    path: str | os.PathLike[str],
    name: str | None = None,
    writable: bool = False,
    *,
    callbacks: Iterable[Any] = (),
    lock_timeout: float = 60.0,
) -> Study:
    """Open a study that is in a file, without knowing its space.

    The space, the strategy, the directions and the seed are made from the file. It may be opened
    while another process runs the study.

    Parameters
    ----------
    path : str or path
    name : str, optional
        Needed if the file holds several studies.
    writable : bool, default False
        By default nothing in the file is changed: what would change it is a PermissionError.
    callbacks : iterable
    lock_timeout : float, default 60.0
        As for :class:`Study`.

    Returns
    -------
    Study

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        For a file without studies, with several if ``name`` is not given, without one of that name,
        damaged, or written by a version that did not store the space: opened once by
        :class:`Study` with its space, it has it.

    Notes
    -----
    Choices that JSON cannot hold (functions, classes) come back as objects that show their text.
    A study with such, or with a ``constraint`` or a strategy that is not fastopt's, can be looked
    at and revised, but not asked for trials.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastopt import tune
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "study.db")
    ...     with tune.Study({"x": tune.Int(1, 3)}, strategy="grid", storage=path) as study:
    ...         study.run(lambda params: params["x"] ** 2)
    ...     with tune.open(path) as study:
    ...         study.best_params, study.space.parameters
    ({'x': 1}, {'x': Int(1, 3)})
    """
    writable = _checks.flag("writable", writable)
    if name is None:
        names = studies(path)
        if len(names) != 1:
            there = ", ".join(map(repr, names)) or "none"
            raise ValueError(f"{os.fspath(path)}: name must be given, as the file holds {there}")
        (name,) = names
    storage = Storage(Database(path, access="read"), name)
    try:
        description = storage.find_study()
    finally:
        storage.close()
    if "restore" not in description:
        raise ValueError(
            f"{os.fspath(path)}, study {name!r}, was written by an earlier fastopt, which did not "
            "store all of the space; open it once by tune.Study(space, …, storage=), and it has it"
        )
    restore = description["restore"]
    direction = description["direction"]
    directions: Any = [direction] if isinstance(direction, str) else direction
    strategy = restore_strategy(description["strategy"])
    if restore["constraint"]:
        strategy = Unknown(description["strategy"], "the study has a constraint of its program's")
    elif has_objects(restore["space"]):
        strategy = Unknown(description["strategy"], "the file holds only the text of some choices")
    ledger = Ledger(
        unpack_space(restore["space"]),
        strategy=strategy,
        directions=directions,
        seed=description["seed"],
        storage=path,
        name=name,
        constraint=None,
        lock_timeout=lock_timeout,
        access="write" if writable else "read",
    )
    return Study._over(ledger, callbacks)
