"""The tuner's public objects are documented, with examples that run."""

import doctest
import inspect

import pytest

from fastopt import tune


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


# Classes that only the tuner makes, and errors
WITHOUT_EXAMPLE = {
    "CurrentTrial",
    "Dimension",
    "ImprovementSpent",
    "Moment",
    "Scheduler",
    "SpaceExhausted",
    "Trial",
    "View",
}


@pytest.mark.parametrize("name", tune.__all__)
def test_examples_of_public_objects_run(name):
    number = run(examples(getattr(tune, name), name))
    assert number > 0 or name in WITHOUT_EXAMPLE


@pytest.mark.parametrize("name", tune.__all__)
def test_every_public_object_is_documented(name):
    thing = getattr(tune, name)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing):
        for attribute in dir(thing):
            member = inspect.getattr_static(thing, attribute)
            if not attribute.startswith("_") and (callable(member) or isinstance(member, property)):
                assert inspect.getdoc(member), attribute
