"""A bfloat16 copy of the parameters, which a step writes in the same pass."""

import copy

import formats
import numpy as np
import pytest
from cases import RULES, class_of, numbers

import fastopt
from fastopt._formats import named_dtype

pytestmark = pytest.mark.needs("ml_dtypes")

SHAPES = ((4, 3), (1000,))


def bfloat16(shape):
    return np.zeros(shape, named_dtype("bfloat16"))


def rounded(values):
    return formats.nearest(values).view(named_dtype("bfloat16"))


def params(dtype=np.float32):
    return [numbers(k, int(np.prod(shape)), dtype).reshape(shape) for k, shape in enumerate(SHAPES)]


def grads(narrow=False):
    made = [array + np.float32(0.25) for array in params()]
    return [rounded(array) for array in made] if narrow else made


def same_bits(first, second):
    return np.array_equal(first.view(np.uint16), second.view(np.uint16))


SETTINGS = [
    pytest.param({}, {}, False, id="float32"),
    pytest.param({}, {"max_norm": 0.5, "skip_nonfinite": True}, True, id="gradient in bfloat16"),
    pytest.param({"state_format": "bfloat16"}, {}, False, id="states in bfloat16"),
    pytest.param({"ema": 0.5, "weight_decay": 0.1}, {}, True, id="with an average and decay"),
]


@pytest.mark.parametrize(("hypers", "options", "narrow"), SETTINGS)
def test_copies_are_the_new_parameters_rounded_and_the_step_is_the_same(hypers, options, narrow):
    for rule in RULES:
        given = {"lr": 0.01, **hypers}
        with_copies, without = params(), params()
        copies = [bfloat16(shape) for shape in SHAPES]
        optimizer = class_of(rule)(with_copies, **given)
        other = class_of(rule)(without, **given)
        for _ in range(3):
            optimizer.step(grads(narrow), copies=copies, **options)
            other.step(grads(narrow), **options)
            for param, alone, kept in zip(with_copies, without, copies, strict=True):
                assert np.array_equal(param, alone), rule.name
                assert same_bits(kept, rounded(param)), rule.name


def test_any_number_of_threads_writes_the_same_copies():
    size = 300_000
    for threads in (1, 2, 3):
        before = fastopt.get_num_threads()
        fastopt.set_num_threads(threads)
        try:
            param, kept = numbers(0, size, np.float32), bfloat16(size)
            fastopt.Adam(param, lr=0.01).step(numbers(1, size, np.float32), copies=kept)
        finally:
            fastopt.set_num_threads(before)
        assert same_bits(kept, rounded(param))


def test_what_is_left_alone_keeps_its_copy():
    arrays, copies = params(), [bfloat16(shape) for shape in SHAPES]
    optimizer = fastopt.Adam(arrays, lr=0.01)
    optimizer.step([None, grads()[1]], copies=copies)
    assert not copies[0].any()
    assert same_bits(copies[1], rounded(arrays[1]))
    kept = copies[1].copy()
    infinite = [np.full(shape, np.inf, np.float32) for shape in SHAPES]
    optimizer.step(infinite, copies=copies, skip_nonfinite=True)
    assert optimizer.skipped
    assert not copies[0].any()
    assert same_bits(copies[1], kept)


def test_a_step_without_copies_writes_none():
    arrays, copies = params(), [bfloat16(shape) for shape in SHAPES]
    optimizer = fastopt.Adam(arrays, lr=0.01)
    optimizer.step(grads(), copies=copies)
    kept = [array.copy() for array in copies]
    optimizer.step(grads())
    copy.deepcopy(optimizer).step(grads())
    assert all(map(same_bits, copies, kept))
    others = [bfloat16(SHAPES[0]), None]
    optimizer.step(grads(), copies=others)
    assert all(map(same_bits, copies, kept))
    assert same_bits(others[0], rounded(arrays[0]))


def test_of_some_rows_only_these_are_copied():
    table, kept = np.ones((6, 4), np.float32), bfloat16((6, 4))
    optimizer = fastopt.Adagrad(table, lr=0.1)
    rows = fastopt.Rows(np.array([1, 4, 1]), np.full((3, 4), 0.5, np.float32))
    optimizer.step(rows, copies=kept)
    assert same_bits(kept[[1, 4]], rounded(table[[1, 4]]))
    assert not kept[[0, 2, 3, 5]].any()


