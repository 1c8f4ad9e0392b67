"""What state_dict and files keep: the user's own keys, skipped steps, schedules, parameters."""

import functools
import gzip
import io
import itertools
import json
import os
import tempfile
from fractions import Fraction

import numpy as np
import pytest

import fastopt
from fastopt.schedules import cosine, linear, warmup

CLASSES = [getattr(fastopt, rule.class_name) for rule in fastopt.RULES.values()]


def make(cls=fastopt.Adam, **keywords):
    return cls([np.ones((2, 3)), np.ones(4, np.float32)], **{"lr": 0.1, **keywords})


def grads(value=0.5):
    return [np.full((2, 3), value), np.full(4, value, np.float32)]


def content(opt):
    return b"".join(param.tobytes() for group in opt.param_groups for param in group["params"])


# the parameters in the file


@pytest.mark.parametrize(
    "begin",
    [fastopt.Momentum, lambda params, lr: fastopt.Population("momentum", params, lr=lr)],
    ids=["optimizer", "population"],
)
def test_a_step_while_a_file_is_written_is_in_none_of_its_arrays(begin):
    class Slow(io.BytesIO):
        """While it is written, the parameters are stepped."""

        def write(self, data):
            opt.step(np.ones((2, 100_000)))
            return super().write(data)

    params, loaded = np.zeros((2, 2, 100_000))
    opt, other = begin(params, lr=1.0), begin(loaded, lr=1.0)
    opt.step(np.ones((2, 100_000)))
    with Slow() as file:
        opt.save(file, params=True)
        file.seek(0)
        other.load(file)
    assert np.unique(other.state[0]["step"]).tolist() == [1]
    assert (other.state[0]["momentum_buffer"] == 1).all()
    assert (loaded == -1).all()
    assert (params < -1).all()


@pytest.mark.parametrize("cls", CLASSES)
def test_a_file_with_parameters_restores_both(cls, tmp_path):
    opt, other = make(cls), make(cls)
    opt.step(grads())
    opt.save(tmp_path / "s", params=True)
    other.load(tmp_path / "s")
    assert content(other) == content(opt)
    opt.step(grads())
    other.step(grads())
    assert content(other) == content(opt)


def keyed(make, keys):
    """An optimizer of a dict, a group or a population of it, and its arrays by their keys."""
    arrays = {key: np.full((2, 2), float(ord(key))) for key in keys}
    return make(arrays), arrays


OF_A_DICT = {
    "dict": fastopt.Adam,
    "group": lambda arrays: fastopt.Adam([{"params": arrays}]),
    "population": lambda arrays: fastopt.Population("adam", arrays),
}


@pytest.mark.parametrize("how", ["file", "state_dict"])
@pytest.mark.parametrize("make", OF_A_DICT.values(), ids=OF_A_DICT)
def test_arrays_of_a_dict_are_matched_by_their_keys_whatever_their_order(make, how, tmp_path):
    def step(opt, arrays):
        grads = {key: float(ord(key)) * array for key, array in arrays.items()}
        opt.step([grads] if make is OF_A_DICT["group"] else grads)

    opt, arrays = keyed(make, "abc")
    step(opt, arrays)
    other, others = keyed(make, "cab")
    if how == "file":
        opt.save(tmp_path / "s", params=True)
        other.load(tmp_path / "s")
    else:
        other.load_state_dict(opt.state_dict())
        for key, array in others.items():
            array[...] = arrays[key]
    step(opt, arrays)
    step(other, others)
    for state, key in zip(other.state, "cab", strict=True):
        assert others[key].tolist() == arrays[key].tolist()
        assert state["exp_avg"].tolist() == opt.state["abc".index(key)]["exp_avg"].tolist()


@pytest.mark.parametrize("make", OF_A_DICT.values(), ids=OF_A_DICT)
def test_arrays_of_other_keys_are_matched_by_their_order(make, tmp_path):
    opt, _ = keyed(make, "ab")
    opt.save(tmp_path / "s", params=True)
    other, arrays = keyed(make, "bc")
    other.load(tmp_path / "s")
    assert [array[0, 0] for array in arrays.values()] == [97, 98]
    before = {key: value for key, value in opt.state_dict().items() if key != "names"}
    other.load_state_dict(before)  # as earlier versions have it
    for names in ("ab", [1, 2]):
        with pytest.raises(ValueError, match=r"state_dict\['names'\] must be a list of strings"):
            other.load_state_dict({**before, "names": names})


