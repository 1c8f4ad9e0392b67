"""Cython and Numba call the kernels of the installed package."""

import ctypes
import importlib.metadata
import inspect
import os
import re
import shutil
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from cases import states_of
from processes import run_program

import fastopt

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guides" / "embed.md"
# Programs are compiled against these: a line may be added, never changed.
SIGNATURES = {
    "sgd_float32": ("int (size_t, float *, float const *, double, double, int, double, int)"),
    "sgd_float64": ("int (size_t, double *, double const *, double, double, int, double, int)"),
    "momentum_float32": (
        "int (size_t, float *, float const *, float *, double, double, double, double, "
        "int, double, int)"
    ),
    "momentum_float64": (
        "int (size_t, double *, double const *, double *, double, double, double, double,"
        " int, double, int)"
    ),
    "nag_float32": (
        "int (size_t, float *, float const *, float *, double, double, double, int, double, int)"
    ),
    "nag_float64": (
        "int (size_t, double *, double const *, double *, double, double, double, int, double, int)"
    ),
    "adagrad_float32": (
        "int (size_t, float *, float const *, float *, double, double, int, double, int, "
        "double, int)"
    ),
    "adagrad_float64": (
        "int (size_t, double *, double const *, double *, double, double, int, double, "
        "int, double, int)"
    ),
    "adadelta_float32": (
        "int (size_t, float *, float const *, float *, float *, double, double, double, "
        "double, int, double, int)"
    ),
    "adadelta_float64": (
        "int (size_t, double *, double const *, double *, double *, double, double, "
        "double, double, int, double, int)"
    ),
    "adam_float32": (
        "int (size_t, float *, float const *, float *, float *, float *, uint64_t, "
        "double, double, double, double, int, double, int, double, int)"
    ),
    "adam_float64": (
        "int (size_t, double *, double const *, double *, double *, double *, uint64_t, "
        "double, double, double, double, int, double, int, double, int)"
    ),
    "adamw_float32": (
        "int (size_t, float *, float const *, float *, float *, float *, uint64_t, "
        "double, double, double, double, int, double, double, int)"
    ),
    "adamw_float64": (
        "int (size_t, double *, double const *, double *, double *, double *, uint64_t, "
        "double, double, double, double, int, double, double, int)"
    ),
    "rmsprop_float32": (
        "int (size_t, float *, float const *, float *, double, double, double, int, double, "
        "int, double, int)"
    ),
    "rmsprop_float64": (
        "int (size_t, double *, double const *, double *, double, double, double, int, double, "
        "int, double, int)"
    ),
    "lion_float32": (
        "int (size_t, float *, float const *, float *, double, double, double, double, double, int)"
    ),
    "lion_float64": (
        "int (size_t, double *, double const *, double *, double, double, double, double, "
        "double, int)"
    ),
    "adamax_float32": (
        "int (size_t, float *, float const *, float *, float *, uint64_t, double, double, "
        "double, double, double, int, double, int)"
    ),
    "adamax_float64": (
        "int (size_t, double *, double const *, double *, double *, uint64_t, double, double, "
        "double, double, double, int, double, int)"
    ),
    "radam_float32": (
        "int (size_t, float *, float const *, float *, float *, uint64_t, double, double, "
        "double, double, double, int, double, int)"
    ),
    "radam_float64": (
        "int (size_t, double *, double const *, double *, double *, uint64_t, double, double, "
        "double, double, double, int, double, int)"
    ),
    "rprop_float32": (
        "int (size_t, float *, float const *, float *, float *, double, double, double, double,"
        " double, double, int, double, int)"
    ),
    "rprop_float64": (
        "int (size_t, double *, double const *, double *, double *, double, double, double, "
        "double, double, double, int, double, int)"
    ),
    "nadam_float32": (
        "int (size_t, float *, float const *, float *, float *, uint64_t, double *, double, "
        "double, double, double, double, double, int, double, int)"
    ),
    "nadam_float64": (
        "int (size_t, double *, double const *, double *, double *, uint64_t, double *, double,"
        " double, double, double, double, double, int, double, int)"
    ),
    "adopt_float32": (
        "int (size_t, float *, float const *, float *, float *, uint64_t, double, double, "
        "double, double, double, int, double, int)"
    ),
    "adopt_float64": (
        "int (size_t, double *, double const *, double *, double *, uint64_t, double, double, "
        "double, double, double, int, double, int)"
    ),
    "ademamix_float32": (
        "int (size_t, float *, float const *, float *, float *, float *, uint64_t, double, "
        "double, double, double, double, double, double, double, int)"
    ),
    "ademamix_float64": (
        "int (size_t, double *, double const *, double *, double *, double *, uint64_t, double,"
        " double, double, double, double, double, double, double, int)"
    ),
    "asgd_float32": (
        "int (size_t, float *, float const *, float *, uint64_t, double *, double, double, "
        "double, double, double, int, double, int)"
    ),
    "asgd_float64": (
        "int (size_t, double *, double const *, double *, uint64_t, double *, double, double, "
        "double, double, double, int, double, int)"
    ),
    "stableadamw_float32": (
        "int (size_t, float *, float const *, float *, float *, uint64_t, double, double, "
        "double, double, double, double, int)"
    ),
    "stableadamw_float64": (
        "int (size_t, double *, double const *, double *, double *, uint64_t, double, "
        "double, double, double, double, double, int)"
    ),
    "lamb_float32": (
        "int (size_t, float *, float const *, float *, float *, uint64_t, double, double, "
        "double, double, int, double, double, int)"
    ),
    "lamb_float64": (
        "int (size_t, double *, double const *, double *, double *, uint64_t, double, "
        "double, double, double, int, double, double, int)"
    ),
    "lars_float32": (
        "int (size_t, float *, float const *, float *, double, double, double, double, int, "
        "double, double, int)"
    ),
    "lars_float64": (
        "int (size_t, double *, double const *, double *, double, double, double, double, "
        "int, double, double, int)"
    ),
    "schedule_free_sgd_float32": (
        "int (size_t, float *, float const *, float *, uint64_t, double *, double, double, "
        "double, double, int, double, int)"
    ),
    "schedule_free_sgd_float64": (
        "int (size_t, double *, double const *, double *, uint64_t, double *, double, double, "
        "double, double, int, double, int)"
    ),
    "schedule_free_adamw_float32": (
        "int (size_t, float *, float const *, float *, float *, uint64_t, double *, double, "
        "double, double, double, double, double, double, int)"
    ),
    "schedule_free_adamw_float64": (
        "int (size_t, double *, double const *, double *, double *, uint64_t, double *, "
        "double, double, double, double, double, double, double, int)"
    ),
    "prodigy_float32": (
        "int (size_t, float *, float const *, float *, float *, float *, float *, "
        "uint64_t, double *, double, double, double, double, double, double, double, double, "
        "int, int, double, int, double, int)"
    ),
    "prodigy_float64": (
        "int (size_t, double *, double const *, double *, double *, double *, double *, "
        "uint64_t, double *, double, double, double, double, double, double, double, double, "
        "int, int, double, int, double, int)"
    ),
    "status_text": "char const *(int)",
}
C_TYPES = {"size_t": ctypes.c_size_t, "uint64_t": ctypes.c_uint64, "double": ctypes.c_double,
           "int": ctypes.c_int}  # fmt: skip


