"""Schedules: their end points and joints, their equality with torch, what they refuse."""

import copy
import math
import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastopt import schedules
from fastopt.schedules import (
    chain,
    constant,
    cosine,
    exponential,
    linear,
    one_cycle,
    piecewise,
    polynomial,
    warmup,
)

EXAMPLES = {
    "constant": constant(0.3),
    "linear": linear(0.1, 0.7, steps=13),
    "cosine": cosine(0.7, steps=13, end=0.1),
    "polynomial": polynomial(0.7, steps=13, power=2.5, end=0.1),
    "exponential": exponential(0.7, 0.5, steps=13),
    "one_cycle": one_cycle(0.7, steps=40),
    "warmup": warmup(cosine(0.7, steps=13), steps=7, start=0.1),
    "chain": chain([linear(0.1, 0.7, 5), constant(0.7), cosine(0.7, 9)], boundaries=[5, 8]),
    "piecewise": piecewise([0.7, 0.3, 0.1], boundaries=[4, 9]),
}
each_example = pytest.mark.parametrize("schedule", EXAMPLES.values(), ids=EXAMPLES)


def rates(schedule, steps):
    return [schedule(step) for step in range(1, steps + 1)]


def test_every_public_schedule_has_an_example():
    assert set(EXAMPLES) == set(schedules.__all__) - {"Schedule"}


# properties of all


@each_example
def test_rate_is_a_float_and_an_array_gives_the_same_bits(schedule):
    steps = np.arange(1, 61, dtype=np.int32).reshape(3, 20)
    array = schedule(steps)
    assert array.shape == steps.shape
    assert array.dtype == np.float64
    assert all(type(rate) is float for rate in rates(schedule, 60))
    assert array.ravel().tolist() == rates(schedule, 60)


@each_example
def test_numpy_integers_are_steps(schedule):
    assert schedule(np.int64(5)) == schedule(5)
    assert schedule(np.uint8(5)) == schedule(5)


@each_example
def test_schedule_is_pickled_copied_compared_hashed_and_printed(schedule):
    for same in (pickle.loads(pickle.dumps(schedule)), copy.deepcopy(schedule)):
        assert same == schedule
        assert hash(same) == hash(schedule)
        assert rates(same, 50) == rates(schedule, 50)
    assert eval(repr(schedule), vars(schedules)) == schedule
    assert schedule != constant(0.123)


@each_example
def test_schedule_cannot_be_changed(schedule):
    with pytest.raises(AttributeError):
        schedule.parameters = ()


@each_example
@pytest.mark.parametrize("step", [0, -1, np.int64(0)])
def test_step_below_one_is_refused(schedule, step):
    with pytest.raises(ValueError, match="step must be at least 1, got"):
        schedule(step)
    with pytest.raises(ValueError, match="step must be at least 1, got"):
        schedule(np.array([1, step]))


@each_example
@pytest.mark.parametrize("step", [1.0, True, "1", None, np.float64(1), np.array([1.0]), [1]])
def test_step_that_is_not_an_integer_is_refused(schedule, step):
    with pytest.raises(TypeError, match="step must be an integer, got"):
        schedule(step)


# end points, joints, directions

lrs = st.floats(0, 1e3, allow_subnormal=False)
lengths = st.integers(1, 10_000)
TRANSITIONS = {
    "linear": lambda start, end, steps: linear(start, end, steps),
    "cosine": lambda start, end, steps: cosine(start, steps, end),
    "polynomial": lambda start, end, steps: polynomial(start, steps, 2.0, end),
}
each_transition = pytest.mark.parametrize("transition", TRANSITIONS.values(), ids=TRANSITIONS)


@each_transition
@given(start=lrs, end=lrs, steps=lengths, beyond=st.integers(1, 10**9))
def test_first_and_last_rates_are_exact(transition, start, end, steps, beyond):
    schedule = transition(start, end, steps)
    assert schedule(1) == start
    assert schedule(steps + 1) == end
    assert schedule(steps + beyond) == end


@each_transition
@pytest.mark.parametrize(("start", "end"), [(0.0, 0.1), (1e-3, 1.0), (0.9, 0.0), (3.0, 0.7)])
def test_way_from_one_end_to_the_other_is_strictly_monotone(transition, start, end):
    values = np.array(rates(transition(start, end, 1000), 1001))
    assert (np.diff(values) * np.sign(end - start) > 0).all()


@each_transition
@given(start=lrs, end=lrs, steps=lengths, step=lengths)
def test_rate_lies_between_the_ends(transition, start, end, steps, step):
    low, high = min(start, end), max(start, end)
    assert math.nextafter(low, -1) <= transition(start, end, steps)(step) <= high * (1 + 1e-15)


