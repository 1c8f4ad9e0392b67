"""Bad input to the classes: the right exception, and no tensor, state or counter moved."""

import copy
import functools
import itertools

import numpy as np
import pytest
from bad_input import (
    ARRAY_FAULTS,
    MAY_BE_NEGATIVE,
    NEGATIVE,
    NOT_BELOW_ONE,
    NOT_FINITE,
    NOT_NUMBERS,
    SHAPE,
    is_number,
)
from cases import FRACTIONS, RULES, class_of, freeze, numbers

import fastopt

N_TENSORS = 4
by_name = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


def by_fault(faults):
    return pytest.mark.parametrize("fault", faults, ids=lambda fault: fault.name)


def arrays(seed):
    return [
        np.abs(numbers(10 * seed + i, SHAPE[0] * SHAPE[1], np.float32)).reshape(SHAPE)
        for i in range(N_TENSORS)
    ]


class Watched:
    """An optimizer that has taken two steps, and everything that an error must not change."""

    def __init__(self, rule):
        self.params = arrays(1)
        self.optimizer = class_of(rule)(self.params, lr=0.1)
        self.optimizer.step(arrays(2))
        self.optimizer.step(arrays(3))
        self.unharmed = copy.deepcopy(self.optimizer)
        self.look_again()

    def look_again(self):
        self.before = self.everything()

    def everything(self):
        return (
            [param.tobytes() for param in self.params],
            freeze(self.optimizer.state_dict()),
            self.optimizer.skipped,
            self.optimizer.skipped_steps,
        )

    def refuses(self, error, fragment, action):
        with pytest.raises(error) as caught:
            action()
        assert self.everything() == self.before
        assert fragment in str(caught.value), str(caught.value)
        return caught

    def steps_on(self):
        """The next step is what it would have been without the error."""
        self.optimizer.step(arrays(4))
        self.unharmed.step(arrays(4))
        assert freeze(self.optimizer.state_dict()) == freeze(self.unharmed.state_dict())
        for mine, its in zip(self.params, params_of(self.unharmed), strict=True):
            assert mine.tobytes() == its.tobytes()


def params_of(optimizer):
    (group,) = optimizer.param_groups
    return group["params"]


@by_name
def test_one_bad_gradient_among_many_changes_nothing(rule):
    watched = Watched(rule)
    for fault in ARRAY_FAULTS:
        if fault.read_only_grad_is_good or fault.name == "None":
            continue
        for position in range(N_TENSORS):
            grads = arrays(4)
            grads[position] = fault.make(grads[position])
            step = functools.partial(watched.optimizer.step, grads)
            watched.refuses(fault.error, f"grads[{position}]", step)
        watched.steps_on()
        watched.look_again()


@by_fault([f for f in ARRAY_FAULTS if not f.shape_or_dtype_of_another])
def test_one_bad_param_among_many_is_refused(fault):
    for rule in RULES:
        params = arrays(1)
        before = [param.tobytes() for param in params]
        mixed = [*params[:2], fault.make(params[2]), *params[3:]]
        with pytest.raises(fault.error, match=r"params\[2\]"):
            class_of(rule)(mixed, lr=0.1)
        assert [param.tobytes() for param in params] == before


@by_name
def test_a_param_that_was_changed_afterwards_is_refused(rule):
    watched = Watched(rule)
    watched.params[2].flags.writeable = False
    grads = arrays(4)
    watched.refuses(ValueError, "params[2]", lambda: watched.optimizer.step(grads))
    watched.params[2].flags.writeable = True
    watched.steps_on()


@pytest.mark.filterwarnings("ignore:Setting the shape on a NumPy array:DeprecationWarning")
@by_name
def test_a_param_of_another_shape_afterwards_is_refused(rule):
    watched = Watched(rule)
    watched.params[1].shape = (SHAPE[0] * SHAPE[1],)
    with pytest.raises(ValueError, match=r"\[1\]"):
        watched.optimizer.step(arrays(4))
    watched.params[1].shape = SHAPE
    assert watched.everything() == watched.before
    watched.steps_on()


