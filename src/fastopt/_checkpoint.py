"""What an optimizer remembers, as plain data, and how that is taken back.

Functions of the parts of an optimizer: its rule, its groups, and the `TensorList` that holds arrays
and step counts. Everything is verified before the first write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Any

from numpy.typing import NDArray

from fastopt import _checks
from fastopt._blocks import BLOCK8
from fastopt._contents import converted, param_of, require_like, require_params, wide_param, write
from fastopt._core import Rule, TensorList
from fastopt._formats import DEFAULT, KEYWORDS, Storage, emas_of, from_keywords
from fastopt._groups import is_schedule, rate, with_rates
from fastopt._trees import flatten

__all__ = [
    "AVERAGE",
    "OPTIONAL",
    "PARAM",
    "REMAINDER",
    "copied_state",
    "in_order",
    "refuse_population",
    "require_keys",
    "restore",
    "state",
    "state_dict",
    "with_names",
]

Groups = list[dict[str, Any]]

# What a parameter is called in a file, where the states have their own names.
PARAM = "param"
# What a bfloat16 parameter's remainder is called beside its states.
REMAINDER = "remainder"
# What the moving average of a parameter is called there.
AVERAGE = "ema"
# Keys that a state_dict has only where they say something.
OPTIONAL = ("skipped_steps", "storage", "training", "names")


def state(tensors: TensorList) -> list[dict[str, Any]]:
    """For each parameter in order, a dict of its step count and its state arrays themselves, the
    remainder of a bfloat16 parameter and the moving average among them."""
    return [
        {
            "step": step,
            **dict(zip(tensors.state_names(index), arrays, strict=True)),
            **({} if remainder is None else {REMAINDER: remainder}),
            **({} if average is None else {AVERAGE: average}),
        }
        for index, (step, arrays, remainder, average) in enumerate(
            zip(tensors.steps, tensors.states, tensors.remainders, tensors.averages, strict=True)
        )
    ]


def copied_state(tensors: TensorList, params: bool) -> list[dict[str, Any]]:
    """The `state`, copied; with the parameters, if wanted."""
    copied = [
        {name: value if name == "step" else value.copy() for name, value in entry.items()}
        for entry in state(tensors)
    ]
    for entry, param in zip(copied, tensors.params if params else (), strict=params):
        entry[PARAM] = param.copy()
    return copied


def state_dict(
    rule: Rule,
    groups: Groups,
    tensors: TensorList,
    storage: Storage,
    skipped_steps: int,
    params: bool,
) -> dict[str, Any]:
    """Everything, copied: the parameters, too, in the entries if wanted. A schedule is replaced by
    its latest rate. The caller keeps the steps of other threads out.

    Hyper-parameters that could not be loaded are refused, so that no file holds any.
    """
    numbered, start = [], 0
    step = max(1, *tensors.steps)
    for group in with_rates(groups, step):
        count = len(flatten(group["params"], "")[0])
        numbered.append({**group, "params": list(range(start, start + count))})
        start += count
    tensors.check(numbered)
    for index, group in enumerate(numbered):
        _require_initial_value(rule, group, f"param_groups[{index}]")
    entries = copied_state(tensors, params)
    result: dict[str, Any] = {"rule": rule.name, "param_groups": numbered, "state": entries}
    if storage != DEFAULT:
        result["storage"] = storage._asdict()
    if skipped_steps:
        result["skipped_steps"] = skipped_steps
    return result


def with_names(found: dict[str, Any], trees: Iterable[Any], names: Sequence[str]) -> dict[str, Any]:
    """A `state_dict` that says what its arrays are called, where these have keys."""
    has_keys = any(isinstance(tree, dict) for tree in trees)
    return {**found, "names": list(names)} if has_keys else found


def in_order(
    found: Any, params: Sequence[NDArray[Any]] | None, names: Sequence[str]
) -> tuple[Any, Sequence[NDArray[Any]] | None]:
    """A `state_dict` and parameters in the order of the arrays that are called so.

    A dict may have the same keys in another order. Where the names are others, the order counts.
    """
    if not isinstance(found, dict) or "names" not in found:
        return found, params
    theirs: Any = found["names"]
    entries: Any = found.get("state")
    if not isinstance(theirs, list) or not all(isinstance(name, str) for name in theirs):
        raise ValueError(f"state_dict['names'] must be a list of strings, got {theirs!r:.80}")
    places = {name: place for place, name in enumerate(theirs)}
    lists = [entries] if params is None else [entries, params]
    if (
        len(places) != len(theirs)
        or places.keys() != set(names)
        or not all(isinstance(each, list) and len(each) == len(theirs) for each in lists)
    ):
        return found, params
    order = [places[name] for name in names]
    sorted_params = None if params is None else [params[place] for place in order]
    return {**found, "state": [entries[place] for place in order]}, sorted_params


def restore(
    found: Any,
    rule: Rule,
    groups: Groups,
    tensors: TensorList,
    own_storage: Storage,
    notes: Callable[[int, Storage], Iterable[partial[None]]],
    params: Sequence[NDArray[Any]] | None = None,
    convert: bool = False,
) -> None:
    """Write a `state_dict`, and parameters if given, into the parts.

    `notes` has the calls by which the optimizer keeps the count of skipped steps, and the storage
    that is to be: the formats our own, rounding, seed and ema as found.
    """
    refuse_population(found)
    require_keys(found, ("rule", "param_groups", "state"), "state_dict", OPTIONAL)
    if found["rule"] != rule.name:
        raise ValueError(
            f"state_dict is of the rule {found['rule']!r}, this optimizer is {rule.name!r}"
        )
    skipped_steps = found.get("skipped_steps", 0)
    if type(skipped_steps) is not int or skipped_steps < 0:
        raise ValueError(
            f"state_dict['skipped_steps'] must be an integer >= 0, got {skipped_steps!r}"
        )
    storage = _storage_of(found.get("storage", {}), rule)
    own_state = state(tensors)
    for key, length, what in (
        ("param_groups", len(groups), "groups"),
        ("state", len(own_state), "arrays"),
    ):
        if not isinstance(found[key], list) or len(found[key]) != length:
            got = len(found[key]) if isinstance(found[key], list) else type(found[key]).__name__
            raise ValueError(
                f"state_dict[{key!r}] must be a list of {length} dicts, as many as this optimizer "
                f"has {what}, got {got}"
            )
    new_groups = _groups_like(found["param_groups"], rule, groups)
    try:
        emas = emas_of(found["param_groups"], storage.ema, "param_groups")
    except (TypeError, ValueError) as error:
        raise ValueError(f"state_dict does not fit: {error}") from error
    emas = list(map(_ema_to_be, emas, tensors.ema))
    default_ema = _ema_to_be(storage.ema, own_storage.ema)
    for index, (entry, own) in enumerate(zip(found["state"], own_state, strict=True)):
        name = f"state_dict['state'][{index}]"
        for key, keyword in _KEYWORD_OF.items():
            _require_kept(key, keyword, entry, own, name, convert)
        wanted = [key for key in own if key not in _KEYWORD_OF]
        require_keys(entry, wanted, name, _KEYWORD_OF)
        for key, value in own.items():
            if key != "step" and key in entry:
                shape = _shape_of(rule, key, value, tensors.params[index])
                require_like(entry[key], value, f"{key} of {name}", convert, shape)
    require_params(params, tensors.params, convert)
    _require_writeable(own_state)
    with tensors:
        # A conversion may still fail, and so comes before the first write.
        contents = [
            content
            for index, (entry, own) in enumerate(zip(found["state"], own_state, strict=True))
            for content in _to_write(
                rule,
                entry,
                own,
                tensors.params[index],
                tensors.remainders[index],
                None if params is None else params[index],
            )
        ]
        before = tensors.steps, tensors.seed
        try:
            tensors.seed = storage.seed_of_rounding
            tensors.check([{**group, "lr": rate(group["lr"], 1)} for group in new_groups])
            tensors.steps = steps = [entry["step"] for entry in found["state"]]
        except (TypeError, ValueError) as error:
            raise ValueError(f"state_dict does not fit: {error}") from error
        finally:
            tensors.steps, tensors.seed = before
        for group, new, ema in zip(groups, new_groups, emas, strict=True):
            if "ema" in group or "ema" in new:
                new["ema"] = ema
        to_be = own_storage._replace(rounding=storage.rounding, seed=storage.seed, ema=default_ema)
        write(
            [array for array, _ in contents],
            [content for _, content in contents],
            [
                partial(setattr, tensors, "steps", steps),
                partial(setattr, tensors, "seed", storage.seed_of_rounding),
                *map(partial, repeat(dict.update), groups, new_groups),
                partial(setattr, tensors, "ema", emas),
                *notes(skipped_steps, to_be),
            ],
        )


def _ema_to_be(found: float | None, own: float | None) -> float | None:
    """As found, but averages are neither begun nor ended."""
    return own if found is None or own is None else found


def _shape_of(rule: Rule, name: str, own: NDArray[Any], param: NDArray[Any]) -> tuple[int, ...]:
    """That of an array that has the numbers of a state: of the parameter, or of its rows."""
    per_row = own.dtype != BLOCK8 and own.ndim == 1 and own.shape == param.shape[:1]
    return own.shape if per_row or name == rule.carried else param.shape


def _to_write(
    rule: Rule,
    entry: Mapping[str, Any],
    own: Mapping[str, Any],
    param: NDArray[Any],
    remainder: NDArray[Any] | None,
    content: NDArray[Any] | None,
) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Arrays of one parameter, each with what is to be written into it: of an entry of a
    `state_dict`, and the parameter itself if there is a content for it."""
    found: list[tuple[Any, Any]] = [
        (
            value,
            converted(
                value, entry[name], _shape_of(rule, name, value, param), name in rule.squares
            ),
        )
        for name, value in own.items()
        if name not in ("step", REMAINDER, AVERAGE)
    ]
    new, new_remainder = param_of(param, remainder, content, entry.get(REMAINDER))
    found += [(param, new), (remainder, new_remainder)]
    if AVERAGE in own:
        average = entry[AVERAGE] if AVERAGE in entry else wide_param(new, new_remainder)
        found.append((own[AVERAGE], converted(own[AVERAGE], average)))
    return [(array, content) for array, content in found if content is not array]


