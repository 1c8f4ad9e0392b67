"""fastopt.integrations.thinc against Thinc's own optimizer.

Both compute in float32, in different orders of operations. A step differs by single roundings, so
after 50 steps weights that are not close to zero agree to a relative 1e-5. Thinc rounds beta2 to
float32 before it takes 1 - beta2, fastopt after it: with 0.999 the steps differ by a relative
6.4e-6. The betas of the close comparison are exact in float32; the default ones have a test of
their own.
"""

import numpy as np
import pytest
from thinc import optimizers
from thinc.api import (
    Linear,
    Relu,
    Softmax,
    chain,
    registry,
    slanted_triangular,
    warmup_linear,
)

import fastopt
from fastopt.integrations import thinc as fast

RTOL = 1e-5
ATOL = 1e-6
EXACT_BETAS = {"beta1": 0.875, "beta2": 1 - 2**-10}


def steps(optimizer, count, shape=(13, 5)):
    generator = np.random.default_rng(0)
    weights = generator.normal(size=shape).astype(np.float32)
    slope = weights.copy()
    for _ in range(count):
        gradient = (slope + generator.normal(size=shape)).astype(np.float32)
        weights, gradient = optimizer((1, "W"), weights, gradient)
        assert not gradient.any()
        optimizer.step_schedules()
    return weights


def learn_rate(optimizer):
    """The present rate; Thinc 9 has a schedule where Thinc 8 has a number."""
    if callable(optimizer.learn_rate):
        return optimizer.learn_rate(optimizer.step, key=None, last_score=None)
    return optimizer.learn_rate


def rates():
    while True:
        yield from (0.01, 0.02, 0.005)


@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"grad_clip": 0.0},
        {"L2": 0.1},
        {"L2": 0.1, "L2_is_weight_decay": False},
        {"beta1": 0.5, "beta2": 0.75, "eps": 1e-3},
        {"use_averages": False},
    ],
)
def test_fifty_steps_agree_with_thinc(keywords):
    keywords = {**EXACT_BETAS, **keywords}
    own, other = fast.Adam(rates(), **keywords), optimizers.Adam(rates(), **keywords)
    np.testing.assert_allclose(steps(own, 50), steps(other, 50), rtol=RTOL, atol=ATOL)
    for name in ("mom1", "mom2", "averages"):
        mine, theirs = getattr(own, name), getattr(other, name)
        assert (mine is None) == (theirs is None)
        for key in theirs or ():
            np.testing.assert_allclose(mine[key], theirs[key], rtol=RTOL, atol=ATOL)


def test_the_default_betas_differ_by_what_thinc_rounds():
    own, other = fast.Adam(0.01), optimizers.Adam(0.01)
    longest_path = 50 * 0.01 * 2
    np.testing.assert_allclose(
        steps(own, 50), steps(other, 50), rtol=RTOL, atol=6.4e-6 * longest_path + ATOL
    )


def test_the_step_is_the_kernel_s_and_in_place():
    generator = np.random.default_rng(0)
    weights, gradient = generator.normal(size=(2, 7)).astype(np.float32)
    expected, moments = weights.copy(), np.zeros((2, 7), np.float32)
    fastopt.adam(expected, gradient, *moments, step=1, lr=0.1, eps_hat=True)
    optimizer = fast.Adam(0.1, grad_clip=0.0)
    result, _ = optimizer((1, "W"), weights, gradient)
    assert result is weights
    assert weights.tobytes() == expected.tobytes()


def test_other_arrays_are_stepped_by_thinc():
    own, other = fast.Adam(0.01), optimizers.Adam(0.01)
    results = []
    for optimizer in (own, other):
        weights = np.ones((4, 6), np.float32)[:, ::2]
        gradient = np.full((4, 3), 0.1, np.float32)
        results.append(optimizer((1, "W"), weights, gradient)[0])
    assert (results[0] != 1.0).any()
    assert results[0].tobytes() == results[1].tobytes()