@by_name
def test_params_that_share_memory_are_refused(rule):
    whole = np.ones(24)
    for params in (
        [whole, whole],
        [whole[:12], whole[11:]],
        [whole[8:], np.zeros(3), whole[:9]],
        [whole, whole[5:6]],
    ):
        with pytest.raises(ValueError, match=r"params\[\d\].*params\[\d\]"):
            class_of(rule)(params, lr=0.1)
    with pytest.raises(ValueError, match="params"):
        class_of(rule)([{"params": [whole]}, {"params": whole}], lr=0.1)
    with pytest.raises(ValueError, match="params"):
        class_of(rule)({"a": whole, "b": whole}, lr=0.1)
    assert (whole == 1).all()
    # Halves that only touch are two arrays
    class_of(rule)([whole[:12], whole[12:]], lr=0.1).step([np.ones(12), np.ones(12)])


@by_name
def test_a_gradient_that_overlaps_any_param_is_refused(rule):
    for i, k in itertools.product(range(N_TENSORS), repeat=2):
        watched = Watched(rule)
        grads = arrays(4)
        grads[i] = watched.params[k]
        watched.refuses(ValueError, f"grads[{i}]", lambda g=grads, w=watched: w.optimizer.step(g))


def test_overlaps_are_still_found_after_a_step_that_an_array_was_refused_in():
    memory = np.ones(40)
    params = [memory[10 * k : 10 * k + 5] for k in (3, 2, 1, 0)]
    optimizer = fastopt.SGD(params, lr=0.1)
    grads = [np.ones(5) for _ in params]
    params[2].flags.writeable = False
    with pytest.raises(ValueError, match=r"params\[2\] must be writeable"):
        optimizer.step(grads)
    params[2].flags.writeable = True
    for k, param in enumerate(params):
        with pytest.raises(ValueError, match=rf"must not overlap params\[{k}\]"):
            optimizer.step([param, *grads[1:]])
    optimizer.step(grads)


@by_name
def test_one_gradient_may_serve_two_params(rule):
    expected, params = arrays(1), arrays(1)
    grad = arrays(2)[0]
    class_of(rule)(expected, lr=0.1).step([grad.copy() for _ in expected])
    class_of(rule)(params, lr=0.1).step([grad] * len(params))
    for a, b in zip(expected, params, strict=True):
        assert a.tobytes() == b.tobytes()


@by_name
def test_gradients_in_another_structure_are_refused(rule):
    watched = Watched(rule)
    for grads, error in (
        (arrays(4)[:-1], ValueError),
        ([*arrays(4), np.ones(SHAPE, np.float32)], ValueError),
        ([], ValueError),
        (dict(enumerate(arrays(4))), TypeError),
        (arrays(4)[0], TypeError),
        (None, TypeError),
        ("grads", TypeError),
        (1.0, TypeError),
        (iter(arrays(4)[:-1]), ValueError),
        (set("grads"), TypeError),
        ([arrays(4)], (ValueError, TypeError)),
    ):
        watched.refuses(error, "grads", lambda g=grads: watched.optimizer.step(g))
    watched.steps_on()


@by_name
def test_gradients_with_other_keys_are_refused(rule):
    params = dict(zip("abcd", arrays(1), strict=True))
    optimizer = class_of(rule)(params, lr=0.1)
    good = dict(zip("abcd", arrays(2), strict=True))
    before = [param.tobytes() for param in params.values()]
    for bad in (
        {key: good[key] for key in "abc"},
        {**good, "e": good["a"].copy()},
        {**{key: good[key] for key in "abc"}, "x": good["d"]},
        {},
    ):
        with pytest.raises(ValueError, match="grads"):
            optimizer.step(bad)
    with pytest.raises(TypeError, match="grads"):
        optimizer.step(list(good.values()))
    assert [param.tobytes() for param in params.values()] == before