# What is kept beside the states, and the keyword for it.
_KEYWORD_OF = {REMAINDER: "master_weights=True", AVERAGE: "ema="}


def _storage_of(found: Any, rule: Rule) -> Storage:
    if not isinstance(found, dict) or not found.keys() <= KEYWORDS.keys():
        raise ValueError(f"state_dict['storage'] must be a dict of {list(KEYWORDS)}, got {found!r}")
    try:
        return from_keywords(rule, found)
    except TypeError as error:
        raise ValueError(f"state_dict does not fit: {error}") from error


def _require_kept(
    key: str, keyword: str, entry: Any, own: Mapping[str, Any], name: str, convert: bool
) -> None:
    """That both have what the keyword of the class has an optimizer keep, or neither."""
    if convert or not isinstance(entry, dict) or (key in entry) == (key in own):
        return
    has, lacks = f"has {key} ({keyword})", "has none"
    first, second = (has, lacks) if key in entry else (f"has no {key}", "has one")
    raise ValueError(f"{name} {first}, this optimizer {second}; convert=True takes what there is")


def _require_writeable(own_state: Sequence[dict[str, Any]]) -> None:
    """States that were loaded into read-only memory cannot be restored."""
    for index, own in enumerate(own_state):
        for name, array in own.items():
            if name != "step" and not array.flags.writeable:
                raise ValueError(
                    f"{name} of state[{index}] must be writeable, got a read-only array"
                )