def test_middles():
    assert linear(1.0, 3.0, steps=4)(3) == 2.0
    assert cosine(3.0, steps=4, end=1.0)(3) == pytest.approx(2.0, rel=1e-15)
    assert polynomial(3.0, steps=4, power=3.0, end=1.0)(3) == 1.25
    assert exponential(3.0, 0.25, steps=2)(2) == 1.5


def test_exponential_multiplies_by_the_factor():
    schedule = exponential(0.5, 0.8, steps=3)
    assert schedule(1) == 0.5
    for step in range(1, 30):
        assert schedule(step + 3) == pytest.approx(0.8 * schedule(step), rel=1e-14)


@pytest.mark.parametrize(("steps", "pct_start"), [(100, 0.3), (7, 0.5), (1000, 0.05), (10, 0.33)])
def test_one_cycle_starts_tops_and_ends_where_documented(steps, pct_start):
    schedule = one_cycle(0.6, steps, pct_start, div_factor=10.0, final_div_factor=100.0)
    values = np.array(rates(schedule, steps + 5))
    top = pct_start * steps
    assert values[0] == 0.6 / 10.0
    assert (values[steps - 1 :] == 0.6 / 10.0 / 100.0).all()
    if top == int(top):
        assert values[int(top) - 1] == 0.6
    assert values.max() <= 0.6
    assert (np.diff(values[: int(top)]) > 0).all()
    assert (np.diff(values[math.ceil(top) - 1 : steps]) < 0).all()


def test_warmup_is_continuous_at_its_end_and_then_the_schedule():
    after = cosine(0.8, steps=20)
    schedule = warmup(after, steps=8, start=0.2)
    assert schedule(1) == 0.2
    assert schedule(9) == after(1) == 0.8
    np.testing.assert_allclose(np.diff(rates(schedule, 9)), 0.6 / 8, rtol=1e-13)
    assert rates(schedule, 40)[8:] == rates(after, 32)


def test_chain_gives_every_schedule_its_own_count():
    pieces = [linear(0.0, 1.0, 4), cosine(1.0, 3), exponential(0.5, 0.5)]
    schedule = chain(pieces, boundaries=[4, 7])
    expected = rates(pieces[0], 4) + rates(pieces[1], 3) + rates(pieces[2], 9)
    assert rates(schedule, 16) == expected


def test_chain_takes_any_function_of_the_step():
    schedule = chain([math.sqrt, constant(9.0)], boundaries=[2])
    assert rates(schedule, 3) == [1.0, math.sqrt(2), 9.0]


def test_chain_of_one_is_that_one():
    assert rates(chain([cosine(1.0, 5)], boundaries=[]), 9) == rates(cosine(1.0, 5), 9)


def test_piecewise_changes_after_each_boundary():
    schedule = piecewise([3.0, 2.0, 1.0], boundaries=[2, 5])
    assert rates(schedule, 7) == [3.0, 3.0, 2.0, 2.0, 2.0, 1.0, 1.0]


# the same numbers as torch

TORCH = {
    "LinearLR": (
        linear(0.05, 0.3, steps=12),
        lambda s, opt: s.LinearLR(opt, start_factor=0.1, end_factor=0.6, total_iters=12),
        20,
    ),
    "CosineAnnealingLR": (
        cosine(0.5, steps=15, end=0.02),
        lambda s, opt: s.CosineAnnealingLR(opt, T_max=15, eta_min=0.02),
        16,
    ),
    "PolynomialLR": (
        polynomial(0.5, steps=12, power=1.7),
        lambda s, opt: s.PolynomialLR(opt, total_iters=12, power=1.7),
        20,
    ),
    "ExponentialLR": (
        exponential(0.5, 0.9),
        lambda s, opt: s.ExponentialLR(opt, gamma=0.9),
        40,
    ),
    "MultiStepLR": (
        piecewise([0.5, 0.05, 0.005], boundaries=[4, 9]),
        lambda s, opt: s.MultiStepLR(opt, milestones=[4, 9], gamma=0.1),
        15,
    ),
    "SequentialLR": (
        chain([constant(0.05), exponential(0.5, 0.9)], boundaries=[6]),
        lambda s, opt: s.SequentialLR(
            opt,
            [s.ConstantLR(opt, factor=0.1, total_iters=99), s.ExponentialLR(opt, gamma=0.9)],
            milestones=[6],
        ),
        20,
    ),
    "OneCycleLR": (
        one_cycle(0.5, steps=37),
        lambda s, opt: s.OneCycleLR(opt, max_lr=0.5, total_steps=37),
        37,
    ),
}


