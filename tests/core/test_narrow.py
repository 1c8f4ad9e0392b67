"""bfloat16 and float16 buffers: the bits of the twin, and what the classes promise about them."""

import ast
import copy
import io
import itertools
import json
import pickle
from pathlib import Path

import formats
import numpy as np
import pytest
from cases import numbers, same_but_nan_payload
from processes import available_isas, run_python

import fastopt
from fastopt._core import norm
from fastopt._formats import named_dtype

needs_bfloat16 = pytest.mark.needs("ml_dtypes")

SPECIAL = np.array(
    [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 3.4e38, 65504, 65519.99, 65520, 1e-8, 3e-8],
    np.float32,
)


def bfloat16(values):
    return formats.nearest(np.asarray(values, np.float32)).view(named_dtype("bfloat16"))


def some_bits():
    """float32 of any bits, and those about the middle between two narrow numbers."""
    bits = np.random.default_rng(1).integers(0, 2**32, 200_000, dtype=np.uint32)
    upper = bits[:20_000] & np.uint32(0xFFFF0000)
    middles = [upper + np.uint32(d) for d in (0x7FFF, 0x8000, 0x8001, 0xFFFF)]
    middles += [(bits[:20_000] & np.uint32(0xFFFFE000)) + np.uint32(d) for d in (0xFFF, 0x1000)]
    return np.concatenate([SPECIAL, bits.view(np.float32), *[m.view(np.float32) for m in middles]])


def without_minus(values):
    """-0 becomes 0 where it is added to 0."""
    return np.where(values == 0, np.float32(0), values)


def stored_as(values, dtype):
    """What a step stores of numbers in a state."""
    state = np.zeros(values.size, dtype)
    fastopt.momentum(np.zeros_like(values), values, state, lr=0.0, momentum=0.0)
    return state.view(np.uint16)


def test_numbers_are_stored_as_the_nearest_float16():
    values = some_bits()
    got, expected = stored_as(values, np.float16), formats.store("float16", without_minus(values))
    assert same_but_nan_payload(got.view(np.float16), expected.view(np.float16))


@needs_bfloat16
def test_numbers_are_stored_as_the_nearest_bfloat16():
    values = some_bits()
    expected = formats.store("bfloat16", without_minus(values))
    np.testing.assert_array_equal(stored_as(values, named_dtype("bfloat16")), expected)
    import ml_dtypes

    finite = ~np.isnan(values)
    others = without_minus(values)[finite].astype(ml_dtypes.bfloat16).view(np.uint16)
    np.testing.assert_array_equal(expected[finite], others)


@pytest.mark.parametrize("name", ["float16", pytest.param("bfloat16", marks=needs_bfloat16)])
def test_every_narrow_number_is_loaded_as_itself(name):
    stored = np.arange(2**16, dtype=np.uint16)
    state = np.zeros(stored.size, np.float32)
    param = np.zeros(stored.size, np.float32)
    fastopt.momentum(param, stored.view(named_dtype(name)), state, lr=0.0, momentum=0.0)
    assert same_but_nan_payload(state, without_minus(formats.LOADS[name](stored)))


@needs_bfloat16
@pytest.mark.parametrize("isa", available_isas())
def test_every_isa_matches_the_twin(isa):
    worker = Path(__file__).with_name("narrow_worker.py")
    done = run_python(str(worker), FASTOPT_ISA=isa, timeout=None)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["isa"] == isa
    assert found["compared"] > 3000
    assert found["differ"] == []


def test_the_norm_of_narrow_gradients_is_that_of_their_values():
    values = numbers(1, 9973, np.float32).astype(np.float16)
    assert norm(values) == norm(values.astype(np.float32))


NORMS = """
import sys
import ml_dtypes
import numpy as np
import fastopt
from cases import numbers
from fastopt._core import norm

assert fastopt.isa() == sys.argv[1]
values = numbers(1, 4_300_003, np.float32).astype(ml_dtypes.bfloat16)  # more than caches hold
for length in (*range(100), *range(4090, 4200), 2 * 4096 + 33, values.size):
    for start in (0, 1):
        grad = values[start:length]
        assert norm(grad) == norm(grad.astype(np.float32)), (length, start)
"""


@needs_bfloat16
@pytest.mark.parametrize("isa", available_isas())
def test_the_norm_of_bfloat16_is_that_of_its_values(isa):
    done = run_python("-c", NORMS, isa, FASTOPT_ISA=isa)
    assert done.returncode == 0, done.stderr