def bad_hypers(rule):
    for name, default in rule.class_hypers.items():
        if isinstance(default, bool):
            yield from ((name, value, TypeError) for value in (0, 1, "yes", 1.0))
            continue
        assert is_number(name, default)
        yield from ((name, value, TypeError) for value in NOT_NUMBERS)
        yield from ((name, value, ValueError) for value in NOT_FINITE)
        if name not in MAY_BE_NEGATIVE:
            yield from ((name, value, ValueError) for value in NEGATIVE)
        if name in FRACTIONS:
            yield from ((name, value, ValueError) for value in NOT_BELOW_ONE)


@by_name
def test_a_bad_hyper_parameter_is_refused_at_construction(rule):
    params = arrays(1)
    before = [param.tobytes() for param in params]
    for name, value, error in bad_hypers(rule):
        with pytest.raises(error, match=name) as caught:
            class_of(rule)(params, **{"lr": 0.1, name: value})
        assert caught.type is error, (name, value)
        with pytest.raises(error, match=name) as caught:
            class_of(rule)([{"params": params, name: value}], lr=0.1)
        assert caught.type is error, (name, value)
    assert [param.tobytes() for param in params] == before


@by_name
def test_a_hyper_parameter_that_was_made_bad_is_refused_by_the_step(rule):
    watched = Watched(rule)
    group = watched.optimizer.param_groups[0]
    for name, value, error in bad_hypers(rule):
        if name == "initial_accumulator_value":
            continue
        good = group[name]
        group[name] = value
        # A switch of an optional state cannot be changed at all, so every value is a ValueError.
        is_switch = name in rule.optional.values() and name not in rule.hypers
        expected = ValueError if is_switch else error
        with pytest.raises(expected, match=name) as caught:
            watched.optimizer.step(arrays(4))
        assert caught.type is expected, (name, value)
        group[name] = good
        assert watched.everything() == watched.before
    watched.steps_on()


@by_name
def test_a_bad_lr_is_refused_by_its_setter(rule):
    watched = Watched(rule)
    for value in (*NOT_NUMBERS, *NOT_FINITE, *NEGATIVE):
        with pytest.raises((TypeError, ValueError), match="lr"):
            watched.optimizer.lr = value
        assert watched.everything() == watched.before
    watched.steps_on()


@by_name
def test_an_unknown_hyper_parameter_is_named(rule):
    with pytest.raises(TypeError, match="learning_rate"):
        class_of(rule)(arrays(1), lr=0.1, learning_rate=0.1)
    with pytest.raises(TypeError, match="learning_rate"):
        class_of(rule)([{"params": arrays(1), "learning_rate": 0.1}], lr=0.1)


@by_name
def test_a_hyper_parameter_by_position_is_refused_with_the_call_that_works(rule):
    with pytest.raises(TypeError, match=rf"{rule.class_name}\(params, lr=0\.1\)"):
        class_of(rule)(arrays(1), 0.1)


@by_name
def test_params_that_are_none_are_refused(rule):
    for params in (
        None,
        "param",
        1.0,
        iter([1.0]),
        {1.0},
        {"a": None},
        [None],
        [[1.0]],
        [arrays(1)],
    ):
        with pytest.raises(TypeError, match="param"):
            class_of(rule)(params, lr=0.1)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        *(("max_norm", value, TypeError) for value in NOT_NUMBERS if value is not None),
        *(("max_norm", value, ValueError) for value in (*NEGATIVE, float("nan"))),
        *(("grad_scale", value, TypeError) for value in NOT_NUMBERS),
        *(("grad_scale", value, ValueError) for value in NOT_FINITE),
        *(("skip_nonfinite", value, TypeError) for value in (0, 1, None, "yes")),
    ],
    ids=lambda x: f"{type(x).__name__}-{str(x)[:20]}",
)
def test_a_bad_option_of_a_step_is_refused(name, value, error):
    watched = Watched(RULES[0])
    caught = watched.refuses(
        error, name, lambda: watched.optimizer.step(arrays(4), **{name: value})
    )
    assert caught.type is error
    watched.steps_on()


