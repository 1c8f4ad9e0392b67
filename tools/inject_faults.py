"""Makes the system calls of a save and of a study's file fail or kill, one after the other.

    python tools/inject_faults.py            # every call; needs strace (Linux)
    python tools/inject_faults.py quick      # every seventh fault

First the calls of each action are counted: one `save`, one `load`, and of a study in a file that
it is made, opened after a process was killed, asked, told and closed. Then every call in turn is
made to kill the process before it begins, which is just after the one before it has ended; the
last stop is when the action is over. Those that touch files are made to fail, too, with EIO, and
with ENOSPC if they write. Whatever happens, the previous or the new state loads whole, the study
opens, goes on, and holds everything that was told; an error that the process still reports names
the file, and is an OSError or, of a file that cannot be read, a ValueError.
"""

import collections
import contextlib
import ctypes
import mmap
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

# A process with other threads cannot be forked and traced as simply.
os.environ |= {"OPENBLAS_NUM_THREADS": "1", "FASTOPT_NUM_THREADS": "1"}

import numpy as np

import fastopt
from fastopt import tune

# Faults begin when the child says so by opening MARK, and end when it does that again.
MARK = "/fastopt-begins"
# Of these the kernel itself asks for memory, or answers from what the process knows.
CANNOT_FAIL = {
    "brk", "clock_nanosleep", "futex", "getegid", "geteuid", "getgid", "getpid", "getrandom",
    "gettid", "getuid", "madvise", "mprotect", "munmap", "rt_sigaction", "rt_sigprocmask",
    "sched_yield", "uname",
}  # fmt: skip
# What needs room on the disk.
WRITES = {"openat", "write", "pwrite64", "fsync", "fdatasync", "ftruncate", "rename", "close"}

SPACE = {"x": tune.Float(0, 1)}
# An unlock that fails leaves a lock, for which a minute's wait would show no more.
OPTIONS = {"strategy": "random", "seed": 0, "lock_timeout": 1.0}
SIZE = 20_000


def study_at(path):
    return tune.Study(SPACE, storage=path, **OPTIONS)


def stepped(steps):
    optimizer = fastopt.Adam(np.zeros(SIZE))
    for _ in range(steps):
        optimizer.step(np.ones(SIZE))
    return optimizer


# In the process that is made to fail


def action_of(what, path):
    """Make everything ready; what then has to be called."""
    if what == "save":
        optimizer = stepped(2)
        return lambda: optimizer.save(path)
    if what == "load":
        optimizer = stepped(0)
        return lambda: optimizer.load(path)
    if what in ("create", "open"):
        return lambda: study_at(path)
    study = study_at(path)
    if what == "ask":
        return study.ask
    trial = study.ask()
    if what == "tell":
        return lambda: study.tell(trial, 1.0)
    return study.close


def mark():
    with contextlib.suppress(OSError):
        os.open(MARK, os.O_RDONLY)


def work(what, path, is_ready, is_traced):
    any_process, allow_tracing = -1, 0x59616D61
    ctypes.CDLL(None).prctl(allow_tracing, any_process)
    action = action_of(what, path)
    is_ready[0] = 1
    while not is_traced[0]:
        time.sleep(1e-3)
    mark()
    try:
        end, status = action(), 0
    except (OSError, ValueError) as error:
        end, status = error, 3
    mark()
    print(f"{type(end).__name__}: {end}", flush=True)
    os._exit(status)  # with all that the action left open


# In the process that watches


def prepare(what, path):
    """A file as it was before: one step saved, or a study in which one trial was told."""
    if what in ("save", "load"):
        stepped(1).save(path)
    elif what != "create":
        child = os.fork()
        if child == 0:
            study = study_at(path)
            study.tell(study.ask(), 0.5)
            if what == "open":
                study.ask()  # it runs, and its process ends without a farewell
            else:
                study.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


