"""fastopt.integrations.torch against torch's own optimizers, of which it is a drop-in."""

import copy
import inspect

import pytest
import torch
from torch_cases import (
    CASES,
    NAMES,
    assert_a_copy_goes_on_identically,
    assert_close,
    assert_equal,
    assert_hooks_run_around_a_closure,
    common,
    copied,
    first_variant,
    handed_over,
    make_params,
    ours,
    run,
    set_grads,
    theirs,
    variants,
)

from fastopt.integrations import torch as fast


def test_every_class_is_compared():
    assert set(CASES) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_class_is_a_drop_in(name):
    own, other = getattr(fast, name), getattr(torch.optim, name)
    assert issubclass(own, other)
    param = torch.zeros(1, requires_grad=True)
    assert own([param]).defaults == other([param]).defaults


@pytest.mark.parametrize(("name", "keywords"), list(variants()))
def test_fifty_steps_agree_with_torch(name, keywords):
    a, b = make_params(), make_params()
    own, other = ours(name, a, **keywords), theirs(name, b, **keywords)
    run(own, a, 50)
    run(other, b, 50)
    assert_close(a, b)
    for index, entry in other.state_dict()["state"].items():
        for key, value in entry.items():
            if value is not None:  # SGD's buffer, without momentum
                assert_close([own.state_dict()["state"][index][key]], [value])
    assert not torch.equal(a[0], make_params()[0])


def test_shared_flags_are_all_compared():
    """A keyword that torch adds to a class must be compared, or be known to be refused or void."""
    known = {"params", "foreach", "fused", "capturable", "differentiable"}
    for name, extras in CASES.items():
        varied = set(common(name)).union(*extras)
        keywords = set(inspect.signature(getattr(torch.optim, name)).parameters)
        assert keywords - varied <= known


# state dictionaries


