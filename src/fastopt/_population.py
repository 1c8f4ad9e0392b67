"""Populations: many models that are trained at once, each a row of every array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastopt import _averages, _checkpoint, _checks, _formats, _rowstates
from fastopt._classes import rule_of
from fastopt._contents import write
from fastopt._copies import (
    attributes_of_subclasses,
    copy_deeply,
    copy_states,
    pickled,
    restored,
)
from fastopt._core import Rule
from fastopt._entries import Entry
from fastopt._formats import Storage
from fastopt._groups import flags, refuse_unknown
from fastopt._optimizer import Grads, Number, Params
from fastopt._rows import count_rows, has_schedule, indices, of_rows, owned, rates, storage_of
from fastopt._rule_names import RuleName
from fastopt._saving import load_population, save_population
from fastopt._statefile import File, blaming
from fastopt._states import row_list
from fastopt._trees import flatten, is_groups, map_arrays, match, settled, without_memmaps

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Population"]


class Population:
    """K models of the same shapes, trained at once: every array has a leading axis of K rows.

    One `step` is one call into C for all of them, and each row may have a learning rate and other
    hyper-parameters of its own. Row k gets the bits that an optimizer of its own, with the settings
    of that row, would give it: its own norm is clipped, its own gradients decide whether it is
    skipped, its own steps are counted.

    Parameters
    ----------
    rule : str
        A key of `fastopt.RULES`, such as ``"adam"``; case does not matter.
    params : ndarray, list or dict of ndarray
        The parameters, updated in place. The first axis of each has the length K.
    **hypers
        The hyper-parameters of the rule's optimizer class. Each is one number for all rows or a
        sequence of K; flags are bools in the same way, but for ``amsgrad`` and ``centered``, which
        are one bool. The ``momentum`` of RMSprop is 0 in all rows or in none. `lr`
        may also be a schedule, a function from the number of a step to a rate, or a list of K
        schedules and numbers. ``state_format``, ``master_weights``, ``rounding``, ``seed`` and
        ``ema`` are those of the optimizer class, too; `seed` is one number or K, `ema` one number.

    Attributes
    ----------
    rule : Rule
    hypers : dict
        The hyper-parameters: numbers, arrays of K, schedules. What is changed here, an item or a
        number in an array, holds from the next step on.
    skipped_steps : ndarray
        For each row, how many steps were left out because a gradient was not finite.

    See Also
    --------
    fastopt.Optimizer : one model, whose parameters may be in groups.

    Notes
    -----
    The learning rate of a row that has a schedule is that of one more than the largest step count
    of its arrays. As with optimizers, files and `state_dict` hold the rate of the last step in
    place of a schedule; copies and pickles take the schedule with them, and keep the identity of
    arrays.

    Examples
    --------
    Three learning rates at once; the best two go on:

    >>> import fastopt
    >>> import numpy as np
    >>> weights = np.full((3, 2), 4.0)  # 3 models of 2 parameters
    >>> models = fastopt.Population("momentum", weights, lr=[0.01, 0.1, 0.2])
    >>> for _ in range(10):
    ...     models.step(2 * weights)  # the gradients of the sums of squares
    >>> losses = (weights**2).sum(axis=1)
    >>> best = np.argsort(losses)[:2]
    >>> weights = models.select(best)
    >>> weights.shape, models.hypers["lr"]
    ((2, 2), array([0.1 , 0.01]))
    """

    __module__ = "fastopt"

    skipped_steps: NDArray[np.int64]
    # False where the parameters are an average that is not to be stepped
    _training = True

    def __init__(self, rule: RuleName, params: Params, **hypers: Any) -> None:
        self.rule: Rule = rule_of("rule", rule)
        refuse_unknown(self.rule, hypers, tuple(_formats.KEYWORDS))
        kept = {name: hypers.pop(name) for name in _formats.KEYWORDS if name in hypers}
        given = {**self.rule.class_hypers, **hypers}
        for name, value in given.items():
            if value is None:
                raise TypeError(f"Population({self.rule.name!r}) needs the keyword argument {name}")
        for name in flags(self.rule):
            _checks.flag(name, given[name])
        tree = settled(params)
        if is_groups(tree):
            raise TypeError(
                "params must be an array, or a list or dict of arrays, got groups; a population "
                "has none"
            )
        count = count_rows(*flatten(tree, "params"))
        self._stored = storage_of(self.rule, kept, count)
        self._build(tree, {name: owned(value) for name, value in given.items()})
        self.skipped_steps = np.zeros(len(self), np.int64)

    def _build(
        self,
        tree: Any,
        hypers: dict[str, Any],
        states: list[list[NDArray[Any]]] | None = None,
        remainders: list[NDArray[Any] | None] | None = None,
        steps: NDArray[np.int64] | None = None,
        averages: list[NDArray[Any] | None] | None = None,
        *,
        read_only: bool = False,
    ) -> None:
        """Take over the arrays, with new states if there are none."""
        self._tensors = row_list(
            self.rule,
            self._stored,
            tree,
            hypers,
            states,
            remainders,
            steps,
            averages,
            read_only=read_only,
        )
        self._tree = tree
        self.hypers = hypers

    def __len__(self) -> int:
        """The number of rows."""
        return self._tensors.rows

    @property
    def params(self) -> Any:
        """The parameters, in the structure in which they were given."""
        return settled(self._tree)

    @property
    def ema(self) -> Any:
        """The moving averages of the parameters, in their structure; None without ``ema=``."""
        if self._stored.ema is None:
            return None
        averages = iter(self._tensors.averages)
        return map_arrays(lambda _: next(averages), self._tree)

    @property
    def steps(self) -> NDArray[np.int64]:
        """How many steps each row has taken: the largest count of its arrays."""
        return self._tensors.last_steps

    @property
    def skipped(self) -> NDArray[np.bool_]:
        """For each row, whether its last step was left out because a gradient was not finite."""
        return self._tensors.skipped_rows.copy()

    @property
    def lr(self) -> Any:
        """The learning rates, a number or an array of K; with a schedule those of the last step.

        Setting it, to what the constructor takes, holds from the next step on.
        """
        return rates(self.hypers["lr"], np.maximum(self.steps, 1))

    @lr.setter
    def lr(self, value: Any) -> None:
        value = owned(value)
        with self._tensors:
            self._tensors.check({**self.hypers, "lr": rates(value, self.steps + 1)})
        self.hypers["lr"] = value

    # Stepping.

    def step(
        self,
        grads: Grads,
        *,
        max_norm: Number | Sequence[Any] | NDArray[Any] | None = None,
        grad_scale: Number | Sequence[Any] | NDArray[Any] = 1.0,
        skip_nonfinite: bool = False,
    ) -> NDArray[np.float64] | None:
        """Update every row by one step, in one call into C.

        Parameters
        ----------
        grads : ndarray, list or dict of ndarray
            The gradients in the structure and shapes of the parameters. An array whose gradient is
            None is left alone in all rows, and its steps are not counted.
        max_norm : float or K floats, optional
            Clip each row by the norm of its own gradients, as `fastopt.Optimizer.step` does.
            Infinity only measures.
        grad_scale : float or K floats, default 1.0
            Multiplies the gradients first.
        skip_nonfinite : bool, default False
            Leave those rows as they are that have a gradient that is NaN or infinite, count no step
            for them, and set `skipped`.

        Returns
        -------
        ndarray of K floats, or None
            The norms before clipping, if max_norm or skip_nonfinite is given.

        Raises
        ------
        TypeError, ValueError, RuntimeError
            As `fastopt.Optimizer.step`. Nothing has changed then, in any row.

        Examples
        --------
        >>> import fastopt
        >>> import numpy as np
        >>> models = fastopt.Population("sgd", np.zeros((2, 2)), lr=1.0)
        >>> models.step(np.array([[3.0, 4.0], [np.nan, 0.0]]), max_norm=1.0, skip_nonfinite=True)
        array([ 5., nan])
        >>> models.skipped
        array([False,  True])
        """
        if not self._training:
            raise _averages.not_training()
        tensors = self._tensors
        if not type(grads) is type(self._tree) is list:  # the usual shape goes into C as it is
            grads = match(grads, self._tree, "grads")
        hypers = self.hypers
        if has_schedule(hypers.get("lr")):
            hypers = {**hypers, "lr": rates(hypers["lr"], tensors.last_steps + 1)}
        norms = tensors.step(grads, hypers, max_norm, grad_scale, skip_nonfinite)
        if tensors.skipped:
            self.skipped_steps = self.skipped_steps + tensors.skipped_rows
        return norms

    # The two points of a schedule-free rule.

    def train(self) -> None:
        """Have the parameters of a schedule-free rule where gradients are taken, as it begins."""
        self._move(True)

    def eval(self) -> None:
        """Have the parameters of a schedule-free rule be the average, which is what to use.

        Raises
        ------
        TypeError
            If the rule keeps no average.

        Examples
        --------
        >>> import fastopt
        >>> import numpy as np
        >>> models = fastopt.Population("schedule_free_sgd", np.zeros((2, 1)), lr=[0.5, 1.0])
        >>> for _ in range(2):
        ...     models.step(np.ones((2, 1)))
        >>> models.eval()
        >>> models.params.round(6)
        array([[-0.75],
               [-1.5 ]])
        """
        self._move(False)

    def _move(self, training: bool) -> None:
        if not _averages.has_average(self.rule):
            raise TypeError(
                f"{self.rule.name} keeps no average; train() and eval() are for rules such as "
                "schedule_free_adamw"
            )
        if training != self._training:
            factor = _averages.moved_by(self.rule, self.hypers, training)
            factors = [np.where(steps, factor, 0.0) for steps in self._tensors.steps]
            note = partial(setattr, self, "_training", training)
            _averages.move(self.rule, self._tensors, factors, note)

    # Which rows there are.

    def select(self, rows: Any) -> Any:
        """Go on with some rows alone.

        They are moved to the front of every array, states included, in the order in which they are
        named; the population goes on with views of these first rows. What lay there before is
        overwritten.

        Parameters
        ----------
        rows : sequence of int, or mask of K bools
            Which rows, none twice; at least one.

        Returns
        -------
        ndarray, list or dict of ndarray
            The views, in the structure of the parameters: what is to be trained from now on.

        Examples
        --------
        >>> import fastopt
        >>> import numpy as np
        >>> weights = np.arange(4.0).reshape(4, 1)
        >>> models = fastopt.Population("sgd", weights, lr=[0.1, 0.2, 0.3, 0.4])
        >>> models.select([3, 1])
        array([[3.],
               [1.]])
        >>> models.lr, len(models)
        (array([0.4, 0.2]), 2)
        """
        chosen = indices("rows", rows, len(self), distinct=True)
        if not len(chosen):
            raise ValueError("rows must name at least one row, got none")
        before, storage = self._tensors, self._stored
        with before:
            arrays = _rowstates.written_arrays(before)
            moved = [array[chosen] for array in arrays]
            first = slice(len(chosen))
            tree = map_arrays(lambda array: array[first], self._tree)
            hypers = {name: of_rows(value, chosen) for name, value in self.hypers.items()}
            storage = storage._replace(seed=of_rows(storage.seed, chosen))
            # The views are checked before anything is written into them.
            tensors = row_list(
                self.rule,
                storage,
                tree,
                hypers,
                [[state[first] for state in states] for states in before.states],
                [None if array is None else array[first] for array in before.remainders],
                before.steps[:, chosen],
                [None if array is None else array[first] for array in before.averages],
            )
            tensors.skipped_rows = before.skipped_rows[chosen]
            new = {
                "_tensors": tensors,
                "_tree": tree,
                "_stored": storage,
                "hypers": hypers,
                "skipped_steps": self.skipped_steps[chosen],
            }
            with tensors:
                notes = [partial(setattr, self, name, value) for name, value in new.items()]
                write(arrays, moved, notes, first)
        return self.params

    def copy_rows(self, source: Any, target: Any) -> None:
        """Write rows over others: parameters, states and step counts.

        Hyper-parameters are left alone.

        Parameters
        ----------
        source, target : int, or sequences of int of the same length
            Row ``source[i]``, as it was before the call, is written to row ``target[i]``. No target
            is named twice.

        Examples
        --------
        >>> import fastopt
        >>> import numpy as np
        >>> weights = np.array([[1.0], [2.0], [3.0]])
        >>> models = fastopt.Population("sgd", weights, lr=[0.1, 0.2, 0.3])
        >>> models.copy_rows([0], [2])
        >>> weights.ravel(), models.lr
        (array([1., 2., 1.]), array([0.1, 0.2, 0.3]))
        """
        chosen = indices("source", source, len(self), distinct=False)
        over = indices("target", target, len(self), distinct=True)
        if len(chosen) != len(over):
            raise ValueError(
                f"source and target must be as many rows, got {len(chosen)} and {len(over)}"
            )
        _rowstates.copy_rows(self._tensors, chosen, over)

    # Saving and loading.

    @property
    def state(self) -> list[dict[str, Any]]:
        """For each array in order, a dict of its rows' step counts and its state arrays.

        The arrays of states may be written into. The step counts, and what the dicts hold, cannot
        be replaced; `load_state_dict` sets them.
        """
        found = _checkpoint.state(self._tensors)
        for entry in found:
            entry["step"].flags.writeable = False  # a copy
        return list(map(Entry, found))

    def state_dict(self) -> dict[str, Any]:
        """A copy of everything but the parameters, as plain picklable data.

        Returns
        -------
        dict
            ``"rule"``; ``"rows"``: their number; ``"hypers"``: numbers and arrays of K;
            ``"state"``: for each array in order its step counts, ``"step"``, and states;
            ``"skipped_steps"``; where parameters are in a dict, their ``"names"``.

        Examples
        --------
        >>> import fastopt
        >>> import numpy as np
        >>> models = fastopt.Population("momentum", np.zeros((2, 1)), lr=[0.1, 0.2])
        >>> models.state_dict()["state"][0]["step"]
        array([0, 0])
        """
        return self._content(params=False)

    def _content(self, params: bool) -> dict[str, Any]:
        """The `state_dict`, whose entries have the parameters, too, if wanted: all of one step."""
        tensors = self._tensors
        with tensors:
            found = _rowstates.state_dict(
                self.rule, self.hypers, tensors, self._stored, self.skipped_steps, params
            )
            found = _checkpoint.with_names(found, [self._tree], flatten(self._tree, "params")[1])
            return found if self._training else {**found, "training": False}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken. The parameters are not part of it.

        Parameters
        ----------
        state_dict : dict
            Of a population of the same rule, number of rows, shapes and dtypes. Arrays of dicts
            with the same keys are matched by these, all others by their order. Where a row of this
            population has a schedule, the schedule stays.

        Raises
        ------
        ValueError
            If it does not fit. Nothing has changed then.
        """
        self._take_over(state_dict, None)

    def _take_over(self, content: Any, params: Any) -> None:
        training = _averages.training_of(content, self.rule)
        content, params = _checkpoint.in_order(content, params, flatten(self._tree, "params")[1])
        formats = {name: getattr(self._stored, name) for name in ("state_format", "master_weights")}

        def notes(hypers: Any, storage: Storage, skipped_steps: Any) -> list[partial[None]]:
            new = {
                "hypers": hypers,
                "skipped_steps": skipped_steps,
                "_stored": storage._replace(**formats),
                "_training": training,
            }
            return [partial(setattr, self, name, value) for name, value in new.items()]

        _rowstates.restore(content, self.rule, self.hypers, self._tensors, notes, params)

    def save(self, file: File, *, params: bool = False) -> None:
        """Write the state to a file, as `fastopt.Optimizer.save` does.

        Parameters
        ----------
        file : str, path-like, or file object open in binary mode
        params : bool, default False
            Write the parameters too, into the same file.

        Examples
        --------
        >>> import fastopt, os, tempfile
        >>> import numpy as np
        >>> weights = np.zeros((3, 2))
        >>> models = fastopt.Population("adam", weights, lr=[0.1, 0.2, 0.3])
        >>> models.step(np.ones((3, 2)))
        >>> path = os.path.join(tempfile.mkdtemp(), "adam.state")
        >>> models.save(path, params=True)
        >>> other = fastopt.Population("adam", np.zeros((3, 2)))
        >>> other.load(path)
        >>> other.lr, bool((other.params == weights).all())
        (array([0.1, 0.2, 0.3]), True)
        """
        save_population(file, self._content(_checks.flag("params", params)))

    def load(self, file: File, *, params: bool | None = None) -> None:
        """Go on from a file that `save` wrote, as `fastopt.Optimizer.load` does.

        Parameters
        ----------
        file : str, path-like, or file object open in binary mode
        params : bool, optional
            Whether to read the parameters: True requires the file to have them, False leaves the
            population's own alone. By default they are read if the file has them.

        Raises
        ------
        fastopt.StateFileError
            A ValueError: the file is damaged, or of another population. Nothing has changed then.
        OSError
            If the file cannot be read.
        """
        if params is not None:
            _checks.flag("params", params)
        content, arrays = load_population(file)
        with blaming(file):
            if params and arrays is None:
                raise ValueError("it was saved without params=True")
            self._take_over(content, None if params is False else arrays)

    # Copies and pickles; see _copies.

    def _parts(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "params": self._tree,
            "hypers": self.hypers,
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
        with self._tensors:
            parts = self._parts()
            parts["params"] = self.params
            parts["hypers"] = {name: owned(value) for name, value in self.hypers.items()}
            copy_states(parts)
        return restored(type(self), parts)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy_deeply(self, self._tensors, self._parts, memo)

    def __getstate__(self) -> dict[str, Any]:
        return pickled(self._tensors, self._parts)

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.get("attributes", {}).items():
            setattr(self, name, value)
        self.rule = state["rule"]
        self.skipped_steps = np.array(state["skipped_steps"])
        self._training = state.get("training", self._training)
        self._stored = Storage(*state["storage"])
        # As in an optimizer, read-only arrays are enough for models that only predict.
        self._build(
            without_memmaps(state["params"]),
            {name: owned(value) for name, value in state["hypers"].items()},
            without_memmaps(state["states"]),
            without_memmaps(state["remainders"]),
            state["steps"],
            without_memmaps(state.get("averages", [None] * len(state["remainders"]))),
            read_only=True,
        )

    def __repr__(self) -> str:
        hypers = ", ".join(
            f"{name}={f'array of {len(self)}' if isinstance(value, np.ndarray) else repr(value)}"
            for name, value in self.hypers.items()
        )
        arrays = len(self._tensors.params)
        return f"Population({self.rule.name!r}, {len(self)} rows of {arrays} arrays, {hypers})"


# What a population has itself; all else belongs to a subclass of the user's.
_ATTRIBUTES = {"_stored", "_tensors", "_training", "_tree", "hypers", "rule", "skipped_steps"}
