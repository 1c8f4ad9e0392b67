"""Bad input to the functions: an exception that names the argument, and not one byte changed."""

import inspect
import itertools
from fractions import Fraction

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
    argument_names,
    assert_refused,
    good_arrays,
    good_keywords,
    is_number,
    misaligned,
    read_only,
)
from cases import (
    DTYPES,
    ELEMENTWISE,
    FRACTIONS,
    RULES,
    function_of,
    numbers,
    step_keyword,
)

import fastopt

by_name = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


def optional_choices(rule):
    return ((), True) if rule.optional else ((),)


def array_cases(rule, fault):
    for optional in optional_choices(rule):
        for name in argument_names(rule, optional):
            if name == "grad" and fault.read_only_grad_is_good:
                continue
            if name in rule.optional and fault.name == "None":
                continue  # no optional array: it is not there
            for dtype in DTYPES:
                yield optional, name, dtype


# One test for all rules and their arrays: a test of its own for each would cost more than the call.
@pytest.mark.parametrize("fault", ARRAY_FAULTS, ids=lambda fault: fault.name)
def test_a_bad_array_is_refused(fault):
    for rule in RULES:
        for optional, name, dtype in array_cases(rule, fault):
            arrays = good_arrays(rule, optional, dtype)
            arrays[name] = fault.make(arrays[name])
            # If param is the odd one out, each of the others differs from it
            names = arrays if name == "param" and fault.shape_or_dtype_of_another else (name,)
            case = f"{name}, {dtype.__name__}, {optional=}"
            assert_refused(rule, arrays, good_keywords(rule), fault.error, names, case)


@by_name
def test_the_message_says_what_it_got_and_what_it_needs(rule):
    arrays = good_arrays(rule, optional=())
    for name, bad, fragments in (
        ("grad", arrays["grad"].astype(np.uint16), ("uint16", "float32")),
        ("grad", arrays["grad"].tolist(), ("list", "array")),
        ("grad", arrays["grad"].ravel(), ("(24,)", "(6, 4)")),
        ("param", np.asfortranarray(arrays["param"]), ("contiguous",)),
        ("param", misaligned(arrays["param"]), ("aligned",)),
        ("param", read_only(arrays["param"]), ("writ",)),
    ):
        for fragment in fragments:
            assert_refused(
                rule,
                {**arrays, name: bad},
                good_keywords(rule),
                (TypeError if fragments[0] in ("uint16", "list") else ValueError),
                (fragment,),
            )


@by_name
def test_a_read_only_gradient_is_accepted(rule):
    expected, arrays = good_arrays(rule, ()), good_arrays(rule, ())
    arrays["grad"].flags.writeable = False
    function_of(rule)(*expected.values(), **good_keywords(rule))
    function_of(rule)(*arrays.values(), **good_keywords(rule))
    for a, b in zip(expected.values(), arrays.values(), strict=True):
        assert a.tobytes() == b.tobytes()


