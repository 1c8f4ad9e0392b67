"""The controller for threadpoolctl, against threadpoolctl itself."""

import os

import scipy.optimize._highspy._core  # noqa: F401 (a library whose name begins like fastopt's)
import threadpoolctl

import fastopt
import fastopt.integrations.threadpoolctl
from fastopt import _core


def own_info():
    """What is said of the extension module; other tests load the C library alone besides."""
    return [
        info
        for info in threadpoolctl.threadpool_info()
        if info["user_api"] == "fastopt" and os.path.samefile(info["filepath"], _core.__file__)
    ]


def test_threadpoolctl_finds_the_library_once():
    (info,) = own_info()
    assert info["num_threads"] == fastopt.get_num_threads()
    assert info["version"] == fastopt.__version__
    assert info["architecture"] == fastopt.isa()


def test_limits_hold_within_the_context_and_end_with_it():
    before = fastopt.get_num_threads()
    fastopt.set_num_threads(3)
    try:
        with threadpoolctl.threadpool_limits(limits=1):
            assert fastopt.get_num_threads() == 1
        assert fastopt.get_num_threads() == 3
        with threadpoolctl.threadpool_limits(limits={"fastopt": 2}):
            assert fastopt.get_num_threads() == 2
        assert fastopt.get_num_threads() == 3
    finally:
        fastopt.set_num_threads(before)
