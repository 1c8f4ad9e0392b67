"""Limits of memory, threads and interpreters: an error and nothing changed, or it works."""

import gc
import sys
import threading
import time
import weakref
from functools import partial

import numpy as np
import pytest
from processes import run_code

import fastopt

linux_only = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="reads the process's size in /proc, on Linux"
)

# After no_more_memory() the address space must not grow, so allocations fail.
NO_MORE_MEMORY = """
import mmap, resource
import numpy as np
import fastopt

def untouched(n):
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_NORESERVE
    return np.frombuffer(mmap.mmap(-1, 4 * n, flags=flags), np.float32)

def no_more_memory():
    pages = int(open("/proc/self/statm").read().split()[0])
    soft = pages * mmap.PAGESIZE + 2**18
    resource.setrlimit(resource.RLIMIT_AS, (soft, resource.RLIM_INFINITY))

def refused(action):
    try:
        action()
    except MemoryError:
        return True
    return False
"""


@linux_only
@pytest.mark.own_memory
@pytest.mark.parametrize(("rule", "how"), [("SGD", ", max_norm=1.0"), ("LARS", "")])
def test_a_step_without_memory_changes_nothing(rule, how):
    code = NO_MORE_MEMORY + (
        "if not hasattr(mmap, 'MAP_NORESERVE'):\n"
        "    mmap.MAP_NORESERVE = 0x4000\n"
        "n = 2**29\n"  # the sums of its blocks are a megabyte
        "param, grad = untouched(n), untouched(n)\n"
        "param[:3] = 1; grad[:3] = 2\n"
        f"opt = fastopt.{rule}(param, lr=1.0)\n"
        "no_more_memory()\n"
        f"said = refused(lambda: opt.step(grad{how}))\n"
        "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))\n"
        "print(said, param[:4].tolist(), opt.state[0]['step'])\n"
    )
    assert run_code(code, FASTOPT_NUM_THREADS="1") == "True [1.0, 1.0, 1.0, 0.0] 0"


@linux_only
@pytest.mark.own_memory
@pytest.mark.parametrize("how", ["", ", max_norm=1.0"])
def test_a_step_of_rows_without_memory_changes_nothing(how):
    """The list of a million rows is too large, or the sums of two long rows are."""
    count, n = (2, 2**20) if how else (2**20, 1)
    code = NO_MORE_MEMORY + (
        f"param, grad = np.ones((4, {n})), np.ones(({count}, {n}))\n"
        f"rows = fastopt.Rows(np.zeros({count}, np.int64), grad)\n"
        "opt = fastopt.Momentum(param, lr=1.0)\n"
        "no_more_memory()\n"
        f"said = refused(lambda: opt.step(rows{how}))\n"
        "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))\n"
        "state = opt.state[0]\n"
        "print(said, (param == 1).all(), state['momentum_buffer'].any(), state['step'])\n"
    )
    assert run_code(code, FASTOPT_NUM_THREADS="1") == "True True False 0"


@linux_only
@pytest.mark.own_memory
def test_an_optimizer_without_memory_is_refused():
    code = NO_MORE_MEMORY + (
        "param = np.ones(2**22, np.float32)\n"
        "no_more_memory()\n"
        "said = all(refused(lambda: getattr(fastopt, r.class_name)(param, lr=0.1))\n"
        "           for r in fastopt.RULES.values() if r.states)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))\n"
        "print(said, (param == 1).all())\n"
    )
    assert run_code(code) == "True True"


