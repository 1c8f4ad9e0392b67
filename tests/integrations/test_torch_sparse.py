"""Sparse gradients in the drop-in for torch's optimizers: torch's results, and torch's refusals."""

import copy
import sys

import numpy as np
import pytest
import torch
from processes import run_code
from torch_cases import NAMES, assert_close, assert_equal, ours, theirs

import fastopt
from fastopt.integrations import torch as fast

ROWS, ELEMENTS = 40, 7
CASES = {
    "SGD": [{}, {"maximize": True}],
    "Adagrad": [{"lr_decay": 0.07, "maximize": True}, {"initial_accumulator_value": 0.2}],
    "SparseAdam": [{}, {"betas": (0.5, 0.7), "eps": 1e-3, "maximize": True}],
}
every_case = pytest.mark.parametrize(
    ("name", "keywords"), [(name, case) for name, cases in CASES.items() for case in cases]
)

pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks")


def make(library, name, params, **keywords):
    # torch's SparseAdam has no foreach, which `theirs` switches off
    if library is theirs and name == "SparseAdam":
        return torch.optim.SparseAdam(params, **keywords)
    return library(name, params, **keywords)


def table(dtype=torch.float64, rows=ROWS):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn((rows, ELEMENTS), generator=generator, dtype=dtype)
    return torch.nn.Embedding(rows, ELEMENTS, sparse=True, _weight=weight)


def backward(embedding, step):
    """A gradient of 30 rows, some of them more than once, and not coalesced."""
    generator = torch.Generator().manual_seed(step)
    used = torch.randint(0, embedding.num_embeddings, (30,), generator=generator)
    embedding.zero_grad()
    (embedding(used) ** 2).sum().backward()
    assert embedding.weight.grad.is_sparse
    assert not embedding.weight.grad.is_coalesced()


def run(optimizer, embedding, steps, start=0):
    for step in range(start, start + steps):
        backward(embedding, step)
        optimizer.step()


def rows_of(indices, values, rows=ROWS):
    """A gradient of these rows, made without torch's checks."""
    return torch.sparse_coo_tensor(torch.tensor([indices]), values, (rows, *values.shape[1:]))


@every_case
def test_thirty_steps_agree_with_torch(name, keywords):
    a, b = table(), table()
    run(make(ours, name, a.parameters(), lr=0.1, **keywords), a, 30)
    run(make(theirs, name, b.parameters(), lr=0.1, **keywords), b, 30)
    assert_close([a.weight], [b.weight])
    assert not torch.equal(a.weight, table().weight)


@every_case
@pytest.mark.parametrize("from_ours", [True, False])
def test_training_goes_on_identically_in_the_other_library(name, keywords, from_ours):
    first, second = (ours, theirs) if from_ours else (theirs, ours)
    a, b = table(), table()
    before = make(first, name, a.parameters(), lr=0.1, **keywords)
    straight = make(second, name, b.parameters(), lr=0.1, **keywords)
    run(before, a, 7)
    after = make(second, name, a.parameters(), lr=0.5)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    run(after, a, 7, start=7)
    run(straight, b, 14)
    assert_close([a.weight], [b.weight])
    for own, other in zip(
        after.state_dict()["state"].values(), straight.state_dict()["state"].values(), strict=True
    ):
        assert {name: type(value) for name, value in own.items()} == {
            name: type(value) for name, value in other.items()
        }


def test_the_class_is_a_drop_in():
    assert issubclass(fast.SparseAdam, torch.optim.SparseAdam)
    param = torch.zeros(1, requires_grad=True)
    assert fast.SparseAdam([param]).defaults == torch.optim.SparseAdam([param]).defaults


def test_the_bits_are_those_of_fastopt():
    embedding = table(torch.float32)
    param = embedding.weight.detach().clone().numpy()
    exp_avg, exp_avg_sq = np.zeros_like(param), np.zeros_like(param)
    optimizer = fast.SparseAdam(embedding.parameters(), lr=0.1)
    for step in range(1, 4):
        backward(embedding, step)
        grad = embedding.weight.grad
        rows, values = grad._indices()[0].numpy(), grad._values().numpy()
        hypers = {"rows": rows, "step": step, "lr": 0.1, "eps_hat": True}
        fastopt.adam(param, values, exp_avg, exp_avg_sq, **hypers)
        optimizer.step()
    state = optimizer.state[embedding.weight]
    assert embedding.weight.detach().numpy().tobytes() == param.tobytes()
    assert state["exp_avg"].numpy().tobytes() == exp_avg.tobytes()
    assert state["exp_avg_sq"].numpy().tobytes() == exp_avg_sq.tobytes()


