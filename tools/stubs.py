"""Writes src/fastopt/__init__.pyi, the types of the functions and classes made from the rule table.

Run it where the built package can be imported, after every change of the table:

    python tools/stubs.py
"""

import ast
import json
import sys
from pathlib import Path

import fastopt
from fastopt._formats import KEYWORDS

STUB = Path(__file__).resolve().parent.parent / "src" / "fastopt" / "__init__.pyi"

OPENING = """\
# Made by tools/stubs.py; do not edit.
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

"""

TYPES = """
# One dtype a call, as far as a type checker sees: NumPy has no type for bfloat16.
_Scalar = TypeVar("_Scalar", np.float32, np.float64, np.float16)
"""


def order(name):
    """Constants, then classes, then the rest, as the linter sorts names."""
    return (not name.isupper(), not name[0].isupper(), name)


def made_from_the_table():
    return {*fastopt.RULES, *(rule.class_name for rule in fastopt.RULES.values())}


def imports():
    """Import lines for the public names that are not made from the table."""
    origin = {}
    for node in ast.parse(Path(fastopt.__file__).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            origin.update({alias.asname or alias.name: node.module for alias in node.names})
    # What is loaded only when it is asked for.
    for name in set(fastopt.__all__) - made_from_the_table() - origin.keys():
        origin[name] = getattr(getattr(fastopt, name), "__module__", "fastopt")
    lines = {
        (module, order(name)): f"from {module} import {name} as {name}\n"
        for name, module in origin.items()
        if name in fastopt.__all__
    }
    for module, names in (
        ("fastopt._core", "Rule"),
        ("fastopt._optimizer", "Number, Params, Rate"),
        ("fastopt._schedule_free", "ScheduleFree"),
    ):
        lines[module, order(names)] = f"from {module} import {names}\n"
    return "".join(line for _, line in sorted(lines.items()))


def keyword(name, default, lr="Number", carried=None):
    kind = {"step": "int | np.integer[Any]", "lr": lr, carried: "NDArray[np.float64]"}
    kind = kind.get(name, "Number")
    if isinstance(default, bool):
        kind = "bool"
    return f"{name}: {kind}" + ("" if default is None else f" = {default!r}")


def signature(name, arguments, indent):
    lines = "".join(f"{indent}    {argument},\n" for argument in arguments)
    return f"{indent}def {name}(\n{lines}{indent}) -> None: ...\n"


def function(rule):
    arrays = [f"{name}: NDArray[_Scalar]" for name in ("param", "grad", *rule.states)]
    arrays += [f"{name}: NDArray[_Scalar] | None = None" for name in rule.optional]
    keywords = [keyword(*item, carried=rule.carried) for item in rule.hypers.items()]
    if not rule.takes_norms:
        keywords.append("rows: NDArray[np.int32] | NDArray[np.int64] | None = None")
    return signature(rule.name, [*arrays, "*", *keywords], "")


STORAGE = {
    "state_format": "str | Mapping[str, str] | None",
    "master_weights": "bool",
    "rounding": 'Literal["stochastic", "nearest"]',
    "seed": "int | np.integer[Any]",
    "ema": "Number | None",
}


def optimizer_class(rule):
    keywords = [keyword(*item, lr="Rate") for item in rule.class_hypers.items()]
    keywords += [
        f"{name}: {STORAGE[name]} = "
        + (json.dumps(value) if isinstance(value, str) else repr(value))
        for name, value in KEYWORDS.items()
    ]
    constructor = signature("__init__", ["self", "params: Params", "*", *keywords], "    ")
    base = getattr(fastopt, rule.class_name).__mro__[1].__name__
    return f"class {rule.class_name}({base}):\n    rule: ClassVar[Rule]\n{constructor}"


def stub():
    rules = fastopt.RULES.values()
    names = "".join(f'    "{name}",\n' for name in sorted(fastopt.__all__, key=order))
    functions = "".join(map(function, rules))
    classes = "\n".join(map(optimizer_class, rules))
    return "\n".join([OPENING + imports(), f"__all__ = [\n{names}]", TYPES, functions, classes])


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
    print(f"wrote {STUB}", file=sys.stderr)
