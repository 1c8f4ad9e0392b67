"""Optuna's own tests of samplers with FastoptSampler, for each of our strategies.

The cases of ``optuna.testing.pytest_samplers`` and, from the source distribution whose folder is
OPTUNA_SOURCE, those of ``tests/samplers_tests/test_samplers.py`` that are for any sampler with a
seed. (Of these the two of ``reseed_rng`` are left out: ours keeps its seed on purpose.)
"""

import importlib.util
import os
from functools import partial
from typing import get_args

import pytest
from optuna.testing import pytest_samplers as cases

from fastopt import tune
from fastopt.integrations.optuna import FastoptSampler
from fastopt.tune.strategies.protocol import Name

# A grid over floats says how many points it has; more than any of the tests asks for.
STRATEGIES = {name: tune.Grid(points=40) if name == "grid" else name for name in get_args(Name)}
SAMPLERS = {name: partial(FastoptSampler, each, seed=0) for name, each in STRATEGIES.items()}


class Ours:
    @pytest.fixture(params=SAMPLERS)
    def sampler(self, request):
        return SAMPLERS[request.param]


class TestBasicSampler(Ours, cases.BasicSamplerTestCase):
    pass


class TestRelativeSampler(Ours, cases.RelativeSamplerTestCase):
    pass


class TestSingleOnlySampler(Ours, cases.SingleOnlySamplerTestCase):
    pass


def _load():
    path = os.path.join(os.environ["OPTUNA_SOURCE"], "tests/samplers_tests/test_samplers.py")
    spec = importlib.util.spec_from_file_location("optuna_test_samplers", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


theirs = _load()
WITH_SEED = {
    name: lambda seed, strategy=strategy: FastoptSampler(strategy, seed=seed)
    for name, strategy in STRATEGIES.items()
}
theirs.sampler_class_with_seed.update(WITH_SEED)
in_their_process = theirs.run_optimize


def run_optimize(*arguments):
    """Theirs by a name that the other processes can import."""
    in_their_process(*arguments)


theirs.run_optimize = run_optimize


def with_ours(test, argument, values):
    """The test with our samplers in place of Optuna's."""
    ours = pytest.mark.parametrize(argument, values, ids=list(SAMPLERS))
    rest = [mark for mark in test.pytestmark if argument not in mark.args[:1]]
    test.pytestmark = [*rest, ours.mark]
    return test


test_reproducible = with_ours(
    theirs.test_reproducible, "sampler_class_with_seed", WITH_SEED.values()
)
test_reproducible_in_other_process = with_ours(
    theirs.test_reproducible_in_other_process, "sampler_name", SAMPLERS
)
unset_seed_in_test = theirs.unset_seed_in_test
