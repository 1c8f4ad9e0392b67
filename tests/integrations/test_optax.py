"""The classes of the rules that torch lacks agree with optax, in float64, to 1e-12 relative.

In a process of their own: where JAX is imported, it warns of every fork.
"""

import json
from pathlib import Path

import pytest
from processes import run_python

SCRIPT = Path(__file__).parent / "optax_script.py"
# Hyper-parameters that are not the defaults.
OPTAX = {
    "lion": {"lr": 0.01, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.03},
    "adopt": {"lr": 0.01, "beta1": 0.8, "beta2": 0.99, "eps": 1e-3, "weight_decay": 0.03},
    "ademamix": {
        "lr": 0.01,
        "beta2": 0.99,
        "beta3": 0.99,
        "slow_weight": 2.0,
        "weight_decay": 0.03,
    },
    "stableadamw": {"lr": 0.01, "beta1": 0.8, "beta2": 0.9, "eps": 1e-3, "weight_decay": 0.03},
    "lamb": {"lr": 0.01, "beta1": 0.8, "beta2": 0.99, "eps": 1e-3, "weight_decay": 0.03},
    "lars": {"lr": 2.0, "momentum": 0.5, "trust_coefficient": 0.02, "eps": 1e-3},
    # Without warmup, which in optax begins with a rate of 0
    "schedule_free_sgd": {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.03},
    "schedule_free_adamw": {
        "lr": 0.01,
        "beta1": 0.8,
        "beta2": 0.99,
        "eps": 1e-3,
        "weight_decay": 0.03,
    },
    "prodigy": {
        "lr": 0.5,
        "beta1": 0.8,
        "beta2": 0.99,
        "beta3": 0.9,
        "eps": 1e-3,
        "d0": 1e-4,
        "d_coef": 2.0,
        "use_bias_correction": True,
        "safeguard_warmup": True,
        "weight_decay": 0.03,
    },
}
# Besides the defaults: LARS has none for lr, and optax always corrects the bias in Prodigy.
GIVEN = {"lars": {"lr": 1.0}, "prodigy": {"use_bias_correction": True}}


CASES = [(rule, {}) for rule in OPTAX if rule not in GIVEN]
CASES += [*GIVEN.items(), *OPTAX.items()]


@pytest.fixture(scope="module")
def differences():
    """The results of all cases, from one process: importing JAX takes longer than the steps."""
    done = run_python(SCRIPT, json.dumps(CASES), timeout=None)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.needs("optax")
@pytest.mark.parametrize("case", range(len(CASES)), ids=[f"{r}-{len(k)}" for r, k in CASES])
def test_fifty_steps_agree_with_optax(differences, case):
    assert len(differences) == len(CASES)
    assert differences[case] == ""