@needs_bfloat16
def test_a_narrow_gradient_is_clipped_by_the_norm_of_its_values():
    grad = bfloat16(numbers(1, 9973, np.float32))
    wide = grad.astype(np.float32)
    params = [np.zeros(9973, np.float32) for _ in range(2)]
    norms = [
        fastopt.Adam(param).step(g, max_norm=0.5)
        for param, g in zip(params, (grad, wide), strict=True)
    ]
    assert norms[0] == norms[1]
    assert params[0].tobytes() == params[1].tobytes()


@needs_bfloat16
@pytest.mark.parametrize("rounding", ["stochastic", "nearest"])
def test_a_remainder_makes_the_step_that_of_float32(rounding):
    n = 1013
    wide = bfloat16(numbers(0, n, np.float32)).astype(np.float32)
    param = bfloat16(wide)
    narrow = fastopt.AdamW(param, master_weights=True, rounding=rounding, lr=0.01)
    plain = fastopt.AdamW(wide, lr=0.01)
    for t in range(20):
        grad = numbers(t + 1, n, np.float32)
        narrow.step(grad)
        plain.step(grad)
    state = narrow.state[0]
    joined = formats.join(param.view(np.uint16), state["remainder"])
    assert joined.tobytes() == wide.tobytes()
    assert state["exp_avg_sq"].tobytes() == plain.state[0]["exp_avg_sq"].tobytes()


@needs_bfloat16
def test_stochastic_rounding_is_the_same_for_any_division_into_arrays():
    whole, n = bfloat16(numbers(0, 3001, np.float32)), 3001
    bounds = [0, 1, 18, 1000, 1000, 2501, n]
    pieces = [whole[a:b].copy() for a, b in itertools.pairwise(bounds)]
    options = {"lr": 0.01, "state_format": "bfloat16", "seed": 5}
    one, many = fastopt.Adam(whole, **options), fastopt.Adam(pieces, **options)
    for t in range(3):
        grad = bfloat16(numbers(t + 1, n, np.float32))
        one.step(grad)
        many.step([grad[a:b] for a, b in itertools.pairwise(bounds)])
    assert b"".join(piece.tobytes() for piece in pieces) == whole.tobytes()


@needs_bfloat16
def test_seed_and_step_choose_the_random_words_and_a_skipped_step_does_not():
    def run(seed, skip=False):
        param = bfloat16(np.ones(500))
        opt = fastopt.SGD(param, lr=1e-3, seed=seed)
        for _t in range(3):
            if skip:
                opt.step(np.full(500, np.nan, np.float32), skip_nonfinite=True)
            opt.step(np.full(500, 0.3, np.float32))
        return param.tobytes()

    assert run(1) == run(1) == run(1, skip=True)
    assert run(1) != run(2)


@needs_bfloat16
def test_stochastic_rounding_keeps_what_rounding_to_nearest_loses():
    """A parameter far larger than its updates, and an average of squares that is to decay."""
    n, steps = 20_000, 400
    param = bfloat16(np.ones(n))
    opt = fastopt.SGD(param, lr=1e-4)
    for _ in range(steps):
        opt.step(np.ones(n, np.float32))
    assert abs(param.astype(np.float64).mean() - (1 - steps * 1e-4)) < 2e-4
    opt = fastopt.RMSprop(np.zeros(n, np.float32), alpha=0.999, state_format="bfloat16")
    opt.step(np.ones(n, np.float32))
    for _ in range(steps):
        opt.step(np.zeros(n, np.float32))
    mean = opt.state[0]["square_avg"].astype(np.float64).mean()
    assert abs(mean / (1e-3 * 0.999**steps) - 1) < 2e-3


@needs_bfloat16
@pytest.mark.parametrize("where", ["grad", "param"])
@pytest.mark.parametrize("rounding", ["stochastic", "nearest"])
@pytest.mark.parametrize("master_weights", [False, True])
def test_special_values_match_the_twin(where, rounding, master_weights):
    n = 700
    grad, start = (numbers(k, n, np.float32) for k in (1, 2))
    chosen = grad if where == "grad" else start
    chosen[100 : 100 + SPECIAL.size] = SPECIAL
    chosen[300] = np.nan
    stored, grad = formats.nearest(start), formats.nearest(grad)
    remainder = np.zeros(n, np.int16) if master_weights else None
    buffers = [stored.copy(), grad, np.zeros(n, np.uint16), np.zeros(n, np.uint16)]
    dtype = named_dtype("bfloat16")
    opt = fastopt.Adam(
        stored.view(dtype),
        beta2=0.99,
        state_format="bfloat16",
        master_weights=master_weights,
        rounding=rounding,
    )
    hypers = {**opt.param_groups[0], "grad_scale": 1.0}
    hypers = {name: hypers[name] for name in fastopt.RULES["adam"].hypers if name != "step"}
    for t in (1, 2):
        opt.step(grad.view(dtype))
        formats.step(
            "adam",
            buffers,
            ["bfloat16"] * 4,
            {**hypers, "step": t},
            remainder=remainder,
            seed=0 if rounding == "stochastic" else None,
            count=t,
        )
    state = opt.state[0]
    for got, twin in (
        (stored, buffers[0]),
        (state["exp_avg"], buffers[2]),
        (state["exp_avg_sq"], buffers[3]),
    ):
        assert same_but_nan_payload(
            formats.load_bfloat16(got.view(np.uint16)), formats.load_bfloat16(twin)
        )