def test_arrays_of_another_dtype_are_left_to_thinc_which_refuses_them_on_the_cpu():
    errors = []
    for make in (fast, optimizers):
        with pytest.raises(ValueError, match="dtype") as caught:
            make.Adam(0.01)((1, "W"), np.ones(3), np.ones(3))
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


@pytest.mark.parametrize(
    "keywords", [{"use_radam": True}, {"beta1": 0.0, "beta2": 0.0}], ids=["RAdam", "SGD"]
)
def test_other_rules_are_stepped_by_thinc(keywords):
    own, other = (make.Optimizer(0.01, **keywords) for make in (fast, optimizers))
    assert steps(own, 10).tobytes() == steps(other, 10).tobytes()


@pytest.mark.parametrize("keywords", [{}, {"L2": 0.5}], ids=["plain", "L2"])
def test_a_scale_multiplies_the_learning_rate(keywords):
    """Weight decay too, which in Thinc is in proportion to the rate."""
    results = []
    for make, rate, scale in ((fast, 0.25, 0.5), (fast, 0.125, 1.0), (optimizers, 0.25, 0.5)):
        optimizer = make.Adam(rate, **EXACT_BETAS, **keywords)
        weights = np.linspace(-2, 2, 10, dtype=np.float32)
        for step in range(5):
            gradient = np.linspace(1, 3 + step, 10, dtype=np.float32)
            weights, _ = optimizer((1, "W"), weights, gradient, lr_scale=scale)
        results.append(weights)
    assert results[0].tobytes() == results[1].tobytes()
    np.testing.assert_allclose(results[0], results[2], rtol=RTOL, atol=ATOL)


def test_the_optimizer_is_registered_by_name():
    resolved = registry.resolve(
        {"optimizer": {"@optimizers": "fastopt.Adam.v1", "learn_rate": 0.02}}
    )
    assert type(resolved["optimizer"]) is fast.Optimizer
    assert learn_rate(resolved["optimizer"]) == 0.02


@pytest.mark.parametrize("schedule", ["list", "generator", "registered"])
def test_every_schedule_of_thinc_is_followed(schedule):
    def rate():
        if schedule == "list":
            return [0.1, 0.05, 0.01]
        return rates() if schedule == "generator" else warmup_linear(0.1, 3, 20)

    own, other = (make.Adam(rate(), **EXACT_BETAS) for make in (fast, optimizers))
    np.testing.assert_allclose(steps(own, 10), steps(other, 10), rtol=RTOL, atol=ATOL)
    assert learn_rate(own) == learn_rate(other)


def train(optimizer):
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(64, 8)).astype(np.float32)
    labels = np.eye(3, dtype=np.float32)[inputs[:, :3].argmax(1)]
    model = chain(Relu(16), Linear(16), Softmax(3))
    model.initialize(inputs, labels)
    for node in model.walk():
        for name in node.param_names:
            value = node.get_param(name)
            node.set_param(name, generator.normal(0, 0.3, value.shape).astype(np.float32))
    losses = []
    for _ in range(60):
        guesses, backpropagate = model.begin_update(inputs)
        backpropagate((guesses - labels) / len(inputs))
        model.finish_update(optimizer)
        losses.append(float(-np.log((guesses * labels).sum(1)).mean()))
    return losses


def test_a_network_of_thinc_trains_as_with_its_own_optimizer():
    own, other = train(fast.Adam(0.01)), train(optimizers.Adam(0.01))
    np.testing.assert_allclose(own, other, rtol=1e-3)
    assert own[-1] < 0.5 * own[0]


