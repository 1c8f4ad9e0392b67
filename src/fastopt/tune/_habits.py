"""Names that people bring from other libraries, and what a study calls the same thing."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

__all__ = ["no_attribute", "tune_has"]

# What the modules of Optuna, Hyperopt, scikit-optimize and Ray call what `tune` has.
_MODULES = {
    "Real": "Float(low, high)",
    "Uniform": "Float(low, high)",
    "FloatDistribution": "Float(low, high)",
    "uniform": "Float(low, high)",
    "LogUniform": "Float(low, high, log=True)",
    "loguniform": "Float(low, high, log=True)",
    "Integer": "Int(low, high)",
    "IntDistribution": "Int(low, high)",
    "randint": "Int(low, high), both included",
    "Choice": "Categorical(choices)",
    "CategoricalDistribution": "Categorical(choices)",
    "choice": "Categorical(choices)",
    "hp": "Float, tune.Int and tune.Categorical",
    "create_study": "Study(space)",
    "load_study": "open(path)",
    "fmin": "minimize(objective, space, n_trials)",
    "gp_minimize": "minimize(objective, space, n_trials)",
    "Tuner": "Study(space)",
    "run": "minimize(objective, space, n_trials)",
    "report": "note(name=value); the objective returns its value, or yields one after each epoch",
    "quniform": "Float(low, high, step=q)",
    "qrandint": "Int(low, high, step=q)",
    "grid_search": "Categorical(choices), with strategy='grid' of the study",
    "ASHAScheduler": "Halving()",
    "AsyncHyperBandScheduler": "Halving()",
    "SuccessiveHalvingPruner": "Halving()",
    "HyperBandScheduler": "Hyperband()",
    "HyperbandPruner": "Hyperband()",
    "MedianStoppingRule": "Median()",
    "MedianPruner": "Median()",
    "PopulationBasedTraining": "PopulationBased()",
}

# What a study of Optuna, a search of scikit-learn or a result of scikit-optimize calls it.
ELSEWHERE = {
    "optimize": "run(objective, n_trials)",
    "best_trial": "best",
    "best_params_": "best_params",
    "best_score_": "best_value",
    "get_trials": "trials",
    "trials_dataframe": "to_pandas()",
    "to_dataframe": "to_pandas()",
    "to_csv": "to_pandas().to_csv(path)",
    "enqueue_trial": "enqueue(params)",
    "add_trial": "add(params, value)",
    "x": "best_params",
    "fun": "best_value",
}
# Optuna's trials ask for each parameter in the objective.
DECLARED = (
    "a space declares what is searched, as {'x': tune.Float(0.0, 1.0)}, and the objective gets "
    "the params; study.ask() gives a trial with its params"
)


def tune_has(name: str) -> str:
    """What `tune` has in place of another library's name, as the end of a message; or nothing."""
    return f"; here it is tune.{_MODULES[name]}" if name in _MODULES else ""


def no_attribute(name: str, offered: Sequence[str]) -> str:
    """The message for an attribute that a study does not have, with the one that was meant."""
    text = f"a Study has no attribute {name!r}"
    if name in ELSEWHERE:
        return f"{text}; here it is study.{ELSEWHERE[name]}"
    if name.startswith("suggest"):
        return f"{text}; {DECLARED}"
    close = difflib.get_close_matches(name, offered, n=1)
    if close and not name.startswith("_"):
        text += f"; did you mean {close[0]!r}?"
    return text
