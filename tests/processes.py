"""Processes of the tests' own: programs, and Python with settings that it reads on import."""

import os
import re
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent


def run_python(*arguments, timeout=120, **environment):
    """Run Python in a child with these environment variables; a value of None removes one."""
    folders = str(TESTS), str(TESTS / "core"), os.environ.get("PYTHONPATH")
    path = os.pathsep.join(filter(None, folders))
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": path}
    for name in ("FASTOPT_ISA", "FASTOPT_NUM_THREADS"):
        env.pop(name, None)
    for name, value in environment.items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return subprocess.run(
        [sys.executable, *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def run_code(code, timeout=120, **environment):
    """Run `code` in a child, which has to succeed, and return what it printed."""
    done = run_python("-c", code, timeout=timeout, **environment)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def run_until_killed(code):
    """Run `code` in a child, with our import path; it has to kill itself."""
    done = run_python("-c", code, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    assert done.returncode == -signal.SIGKILL, done.stderr


def start_script(script, *arguments, **options):
    """Start Python on a file, with our import path; its output is a pipe, unless the options, which
    are those of Popen, say otherwise."""
    return subprocess.Popen(
        [sys.executable, script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        text=True,
        **{"stdout": subprocess.PIPE, **options},
    )


def _is_in_session(pid, leader):
    try:
        return os.getsid(pid) == leader
    except (ProcessLookupError, PermissionError):  # macOS tells nothing about other sessions
        return False


def assert_session_ends(process):
    """No process of the session that ``process`` led is left; workers have groups of their own."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        listed = subprocess.run(["ps", "-A", "-o", "pid="], capture_output=True, check=True).stdout
        left = [pid for pid in map(int, listed.split()) if _is_in_session(pid, process.pid)]
        if not left:
            return
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    raise AssertionError(f"processes {left} still run")


def run_program(command, environment=None, cwd=None):
    """Run a program, which has to succeed, and return what it printed; a failure shows that."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@cache
def available_isas():
    """The instruction sets of this machine, as the error about an unknown one lists them."""
    done = run_python("-c", "import fastopt", FASTOPT_ISA="nonsense")
    assert done.returncode == 1, f"exit status {done.returncode}\n{done.stderr}"
    message = done.stderr.strip().splitlines()[-1]
    _, found, listed = message.partition("can run only: ")
    assert found, message
    return tuple(re.findall(r"\w+", listed))