@pytest.mark.parametrize("from_ours", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_training_goes_on_identically_in_the_other_library(name, from_ours):
    keywords = first_variant(name)
    first, second = (ours, theirs) if from_ours else (theirs, ours)
    (_, a), (_, b) = handed_over(name, keywords, first, second)
    assert_close(a, b)


@pytest.mark.parametrize("name", NAMES)
def test_the_state_dictionary_has_the_names_and_dtypes_of_torch(name):
    for keywords in CASES[name]:
        a, b = make_params(torch.float32), make_params(torch.float32)
        own, other = ours(name, a, **keywords), theirs(name, b, **keywords)
        run(own, a, 3)
        run(other, b, 3)
        own, other = own.state_dict(), other.state_dict()
        assert own["state"].keys() == other["state"].keys()
        for index, entry in other["state"].items():
            assert {
                key: (value.dtype, value.shape) for key, value in own["state"][index].items()
            } == {key: (value.dtype, value.shape) for key, value in entry.items()}
            if "step" in entry:
                assert own["state"][index]["step"].item() == 3.0
        other["param_groups"][0]["foreach"] = None
        assert own["param_groups"] == other["param_groups"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
def test_a_copy_goes_on_identically(name, how):
    params = make_params()
    optimizer = ours(name, params, **first_variant(name))
    assert_a_copy_goes_on_identically(how, params, optimizer)


@pytest.mark.parametrize("name", NAMES)
def test_asking_for_a_state_that_is_not_there_changes_nothing(name):
    """It makes an empty one, as in any defaultdict."""
    params = make_params()
    idle = torch.nn.Parameter(torch.ones(3, dtype=torch.float64), requires_grad=False)
    optimizer = ours(name, [*params, idle], **first_variant(name))
    run(optimizer, params, 3)
    assert bool(optimizer.state[idle]) == (name == "Adagrad")
    for how in ("deepcopy", "pickle"):
        twin_params, twin = copied(how, params, optimizer)
        for make in (ours, theirs):
            other_params = [param.detach().clone().requires_grad_() for param in twin_params]
            other = make(name, [*other_params, idle.detach()], lr=0.5)
            other.load_state_dict(copy.deepcopy(twin.state_dict()))
            run(other, other_params, 2, start=3)
            assert torch.equal(idle, torch.ones(3, dtype=torch.float64))
        run(twin, twin_params, 2, start=3)
        assert_close(twin_params, other_params)


def test_state_that_is_changed_between_steps_is_what_is_stepped():
    """Replaced states, counts and parameters: what the pointers that are kept could miss."""
    a, b = make_params(), make_params()
    own, other = ours("Adam", a, lr=0.01), theirs("Adam", b, lr=0.01)
    for params, optimizer in ((a, own), (b, other)):
        run(optimizer, params, 3)
        optimizer.state[params[0]]["exp_avg"] = torch.full_like(params[0], 0.3)
        run(optimizer, params, 3, start=3)
        optimizer.state[params[1]]["step"].fill_(40)
        run(optimizer, params, 3, start=6)
        optimizer.state[params[1]]["exp_avg_sq"].share_memory_()
        params[3].data = params[3].data + 1
        run(optimizer, params, 3, start=9)
        optimizer.state.clear()
        run(optimizer, params, 3, start=12)
        optimizer.param_groups[0]["params"] = params[::-1]
        run(optimizer, params, 3, start=15)
    assert_close(a, b)


def test_unusable_state_is_refused():
    params = make_params()
    optimizer = ours("Adam", params)
    run(optimizer, params, 2)
    del optimizer.state[params[2]]["exp_avg_sq"]
    before = copy.deepcopy(params)
    with pytest.raises(ValueError, match=r"the state of params\[2\] must have"):
        optimizer.step()
    assert_equal(params, before)


# the number that NAdam carries from step to step


def products(optimizer):
    return [entry["mu_product"] for entry in optimizer.state.values()]


def test_a_product_is_in_the_dtype_of_torch():
    for default, rtol in ((torch.float32, 5e-7), (torch.float64, 1e-13)):
        torch.set_default_dtype(default)
        try:
            a, b = make_params(torch.float32), make_params(torch.float32)
            own, other = ours("NAdam", a), theirs("NAdam", b)
            run(own, a, 3)
            run(other, b, 3)
        finally:
            torch.set_default_dtype(torch.float32)
        assert_close(products(own), products(other), rtol=rtol)
        assert {product.dtype for product in products(own)} == {default}
        assert_close(a, b, rtol=1e-5)


@pytest.mark.parametrize("name", ["NAdam"])
def test_a_product_that_is_changed_is_stepped_with(name):
    a, b = make_params(), make_params()
    own, other = ours(name, a), theirs(name, b)
    for params, optimizer in ((a, own), (b, other)):
        run(optimizer, params, 1)
        optimizer.state[params[0]]["mu_product"].fill_(0.2)
        optimizer.state[params[1]]["mu_product"] = torch.tensor(0.25)
        optimizer.state[params[2]]["mu_product"].share_memory_()
        run(optimizer, params, 2, start=1)
    assert_close(a, b)
    assert_close(products(own), products(other))


@pytest.mark.parametrize(
    ("product", "error"),
    [
        (torch.tensor([0.5, 0.5]), TypeError),
        (torch.tensor(1), TypeError),
        (torch.tensor(0.5, device="meta"), TypeError),
        ("half", TypeError),
        (None, ValueError),
    ],
)
def test_an_unusable_product_is_refused_before_anything_is_written(product, error):
    params = make_params()
    optimizer = ours("NAdam", params)
    run(optimizer, params, 2)
    optimizer.state[params[2]]["mu_product"] = product
    before = copy.deepcopy(params)
    with pytest.raises(error, match="mu_product"):
        optimizer.step()
    assert_equal(params, before)
    assert [entry["step"].item() for entry in optimizer.state.values()] == [2.0] * 4


@pytest.mark.parametrize("name", ["ASGD", "NAdam"])
def test_the_carried_numbers_start_again_where_the_count_is_set_back(name):
    params = make_params()
    optimizer = ours(name, params, **first_variant(name))
    run(optimizer, params, 5)
    for entry in optimizer.state.values():
        for key, value in entry.items():
            if key not in ("mu_product", "eta"):
                value.zero_()
    fresh_params = copy.deepcopy(params)
    fresh = ours(name, fresh_params, **first_variant(name))
    run(optimizer, params, 3)
    run(fresh, fresh_params, 3)
    assert_equal(params, fresh_params)
    for param, other in zip(params, fresh_params, strict=True):
        entry, expected = optimizer.state[param], fresh.state[other]
        assert_equal([entry[key] for key in expected], [*expected.values()])


def test_a_product_keeps_its_dtype_when_it_is_loaded():
    """Torch casts it to that of the parameter."""
    params = make_params(torch.bfloat16)
    optimizer = ours("NAdam", params, rounding="nearest")
    run(optimizer, params, 2)
    before = copy.deepcopy(products(optimizer))
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert_equal(products(optimizer), before)
    other = theirs("NAdam", params)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert products(other)[0].dtype == torch.bfloat16
    optimizer.load_state_dict(copy.deepcopy(other.state_dict()))
    run(optimizer, params, 1)
    assert {product.dtype for product in products(optimizer)} == {torch.float32}


# groups, missing gradients, schedulers, hooks, closures


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_without_gradient_is_left_alone_and_not_counted(name):
    keywords = first_variant(name)
    a, b = make_params(), make_params()
    own, other = ours(name, a, **keywords), theirs(name, b, **keywords)
    for step in range(9):
        for params, optimizer in ((a, own), (b, other)):
            set_grads(params, step)
            params[step % 3].grad = None
            if step < 4:
                params[3].grad = None
            optimizer.step()
    assert_close(a, b)


@pytest.mark.parametrize("name", NAMES)
def test_groups_have_their_own_hyper_parameters(name):
    a, b = make_params(), make_params()
    pair = []
    for make, params in ((ours, a), (theirs, b)):
        groups = [{"params": params[:1], "lr": 0.03}, {"params": params[1:2]}]
        optimizer = make(name, groups, **first_variant(name))
        run(optimizer, params[:2], 4)
        if name != "Adagrad":  # torch's cannot step a group that was added
            optimizer.add_param_group({"params": params[2:], "weight_decay": 0.2})
            run(optimizer, params, 4, start=4)
        pair.append(optimizer)
    assert_close(a, b)


def test_adagrad_steps_a_group_that_was_added():
    params = make_params()
    optimizer = ours("Adagrad", params[:1], initial_accumulator_value=0.2)
    optimizer.add_param_group({"params": params[1:]})
    run(optimizer, params, 3)
    together = make_params()
    run(ours("Adagrad", together, initial_accumulator_value=0.2), together, 3)
    assert_equal(params, together)


def test_groups_of_sgd_may_be_of_three_rules():
    a, b = make_params(), make_params()
    for make, params in ((ours, a), (theirs, b)):
        groups = [
            {"params": params[:1]},
            {"params": params[1:2], "momentum": 0.9, "dampening": 0.2},
            {"params": params[2:], "momentum": 0.8, "nesterov": True},
        ]
        optimizer = make("SGD", groups, lr=0.01)
        run(optimizer, params, 5)
        optimizer.param_groups[0]["momentum"] = 0.5
        run(optimizer, params, 5, start=5)
    assert_close(a, b)


def test_parameters_of_both_dtypes_share_an_optimizer():
    mixed = [*make_params(torch.float32), *make_params(torch.float64)]
    alone = [make_params(torch.float32), make_params(torch.float64)]
    optimizer = ours("Adam", mixed)
    others = [ours("Adam", params) for params in alone]
    for step in range(3):
        set_grads(mixed[:4], step)
        set_grads(mixed[4:], step)
        optimizer.step()
        for other, params in zip(others, alone, strict=True):
            set_grads(params, step)
            other.step()
    assert_equal(mixed, [*alone[0], *alone[1]])


SCHEDULERS = {
    "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 8),
    "one cycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=21),
    "lambda": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 0.9**step),
}


@pytest.mark.parametrize("tensor_lr", [False, True])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_schedulers_drive_it(name, scheduler, tensor_lr):
    """OneCycleLR moves SGD's momentum and Adam's betas as well."""
    keywords = {"momentum": 0.9} if name == "SGD" else {}
    a, b = make_params(), make_params()
    rates = []
    for make, params in ((ours, a), (theirs, b)):
        lr = torch.tensor(0.05, dtype=torch.float64) if tensor_lr else 0.05
        optimizer = make(name, params, lr=lr, **keywords)
        schedule = SCHEDULERS[scheduler](optimizer)
        for step in range(20):
            set_grads(params, step)
            optimizer.step()
            schedule.step()
        rates.append(float(schedule.get_last_lr()[0]))
    assert_close(a, b)
    assert rates[0] == rates[1] != 0.05


def test_hooks_run_and_the_closure_is_evaluated_with_gradients():
    params = make_params()
    assert_hooks_run_around_a_closure(ours("Adam", params), params)
    assert not torch.equal(params[0], make_params()[0])


def test_autograd_sees_that_a_saved_parameter_was_changed():
    param = torch.nn.Parameter(torch.ones(4))
    other = torch.nn.Parameter(torch.ones(4))
    idle = torch.nn.Parameter(torch.ones(4))
    optimizer = ours("SGD", [param, idle], lr=0.1)
    product = (param * other).sum()
    param.grad = torch.ones(4)
    versions = param._version, idle._version
    optimizer.step()
    assert (param._version, idle._version) == (versions[0] + 1, versions[1])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()


@pytest.mark.parametrize("fused", [None, True])
def test_grad_scaler_unscales_and_skips(fused):
    a, b = make_params(torch.float32), make_params(torch.float32)
    results = []
    for make, params in ((ours, a), (theirs, b)):
        keywords = {"fused": fused} if make is ours else {}
        optimizer = make("Adam", params, lr=0.01, **keywords)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
        for step in range(8):
            optimizer.zero_grad()
            target = torch.randn(7, generator=torch.Generator().manual_seed(step))
            loss = ((params[0] - target) ** 2).sum() + sum((p**2).sum() for p in params[1:])
            scaler.scale(loss).backward()
            if step == 4:
                params[1].grad[0, 0] = float("inf")
            scaler.step(optimizer)
            scaler.update()
        results.append((scaler.get_scale(), float(optimizer.state[params[0]]["step"])))
    assert results[0] == results[1]
    assert results[0][1] == 7
    assert_close(a, b, rtol=1e-5)


def test_a_compiled_training_step_calls_it():
    a, b = make_params(), make_params()
    for params, compile_it in ((a, True), (b, False)):
        optimizer = ours("Adam", params)

        def train(params=params, optimizer=optimizer):
            optimizer.zero_grad()
            sum((param**2).sum() for param in params).backward()
            optimizer.step()

        train = torch.compile(train, backend="eager") if compile_it else train
        for _ in range(3):
            train()
    assert_close(a, b)