# Files


def trained(param, steps=3, **options):
    opt = fastopt.Adam(param, lr=0.01, **options)
    for t in range(steps):
        opt.step(numbers(t + 1, param.size, np.float32))
    return opt


@needs_bfloat16
@pytest.mark.parametrize("how", ["file", "state_dict", "pickle", "deepcopy", "copy"])
@pytest.mark.parametrize("state_format", ["bfloat16", "block8"])
def test_a_narrow_run_goes_on_exactly_as_the_uninterrupted_one(how, state_format):
    options = {"state_format": state_format, "master_weights": True, "seed": 7}
    param = bfloat16(numbers(0, 300, np.float32))
    opt = trained(param, **options)
    other_param = param.copy()
    other = fastopt.Adam(other_param, **{**options, "seed": 8})
    if how == "file":
        file = io.BytesIO()
        opt.save(file, params=True)
        file.seek(0)
        other_param[...] = 0
        other.load(file)
    elif how == "state_dict":
        other.load_state_dict(opt.state_dict())
    else:
        copied = {
            "pickle": lambda: pickle.loads(pickle.dumps(opt)),
            "deepcopy": lambda: copy.deepcopy(opt),
            "copy": lambda: copy.copy(opt),
        }[how]()
        if how == "copy":
            other_param = param
            before = param.copy()
            opt.step(np.ones(300, np.float32))
            expected = param.copy()
            param[...] = before
            copied.step(np.ones(300, np.float32))
            assert param.tobytes() == expected.tobytes()
            return
        other, other_param = copied, copied.param_groups[0]["params"]
    for each in (opt, other):
        each.step(np.ones(300, np.float32))
    assert param.tobytes() == other_param.tobytes()
    for name in ("exp_avg", "exp_avg_sq", "remainder"):
        assert opt.state[0][name].tobytes() == other.state[0][name].tobytes()


@needs_bfloat16
def test_another_format_is_refused_with_both_named_and_cast_on_demand():
    opt = trained(np.ones(50, np.float32), state_format="bfloat16")
    file = io.BytesIO()
    opt.save(file, params=True)
    file.seek(0)
    param = np.zeros(50, np.float32)
    other = fastopt.Adam(param)
    with pytest.raises(fastopt.StateFileError, match=r"float32.*bfloat16.*convert=True"):
        other.load(file)
    assert not param.any()
    file.seek(0)
    other.load(file, convert=True)
    np.testing.assert_array_equal(
        other.state[0]["exp_avg"], opt.state[0]["exp_avg"].astype(np.float32)
    )


@needs_bfloat16
def test_float32_parameters_become_a_bfloat16_and_its_remainder_without_loss():
    wide = numbers(0, 50, np.float32)
    opt = trained(wide)
    narrow = bfloat16(np.zeros(50))
    other = fastopt.Adam(narrow, master_weights=True)
    file = io.BytesIO()
    opt.save(file, params=True)
    file.seek(0)
    with pytest.raises(fastopt.StateFileError, match="has no remainder, this optimizer has one"):
        other.load(file)
    file.seek(0)
    other.load(file, convert=True)
    joined = formats.join(narrow.view(np.uint16), other.state[0]["remainder"])
    assert joined.tobytes() == wide.tobytes()
    back = np.zeros(50, np.float32)
    third = fastopt.Adam(back)
    file = io.BytesIO()
    other.save(file, params=True)
    file.seek(0)
    third.load(file, convert=True)
    assert back.tobytes() == wide.tobytes()


# Refusals


