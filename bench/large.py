"""How cost grows with size: up to 100,000 tensors in one optimizer, up to 10,000 trials in one
file, and a scheduler's decisions among that many trials.

    python bench/large.py

Medians of a few calls each, in microseconds, on a machine that may be busy. What matters are the
columns "step/tensor" and "open/trial", which should stay flat, and the decisions, which should not
grow.
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import fastopt
from fastopt import tune

SPACE = {
    "lr": tune.Float(1e-5, 1.0, log=True),
    "width": tune.Int(1, 512),
    "rule": tune.Categorical(["adam", "nag"]),
}
TENSORS = (10, 1_000, 100_000)
TRIALS = (100, 1_000, 10_000)
VALUES, RUNGS = 100, (3, 9, 27, 81)


def microseconds(action, repeats):
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    return 1e6 * statistics.median(times)


def optimizers():
    print("Adam, tensors of 16 float32 each")
    print(f"{'tensors':>8} {'build us':>12} {'step us':>10} {'step/tensor us':>15} {'save us':>12}")
    for n in TENSORS:
        params = list(np.zeros((n, 16), np.float32))
        grads = list(np.ones((n, 16), np.float32))
        build = microseconds(lambda params=params: fastopt.Adam(params), 3)
        optimizer = fastopt.Adam(params)
        step = microseconds(lambda: optimizer.step(grads), 5)  # noqa: B023
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "state"
            save = microseconds(lambda: optimizer.save(path), 3)  # noqa: B023
        print(f"{n:8} {build:12,.0f} {step:10,.0f} {step / n:15.3f} {save:12,.0f}")


def studies():
    print("A random study in a file")
    print(f"{'trials':>8} {'ask us':>10} {'tell us':>10} {'open us':>12} {'open/trial us':>14}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.db"
        options = {"strategy": "random", "seed": 0, "storage": path}
        done = 0
        for n in TRIALS:
            asks, tells = [], []
            with tune.Study(SPACE, **options) as study:
                while done < n:
                    begin = time.perf_counter()
                    trial = study.ask()
                    asked = time.perf_counter()
                    study.tell(trial, trial.params["lr"])
                    asks.append(asked - begin)
                    tells.append(time.perf_counter() - asked)
                    done += 1
            # Of the last hundred: what a trial costs at that size
            ask, tell = (1e6 * statistics.median(times[-100:]) for times in (asks, tells))
            reopen = microseconds(lambda: tune.Study(SPACE, **options).close(), 3)
            print(f"{n:8} {ask:10,.0f} {tell:10,.0f} {reopen:12,.0f} {reopen / n:14.1f}")


def decisions():
    """What a value costs at a rung, where a trial may be stopped, between rungs, and as the first
    value of a run."""
    print(f"A scheduler's decision in a file, trials of {VALUES} values each")
    print(f"{'trials':>8} {'at a rung us':>13} {'between us':>11} {'first of a run us':>18}")
    levels = np.random.default_rng(0).random(max(TRIALS))
    curve = 1 / np.arange(1, VALUES + 1)
    params = {"lr": 0.1, "width": 1, "rule": "adam"}
    for n in TRIALS:
        seconds = {"rung": [], "between": [], "first": []}

        def training(params, seconds=seconds):
            # Better than all others, so it reaches every rung.
            for epoch, value in enumerate((curve - 1.0).tolist(), start=1):
                begin = time.perf_counter()
                yield value
                kind = "first" if epoch == 1 else "rung" if epoch in RUNGS else "between"
                seconds[kind].append(time.perf_counter() - begin)

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "study.db"
            with tune.Study(SPACE, strategy="random", seed=0, storage=path) as study:
                for level in levels[:n].tolist():
                    study.add(params, level, values=(curve + level).tolist())
                study.run(training, 9, scheduler=tune.Halving(), progress=False)
        rung, between = (1e6 * statistics.median(seconds[kind]) for kind in ("rung", "between"))
        print(f"{n:8} {rung:13,.0f} {between:11,.0f} {1e6 * max(seconds['first']):18,.0f}")


if __name__ == "__main__":
    optimizers()
    studies()
    decisions()
