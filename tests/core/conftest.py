"""What every test of the compiled core leaves as it was."""

import pytest

import fastopt


@pytest.fixture(autouse=True)
def same_number_of_threads_afterwards():
    before = fastopt.get_num_threads()
    yield
    fastopt.set_num_threads(before)
