"""csrc alone: it builds without Python, and C programs get the bits that Python gets."""

import ctypes
import os
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from cases import states_of, step_keyword
from processes import run_program

import fastopt

pytestmark = pytest.mark.compiler

ROOT = Path(__file__).parents[2]
CSRC = ROOT / "csrc"
PROGRAMS = ROOT / "tests" / "c"
CC = shlex.split(os.environ.get("CC", "cc"))
CXX = shlex.split(os.environ.get("CXX", "c++"))
STRICT = ["-Wall", "-Wextra", "-Werror"]
LINK = ["-lm", "-pthread"]
DECLARATION = re.compile(r"FO_API\b[^;]*?\b(fo_\w+)\(")


def run(command, **environment):
    """The program's output; if it fails, the message shows that output."""
    return run_program(command, {**os.environ, **environment})


def make(target, build, *settings):
    jobs = f"-j{fastopt._core.cpu_count()}"
    run(["make", jobs, "-C", CSRC, f"BUILD={build}", f"CC={shlex.join(CC)}", *settings, target])


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What ``make install`` leaves: in C_PREFIX, or made here, which takes most of the time."""
    if "C_PREFIX" in os.environ:
        return Path(os.environ["C_PREFIX"])
    folder = tmp_path_factory.mktemp("c")
    make(
        "install", folder / "build", f"PREFIX={folder / 'usr'}", "CFLAGS=-O2 -Wall -Wextra -Werror"
    )
    return folder / "usr"


@pytest.fixture(scope="module")
def abi(installed, tmp_path_factory):
    """FO_ABI of the header."""
    folder = tmp_path_factory.mktemp("abi")
    source = folder / "abi.c"
    source.write_text(
        "#include <fastopt.h>\n#include <stdio.h>\n"
        'int main(void) { return printf("%llu", (unsigned long long)FO_ABI) < 0; }\n'
    )
    program = folder / "abi"
    include = f"-I{installed / 'include'}"
    run([*CC, include, source, installed / "lib/libfastopt.a", "-lm", "-pthread", "-o", program])
    return int(run([program]))


@pytest.fixture(scope="module")
def library(installed):
    library = ctypes.CDLL(str(installed / "lib" / "libfastopt.so"))
    library.fo_defaults_abi.argtypes = [ctypes.c_uint64, ctypes.c_int, ctypes.c_void_p]
    library.fo_update_states_abi.argtypes = [
        ctypes.c_uint64, ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p,
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint64, ctypes.c_void_p,
    ]  # fmt: skip
    return library


def hyper_names():
    table = (CSRC / "rules.def").read_text(encoding="utf-8")
    return re.findall(r"^FO_HYPER\((\w+),", table, re.MULTILINE)


def test_every_isa_gives_the_pinned_bits(installed, tmp_path):
    program = tmp_path / "hashes"
    library = installed / "lib" / "libfastopt.a"
    include = f"-I{installed / 'include'}"
    run([*CC, "-O2", *STRICT, include, PROGRAMS / "hashes.c", library, "-o", program, *LINK])
    pinned = (PROGRAMS / "hashes.txt").read_text()
    assert {line.split()[0] for line in pinned.splitlines()} == set(fastopt.RULES)
    for isa in fastopt._core.isas():
        for threads in ("1", "3"):
            hashes = run([program], FASTOPT_ISA=isa, FASTOPT_NUM_THREADS=threads)
            assert hashes == pinned, (isa, threads)


ALWAYS = ("sgd", "nag", "adagrad")  # the library itself uses them


@pytest.fixture(scope="module")
def only_adam(tmp_path_factory):
    build = tmp_path_factory.mktemp("subset")
    make(build / "libfastopt.a", build, "RULES=adam", "CFLAGS=-O1 -Wall -Wextra -Werror")
    return build / "libfastopt.a"


def test_a_chosen_rule_has_the_pinned_bits(only_adam, tmp_path):
    program = tmp_path / "hashes"
    include = f"-I{CSRC}"
    run(
        [
            *CC,
            "-O2",
            *STRICT,
            include,
            PROGRAMS / "hashes.c",
            only_adam,
            "-o",
            program,
            *LINK,
        ]
    )
    pinned = (PROGRAMS / "hashes.txt").read_text().splitlines()
    expected = [line for line in pinned if line.split()[0] in {"adam", "adamw", *ALWAYS}]
    assert expected
    assert run([program, "adam", "adamw", *ALWAYS]).splitlines() == expected


def test_a_rule_that_was_left_out_is_refused_by_every_step(only_adam, tmp_path):
    program = tmp_path / "left_out"
    source = PROGRAMS / "left_out.c"
    run([*CC, *STRICT, f"-I{CSRC}", source, only_adam, "-o", program, *LINK])
    found = dict(line.split(": ", 1) for line in run([program]).splitlines())
    there = {rule.name for rule in fastopt.RULES.values() if rule.kernel in {"adam", *ALWAYS}}
    refusal = "the library was compiled without this rule (RULES, FO_LEAVE_OUT)"
    assert found == {name: "no error" if name in there else refusal for name in fastopt.RULES}


def test_a_rule_that_was_left_out_has_no_loop(only_adam):
    listing = run(["nm", only_adam])
    members = dict(re.findall(r"^(\w+)\.o:\n((?:.+\n)*)", listing, re.MULTILINE))
    rules = {path.stem for path in (CSRC / "rules").glob("*.c")}
    assert {name for name in rules if " t loop_" in members[name]} == {"adam", *ALWAYS}


def test_make_compiles_rules_again_where_others_are_chosen(tmp_path):
    kernel, made = tmp_path / "rules" / "sgd.o", []
    for rules in ("adam", "adam", "", "sgd"):
        make(kernel, tmp_path, f"RULES={rules}", "CFLAGS=-O0 -DFO_BASELINE_ONLY")
        made.append(kernel.stat().st_mtime_ns)
    assert made[0] == made[1] < made[2] < made[3]


def test_make_refuses_a_rule_that_it_does_not_know(tmp_path):
    command = ["make", "-C", CSRC, f"BUILD={tmp_path}", "RULES=adam sdg"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "RULES must be names of files in rules/, got adam sdg; there are" in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_root_by_multiplications_is_that_of_the_divider(tmp_path):
    program = tmp_path / "roots"
    flags = ["-O2", "-std=gnu11", "-ffp-contract=off", "-fno-math-errno", *STRICT, f"-I{CSRC}"]
    run([*CC, *flags, PROGRAMS / "roots.c", "-lm", "-o", program])
    found = run([program]).splitlines()
    if "avx512" in fastopt._core.isas():
        every = ["4294967296 floats: equal bits", "67108864 random doubles: equal bits"]
        hard = [
            "366 floats that are hard to round, 555673 estimates: equal bits",
            "365 doubles that are hard to round, 554532 estimates: equal bits",
        ]
        assert found == [*hard, *every, *every]
    else:
        assert found == ["no such root on this CPU"]


def test_only_the_interface_is_exported(installed):
    header = (CSRC / "fastopt.h").read_text(encoding="utf-8")
    listing = run(["nm", "-D", "--defined-only", installed / "lib" / "libfastopt.so"])
    exported = {line.split()[-1] for line in listing.splitlines()}
    assert exported == set(DECLARATION.findall(header))


def test_shared_library_has_a_soname_and_is_never_unloaded(installed):
    dynamic = run(["readelf", "-d", installed / "lib" / "libfastopt.so"])
    major, minor, _ = fastopt.__version__.split(".")
    assert f"[libfastopt.so.{major}.{minor}]" in dynamic
    assert "NODELETE" in dynamic


def test_static_library_defines_no_name_of_others(installed):
    listing = run(["nm", "--defined-only", "--extern-only", installed / "lib" / "libfastopt.a"])
    names = {line.split()[-1] for line in listing.splitlines() if len(line.split()) == 3}
    assert names
    assert all(name.startswith("fo_") for name in names)


def test_example_builds_with_pkg_config_and_fits(installed, tmp_path):
    folder = str(installed / "lib" / "pkgconfig")
    flags = run(["pkg-config", "--cflags", "--libs", "fastopt"], PKG_CONFIG_PATH=folder).split()
    version = run(["pkg-config", "--modversion", "fastopt"], PKG_CONFIG_PATH=folder).strip()
    assert version == fastopt.__version__
    program = tmp_path / "linear_model"
    source = ROOT / "examples" / "linear_model.c"
    run([*CC, "-O2", *STRICT, source, *flags, "-lm", "-o", program])
    output = run([program], LD_LIBRARY_PATH=str(installed / "lib"))
    assert output.splitlines()[-1].split() == ["fitted", "2.00", "-1.00", "0.50", "3.00"]


@pytest.mark.parametrize("name", ["errors.c", "groups.c", "rows.c", "sparse.c"])
@pytest.mark.parametrize("standard", ["c++11", "c++20"])
def test_header_serves_cplusplus(installed, tmp_path, standard, name):
    program = tmp_path / "program"
    language = ["-x", "c++", f"-std={standard}", "-pedantic", *STRICT]
    source = [PROGRAMS / name, "-x", "none", installed / "lib" / "libfastopt.a"]
    run([*CXX, *language, f"-I{installed / 'include'}", *source, "-lm", "-pthread", "-o", program])
    run([program])


def test_header_is_standard_c(tmp_path):
    source = tmp_path / "include.c"
    source.write_text("#include <fastopt.h>\n")
    for standard in ("c99", "c11", "c17"):
        flags = [f"-std={standard}", "-pedantic", *STRICT]
        run([*CC, *flags, f"-I{CSRC}", "-fsyntax-only", source])


@pytest.mark.parametrize("flag", ["-std=c11", "-std=c17", "-D_GNU_SOURCE"])
def test_sources_compile_with_the_flags_of_the_program_around_them(flag):
    flags = ["-O0", "-DFO_BASELINE_ONLY", "-DFO_LEAVE_OUT", flag, *STRICT, f"-I{CSRC}"]
    sources = [path for folder in (".", "rules", "threads") for path in (CSRC / folder).glob("*.c")]
    run([*CC, *flags, "-fsyntax-only", *sources])


def test_fast_math_is_refused(tmp_path):
    for flag in ("-ffast-math", "-Ofast", "-ffinite-math-only"):
        for source in ("rules/adam.c", "table.c", "norm.c"):
            command = [*CC, "-O2", flag, f"-I{CSRC}", "-fsyntax-only", str(CSRC / source)]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            assert result.returncode != 0, (flag, source)
            assert "fast-math breaks the promise" in result.stderr


@pytest.mark.skipif("avx512" not in fastopt._core.isas(), reason="no CPU that contracts")
def test_contracted_build_is_refused_when_it_is_loaded(installed, tmp_path):
    """Built without build.h, which undoes the flag."""
    kernel, program = tmp_path / "nag.o", tmp_path / "program"
    flags = ["-std=gnu11", "-O2", "-DFO_BUILD_H", "-ffp-contract=fast", f"-I{CSRC}"]
    run([*CC, *flags, "-c", CSRC / "rules" / "nag.c", "-o", kernel])
    source = tmp_path / "program.c"
    source.write_text(
        "#include <fastopt.h>\n#include <stdio.h>\n"
        "int main(void) {\n"
        "    double param = 1, grad = 1;\n"
        "    fo_hyper hyper = fo_defaults(FO_RULE_sgd);\n"
        "    hyper.lr = 0.5;\n"
        "    fo_status status = fo_sgd_f64(1, &param, &grad, &hyper);\n"
        '    return printf("%d %d %g", status == FO_BAD_BUILD, !fo_settings_error(), param) < 0;\n'
        "}\n"
    )
    library = installed / "lib" / "libfastopt.a"
    for objects, expected in (([kernel, library], "1 0 1"), ([library], "0 1 0.5")):
        run([*CC, f"-I{installed / 'include'}", source, *objects, "-o", program, *LINK])
        assert run([program], FASTOPT_ISA="avx512") == expected


def test_lanes_without_an_element_trap_nowhere(installed, tmp_path):
    """eps = 0 divides by the root of what is in them. States are at 0, as before a class's first
    step, or at 1; optional ones begin at 0.
    """
    source, program = tmp_path / "traps.c", tmp_path / "traps"
    source.write_text(
        "#define _GNU_SOURCE\n#include <fastopt.h>\n#include <fenv.h>\n"
        "int main(void) {\n"
        "    feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW);\n"
        "    for (int rule = 0; rule < FO_RULE_COUNT; rule++)\n"
        "        for (int n = 2; n < 80; n++) {\n"
        "            const int m = n / 2, fresh = n % 2;\n"
        "            enum { BUFFERS = 2 + FO_MAX_STATES };\n"
        "            double x[BUFFERS][40], carried[2][FO_MAX_CARRIED] = {{0}};\n"
        "            float y[BUFFERS][40];\n"
        "            const fo_rule_info *info = fo_rule_describe((fo_rule)rule);\n"
        "            const int states = info->state_count, all = states + info->optional_count;\n"
        "            const int count = all + (info->carried != 0);\n"
        "            const int first = 2 + (fresh ? 0 : states);\n"
        "            void *a[FO_MAX_STATES + 1], *b[FO_MAX_STATES + 1];\n"
        "            for (int i = 0; i < BUFFERS; i++)\n"
        "                for (int k = 0; k < 40; k++)\n"
        "                    x[i][k] = y[i][k] = i < first;\n"
        "            for (int k = 0; k < all; k++)\n"
        "                a[k] = x[2 + k], b[k] = y[2 + k];\n"
        "            if (info->carried)\n"
        "                a[all] = carried[0], b[all] = carried[1];\n"
        "            fo_hyper hyper = fo_defaults((fo_rule)rule);\n"
        "            hyper.lr = 0.1;\n"
        "            hyper.eps = 0;\n"
        "            if (fo_update_states(rule, FO_FLOAT64, m, x[0], x[1], a, count, 1, &hyper))\n"
        "                return 1;\n"
        "            if (fo_update_states(rule, FO_FLOAT32, m, y[0], y[1], b, count, 1, &hyper))\n"
        "                return 1;\n"
        "        }\n"
        "    return 0;\n"
        "}\n"
    )
    library = installed / "lib" / "libfastopt.a"
    run([*CC, f"-I{installed / 'include'}", source, library, "-o", program, *LINK])
    for isa in fastopt._core.isas():
        run([program], FASTOPT_ISA=isa)


def test_a_step_without_memory_writes_nothing(installed, tmp_path):
    program = tmp_path / "memory"
    library = installed / "lib" / "libfastopt.a"
    flags = [*STRICT, f"-I{installed / 'include'}", "-Wl,--wrap=malloc", "-Wl,--wrap=calloc"]
    run([*CC, *flags, PROGRAMS / "memory.c", library, "-o", program, *LINK])
    run([program])


def test_an_object_of_cplusplus_may_step_before_main(installed, tmp_path):
    program = tmp_path / "early"
    library = installed / "lib" / "libfastopt.a"
    source = PROGRAMS / "early.cpp"
    run([*CXX, *STRICT, f"-I{installed / 'include'}", source, library, "-o", program, *LINK])
    assert run([program]) == "no error, 0.5, 7 threads"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", fastopt.RULES)
def test_c_library_and_python_give_equal_bits(library, abi, name, dtype):
    rule = fastopt.RULES[name]
    rng = np.random.default_rng(0)
    names = states_of(rule, True)
    index = list(fastopt.RULES).index(name)
    hyper = np.empty(len(hyper_names()))
    assert library.fo_defaults_abi(abi, index, hyper.ctypes.data) == 0
    keywords = {"lr": 0.01, "weight_decay": 0.1}
    for keyword, value in keywords.items():
        hyper[hyper_names().index(keyword)] = value
    for n in (0, 1, 7, 64, 1001):
        param = rng.normal(size=n).astype(dtype)
        states = {state: np.zeros(n, dtype) for state in names}
        c_param, c_states = param.copy(), {state: np.zeros(n, dtype) for state in names}
        carried, c_carried = (np.zeros(rule.carried_shape) for _ in range(2))
        pointers = (ctypes.c_void_p * (len(names) + 1))(
            *(array.ctypes.data for array in c_states.values()), c_carried.ctypes.data
        )
        for step in range(1, 6):
            grad = rng.normal(size=n).astype(dtype)
            status = library.fo_update_states_abi(
                abi, index, dtype is np.float64, n, c_param.ctypes.data, grad.ctypes.data,
                pointers, len(pointers), step, hyper.ctypes.data,
            )  # fmt: skip
            assert status == 0
            counted = step_keyword(rule, step, carried)
            getattr(fastopt, name)(param, grad, **states, **keywords, **counted)
        assert c_param.tobytes() == param.tobytes()
        assert c_carried.tobytes() == carried.tobytes()
        for state in names:
            assert c_states[state].tobytes() == states[state].tobytes()
