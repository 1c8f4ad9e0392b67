"""The classes: the functions, with the states and the counting done for the caller."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from cases import (
    DTYPES,
    RULES,
    cautious_combinations,
    class_of,
    class_variants,
    freeze,
    function_keywords,
    function_of,
    in_groups,
    numbers,
    present_states,
    states_of,
    switches_of,
)

import fastopt

SHAPES = ((7,), (3, 5), (), (0, 2), (1,), (70,))
STEPS = 6
by_name = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)

CLASS_CASES = [
    pytest.param(rule, keywords, id=f"{rule.name}-{i}")
    for rule in RULES
    for i, keywords in enumerate([*class_variants(rule), *cautious_combinations(rule.class_hypers)])
]
# One with most flags on: enough where the property is not about flags
ONE_EACH = [pytest.param(rule, class_variants(rule)[-1], id=rule.name) for rule in RULES]


def apart(cases):
    """Without the rules that join arrays: a function steps a single one."""
    return [each for each in cases if not each.values[0].joins_arrays]


by_name_apart = pytest.mark.parametrize(
    "rule", apart([pytest.param(rule, id=rule.name) for rule in RULES])
)


def tensors(seed, dtypes=DTYPES):
    """One array of each shape; dtypes take turns."""
    return [
        numbers(seed * 100 + i, int(np.prod(shape)), dtype).reshape(shape)
        for (i, shape), dtype in zip(enumerate(SHAPES), itertools.cycle(dtypes), strict=False)
    ]


class ByFunctions:
    """What a class promises, said in terms of the rule's function, one tensor after the other."""

    def __init__(self, rule, params, keywords):
        self.rule, self.params = rule, params
        self.keywords = {**rule.class_hypers, **keywords}
        start = self.keywords.get("initial_accumulator_value", 0.0)
        self.names = states_of(rule, present_states(rule, self.keywords))
        self.states = [[np.full_like(p, start) for _ in self.names] for p in params]
        self.counts = [0] * len(params)
        self.carried = [np.zeros(rule.carried_shape) for _ in params]

    def step(self, grads, grad_scale=1.0):
        for i, (param, grad) in enumerate(zip(self.params, grads, strict=True)):
            if grad is None:
                continue
            self.counts[i] += 1
            given = {**self.keywords, "grad_scale": grad_scale}
            keywords = function_keywords(self.rule, given, self.counts[i], self.carried[i])
            by_name = dict(zip(self.names, self.states[i], strict=True))
            function_of(self.rule)(param, grad, **by_name, **keywords)


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize(("rule", "keywords"), apart(CLASS_CASES))
def test_a_class_equals_the_function_step_by_step(rule, keywords):
    ours, theirs = tensors(1), tensors(1)
    optimizer, reference = class_of(rule)(ours, **keywords), ByFunctions(rule, theirs, keywords)
    for k in range(STEPS):
        grads = tensors(2 + k)
        before = [grad.tobytes() for grad in grads]
        assert optimizer.step(grads) is None
        reference.step(grads)
        assert_same(ours, theirs)
        assert [grad.tobytes() for grad in grads] == before
    # The states too
    for i, states in enumerate(reference.states):
        for name, expected in zip(reference.names, states, strict=True):
            assert_same([optimizer.state[i][name]], [expected])
        if rule.carried is not None:
            assert_same([optimizer.state[i][rule.carried]], [reference.carried[i]])


@pytest.mark.parametrize(("rule", "keywords"), apart(ONE_EACH))
def test_grad_scale_of_a_step_is_that_of_the_function(rule, keywords):
    ours, theirs = tensors(1), tensors(1)
    optimizer, reference = class_of(rule)(ours, **keywords), ByFunctions(rule, theirs, keywords)
    for k, scale in enumerate((1.0, 0.25, 0.37, -2.0)):
        optimizer.step(tensors(2 + k), grad_scale=scale)
        reference.step(tensors(2 + k), grad_scale=scale)
        assert_same(ours, theirs)


