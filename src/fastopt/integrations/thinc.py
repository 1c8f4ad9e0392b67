"""An optimizer for Thinc, and so for spaCy, whose arithmetic is fastopt's.

`Adam` takes the arguments of ``thinc.optimizers.Adam`` and is registered as ``fastopt.Adam.v1``.
Import this module (with spaCy's commands by ``--code``) and write ``@optimizers =
"fastopt.Adam.v1"`` in the configuration. It works with Thinc 8.3, which spaCy 3.8 uses, and Thinc
9.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

try:
    from thinc import optimizers
    from thinc.config import registry
except ImportError as error:
    raise ModuleNotFoundError(
        "fastopt.integrations.thinc needs Thinc; install it with: pip install thinc", name="thinc"
    ) from error

import numpy as np

import fastopt
from fastopt import _core

__all__ = ["Adam", "Optimizer"]


class Optimizer(optimizers.Optimizer):
    """Thinc's optimizer, with Adam, clipping, L2 and averages computed by fastopt's kernels.

    The equations are Thinc's: ``fastopt.adam`` with ``eps_hat=True``, where the clipping factor and
    L2 are part of the pass. Then the gradient is set to zero, and averages move by ``(1 -
    decay)*(average - weights)``. Schedules and serialization are Thinc's.

    Thinc's own code takes the whole call for anything but contiguous NumPy arrays of float32, such
    as arrays on a GPU; for RAdam and SGD; and for numbers that fastopt refuses, such as the
    negative learning rates that ``slanted_triangular`` gives after its last step.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.integrations.thinc import Optimizer
    >>> opt = Optimizer(0.25, grad_clip=0.0, use_averages=False)
    >>> weights, gradient = opt((0, "W"), np.ones(2, np.float32), np.ones(2, np.float32))
    >>> weights.round(6).tolist(), gradient.tolist()
    ([0.75, 0.75], [0.0, 0.0])
    """

    __slots__ = ()

    def __call__(self, key: tuple[int, str], weights: Any, gradient: Any, *, lr_scale: float = 1.0):
        """Step the weights in place and set the gradient to zero.

        Parameters
        ----------
        key : tuple of int and str
            What the moments and averages are kept under.
        weights, gradient : ndarray
            float32, of equal shape.
        lr_scale : float, default 1.0
            Multiplies the learning rate.

        Returns
        -------
        weights, gradient
        """
        beta1, beta2, rate, decay, eps, limit = _settings(self, key)
        lr = lr_scale * rate
        hypers = {"beta1": beta1, "beta2": beta2, "lr": lr, "eps": eps, "eps_hat": True}
        # The factor of Thinc's weight decay, which follows the step of Adam.
        kept = 1.0 - lr * decay if self.L2_is_weight_decay else 1.0
        if self.L2_is_weight_decay and kept > 0:
            # fastopt's decay precedes the step: kept*(p - update) is kept*p - kept*update
            hypers |= {"lr": kept * lr, "weight_decay": decay / kept, "decoupled": True}
        are_taken = kept > 0 and _are_taken(decay, limit, *hypers.values())
        is_adam = 0 < beta1 < 1 and 0 < beta2 < 1 and not self.use_radam
        if not (is_adam and are_taken and self._is_ours(key, weights, gradient)):
            return super().__call__(key, weights, gradient, lr_scale=lr_scale)
        param, grad = weights.reshape(-1), gradient.reshape(-1)
        for moments in (self.mom1, self.mom2):
            if key not in moments:
                moments[key] = np.zeros(param.size, np.float32)
        count = self.nr_update.get(key, 0) + 1
        if decay and not self.L2_is_weight_decay:
            # Written into the gradient, as in Thinc: it is set to zero in the end anyway.
            fastopt.sgd(grad, param, lr=decay, maximize=True)
        if limit:
            norm = _core.norm(grad)
            hypers["grad_scale"] = float(np.float32(limit / norm)) if norm >= limit else 1.0
        fastopt.adam(param, grad, self.mom1[key], self.mom2[key], step=count, **hypers)
        self.nr_update[key] = count
        gradient.view(np.uint8).fill(0)  # bytes, for which NumPy calls memset
        if self.averages is not None:
            if key not in self.averages:
                self.averages[key] = np.zeros(weights.shape, np.float32)
            # Thinc's a - rate*(a - weights) is sgd's p - lr*(p - g); 0.9999 is its largest decay.
            rate = 1.0 - min((1.0 + count) / (10.0 + count), 0.9999)
            average = self.averages[key].reshape(-1)
            fastopt.sgd(average, param, lr=rate, weight_decay=1.0, maximize=True)
        return weights, gradient

    def _is_ours(self, key: tuple[int, str], weights: Any, gradient: Any) -> bool:
        """Whether fastopt's kernels accept all arrays of a call."""
        arrays = {"weights": weights, "gradient": gradient}
        for name, store in (("mom1", self.mom1), ("mom2", self.mom2), ("averages", self.averages)):
            if store and key in store:
                arrays[name] = store[key]
        size, read_only = weights.size, None
        for name, array in arrays.items():
            if not (type(array) is np.ndarray and array.dtype == DTYPE and array.size == size > 0):
                return False
            flags = array.flags
            if not flags.c_contiguous:
                return False
            if not flags.writeable:
                read_only = read_only or name
        if read_only:
            raise ValueError(f"{read_only} must be writeable, got a read-only array")
        return True