def test_parameters_in_a_file_may_be_left_alone_or_required(tmp_path):
    opt, other = make(), make()
    opt.step(grads())
    opt.save(tmp_path / "with", params=True)
    opt.save(tmp_path / "without")
    before = content(other)
    other.load(tmp_path / "with", params=False)
    other.load(tmp_path / "without")
    assert content(other) == before
    assert other.state[0]["step"] == 1
    with pytest.raises(fastopt.StateFileError, match=r"was saved without params=True"):
        other.load(tmp_path / "without", params=True)
    with pytest.raises(TypeError, match="params must be a bool, got 1"):
        opt.save(tmp_path / "with", params=1)


def test_parameters_that_do_not_fit_change_nothing(tmp_path):
    opt = fastopt.SGD([np.ones(3), np.ones(4)], lr=0.1)
    opt.save(tmp_path / "s", params=True)
    for params in ([np.zeros(3), np.zeros(5)], [np.zeros(3), np.zeros(4, np.float32)]):
        other = fastopt.SGD(params, lr=0.3)
        with pytest.raises(
            fastopt.StateFileError, match=r"parameter 1 must be float(64|32) of shape"
        ):
            other.load(tmp_path / "s")
        assert (content(other), other.lr) == (content(fastopt.SGD(params, lr=1)), 0.3)
        assert not any(param.any() for param in params)
    params = [np.zeros(3), np.zeros(4)]
    other = fastopt.SGD(params, lr=0.3)
    params[1].flags.writeable = False
    with pytest.raises(fastopt.StateFileError, match="parameter 1 of this optimizer is read-only"):
        other.load(tmp_path / "s")
    assert not params[0].any()


# file objects


FILES = {
    "memory": io.BytesIO,
    "temporary": tempfile.TemporaryFile,
    "unbuffered": functools.partial(tempfile.TemporaryFile, buffering=0),
    "spooled": tempfile.SpooledTemporaryFile,
}


@pytest.mark.parametrize("params", [False, True])
@pytest.mark.parametrize("open_file", FILES.values(), ids=FILES)
def test_file_objects_hold_one_state_after_another(open_file, params, tmp_path):
    opt, other = make(), make()
    with open_file() as file:
        for _ in range(2):
            opt.step(grads())
            opt.save(file, params=params)
        file.write(b"something else")
        file.seek(0)
        for step in (1, 2):
            other.load(file)
            assert other.state[0]["step"] == step
        assert file.read() == b"something else"
    assert (content(other) == content(opt)) == params
    # The same bytes as under a name, which the reader of names takes too.
    opt.save(tmp_path / "s")
    buffer = io.BytesIO()
    opt.save(buffer)
    assert buffer.getvalue() == (tmp_path / "s").read_bytes()


def test_a_compressed_file_is_a_file_object(tmp_path):
    opt, other = make(), make()
    opt.step(grads())
    with gzip.open(tmp_path / "s.gz", "wb") as file:
        opt.save(file)
    with gzip.open(tmp_path / "s.gz", "rb") as file:
        other.load(file)
    assert other.state[0]["step"] == 1


def test_every_truncation_of_a_file_object_is_refused():
    opt, other = make(fastopt.SGD), make(fastopt.SGD)
    opt.step(grads())
    buffer = io.BytesIO()
    opt.save(buffer)
    for length in range(len(buffer.getvalue())):
        with pytest.raises(fastopt.StateFileError, match=r"^<BytesIO>: "):
            other.load(io.BytesIO(buffer.getvalue()[:length]))
    assert other.state[0]["step"] == 0


def test_a_length_that_a_file_object_only_claims_allocates_nothing():
    buffer = io.BytesIO()
    make().save(buffer)
    claimed = bytearray(buffer.getvalue())
    claimed[16:24] = (2**62).to_bytes(8, "little")
    with pytest.raises(fastopt.StateFileError, match="is truncated"):
        make().load(io.BytesIO(claimed))


@pytest.mark.parametrize("file", [3, None, [], object()])
def test_what_is_no_file_is_a_type_error(file):
    for use in (make().save, make().load):
        with pytest.raises(TypeError, match="file must be a path or a binary file, got"):
            use(file)


