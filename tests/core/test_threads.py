"""The pool: settings, forks, several Python threads, failures and the end of the process."""

import contextlib
import copy
import functools
import hashlib
import math
import os
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cases import RULES, class_of, function_of, numbers, step_keyword
from processes import run_code, run_python

import fastopt

LARGE = 300_007
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX processes")


@functools.cache
def positive_numbers(seed):
    return np.abs(numbers(seed, LARGE, np.float32))


def buffers_of(rule):
    return [positive_numbers(i).copy() for i in range(2 + len(rule.states))]


def step_function(rule, buffers, steps=3):
    for k in range(steps):
        function_of(rule)(*buffers, lr=0.01, **step_keyword(rule, k + 1))
    return [buffer.tobytes() for buffer in buffers]


def test_the_number_of_threads_is_what_was_set():
    for n in (1, 2, 7, 3):
        fastopt.set_num_threads(n)
        assert fastopt.get_num_threads() == n


def test_the_default_number_of_threads_fits_the_affinity_mask():
    available = len(os.sched_getaffinity(0))
    assert 1 <= int(run_code("import fastopt; print(fastopt.get_num_threads())")) <= available
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "import fastopt; print(fastopt.get_num_threads())"
    )
    assert run_code(code) == "1"


@pytest.mark.parametrize("value", ["1", "2", "5"])
def test_the_environment_sets_the_number_of_threads(value):
    code = "import fastopt; print(fastopt.get_num_threads())"
    assert run_code(code, FASTOPT_NUM_THREADS=value) == value


@pytest.mark.parametrize(
    "value", ["0", "-1", "abc", "1000000000", "2.0", "2x", " ", "99999999999999999999"]
)
def test_a_bad_number_of_threads_in_the_environment_is_an_error_at_import(value):
    done = run_python("-c", "import fastopt", FASTOPT_NUM_THREADS=value)
    assert done.returncode == 1
    message = done.stderr.strip().splitlines()[-1]
    assert "FASTOPT_NUM_THREADS" in message
    assert value.strip() in message


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (10**9, ValueError),
        (2**31, ValueError),
        (2**64, ValueError),
        (2.0, TypeError),
        ("2", TypeError),
        (None, TypeError),
        (True, TypeError),
    ],
)
def test_a_bad_number_of_threads_is_refused(value, error):
    before = fastopt.get_num_threads()
    with pytest.raises(error, match=r"\bn\b|num_threads|threads") as caught:
        fastopt.set_num_threads(value)
    assert caught.type is error
    assert fastopt.get_num_threads() == before


FORK = """
import hashlib, os, sys
import numpy as np
import fastopt
from test_threads import LARGE, buffers_of, step_function
fastopt.set_num_threads(3)
rule = fastopt.RULES["adam"]
start = buffers_of(rule)

def digest():
    return hashlib.sha256(b"".join(step_function(rule, [b.copy() for b in start]))).digest()

def child_agrees():
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, digest())
        finally:
            os._exit(0)
    os.close(write)
    got = os.read(read, 64)
    os.close(read)
    assert os.waitpid(pid, 0)[1] == 0
    return got == expected

expected = digest()
"""


def test_a_forked_child_steps_with_the_same_bits():
    code = FORK + "print(all(child_agrees() for _ in range(5)), digest() == expected)"
    assert run_code(code, PYTHONWARNINGS="ignore") == "True True"


def test_two_threads_that_fork_together_give_working_children():
    code = FORK + (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(2) as pool:\n"
        "    print(all(pool.map(lambda _: child_agrees(), range(8))))"
    )
    assert run_code(code, PYTHONWARNINGS="ignore") == "True"


def test_a_fork_during_a_step_gives_a_working_child():
    code = FORK + (
        "import threading\n"
        "stop = threading.Event()\n"
        "def work():\n"
        "    while not stop.is_set():\n"
        "        digest()\n"
        "workers = [threading.Thread(target=work) for _ in range(2)]\n"
        "[worker.start() for worker in workers]\n"
        "print(all(child_agrees() for _ in range(10)))\n"
        "stop.set()\n"
        "[worker.join() for worker in workers]"
    )
    assert run_code(code, PYTHONWARNINGS="ignore") == "True"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_children_step_with_the_same_bits(method):
    code = (
        "import multiprocessing, hashlib\n"
        "import fastopt\n"
        "from test_threads import digest_of_a_step\n"
        "if __name__ == '__main__':\n"
        "    expected = digest_of_a_step(0)\n"
        f"    with multiprocessing.get_context({method!r}).Pool(2) as pool:\n"
        "        print(set(pool.map(digest_of_a_step, range(4))) == {expected})\n"
    )
    assert run_code(code, PYTHONWARNINGS="ignore") == "True"


def digest_of_a_step(_):
    rule = fastopt.RULES["adam"]
    return hash_of(step_function(rule, buffers_of(rule)))


