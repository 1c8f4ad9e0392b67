"""A library is imported only with its module, which says what to install if it is missing."""

import pkgutil

import pytest
from processes import run_code

import fastopt.integrations

# The module, the package that it imports, and what to install.
MODULES = [
    ("deepspeed", "deepspeed", "deepspeed"),
    ("mlflow", "mlflow", "mlflow"),
    ("optuna", "optuna", "optuna"),
    ("sklearn", "sklearn", "scikit-learn"),
    ("sklearn_mlp", "sklearn", "scikit-learn"),
    ("tensorboard", "tensorboard", "tensorboard"),
    ("thinc", "thinc", "thinc"),
    ("threadpoolctl", "threadpoolctl", "threadpoolctl"),
    ("torch", "torch", "torch"),
    ("wandb", "wandb", "wandb"),
]


def test_every_integration_is_looked_at():
    found = {module.name for module in pkgutil.iter_modules(fastopt.integrations.__path__)}
    assert {module for module, *_ in MODULES} == {name for name in found if name[0] != "_"}


@pytest.mark.parametrize(("module", "package", "install"), MODULES)
def test_missing_library_is_named_with_what_to_install(module, package, install):
    """In a process of its own: torch cannot be imported a second time."""
    code = (
        "import sys\n"
        f"sys.modules[{package!r}] = None\n"
        "try:\n"
        f"    import fastopt.integrations.{module}\n"
        "except ImportError as error:\n"
        "    print(type(error).__name__, error.name, error)\n"
    )
    said = run_code(code)
    assert said.startswith(f"ModuleNotFoundError {package} fastopt.integrations.{module} needs ")
    assert f"; install it with: pip install {install}" in said
    assert "\n" not in said


def test_no_foreign_library_is_imported_without_its_module():
    packages = {package for _, package, _ in MODULES} | {"dask", "distributed", "matplotlib"}
    code = (
        "import sys\n"
        "import fastopt, fastopt.integrations, fastopt.tune\n"
        "study = fastopt.tune.Study({'x': fastopt.tune.Float(0, 1)}, seed=0)\n"
        "study.run(lambda params: params['x'], 3)\n"
        f"print(sorted({packages!r} & set(sys.modules)))\n"
    )
    assert run_code(code) == "[]"
