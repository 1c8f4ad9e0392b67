"""Bad input to a population: an exception that names it, and nothing changed."""

import numpy as np
import pytest
from cases import freeze

import fastopt

NUMBERS = "lr must be a finite number >= 0"
WRONG = [
    ({"lr": [0.1, 0.2]}, ValueError, r"lr must have one number, or 3, one for each row, got .*2,"),
    ({"lr": [[0.1], [0.2], [0.3]]}, ValueError, "lr must have one number, or 3"),
    ({"lr": [0.1, -1.0, 0.2]}, ValueError, r"lr\[1\] must be a finite number >= 0, got -1.0"),
    ({"lr": [0.1, 0.2, np.nan]}, ValueError, r"lr\[2\] must be a finite number >= 0, got nan"),
    ({"lr": ["a", "b", "c"]}, TypeError, f"{NUMBERS} or an array of 3 numbers, .* got dtype"),
    ({"lr": [True, True, False]}, TypeError, f"{NUMBERS} or an array of 3 numbers"),
    ({"lr": "fast"}, TypeError, f"{NUMBERS}, got str 'fast'"),
    ({"beta1": [0.9, 0.9, 1.0]}, ValueError, r"beta1\[2\] must be a number in \[0, 1\), got 1.0"),
    ({"eps_hat": [1, 0, 1]}, TypeError, "eps_hat must be a bool or an array of 3 bools"),
    ({"amsgrad": [True] * 3}, TypeError, "amsgrad must be a bool"),
    ({"betas": (0.9, 0.99)}, TypeError, r"betas=\(a, b\) is written beta1=a, beta2=b"),
    ({"lr": [lambda step: 0.1, 0.2]}, ValueError, "lr must have 3 rates, one for each row, got 2"),
]


@pytest.mark.parametrize(("hypers", "error", "message"), WRONG, ids=lambda x: str(x)[:30])
def test_wrong_hyper_parameters_are_named_with_their_row(hypers, error, message):
    weights = np.ones((3, 2))
    with pytest.raises(error, match=message):
        fastopt.Population("adam", weights, **hypers)
    models = fastopt.Population("adam", weights)
    if "betas" not in hypers:
        models.hypers.update(hypers)
        before = freeze(models.state)
        with pytest.raises((TypeError, ValueError)):
            models.step(np.ones((3, 2)))
        assert (weights == 1).all()
        assert freeze(models.state) == before


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"max_norm": [1.0, 2.0]}, ValueError, "max_norm must have one number, or 3"),
        ({"max_norm": [1.0, -2.0, 1]}, ValueError, r"max_norm\[1\] must be a number >= 0, .*-2.0"),
        ({"max_norm": np.nan}, ValueError, "max_norm must be a number >= 0, .* got nan"),
        ({"grad_scale": [1, 1, np.inf]}, ValueError, r"grad_scale\[2\] must be a finite number"),
        ({"grad_scale": 1e39}, ValueError, "grad_scale must be a number that float32 can hold"),
        ({"grad_scale": [1, 1e-60, 1]}, ValueError, r"grad_scale\[1\] .* float32 .* got 1e-60"),
        ({"skip_nonfinite": 1}, TypeError, "skip_nonfinite must be a bool"),
    ],
    ids=lambda x: str(x)[:30],
)
def test_wrong_options_change_nothing(keywords, error, message):
    weights = np.ones((3, 2), np.float32)
    models = fastopt.Population("momentum", weights, lr=0.1)
    with pytest.raises(error, match=message):
        models.step(np.ones((3, 2), np.float32), **keywords)
    assert (weights == 1).all()
    assert models.steps.tolist() == [0, 0, 0]


