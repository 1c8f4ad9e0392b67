"""Objectives that worker processes can import, and programs that tests interrupt or kill."""

import concurrent.futures
import contextlib
import itertools
import math
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np

from fastopt import tune

SPACE = {
    "lr": tune.Float(1e-4, 1.0, log=True),
    "width": tune.Int(4, 64, log=True),
    "dropout": tune.Float(0.0, 0.5, step=0.1),
    "rule": tune.Categorical(["adam", "nag", "sgd"]),
    "beta": tune.Float(0.5, 1.0, when={"rule": ["adam", "nag"]}),
}
SMALL = {"a": tune.Int(0, 4), "b": tune.Categorical(["x", "y", "z", "w"])}
LARGE = {"a": tune.Int(0, 49), "b": SMALL["b"]}
# Those whose suggestions do not depend on results, and all.
SEQUENCES = [tune.Grid(points=4), "random", "sobol"]
STRATEGIES = [*SEQUENCES, "bayes", "tpe"]


def smooth(params):
    return (params["lr"] - 0.1) ** 2 + params["width"] / 100 + params.get("beta", 0.3)


def small(params):
    return params["a"] + len(params["b"])


def first(params):
    return params["a"]


def returns_after_epochs(params):
    yield from [3.0, 1.0, 2.0]
    return 0.25 + params["a"]


def sleepy(params):
    time.sleep(0.01)
    return small(params)


WHERE = ["serial", "processes", "threads", "pool"]


@contextlib.contextmanager
def somewhere(where):
    """The options of ``run`` for a place where trials run."""
    if where == "serial":
        yield {}
    elif where == "processes":
        yield {"n_jobs": 2}
    elif where == "threads":
        with concurrent.futures.ThreadPoolExecutor(2) as executor:
            yield {"executor": executor}
    else:
        spawn = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(2, spawn) as executor:
            yield {"executor": executor}


def slow(params):
    time.sleep(0.3)
    return small(params)


def jittered(params):
    """``smooth`` after a time of its own, so that results do not come in the order of trials."""
    time.sleep(0.3 * (params["width"] % 2))
    return smooth(params)


def raises_on_two(params):
    if params["a"] == 2:
        raise KeyError("two is bad")
    return params["a"]


def dies_on_two(params):
    if params["a"] == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return params["a"]


def dies_once(params):
    """The first worker that gets 2 dies; the flag file tells the second not to."""
    if params["a"] == 2 and not os.path.exists(params["flag"]):
        open(params["flag"], "w").close()
        os._exit(3)
    return params["a"]


def dies_on_odd(params):
    time.sleep(0.1)
    if params["a"] % 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return params["a"]


def hangs_with_a_child(params):
    child = subprocess.Popen(["sleep", "600"])
    yield child.pid
    time.sleep(600)


def dies_with_a_child(params):
    yield subprocess.Popen(["sleep", "600"]).pid
    os._exit(1)


def hangs_on_two(params):
    if params["a"] == 2:
        time.sleep(600)
    return params["a"]


def hangs(params):
    time.sleep(600)


def exits(params):
    sys.exit("no more")


def returns_unpicklable(params):
    return lambda: 1


def epochs(params):
    for epoch in range(4):
        yield params["a"] + 1.0 / (1 + epoch)


def learning(params):
    """Nine epochs in which the learning curves of trials cross."""
    for epoch in range(1, 10):
        yield (params["a"] * 7 % 5) / epoch + params["a"] / 10


def learning_together(params):
    """The same as a batched objective."""
    a = params["a"]
    for epoch in range(1, 10):
        rows = yield (a * 7 % 5) / epoch + a / 10
        a = a[rows]


def dies_in_a_batch(params):
    """The first worker dies after three values."""
    steps = learning_together(params)
    rows = None
    for epoch in itertools.count():
        if epoch == 3 and not os.path.exists(params["flag"][0]):
            open(params["flag"][0], "w").close()
            os._exit(3)
        try:
            rows = yield next(steps) if rows is None else steps.send(rows)
        except StopIteration:
            return


def until_stopped(params):
    """Goes on until a scheduler stops it, and cleans up."""
    try:
        for _ in itertools.count():
            time.sleep(0.001)
            yield params["a"]
    finally:
        open(os.path.join(params["folder"], f"{params['a']}"), "w").close()


def hangs_after_a_value(params):
    yield 1.0
    time.sleep(600)


def notes_each_value(params):
    tune.note(a=params["a"])
    for step in range(1, 5):
        tune.note(steps=step)
        yield params["a"]


class StopsAfter:
    """A scheduler that stops each trial after a number of values."""

    def __init__(self, epochs):
        self.epochs = epochs

    def decide(self, moment):
        return "stop" if moment.epochs >= self.epochs else "go"


def epochs_without_end(params):
    for epoch in itertools.count():
        time.sleep(0.01)
        yield 1.0 / (1 + epoch)


def threads(params):
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "FASTOPT_NUM_THREADS")
    return float(sum(os.environ.get(name) == "1" for name in names))


def main(path, strategy, n_trials):
    """Tell trials one by one and print each; a test kills this process meanwhile."""
    strategy = tune.Grid(points=4) if strategy == "grid" else strategy
    study = tune.Study(SPACE, strategy=strategy, seed=11, storage=path)
    for _ in range(int(n_trials)):
        trial = study.ask()
        print("asked", trial.number, flush=True)
        time.sleep(0.005)
        study.tell(trial, smooth(trial.params))
        print("told", trial.number, flush=True)


