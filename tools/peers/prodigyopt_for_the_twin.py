"""A plugin for pytest: the tests of Prodigy for torch compare with prodigyopt's own class."""

import prodigy_twin
import prodigyopt

calls = 0


class Counted(prodigyopt.Prodigy):
    def step(self, closure=None):
        global calls
        calls += 1
        return super().step(closure)


prodigy_twin.Prodigy = Counted


def pytest_sessionfinish(session):
    if calls:
        print(f"\n{calls} steps were prodigyopt's")
    else:
        session.exitstatus = 1
        print("\nThe tests have not stepped prodigyopt's class")
