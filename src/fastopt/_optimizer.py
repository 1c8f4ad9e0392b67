"""The optimizer classes: they own states, count steps and keep hyper-parameters in groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, ValuesView
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastopt import _averages, _checkpoint, _checks, _formats
from fastopt._copies import (
    attributes_of_subclasses,
    copy_deeply,
    copy_states,
    pickled,
    restored,
)
from fastopt._core import Rows, Rule
from fastopt._entries import Entry
from fastopt._groups import ParameterGroups, complete, rate, refuse_unknown, with_rates
from fastopt._saving import load_optimizer, save_optimizer
from fastopt._statefile import File, blaming
from fastopt._states import tensor_list
from fastopt._trees import is_groups, settled, without_memmaps

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Number", "Optimizer", "Params", "Rate"]

Number: TypeAlias = float | np.floating[Any] | np.integer[Any]
# A number, or the number of every step.
Rate: TypeAlias = Number | Callable[[int], Any]
Array: TypeAlias = NDArray[np.float32] | NDArray[np.float64] | NDArray[np.float16]
# A sequence is of arrays or of groups; spelled out, a literal list of groups would not be accepted.
Params: TypeAlias = (
    Array | Sequence[Any] | Mapping[Any, Array] | Iterator[Array] | ValuesView[Array]
)
Grad: TypeAlias = Array | np.floating[Any] | Rows | None
Grads: TypeAlias = Grad | Sequence[Any] | Mapping[Any, Grad] | Iterator[Grad] | ValuesView[Grad]


class Optimizer:
    """What the optimizer classes share; use one of them, such as `fastopt.Adam`.

    Attributes
    ----------
    param_groups : list of dict
        One for each group: its ``"params"`` and its hyper-parameters. A hyper-parameter that is
        changed here holds from the next step on. Keys of your own, such as ``"name"``, are kept.
        The arrays cannot be exchanged: the next step refuses that.
    skipped : bool
        Whether the last step was left out because a gradient was not finite.
    skipped_steps : int
        How many were.

    Notes
    -----
    The learning rate may be a schedule, any function from the number of a step to its rate: in the
    constructor, in a group, and as `lr`. It is called at each step with one more than the largest
    step count of all parameters; so step 1 is the first, and a step that is skipped or has no
    gradient does not count. Files and `state_dict` do not hold the schedule, but the rate of the
    last step: an optimizer that has a schedule keeps it when it loads, and goes on with it from the
    step that was loaded; one without goes on with the rate. Copies and pickles take the schedule
    with them.

    In a copy or pickle of an object that holds both the arrays and their optimizer, the copied
    optimizer steps the copied arrays. ``copy.copy(opt)`` steps the same arrays with states of its
    own.

    Examples
    --------
    >>> import fastopt
    >>> issubclass(fastopt.Adam, fastopt.Optimizer)
    True
    >>> import numpy as np
    >>> opt = fastopt.SGD(np.zeros(2), lr=fastopt.schedules.linear(1.0, 0.0, steps=4))
    >>> for _ in range(3):
    ...     opt.step(np.ones(2))
    >>> opt.lr, opt.param_groups[0]["params"]
    (0.5, array([-2.25, -2.25]))
    """

    __module__ = "fastopt"

    rule: ClassVar[Rule | None] = None
    skipped_steps: int
    # False where the parameters are an average that is not to be stepped
    _training = True

    def __init__(self, params: Params, **hypers: Any) -> None:
        rule = self._rule
        refuse_unknown(rule, hypers, tuple(_formats.KEYWORDS))
        kept = {name: hypers.pop(name) for name in _formats.KEYWORDS if name in hypers}
        self._stored = _formats.from_keywords(rule, kept)
        self._defaults = {**rule.class_hypers, **hypers}
        tree = settled(params)
        grouped = is_groups(tree)
        groups = tree if grouped else [{"params": tree}]
        self._build([complete(rule, self._defaults, group) for group in groups], grouped)
        self.skipped_steps = 0
        self._training = True

    @property
    def _rule(self) -> Rule:
        if self.rule is None:
            raise TypeError("Optimizer is abstract; use the class of a rule, such as fastopt.Adam")
        return self.rule

    def _build(
        self,
        groups: list[dict[str, Any]],
        grouped: bool,
        states: Sequence[list[NDArray[Any]]] = (),
        steps: Sequence[int] = (),
        remainders: Sequence[NDArray[Any] | None] = (),
        averages: Sequence[NDArray[Any] | None] = (),
        *,
        read_only: bool = False,
    ) -> None:
        """Take over the groups, with new states for the parameters beyond those given."""
        parameters = ParameterGroups(groups, grouped, self._stored.ema)
        self._tensors = tensor_list(
            self._rule,
            self._stored,
            parameters,
            states,
            steps,
            remainders,
            averages,
            read_only=read_only,
        )
        self._params = parameters

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self._params.groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        with self._tensors:
            self._params.exchange(groups)
            self._tensors.ema = self._params.ema

    def _look(self) -> None:
        """Take over edited groups."""
        if not self._params.seen.holds():
            with self._tensors:
                self._params.look()
                self._tensors.ema = self._params.ema

    # Stepping.

    def step(
        self,
        grads: Grads,
        *,
        max_norm: Number | None = None,
        grad_scale: Number = 1.0,
        skip_nonfinite: bool = False,
        copies: Grads | None = None,
    ) -> float | None:
        """Update every parameter by one step, in one call into C.

        Parameters
        ----------
        grads : ndarray, list, dict, or list of these
            The gradients in the structure in which the parameters were given; for groups, a list
            with an entry for each. A parameter whose gradient is None is left alone, and its step
            is not counted. One may be a `Rows`: then only those rows of the parameter and of its
            states are stepped. Gradients are never written.
        max_norm : float, optional
            Clip by the global norm, as ``torch.nn.utils.clip_grad_norm_`` does: gradients are
            multiplied by ``min(1, max_norm/(norm + 1e-6))`` within the step. The norm is that of
            all gradients times grad_scale, taken in double; of a row that stands more than once, it
            is that of the sum. Its bits depend neither on the CPU nor on the number of threads.
            Infinity only measures: nothing is clipped.
        grad_scale : float, default 1.0
            Multiplies every gradient first.
        skip_nonfinite : bool, default False
            If a gradient is NaN or infinite, change nothing, count no step, and set `skipped`.
        copies : ndarray, list, dict, or list of these, optional
            Arrays in ``ml_dtypes.bfloat16``, in the structure of the parameters, which are float32.
            Each gets the new parameter, rounded to nearest, in the same pass through memory. An
            entry may be None. The copy of a parameter that is left alone is left alone too.

        Returns
        -------
        float or None
            The norm before clipping, if max_norm or skip_nonfinite is given; not finite if the step
            was skipped.

        Raises
        ------
        TypeError
            If a gradient is not a plain ndarray or a `Rows` of one, or its dtype does not go with
            that of its parameter; if a copy is not bfloat16, or its parameter not float32; if a
            number or flag is of a wrong type.
        ValueError
            If a gradient or copy has another shape than its parameter, is not C-contiguous,
            misaligned, or overlaps what is written, a number is out of range, or the arrays in
            `param_groups` are no longer those that the optimizer was made with. Nothing has changed
            then.
        RuntimeError
            If another thread is in the middle of a step of this optimizer, or the parameters are
            the average that ``eval()`` of a schedule-free one has put there.

        Examples
        --------
        >>> import fastopt
        >>> import numpy as np
        >>> opt = fastopt.SGD([np.zeros(2), np.zeros(1)], lr=1.0)
        >>> opt.step([np.array([3.0, 0.0]), np.array([4.0])], max_norm=1.0)
        5.0
        """
        if not self._training:
            raise _averages.not_training()
        params = self._params
        if not params.seen.holds():
            self._look()
        if type(grads) is list and params.takes_list:
            pass
        elif type(grads) is np.ndarray and params.takes_array:
            grads = [grads]
        else:
            grads = params.flat_grads(grads)
        tensors = self._tensors
        if copies is not None:
            copies = params.flat_grads(copies, "copies")
        groups = params.groups
        if params.scheduled:
            groups = with_rates(groups, max(tensors.steps) + 1)
        seen = None if params.scheduled else params.seen
        if skip_nonfinite is not False:
            skip_nonfinite = _checks.flag("skip_nonfinite", skip_nonfinite)
        if max_norm is not None and _is_infinity(max_norm):
            # With a finite norm this is the whole step; with another one nothing has happened yet.
            norm = tensors.step(grads, groups, seen, None, grad_scale, True, copies)
            if tensors.skipped and not skip_nonfinite:
                tensors.step(grads, groups, seen, None, grad_scale, False, copies)
        else:
            norm = tensors.step(grads, groups, seen, max_norm, grad_scale, skip_nonfinite, copies)
        if tensors.skipped:
            self.skipped_steps += 1
        return norm

    @property
    def skipped(self) -> bool:
        """Whether the last step was left out because a gradient was not finite."""
        return self._tensors.skipped

    @property
    def lr(self) -> Any:
        """The learning rate of all groups; setting it, to a number or a schedule, sets it for all.

        With a schedule it is the rate of the last step, or of step 1 before any step;
        ``param_groups`` has the schedule itself.

        Raises
        ------
        ValueError
            On reading, if groups differ; on setting, if the value is out of range.
        """
        step = max(1, *self._tensors.steps)
        for index, group in enumerate(self._params.groups):
            if "lr" not in group:
                raise ValueError(f"param_groups[{index}] must have 'lr'")
        first, *others = [rate(group["lr"], step) for group in self._params.groups]
        if any(other != first for other in others):
            raise ValueError("the groups have different lr; read them from param_groups")
        return first

    @lr.setter
    def lr(self, value: Rate) -> None:
        self._look()
        number = rate(value, max(self._tensors.steps) + 1)
        with self._tensors:
            self._tensors.check([{**group, "lr": number} for group in self._params.groups])
        for group in self._params.groups:
            group["lr"] = value

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add a group of parameters, with states of their own.

        From then on `step` takes a list with an entry for each group.

        Parameters
        ----------
        group : dict
            ``"params"`` and the hyper-parameters that differ from the optimizer's own.

        Examples
        --------
        >>> import fastopt
        >>> import numpy as np
        >>> opt = fastopt.SGD(np.zeros(2), lr=0.1)
        >>> opt.add_param_group({"params": np.zeros(3), "lr": 0.01})
        >>> opt.step([np.ones(2), np.ones(3)])
        """
        if not isinstance(group, dict) or "params" not in group:
            raise TypeError(f"group must be a dict with 'params', got {group!r}")
        self._look()
        before = self._tensors
        with before:
            self._build(
                [*self._params.groups, complete(self._rule, self._defaults, group)],
                True,
                before.states,
                before.steps,
                before.remainders,
                before.averages,
            )

    @property
    def ema(self) -> Any:
        """The moving averages of the parameters, in their structure; None without ``ema=``.

        These are the arrays themselves, which each step brings up to date: float64 for float64
        parameters, else float32. For groups, a list with an entry for each: None for one whose
        ``ema`` is None.

        Examples
        --------
        >>> import fastopt
        >>> import numpy as np
        >>> weights = {"w": np.zeros(2)}
        >>> opt = fastopt.SGD(weights, lr=1.0, ema=0.5)
        >>> for _ in range(2):
        ...     opt.step({"w": np.ones(2)})
        >>> weights, opt.ema["w"].round(3)
        ({'w': array([-2., -2.])}, array([-1.667, -1.667]))
        """
        self._look()
        params = self._params
        if all(share is None for share in params.ema):
            return None
        averages = params.like(self._tensors.averages)
        if not params.grouped:
            return averages
        return [
            None if share is None else average
            for share, average in zip(params.ema, averages, strict=True)
        ]

    # Saving and loading.

    @property
    def state(self) -> list[dict[str, Any]]:
        """For each parameter in order, a dict of its step count and its state arrays themselves.

        The arrays may be written into: ``opt.state[0]["exp_avg"][...] = 0``. The dicts are made
        anew each time, so what they hold cannot be replaced. `load_state_dict` sets step counts.
        """
        self._look()
        return list(map(Entry, _checkpoint.state(self._tensors)))

    def state_dict(self) -> dict[str, Any]:
        """A copy of everything but the parameters, as plain picklable data.

        Returns
        -------
        dict
            ``"rule"``; ``"param_groups"``: for each group its hyper-parameters, keys of your own
            and, as ``"params"``, the indices of its parameters; ``"state"``: for each parameter its
            ``"step"`` and arrays; where steps were skipped, their number as ``"skipped_steps"``;
            where parameters are in a dict, what they are called as ``"names"``. A schedule is
            replaced by the rate of the last step.

        Raises
        ------
        TypeError, ValueError
            If a hyper-parameter in `param_groups` is one that `load_state_dict` would refuse.

        Examples
        --------
        >>> import fastopt
        >>> import numpy as np
        >>> opt = fastopt.Momentum(np.zeros(2), lr=0.1)
        >>> opt.state_dict()["state"]
        [{'step': 0, 'momentum_buffer': array([0., 0.])}]
        """
        return self._content(params=False)

    def _content(self, params: bool) -> dict[str, Any]:
        """The `state_dict`, whose entries have the parameters, too, if wanted: all of one step."""
        self._look()
        groups, tensors = self._params.groups, self._tensors
        with tensors:
            found = _checkpoint.state_dict(
                self._rule, groups, tensors, self._stored, self.skipped_steps, params
            )
            trees = [group["params"] for group in groups]
            found = _checkpoint.with_names(found, trees, self._params.names)
            return found if self._training else {**found, "training": False}

    def load_state_dict(self, state_dict: Mapping[str, Any], *, convert: bool = False) -> None:
        """Go on from where `state_dict` was taken. The parameters are not part of it.

        Parameters
        ----------
        state_dict : dict
            Of an optimizer of the same class with parameters of the same shapes and dtypes, in the
            same groups. Arrays of dicts with the same keys are matched by these, all others by
            their order. Where this optimizer has a schedule, the schedule stays. Rounding and seed
            are those of the state_dict from then on.
        convert : bool, default False
            Cast arrays of another floating-point dtype; without, they are refused.

        Raises
        ------
        ValueError
            If it does not fit. Nothing has changed then.

        Examples
        --------
        >>> import fastopt
        >>> import numpy as np
        >>> opt = fastopt.Adam(np.zeros(2))
        >>> opt.step(np.ones(2))
        >>> other = fastopt.Adam(np.zeros(2), lr=0.5)
        >>> other.load_state_dict(opt.state_dict())
        >>> other.lr, other.state[0]["step"]
        (0.001, 1)
        """
        _checks.flag("convert", convert)
        self._look()
        self._take_over(state_dict, None, convert)

    def _take_over(self, content: Any, params: Any, convert: bool) -> None:
        training = _averages.training_of(content, self._rule)
        content, params = _checkpoint.in_order(content, params, self._params.names)

        def notes(skipped_steps: int, stored: _formats.Storage) -> list[partial[None]]:
            return [
                partial(setattr, self, "skipped_steps", skipped_steps),
                partial(setattr, self, "_stored", stored),
                partial(setattr, self, "_training", training),
                partial(setattr, self._params, "default_ema", stored.ema),
            ]

        groups, tensors = self._params.groups, self._tensors
        _checkpoint.restore(
            content, self._rule, groups, tensors, self._stored, notes, params, convert
        )

    def save(self, file: File, *, params: bool = False) -> None:
        """Write the state to a file: atomically, and so that it is on the disk on return.

        The file holds no pickle; `load` verifies it. If anything fails, a file that was there
        before is still there and whole.

        Parameters
        ----------
        file : str, path-like, or file object open in binary mode
            A file that is replaced keeps its mode, and its owner where the system allows that. A
            file object gets the same bytes, without the promises of the first line.
        params : bool, default False
            Write the parameters too, into the same file, so that states and parameters cannot be of
            different steps.

        Raises
        ------
        OSError
            If the file cannot be written.
        TypeError, ValueError
            If a group has a key of your own that JSON cannot hold, or a hyper-parameter that `load`
            would refuse. No file is written then.

        Examples
        --------
        >>> import fastopt, os, tempfile
        >>> import numpy as np
        >>> weights = np.zeros(2)
        >>> opt = fastopt.Adam(weights)
        >>> opt.step(np.ones(2))
        >>> path = os.path.join(tempfile.mkdtemp(), "adam.state")
        >>> opt.save(path, params=True)
        >>> other = fastopt.Adam(np.zeros(2))
        >>> other.load(path)
        >>> other.state[0]["step"], bool((other.param_groups[0]["params"] == weights).all())
        (1, True)
        """
        save_optimizer(file, self._content(_checks.flag("params", params)))

    def load(self, file: File, *, params: bool | None = None, convert: bool = False) -> None:
        """Go on from a file that `save` wrote.

        Parameters
        ----------
        file : str, path-like, or file object open in binary mode
        params : bool, optional
            Whether to read the parameters: True requires the file to have them, False leaves the
            optimizer's own alone. By default they are read if the file has them.
        convert : bool, default False
            Cast arrays of another floating-point dtype; without, such a file is refused.

        Raises
        ------
        fastopt.StateFileError
            A ValueError: the file is damaged, or of another optimizer. Nothing has changed then.
        OSError
            If the file cannot be read.
        """
        if params is not None:
            _checks.flag("params", params)
        _checks.flag("convert", convert)
        self._look()
        content, arrays = load_optimizer(file)
        with blaming(file):
            if params and arrays is None:
                raise ValueError("it was saved without params=True")
            self._take_over(content, None if params is False else arrays, convert)

    # Copies and pickles; see _copies.

    def _parts(self) -> dict[str, Any]:
        """What a copy is made of, for those who have looked."""
        return {
            "defaults": self._defaults,
            "grouped": self._params.grouped,
            "param_groups": self._params.groups,
            "states": self._tensors.states,
            "remainders": self._tensors.remainders,
            "averages": self._tensors.averages,
            "storage": tuple(self._stored),
            "steps": self._tensors.steps,
            "skipped_steps": self.skipped_steps,
            "training": self._training,
            "attributes": attributes_of_subclasses(self, _ATTRIBUTES),
        }

    def __copy__(self) -> Self:
        self._look()
        parts = self._parts()
        parts["param_groups"] = [
            {**group, "params": settled(group["params"])} for group in self._params.groups
        ]
        with self._tensors:
            copy_states(parts)
            parts["steps"] = self._tensors.steps
        return restored(type(self), parts)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        self._look()
        return copy_deeply(self, self._tensors, self._parts, memo)

    def __getstate__(self) -> dict[str, Any]:
        self._look()
        return pickled(self._tensors, self._parts)

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.get("attributes", {}).items():
            setattr(self, name, value)
        self._defaults = state["defaults"]
        self.skipped_steps = state["skipped_steps"]
        self._training = state.get("training", self._training)
        # Pickles of earlier versions, which had no storage formats, have neither.
        self._stored = _formats.Storage(*state.get("storage", _formats.DEFAULT))
        none = [None] * len(state["steps"])
        remainders, averages = state.get("remainders", none), state.get("averages", none)
        # joblib, for one, loads arrays into memory that cannot be written, which is enough for a
        # model that only predicts.
        groups = state["param_groups"]
        for group in groups:
            group["params"] = without_memmaps(group["params"])
        self._build(
            groups,
            state["grouped"],
            without_memmaps(state["states"]),
            state["steps"],
            without_memmaps(remainders),
            without_memmaps(averages),
            read_only=True,
        )

    def __repr__(self) -> str:
        groups = "; ".join(
            ", ".join(f"{name}={value!r}" for name, value in group.items() if name != "params")
            for group in self._params.groups
        )
        count = len(self._tensors.params)
        return f"{type(self).__name__}({count} array{'s' if count > 1 else ''}, {groups})"


def _is_infinity(max_norm: Any) -> bool:
    return isinstance(max_norm, (float, np.floating)) and max_norm == math.inf


# What an optimizer has itself; all else belongs to a subclass of the user's.
_ATTRIBUTES = {"_defaults", "_params", "_stored", "_tensors", "_training", "skipped_steps"}
