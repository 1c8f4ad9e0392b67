"""A search that a test kills: python search_script.py LOG N_ITER [STORAGE]."""

import json
import sys
import time

from sklearn.datasets import load_iris
from sklearn.svm import SVC

from fastopt import tune
from fastopt.integrations.sklearn import BayesSearchCV

LOG, N_ITER, STORAGE = sys.argv[1], int(sys.argv[2]), (*sys.argv[3:], None)[0]
SPACE = {"C": tune.Float(1e-2, 1e2, log=True), "kernel": ["linear", "rbf"]}


def slow_accuracy(estimator, x, y):
    time.sleep(0.03)
    with open(LOG, "a") as log:
        log.write(f"{estimator.C!r}\n")
    return estimator.score(x, y)


if __name__ == "__main__":
    search = BayesSearchCV(
        SVC(), SPACE, n_iter=N_ITER, cv=3, scoring=slow_accuracy, random_state=5, storage=STORAGE
    ).fit(*load_iris(return_X_y=True))
    results = {
        key: column if isinstance(column, list) else column.tolist()
        for key, column in search.cv_results_.items()
        if "time" not in key
    }
    print(json.dumps([results, search.best_params_]))
