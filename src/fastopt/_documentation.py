"""The docstrings of functions and classes, made from the table and the rules' own comments."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from fastopt._core import Rule
from fastopt._formulas import FORMULAS

__all__ = ["HYPERS", "describe_class", "describe_function"]

# By name, or by rule and name where a rule gives it another meaning.
HYPERS = {
    "step": "The number of this step, from 1 to 2**53.",
    "mu_product": "The product of the momenta of all steps so far; an array without dimensions, of "
    "float64, that each call brings up to date. What it holds before step 1 does not matter.",
    "eta": "The step size of the next step; an array without dimensions, of float64, that each "
    "call brings up to date. What it holds before step 1 does not matter.",
    "weight_sum": "The sum of the weights of all steps so far; an array without dimensions, of "
    "float64, that each call brings up to date. What it holds before step 1 does not matter.",
    "d": "The estimate d, its numerator r and d_max; an array of three numbers, of float64, that "
    "each call brings up to date. What it holds before step 1 does not matter.",
    "lr": "Learning rate, >= 0.",
    "momentum": "Share of the buffer that is kept, in [0, 1).",
    "dampening": "Share of the gradient that is left out of the buffer, in [0, 1).",
    "rho": "Share of the averages that is kept, in [0, 1).",
    "alpha": "Share of the average that is kept, in [0, 1).",
    "beta1": "Share of the gradients' average that is kept, in [0, 1).",
    "beta2": "Share of the squared gradients' average that is kept, in [0, 1).",
    "beta3": "Share of the slow average that is kept, in [0, 1).",
    "trust_coefficient": "Factor of the trust ratio, >= 0.",
    "adapt": "Multiply lr by the trust ratio, which the norms of the array give.",
    "slow_weight": "Weight of the slow average beside the fast one, >= 0; the paper's alpha.",
    "eps": "Added to the denominator, >= 0. With 0, an element whose gradients were "
    "all 0 becomes NaN.",
    "eps_inside": "Add eps under the square root instead of outside.",
    "eps_hat": "Take eps as it is, without the bias correction.",
    "lr_decay": "At step t the learning rate is lr/(1 + (t-1)*lr_decay); >= 0.",
    "momentum_decay": "How fast the momentum grows towards beta1, >= 0.",
    "eta_minus": "Factor of a step size where the gradient has changed its sign, in [0, 1).",
    "eta_plus": "Factor of a step size where the gradient has kept its sign; above 1.",
    "step_size_min": "The least step size, >= 0.",
    "step_size_max": "The largest step size, >= 0.",
    "lambd": "How fast the step size falls, and share of the parameter that decays with it, >= 0.",
    "t0": "The number of steps after which averaging begins, >= 0.",
    "warmup_steps": "The number of steps during which the learning rate rises from 0, >= 0.",
    "d0": "The first d, >= 0. With 0 nothing ever moves.",
    "d_coef": "Factor of the estimate of d, >= 0: what to tune, if anything.",
    "growth_rate": "Factor by which d grows in a step at most, >= 0; 0: without a bound.",
    "use_bias_correction": "Correct the bias of the averages, as Adam does.",
    "safeguard_warmup": "Leave lr out of s, for schedules that begin with a small lr.",
    "cautious": "Of the update x, subtract ``x*mask/max(mean(mask), 0.001)``, where mask is 1 if x "
    "and the gradient have the same sign, else 0; the mean is that of the array. Not with rows.",
    "weight_decay": "Adds weight_decay*param to the gradient; if decoupled, the parameter is "
    "multiplied by 1 - lr*weight_decay first. >= 0.",
    "decoupled": "Decay the parameter and not the gradient, as Keras does for every rule and torch "
    "for AdamW only.",
    "grad_scale": "Multiplies the gradient first; any finite number.",
    "maximize": "Ascend instead of descend.",
    "amsgrad": "Divide by the largest second moment so far.",
    "centered": "Divide by the root of the variance, not of the second moment.",
    "initial_accumulator_value": "What the first state starts with, >= 0.",
    "adamax.beta2": "Share of the largest gradient that is kept, in [0, 1).",
    "rmsprop.momentum": "Share of the buffer that is kept, in [0, 1). With 0 there is no buffer.",
    "lion.beta1": "Share of the average in what the sign is taken of, in [0, 1).",
    "lion.beta2": "Share of the average that is kept, in [0, 1).",
    "schedule_free_sgd.momentum": "Share of the average in where gradients are taken, in [0, 1).",
    "schedule_free_adamw.beta1": "Share of the average in where gradients are taken, in [0, 1).",
    "schedule_free_adamw.weight_decay": "Adds weight_decay*param to the normalized gradient, >= 0.",
    "asgd.alpha": "Power with which the step size falls, in [0, 1).",
    "stableadamw.eps": "Added to the denominator, and the least root of v in rms; >= 0.",
    "lars.eps": "Added to the denominator of the trust ratio, >= 0.",
    "lars.weight_decay": "Adds weight_decay*param to the gradient, >= 0.",
    "lamb.weight_decay": "The parameter is multiplied by 1 - lr_t*weight_decay first. >= 0.",
    "stableadamw.weight_decay": "The parameter is multiplied by 1 - lr_t*weight_decay first. >= 0.",
    "rprop.lr": "The first step size, >= 0.",
    "prodigy.lr": "Factor of the step size that the rule finds, >= 0.",
    "prodigy.beta3": "Share of s and r that is kept, in [0, 1); 0: sqrt(beta2).",
    "prodigy.weight_decay": "Subtracts lr_t*weight_decay*param too; if not decoupled, adds "
    "weight_decay*param to the gradient. >= 0.",
}

STORAGE = """\
state_format : str or dict, optional
    ``"float32"``, ``"bfloat16"``, ``"float16"`` or ``"block8"`` (8 bits each, and a scale for each
    64 of them): what the states of parameters that compute in float32 are stored as, or a dict that
    says it for single states by name. float32 by default. bfloat16 needs the package ml_dtypes.
    Of Adagrad also ``{"state_sum": "row"}``: one number for each row, the sum of the means of its
    squared gradients.
