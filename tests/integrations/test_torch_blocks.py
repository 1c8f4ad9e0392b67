"""8-bit states in the optimizers for torch: layout, changes of format, and what is refused."""

import copy

import formats
import numpy as np
import pytest
import torch
from torch_cases import make_params, ours, run, set_grads, theirs

from fastopt.integrations.torch import storage

SHAPES = [(200,), (3, 5, 7), (), (2, 3, 4, 5)]


@pytest.fixture(autouse=True)
def not_warned_yet(monkeypatch):
    monkeypatch.setattr(storage, "_warned", {"loss"})


def blocks_of(state):
    return state.numpy().copy().ravel().view(formats.BLOCK8)


def test_states_are_bytes_in_a_row_for_each_block():
    params = make_params(torch.bfloat16, SHAPES)
    optimizer = ours("Adam", params, state_format="block8", master_weights=True)
    run(optimizer, params, 1)
    for param in params:
        entry = optimizer.state[param]
        shape = (-(-param.numel() // 64), 68)
        for name in ("exp_avg", "exp_avg_sq"):
            assert entry[name].dtype == torch.uint8
            assert entry[name].shape == shape
            assert entry[name].untyped_storage().nbytes() == 68 * shape[0]


def test_states_named_one_by_one_have_their_formats():
    params = make_params(torch.float32, SHAPES)
    optimizer = ours("Adam", params, state_format={"exp_avg_sq": "block8"})
    run(optimizer, params, 2)
    entry = optimizer.state[params[0]]
    assert (entry["exp_avg"].dtype, entry["exp_avg_sq"].dtype) == (torch.float32, torch.uint8)


def test_elements_are_taken_in_the_order_of_memory():
    plain, permuted = make_params(torch.float32, SHAPES[3:]), make_params(torch.float32, SHAPES[3:])
    flat = permuted[0].detach().permute(0, 2, 3, 1).contiguous()
    permuted[0].data = permuted[0].data.to(memory_format=torch.channels_last)
    plain[0].data = flat
    grad = torch.randn(SHAPES[3], generator=torch.Generator().manual_seed(1))
    permuted[0].grad = grad
    plain[0].grad = grad.permute(0, 2, 3, 1).contiguous()
    optimizers = [ours("Adam", params, state_format="block8") for params in (plain, permuted)]
    for optimizer in optimizers:
        optimizer.step()
    assert torch.equal(permuted[0].permute(0, 2, 3, 1), plain[0])
    first, second = (optimizer.state[params[0]] for optimizer, params in
                     zip(optimizers, (plain, permuted), strict=True))  # fmt: skip
    assert torch.equal(first["exp_avg"], second["exp_avg"])


@pytest.mark.parametrize("channels_last", [False, True])
def test_states_change_into_blocks_and_back_when_the_keyword_changes(channels_last):
    params = make_params(torch.float32, SHAPES)
    if channels_last:
        params[3].data = params[3].data.to(memory_format=torch.channels_last)
    optimizer = ours("Adam", params, amsgrad=True)
    run(optimizer, params, 2)
    expected = {}
    for param in params:
        for name in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"):
            flat = optimizer.state[param][name].clone().as_strided((param.numel(),), (1,)).numpy()
            expected[param, name] = formats.store_block8(flat, name != "exp_avg")
    group = optimizer.param_groups[0]
    group["state_format"] = "block8"
    for param in params:
        param.grad = torch.zeros_like(param)
    group["lr"], group["betas"] = 0.0, (1 - 2**-24, 1 - 2**-24)
    group["rounding"] = "stochastic"
    optimizer.step()
    for (param, name), twin in expected.items():
        stored = blocks_of(optimizer.state[param][name])
        np.testing.assert_allclose(stored["scale"], twin["scale"], rtol=1e-6)
        assert (stored["codes"] == twin["codes"]).mean() > 0.999
    before = {key: formats.load_block8(blocks_of(optimizer.state[key[0]][key[1]]),
                                       key[1] != "exp_avg", key[0].numel())
              for key in expected}  # fmt: skip
    group["state_format"] = "float32"
    optimizer.step()
    for (param, name), wide in before.items():
        state = optimizer.state[param][name]
        assert state.stride() == param.stride()
        np.testing.assert_allclose(
            state.as_strided((param.numel(),), (1,)).numpy(), wide, rtol=1e-6
        )


def test_a_dictionary_of_torch_gives_its_states_to_blocks():
    params = make_params(torch.float32, SHAPES)
    other = theirs("Adam", params)
    run(other, params, 3)
    twins = copy.deepcopy(params)
    wide, optimizer = ours("Adam", twins), ours("Adam", params, state_format="block8")
    for each, given in ((wide, twins), (optimizer, params)):
        each.load_state_dict(copy.deepcopy(other.state_dict()))
        run(each, given, 1, start=3)
    assert len(optimizer.state) == len(params)
    for param, twin in zip(params, twins, strict=True):
        entry, expected = optimizer.state[param], wide.state[twin]
        assert entry["step"] == expected["step"] == 4
        for name in ("exp_avg", "exp_avg_sq"):
            assert entry[name].dtype == torch.uint8
            squares = name == "exp_avg_sq"
            stored = formats.load_block8(blocks_of(entry[name]), squares, param.numel())
            expected_ = expected[name].numpy().ravel()
            # Neighbouring codes are up to an eighth of their value apart.
            atol = 0.02 * abs(expected_).max()
            np.testing.assert_allclose(stored, expected_, rtol=0.125, atol=atol)


@pytest.mark.parametrize("change", ["shape", "layout", "dtype"])
def test_a_state_that_is_not_of_the_parameter_s_blocks_is_refused(change):
    params = make_params(torch.float32, SHAPES[:1])
    optimizer = ours("SGD", params, momentum=0.9, state_format="block8")
    run(optimizer, params, 1)
    entry = optimizer.state[params[0]]
    blocks = entry["momentum_buffer"]
    entry["momentum_buffer"] = {
        "shape": blocks[:-1],
        "layout": blocks.t().contiguous().t(),
        "dtype": blocks.to(torch.int32),
    }[change]
    before = params[0].detach().clone()
    set_grads(params, 1)
    with pytest.raises((TypeError, ValueError), match=r"momentum_buffer of params\[0\] must be"):
        optimizer.step()
    assert torch.equal(params[0], before)


@pytest.mark.parametrize("rounding", ["nearest", None])
def test_what_blocks_cannot_hold_is_refused_when_it_is_given(rounding):
    if rounding == "nearest":
        with pytest.raises(ValueError, match="would never decay with beta2"):
            ours("Adam", make_params(torch.float32), state_format="block8", rounding=rounding)
    else:
        with pytest.raises(ValueError, match=r"params\[0\] is float64"):
            ours("Adam", make_params(torch.float64), state_format="block8")


def test_a_sharded_parameter_is_refused_and_the_remedy_named(sharded):
    with pytest.raises(ValueError, match=r"not for DTensors.*take 'bfloat16'"):
        ours("AdamW", [sharded], state_format="block8")
    optimizer = ours("AdamW", [sharded])
    optimizer.param_groups[0]["state_format"] = "block8"
    sharded.grad = torch.ones_like(sharded)
    with pytest.raises(ValueError, match="not for DTensors"):
        optimizer.step()
