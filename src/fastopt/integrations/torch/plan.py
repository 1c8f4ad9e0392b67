"""What an optimizer for torch keeps between two steps: all tensors, for one call into C.

A step goes through the parameters in C and finds their memory through DLPack's exchange interface.
One call of that gives what half a dozen methods of a tensor would give.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

import torch

from fastopt._blocks import fill
from fastopt._core import ExchangeList, Rule, Snapshot
from fastopt.integrations.torch import blocks
from fastopt.integrations.torch.sharded import (
    first_place,
    grad_of,
    is_sharded,
    part_of,
    whole_of,
)
from fastopt.integrations.torch.sparse import Rows, rows_of
from fastopt.integrations.torch.storage import (
    FORMATS,
    NUMBERS,
    REMAINDER,
    TORCH_STATES,
    Group,
    Storage,
    refuse_blocks,
    zeros,
)

Entry: TypeAlias = dict[str, Any]


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
        self.storages = list(map(Storage, self.rules, self.groups))
        names, owners, states, steps, counters = [], [], [], [], []
        fresh, seeds, positions = [], [], []
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
                if param.grad is None and (
                    only_with_gradient
                    or not (wanted or id(param) in stepped)
                    or not _fits(part_of(param), entry, storage, wanted)
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
                is_counted = rule.name in COUNTED or storage.seed is not None
                is_new = all(entry.get(state) is None for state in wanted)
                # SGD's remainder may be all that there is.
                kept = {
                    state: dtype
                    for state, dtype in dtypes.items()
                    if not is_new or (state == REMAINDER and entry.get(state) is not None)
                }
                update = _usable_states(param, name, entry, kept, squares_of(rule, wanted))
                if is_counted:
                    update = _counter(name, entry, is_new and rule.name in COUNTED) | update
                if rule.carried:
                    update = _carried(rule.carried, name, entry, is_new) | update
                self.params.append(param)
                self.stepped.add(id(whole))
                names.append(name)
                owners.append(owner)
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
        held = [({**entry, **update}, names, dtypes) for entry, update, names, dtypes in states]
        self.tensors = ExchangeList(
            self.rules,
            self.params,
            [[entry[name] for name in names] for entry, names, _ in held],
            owners,
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
        )
        self.hypers = [
            hypers_of(rule, group, optimizer.defaults) | optimizer._fixed
            for rule, group in zip(self.rules, self.groups, strict=True)
        ]
        self.tensors.set_refusals(list(map(optimizer._refusals, self.groups)))

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
            if now.data_ptr() != part.data_ptr() or not _is_alike(now, part, part.dtype):
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
                or self.storages != list(map(Storage, rules, self.groups))
            ):
                return False
            self._read_settings(optimizer)
        if self.parts and not self._take_parts():
            return False
        try:
            stepped = self.tensors.step_params(self.hypers, torch.get_num_threads())
        finally:
            for _, part in self.parts:
                part.grad = None
        if stepped is None:
            return False
        torch.autograd.graph.increment_version(stepped)
        if self.parts:
            wholes = [whole for whole, _ in self.parts if whole.grad is not None]
            torch.autograd.graph.increment_version(wholes)
        if self.structure is None:
            self._keep_states()
        return True


# The rules whose steps torch counts
COUNTED = {
    "adagrad",
    "adadelta",
    "adam",
    "adamw",
    "adamax",
    "asgd",
    "nadam",
    "radam",
    "rmsprop",
    "rprop",
}
# Of rules' hyper-parameters that torch has in pairs
PAIRS = {
    "betas": ("beta1", "beta2"),
    "etas": ("eta_minus", "eta_plus"),
    "step_sizes": ("step_size_min", "step_size_max"),
}


def state_names(rule: Rule, group: Group) -> list[str]:
    names = [TORCH_STATES.get(state, state) for state in rule.states]
    return [*names, *(name for name, switch in rule.optional.items() if group.get(switch))]


def squares_of(rule: Rule, names: Sequence[str]) -> set[str]:
    """Those of a rule's states, under torch's names, that are of squares."""
    own = (*rule.states, *rule.optional)
    return {name for name, state in zip(names, own, strict=False) if state in rule.squares}


def _fits(param: torch.Tensor, entry: Entry, storage: Storage, names: list[str]) -> bool:
    """Whether a parameter has all states, and they can be stepped as they are."""
    return param.dtype in FORMATS and all(
        isinstance(entry.get(state), torch.Tensor) and _is_alike(entry[state], param, dtype)
        for state, dtype in storage.dtypes(param, "params", names).items()
    )


def _is_alike(state: torch.Tensor, param: torch.Tensor, dtype: torch.dtype) -> bool:
    if dtype == blocks.DTYPE:
        return blocks.is_of_blocks(state, param)
    return (
        state.shape == param.shape
        and state.dtype == dtype
        and state.layout is param.layout is torch.strided
        and _strides(state) == _strides(param)
        and not state.is_neg()
    )


def _strides(tensor: torch.Tensor) -> list[int]:
    """The strides of dimensions with more or less than one element; others have no meaning."""
    return [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size != 1]


def _usable_states(
    param: torch.Tensor,
    name: str,
    entry: Entry,
    dtypes: Mapping[str, torch.dtype],
    squares: Collection[str],
) -> Entry:
    """Copies of the states that are not in the parameter's layout or in the wanted dtypes.

    States have another dtype after ``module.double()``, for example.
    """
    copies = {}
    for state, dtype in dtypes.items():
        value = entry.get(state)
        if state == REMAINDER and getattr(value, "dtype", None) != torch.int16:
            # There is none, or torch has cast it: the value is that of the parameter alone.
            copies[state] = torch.zeros_like(param, dtype=torch.int16, requires_grad=False)
            continue
        if value is None:
            raise ValueError(f"the state of {name} must have {[*dtypes]}, got {list(entry)}")
        in_blocks = isinstance(value, torch.Tensor) and blocks.is_of_blocks(value, param)
        check_tensor(value, f"{state} of {name}", any_dtype=in_blocks or state == REMAINDER)
        if value.shape != param.shape and not in_blocks:
            raise ValueError(
                f"{state} of {name} must be of shape {tuple(param.shape)}, got {tuple(value.shape)}"
            )
        if _is_alike(value, param, dtype):
            continue
        if in_blocks or dtype == blocks.DTYPE:
            copies[state] = blocks.cast(value, param, dtype, state in squares)
        else:
            copies[state] = torch.empty_like(param, dtype=dtype, requires_grad=False).copy_(value)
    return copies


def _counter(name: str, entry: Entry, is_new: bool) -> Entry:
    """The tensor that counts a parameter's steps, if there is none."""
    step = entry.get("step")
    if isinstance(step, torch.Tensor):
        if step.is_neg():
            raise TypeError(f"step of {name} must hold its value, got a negated view")
        count = step.item() if step.numel() == 1 and step.device.type == "cpu" else 0
    elif step is None or isinstance(step, (int, float)):
        count = step or 0
    else:
        raise TypeError(f"step of {name} must be a tensor of one element, got {step!r}")
    if is_new and count:
        raise ValueError(f"the state of {name} must have averages after {count} steps, got none")
    if isinstance(step, torch.Tensor):
        return {}
    return {"step": a_number(count)}


