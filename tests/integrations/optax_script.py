"""Fifty steps of a class and of optax' own, in float64: python optax_script.py RULE KEYWORDS.

RULE is a rule that torch lacks, KEYWORDS a dict of its hyper-parameters as JSON.
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


def starting_params():
    return [
        numbers(i, int(np.prod(shape)), np.float64).reshape(shape) for i, shape in enumerate(SHAPES)
    ]


def gradients(step, params):
    """Noise around a slope."""
    return [
        np.asarray(p + numbers(100 + 10 * step + i, p.size, np.float64).reshape(p.shape))
        for i, p in enumerate(params)
    ]


def main(name, keywords):
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    rule = fastopt.RULES[name]
    defaults = {key: rule.class_hypers[key] for key in rule.class_hypers if key != "maximize"}
    transform = globals()[name](**{**defaults, **keywords})
    ours, theirs = starting_params(), starting_params()
    optimizer, state = fastopt.create(name, ours, **keywords), transform.init(theirs)
    for step in range(STEPS):
        grads = gradients(step, theirs)
        optimizer.step(grads)
        updates, state = transform.update(grads, state, theirs)
        theirs = [np.array(p) for p in optax.apply_updates(theirs, updates)]
    for mine, its, start in zip(ours, theirs, starting_params(), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-12, atol=0)
        assert (mine != start).all()


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
