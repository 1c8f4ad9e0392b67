"""Any sequence of calls: each row of a population stays an optimizer of its own."""

import copy
import pickle
import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from cases import DTYPES, RULES, freeze, switches_of
from hypothesis import stateful
from hypothesis import strategies as st
from population_cases import Twins, gradients, settings

import fastopt

SHAPES = ((), (1,), (5,), (17, 2), (0,))


class PopulationMachine(stateful.RuleBasedStateMachine):
    """Population and optimizers are given the same calls; copies and files come in between."""

    @stateful.initialize(
        rule=st.sampled_from(RULES),
        dtypes=st.lists(st.sampled_from(DTYPES), min_size=1, max_size=3),
        rows=st.integers(1, 20),
        seed=st.integers(0, 2**32 - 1),
    )
    def create(self, rule, dtypes, rows, seed):
        self.random = np.random.default_rng(seed)
        shapes = self.random.choice(len(SHAPES), len(dtypes))
        arrays = [
            np.asarray(self.random.normal(size=(rows, *SHAPES[shape])), dtype)
            for shape, dtype in zip(shapes, dtypes, strict=True)
        ]
        self.twins = Twins(rule, arrays, settings(rule, rows, self.random))

    def some_rows(self, least, most=None):
        count = len(self.twins.population)
        size = self.random.integers(least, (most or count) + 1)
        return self.random.permutation(count)[:size].tolist()

    @stateful.rule(
        special=st.booleans(),
        skip=st.booleans(),
        missing=st.booleans(),
        clip=st.sampled_from(["not", "one", "each", "inf"]),
        scale=st.sampled_from(["not", "one", "each"]),
    )
    def step(self, special, skip, missing, clip, scale):
        count = len(self.twins.population)
        grads = gradients(self.twins.arrays, self.random, special)
        if missing:
            grads[self.random.integers(len(grads))] = None
        each = self.random.uniform(0, 2, count)
        max_norm = {"not": None, "one": 0.5, "each": each, "inf": np.inf}[clip]
        grad_scale = {"not": 1.0, "one": -0.5, "each": each - 1}[scale]
        self.twins.step(grads, max_norm, grad_scale, skip)

    @stateful.rule()
    def select(self):
        self.twins.select(self.some_rows(1))

    @stateful.rule()
    def copy_rows(self):
        target = self.some_rows(0)
        source = self.random.integers(0, len(self.twins.population), len(target)).tolist()
        self.twins.copy_rows(source, target)

    @stateful.rule(one=st.booleans())
    def change_rates(self, one):
        values = self.random.uniform(0, 1, len(self.twins.population))
        self.twins.population.lr = values[0] if one else values
        for row, optimizer in enumerate(self.twins.optimizers):
            optimizer.lr = values[0 if one else row].item()

    @stateful.rule(fault=st.sampled_from(["shape", "overlap", "lr", "max_norm", "rows", "source"]))
    def refuse(self, fault):
        population = self.twins.population
        before = freeze(population.state_dict())
        grads, keywords = gradients(self.twins.arrays, self.random), {}
        rates, action = population.hypers["lr"], population.step
        count = len(population)
        if fault == "shape":
            grads[-1] = np.zeros((count + 1, 2), grads[-1].dtype)
        elif fault == "overlap":
            if not grads[-1].size:
                return
            grads[-1] = self.twins.arrays[-1]
        elif fault == "lr":
            population.hypers["lr"] = np.full(count, -1.0)
        elif fault == "max_norm":
            keywords["max_norm"] = np.ones(count + 1)
        elif fault == "rows":
            action, grads = population.select, [0, count]
        else:
            action, grads = population.copy_rows, [count]
            keywords["target"] = [0]
        with pytest.raises((TypeError, ValueError)):
            action(grads, **keywords)
        population.hypers["lr"] = rates
        assert freeze(population.state_dict()) == before

    @stateful.rule(by=st.sampled_from(["pickle", "deepcopy", "state_dict", "file"]))
    def go_on_with_a_copy(self, by):
        twins = self.twins
        if by == "pickle":
            self.twins = pickle.loads(pickle.dumps(twins))
            return
        if by == "deepcopy":
            self.twins = copy.deepcopy(twins)
            return
        optional = switches_of(twins.rule, twins.population.hypers)
        arrays = [np.zeros_like(array) for array in twins.arrays]
        other = fastopt.Population(twins.rule.name, arrays, lr=1.0, **optional)
        if by == "state_dict":
            other.load_state_dict(twins.population.state_dict())
            for array, own in zip(arrays, twins.arrays, strict=True):
                array[...] = own
        else:
            with tempfile.TemporaryDirectory() as folder:
                twins.population.save(Path(folder) / "s", params=True)
                other.load(Path(folder) / "s")
        twins.population, twins.arrays = other, arrays

    @stateful.rule(threads=st.integers(1, 4))
    def change_threads(self, threads):
        fastopt.set_num_threads(threads)

    @stateful.invariant()
    def each_row_is_its_optimizer(self):
        if hasattr(self, "twins"):
            assert self.twins.differing() is None


def test_each_row_stays_its_optimizer_under_any_sequence_of_calls():
    hypothesis_settings = hypothesis.settings(
        max_examples=25, stateful_step_count=20, deadline=None
    )
    stateful.run_state_machine_as_test(PopulationMachine, settings=hypothesis_settings)