@linux_only
@pytest.mark.own_memory
@pytest.mark.parametrize("action", ["other.load_state_dict(saved, convert=True)", "opt.eval()"])
def test_what_needs_memory_for_a_later_array_changes_no_earlier_one(action):
    code = NO_MORE_MEMORY + (
        "def arrays(dtype):\n"
        "    return [np.ones(3, dtype), np.ones(2**22, dtype)]\n"
        "opt = fastopt.ScheduleFreeSGD(arrays(np.float64), lr=0.1)\n"
        "for _ in range(2):\n"
        "    opt.step(arrays(np.float64))\n"
        "saved = opt.state_dict()\n"
        "other = fastopt.ScheduleFreeSGD(arrays(np.float32), lr=0.2)\n"
        "param = opt.param_groups[0]['params'][0]\n"
        "before = param.copy()\n"
        "no_more_memory()\n"
        f"said = refused(lambda: {action})\n"
        "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))\n"
        "state = other.state[0]\n"
        "print(said, (param == before).all(), opt.training, state['z_offset'].any(), other.lr)\n"
    )
    assert run_code(code) == "True True True False 0.2"


SUBINTERPRETER = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

code = '''
import warnings
warnings.simplefilter("ignore")  # NumPy's own
try:
    import fastopt
except ImportError:
    pass
else:
    raise SystemError("it was imported")
'''

def refused():
    other = interpreters.create()
    try:
        return interpreters.run_string(other, code) is None
    finally:
        interpreters.destroy(other)
"""


def test_a_subinterpreter_is_refused():
    first = SUBINTERPRETER + "print(refused())"
    later = SUBINTERPRETER + (
        "import fastopt\n"
        "import numpy as np\n"
        "said = refused()\n"
        "param = np.ones(3)\n"
        "fastopt.sgd(param, np.ones(3), lr=1.0)\n"
        "print(said, param.tolist())\n"
    )
    assert run_code(first, PYTHONWARNINGS="ignore") == "True"
    assert run_code(later, PYTHONWARNINGS="ignore") == "True [0.0, 0.0, 0.0]"


def test_an_optimizer_may_be_dropped_while_another_thread_steps():
    param, grad = np.zeros(2_000_000), np.ones(2_000_000)
    for _ in range(5):
        param[:] = 0.0
        optimizer = fastopt.SGD(param, lr=1.0)
        gone = weakref.ref(optimizer)
        begun = threading.Event()

        def work(step, begun=begun):
            begun.set()
            for _ in range(3):
                step(grad)

        worker = threading.Thread(target=work, args=[optimizer.step])
        worker.start()
        begun.wait()
        del optimizer
        gc.collect()
        worker.join()
        assert np.unique(param).tolist() == [-3.0]
        del worker, work
        gc.collect()
        assert gone() is None


@pytest.mark.parametrize("error", [ValueError, BufferError])
def test_an_array_cannot_be_resized_during_a_step(error):
    """By NumPy, nor by the owner of the memory: both refuse while others have a reference, and a
    step has one until its end. NumPy's exception is ValueError."""
    memory = bytearray(8 * 4_000_000)
    if error is BufferError:
        param = np.frombuffer(memory)
        resize = memory.clear
    else:
        param = np.zeros(4_000_000)
        resize = partial(param.resize, 8)
    grad = np.ones(4_000_000)
    steps = 0
    stop = threading.Event()
    optimizer = fastopt.SGD(param, lr=1.0)

    def work():
        nonlocal steps
        while not stop.is_set():
            optimizer.step(grad)
            steps += 1

    worker = threading.Thread(target=work)
    worker.start()
    try:
        deadline = time.monotonic() + 0.3
        while time.monotonic() < deadline:
            with pytest.raises(error, match=r"re-?size"):
                resize()
    finally:
        stop.set()
        worker.join()
    assert steps > 0
    assert np.unique(param).tolist() == [-steps]


@pytest.mark.slow
def test_a_hundred_thousand_tensors_step_as_one():
    n, size = 100_000, 3
    whole, grads = np.linspace(-1, 1, n * size), np.linspace(2, -1, n * size)
    pieces = np.split(whole.copy(), n)
    many, one = fastopt.Adam(pieces, lr=0.1), fastopt.Adam(whole, lr=0.1)
    for _ in range(2):
        many.step(np.split(grads, n))
        one.step(grads)
    assert np.concatenate(pieces).tobytes() == whole.tobytes()
    for name in many.rule.states:
        states = np.concatenate([entry[name] for entry in many.state])
        assert states.tobytes() == one.state[0][name].tobytes()
