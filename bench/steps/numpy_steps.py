"""The rules as a person would write them in NumPy for speed.

They work in place, with `out=` and preallocated scratch arrays. They go block by block, so that
scratch and block stay in the L2 cache between operations. Without blocks each of Adam's dozen
operations would read and write whole arrays in memory.
"""

from __future__ import annotations

import numpy as np

from bench.steps.arrays import LR, STEP

BLOCK = 16_384
STEPS = {}


def step_of(function):
    """Enter a function as the step of the rule of the same name."""
    STEPS[function.__name__] = function
    return function


@step_of
def sgd(p, g, t, u):
    np.multiply(g, LR, out=t)
    np.subtract(p, t, out=p)


@step_of
def momentum(p, g, b, t, u):
    np.multiply(b, 0.9, out=b)
    np.add(b, g, out=b)
    np.multiply(b, LR, out=t)
    np.subtract(p, t, out=p)


@step_of
def nag(p, g, b, t, u):
    np.multiply(b, 0.9, out=b)
    np.add(b, g, out=b)
    np.multiply(b, 0.9, out=t)
    np.add(t, g, out=t)
    np.multiply(t, LR, out=t)
    np.subtract(p, t, out=p)


def _divide_by_root(p, numerator, lr, v, eps, t, u):
    """p -= lr * numerator / (sqrt(v) + eps)"""
    np.sqrt(v, out=t)
    np.add(t, eps, out=t)
    np.multiply(numerator, lr, out=u)
    np.divide(u, t, out=u)
    np.subtract(p, u, out=p)


def _average(m, g, decay, t):
    """m = decay * m + (1 - decay) * g"""
    np.multiply(m, decay, out=m)
    np.multiply(g, 1 - decay, out=t)
    np.add(m, t, out=m)


def _average_square(v, g, decay, t):
    """v = decay * v + (1 - decay) * g**2"""
    np.multiply(v, decay, out=v)
    np.multiply(g, g, out=t)
    np.multiply(t, 1 - decay, out=t)
    np.add(v, t, out=v)


@step_of
def adagrad(p, g, h, t, u):
    np.multiply(g, g, out=t)
    np.add(h, t, out=h)
    _divide_by_root(p, g, LR, h, 1e-10, t, u)


@step_of
def adadelta(p, g, v, accumulated, t, u):
    _average_square(v, g, 0.9, t)
    np.add(accumulated, 1e-6, out=t)
    np.add(v, 1e-6, out=u)
    np.divide(t, u, out=t)
    np.sqrt(t, out=t)
    np.multiply(t, g, out=t)
    _average_square(accumulated, t, 0.9, u)
    np.multiply(t, LR, out=t)
    np.subtract(p, t, out=p)


@step_of
def adam(p, g, m, v, t, u):
    _average(m, g, 0.9, t)
    _average_square(v, g, 0.999, t)
    root = (1 - 0.999**STEP) ** 0.5
    _divide_by_root(p, m, LR * root / (1 - 0.9**STEP), v, 1e-8 * root, t, u)


@step_of
def adamw(p, g, m, v, t, u):
    np.multiply(p, 1 - LR * 1e-2, out=p)
    adam(p, g, m, v, t, u)


@step_of
def rmsprop(p, g, v, t, u):
    _average_square(v, g, 0.99, t)
    _divide_by_root(p, g, LR, v, 1e-8, t, u)


@step_of
def lion(p, g, m, t, u):
    np.multiply(p, 1 - LR * 1e-3, out=p)
    np.multiply(m, 0.9, out=t)
    np.multiply(g, 0.1, out=u)
    np.add(t, u, out=t)
    np.sign(t, out=t)
    np.multiply(t, LR, out=t)
    np.subtract(p, t, out=p)
    _average(m, g, 0.99, u)


@step_of
def adamax(p, g, m, largest, t, u):
    _average(m, g, 0.9, t)
    np.multiply(largest, 0.999, out=largest)
    np.abs(g, out=t)
    np.add(t, 1e-8, out=t)
    np.maximum(largest, t, out=largest)
    np.multiply(m, LR / (1 - 0.9**STEP), out=t)
    np.divide(t, largest, out=t)
    np.subtract(p, t, out=p)


