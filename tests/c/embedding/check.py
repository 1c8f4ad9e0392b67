"""Run where the packages are installed: exits with 0 if all is as it should be."""

import sys

import documented  # the example of docs/guides/embed.md
import embedder
import numpy as np
import pytest

import fastopt

assert fastopt.__file__.startswith(sys.prefix), fastopt.__file__
rng = np.random.default_rng(0)
for amsgrad in (False, True):
    for n in (1, 33, 100_000):
        param = rng.normal(size=n).astype(np.float32)
        states = [np.zeros(n, np.float32) for _ in range(3 if amsgrad else 2)]
        other, others = param.copy(), [state.copy() for state in states]
        for step in range(1, 5):
            grad = rng.normal(size=n).astype(np.float32)
            fastopt.adam(param, grad, *states, step=step, lr=0.01, maximize=True)
            padded = [*others, None][:3]
            assert embedder.adam_float32(other, grad, *padded, step, 0.01, True) == (0, b"no error")
        assert param.tobytes() == other.tobytes()
        assert [a.tobytes() for a in states] == [a.tobytes() for a in others]

param, grad = rng.normal(size=9), rng.normal(size=9)
other = param.copy()
fastopt.sgd(param, grad, lr=0.1, weight_decay=0.5, decoupled=True)
assert embedder.sgd_float64(other, grad, 0.1, 0.5, True)[0] == 0
assert param.tobytes() == other.tobytes()

status, text = embedder.sgd_float64(other, grad, -0.1, 0.0, False)
assert status != 0
assert b"hyper-parameter" in text
assert param.tobytes() == other.tobytes()

weights = np.array([1.0, -2.0])
documented.train(weights, np.array([0.5, 0.5]), 500)
assert np.allclose(weights, 0.5), weights
with pytest.raises(ValueError, match="same length"):
    documented.train(weights, np.zeros(3), 1)
