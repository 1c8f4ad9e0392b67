"""A study on a cluster that a test interrupts: python dask_script.py STORAGE [use]."""

import sys

import dask_objectives
from distributed import Client, LocalCluster

from fastopt import tune


class Say:
    """Prints each trial that has been told."""

    def on_trial_end(self, study, trial):
        print(trial.number, flush=True)


def main(path, use_afterwards):
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        study = tune.Study(dask_objectives.LONG, strategy="grid", storage=path)
        executor = client.get_executor(pure=False)
        try:
            study.run(dask_objectives.slow_square, executor=executor, n_jobs=2, callbacks=[Say()])
        except KeyboardInterrupt:
            if use_afterwards:
                future = client.submit(dask_objectives.square, {"x": 7})
                print("cluster", future.result(timeout=30))
            print("interrupted", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:] == ["use"])
