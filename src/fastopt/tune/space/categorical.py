"""The parameter with a list of choices, and which of these are the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastopt.tune.space.parameter import Parameter

if TYPE_CHECKING:
    from typing_extensions import Never

__all__ = ["Categorical", "copy_containers"]

# Types whose values are equal only if their hashes are.
PLAIN = (str, bytes, int, float, bool, type(None))


@dataclass(frozen=True, repr=False, init=False)
class Categorical(Parameter):
    """A parameter with a fixed list of choices, which have no order.

    Parameters
    ----------
    choices : list or tuple
        At least one; no two equal. Any objects: in a study's file, text, numbers, booleans and
        None are stored as they are, everything else as its place in the list. Each trial gets its
        own copies of lists, dicts and sets; other objects are handed out themselves.
    initial : object, optional
        Value in the study's first trial.
    when : dict, optional
        As for :class:`Float`.

    Raises
    ------
    ValueError
        For no choice, two equal choices, an ``initial`` that is not a choice.
    TypeError
        For choices without a fixed order (a set, a string, a generator).

    Examples
    --------
    >>> from fastopt import tune
    >>> rule = tune.Categorical(["adam", "nag"], initial="nag")
    >>> rule.value(0), rule.index("nag")
    ('adam', 1)
    """

    choices: Sequence[Any]
    _: KW_ONLY
    initial: Any = None
    when: Mapping[str, Any] | None = None

    kind = "categorical"
    if TYPE_CHECKING:  # not fields
        _places: dict[tuple[Any, Any], int]
        _others: list[int]

    def __init__(
        self,
        choices: Sequence[Any],
        *others: Never,
        initial: Any = None,
        when: Mapping[str, Any] | None = None,
    ) -> None:
        if others:
            listed = ", ".join(map(repr, (choices, *others)))
            raise TypeError(f"Categorical takes its choices as one list: Categorical([{listed}])")
        for name, value in (("choices", choices), ("initial", initial), ("when", when)):
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        choices = self.choices
        if isinstance(choices, np.ndarray) and choices.ndim == 1:
            choices = choices.tolist()
        if isinstance(choices, (str, bytes)) or not isinstance(choices, Sequence):
            raise TypeError(f"Categorical: choices must be a list or a tuple, got {choices!r}")
        # What the caller does to a list later must not reach the space.
        object.__setattr__(self, "choices", tuple(copy_containers(choice) for choice in choices))
        if not self.choices:
            raise ValueError("Categorical: choices must hold at least one, got none")
        self._find_places()
        if self.initial is not None:
            object.__setattr__(self, "initial", self.check(self.initial))

    def _find_places(self) -> None:
        """Sort the choices; ValueError if two are equal.

        Into those that are compared by a key, and those that are compared one by one: hashes cannot
        be relied upon in general (an enum of strings equals a string of another hash), and a search
        is slow.
        """
        object.__setattr__(self, "_places", {})
        object.__setattr__(self, "_others", [])
        for i, choice in enumerate(self.choices):
            if self._find(choice, i) is not None:
                raise ValueError(f"Categorical: choices must differ, got {choice!r} twice")
            key = _key(choice)
            if key is None:
                self._others.append(i)
            else:
                self._places[key] = i

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("choices", "initial", "when")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)
        self._find_places()  # anew, since some keys are the identities of objects

    @property
    def levels(self) -> int:
        """Number of choices."""
        return len(self.choices)

    def value(self, i: int) -> Any:
        """Choice ``i``."""
        return copy_containers(self.choices[int(i)])

    def index(self, value: Any) -> int:
        """Place of ``value`` in the list of choices."""
        i = self._find(value, self.levels)
        if i is None:
            raise ValueError(f"Categorical: {value!r} is not one of the choices {self.choices!r}")
        return i

    def _find(self, value: Any, end: int) -> int | None:
        """Place of ``value`` among the first ``end`` choices."""
        others: Iterable[int] = range(end)
        key = _key(value)
        if key is not None:
            place = self._places.get(key)
            if place is not None:
                return place
            others = self._others
        return next((i for i in others if _same(self.choices[i], value)), None)

    def unit(self, i: Any) -> Any:
        """Position in the unit interval of choice ``i`` (an integer or an array)."""
        return (np.asarray(i, float) + 0.5) / self.levels

    def nearest(self, u: Any) -> Any:
        """Place of the choice whose cell holds ``u`` (a number or an array)."""
        i = np.floor(np.clip(np.asarray(u, float), 0.0, 1.0) * self.levels)
        return np.minimum(i, self.levels - 1).astype(np.int64)

    def check(self, value: Any) -> Any:
        """The choice that equals ``value``, or ValueError."""
        return self.value(self.index(value))

    def to_unit(self, value: Any) -> float:
        """Position of ``value`` in the unit interval."""
        return float(self.unit(self.index(value)))

    def from_unit(self, u: float) -> Any:
        """The choice at position ``u`` of the unit interval."""
        return self.value(self.nearest(u))


def copy_containers(value: Any) -> Any:
    """A copy of a list, dict or set, and of a tuple that holds one.

    Anything else is returned itself, since many objects equal nothing but themselves.
    """
    if type(value) is dict:
        return {key: copy_containers(item) for key, item in value.items()}
    if type(value) is set:
        return set(value)
    if type(value) in (list, tuple):
        items = [copy_containers(item) for item in value]
        if type(value) is list:
            return items
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else tuple(items)
    return value


def _key(value: Any) -> tuple[Any, Any] | None:
    """What two values have in common if they are the same; None if that cannot be said.

    Of plain values, lists, tuples and dicts of them, and objects that equal only themselves.
    """
    if type(value) in PLAIN:
        return isinstance(value, bool), value
    if type(value) is dict:
        names, items = list(value), list(value.values())
        if any(type(name) not in PLAIN for name in names):
            return None
    elif type(value) in (list, tuple):
        names, items = [], value
    else:
        return (object, id(value)) if type(value).__eq__ is object.__eq__ else None
    keys = [item if type(item) in PLAIN else _key(item) for item in items]
    if any(key is None and item is not None for key, item in zip(keys, items, strict=True)):
        return None
    content = frozenset(zip(names, keys, strict=True)) if type(value) is dict else tuple(keys)
    return type(value), content


def _same(a: Any, b: Any) -> bool:
    """Whether two choices are one; True and 1 are two, and so are arrays that are not identical."""
    if a is b:
        return True
    if isinstance(a, (bool, np.bool_)) is not isinstance(b, (bool, np.bool_)):
        return False
    try:
        equal = a == b
    except Exception:  # arrays of different shapes, for one
        return False
    return isinstance(equal, (bool, np.bool_)) and bool(equal)
