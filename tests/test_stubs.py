"""The types that the package declares, against what it is at run time."""

import importlib
import json
import os
import pkgutil
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import fastopt

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(fastopt.__file__).parent

# What stubtest reports although it is no fault, as regular expressions.
ALLOWED = [
    # Imported for annotations only, of a package without types.
    r"fastopt\.\w+\.OptimizeResult",
    # The type of functools.cache and lru_cache forgets the signature.
    r"fastopt\.tune\.ledger\.liveness\._here",
    r"fastopt\.tune\.running\.pickling\._load",
    r"fastopt\.tune\.schedulers\.hyperband\._cycle",
    r"fastopt\.tune\.strategies\.bayes\.strategy\._sobol",
    # What a narrowed type is called within mypy.
    r"fastopt\.schedules\.(__all__|<callable subtype of object>)",
    # Unions of Literal, which stubtest takes for functions at run time.
    r"fastopt\.(_rule_names\.RuleName|tune\.ledger\.agreement\.Resume|tune\.ledger\.database\.Access)",
    r"fastopt\.tune\.strategies\.protocol\.(Direction|Name)",
    r"fastopt\.tune\.schedulers\.protocol\.Decision",
    # The name of an exception that was caught on import; Python deletes it.
    r"fastopt\.integrations\.\w+\.error",
    # Classes of packages without types, whose metaclass mypy cannot know, and their methods with a
    # signature that is made at run time.
    r"fastopt\.integrations\.sklearn(\.\w+)?\.\w*SearchCV(\.(__init__|set_fit_request))?",
    r"fastopt\.integrations\.threadpoolctl\.FastoptController",
    r"fastopt\.tune\.reporting\.figure\.Figure\.set",
    # A signature that is made at run time: that of torch's class or the package's, and the further
    # keywords.
    r"fastopt\.integrations\.torch(\.\w+)?\.\w+\.__init__",
]

RIGHT = """
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fastopt

param, grad = np.zeros(3), np.ones(3)
fastopt.sgd(param, grad, lr=0.1)
fastopt.adam(param, grad, np.zeros(3), np.zeros(3), step=1, lr=np.float32(0.1), eps_hat=True)
optimizer = fastopt.AdamW({"weights": param}, lr=1e-3, amsgrad=True)
norm: float | None = optimizer.step({"weights": grad}, max_norm=1.0)
groups = fastopt.NAG([{"params": [param], "lr": 0.1}, {"params": grad}], lr=1)
groups.step([[grad], None])
rate: float = fastopt.RULES["adam"].class_hypers["lr"] or 0.0

# A training program.
weights = {"w": np.zeros((3, 2), dtype=np.float32), "b": np.zeros(2, dtype=np.float32)}
schedule = fastopt.schedules.warmup(fastopt.schedules.cosine(1e-3, steps=90), steps=10)
trained = fastopt.create("adamw", weights.values(), lr=schedule, weight_decay=0.1)
trained.step(weights.values(), max_norm=float("inf"))
trained.step(value / 2 for value in weights.values())
trained.lr = lambda step: 0.1 / step
trained.param_groups[0]["weight_decay"] = 0.0
trained.save(Path("model.state"), params=True)
with open("model.state", "rb") as file:
    trained.load(file)
again = copy.deepcopy(trained)
again.load_state_dict(trained.state_dict())
scalar = np.array(1.0)
fastopt.SGD(scalar, lr=0.1).step(2.0 * scalar)
fastopt.Adam(param, lr=lambda step: 1.0 / step)


def bowl(x: np.ndarray) -> float:
    return float(np.sum(x * x))


# A rule by its name.
for name in fastopt.RULES:
    fastopt.create(name, np.zeros(3), lr=0.1)
    fastopt.minimize(bowl, param, method=name, jac=lambda x: 2 * x, lr=0.1)
    fastopt.methods[name]
    fastopt.Population(name, np.zeros((4, 3)), lr=np.linspace(0.1, 0.4, 4))
chosen: dict[str, Any] = {"rule": "adam", "lr": 0.1}
fastopt.create(chosen.pop("rule"), param, **chosen)

result = fastopt.minimize(bowl, [1.0, 2.0], method="adam", jac="2-point", lr=schedule)
headers: str = fastopt.get_include()
fastopt.show_config()
version: str = fastopt.__version__
try:
    trained.load("model.state")
except fastopt.StateFileError as error:
    print(error)
best = fastopt.tune.minimize(lambda params: params["x"] ** 2, {"x": fastopt.tune.Float(-1, 1)}, 5)

# A search.
from fastopt import tune

space: dict[str, tune.Float | tune.Int | tune.Categorical] = {
    "lr": tune.Float(1e-5, 1e-1, log=True),
    "layers": tune.Int(1, 4),
    "rule": tune.Categorical(["adam", "nag"]),
}


def epochs(params: dict[str, Any]) -> Iterator[float]:
    steps = fastopt.create(params["rule"], weights, lr=params["lr"])
    for _ in range(params["layers"]):
        steps.step(weights)
        yield float(weights["b"].sum())


with tune.Study(space, strategy="random", seed=None, storage=Path("study.db")) as study:
    trial = study.ask()
    study.tell(trial, 0.1)
    study.run(epochs, 10, n_jobs=2, stopper=tune.Median(), timeout=60, trial_timeout=2.5)
    study.run(epochs, 10, scheduler=tune.Halving(first=2))
    study.run(epochs, 10, batch=5, scheduler=tune.PopulationBased(["lr"], every=2))
    value: float = study.best_value
    params: dict[str, Any] = study.best_params
    found: float = study.best.value or 0.0
    importance: dict[str, float] = study.importance()
    states: list[str] = [trial.state for trial in study.trials]
largest = tune.maximize(lambda params: -params["layers"], space, n_trials=5, strategy="sobol")
tune.Study(space, strategy=tune.Bayes(n_initial=5), direction="maximize")
tune.Study(space, strategy=tune.Grid(points=3), constraint=lambda params: params["lr"] < 0.1)
"""

