"""Words that people bring from other libraries, and the one sentence that helps with each."""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["advice"]

_LR = {"lr": "the learning rate is lr="}
_TORCH = {"lr": "it is a switch of torch's own; leave it out"}
_CLIPPING = {"lr": "clipping belongs to the step: opt.step(grads, max_norm=)"}
_AVERAGE = {
    "ema": "ema=0.99 keeps 0.99 of the average in each step, and opt.ema has it",
    "lr": "averages are kept by the classes: ema= of the optimizer",
}

# For each word sentences, each under the keyword that the optimizer must take for it to be true:
# the first that it takes counts.
_HABITS: dict[str, dict[str, str]] = {
    "learning_rate": _LR,
    "learning_rate_init": _LR,
    "eta": _LR,
    "eta0": _LR,
    "step_size": _LR,
    "alpha": _LR,
    "schedule": {"lr": "lr= takes a schedule, a function of the step"},
    "betas": {"beta1": "betas=(a, b) is written beta1=a, beta2=b"},
    "beta_1": {"beta1": "it is beta1= here"},
    "beta_2": {"beta2": "it is beta2= here"},
    "b1": {"beta1": "it is beta1= here"},
    "b2": {"beta2": "it is beta2= here"},
    "epsilon": {"eps": "it is eps= here"},
    "momentum": {
        "beta1": "the momentum of this rule is beta1=",
        "lr": "momentum is a rule of its own: fastopt.Momentum(params, lr=, momentum=)",
    },
    "dampening": {
        "lr": "momentum is a rule of its own: fastopt.Momentum(params, lr=, momentum=, dampening=)"
    },
    "nesterov": {
        "lr": "Nesterov's momentum is a rule of its own: fastopt.NAG(params, lr=, momentum=)"
    },
    "rho": {"alpha": "the share of the average that is kept is alpha="},
    "decay": {
        "alpha": "the share of the average that is kept is alpha=, a decay of the weights "
        "weight_decay=",
        "lr": "a decay of the weights is weight_decay=, one of the learning rate a schedule as lr=",
    },
    "options": {"lr": "its entries are keywords here: lr=, and maxiter= of fastopt.minimize"},
    "l2": {"weight_decay": "it is weight_decay= here"},
    "wd": {"weight_decay": "it is weight_decay= here"},
    "decoupled_weight_decay": {"decoupled": "it is decoupled=True here"},
    "decouple": {"decoupled": "it is decoupled= here"},
    "caution": {"cautious": "it is cautious= here"},
    "slice_p": {"d0": "d is estimated from all elements; leave it out"},
    "fsdp_in_use": {"d0": "d is estimated from the arrays of this optimizer; leave it out"},
    "use_ema": _AVERAGE,
    "ema_momentum": _AVERAGE,
    "ema_decay": _AVERAGE,
    "clipnorm": _CLIPPING,
    "clip_norm": _CLIPPING,
    "global_clipnorm": _CLIPPING,
    "max_norm": _CLIPPING,
    "grad_scale": {"lr": "scaling belongs to the step: opt.step(grads, grad_scale=)"},
    "foreach": {"lr": "every step is one call for all arrays; leave it out"},
    "fused": {"lr": "every step is one call for all arrays; leave it out"},
    "capturable": _TORCH,
    "differentiable": _TORCH,
}


def advice(word: str, offered: Collection[str]) -> str:
    """A sentence that says what to write instead of a keyword that is not offered, or nothing."""
    for needed, sentence in _HABITS.get(word, {}).items():
        if needed in offered:
            return f"{sentence}."
    import difflib  # takes as long as the rest of the package's own imports

    close = difflib.get_close_matches(word, list(offered), n=1)
    return f"did you mean {close[0]!r}?" if close else ""