def overlaps(first, second):
    """Pairs of views of one array that share memory: all of it, all but one element, one."""
    size = first.size
    base = np.abs(numbers(9, 2 * size, first.dtype))
    yield base[:size], base[:size]
    for shift in (1, size // 2, size - 1):
        yield base[:size], base[shift : shift + size]
        yield base[shift : shift + size], base[:size]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@by_name
def test_overlapping_arrays_are_refused(rule, dtype):
    for optional in optional_choices(rule):
        for first, second in itertools.combinations(argument_names(rule, optional), 2):
            arrays = good_arrays(rule, optional, dtype)
            arrays = {name: array.ravel() for name, array in arrays.items()}
            for pair in overlaps(arrays[first], arrays[second]):
                arrays[first], arrays[second] = pair
                for name in (first, second):
                    assert_refused(rule, arrays, good_keywords(rule), ValueError, (name,))


@by_name
def test_neighbours_that_touch_are_accepted(rule):
    for optional in optional_choices(rule):
        expected = good_arrays(rule, optional)
        joined = np.concatenate([array.ravel() for array in expected.values()])
        size = SHAPE[0] * SHAPE[1]
        touching = [joined[i * size : (i + 1) * size].reshape(SHAPE) for i in range(len(expected))]
        function_of(rule)(*expected.values(), **good_keywords(rule))
        function_of(rule)(*touching, **good_keywords(rule))
        for a, b in zip(expected.values(), touching, strict=True):
            assert a.tobytes() == b.tobytes()


def bad_numbers(name):
    bad = [(value, TypeError) for value in NOT_NUMBERS]
    bad += [(value, ValueError) for value in NOT_FINITE]
    if name not in MAY_BE_NEGATIVE:
        bad += [(value, ValueError) for value in NEGATIVE]
    if name in FRACTIONS:
        bad += [(value, ValueError) for value in NOT_BELOW_ONE]
    return bad


def number_names(rule):
    numbers = {name for name, default in rule.hypers.items() if is_number(name, default)}
    return sorted(numbers - {rule.carried})


@by_name
def test_a_bad_number_is_refused(rule):
    for optional, name in itertools.product(optional_choices(rule), number_names(rule)):
        arrays = good_arrays(rule, optional)
        for value, error in bad_numbers(name):
            keywords = {**good_keywords(rule), name: value}
            case = f"{name}={str(value)[:20]} of {type(value).__name__}"
            assert_refused(rule, arrays, keywords, error, (name,), case)


BAD_STEPS = [
    (0, ValueError),
    (-1, ValueError),
    (2**53 + 1, ValueError),
    (2**63, ValueError),
    (2**64 + 1, ValueError),
    (10**400, ValueError),
    (np.int64(0), ValueError),
    (1.0, TypeError),
    (np.float64(1), TypeError),
    ("1", TypeError),
    (None, TypeError),
    (True, TypeError),
    (np.bool_(True), TypeError),
    ([1], TypeError),
    (np.timedelta64(1, "s"), TypeError),
    (float("nan"), TypeError),
]
WITH_STEP = [rule for rule in RULES if "step" in rule.hypers]


@pytest.mark.parametrize(
    ("step", "error"), BAD_STEPS, ids=lambda x: f"{type(x).__name__}-{str(x)[:22]}"
)
def test_a_bad_step_is_refused(step, error):
    for rule in WITH_STEP:
        for optional in optional_choices(rule):
            keywords = {**good_keywords(rule), "step": step}
            assert_refused(rule, good_arrays(rule, optional), keywords, error, ("step",))


@pytest.mark.parametrize("value", [0, 1, 1.0, "yes", "", None, [], np.int64(1), object], ids=repr)
def test_a_flag_is_a_bool(value):
    for rule in RULES:
        flags = [name for name, default in rule.hypers.items() if isinstance(default, bool)]
        assert "maximize" in flags
        for name in flags:
            keywords = {**good_keywords(rule), name: value}
            assert_refused(rule, good_arrays(rule, ()), keywords, TypeError, (name,))


READ_ONLY = np.zeros(())
READ_ONLY.flags.writeable = False
BAD_CARRIED = [
    (0.5, TypeError),
    (None, TypeError),
    (np.float64(0.5), TypeError),
    (np.zeros((), np.float32), TypeError),
    (np.zeros((), ">f8"), TypeError),
    (np.zeros(1), ValueError),
    (np.zeros(9, np.uint8)[1:].view(np.float64).reshape(()), ValueError),
    (READ_ONLY, ValueError),
]


@pytest.mark.parametrize(("value", "error"), BAD_CARRIED, ids=lambda x: f"{x!r:.30}")
@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if rule.carried], ids=lambda rule: rule.name
)
def test_what_is_carried_from_step_to_step_is_an_array_of_such_numbers(rule, value, error):
    keywords = {**good_keywords(rule), rule.carried: value}
    assert_refused(rule, good_arrays(rule, ()), keywords, error, (rule.carried,))


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if rule.carried], ids=lambda rule: rule.name
)
def test_what_is_carried_overlaps_no_array(rule):
    arrays = good_arrays(rule, (), np.float64)
    for name, array in arrays.items():
        number = array.reshape(-1)[: np.prod(rule.carried_shape, dtype=int)]
        keywords = {**good_keywords(rule), rule.carried: number.reshape(rule.carried_shape)}
        assert_refused(rule, arrays, keywords, ValueError, (f"must not overlap {name}",))


@by_name
def test_a_missing_required_argument_is_named(rule):
    required = [name for name, default in rule.hypers.items() if default is None]
    for name in required:
        keywords = {**good_keywords(rule)}
        del keywords[name]
        assert_refused(rule, good_arrays(rule, ()), keywords, TypeError, (name,))
    for missing in argument_names(rule, ()):
        arrays = good_arrays(rule, ())
        kept = list(arrays)[: list(arrays).index(missing)]
        arrays = {name: arrays[name] for name in kept}
        assert_refused(rule, arrays, good_keywords(rule), TypeError, (missing, "argument"))


@by_name
def test_an_unknown_keyword_is_named(rule):
    keywords = {**good_keywords(rule), "learning_rate": 0.1}
    assert_refused(rule, good_arrays(rule, ()), keywords, TypeError, ("learning_rate",))


