"""Rules whose step has norms of whole arrays in it."""

import numpy as np
import pytest
from cases import DTYPES, RULES, class_of, function_of, function_variants, numbers, step_keyword
from reference import REFERENCE

import fastopt

WITH_NORMS = [rule for rule in RULES if rule.takes_norms]
by_name = pytest.mark.parametrize("rule", WITH_NORMS, ids=lambda rule: rule.name)
N = 4099  # more than a block of the sums


def arrays(rule, dtype=np.float64, n=N):
    return [numbers(1, n, dtype), numbers(2, n, dtype), *(np.zeros(n, dtype) for _ in rule.states)]


def with_ratios():
    return [rule for rule in WITH_NORMS if "adapt" in rule.hypers]


def test_the_rules_that_take_norms_are_known():
    assert {"stableadamw", "lamb", "lars"} <= {rule.name for rule in WITH_NORMS}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", with_ratios(), ids=lambda rule: rule.name)
@pytest.mark.parametrize("zero", ["param", "grad", "both"])
def test_the_ratio_is_one_where_a_norm_is_zero(rule, dtype, zero):
    adapted, plain = arrays(rule, dtype), arrays(rule, dtype)
    keywords = {**rule.hypers, "lr": 0.1, "weight_decay": 0.0, **step_keyword(rule, 1)}
    for buffers in (adapted, plain):
        for k in {"param": [0], "grad": [1], "both": [0, 1]}[zero]:
            buffers[k][:] = 0
    function_of(rule)(*adapted, **keywords)
    function_of(rule)(*plain, **{**keywords, "adapt": False})
    for a, b in zip(adapted, plain, strict=True):
        assert np.isfinite(a).all()
        assert a.tobytes() == b.tobytes()


def test_lamb_without_adapt_is_adamw():
    ours, theirs = numbers(1, N, np.float32), numbers(1, N, np.float32)
    lamb = fastopt.LAMB(ours, lr=0.01, eps=1e-3, weight_decay=0.1, adapt=False)
    adamw = fastopt.AdamW(theirs, lr=0.01, eps=1e-3, weight_decay=0.1)
    for k in range(3):
        lamb.step(numbers(2 + k, N, np.float32))
        adamw.step(numbers(2 + k, N, np.float32))
    assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("rule", with_ratios(), ids=lambda rule: rule.name)
def test_a_step_has_the_share_of_the_parameters_norm_that_lr_says(rule):
    param, grad, *states = arrays(rule)
    before = param.copy()
    keywords = {"lr": 0.05, "weight_decay": 0.0, **step_keyword(rule, 1)}
    if "trust_coefficient" in rule.hypers:
        keywords.update(trust_coefficient=1.0, eps=0.0)
    function_of(rule)(param, grad, *states, **keywords)
    share = np.linalg.norm(param - before) / np.linalg.norm(before)
    assert share == pytest.approx(0.05, rel=1e-12)


def test_stableadamw_steps_less_where_the_gradient_jumps():
    """After a jump by a factor of 100 the root of the mean square of g/sqrt(v) is near 1/0.1."""
    steps = {}
    for name in ("stableadamw", "adamw"):
        param = np.zeros(N)
        optimizer = fastopt.create(name, param, lr=0.1, beta1=0.0, beta2=0.99, weight_decay=0.0)
        for _ in range(1000):
            optimizer.step(np.ones(N))
        before = param.copy()
        optimizer.step(np.full(N, 100.0))
        steps[name] = before - param
    np.testing.assert_allclose(steps["adamw"], 0.995, rtol=1e-3)
    np.testing.assert_allclose(steps["stableadamw"], 0.1, rtol=1e-3)


@pytest.mark.parametrize(
    "rule", [rule for rule in WITH_NORMS if not rule.joins_arrays], ids=lambda rule: rule.name
)
def test_arrays_of_one_call_have_norms_of_their_own(rule):
    """In groups with hyper-parameters of their own, on any number of threads."""
    sizes = (300_001, 1, 0, 70_000, 4096)
    bits = set()
    for threads in (1, 2, 5):
        fastopt.set_num_threads(threads)
        ours = [numbers(k, n, np.float32) for k, n in enumerate(sizes)]
        groups = [{"params": ours[:2], "weight_decay": 0.1}, {"params": ours[2:], "lr": 0.3}]
        optimizer = class_of(rule)(groups, lr=0.1)
        theirs = [numbers(k, n, np.float32) for k, n in enumerate(sizes)]
        states = [[np.zeros_like(p) for _ in rule.states] for p in theirs]
        keywords = {**rule.hypers, "lr": 0.1}
        for t in (1, 2):
            grads = [numbers(10 * t + k, n, np.float32) for k, n in enumerate(sizes)]
            optimizer.step([grads[:2], grads[2:]])
            for k, (param, grad, state) in enumerate(zip(theirs, grads, states, strict=True)):
                own = {"weight_decay": 0.1} if k < 2 else {"lr": 0.3}
                REFERENCE[rule.name](
                    param, grad, *state, **{**keywords, **own, **step_keyword(rule, t)}
                )
        for a, b in zip(ours, theirs, strict=True):
            assert a.tobytes() == b.tobytes()
        bits.add(b"".join(p.tobytes() for p in ours))
    assert len(bits) == 1


@by_name
def test_clipped_gradients_are_those_that_are_measured(rule):
    ours, theirs = numbers(1, N, np.float64), numbers(1, N, np.float64)
    clipped, scaled = class_of(rule)(ours, lr=0.1), class_of(rule)(theirs, lr=0.1)
    for k in range(3):
        grad = 100 * numbers(2 + k, N, np.float64)
        norm = clipped.step(grad, max_norm=0.5)
        scaled.step(grad, grad_scale=0.5 / (norm + 1e-6))
        assert ours.tobytes() == theirs.tobytes()


@by_name
def test_rows_are_refused_by_name(rule):
    """A norm or sum of some rows is not that of the array."""
    table, values, *states = (buffer[:4096].reshape(-1, 8) for buffer in arrays(rule))
    values, rows = values[:2].copy(), np.array([3, 7])
    before = table.copy()
    with pytest.raises(TypeError, match=f"{rule.name} depends on whole arrays"):
        function_of(rule)(table, values, *states, rows=rows, lr=0.1, **step_keyword(rule, 1))
    optimizer = class_of(rule)([table, np.ones(2)], lr=0.1)
    grads = [fastopt.Rows(rows, values), np.ones(2)]
    with pytest.raises(ValueError, match=rf"grads\[0\] .*{rule.class_name} depends on the whole"):
        optimizer.step(grads)
    assert table.tobytes() == before.tobytes()
    assert [state["step"] for state in optimizer.state] == [0, 0]


@by_name
def test_a_gradient_that_is_not_finite_makes_no_ratio_but_what_numpy_makes(rule):
    for value in (np.nan, np.inf):
        for keywords, _ in function_variants(rule):
            got, expected = arrays(rule, n=70), arrays(rule, n=70)
            for buffers in (got, expected):
                buffers[1][5] = value
            function_of(rule)(*got, **keywords, **step_keyword(rule, 2))
            REFERENCE[rule.name](*expected, **keywords, **step_keyword(rule, 2))
            for a, b in zip(got, expected, strict=True):
                np.testing.assert_array_equal(a, b)
