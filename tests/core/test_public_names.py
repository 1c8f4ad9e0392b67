"""What dir shows, what is loaded when, and the answers to words from other libraries."""

import subprocess
import sys

import numpy as np
import pytest

import fastopt


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_dir_shows_what_is_public_and_nothing_else():
    assert dir(fastopt) == sorted(fastopt.__all__)
    assert {"tune", "create", "Adam", "adam", "schedules"} <= set(dir(fastopt))
    assert dir(fastopt.schedules) == sorted(fastopt.schedules.__all__)
    shown = [name for module in (fastopt, fastopt.schedules) for name in dir(module)]
    assert [name for name in shown if name.startswith("_")] == ["__version__"]


def test_every_public_name_is_there():
    for module in (fastopt, fastopt.schedules):
        for name in dir(module):
            getattr(module, name)


def test_the_tuner_is_loaded_when_it_is_used_first():
    code = "import sys, fastopt; a = 'fastopt.tune' in sys.modules; fastopt.tune.Float(0, 1)"
    assert run(f"{code}; print(a, 'fastopt.tune' in sys.modules)") == "False True"


def test_an_attribute_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'fastopt' has no attribute 'tuna'"):
        _ = fastopt.tuna


@pytest.mark.parametrize(
    ("wrong", "meant"), [("fastopt.adamWW", "adamw"), ("fastopt.tune.Categoric", "Categorical")]
)
def test_python_says_which_attribute_was_probably_meant(wrong, meant):
    done = subprocess.run(
        [sys.executable, "-c", f"import fastopt; {wrong}"], capture_output=True, text=True
    )
    assert done.stderr.rstrip().lower().endswith(f"did you mean: '{meant}'?".lower())


def test_public_names_belong_to_the_package_that_documents_them():
    for name in fastopt.__all__:
        module = getattr(getattr(fastopt, name), "__module__", "fastopt")
        assert module in ("fastopt", "fastopt._core"), name


@pytest.mark.parametrize("rule", fastopt.RULES.values(), ids=lambda rule: rule.name)
def test_create_makes_the_optimizer_by_the_name_of_its_rule(rule):
    for name in (rule.name, rule.class_name):
        opt = fastopt.create(name, np.zeros(2), lr=0.25)
        assert type(opt) is getattr(fastopt, rule.class_name)
        assert opt.lr == 0.25


def test_create_of_an_unknown_rule_says_which_there_are():
    with pytest.raises(ValueError, match=r"rule must be one of 'sgd', .* did you mean 'adam'\?"):
        fastopt.create("adaam", np.zeros(2))
    with pytest.raises(TypeError, match=r"rule must be one of 'sgd', .* got 3"):
        fastopt.create(3, np.zeros(2))


@pytest.mark.parametrize(
    ("name", "keywords", "sentence"),
    [
        ("Adam", {"betas": (0.9, 0.999)}, r"betas=\(a, b\) is written beta1=a, beta2=b"),
        ("Adam", {"learning_rate": 0.1}, "the learning rate is lr="),
        ("Adam", {"epsilon": 0.1}, "it is eps= here"),
        ("Adam", {"momentum": 0.9}, "the momentum of this rule is beta1="),
        ("Adam", {"clipnorm": 1.0}, r"opt\.step\(grads, max_norm=\)"),
        ("SGD", {"momentum": 0.9}, r"fastopt\.Momentum\(params, lr=, momentum=\)"),
        ("SGD", {"nesterov": True}, r"fastopt\.NAG\(params, lr=, momentum=\)"),
        ("RMSprop", {"rho": 0.9}, "the share of the average that is kept is alpha="),
        ("NAG", {"alpha": 0.1}, "the learning rate is lr="),
        ("AdamW", {"wieght_decay": 0.1}, r"did you mean 'weight_decay'\?"),
        ("Adam", {"options": {"lr": 0.1}}, "its entries are keywords here"),
        ("Adam", {"ema_decay": 0.99}, "ema="),
        ("Adam", {"fused": True}, "every step is one call for all arrays; leave it out"),
    ],
    ids=lambda x: str(x)[:30],
)
def test_a_keyword_from_elsewhere_gets_the_sentence_that_helps(name, keywords, sentence):
    message = (
        rf"^{name}\(\) got an unexpected keyword argument '{next(iter(keywords))}': .*{sentence}"
    )
    make = getattr(fastopt, name)
    with pytest.raises(TypeError, match=message):
        make(np.zeros(2), **{"lr": 0.1, **keywords})
    with pytest.raises(TypeError, match=message):
        make([{"params": np.zeros(2), **keywords}], lr=0.1)


def test_a_keyword_that_nobody_knows_gets_the_list():
    with pytest.raises(TypeError, match=r"argument 'xyzzy'\. It takes lr, weight_decay.*, ema$"):
        fastopt.SGD(np.zeros(2), lr=0.1, xyzzy=1)


@pytest.mark.parametrize("name", ["state_format", "master_weights", "rounding", "seed", "ema"])
def test_keywords_about_storage_are_suggested_and_only_ema_belongs_to_groups(name):
    message = rf"argument '{name}s': did you mean '{name}'\?"
    with pytest.raises(TypeError, match=message):
        fastopt.Adam(np.zeros(2), **{f"{name}s": None})
    with pytest.raises(TypeError, match=message):
        fastopt.Population("adam", np.zeros((2, 2)), **{f"{name}s": None})
    if name != "ema":
        with pytest.raises(TypeError, match=rf"argument '{name}': it is given to the optimizer"):
            fastopt.Adam([{"params": np.zeros(2), name: None}])


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop"])
def test_a_number_in_place_of_an_optional_state_is_told_to_be_a_keyword(name):
    rule = fastopt.RULES[name]
    arrays = [np.ones(3) for _ in range(2 + len(rule.states))]
    first = next(iter(rule.optional))
    message = rf"^{first} must be a numpy.ndarray, got 0.1; hyper-parameters are keywords"
    with pytest.raises(TypeError, match=message):
        getattr(fastopt, name)(*arrays, 0.1, **({} if name == "rmsprop" else {"step": 1}))
