"""Copies and pickles keep the identity of arrays, and all that a subclass has of its own."""

import copy
import io
import itertools
import pickle
import threading

import numpy as np
import pytest

import fastopt

COPIES = {
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {protocol}": lambda thing, protocol=protocol: pickle.loads(
            pickle.dumps(thing, protocol)
        )
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}
by_copy = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
CLASSES = [getattr(fastopt, rule.class_name) for rule in fastopt.RULES.values()]


class Model:
    """Arrays as attributes, the optimizer either made first or last."""

    def __init__(self, make, optimizer_first):
        w, b = np.ones((3, 2)), np.zeros(2, np.float32)
        if optimizer_first:
            self.opt = make({"w": w, "b": b}, lr=0.1)
        self.layers = {"w": w, "b": b}
        if not optimizer_first:
            self.opt = make({"w": w, "b": b}, lr=0.1)

    def step(self):
        self.opt.step({"w": np.ones((3, 2)), "b": np.ones(2, np.float32)})

    def content(self):
        return self.layers["w"].tobytes() + self.layers["b"].tobytes()


@pytest.mark.parametrize("make", CLASSES)
def test_a_copied_optimizer_steps_the_copied_arrays(make):
    for copied, optimizer_first in itertools.product(COPIES.values(), (True, False)):
        model = Model(make, optimizer_first)
        model.step()
        before = model.content()
        other = copied(model)
        other.step()
        assert model.content() == before
        assert other.content() != before
        model.step()
        assert other.content() == model.content()


@by_copy
def test_several_optimizers_and_a_list_keep_one_array(copied):
    w = np.ones(3)
    first, second = fastopt.SGD([w], lr=0.1), fastopt.SGD([w], lr=0.2)
    both, arrays = copied(([first, second], [w]))
    for opt in both:
        opt.step([np.ones(3)])
    assert arrays[0].tolist() == [1.0 - 0.1 - 0.2] * 3
    assert w.tolist() == [1.0] * 3


class Named(fastopt.Adam):
    """A subclass with another constructor, attributes, slots and a reference back to its owner."""

    __slots__ = ("tag",)

    def __init__(self, owner):
        super().__init__(owner.w, lr=0.1)
        self.owner, self.history, self.tag = owner, [1, 2], "slot"


class Owner:
    def __init__(self):
        self.w = np.ones(3)
        self.opt = Named(self)


# Protocols 0 and 1 cannot pickle an object with slots.
@pytest.mark.parametrize(
    "copied", [copied for name, copied in COPIES.items() if name not in ("pickle 0", "pickle 1")]
)
def test_a_subclass_keeps_its_own_attributes(copied):
    owner = Owner()
    other = copied(owner)
    assert type(other.opt) is Named
    assert other.opt.owner is other
    assert (other.opt.history, other.opt.tag) == ([1, 2], "slot")
    other.opt.history.append(3)
    assert owner.opt.history == [1, 2]
    other.opt.step(np.ones(3))
    assert (owner.w == 1).all()
    assert (other.w != 1).all()


def test_a_shallow_copy_steps_the_same_arrays_with_states_of_its_own():
    w, v = np.ones(3), np.ones(3)
    opt, twin = fastopt.Momentum(w, lr=0.1), fastopt.Momentum(v, lr=0.1)
    opt.step(np.ones(3))
    twin.step(np.ones(3))
    other = copy.copy(opt)
    other.lr = 0.2
    assert opt.lr == 0.1
    other.step(np.ones(3))
    twin.lr = 0.2
    twin.step(np.ones(3))
    assert w.tobytes() == v.tobytes()
    assert (opt.state[0]["step"], other.state[0]["step"]) == (1, 2)
    assert opt.state[0]["momentum_buffer"].tolist() == [1.0] * 3
    # Its own groups: an edit of one is none of the other.
    other.param_groups[0]["params"] = w
    opt.step(np.ones(3))


@by_copy
def test_a_copy_takes_the_schedule_along(copied):
    w = np.zeros(1)
    opt = fastopt.SGD(w, lr=fastopt.schedules.piecewise([1.0, 10.0], [1]))
    opt.step(np.ones(1))
    other = copied(opt)
    other.step(np.ones(1))
    assert other.param_groups[0]["params"].tolist() == [-11.0]


def test_a_step_of_another_thread_while_an_optimizer_is_pickled_is_an_error():
    class Slow(io.BytesIO):
        """A file for the pickle; while it is written, another thread takes a step."""

        def write(self, data):
            if not stepped:
                stepped.append(True)
                thread = threading.Thread(target=opt.step, args=[[np.ones(100_000)] * 2])
                thread.start()
                thread.join()
            return super().write(data)

    stepped = []
    opt = fastopt.SGD([np.zeros(100_000), np.zeros(100_000)], lr=0.1)
    with pytest.raises(
        RuntimeError, match=r"another thread has taken a step .* while it was pickled"
    ):
        pickle.dump(opt, Slow())
    assert stepped


