"""Fixtures of the tests of the drop-in for torch's optimizers."""

import pytest


@pytest.fixture(autouse=True)
def numbers_in_double(request):
    """The numbers that torch keeps beside the states, such as NAdam's product, have its default
    dtype. In float32 their rounding would hide all other differences."""
    parameters = getattr(getattr(request.node, "callspec", None), "params", {})
    if parameters.get("name") not in ("ASGD", "NAdam"):
        yield
        return
    import torch

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def sharded(tmp_path):
    """A parameter that is a DTensor, on a mesh of one process."""
    import torch
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import distribute_tensor

    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    yield torch.nn.Parameter(distribute_tensor(torch.ones(70, 2), init_device_mesh("cpu", (1,))))
    dist.destroy_process_group()
