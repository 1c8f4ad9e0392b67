"""What the caller changes in param_groups is taken over, or refused by name at the next step.

What is changed in `state` is taken over or refused at once.
"""

import collections
import copy
import pickle

import numpy as np
import pytest

import fastopt


def optimizer():
    return fastopt.SGD([np.zeros(2), np.zeros(3)], lr=1.0)


def grads():
    return [np.ones(2), np.ones(3)]


def replace_array(opt):
    opt.param_groups[0]["params"][0] = np.zeros(2)


def swap_arrays(opt):
    opt.param_groups[0]["params"].reverse()


def append_array(opt):
    opt.param_groups[0]["params"].append(np.zeros(4))


def drop_array(opt):
    opt.param_groups[0]["params"].pop()


def replace_list(opt):
    opt.param_groups[0]["params"] = [np.zeros(2), np.zeros(3)]


def make_one_array(opt):
    opt.param_groups[0]["params"] = opt.param_groups[0]["params"][0]


def append_group(opt):
    opt.param_groups.append({"params": np.zeros(4), "lr": 0.1})


def drop_group(opt):
    opt.param_groups.clear()


def replace_group_by_junk(opt):
    opt.param_groups[0] = None


def forget_arrays(opt):
    del opt.param_groups[0]["params"]


EDITS = [
    (replace_array, r"params\[0\] in param_groups is not the array .*params\[0\]\[\.\.\.\] = new"),
    (swap_arrays, r"params\[0\] in param_groups is not the array"),
    (append_array, "param_groups must have its 2 arrays, got 3; add_param_group"),
    (drop_array, "param_groups must have its 2 arrays, got 1; add_param_group"),
    (replace_list, r"params\[0\] in param_groups is not the array"),
    (make_one_array, "params in param_groups is not the array"),
    (append_group, "param_groups must have its 1 groups, got 2; add_param_group"),
    (drop_group, "param_groups must have its 1 groups, got 0; add_param_group"),
    (replace_group_by_junk, r"param_groups\[0\] must be a dict with 'params', got None"),
    (forget_arrays, r"param_groups\[0\] must be a dict with 'params'"),
]

