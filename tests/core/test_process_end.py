"""Ctrl-C and the end of Python while a step is being done."""

import os

import pytest
from processes import run_code

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX processes")


def test_the_interpreter_may_exit_during_a_step():
    code = (
        "import threading\n"
        "import numpy as np\n"
        "import fastopt\n"
        "fastopt.set_num_threads(3)\n"
        "param, grad = np.zeros(4_000_000), np.ones(4_000_000)\n"
        "begun = threading.Event()\n"
        "def work():\n"
        "    while True:\n"
        "        fastopt.sgd(param, grad, lr=1.0)\n"
        "        begun.set()\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "print('stepping', begun.wait(60))\n"
    )
    for _ in range(3):
        assert run_code(code) == "stepping True"


INTERRUPTED = """
import os, signal, threading
import numpy as np
import fastopt

param, grad = np.zeros(4_000_003), np.ones(4_000_003)
timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
"""


def test_an_interrupted_step_is_whole():
    code = INTERRUPTED + (
        "try:\n"
        "    timer.start()\n"
        "    while True:\n"
        "        fastopt.sgd(param, grad, lr=1.0)\n"
        "except KeyboardInterrupt:\n"
        "    print(len(np.unique(param)) == 1, param[0] <= -1)\n"
    )
    assert run_code(code) == "True True"


def test_an_interrupted_step_of_an_optimizer_is_whole_in_every_tensor_and_counted():
    """Every gradient is 1, so that the sum of their squares counts the steps as well."""
    code = INTERRUPTED + (
        "other = np.zeros(3)\n"
        "optimizer = fastopt.Adagrad([param, other], lr=1.0)\n"
        "try:\n"
        "    timer.start()\n"
        "    while True:\n"
        "        optimizer.step([grad, np.ones(3)], max_norm=1e9)\n"
        "except KeyboardInterrupt:\n"
        "    first, second = optimizer.state\n"
        "    steps = first['step']\n"
        "    print(steps >= 1, second['step'] == steps)\n"
        "    print(np.unique(first['state_sum']).tolist() == [steps],\n"
        "          np.unique(second['state_sum']).tolist() == [steps],\n"
        "          np.unique(param).tolist() == np.unique(other).tolist())\n"
        "    optimizer.step([grad, np.ones(3)])\n"
        "    print(optimizer.state[1]['step'] == steps + 1)\n"
    )
    assert run_code(code).split() == ["True"] * 6
