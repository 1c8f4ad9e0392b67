"""Any sequence of calls: an optimizer stays its twin in NumPy, a study stays a list of trials."""

import contextlib
import copy
import pickle
import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from cases import (
    DTYPES,
    RULES,
    class_of,
    freeze,
    same_but_nan_payload,
    states_of,
    step_keyword,
    switches_of,
)
from hypothesis import stateful
from hypothesis import strategies as st
from reference import REFERENCE, TOGETHER

import fastopt
from fastopt import tune


def settings(max_examples):
    return hypothesis.settings(max_examples=max_examples, stateful_step_count=25, deadline=None)


SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -5e-324, 1e30)
NO_KEYWORDS = ("lr_decay", "initial_accumulator_value")


class OptimizerMachine(stateful.RuleBasedStateMachine):
    """The optimizer and the twin are given the same steps; copies and files come in between."""

    @stateful.initialize(
        rule=st.sampled_from(RULES),
        optional=st.sets(st.integers(0, 1)),
        dtypes=st.lists(st.sampled_from(DTYPES), min_size=1, max_size=4),
        seed=st.integers(0, 2**32 - 1),
        maximize=st.booleans(),
    )
    def create(self, rule, optional, dtypes, seed, maximize):
        self.rule, self.random = rule, np.random.default_rng(seed)
        self.optional = [name for k, name in enumerate(rule.optional) if k in optional]
        self.hypers = {
            name: default
            for name, default in rule.class_hypers.items()
            if name not in NO_KEYWORDS and (name in rule.hypers or name == "lr")
        }
        self.hypers.update(lr=0.05, maximize=maximize)
        switches = [rule.optional[name] for name in self.optional]
        self.hypers.update({name: 0.6 for name in switches if name in rule.hypers})
        self.flags = {name: True for name in switches if name not in rule.hypers}
        sizes = self.random.integers(0, 40, len(dtypes))
        self.params = [
            self.random.normal(size=n).astype(dtype) for n, dtype in zip(sizes, dtypes, strict=True)
        ]
        self.twins = [param.copy() for param in self.params]
        self.names = states_of(rule, self.optional)
        self.states = [{name: np.zeros_like(p) for name in self.names} for p in self.params]
        self.counts = [0] * len(dtypes)
        self.carried = [np.zeros(rule.carried_shape) for _ in dtypes]
        if rule.joins_arrays:
            self.carried = self.carried[:1] * len(dtypes)
        self.optimizer = class_of(rule)(self.params, **self.hypers, **self.flags)

    def gradients(self, special):
        grads = [self.random.normal(size=p.shape).astype(p.dtype) for p in self.params]
        for grad in grads if special else ():
            if grad.size:
                with np.errstate(over="ignore", under="ignore"):
                    grad[self.random.integers(grad.size)] = self.random.choice(SPECIAL)
        return grads

    @stateful.rule(
        missing=st.lists(st.booleans(), min_size=4, max_size=4),
        special=st.booleans(),
        grad_scale=st.sampled_from([1.0, 0.5, -2.0, 0.0]),
        skip=st.booleans(),
    )
    def step(self, missing, special, grad_scale, skip):
        grads = self.gradients(special)
        grads = [None if miss else grad for grad, miss in zip(grads, missing, strict=False)]
        before = self.optimizer.skipped_steps
        self.optimizer.step(grads, grad_scale=grad_scale, skip_nonfinite=skip)
        bad = skip and any(g is not None and not np.isfinite(g).all() for g in grads)
        assert self.optimizer.skipped is bad
        assert self.optimizer.skipped_steps == before + bad
        if bad:
            return
        stepped = [i for i, grad in enumerate(grads) if grad is not None]
        keywords = {i: self.keywords_of_twin(i, grad_scale) for i in stepped}
        if self.rule.joins_arrays and stepped:
            each = [
                ((self.twins[i], grads[i], *self.states[i].values()), keywords[i]) for i in stepped
            ]
            TOGETHER[self.rule.name](each, self.carried[0])
            return
        for i in stepped:
            REFERENCE[self.rule.name](self.twins[i], grads[i], **self.states[i], **keywords[i])

    def keywords_of_twin(self, i, grad_scale):
        self.counts[i] += 1
        keywords = {**self.hypers, "grad_scale": grad_scale}
        if self.counts[i] == 1 and "dampening" in keywords:
            keywords["dampening"] = 0.0
        return keywords | step_keyword(self.rule, self.counts[i], self.carried[i])

    @stateful.rule(lr=st.floats(0.0, 10.0, width=32), weight_decay=st.sampled_from([0.0, 0.1]))
    def change_hypers(self, lr, weight_decay):
        self.optimizer.lr = lr
        self.optimizer.param_groups[0]["weight_decay"] = weight_decay
        self.hypers.update(lr=lr, weight_decay=weight_decay)

    @stateful.rule(
        fault=st.sampled_from(["count", "type", "dtype", "shape", "overlap", "scale", "lr"])
    )
    def refuse(self, fault):
        before = freeze(self.optimizer.state_dict())
        grads, keywords = self.gradients(False), {}
        last = grads[-1]
        if fault == "count":
            grads.append(np.zeros(1))
        elif fault == "type":
            grads[-1] = last.tolist()
        elif fault == "dtype":
            grads[-1] = last.astype(np.int64)
        elif fault == "shape":
            grads[-1] = np.zeros(last.size + 1, last.dtype)
        elif fault == "overlap":
            if not last.size:
                return
            grads[-1] = self.params[-1]
        elif fault == "scale":
            keywords["grad_scale"] = np.inf
        else:
            self.optimizer.param_groups[0]["lr"] = -1.0
        with pytest.raises((TypeError, ValueError)):
            self.optimizer.step(grads, **keywords)
        self.optimizer.param_groups[0]["lr"] = self.hypers["lr"]
        assert freeze(self.optimizer.state_dict()) == before

    @stateful.rule(by=st.sampled_from(["pickle", "deepcopy", "state_dict", "file"]))
    def go_on_with_a_copy(self, by):
        if by == "pickle":
            self.optimizer = pickle.loads(pickle.dumps(self.optimizer))
        elif by == "deepcopy":
            self.optimizer = copy.deepcopy(self.optimizer)
        else:
            given = {**self.rule.class_hypers, **self.hypers, **self.flags}
            switches = switches_of(self.rule, given)
            other = class_of(self.rule)([p.copy() for p in self.params], lr=1.0, **switches)
            if by == "state_dict":
                other.load_state_dict(self.optimizer.state_dict())
            else:
                with tempfile.TemporaryDirectory() as folder:
                    self.optimizer.save(Path(folder) / "s")
                    other.load(Path(folder) / "s")
            other.skipped_steps = self.optimizer.skipped_steps
            self.optimizer = other
        self.params = self.optimizer.param_groups[0]["params"]

    @stateful.rule(threads=st.integers(1, 4))
    def change_threads(self, threads):
        fastopt.set_num_threads(threads)

    @stateful.invariant()
    def the_twin_has_the_same_bits(self):
        if not hasattr(self, "optimizer"):
            return
        for param, twin in zip(self.params, self.twins, strict=True):
            assert same_but_nan_payload(param, twin)
        for entry, states, count, carried in zip(
            self.optimizer.state, self.states, self.counts, self.carried, strict=True
        ):
            assert entry["step"] == count
            if self.rule.carried is not None:
                assert same_but_nan_payload(entry[self.rule.carried], carried)
            for name in self.names:
                assert same_but_nan_payload(entry[name], states[name])


