"""What the classes of the schedule-free rules have besides those of others."""

from __future__ import annotations

from functools import partial

from fastopt._averages import move, moved_by
from fastopt._optimizer import Optimizer
from fastopt._trees import flatten

__all__ = ["ScheduleFree"]


class ScheduleFree(Optimizer):
    """An optimizer whose parameters are one of two points, which `train` and `eval` swap in place.

    While it trains, as it does from the start, they are where gradients are taken. What a model is
    evaluated and used with is the average of the other points, which `eval` puts there. Files,
    `state_dict`, copies and pickles know which of the two it is.
    """

    __module__ = "fastopt"

    @property
    def training(self) -> bool:
        """Whether the parameters are those of `train`, which may be stepped."""
        return self._training

    def train(self) -> None:
        """Have the parameters where gradients are taken; `step` needs it after `eval`.

        Examples
        --------
        >>> import fastopt
        >>> import numpy as np
        >>> weights = np.zeros(2)
        >>> opt = fastopt.ScheduleFreeSGD(weights, lr=0.5)
        >>> opt.step(np.ones(2))
        >>> opt.eval()
        >>> opt.train()
        >>> opt.step(np.ones(2))
        """
        if not self._training:
            self._move(True)

    def eval(self) -> None:
        """Have the parameters be the average, to evaluate, use or save the model.

        Raises
        ------
        ValueError
            If momentum, or beta1, is 0: the average is then nowhere kept. Nothing has changed then.

        Examples
        --------
        >>> import fastopt
        >>> import numpy as np
        >>> weights = np.zeros(2)
        >>> opt = fastopt.ScheduleFreeSGD(weights, lr=0.5, momentum=0.5)
        >>> for _ in range(2):
        ...     opt.step(np.ones(2))
        >>> opt.eval()
        >>> weights
        array([-0.75, -0.75])
        """
        if self._training:
            self._move(False)

    def _move(self, training: bool) -> None:
        self._look()
        factors = []
        for group in self._params.groups:
            factor = moved_by(self._rule, group, training)
            factors += [factor] * len(flatten(group["params"], "")[0])
        steps = self._tensors.steps
        move(
            self._rule,
            self._tensors,
            [factor if step else 0.0 for factor, step in zip(factors, steps, strict=True)],
            partial(setattr, self, "_training", training),
        )
