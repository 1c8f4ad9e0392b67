"""Runs the tests that touch other libraries with each of these absent, one by one, and with all.

    python tools/without_packages.py             # every package of PACKAGES, then all of them
    python tools/without_packages.py torch dask  # those

A package counts as absent if neither the tests nor what they start can import it. A test may then
fail only by saying that it is missing; nothing else may break. Every file is first run with all of
them, to see which it asks for; without a package only those that ask for it run again.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = [
    "cloudpickle", "dask", "distributed", "jax", "joblib", "keras", "matplotlib", "ml_dtypes",
    "mlflow", "mypy", "numba", "optax", "optuna", "pandas", "pyright", "sklearn", "tensorboard",
    "thinc", "threadpoolctl", "torch", "tqdm", "wandb",
]  # fmt: skip
# Of these every test runs, of other files only those that are marked with what they need: the rest
# passes in an environment that has none of the packages, as the README's command shows.
WHOLE = [
    "tests/integrations", "tests/test_documentation.py", "tests/test_missing_packages.py",
    "tests/test_stubs.py", "tests/tune/test_progress.py",
]  # fmt: skip

# Python imports a module of this name on its start, in every child too. What is asked for is noted,
# since a file that never asks for a package cannot miss it.
SITECUSTOMIZE = """
import os, sys


class Finder:
    def find_spec(self, name, path=None, target=None):
        package = name.partition(".")[0]
        if package in {packages!r}:
            with open({asked!r}, "a") as file:
                file.write(package + os.linesep)
        if package in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Finder())
"""


def run(files, absent, folder):
    """Which packages were asked for, and the tests that failed, with what they said."""
    asked = folder / "asked"
    (folder / "sitecustomize.py").write_text(
        SITECUSTOMIZE.format(packages=set(PACKAGES), asked=str(asked), absent=set(absent))
    )
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    whole = [file for file in files if is_whole(file)]
    marked = [file for file in files if not is_whole(file)]
    failed = []
    for chosen, marks in ((whole, "not slow"), (marked, "needs and not slow")):
        if chosen:
            failed += run_tests(chosen, f"{marks} and not compiler", path, folder / "report.xml")
    return set(asked.read_text().split() if asked.exists() else ()), failed


def run_tests(files, marks, path, report):
    command = [sys.executable, "-m", "pytest", "-q", "--all", "-p", "no:cacheprovider", "-m", marks]
    command += ["-n", "2", "--dist", "loadfile"] if len(files) > 1 else ["-n", "0"]
    report.unlink(missing_ok=True)
    done = subprocess.run(
        [*command, "--continue-on-collection-errors", f"--junitxml={report}", *files],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    if not report.exists():
        sys.exit(done.stdout + done.stderr)
    for case in ElementTree.parse(report).iter("testcase"):
        for problem in (*case.iter("failure"), *case.iter("error"), *case.iter("skipped")):
            if problem.get("type") != "pytest.xfail":
                said = f"{problem.get('message', '')}\n{problem.text}"
                yield f"{case.get('classname')}::{case.get('name')}", said


def is_whole(file):
    name = Path(file).relative_to(ROOT).as_posix()
    return name.startswith(tuple(WHOLE))


def test_files():
    """The files of WHOLE and those with a mark, but the one for another Thinc (tools/peers.sh)."""
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        if file.name != "test_spacy.py" and (is_whole(file) or "mark.needs(" in file.read_text()):
            yield str(file)


def says_what_is_missing(said, absent):
    names = [*absent, *(["scikit-learn"] if "sklearn" in absent else [])]
    either = "|".join(map(re.escape, names))
    # The last is how scikit-learn's own checks of an estimator say it.
    ways = (
        rf"No module named '({either})\b",
        rf"needs ({either})\b",
        rf"\b({either}) is not installed",
    )
    return re.search("|".join(ways), said)


def main(packages):
    asked, broken = {}, 0
    for file in test_files():
        with tempfile.TemporaryDirectory() as folder:
            asked[file], failed = run([file], [], Path(folder))
        print(f"{Path(file).name}: {', '.join(sorted(asked[file])) or '-'}", flush=True)
        if failed:
            sys.exit("\n".join(["fails with every package there:", *map("\n".join, failed)]))
    for absent in [*([name] for name in packages), packages]:
        files = [file for file, names in asked.items() if names & set(absent)]
        failed = []
        if files:
            with tempfile.TemporaryDirectory() as folder:
                _, failed = run(files, absent, Path(folder))
        wrong = [(test, said) for test, said in failed if not says_what_is_missing(said, absent)]
        found = f"{len(files)} files ask for it, {len(failed)} tests miss it, {len(wrong)} break"
        print(f"without {', '.join(absent)}: {found}", flush=True)
        for test, said in wrong:
            print(f"  {test}\n{said}")
        broken += len(wrong)
    sys.exit(broken > 0)


if __name__ == "__main__":
    main(sys.argv[1:] or PACKAGES)