@step_of
def radam(p, g, m, v, t, u):
    _average(m, g, 0.9, t)
    _average_square(v, g, 0.999, t)
    power = 0.999**STEP
    most = 2 / (1 - 0.999) - 1
    rho = most - 2 * STEP * power / (1 - power)
    share = (rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho)
    rate = LR * ((1 - power) * share) ** 0.5 / (1 - 0.9**STEP)
    _divide_by_root(p, m, rate, v, 1e-8, t, u)


@step_of
def nadam(p, g, m, v, t, u):
    _average(m, g, 0.9, t)
    _average_square(v, g, 0.999, t)
    root = (1 - 0.999**STEP) ** 0.5
    now, following = (0.9 * (1 - 0.5 * 0.96 ** (step * 4e-3)) for step in (STEP, STEP + 1))
    # After STEP steps the product of all momenta is as good as 0.
    np.multiply(g, LR * root * (1 - now), out=t)
    np.multiply(m, LR * root * following, out=u)
    np.add(t, u, out=u)
    np.sqrt(v, out=t)
    np.add(t, 1e-8 * root, out=t)
    np.divide(u, t, out=u)
    np.subtract(p, u, out=p)


@step_of
def adopt(p, g, m, v, t, u):
    np.sqrt(v, out=t)
    np.maximum(t, 1e-6, out=t)
    np.divide(g, t, out=t)
    limit = (STEP - 1) ** 0.25
    np.clip(t, -limit, limit, out=t)
    _average(m, t, 0.9, u)
    _average_square(v, g, 0.9999, t)
    np.multiply(m, LR, out=t)
    np.subtract(p, t, out=p)


@step_of
def ademamix(p, g, m, slow, v, t, u):
    _average(m, g, 0.9, t)
    _average(slow, g, 0.9999, t)
    _average_square(v, g, 0.999, t)
    root = (1 - 0.999**STEP) ** 0.5
    np.multiply(m, LR * root / (1 - 0.9**STEP), out=t)
    np.multiply(slow, LR * root * 5, out=u)
    np.add(t, u, out=u)
    np.sqrt(v, out=t)
    np.add(t, 1e-8 * root, out=t)
    np.divide(u, t, out=u)
    np.subtract(p, u, out=p)


@step_of
def stableadamw(p, g, m, v, t, u):
    _average(m, g, 0.9, t)
    _average_square(v, g, 0.99, t)
    np.sqrt(v, out=t)
    np.maximum(t, 1e-6, out=u)
    np.divide(g, u, out=u)
    rate = LR / max(1.0, (float(np.dot(u, u)) / u.size) ** 0.5)
    np.multiply(p, 1 - rate * 1e-2, out=p)
    np.add(t, 1e-6, out=t)
    np.multiply(m, rate, out=u)
    np.divide(u, t, out=u)
    np.subtract(p, u, out=p)


@step_of
def lamb(p, g, m, v, t, u):
    _average(m, g, 0.9, t)
    _average_square(v, g, 0.999, t)
    root = (1 - 0.999**STEP) ** 0.5
    np.sqrt(v, out=t)
    np.add(t, 1e-6 * root, out=t)
    np.multiply(m, root / (1 - 0.9**STEP), out=u)
    np.divide(u, t, out=u)
    np.multiply(p, 1e-2, out=t)
    np.add(u, t, out=u)
    np.multiply(u, LR * _trust_ratio(p, u), out=u)
    np.subtract(p, u, out=p)


@step_of
def lars(p, g, b, t, u):
    np.multiply(b, 0.9, out=b)
    np.multiply(g, LR * _trust_ratio(p, g, 1e-3), out=t)
    np.add(b, t, out=b)
    np.subtract(p, b, out=p)


def _trust_ratio(p, u, coefficient=1.0):
    of_param, of_update = float(np.dot(p, p)) ** 0.5, float(np.dot(u, u)) ** 0.5
    return coefficient * of_param / of_update if of_param and of_update else 1.0