@by_name
def test_the_table_says_what_the_class_takes(rule):
    params = tensors(1)
    optimizer = class_of(rule)(params, lr=0.1)
    (group,) = optimizer.param_groups
    for name, default in rule.class_hypers.items():
        assert group[name] == (0.1 if name == "lr" else default)
    required = [name for name, default in rule.class_hypers.items() if default is None]
    if required:
        with pytest.raises(TypeError, match=required[0]):
            class_of(rule)(params)
    else:
        assert class_of(rule)(params).param_groups[0]["lr"] == rule.class_hypers["lr"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("rule", "keywords"), [each for each in ONE_EACH if not each.values[0].takes_norms]
)
def test_splitting_an_array_into_tensors_gives_the_same_bits(rule, keywords, dtype):
    n = 200_000
    whole, split = numbers(1, n, dtype), numbers(1, n, dtype)
    edges = [0, 1, 1, 4, 17, 64, 1000, 65_537, 190_001, n]
    parts = [split[a:b] for a, b in itertools.pairwise(edges)]
    one, many = class_of(rule)(whole, **keywords), class_of(rule)(parts, **keywords)
    for k in range(STEPS):
        grad = numbers(2 + k, n, dtype)
        one.step(grad)
        many.step([grad[a:b] for a, b in itertools.pairwise(edges)])
        assert whole.tobytes() == split.tobytes()


@pytest.mark.parametrize(("rule", "keywords"), apart(ONE_EACH))
def test_a_missing_gradient_skips_its_tensor(rule, keywords):
    ours, theirs = tensors(1), tensors(1)
    optimizer, reference = class_of(rule)(ours, **keywords), ByFunctions(rule, theirs, keywords)
    for k in range(STEPS):
        grads = [None if (i + k) % 3 == 0 else grad for i, grad in enumerate(tensors(2 + k))]
        optimizer.step(grads)
        reference.step(grads)
        assert_same(ours, theirs)


@by_name
def test_a_step_without_any_gradient_changes_nothing(rule):
    params = tensors(1)
    optimizer = class_of(rule)(params, lr=0.1)
    optimizer.step(tensors(2))
    before = freeze(optimizer.state_dict()), [param.tobytes() for param in params]
    optimizer.step([None] * len(params))
    assert (freeze(optimizer.state_dict()), [param.tobytes() for param in params]) == before


def test_momentum_takes_its_first_step_without_dampening():
    param, grad = np.zeros(3), np.ones(3)
    optimizer = fastopt.Momentum(param, lr=1.0, momentum=0.5, dampening=0.25)
    optimizer.step(grad)
    assert param.tolist() == [-1.0] * 3
    optimizer.step(grad)
    assert param.tolist() == [-1.0 - (0.5 + 0.75)] * 3


@pytest.mark.parametrize(("rule", "keywords"), ONE_EACH)
def test_the_structure_of_the_params_does_not_matter(rule, keywords):
    expected = tensors(1)
    by_list = class_of(rule)(expected, **keywords)
    names = [f"tensor{i}" for i in range(len(expected))]
    by_key = dict(zip(names, tensors(1), strict=True))
    by_dict = class_of(rule)(by_key, **keywords)
    for k in range(STEPS):
        grads = tensors(2 + k)
        by_list.step(grads)
        # Names match, not the order in which they come
        by_dict.step(dict(reversed(list(zip(names, grads, strict=True)))))
        assert_same(expected, by_key.values())


@pytest.mark.parametrize(("rule", "keywords"), apart(ONE_EACH))
def test_an_array_among_others_is_stepped_as_it_is_alone(rule, keywords):
    together, singles = tensors(1), tensors(1)
    one = class_of(rule)(together, **keywords)
    alone = [class_of(rule)(param, **keywords) for param in singles]
    for k in range(STEPS):
        grads = tensors(2 + k)
        one.step(grads)
        for optimizer, grad in zip(alone, grads, strict=True):
            optimizer.step(grad)
        assert_same(together, singles)