def test_a_file_in_text_mode_is_a_type_error(tmp_path):
    with (tmp_path / "s").open("w+") as file:
        for use in (make().save, make().load):
            with pytest.raises(TypeError, match="file must be open in binary mode"):
                use(file)


# what else survives


def through_file(opt, other):
    buffer = io.BytesIO()
    opt.save(buffer)
    buffer.seek(0)
    other.load(buffer)


def through_dict(opt, other):
    other.load_state_dict(opt.state_dict())


by_way = pytest.mark.parametrize("way", [through_file, through_dict])


@by_way
def test_skipped_steps_survive(way):
    opt, other = make(), make()
    opt.step(grads(np.nan), skip_nonfinite=True)
    opt.step(grads(), skip_nonfinite=True)
    way(opt, other)
    assert (other.skipped_steps, other.state[0]["step"]) == (1, 1)
    # A state without skipped steps sets the count to 0.
    way(make(), other)
    assert other.skipped_steps == 0


@pytest.mark.parametrize("count", [-1, 1.5, "1", None, True])
def test_a_bad_count_of_skipped_steps_is_refused(count):
    state = {**make().state_dict(), "skipped_steps": count}
    with pytest.raises(ValueError, match="skipped_steps"):
        make().load_state_dict(state)


@by_way
def test_keys_of_the_users_own_survive(way):
    opt = fastopt.SGD([{"params": np.ones(2), "name": "head", "initial_lr": 0.5}], lr=0.1)
    opt.param_groups[0].update(depth=3, tags=["a", {"b": None}], scale=np.float32(0.5))
    other = fastopt.SGD([{"params": np.ones(2)}], lr=0.2)
    other.param_groups[0]["mine"] = 1
    way(opt, other)
    group = {key: value for key, value in other.param_groups[0].items() if key != "params"}
    expected = {key: value for key, value in opt.param_groups[0].items() if key != "params"}
    assert group == {**expected, "mine": 1}
    other.step([np.ones(2)])


def test_a_key_that_a_file_cannot_hold_is_named_and_no_file_is_written(tmp_path):
    for value in (object(), {1: 2}, (1, 2), float("nan"), np.zeros(2)):
        opt = make()
        opt.param_groups[0]["note"] = value
        with pytest.raises(
            TypeError, match=r"param_groups\[0\]\['note'\] cannot be kept in a file"
        ):
            opt.save(tmp_path / "s")
    assert os.listdir(tmp_path) == []


class Tenth(Fraction):
    pass


@pytest.mark.parametrize(
    "lr",
    [
        Fraction(1, 3),
        Tenth(1, 10),
        1,
        np.int64(2),
        np.float32(0.1),
        np.float16(0.1),
        np.longdouble(1) / 3,
    ],
    ids=repr,
)
@by_way
def test_every_number_that_is_accepted_can_be_saved(way, lr):
    opt, other = make(fastopt.SGD, lr=lr), make(fastopt.SGD)
    opt.step(grads())
    other.step(grads())
    for target, source in zip(
        other.param_groups[0]["params"], opt.param_groups[0]["params"], strict=True
    ):
        target[...] = source
    way(opt, other)
    opt.step(grads())
    other.step(grads())
    assert content(opt) == content(other)


def test_files_and_dicts_of_earlier_versions_are_read():
    """They have neither skipped steps nor keys of the user's own."""
    opt = make()
    opt.step(grads())
    assert list(opt.state_dict()) == ["rule", "param_groups", "state"]
    buffer = io.BytesIO()
    opt.save(buffer)
    data = buffer.getvalue()
    header = json.loads(data[24 : 24 + int.from_bytes(data[12:16], "little")])["header"]
    assert list(header) == ["rule", "param_groups", "steps"]


# schedules


def with_rates(rates, param, steps):
    opt = fastopt.Momentum(param, lr=0.0)
    for step in range(1, steps + 1):
        opt.lr = rates(step)
        opt.step(np.ones_like(param))
    return opt


