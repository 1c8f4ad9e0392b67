"""States in 8-bit blocks: what their codes stand for, and what classes and files do with them.

`narrow_worker.py` compares whole steps with the twin, under every instruction set.
"""

import io
import itertools
import warnings

import formats
import numpy as np
import pytest
from cases import class_of, function_keywords, numbers

import fastopt
from fastopt._blocks import pack, unpack

BLOCK = formats.BLOCK
RULES = [rule for rule in fastopt.RULES.values() if rule.states]


def some_numbers(n=20_000):
    """Blocks of numbers of one size, of any size, and of any bits, special ones among them."""
    bits = np.random.default_rng(1).integers(0, 2**32, n, dtype=np.uint32)
    spread = numbers(1, n, np.float32) * np.exp2(np.float32(np.arange(n) // BLOCK % 250 - 125))
    special = numbers(2, 9 * BLOCK, np.float32).reshape(9, BLOCK)
    special[:, 7] = [np.nan, np.inf, -np.inf, 0, -0.0, 3e38, 1e-45, 2.0**-126, -np.nan]
    special[6:8] *= np.float32(1e-38)
    anything = bits.view(np.float32)
    finite = anything[np.isfinite(anything)]
    return np.concatenate([numbers(0, n, np.float32), spread, special.ravel(), anything, finite])


def stored(values, *, squares=False, rounding="nearest"):
    """What a step stores of numbers in a state."""
    rule = "rmsprop" if squares else "momentum"
    zero = {"alpha": 0.0} if squares else {"momentum": 0.0}
    options = {"lr": 0.0, "state_format": "block8", "rounding": rounding, "seed": 5, **zero}
    opt = fastopt.create(rule, np.zeros(values.size, np.float32), **options)
    opt.step(values)
    return opt.state[0]["square_avg" if squares else "momentum_buffer"]


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
@pytest.mark.parametrize("squares", [False, True])
def test_numbers_are_stored_as_the_twin_stores_them(squares, rounding):
    values = some_numbers()
    with np.errstate(all="ignore"):
        expected = values * values if squares else np.float32(0) + values
    random = None
    if rounding == "stochastic":
        (random,) = formats.random_halves(5, 1, np.arange(values.size), 1)
    twin = formats.store_block8(expected, squares, random)
    got = stored(values, squares=squares, rounding=rounding)
    np.testing.assert_array_equal(got["scale"], twin["scale"])
    np.testing.assert_array_equal(got["codes"], twin["codes"])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("before", [0, 1])
def test_blocks_whose_first_element_is_the_second_of_its_word_match_the_twin(rule, before):
    """Two elements share a random word, so an array may begin in the middle of one."""
    n = 5 * BLOCK + 9
    first, param = np.zeros(before, np.float32), numbers(0, n, np.float32)
    stored_as = ["float32", "float32", *("block8" for _ in rule.states)]
    options = {"lr": 0.01, "state_format": "block8", "seed": 5}
    opt = class_of(rule)([first, param], **options)
    blocks = [np.zeros(-(-n // BLOCK), formats.BLOCK8) for _ in rule.states]
    twin, carried = [param.copy(), None, *blocks], np.zeros(rule.carried_shape)
    for t in range(2):
        twin[1] = numbers(t + 1, n, np.float32)
        opt.step([np.zeros_like(first), twin[1]])
        hypers = function_keywords(rule, opt.param_groups[0], t + 1, carried)
        formats.step(rule.name, twin, stored_as, hypers, seed=5, count=t + 1, position=before)
    assert param.tobytes() == twin[0].tobytes()
    for name, expected in zip(rule.states, twin[2:], strict=True):
        assert opt.state[1][name].tobytes() == expected.tobytes()


@pytest.mark.parametrize("squares", [False, True])
def test_every_code_is_loaded_as_what_it_stands_for(squares):
    scales = np.array([1, 0, 0.3, 1e-30, 3e38, np.nan], np.float32)
    blocks = np.zeros(4 * scales.size, formats.BLOCK8)
    blocks["codes"] = np.tile(np.arange(256, dtype=np.uint8).reshape(4, BLOCK), (scales.size, 1))
    blocks["scale"] = np.repeat(scales, 4)
    n = blocks.size * BLOCK
    rule = "rmsprop" if squares else "momentum"
    options = {"lr": 1.0, "state_format": "block8", "rounding": "nearest"}
    options |= {"alpha": 0.75, "eps": 0.0} if squares else {"momentum": 0.5}
    param, grad = np.zeros(n, np.float32), np.ones(n, np.float32)
    opt = fastopt.create(rule, param, **options)
    opt.step(grad)
    param[...] = 0
    opt.state[0][opt.rule.states[0]][...] = blocks
    buffers = [param.copy(), grad, blocks.copy()]
    opt.step(grad)
    hypers = {**opt.param_groups[0], "grad_scale": 1.0}
    hypers = {name: hypers[name] for name in fastopt.RULES[rule].hypers}
    formats.step(rule, buffers, ["float32", "float32", "block8"], hypers)
    np.testing.assert_array_equal(param, buffers[0])
    with np.errstate(invalid="ignore"):
        wide = formats.load_block8(blocks, squares, n)
    np.testing.assert_array_equal(unpack(blocks, squares, (n,)), wide)


@pytest.mark.parametrize("squares", [False, True])
def test_arrays_are_converted_as_steps_convert_them(squares):
    values = some_numbers()
    with np.errstate(all="ignore"):
        values = values * values if squares else np.float32(0) + values
    for n in (values.size, 1, 0, 63, 65):
        assert pack(values[:n], squares).tobytes() == (
            formats.store_block8(values[:n], squares).tobytes()
        )


@pytest.mark.parametrize("squares", [False, True])
def test_what_is_stored_is_off_by_a_sixteenth_at_most(squares):
    values = numbers(0, 20_000, np.float32)
    values = values * values if squares else values
    blocks = formats.store_block8(values, squares)
    wide = formats.load_block8(blocks, squares, values.size)
    smallest = np.repeat(blocks["scale"], BLOCK)[: values.size] * np.float32(
        1.2 * 2.0 ** (-32 if squares else -16)
    )
    error, sixteenth = np.abs(wide - values), np.abs(values) / 16
    bound = np.maximum(sixteenth, smallest) if squares else sixteenth + smallest / 16
    assert (error <= bound * np.float32(1.000001)).all()
    is_largest = np.abs(values) == np.repeat(blocks["scale"], BLOCK)[: values.size]
    assert is_largest.sum() >= blocks.size
    np.testing.assert_allclose(wide[is_largest], values[is_largest], rtol=3e-7)


def test_a_square_beside_larger_ones_is_never_0_and_a_block_of_zeros_stays_so():
    values = np.zeros(3 * BLOCK, np.float32)
    values[BLOCK] = 1
    blocks = stored(values, squares=True)
    wide = formats.load_block8(blocks, True, values.size).reshape(3, BLOCK)
    assert (wide[1] > 0).all()
    assert not blocks[[0, 2]].tobytes().strip(b"\0")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_makes_its_block_nan_and_no_other(bad):
    param, grad = np.zeros(200, np.float32), np.ones(200, np.float32)
    opt = fastopt.Adam(param, state_format="block8")
    opt.step(grad)
    grad[70] = bad
    opt.step(grad)
    grad[70] = 1
    opt.step(grad)
    is_lost = np.isnan(param)
    assert is_lost[64:128].all()
    assert not is_lost[:64].any()
    assert not is_lost[128:].any()


def test_a_square_far_below_the_largest_of_its_block_decays_in_the_mean():
    steps, n = 400, 500 * BLOCK
    grad = np.where(np.arange(n) % BLOCK == 0, np.float32(1), np.float32(0.1))
    opt = fastopt.RMSprop(np.zeros(n, np.float32), alpha=0.999, state_format="block8")
    opt.step(grad)
    grad[grad != 1] = 0
    for _ in range(steps):
        opt.step(grad)
    wide = formats.load_block8(opt.state[0]["square_avg"], True, n)
    mean = wide[grad == 0].astype(float).mean()
    assert abs(mean / (1e-5 * 0.999**steps) - 1) < 0.01


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if not rule.takes_norms], ids=lambda rule: rule.name
)
def test_a_division_into_arrays_of_whole_blocks_changes_no_bit(rule):
    n = 40 * BLOCK + 17
    whole = numbers(0, n, np.float32)
    bounds = [0, BLOCK, 4 * BLOCK, 4 * BLOCK, 30 * BLOCK, n]
    pieces = [whole[a:b].copy() for a, b in itertools.pairwise(bounds)]
    options = {"lr": 0.01, "state_format": "block8", "seed": 5}
    one, many = class_of(rule)(whole, **options), class_of(rule)(pieces, **options)
    for t in range(3):
        grad = numbers(t + 1, n, np.float32)
        norms = (
            one.step(grad, max_norm=1e9),
            many.step([grad[a:b] for a, b in itertools.pairwise(bounds)], max_norm=1e9),
        )
        np.testing.assert_allclose(*norms, rtol=1e-12)
    assert b"".join(piece.tobytes() for piece in pieces) == whole.tobytes()
    for name in rule.states:
        assert b"".join(state[name].tobytes() for state in many.state) == (
            one.state[0][name].tobytes()
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_threads_share_whole_blocks(dtype):
    """Lines are counted through all arrays, so the first array moves the cuts in the second."""
    sizes = (20, 400_001)
    results = []
    for threads in (1, 3):
        fastopt.set_num_threads(threads)
        params = [numbers(i, n, np.float32).astype(dtype) for i, n in enumerate(sizes)]
        opt = fastopt.Adam(params, state_format="block8")
        for t in range(2):
            opt.step([numbers(9 + t, n, np.float32).astype(dtype) for n in sizes])
        results.append([params[1].tobytes(), opt.state[1]["exp_avg_sq"].tobytes()])
    assert results[0] == results[1]


def test_clipping_is_a_scale_of_the_gradient():
    params = [numbers(0, 300, np.float32) for _ in range(2)]
    grad = numbers(1, 300, np.float32)
    clipped, scaled = (fastopt.Adam(param, state_format="block8") for param in params)
    norm = clipped.step(grad, max_norm=0.5)
    scaled.step(grad, grad_scale=0.5 / (norm + 1e-6))
    assert params[0].tobytes() == params[1].tobytes()
    assert clipped.state[0]["exp_avg"].tobytes() == scaled.state[0]["exp_avg"].tobytes()


# Refusals and conversions


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rule": "adam"}, "exp_avg_sq of params would never decay with beta2=0.999"),
        ({"rule": "adam", "beta2": 0.91}, "at most 0.9"),
        ({"rule": "adagrad"}, "stops growing where each addition is rounded to the nearest block8"),
    ],
)
def test_squares_that_rounding_to_nearest_would_freeze_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        fastopt.create(
            params=np.zeros(5, np.float32), state_format="block8", rounding="nearest", **options
        )


def test_parameters_gradients_and_float64_are_not_in_blocks():
    blocks = np.zeros(1, formats.BLOCK8)
    with pytest.raises(TypeError, match="param must have dtype"):
        fastopt.sgd(blocks, blocks.copy(), lr=1.0)
    with pytest.raises(TypeError, match="params must have dtype"):
        fastopt.SGD(blocks, lr=1.0)
    with pytest.raises(TypeError, match="grads must have dtype"):
        fastopt.SGD(np.zeros(1, np.float32), lr=1.0).step(blocks)
    with pytest.raises(ValueError, match="params is float64"):
        fastopt.Adam(np.zeros(5), state_format="block8")


def test_a_state_that_is_no_longer_of_blocks_is_refused():
    param = np.zeros(200, np.float32)
    opt = fastopt.Momentum(param, lr=1.0, state_format="block8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of NumPy 2.5, which still does it
        opt.state[0]["momentum_buffer"].dtype = np.uint8
    with pytest.raises(TypeError, match="momentum_buffer of params must have dtype"):
        opt.step(np.ones(200, np.float32))
    assert not param.any()


def trained(param, **options):
    opt = fastopt.Adam(param, lr=0.01, amsgrad=True, **options)
    for t in range(3):
        opt.step(numbers(t + 1, param.size, np.float32).reshape(param.shape))
    return opt


@pytest.mark.parametrize("shape", [(10, 13), ()])
@pytest.mark.parametrize("to_blocks", [False, True])
def test_another_format_is_refused_with_both_named_and_converted_on_demand(to_blocks, shape):
    formats_of = ("float32", "block8") if to_blocks else ("block8", "float32")
    opt = trained(np.ones(shape, np.float32), state_format=formats_of[0])
    param = np.zeros(shape, np.float32)
    other = fastopt.Adam(param, amsgrad=True, state_format=formats_of[1])
    file = io.BytesIO()
    opt.save(file, params=True)
    file.seek(0)
    wrong = "{1} of shape .*got {0} of .*convert=True".format(*formats_of)
    with pytest.raises(fastopt.StateFileError, match=wrong):
        other.load(file)
    assert not param.any()
    file.seek(0)
    other.load(file, convert=True)
    for name in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"):
        squares = name != "exp_avg"
        found, mine = opt.state[0][name], other.state[0][name]
        if to_blocks:
            assert mine.tobytes() == formats.store_block8(found.reshape(-1), squares).tobytes()
        else:
            assert mine.tobytes() == formats.load_block8(found, squares, param.size).tobytes()


def test_blocks_of_another_number_of_elements_are_not_converted():
    state = trained(np.ones(200, np.float32), state_format="block8").state_dict()
    other = fastopt.Adam(np.zeros(100, np.float32), amsgrad=True)
    with pytest.raises(
        ValueError, match=r"must be float32 of shape \(100,\), got block8 of \(4,\)$"
    ):
        other.load_state_dict(state, convert=True)


@pytest.mark.parametrize("n", [0, 1, 64, 100])
@pytest.mark.parametrize("rows", [0, 3])
def test_an_initial_value_fills_the_numbers_and_nothing_past_them(n, rows):
    options = {"state_format": "block8", "initial_accumulator_value": 0.3}
    if rows:
        shape = (rows, n)
        state = fastopt.Population("adagrad", np.zeros(shape, np.float32), **options).state[0]
        blocks = state["state_sum"]
        assert blocks.shape == (rows, -(-n // BLOCK))
    else:
        blocks = fastopt.Adagrad(np.zeros(n, np.float32), **options).state[0]["state_sum"][None]
    expected = formats.store_block8(np.full(n, 0.3, np.float32), True)
    for row in blocks:
        assert row.tobytes() == expected.tobytes()


def test_memory_held_is_a_byte_an_element_and_four_for_each_block():
    n = 1000 * BLOCK
    opt = fastopt.Adam(np.zeros(n, np.float32), state_format="block8")
    held = sum(opt.state[0][name].nbytes for name in ("exp_avg", "exp_avg_sq"))
    assert held == 2 * n * (1 + 4 / BLOCK)
