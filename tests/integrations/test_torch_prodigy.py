"""Prodigy for torch: its steps are those of the class for arrays, and those of prodigyopt."""

import copy
import inspect
import math

import ml_dtypes
import prodigy_twin
import pytest
import torch
from prodigy_cases import CARRIED, VARIANTS, assert_agree, carried, ours, theirs
from torch_cases import assert_equal, make_params, run, set_grads

import fastopt
from fastopt.integrations import torch as fast

each_variant = pytest.mark.parametrize("keywords", VARIANTS, ids=str)


def as_array(tensor):
    if tensor.dtype == torch.bfloat16:
        return tensor.detach().view(torch.int16).numpy().copy().view(ml_dtypes.bfloat16)
    return tensor.detach().numpy().copy()


def for_arrays(keywords):
    """The same settings as the keywords of `fastopt.Prodigy`."""
    names = {"decouple": "decoupled"}
    settings = {names.get(name, name): value for name, value in keywords.items()}
    if "betas" in settings:
        settings["beta1"], settings["beta2"] = settings.pop("betas")
    return settings


# the steps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@each_variant
def test_the_bits_are_those_of_the_class_for_arrays(keywords, dtype):
    params = make_params(dtype)
    arrays = [as_array(param) for param in params]
    groups = [{"params": params[:2]}, {"params": params[2:], "eps": 1e-4, "weight_decay": 0.2}]
    optimizer = ours(groups, **keywords)
    twin = fastopt.Prodigy(
        [
            {"params": arrays[:2]},
            {"params": arrays[2:], "eps": 1e-4, "weight_decay": 0.2},
        ],
        **for_arrays(keywords),
    )
    for step in range(30):
        set_grads(params, step)
        grads = [as_array(param.grad) for param in params]
        optimizer.step()
        twin.step([grads[:2], grads[2:]])
        for group in optimizer.param_groups:
            expected = dict(zip(("d", "d_numerator", "d_max"), twin.state[0]["d"], strict=True))
            assert {name: group[name] for name in expected} == expected
            assert group["k"] == step + 1
    for param, array, state in zip(params, arrays, twin.state, strict=True):
        assert as_array(param).tobytes() == array.tobytes()
        for name in ("exp_avg", "exp_avg_sq", "s", "p0_offset"):
            assert as_array(optimizer.state[param][name]).tobytes() == state[name].tobytes()
    assert optimizer.param_groups[0]["d"] > 1.05 * optimizer.param_groups[0]["d0"]


@pytest.mark.parametrize(
    ("dtype", "way"),
    [
        (torch.bfloat16, {"seed": 7}),
        (torch.bfloat16, {"rounding": "nearest"}),
        (torch.bfloat16, {"master_weights": True, "state_format": "bfloat16"}),
        (torch.float32, {"state_format": "block8", "seed": 3}),
        (torch.float32, {"state_format": {"s": "bfloat16"}}),
    ],
    ids=str,
)
def test_narrow_formats_are_those_of_the_class_for_arrays(dtype, way):
    params = make_params(dtype)
    arrays = [as_array(param) for param in params]
    optimizer, twin = ours(params, d0=1e-2, **way), fastopt.Prodigy(arrays, d0=1e-2, **way)
    for step in range(10):
        set_grads(params, step)
        grads = [as_array(param.grad) for param in params]
        optimizer.step()
        twin.step(grads)
    for param, array, state in zip(params, arrays, twin.state, strict=True):
        assert as_array(param).tobytes() == array.tobytes()
        for name in ("exp_avg", "exp_avg_sq", "s", "p0_offset"):
            assert as_array(optimizer.state[param][name]).tobytes() == state[name].tobytes()
    assert optimizer.param_groups[0]["d"] == twin.state[0]["d"][0]


@each_variant
def test_fifty_steps_agree_with_the_definition(keywords):
    a, b = make_params(), make_params()
    own, other = ours(a, **keywords), theirs(b, **keywords)
    run(own, a, 50)
    run(other, b, 50)
    assert_agree(own, a, other, b)
    assert own.param_groups[0]["d"] > 1.05 * keywords["d0"]


@each_variant
def test_the_estimate_is_one_for_all_groups(keywords):
    """Also when arrays have no gradients, and when a group is added; one with an lr of 0 stays."""
    a, b = make_params(), make_params()
    pair = []
    for make, params in ((ours, a), (theirs, b)):
        groups = [{"params": params[:1], "eps": 1e-3}, {"params": params[1:2], "lr": 0.0}]
        if keywords.get("weight_decay"):
            groups[1]["weight_decay"] = 0.0  # prodigyopt's decays with the other groups' lr
        optimizer = make(groups, **keywords)
        run(optimizer, params[:2], 5)
        optimizer.add_param_group({"params": params[2:]})
        for step in range(5, 20):
            set_grads(params, step)
            for index, param in enumerate(params):
                # Three have a gradient in turns, and the first of them has its first.
                if step in (5, 6, 7) and index != (2, 0, 3)[step - 5]:
                    param.grad = None
            optimizer.step()
        pair += [optimizer, params]
    assert_agree(*pair)
    assert_equal(a[1:2], make_params()[1:2])
    assert own_numbers_are_equal(pair[0])