SCHEDULES = {
    "cosine": cosine(0.1, 8),
    "warmup": warmup(linear(0.3, 0.1, 5), 3),
    "function": lambda step: 1 / step,
    "numpy": lambda step: np.float32(step),
    "0-d": lambda step: np.array(0.5 * step),
    "list": [0.3, 0.2, 0.1, 0.4, 0.3, 0.2, 0.1, 0.4, 0.3, 0.2].__getitem__,
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_a_schedule_gives_the_rate_of_each_step(schedule):
    expected = np.zeros(3)
    with_rates(lambda step: float(schedule(step)), expected, 9)
    for start in ("constructor", "group", "lr"):
        param = np.zeros(3)
        if start == "group":
            opt = fastopt.Momentum([{"params": param, "lr": schedule}], lr=7.0)
        elif start == "constructor":
            opt = fastopt.Momentum(param, lr=schedule)
        else:
            opt = fastopt.Momentum(param, lr=7.0)
            opt.lr = schedule
        for step in range(1, 10):
            opt.step([np.ones(3)] if start == "group" else np.ones(3))
            assert opt.lr == float(schedule(step))
            assert opt.param_groups[0]["lr"] is schedule
        assert param.tobytes() == expected.tobytes()


def test_a_schedule_and_a_number_may_take_turns_in_groups():
    a, b = np.zeros(1), np.zeros(1)
    opt = fastopt.SGD([{"params": a, "lr": lambda step: step}, {"params": b}], lr=0.5)
    for _ in range(3):
        opt.step([np.ones(1)] * 2)
    assert (a[0], b[0]) == (-6.0, -1.5)
    with pytest.raises(ValueError, match="the groups have different lr"):
        _ = opt.lr
    opt.param_groups[0]["lr"], opt.param_groups[1]["lr"] = 1.0, lambda step: 10 * step
    opt.step([np.ones(1)] * 2)
    assert (a[0], b[0]) == (-7.0, -41.5)


def test_steps_without_gradients_and_skipped_ones_do_not_count():
    asked = []

    def schedule(step):
        asked.append(step)
        return 0.1

    param = np.zeros(1)
    opt = fastopt.SGD([param], lr=schedule)
    asked.clear()
    opt.step([None])
    opt.step([np.array([np.nan])], skip_nonfinite=True)
    opt.step([np.ones(1)])
    opt.step([np.ones(1)])
    assert asked == [1, 1, 1, 2]


@by_way
def test_an_optimizer_with_a_schedule_keeps_it_and_goes_on_from_the_step(way):
    schedule = cosine(0.5, 10)
    through, param, fixed = np.zeros(2), np.zeros(2), np.zeros(2)
    opt = fastopt.SGD(through, lr=schedule)
    for _ in range(4):
        opt.step(np.ones(2))
    other, without = fastopt.SGD(param, lr=schedule), fastopt.SGD(fixed, lr=1.0)
    way(opt, other)
    way(opt, without)
    param[:] = through
    opt.step(np.ones(2))
    other.step(np.ones(2))
    assert param.tobytes() == through.tobytes()
    assert without.lr == schedule(4)
    assert opt.state_dict()["param_groups"][0]["lr"] == schedule(5)


@pytest.mark.parametrize(
    ("rate", "error", "message"),
    [
        (-1.0, ValueError, r"lr\(2\) must be at least 0, got -1"),
        (float("nan"), ValueError, r"lr\(2\) must be a finite number"),
        ("fast", TypeError, r"lr\(2\) must be a number, got 'fast'"),
        (None, TypeError, r"lr\(2\) must be a number, got None"),
        (True, TypeError, r"lr\(2\) must be a number, got True"),
    ],
)
def test_a_bad_rate_of_a_schedule_is_refused_and_nothing_changes(rate, error, message):
    param = np.zeros(2)
    opt = fastopt.SGD(param, lr=lambda step: rate if step == 2 else 1.0)
    opt.step(np.ones(2))
    with pytest.raises(error, match=message):
        opt.step(np.ones(2))
    assert (param.tolist(), opt.state[0]["step"]) == ([-1.0] * 2, 1)
    # A schedule whose first rate is bad is refused at once.
    with pytest.raises(error, match=r"lr\(1\)"):
        fastopt.SGD(param, lr=lambda step: rate)
    with pytest.raises(error, match=r"lr\(2\)"):
        opt.lr = lambda step: rate


def test_errors_of_a_schedule_pass_through_and_nothing_changes():
    rates = itertools.chain([1.0, 1.0])
    param = np.zeros(1)
    opt = fastopt.SGD(param, lr=lambda step: next(rates))
    opt.step(np.ones(1))
    with pytest.raises(StopIteration):
        opt.step(np.ones(1))
    assert param[0] == -1.0