def check(what, path, output, code):
    """What went wrong, or None."""
    if code not in (0, 3, -signal.SIGKILL):
        return f"status {code}: {output}"
    if code == 3 and str(path) not in output:
        return f"an error without the file's name: {output}"
    # SQLite itself calls some reads that failed a malformed file. Whether it is one is seen below.
    if "ValueError" in output and "malformed" not in output and what not in ("open", "create"):
        return output
    done = code == 0
    if what in ("save", "load"):
        optimizer = stepped(0)
        optimizer.load(path)
        step = optimizer.state[0]["step"]
        expected = (2,) if what == "save" and done else (1, 2) if what == "save" else (1,)
        return None if step in expected else f"step {step}"
    with study_at(path) as study:
        values = [trial.value for trial in study.trials if trial.state == "done"]
        expected = [] if what == "create" else [0.5, 1.0] if what == "tell" and done else [0.5]
        if values != expected and not (what == "tell" and values == [0.5, 1.0]):
            return f"values {values} of {[trial.state for trial in study.trials]}"
        # The study goes on, with the trial that was interrupted if there was one.
        trial = study.ask()
        if trial.number != len(values):
            return f"trial {trial.number} comes after {values}"
        study.tell(trial, 2.0)
    return None


def run(what, path, *options):
    """Do it in a child under strace: its log, what the child said, and how it ended."""
    log, said = path.with_name("strace"), path.with_name("said")
    is_ready, is_traced = mmap.mmap(-1, 1), mmap.mmap(-1, 1)
    child = os.fork()
    if child == 0:
        try:
            with open(said, "w") as sys.stdout:
                work(what, path, is_ready, is_traced)
        except BaseException:
            said.write_text(traceback.format_exc())
        finally:
            os._exit(1)
    # strace comes when all is ready: of what it sees before the action nothing may depend on when.
    while (
        not is_ready[0] and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    ):
        time.sleep(1e-3)
    command = ["strace", "-f", "-p", str(child), "-o", log, *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        attached = strace.stderr.readline()
        if "attached" not in attached:
            os.kill(child, signal.SIGKILL)
        is_traced[0] = 1
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if "attached" not in attached:
        sys.exit(f"strace: {attached}")
    return log.read_text(errors="replace"), said.read_text(), code


def calls_in(log):
    """How many calls of each name come before the first mark, and from there through the second."""
    before, between = collections.Counter(), collections.Counter()
    counter, marks = before, 0
    for line in log.splitlines():
        if match := re.match(r"\d+ +(\w+)\(", line):
            counter[match[1]] += 1
        if MARK in line:
            marks += 1
            if marks == 2:
                return before, between
            counter = between
    sys.exit("the action did not come to its end")


def faults(what):
    """Every fault of one action: the call that it strikes, and strace's words for it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        prepare(what, path)
        before, between = calls_in(run(what, path)[0])
    print(what, dict(between), flush=True)
    for call, number in between.items():
        kinds = ["signal=SIGKILL"]
        if call not in CANNOT_FAIL:
            kinds.append("error=EIO")
            if call in WRITES:
                kinds.append("error=ENOSPC")
        for kind in kinds:
            for index in range(1, number + 1):
                yield call, f"inject={call}:{kind}:when={before[call] + index}"


def main(stride):
    if shutil.which("strace") is None:
        print("**** NOT RUN: strace is not installed", file=sys.stderr)
        return
    if subprocess.run(["strace", "-o", os.devnull, "true"], check=False).returncode:
        print("**** NOT RUN: strace may not trace processes here", file=sys.stderr)
        return
    tune.Study(SPACE, **OPTIONS).ask()  # what is loaded with the first one is none of the subject
    failures, outcomes = [], collections.Counter()
    for what in ("save", "load", "create", "open", "ask", "tell", "close"):
        for call, fault in list(faults(what))[stride // 2 :: stride]:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "file"
                prepare(what, path)
                _, said, code = run(what, path, "-e", f"trace={call}", "-e", fault)
                try:
                    harm = check(what, path, said, code)
                except (OSError, ValueError, RuntimeError) as error:
                    harm = f"{type(error).__name__}: {error}"
            outcomes[what, {0: "done", 3: "error"}.get(code, "killed")] += 1
            if harm:
                failures.append(f"{what}, {fault}: {harm}")
                print(failures[-1], flush=True)
    for (what, end), count in outcomes.items():
        print(f"{what}: {count} {end}")
    if failures or not outcomes:
        sys.exit(f"{len(failures)} of {outcomes.total()} faults did harm")
    print(f"{outcomes.total()} faults injected: nothing that was told is lost")


if __name__ == "__main__":
    main(7 if sys.argv[1:] == ["quick"] else 1)
