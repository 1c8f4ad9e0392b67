"""Rules that join arrays: a step of each depends on sums over all of them."""

import itertools

import numpy as np
import pytest
from cases import DTYPES, RULES, class_of, class_variants, function_keywords, numbers
from reference import TOGETHER

import fastopt

JOINED = [rule for rule in RULES if rule.joins_arrays]
by_name = pytest.mark.parametrize("rule", JOINED, ids=lambda rule: rule.name)
# Of three groups. Some arrays are longer than a block of the sums, and one needs several threads.
SIZES = ((4099, 0, 7), (1,), (150_001, 3))


def arrays(seed, dtypes=DTYPES, sizes=SIZES):
    """Arrays in groups; dtypes take turns."""
    turns = itertools.cycle(dtypes)
    return [[numbers(seed + n % 97, n, next(turns)) for n in group] for group in sizes]


def descents(groups, seed):
    """Noisy gradients of a bowl, which make an estimated step size grow."""
    noise = arrays(seed)
    return [
        [(p - 3 + 0.1 * e).astype(p.dtype) for p, e in zip(*pair, strict=True)]
        for pair in zip(groups, noise, strict=True)
    ]


class Twin:
    """Several groups, stepped together by NumPy."""

    def __init__(self, rule, groups, keywords):
        self.rule, self.groups, self.keywords = rule, groups, keywords
        self.states = [[[np.zeros_like(p) for _ in rule.states] for p in g] for g in groups]
        self.counts = [[0] * len(g) for g in groups]
        self.carried = np.zeros(rule.carried_shape)

    def step(self, grads):
        tensors, goes_on = [], False
        for i, (params, keywords) in enumerate(zip(self.groups, self.keywords, strict=True)):
            for k, param in enumerate(params):
                if grads[i][k] is None:
                    goes_on |= self.counts[i][k] > 1
                    continue
                self.counts[i][k] += 1
                hypers = function_keywords(self.rule, keywords, self.counts[i][k], self.carried)
                del hypers[self.rule.carried]
                tensors.append(((param, grads[i][k], *self.states[i][k]), hypers))
        TOGETHER[self.rule.name](tensors, self.carried, goes_on)


def flat(groups):
    return [array for group in groups for array in group]


@pytest.mark.parametrize("threads", [1, 3])
@by_name
def test_groups_are_stepped_as_the_twin_steps_them_together(rule, threads):
    """Also if arrays have no gradient in some steps, or in the first ones, if a group is added, and
    if a learning rate changes."""
    fastopt.set_num_threads(threads)
    for keywords in class_variants(rule)[threads::7]:
        given = {**keywords, "lr": 1.0, "beta2": 0.9, "d0": 1e-3}
        own = [{}, {"lr": 0.5}, {"weight_decay": 0.2, "eps": 1e-3}]
        ours, theirs = arrays(1), arrays(1)
        first, second, third = (
            {"params": params, **more} for params, more in zip(ours, own, strict=True)
        )
        optimizer = class_of(rule)([first, second], **given)
        twin = Twin(rule, theirs, [{**given, **more} for more in own])
        for t in range(7):
            if t == 1:
                optimizer.add_param_group(third)
            if t == 3:
                optimizer.param_groups[0]["lr"] = twin.keywords[0]["lr"] = 0.7
            grads = descents(theirs, 10 * t)
            grads[0][0] = None if t < 3 or t == 5 else grads[0][0]
            grads[2] = [None, None] if t in (0, 4) else grads[2]
            optimizer.step(grads[: len(optimizer.param_groups)])
            twin.step(grads)
            for a, b in zip(flat(ours), flat(theirs), strict=True):
                assert a.tobytes() == b.tobytes()
            for entry in optimizer.state:
                assert entry[rule.carried].tobytes() == twin.carried.tobytes()
        assert twin.carried[0] != given["d0"]


@by_name
def test_arrays_that_join_later_and_alone_go_on_with_what_is_carried(rule):
    given = {**class_variants(rule)[0], "lr": 1.0, "d0": 1e-3}
    ours, theirs = arrays(1), arrays(1)
    optimizer = class_of(rule)([{"params": params} for params in ours], **given)
    twin = Twin(rule, theirs, [given] * len(theirs))
    for t in range(9):
        grads = descents(theirs, 10 * t)
        # The first group has four steps of its own, then the others two, then they take turns.
        for group in (1, 2) if t < 4 or t == 6 else (0,):
            grads[group] = [None] * len(grads[group])
        before = twin.carried.copy()
        optimizer.step(grads)
        twin.step(grads)
        for a, b in zip(flat(ours), flat(theirs), strict=True):
            assert a.tobytes() == b.tobytes()
        for entry in optimizer.state:
            assert entry[rule.carried].tobytes() == twin.carried.tobytes()
        assert twin.carried[0] >= before[0]
    assert twin.carried[0] > given["d0"]


@by_name
def test_each_row_of_a_population_is_joined_on_its_own(rule):
    rows, sizes = 3, (5000, 9)
    together = [np.stack([numbers(k, n, np.float32) for k in range(rows)]) for n in sizes]
    apart = [[array[k].copy() for array in together] for k in range(rows)]
    lr = np.array([1.0, 0.5, 2.0])
    population = fastopt.Population(rule.name, together, lr=lr, d0=1e-3)
    alone = [class_of(rule)(arrays, lr=lr[k], d0=1e-3) for k, arrays in enumerate(apart)]
    for t in range(5):
        grads = [array - np.float32(3) for array in together]
        # The first array has two steps of its own, then the second begins alone.
        if t < 2:
            grads[1] = None
        if t == 2:
            grads[0] = None
        for k in range(rows):
            alone[k].step([None if grad is None else grad[k].copy() for grad in grads])
        population.step(grads)
    for k in range(rows):
        for i, array in enumerate(together):
            assert array[k].tobytes() == apart[k][i].tobytes()
            carried = population.state[i][rule.carried][k]
            assert carried.tobytes() == alone[k].state[i][rule.carried].tobytes()
            assert carried[0] > 1e-3


@by_name
def test_a_skipped_step_leaves_what_is_carried(rule):
    params = arrays(1)
    optimizer = class_of(rule)(flat(params), lr=1.0)
    optimizer.step(flat(descents(params, 2)))
    before = [entry[rule.carried].copy() for entry in optimizer.state]
    grads = flat(descents(params, 3))
    grads[0][0] = np.nan
    optimizer.step(grads, skip_nonfinite=True)
    assert optimizer.skipped
    for entry, carried in zip(optimizer.state, before, strict=True):
        assert entry[rule.carried].tobytes() == carried.tobytes()
