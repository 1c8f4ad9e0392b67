"""What the environment says about threads and instruction sets."""

import os
import subprocess
import sys

import pytest

import fastopt

PROGRAM = "import fastopt; print(fastopt.get_num_threads(), fastopt.isa())"
NAMES = ("FASTOPT_NUM_THREADS", "OMP_NUM_THREADS", "FASTOPT_ISA")
BEST = fastopt._core.isas()[-1]


def start(**settings):
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**environment, **settings},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("settings", "threads"),
    [
        ({}, None),
        ({"FASTOPT_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "5,2"}, 5),
        ({"OMP_NUM_THREADS": " 5 , 2"}, 5),
        ({"FASTOPT_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3),
        ({"FASTOPT_NUM_THREADS": "", "OMP_NUM_THREADS": "5"}, 5),
        ({"FASTOPT_NUM_THREADS": "", "OMP_NUM_THREADS": "", "FASTOPT_ISA": ""}, None),
        ({"OMP_NUM_THREADS": "many"}, None),
        ({"OMP_NUM_THREADS": "0"}, None),
    ],
    ids=str,
)
def test_threads_are_those_of_the_environment_or_the_cpus(settings, threads):
    found = start(**settings)
    assert found.returncode == 0, found.stderr
    expected = threads or fastopt._core.cpu_count()
    assert found.stdout.split() == [str(expected), BEST]


@pytest.mark.parametrize("name", ["FASTOPT_NUM_THREADS", "FASTOPT_ISA"])
def test_wrong_setting_of_our_own_is_an_error_that_says_so(name):
    found = start(**{name: "wrong"})
    assert found.returncode != 0
    assert f"{name} is 'wrong'" in found.stderr


def test_cpus_are_those_of_the_affinity_mask():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("the system has no affinity masks")
    one = min(os.sched_getaffinity(0))
    program = (
        f"import os; os.sched_setaffinity(0, {{{one}}}); import fastopt;"
        "print(fastopt._core.cpu_count())"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "1"


def test_workers_follow_when_the_caller_is_narrowed():
    """After that no thread of the process may run where the caller may not."""
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is nothing to narrow")
    program = """
import os, time
import numpy as np
import fastopt

fastopt.set_num_threads(2)
param, grad = np.ones(1 << 20), np.ones(1 << 20)
for _ in range(20):
    fastopt.sgd(param, grad, lr=0.1)
before = set(os.listdir("/proc/self/task"))
one = {min(os.sched_getaffinity(0))}
os.sched_setaffinity(0, one)
time.sleep(0.05)
for _ in range(5):
    fastopt.sgd(param, grad, lr=0.1)
started = [int(t) for t in before if int(t) != os.getpid()]
print(len(started), sum(os.sched_getaffinity(t) == one for t in started))
"""
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    threads, narrowed = map(int, found.stdout.split())
    assert threads >= 1
    assert narrowed == threads
