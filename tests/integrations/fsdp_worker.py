"""A process of a training that `fully_shard` spreads over several; see test_torch_fsdp.py."""

import os
import sys

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import state_dict as of_distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from fastopt.integrations import torch as fast

NAME, DTYPE, STEPS = sys.argv[1], getattr(torch, sys.argv[2]), int(sys.argv[3])
KEYWORDS = {} if torch.float32 == DTYPE else {"state_format": "bfloat16", "seed": 3}
KEYWORDS |= {"master_weights": True} if torch.bfloat16 == DTYPE else {}
LOAD, SAVE, RESULT = sys.argv[4:7]


def set_grads(model, step):
    """The same for any number of processes: no sums over several."""
    for index, param in enumerate(model.parameters()):
        generator = torch.Generator().manual_seed(100 * step + index)
        whole = torch.randn(param.shape, generator=generator).to(DTYPE)
        if isinstance(param, DTensor):
            shards = [DTensor.from_local(whole, param.device_mesh, run_check=False)]
            param.grad = shards[0].redistribute(param.device_mesh, param.placements)
        else:
            param.grad = whole


def is_sharded_alike(state, param):
    return isinstance(state, DTensor) and (
        state.placements == param.placements
        and state.shape == param.shape
        and state.to_local().shape == param.to_local().shape
    )


def wide(tensor):
    """gloo gathers no int16."""
    return tensor.int() if tensor.dtype == torch.int16 else tensor


def main():
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    # Of seven and of one row, two processes do not get equally many.
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Linear(7, 1)).to(DTYPE)
    fully_shard(model, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
    optimizer = getattr(fast, NAME)(model.parameters(), lr=0.01, **KEYWORDS)
    first = 0
    if os.path.exists(LOAD):
        model_state, state = of_distributed.get_state_dict(model, optimizer)
        dcp.load({"model": model_state, "optimizer": state}, checkpoint_id=LOAD)
        of_distributed.set_state_dict(
            model, optimizer, model_state_dict=model_state, optim_state_dict=state
        )
        first = STEPS
    for step in range(first, first + STEPS):
        set_grads(model, step)
        optimizer.step()
    for param, entry in optimizer.state.items():
        assert all(is_sharded_alike(entry[name], param) for name in entry if name != "step")
        assert entry["step"] == first + STEPS
    model_state, state = of_distributed.get_state_dict(model, optimizer)
    if SAVE:
        dcp.save({"model": model_state, "optimizer": state}, checkpoint_id=SAVE)
    wholes = [
        wide(tensor.detach()).full_tensor() if isinstance(tensor, DTensor) else tensor
        for tensor in [
            *model.parameters(),
            *(value for entry in optimizer.state.values() for value in entry.values()),
        ]
    ]
    if dist.get_rank() == 0:
        torch.save(wholes, RESULT)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
