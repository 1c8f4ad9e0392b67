"""Gradient-descent steps on plain CPU memory, and the search for their hyper-parameters.

A function for each rule of ``RULES``, such as ``sgd`` and ``adam``, updates arrays in place; the
classes, such as ``SGD`` and ``Adam``, own the states, and ``create`` makes one by its rule's name.
``Population`` trains many models at once. ``schedules`` has learning rates by step, ``minimize``
runs a rule on a function, ``tune`` searches hyper-parameters.
"""

import sys

from fastopt import schedules
from fastopt._classes import CLASSES, create
from fastopt._configuration import __version__, get_include, show_config
from fastopt._core import RULES, Rows, get_num_threads, isa, set_num_threads
from fastopt._documentation import describe_function
from fastopt._minimize import methods, minimize
from fastopt._optimizer import Optimizer
from fastopt._population import Population
from fastopt._statefile import StateFileError

globals().update({name: rule.define(describe_function(rule)) for name, rule in RULES.items()})
globals().update(CLASSES)

# Where they are documented, and by which name a pickle finds them.
for _function in (create, get_include, minimize, show_config):
    _function.__module__ = "fastopt"

__all__ = [
    "RULES",
    "Optimizer",
    "Population",
    "Rows",
    "StateFileError",
    "__version__",
    "create",
    "get_include",
    "get_num_threads",
    "isa",
    "methods",
    "minimize",
    "schedules",
    "set_num_threads",
    "show_config",
    "tune",
    *RULES,
    *CLASSES,
]


def __getattr__(name):
    # On first use: the tuner needs SciPy, which takes longer to import than all the rest.
    if name == "tune":
        import fastopt.tune

        return fastopt.tune
    # With these two Python adds which name was probably meant.
    raise AttributeError(
        f"module 'fastopt' has no attribute {name!r}", name=name, obj=sys.modules[__name__]
    )


def __dir__():
    return list(__all__)
