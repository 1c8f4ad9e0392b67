"""A build is the same whether or not its environment asks for fast-math.

setup.py runs with a program in place of the compiler, which records its arguments. Every source
gets the same flags, so a few sources show what the flags do.
"""

import json
import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from processes import run_code, run_program

ROOT = Path(__file__).parents[2]
CC = shlex.split(os.environ.get("CC", "cc"))
FLAGS = "-Ofast -funsafe-math-optimizations -fassociative-math -freciprocal-math -ffinite-math-only"
RECORDER = """#!{python}
import json, pathlib, sys
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
pathlib.Path(sys.argv[sys.argv.index("-o") + 1]).touch()
"""

pytestmark = [pytest.mark.compiler, pytest.mark.needs("Cython", "setuptools")]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fast_math")
    for name in ("csrc", "src"):
        leave = shutil.ignore_patterns("*.so", "*.c.orig", "__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, folder / name, ignore=leave)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def commands(tree, called, flags):
    """The compiler's arguments with these flags in the environment, by source, and the linker's."""
    log, recorder = tree / f"{called}.log", tree / f"{called}-cc"
    recorder.write_text(RECORDER.format(python=sys.executable, log=str(log)))
    recorder.chmod(0o755)
    environment = {**os.environ, "CC": str(recorder), "CFLAGS": flags, "LDFLAGS": flags}
    setup = [sys.executable, "setup.py", "-q", "build_ext"]
    run_program([*setup, f"--build-lib={called}", f"--build-temp={called}"], environment, tree)
    *compiled, linked = map(json.loads, log.read_text().splitlines())
    return {args[args.index("-c") + 1]: args for args in compiled}, linked


@pytest.fixture(scope="module")
def plain(tree):
    return commands(tree, "plain", "")


@pytest.fixture(scope="module")
def fast(tree):
    return commands(tree, "fast", FLAGS)


def flags_of(args):
    """The arguments without the names of the two files."""
    source, target = args.index("-c") + 1, args.index("-o") + 1
    return [arg for place, arg in enumerate(args) if place not in (source, target)]


def test_every_source_has_the_same_flags(fast):
    by_source = {source: flags_of(args) for source, args in fast[0].items()}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*.c")}
    assert set(by_source) == {"src/fastopt/_core.c", *sources}
    shared = by_source["csrc/norm.c"]
    assert set(FLAGS.split()) < set(shared)
    assert by_source.pop("src/fastopt/_core.c") == [*shared, "-O2"]
    assert all(flags == shared for flags in by_source.values())


@pytest.mark.parametrize("source", ["csrc/rules/lamb.c", "csrc/norm.c"])
def test_its_code_is_that_of_a_build_without_it(tree, plain, fast, source):
    """On every instruction set: a formula with roots and quotients, and sums."""
    objects = []
    for compiled, _ in (plain, fast):
        args = list(compiled[source])
        args[args.index("-o") + 1] = "compared.o"
        run_program([*CC, *args], cwd=tree)
        objects.append((tree / "compared.o").read_bytes())
    assert objects[0] == objects[1]


def test_loading_it_leaves_subnormal_numbers_alone(tree, fast):
    """A linker that is asked for -Ofast adds code that makes the process flush them to zero."""
    (tree / "nothing.c").write_text("int nothing(void) { return 0; }\n")
    run_program([*CC, "-fPIC", "-c", "nothing.c", "-o", "nothing.o"], cwd=tree)
    args = [arg for arg in fast[1] if not arg.endswith(".o")]
    args[args.index("-o") + 1] = "nothing.so"
    run_program([*CC, *args, "nothing.o"], cwd=tree)
    code = (
        f"import ctypes; ctypes.CDLL({str(tree / 'nothing.so')!r}).nothing()\n"
        "tiny = float('5e-324')\n"
        "print(tiny * 1.0 != 0, float('1e-300') * 1e-10 != 0)"
    )
    assert run_code(code) == "True True"
