"""The count of steps is a tensor as in torch, and every change of it counts, as in torch."""

import copy
import io
import os
from multiprocessing.reduction import ForkingPickler

import pytest
import torch
from torch.overrides import TorchFunctionMode
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

COUNTED = [name for name in NAMES if name != "SGD"]


def counts(optimizer):
    return [entry["step"].item() for entry in optimizer.state.values()]


def compare(name, use, keywords=None):
    """Use both optimizers in the same way; parameters and counts are then the same."""
    results = []
    for make in (ours, theirs):
        params = make_params()
        optimizer = make(name, params, **(keywords or first_variant(name)))
        use(optimizer, params)
        results.append((params, counts(optimizer)))
    assert_close(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    return results[0][1]


def share(optimizer, param):
    optimizer.state[param]["step"].share_memory_()


def swap(optimizer, param):
    optimizer.state[param]["step"].data = torch.tensor(30.0)


def fill(optimizer, param):
    optimizer.state[param]["step"].fill_(30)


def add(optimizer, param):
    optimizer.state[param]["step"] += 5


def replace(optimizer, param):
    optimizer.state[param]["step"] = torch.tensor([7], dtype=torch.int64)


def widen(optimizer, param):
    optimizer.state[param]["step"].data = torch.tensor(12.0, dtype=torch.float64)


@pytest.mark.parametrize("change", [share, swap, fill, add, replace, widen])
@pytest.mark.parametrize("name", COUNTED)
def test_a_count_that_is_changed_is_stepped_with(name, change):
    def use(optimizer, params):
        run(optimizer, params, 3)
        change(optimizer, params[1])
        step = optimizer.state[params[1]]["step"]
        run(optimizer, params, 3, start=3)
        assert optimizer.state[params[1]]["step"] is step
        change(optimizer, params[0])
        run(optimizer, params, 3, start=6)

    compare(name, use)


@pytest.mark.parametrize("step", [torch.tensor(4.0), torch.tensor([4.0]), torch.tensor(4)])
def test_a_count_that_the_user_made_is_kept_and_counted(step):
    def use(optimizer, params):
        steps = [step.clone() for _ in params]
        for param, count in zip(params, steps, strict=True):
            state = {"step": count, "exp_avg": torch.zeros_like(param)}
            optimizer.state[param] = state | {"exp_avg_sq": torch.ones_like(param)}
        run(optimizer, params, 3)
        for param, count in zip(params, steps, strict=True):
            assert optimizer.state[param]["step"] is count
            assert count.dtype == step.dtype

    assert compare("Adam", use, {"lr": 0.01}) == [7.0] * 4


def test_one_tensor_may_count_for_all_parameters():
    def use(optimizer, params):
        run(optimizer, params, 1)
        step = torch.tensor(10.0)
        for param in params:
            optimizer.state[param]["step"] = step
        run(optimizer, params, 4, start=1)

    assert compare("Adam", use, {"lr": 0.01}) == [26.0] * 4


def test_a_count_of_float32_ends_where_that_of_torch_does():
    def use(optimizer, params):
        run(optimizer, params, 1)
        optimizer.state[params[0]]["step"].fill_(2**24 - 1)
        run(optimizer, params, 3, start=1)

    assert compare("Adagrad", use)[0] == 2**24


@pytest.mark.parametrize("name", COUNTED)
def test_a_state_dictionary_that_was_sent_twice_goes_on_counting(name):
    """What a queue of torch.multiprocessing does moves the tensors into shared memory."""

    def use(optimizer, params):
        seen = []
        for start in (0, 10, 20, 30):
            run(optimizer, params, 10, start=start)
            sent = ForkingPickler.dumps(optimizer.state_dict())
            received = ForkingPickler.loads(sent)["state"]
            seen.append({entry["step"].item() for entry in received.values()})
        assert seen == [{10.0}, {20.0}, {30.0}, {40.0}]
        other = type(optimizer)(params)
        other.load_state_dict(ForkingPickler.loads(ForkingPickler.dumps(optimizer.state_dict())))
        run(other, params, 5, start=40)
        assert counts(other) == [45.0] * 4

    compare(name, use)


def share_states(optimizer, params):
    """What the shared optimizers of asynchronous training do before they start the workers."""
    for param in params:
        param.share_memory_()
        for state in optimizer.state[param].values():
            state.share_memory_()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("name", COUNTED)
def test_processes_that_share_the_states_share_the_count(name):
    def use(optimizer, params):
        run(optimizer, params, 1)
        share_states(optimizer, params)
        for start in (1, 4, 7):
            worker = os.fork()
            if worker == 0:
                try:
                    run(optimizer, params, 3, start=start)
                    os._exit(0)
                finally:
                    os._exit(1)
            assert os.waitpid(worker, 0)[1] == 0
        run(optimizer, params, 2, start=10)

    assert compare(name, use) == [12.0] * 4


def test_optimizers_that_were_loaded_from_one_dictionary_share_what_they_share_in_torch():
    def use(optimizer, params):
        run(optimizer, params, 3)
        other = type(optimizer)(params, lr=0.1)
        other.load_state_dict(optimizer.state_dict())
        for start in (3, 5):
            run(other, params, 1, start=start)
            run(optimizer, params, 1, start=start + 1)

    assert compare("Adam", use, {"lr": 0.01}) == [7.0] * 4


def test_counts_that_are_numbers_are_those_of_old_checkpoints():
    params = make_params()
    optimizer = ours("Adam", params)
    run(optimizer, params, 3)
    twin_params, twin = copy.deepcopy((params, optimizer))
    state = copy.deepcopy(optimizer.state_dict())
    for entry in state["state"].values():
        entry["step"] = 3
    twin.load_state_dict(state)
    twin.state[twin_params[0]]["step"] = 3
    run(optimizer, params, 2, start=3)
    run(twin, twin_params, 2, start=3)
    assert_equal(params, twin_params)
    assert counts(twin) == [5.0] * 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_count_has_the_dtype_that_torch_gives_it(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        dtypes = []
        for make in (ours, theirs):
            params = make_params()
            optimizer = make("Adam", params)
            run(optimizer, params, 1)
            dtypes.append(optimizer.state[params[0]]["step"].dtype)
    finally:
        torch.set_default_dtype(before)
    assert dtypes[0] == dtypes[1]


def test_the_count_is_on_the_cpu_whatever_the_default_device():
    params = make_params()
    optimizer = ours("Adam", params)
    set_grads(params, 0)
    with torch.device("meta"):
        optimizer.step()
        optimizer.step()
    assert counts(optimizer) == [2.0] * 4


@pytest.mark.parametrize("name", COUNTED)
def test_steps_of_a_parameter_without_elements_are_counted(name):
    results = []
    for make in (ours, theirs):
        params = make_params(shapes=[(0,), (2, 0, 3), (5,)])
        optimizer = make(name, params, **first_variant(name))
        run(optimizer, params, 3)
        results.append(optimizer.state_dict()["state"])
    for index, entry in results[1].items():
        assert results[0][index]["step"] == entry["step"] == 3
        assert {key: value.shape for key, value in results[0][index].items()} == {
            key: value.shape for key, value in entry.items()
        }


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (torch.tensor(2.5), ValueError),
        (torch.tensor(-1.0), ValueError),
        (torch.tensor(float("nan")), ValueError),
        (torch.tensor(float("inf")), ValueError),
        (torch.tensor(2**53), ValueError),
        (torch.tensor([1.0, 1.0]), TypeError),
        (torch.tensor(1.0, dtype=torch.bfloat16), TypeError),
        (torch.tensor(True), TypeError),
        (torch.tensor(1.0, device="meta"), TypeError),
        (torch._neg_view(torch.tensor(-1.0)), TypeError),
        (torch.tensor(1.0).to_sparse(), TypeError),
        ("many", TypeError),
    ],
    ids=str,
)
@pytest.mark.parametrize("new", [False, True])
def test_what_is_no_count_is_refused_and_nothing_is_written(step, error, new):
    params = make_params()
    optimizer = ours("Adam", params)
    if not new:
        run(optimizer, params, 3)
    optimizer.state[params[2]]["step"] = step
    set_grads(params, 3)
    before = copy.deepcopy(params)
    # If there are no averages yet, the error may be about these.
    errors = (error, ValueError) if new else error
    with pytest.raises(errors, match=r"(step|state) of params\[2\] must"):
        optimizer.step()
    assert_equal(params, before)
    assert optimizer.state[params[2]]["step"] is step
    if not new:
        assert [optimizer.state[params[i]]["step"].item() for i in (0, 1, 3)] == [3.0] * 3
    else:
        assert list(optimizer.state) == [params[2]]


