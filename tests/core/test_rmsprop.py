"""The variants of RMSprop: each has a state of its own, which is there or not from the start."""

import numpy as np
import pytest

import fastopt


def test_momentum_needs_its_buffer():
    arrays = [np.ones(3) for _ in range(3)]
    with pytest.raises(TypeError, match="needs the argument momentum_buffer where momentum is"):
        fastopt.rmsprop(*arrays, momentum=0.5)
    assert all((array == 1).all() for array in arrays)
    fastopt.rmsprop(*arrays, momentum_buffer=np.zeros(3), momentum=0.5)
    assert (arrays[0] != 1).all()


@pytest.mark.parametrize(("was", "becomes"), [(0.0, 0.5), (0.5, 0.0)])
def test_momentum_does_not_come_or_go_after_construction(was, becomes):
    param = np.ones(3)
    opt = fastopt.RMSprop(param, momentum=was)
    opt.param_groups[0]["momentum"] = becomes
    with pytest.raises(ValueError, match=r"momentum cannot be changed (from|to) 0"):
        opt.step(np.ones(3))
    assert (param == 1).all()
    opt.param_groups[0]["momentum"] = was / 2
    opt.step(np.ones(3))
    assert ("momentum_buffer" in opt.state[0]) == (was != 0)


def test_momentum_is_in_all_rows_of_a_population_or_in_none():
    with pytest.raises(ValueError, match="momentum cannot be changed"):
        fastopt.Population("rmsprop", np.ones((2, 3)), momentum=[0.0, 0.5])
    models = fastopt.Population("rmsprop", np.ones((2, 3)), momentum=[0.25, 0.5], centered=True)
    assert set(models.state[0]) == {"step", "square_avg", "grad_avg", "momentum_buffer"}


def test_groups_have_the_states_of_their_own_variants():
    groups = [{"params": np.ones(3)}, {"params": np.ones(3), "momentum": 0.5, "centered": True}]
    opt = fastopt.RMSprop([*groups, {"params": np.ones(3), "momentum": 0.5}])
    opt.step([np.ones(3)] * 3)
    assert [len(entry) - 1 for entry in opt.state] == [1, 3, 2]
    assert list(opt.state[2]) == ["step", "square_avg", "momentum_buffer"]


def test_a_variance_that_rounding_makes_negative_is_zero():
    param, grad = np.zeros(1), np.full(1, 0.1)
    square_avg, grad_avg = grad * grad, grad * (1 + 2**-52)
    assert square_avg < grad_avg * grad_avg
    fastopt.rmsprop(param, grad, square_avg, grad_avg, lr=1.0, alpha=0.99, eps=0.5)
    np.testing.assert_allclose(param, -0.2, rtol=1e-6)
