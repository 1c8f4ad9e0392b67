"""Packages of optimizers that step torch's tensors by torch's operations.

Each has some rules that torch lacks. None has a fused kernel on the CPU. If a package offers
operations on lists of tensors ("foreach"), they are switched on.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from bench.steps.arrays import LR, aligned_copy
from bench.steps.rival import Rival
from bench.steps.torch_rivals import load_torch, torch_case, torch_params


class Class(NamedTuple):
    """A class of a package, by module and name, with the keywords that make it our rule.

    states : its names of our states, where they differ.
    """

    module: str
    name: str
    keywords: Mapping[str, Any] = MappingProxyType({})
    states: Mapping[str, str] = MappingProxyType({})


class Package(Rival):
    """A package, with the class for each rule.

    grads : whether it overwrites the gradients, and so needs a copy.
    """

    pool = "torch"

    def __init__(self, name: str, package: str, classes: dict[str, Class], grads: bool = False):
        self.name, self.packages = name, ("torch", package)
        self.classes, self.grads = classes, grads

    def supports(self, rule, dtype, n_tensors):
        return rule.name in self.classes

    def load(self, threads):
        load_torch(threads)

    def make(self, rule, tensors, max_norm=None):
        found = self.classes[rule.name]
        if self.grads:
            tensors = [tensor._replace(grad=aligned_copy(tensor.grad)) for tensor in tensors]
        params, grads = torch_params(tensors)
        make = getattr(importlib.import_module(found.module), found.name)
        optimizer = make(params, lr=LR, **found.keywords)
        if hasattr(optimizer, "train"):
            optimizer.train()
        names = [found.states.get(name, name) for name in rule.states]
        return torch_case(optimizer, params, grads, tensors, names, max_norm)


class Timm(Package):
    """Imports timm's optimizers alone: the package itself imports torchvision, for its models."""

    def load(self, threads):
        super().load(threads)
        if "timm" in sys.modules:
            return
        for name in ("timm", "timm.optim"):
            spec = importlib.util.find_spec(name)
            sys.modules[name] = importlib.util.module_from_spec(spec)  # not executed


_FOREACH = {"foreach": True}
_OF_PYTORCH_OPTIMIZER = {
    "lion": Class("pytorch_optimizer", "Lion", {"weight_decay": 1e-3} | _FOREACH),
    "adamax": Class("pytorch_optimizer", "AdaMax", _FOREACH),
    "radam": Class("pytorch_optimizer", "RAdam", {"degenerated_to_sgd": True} | _FOREACH),
    "adopt": Class("pytorch_optimizer", "ADOPT", _FOREACH),
    "ademamix": Class("pytorch_optimizer", "AdEMAMix", _FOREACH),
    "stableadamw": Class("pytorch_optimizer", "StableAdamW", {"eps": 1e-6} | _FOREACH),
    "lamb": Class(
        "pytorch_optimizer",
        "Lamb",
        {"weight_decay": 1e-2, "weight_decouple": False, "max_grad_norm": 0.0} | _FOREACH,
    ),
    "lars": Class("pytorch_optimizer", "LARS", _FOREACH),
    "prodigy": Class("pytorch_optimizer", "Prodigy", _FOREACH, {"p0_offset": "p0"}),
    "schedule_free_sgd": Class("pytorch_optimizer", "ScheduleFreeSGD", _FOREACH, {"z_offset": "z"}),
    "schedule_free_adamw": Class(
        "pytorch_optimizer", "ScheduleFreeAdamW", _FOREACH, {"z_offset": "z"}
    ),
}
_OF_TIMM = {
    "lion": Class("timm.optim.lion", "Lion", {"weight_decay": 1e-3} | _FOREACH),
    "adopt": Class("timm.optim.adopt", "Adopt", {"clip_exp": 0.25} | _FOREACH),
    "lamb": Class("timm.optim.lamb", "Lamb", {"max_grad_norm": None} | _FOREACH),
    "lars": Class("timm.optim.lars", "Lars", {"momentum": 0.9, "always_adapt": True} | _FOREACH),
    "nadam": Class("timm.optim.nadamw", "NAdamW", {"weight_decay": 0.0} | _FOREACH),
}
_OF_SCHEDULEFREE = {
    "schedule_free_sgd": Class("schedulefree", "SGDScheduleFree", _FOREACH, {"z_offset": "z"}),
    "schedule_free_adamw": Class("schedulefree", "AdamWScheduleFree", _FOREACH, {"z_offset": "z"}),
}

PACKAGES = (
    Package("pytorch_optimizer", "pytorch_optimizer", _OF_PYTORCH_OPTIMIZER, grads=True),
    Timm("timm", "timm", _OF_TIMM, grads=True),
    Package("schedulefree", "schedulefree", _OF_SCHEDULEFREE, grads=True),
)
