"""A module whose library is not installed says in one sentence what to install."""

import importlib
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "package", "install"),
    [
        ("sklearn", "sklearn", "scikit-learn"),
        ("optuna", "optuna", "optuna"),
        ("tensorboard", "tensorboard", "tensorboard"),
        ("mlflow", "mlflow", "mlflow"),
        ("wandb", "wandb", "wandb"),
    ],
)
def test_missing_library_is_named_with_what_to_install(module, package, install, monkeypatch):
    for name in list(sys.modules):
        if name == package or name.startswith(f"{package}."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"fastopt.integrations.{module}", raising=False)
    with pytest.raises(ModuleNotFoundError, match=f"needs .*pip install {install}") as caught:
        importlib.import_module(f"fastopt.integrations.{module}")
    assert caught.value.name == package
