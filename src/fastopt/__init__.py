"""Gradient-descent steps on plain CPU memory, and the search for their hyper-parameters.

The functions ``sgd``, ``momentum``, ``nag``, ``adagrad``, ``adadelta``, ``adam``, ``adamw`` and
``rmsprop`` update arrays in place; the classes of the same names own the states. ``schedules`` has
learning rates by step, ``minimize`` runs a rule on a function, ``tune`` searches hyper-parameters.
"""

from fastopt import schedules
from fastopt._core import RULES, get_num_threads, isa, set_num_threads
from fastopt.configuration import __version__, get_include, show_config
from fastopt.documentation import describe_function
from fastopt.minimization import methods, minimize
from fastopt.optimizers import CLASSES, Optimizer
from fastopt.statefile import StateFileError

globals().update({name: rule.define(describe_function(rule)) for name, rule in RULES.items()})
globals().update(CLASSES)

__all__ = [
    "RULES",
    "Optimizer",
    "StateFileError",
    "__version__",
    "get_include",
    "get_num_threads",
    "isa",
    "methods",
    "minimize",
    "schedules",
    "set_num_threads",
    "show_config",
    *RULES,
    *CLASSES,
]
