"""Studies in files, for tests that open, copy or change such files."""

import contextlib
import os

from tune_objectives import SMALL

from fastopt import tune


def square(x):
    return x * x


def file_of(path, space=SMALL, n=3, **options):
    with tune.Study(space, strategy="random", storage=path, **options) as study:
        study.run(lambda params: float(len(params)), n)
        return study.trials


@contextlib.contextmanager
def unchanged(folder):
    def contents():
        return {name: (folder / name).read_bytes() for name in os.listdir(folder)}

    before = contents()
    yield
    assert contents() == before


def told(study, values):
    """For each of the values, ask for a trial and tell it."""
    for value in values:
        study.tell(study.ask(), value)
