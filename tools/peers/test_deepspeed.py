"""Our optimizers in DeepSpeed's own engine, on its CPU accelerator, beside DeepSpeed's and torch's.

Run with DS_ACCELERATOR=cpu. One process; what needs an accelerator (copies between it and the CPU
that overlap with the backward pass) is not tested here.
"""

import copy
import os
import pickle
import sys

import deepspeed
import pytest
import torch
from deepspeed.ops.adagrad import DeepSpeedCPUAdagrad
from deepspeed.ops.adam import DeepSpeedCPUAdam
from deepspeed.ops.lion import DeepSpeedCPULion

from fastopt.integrations.deepspeed import CPUAdagrad, CPUAdam, CPULion

STEPS = 4
os.environ.update({"MASTER_ADDR": "127.0.0.1", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"})
os.environ.setdefault("MASTER_PORT", "29517")


def make_params(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = ((7,), (3, 5), (40,))
    return [
        torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes
    ]


def run(optimizer, params, steps, start=0):
    for step in range(start, start + steps):
        generator = torch.Generator().manual_seed(step)
        for param in params:
            param.grad = torch.randn(param.shape, generator=generator).to(param.dtype)
        optimizer.step()


class Interpreted:
    """The equation of DeepSpeed's compiled operator, in torch: what its classes call."""

    def create_adam(self, number, lr, beta1, beta2, eps, weight_decay, adamw_mode, log):
        self.is_decoupled = adamw_mode

    def create_adagrad(self, *settings):
        pass

    def destroy_adam(self, number):
        pass

    destroy_adagrad = destroy_lion = destroy_adam
    create_lion = create_adagrad

    def adam_update(
        self, number, step, lr, beta1, beta2, eps, decay, correct, param, grad, first, second
    ):
        value, slope = param.float(), grad.float()
        if not self.is_decoupled:
            slope = slope + decay * value
        first.copy_(beta1 * first.float() + (1 - beta1) * slope)
        second.copy_(beta2 * second.float() + (1 - beta2) * slope * slope)
        root = (second.float() / (1 - beta2**step)).sqrt() + eps
        if self.is_decoupled:
            value = value - lr * decay * value
        param.copy_(value - lr / (1 - beta1**step) * first.float() / root)

    def adagrad_update(self, number, step, lr, eps, decay, param, grad, total):
        value, slope = param.float(), grad.float()
        slope = slope + decay * value
        total.copy_(total.float() + slope * slope)
        param.copy_(value - lr * slope / (total.float().sqrt() + eps))

    def lion_update(self, number, step, lr, beta1, beta2, decay, param, grad, average):
        value, slope, before = param.float(), grad.float(), average.float()
        update = torch.sign(beta1 * before + (1 - beta1) * slope)
        param.copy_(value - lr * decay * value - lr * update)
        average.copy_(beta2 * before + (1 - beta2) * slope)


@pytest.fixture(autouse=True)
def without_a_compiler(monkeypatch):
    builders = (
        "adam.cpu_adam.CPUAdamBuilder",
        "adagrad.cpu_adagrad.CPUAdagradBuilder",
        "lion.cpu_lion.CPULionBuilder",
    )
    for builder in builders:
        monkeypatch.setattr(f"deepspeed.ops.{builder}.load", lambda self, **_: Interpreted())
    # Another way to communicate between the processes of a machine; there is one
    monkeypatch.setattr(sys.modules["deepspeed.comm.torch"], "build_shm_op", lambda: None)


PAIRS = [
    pytest.param(CPUAdam, DeepSpeedCPUAdam, {"lr": 0.01, "weight_decay": 0.1}, id="adamw"),
    pytest.param(
        CPUAdam,
        DeepSpeedCPUAdam,
        {"lr": 0.01, "weight_decay": 0.1, "adamw_mode": False},
        id="adam",
    ),
    pytest.param(CPUAdagrad, DeepSpeedCPUAdagrad, {"lr": 0.01, "weight_decay": 0.1}, id="adagrad"),
    pytest.param(CPULion, DeepSpeedCPULion, {"lr": 0.01, "weight_decay": 0.1}, id="lion"),
]


@pytest.mark.parametrize("wide_states", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("own", "other", "keywords"), PAIRS)
def test_states_and_steps_are_those_of_deepspeed(own, other, keywords, dtype, wide_states):
    left = []
    for make in (own, other):
        params = make_params(dtype)
        optimizer = make(params, fp32_optimizer_states=wide_states, **keywords)
        run(optimizer, params, STEPS)
        left.append((params, optimizer.state_dict()["state"]))
    tolerance = (
        {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 0.02, "atol": 0.02}
    )
    for index, entry in left[1][1].items():
        mine = left[0][1][index]
        if own is CPULion:
            assert not entry.pop("exp_avg_sq").any()  # DeepSpeed's step never uses it
        assert [*mine] == [*entry]
        assert mine["step"] == entry["step"] == STEPS
        assert type(mine["step"]) is type(entry["step"]) is int
        for name in mine.keys() - {"step"}:
            torch.testing.assert_close(mine[name], entry[name], **tolerance)
    for a, b in zip(left[0][0], left[1][0], strict=True):
        torch.testing.assert_close(a, b, **tolerance)


@pytest.mark.parametrize("from_ours", [True, False])
@pytest.mark.parametrize(("own", "other", "keywords"), PAIRS)
def test_training_goes_on_in_the_other_optimizer(own, other, keywords, from_ours):
    first, second = (own, other) if from_ours else (other, own)
    params, expected = make_params(), make_params()
    before, straight = first(params, **keywords), second(expected, **keywords)
    run(before, params, STEPS)
    after = second(params, **keywords)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    run(after, params, STEPS, start=STEPS)
    run(straight, expected, 2 * STEPS)
    for a, b in zip(params, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))],
    ids=["copy", "pickle"],
)
@pytest.mark.parametrize(("own", "other", "keywords"), PAIRS)
def test_a_copy_takes_the_steps_of_the_original(own, other, keywords, copied):
    params = make_params()
    optimizer = own(params, **keywords)
    run(optimizer, params, STEPS)
    twin, its_params = copied((optimizer, params))
    assert twin.fp32_optimizer_states
    run(optimizer, params, STEPS, start=STEPS)
    run(twin, its_params, STEPS, start=STEPS)
    for a, b in zip(params, its_params, strict=True):
        assert torch.equal(a, b)