def signatures():
    """The exported functions: name to C signature."""
    name_of = ctypes.pythonapi.PyCapsule_GetName
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    capsules = fastopt._core.__pyx_capi__
    return {name: name_of(capsule).decode() for name, capsule in capsules.items()}


def address_of(name):
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return pointer_of(fastopt._core.__pyx_capi__[name], signatures()[name].encode())


def types_of(name, pointer):
    """The ctypes of a function's arguments."""
    signature = signatures()[name]
    arguments = signature[signature.index("(") + 1 : -1].split(", ")
    return [pointer if "*" in kind else C_TYPES[kind] for kind in arguments]


def example(language):
    """The block of the page that is marked for this test."""
    page = PAGE.read_text(encoding="utf-8")
    return re.search(rf"<!-- test: {language} -->\n```\w+\n(.*?)```", page, re.DOTALL)[1]


def run(*command, cwd):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return run_program(command, environment, cwd)


def test_exported_signatures_are_those_that_were_promised():
    exported = signatures()
    assert {name: exported.get(name) for name in SIGNATURES} == SIGNATURES


def test_every_rule_and_dtype_has_its_function_and_its_pinned_signature():
    names = {f"{rule}_{dtype}" for rule in fastopt.RULES for dtype in ("float32", "float64")}
    assert set(signatures()) == set(SIGNATURES) == names | {"status_text"}