def _groups_like(found: list[Any], rule: Rule, groups: Groups) -> Groups:
    """The groups that are to be: hyper-parameters as found, parameters and schedules our own."""
    result, start = [], 0
    for index, (group, own) in enumerate(zip(found, groups, strict=True)):
        name = f"state_dict['param_groups'][{index}]"
        require_keys(group, ("params", *rule.class_hypers), name, anything_else=True)
        count = len(flatten(own["params"], "")[0])
        wanted = list(range(start, start + count))
        start += count
        if group["params"] != wanted:
            raise ValueError(
                f"{name} has the parameters {group['params']}, this optimizer {wanted}"
            )
        try:
            _require_initial_value(rule, group, name)
        except TypeError as error:
            raise ValueError(f"state_dict does not fit: {error}") from error
        lr = own["lr"] if is_schedule(own["lr"]) else group["lr"]
        result.append({**group, "params": own["params"], "lr": lr})
    return result


def _require_initial_value(rule: Rule, group: Mapping[str, Any], name: str) -> None:
    """What a step does not read: the value that the first state starts with."""
    if rule.initial_value is not None:
        if rule.initial_value not in group:
            raise ValueError(f"{name} must have {rule.initial_value!r}")
        _checks.number(rule.initial_value, group[rule.initial_value], least=0)


def refuse_population(found: Any) -> None:
    if isinstance(found, dict) and "rows" in found:
        raise ValueError(
            "the state does not fit: it is of a population; a fastopt.Population of as many rows "
            "loads it"
        )


def require_keys(
    found: Any,
    wanted: Iterable[str],
    name: str,
    optional: Iterable[str] = (),
    anything_else: bool = False,
) -> None:
    wanted = list(wanted)
    if isinstance(found, dict):
        missing = [key for key in wanted if key not in found]
        surplus = set(found) - {*wanted, *optional}
        if not missing and (anything_else or not surplus):
            return
    what = sorted(map(str, found)) if isinstance(found, dict) else type(found).__name__
    raise ValueError(f"{name} must be a dict with the keys {wanted}, got {what}")
