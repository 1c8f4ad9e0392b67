"""A build whose environment asks for fast-math is the build that it is without."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from processes import available_isas, run_program, run_python
from test_exactness import PINNED

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("exactness_worker.py")
FLAGS = "-Ofast -funsafe-math-optimizations -fassociative-math -freciprocal-math -ffinite-math-only"

pytestmark = [pytest.mark.compiler, pytest.mark.slow, pytest.mark.needs("Cython", "setuptools")]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of a package that was compiled and linked with FLAGS."""
    folder = tmp_path_factory.mktemp("fast_math")
    for name in ("csrc", "src"):
        leave = shutil.ignore_patterns("*.so", "*.c.orig", "__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, folder / name, ignore=leave)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    environment = {**os.environ, "CFLAGS": FLAGS, "LDFLAGS": FLAGS}
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    run_program(command, environment, folder)
    return folder / "src"


def run(built, *arguments, **environment):
    path = os.pathsep.join([str(built), str(ROOT / "tests")])
    done = run_python(*arguments, timeout=None, PYTHONPATH=path, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("isa", available_isas())
def test_its_bits_are_the_pinned_ones(built, isa):
    result = json.loads(run(built, str(WORKER), "pinned", FASTOPT_ISA=isa))
    assert result["isa"] == isa
    assert result["found"] == PINNED


def test_its_import_leaves_subnormal_numbers_and_infinity_alone(built):
    code = (
        "import numpy as np\n"
        "import fastopt\n"
        "print(fastopt.__file__)\n"
        "tiny = np.array([5e-324, 1e-310])\n"
        "print((tiny * 1.0).tolist(), float(np.float32(1e-40) * np.float32(1)) > 0)\n"
        "for rate in (float('inf'), float('nan')):\n"
        "    try:\n"
        "        fastopt.sgd(np.ones(3), np.ones(3), lr=rate)\n"
        "    except ValueError as error:\n"
        "        print(error)\n"
    )
    path, *lines = run(built, "-c", code).splitlines()
    assert path.startswith(str(built))
    assert lines == [
        "[5e-324, 1e-310] True",
        "lr must be a finite number >= 0, got inf",
        "lr must be a finite number >= 0, got nan",
    ]
