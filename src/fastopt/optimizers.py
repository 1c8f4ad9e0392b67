"""The optimizer classes: they own states, count steps and keep hyper-parameters in groups."""

import copy
import inspect
import numbers
import sys

import numpy as np

from fastopt._core import RULES, TensorList
from fastopt.documentation import describe_class
from fastopt.optimizer_state import State
from fastopt.state_memory import Layout, zeros_in_one_block
from fastopt.trees import flatten, is_groups, match


class Optimizer(State):
    """What the optimizer classes share; use one of them, such as `fastopt.Adam`.

    Attributes
    ----------
    param_groups : list of dict
        One for each group: its ``"params"`` and its hyper-parameters. A hyper-parameter that is
        changed here holds from the next step on.
    skipped : bool
        Whether the last step was left out because a gradient was not finite.
    skipped_steps : int
        How many were.

    Examples
    --------
    >>> import fastopt
    >>> issubclass(fastopt.Adam, fastopt.Optimizer)
    True
    """

    rule = None

    def __init__(self, params, **hypers):
        if self.rule is None:
            raise TypeError("Optimizer is abstract; use the class of a rule, such as fastopt.Adam")
        self._defaults = {**self.rule.class_hypers, **hypers}
        self._grouped = is_groups(params)
        groups = params if self._grouped else [{"params": params}]
        self._build([self._complete(group) for group in groups])
        self.skipped_steps = 0

    # Structure: groups of trees of arrays, and the flat list that is stepped.

    def _complete(self, group):
        """A group with all its hyper-parameters, in the order of the table."""
        given = {**self._defaults, **group}
        params = given.pop("params")
        for name in given:
            if name not in self.rule.class_hypers:
                raise TypeError(
                    f"{self.rule.class_name}() got an unexpected keyword argument {name!r}; "
                    f"it takes {', '.join(self.rule.class_hypers)}"
                )
        for name in self.rule.class_hypers:
            if given[name] is None:
                raise TypeError(f"{self.rule.class_name}() needs the keyword argument {name}")
        flag = self.rule.optional_flag
        if flag is not None and not isinstance(given[flag], bool):
            raise TypeError(f"{flag} must be a bool, got {given[flag]!r}")
        self._check_initial_value(given)
        # A copy: the order of a dict that the caller goes on using may change.
        if isinstance(params, (list, tuple, dict)):
            params = copy.copy(params)
        return {"params": params, **{name: given[name] for name in self.rule.class_hypers}}

    def _build(self, groups, states=(), steps=()):
        """Take over the groups, with new states for the parameters beyond those given."""
        params, names, owners = [], [], []
        for index, group in enumerate(groups):
            root = f"params[{index}]" if self._grouped else "params"
            arrays, places = flatten(group["params"], root)
            params += arrays
            names += places
            owners += [index] * len(arrays)
        if not params:
            raise ValueError("params must hold at least one array, got none")
        states = list(states)
        new = slice(len(states), None)
        for array, name in zip(params[new], names[new], strict=True):
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{name} must be a numpy.ndarray, got {type(array).__name__}")
        counts = [len(self._state_names(groups[owner])) for owner in owners[new]]
        layouts = [Layout(array.ctypes.data, array.shape, array.dtype) for array in params[new]]
        states += zeros_in_one_block(layouts, counts)
        flag = self.rule.optional_flag
        optional = [flag is not None and group[flag] for group in groups]
        tensors = TensorList([self.rule] * len(groups), params, states, owners, names, optional)
        tensors.check(groups)
        if self.rule.initial_value is not None:
            for state, owner in list(zip(states, owners, strict=True))[len(steps) :]:
                state[0].fill(groups[owner][self.rule.initial_value])
        tensors.steps = [*steps, *[0] * (len(params) - len(steps))]
        self._tensors = tensors
        self.param_groups = groups
        # The usual shape of gradients, a plain list, goes into C as it is.
        self._takes_list = not self._grouped and isinstance(groups[0]["params"], list)

    def _state_names(self, group):
        flag = self.rule.optional_flag
        optional = (self.rule.optional_state,) if flag is not None and group[flag] else ()
        return self.rule.states + optional

    def _check_initial_value(self, group):
        name = self.rule.initial_value
        if name is None:
            return
        value = group[name]
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"{name} must be a number, got {value!r}")
        if not 0 <= value <= sys.float_info.max:
            raise ValueError(f"{name} must be finite and >= 0, got {value!r}")

    def _flat_grads(self, grads):
        if not self._grouped:
            return match(grads, self.param_groups[0]["params"], "grads")
        if not isinstance(grads, (list, tuple)) or len(grads) != len(self.param_groups):
            raise ValueError(
                "grads must be a list with an entry for each of the "
                f"{len(self.param_groups)} groups"
            )
        flat = []
        for index, (tree, group) in enumerate(zip(grads, self.param_groups, strict=True)):
            if isinstance(tree, dict) and "params" in tree:
                tree = tree["params"]
            flat += match(tree, group["params"], f"grads[{index}]")
        return flat

    # Stepping.

    def step(self, grads, *, max_norm=None, grad_scale=1.0, skip_nonfinite=False):
        """Update every parameter by one step, in one call into C.

        Parameters
        ----------
        grads : ndarray, list, dict, or list of these
            The gradients in the structure in which the parameters were given; for groups, a list
            with an entry for each. A parameter whose gradient is None is left alone, and its step
            is not counted. Gradients are never written.
        max_norm : float, optional
            Clip by the global norm, as ``torch.nn.utils.clip_grad_norm_`` does: gradients are
            multiplied by ``min(1, max_norm/(norm + 1e-6))`` within the step. The norm is that of
            all gradients times grad_scale, taken in double; its bits depend neither on the CPU nor
            on the number of threads.
        grad_scale : float, default 1.0
            Multiplies every gradient first.
        skip_nonfinite : bool, default False
            If a gradient is NaN or infinite, change nothing, count no step, and set `skipped`.

        Returns
        -------
        float or None
            The norm before clipping, if max_norm or skip_nonfinite is given; not finite if the step
            was skipped.

        Raises
        ------
        TypeError
            If a gradient is not a plain ndarray of its parameter's dtype, or a number or flag is of
            a wrong type.
        ValueError
            If a gradient has another shape than its parameter, is not C-contiguous, misaligned, or
            overlaps a parameter or state, or a number is out of range. Nothing has changed then.
        RuntimeError
            If another thread is in the middle of a step of this optimizer.

        Examples
        --------
        >>> import fastopt
        >>> import numpy as np
        >>> opt = fastopt.SGD([np.zeros(2), np.zeros(1)], lr=1.0)
        >>> opt.step([np.array([3.0, 0.0]), np.array([4.0])], max_norm=1.0)
        5.0
        """
        if not (self._takes_list and type(grads) is list):
            grads = self._flat_grads(grads)
        tensors = self._tensors
        norm = tensors.step(grads, self.param_groups, max_norm, grad_scale, skip_nonfinite)
        if tensors.skipped:
            self.skipped_steps += 1
        return norm

    @property
    def skipped(self):
        """Whether the last step was left out because a gradient was not finite."""
        return self._tensors.skipped

    @property
    def lr(self):
        """The learning rate of all groups; setting it sets it for all.

        Raises
        ------
        ValueError
            On reading, if groups differ; on setting, if the value is out of range.
        """
        first = self.param_groups[0]["lr"]
        if any(group["lr"] != first for group in self.param_groups):
            raise ValueError("the groups have different lr; read them from param_groups")
        return first

    @lr.setter
    def lr(self, value):
        with self._tensors:
            self._tensors.check([{**group, "lr": value} for group in self.param_groups])
        for group in self.param_groups:
            group["lr"] = value

    def add_param_group(self, group):
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
        before = self._grouped
        self._grouped = True
        try:
            self._build(
                [*self.param_groups, self._complete(group)],
                self._tensors.states,
                self._tensors.steps,
            )
        except BaseException:
            self._grouped = before
            raise

    def __repr__(self):
        groups = "; ".join(
            ", ".join(f"{name}={value!r}" for name, value in group.items() if name != "params")
            for group in self.param_groups
        )
        return f"{type(self).__name__}({len(self._tensors.params)} arrays, {groups})"


def _make_class(rule):
    def __init__(self, params, **hypers):  # noqa: N807
        Optimizer.__init__(self, params, **hypers)

    parameter = inspect.Parameter
    __init__.__signature__ = inspect.Signature(
        [
            parameter("self", parameter.POSITIONAL_OR_KEYWORD),
            parameter("params", parameter.POSITIONAL_OR_KEYWORD),
            *(
                parameter(
                    name,
                    parameter.KEYWORD_ONLY,
                    default=parameter.empty if value is None else value,
                )
                for name, value in rule.class_hypers.items()
            ),
        ]
    )
    __init__.__qualname__ = f"{rule.class_name}.__init__"
    members = {
        "__doc__": describe_class(rule),
        "__init__": __init__,
        "__module__": "fastopt",
        "rule": rule,
    }
    return type(rule.class_name, (Optimizer,), members)


CLASSES = {rule.class_name: _make_class(rule) for rule in RULES.values()}
