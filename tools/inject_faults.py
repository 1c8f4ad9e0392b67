"""Makes the system calls of a save and of a study fail or kill, one after the other.

    python tools/inject_faults.py            # every call; needs strace (Linux)
    python tools/inject_faults.py quick      # every seventh

First the calls of one `save` and of one `tell` are counted, then each is made to fail with ENOSPC
and EIO, and to kill the process as it makes it. Whatever happens, the previous or the new state
loads whole, the study opens, and it holds everything that was told; an error that the process still
reports is an OSError.
"""

import collections
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import fastopt
from fastopt import tune

# What touches files. Failing reads and opens of Python's own start are none of the subject, so
# faults begin when the worker says so by opening MARK.
CALLS = (
    "openat,write,pwrite64,fsync,fdatasync,close,rename,renameat2,unlink,ftruncate,fchmod,"
    "pread64,newfstatat,fstat,lseek,fcntl,mmap"
)
MARK = "/fastopt-begins"
# A close that fails has closed nevertheless; locks and maps fail with other errors than these.
ERRORS = {"openat", "write", "pwrite64", "fsync", "fdatasync", "rename", "ftruncate", "fchmod"}

WORKER = f"""
import os, sys
import numpy as np
import fastopt
from fastopt import tune
what, path = sys.argv[1:]

def begin():
    try:
        os.open({MARK!r}, os.O_RDONLY)
    except OSError:
        pass

if what == "save":
    optimizer = fastopt.Adam(np.zeros(20_000))
    optimizer.step(np.ones(20_000))
    optimizer.step(np.ones(20_000))
    begin()
    action = lambda: optimizer.save(path)
else:
    study = tune.Study({{"x": tune.Float(0, 1)}}, strategy="random", seed=0, storage=path)
    trial = study.ask()
    begin()
    action = lambda: study.tell(trial, 1.0)
try:
    action()
except OSError as error:
    begin()
    print("OSError", error)
    os._exit(3)
begin()
print("told")
sys.stdout.flush()
os._exit(0)
"""


def prepare(what, path):
    """A file as it was before: one step saved, or one trial told."""
    if what == "save":
        optimizer = fastopt.Adam(np.zeros(20_000))
        optimizer.step(np.ones(20_000))
        optimizer.save(path)
        return
    with tune.Study({"x": tune.Float(0, 1)}, strategy="random", seed=0, storage=path) as study:
        study.tell(study.ask(), 0.5)


def check(what, path, output, code):
    """What went wrong, or None."""
    said = "told" in output
    if code not in (0, 3, -9, 137):
        return f"status {code}: {output}"
    if what == "save":
        optimizer = fastopt.Adam(np.zeros(20_000))
        optimizer.load(path)
        step = optimizer.state[0]["step"]
        return None if step == 2 or (step == 1 and not said) else f"step {step}"
    with tune.Study({"x": tune.Float(0, 1)}, strategy="random", seed=0, storage=path) as study:
        done = [trial.value for trial in study.trials if trial.state == "done"]
        if done != [0.5, 1.0] and (said or done != [0.5]):
            return f"values {done} of {[t.state for t in study.trials]}"
        # The study goes on, with the trial that was interrupted if it was.
        study.tell(study.ask(), 2.0)
    return None


def run(what, path, *injection):
    log = path.with_name("strace")
    command = ["strace", "-f", "-o", log, "-e", f"trace={CALLS}", *injection]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "FASTOPT_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, sys.executable, "-c", WORKER, what, path],
        env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    return log.read_text(errors="replace"), done


def calls_in(log):
    """How many calls of each name come before the mark, and between the marks."""
    before, between = collections.Counter(), collections.Counter()
    counter = before
    for line in log.splitlines():
        if MARK in line:
            if counter is between:
                break
            # The call of the mark itself comes before.
            before["openat"] += 1
            counter = between
        elif match := re.match(r"\d+ +(\w+)\(", line):
            counter[match[1]] += 1
    return before, between


def main(stride):
    if shutil.which("strace") is None:
        print("**** NOT RUN: strace is not installed", file=sys.stderr)
        return
    if subprocess.run(["strace", "-o", os.devnull, "true"], check=False).returncode:
        print("**** NOT RUN: strace may not trace processes here", file=sys.stderr)
        return
    count, failures, outcomes = 0, [], collections.Counter()
    for what in ("save", "tell"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "file"
            prepare(what, path)
            before, between = calls_in(run(what, path)[0])
        if not between:
            sys.exit(f"no system call of {what} was seen")
        print(what, dict(between), flush=True)
        for call, number in between.items():
            kinds = ["signal=SIGKILL"]
            if call in ERRORS:
                kinds += ["error=ENOSPC", "error=EIO"]
            for kind in kinds:
                for index in range(1, number + 1):
                    count += 1
                    if count % stride:
                        continue
                    when = f"inject={call}:{kind}:when={before[call] + index}"
                    with tempfile.TemporaryDirectory() as folder:
                        path = Path(folder) / "file"
                        prepare(what, path)
                        _, done = run(what, path, "-e", when)
                        output = done.stdout + done.stderr
                        try:
                            fault = check(what, path, output, done.returncode)
                        except (OSError, ValueError) as error:
                            fault = f"{type(error).__name__}: {error}"
                    ended = {0: "told", 3: "OSError"}.get(done.returncode, "killed")
                    outcomes[what, ended] += 1
                    if fault:
                        failures.append(f"{what}, {when}: {fault}")
                        print(failures[-1], flush=True)
    print(dict(outcomes))
    if failures or not outcomes:
        sys.exit(f"{len(failures)} of {sum(outcomes.values())} faults did harm")
    print(f"{sum(outcomes.values())} faults injected: nothing that was told is lost")


if __name__ == "__main__":
    main(7 if sys.argv[1:] == ["quick"] else 1)
