"""scikit-learn's multi-layer perceptrons, trained with any of fastopt's rules.

`MLPClassifier` and `MLPRegressor` are subclasses of scikit-learn's. ``rule`` and ``rule_options``
take the place of ``solver`` and the keywords of the solvers. All else, such as ``learning_rate``,
``early_stopping`` and ``partial_fit``, is scikit-learn's.
"""

try:
    import sklearn.neural_network
    from sklearn.neural_network._stochastic_optimizers import SGDOptimizer
except ImportError as error:
    raise ModuleNotFoundError(
        "fastopt.integrations.sklearn_mlp needs scikit-learn; install it with: "
        "pip install scikit-learn",
        name="sklearn",
    ) from error

import inspect

import numpy as np

import fastopt

__all__ = ["MLPClassifier", "MLPRegressor"]

SOLVER_KEYWORDS = {
    "solver",
    "momentum",
    "nesterovs_momentum",
    "beta_1",
    "beta_2",
    "epsilon",
    "max_fun",
}


class _RuleOptimizer(SGDOptimizer):
    """An optimizer for scikit-learn: its learning rates and stopping, and the steps of a rule."""

    def __init__(self, params, estimator):
        super().__init__(
            params, estimator.learning_rate_init, estimator.learning_rate, power_t=estimator.power_t
        )
        self.kind = getattr(fastopt, fastopt.RULES[estimator.rule].class_name)
        self.averages = hasattr(self.kind, "eval")
        self.options = dict(estimator.rule_options or {})
        self.before = None
        self.steps = self._steps_of(params)

    def _steps_of(self, params):
        self.stepped = list(params)
        # joblib.load(..., mmap_mode=) gives the estimator weights that are np.memmap.
        plain = [np.asarray(array) for array in self.stepped]
        return self.kind(plain, lr=self.learning_rate, **self.options)

    def __getstate__(self):
        # The estimator holds the weights. After loading they may be read-only, as in the shared
        # memory of joblib's workers, so the optimizer is not built before its first step.
        state = self.__dict__ | {"steps": None, "stepped": None}
        if self.steps is not None:
            state["before"] = self.steps.state_dict()
        return state

    def _follow(self, params):
        """Go on with these weights, and the states of the ones stepped before."""
        if self.steps is not None:
            if all(new is old for new, old in zip(params, self.stepped, strict=True)):
                return
            # The estimator went back to the best weights that it had kept.
            self.before = self.steps.state_dict()
        steps = self._steps_of(params)
        steps.load_state_dict(self.before)
        self.steps, self.before = steps, None

    def update_params(self, params, grads):
        self._follow(params)
        if self.averages:
            self.steps.train()
        self.steps.lr = self.learning_rate
        self.steps.step(
            [np.ascontiguousarray(g, p.dtype) for p, g in zip(params, grads, strict=True)]
        )

    def finish(self, params):
        """Leave the average that a schedule-free rule keeps; but the best weights, where the
        estimator went back to those.
        """
        if self.averages and all(new is old for new, old in zip(params, self.stepped, strict=True)):
            self.steps.eval()


class _TrainedByRule:
    """What both perceptrons add to scikit-learn's."""

    @property
    def _optimizer(self):
        try:
            return self._rule_optimizer
        except AttributeError:
            raise AttributeError("_optimizer") from None

    @_optimizer.setter
    def _optimizer(self, made_by_sklearn):
        # The moment at which scikit-learn begins to train anew
        self._rule_optimizer = _RuleOptimizer(self.coefs_ + self.intercepts_, self)

    def _fit(self, *args, **kwargs):
        if self.rule not in fastopt.RULES:
            raise ValueError(f"rule must be one of {list(fastopt.RULES)}, got {self.rule!r}")
        super()._fit(*args, **kwargs)
        self._optimizer.finish(self.coefs_ + self.intercepts_)
        return self


def _make_class(parent):
    def __init__(self, *args, rule="adam", rule_options=None, **keywords):  # noqa: N807
        bound = signature.bind(self, *args, rule=rule, rule_options=rule_options, **keywords)
        arguments = {
            name: value
            for name, value in bound.arguments.items()
            if name not in ("self", "rule", "rule_options")
        }
        parent.__init__(self, solver="sgd", **arguments)
        self.rule = rule
        self.rule_options = rule_options

    own = [
        inspect.Parameter("rule", inspect.Parameter.KEYWORD_ONLY, default="adam"),
        inspect.Parameter("rule_options", inspect.Parameter.KEYWORD_ONLY, default=None),
    ]
    theirs = inspect.signature(parent.__init__).parameters
    kept = [value for name, value in theirs.items() if name not in SOLVER_KEYWORDS]
    signature = inspect.Signature([*kept, *own])
    __init__.__signature__ = signature
    name = parent.__name__
    __init__.__qualname__ = f"{name}.__init__"
    documentation = f"""`sklearn.neural_network.{name}`, trained with a rule of fastopt.

    Parameters
    ----------
    rule : str, default "adam"
        A name in `fastopt.RULES`.
    rule_options : dict, optional
        Keywords of the rule's class but for ``lr``, which is ``learning_rate_init`` under the
        schedule ``learning_rate``. ``alpha`` is scikit-learn's L2 penalty; a rule's
        ``weight_decay`` is applied to intercepts as well.
    **others
        As scikit-learn's class takes them, but for those of its solvers:
        {", ".join(sorted(SOLVER_KEYWORDS))}.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastopt.integrations.sklearn_mlp import {name}
    >>> inputs, labels = load_iris(return_X_y=True)
    >>> model = {name}(rule="nag", learning_rate_init=0.01, max_iter=500, random_state=0)
    >>> bool(model.fit(inputs, labels).score(inputs, labels) > 0.9)
    True
    """
    members = {"__doc__": documentation, "__init__": __init__, "__module__": __name__}
    return type(name, (_TrainedByRule, parent), members)


MLPClassifier = _make_class(sklearn.neural_network.MLPClassifier)
MLPRegressor = _make_class(sklearn.neural_network.MLPRegressor)
