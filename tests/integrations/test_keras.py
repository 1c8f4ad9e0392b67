"""The settings of docs/integrations/keras.md give the steps of Keras 3's optimizers, in float64.

On Keras' torch backend: its NumPy backend cannot be imported without JAX. KERAS_BACKEND must be set
before Keras is imported.
"""

import ast
import os
import re
from pathlib import Path

import numpy as np
import pytest

import fastopt

os.environ["KERAS_BACKEND"] = "torch"

import keras

RTOL = 1e-12
STEPS = 50
DECAY = {"weight_decay": 0.03}

# Keras class and keywords; our class and the keywords that make it equal
SAME = [
    ("SGD", {}, "SGD", {"lr": 0.01}),
    ("SGD", {"momentum": 0.9}, "Momentum", {"lr": 0.01}),
    ("SGD", {"momentum": 0.9, "nesterov": True}, "NAG", {"lr": 0.01}),
    ("SGD", DECAY, "SGD", {"lr": 0.01, "decoupled": True, **DECAY}),
    ("Adam", {}, "Adam", {"eps": 1e-7, "eps_hat": True}),
    ("Adam", {"amsgrad": True}, "Adam", {"eps": 1e-7, "eps_hat": True, "amsgrad": True}),
    ("Adam", DECAY, "Adam", {"eps": 1e-7, "eps_hat": True, "decoupled": True, **DECAY}),
    ("AdamW", {}, "AdamW", {"eps": 1e-7, "eps_hat": True, "weight_decay": 0.004}),
    (
        "Adagrad",
        {},
        "Adagrad",
        {"lr": 1e-3, "eps": 1e-7, "eps_inside": True, "initial_accumulator_value": 0.1},
    ),
    ("Adadelta", {}, "Adadelta", {"lr": 1e-3, "rho": 0.95, "eps": 1e-7}),
    ("RMSprop", {}, "RMSprop", {"lr": 1e-3, "alpha": 0.9, "eps": 1e-7, "eps_inside": True}),
]
PLAIN = [case for case in SAME if "weight_decay" not in case[1]]
# Every other class with weight decay, as well
SAME += [
    (theirs, {**their_keywords, **DECAY}, ours, {**our_keywords, "decoupled": True, **DECAY})
    for theirs, their_keywords, ours, our_keywords in SAME
    if ours not in ("SGD", "Adam", "AdamW")
]


@pytest.fixture(autouse=True)
def double_precision():
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


def values():
    generator = np.random.default_rng(0)
    start = generator.normal(size=(4, 3))
    return start, [start + generator.normal(size=(4, 3)) for _ in range(STEPS)]


def keras_steps(name, keywords):
    start, grads = values()
    variable = keras.Variable(start, dtype="float64")
    optimizer = getattr(keras.optimizers, name)(**keywords)
    optimizer.build([variable])
    for grad in grads:
        optimizer.apply([keras.ops.convert_to_tensor(grad)])
    return variable.value.detach().numpy()


def our_steps(name, keywords):
    param, grads = values()
    optimizer = getattr(fastopt, name)(param, **keywords)
    for grad in grads:
        optimizer.step(grad)
    return param


@pytest.mark.parametrize(("theirs", "their_keywords", "ours", "our_keywords"), SAME)
def test_the_settings_give_the_steps_of_keras(theirs, their_keywords, ours, our_keywords):
    result = our_steps(ours, our_keywords)
    np.testing.assert_allclose(result, keras_steps(theirs, their_keywords), rtol=RTOL)
    assert np.abs(result - values()[0]).max() > 1e-6


def test_the_table_of_the_page_has_these_settings():
    page = Path(__file__).parents[2] / "docs" / "integrations" / "keras.md"
    rows = re.findall(r"^\| `(\w+)\((.*)\)` \| `(\w+)\(p, (.*)\)` \|$", page.read_text(), re.M)

    def keywords(text):
        call = ast.parse(f"dict({text})", mode="eval").body
        return {each.arg: ast.literal_eval(each.value) for each in call.keywords}

    table = [(theirs, keywords(a), ours, keywords(b)) for theirs, a, ours, b in rows]
    assert table == [case for case in PLAIN if "amsgrad" not in case[1]]


def test_defaults_alone_do_not():
    """The table's settings are needed, so the comparison above can fail."""
    for theirs, their_keywords, ours, our_keywords in SAME:
        lr = our_keywords.get("lr", 1e-3)
        plain = our_steps(ours, {"lr": lr})
        expected = keras_steps(theirs, their_keywords)
        differs = not np.allclose(plain, expected, rtol=RTOL, atol=0)
        assert differs == (our_keywords != {"lr": lr})


def test_momentum_with_a_changing_learning_rate_is_another_rule():
    """Keras' velocity sums steps, fastopt's buffer gradients: equal only while lr is constant."""
    start, grads = values()
    variable = keras.Variable(start, dtype="float64")
    theirs = keras.optimizers.SGD(momentum=0.9)
    theirs.build([variable])
    ours = fastopt.Momentum(start, lr=0.01)
    for step, grad in enumerate(grads[:4]):
        if step == 2:
            np.testing.assert_allclose(start, variable.value.detach().numpy(), rtol=RTOL)
            theirs.learning_rate = ours.lr = 0.001
        theirs.apply([keras.ops.convert_to_tensor(grad)])
        ours.step(grad)
    result = variable.value.detach().numpy()
    assert np.abs(start - result).max() > 1e-3
