"""Imports only point down, and never in a circle."""

import ast
from pathlib import Path

import pytest

import fastopt

ROOT = Path(fastopt.__file__).parent
TUNE = "fastopt.tune"
# What a module of each room of the tuner may import of the package.
SPACE = ("fastopt._checks", f"{TUNE}.space")
FRONTS = (f"{TUNE}.fronts",)
STRATEGIES = (*SPACE, *FRONTS, f"{TUNE}.strategies")
LEDGER = (*STRATEGIES, f"{TUNE}.ledger")
SCHEDULERS = (*SPACE, f"{TUNE}.schedulers")
# The longest prefix of a module's name decides. A name in the list stands for all that is in it.
ALLOWED = {
    f"{TUNE}.space": SPACE,
    f"{TUNE}.fronts": FRONTS,
    f"{TUNE}.strategies": STRATEGIES,
    f"{TUNE}.schedulers": SCHEDULERS,
    f"{TUNE}.ledger": LEDGER,
    f"{TUNE}.reporting": (*LEDGER, f"{TUNE}.reporting"),
    f"{TUNE}.running": (*LEDGER, *SCHEDULERS, f"{TUNE}.running"),
    # The extension module counts the CPUs for all modules.
    f"{TUNE}.running.cpus": ("fastopt._core",),
    TUNE: ("fastopt._checks", TUNE),
    "fastopt.integrations": ("fastopt",),
}


def name_of(path):
    return ".".join(["fastopt", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(
        ".__init__"
    )


FILES = {name_of(path): path for path in ROOT.rglob("*.py")}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
MODULES = {*FILES, "fastopt._core"}


def imports(name):
    """The package's modules that a module's import statements name, in functions too."""
    package = name if FILES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            whole = [f"{base}.{alias.name}" for alias in node.names]
            found = [module if module in MODULES else base for module in whole]
        else:
            continue
        yield from (module for module in found if module in MODULES)


GRAPH = {name: set(imports(name)) - {name} for name in sorted(FILES)}


def within(name, rooms):
    return any(name == room or name.startswith(room + ".") for room in rooms)


def points_up(name):
    """What a module imports that lies above it."""
    room = max((room for room in ALLOWED if within(name, [room])), key=len, default=None)
    if room is not None:
        return {module for module in GRAPH[name] if not within(module, ALLOWED[room])}
    # the optimizers and what belongs to them
    up = {module for module in GRAPH[name] if within(module, [TUNE, "fastopt.integrations"])}
    if name == "fastopt":  # the face of the whole package, which shows the tuner when asked
        up.discard(TUNE)
    elif name == "fastopt.__main__":  # the command line, which begins at the top
        up = {module for module in up if not within(module, [TUNE])}
    return up


def test_no_import_points_up():
    assert {name: up for name in GRAPH if (up := points_up(name))} == {}


def test_no_modules_import_each_other_in_a_circle():
    left = dict(GRAPH)
    while leaves := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in leaves:
            del left[name]
    assert not left


FACES = ["fastopt._optimizer", f"{TUNE}.study"]
INTEGRATIONS = [name for name in GRAPH if within(name, ["fastopt.integrations"])]


def library(name):
    """The integration that a module belongs to; one with an underscore is a part of another."""
    return [*name.split("."), ""][2].removeprefix("_").partition("_")[0]


# DeepSpeed's optimizers step torch's tensors, and are built on the integration for torch.
BUILT_ON = {"deepspeed": "torch"}


@pytest.mark.parametrize("name", INTEGRATIONS)
def test_no_integration_knows_another(name):
    others = {module for module in GRAPH[name] if within(module, ["fastopt.integrations"])}
    assert {library(module) for module in others} <= {library(name), BUILT_ON.get(library(name))}


def private(name):
    """The private attributes that a module's classes define, and those that it reads of others."""
    defined, read = set(), set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.FunctionDef):
            defined.add(node.name)
        elif isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            (defined if own else read).add(node.attr)
    return [{x for x in names if x[0] == "_" and x[:2] != "__"} for names in (defined, read)]


@pytest.mark.parametrize("name", INTEGRATIONS)
def test_no_integration_reads_a_private_attribute_of_a_study_or_an_optimizer(name):
    parts = [part for part in INTEGRATIONS if library(part) == library(name)]
    below = set().union(*(private(module)[0] for module in FACES))
    own = set().union(*(private(part)[0] for part in parts))
    assert not private(name)[1] & below - own


def test_no_private_name_is_imported_from_another_module():
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fastopt."):
                names = [alias.name for alias in node.names]
                assert [x for x in names if x[0] == "_" and x[:2] != "__"] == [], name
