"""What an optimizer remembers: as a dict, as a file, as a pickle."""

import copy

import numpy as np

from fastopt import statefile
from fastopt.trees import flatten


class State:
    """The part of `fastopt.Optimizer` that gives its state away and takes it back."""

    @property
    def state(self):
        """For each parameter in order, a dict of its step count and its state arrays themselves."""
        owners = [
            group
            for group in self.param_groups
            for _ in range(len(flatten(group["params"], "")[0]))
        ]
        return [
            {"step": step, **dict(zip(self._state_names(group), arrays, strict=True))}
            for step, arrays, group in zip(
                self._tensors.steps, self._tensors.states, owners, strict=True
            )
        ]

    def state_dict(self):
        """A copy of everything but the parameters, as plain picklable data.

        Returns
        -------
        dict
            ``"rule"``; ``"param_groups"``: for each group its hyper-parameters and, as
            ``"params"``, the indices of its parameters; ``"state"``: for each parameter its
            ``"step"`` and arrays.

        Examples
        --------
        >>> import fastopt
        >>> import numpy as np
        >>> opt = fastopt.Momentum(np.zeros(2), lr=0.1)
        >>> opt.state_dict()["state"]
        [{'step': 0, 'momentum_buffer': array([0., 0.])}]
        """
        groups, start = [], 0
        for group in self.param_groups:
            count = len(flatten(group["params"], "")[0])
            groups.append({**group, "params": list(range(start, start + count))})
            start += count
        with self._tensors:
            state = [
                {name: value if name == "step" else value.copy() for name, value in entry.items()}
                for entry in self.state
            ]
        return {"rule": self.rule.name, "param_groups": groups, "state": state}

    def load_state_dict(self, state_dict):
        """Go on from where `state_dict` was taken. The parameters are not part of it.

        Parameters
        ----------
        state_dict : dict
            Of an optimizer of the same class with parameters of the same shapes and dtypes, in the
            same groups.

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
        mine = self.state_dict()
        _require_keys(state_dict, mine, "state_dict")
        if state_dict["rule"] != mine["rule"]:
            raise ValueError(
                f"state_dict is of the rule {state_dict['rule']!r}, "
                f"this optimizer is {mine['rule']!r}"
            )
        for key in ("param_groups", "state"):
            found = state_dict[key]
            if not isinstance(found, list) or len(found) != len(mine[key]):
                raise ValueError(f"state_dict[{key!r}] must be a list of {len(mine[key])} dicts")
            for index, (entry, own) in enumerate(zip(found, mine[key], strict=True)):
                _require_keys(entry, own, f"state_dict[{key!r}][{index}]")
        groups = []
        for index, (group, own) in enumerate(
            zip(state_dict["param_groups"], self.param_groups, strict=True)
        ):
            if group["params"] != mine["param_groups"][index]["params"]:
                raise ValueError(
                    f"state_dict['param_groups'][{index}] has the parameters {group['params']}, "
                    f"this optimizer {mine['param_groups'][index]['params']}"
                )
            groups.append({**group, "params": own["params"]})
        for index, (entry, own) in enumerate(zip(state_dict["state"], self.state, strict=True)):
            for name, value in own.items():
                if name != "step":
                    _require_like(entry[name], value, f"{name} of state_dict['state'][{index}]")
        with self._tensors:
            before = self._tensors.steps
            try:
                for group in groups:
                    self._check_initial_value(group)
                self._tensors.check(groups)
                self._tensors.steps = [entry["step"] for entry in state_dict["state"]]
            except (TypeError, ValueError) as error:
                self._tensors.steps = before
                raise ValueError(f"state_dict does not fit: {error}") from error
            for group, new in zip(self.param_groups, groups, strict=True):
                group.update(new)
            for entry, own in zip(state_dict["state"], self.state, strict=True):
                for name, value in own.items():
                    if name != "step":
                        value[...] = entry[name]

    def save(self, path):
        """Write the state to a file: atomically, and so that it is on the disk on return.

        The file holds no pickle; `load` verifies it. If anything fails, a file that was there
        before is still there and whole.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> import fastopt, os, tempfile
        >>> import numpy as np
        >>> opt = fastopt.Adam(np.zeros(2))
        >>> opt.step(np.ones(2))
        >>> path = os.path.join(tempfile.mkdtemp(), "adam.state")
        >>> opt.save(path)
        >>> other = fastopt.Adam(np.zeros(2))
        >>> other.load(path)
        >>> other.state[0]["step"]
        1
        """
        content = self.state_dict()
        arrays = {
            f"{index}/{name}": value
            for index, entry in enumerate(content["state"])
            for name, value in entry.items()
            if name != "step"
        }
        groups = [
            {name: _plain(value) for name, value in group.items()}
            for group in content["param_groups"]
        ]
        steps = [entry["step"] for entry in content["state"]]
        header = {"rule": content["rule"], "param_groups": groups, "steps": steps}
        statefile.write(path, header, arrays)

    def load(self, path):
        """Go on from a file that `save` wrote.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        fastopt.StateFileError
            A ValueError: the file is damaged, or of another optimizer. Nothing has changed then.
        OSError
            If the file cannot be read.
        """
        header, arrays = statefile.read(path)
        try:
            _require_keys(header, ("rule", "param_groups", "steps"), "the header")
            state = [{"step": step} for step in header["steps"]]
            for key, array in arrays.items():
                index, _, name = key.partition("/")
                state[int(index)][name] = array
            self.load_state_dict(
                {"rule": header["rule"], "param_groups": header["param_groups"], "state": state}
            )
        except (TypeError, ValueError, IndexError) as error:
            raise statefile.StateFileError(f"{path}: {error}") from error

    def __getstate__(self):
        # A copy: other threads may step again before it is pickled.
        with self._tensors:
            return copy.deepcopy(
                {
                    "defaults": self._defaults,
                    "grouped": self._grouped,
                    "param_groups": self.param_groups,
                    "states": self._tensors.states,
                    "steps": self._tensors.steps,
                    "skipped_steps": self.skipped_steps,
                }
            )

    def __setstate__(self, state):
        self._defaults = state["defaults"]
        self._grouped = state["grouped"]
        self.skipped_steps = state["skipped_steps"]
        self._build(state["param_groups"], state["states"], state["steps"])


def _require_keys(found, wanted, name):
    if not isinstance(found, dict) or set(found) != set(wanted):
        what = sorted(map(str, found)) if isinstance(found, dict) else type(found).__name__
        raise ValueError(f"{name} must be a dict with the keys {list(wanted)}, got {what}")


def _require_like(array, own, name):
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} must be a numpy.ndarray, got {type(array).__name__}")
    if array.shape != own.shape or array.dtype != own.dtype:
        raise ValueError(
            f"{name} must be {own.dtype} of shape {own.shape}, got {array.dtype} of {array.shape}"
        )


def _plain(value):
    """A NumPy scalar as the Python number that JSON knows."""
    return value.item() if isinstance(value, np.generic) else value