master_weights : bool, default False
    Keep what bfloat16 parameters lack of float32 in 16 further bits, ``remainder`` among the
    states: the step is then that of float32 parameters.
rounding : {"stochastic", "nearest"}, default "stochastic"
    How numbers are rounded to bfloat16 and block8: up or down with the probabilities that keep the
    mean, or to nearest. float16 is always rounded to nearest.
seed : int, default 0
    Of the stochastic rounding, which is a function of it, the step and the place of the element.
ema : float, optional
    Keep a moving average of each parameter, as ``ema`` of the optimizer: the share of it that a
    step keeps, in [0, 1). Step t writes ``average = average - w*(average - param)``, where
    ``w = (1-ema)/(1-ema**t)``: 1 in the first step, and then falling to ``1-ema``. A group may
    have its own, also None.
"""

ROWS = """\
rows : ndarray of int32 or int64, optional
    Step only these rows of param and of the states, numbered from 0 along the first axis, in any
    order; grad then has a row for each of them. Where a row stands more than once, its gradients
    are added up first, in the order in which they stand, and it is stepped once.
"""

ROW_WISE = """\
    With ``rows``, state_sum may have one number for each row of param, of float64 for float64 and
    else of float32: row-wise Adagrad. A row then has ``state_sum + mean(grad**2)`` as its new sum
    and ``lr/(sqrt(state_sum) + eps)`` as its learning rate, in double and each rounded once.
"""

ARRAYS = """\
param : ndarray of float32 or float64
    The parameter, any shape, C-contiguous, aligned and writeable; updated in place. Also float16
    and ml_dtypes.bfloat16, which compute in float32 and are rounded to nearest.
grad : ndarray
    Its gradient: same shape but with ``rows``, C-contiguous; never written. float64 with float64
    alone; float32 and narrower arrays may be mixed.
"""

RAISES = """\
TypeError
    If an array is not a plain ndarray of such a dtype in native byte order, if float64 is mixed
    with others, or if a number is of a wrong type.
ValueError
    If an array has another shape, is not C-contiguous, misaligned, read-only, or overlaps another
    one, if a number is out of range, if there is no such row, or if an average of squares is in
    bfloat16, where rounding to nearest would keep it from ever decaying. Nothing has been written
    then.
