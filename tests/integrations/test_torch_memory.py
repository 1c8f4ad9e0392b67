"""Where fastopt.integrations.torch reads and writes: layouts, aliases, and what it refuses."""

import copy
import io
import os
import weakref

import pytest
import torch
from processes import run_python
from torch.testing._internal.two_tensor import TwoTensor
from torch_cases import (
    NAMES,
    assert_close,
    assert_equal,
    first_variant,
    make_params,
    ours,
    run,
    set_grads,
    theirs,
)

from fastopt.integrations.torch.storage import NUMBERS


@pytest.mark.parametrize("name", NAMES)
def test_channels_last_parameters_are_stepped_as_torch_does(name):
    keywords = first_variant(name)
    a, b = make_params(shapes=[(4, 3, 2, 5)]), make_params(shapes=[(4, 3, 2, 5)])
    for make, params in ((ours, a), (theirs, b)):
        params[0].data = params[0].data.to(memory_format=torch.channels_last)
        optimizer = make(name, params, **keywords)
        for step in range(6):
            set_grads(params, step)
            form = torch.channels_last if step % 2 else torch.contiguous_format
            params[0].grad = params[0].grad.contiguous(memory_format=form)
            optimizer.step()
    assert a[0].stride() == b[0].stride()
    assert not a[0].is_contiguous()
    assert_close(a, b)


@pytest.mark.parametrize("grad", ["strided", "transposed", "expanded", "negated", "graph"])
def test_gradients_of_any_layout_are_read_rightly(grad):
    a, b = make_params(shapes=[(3, 4)]), make_params(shapes=[(3, 4)])
    for make, params in ((ours, a), (theirs, b)):
        optimizer = make("Adam", params, lr=0.01)
        base = torch.arange(48, dtype=torch.float64)
        params[0].grad = {
            "strided": base.reshape(6, 8)[::2, ::2],
            "transposed": base[:12].reshape(4, 3).T,
            "expanded": torch.tensor(2.0, dtype=torch.float64).expand(3, 4),
            "negated": torch.complex(base[:12], base[:12] + 1).conj().imag.reshape(3, 4),
            "graph": params[0] * 2,
        }[grad]
        kept = params[0].grad.detach().clone()
        optimizer.step()
        if grad != "graph":
            assert torch.equal(params[0].grad, kept)
    assert_close(a, b)


@pytest.mark.parametrize("view", ["strided", "expanded"])
def test_a_parameter_that_is_not_dense_is_refused_and_nothing_is_written(view):
    base = torch.arange(12.0)
    param = base[::2] if view == "strided" else base[:1].expand(6)
    param.requires_grad_()
    dense = torch.ones(3, requires_grad=True)
    optimizer = ours("Adam", [dense, param])
    dense.grad, param.grad = torch.ones(3), torch.ones(6)
    with pytest.raises(ValueError, match=r"params\[1\] must be dense .* strides"):
        optimizer.step()
    assert torch.equal(base, torch.arange(12.0))
    assert torch.equal(dense, torch.ones(3))


def test_overlapping_parameters_are_refused():
    base = torch.zeros(6)
    params = [base[:4].requires_grad_(), base[2:].requires_grad_()]
    for param in params:
        param.grad = torch.ones(4)
    with pytest.raises(ValueError, match=r"params\[1\] must not overlap params\[0\]"):
        ours("SGD", params, lr=0.1).step()
    assert torch.equal(base, torch.zeros(6))


def test_groups_of_different_rules_are_stepped_together_or_not_at_all():
    """The last group's parameter or gradient overlaps one of the first group, of another rule."""
    base = torch.zeros(6)
    params = [base[:4].requires_grad_(), torch.zeros(2, requires_grad=True)]
    last = base[2:].requires_grad_()
    groups = [
        {"params": params[:1]},
        {"params": params[1:], "momentum": 0.9},
        {"params": [last], "momentum": 0.9, "nesterov": True},
    ]
    optimizer = ours("SGD", groups, lr=0.1)
    for param in (*params, last):
        param.grad = torch.ones_like(param)
    with pytest.raises(ValueError, match=r"params\[2\] must not overlap params\[0\]"):
        optimizer.step()
    last.data = torch.zeros(4)
    optimizer.step()
    before = copy.deepcopy([*params, last, optimizer.state_dict()["state"]])
    last.grad = params[0].detach()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"grads\[2\] must not overlap params\[0\]"):
            optimizer.step()
    assert_equal([*params, last], before[:3])
    for index, entry in before[3].items():
        assert_equal(optimizer.state_dict()["state"][index].values(), entry.values())