def test_wrong_arrays_are_named():
    def population(params):
        return fastopt.Population("sgd", params, lr=0.1)

    with pytest.raises(ValueError, match=r"params\[1\] must have as many rows as params\[0\], 3"):
        population([np.zeros((3, 2)), np.zeros((4, 2))])
    with pytest.raises(ValueError, match="params must have a leading axis"):
        population(np.zeros(()))
    with pytest.raises(ValueError, match="params must have a leading axis"):
        population(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="at least one array"):
        population([])
    with pytest.raises(TypeError, match="got groups; a population has none"):
        population([{"params": np.zeros((2, 2))}])
    with pytest.raises(TypeError, match=r"params\[0\] must be a numpy.ndarray, got float"):
        population([1.0])
    with pytest.raises(ValueError, match=r"rule must be one of .* did you mean 'adam'"):
        fastopt.Population("adaam", np.zeros((2, 2)))
    with pytest.raises(TypeError, match=r"Population\('sgd'\) needs the keyword argument lr"):
        fastopt.Population("sgd", np.zeros((2, 2)))
    models = population(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="grads must have the shape of params"):
        models.step(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="must not overlap"):
        models.step(models.params)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([0, 3], ValueError, "rows must be from 0 to 2"),
        ([-1], ValueError, "rows must be from 0 to 2"),
        ([1, 1], ValueError, "rows must not name a row twice"),
        ([], ValueError, "rows must name at least one row"),
        ([0.0], TypeError, "rows must be indices of rows, or a mask of 3 bools"),
        ([True, False], TypeError, "rows must be indices of rows, or a mask of 3 bools"),
        ([[0, 1]], TypeError, "rows must be indices of rows"),
    ],
    ids=lambda x: str(x)[:30],
)
def test_wrong_rows_change_nothing(rows, error, message):
    models = fastopt.Population("adam", np.arange(6.0).reshape(3, 2))
    before = freeze(models.state_dict())
    with pytest.raises(error, match=message):
        models.select(rows)
    assert len(models) == 3
    assert freeze(models.state_dict()) == before
    assert models.params.ravel().tolist() == [0, 1, 2, 3, 4, 5]


def test_wrong_copies_change_nothing():
    weights = np.arange(6.0).reshape(3, 2)
    models = fastopt.Population("adam", weights)
    with pytest.raises(ValueError, match="target must not name a row twice"):
        models.copy_rows([0, 1], [2, 2])
    with pytest.raises(ValueError, match="source and target must be as many rows, got 1 and 2"):
        models.copy_rows([0], [1, 2])
    with pytest.raises(ValueError, match="source must be from 0 to 2"):
        models.copy_rows(3, 0)
    weights.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        models.copy_rows(1, 0)
    with pytest.raises(ValueError, match="read-only"):
        models.select([2])
    assert weights.ravel().tolist() == [0, 1, 2, 3, 4, 5]


def test_what_does_not_fit_is_refused_and_nothing_changes(tmp_path):
    def population(rows=3, rule="adam", **hypers):
        return fastopt.Population(rule, np.zeros((rows, 2)), **hypers)

    models = population(lr=[1, 2, 3])
    before = freeze(models.state_dict())
    good = population().state_dict()
    for wrong, message in (
        (population(2).state_dict(), "is of 2 rows, this population has 3"),
        (population(rule="adamw").state_dict(), "of the rule 'adamw', this population is 'adam'"),
        (population(amsgrad=True).state_dict(), r"state_dict\['state'\]\[0\] must be a dict"),
        ({**good, "hypers": {**good["hypers"], "lr": [1.0, -1.0, 1.0]}}, r"lr\[1\]"),
        ({**good, "skipped_steps": np.array([0, -1, 0])}, "must be >= 0"),
        ({**good, "state": []}, "must be a list of 1 dicts"),
        ({"rule": "adam"}, "must be a dict with the keys"),
    ):
        with pytest.raises(ValueError, match=message):
            models.load_state_dict(wrong)
        assert freeze(models.state_dict()) == before
    models.save(tmp_path / "state")
    with pytest.raises(fastopt.StateFileError, match="saved without params=True"):
        models.load(tmp_path / "state", params=True)


def test_states_of_one_model_and_of_many_are_told_apart(tmp_path):
    many, one = fastopt.Population("adam", np.zeros((2, 3))), fastopt.Adam(np.zeros((2, 3)))
    for found, other, message in (
        (many, one, r"it is of a population; a fastopt\.Population of as many rows loads it"),
        (one, many, "it is of an optimizer of one model; one of the same class loads it"),
    ):
        found.save(tmp_path / "state")
        with pytest.raises(fastopt.StateFileError, match=message):
            other.load(tmp_path / "state")
        with pytest.raises(ValueError, match=message):
            other.load_state_dict(found.state_dict())


def test_amsgrad_cannot_be_switched_on_later():
    models = fastopt.Population("adam", np.zeros((2, 2)))
    models.hypers["amsgrad"] = True
    with pytest.raises(ValueError, match="amsgrad cannot be changed after construction"):
        models.step(np.ones((2, 2)))


def test_a_hyper_parameter_that_is_gone_is_named():
    models = fastopt.Population("sgd", np.zeros((2, 2)), lr=0.1)
    del models.hypers["maximize"]
    with pytest.raises(ValueError, match="hypers must have 'maximize'"):
        models.step(np.ones((2, 2)))
