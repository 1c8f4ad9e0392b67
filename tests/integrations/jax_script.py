"""What a program with JAX may do with fastopt: python jax_script.py FUNCTION."""

import sys

import jax
import numpy as np
import pytest

import fastopt


def train_without_a_copy():
    weights, expected = np.zeros(1000, np.float32), np.zeros(1000, np.float32)
    optimizer, other = fastopt.Adam(weights, lr=0.1), fastopt.Adam(expected, lr=0.1)
    gradient = jax.grad(lambda weights: ((weights - 3.0) ** 2).sum())
    for _ in range(200):
        theirs = gradient(weights)
        grad = np.from_dlpack(theirs)
        assert grad.ctypes.data == theirs.unsafe_buffer_pointer()
        assert not grad.flags.writeable
        optimizer.step(grad)
        other.step(np.array(theirs))
    assert weights.tobytes() == expected.tobytes()
    np.testing.assert_allclose(weights, 3.0, atol=1e-2)


def step_what_is_immutable():
    theirs = jax.numpy.ones(5, np.float32)
    for param, error, word in (
        (np.from_dlpack(theirs), ValueError, "must be writeable"),
        (np.asarray(theirs), ValueError, "must be writeable"),
        (theirs, TypeError, r"must be a numpy\.ndarray"),
    ):
        with pytest.raises(error, match=f"param {word}"):
            fastopt.sgd(param, np.ones(5, np.float32), lr=0.1)
        with pytest.raises(error, match=rf"params\[0\] {word}|params {word}"):
            fastopt.Adam([param])
    assert np.asarray(theirs).tolist() == [1.0] * 5


def step_with_what_is_no_array_of_numpy():
    param = np.ones(4, np.float32)
    with pytest.raises(TypeError, match=r"grad must be a numpy\.ndarray"):
        fastopt.sgd(param, jax.numpy.ones(4), lr=0.1)
    assert param.tolist() == [1.0] * 4


if __name__ == "__main__":
    globals()[sys.argv[1]]()
