"""A process of trainings that `fully_shard` spreads over several; see test_torch_fsdp.py."""

import json
import sys

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import state_dict as of_distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from fastopt.integrations import torch as fast

KEYWORDS = {
    torch.float32: {},
    torch.bfloat16: {"state_format": "bfloat16", "seed": 3, "master_weights": True},
}


def set_grads(model, step):
    """The same gradients for any number of processes: none is a sum over processes."""
    for index, param in enumerate(model.parameters()):
        generator = torch.Generator().manual_seed(100 * step + index)
        whole = torch.randn(param.shape, generator=generator).to(param.dtype)
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
    """A type that gloo can gather, which int16 is not."""
    return tensor.int() if tensor.dtype == torch.int16 else tensor


def train(name, dtype, steps, result, load=None, save=None):
    """Train, from the checkpoint at `load` if there is one. The whole parameters and states are
    then written to the file `result`."""
    torch.manual_seed(0)
    dtype = getattr(torch, dtype)
    # Layers of seven rows and of one, so that two processes get different numbers of rows.
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Linear(7, 1)).to(dtype)
    fully_shard(model, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
    optimizer = getattr(fast, name)(model.parameters(), lr=0.01, **KEYWORDS[dtype])
    first = 0
    if load:
        model_state, state = of_distributed.get_state_dict(model, optimizer)
        dcp.load({"model": model_state, "optimizer": state}, checkpoint_id=load)
        of_distributed.set_state_dict(
            model, optimizer, model_state_dict=model_state, optim_state_dict=state
        )
        first = steps
    for step in range(first, first + steps):
        set_grads(model, step)
        optimizer.step()
    for param, entry in optimizer.state.items():
        assert all(is_sharded_alike(entry[name], param) for name in entry if name != "step")
        assert entry["step"] == first + steps
    model_state, state = of_distributed.get_state_dict(model, optimizer)
    if save:
        dcp.save({"model": model_state, "optimizer": state}, checkpoint_id=save)
    wholes = [
        wide(tensor.detach()).full_tensor() if isinstance(tensor, DTensor) else tensor
        for tensor in [
            *model.parameters(),
            *(value for entry in optimizer.state.values() for value in entry.values()),
        ]
    ]
    if dist.get_rank() == 0:
        torch.save(wholes, result)


def main():
    dist.init_process_group("gloo")
    for training in json.loads(sys.argv[1]):
        train(**training)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
