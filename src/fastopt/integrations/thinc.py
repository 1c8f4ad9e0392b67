"""An optimizer for Thinc, and so for spaCy, whose Adam step is fastopt's.

`Adam` takes what ``thinc.optimizers.Adam`` takes and is registered as ``fastopt.Adam.v1``: import
this module (spaCy: ``--code``) and write ``@optimizers = "fastopt.Adam.v1"`` in the configuration.
"""

try:
    from thinc import optimizers
    from thinc.config import registry
except ImportError as error:
    raise ModuleNotFoundError(
        "fastopt.integrations.thinc needs Thinc; install it with: pip install thinc", name="thinc"
    ) from error

import numpy as np

import fastopt

__all__ = ["Adam", "Optimizer"]


class Optimizer(optimizers.Optimizer):
    """Thinc's optimizer, with its Adam step taken by `fastopt.adam` with ``eps_hat=True``.

    Schedules, clipping, decay, averages and serialization are Thinc's, as is the step of anything
    but a contiguous NumPy array of float32: of arrays on a GPU, and RAdam. The gradient is set to
    zero by a step, as Thinc does.

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

    def _adam(self, ops, weights, gradient, lr_scale, key, nr_upd):
        if not (_is_plain(weights) and _is_plain(gradient)):
            return super()._adam(ops, weights, gradient, lr_scale, key, nr_upd)
        for moments in (self.mom1, self.mom2):
            if key not in moments:
                moments[key] = ops.alloc1f(weights.size)
        arguments = self._schedule_args(key)
        fastopt.adam(
            weights.reshape(-1),
            gradient.reshape(-1),
            self.mom1[key],
            self.mom2[key],
            step=nr_upd,
            lr=lr_scale * self.learn_rate(self.step, **arguments),
            beta1=self.b1(self.step, **arguments),
            beta2=self.b2(self.step, **arguments),
            eps=self.eps(self.step, **arguments),
            eps_hat=True,
        )
        gradient.fill(0)
        return weights, gradient


@registry.optimizers("fastopt.Adam.v1")
def Adam(  # noqa: N802
    learn_rate=optimizers.ADAM_DEFAULTS["learn_rate"],
    *,
    L2=optimizers.ADAM_DEFAULTS["L2"],  # noqa: N803
    beta1=optimizers.ADAM_DEFAULTS["beta1"],
    beta2=optimizers.ADAM_DEFAULTS["beta2"],
    eps=optimizers.ADAM_DEFAULTS["eps"],
    grad_clip=optimizers.ADAM_DEFAULTS["grad_clip"],
    L2_is_weight_decay: bool = optimizers.ADAM_DEFAULTS["L2_is_weight_decay"],  # noqa: N803
    use_averages: bool = True,
):
    """``thinc.optimizers.Adam`` with fastopt's step: the same arguments and defaults.

    Examples
    --------
    >>> from fastopt.integrations.thinc import Adam
    >>> opt = Adam(0.01)
    >>> opt.learn_rate(step=0)
    0.01
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


def _is_plain(array):
    return type(array) is np.ndarray and array.dtype == np.float32 and array.flags.c_contiguous
