"""A plugin for pytest: Thinc's own tests get our optimizer wherever they ask for Thinc's."""

import thinc.api
import thinc.optimizers
from thinc.config import registry

from fastopt.integrations.thinc import Optimizer

calls = 0


class Counted(Optimizer):
    __slots__ = ()

    def __call__(self, *args, **kwargs):
        global calls
        calls += 1
        return super().__call__(*args, **kwargs)


# What Thinc's Adam, RAdam and SGD return is the module's Optimizer.
thinc.optimizers.Optimizer = thinc.api.Optimizer = Counted


def pytest_sessionfinish(session):
    optimizer = registry.optimizers.get("Adam.v1")(0.01)
    if type(optimizer) is not Counted or not calls:
        session.exitstatus = 1
        print("\nThinc's tests have not called fastopt's optimizer")
    else:
        print(f"\n{calls} calls of fastopt's optimizer")