@step_of
def rprop(p, g, previous, s, t, u):
    np.copyto(s, LR, where=s == 0)
    np.multiply(g, previous, out=t)
    negative = t < 0
    np.multiply(s, 1.2, out=s, where=t > 0)
    np.multiply(s, 0.5, out=s, where=negative)
    np.clip(s, 1e-6, 50, out=s)
    np.copyto(previous, g)
    np.copyto(previous, 0, where=negative)
    np.sign(previous, out=t)
    np.multiply(t, s, out=t)
    np.subtract(p, t, out=p)


@step_of
def asgd(p, g, average, t, u):
    """Before the steps that are averaged."""
    eta = LR / (1 + 1e-4 * LR * (STEP - 1)) ** 0.75
    np.multiply(p, 1e-4 * eta, out=t)
    np.multiply(g, eta, out=u)
    np.add(t, u, out=t)
    np.subtract(p, t, out=p)
    np.copyto(average, p)


@step_of
def schedule_free_sgd(p, g, offset, t, u):
    """All steps so far were of the same rate."""
    share = 1 / STEP
    np.multiply(g, LR * (1 - 0.9 * (1 - share)), out=t)
    np.multiply(offset, share, out=u)
    np.subtract(t, u, out=t)
    np.subtract(p, t, out=p)
    np.multiply(g, LR * 0.9, out=t)
    np.subtract(offset, t, out=offset)
    np.multiply(offset, 1 - share, out=offset)


@step_of
def schedule_free_adamw(p, g, offset, v, t, u):
    root = (1 - 0.999**STEP) ** 0.5
    _average_square(v, g, 0.999, t)
    np.sqrt(v, out=t)
    np.add(t, 1e-8 * root, out=t)
    np.divide(g, t, out=u)
    np.multiply(u, root, out=u)
    share = 1 / STEP
    np.multiply(offset, share, out=t)
    np.add(p, t, out=p)
    np.multiply(u, LR * (1 - 0.9 * (1 - share)), out=t)
    np.subtract(p, t, out=p)
    np.multiply(u, LR * 0.9, out=u)
    np.subtract(offset, u, out=offset)
    np.multiply(offset, 1 - share, out=offset)


@step_of
def prodigy(p, g, m, v, s, offset, t, u):
    """While d is still d0, and with the estimate of each array alone."""
    d = 1e-6
    np.multiply(g, d, out=u)
    _average(m, u, 0.9, t)
    _average_square(v, u, 0.999, t)
    np.multiply(s, 0.999**0.5, out=s)
    np.multiply(g, d * LR, out=t)
    np.add(s, t, out=s)
    _prodigy_d(float(np.dot(t, offset)), float(np.abs(s, out=u).sum()))
    np.copyto(u, p)
    np.sqrt(v, out=t)
    np.add(t, d * 1e-8, out=t)
    np.divide(m, t, out=t)
    np.multiply(t, d * LR, out=t)
    np.subtract(p, t, out=p)
    np.subtract(u, p, out=u)
    np.add(offset, u, out=offset)


def _prodigy_d(numerator, denominator):
    return max(1e-6, numerator / denominator) if denominator else 1e-6


def make_step(rule, tensors, max_norm=None):
    """A function without arguments that steps all tensors, clipped by global norm if asked."""
    formula = STEPS[rule.name]
    dtype = tensors[0].param.dtype
    # Norms are of whole tensors.
    length = max(tensor.param.size for tensor in tensors) if rule.takes_norms else BLOCK
    scratch = np.empty((2, length), dtype)
    gradients = [tensor.grad.reshape(-1) for tensor in tensors]
    blocks = []
    for tensor in tensors:
        flat = [array.reshape(-1) for array in (tensor.param, tensor.grad, *tensor.states)]
        for start in range(0, flat[0].size, length):
            views = [array[start : start + length] for array in flat]
            blocks.append((*views, *scratch[:, : views[0].size]))

    def step():
        if max_norm is not None:
            norm = float(sum(np.dot(grad, grad) for grad in gradients)) ** 0.5
            factor = min(1.0, max_norm / (norm + 1e-6))
            for grad in gradients:
                np.multiply(grad, factor, out=grad)
        for block in blocks:
            formula(*block)

    return step
