"""The searchers that the benchmark compares, each behind ``ask() -> params`` and ``tell(params,
value)``.

A library is imported on use, so that an environment needs only the rivals that it runs. Each rival
gets its best: the unit cube where it does not scale inputs itself, logarithms where it has no log
scale, the settings that its own documentation recommends for a search of this size.
"""

from __future__ import annotations

import math
import os

import numpy as np


class Fastopt:
    """``fastopt.tune``; the strategy by name or with options."""

    def __init__(self, space, seed, budget, strategy="bayes"):
        from fastopt import tune

        make = {"float": tune.Float, "int": tune.Int}
        parameters = {
            name: tune.Categorical(spec[1])
            if spec[0] == "choice"
            else make[spec[0]](spec[1], spec[2], log=spec[3])
            for name, spec in space.items()
        }
        self.study = tune.Study(parameters, strategy=strategy, seed=seed)

    def ask(self):
        self.trial = self.study.ask()
        return self.trial.params

    def tell(self, params, value):
        if math.isfinite(value):
            self.study.tell(self.trial, value)
        else:
            self.study.tell(self.trial, error="not finite")


class Random(Fastopt):
    """Independent uniform draws."""

    def __init__(self, space, seed, budget):
        super().__init__(space, seed, budget, strategy="random")


class Tpe(Fastopt):
    """``fastopt.tune`` with its tree-structured Parzen estimators."""

    def __init__(self, space, seed, budget):
        super().__init__(space, seed, budget, strategy="tpe")


class Optuna:
    """Optuna with one of its samplers."""

    def __init__(self, space, seed, budget, sampler):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.optuna = optuna
        distributions = optuna.distributions
        make = {"float": distributions.FloatDistribution, "int": distributions.IntDistribution}
        self.space = {
            name: distributions.CategoricalDistribution(spec[1])
            if spec[0] == "choice"
            else make[spec[0]](spec[1], spec[2], log=spec[3])
            for name, spec in space.items()
        }
        self.study = optuna.create_study(sampler=sampler(optuna.samplers, seed))

    def ask(self):
        self.trial = self.study.ask(self.space)
        return self.trial.params

    def tell(self, params, value):
        if math.isfinite(value):
            self.study.tell(self.trial, value)
        else:
            self.study.tell(self.trial, state=self.optuna.trial.TrialState.FAIL)


def optuna_gp(space, seed, budget):
    return Optuna(space, seed, budget, lambda samplers, s: samplers.GPSampler(seed=s))


def optuna_tpe(space, seed, budget):
    return Optuna(
        space, seed, budget, lambda samplers, s: samplers.TPESampler(seed=s, multivariate=True)
    )


def optuna_cmaes(space, seed, budget):
    """The margin keeps integers from being fixed to one value."""
    integers = any(spec[0] == "int" for spec in space.values())
    return Optuna(
        space, seed, budget, lambda samplers, s: samplers.CmaEsSampler(seed=s, with_margin=integers)
    )


def optuna_auto(space, seed, budget):
    """OptunaHub's AutoSampler, from a local copy if OPTUNAHUB_REGISTRY says where."""
    import optunahub

    name, registry = "samplers/auto_sampler", os.environ.get("OPTUNAHUB_REGISTRY")
    module = (
        optunahub.load_local_module(name, registry_root=registry)
        if registry
        else optunahub.load_module(name)
    )
    return Optuna(space, seed, budget, lambda samplers, s: module.AutoSampler(seed=s))


class Penalty:
    """For a searcher that takes only finite values: a failed trial counts as the worst so far."""

    def __init__(self):
        self.worst = -math.inf

    def __call__(self, value):
        if math.isfinite(value):
            self.worst = max(self.worst, value)
            return value
        return self.worst if math.isfinite(self.worst) else 1e3


class ScikitOptimize:
    """``skopt.Optimizer`` with its defaults: a Gaussian process, hedged acquisition."""

    def __init__(self, space, seed, budget):
        from skopt import Optimizer
        from skopt.space import Categorical, Integer, Real

        make = {"float": Real, "int": Integer}
        dimensions = [
            Categorical(spec[1])
            if spec[0] == "choice"
            else make[spec[0]](spec[1], spec[2], prior="log-uniform" if spec[3] else "uniform")
            for spec in space.values()
        ]
        self.names, self.finite = list(space), Penalty()
        self.optimizer = Optimizer(dimensions, random_state=seed)

    def ask(self):
        return dict(zip(self.names, self.optimizer.ask(), strict=True))

    def tell(self, params, value):
        self.optimizer.tell([params[name] for name in self.names], self.finite(value))


