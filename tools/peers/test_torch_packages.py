"""Our optimizers for torch that torch does not have, against those of the packages that have them.

Steps agree to within rounding, and each package goes on from the other's state dictionary.
"""

import copy
import importlib
import importlib.util
import sys

import pytest
import torch
from package_cases import CASES, ours
from torch_cases import assert_close, handed_over, make_params, run, set_grads

# timm's optimizers alone: the package itself imports torchvision, for its models.
for module in ("timm", "timm.optim"):
    sys.modules[module] = importlib.util.module_from_spec(importlib.util.find_spec(module))

CLASSES = {
    "Lion": ("timm.optim.lion", "Lion"),
    "ADOPT": ("timm.optim.adopt", "Adopt"),
    "AdEMAMix": ("pytorch_optimizer", "AdEMAMix"),
    "StableAdamW": ("pytorch_optimizer", "StableAdamW"),
    "LAMB": ("timm.optim.lamb", "Lamb"),
    "LARS": ("timm.optim.lars", "Lars"),
    "ScheduleFreeAdamW": ("schedulefree", "AdamWScheduleFree"),
    "ScheduleFreeSGD": ("schedulefree", "SGDScheduleFree"),
}
# What both groups have, apart from what only one of the packages keeps there
OURS_ALONE = {"maximize", "step"}
THEIRS_ALONE = {"max_lr_snapshot"}
# Other defaults than the package's, which there is no step for
DEFAULTS = {("ADOPT", "clip_exp"): 0.25}
# Settings that the classes for arrays lack
MORE = {
    name: [
        {"lr": 0.02, "r": 1.5, "weight_lr_power": 0.7, "warmup_steps": 9},
        {"weight_lr_power": 0},
    ]
    for name in CLASSES
    if name.startswith("ScheduleFree")
}
MORE |= {"AdEMAMix": [{"t_alpha_beta3": 20}], "LAMB": [{"lr": 0.01}]}
VARIANTS = [
    pytest.param(name, keywords, id=f"{name}-{keywords}")
    for name in CLASSES
    for keywords in [*CASES[name], *MORE.get(name, [])]
    # The former differs in the first step, and LARS where the rate changes.
    if not keywords.get("decoupled") and name != "LARS"
]
each_variant = pytest.mark.parametrize(("name", "keywords"), VARIANTS)
each_name = pytest.mark.parametrize("name", CLASSES)


def theirs(name, params, **keywords):
    module, called = CLASSES[name]
    settings = {setting: value for (owner, setting), value in DEFAULTS.items() if owner == name}
    optimizer = getattr(importlib.import_module(module), called)(params, **settings | keywords)
    if hasattr(optimizer, "train"):
        optimizer.train()
    return optimizer


def assert_agree(own, a, other, b):
    """Parameters, all states of the package, and what the groups count and carry."""
    assert_close(a, b)
    mine, its = own.state_dict(), other.state_dict()
    assert mine["state"].keys() == its["state"].keys()
    for index, entry in its["state"].items():
        for name, value in entry.items():
            # schedulefree carries the former along, and the latter is None.
            if name not in ("z_offset", "kahan_comp"):
                assert_close([mine["state"][index][name]], [value])
    for group, expected in zip(mine["param_groups"], its["param_groups"], strict=True):
        for name in (expected.keys() & group.keys()) - {"z_offset_k"} - THEIRS_ALONE:
            value = expected[name]
            if type(value) is float:
                value = pytest.approx(value, rel=1e-12)
            assert group[name] == value, name


def test_every_class_with_a_package_is_compared():
    assert {*CLASSES} == {*CASES}


@each_name
def test_settings_have_the_names_and_defaults_of_the_package(name):
    param = [torch.zeros(1, requires_grad=True)]
    own, other = ours(name, param).defaults, theirs(name, param).defaults
    for setting in other.keys() - THEIRS_ALONE:
        assert own[setting] == other[setting], setting
    assert own.keys() - other.keys() <= OURS_ALONE


@each_variant
def test_fifty_steps_agree(name, keywords):
    a, b = make_params(), make_params()
    own, other = ours(name, a, **keywords), theirs(name, b, **keywords)
    run(own, a, 50)
    run(other, b, 50)
    assert_agree(own, a, other, b)
    assert not torch.equal(a[0], make_params()[0])