# what is refused


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.complex64])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(TypeError, match=rf"params\[0\] must be float64, .*, got {dtype}"):
        ours("Adam", [torch.zeros(3, dtype=dtype, requires_grad=True)])


def test_other_devices_and_layouts_are_refused():
    for tensor in (torch.zeros(3, device="meta"), torch.zeros(3).to_sparse()):
        with pytest.raises(TypeError, match=r"params\[0\] must be a strided tensor on the CPU"):
            ours("Adam", [tensor.requires_grad_()])


@pytest.mark.parametrize("name", NAMES)
def test_a_wrapper_subclass_is_refused_at_its_first_step(name):
    param = TwoTensor(torch.ones(3), torch.ones(3)).requires_grad_()
    plain = torch.ones(3, requires_grad=True)
    optimizer = ours(name, [plain, param], lr=0.1)
    plain.grad, param.grad = torch.ones(3), TwoTensor(torch.ones(3), torch.ones(3))
    with pytest.raises(TypeError, match=r"params\[1\] must be a strided tensor"):
        optimizer.step()
    assert torch.equal(plain, torch.ones(3))
    assert torch.equal(param.a, torch.ones(3))


@pytest.mark.filterwarnings("ignore:optimizer contains a parameter group with duplicate")
def test_what_is_written_twice_is_refused():
    param = torch.ones(3, requires_grad=True)
    param.grad = torch.ones(3)
    with pytest.raises(ValueError, match=r"params\[1\] must not overlap params\[0\]"):
        ours("Adam", [param, param]).step()
    param.grad = param.detach()
    with pytest.raises(ValueError, match=r"grads\[0\] must not overlap params\[0\]"):
        ours("Adam", [param]).step()
    assert torch.equal(param, torch.ones(3))


@pytest.mark.parametrize(
    ("name", "keywords"),
    [
        ("Adam", {"capturable": True}),
        ("Adam", {"differentiable": True}),
        ("Adadelta", {"capturable": True}),
        ("SGD", {"differentiable": True}),
        ("RMSprop", {"momentum": 1.0}),
        ("RMSprop", {"alpha": 1.5}),
        ("Adadelta", {"rho": 1.0}),
        ("SGD", {"momentum": 1.5}),
        ("SGD", {"lr": float("inf")}),
    ],
)
def test_what_there_is_no_step_for_is_refused_by_name(name, keywords):
    with pytest.raises(ValueError, match=next(iter(keywords))):
        ours(name, make_params(), **keywords)


def test_a_refused_group_is_not_added():
    params = make_params()
    optimizer = ours("RMSprop", params[:1])
    with pytest.raises(ValueError, match="momentum"):
        optimizer.add_param_group({"params": params[1:], "momentum": 1.5})
    assert len(optimizer.param_groups) == 1


class Marked(torch.Tensor):
    """A tensor of another class."""


@pytest.mark.parametrize("kind", ["subclass", "zero", "negated", "misaligned"])
def test_gradients_whose_memory_is_not_their_value_are_read_rightly(kind):
    a, b = make_params(shapes=[(5,)]), make_params(shapes=[(5,)])
    for make, params in ((ours, a), (theirs, b)):
        optimizer = make("Adam", params, lr=0.01)
        for step in range(3):
            values = torch.arange(5, dtype=torch.float64) - step
            memory = bytearray(b"-" + values.numpy().tobytes())
            shifted = torch.frombuffer(memory, dtype=torch.float64, offset=1)
            params[0].grad = {
                "subclass": values.as_subclass(Marked),
                "zero": torch._efficientzerotensor((5,), dtype=torch.float64),
                "negated": torch._neg_view(values),
                "misaligned": shifted if make is ours else values,
            }[kind]
            optimizer.step()
    assert_close(a, b)


def test_gradients_are_not_kept_alive_by_the_optimizer():
    params = make_params()
    optimizer = ours("Adam", params)
    run(optimizer, params, 2)
    grads = [weakref.ref(param.grad) for param in params]
    optimizer.zero_grad()
    assert [grad() for grad in grads] == [None] * len(params)