@pytest.mark.parametrize("weight_decay", [True, False])
@pytest.mark.parametrize("limit", [0.0, 0.5, 1e6])
def test_clipping_l2_and_averages_are_thinc_s(limit, weight_decay):
    """Together, where order matters: what is clipped includes L2, the decay follows the step."""
    keywords = {**EXACT_BETAS, "grad_clip": limit, "L2": 0.5, "L2_is_weight_decay": weight_decay}
    own, other = fast.Adam(0.25, **keywords), optimizers.Adam(0.25, **keywords)
    np.testing.assert_allclose(steps(own, 20), steps(other, 20), rtol=RTOL, atol=ATOL)
    np.testing.assert_allclose(own.averages[1, "W"], other.averages[1, "W"], rtol=RTOL, atol=ATOL)
    assert own.averages[1, "W"].shape == (13, 5)


def test_the_average_is_thinc_s_to_the_bit():
    """With lr=0, so that both average the same weights."""
    own, other = (make.Adam(0.0, **EXACT_BETAS) for make in (fast, optimizers))
    assert steps(own, 30).tobytes() == steps(other, 30).tobytes()
    assert own.averages[1, "W"].tobytes() == other.averages[1, "W"].tobytes()


def test_a_state_of_thinc_is_continued():
    """Training goes on from Thinc's moments, averages and counts, and the other way round."""
    straight = optimizers.Adam(0.01, **EXACT_BETAS)
    pair = [optimizers.Adam(0.01, **EXACT_BETAS), fast.Adam(0.01, **EXACT_BETAS)]
    expected, weights, slope = (np.ones((3, 2), np.float32) for _ in range(3))
    for step in range(8):
        optimizer, other = pair if step % 2 else pair[::-1]
        straight((1, "W"), expected, slope + step)
        optimizer((1, "W"), weights, slope + step)
        for name in ("mom1", "mom2", "averages", "nr_update"):
            setattr(other, name, getattr(optimizer, name))
    np.testing.assert_allclose(weights, expected, rtol=RTOL, atol=ATOL)


def test_nothing_is_changed_by_a_call_that_is_refused():
    optimizer = fast.Adam(0.01, L2=0.5, L2_is_weight_decay=False)
    weights, gradient = np.ones((2, 5), np.float32)
    optimizer((1, "W"), weights, gradient.copy())
    arrays = [weights, gradient]
    arrays += [store[1, "W"] for store in (optimizer.mom1, optimizer.mom2, optimizer.averages)]
    kept = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            optimizer((1, "W"), weights, gradient)
        array.flags.writeable = True
    assert optimizer.nr_update[1, "W"] == 1
    for before, after in zip(kept, arrays, strict=True):
        assert before.tobytes() == after.tobytes()


@pytest.mark.parametrize(
    "keywords",
    [
        {"learn_rate": -0.01},
        {"learn_rate": -0.01, "L2": 0.1},
        {"eps": -1.0},
        {"L2": -0.1},
        {"L2": -0.1, "L2_is_weight_decay": False},
        {"L2": 200.0},
        {"grad_clip": -0.5},
        {"beta1": 1.0},
        {"beta2": 1.5},
        {"eps": 1e-46},
        {"learn_rate": float("nan")},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_numbers_that_fastopt_refuses_are_stepped_with_by_thinc(keywords):
    keywords = {"learn_rate": 0.01} | keywords
    own, other = (
        outcome(lambda make=make: steps(make.Adam(**keywords), 3)) for make in (fast, optimizers)
    )
    assert own == other


def outcome(function):
    """The bytes of what is returned, or the error."""
    try:
        return function().tobytes()
    except (ArithmeticError, TypeError) as error:
        return repr(error)


def test_a_slanted_triangular_rate_may_end_below_zero():
    """The rate keeps falling after the last of its steps; Thinc's code then ascends."""
    own, other = (
        make.Adam(slanted_triangular(0.1, 10), **EXACT_BETAS) for make in (fast, optimizers)
    )
    np.testing.assert_allclose(steps(own, 25), steps(other, 25), rtol=RTOL, atol=ATOL)
    assert learn_rate(own) == learn_rate(other) < 0