@pytest.mark.parametrize("value", [1e39, 1e-60])
@by_name
def test_what_float32_cannot_hold_is_refused_when_it_is_given(rule, value):
    message = "lr must be a number that float32 can hold"
    with pytest.raises(ValueError, match=message):
        class_of(rule)(arrays(1), lr=value)
    with pytest.raises(ValueError, match=message):
        fastopt.Population(rule.name, arrays(1), lr=value)
    watched = Watched(rule)
    state_dict = copy.deepcopy(watched.optimizer.state_dict())
    state_dict["param_groups"][0]["lr"] = value
    group = {"params": arrays(5), "lr": value}
    for action in (
        lambda: setattr(watched.optimizer, "lr", value),
        lambda: watched.optimizer.load_state_dict(state_dict),
        lambda: watched.optimizer.add_param_group(group),
    ):
        watched.refuses(ValueError, message, action)
    watched.steps_on()
    wide = [array.astype(np.float64) for array in arrays(1)]
    assert class_of(rule)(wide, lr=value).lr == value


def test_a_failed_construction_leaves_no_marks():
    """The good arrays of a refused list can be given to another optimizer."""
    params = arrays(1)
    with pytest.raises(TypeError):
        fastopt.Adam([*params, None])
    fastopt.Adam(params).step(arrays(2))


@pytest.mark.parametrize("value", [1e39, 1e-60])
@pytest.mark.parametrize("state_format", [None, "block8"])
def test_what_the_state_cannot_hold_is_no_initial_value(value, state_format):
    options = {"initial_accumulator_value": value, "state_format": state_format}
    message = "initial_accumulator_value must be a number that float32 can hold"
    params = [np.ones((2, 3), np.float32)]
    with pytest.raises(ValueError, match=message), np.errstate(all="raise"):
        fastopt.Adagrad(params, **options)
    with pytest.raises(ValueError, match=message):
        fastopt.Population("adagrad", params, **options)
    optimizer = fastopt.Adagrad([np.ones(3)], initial_accumulator_value=value)
    if state_format is None:
        with pytest.raises(ValueError, match=message):
            optimizer.add_param_group({"params": params})
        assert len(optimizer.param_groups) == len(optimizer.state) == 1
    optimizer.step([np.ones(3)])


def test_a_subnormal_initial_value_is_no_error_whatever_the_modes_of_numpy():
    with np.errstate(all="raise"):
        optimizer = fastopt.Adagrad(np.ones(3, np.float32), initial_accumulator_value=1e-40)
    assert optimizer.state[0]["state_sum"].tolist() == [float(np.float32(1e-40))] * 3


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ([[np.zeros(2)]], r"params\[0\] .* got list; .* flatten it"),
        ({"layer": {"w": np.zeros(2)}}, r"params\['layer'\] .* got dict; .* flatten it"),
        ([1.0], r"params\[0\] must be a numpy.ndarray, got float$"),
    ],
)
def test_a_structure_within_a_structure_is_to_be_flattened(params, words):
    with pytest.raises(TypeError, match=words):
        fastopt.Adam(params)


def test_a_copy_of_a_parameter_is_to_take_its_place():
    columns = np.zeros((4, 3)).T
    with pytest.raises(ValueError, match="copy, to use in its place from then on"):
        fastopt.Adam(columns)
    with pytest.raises(ValueError, match=r"contiguous copy$"):
        fastopt.Adam(np.zeros((3, 4))).step(columns)


def test_a_gradient_of_another_precision_is_to_be_converted():
    with pytest.raises(TypeError, match=r"got float64; astype\(param.dtype\) makes a copy"):
        fastopt.Adam(np.zeros(3, np.float32)).step(np.zeros(3))


def test_a_file_of_more_arrays_says_how_many_it_has(tmp_path):
    fastopt.Adam(arrays(1)).save(tmp_path / "four.state")
    words = rf"a list of 1 dicts, as many as this optimizer has arrays, got {N_TENSORS}"
    with pytest.raises(fastopt.StateFileError, match=words):
        fastopt.Adam(np.zeros(3)).load(tmp_path / "four.state")