@pytest.mark.parametrize("name", CASES)
def test_only_the_rows_of_the_gradient_change(name):
    embedding = table()
    optimizer = make(ours, name, embedding.parameters(), lr=0.1)
    run(optimizer, embedding, 1)
    before = embedding.weight.detach().clone()
    version = embedding.weight._version
    embedding.weight.grad = rows_of([5, 2, 5], torch.ones(3, ELEMENTS, dtype=torch.float64))
    optimizer.step()
    changed = (embedding.weight != before).any(dim=1).nonzero().flatten()
    assert changed.tolist() == [2, 5]
    assert embedding.weight._version > version


@pytest.mark.parametrize("name", ["SGD", "Adagrad"])
def test_dense_and_sparse_gradients_stand_side_by_side_and_take_turns(name):
    results = []
    for library in (ours, theirs):
        embedding, linear = table(), torch.nn.Linear(ELEMENTS, 2, dtype=torch.float64)
        with torch.no_grad():
            for param in linear.parameters():
                param.fill_(0.25)
        params = [*embedding.parameters(), *linear.parameters()]
        optimizer = make(library, name, params, lr=0.1)
        for step in range(6):
            optimizer.zero_grad()
            linear(embedding(torch.tensor([step, 3, step + 1, 3]))).sum().backward()
            if step % 2:
                embedding.weight.grad = embedding.weight.grad.to_dense()
            optimizer.step()
        results.append(params)
    assert_close(*results)


@pytest.mark.parametrize("name", CASES)
def test_a_gradient_may_be_sparse_in_several_dimensions(name):
    results = []
    for library in (ours, theirs):
        param = torch.ones(3, 4, 5, dtype=torch.float64, requires_grad=True)
        optimizer = make(library, name, [param], lr=0.1)
        for dimensions in (2, 3, 1):
            grad = torch.zeros(3, 4, 5, dtype=torch.float64)
            grad[1, 2, :] = 1.0
            grad[2, 0, 3] = -2.0
            param.grad = grad.to_sparse(dimensions)
            optimizer.step()
        results.append([param])
    assert_close(*results)


@pytest.mark.parametrize("name", CASES)
def test_a_gradient_without_rows_is_a_step_that_is_counted(name):
    a, b = table(), table()
    for embedding, library in ((a, ours), (b, theirs)):
        # With the decay that makes a step of Adagrad depend on the count
        keywords = {"lr_decay": 0.07} if name == "Adagrad" else {}
        optimizer = make(library, name, embedding.parameters(), lr=0.1, **keywords)
        run(optimizer, embedding, 2)
        embedding.weight.grad = rows_of([], torch.ones(0, ELEMENTS, dtype=torch.float64))
        optimizer.step()
        run(optimizer, embedding, 2, start=2)
    assert_close([a.weight], [b.weight])


# what is refused


def refusal(library, name, param, **keywords):
    before = param.detach().clone()
    optimizer = make(library, name, [param], lr=0.1, **keywords)
    with pytest.raises(RuntimeError) as caught:
        optimizer.step()
    if library is ours:
        assert torch.equal(param, before)
        assert not optimizer.state[param] or name == "Adagrad"
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "keywords"),
    [
        *((name, {}) for name in NAMES if name not in CASES),
        ("Adagrad", {"weight_decay": 0.1}),
    ],
)
def test_a_sparse_gradient_is_refused_with_the_message_of_torch(name, keywords):
    messages = []
    for library in (ours, theirs):
        embedding = table()
        backward(embedding, 0)
        messages.append(refusal(library, name, embedding.weight, **keywords))
    assert messages[0] == messages[1]


def test_a_dense_gradient_is_refused_with_the_message_of_torch():
    messages = []
    for library in (ours, theirs):
        param = torch.ones(3, 2, requires_grad=True)
        param.grad = torch.ones(3, 2)
        messages.append(refusal(library, "SparseAdam", param))
    assert messages[0] == messages[1]