@pytest.mark.parametrize("make", CLASSES)
def test_what_is_loaded_into_read_only_memory_is_read_and_refuses_to_step(make):
    w = np.ones(5)
    opt = make(w, lr=0.1)
    opt.step(np.ones(5))
    buffers = []
    text = pickle.dumps((w, opt), protocol=5, buffer_callback=buffers.append)
    v, other = pickle.loads(text, buffers=[bytes(buffer) for buffer in buffers])
    assert not v.flags.writeable
    before = v.copy()
    for twin in (other, pickle.loads(pickle.dumps(other))):
        assert twin.state[0]["step"] == 1
        assert twin.lr == 0.1
        assert repr(twin) == repr(opt)
        for mine, theirs in zip(twin.state_dict()["state"], opt.state_dict()["state"], strict=True):
            assert {k: np.asarray(a).tobytes() for k, a in mine.items()} == {
                k: np.asarray(a).tobytes() for k, a in theirs.items()
            }
    for _ in range(2):
        with pytest.raises(ValueError, match=r"must be writeable, got a read-only array"):
            other.step(np.ones(5))
    assert v.tobytes() == before.tobytes()
    assert other.state[0]["step"] == 1
    earlier = other.state_dict()
    earlier["state"][0]["step"] = 7
    if len(earlier["state"][0]) > 1:
        with pytest.raises(ValueError, match=r"of state\[0\] must be writeable"):
            other.load_state_dict(earlier)
        assert other.state[0]["step"] == 1
    # A copy has memory of its own.
    copied_array, copied = copy.deepcopy((v, other))
    copied.step(np.ones(5))
    opt.step(np.ones(5))
    assert copied_array.tobytes() == w.tobytes()


@pytest.mark.parametrize("mode", ["r", "c", "r+"])
def test_an_optimizer_of_memory_mapped_arrays_can_be_loaded(mode, tmp_path):
    """As joblib.load(..., mmap_mode=mode) does: the arrays become np.memmap on the way."""

    def mapped(array, name):
        np.save(tmp_path / name, array)
        return np.load(tmp_path / name, mmap_mode=mode)

    opt = fastopt.Adam({"w": np.ones(4)}, lr=0.1)
    opt.step({"w": np.ones(4)})
    parts = opt.__getstate__()
    w = mapped(parts["param_groups"][0]["params"]["w"], "w.npy")
    parts["param_groups"] = [{**parts["param_groups"][0], "params": {"w": w}}]
    parts["states"] = [[mapped(a, f"{i}.npy") for i, a in enumerate(parts["states"][0])]]
    other = fastopt.Adam.__new__(fastopt.Adam)
    other.__setstate__(parts)
    assert np.shares_memory(other.param_groups[0]["params"]["w"], w)
    if mode == "r":
        with pytest.raises(ValueError, match=r"params\['w'\] must be writeable, got a read-only"):
            other.step({"w": np.ones(4)})
    else:
        other.step({"w": np.ones(4)})
        opt.step({"w": np.ones(4)})
        assert w.tobytes() == opt.param_groups[0]["params"]["w"].tobytes()


class Mapped(pickle.Unpickler):
    """As joblib.load(..., mmap_mode=mode): every array becomes np.memmap on the way."""

    def __init__(self, text, folder, mode):
        super().__init__(io.BytesIO(text))
        self.folder = folder
        self.mode = mode

    def persistent_load(self, number):
        return np.load(self.folder / f"{number}.npy", mmap_mode=self.mode)


class ArraysIntoFiles(pickle.Pickler):
    def __init__(self, file, folder):
        super().__init__(file)
        self.folder = folder
        self.arrays = {}

    def persistent_id(self, value):
        if type(value) is not np.ndarray:
            return None
        number, known = self.arrays.setdefault(id(value), (len(self.arrays), value))
        np.save(self.folder / f"{number}.npy", known)
        return number


@pytest.mark.parametrize("mode", ["r", "c", "r+"])
def test_a_population_of_memory_mapped_arrays_can_be_loaded(mode, tmp_path):
    w = np.ones((2, 4))
    models = fastopt.Population("adam", {"w": w}, lr=np.array([0.1, 0.2]))
    models.step({"w": np.ones((2, 4))})
    text = io.BytesIO()
    ArraysIntoFiles(text, tmp_path).dump((w, models))
    mapped, other = Mapped(text.getvalue(), tmp_path, mode).load()
    assert isinstance(mapped, np.memmap)
    assert mapped.tobytes() == w.tobytes()
    assert repr(other) == repr(models)
    if mode == "r":
        with pytest.raises(ValueError, match=r"params\['w'\] must be writeable, got a read-only"):
            other.step({"w": np.ones((2, 4))})
        return
    for each in (models, other):
        each.step({"w": np.ones((2, 4))})
        each.step({"w": np.full((2, 4), np.nan)}, skip_nonfinite=True)
    assert other.skipped_steps.tolist() == [1, 1]
    assert other.params["w"].tobytes() == w.tobytes()


def test_read_only_arrays_are_refused_where_an_optimizer_is_made():
    w = np.ones(3)
    w.flags.writeable = False
    with pytest.raises(ValueError, match="params must be writeable"):
        fastopt.SGD(w, lr=0.1)