def test_the_page_names_what_the_functions_lack():
    declared = Path(fastopt._core.__file__).with_name("_core.pxd").read_text(encoding="utf-8")
    section = PAGE.read_text(encoding="utf-8").partition("\n## Cython\n")[2].partition("<!--")[0]
    for name in fastopt.RULES:
        arguments = (
            re.search(rf" {name}_float64\((.*)\)", declared)[1].replace("*", " ").split(", ")
        )
        taken = {argument.split()[-1] for argument in arguments}
        lacked = set(inspect.signature(getattr(fastopt, name)).parameters) - taken
        assert {word for word in lacked if f"`{word}`" not in section} == set()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", fastopt.RULES)
def test_function_takes_the_arguments_of_the_python_function_in_its_order(name, dtype):
    """Each hyper-parameter has a value of its own, so that two that are swapped are noticed."""
    rule = fastopt.RULES[name]
    types = types_of(f"{name}_{dtype}", ctypes.c_void_p)
    function = ctypes.CFUNCTYPE(ctypes.c_int, *types)(address_of(f"{name}_{dtype}"))
    rng = np.random.default_rng(0)
    states = states_of(rule, True)[: types.count(ctypes.c_void_p) - 2]
    arrays = [rng.uniform(0.5, 1, 37).astype(dtype) for _ in range(2 + len(states))]
    copies = [array.copy() for array in arrays]
    hypers = {}
    for place, (keyword, default) in enumerate(rule.hypers.items()):
        if keyword in rule.optional.values() or keyword == "cautious":
            continue  # the momentum of RMSprop, and what else the function knows nothing of
        if keyword == "step":
            hypers[keyword] = 3
        elif keyword == rule.carried:
            hypers[keyword] = np.full(rule.carried_shape, 0.5)
        else:
            hypers[keyword] = True if isinstance(default, bool) else 0.1 + place / 16
    getattr(fastopt, name)(*arrays, **hypers)
    carried = np.full(rule.carried_shape, 0.5)
    if rule.carried is not None:
        expected, hypers[rule.carried] = hypers[rule.carried], carried.ctypes.data
    assert function(37, *(array.ctypes.data for array in copies), *hypers.values()) == 0
    assert [a.tobytes() for a in arrays] == [a.tobytes() for a in copies]
    assert rule.carried is None or carried.tobytes() == expected.tobytes()
    assert rule.carried is None or (carried != 0.5).any()
    for place, value in enumerate(hypers.values(), 1 + len(arrays)):
        wrong = [37, *(array.ctypes.data for array in copies), *hypers.values()]
        wrong[place] = 2 if isinstance(value, bool) else 0 if isinstance(value, int) else np.nan
        assert function(*wrong) != 0
    assert [a.tobytes() for a in arrays] == [a.tobytes() for a in copies]


