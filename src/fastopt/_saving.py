"""A `state_dict`, of an optimizer or of a population, as a state file, and back.

An array is called by the index of its parameter and its own name, such as ``"0/exp_avg"``. All else
is in the header.
"""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt import _checkpoint, _checks, _rowstates, _statefile
from fastopt._checkpoint import PARAM, require_keys
from fastopt._rows import plain
from fastopt._statefile import File

__all__ = ["load_optimizer", "load_population", "save_optimizer", "save_population"]


def save_optimizer(file: File, content: Mapping[str, Any]) -> None:
    """Write the `state_dict` of an optimizer, and the parameters if its entries have them."""
    arrays = [
        {name: value for name, value in entry.items() if name != "step"}
        for entry in content["state"]
    ]
    groups = [
        {name: _as_json(value, f"param_groups[{i}][{name!r}]") for name, value in group.items()}
        for i, group in enumerate(content["param_groups"])
    ]
    steps = [entry["step"] for entry in content["state"]]
    header = {"rule": content["rule"], "param_groups": groups, "steps": steps}
    header.update((key, content[key]) for key in _checkpoint.OPTIONAL if key in content)
    _statefile.write(file, header, _named(arrays))


def load_optimizer(file: File) -> tuple[dict[str, Any], list[NDArray[Any]] | None]:
    """The `state_dict` in a file, and the parameters, if it has them."""
    header, arrays = _statefile.read(file)
    with _statefile.blaming(file):
        _checkpoint.refuse_population(header)
        wanted = ("rule", "param_groups", "steps")
        require_keys(header, wanted, "the header", _checkpoint.OPTIONAL)
        steps = header.pop("steps")
        if not isinstance(steps, list):
            raise ValueError(f"steps must be a list, got {steps!r:.80}")
        entries: list[dict[str, Any]] = [{"step": step} for step in steps]
        params: dict[int, NDArray[Any]] = {}
        for key, array in arrays.items():
            number, _, name = key.partition("/")
            if name == PARAM:
                params[int(number)] = array
            else:
                entries[int(number)][name] = array
        if params and sorted(params) != list(range(len(steps))):
            raise ValueError(f"it has {len(params)} of {len(steps)} parameters")
    ordered = [params[index] for index in range(len(steps))] if params else None
    return {**header, "state": entries}, ordered


def save_population(file: File, content: Mapping[str, Any]) -> None:
    """Write the `state_dict` of a population, and the parameters if its entries have them."""
    header = {
        "rule": content["rule"],
        "rows": content["rows"],
        "hypers": {
            name: _as_json(plain(value), f"hypers[{name!r}]")
            for name, value in content["hypers"].items()
        },
        "storage": {name: plain(value) for name, value in content["storage"].items()},
        "arrays": len(content["state"]),
        "skipped_steps": content["skipped_steps"].tolist(),
    }
    header.update((key, content[key]) for key in _rowstates.OPTIONAL if key in content)
    _statefile.write(file, header, _named(content["state"]))


def load_population(file: File) -> tuple[dict[str, Any], list[NDArray[Any]] | None]:
    """The `state_dict` in a file, and the parameters, if it has them."""
    header, arrays = _statefile.read(file)
    with _statefile.blaming(file):
        _rowstates.refuse_one_model(header)
        wanted = ("rule", "rows", "hypers", "storage", "arrays", "skipped_steps")
        require_keys(header, wanted, "the header of a population", _rowstates.OPTIONAL)
        count = _checks.integer("arrays", header.pop("arrays"), least=1, most=len(arrays))
        entries: list[dict[str, Any]] = [{} for _ in range(count)]
        for key, array in arrays.items():
            number, _, name = key.partition("/")
            entries[int(number)][name] = array
        params = [entry.pop(PARAM) for entry in entries if PARAM in entry]
        if params and len(params) != count:
            raise ValueError(f"it has {len(params)} of {count} parameters")
        skipped_steps = np.array(header["skipped_steps"])
    return {**header, "state": entries, "skipped_steps": skipped_steps}, params or None


def _named(entries: Iterable[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """The arrays by what they are called in the file."""
    return {
        f"{index}/{name}": value
        for index, entry in enumerate(entries)
        for name, value in entry.items()
    }


def _as_json(value: Any, name: str) -> Any:
    """Any real number as the one that a step takes it for; all else must be what JSON knows."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real) and math.isfinite(value):
        return float(value)
    try:
        if json.loads(json.dumps(value, allow_nan=False)) == value:
            return value
    except (TypeError, ValueError, RecursionError):
        pass
    raise TypeError(
        f"{name} cannot be kept in a file, got {value!r}; numbers, strings, None, and lists and "
        "dicts of these can"
    )
