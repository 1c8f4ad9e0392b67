"""Steps whose update is masked where it goes against the gradient: Liang et al. 2024."""

import inspect

import numpy as np
import pytest
from cases import RULES, class_of, function_of, numbers, step_keyword
from reference import REFERENCE

import fastopt

CAUTIOUS = [rule for rule in RULES if "cautious" in rule.hypers]
by_name = pytest.mark.parametrize("rule", CAUTIOUS, ids=lambda rule: rule.name)
SHAPES = ((1,), (5,), (40, 3), ())
DECAY = 0.1
N = 5000


def test_the_rules_that_can_be_cautious_are_known():
    names = {"momentum", "nag", "adam", "adamw", "lion", "nadam"}
    assert {rule.name for rule in CAUTIOUS} == names


class Cautious:
    """The paper's algorithm 1 on one array, in no particular order of operations. Its scale is that
    of the authors' AdamW."""

    def __init__(self, param, lr, decay):
        self.p, self.lr, self.decay = param, lr, decay
        self.m, self.v, self.t = np.zeros_like(param), np.zeros_like(param), 0

    def step(self, g):
        self.t += 1
        u = self.update(g)
        phi = u * (u * g > 0)
        alpha = max(np.mean(u * g > 0), 1e-3)
        self.p -= self.lr * self.decay * self.p
        self.p -= self.lr * phi / alpha


class CAdamW(Cautious):
    def update(self, g):
        self.m = 0.9 * self.m + 0.1 * g
        self.v = 0.99 * self.v + 0.01 * g**2
        corrected = self.m / (1 - 0.9**self.t), self.v / (1 - 0.99**self.t)
        return corrected[0] / (np.sqrt(corrected[1]) + 1e-6)


class CLion(Cautious):
    def update(self, g):
        u = np.sign(0.9 * self.m + 0.1 * g)
        self.m = 0.95 * self.m + 0.05 * g
        return u


class CMomentum(Cautious):
    def update(self, g):
        self.m = 0.9 * self.m + g
        return self.m


class CNesterov(CMomentum):
    def update(self, g):
        return g + 0.9 * super().update(g)


TRAJECTORIES = {
    "adamw": (CAdamW, {"beta2": 0.99, "eps": 1e-6}),
    "lion": (CLion, {"beta2": 0.95}),
    "momentum": (CMomentum, {"decoupled": True}),
    "nag": (CNesterov, {"decoupled": True}),
}


@pytest.mark.parametrize("name", TRAJECTORIES)
def test_a_hundred_steps_are_those_of_the_paper(name):
    """Each array has a mean of its own, and the mask leaves the decay alone."""
    kind, keywords = TRAJECTORIES[name]
    ours = [
        numbers(k, int(np.prod(shape)), np.float64).reshape(shape) for k, shape in enumerate(SHAPES)
    ]
    start = [param.copy() for param in ours]
    theirs = [kind(param.copy(), 0.01, DECAY) for param in ours]
    plain = [param.copy() for param in ours]
    given = {"lr": 0.01, "weight_decay": DECAY, **keywords}
    optimizer = fastopt.create(name, ours, cautious=True, **given)
    other = fastopt.create(name, plain, **given)
    for t in range(100):
        noise = [numbers(100 + 10 * t + k, p.size, np.float64) for k, p in enumerate(ours)]
        grads = [each.p + e.reshape(each.p.shape) for each, e in zip(theirs, noise, strict=True)]
        optimizer.step(grads)
        other.step(grads)
        for each, grad in zip(theirs, grads, strict=True):
            each.step(grad)
    for mine, each, before, without in zip(ours, theirs, start, plain, strict=True):
        np.testing.assert_allclose(mine, each.p, rtol=1e-11, atol=0)
        assert (mine != before).all()
        assert (mine != without).all()


@by_name
def test_an_update_against_the_gradient_leaves_only_the_decay(rule):
    """After steps in one direction the gradients of all but the first third turn round."""
    param = np.ones(9)
    keywords = {"decoupled": True} if "decoupled" in rule.class_hypers else {}
    optimizer = class_of(rule)(param, lr=0.01, weight_decay=DECAY, cautious=True, **keywords)
    for _ in range(5):
        optimizer.step(np.ones(9))
    before = param.copy()
    optimizer.step(np.where(np.arange(9) < 3, 1.0, -1e-3))
    decayed = (1.0 - 0.01 * DECAY) * before
    assert (param[3:] == decayed[3:]).all()
    assert (param[:3] < decayed[:3]).all()


@by_name
def test_what_is_left_of_the_update_grows_by_the_inverse_of_its_share(rule):
    steps = {}
    for cautious in (False, True):
        param = np.zeros(9)
        optimizer = class_of(rule)(param, lr=0.01, weight_decay=0.0)
        for _ in range(5):
            optimizer.step(np.ones(9))
        before = param.copy()
        optimizer.param_groups[0]["cautious"] = cautious
        optimizer.step(np.where(np.arange(9) < 3, 1.0, -1e-3))
        steps[cautious] = before - param
    np.testing.assert_allclose(steps[True][:3], 3 * steps[False][:3], rtol=1e-12)


