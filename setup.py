"""Builds the C library into the extension module; everything else is in pyproject.toml."""

import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
PACKAGE = ROOT / "src" / "fastopt"
HEADING = "# Made by setup.py from csrc/rules.def and formats.def.\n"
HEADERS = ("fastopt.h", "rules.def", "formats.def")


def write_if_changed(path, text):
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def write_formulas():
    """The comments that open the rules' files, as a Python module: the docstrings' formulas."""
    formulas = {}
    for path in sorted((ROOT / "csrc" / "rules").glob("*.c")):
        comment = re.match(r"/\*(.*?)\*/", path.read_text(encoding="utf-8"), re.DOTALL)
        if comment is None:
            raise ValueError(f"{path} must open with a comment that gives the formula")
        lines = [re.sub(r"^ \* ?", "", line) for line in comment[1].strip().split("\n")]
        formulas[path.stem] = "\n".join(line.rstrip() for line in lines)
    body = "".join(f"    {name!r}: {text!r},\n" for name, text in formulas.items())
    module = f'"""Made by setup.py from the comments in csrc/rules."""\n\nFORMULAS = {{\n{body}}}\n'
    write_if_changed(PACKAGE / "_formulas.py", module)


def copy_headers():
    """What C code includes, into the package, where get_include() points to."""
    for name in HEADERS:
        text = (ROOT / "csrc" / name).read_text(encoding="utf-8")
        write_if_changed(PACKAGE / "include" / name, text)


