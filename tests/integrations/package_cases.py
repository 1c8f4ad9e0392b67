"""Cases for the tests of the optimizers for torch that torch does not have."""

import ml_dtypes
import torch

import fastopt
from fastopt import RULES
from fastopt.integrations import torch as fast

# Of each class, settings with which its step is that of the package
CASES = {
    "Lion": [
        {"lr": 0.01},
        {"lr": 0.01, "betas": (0.5, 0.7), "weight_decay": 0.1},
        {"lr": 0.01, "caution": True, "weight_decay": 0.1},
        {"lr": 0.01, "maximize": True},
    ],
    "ADOPT": [
        {"lr": 0.01},
        {"lr": 0.01, "betas": (0.5, 0.7), "eps": 1e-3, "weight_decay": 0.1},
        {"lr": 0.01, "weight_decay": 0.1, "decoupled": True},
        {"lr": 0.01, "maximize": True},
    ],
    "AdEMAMix": [
        {"lr": 0.01},
        {"lr": 0.01, "betas": (0.5, 0.7, 0.9), "alpha": 2.0, "eps": 1e-3},
        {"lr": 0.01, "weight_decay": 0.1, "weight_decouple": True, "maximize": True},
    ],
    "StableAdamW": [
        {"lr": 0.01},
        {"lr": 0.01, "betas": (0.5, 0.7), "eps": 1e-3, "weight_decay": 0.1},
        {"lr": 0.01, "weight_decay": 0.0, "weight_decouple": False, "maximize": True},
    ],
    "LAMB": [
        {"lr": 0.01, "max_grad_norm": None},
        {"lr": 0.01, "max_grad_norm": None, "betas": (0.5, 0.7), "eps": 1e-3},
        {"lr": 0.01, "max_grad_norm": None, "weight_decay": 0.0},
        {"lr": 0.01, "max_grad_norm": None, "weight_decay": 0.0, "always_adapt": True},
    ],
    "LARS": [
        {"lr": 0.01},
        {"lr": 1.0, "momentum": 0.9, "weight_decay": 0.1, "trust_coeff": 0.02},
        {"lr": 1.0, "momentum": 0.5, "always_adapt": True, "eps": 1e-3, "trust_coeff": 0.02},
    ],
    "ScheduleFreeAdamW": [
        {"lr": 0.02},
        {"lr": 0.02, "warmup_steps": 7, "weight_decay": 0.1},
        {"lr": 0.02, "betas": (0.6, 0.9), "eps": 1e-3},
    ],
    "ScheduleFreeSGD": [
        {"lr": 0.05},
        {"lr": 0.05, "warmup_steps": 7, "weight_decay": 0.1},
        {"lr": 0.05, "momentum": 0.6},
    ],
}
# What a package calls a setting, and fastopt
NAMES = {"alpha": "slow_weight", "caution": "cautious", "trust_coeff": "trust_coefficient"}


def ours(name, params, **keywords):
    """An optimizer that trains, which the schedule-free ones have to be told."""
    optimizer = getattr(fast, name)(params, **keywords)
    if hasattr(optimizer, "train"):
        optimizer.train()
    return optimizer


def rule_of(name):
    return next(rule for rule in RULES.values() if rule.class_name == name)


def for_arrays(name, keywords):
    """The same settings as the keywords of the class for arrays."""
    settings = {**ours(name, [torch.zeros(1)]).defaults, **keywords}
    betas = settings.pop("betas", ())
    settings |= dict(zip(("beta1", "beta2", "beta3"), betas, strict=False))
    settings = {NAMES.get(key, key): value for key, value in settings.items()}
    if "always_adapt" in settings:
        settings["adapt"] = settings["always_adapt"] or settings["weight_decay"] != 0
    return {key: settings[key] for key in rule_of(name).class_hypers if key in settings}


def twin_of(name, arrays, keywords, **storage):
    return getattr(fastopt, name)(arrays, **for_arrays(name, keywords), **storage)


def as_array(tensor):
    """A copy, of bfloat16 in the type of ml_dtypes, and of blocks in that of fastopt."""
    if tensor.dtype == torch.bfloat16:
        return tensor.detach().view(torch.int16).numpy().copy().view(ml_dtypes.bfloat16)
    return tensor.detach().numpy().copy()
