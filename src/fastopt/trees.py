"""The structures in which parameters and gradients come: an array, a list or a dict of arrays."""


def is_groups(params):
    return (
        isinstance(params, (list, tuple))
        and len(params) > 0
        and all(isinstance(group, dict) and "params" in group for group in params)
    )


def flatten(tree, root):
    """The arrays of one array, a list or a dict, and what a message calls each."""
    if isinstance(tree, dict):
        return list(tree.values()), [f"{root}[{key!r}]" for key in tree]
    if isinstance(tree, (list, tuple)):
        return list(tree), [f"{root}[{index}]" for index in range(len(tree))]
    return [tree], [root]


def match(grads, params, name):
    """The gradients as a flat list in the order of the parameters."""
    if isinstance(params, dict):
        if not isinstance(grads, dict):
            raise TypeError(f"{name} must be a dict like params, got {type(grads).__name__}")
        if grads.keys() != params.keys():
            raise ValueError(f"{name} must have the keys {list(params)}, got {list(grads)}")
        return [grads[key] for key in params]
    if isinstance(params, (list, tuple)):
        if not isinstance(grads, (list, tuple)):
            raise TypeError(f"{name} must be a list like params, got {type(grads).__name__}")
        if len(grads) != len(params):
            raise ValueError(f"{name} must have {len(params)} arrays like params, got {len(grads)}")
        return list(grads)
    return [grads]
