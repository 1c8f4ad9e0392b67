"""The optimizer classes, made from the rule table, and `create`, which takes a rule's name."""

from __future__ import annotations

import inspect
from typing import Any

from fastopt import _checks, _formats
from fastopt._averages import has_average
from fastopt._core import RULES, Rule
from fastopt._documentation import describe_class
from fastopt._optimizer import Optimizer, Params
from fastopt._rule_names import RuleName
from fastopt._schedule_free import ScheduleFree

__all__ = ["CLASSES", "class_of", "create", "rule_of"]


def _make_class(rule: Rule) -> type[Optimizer]:
    def __init__(  # noqa: N807
        self: Optimizer, params: Params, *positional: Any, **hypers: Any
    ) -> None:
        if positional:
            raise TypeError(
                f"{rule.class_name}() takes params alone by position; hyper-parameters are "
                f"keywords: {rule.class_name}(params, lr={positional[0]!r})"
            )
        Optimizer.__init__(self, params, **hypers)

    parameter = inspect.Parameter
    signature = inspect.Signature(
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
            *(
                parameter(name, parameter.KEYWORD_ONLY, default=value)
                for name, value in _formats.KEYWORDS.items()
            ),
        ]
    )
    __init__.__signature__ = signature  # type: ignore[attr-defined]  # functions may have one
    __init__.__qualname__ = f"{rule.class_name}.__init__"
    members = {
        "__doc__": describe_class(rule),
        "__init__": __init__,
        "__module__": "fastopt",
        "rule": rule,
    }
    base = ScheduleFree if has_average(rule) else Optimizer
    return type(rule.class_name, (base,), members)


CLASSES: dict[str, type[Optimizer]] = {
    rule.class_name: _make_class(rule) for rule in RULES.values()
}


# By its name and by that of its class, in lower case
_NAMES = {
    spelling.lower(): rule.name
    for rule in RULES.values()
    for spelling in (rule.name, rule.class_name)
}


def rule_of(name: str, value: str) -> Rule:
    """The rule of that name; `name` is what messages call the argument."""
    if isinstance(value, str):
        value = _NAMES.get(value.lower(), value)
    return RULES[_checks.choice(name, value, RULES)]


def class_of(name: str, value: str) -> type[Optimizer]:
    """The class of a rule by the rule's name; `name` is what messages call the argument."""
    return CLASSES[rule_of(name, value).class_name]


def create(rule: RuleName, params: Params, **hypers: Any) -> Optimizer:
    """Make the optimizer of a rule by the rule's name, as a configuration or a search gives it.

    Parameters
    ----------
    rule : str
        A key of `fastopt.RULES`, such as ``"adam"``; case does not matter.
    params : ndarray, list, dict, or list of group dicts
        What the class of the rule takes.
    **hypers
        The hyper-parameters of that class.

    Returns
    -------
    Optimizer

    Raises
    ------
    TypeError, ValueError
        If there is no such rule, or as the class raises.

    Examples
    --------
    >>> import fastopt
    >>> import numpy as np
    >>> weights = np.zeros(2)
    >>> fastopt.create("nag", weights, lr=0.1).step(np.ones(2))
    >>> weights
    array([-0.19, -0.19])
    """
    return class_of("rule", rule)(params, **hypers)