def test_a_refused_step_counts_nothing():
    params = make_params()
    optimizer = ours("Adam", params)
    run(optimizer, params, 2)
    params[3].grad = params[3].grad.to_sparse()
    with pytest.raises(RuntimeError, match="sparse"):
        optimizer.step()
    assert counts(optimizer) == [2.0] * 4


def test_a_step_with_a_number_that_float32_cannot_hold_counts_nothing():
    params = make_params(torch.float32)
    optimizer = ours("Adam", params)
    run(optimizer, params, 2)
    optimizer.param_groups[0]["eps"] = 1e-50
    set_grads(params, 3)
    with pytest.raises(ValueError, match="eps must be a number that float32 can hold"):
        optimizer.step()
    assert counts(optimizer) == [2.0] * 4


def test_a_step_while_the_numbers_of_another_are_read_is_refused():
    params = make_params()
    optimizer = ours("Adam", params)
    run(optimizer, params, 1)

    class Number(float):
        def __float__(self):
            with pytest.raises(RuntimeError, match="another thread is in the middle of a step"):
                optimizer.step()
            return 0.1

    optimizer.param_groups[0]["lr"] = Number(0.1)
    optimizer.step()
    assert counts(optimizer) == [2.0] * 4


def test_a_count_that_moves_while_a_gradient_is_copied_is_counted_where_it_then_is():
    params = make_params(shapes=[(5,), (3, 4)])
    optimizer = ours("Adam", params)
    run(optimizer, params, 3)
    params[1].grad = torch.ones(4, 3, dtype=params[1].dtype).t()

    class Move(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func is torch.empty_like:
                optimizer.state[params[0]]["step"].data = torch.tensor(30.0)
            return func(*args, **(kwargs or {}))

    with Move():
        optimizer.step()
    assert counts(optimizer) == [31.0, 4.0]


def test_sgd_has_no_count_and_leaves_the_user_s_own_alone():
    results = []
    for make in (ours, theirs):
        params = make_params()
        optimizer = make("SGD", params, lr=0.01, momentum=0.9, dampening=0.5)
        optimizer.state[params[0]]["step"] = 40
        run(optimizer, params, 3)
        assert optimizer.state[params[0]]["step"] == 40
        results.append(params)
    assert_close(*results)


def test_a_saved_count_is_one_number_in_the_file():
    params = make_params()
    optimizer = ours("Adam", params)
    run(optimizer, params, 2)
    file = io.BytesIO()
    torch.save(optimizer.state[params[0]]["step"], file)
    file.seek(0)
    assert torch.load(file).untyped_storage().nbytes() == 4