@pytest.mark.parametrize("keywords", CASES["LARS"])
def test_lars_agrees_as_long_as_the_rate_is_constant(keywords):
    a, b = make_params(), make_params()
    for make, params in ((ours, a), (theirs, b)):
        groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.03}]
        run(make("LARS", groups, **keywords), params, 50)
    assert_close(a, b)


@each_variant
def test_groups_and_missing_gradients_and_schedules_agree(name, keywords):
    pair = []
    for make in (ours, theirs):
        params = make_params()
        groups = [
            {"params": params[:1], "lr": 0.03},
            {"params": params[1:2], "weight_decay": 0.02, "weight_decouple": True},
        ]
        optimizer = make(name, groups, **keywords)
        run(optimizer, params[:2], 5)
        optimizer.add_param_group({"params": params[2:]})
        if hasattr(optimizer, "train"):
            optimizer.train()
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30, eta_min=1e-3)
        for step in range(5, 25):
            set_grads(params, step)
            params[step % 4].grad = None
            if step < 12:
                params[3].grad = None
            optimizer.step()
            schedule.step()
        pair += [optimizer, params]
    assert_agree(*pair)


@pytest.mark.parametrize("from_ours", [True, False])
def test_lion_goes_on_in_lion_pytorch(from_ours):
    params, straight = make_params(), make_params()
    optimizers = [ours("Lion", params), importlib.import_module("lion_pytorch").Lion(params)]
    before, after = optimizers if from_ours else optimizers[::-1]
    run(before, params, 5)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    run(after, params, 5, start=5)
    run(ours("Lion", straight), straight, 10)
    assert_close(params, straight)


# pytorch_optimizer does not save whether it maximizes; timm saves a norm, and does not read it.
SAVED = [
    case
    for case in VARIANTS
    if not (case.values[1].get("maximize") and "pytorch_optimizer" in CLASSES[case.values[0]])
    and "max_grad_norm" not in case.values[1]
]


@pytest.mark.parametrize("from_ours", [True, False])
@pytest.mark.parametrize(("name", "keywords"), SAVED)
def test_training_goes_on_in_the_other_package(name, keywords, from_ours):
    first, second = (ours, theirs) if from_ours else (theirs, ours)
    pairs = handed_over(name, keywords, first, second)
    (own, mine), (other, its) = pairs[::-1] if from_ours else pairs
    assert_agree(own, mine, other, its)


# the schedule-free optimizers


each_schedule_free = pytest.mark.parametrize(
    ("name", "keywords"), [case for case in VARIANTS if case.values[0].startswith("ScheduleFree")]
)


@each_schedule_free
def test_both_points_are_those_of_schedulefree(name, keywords):
    pair = []
    for make in (ours, theirs):
        params = make_params()
        optimizer = make(name, params, **keywords)
        optimizer.eval()
        points = [copy.deepcopy(params)]
        for start in (0, 5, 10):
            optimizer.train()
            run(optimizer, params, 5, start=start)
            points.append(copy.deepcopy(params))
            optimizer.eval()
            points.append(copy.deepcopy(params))
        pair += [optimizer, params, points]
    own, a, points, other, b, expected = pair
    for point, its in zip(points, expected, strict=True):
        assert_close(point, its)
    assert_agree(own, a, other, b)


@pytest.mark.parametrize("from_ours", [True, False])
@each_schedule_free
def test_a_model_that_was_saved_as_the_average_goes_on_in_the_other_package(
    name, keywords, from_ours
):
    """Without a step, back and forth, and in an optimizer whose parameters are loaded later."""
    first, second = (ours, theirs) if from_ours else (theirs, ours)
    a, b, straight = make_params(), make_params(), make_params()
    before, whole = first(name, a, **keywords), second(name, straight, **keywords)
    run(before, a, 7)
    run(whole, straight, 14)
    before.eval()
    after = second(name, b)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    for param, value in zip(b, a, strict=True):
        param.data.copy_(value)
    again = first(name, b)
    again.load_state_dict(copy.deepcopy(after.state_dict()))
    for optimizer in (after, again):
        assert not optimizer.param_groups[0]["train_mode"]
    again.train()
    run(again, b, 3, start=7)
    after.load_state_dict(copy.deepcopy(again.state_dict()))
    run(after, b, 4, start=10)
    pairs = [(after, b), (whole, straight)]
    (own, mine), (other, its) = pairs[::-1] if from_ours else pairs
    assert_agree(own, mine, other, its)
