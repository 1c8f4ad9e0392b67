"""The structures in which parameters and gradients come: an array, a list or a dict of arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, ValuesView
from typing import Any

import numpy as np

__all__ = ["flatten", "is_groups", "map_arrays", "match", "settled", "without_memmaps"]


def settled(tree: Any) -> Any:
    """A tree that may be read more than once and that nobody else changes.

    Generators and the values of a dict become a list, other mappings a dict; a list, tuple or dict
    is copied, since the order of one that the caller goes on using may change.
    """
    if isinstance(tree, (Iterator, ValuesView)):
        return list(tree)
    if isinstance(tree, Mapping):
        return dict(tree)
    if isinstance(tree, (list, tuple)):
        return tree[:]
    return tree


def map_arrays(function: Callable[[Any], Any], tree: Any) -> Any:
    """A tree like this one, of what the function makes of each array."""
    if isinstance(tree, dict):
        return {key: map_arrays(function, value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(map_arrays(function, value) for value in tree)
    return function(tree)


def without_memmaps(tree: Any) -> Any:
    """The same memory in plain arrays, for what was loaded with ``mmap_mode``."""
    return map_arrays(
        lambda leaf: leaf.view(np.ndarray) if isinstance(leaf, np.memmap) else leaf, tree
    )


def is_groups(params: Any) -> bool:
    return (
        isinstance(params, (list, tuple))
        and len(params) > 0
        and all(isinstance(group, dict) and "params" in group for group in params)
    )


def flatten(tree: Any, root: str) -> tuple[list[Any], list[str]]:
    """The arrays of one array, a list or a dict, and what a message calls each."""
    if isinstance(tree, dict):
        return list(tree.values()), [f"{root}[{key!r}]" for key in tree]
    if isinstance(tree, (list, tuple)):
        return list(tree), [f"{root}[{index}]" for index in range(len(tree))]
    return [tree], [root]


def match(grads: Any, params: Any, name: str) -> list[Any]:
    """The gradients as a flat list in the order of the parameters."""
    if isinstance(params, dict):
        # To ask an abstract class takes longer than a short step.
        if type(grads) is not dict and not isinstance(grads, Mapping):
            raise TypeError(f"{name} must be a dict like params, got {type(grads).__name__}")
        if grads.keys() != params.keys():
            raise ValueError(f"{name} must have the keys {list(params)}, got {list(grads)}")
        return [grads[key] for key in params]
    if isinstance(params, (list, tuple)):
        if type(grads) not in (list, tuple) and isinstance(grads, (Iterator, ValuesView)):
            grads = list(grads)
        if not isinstance(grads, (list, tuple)):
            raise TypeError(f"{name} must be a list like params, got {type(grads).__name__}")
        if len(grads) != len(params):
            raise ValueError(f"{name} must have {len(params)} arrays like params, got {len(grads)}")
        return list(grads)
    return [grads]
