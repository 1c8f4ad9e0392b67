import doctest
import importlib
import inspect
import pkgutil

import pytest

from fastopt import tune

MODULES = [module.name for module in pkgutil.walk_packages(tune.__path__, "fastopt.tune.")]


def examples(thing, name):
    """The examples of an object, whichever module it says that it is from."""
    return doctest.DocTestFinder().find(thing, name, module=False, globs={})


def run(tests):
    """Run them; their number."""
    runner = doctest.DocTestRunner()
    for test in tests:
        runner.run(test)
    assert runner.failures == 0
    return runner.tries


def module_parameter(name):
    draws = name.rpartition(".")[2] in ("figure", "page", "plots")
    return pytest.param(name, marks=pytest.mark.needs("matplotlib") if draws else ())


@pytest.mark.parametrize("name", [module_parameter(name) for name in MODULES])
def test_examples_of_modules_run(name):
    run(doctest.DocTestFinder().find(importlib.import_module(name)))


NO_VALUE = {
    "CurrentTrial",
    "Dimension",
    "ImprovementSpent",
    "Moment",
    "Scheduler",
    "SpaceExhausted",
    "Strategy",
    "Trial",
    "View",
}


@pytest.mark.parametrize("name", tune.__all__)
def test_examples_of_public_objects_run(name):
    number = run(examples(getattr(tune, name), name))
    assert number > 0 or name in NO_VALUE


@pytest.mark.parametrize("name", tune.__all__)
def test_every_public_object_is_documented(name):
    thing = getattr(tune, name)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing):
        for attribute in dir(thing):
            member = inspect.getattr_static(thing, attribute)
            if not attribute.startswith("_") and (callable(member) or isinstance(member, property)):
                assert inspect.getdoc(member), attribute