class Hyperopt:
    """Hyperopt's tree of Parzen estimators, driven one trial at a time."""

    def __init__(self, space, seed, budget):
        import hyperopt
        from hyperopt import hp

        self.hyperopt, self.space, self.spec = hyperopt, {}, space
        for name, spec in space.items():
            if spec[0] == "choice":
                self.space[name] = hp.choice(name, spec[1])
            elif spec[0] == "int" and spec[3]:
                self.space[name] = hp.qloguniform(
                    name, math.log(spec[1] - 0.5), math.log(spec[2] + 0.5), 1
                )
            elif spec[0] == "int":
                self.space[name] = hp.uniformint(name, spec[1], spec[2])
            elif spec[3]:
                self.space[name] = hp.loguniform(name, math.log(spec[1]), math.log(spec[2]))
            else:
                self.space[name] = hp.uniform(name, spec[1], spec[2])
        self.domain = hyperopt.Domain(lambda params: params, self.space)
        self.trials = hyperopt.Trials()
        self.rng = np.random.default_rng(seed)

    def ask(self):
        ids = self.trials.new_trial_ids(1)
        seed = int(self.rng.integers(2**31 - 1))
        self.document = self.hyperopt.tpe.suggest(ids, self.domain, self.trials, seed)[0]
        values = {name: v[0] for name, v in self.document["misc"]["vals"].items()}
        params = self.hyperopt.space_eval(self.space, values)
        for name, spec in self.spec.items():
            if spec[0] == "int":
                params[name] = min(max(round(params[name]), spec[1]), spec[2])
        return params

    def tell(self, params, value):
        self.document["state"] = self.hyperopt.JOB_STATE_DONE
        self.document["result"] = {"status": "ok", "loss": value}
        self.trials.insert_trial_docs([self.document])
        self.trials.refresh()


class Hebo:
    """HEBO with its defaults."""

    def __init__(self, space, seed, budget):
        import torch
        from hebo.design_space.design_space import DesignSpace
        from hebo.optimizers.hebo import HEBO

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (HEBO draws from the global generator)
        words = {
            ("float", False): "num",
            ("float", True): "pow",
            ("int", False): "int",
            ("int", True): "pow_int",
        }
        description = [
            {"name": name, "type": "cat", "categories": spec[1]}
            if spec[0] == "choice"
            else {"name": name, "type": words[spec[0], spec[3]], "lb": spec[1], "ub": spec[2]}
            for name, spec in space.items()
        ]
        self.spec = space
        self.optimizer = HEBO(DesignSpace().parse(description), scramble_seed=seed)

    def ask(self):
        self.frame = self.optimizer.suggest()
        row = self.frame.iloc[0].to_dict()
        cast = {"float": float, "int": round, "choice": lambda choice: choice}
        return {name: cast[spec[0]](row[name]) for name, spec in self.spec.items()}

    def tell(self, params, value):
        self.optimizer.observe(self.frame, np.array([[value]]))


class Smac:
    """SMAC3's black-box facade, whose model is a Gaussian process."""

    def __init__(self, space, seed, budget):
        import tempfile
        from pathlib import Path

        from ConfigSpace import Categorical, ConfigurationSpace, Float, Integer
        from smac import BlackBoxFacade, Scenario
        from smac.runhistory.dataclasses import TrialValue

        self.trial_value, self.finite = TrialValue, Penalty()
        configuration = ConfigurationSpace(seed=seed)
        make = {"float": Float, "int": Integer}
        for name, spec in space.items():
            configuration.add(
                Categorical(name, spec[1])
                if spec[0] == "choice"
                else make[spec[0]](name, (spec[1], spec[2]), log=spec[3])
            )
        self.directory = tempfile.TemporaryDirectory()
        scenario = Scenario(
            configuration,
            n_trials=budget,
            seed=seed,
            deterministic=True,
            output_directory=Path(self.directory.name),
        )
        self.facade = BlackBoxFacade(
            scenario, lambda config, seed=0: 0.0, logging_level=False, overwrite=True
        )

    def ask(self):
        self.info = self.facade.ask()
        return dict(self.info.config)

    def tell(self, params, value):
        self.facade.tell(self.info, self.trial_value(cost=self.finite(value)), save=False)


class Ax:
    """Ax's client with its default strategy, whose model is BoTorch's Gaussian process."""

    def __init__(self, space, seed, budget):
        import logging

        import torch
        from ax.api.client import Client
        from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

        logging.disable(logging.WARNING)
        torch.set_num_threads(1)
        self.client = Client(random_seed=seed)
        self.client.configure_experiment(
            parameters=[
                ChoiceParameterConfig(
                    name=name, parameter_type="str", values=spec[1], is_ordered=False
                )
                if spec[0] == "choice"
                else RangeParameterConfig(
                    name=name,
                    parameter_type=spec[0],
                    bounds=(spec[1], spec[2]),
                    scaling="log" if spec[3] else "linear",
                )
                for name, spec in space.items()
            ]
        )
        self.client.configure_optimization(objective="-value")

    def ask(self):
        ((self.index, params),) = self.client.get_next_trials(max_trials=1).items()
        return params

    def tell(self, params, value):
        if math.isfinite(value):
            self.client.complete_trial(self.index, raw_data={"value": value})
        else:
            self.client.mark_trial_failed(self.index)


RIVALS = {
    "fastopt": Fastopt,
    "random": Random,
    "fastopt-tpe": Tpe,
    "optuna-tpe": optuna_tpe,
    "optuna-cmaes": optuna_cmaes,
    "hyperopt": Hyperopt,
    "optuna-gp": optuna_gp,
    "optuna-auto": optuna_auto,
    "skopt": ScikitOptimize,
    "smac": Smac,
    "hebo": Hebo,
    "ax": Ax,
}
