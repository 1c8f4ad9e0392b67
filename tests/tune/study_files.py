"""Studies in files, for the tests of what is done with these."""

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
    """Ask, and tell each of the values."""
    for value in values:
        study.tell(study.ask(), value)
