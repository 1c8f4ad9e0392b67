"""Ignores the warning of a run's first failure, which many objectives here provoke."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.path.name != "test_failures.py":
            item.add_marker(pytest.mark.filterwarnings("ignore:trial [0-9]+ failed"))