def read_table(text):
    """The hyper-parameters' domains; each rule's states, step, number that it carries from step to
    step, and hyper-parameters."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL).replace("\\\n", "")
    domains = dict(re.findall(r"^FO_HYPER\((\w+), (\w+)\)", text, re.MULTILINE))
    shared = re.search(r"#define FO_SHARED(.*)", text)[1]
    decoupled = re.search(r"#define FO_DECOUPLED\(\w+\)(.*)", text)[1]
    rules = {}
    for row in re.findall(r"^FO_RULE\((.*?)\)\)\n", text, re.MULTILINE | re.DOTALL):
        name = row.partition(",")[0]
        listed = re.search(r"\b(?:ONE_STATE|TWO_STATES|THREE_STATES|FOUR_STATES)\((.*?)\)", row)
        states = re.findall(r"\w+", listed[1]) if listed else []
        states += re.findall(r"\bOPTIONAL\((\w+)", row)
        keywords = row.replace("FO_SHARED", shared).replace("FO_DECOUPLED", decoupled)
        hypers = re.findall(r"\b(?:HYPER|REQUIRED|CALL_ONLY)\((\w+)", keywords)
        step = ["uint64_t step"] if re.search(r"\bSTEP(_AND|_AND_ARRAY)?\b", row) else []
        carried = re.findall(r"\bSTEP_AND(?:_ARRAY)?\((\w+)", row)
        rules[name] = (states, step, carried, hypers)
    if not domains or len(rules) != len(re.findall(r"^FO_RULE\(", text, re.MULTILINE)):
        raise ValueError("csrc/rules.def has a row that setup.py cannot read")
    return domains, rules


def read_formats(text):
    """The storage formats whose elements are numbers of C: names to types."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    rows = re.findall(r"^FO_FORMAT\(\w+, (\w+), (\w+)", text, re.MULTILINE)
    return {name: c_type for name, c_type in rows if c_type in ("float", "double")}


def write_embedding():
    """What Cython and Numba call, two functions for each row of the table: _core.pxd declares them
    and _embedding.pxi defines them. (Cython cannot include a table for the C preprocessor.)"""
    domains, rules = read_table((ROOT / "csrc" / "rules.def").read_text(encoding="utf-8"))
    formats = read_formats((ROOT / "csrc" / "formats.def").read_text(encoding="utf-8"))
    signatures, bodies = [], []
    for name, (states, step, carried, hypers) in rules.items():
        for dtype, c_type in formats.items():
            arguments = ["size_t n", f"{c_type} *param", f"const {c_type} *grad"]
            arguments += [f"{c_type} *{state}" for state in states]
            arguments += [*step, *(f"double *{number}" for number in carried)]
            arguments += [
                f"{'int' if domains[hyper] == 'FO_FLAG' else 'double'} {hyper}" for hyper in hypers
            ]
            signature = f"cdef int {name}_{dtype}({', '.join(arguments)}) noexcept nogil"
            signatures.append(signature)
            pointers = [*states, *carried]
            bodies.append(
                f"{signature}:\n"
                f"    cdef fo_hyper hyper = fo_defaults(FO_RULE_{name})\n"
                f"    cdef void *states[{len(pointers) + 1}]\n"
                + "".join(f"    states[{i}] = {state}\n" for i, state in enumerate(pointers))
                + "".join(f"    (<double *>&hyper)[FO_{hyper}] = {hyper}\n" for hyper in hypers)
                + f"    return fo_update_states(FO_RULE_{name}, FO_{dtype.upper()}, n, param, "
                f"grad, states, {len(pointers)}, {'step' if step else 0}, &hyper)\n"
            )
    constants = [f"        FO_RULE_{name}\n" for name in rules]
    constants += [f"        FO_{hyper}\n" for hyper in domains]
    write_if_changed(
        PACKAGE / "_core.pxd",
        f"{HEADING}\nfrom libc.stdint cimport uint64_t\n\n"
        + "\n".join(signatures)
        + "\ncdef const char *status_text(int status) noexcept nogil\n",
    )
    write_if_changed(
        PACKAGE / "_embedding.pxi",
        f'{HEADING}\ncdef extern from "fastopt.h":\n    enum:\n'
        + "".join(constants)
        + "\n\n"
        + "\n\n".join(bodies),
    )


def write_rule_names():
    """The names of the rules as a type, so that checkers find a name that is not there."""
    _, rules = read_table((ROOT / "csrc" / "rules.def").read_text(encoding="utf-8"))
    names = "".join(f"    {name!r},\n" for name in rules)
    write_if_changed(
        PACKAGE / "_rule_names.py",
        f'"""Made by setup.py from csrc/rules.def."""\n\nfrom typing import Literal, TypeAlias\n\n'
        f"RuleName: TypeAlias = Literal[\n{names}]\n",
    )


def usable_cpus():
    """The CPUs of this process, where the system says which, else of the machine."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def relative(pattern):
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(pattern))


# After the user's own flags, so that the last word is ours: what changes floating-point arithmetic
# is undone, and where the module is linked, as -Ofast there makes the process flush to zero.
EXACT = ["-O3", "-fno-fast-math", "-fno-unsafe-math-optimizations", "-fno-associative-math"]
EXACT += ["-fno-reciprocal-math", "-fno-finite-math-only", "-ffp-contract=off"]
# Python's own flags ask for debugging information, which would be most of the wheel.
COMPILE = ["-g0", "-std=gnu11", *EXACT, "-fsigned-zeros", "-fno-math-errno"]
COMPILE += ["-fvisibility=hidden", "-Wall", "-Wextra"]
LINK = [*EXACT, "-lm", "-pthread"]
if sys.platform == "linux":
    LINK.append("-s")  # without the names of what is internal
# Cython's code is branches and calls: nothing in it is faster for being twice there.
COMPILE_CYTHON = ["-O2"]
# The same for clang-cl, which passes on what follows "/clang:".
COMPILE_MSVC = [f"/clang:{flag}" for flag in ("-std=gnu11", *EXACT[1:], "-fno-math-errno")]


class BuildExtension(build_ext):
    """Chooses the flags by the kind of compiler. Microsoft's own is replaced by clang-cl, since the
    C library is written in vectors of GNU C."""

    def build_extensions(self):
        if self.compiler.compiler_type == "msvc":
            clang_cl = shutil.which("clang-cl")
            if clang_cl is None:
                raise FileNotFoundError(
                    "fastopt needs clang-cl, which is not on the PATH: install LLVM (or the Clang "
                    "component of Visual Studio) and add the folder of clang-cl.exe to the PATH"
                )
            self.compiler.initialize(self.plat_name)
            self.compiler.cc = clang_cl
            # Microsoft's link-time code generation cannot read what clang-cl writes.
            self.compiler.compile_options = [
                option for option in self.compiler.compile_options if option != "/GL"
            ]
        for extension in self.extensions:
            if self.compiler.compiler_type == "msvc":
                extension.extra_compile_args = COMPILE_MSVC
            else:
                extension.extra_compile_args, extension.extra_link_args = COMPILE, LINK
        self.compile_side_by_side()
        super().build_extensions()

    def compile_side_by_side(self):
        """Let the compiler object, which takes one source after the other, take several at a time:
        as many as `build_ext --parallel` says, by default as many as there are CPUs."""
        compile_serially = self.compiler.compile
        jobs = int(self.parallel or usable_cpus())

        def compile_one(source, *args, extra_postargs=None, **kwargs):
            flags = [*(extra_postargs or ())]
            if source.endswith("_core.c") and self.compiler.compiler_type != "msvc":
                flags += COMPILE_CYTHON
            return compile_serially([source], *args, extra_postargs=flags, **kwargs)

        def compile_all(sources, *args, **kwargs):
            with ThreadPoolExecutor(jobs) as pool:
                objects = pool.map(lambda source: compile_one(source, *args, **kwargs), sources)
                return [name for names in objects for name in names]

        self.compiler.compile = compile_all


write_formulas()
write_rule_names()
copy_headers()
write_embedding()
core = Extension(
    "fastopt._core",
    # The longest first.
    sources=[
        "src/fastopt/_core.pyx",
        *relative("csrc/rules/*.c"),
        *relative("csrc/*.c"),
        *relative("csrc/threads/*.c"),
    ],
    depends=[*relative("csrc/**/*.h"), *relative("csrc/*.def"), *relative("src/fastopt/*.pxi")],
    include_dirs=["csrc", numpy.get_include()],
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
)
setup(
    ext_modules=cythonize([core], compiler_directives={"autotestdict": False}),
    cmdclass={"build_ext": BuildExtension},
)
