"""What the optimizers for torch share: constructor, groups, state dictionaries, and `step`."""

import inspect
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.optim.optimizer import ParamsT

from fastopt._core import ExchangeList, Rule, TensorList
from fastopt.integrations.torch.groups import count_of, hypers_of, optional_states, state_names
from fastopt.integrations.torch.plan import SOURCE, Plan, make_plan
from fastopt.integrations.torch.sharded import is_sharded, part_of
from fastopt.integrations.torch.states import Entry, a_number, check_tensor, keep, make_states
from fastopt.integrations.torch.storage import (
    CAUTIOUS,
    KEYWORDS,
    NUMBERS,
    PARAMETERS,
    REMAINDER,
    Group,
    Storage,
    refuse_blocks,
    warn_of_loss,
    zeros,
)


class Stepping:
    """What the classes share: `step`, and what it keeps between two steps."""

    param_groups: list[Group]
    defaults: dict[str, Any]
    state: defaultdict[torch.Tensor, Any]

    # Made by the first step, and again whenever a tensor or a state is no longer what it was.
    _plan: Plan | None = None
    # The keywords that torch's constructors lack; empty if all have their defaults
    _given: Mapping[str, Any] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if Stepping not in cls.__bases__ or len(cls.__bases__) == 1 or "__init__" in vars(cls):
            return  # not a direct subclass of Stepping and a class of torch with its keywords

        def __init__(self: Stepping, params: Any, *args: Any, **keywords: Any) -> None:  # noqa: N807
            Stepping.__init__(self, params, *args, **keywords)

        theirs = inspect.signature(cls.__bases__[1].__init__)  # type: ignore[misc]
        added = [*PARAMETERS, CAUTIOUS] if cls._has_cautious else PARAMETERS
        __init__.__signature__ = theirs.replace(  # type: ignore[attr-defined]
            parameters=[*theirs.parameters.values(), *added]
        )
        cls.__init__ = __init__  # type: ignore[method-assign]

    def __init__(
        self,
        params: ParamsT,
        *args: Any,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: str | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        values = (state_format, master_weights, rounding, seed)
        given = dict(zip(KEYWORDS, values, strict=True))
        is_torch_s = given == KEYWORDS
        if is_torch_s:
            given = {}
        if self._has_cautious:
            cautious = settings.pop("cautious", False)
            if cautious is not False:
                given["cautious"] = cautious
        self._given = given
        super().__init__(params, *args, **settings)  # type: ignore[call-arg]
        if is_torch_s:
            warn_of_loss(self.param_groups)
        if self.state:
            self._move_states()

    def _rule(self, group: Group) -> Rule:
        """The rule of a group, by its present settings."""
        raise NotImplementedError

    # Whether the constructor takes cautious=
    _has_cautious: ClassVar[bool] = False

    # Hyper-parameters that differ from the rule's defaults and are in no group
    _fixed: ClassVar[dict[str, Any]] = {}

    def _refusals(self, group: Group) -> tuple[str | None, str | None]:
        """Why a group takes no sparse gradients, and why no dense ones; None if it does."""
        theirs = type(self).__mro__
        name = next(cls.__name__ for cls in theirs if cls.__module__.startswith("torch.optim"))
        return f"{name} does not support sparse gradients", None

    def _state_names(self, rule: Rule, group: Group) -> list[str]:
        return state_names(rule, group)

    # Whether each parameter counts its steps, in the state `step`, whatever its rounding
    _counts: ClassVar[bool] = True

    # The format of narrow parameters' states where none is named; None: that of the parameters
    _default_format: ClassVar[str | None] = None

    def _storage(self, rule: Rule, group: Group) -> Storage:
        return Storage(rule, group, self._default_format)

    def _hypers(self, rule: Rule, group: Group) -> dict[str, Any]:
        """A group's hyper-parameters by the rule's names."""
        return hypers_of(rule, group, self.defaults) | self._fixed

    def _is_idle(self, group: Group) -> bool:
        """Whether a group is left alone, as if it had no gradients."""
        return False

    def _take_over(self, param: torch.Tensor, name: str, entry: Entry) -> Entry:
        """What a parameter's state lacks because another library left it; None takes away."""
        return {}

    def _grad_scale(self) -> float:
        """By what the gradients of a step are multiplied."""
        return 1.0

    # For a class whose groups count their steps, also those in which a parameter has no gradient

    # The setting that is the count; None: each parameter counts its own
    _counted_by_group: ClassVar[str | None] = None

    def _is_scheduled(self, group: Group) -> bool:
        """Whether hyper-parameters depend on the count."""
        return False

    def _carried(self, group: Group) -> float:
        """The number that the rule carries to the next step, if it carries one."""
        return 0.0

    def _count_groups(self) -> None:
        """Count a step, after it."""
        name = self._counted_by_group
        for group in self.param_groups:
            if name is not None:
                group[name] = count_of(group, name) + 1

    # For a rule that joins arrays

    def _read_joined(self, numbers: NDArray[np.float64]) -> int:
        """Set what is carried from step to step; the count of steps, with the one to come."""
        raise NotImplementedError

    def _write_joined(self, numbers: NDArray[np.float64]) -> None:
        """Keep what is carried, after a step."""
        raise NotImplementedError

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """False: GradScaler itself unscales gradients, and skips steps with infinite ones."""
        return False

    @_step_supports_amp_scaling.setter
    def _step_supports_amp_scaling(self, value: bool) -> None:
        """torch's constructors set it for ``fused=True``, which makes no difference here."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[misc]
        self._plan = None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` gave, of this class or of torch's.

        Like torch's, but where the groups have keywords that torch has not, states keep the formats
        that they were saved in; torch casts every state to its parameter's dtype.
        """
        seen: list[Any] = []
        known = [dict(group) for group in self.param_groups]
        hooks = (
            self.register_load_state_dict_pre_hook(  # type: ignore[attr-defined]
                lambda _, final: seen.append(final)
            ),
            self.register_load_state_dict_post_hook(  # type: ignore[attr-defined]
                lambda _: self._restore_formats(seen[0], known), prepend=True
            ),
        )
        try:
            super().load_state_dict(state_dict)  # type: ignore[misc]
        finally:
            for hook in hooks:
                hook.remove()

    def _restore_formats(self, loaded: dict[str, Any], known: list[Group]) -> None:
        for saved, before, group in zip(
            loaded["param_groups"], known, self.param_groups, strict=True
        ):
            # A state dictionary of torch's has none of the keywords: they stay as they were.
            lacked = {*KEYWORDS, "cautious"} - saved.keys()
            group.update({k: before[k] for k in lacked if k in before})
            formats_are_kept = KEYWORDS.keys() & group.keys()
            for number, param in zip(saved["params"], group["params"], strict=True):
                for name, value in loaded["state"].get(number, {}).items():
                    if name == "step" or not isinstance(value, torch.Tensor):
                        continue
                    if formats_are_kept or name in NUMBERS:
                        self.state[param][name] = value.to(param.device)

    def add_param_group(self, param_group: Group) -> None:
        self.defaults.update(self._given)
        super().add_param_group(param_group)  # type: ignore[misc]
        group = self.param_groups[-1]
        try:
            self._check_group(group)
        except (TypeError, ValueError):
            del self.param_groups[-1]
            raise

    def _check_group(self, group: Group) -> None:
        rule = self._rule(group)
        hypers = [self._hypers(rule, group)]
        optional = [optional_states(rule, group)]
        TensorList([rule], [], [], [], [], optional).check(hypers)
        storage = self._storage(rule, group)
        checked: set[torch.dtype] = set()
        for index, param in enumerate(group["params"]):
            if not param.requires_grad:
                continue
            name = f"params[{index}]"
            check_tensor(param, name)
            dtypes = storage.dtypes(param, name, self._state_names(rule, group))
            if is_sharded(param):
                refuse_blocks(dtypes, name)
            if param.dtype in checked:
                continue
            checked.add(param.dtype)
            # Tensors without elements, for the questions whether the dtypes can hold the numbers
            # and whether the rounding suits the states
            empty = torch.empty(0, dtype=param.dtype, device="cpu")
            (states,) = zeros([empty], [dtypes])
            states.pop(REMAINDER, None)
            carried = []
            if rule.carried:
                joins = rule.joins_arrays
                carried = [np.zeros(rule.carried_shape) if joins else a_number(1.0)]
            of_group = [empty], [[*states.values(), *carried]], [0], [name]
            tensors = ExchangeList([rule], *of_group, optional, SOURCE)
            tensors.set_rounding([storage.seed], [0], [storage.is_torch_s])
            tensors.check(hypers)

    @torch.no_grad()
    def _move_states(self) -> None:
        """Have the states that torch's constructor made, Adagrad's, where those of a step are.

        The count is made anew, too: torch's is on its default device.
        """
        fresh: list[tuple[torch.Tensor, dict[str, Any], dict[str, torch.dtype], Group]] = []
        owners = []
        for group in self.param_groups:
            for param in group["params"]:
                if param.requires_grad:
                    rule = self._rule(group)
                    states = self._state_names(rule, group)
                    dtypes = self._storage(rule, group).dtypes(param, "params", states)
                    fresh.append((part_of(param), {"step": a_number(0.0)}, dtypes, group))
                    owners.append(param)
        make_states(fresh)
        for param, (_, made, _, _) in zip(owners, fresh, strict=True):
            keep(self.state[param], made, param)

    @torch.compiler.disable
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient by one step.

        Parameters
        ----------
        closure : callable, optional
            Evaluates the model again and returns the loss, which `step` then returns.

        Raises
        ------
        TypeError
            If a parameter with a gradient, or the gradient, is not a strided tensor on the CPU of a
            dtype that there is a step for, or if the step count in its state is not a tensor of one
            number.
        ValueError
            If a parameter is not dense, tensors overlap in memory, or a hyper-parameter is out of
            range. No parameter and no state has changed then, in whichever group.
        RuntimeError
            If the call is being traced: the trace would lack the step. If a gradient is sparse and
            the class takes dense ones only, or the other way round, as in torch.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # A trace records torch's operators, so it would lack this step.
        if get_proxy_mode() is not None or torch.jit.is_tracing():
            raise RuntimeError(
                "a step of fastopt cannot be traced (make_fx, torch.jit.trace): trace torch's own "
                "optimizer, whose state dictionaries are interchangeable with this one's"
            )
        if self._plan is None or not self._plan.step(self):
            plan = make_plan(self)
            if not plan.step(self):
                raise RuntimeError("another thread is changing the parameters of this optimizer")
            self._plan = plan
        return loss
