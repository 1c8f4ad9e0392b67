"""Runs the tests that touch other libraries with each of these absent, one by one, and with all.

    python tools/without_packages.py             # every package of PACKAGES, then all of them
    python tools/without_packages.py torch dask  # those

A package counts as absent if neither the tests nor what they start can import it. A test may then
fail only by saying that it is missing; nothing else may break.
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
    "dask", "distributed", "jax", "keras", "matplotlib", "mlflow", "mypy", "numba", "optuna",
    "pandas", "sklearn", "tensorboard", "thinc", "threadpoolctl", "torch", "tqdm", "wandb",
]  # fmt: skip
# Nothing else depends on what is installed.
TESTS = [
    "tests/integrations", "tests/test_documentation.py", "tests/test_missing_packages.py",
    "tests/test_stubs.py", "tests/tune/test_plots.py", "tests/tune/test_progress.py",
    "tests/tune/test_report.py", "tests/tune/test_study.py",
]  # fmt: skip

# Python imports a module of this name on its start, in every child too.
SITECUSTOMIZE = """
import sys


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Absent())
"""


def failures(absent, folder):
    """The tests that failed, with what they said."""
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE.format(packages=set(absent)))
    report = folder / "report.xml"
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "pytest", "-q", "--all", "-p", "no:cacheprovider"]
    command += ["-m", "not slow and not compiler", "--continue-on-collection-errors"]
    # It goes with another Thinc: tools/peers.sh runs it.
    command += ["--ignore=tests/integrations/test_spacy.py"]
    done = subprocess.run(
        [*command, f"--junitxml={report}", *TESTS],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    if not report.exists():
        sys.exit(done.stdout + done.stderr)
    for case in ElementTree.parse(report).iter("testcase"):
        for problem in (*case.iter("failure"), *case.iter("error"), *case.iter("skipped")):
            if problem.get("type") != "pytest.xfail":
                said = f"{problem.get('message', '')}\n{problem.text}"
                yield f"{case.get('classname')}::{case.get('name')}", said


def says_what_is_missing(said, absent):
    names = [*absent, *(["scikit-learn"] if "sklearn" in absent else [])]
    either = "|".join(map(re.escape, names))
    return re.search(rf"No module named '({either})\b|needs ({either})\b", said)


def main(packages):
    broken = 0
    for absent in [*([name] for name in packages), packages]:
        with tempfile.TemporaryDirectory() as folder:
            failed = list(failures(absent, Path(folder)))
        wrong = [(test, said) for test, said in failed if not says_what_is_missing(said, absent)]
        print(f"without {', '.join(absent)}: {len(failed)} miss it, {len(wrong)} break", flush=True)
        for test, said in wrong:
            print(f"  {test}\n{said}")
        broken += len(wrong)
    sys.exit(broken > 0)


if __name__ == "__main__":
    main(sys.argv[1:] or PACKAGES)
