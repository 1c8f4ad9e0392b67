"""New states for parameters, and the lists in which `_core` steps both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt._checkpoint import optional_states, state_names
from fastopt._core import RowList, Rule, TensorList
from fastopt._formats import Storage
from fastopt._groups import ParameterGroups, with_rates
from fastopt._placement import Layout, zeros_in_one_block
from fastopt._rows import count_rows, rates, seeds_of
from fastopt._rowstates import initial_values
from fastopt._trees import flatten

__all__ = ["row_list", "tensor_list"]

Arrays = list[NDArray[Any]]
Remainder = NDArray[Any] | None


def tensor_list(
    rule: Rule,
    storage: Storage,
    parameters: ParameterGroups,
    states: Sequence[Arrays] = (),
    steps: Sequence[int] = (),
    remainders: Sequence[Remainder] = (),
    *,
    read_only: bool = False,
) -> TensorList:
    """The parameters of an optimizer, with new states for those beyond the ones given."""
    groups, owners = parameters.groups, parameters.owners
    params, names = parameters.arrays, parameters.names
    new = slice(len(states), None)
    all_states = [
        *states,
        *zeros_in_one_block(
            _layouts(rule, storage, groups[owner], array, name)
            for array, name, owner in zip(params[new], names[new], owners[new], strict=True)
        ),
    ]
    tensors = TensorList(
        [rule] * len(groups),
        params,
        all_states,
        owners,
        names,
        [optional_states(rule, group) for group in groups],
        read_only=read_only,
        remainders=[*remainders, *map(storage.remainder, params[new], names[new])],
        seed=storage.seed_of_rounding,
    )
    tensors.check(with_rates(groups, 1))
    if rule.initial_value is not None:
        for state, owner in list(zip(all_states, owners, strict=True))[len(steps) :]:
            state[0].fill(groups[owner][rule.initial_value])
    tensors.steps = [*steps, *[0] * (len(params) - len(steps))]
    return tensors


def row_list(
    rule: Rule,
    storage: Storage,
    tree: Any,
    hypers: dict[str, Any],
    states: list[Arrays] | None = None,
    remainders: list[Remainder] | None = None,
    steps: NDArray[np.int64] | None = None,
) -> RowList:
    """The parameters of a population, with new states if there are none."""
    params, names = flatten(tree, "params")
    count = count_rows(params, names)
    is_new = states is None
    if states is None:
        states = zeros_in_one_block(
            _layouts(rule, storage, hypers, array, name, (count,))
            for array, name in zip(params, names, strict=True)
        )
        remainders = list(map(storage.remainder, params, names))
    seeds = seeds_of(storage, count)
    tensors = RowList(
        [rule],
        params,
        states,
        [0] * len(params),
        names,
        [optional_states(rule, hypers)],
        remainders=remainders,
        seed=None if seeds is None else int(seeds[0]),
    )
    tensors.seeds = seeds
    tensors.check({**hypers, "lr": rates(hypers["lr"], np.ones(count, np.int64))})
    if rule.initial_value is not None:
        initial = initial_values(rule.initial_value, hypers, count)
        for state in states if is_new else ():
            state[0][...] = initial.reshape(-1, *[1] * (state[0].ndim - 1))
    if steps is not None:
        tensors.steps = steps
    return tensors


def _layouts(
    rule: Rule,
    storage: Storage,
    group: Mapping[str, Any],
    param: NDArray[Any],
    called: str,
    rows: tuple[int, ...] = (),
) -> list[Layout]:
    """Those of the states of one parameter; last that of the number that the rule carries."""
    dtypes = storage.dtypes(state_names(rule, group), param.dtype, called)
    layouts = [Layout(param.ctypes.data, param.shape, dtype) for dtype in dtypes]
    if rule.carried is not None:
        layouts.append(Layout(param.ctypes.data, rows, np.dtype(np.float64)))
    return layouts
