"""The searchers: ``ask() -> x`` and ``tell(objectives, constraints)``.

Each is imported on use.
"""

from __future__ import annotations

import numpy as np


class Fastopt:
    """``fastopt.tune``."""

    def __init__(self, problem, seed, strategy="bayes"):
        from fastopt import tune

        self.tune = tune
        space = {f"x{i}": tune.Float(*bounds) for i, bounds in enumerate(problem.bounds)}
        self.several = len(problem.reference) > 1
        directions = ["minimize"] * len(problem.reference)
        self.study = tune.Study(space, strategy=strategy, seed=seed, directions=directions)

    def ask(self):
        self.trial = self.study.ask()
        return np.array(list(self.trial.params.values()))

    def tell(self, objectives, constraints):
        value = list(objectives) if self.several else objectives[0]
        self.study.tell(self.trial, self.tune.Result(value, constraints))


class Optuna:
    """Optuna with one of its samplers, which reads constraints from an attribute of the trial."""

    def __init__(self, problem, seed, sampler):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space = {
            f"x{i}": optuna.distributions.FloatDistribution(*bounds)
            for i, bounds in enumerate(problem.bounds)
        }
        options = {"seed": seed}
        if problem.n_constraints:
            options["constraints_func"] = lambda trial: trial.user_attrs["constraints"]
        self.study = optuna.create_study(
            sampler=sampler(optuna.samplers, options),
            directions=["minimize"] * len(problem.reference),
        )

    def ask(self):
        self.trial = self.study.ask(self.space)
        return np.array(list(self.trial.params.values()))

    def tell(self, objectives, constraints):
        self.trial.set_user_attr("constraints", list(constraints))
        self.study.tell(self.trial, [float(value) for value in objectives])


RIVALS = {
    "fastopt": Fastopt,
    "fastopt-tpe": lambda problem, seed: Fastopt(problem, seed, "tpe"),
    "random": lambda problem, seed: Fastopt(problem, seed, "random"),
    "optuna-gp": lambda problem, seed: Optuna(problem, seed, lambda s, o: s.GPSampler(**o)),
    "optuna-tpe": lambda problem, seed: Optuna(
        problem, seed, lambda s, o: s.TPESampler(multivariate=True, **o)
    ),
    "optuna-nsga2": lambda problem, seed: Optuna(
        problem, seed, lambda s, o: s.NSGAIISampler(population_size=12, **o)
    ),
}
