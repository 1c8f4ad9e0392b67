"""Which tests run: those that need the extra `test` only and little time, or with --all every one.

`tests/integrations` and the tests with a mark in EXTRA wait for --all; with --rest they alone run.
A file that is named on the command line, or a choice by -m, is run as asked.
"""

import importlib.util
import os
import signal
from pathlib import Path

import pytest

INTEGRATIONS = Path(__file__).parent / "integrations"
EXTRA = {"slow", "compiler", "needs"}

# Ctrl-C must interrupt, however the tests are started. A shell makes processes in the background
# ignore it, and Python keeps that setting and passes it on to child processes.
signal.signal(signal.SIGINT, signal.default_int_handler)


# Otherwise OpenBLAS, which NumPy loads, has a busily waiting thread for each CPU in each process.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_addoption(parser):
    parser.addoption(
        "--all",
        action="store_true",
        help="run every test, also those that need other libraries, a compiler, or minutes: "
        "pip install '.[test-all]'",
    )
    parser.addoption(
        "--rest",
        action="store_true",
        help="run only what pytest leaves out without --all",
    )


def pytest_configure(config):
    config.option.all = config.option.all or config.option.rest


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """The whole suite runs in two processes, unless -n says otherwise."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    alone = config.option.usepdb or config.option.collectonly or hasattr(config, "workerinput")
    if whole and not alone and getattr(config.option, "numprocesses", 0) is None:
        config.option.numprocesses = 2
        # A file stays in one process: what its fixtures compile or open is made once.
        config.option.dist = "loadfile" if config.option.all else "worksteal"


def pytest_report_header(config):
    if not config.option.all:
        return "part of the tests; every one, with other libraries and compilers: pytest --all"
    return None


def pytest_ignore_collect(collection_path, config):
    """Without --all the other libraries are not even imported."""
    if collection_path == INTEGRATIONS and not config.option.all:
        return True
    return None


def pytest_collection_modifyitems(config, items):
    if config.option.markexpr or (config.option.all and not config.option.rest):
        return
    marked = {item for item in items if any(item.get_closest_marker(name) for name in EXTRA)}
    if config.option.rest:
        marked.update(item for item in items if INTEGRATIONS in item.path.parents)
    left_out = [item for item in items if (item in marked) != config.option.rest]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if (item in marked) == config.option.rest]


def pytest_runtest_setup(item):
    """A missing package is a failure, since --all asks for every test."""
    for marker in item.iter_markers("needs"):
        for package in marker.args:
            if importlib.util.find_spec(package) is None:
                pytest.fail(f"needs {package}: pip install '.[test-all]'", pytrace=False)