def hash_of(pieces):
    return hashlib.sha256(b"".join(pieces)).hexdigest()


@pytest.mark.parametrize("threads", [1, 3])
def test_several_python_threads_step_different_optimizers(threads):
    fastopt.set_num_threads(threads)
    rules = list(RULES) * 2
    expected = [step_function(rule, buffers_of(rule)) for rule in RULES] * 2
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda rule: step_function(rule, buffers_of(rule)), rules))
    assert got == expected

    def step_class(rule):
        params = [positive_numbers(0).copy(), numbers(1, 77, np.float64)]
        optimizer = class_of(rule)(params, lr=0.01)
        for k in range(3):
            optimizer.step([positive_numbers(k), numbers(5 + k, 77, np.float64)])
        return [param.tobytes() for param in params]

    expected = [step_class(rule) for rule in RULES] * 2
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(step_class, rules)) == expected


def test_the_number_of_threads_may_change_while_others_step():
    rule = fastopt.RULES["adam"]
    expected = step_function(rule, buffers_of(rule))
    stop = threading.Event()

    def change():
        n = 0
        while not stop.is_set():
            fastopt.set_num_threads(1 + n % 5)
            n += 1

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(10):
            assert step_function(rule, buffers_of(rule)) == expected
    finally:
        stop.set()
        changer.join()


def test_two_threads_on_one_optimizer_are_serialised_or_refused():
    param = np.zeros(LARGE)
    grad = np.ones(LARGE)
    optimizer = fastopt.SGD(param, lr=1.0)

    refusals = []

    def step(_):
        try:
            optimizer.step(grad)
        except RuntimeError as error:
            refusals.append(str(error))
            return 0
        return 1

    with ThreadPoolExecutor(4) as pool:
        done = sum(pool.map(step, range(40)))
    assert done >= 1
    assert all("another thread is in the middle of a step" in said for said in refusals)
    np.testing.assert_array_equal(param, -float(done))


class Number(float):
    """A number whose reading runs other code, as a switch to another thread may."""

    def __new__(cls, meanwhile):
        self = super().__new__(cls, 1.0)
        self.meanwhile = meanwhile
        return self

    def __float__(self):
        self.meanwhile()
        return 1.0


of_either_kind = pytest.mark.parametrize(
    "make",
    [
        lambda param: fastopt.SGD(param, lr=1.0),
        lambda param: fastopt.Population("sgd", param, lr=1.0),
    ],
    ids=["optimizer", "population"],
)


@of_either_kind
def test_a_step_while_the_numbers_of_another_are_read_is_refused(make):
    param, grad = np.zeros((2, 3)), np.ones((2, 3))
    optimizer = make(param)

    def step():
        with pytest.raises(RuntimeError, match="another thread is in the middle of a step"):
            optimizer.step(grad)

    optimizer.step(grad, grad_scale=Number(step))
    optimizer.step(grad)
    assert (param == -2).all()


@of_either_kind
def test_gradients_that_vanish_while_numbers_are_read_are_missed(make):
    params, grads = [np.zeros((2, 3))], [np.ones((2, 3))]
    optimizer = make(params)
    with pytest.raises(ValueError, match=r"grads must have 1 arrays, .* got 0"):
        optimizer.step(grads, grad_scale=Number(grads.clear))
    assert not params[0].any()


def test_groups_that_vanish_while_their_numbers_are_read_are_stepped():
    params = [np.zeros(3), np.zeros(3)]
    optimizer = fastopt.SGD([{"params": param} for param in params], lr=1.0)
    groups = optimizer.param_groups
    groups[0]["lr"] = Number(groups.clear)
    optimizer.step([np.ones(3), np.ones(3)])
    assert (np.array(params) == -1).all()


def test_while_a_step_runs_no_group_is_added():
    param = np.zeros(3)
    optimizer = fastopt.SGD(param, lr=1.0)

    def add():
        with pytest.raises(RuntimeError, match="another thread is in the middle of a step"):
            optimizer.add_param_group({"params": np.zeros(3)})

    optimizer.step(np.ones(3), grad_scale=Number(add))
    optimizer.step(np.ones(3))
    assert (param == -2).all()


def as_loaded(optimizer, param):
    other = fastopt.Adagrad(np.zeros_like(param))
    other.load_state_dict(optimizer.state_dict())
    return other