DTYPE = np.dtype(np.float32)
SETTINGS = attrgetter("b1", "b2", "learn_rate", "L2", "eps", "grad_clip")

if hasattr(optimizers.Optimizer, "last_score"):

    def _settings(optimizer: Optimizer, key: tuple[int, str]) -> Sequence[float]:
        """Thinc 9 asks schedules at each step."""
        step, score = optimizer.step, optimizer.last_score
        return [schedule(step, key=key, last_score=score) for schedule in SETTINGS(optimizer)]

else:

    def _settings(optimizer: Optimizer, key: tuple[int, str]) -> Sequence[float]:
        """In Thinc 8 these are numbers, which `step_schedules` changes."""
        return SETTINGS(optimizer)


@registry.optimizers("fastopt.Adam.v1")
def Adam(  # noqa: N802
    learn_rate: Any = optimizers.ADAM_DEFAULTS["learn_rate"],
    *,
    L2: Any = optimizers.ADAM_DEFAULTS["L2"],  # noqa: N803
    beta1: Any = optimizers.ADAM_DEFAULTS["beta1"],
    beta2: Any = optimizers.ADAM_DEFAULTS["beta2"],
    eps: Any = optimizers.ADAM_DEFAULTS["eps"],
    grad_clip: Any = optimizers.ADAM_DEFAULTS["grad_clip"],
    L2_is_weight_decay: bool = optimizers.ADAM_DEFAULTS["L2_is_weight_decay"],  # noqa: N803
    use_averages: bool = True,
) -> Optimizer:
    """``thinc.optimizers.Adam`` with fastopt's step: the same arguments and defaults.

    Examples
    --------
    >>> from fastopt.integrations.thinc import Adam
    >>> opt = Adam(0.01, use_averages=False)
    >>> type(opt).__name__, opt.averages
    ('Optimizer', None)
    """
    return Optimizer(
        learn_rate,
        L2=L2,
        beta1=beta1,
        beta2=beta2,
        eps=eps,
        grad_clip=grad_clip,
        L2_is_weight_decay=L2_is_weight_decay,
        use_averages=use_averages,
    )


FLOAT32 = np.finfo(np.float32)
LEAST, MOST = float(FLOAT32.tiny), float(FLOAT32.max)


def _are_taken(*numbers: float) -> bool:
    """Whether a step takes the numbers: none negative or beyond float32."""
    for number in numbers:  # noqa: SIM110 - all() takes twice as long, and this is in each call
        if not (LEAST <= number <= MOST or number == 0):
            return False
    return True
