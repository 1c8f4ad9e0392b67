"""The schedule-free classes go between the point of the gradients and the average of all steps."""

import copy
import pickle

import numpy as np
import pytest
from cases import class_of, every_copy, numbers

import fastopt
from fastopt._formats import named_dtype

RULES = [rule for rule in fastopt.RULES.values() if "z_offset" in rule.states]
SHARE = {"schedule_free_sgd": "momentum", "schedule_free_adamw": "beta1"}
each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
needs_bfloat16 = pytest.mark.needs("ml_dtypes")
KEYWORDS = {"lr": 0.05, "warmup_steps": 3}


def trained(rule, dtype=np.float64, steps=5, **keywords):
    params = [numbers(1, 7, np.float64).astype(dtype), numbers(2, 3, np.float64).astype(dtype)]
    optimizer = class_of(rule)(params, **{**KEYWORDS, **keywords})
    for step in range(steps):
        optimizer.step([numbers(10 + step, len(p), np.float64).astype(dtype) for p in params])
    return params, optimizer


def test_both_rules_are_here():
    assert set(SHARE) == {rule.name for rule in RULES}


@each_rule
def test_eval_gives_the_average_of_the_steps_by_their_squared_rates(rule):
    param = numbers(1, 7, np.float64)
    optimizer = class_of(rule)(param, **KEYWORDS)
    total, weights = np.zeros(7), 0.0
    for step in range(1, 9):
        optimizer.step(param + numbers(10 + step, 7, np.float64))
        z = param + optimizer.state[0]["z_offset"]
        weight = (0.05 * min(1, step / 3)) ** 2
        total, weights = total + weight * z, weights + weight
    average = param + (1 - 1 / 0.9) * optimizer.state[0]["z_offset"]
    optimizer.eval()
    np.testing.assert_array_equal(param, average)
    np.testing.assert_allclose(param, total / weights, rtol=1e-12)
    assert float(optimizer.state[0]["weight_sum"]) == pytest.approx(weights, rel=1e-14)


@each_rule
def test_train_leads_back_and_goes_on(rule):
    params, optimizer = trained(rule)
    before = copy.deepcopy(params)
    optimizer.train()  # changes nothing: it is training
    assert all((a == b).all() for a, b in zip(params, before, strict=True))
    optimizer.eval()
    average = copy.deepcopy(params)
    optimizer.eval()  # changes nothing: it is at the average
    assert all((a == b).all() for a, b in zip(params, average, strict=True))
    assert not any((a == b).any() for a, b in zip(params, before, strict=True))
    assert not optimizer.training
    optimizer.train()
    for a, b in zip(params, before, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)
    optimizer.step([np.ones(7), np.ones(3)])


@each_rule
def test_a_step_of_the_average_is_an_error_that_says_what_to_do(rule):
    params, optimizer = trained(rule)
    optimizer.eval()
    before = copy.deepcopy((params, optimizer.state_dict()["state"]))
    with pytest.raises(RuntimeError, match=r"call train\(\) before step\(\)"):
        optimizer.step([np.ones(7), np.ones(3)])
    np.testing.assert_equal((params, optimizer.state_dict()["state"]), before)


@each_rule
@pytest.mark.parametrize("training", [True, False])
def test_copies_and_files_know_the_mode(rule, training):
    params, optimizer = trained(rule)
    if not training:
        optimizer.eval()
    copies = list(every_copy(params, optimizer, lambda fresh: class_of(rule)(fresh, lr=1.0)))
    optimizer.train()
    optimizer.step([np.ones(7), np.ones(3)])
    for others, other in copies:
        assert other.training is training
        other.train()
        other.step([np.ones(7), np.ones(3)])
        assert all((a == b).all() for a, b in zip(params, others, strict=True))


@pytest.mark.parametrize("training", [1, None, False])
def test_a_mode_that_cannot_be_is_refused(training):
    name = "sgd" if training is False else "schedule_free_sgd"
    optimizer = fastopt.create(name, np.zeros(2), lr=0.1)
    content = optimizer.state_dict() | {"training": training}
    with pytest.raises(ValueError, match="training"):
        optimizer.load_state_dict(content)


