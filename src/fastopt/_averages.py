"""The two points of the schedule-free rules: where gradients are taken, and the average.

The state z_offset leads from the parameter, where gradients are taken, to the point z that plain
steps have reached. The average lies on the other side of the parameter, at a distance of
``1/share - 1`` times that of z; the share is the rule's momentum or beta1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt._blocks import BLOCK8, unpack
from fastopt._contents import param_of, wide_param, write
from fastopt._core import Rule, TensorList

__all__ = ["has_average", "move", "moved_by", "not_training", "training_of"]


def has_average(rule: Rule) -> bool:
    return "z_offset" in rule.states


def not_training() -> RuntimeError:
    return RuntimeError(
        "the parameters are the average since eval(), and no gradients are taken there; call "
        "train() before step()"
    )


def training_of(found: Any, rule: Rule) -> bool:
    """Whether a state_dict is of parameters that were being trained."""
    training = found.get("training", True) if isinstance(found, dict) else True
    if not isinstance(training, bool) or not (training or has_average(rule)):
        raise ValueError(
            f"state_dict['training'] must be a bool, and True for rules without an average, got "
            f"{training!r}"
        )
    return training


def moved_by(rule: Rule, hypers: Mapping[str, Any], training: bool) -> Any:
    """The factor of z_offset that leads to the other point, from the average or to it."""
    name = "momentum" if "momentum" in rule.hypers else "beta1"
    share = hypers[name]
    if not np.all(np.asarray(share) > 0):
        raise ValueError(f"{name} must be above 0 for eval(), got {share!r}: there is no average")
    back = 1 / np.asarray(share, np.float64) - 1
    return back if training else -back


def move(rule: Rule, tensors: TensorList, factors: Sequence[Any], note: partial[None]) -> None:
    """Move each parameter by a factor of its z_offset: a number, or one for each row.

    `note` is called together with the writes, when nothing can fail any more.
    """
    place = rule.states.index("z_offset")
    if not all(param.flags.writeable for param in tensors.params):
        raise ValueError("params must be writeable, got a read-only array")
    # As in a step, a number that is not finite is no error. Others come before the first write.
    with tensors, np.errstate(all="ignore"):
        arrays, contents = [], []
        for param, states, remainder, factor in zip(
            tensors.params, tensors.states, tensors.remainders, factors, strict=True
        ):
            wide = wide_param(param, remainder)
            weight = np.asarray(factor, wide.dtype)
            weight = weight.reshape(weight.shape + (1,) * (wide.ndim - weight.ndim))
            moved = wide + weight * _wide_state(states[place], param)
            # Without a step yet, not even the sign of a zero changes.
            point, rest = param_of(param, remainder, np.where(weight == 0, wide, moved), None)
            arrays += [param] if remainder is None else [param, remainder]
            contents += [point] if rest is None else [point, rest]
        write(arrays, contents, [note])


def _wide_state(state: NDArray[Any], param: NDArray[Any]) -> NDArray[Any]:
    if state.dtype != BLOCK8:
        return state if state.dtype == np.float64 else state.astype(np.float32)
    if state.ndim == 1:
        return unpack(state, False, param.shape)
    rows = zip(state, param, strict=True)
    return np.stack([unpack(blocks, False, row.shape) for blocks, row in rows])