WRONG = {
    "fastopt.sgd(np.zeros(3), np.ones(3))": "call-arg",
    "fastopt.sgd(np.zeros(3), np.ones(3), 0.1)": "call-arg",
    "fastopt.sgd(np.zeros(3), np.ones(3), lr='0.1')": "arg-type",
    "fastopt.sgd([0.0], [1.0], lr=0.1)": "arg-type",
    "fastopt.adagrad(np.zeros(3), np.ones(3), np.zeros(3), eps_inside=0.5)": "arg-type",
    "fastopt.adam(np.zeros(3), np.ones(3), np.zeros(3), np.zeros(3))": "call-arg",
    "fastopt.Adam(np.zeros(3), momentum=0.9)": "call-arg",
    "fastopt.Momentum(np.zeros(3))": "call-arg",
    "fastopt.Adam(np.zeros(3)).step(np.ones(3), 1.0)": "call-arg",
    "fastopt.create('adamm', np.zeros(3))": "arg-type",
    "fastopt.minimize(np.sum, [1.0], method='L-BFGS-B')": "arg-type",
    "fastopt.methods['bfgs']": "index",
    "fastopt.Population('adma', np.zeros((2, 3)))": "arg-type",
    "tune.Study({}, strategy='grdi')": "arg-type",
    "tune.Study({}, direction='min')": "arg-type",
    "tune.Study({}).run(len, scheduler='halving')": "arg-type",
    "tune.Study({}).optimize(len)": "attr-defined",
}


def run_mypy(module, *arguments):
    """mypy, which looks only into site-packages by itself, on the package that is imported here."""
    environment = os.environ.copy()
    environment.pop("MYPYPATH", None)
    if "site-packages" not in PACKAGE.parts:
        environment["MYPYPATH"] = str(PACKAGE.parent)
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], env=environment, capture_output=True, text=True
    )


def run_pyright(program):
    """pyright, as an editor shows it: the number of each line that has an error, and the report."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    arguments = ["--outputjson", f"--pythonpath={sys.executable}", program.name]
    result = subprocess.run(
        [sys.executable, "-m", "pyright", *arguments],
        env=environment,
        cwd=program.parent,
        capture_output=True,
        text=True,
    )
    found = json.loads(result.stdout)["generalDiagnostics"]
    lines = {one["range"]["start"]["line"] for one in found if one["severity"] == "error"}
    return lines, result.stdout + result.stderr


@pytest.fixture(scope="module")
def check_types(tmp_path_factory):
    """Check a user's program as strictly as mypy can, without errors inside the package.

    The programs share a cache of what mypy has read.
    """
    cache = tmp_path_factory.mktemp("mypy")

    def check(program):
        return run_mypy(
            "mypy", "--strict", "--follow-imports=silent", f"--cache-dir={cache}", str(program)
        )

    return check


def modules_without_their_library():
    """Regular expressions for modules whose foreign library is not installed, and for the modules
    below them, which cannot be found then."""
    for module in pkgutil.walk_packages(fastopt.__path__, "fastopt."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name.startswith("fastopt"):
                raise
            yield rf"{re.escape(module.name)}(\..*)?"


needs_mypy = pytest.mark.needs("mypy")
needs_pyright = pytest.mark.needs("pyright")


@needs_mypy
def test_stubs_agree_with_the_run_time(tmp_path):
    allowed = tmp_path / "allowed.txt"
    allowed.write_text("\n".join([*ALLOWED, *modules_without_their_library()]))
    result = run_mypy(
        "mypy.stubtest",
        "fastopt",
        f"--mypy-config-file={ROOT / 'pyproject.toml'}",
        f"--allowlist={allowed}",
        "--ignore-unused-allowlist",
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_generated_stub_is_up_to_date():
    tools = ROOT / "tools" / "stubs.py"
    stub = runpy.run_path(str(tools))["stub"]()
    for path in (PACKAGE / "__init__.pyi", ROOT / "src" / "fastopt" / "__init__.pyi"):
        assert path.read_text(encoding="utf-8") == stub, f"run {tools}, then install again"


@needs_mypy
def test_right_calls_pass_the_type_checker(tmp_path, check_types):
    program = tmp_path / "right.py"
    program.write_text(RIGHT)
    result = check_types(program)
    assert result.returncode == 0, result.stdout + result.stderr


@needs_mypy
def test_wrong_calls_are_found_by_the_type_checker(tmp_path, check_types):
    # An ignore that ignores nothing, or another error than the one named, is an error itself.
    program = tmp_path / "wrong.py"
    lines = [f"{call}  # type: ignore[{code}]\n" for call, code in WRONG.items()]
    imports = "import numpy as np\nimport fastopt\nfrom fastopt import tune\n"
    program.write_text(imports + "".join(lines))
    result = check_types(program)
    assert result.returncode == 0, result.stdout + result.stderr


@needs_pyright
def test_right_calls_have_no_errors_in_an_editor(tmp_path):
    program = tmp_path / "right.py"
    program.write_text(RIGHT)
    lines, report = run_pyright(program)
    assert not lines, report


@needs_pyright
def test_every_wrong_call_has_an_error_in_an_editor(tmp_path):
    program = tmp_path / "wrong.py"
    imports = ["import numpy as np", "import fastopt", "from fastopt import tune"]
    program.write_text("\n".join([*imports, *WRONG]))
    lines, report = run_pyright(program)
    assert lines == set(range(len(imports), len(imports) + len(WRONG))), report