def test_adamw_has_no_decoupled_keyword():
    (adamw,) = (rule for rule in RULES if rule.name == "adamw")
    assert "decoupled" not in adamw.hypers
    keywords = {**good_keywords(adamw), "decoupled": True}
    assert_refused(adamw, good_arrays(adamw, ()), keywords, TypeError, ("decoupled",))


@by_name
def test_hyper_parameters_are_keyword_only(rule):
    arrays = good_arrays(rule, True)
    before = [array.tobytes() for array in arrays.values()]
    with pytest.raises(TypeError):
        function_of(rule)(*arrays.values(), 0.1, **step_keyword(rule, 1))
    assert [array.tobytes() for array in arrays.values()] == before


@by_name
def test_the_signature_is_the_table(rule):
    parameters = inspect.signature(function_of(rule)).parameters
    positional = [p.name for p in parameters.values() if p.kind is not p.KEYWORD_ONLY]
    assert positional == list(argument_names(rule, True))
    keywords = [p for p in parameters.values() if p.kind is p.KEYWORD_ONLY]
    rows = [] if rule.takes_norms else ["rows"]
    assert [p.name for p in keywords] == [*rule.hypers, *rows]
    assert not rows or keywords.pop().default is None
    for p in keywords:
        default = rule.hypers[p.name]
        assert p.default == (p.empty if default is None else default)


@pytest.mark.parametrize(
    "value",
    [
        1,
        0,
        np.float16(0.1),
        np.float32(0.1),
        np.float64(0.1),
        np.int8(1),
        np.uint64(1),
        Fraction(1, 3),
    ],
    ids=lambda value: f"{type(value).__name__}-{value}",
)
def test_any_finite_real_number_will_do(value):
    for rule, name in itertools.product(RULES, ("lr", "weight_decay", "grad_scale")):
        expected, got = good_arrays(rule, (), np.float64), good_arrays(rule, (), np.float64)
        function_of(rule)(*expected.values(), **{**good_keywords(rule), name: float(value)})
        function_of(rule)(*got.values(), **{**good_keywords(rule), name: value})
        for a, b in zip(expected.values(), got.values(), strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("rule", WITH_STEP, ids=lambda rule: rule.name)
def test_a_numpy_integer_is_a_step(rule):
    expected, got = good_arrays(rule, ()), good_arrays(rule, ())
    function_of(rule)(*expected.values(), lr=0.1, **step_keyword(rule, 3))
    function_of(rule)(*got.values(), lr=0.1, **{**step_keyword(rule, 3), "step": np.uint16(3)})
    assert expected["param"].tobytes() == got["param"].tobytes()


@pytest.mark.parametrize("rule", ELEMENTWISE, ids=lambda rule: rule.name)
def test_a_gradient_that_is_not_finite_touches_its_own_element_only(rule):
    for value in (np.nan, np.inf, -np.inf):
        expected, got = good_arrays(rule, ()), good_arrays(rule, ())
        for arrays in (expected, got):
            for name in rule.states:
                arrays[name][2, 1] = 0.0
        got["grad"][2, 1] = value
        function_of(rule)(*expected.values(), **good_keywords(rule))
        function_of(rule)(*got.values(), **good_keywords(rule))
        others = np.ones(SHAPE, bool)
        others[2, 1] = False
        for a, b in zip(expected.values(), got.values(), strict=True):
            assert a[others].tobytes() == b[others].tobytes()
        # The sign of an infinite gradient is finite, so a rule of signs shows it in its state only.
        written = ("param",) if np.isnan(value) else ("param", *rule.states)
        assert not all(np.isfinite(got[name][2, 1]) for name in written)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool, ">f4", np.longdouble, complex, object])
def test_a_dtype_that_a_cast_would_mend_is_told_so(dtype):
    wrong, right = np.ones(3, dtype), np.ones(3, np.float32)
    for name, call in (
        ("param", lambda: fastopt.sgd(wrong, right, lr=0.1)),
        ("grad", lambda: fastopt.sgd(right, wrong, lr=0.1)),
        ("params", lambda: fastopt.SGD(wrong, lr=0.1)),
        ("grads", lambda: fastopt.SGD(right, lr=0.1).step(wrong)),
    ):
        with pytest.raises(TypeError, match=rf"^{name} must have dtype float32, .* got ") as caught:
            call()
        mends = np.dtype(dtype).kind not in "cO"
        assert ("astype makes a copy in one of these" in str(caught.value)) is mends