@each_rule
def test_without_a_share_there_is_no_average(rule):
    params, optimizer = trained(rule, **{SHARE[rule.name]: 0.0})
    before = copy.deepcopy(params)
    with pytest.raises(ValueError, match=rf"{SHARE[rule.name]} must be above 0 for eval\(\)"):
        optimizer.eval()
    np.testing.assert_equal(params, before)
    assert optimizer.training


@each_rule
def test_a_parameter_without_a_step_is_its_own_average(rule):
    params = [np.ones(3), np.full(2, -0.0)]
    optimizer = class_of(rule)(params, lr=0.1)
    optimizer.step([np.ones(3), None])
    optimizer.eval()
    assert params[1].tobytes() == np.full(2, -0.0).tobytes()


@each_rule
def test_rows_without_a_step_are_their_own_average(rule):
    param = np.ones((5, 2))
    optimizer = class_of(rule)(param, lr=0.1)
    for _ in range(3):
        optimizer.step(fastopt.Rows(np.array([3, 1]), np.ones((2, 2))))
    optimizer.eval()
    assert (param[[0, 2, 4]] == 1).all()
    assert (param[[1, 3]] < 1).all()


@each_rule
@pytest.mark.parametrize(
    ("dtype", "keywords", "tolerance"),
    [
        ("float32", {}, 1e-6),
        ("float32", {"state_format": "block8"}, 1e-6),
        pytest.param("bfloat16", {}, 2**-6, marks=needs_bfloat16),
        pytest.param("bfloat16", {"master_weights": True}, 2**-6, marks=needs_bfloat16),
    ],
)
def test_narrow_parameters_and_states_are_swapped_in_float32(rule, dtype, keywords, tolerance):
    params, optimizer = trained(rule, named_dtype(dtype), **keywords)
    before = [param.astype(np.float64) for param in params]
    optimizer.eval()
    assert any((a != b).any() for a, b in zip(params, before, strict=True))
    optimizer.train()
    for a, b in zip(params, before, strict=True):
        np.testing.assert_allclose(a.astype(np.float64), b, rtol=tolerance, atol=1e-6)


@each_rule
def test_the_rows_of_a_population_are_averaged_as_if_alone(rule):
    shares = [0.5, 0.9, 0.95]
    params = np.stack([numbers(k, 4, np.float64) for k in range(3)])
    alone = params.copy()
    models = fastopt.Population(rule.name, params, lr=[0.1, 0.2, 0.3], **{SHARE[rule.name]: shares})
    grads = [np.stack([numbers(10 * step + k, 4, np.float64) for k in range(3)]) for step in (1, 2)]
    for grad in grads:
        models.step(grad)
    models.eval()
    for k in range(3):
        keywords = {"lr": 0.1 * (k + 1) if k < 2 else 0.3, SHARE[rule.name]: shares[k]}
        optimizer = class_of(rule)(alone[k], **keywords)
        for grad in grads:
            optimizer.step(grad[k])
        optimizer.eval()
    assert params.tobytes() == alone.tobytes()
    with pytest.raises(RuntimeError, match="call train"):
        models.step(grads[0])
    other = fastopt.Population(rule.name, np.zeros((3, 4)))
    other.load_state_dict(models.state_dict())
    with pytest.raises(RuntimeError, match="call train"):
        other.step(grads[0])
    assert pickle.loads(pickle.dumps(models)).state_dict()["training"] is False
    models.train()
    models.step(grads[0])


@each_rule
def test_a_model_that_has_diverged_does_not_keep_the_others_from_their_averages(rule):
    def averages(*, diverges):
        params = [np.ones((2, 3)), np.ones((2, 3))]
        models = fastopt.Population(rule.name, params, lr=0.1)
        models.step([np.ones((2, 3)), np.ones((2, 3))])
        models.step([np.ones((2, 3)), np.array([[1.0], [np.inf if diverges else 1]]).repeat(3, 1)])
        with np.errstate(all="raise"):
            models.eval()
            models.train()
            models.eval()
        return params

    found = averages(diverges=True)
    assert np.isnan(found[1][1]).all()
    for array, expected in zip(found, averages(diverges=False), strict=True):
        assert array[0].tobytes() == expected[0].tobytes()


def test_a_population_of_another_rule_has_no_average():
    with pytest.raises(TypeError, match="sgd keeps no average"):
        fastopt.Population("sgd", np.zeros((2, 1)), lr=0.1).eval()