USES = {
    "step": lambda opt, path: opt.step(grads()),
    "state_dict": lambda opt, path: opt.state_dict(),
    "state": lambda opt, path: opt.state,
    "load_state_dict": lambda opt, path: opt.load_state_dict(optimizer().state_dict()),
    "save": lambda opt, path: opt.save(path),
    "lr": lambda opt, path: setattr(opt, "lr", 0.5),
    "add_param_group": lambda opt, path: opt.add_param_group({"params": np.zeros(1)}),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize(("edit", "message"), EDITS, ids=lambda x: getattr(x, "__name__", ""))
def test_other_arrays_are_refused_by_name(edit, message, use, tmp_path):
    opt = optimizer()
    params = list(opt.param_groups[0]["params"])
    opt.step(grads())
    edit(opt)
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            use(opt, tmp_path / "s")
    assert [param.tolist() for param in params] == [[-1.0] * 2, [-1.0] * 3]


def test_an_edit_that_is_taken_back_is_forgotten():
    opt = optimizer()
    params = opt.param_groups[0]["params"]
    added = np.zeros(4)
    params.append(added)
    with pytest.raises(ValueError, match="got 3"):
        opt.step(grads())
    params.pop()
    opt.step(grads())
    assert params[1].tolist() == [-1.0] * 3


def test_the_same_arrays_in_another_list_or_group_are_taken_over():
    opt = optimizer()
    group = opt.param_groups[0]
    group["params"] = tuple(group["params"])
    opt.step(grads())
    opt.param_groups[0] = {**group, "lr": 2.0}
    opt.step(grads())
    opt.param_groups = [{**group, "lr": 4.0}]
    opt.step(grads())
    assert group["params"][0].tolist() == [-7.0] * 2
    with pytest.raises(ValueError, match="param_groups must have its 1 groups, got 0"):
        opt.param_groups = []
    with pytest.raises(TypeError, match="param_groups must be a list, got dict"):
        opt.param_groups = {}
    opt.step(grads())


def test_renamed_keys_are_refused():
    opt = fastopt.SGD({"a": np.zeros(2), "b": np.zeros(2)}, lr=1.0)
    params = opt.param_groups[0]["params"]
    params["c"] = params.pop("a")
    with pytest.raises(ValueError, match=r"params\['b'\] in param_groups is not the array"):
        opt.step({"c": np.ones(2), "b": np.ones(2)})


def test_changed_hyper_parameters_hold_from_the_next_step():
    opt = optimizer()
    group = opt.param_groups[0]
    for lr, total in ((1.0, -1.0), (2.0, -3.0), (np.float32(0.5), -3.5)):
        group["lr"] = lr
        opt.step(grads())
        assert group["params"][0].tolist() == [total] * 2
    group["maximize"] = np.True_
    opt.step(grads())
    assert group["params"][0].tolist() == [-3.0] * 2
    group["maximize"] = 1
    with pytest.raises(TypeError, match="maximize must be a bool"):
        opt.step(grads())


def given(arrays):
    yield from arrays


PARAMS = {
    "generator": lambda named: given(named.values()),
    "values": lambda named: named.values(),
    "map": lambda named: map(np.asarray, named.values()),
    "mapping": lambda named: collections.ChainMap(named),
    "group of values": lambda named: [{"params": named.values()}],
    "generator of groups": lambda named: ({"params": p} for p in named.values()),
}


@pytest.mark.parametrize("make", PARAMS.values(), ids=PARAMS)
def test_params_and_gradients_come_as_any_collection_that_has_an_order(make):
    named = {"w": np.zeros(2), "b": np.zeros(3)}
    opt = fastopt.SGD(make(named), lr=1.0)
    for _ in range(2):
        opt.step(
            make({"w": np.ones(2), "b": np.ones(3)}) if not opt._params.grouped else in_groups(opt)
        )
    assert [param.tolist() for param in named.values()] == [[-2.0] * 2, [-2.0] * 3]


def in_groups(opt):
    ones = [np.ones(2), np.ones(3)]
    return [ones] if len(opt.param_groups) == 1 else ones


def test_arrays_without_dimensions_take_scalars_as_gradients():
    for dtype in (np.float32, np.float64):
        w, b = np.array(3.0, dtype), np.zeros(2, dtype)
        fastopt.SGD(w, lr=0.5).step(w * w.dtype.type(1))
        assert w == 1.5
        fastopt.SGD([w, b], lr=1.0).step([w * w.dtype.type(1), b + 1])
        fastopt.SGD({"w": w}, lr=1.0).step({"w": w.dtype.type(-2)})
        assert (w, b.tolist()) == (2.0, [-1.0, -1.0])
        with pytest.raises(TypeError, match=r"grads must be a numpy.ndarray, got float"):
            fastopt.SGD(w, lr=1.0).step(1.0)
        other = np.float64 if dtype is np.float32 else np.float32
        with pytest.raises(TypeError, match="grads must have"):
            fastopt.SGD(w, lr=1.0).step(other(1))


def test_a_scalar_as_a_parameter_says_why_it_cannot_be():
    with pytest.raises(TypeError, match=r"params\[1\] .* cannot be changed in place; numpy\.array"):
        fastopt.SGD([np.zeros(2), np.float64(1.0)], lr=0.1)


@pytest.mark.parametrize("value", [3.0, np.inf, np.nan])
def test_an_infinite_max_norm_measures_and_changes_no_bit(value):
    measured, plain = [np.ones(3), np.ones(2)], [np.ones(3), np.ones(2)]
    grads = [np.array([4.0, 0.0, 0.0]), np.array([value, 0.0])]
    opt = fastopt.Adam(measured, lr=0.1)
    norm = opt.step(grads, max_norm=float("inf"), grad_scale=2.0)
    fastopt.Adam(plain, lr=0.1).step(grads, grad_scale=2.0)
    assert norm == 10.0 or not np.isfinite(value)
    assert np.isfinite(norm) == np.isfinite(value)
    assert [a.tobytes() for a in measured] == [b.tobytes() for b in plain]
    assert (opt.skipped, opt.skipped_steps, opt.state[0]["step"]) == (False, 0, 1)
    assert opt.step(grads, max_norm=np.float32("inf"), skip_nonfinite=np.True_) is not None
    assert opt.skipped == (not np.isfinite(value))


def test_flags_of_numpy_are_flags():
    opt = fastopt.Adam(np.zeros(2), amsgrad=np.True_, maximize=np.bool_(False))
    assert list(opt.state[0]) == ["step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"]
    assert opt.param_groups[0]["amsgrad"] is True
    opt.step(np.ones(2), skip_nonfinite=np.False_)


def put(hypers, name, value):
    if value is None:
        del hypers[name]
    else:
        hypers[name] = value


@pytest.mark.parametrize("rule", fastopt.RULES.values(), ids=lambda rule: rule.name)
def test_a_hyper_parameter_that_could_not_be_loaded_is_not_saved(rule, tmp_path):
    path = tmp_path / "s"
    makers = {
        "param_groups": lambda: fastopt.create(rule.name, np.ones(2), lr=0.1),
        "hypers": lambda: fastopt.Population(rule.name, np.ones((2, 2)), lr=0.1),
    }
    for where, make in makers.items():
        make().save(path)
        before = path.read_bytes()
        for name in rule.class_hypers:
            for value in ("x", None, float("nan"), -1.0, [0.1]):
                opt = make()
                hypers = getattr(opt, where)
                put(hypers if where == "hypers" else hypers[0], name, value)
                with pytest.raises((TypeError, ValueError), match=name):
                    opt.state_dict()
                with pytest.raises((TypeError, ValueError), match=name):
                    opt.save(path)
                assert path.read_bytes() == before


def test_a_learning_rate_that_is_gone_is_asked_for_by_name():
    opt = fastopt.SGD([{"params": np.ones(2)}, {"params": np.ones(3)}], lr=0.1)
    del opt.param_groups[1]["lr"]
    grads = [np.ones(2), np.ones(3)]
    group = {"params": np.ones(1)}
    for use in (lambda: opt.lr, opt.state_dict, lambda: opt.add_param_group(group)):
        with pytest.raises(ValueError, match=r"param_groups\[1\] must have 'lr'"):
            use()
    with pytest.raises(ValueError, match=r"param_groups\[1\] must have 'lr'"):
        opt.step(grads)
    opt.lr = 0.5
    opt.step(grads)
    assert opt.param_groups[1]["params"].tolist() == [0.5] * 3


def adam(population):
    params = np.ones((3, 2))
    opt = fastopt.Population("adam", params) if population else fastopt.Adam(params)
    opt.step(np.ones((3, 2)))
    return opt


@pytest.mark.parametrize("population", [False, True])
def test_the_arrays_in_state_are_written_into(population):
    opt = adam(population)
    opt.state[0]["exp_avg"][...] = 3
    opt.state[0]["exp_avg"] *= 2
    assert (opt.state_dict()["state"][0]["exp_avg"] == 6).all()


@pytest.mark.parametrize("population", [False, True])
def test_what_state_holds_cannot_be_replaced(population):
    opt = adam(population)
    with pytest.raises(TypeError, match=r"'exp_avg' in state .* write into the array: .*= new"):
        opt.state[0]["exp_avg"] = np.zeros((3, 2))
    with pytest.raises(TypeError, match="'step' in state cannot be replaced: load_state_dict"):
        opt.state[0]["step"] = 0
    if population:
        with pytest.raises(ValueError, match="read-only"):
            opt.state[0]["step"][0] = 0
    entry = opt.state[0]
    entry["mine"] = 1
    assert opt.state[0].keys() == entry.keys() - {"mine"}


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_state_are_plain(copied):
    opt = adam(population=False)
    (entry,) = copied(opt.state)
    assert type(entry) is dict
    entry["exp_avg"] = entry["exp_avg"].tolist()
    assert entry["exp_avg"] == opt.state[0]["exp_avg"].tolist()