@needs_bfloat16
@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda f32, b16: fastopt.Adam(f32, state_format="bf16"), ValueError, "did you mean"),
        (lambda f32, b16: fastopt.Adam(f32, state_format=16), TypeError, "state_format"),
        (
            lambda f32, b16: fastopt.Adam(f32, state_format={"m": "bfloat16"}),
            ValueError,
            "a key of state_format must be one of 'exp_avg'",
        ),
        (
            lambda f32, b16: fastopt.Adam(f32.astype(float), state_format="bfloat16"),
            ValueError,
            "params is float64",
        ),
        (lambda f32, b16: fastopt.Adam(f32, rounding="up"), ValueError, "rounding"),
        (lambda f32, b16: fastopt.Adam(f32, seed=-1), ValueError, "seed"),
        (lambda f32, b16: fastopt.Adam(f32, seed=0.5), TypeError, "seed"),
        (lambda f32, b16: fastopt.Adam(f32, master_weights=1), TypeError, "master_weights"),
        (
            lambda f32, b16: fastopt.Adam(f32.astype(np.float16), master_weights=True),
            ValueError,
            "params is float16",
        ),
        (
            lambda f32, b16: fastopt.Adam(f32, state_format="float16"),
            ValueError,
            "name the other states: state_format={'exp_avg': 'float16'}",
        ),
        (
            lambda f32, b16: fastopt.Adadelta(f32, state_format="float16"),
            ValueError,
            "above 65504 infinity; take 'bfloat16'",
        ),
        (
            lambda f32, b16: fastopt.Adam(f32, state_format="bfloat16", rounding="nearest"),
            ValueError,
            "exp_avg_sq of params would never decay with beta2=0.999",
        ),
        (
            lambda f32, b16: fastopt.Adagrad(f32, state_format="bfloat16", rounding="nearest"),
            ValueError,
            "stops growing",
        ),
        (
            lambda f32, b16: fastopt.adam(f32, f32 + 1, f32 + 0, b16, step=1),
            ValueError,
            "exp_avg_sq would never decay",
        ),
        (lambda f32, b16: fastopt.sgd(f32, b16.view(np.uint16), lr=1), TypeError, "uint16"),
        (lambda f32, b16: fastopt.sgd(f32, b16.view("V2"), lr=1), TypeError, "V2"),
        (
            lambda f32, b16: fastopt.sgd(b16, f32.astype(float), lr=1),
            TypeError,
            "grad must have dtype float32, bfloat16 or float16, as param is bfloat16, got float64",
        ),
        (lambda f32, b16: fastopt.sgd(b16, b16, lr=1), ValueError, "overlap"),
        (lambda f32, b16: fastopt.sgd(b16[::2], f32[:25], lr=1), ValueError, "contiguous"),
        (
            lambda f32, b16: fastopt.sgd(np.zeros(101, np.uint8)[1:].view(b16.dtype), f32, lr=1),
            ValueError,
            "aligned",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(make, error, words):
    f32, b16 = np.zeros(50, np.float32), bfloat16(np.zeros(50))
    with pytest.raises(error) as caught:
        make(f32, b16)
    assert words in str(caught.value)
    assert not f32.any()
    assert not b16.view(np.uint16).any()


@needs_bfloat16
def test_a_decay_that_rounding_to_nearest_would_lose_is_refused_when_it_is_edited_in():
    param = np.zeros(5, np.float32)
    opt = fastopt.Adam(param, beta2=0.9, state_format="bfloat16", rounding="nearest")
    opt.step(np.ones(5, np.float32))
    before = param.copy()
    opt.param_groups[0]["beta2"] = 0.999
    for _ in range(2):
        with pytest.raises(ValueError, match="never decay"):
            opt.step(np.ones(5, np.float32))
    assert param.tobytes() == before.tobytes()


def test_states_named_one_by_one_may_be_float16():
    opt = fastopt.Adam(np.zeros(5, np.float32), state_format={"exp_avg_sq": "float16"})
    opt.step(np.ones(5, np.float32))
    assert opt.state[0]["exp_avg"].dtype == np.float32
    assert opt.state[0]["exp_avg_sq"].dtype == np.float16


@pytest.mark.parametrize("rows", [(), (3,)])
def test_states_are_aligned_where_the_parameter_is_aligned_to_less(rows):
    """A float16 parameter may begin in the middle of a float32."""
    param = np.zeros(48, np.float16)[1:46].reshape(*rows, -1)
    optimizer = fastopt.Population("adam", param) if rows else fastopt.Adam(param)
    optimizer.step(np.ones_like(param))
    assert (param != 0).all()


@pytest.mark.parametrize("rule", fastopt.RULES.values(), ids=lambda rule: rule.name)
def test_float16_is_proposed_for_the_states_that_are_not_of_squares(rule):
    if not rule.squares:
        return
    with pytest.raises(ValueError, match="'float16' does not suit") as caught:
        fastopt.create(rule.name, np.zeros(5), lr=0.1, state_format="float16")
    _, _, proposed = str(caught.value).partition("name the other states: state_format=")
    named = ast.literal_eval(proposed or "{}")
    assert named == {name: "float16" for name in rule.states if name not in rule.squares}
