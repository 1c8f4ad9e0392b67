"""Ctrl-C strikes between two instructions of Python, so none may run while some arrays are written
and others are not.
"""

import os
import sys

import numpy as np
import pytest

import fastopt

COUNT = 3
PACKAGE = os.path.dirname(fastopt.__file__)


def arrays():
    return [np.arange(12.0).reshape(4, 3) + i for i in range(COUNT)]


def trained(make):
    params = arrays()
    optimizer = make(params)
    for _ in range(2):
        optimizer.step(arrays())
    return params, optimizer


def schedule_free(params):
    return fastopt.ScheduleFreeSGD(params, lr=0.1)


def population(params):
    return fastopt.Population("schedule_free_sgd", params, lr=0.1)


def states(optimizer, params):
    return [entry["z_offset"] for entry in optimizer.state]


def given(optimizer, params):
    return params


def saved(make, optimizer):
    def larger(params):
        other = make(params)
        other.lr = 0.5
        return other

    content = trained(larger)[1].state_dict()
    return lambda: optimizer.load_state_dict(content)


ACTIONS = {
    "eval": (schedule_free, lambda optimizer: optimizer.eval, given),
    "eval of rows": (population, lambda models: models.eval, given),
    "load": (schedule_free, lambda optimizer: saved(schedule_free, optimizer), states),
    "load of rows": (population, lambda models: saved(population, models), states),
    "copy_rows": (population, lambda models: lambda: models.copy_rows([0], [1]), given),
    "select": (population, lambda models: lambda: models.select([3, 1]), given),
}


@pytest.mark.parametrize(("make", "action_of", "written"), ACTIONS.values(), ids=ACTIONS)
def test_no_instruction_runs_while_some_arrays_are_written(make, action_of, written):
    params, optimizer = trained(make)
    action, watched = action_of(optimizer), written(optimizer, params)
    before = [array.copy() for array in watched]
    counts = set()

    def look(frame, event, argument):
        changed = (not np.array_equal(*pair) for pair in zip(watched, before, strict=True))
        counts.add(sum(changed))
        return look

    sys.settrace(look)
    try:
        action()
    finally:
        sys.settrace(None)
    counts.add(sum(not np.array_equal(*pair) for pair in zip(watched, before, strict=True)))
    assert counts == {0, COUNT}


def content(optimizer, params):
    """All that an optimizer is, for comparisons."""
    found = [vars(optimizer).get("hypers"), optimizer.skipped_steps, optimizer._stored]
    if hasattr(optimizer, "param_groups"):
        found.append([{**group, "params": None} for group in optimizer.param_groups])
    return repr((found, optimizer._training, optimizer.lr, optimizer.state, params))


class Interruption(BaseException):
    pass


@pytest.mark.parametrize(("make", "action_of", "written"), ACTIONS.values(), ids=ACTIONS)
def test_an_action_that_is_interrupted_is_done_or_has_changed_nothing(make, action_of, written):
    seen = []
    while not seen or seen[-1] is not None:
        params, optimizer = trained(make)
        action = action_of(optimizer)
        before = content(optimizer, params)
        places = iter(range(len(seen)))

        def look(frame, event, argument, left=places):
            # Where Python looks for Ctrl-C: at the beginning of a function, and after a call
            is_ours = frame.f_code.co_filename.startswith(PACKAGE)
            if is_ours and event != "c_call" and next(left, None) is None:
                raise Interruption

        sys.setprofile(look)
        try:
            action()
            sys.setprofile(None)
            seen.append(None)
        except Interruption:
            seen.append(content(optimizer, params))
        finally:
            sys.setprofile(None)
    done = content(optimizer, params)
    assert done != before
    assert {before} <= {*seen} - {None} <= {before, done}