REFUSED = [
    pytest.param(lambda _: bfloat16(3), TypeError, "copies must be a list", id="one array"),
    pytest.param(lambda _: [None], ValueError, "copies must", id="too few"),
    pytest.param(lambda _: [3, None], TypeError, r"copies\[0\] must be a numpy", id="a number"),
    pytest.param(
        lambda _: [np.zeros((4, 3), np.float32), None],
        TypeError,
        r"copies\[0\] must be bfloat16 of ml_dtypes, got float32",
        id="float32",
    ),
    pytest.param(
        lambda _: [np.zeros((4, 3), np.uint16), None], TypeError, r"copies\[0\]", id="uint16"
    ),
    pytest.param(
        lambda _: [bfloat16((3, 4)), None],
        ValueError,
        r"copies\[0\] must have the shape of params\[0\]",
        id="another shape",
    ),
    pytest.param(
        lambda _: [bfloat16((3, 4)).T, None], ValueError, "must be C-contiguous", id="transposed"
    ),
    pytest.param(
        lambda arrays: [arrays[1].view(named_dtype("bfloat16"))[:12].reshape(4, 3), None],
        ValueError,
        "must not overlap",
        id="in a parameter",
    ),
    pytest.param(
        lambda _: [(same := bfloat16(1000))[:12].reshape(4, 3), same],
        ValueError,
        r"copies\[1\] must not overlap copies\[0\]",
        id="in each other",
    ),
]


@pytest.mark.parametrize(("make", "error", "text"), REFUSED)
def test_bad_copies_are_refused_before_anything_is_written(make, error, text):
    arrays, expected = params(), params()
    optimizer = fastopt.Adam(arrays, lr=0.01)
    with pytest.raises(error, match=text):
        optimizer.step(grads(), copies=make(arrays))
    assert all(map(np.array_equal, arrays, expected))
    assert optimizer.state[0]["step"] == 0
    optimizer.step(grads())
    assert optimizer.state[0]["step"] == 1


def test_a_copy_that_cannot_be_written_or_overlaps_the_gradient_is_refused():
    optimizer = fastopt.SGD(np.zeros(4, np.float32), lr=0.1)
    frozen = bfloat16(4)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="copies must be writeable"):
        optimizer.step(np.ones(4, np.float32), copies=frozen)
    both = bfloat16(4)
    with pytest.raises(ValueError, match="grads must not overlap copies in memory"):
        optimizer.step(both, copies=both)


def test_a_number_is_no_copy_of_an_array_without_dimensions():
    param, kept = np.ones((), np.float32), bfloat16(())
    optimizer = fastopt.SGD(param, lr=0.5)
    with pytest.raises(TypeError, match="copies must be a numpy"):
        optimizer.step(np.float32(1), copies=kept[()])
    assert param == 1
    optimizer.step(np.float32(1), copies=kept)
    assert kept == 0.5


def test_copies_belong_to_float32_parameters():
    for param in (np.zeros(4), bfloat16(4)):
        with pytest.raises(TypeError, match="copies must belong to a float32 parameter"):
            fastopt.SGD(param, lr=0.1).step(np.ones_like(param), copies=bfloat16(4))


def test_groups_have_a_list_of_copies_for_each():
    first, second = np.ones(3, np.float32), np.ones(2, np.float32)
    groups = [{"params": {"w": first}}, {"params": [second], "lr": 1.0}]
    copies = [{"w": bfloat16(3)}, [bfloat16(2)]]
    optimizer = fastopt.SGD(groups, lr=0.1)
    optimizer.step([{"w": np.ones(3, np.float32)}, [np.ones(2, np.float32)]], copies=copies)
    assert same_bits(copies[0]["w"], rounded(first))
    assert same_bits(copies[1][0], rounded(second))
    with pytest.raises(ValueError, match="copies must be a list with an entry for each"):
        optimizer.step([{"w": None}, [None]], copies=copies[:1])


def test_while_another_thread_steps_new_copies_are_refused():
    param, kept = np.zeros(3, np.float32), bfloat16(3)
    optimizer = fastopt.SGD(param, lr=1.0)
    with optimizer._tensors, pytest.raises(RuntimeError, match="another thread"):  # as in a step
        optimizer.step(np.ones(3, np.float32), copies=kept)
    assert not kept.any()
    optimizer.step(np.ones(3, np.float32))
    assert not kept.any()
