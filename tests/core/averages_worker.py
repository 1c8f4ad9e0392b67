"""Moving averages of parameters against their twin, under the ISA of this process.

    python averages_worker.py [narrow]

With ``narrow``, of parameters in bfloat16. Prints one JSON object: how many averages were compared,
and the first that differed.
"""

import json
import sys

import formats
import numpy as np
from cases import RULES, class_of, numbers
from reference import average

import fastopt

# Near the length of a vector, and near the chunk after which a step and its average take turns
SIZES = (0, 1, 67, 1023, 1024, 2085)
LARGE = 120_001  # shared by several threads
STEPS = 3
EMA = 0.7
STORED = [
    ("float64", {}),
    ("float32", {}),
    ("float16", {}),
    ("float32", {"state_format": "block8"}),
]
NARROW = [
    ("bfloat16", {}),
    ("bfloat16", {"master_weights": True}),
    ("bfloat16", {"state_format": "block8", "master_weights": True}),
]


def dtype_of(name):
    if name != "bfloat16":
        return np.dtype(name)
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)


def wide(param, state):
    """The parameter in the type that the step computes in."""
    if param.dtype == np.float64 or param.dtype == np.float32:
        return param
    if "remainder" in state:
        return formats.join(param.view(np.uint16), state["remainder"])
    return param.astype(np.float32)


def differ(rule, name, keywords, sizes):
    """The indices of the averages that are not the twin's, or whose step differs without `ema`."""
    dtype, lr = dtype_of(name), 0.013
    params = [numbers(k, n, np.float64).astype(dtype) for k, n in enumerate(sizes)]
    plain = [param.copy() for param in params]
    optimizer = class_of(rule)(params, lr=lr, ema=EMA, **keywords)
    without = class_of(rule)(plain, lr=lr, **keywords)
    expected = [wide(p, s).copy() for p, s in zip(params, optimizer.state, strict=True)]
    for step in range(1, STEPS + 1):
        grads = [numbers(9 + step + k, n, np.float64).astype(dtype) for k, n in enumerate(sizes)]
        optimizer.step(grads, max_norm=1e3)
        without.step(grads, max_norm=1e3)
        for array, param, state in zip(expected, params, optimizer.state, strict=True):
            average(array, wide(param, state), step=step, ema=EMA)
    return [
        k
        for k in range(len(sizes))
        if optimizer.ema[k].tobytes() != expected[k].tobytes()
        or params[k].tobytes() != plain[k].tobytes()
        or any(
            optimizer.state[k][key].tobytes() != value.tobytes()
            for key, value in without.state[k].items()
            if key != "step"
        )
    ]


def main():
    compared, failures = 0, []
    for threads in (1, 2, 7):
        fastopt.set_num_threads(threads)
        for rule in RULES if threads == 1 else [fastopt.RULES["adam"]]:
            for name, keywords in NARROW if sys.argv[1:] == ["narrow"] else STORED:
                if keywords.get("state_format") and not rule.states:
                    continue
                sizes = (*SIZES, LARGE) if rule.name == "adam" else SIZES
                found = differ(rule, name, keywords, sizes)
                compared += len(sizes)
                failures += [f"{rule.name} {name} {keywords} {sizes[k]}" for k in found]
    json.dump({"isa": fastopt.isa(), "compared": compared, "failures": failures[:5]}, sys.stdout)


if __name__ == "__main__":
    main()