@pytest.mark.parametrize(
    ("keywords", "words"),
    [({"momentum": 0.9}, "momentum"), ({"weight_decay": 0.1}, "weight_decay")],
)
def test_sgd_takes_sparse_gradients_alone(keywords, words):
    embedding = table()
    backward(embedding, 0)
    assert words in refusal(ours, "SGD", embedding.weight, **keywords)


def test_a_weight_decay_that_is_edited_in_is_refused():
    embedding = table()
    optimizer = ours("Adagrad", embedding.parameters(), lr=0.1)
    run(optimizer, embedding, 2)
    before = embedding.weight.detach().clone()
    optimizer.param_groups[0]["weight_decay"] = 0.1
    with pytest.raises(RuntimeError, match="weight_decay"):
        run(optimizer, embedding, 1)
    assert torch.equal(embedding.weight, before)


@pytest.mark.parametrize("index", [-1, ROWS, 2**62])
@pytest.mark.parametrize("name", CASES)
def test_a_row_that_is_not_there_changes_nothing(name, index):
    embedding = table()
    optimizer = make(ours, name, embedding.parameters(), lr=0.1)
    run(optimizer, embedding, 2)
    before, saved = embedding.weight.detach().clone(), copy.deepcopy(optimizer.state_dict())
    values = torch.ones(2, ELEMENTS, dtype=torch.float64)
    grad = rows_of([3, 4], values)
    grad._indices()[0, 1] = index
    embedding.weight.grad = grad
    with pytest.raises(ValueError, match=f"from 0 to below {ROWS}, .* got {index} at 1"):
        optimizer.step()
    assert torch.equal(embedding.weight, before)
    assert str(optimizer.state_dict()) == str(saved)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc, on Linux")
def test_a_step_without_memory_counts_nothing():
    code = """
import mmap, resource, warnings
import torch
from fastopt.integrations.torch import SparseAdam

warnings.simplefilter("ignore")
param = torch.ones(4, 1, requires_grad=True)
optimizer = SparseAdam([param])
for count in (1, 2**21):
    indices = torch.zeros(1, count, dtype=torch.int64)
    param.grad = torch.sparse_coo_tensor(indices, torch.ones(count, 1), (4, 1))
    if count == 1:
        optimizer.step()
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * mmap.PAGESIZE + 2**20, resource.RLIM_INFINITY))
before = param.tolist()
try:
    optimizer.step()
except MemoryError:
    print(param.tolist() == before, optimizer.state[param]["step"].item())
"""
    assert run_code(code, FASTOPT_NUM_THREADS="1") == "True 1.0"


def test_a_parameter_whose_rows_are_not_in_one_piece_is_refused():
    param = torch.ones(4, 3).t().requires_grad_()
    optimizer = ours("SGD", [param], lr=0.1)
    param.grad = torch.ones(3, 4).to_sparse(1)
    with pytest.raises(ValueError, match=r"params\[0\] is sparse, so its parameter must be contig"):
        optimizer.step()
    assert_equal([param], [torch.ones(3, 4)])


def test_a_gradient_of_rows_in_the_parameter_s_memory_is_refused():
    embedding = table()
    optimizer = ours("SGD", embedding.parameters(), lr=0.1)
    for count in (1, 3):
        embedding.weight.grad = rows_of([0] * count, embedding.weight.detach()[:count])
        with pytest.raises(ValueError, match="must not overlap"):
            optimizer.step()
    assert torch.equal(embedding.weight, table().weight)


def test_narrow_tables_are_stepped_with_their_remainders():
    wide, narrow = table(torch.float32), table(torch.bfloat16)
    with torch.no_grad():
        wide.weight.copy_(narrow.weight)
    one = fast.SparseAdam(wide.parameters(), lr=0.1, state_format="float32")
    other = fast.SparseAdam(
        narrow.parameters(), lr=0.1, state_format="float32", master_weights=True
    )
    for step in range(3):
        backward(narrow, step)
        wide.weight.grad = narrow.weight.grad.to(torch.float32)
        one.step()
        other.step()
    assert torch.equal(wide.weight.to(torch.bfloat16), narrow.weight)
