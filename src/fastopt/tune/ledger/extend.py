"""Resume a study with a wider space: ``resume="extend"``."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from fastopt.tune.ledger.encoding import differences, params_from_json, params_to_json
from fastopt.tune.ledger.sqlite import Storage
from fastopt.tune.space import Space

__all__ = ["extend"]


def extend(storage: Storage, space: Space, there: Mapping[str, Any], here: dict[str, Any]) -> None:
    """Make the stored study one over ``space``, in one transaction.

    Parameters
    ----------
    storage : Storage
    space : Space
        The new one.
    there, here : dict
        The descriptions of the stored study and of the new one.

    Raises
    ------
    ValueError
        If ``space`` does not hold every point of the old one; nothing has changed.
    """
    problems = differences({**there, "space": {}}, {**here, "space": {}})
    problems += _not_wider(there["space"], here["space"], space)
    if problems:
        raise ValueError(
            f"{storage.path}, study {storage.name!r}, cannot be extended so:\n  "
            + "\n  ".join(problems)
        )

    def complete(text: str) -> str:
        return params_to_json(space, space.complete(params_from_json(space, text)))

    def write(connection: sqlite3.Connection) -> None:
        storage.rewrite_params(connection, complete)
        storage.describe(connection, here)

    storage.transact(write, durable=True)


def _not_wider(old: Mapping[str, Any], new: Mapping[str, Any], space: Space) -> list[str]:
    """One line for each parameter in which the new space does not hold the old one."""
    problems = [f"space, {name!r}: is missing here" for name in old if name not in new]
    for name, record in new.items():
        if name not in old:
            if space.parameters[name].initial is None:
                problems.append(f"space, {name!r}: is new and needs initial= for the old trials")
        elif reason := _narrower(old[name], record, space.parameters[name]):
            problems.append(f"space, {name!r}: {reason}")
    return problems


def _narrower(old: Mapping[str, Any], new: Mapping[str, Any], parameter: Any) -> str | None:
    changeable = {"choices", "low", "high", "initial"}
    for key in {**old, **new}:
        same = old.get(key) == new.get(key) or (key == "when" and _allowed(old) == _allowed(new))
        if key not in changeable and not same:
            return f"{key} is {old.get(key)!r} there, {new.get(key)!r} here"
    if "choices" in old:
        n = len(old["choices"])
        if new["choices"][:n] != old["choices"]:
            return f"the choices must begin with those there, {old['choices']!r}"
        return None
    if old["low"] is None:  # a distribution
        return None
    try:
        parameter.check(old["low"])
        # Of a grid the last point, which may lie below the bound.
        if old["high"] > new["high"]:
            parameter.check(old["high"])
    except (TypeError, ValueError) as error:
        return f"must hold what it held there: {error}"
    return None


def _allowed(record: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What the conditions of a parameter allow: a value alone is a list of one."""
    return {
        parent: sorted(values if isinstance(values, list) else [values], key=repr)
        for parent, values in record.get("when", {}).items()
    }
