"""A fixture of the tests that compare optimizers with torch's."""

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