def share(path, folder, processes):
    """One of several processes that share a file; prints how many trials it ended. All begin at
    once, and after its first trial each waits until the others have had one."""
    study = tune.Study(LARGE, strategy="grid", storage=path)

    def meet(name):
        pathlib.Path(folder, f"{name} {os.getpid()}").touch()
        deadline = time.monotonic() + 60
        while len(list(pathlib.Path(folder).glob(f"{name} *"))) < int(processes):
            assert time.monotonic() < deadline
            time.sleep(0.001)

    meet("opened")
    count = 0
    while True:
        try:
            trial = study.ask()
        except tune.SpaceExhausted:
            print(count)
            return
        study.tell(trial, small(trial.params))
        count += 1
        if count == 1:
            meet("told")


def notes_and_folder(params):
    trial = tune.current_trial()
    tune.note(number=trial.number, half=params["a"] / 2)
    (trial.folder / "checkpoint").write_text(str(params["a"]))
    if params["a"] == 2:
        raise KeyError("two is bad")
    return params["a"]


def faulty(params):
    return params["b"]


def minimize_together(path, flag):
    """One of several processes that want a study of 20 trials."""
    print("ready", flush=True)
    deadline = time.monotonic() + 60
    while not os.path.exists(flag):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    study = tune.minimize(sleepy, LARGE, 20, strategy="random", storage=path)
    print(len(study.trials))


def run(path, n_jobs):
    """A run with workers that a test interrupts."""
    tune.Study(SMALL, strategy="grid", storage=path).run(slow, n_jobs=int(n_jobs))


class Say:
    """Prints each trial that has been told."""

    def on_trial_end(self, study, trial):
        print(trial.number, flush=True)


def run_scheduled(path, batch):
    """A run with a scheduler that prints each report; a test kills it."""

    class SayReports:
        def on_report(self, study, trial, step, value):
            print(trial.number, step, flush=True)

    study = tune.Study(LARGE, strategy="random", storage=path)
    objective = learning_together if int(batch) else learning
    options = {"batch": int(batch)} if int(batch) else {}
    study.run(objective, 24, scheduler=tune.Halving(), callbacks=[SayReports()], **options)


class Diverges:
    """Rows 1, 5 and 9 diverge, at the third epoch."""

    def __init__(self, bad):
        self.bad = bad

    def __call__(self, params):
        a = params["a"]
        for epoch in range(4):
            losses = np.ma.array(a, dtype=float)
            if epoch == 2:
                losses[a % 4 == 1] = self.bad
            rows = yield losses
            a = a[rows]


class Training:
    """Keeps the whole state of each row, which shows from which row it came."""

    def __init__(self, fails=()):
        self.fails = fails
        self.seen = []

    def __call__(self, params):
        began = np.arange(len(params["lr"]))
        lr, x = params["lr"], np.full(len(began), 5.0)
        for epoch in range(1, 10):
            x = x - lr * x
            losses = x**2
            losses[(epoch == 5) & np.isin(began, self.fails)] = np.nan
            rows = yield losses
            self.seen.append((epoch, began.tolist(), rows))
            x, began, lr = x[rows], began[rows], rows.params["lr"]


def run_until_killed(path, n_jobs):
    """A run whose first trials never end."""
    study = tune.Study(SMALL, strategy="grid", storage=path)
    study.run(epochs_without_end, n_jobs=int(n_jobs))


def run_until_interrupted(path, where):
    """A test sends SIGINT. Afterwards the executor must still be usable."""
    study = tune.Study(LARGE, strategy="grid", storage=path)
    with somewhere(where) as options:
        try:
            study.run(slow, callbacks=[Say()], **options)
        except KeyboardInterrupt:
            if "executor" in options:
                print("executor", options["executor"].submit(small, {"a": 2, "b": "x"}).result())
            print("interrupted", flush=True)


def notes_of_rows(params):
    """Losses like the params; notes and files of each row. Row 1 diverges at its third value."""
    tune.note(double=2 * params["a"])
    for trial, value in zip(tune.current_trials(), params["a"], strict=True):
        (trial.folder / "checkpoint").write_text(str(value))
    left = params["a"].astype(float)
    for epoch in range(1, 10):
        tune.note(epochs=[epoch] * len(left))
        rows = yield np.where((left == 1) & (epoch == 3), np.nan, left)
        left = left[rows]


def trade(params):
    """Two objectives, one better and the other worse with larger x; y makes both worse."""
    x, y = params["x"], params["y"]
    return x**2 + y, x * (1.0 - y)


def disc(params):
    """The sum is smallest in the corner, around which a disc is forbidden."""
    x, y = params["x"], params["y"]
    return tune.Result(x + y, constraints=[0.5 - math.hypot(x, y)])


def with_failures():
    """A study of which some trials have failed and one runs, with texts that HTML must escape."""

    def objective(params):
        if params["width"] > 40:
            raise RuntimeError("<b>too & wide</b>")
        return smooth(params)

    study = tune.Study(SPACE, strategy="sobol", name="<study> & more")
    study.run(objective, 40)
    study.ask()
    return study


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
