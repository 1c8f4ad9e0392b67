"""What an optimizer for torch keeps between two steps: all tensors, for one call into C.

A step goes through the parameters in C and finds their memory through DLPack's exchange interface.
One call of that gives what half a dozen methods of a tensor would give.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastopt._core import ExchangeList, Snapshot
from fastopt.integrations.torch.groups import count_of, optional_states, squares_of
from fastopt.integrations.torch.sharded import first_place, grad_of, is_sharded, part_of
from fastopt.integrations.torch.sparse import Rows, rows_of
from fastopt.integrations.torch.states import (
    Entry,
    check_tensor,
    fits,
    is_alike,
    keep,
    make_states,
    new_carried,
    new_counter,
    usable_copies,
)
from fastopt.integrations.torch.storage import REMAINDER, refuse_blocks

# Types whose objects never change their value
IMMUTABLE = (int, float, bool, str, type(None))


def make_plan(optimizer: Any) -> "Plan":
    # Parameters that were stepped before are included even if they have no gradient now, since a
    # model may leave out others at each step. An error in one without a gradient must not stop the
    # step, so the second attempt leaves these out.
    try:
        return Plan(optimizer, only_with_gradient=False)
    except (TypeError, ValueError):
        return Plan(optimizer, only_with_gradient=True)


class Plan:
    """The parameters that are stepped, with their states: all of them in one call into C.

    It is valid as long as the groups and the state have the same tensors at the same places in
    memory. New states are put into the optimizer's state only when the first step has succeeded.
    """

    @torch.no_grad()
    def __init__(self, optimizer: Any, *, only_with_gradient: bool):
        self.groups, self.state = optimizer.param_groups, optimizer.state
        self.rules = [optimizer._rule(group) for group in self.groups]
        self.optional = list(map(optional_states, self.rules, self.groups))
        self.idle: list[torch.Tensor] = []
        self.structure: Snapshot | None = None
        self.updates: list[tuple[torch.Tensor, Entry, Mapping[str, torch.dtype]]] = []
        self.params: list[torch.Tensor] = []  # for a DTensor the part that this process holds
        self.parts: list[tuple[torch.Tensor, torch.Tensor]] = []  # DTensors, and these parts
        self.storages = list(map(optimizer._storage, self.rules, self.groups))
        self.owners: list[int] = []  # the group of each of the parameters
        # What is carried from step to step by the parameters of a group, an array for each of them
        self.carried: list[NDArray[np.float64]] = []
        # What is carried from step to step by all parameters together
        joined = {
            rule.carried: np.zeros(rule.carried_shape) for rule in self.rules if rule.joins_arrays
        }
        self.joined = next(iter(joined.values()), None)
        names, states, steps, counters = [], [], [], []
        fresh, seeds, positions = [], [], []
        by_group = optimizer._counted_by_group
        stepped = optimizer._plan.stepped if optimizer._plan else set()
        self.stepped: set[int] = set()
        index, position = -1, 0
        for owner, (rule, group) in enumerate(zip(self.rules, self.groups, strict=True)):
            storage = self.storages[owner]
            wanted = optimizer._state_names(rule, group)
            for param in group["params"]:
                index += 1
                name = f"params[{index}]"
                start, position = position, position + param.numel()
                entry = {k: part_of(value) for k, value in (self.state.get(param) or {}).items()}
                taken = {}
                if param.grad is not None:
                    taken = optimizer._take_over(param, name, entry)
                    entry.update(taken)
                if param.grad is None and (
                    only_with_gradient
                    or not (wanted or id(param) in stepped)
                    or not fits(part_of(param), entry, storage, wanted)
                ):
                    self.idle.append(param)
                    continue
                check_tensor(param, name)
                whole = param
                if is_sharded(param):
                    start += first_place(param)
                    self.parts.append((param, part_of(param)))
                    param = self.parts[-1][1]
                dtypes = storage.dtypes(param, name, wanted)
                if whole is not param:
                    refuse_blocks(dtypes, name)
                # Stochastic rounding needs the count of steps, which torch's SGD does not keep.
                is_counted = by_group is None and (optimizer._counts or storage.seed is not None)
                is_new = all(entry.get(state) is None for state in wanted)
                # SGD's remainder may be all that there is.
                kept = {
                    state: dtype
                    for state, dtype in dtypes.items()
                    if not is_new or (state == REMAINDER and entry.get(state) is not None)
                }
                update = usable_copies(param, name, entry, kept, squares_of(rule, wanted))
                update = taken | update
                if is_counted:
                    update = new_counter(name, entry, is_new and optimizer._counts) | update
                if rule.carried and by_group is not None:
                    self.carried.append(np.zeros(rule.carried_shape))
                    entry[rule.carried] = self.carried[-1]
                elif rule.carried and not rule.joins_arrays:
                    update = new_carried(rule.carried, name, entry, is_new) | update
                self.params.append(param)
                self.stepped.add(id(whole))
                names.append(name)
                self.owners.append(owner)
                numbers = [rule.carried] if rule.carried else []
                states.append((entry, update, [*wanted, *numbers], dtypes))
                # A buffer means that SGD's first step, the one without dampening, is over.
                steps.append(0 if is_new else 1)
                counters.append({**entry, **update}["step"] if is_counted else None)
                seeds.append(storage.seed)
                positions.append(start)
                if is_new:
                    missing = {state: dtypes[state] for state in dtypes if state not in kept}
                    fresh.append((param, update, missing, group))
                self.updates.append((whole, update, dtypes))
        make_states(fresh)
        held = [
            ({**entry, **update, **joined}, names, dtypes)
            for entry, update, names, dtypes in states
        ]
        self.tensors = ExchangeList(
            self.rules,
            self.params,
            [[entry[name] for name in names] for entry, names, _ in held],
            self.owners,
            names,
            self.optional,
            SOURCE,
            remainders=[
                entry[REMAINDER] if REMAINDER in dtypes else None for entry, _, dtypes in held
            ],
        )
        self.tensors.steps, self.tensors.counters = steps, counters
        lenient = [storage.is_torch_s for storage in self.storages]
        self.tensors.set_rounding(seeds, positions, lenient)
        self._read_settings(optimizer)

    def _read_settings(self, optimizer: Any) -> None:
        self.settings = Snapshot([*self.groups])
        # The value of a tensor, such as lr, or of a list can change while the object is the same.
        values = [group.get(name) for group in self.groups for name in optimizer.defaults]
        self.is_fixed = all(
            isinstance(number, IMMUTABLE)
            for value in values
            for number in (value if isinstance(value, tuple) else (value,))
        ) and not any(map(optimizer._is_scheduled, self.groups))
        self.hypers = [
            optimizer._hypers(rule, group)
            for rule, group in zip(self.rules, self.groups, strict=True)
        ]
        self.tensors.set_refusals(list(map(optimizer._refusals, self.groups)))
        self.tensors.set_idle(list(map(optimizer._is_idle, self.groups)))

    def _tell_counts(self, optimizer: Any) -> None:
        """Set, for each parameter, what its group counts and carries."""
        counts = [count_of(group, optimizer._counted_by_group) for group in self.groups]
        carried = list(map(optimizer._carried, self.groups))
        with self.tensors:  # no other thread is in the middle of a step with them
            self.tensors.steps = [counts[owner] for owner in self.owners]
            for owner, array in zip(self.owners, self.carried, strict=False):
                array[...] = carried[owner]

    def _keep_states(self) -> None:
        """Put the states that were made for the first step into the optimizer's state."""
        for param, update, dtypes in self.updates:
            if update:
                keep(self.state[param], update, param)
            # A remainder tells nothing of a parameter that is stepped without it.
            if REMAINDER in self.state.get(param, ()) and REMAINDER not in dtypes:
                del self.state[param][REMAINDER]
        self.updates = []
        lists = [group["params"] for group in self.groups]
        self.structure = Snapshot([self.groups, self.state, *lists, *self.state.values()])

    @torch.no_grad()
    def _take_parts(self) -> bool:
        """Set the gradients of the parts; False if a DTensor now holds another part."""
        for whole, part in self.parts:
            now = part_of(whole)
            if now.data_ptr() != part.data_ptr() or not is_alike(now, part, part.dtype):
                return False
            part.grad = grad_of(whole)
        return True

    def step(self, optimizer: Any) -> bool:
        """Take the step; if the plan is no longer valid, do nothing and return False."""
        if not (
            optimizer.param_groups is self.groups
            and optimizer.state is self.state
            and (self.structure is None or self.structure.holds())
            and all(param.grad is None for param in self.idle)
        ):
            return False
        if not (self.is_fixed and self.settings.holds()):
            rules = [optimizer._rule(group) for group in self.groups]
            if (
                rules != self.rules
                or self.optional != list(map(optional_states, rules, self.groups))
                or self.storages != list(map(optimizer._storage, rules, self.groups))
            ):
                return False
            self._read_settings(optimizer)
        if self.parts and not self._take_parts():
            return False
        count = 0
        if self.joined is not None:
            count = optimizer._read_joined(self.joined)
        elif optimizer._counted_by_group is not None:
            self._tell_counts(optimizer)
        try:
            stepped = self.tensors.step_params(
                self.hypers, torch.get_num_threads(), count, optimizer._grad_scale()
            )
        finally:
            for _, part in self.parts:
                part.grad = None
        if stepped is None:
            return False
        if self.joined is not None and stepped:
            optimizer._write_joined(self.joined)
            self.settings = Snapshot([*self.groups])
        elif optimizer._counted_by_group is not None:
            optimizer._count_groups()
            self.settings = Snapshot([*self.groups])
        torch.autograd.graph.increment_version(stepped)
        if self.parts:
            wholes = [whole for whole, _ in self.parts if whole.grad is not None]
            torch.autograd.graph.increment_version(wholes)
        if self.structure is None:
            self._keep_states()
        return True


@torch.no_grad()
def _adopt(param: torch.Tensor, grad: torch.Tensor, name: str) -> torch.Tensor | Rows:
    """A copy of the gradient in the layout of its parameter; of a sparse one, its rows."""
    name = f"the gradient of {name}"
    is_sparse = isinstance(grad, torch.Tensor) and grad.layout is torch.sparse_coo
    check_tensor(grad._values() if is_sparse else grad, name)
    are_double = grad.dtype == torch.float64, param.dtype == torch.float64
    if grad.shape != param.shape or are_double[0] != are_double[1]:
        raise ValueError(
            f"{name} must be {param.dtype} of shape {tuple(param.shape)}, "
            f"got {grad.dtype} of {tuple(grad.shape)}"
        )
    if is_sparse:
        return rows_of(grad, param, name)
    return torch.empty_like(param, dtype=grad.dtype, requires_grad=False).copy_(grad)


# How the core recognises torch's tensors, and copies a gradient into its parameter's layout
SOURCE = (torch.Tensor, torch.Tensor.is_neg, _adopt)