"""


def _signature(keywords: Mapping[str, object]) -> str:
    return ", ".join(
        name if value is None else f"{name}={value!r}" for name, value in keywords.items()
    )


def _parameter(rule: Rule, name: str, value: object) -> str:
    kind = {"step": "int", rule.carried: "ndarray"}.get(
        name, "bool" if isinstance(value, bool) else "float"
    )
    default = "" if value is None else f", default {value!r}"
    text = textwrap.fill(HYPERS.get(f"{rule.name}.{name}") or HYPERS[name], 94)
    return f"{name} : {kind}{default}\n" + textwrap.indent(text, "    ") + "\n"


def _opening(kernel: str) -> tuple[str, str]:
    title, _, body = FORMULAS[kernel].partition("\n")
    head = "For every element `p` of the parameter and `g` of its gradient, at step `t`"
    return title, f"{head}::\n{body}\n"


def _section(title: str, body: str) -> str:
    return f"{title}\n{'-' * len(title)}\n{body}\n"


def describe_function(rule: Rule) -> str:
    """The docstring of a rule's function, with its signature in the form that built-ins have."""
    arrays = ["param", "grad", *rule.states]
    states = "".join(
        f"{name} : ndarray\n    State like param; start it with zeros; updated in place.\n"
        for name in rule.states
    )
    for name, switch in rule.optional.items():
        states += f"{name} : ndarray, optional\n    A further state; passing it switches "
        states += f"{switch} on.\n"
    optional = [f"{name}=None" for name in rule.optional]
    rows = [] if rule.takes_norms else ["rows=None"]
    signature = ", ".join([*arrays, *optional, "*", _signature(rule.hypers), *rows])
    zeros = "".join(f">>> {name} = np.zeros(2)\n" for name in rule.states)
    # No rule has its first step here, since that of ADOPT moves nothing.
    given = {
        "step": "step=2",
        rule.carried: f"{rule.carried}=np.ones({rule.carried_shape})",
        "lr": "lr=0.1",
    }
    call = ", ".join([*arrays, *(given[name] for name in given if name in rule.hypers)])
    example = (
        ">>> import fastopt\n>>> import numpy as np\n>>> param = np.array([1.0, -2.0])\n"
        f">>> grad = np.array([0.5, -0.5])\n{zeros}"
        f">>> fastopt.{rule.name}({call})\n"
        ">>> bool(param[0] < 1.0 and param[1] > -2.0)\nTrue\n"
    )
    title, opening = _opening(rule.kernel)
    parameters = ARRAYS + states
    parameters += "".join(_parameter(rule, *item) for item in rule.hypers.items())
    parameters += "" if rule.takes_norms else ROWS
    parameters += ROW_WISE if rule.name == "adagrad" else ""
    return (
        f"{rule.name}({signature})\n--\n\n{title}\n\n{opening}\n"
        + _section("Parameters", parameters)
        + _section("Raises", RAISES)
        + _section("Examples", example)
    )


def describe_class(rule: Rule) -> str:
    """The docstring of a rule's optimizer class."""
    title, opening = _opening(rule.kernel)
    parameters = (
        "params : ndarray, list, dict, or list of group dicts\n"
        "    What to optimize, in place: one array, a list or a dict of arrays, or a list of\n"
        "    dicts that each have ``params`` and hyper-parameters of their own. float64, float32,\n"
        "    float16 and ml_dtypes.bfloat16 may be mixed. No array may stand twice or overlap\n"
        "    another.\n"
    )
    parameters += "".join(_parameter(rule, *item) for item in rule.class_hypers.items())
    parameters += STORAGE
    given = "" if rule.class_hypers["lr"] is not None else ", lr=0.1"
    example = (
        ">>> import fastopt\n>>> import numpy as np\n>>> weights = np.array([1.0, -2.0])\n"
        f">>> opt = fastopt.{rule.class_name}(weights{given})\n"
        ">>> for _ in range(2):\n...     opt.step(np.array([0.5, -0.5]))\n"
        ">>> bool(weights[0] < 1.0 and weights[1] > -2.0)\nTrue\n"
    )
    return (
        f"{title}\n\n{opening}\n"
        + _section("Parameters", parameters)
        + _section(
            "See Also", f"fastopt.{rule.name} : the same as a function, with states of your own.\n"
        )
        + _section("Examples", example)
    )