@by_name_apart
def test_groups_have_their_own_hyper_parameters(rule):
    ours, theirs = tensors(1), tensors(1)
    optimizer = class_of(rule)(
        [
            {"params": ours[:2], "lr": 0.03},
            {"params": ours[2], "weight_decay": 0.2},
            {"params": ours[3:], "maximize": True, "lr": 0.002},
        ],
        lr=0.01,
        weight_decay=0.1,
    )
    defaults = {**rule.class_hypers, "lr": 0.01, "weight_decay": 0.1}
    parts = [
        (slice(0, 2), ByFunctions(rule, theirs[:2], {**defaults, "lr": 0.03})),
        (slice(2, 3), ByFunctions(rule, theirs[2:3], {**defaults, "weight_decay": 0.2})),
        (slice(3, 6), ByFunctions(rule, theirs[3:], {**defaults, "maximize": True, "lr": 0.002})),
    ]
    for k in range(STEPS):
        grads = tensors(2 + k)
        optimizer.step(in_groups(grads))
        for part, reference in parts:
            reference.step(grads[part])
        assert_same(ours, theirs)


@by_name_apart
def test_a_changed_lr_takes_effect(rule):
    ours, theirs = tensors(1), tensors(1)
    optimizer = class_of(rule)(ours, lr=0.1)
    reference = ByFunctions(rule, theirs, {**rule.class_hypers, "lr": 0.1})
    assert optimizer.lr == 0.1

    def both(seed):
        optimizer.step(tensors(seed))
        reference.step(tensors(seed))
        assert_same(ours, theirs)

    both(2)
    optimizer.lr = reference.keywords["lr"] = 0.02
    assert optimizer.param_groups[0]["lr"] == 0.02
    both(3)
    optimizer.param_groups[0]["lr"] = reference.keywords["lr"] = 0.3
    assert optimizer.lr == 0.3
    both(4)
    optimizer.param_groups[0]["weight_decay"] = reference.keywords["weight_decay"] = 0.5
    both(5)


@by_name
def test_lr_sets_that_of_every_group(rule):
    params = tensors(1)
    optimizer = class_of(rule)([{"params": params[:2], "lr": 0.5}, {"params": params[2:]}], lr=0.1)
    optimizer.lr = 0.25
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]


def arrays_of(optimizer):
    """The params of an optimizer that was made from one list."""
    (group,) = optimizer.param_groups
    return group["params"]


def restored_by_state_dict(optimizer, rule, keywords):
    other = class_of(rule)([np.copy(p) for p in arrays_of(optimizer)], **keywords)
    other.load_state_dict(optimizer.state_dict())
    return other


def restored_by_pickled_state_dict(optimizer, rule, keywords):
    # The defaults, so that every hyper-parameter has to come out of the state
    other = class_of(rule)(
        [np.copy(p) for p in arrays_of(optimizer)],
        lr=1.0,
        **switches_of(rule, keywords),
    )
    other.load_state_dict(pickle.loads(pickle.dumps(optimizer.state_dict())))
    return other


RESTORES = {
    "state_dict": restored_by_state_dict,
    "pickled state_dict": restored_by_pickled_state_dict,
    "deepcopy": lambda optimizer, rule, keywords: copy.deepcopy(optimizer),
    "pickle": lambda optimizer, rule, keywords: pickle.loads(pickle.dumps(optimizer)),
}


@pytest.mark.parametrize(("rule", "keywords"), CLASS_CASES)
def test_a_restored_optimizer_continues_bit_for_bit(rule, keywords):
    params = tensors(1)
    optimizer = class_of(rule)(params, **keywords)
    for k in range(3):
        optimizer.step([g if i != k else None for i, g in enumerate(tensors(2 + k))])
    others = {name: restore(optimizer, rule, keywords) for name, restore in RESTORES.items()}
    for name, other in others.items():
        for mine, its in zip(arrays_of(optimizer), arrays_of(other), strict=True):
            assert mine.tobytes() == its.tobytes(), name
            assert not np.shares_memory(mine, its), name
    for k in range(3):
        optimizer.step(tensors(9 + k))
        for name, other in others.items():
            other.step(tensors(9 + k))
            for mine, its in zip(arrays_of(optimizer), arrays_of(other), strict=True):
                assert mine.tobytes() == its.tobytes(), name
    for name, other in others.items():
        assert freeze(optimizer.state_dict()) == freeze(other.state_dict()), name


@by_name
def test_a_state_dict_is_a_snapshot(rule):
    optimizer = class_of(rule)(tensors(1), lr=0.1)
    optimizer.step(tensors(2))
    state = optimizer.state_dict()
    before = freeze(state)
    optimizer.step(tensors(3))
    optimizer.lr = 0.7
    assert freeze(state) == before