@pytest.mark.needs("numba")
def test_numba_code_gives_the_bits_of_python():
    from numba import njit
    from numba.extending import get_cython_function_address

    pointer, real, flag = ctypes.c_size_t, ctypes.c_double, ctypes.c_int
    address = get_cython_function_address("fastopt._core", "adam_float32")
    adam = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.c_size_t, *[pointer] * 5, ctypes.c_uint64, *[real] * 4,
        flag, real, flag, real, flag,
    )(address)  # fmt: skip

    @njit
    def train(param, grad, exp_avg, exp_avg_sq, steps):
        failed = 0
        for step in range(1, steps + 1):
            failed |= adam(
                param.size, param.ctypes.data, grad.ctypes.data, exp_avg.ctypes.data,
                exp_avg_sq.ctypes.data, 0, step, 1e-3, 0.9, 0.999, 1e-8, 0, 0.0, 0, 1.0, 0,
            )  # fmt: skip
        return failed

    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=1001).astype(np.float32), rng.normal(size=1001).astype(np.float32)]
    arrays += [np.zeros(1001, np.float32), np.zeros(1001, np.float32)]
    copies = [array.copy() for array in arrays]
    assert train(*copies, 5) == 0
    for step in range(1, 6):
        fastopt.adam(*arrays, step=step)
    assert [a.tobytes() for a in arrays] == [a.tobytes() for a in copies]


@pytest.mark.needs("numba")
def test_numba_example_of_the_page_trains():
    names = {}
    exec(compile(example("numba"), str(PAGE), "exec"), names)
    assert np.allclose(names["weights"], 0.5, atol=0.02)
    # If an argument were missing, it might train all the same, with whatever the stack holds.
    declared = type(names["rmsprop"])._argtypes_
    assert list(declared) == types_of("rmsprop_float64", ctypes.c_size_t)


@pytest.mark.compiler
def test_c_example_of_the_page_prints_what_it_says(tmp_path):
    (tmp_path / "program.c").write_text(example("c"))
    command = re.search(r"```sh\n(cc .*csrc/\*\.c.*)\n", PAGE.read_text(encoding="utf-8"))[1]
    shutil.copytree(ROOT / "csrc", tmp_path / "csrc", ignore=shutil.ignore_patterns("build"))
    # The other instruction sets, and optimizing, would take most of the time.
    run("sh", "-c", f"{command} -DFO_BASELINE_ONLY -O0", cwd=tmp_path)
    assert run(tmp_path / "program", cwd=tmp_path) == "0.75 2.25 3\n"


def test_installed_header_is_that_of_the_library():
    for name in ("fastopt.h", "rules.def", "formats.def"):
        installed = (Path(fastopt.get_include()) / name).read_text(encoding="utf-8")
        assert installed == (ROOT / "csrc" / name).read_text(encoding="utf-8")


def build_wheel(folder):
    """From the sources alone, without what a build leaves among them."""
    source = folder / "source"
    ignored = shutil.ignore_patterns(
        "*.so", "__pycache__", "build", ".git", "*.egg-info", "include"
    )
    for name in ("csrc", "src"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for path in ("_core.c", "_core.pxd", "_embedding.pxi", "_formulas.py"):
        (source / "src" / "fastopt" / path).unlink(missing_ok=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps"]
    run(*pip, "--no-build-isolation", "-w", folder / "wheels", source, cwd=folder)
    (wheel,) = (folder / "wheels").glob("fastopt-*.whl")
    return wheel


def files_of_wheel():
    """What the wheel holds that the imported package was installed from, if it was."""
    try:
        files = importlib.metadata.files("fastopt") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    held = [file for file in files if file.parts[0] == "fastopt"]
    return held if Path(fastopt.__file__) in {file.locate() for file in held} else []


def install_wheel(site, folder):
    for file in files_of_wheel():
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file.locate(), site / file)
    if not (site / "fastopt").exists():
        shutil.unpack_archive(build_wheel(folder), site, "zip")


@pytest.mark.compiler
@pytest.mark.needs("Cython", "setuptools")
def test_cython_package_builds_and_runs_against_the_installed_wheel(tmp_path):
    # NumPy, SciPy and Cython come from the running environment; fastopt only from the wheel.
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(python, "-c", purelib, cwd=tmp_path).strip())
    install_wheel(site, tmp_path)
    ours = Path(np.__file__).parents[1]
    (site / "shared.pth").write_text(f"{ours}\n")

    package = tmp_path / "package"
    shutil.copytree(ROOT / "tests" / "c" / "embedding", package)
    (package / "documented.pyx").write_text(example("cython"))
    run(python, "setup.py", "build_ext", "--inplace", cwd=package)
    run(python, "check.py", cwd=package)
