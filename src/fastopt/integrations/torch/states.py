"""The states of torch's parameters: those that a step can use as they are, copies, and new ones."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

import torch

from fastopt._blocks import fill
from fastopt.integrations.torch import blocks
from fastopt.integrations.torch.sharded import whole_of
from fastopt.integrations.torch.storage import FORMATS, NUMBERS, REMAINDER, Group, Storage, zeros

Entry: TypeAlias = dict[str, Any]


def fits(param: torch.Tensor, entry: Entry, storage: Storage, names: list[str]) -> bool:
    """Whether a parameter has all states, and they can be stepped as they are."""
    return param.dtype in FORMATS and all(
        isinstance(entry.get(state), torch.Tensor) and is_alike(entry[state], param, dtype)
        for state, dtype in storage.dtypes(param, "params", names).items()
    )


def is_alike(state: torch.Tensor, param: torch.Tensor, dtype: torch.dtype) -> bool:
    if dtype == blocks.DTYPE:
        return blocks.is_of_blocks(state, param)
    return (
        state.shape == param.shape
        and state.dtype == dtype
        and state.layout is param.layout is torch.strided
        and _strides(state) == _strides(param)
        and not state.is_neg()
    )


def _strides(tensor: torch.Tensor) -> list[int]:
    """The strides of dimensions with more or less than one element; others have no meaning."""
    return [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size != 1]


def usable_copies(
    param: torch.Tensor,
    name: str,
    entry: Entry,
    dtypes: Mapping[str, torch.dtype],
    squares: Collection[str],
) -> Entry:
    """Copies of the states that are not in the parameter's layout or in the wanted dtypes.

    States have another dtype after ``module.double()``, for example.
    """
    copies = {}
    for state, dtype in dtypes.items():
        value = entry.get(state)
        if state == REMAINDER and getattr(value, "dtype", None) != torch.int16:
            # There is none, or torch has cast it: the value is that of the parameter alone.
            copies[state] = torch.zeros_like(param, dtype=torch.int16, requires_grad=False)
            continue
        if value is None:
            raise ValueError(f"the state of {name} must have {[*dtypes]}, got {list(entry)}")
        in_blocks = isinstance(value, torch.Tensor) and blocks.is_of_blocks(value, param)
        check_tensor(value, f"{state} of {name}", any_dtype=in_blocks or state == REMAINDER)
        if value.shape != param.shape and not in_blocks:
            raise ValueError(
                f"{state} of {name} must be of shape {tuple(param.shape)}, got {tuple(value.shape)}"
            )
        if is_alike(value, param, dtype):
            continue
        if in_blocks or dtype == blocks.DTYPE:
            copies[state] = blocks.cast(value, param, dtype, state in squares)
        else:
            copies[state] = torch.empty_like(param, dtype=dtype, requires_grad=False).copy_(value)
    return copies


def new_counter(name: str, entry: Entry, is_new: bool) -> Entry:
    """The tensor that counts a parameter's steps, if there is none."""
    step = entry.get("step")
    if isinstance(step, torch.Tensor):
        if step.is_neg():
            raise TypeError(f"step of {name} must hold its value, got a negated view")
        count = step.item() if step.numel() == 1 and step.device.type == "cpu" else 0
    elif step is None or isinstance(step, (int, float)):
        count = step or 0
    else:
        raise TypeError(f"step of {name} must be a tensor of one element, got {step!r}")
    if is_new and count:
        raise ValueError(f"the state of {name} must have averages after {count} steps, got none")
    if isinstance(step, torch.Tensor):
        return {}
    return {"step": a_number(count)}


def new_carried(number: str, name: str, entry: Entry, is_new: bool) -> Entry:
    """The tensor of a number that is carried from step to step, where there is none to be used."""
    value = entry.get(number)
    if isinstance(value, torch.Tensor) and value.is_neg():
        raise TypeError(f"{number} of {name} must hold its value, got a negated view")
    if value is None:
        if not is_new:
            raise ValueError(f"the state of {name} must have {number!r}, got {list(entry)}")
        return {number: a_number(1.0)}
    if isinstance(value, (int, float)):
        return {number: a_number(value)}
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{number} of {name} must be a tensor of one element, got {value!r}")
    # torch casts it to the dtype of the parameter when it loads a state dictionary.
    if value.numel() == 1 and value.dtype in (torch.bfloat16, torch.float16):
        return {number: a_number(value.item())}
    return {}


def a_number(value: float) -> torch.Tensor:
    """A tensor without dimensions, in the dtype that torch takes for such numbers."""
    dtype = torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32
    return torch.tensor(value, dtype=dtype, device="cpu")


def make_states(
    fresh: Sequence[tuple[torch.Tensor, Entry, Mapping[str, torch.dtype], Group]],
) -> None:
    """The states of new parameters.

    fresh : for each parameter, itself, where its states are to be, their dtypes, its group.
    """
    made = zeros([param for param, *_ in fresh], [dtypes for _, _, dtypes, _ in fresh])
    for (param, entry, dtypes, group), states in zip(fresh, made, strict=True):
        entry.update(states)
        start = group.get("initial_accumulator_value", 0.0)
        if start:
            first = entry[next(iter(dtypes))]
            if first.dtype == blocks.DTYPE:
                fill(blocks.as_blocks(first), start, True, param.numel())  # a sum of squares
            else:
                first.fill_(start)


def keep(entry: Entry, update: Entry, param: torch.Tensor) -> None:
    """Put states that were made for the stepped part of a parameter into the parameter's state.

    None takes a state away.
    """
    for name, value in update.items():
        if value is None:
            entry.pop(name, None)
        else:
            entry[name] = value if name in NUMBERS else whole_of(value, param)


def check_tensor(tensor: Any, name: str, *, any_dtype: bool = False) -> None:
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(tensor).__name__}")
    if tensor.layout is not torch.strided or tensor.device.type != "cpu":
        got = f"a tensor of layout {tensor.layout} on {tensor.device}"
        raise TypeError(f"{name} must be a strided tensor on the CPU, got {got}")
    if tensor.dtype not in FORMATS and not any_dtype:
        raise TypeError(f"{name} must be {', '.join(FORMATS.values())}, got {tensor.dtype}")
