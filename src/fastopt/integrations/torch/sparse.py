"""Sparse gradients, as `torch.nn.Embedding(sparse=True)` has them: some rows of a parameter."""

from typing import Any, TypeAlias

import torch

__all__ = ["Rows", "rows_of"]

# Indices, values, and how many rows the parameter has
Rows: TypeAlias = tuple[torch.Tensor, torch.Tensor, int]


def rows_of(grad: Any, param: torch.Tensor, name: str) -> Rows:
    """The rows of a sparse gradient; where more than one dimension is sparse, those of the matrix
    that has all these as its first."""
    if not param.is_contiguous():
        raise ValueError(f"{name} is sparse, so its parameter must be contiguous")
    indices, values = grad._indices(), grad._values().resolve_neg().contiguous()
    sizes = grad.shape[: grad.sparse_dim()]
    if not sizes:
        raise ValueError(f"{name} must be sparse in at least one dimension, got shape ()")
    row = indices[0]
    for index, size in zip(indices[1:], sizes[1:], strict=True):
        row = row * size + index
    return row.contiguous(), values, sizes.numel()