def test_a_parameter_whose_layout_changes_in_place_is_looked_at_again():
    """The same memory, size and dtype, in another order; then not dense."""
    a, b = make_params(shapes=[(4, 4)]), make_params(shapes=[(4, 4)])
    for make, params in ((ours, a), (theirs, b)):
        optimizer = make("Adam", params, lr=0.01)
        run(optimizer, params, 2)
        params[0].data = params[0].data.T
        run(optimizer, params, 2, start=2)
    assert_close(a, b)
    param = torch.nn.Parameter(torch.zeros(3))
    optimizer = ours("SGD", [param], lr=1.0)
    param.grad = torch.ones(3)
    optimizer.step()
    memory = torch.zeros(6)
    for view, message in ((memory[:3], None), (memory[::2], "must be dense")):
        param.data = view
        if message is None:
            optimizer.step()
            assert memory.tolist() == [-1.0] * 3 + [0.0] * 3
            continue
        with pytest.raises(ValueError, match=message):
            optimizer.step()
    assert memory.tolist() == [-1.0] * 3 + [0.0] * 3


@pytest.mark.parametrize("keywords", [{"fused": True}, {"foreach": True}])
def test_foreach_and_fused_make_no_difference(keywords):
    a, b = make_params(), make_params()
    run(ours("AdamW", a, **keywords), a, 3)
    run(ours("AdamW", b), b, 3)
    assert_equal(a, b)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_on_the_cpu_are_stepped_whatever_torch_s_default_device_is(name):
    a, b = make_params(), make_params()
    run(ours(name, a, **first_variant(name)), a, 2)
    with torch.device("meta"):
        optimizer = ours(name, b, **first_variant(name))
    for number in range(2):
        set_grads(b, number)
        with torch.device("meta"):
            optimizer.step()
    assert_equal(a, b)


@pytest.mark.parametrize("name", NAMES)
def test_states_lie_as_their_parameters_do_in_storages_of_their_own(name):
    params = make_params(shapes=[(3,), (0,), (100, 100), (4, 3, 20, 50)])
    params[3].data = params[3].data.to(memory_format=torch.channels_last)
    optimizer = ours(name, params, **first_variant(name))
    set_grads(params, 0)
    optimizer.step()
    for param in params:
        for key, state in optimizer.state[param].items():
            if key in NUMBERS:
                continue
            nbytes = param.numel() * param.element_size()
            assert state.stride() == param.stride()
            assert state.untyped_storage().nbytes() == nbytes
            if nbytes:
                modulus = 4096 if nbytes >= 32768 else 64
                assert (state.data_ptr() - param.data_ptr()) % modulus == 0


@pytest.mark.parametrize("keywords", [{}, {"state_format": {"exp_avg": "bfloat16"}}])
def test_states_of_empty_parameters_can_be_saved_with_those_of_others(keywords):
    others = torch.float32 if keywords else torch.float64
    params = [
        torch.nn.Parameter(torch.ones(shape, dtype=dtype))
        for shape, dtype in (((0,), others), ((5,), torch.float32), ((2, 0), others))
    ]
    optimizer = ours("Adam", params, **keywords)
    run(optimizer, params, 2)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    loaded = torch.load(file)["state"]
    assert [loaded[i]["exp_avg"].shape for i in range(3)] == [(0,), (5,), (2, 0)]
    assert torch.equal(loaded[1]["exp_avg"], optimizer.state[params[1]]["exp_avg"])


def test_states_of_adagrad_can_be_shared_before_the_first_step():
    a, b = make_params(), make_params()
    for make, params in ((ours, a), (theirs, b)):
        optimizer = make("Adagrad", params, lr=0.1, initial_accumulator_value=0.5)
        optimizer.share_memory()
        for param in params:
            assert optimizer.state[param]["sum"].is_shared()
        run(optimizer, params, 3)
    assert_close(a, b)


THREADS = """
import os, sys
import torch, fastopt
from fastopt.integrations.torch import SGD

torch.set_num_threads(int(sys.argv[1]))
fastopt.set_num_threads(int(sys.argv[2]))
weight = torch.ones(4_000_000, requires_grad=True)
weight.grad = torch.ones(4_000_000)
optimizer = SGD([weight], lr=0.1, foreach=False)
before = len(os.listdir("/proc/self/task"))
for _ in range(20):
    optimizer.step()
print(len(os.listdir("/proc/self/task")) - before, fastopt.get_num_threads())
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="no list of threads")
@pytest.mark.parametrize(("of_torch", "ours"), [(1, 2), (2, 1), (2, 2)])
def test_a_step_uses_no_more_threads_than_torch_nor_than_fastopt(of_torch, ours):
    done = run_python("-c", THREADS, str(of_torch), str(ours), FASTOPT_NUM_THREADS="2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(min(of_torch, ours) - 1), str(ours)]
