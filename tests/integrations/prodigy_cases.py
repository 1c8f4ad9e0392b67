"""Settings and checks for the tests of Prodigy for torch."""

import prodigy_twin
import torch
from torch_cases import assert_close

from fastopt.integrations import torch as fast

# Where d grows from a d0 this large, p0 - p is not lost among the digits of p.
VARIANTS = [
    {"d0": 1e-2},
    {"d0": 1e-2, "weight_decay": 0.1, "lr": 0.5},
    {"d0": 1e-2, "weight_decay": 0.1, "decouple": False},
    {"d0": 1e-3, "use_bias_correction": True, "growth_rate": 1.05},
    {"d0": 1e-2, "betas": (0.5, 0.9), "beta3": 0.8, "eps": 1e-3, "d_coef": 0.5},
    {"d0": 1e-2, "use_bias_correction": True, "safeguard_warmup": True},
]
# Between results that differ only by the order of roundings
RTOL = 1e-10
CARRIED = ("d", "d_max", "d_numerator", "k")


def ours(params, **keywords):
    return fast.Prodigy(params, **keywords)


def theirs(params, **keywords):
    return prodigy_twin.Prodigy(params, **keywords)


def carried(optimizer):
    return [[group[name] for name in CARRIED] for group in optimizer.param_groups]


def assert_agree(own, a, other, b):
    """Parameters, averages, and what the groups carry; not the sums that a step has only used."""
    assert_close(a, b, rtol=RTOL)
    torch.testing.assert_close(
        torch.tensor(carried(own), dtype=torch.float64),
        torch.tensor(carried(other), dtype=torch.float64),
        rtol=RTOL,
        atol=0,
    )
    mine, its = own.state_dict()["state"], other.state_dict()["state"]
    assert mine.keys() == its.keys()
    rates = [group["lr"] for group in own.param_groups for _ in group["params"]]
    for index, entry in its.items():
        # prodigyopt also counts the steps of a group that stays where it is.
        assert mine[index]["step"] == (entry["step"] if rates[index] else 0)
        for name in ("s", "exp_avg", "exp_avg_sq"):
            torch.testing.assert_close(mine[index][name], entry[name], rtol=1e-8, atol=1e-12)