def test_what_there_is_no_step_for_is_refused():
    with pytest.raises(ValueError, match="bias_correction"):
        CPUAdam(make_params(), bias_correction=False)
    with pytest.raises(RuntimeError, match="AMSGrad"):
        CPUAdam(make_params(), amsgrad=True)


# the engine


def engine_of(make, stage, dtype):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    config = {
        "train_micro_batch_size_per_gpu": 32,
        "gradient_clipping": 1.0,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": {"stage": stage, "offload_optimizer": {"device": "cpu"}},
    }
    if dtype == torch.bfloat16:
        config["bf16"] = {"enabled": True}
    engine, *_ = deepspeed.initialize(
        model=model, optimizer=make(model.parameters()), config=config, dist_init_required=True
    )
    return engine


def train(engine, dtype, steps, start=0):
    losses = []
    for step in range(start, start + steps):
        generator = torch.Generator().manual_seed(step)
        inputs = torch.randn(32, 8, generator=generator)
        target = inputs.sum(1, keepdim=True)
        loss = (engine(inputs.to(dtype)).float() - target).pow(2).mean()
        engine.backward(loss)
        engine.step()
        losses.append(loss.item())
    return losses


STAGES = [1, 2, 3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("stage", STAGES)
def test_a_real_engine_trains_with_it_as_with_torch_s(stage, dtype):
    own = train(engine_of(lambda params: CPUAdam(params, lr=0.01), stage, dtype), dtype, 20)
    other = train(
        engine_of(lambda params: torch.optim.AdamW(params, lr=0.01, weight_decay=0), stage, dtype),
        dtype,
        20,
    )
    assert own == pytest.approx(other, rel=1e-3 if dtype == torch.float32 else 0.05)
    assert own[-1] < 0.5 * own[0]


@pytest.mark.parametrize("make_optimizer", [CPUAdam, CPULion])
@pytest.mark.parametrize("stage", STAGES)
def test_an_engine_s_checkpoint_goes_on(stage, make_optimizer, tmp_path):
    def make(params):
        return make_optimizer(params, lr=0.01)

    engine = engine_of(make, stage, torch.bfloat16)
    train(engine, torch.bfloat16, STEPS)
    engine.save_checkpoint(str(tmp_path))
    expected = train(engine, torch.bfloat16, STEPS, start=STEPS)
    other = engine_of(make, stage, torch.bfloat16)
    other.load_checkpoint(str(tmp_path))
    assert train(other, torch.bfloat16, STEPS, start=STEPS) == expected