@by_name
def test_it_grows_by_a_thousand_at_most(rule):
    """With none that agrees nothing moves, and nothing becomes NaN."""
    for agreeing in (0, 1):
        param = np.zeros(N)
        optimizer = class_of(rule)(param, lr=0.01, weight_decay=0.0, cautious=True)
        optimizer.step(np.ones(N))
        before = param.copy()
        grad = np.full(N, -1e-3)
        grad[:agreeing] = 1.0
        other = np.zeros(agreeing)
        reference = class_of(rule)(other, lr=0.01, weight_decay=0.0)
        reference.step(np.ones(agreeing))
        begun = other.copy()
        optimizer.step(grad)
        reference.step(grad[:agreeing])
        assert (param[agreeing:] == before[agreeing:]).all()
        step, plain = before - param, begun - other
        np.testing.assert_allclose(step[:agreeing], 1000 * plain, rtol=1e-12)


@pytest.mark.parametrize("name", ["momentum", "nag"])
def test_signs_are_compared_where_a_product_would_be_zero(name):
    small = np.full(7, 1e-30, np.float32)
    assert (small * small == 0).all()
    param = np.zeros(7, np.float32)
    fastopt.create(name, param, lr=0.01, cautious=True).step(small)
    assert (param < 0).all()


@by_name
def test_a_gradient_that_is_not_finite_makes_what_numpy_makes(rule):
    for value in (np.nan, np.inf):
        got = [numbers(k, 70, np.float32) for k in range(2)]
        got += [np.zeros(70, np.float32) for _ in rule.states]
        got[1][5] = value
        expected = [buffer.copy() for buffer in got]
        keywords = {**rule.hypers, "lr": 0.1, "cautious": True, **step_keyword(rule, 2)}
        function_of(rule)(*got, **keywords)
        keywords.update(step_keyword(rule, 2))
        REFERENCE[rule.name](*expected, **keywords)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)
        assert np.isnan(got[0][5]) or value == np.inf


@by_name
def test_groups_are_cautious_each_for_itself(rule):
    """And arrays have means of their own, on any number of threads."""
    sizes = (300_001, 1, 0, 70_000, 4096)
    bits = set()
    for threads in (1, 2, 5):
        fastopt.set_num_threads(threads)
        ours = [numbers(k, n, np.float32) for k, n in enumerate(sizes)]
        groups = [{"params": ours[:3], "cautious": True}, {"params": ours[3], "cautious": False}]
        groups.append({"params": ours[4:], "cautious": True, "weight_decay": 0.0})
        optimizer = class_of(rule)(groups, lr=0.1)
        theirs = [numbers(k, n, np.float32) for k, n in enumerate(sizes)]
        states = [[np.zeros_like(p) for _ in rule.states] for p in theirs]
        carried = [np.zeros(rule.carried_shape) for _ in theirs]
        for t in (1, 2):
            grads = [numbers(10 * t + k, n, np.float32) for k, n in enumerate(sizes)]
            optimizer.step([grads[:3], grads[3], grads[4:]])
            for k, (param, grad, state) in enumerate(zip(theirs, grads, states, strict=True)):
                own = {"weight_decay": 0.0} if k == 4 else {}
                keywords = {**rule.hypers, "lr": 0.1, "cautious": k != 3, **own}
                keywords.update(step_keyword(rule, t, carried[k]))
                REFERENCE[rule.name](param, grad, *state, **keywords)
        for a, b in zip(ours, theirs, strict=True):
            assert a.tobytes() == b.tobytes()
        bits.add(b"".join(p.tobytes() for p in ours))
    assert len(bits) == 1


@by_name
def test_rows_are_refused_by_name(rule):
    """The mean of some rows is not that of the array."""
    table = np.ones((512, 8))
    values, rows = np.ones((2, 8)), np.array([3, 7])
    states = [np.zeros_like(table) for _ in rule.states]
    with pytest.raises(ValueError, match=f"a cautious step of {rule.name} depends on whole arrays"):
        function_of(rule)(
            table, values, *states, rows=rows, lr=0.1, cautious=True, **step_keyword(rule, 1)
        )
    optimizer = class_of(rule)([table, np.ones(2)], lr=0.1, cautious=True)
    grads = [fastopt.Rows(rows, values), np.ones(2)]
    with pytest.raises(ValueError, match=r"grads\[0\] .*a cautious step depends on the whole"):
        optimizer.step(grads)
    assert (table == 1).all()
    assert [state["step"] for state in optimizer.state] == [0, 0]
    optimizer.param_groups[0]["cautious"] = False
    optimizer.step(grads)
    assert (table[rows] < 1).all()


def test_minimize_takes_cautious():
    def fun(x):
        return float(x @ x), 2 * x

    found = {}
    for cautious in (False, True):
        options = {"jac": True, "method": "momentum", "lr": 0.01, "maxiter": 400}
        result = fastopt.minimize(fun, [1.0, -2.0], cautious=cautious, **options)
        assert result.fun < 1e-6
        found[cautious] = result.nit
    assert found[True] != found[False]


def test_a_rule_without_momentum_does_not_take_it():
    assert "cautious" not in inspect.signature(fastopt.SGD).parameters
    with pytest.raises(TypeError, match="cautious"):
        fastopt.SGD(np.zeros(2), lr=0.1, cautious=True)


def test_the_keyword_of_timm_is_translated():
    with pytest.raises(TypeError, match="it is cautious= here"):
        fastopt.AdamW(np.zeros(2), caution=True)
