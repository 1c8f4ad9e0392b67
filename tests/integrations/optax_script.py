"""Fifty steps of a class and of optax' own, in float64: python optax_script.py CASES.

CASES has pairs of a rule that torch lacks and a dict of its hyper-parameters, as JSON. Prints, as
JSON, what differs for each of them, or an empty string.
"""

import json
import sys

import jax
import numpy as np
import optax
from cases import numbers

import fastopt

STEPS = 50
SHAPES = ((7,), (3, 5), ())


def lion(lr, beta1, beta2, weight_decay):
    return optax.lion(lr, beta1, beta2, weight_decay=weight_decay)


def adopt(lr, beta1, beta2, eps, weight_decay, decoupled):
    decay = optax.add_decayed_weights(weight_decay)
    step = optax.contrib.scale_by_adopt(beta1, beta2, eps)
    order = (step, decay) if decoupled else (decay, step)
    return optax.chain(*order, optax.scale_by_learning_rate(lr))


def ademamix(lr, beta1, beta2, beta3, slow_weight, eps, weight_decay):
    return optax.contrib.ademamix(
        lr, beta1, beta2, beta3, slow_weight, eps, weight_decay=weight_decay
    )


def lamb(lr, beta1, beta2, eps, adapt, weight_decay):
    adam = optax.scale_by_adam(beta1, beta2, eps)
    parts = [adam, optax.add_decayed_weights(weight_decay)]
    parts += [optax.scale_by_trust_ratio()] if adapt else []
    return optax.chain(*parts, optax.scale_by_learning_rate(lr))


def lars(lr, momentum, trust_coefficient, eps, adapt, weight_decay):
    """Without decay: optax takes the norm of the gradient after weight decay was added."""
    assert adapt
    assert not weight_decay
    return optax.lars(
        lr, weight_decay, trust_coefficient=trust_coefficient, eps=eps, momentum=momentum
    )


def stableadamw(lr, beta1, beta2, eps, weight_decay):
    """optax' Adam with the clipping of the paper, which optax lacks."""
    adam = optax.scale_by_adam(beta1, beta2, eps)

    def clipped(updates, grads, nu, count):
        square = nu / (1 - beta2**count)
        return updates / max(1.0, np.sqrt(np.mean(grads**2 / np.maximum(square, eps**2))))

    def update(grads, state, params):
        updates, state = adam.update(grads, state)
        updates = [u + weight_decay * p for u, p in zip(updates, params, strict=True)]
        nus = zip(updates, grads, state.nu, strict=True)
        return [-lr * clipped(*each, int(state.count)) for each in nus], state

    return optax.GradientTransformation(adam.init, update)


def schedule_free_sgd(lr, momentum, warmup_steps, weight_decay, decoupled):
    return optax.contrib.schedule_free_sgd(
        lr, int(warmup_steps) or None, momentum, weight_decay, state_dtype=np.float64
    )


def schedule_free_adamw(lr, beta1, beta2, eps, warmup_steps, weight_decay):
    return optax.contrib.schedule_free_adamw(
        lr, int(warmup_steps) or None, beta1, beta2, eps, weight_decay, state_dtype=np.float64
    )


def prodigy(
    lr,
    beta1,
    beta2,
    beta3,
    eps,
    d0,
    d_coef,
    growth_rate,
    use_bias_correction,
    safeguard_warmup,
    weight_decay,
    decoupled,
):
    """With bias correction, which optax always has, and without a bound on the growth."""
    assert use_bias_correction
    assert decoupled
    assert not growth_rate
    betas = beta1, beta2
    return optax.contrib.prodigy(
        lr, betas, beta3 or None, eps, d0, d_coef, weight_decay, safeguard_warmup
    )


def starting_params():
    return [
        numbers(i, int(np.prod(shape)), np.float64).reshape(shape) for i, shape in enumerate(SHAPES)
    ]


def gradients(step, params):
    """The gradients of a bowl, with noise."""
    return [
        np.asarray(p + numbers(100 + 10 * step + i, p.size, np.float64).reshape(p.shape))
        for i, p in enumerate(params)
    ]


def differs(name, keywords):
    rule = fastopt.RULES[name]
    only_ours = ("maximize", "cautious")
    defaults = {key: rule.class_hypers[key] for key in rule.class_hypers if key not in only_ours}
    transform = globals()[name](**{**defaults, **keywords})
    ours, theirs = starting_params(), starting_params()
    optimizer, state = fastopt.create(name, ours, **keywords), transform.init(theirs)
    for step in range(STEPS):
        grads = gradients(step, theirs)
        optimizer.step(grads)
        updates, state = transform.update(grads, state, theirs)
        theirs = [np.array(p) for p in optax.apply_updates(theirs, updates)]
    try:
        for mine, its, start in zip(ours, theirs, starting_params(), strict=True):
            np.testing.assert_allclose(mine, its, rtol=1e-12, atol=0)
            assert (mine != start).all(), "the parameters have not moved"
    except AssertionError as error:
        return str(error)
    return ""


def main(cases):
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    print(json.dumps([differs(name, keywords) for name, keywords in cases]))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
