"""How the optimizers for torch store parameters and states, by the keywords that torch lacks."""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from fastopt import _formats
from fastopt._core import BLOCK8, RULES, Rule
from fastopt._placement import Layout, zeros_in_one_block
from fastopt.integrations.torch import blocks

Group: TypeAlias = dict[str, Any]

# torch's names of states, where they differ from the rules'
TORCH_STATES = {"state_sum": "sum", "param_avg": "ax"}
# The rules' names of states, where others are given them here; velocity is that of LARS
_OWN_STATES = {theirs: own for own, theirs in TORCH_STATES.items()} | {
    "velocity": "momentum_buffer"
}
# What stands beside the states as a tensor of one number; mu is ASGD's, and follows from the step
NUMBERS = {"step", "mu", *(rule.carried for rule in RULES.values() if rule.carried)}
# What a bfloat16 parameter's remainder is called beside its states
REMAINDER = "remainder"

# torch has averages of parameters of its own: torch.optim.swa_utils.AveragedModel
KEYWORDS: dict[str, Any] = {
    **{name: default for name, default in _formats.KEYWORDS.items() if name != "ema"},
    "rounding": None,
}
PARAMETERS = [
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
    for (name, default), annotation in zip(
        KEYWORDS.items(), ("str | dict[str, str] | None", "bool", "str | None", "int"), strict=True
    )
]
CAUTIOUS = inspect.Parameter(
    "cautious", inspect.Parameter.KEYWORD_ONLY, default=False, annotation="bool"
)

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
FORMATS = {dtype: name for name, dtype in DTYPES.items()}
STATE_DTYPES = {**DTYPES, "block8": blocks.DTYPE}


class Storage:
    """How the parameters of a group and their states are stored.

    Parameters
    ----------
    rule, group
    default : str, optional
        The format of the states of narrow parameters where the group names none. Without it they
        have the parameter's.

    Attributes
    ----------
    is_torch_s : bool
        Whether all is as in torch: states have the parameter's dtype, and each result is rounded to
        nearest, averages of squares too.
    """

    def __init__(self, rule: Rule, group: Mapping[str, Any], default: str | None = None):
        self._default = default
        given = {name: group.get(name, default) for name, default in KEYWORDS.items()}
        changed = [name for name, default in KEYWORDS.items() if given[name] != default]
        if given["rounding"] is None:
            given["rounding"] = "stochastic" if changed else "nearest"
        if isinstance(given["state_format"], Mapping):
            given["state_format"] = {
                _OWN_STATES.get(name, name): format
                for name, format in given["state_format"].items()
            }
        self._stored = _formats.from_keywords(rule, given)
        chosen = self._stored.state_format
        if isinstance(chosen, dict) and _formats.PER_ROW in chosen.values():
            raise ValueError(
                "state_format must not be 'row' for tensors: their states have torch's shapes"
            )
        self.is_torch_s = (
            self._stored.rounding == "nearest"
            and self._stored.state_format is None
            and not self._stored.master_weights
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Storage) and self._stored == other._stored

    __hash__ = None  # type: ignore[assignment]

    @property
    def seed(self) -> int | None:
        """The seed of stochastic rounding; None if rounding is to nearest."""
        return self._stored.seed_of_rounding

    def dtypes(
        self, param: torch.Tensor, name: str, states: Sequence[str]
    ) -> dict[str, torch.dtype]:
        """The dtype of each state of a parameter, of its remainder too if it has one."""
        format = FORMATS[param.dtype]
        wanted = [_OWN_STATES.get(state, state) for state in states]
        chosen = self._stored.formats(wanted, format, name, default=self._default or format)
        dtypes = {state: STATE_DTYPES[chosen] for state, chosen in zip(states, chosen, strict=True)}
        if self._stored.has_remainder(format, name):
            dtypes[REMAINDER] = torch.int16
        return dtypes


def refuse_blocks(dtypes: Mapping[str, torch.dtype], name: str) -> None:
    """Raise for blocks of a DTensor: the blocks of a part are not those of the whole."""
    if blocks.DTYPE in dtypes.values():
        raise ValueError(
            f"state_format='block8' is not for DTensors, {name} is one; take 'bfloat16'"
        )


_warned: set[str] = set()
_LOST = {
    torch.bfloat16: (
        "parameters in bfloat16 are stepped as torch steps them: parameters and states are rounded "
        "to the nearest bfloat16, so an update below 1/512 of a parameter is lost, and averages of "
        "squares never decay with beta2=0.999. rounding='stochastic' keeps both in the mean; "
        "master_weights=True keeps every update, in 16 more bits a parameter; "
        "state_format='float32' keeps the states; rounding='nearest' is torch's way without this "
        "warning"
    ),
    torch.float16: (
        "parameters in float16 are stepped as torch steps them, with states in float16: squares of "
        "gradients below 0.0002 become 0, and the step then divides by eps. "
        "state_format='float32' keeps the states; rounding='nearest' is torch's way without this "
        "warning"
    ),
}


def warn_of_loss(groups: Sequence[Group]) -> None:
    """Warn, once in a process, of what rounding as in torch loses."""
    for param in (param for group in groups for param in group["params"]):
        if param.requires_grad and param.dtype in _LOST and not _warned:
            _warned.add("loss")
            # At the caller of the constructor
            warnings.warn(_LOST[param.dtype], stacklevel=4)


def zeros(
    params: Sequence[torch.Tensor], dtypes: Sequence[Mapping[str, torch.dtype]]
) -> list[dict[str, torch.Tensor]]:
    """For each parameter states of these dtypes, in the layouts that torch would give them."""
    layouts = []
    for param, wanted in zip(params, dtypes, strict=True):
        strides = torch.empty_like(param, device="meta").stride()
        layouts.append(
            [
                Layout(param.data_ptr(), blocks.shape_of(param.shape), BLOCK8)
                if dtype == blocks.DTYPE
                else Layout(
                    param.data_ptr(),
                    tuple(param.shape),
                    np.dtype(_IN_NUMPY[dtype]),
                    tuple(stride * dtype.itemsize for stride in strides),
                )
                for dtype in wanted.values()
            ]
        )
    # Separate tensors, not views of one tensor: torch.save would write all of that for each view.
    return [
        {
            state: blocks.from_blocks(array, param)
            if dtype == blocks.DTYPE
            else torch.from_numpy(array).view(dtype)
            for (state, dtype), array in zip(wanted.items(), arrays, strict=True)
        }
        for param, wanted, arrays in zip(params, dtypes, zeros_in_one_block(layouts), strict=True)
    ]


# NumPy dtypes of the same size; NumPy has no bfloat16
_IN_NUMPY: dict[torch.dtype, Any] = {
    torch.float64: np.float64,
    torch.float32: np.float32,
    torch.float16: np.float16,
    torch.bfloat16: np.int16,
    torch.int16: np.int16,
}
