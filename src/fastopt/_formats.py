"""What an optimizer keeps, and in which formats: the keywords of the classes, and their meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastopt import _checks
from fastopt._blocks import BLOCK8, shape_of
from fastopt._core import Rule
from fastopt._placement import Layout

__all__ = [
    "DEFAULT",
    "FORMATS",
    "KEYWORDS",
    "STATE_FORMATS",
    "Storage",
    "compute_type",
    "emas_of",
    "from_keywords",
    "join",
    "name_of_dtype",
    "named_dtype",
    "split",
]

FORMATS = ("float32", "bfloat16", "float16")
STATE_FORMATS = (*FORMATS, "block8")
# One number for each row, in the type that a step computes in: row-wise Adagrad.
PER_ROW = "row"
_WITH_ROWS = {"adagrad": "state_sum"}
ROUNDINGS = ("stochastic", "nearest")

# The keywords and their defaults.
KEYWORDS: dict[str, Any] = {
    "state_format": None,
    "master_weights": False,
    "rounding": "stochastic",
    "seed": 0,
    "ema": None,
}


def named_dtype(name: str) -> np.dtype[Any]:
    """The dtype of a format; NumPy has none for bfloat16."""
    if name == "block8":
        return BLOCK8
    if name != "bfloat16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError as error:
        raise ImportError(
            "bfloat16 arrays need the package ml_dtypes: pip install ml_dtypes"
        ) from error
    return np.dtype(ml_dtypes.bfloat16)


def name_of_dtype(dtype: np.dtype[Any]) -> str:
    """What a dtype is called, whoever has registered it."""
    if dtype == BLOCK8:
        return "block8"
    return dtype.type.__name__ if dtype.itemsize == 2 and dtype.kind not in "iu" else dtype.name


def compute_type(param: NDArray[Any]) -> np.dtype[Any]:
    """What a step of a parameter computes in."""
    return np.dtype(np.float64 if param.dtype == np.float64 else np.float32)


class Storage(NamedTuple):
    """How an optimizer stores its states and parameters.

    Attributes
    ----------
    state_format : str, dict of str to str, or None
        Of all states, or of those named; None where float32 parameters and narrower ones have
        float32 states.
    master_weights : bool
        Whether bfloat16 parameters have a remainder.
    rounding : str
    seed : int
        In a population also an array of one for each row.
    ema : float or None
        The share of the parameters' moving averages that a step keeps; None where there are none.
        A group may have its own.
    """

    state_format: Any
    master_weights: bool
    rounding: str
    seed: Any
    # Pickles of earlier versions have none.
    ema: float | None = None

    @property
    def seed_of_rounding(self) -> Any:
        return self.seed if self.rounding == "stochastic" else None

    def formats(
        self, names: Sequence[str], param: str, called: str, default: str = "float32"
    ) -> list[str]:
        """Those of the states of these names, for a parameter in `param` that messages call so."""
        per_row = isinstance(self.state_format, dict) and set(self.state_format.values()) == {
            PER_ROW
        }
        if param not in FORMATS:
            if self.state_format is not None and not per_row:
                raise ValueError(
                    f"state_format={self.state_format!r} is for parameters that compute in "
                    f"float32 ({', '.join(FORMATS)}), {called} is {param}"
                )
            return [PER_ROW if per_row else param] * len(names)
        chosen = self.state_format
        if not isinstance(chosen, dict):
            chosen = dict.fromkeys(names, chosen or default)
        return [chosen.get(name, "float32") for name in names]

    def layouts(
        self, names: Sequence[str], param: NDArray[Any], called: str, rows: int | None = None
    ) -> list[Layout]:
        """Where the states lie, and their shapes and dtypes. A population has a number of rows."""
        name = name_of_dtype(param.dtype)
        if name not in FORMATS and self.state_format is None:
            dtypes = [param.dtype] * len(names)
        else:
            formats = self.formats(names, name, called)
            if formats == [PER_ROW]:
                if rows is not None:
                    raise ValueError(
                        "state_format must not be 'row' for a population, whose rows are models"
                    )
                return [Layout(param.ctypes.data, param.shape[:1], compute_type(param))]
            dtypes = [named_dtype(format) for format in formats]
        return [
            Layout(
                param.ctypes.data,
                shape_of(param.shape, rows) if dtype == BLOCK8 else param.shape,
                dtype,
            )
            for dtype in dtypes
        ]

    def has_remainder(self, param: str, called: str) -> bool:
        """Whether a parameter in this format has one."""
        if not self.master_weights or param in ("float32", "float64"):
            return False
        if param != "bfloat16":
            raise ValueError(
                f"master_weights=True is for parameters in bfloat16 (and changes nothing for "
                f"float32 and float64), {called} is {param}"
            )
        return True

    def remainder(self, param: NDArray[Any], called: str) -> NDArray[Any] | None:
        """A new one for a parameter, where it has one."""
        has_one = self.has_remainder(name_of_dtype(param.dtype), called)
        return np.zeros(param.shape, np.int16) if has_one else None


DEFAULT = Storage(**KEYWORDS)


def from_keywords(rule: Rule, given: Mapping[str, Any]) -> Storage:
    """The settings from the keywords that are given, checked; the defaults for the others."""
    chosen = {**KEYWORDS, **given}
    seed = _checks.integer("seed", chosen["seed"], least=0, most=2**64 - 1)
    return Storage(
        _state_format(rule, chosen["state_format"]),
        _checks.flag("master_weights", chosen["master_weights"]),
        _checks.choice("rounding", chosen["rounding"], ROUNDINGS),
        seed,
        _share_kept("ema", chosen["ema"]),
    )


def emas_of(
    groups: Sequence[Mapping[str, Any]], default: float | None, name: str
) -> list[float | None]:
    """For each group its own ``ema``, checked, or the default."""
    return [
        _share_kept(f"ema of {name}[{index}]", group["ema"]) if "ema" in group else default
        for index, group in enumerate(groups)
    ]


def _share_kept(name: str, value: Any) -> float | None:
    return None if value is None else _checks.number(name, value, least=0, below=1)


def _state_format(rule: Rule, value: Any) -> Any:
    """The formats of the states, checked.

    One format for all states is refused where it does not suit one of them; a dict is not.
    """
    if value is None:
        return None
    if isinstance(value, Mapping):
        names = [*rule.states, *rule.optional]
        return {
            _checks.choice("a key of state_format", name, names): _checks.choice(
                f"state_format[{name!r}]",
                format,
                (*STATE_FORMATS, PER_ROW) if _WITH_ROWS.get(rule.name) == name else STATE_FORMATS,
            )
            for name, format in value.items()
        }
    _checks.choice("state_format", value, STATE_FORMATS)
    if value == "float16" and rule.squares:
        listed = ", ".join(rule.squares)
        others = {name: value for name in rule.states if name not in rule.squares}
        named = f", or name the other states: state_format={others}" if others else ""
        raise ValueError(
            f"state_format='float16' does not suit {listed}: numbers below 3e-8, which squares "
            "of gradients often are, become 0 there, and those above 65504 infinity; take "
            f"'bfloat16'{named}"
        )
    return str(value)


def join(high: NDArray[Any], low: NDArray[Any]) -> NDArray[np.float32]:
    """The float32 parameter that a bfloat16 and its remainder are."""
    bits = high.view(np.uint16).astype(np.uint32) << np.uint32(16)
    return (bits + low.astype(np.int32).view(np.uint32)).view(np.float32)


def split(values: NDArray[np.float32], dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The bfloat16 and the remainder that float32 parameters are."""
    bits = values.reshape(-1).view(np.uint32)
    quiet = (bits | np.uint32(0x400000)) & np.uint32(0xFFFF0000)
    bits = np.where(np.isnan(values.reshape(-1)), quiet, bits)
    high = ((bits + np.uint32(0x8000)) >> np.uint32(16)).astype(np.uint16)
    low = (bits & np.uint32(0xFFFF)).astype(np.uint16)
    return (
        high.view(dtype).reshape(values.shape),
        low.view(np.int16).reshape(values.shape),
    )