def own_numbers_are_equal(optimizer):
    numbers = [group[:-1] for group in carried(optimizer)]  # of k each group has its own
    return all(each == numbers[0] for each in numbers)


def test_a_group_may_have_an_lr_of_its_own():
    """Which prodigyopt refuses, unless it is 0."""
    params = make_params(torch.float32)
    arrays = [as_array(param) for param in params]
    optimizer = ours([{"params": params[:2]}, {"params": params[2:], "lr": 0.3}], d0=1e-2)
    twin = fastopt.Prodigy(
        [{"params": arrays[:2]}, {"params": arrays[2:], "lr": 0.3}], d0=1e-2, lr=1.0
    )
    for step in range(10):
        set_grads(params, step)
        grads = [as_array(param.grad) for param in params]
        optimizer.step()
        twin.step([grads[:2], grads[2:]])
    for param, array in zip(params, arrays, strict=True):
        assert as_array(param).tobytes() == array.tobytes()


SCHEDULES = {
    "cosine": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 15),
    # The first rate is 0: nothing is stepped and nothing counted.
    "warm-up": lambda optimizer: torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, step / 5)
    ),
    # OneCycleLR moves the betas, too.
    "one cycle": lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=21
    ),
}


@pytest.mark.parametrize("tensor_lr", [False, True])
@pytest.mark.parametrize("schedule", SCHEDULES)
@each_variant
def test_schedulers_drive_it(keywords, schedule, tensor_lr):
    a, b = make_params(), make_params()
    pair = []
    for make, params in ((ours, a), (theirs, b)):
        lr = keywords.get("lr", 1.0)
        lr = torch.tensor(lr, dtype=torch.float64) if tensor_lr and make is ours else lr
        optimizer = make(params, **{**keywords, "lr": lr})
        scheduler = SCHEDULES[schedule](optimizer)
        for step in range(20):
            set_grads(params, step)
            optimizer.step()
            scheduler.step()
        pair += [optimizer, params]
    assert_agree(*pair)


def test_a_step_without_lr_or_gradient_changes_nothing():
    params = make_params()
    optimizer = ours(params, d0=1e-2)
    run(optimizer, params, 3)
    before = copy.deepcopy((params, optimizer.state_dict()))
    optimizer.param_groups[0]["lr"] = 0
    run(optimizer, params, 1, start=3)
    optimizer.param_groups[0]["lr"] = 1.0
    optimizer.zero_grad()
    optimizer.step()
    assert_equal(params, before[0])
    assert carried(optimizer) == [[before[1]["param_groups"][0][name] for name in CARRIED]]
    for index, entry in optimizer.state_dict()["state"].items():
        assert_equal_entries(entry, before[1]["state"][index])


def assert_equal_entries(entry, expected):
    assert entry.keys() == expected.keys()
    for name, value in expected.items():
        same = torch.equal(entry[name], value) if torch.is_tensor(value) else entry[name] == value
        assert same, name


def test_what_a_group_says_of_d_is_stepped_with():
    a, b = make_params(), make_params()
    own, other = ours(a, d0=1e-2), theirs(b, d0=1e-2)
    for params, optimizer in ((a, own), (b, other)):
        run(optimizer, params, 3)
        optimizer.param_groups[0]["d"] *= 2
        optimizer.param_groups[0]["d_max"] *= 2
        run(optimizer, params, 3, start=3)
        optimizer.param_groups[0]["d_numerator"] = torch.tensor(0.25, dtype=torch.float64).item()
        run(optimizer, params, 3, start=6)
    assert_agree(own, a, other, b)


# the class


def test_the_constructor_takes_what_that_of_prodigyopt_takes():
    own = [*inspect.signature(fast.Prodigy).parameters.values()]
    other = [*inspect.signature(prodigy_twin.Prodigy).parameters.values()]
    assert [(each.name, each.default) for each in own[: len(other)]] == [
        (each.name, each.default) for each in other
    ]
    storage = {each.name: each.default for each in own[len(other) :]}
    for_arrays = inspect.signature(fastopt.Prodigy).parameters
    assert storage == {name: for_arrays[name].default for name in storage}
    assert list(storage) == ["state_format", "master_weights", "rounding", "seed"]
    assert {each.kind for each in own[len(other) :]} == {inspect.Parameter.KEYWORD_ONLY}
    positional = ours(make_params(), lr=0.5)
    assert fast.Prodigy(make_params(), 0.5).defaults == positional.defaults