def test_an_optimizer_stays_its_twin_under_any_sequence_of_calls():
    stateful.run_state_machine_as_test(OptimizerMachine, settings=settings(50))


SPACE = {
    "lr": tune.Float(1e-5, 1.0, log=True),
    "layers": tune.Int(1, 4),
    "rule": tune.Categorical(["adam", "nag"]),
}


class StudyMachine(stateful.RuleBasedStateMachine):
    """The study in a file, closed and opened between calls, is what was told; its suggestions are
    those of a study in memory that was never closed."""

    @stateful.initialize(
        strategy=st.sampled_from(["random", "sobol"]),
        direction=st.sampled_from(["minimize", "maximize"]),
        seed=st.integers(0, 2**31 - 1),
    )
    def create(self, strategy, direction, seed):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "study.db"
        self.options = {"strategy": strategy, "direction": direction, "seed": seed}
        self.study = tune.Study(SPACE, storage=self.path, **self.options)
        self.twin = tune.Study(SPACE, **self.options)
        self.running, self.expected = {}, {}

    @stateful.rule()
    def ask(self):
        trial, twin = self.study.ask(), self.twin.ask()
        assert (trial.number, trial.params) == (twin.number, twin.params)
        self.running[trial.number] = trial, twin
        self.expected[trial.number] = ("running", None)

    def pick(self, which):
        number = sorted(self.running)[which % len(self.running)]
        return number, *self.running.pop(number)

    @stateful.precondition(lambda self: self.running)
    @stateful.rule(which=st.integers(0, 99), value=st.floats(allow_nan=False, allow_infinity=False))
    def tell(self, which, value):
        number, trial, twin = self.pick(which)
        self.study.tell(trial, value)
        self.twin.tell(twin, value)
        self.expected[number] = ("done", value)

    @stateful.precondition(lambda self: self.running)
    @stateful.rule(which=st.integers(0, 99), how=st.sampled_from(["error", "nan", "str"]))
    def fail(self, which, how):
        number, trial, twin = self.pick(which)
        for study, its in ((self.study, trial), (self.twin, twin)):
            if how == "error":
                study.tell(its, error="out of memory")
            else:
                study.tell(its, float("nan") if how == "nan" else "much")
        self.expected[number] = ("failed", None)

    @stateful.precondition(lambda self: self.expected and not self.running)
    @stateful.rule()
    def open_again(self):
        self.study.close()
        self.study = tune.Study(SPACE, storage=self.path, **self.options)

    @stateful.precondition(lambda self: self.expected and not self.running)
    @stateful.rule(which=st.integers(0, 99))
    def refuse_a_second_result(self, which):
        trial = self.study.trials[which % len(self.expected)]
        with pytest.raises((RuntimeError, ValueError)):
            self.study.tell(trial, 0.0)

    @stateful.invariant()
    def the_study_holds_what_was_told(self):
        if not hasattr(self, "study"):
            return
        trials = self.study.trials
        assert {t.number: (t.state, t.value) for t in trials} == self.expected
        done = [value for state, value in self.expected.values() if state == "done"]
        if done:
            best = min(done) if self.options["direction"] == "minimize" else max(done)
            assert self.study.best.value == best
        else:
            with pytest.raises(ValueError, match="no trial has succeeded yet"):
                _ = self.study.best

    def teardown(self):
        if hasattr(self, "study"):
            self.study.close()
            with contextlib.suppress(OSError):
                self.folder.cleanup()


def test_a_study_stays_what_was_told_under_any_sequence_of_calls():
    stateful.run_state_machine_as_test(StudyMachine, settings=settings(12))