@by_name
def test_a_loaded_state_is_a_copy(rule):
    optimizer = class_of(rule)(tensors(1), lr=0.1)
    optimizer.step(tensors(2))
    state = optimizer.state_dict()
    before = freeze(state)
    optimizer.load_state_dict(state)
    optimizer.step(tensors(3))
    assert freeze(state) == before


@by_name
def test_the_params_are_stepped_in_place(rule):
    param = np.ones((3, 4), np.float32)
    view = param[1]
    optimizer = class_of(rule)(param, lr=0.1)
    for _ in range(2):  # the first step of ADOPT moves nothing
        optimizer.step(np.ones((3, 4), np.float32))
    assert (view != 1).all()


@by_name
def test_a_list_or_dict_may_change_after_it_was_given(rule):
    expected, named = tensors(1)[:2], dict(zip("ab", tensors(1)[:2], strict=True))
    a, b = named.values()
    given = dict(named)
    by_list, by_dict = class_of(rule)(expected, lr=0.1), class_of(rule)(given, lr=0.1)
    given["a"] = given.pop("a")
    grads = tensors(2)[:2]
    by_list.step(grads)
    by_dict.step(dict(zip("ab", grads, strict=True)))
    assert_same(expected, [a, b])
    listed = tensors(1)[:2]
    given = list(listed)
    by_list = class_of(rule)(given, lr=0.1)
    given.reverse()
    by_list.step(grads)
    assert_same(expected, listed)


@by_name_apart
def test_a_group_that_is_added_later_starts_from_zero(rule):
    ours, theirs = tensors(1), tensors(1)
    defaults = {**rule.class_hypers, "lr": 0.1}
    optimizer = class_of(rule)(ours[:3], lr=0.1)
    first = ByFunctions(rule, theirs[:3], defaults)
    grads = tensors(2)
    optimizer.step(grads[:3])
    first.step(grads[:3])
    optimizer.add_param_group({"params": ours[3:], "lr": 0.02})
    second = ByFunctions(rule, theirs[3:], {**defaults, "lr": 0.02})
    for k in range(3):
        grads = tensors(3 + k)
        optimizer.step([grads[:3], grads[3:]])
        first.step(grads[:3])
        second.step(grads[3:])
        assert_same(ours, theirs)


@by_name
def test_a_bad_group_is_not_added(rule):
    params = tensors(1)
    optimizer = class_of(rule)(params[:3], lr=0.1)
    optimizer.step(tensors(2)[:3])
    before = freeze(optimizer.state_dict())
    for group, error in (
        (None, TypeError),
        ({}, TypeError),
        ([params[3]], TypeError),
        ({"params": params[0]}, ValueError),
        ({"params": [params[3], None]}, TypeError),
        ({"params": params[3], "lr": -1.0}, ValueError),
        ({"params": params[3], "nonsense": 1}, TypeError),
    ):
        with pytest.raises(error):
            optimizer.add_param_group(group)
        assert freeze(optimizer.state_dict()) == before
    # Gradients still come as a plain list
    optimizer.step(tensors(3)[:3])


@by_name
def test_states_lie_in_lines_of_their_own_as_their_parameters_do(rule):
    params = [np.ones(n, dtype) for n in (1, 0, 17, 3, 10_000, 9001) for dtype in DTYPES]
    params.append(np.ones(10_100)[41:])
    optimizer = class_of(rule)(params, lr=0.1)
    lines = []
    for param, states in zip(params, optimizer._tensors.states, strict=True):
        for state in states:
            start = state.ctypes.data
            apart = start - param.ctypes.data
            assert apart % (4096 if state.nbytes >= 32768 else 64) == 0
            if state.size:
                lines.append({byte // 64 for byte in range(start, start + state.nbytes)})
    assert len(set().union(*lines)) == sum(map(len, lines))


def test_a_repr_counts_the_arrays():
    assert repr(fastopt.Adam(np.ones(3))).startswith("Adam(1 array, lr=")
    assert repr(fastopt.Adam([np.ones(3), np.ones(2)])).startswith("Adam(2 arrays, lr=")