REFUSED = [
    ({"slice_p": 11}, "slice_p must be 1, got 11: .* state_format='bfloat16'"),
    ({"fsdp_in_use": True}, "fsdp_in_use must be False, got True"),
    ({"betas": (0.0, 0.999)}, r"betas\[0\] must be above 0"),
    ({"betas": (0.9, 1.0)}, "beta2 must be"),
    ({"betas": 0.9}, "betas must be two numbers"),
    ({"beta3": 0.0}, r"beta3 must be above 0, or None"),
    ({"beta3": 1.0}, "beta3 must be"),
    ({"eps": 0.0}, "eps must be above 0"),
    ({"d0": 0.0}, "d0 must be above 0"),
    ({"d0": math.nan}, "d0 must be above 0"),
    ({"growth_rate": 0.0}, "growth_rate must be above 0"),
    ({"lr": -1.0}, "lr must be"),
    ({"weight_decay": -0.1}, "weight_decay must be"),
    ({"d_coef": math.inf}, "d_coef must be"),
]


@pytest.mark.parametrize(("keywords", "words"), REFUSED, ids=str)
def test_what_is_not_supported_is_refused(keywords, words):
    """At construction, in a group that is added, in a group that is changed."""
    with pytest.raises(ValueError, match=words):
        ours(make_params(), **keywords)
    params = make_params()
    optimizer = ours(params[:1], d0=1e-2)
    run(optimizer, params[:1], 2)
    with pytest.raises(ValueError, match=f"{words}|must be the same in all groups"):
        optimizer.add_param_group({"params": params[1:], **keywords})
    assert len(optimizer.param_groups) == 1
    before = copy.deepcopy((params, optimizer.state_dict()["param_groups"]))
    optimizer.param_groups[0].update(keywords)
    with pytest.raises(ValueError, match=words):
        optimizer.step()
    assert_equal(params, before[0])
    assert carried(optimizer) == [[before[1][0][name] for name in CARRIED]]


@pytest.mark.parametrize("name", ["eps", "d0", "growth_rate", "lr", "d_coef"])
def test_what_is_no_number_is_refused_by_name(name):
    for value in ("1", None, True):
        with pytest.raises(TypeError, match=f"{name} must"):
            ours(make_params(), **{name: value})


@pytest.mark.parametrize(
    "own", [{"betas": (0.5, 0.9)}, {"beta3": 0.5}, {"d0": 1e-3}, {"decouple": False}], ids=str
)
def test_settings_of_the_estimate_are_those_of_all_groups(own):
    params = make_params()
    (name,) = own
    with pytest.raises(ValueError, match=f"{name} must be the same in all groups"):
        ours([{"params": params[:1]}, {"params": params[1:], **own}])
    # As a list it is the same.
    ours([{"params": params[:1]}, {"params": params[1:], "betas": [0.9, 0.999]}])


def test_numbers_that_no_step_has_left_are_refused():
    params = make_params()
    optimizer = ours(params)
    set_grads(params, 0)
    for name, value, words in (
        ("d", 1e-3, "give another d0"),
        ("k", -1, "k must be an integer >= 0"),
        ("k", 2**53, "the number of a step must be"),
    ):
        changed = copy.deepcopy((params, optimizer))
        changed[1].param_groups[0][name] = value
        with pytest.raises(ValueError, match=words):
            changed[1].step()
        assert_equal(changed[0], make_params())
        assert not changed[1].state
    del optimizer.param_groups[0]["d_max"]
    with pytest.raises(ValueError, match="a parameter group must have 'd_max'"):
        optimizer.step()


def test_sparse_gradients_are_refused():
    table = torch.nn.Embedding(10, 2, sparse=True)
    optimizer = ours(table.parameters())
    table(torch.tensor([3])).sum().backward()
    with pytest.raises(RuntimeError, match="Prodigy does not support sparse gradients"):
        optimizer.step()


def test_sharded_parameters_are_refused(sharded):
    with pytest.raises(ValueError, match=r"params\[1\] must be a whole parameter"):
        ours([make_params(torch.float32)[0], sharded])
    flat = make_params()[0]
    flat._fsdp_flattened = True  # so FSDP marks its own
    with pytest.raises(ValueError, match=r"params\[0\] must be a whole parameter"):
        ours([flat])
    params = make_params(torch.float32)
    optimizer = ours(params)
    run(optimizer, params, 1)
    optimizer.param_groups[0]["params"][1] = sharded
    sharded.grad = torch.ones_like(sharded)
    with pytest.raises(ValueError, match=r"params\[1\] must be a whole parameter"):
        optimizer.step()


def test_an_error_in_any_group_leaves_what_is_carried():
    params = make_params()
    optimizer = ours([{"params": params[:2]}, {"params": params[2:]}], d0=1e-2)
    run(optimizer, params, 2)
    before = copy.deepcopy((params, carried(optimizer)))
    params[3].grad = params[3].grad.to_sparse()
    with pytest.raises(RuntimeError, match="sparse"):
        optimizer.step()
    assert_equal(params, before[0])
    assert carried(optimizer) == before[1]
    assert {float(entry["step"]) for entry in optimizer.state.values()} == {2.0}
