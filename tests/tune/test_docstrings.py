import inspect

import pytest

from fastopt import tune

PUBLIC = [name for name in tune.__all__ if name in vars(tune)]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_object_is_documented(name):
    thing = getattr(tune, name)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing):
        for attribute in dir(thing):
            member = inspect.getattr_static(thing, attribute)
            if not attribute.startswith("_") and (callable(member) or isinstance(member, property)):
                assert inspect.getdoc(member), attribute
