"""A search computes with one BLAS thread, whatever else computes, and restores their number."""

import concurrent.futures
import contextlib
import dis
import os
import sys
import threading

import numpy as np
import pytest
import scipy
from processes import run_code

from fastopt.tune.strategies.bayes import blas
from fastopt.tune.strategies.bayes.blas import _threads, one_blas_thread

# With this many trials BLAS would use several threads.
SEARCH = """
import random
from fastopt import tune


def objective(params):
    return sum((x - 0.1 * i) ** 2 for i, x in enumerate(params.values()))


space = {f"x{i}": tune.Float(0.0, 1.0) for i in range(6)}
study = tune.Study(space, seed=3)
for _ in range(70):
    params = {name: random.Random(f"{name} {len(study.trials)}").random() for name in space}
    study.add(params, objective(params))
for _ in range(5):
    trial = study.ask()
    study.tell(trial, objective(trial.params))
print([x.hex() for trial in study.trials for x in trial.params.values()])
"""


def counts():
    return [get() for get, _ in _threads.libraries]


@pytest.fixture
def two_threads():
    before = counts()
    for _, change in _threads.libraries:
        change(2)
    yield
    for (_, change), count in zip(_threads.libraries, before, strict=True):
        change(count)


def test_the_number_of_blas_threads_changes_no_bit_of_a_search():
    one, several = (run_code(SEARCH, OPENBLAS_NUM_THREADS=count) for count in "14")
    assert one == several


def test_openblas_is_found_wherever_numpy_and_scipy_were_built_with_it():
    built = [package.show_config("dicts")["Build Dependencies"]["blas"] for package in (np, scipy)]
    assert len(counts()) == sum("openblas" in blas["name"] for blas in built)


def test_one_thread_inside_and_as_many_as_before_outside(two_threads):
    with one_blas_thread():
        assert counts() == [1] * len(counts())
        with one_blas_thread():
            assert counts() == [1] * len(counts())
        assert counts() == [1] * len(counts())
    assert counts() == [2] * len(counts())
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        raise ZeroDivisionError
    assert counts() == [2] * len(counts())


def test_the_last_of_overlapping_callers_restores(two_threads):
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()

    def first():
        with one_blas_thread():
            first_in.set()
            second_in.wait(10)
        first_out.set()

    def second():
        first_in.wait(10)
        with one_blas_thread():
            second_in.set()
            first_out.wait(10)
            return counts()

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        pool.submit(first)
        assert pool.submit(second).result() == [1] * len(counts())
    assert counts() == [2] * len(counts())


def interrupted_at(moment):
    """Enter and leave, with Ctrl-C at that moment; False if the moment comes after the end.

    Python looks for signals when a function begins, after every call, and where a loop jumps back.
    """
    files = blas.__file__, contextlib.__file__
    looks_next = {}
    left = moment

    def trace(frame, event, argument):
        nonlocal left
        if frame.f_code.co_filename not in files:
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        looks = False
        if event == "call":
            looks_next[id(frame)] = True
        elif event == "opcode":
            looks = looks_next.pop(id(frame), False)
            name = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            looks_next[id(frame)] = name.startswith("CALL")
        if looks:
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with one_blas_thread():
            assert counts() == [1] * len(counts())
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_ctrl_c_at_any_moment_leaves_as_many_threads_as_before(two_threads):
    came = 0
    for moment in range(60):
        came += interrupted_at(moment)
        assert counts() == [2] * len(counts()), moment
        with one_blas_thread():
            assert counts() == [1] * len(counts()), moment
        assert counts() == [2] * len(counts()), moment
    assert 0 < came < 60  # how many moments there are depends on Python's version


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
# From 3.12 on Python warns of what is tested here.
@pytest.mark.filterwarnings("ignore:.*is multi-threaded.*fork:DeprecationWarning")
def test_a_child_forked_inside_has_the_threads_of_outside(two_threads):
    inside, forked = threading.Event(), threading.Event()

    def stay():
        with one_blas_thread():
            inside.set()
            forked.wait(10)

    staying = threading.Thread(target=stay)
    staying.start()
    inside.wait(10)
    child = os.fork()
    if child == 0:
        with one_blas_thread():
            one = counts() == [1] * len(counts())
        os._exit(0 if one and counts() == [2] * len(counts()) else 1)
    forked.set()
    staying.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
