"""What a population remembers, as plain data, and how that is taken back.

The counterpart of `_checkpoint`. Everything is verified before the first write.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt import _checkpoint, _checks
from fastopt._checkpoint import require_keys
from fastopt._contents import require_like, require_params, write
from fastopt._core import RowList, Rule
from fastopt._formats import KEYWORDS, Storage
from fastopt._groups import is_schedule
from fastopt._rows import has_schedule, of_rows, owned, rates, seeds_of, storage_of

__all__ = [
    "OPTIONAL",
    "copy_rows",
    "initial_values",
    "refuse_one_model",
    "restore",
    "state_dict",
    "written_arrays",
]

Hypers = dict[str, Any]
Steps = NDArray[np.int64]

_KEYS = ("rule", "rows", "hypers", "state", "storage", "skipped_steps")
# Only where it is False, and where the arrays have keys
OPTIONAL = ("training", "names")


def initial_values(name: str, hypers: Hypers, count: int) -> NDArray[np.float64]:
    """The values that the first state starts with: one for all rows, or one for each."""
    given = hypers[name]
    values = [_checks.number(name, value, least=0) for value in np.atleast_1d(given).tolist()]
    if np.ndim(given) > 1 or (np.ndim(given) and len(values) != count):
        raise ValueError(
            f"{name} must have one number, or {count}, one for each row, got shape "
            f"{np.shape(given)}"
        )
    return np.array(values)


def written_arrays(tensors: RowList) -> list[NDArray[Any]]:
    """All that a step writes: parameters, states, remainders, averages."""
    states = [state for states in tensors.states for state in states]
    more = [*tensors.remainders, *tensors.averages]
    return [*tensors.params, *states, *(array for array in more if array is not None)]


def copy_rows(tensors: RowList, source: NDArray[np.intp], target: NDArray[np.intp]) -> None:
    """Write rows over others in all arrays and step counts."""
    with tensors:
        arrays = written_arrays(tensors)
        if not all(array.flags.writeable for array in arrays):
            raise ValueError("params must be writeable, got a read-only array")
        copied = [array[source] for array in arrays]
        steps = tensors.steps
        steps[:, target] = steps[:, source]
        write(arrays, copied, [partial(setattr, tensors, "steps", steps)], target)


def state_dict(
    rule: Rule,
    hypers: Hypers,
    tensors: RowList,
    storage: Storage,
    skipped_steps: Steps,
    params: bool,
) -> dict[str, Any]:
    """Everything, copied: the parameters, too, in the entries if wanted. A schedule is replaced by
    its latest rates. The caller keeps the steps of other threads out.

    Hyper-parameters that could not be loaded are refused, so that no file holds any.
    """
    for name in rule.class_hypers:
        if name not in hypers:
            raise ValueError(f"hypers must have {name!r}")
    lr = rates(hypers["lr"], np.maximum(tensors.last_steps, 1))
    hypers = {**hypers, "lr": lr}
    tensors.check(hypers)
    if rule.initial_value is not None:
        initial_values(rule.initial_value, hypers, tensors.rows)
    return {
        "rule": rule.name,
        "rows": tensors.rows,
        "hypers": {name: owned(value) for name, value in hypers.items()},
        "state": _checkpoint.copied_state(tensors, params),
        "storage": {**storage._asdict(), "seed": copy.copy(storage.seed)},
        "skipped_steps": skipped_steps.copy(),
    }


def restore(
    found: Any,
    rule: Rule,
    hypers: Hypers,
    tensors: RowList,
    notes: Callable[[Hypers, Storage, Steps], Iterable[partial[None]]],
    params: Sequence[NDArray[Any]] | None = None,
) -> None:
    """Write a `state_dict`, and parameters if given, into the arrays.

    `notes` has the calls by which the population keeps the hyper-parameters, storage and counts of
    skipped steps that are to be.
    """
    refuse_one_model(found)
    require_keys(found, _KEYS, "state_dict", OPTIONAL)
    if found["rule"] != rule.name:
        raise ValueError(
            f"state_dict is of the rule {found['rule']!r}, this population is {rule.name!r}"
        )
    if found["rows"] != tensors.rows:
        raise ValueError(
            f"state_dict is of {found['rows']} rows, this population has {tensors.rows}; make one "
            "of arrays with as many rows"
        )
    require_keys(found["hypers"], rule.class_hypers, "state_dict['hypers']", anything_else=True)
    own = _checkpoint.state(tensors)
    if not isinstance(found["state"], list) or len(found["state"]) != len(own):
        raise ValueError(f"state_dict['state'] must be a list of {len(own)} dicts")
    for index, (entry, mine) in enumerate(zip(found["state"], own, strict=True)):
        require_keys(entry, mine, f"state_dict['state'][{index}]")
        for name, value in mine.items():
            require_like(entry[name], value, f"{name} of state_dict['state'][{index}]")
    skipped_steps = found["skipped_steps"]
    require_like(skipped_steps, np.zeros(tensors.rows, np.int64), "state_dict['skipped_steps']")
    if (skipped_steps < 0).any():
        raise ValueError("state_dict['skipped_steps'] must be >= 0")
    require_params(params, tensors.params)
    # Those of earlier versions have no ema.
    wanted = [name for name in KEYWORDS if name != "ema"]
    require_keys(found["storage"], wanted, "state_dict['storage']", ("ema",))
    with tensors:
        before = tensors.steps, tensors.seeds
        try:
            storage = storage_of(rule, found["storage"], tensors.rows)
            tensors.seeds = seeds_of(storage, tensors.rows)
            new = {name: owned(value) for name, value in found["hypers"].items()}
            tensors.check(new)
            if rule.initial_value is not None:
                initial_values(rule.initial_value, new, tensors.rows)
            tensors.steps = steps = np.array([entry["step"] for entry in found["state"]])
        except (TypeError, ValueError) as error:
            raise ValueError(f"state_dict does not fit: {error}") from error
        finally:
            tensors.steps, tensors.seeds = before
        new["lr"] = _with_schedules(hypers["lr"], new["lr"], tensors.rows)
        if storage.ema is None or tensors.ema == [None]:
            storage = storage._replace(ema=tensors.ema[0])
        names = [(index, name) for index, mine in enumerate(own) for name in mine if name != "step"]
        write(
            [*(own[index][name] for index, name in names), *(tensors.params if params else ())],
            [*(found["state"][index][name] for index, name in names), *(params or ())],
            [
                # First, since NumPy checks them in Python
                partial(setattr, tensors, "steps", steps),
                partial(setattr, tensors, "seeds", seeds_of(storage, tensors.rows)),
                partial(setattr, tensors, "ema", [storage.ema]),
                *notes(new, storage, skipped_steps.copy()),
            ],
        )


def refuse_one_model(found: Any) -> None:
    if isinstance(found, dict) and "param_groups" in found:
        raise ValueError(
            "the state does not fit: it is of an optimizer of one model; one of the same class "
            "loads it"
        )


def _with_schedules(own: Any, found: Any, count: int) -> Any:
    """The learning rates found, but for rows that have a schedule of their own."""
    if not has_schedule(own):
        return found
    if is_schedule(own):
        return own
    rows = [of_rows(found, np.array([row])) for row in range(count)]
    numbers = [value.item() if isinstance(value, np.ndarray) else value for value in rows]
    return [
        mine if is_schedule(mine) else number for mine, number in zip(own, numbers, strict=True)
    ]