@pytest.mark.parametrize(
    "copied",
    [
        lambda optimizer, param: copy.deepcopy(optimizer),
        lambda optimizer, param: pickle.loads(pickle.dumps(optimizer)),
        as_loaded,
    ],
    ids=["deepcopy", "pickle", "state_dict"],
)
def test_a_copy_while_another_thread_steps_is_whole_or_refused(copied):
    param, grad = np.zeros(LARGE), np.ones(LARGE)
    optimizer = fastopt.Adagrad(param, lr=0.1)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            with contextlib.suppress(RuntimeError):
                optimizer.step(grad)
            # As in a training, which computes gradients between steps. Without a pause every copy
            # would be refused.
            time.sleep(1e-4)

    worker = threading.Thread(target=work)
    worker.start()
    copies = []
    try:
        deadline = time.monotonic() + 60
        while len(copies) < 20 and time.monotonic() < deadline:
            with contextlib.suppress(RuntimeError):
                copies.append(copied(optimizer, param))
    finally:
        stop.set()
        worker.join()
    assert len(copies) == 20
    for other in copies:
        (state,) = other.state
        # Every gradient is 1, so that the sum counts the steps
        np.testing.assert_array_equal(state["state_sum"], state["step"])
        assert len(np.unique(other.param_groups[0]["params"])) == 1


def test_a_new_lr_while_another_thread_steps_is_for_whole_steps_or_refused():
    param, grad = np.zeros(LARGE), np.ones(LARGE)
    optimizer = fastopt.SGD(param, lr=1.0)
    stop = threading.Event()

    def work():
        lr = 1.0
        while not stop.is_set():
            lr = 3.0 - lr
            with contextlib.suppress(RuntimeError):
                optimizer.lr = lr

    worker = threading.Thread(target=work)
    worker.start()
    try:
        steps = 0
        while steps < 100:
            try:
                optimizer.step(grad)
            except RuntimeError:
                time.sleep(0)  # else it tries again while the other thread is where it was
                continue
            steps += 1
            assert len(np.unique(param)) == 1
    finally:
        stop.set()
        worker.join()
    assert -200 <= param[0] <= -100


def test_a_step_without_new_threads_is_serial_and_right():
    code = (
        "import os, resource\n"
        "import fastopt\n"
        "from test_threads import digest_of_a_step\n"
        "fastopt.set_num_threads(1)\n"
        "expected = digest_of_a_step(0)\n"
        "fastopt.set_num_threads(7)\n"
        "if os.getuid() == 0:\n"
        "    os.setuid(65534)  # the limit does not bind root\n"
        "resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))\n"
        "import threading\n"
        "try:\n"
        "    threading.Thread(target=print).start()\n"
        "except RuntimeError:\n"
        "    print('refused', digest_of_a_step(0) == expected)\n"
    )
    assert run_code(code, FASTOPT_NUM_THREADS="1") == "refused True"


def test_a_worker_may_run_where_the_caller_may_but_not_on_its_cpu():
    code = (
        "import os, time\n"
        "import fastopt\n"
        "from test_threads import digest_of_a_step\n"
        "mine = os.sched_getaffinity(0)\n"
        "before = {int(task) for task in os.listdir('/proc/self/task')}\n"
        "fastopt.set_num_threads(2)\n"
        "for _ in range(5):\n"
        "    digest_of_a_step(0)\n"
        "    time.sleep(0.02)  # the worker sleeps; its mask is set when it is woken\n"
        "(worker,) = {int(task) for task in os.listdir('/proc/self/task')} - before\n"
        "left_out = mine - os.sched_getaffinity(worker)\n"
        "print(os.sched_getaffinity(worker) <= mine, len(left_out) == (len(mine) > 1),\n"
        "      os.sched_getaffinity(0) == mine)\n"
    )
    assert run_code(code) == "True True True"
    pinned = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    assert run_code(pinned + code) == "True True True"


def test_other_python_threads_run_during_a_long_step():
    """The interpreter lock is free: a counter in another thread moves while we step."""
    rule = fastopt.RULES["adam"]
    buffers = [np.ones(8_000_000, np.float32) for _ in range(2 + len(rule.states))]
    ticks = 0
    stop = threading.Event()

    def count():
        nonlocal ticks
        while not stop.is_set():
            ticks += 1
            stop.wait(1e-4)

    counter = threading.Thread(target=count)
    fastopt.set_num_threads(1)
    seen = []
    counter.start()
    try:
        for _ in range(10):
            before = ticks
            function_of(rule)(*buffers, lr=0.01, step=1)
            seen.append(ticks - before)
    finally:
        stop.set()
        counter.join()
    assert max(seen) > 1, seen


def test_the_norm_does_not_depend_on_the_number_of_threads():
    grads = [numbers(i, n, np.float64) for i, n in enumerate((LARGE, 3, 0, 70_001, 64))]
    norms = set()
    for threads in (1, 2, 3, 7):
        fastopt.set_num_threads(threads)
        params = [np.zeros_like(grad) for grad in grads]
        norms.add(fastopt.SGD(params, lr=0.1).step(grads, max_norm=1.0))
    assert len(norms) == 1
    exact = math.sqrt(math.fsum(math.fsum(grad * grad) for grad in grads))
    assert norms.pop() == pytest.approx(exact, rel=1e-12)