def _carried(number: str, name: str, entry: Entry, is_new: bool) -> Entry:
    """The tensor of a number that is carried from step to step, where there is none to be used."""
    value = entry.get(number)
    if isinstance(value, torch.Tensor) and value.is_neg():
        raise TypeError(f"{number} of {name} must hold its value, got a negated view")
    if value is None:
        if not is_new:
            raise ValueError(f"the state of {name} must have {number!r}, got {list(entry)}")
        return {number: a_number(1.0)}
    if isinstance(value, (int, float)):
        return {number: a_number(value)}
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{number} of {name} must be a tensor of one element, got {value!r}")
    # torch casts it to the dtype of the parameter when it loads a state dictionary.
    if value.numel() == 1 and value.dtype in (torch.bfloat16, torch.float16):
        return {number: a_number(value.item())}
    return {}


def a_number(value: float) -> torch.Tensor:
    """A tensor without dimensions, in the dtype that torch takes for such numbers."""
    dtype = torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32
    return torch.tensor(value, dtype=dtype, device="cpu")


def make_states(
    fresh: Sequence[tuple[torch.Tensor, Entry, Mapping[str, torch.dtype], Group]],
) -> None:
    """The states of new parameters.

    fresh : for each parameter, itself, where its states are to be, their dtypes, its group.
    """
    made = zeros([param for param, *_ in fresh], [dtypes for _, _, dtypes, _ in fresh])
    for (param, entry, dtypes, group), states in zip(fresh, made, strict=True):
        entry.update(states)
        start = group.get("initial_accumulator_value", 0.0)
        if start:
            first = entry[next(iter(dtypes))]
            if first.dtype == blocks.DTYPE:
                fill(blocks.as_blocks(first), start, True, param.numel())  # a sum of squares
            else:
                first.fill_(start)


def keep(entry: Entry, update: Entry, param: torch.Tensor) -> None:
    """Put states that were made for the stepped part of a parameter into the parameter's state."""
    entry.update(
        (name, value if name in NUMBERS else whole_of(value, param))
        for name, value in update.items()
    )


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


def check_tensor(tensor: Any, name: str, *, any_dtype: bool = False) -> None:
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(tensor).__name__}")
    if tensor.layout is not torch.strided or tensor.device.type != "cpu":
        got = f"a tensor of layout {tensor.layout} on {tensor.device}"
        raise TypeError(f"{name} must be a strided tensor on the CPU, got {got}")
    if tensor.dtype not in FORMATS and not any_dtype:
        raise TypeError(f"{name} must be {', '.join(FORMATS.values())}, got {tensor.dtype}")


# How the core recognises torch's tensors, and copies a gradient into its parameter's layout
SOURCE = (torch.Tensor, torch.Tensor.is_neg, _adopt)

# Types whose objects never change their value
IMMUTABLE = (int, float, bool, str, type(None))


def optional_states(rule: Rule, group: Group) -> int:
    """The set of the optional states of a group, in bits."""
    return sum(1 << k for k, switch in enumerate(rule.optional.values()) if group.get(switch))


def hypers_of(rule: Rule, group: Group, defaults: dict[str, Any]) -> dict[str, Any]:
    """A group's hyper-parameters by the rule's names; the rule's defaults for those torch lacks."""
    for name in ("capturable", "differentiable"):
        if group.get(name):
            raise ValueError(f"{name} must be False, fastopt has no such step; got {group[name]!r}")
    hypers = dict(rule.class_hypers)
    for name in (*hypers, *PAIRS):
        if name in defaults and name not in group:
            raise ValueError(f"a parameter group must have {name!r}, got {sorted(group)}")
    for name, default in hypers.items():
        if name in group and name in defaults:
            # torch accepts any object as a flag.
            hypers[name] = bool(group[name]) if isinstance(default, bool) else _number(group[name])
    for pair, own in PAIRS.items():
        if own[0] in hypers:
            hypers.update(zip(own, map(_number, group[pair]), strict=True))
    if "decoupled" in hypers:
        hypers["decoupled"] = bool(group.get("decoupled_weight_decay"))
    return hypers


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, torch.Tensor) else value