@pytest.mark.needs("torch")
@pytest.mark.filterwarnings("ignore:.*epoch parameter in.*:UserWarning")
@pytest.mark.parametrize(("schedule", "make", "steps"), TORCH.values(), ids=TORCH)
def test_rates_are_those_of_torch(schedule, make, steps):
    import torch

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    expected = []
    for _ in range(steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        # The step past the last one of OneCycleLR is an error there.
        if len(expected) < steps:
            scheduler.step()
    # torch multiplies from step to step, so its last bits differ.
    np.testing.assert_allclose(rates(schedule, steps), expected, rtol=1e-12, atol=1e-17)


# what is refused

BAD_NUMBERS = [
    (float("nan"), ValueError, "finite"),
    (float("inf"), ValueError, "finite"),
    (-1.0, ValueError, "at least 0|greater than 0|from 0"),
    ("1", TypeError, "a number"),
    (True, TypeError, "a number"),
    (np.True_, TypeError, "a number"),
    (None, TypeError, "a number"),
    (1j, TypeError, "a number"),
    (np.array([1.0]), TypeError, "a number"),
]
NUMBERS = {
    "constant lr": ("lr", lambda x: constant(x)),
    "linear start": ("start", lambda x: linear(x, 1.0, 5)),
    "linear end": ("end", lambda x: linear(1.0, x, 5)),
    "cosine lr": ("lr", lambda x: cosine(x, 5)),
    "cosine end": ("end", lambda x: cosine(1.0, 5, x)),
    "polynomial lr": ("lr", lambda x: polynomial(x, 5)),
    "polynomial power": ("power", lambda x: polynomial(1.0, 5, x)),
    "polynomial end": ("end", lambda x: polynomial(1.0, 5, end=x)),
    "exponential lr": ("lr", lambda x: exponential(x, 0.5)),
    "exponential factor": ("factor", lambda x: exponential(1.0, x)),
    "one_cycle max_lr": ("max_lr", lambda x: one_cycle(x, 50)),
    "one_cycle pct_start": ("pct_start", lambda x: one_cycle(1.0, 50, x)),
    "one_cycle div_factor": ("div_factor", lambda x: one_cycle(1.0, 50, div_factor=x)),
    "one_cycle final": ("final_div_factor", lambda x: one_cycle(1.0, 50, final_div_factor=x)),
    "warmup start": ("start", lambda x: warmup(constant(1.0), 5, x)),
    "piecewise lrs": (r"lrs\[1\]", lambda x: piecewise([1.0, x], [5])),
}


@pytest.mark.parametrize(("name", "make"), NUMBERS.values(), ids=NUMBERS)
def test_bad_number_is_refused(name, make):
    for value, error, message in BAD_NUMBERS:
        with pytest.raises(error, match=f"^{name} must be .*({message}).*got"):
            make(value)


LENGTHS = {
    "linear": lambda n: linear(0.0, 1.0, n),
    "cosine": lambda n: cosine(1.0, n),
    "polynomial": lambda n: polynomial(1.0, n),
    "exponential": lambda n: exponential(1.0, 0.5, n),
    "one_cycle": lambda n: one_cycle(1.0, n),
    "warmup": lambda n: warmup(constant(1.0), n),
}


@pytest.mark.parametrize(
    ("value", "error"),
    [(-1, ValueError), (-3, ValueError), (2.0, TypeError), (True, TypeError), ("2", TypeError)],
)
@pytest.mark.parametrize("make", LENGTHS.values(), ids=LENGTHS)
def test_bad_length_is_refused(make, value, error):
    with pytest.raises(error, match=r"^steps must be .*got"):
        make(value)


@pytest.mark.parametrize("make", [LENGTHS["exponential"], LENGTHS["one_cycle"]])
def test_a_length_of_zero_is_refused_where_it_means_nothing(make):
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        make(0)


def test_a_way_of_zero_steps_is_over_at_the_first():
    for schedule in (linear(1.0, 0.25, 0), cosine(1.0, 0, 0.25), polynomial(1.0, 0, end=0.25)):
        assert rates(schedule, 3) == [0.25] * 3


def test_a_warmup_of_zero_steps_is_the_schedule():
    after = cosine(0.8, steps=20)
    assert rates(warmup(after, 0), 25) == rates(after, 25)


def test_a_schedule_between_equal_boundaries_serves_no_step():
    pieces = [constant(1.0), constant(2.0), constant(3.0)]
    assert rates(chain(pieces, [0, 2]), 4) == [2.0, 2.0, 3.0, 3.0]
    assert rates(chain(pieces, [2, 2]), 4) == [1.0, 1.0, 3.0, 3.0]
    assert rates(piecewise([1.0, 2.0, 3.0], [0, 0]), 2) == [3.0, 3.0]


@pytest.mark.parametrize("pct_start", [-0.1, 1.1, 30])
def test_one_cycle_refuses_a_share_outside_0_to_1(pct_start):
    with pytest.raises(ValueError, match=r"pct_start must be at (least 0|most 1), got"):
        one_cycle(1.0, 50, pct_start)


@pytest.mark.parametrize("pct_start", [0, 0.01, 0.02])
def test_one_cycle_without_a_way_up_starts_at_the_top(pct_start):
    values = rates(one_cycle(1.0, 50, pct_start), 60)
    assert values[0] == 1.0
    assert (np.diff(values[:50]) < 0).all()
    assert set(values[49:]) == {1.0 / 25 / 1e4}


def test_one_cycle_without_a_way_down_ends_at_the_top():
    values = rates(one_cycle(1.0, 50, 1.0), 60)
    assert values[0] == 1.0 / 25
    assert values[49] == 1.0
    assert (np.diff(values[:50]) > 0).all()
    assert set(values[50:]) == {1.0 / 25 / 1e4}


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_a_short_one_cycle_reaches_the_top_and_the_end(steps):
    values = rates(one_cycle(1.0, steps), steps + 1)
    assert all(0 < value <= 1.0 for value in values)
    assert values[-1] == 1.0 / 25 / 1e4
    if steps < 4:  # 0.3*steps is below 1
        assert values[0] == 1.0


def test_one_cycle_with_rates_beyond_the_largest_float_is_refused():
    with pytest.raises(ValueError, match="max_lr/div_factor must be a finite number"):
        one_cycle(1.0, 50, div_factor=1e-310)


@pytest.mark.parametrize("schedule", [exponential(1.0, 10.0), exponential(1e308, 1.5, steps=3)])
def test_an_exponential_that_overflows_says_so(schedule):
    assert math.isfinite(schedule(2))
    with pytest.raises(OverflowError, match=r"exponential\(lr=.* largest float at step 400; chain"):
        schedule(400)
    with pytest.raises(OverflowError, match="largest float at step"):
        schedule(np.arange(1, 500))


def test_an_exponential_from_zero_stays_zero():
    assert exponential(0.0, 10.0)(1000) == 0.0


@pytest.mark.parametrize("wrong", [0.1, {0: 0.1, 10: 0.01}, {0.1, 0.01}, None])
def test_what_has_no_order_is_no_list(wrong):
    for make, name in (
        (lambda: piecewise(wrong, [10]), "lrs"),
        (lambda: piecewise([0.1, 0.01], wrong), "boundaries"),
        (lambda: chain(wrong, [10]), "schedules"),
        (lambda: chain([constant(1.0)] * 2, wrong), "boundaries"),
    ):
        with pytest.raises(TypeError, match=f"^{name} must be a list, got {re.escape(str(wrong))}"):
            make()


def test_a_number_in_place_of_a_schedule_is_told_how_to_become_one():
    for make, name in ((lambda: warmup(0.1, 5), "schedule"), (lambda: chain([1], []), "schedules")):
        with pytest.raises(
            TypeError, match=rf"^{name}.* must be a function.*constant\(.*\) is one"
        ):
            make()


@pytest.mark.parametrize(
    ("boundaries", "error", "message"),
    [
        ([], ValueError, "boundaries must be one fewer than schedules, got 0 for 3"),
        ([1, 2, 3], ValueError, "boundaries must be one fewer than schedules, got 3 for 3"),
        ([5, 4], ValueError, r"boundaries must not decrease, got \(5, 4\)"),
        ([-1, 4], ValueError, r"boundaries\[0\] must be at least 0, got -1"),
        ([1, 4.0], TypeError, r"boundaries\[1\] must be an integer, got 4.0"),
    ],
)
def test_bad_boundaries_are_refused(boundaries, error, message):
    with pytest.raises(error, match=message):
        chain([constant(1.0)] * 3, boundaries)
    with pytest.raises(error, match=message.replace("schedules", "lrs")):
        piecewise([1.0] * 3, boundaries)


def test_chain_and_warmup_of_what_is_not_a_schedule_are_refused():
    with pytest.raises(TypeError, match=r"schedules\[1\] must be a function of the step, got 0.1"):
        chain([constant(1.0), 0.1], [5])
    with pytest.raises(TypeError, match=r"schedule must be a function of the step, got 0.1"):
        warmup(0.1, 5)


def test_zero_rate_is_allowed():
    assert constant(0)(1) == 0.0
    assert type(constant(0)(1)) is float
