"""Everything that the documentation shows is run: docstrings, README.md and the pages in docs.

The ```python blocks of a page are one program. Three comments on a line of their own make
exceptions and show nothing to a reader:

    <!-- not run: needs a cluster -->      on the line before a block: it is left out
    <!-- no example: states promises -->   anywhere in a page: it has no block
    <!-- needs: torch keras -->            anywhere: run with pytest --all only

A ```{picture} block is one of them too: the site shows the figure that it makes. A ```text block
right after one of these shows what the program prints there, numbers to within a tenth.
"""

import doctest
import importlib
import math
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastopt

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in page.parts),
]
MODULES = [
    "fastopt",
    *(module.name for module in pkgutil.walk_packages(fastopt.__path__, prefix="fastopt.")),
]
# DeepSpeed is in no environment of the tests; tools/peers.sh makes one, and runs these examples.
MODULES.remove("fastopt.integrations.deepspeed")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

NOT_RUN = re.compile(r"<!-- not run: .+ -->")
NO_EXAMPLE = re.compile(r"^<!-- no example: .+ -->$", re.MULTILINE)
OUTPUT = re.compile(
    r"^```python\n(?:(?!```).*\n)*```\n\n```text\n((?:(?!```).*\n)*)```$", re.MULTILINE
)
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?")
NEEDS = re.compile(r"^<!-- needs: (.+) -->$", re.MULTILINE)


# docstrings


# What the examples of a module import.
EXAMPLES_NEED = {
    "fastopt.tune.reporting.figure": "matplotlib",
    "fastopt.tune.reporting.page": "matplotlib",
    "fastopt.tune.reporting.plots": "matplotlib",
}


def module_parameter(name):
    """An integration needs its library, whose absence its import tells."""
    marks = []
    if name in EXAMPLES_NEED:
        marks.append(pytest.mark.needs(EXAMPLES_NEED[name]))
    elif name.startswith("fastopt.integrations."):
        marks.append(pytest.mark.needs())
    return pytest.param(name, marks=marks)


def run(tests):
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    report = []
    for test in tests:
        runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)


@pytest.mark.parametrize("name", [module_parameter(name) for name in MODULES])
def test_examples_of_module_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(doctest.DocTestFinder().find(importlib.import_module(name), name))


def documented():
    """The public functions and classes; a finder overlooks those that are made at import."""
    return [name for name in fastopt.__all__ if callable(getattr(fastopt, name))]


@pytest.mark.parametrize("name", documented())
def test_public_name_has_an_example_and_it_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tests = doctest.DocTestFinder().find(getattr(fastopt, name), name, module=fastopt)
    own = [test for test in tests if test.name == name]
    assert own, f"fastopt.{name} has no docstring"
    assert own[0].examples, f"the docstring of fastopt.{name} has no example"
    run(tests)


def test_every_rule_is_among_the_public_names():
    names = {rule.name for rule in fastopt.RULES.values()}
    names |= {rule.class_name for rule in fastopt.RULES.values()}
    assert names <= set(documented())


def test_every_public_name_of_the_tuner_is_on_its_reference_page():
    page = (ROOT / "docs" / "reference" / "tune.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"fastopt\.tune\.(\w+)$", page, re.MULTILINE))
    assert set(fastopt.tune.__all__) <= shown


# pages


def program(text):
    """The blocks that are to run, each on the lines that it has in the page, and their number."""
    lines = text.split("\n")
    result = [""] * len(lines)
    count = 0
    start = None
    for i, line in enumerate(lines):
        fence = re.match(r"( *)```(\S*)", line)
        if not fence:
            continue
        if start is None:
            start, indent, language = i, fence[1], fence[2]
            continue
        before = "" if start == 0 else lines[start - 1].strip()
        if language in ("python", "{picture}") and not NOT_RUN.fullmatch(before):
            result[start + 1 : i] = [code.removeprefix(indent) for code in lines[start + 1 : i]]
            count += 1
        start = None
    if start is not None:
        raise ValueError(f"line {start + 1}: a block without an end")
    return "\n".join(result), count


def page_parameter(page):
    packages = " ".join(NEEDS.findall(page.read_text(encoding="utf-8"))).split()
    marks = [pytest.mark.needs(*packages)] if packages else []
    return pytest.param(page, marks=marks, id=str(page.relative_to(ROOT)))


@pytest.mark.parametrize("page", [page_parameter(page) for page in PAGES])
def test_blocks_of_page_run(page, tmp_path):
    text = page.read_text(encoding="utf-8")
    source, count = program(text)
    if NO_EXAMPLE.search(text):
        assert count == 0, "the page has an example after all; remove the comment"
        return
    assert count > 0, "the page has no ```python block that runs"
    # Not the bare name: a script torch.py would be what "import torch" finds.
    script = tmp_path / f"page_{page.stem}.py"
    script.write_text(source, encoding="utf-8")
    finished = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    printed = finished.stdout.splitlines()
    for output in outputs(text):
        assert find(output, printed) is not None, f"printed was:\n{finished.stdout}"
        del printed[: find(output, printed) + len(output)]


def outputs(text):
    """What the page shows as printed: the lines of each block right after one of Python."""
    return [block.splitlines() for block in OUTPUT.findall(text)]


def find(output, printed):
    """Where these lines stand, if they do."""
    for i in range(len(printed) - len(output) + 1):
        if all(map(same, output, printed[i:])):
            return i
    return None


def same(shown, printed):
    """Equal words, and numbers that are: another BLAS rounds otherwise."""
    if NUMBER.sub("#", shown).split() != NUMBER.sub("#", printed).split():
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=0.1, abs_tol=0.01) for a, b in pairs)


def test_an_output_is_found_where_it_is_printed_and_only_there():
    page = "```python\nprint()\n```\n\n```text\nloss 2.00\nend\n```\n\n```text\nother\n```\n"
    assert outputs(page) == [["loss 2.00", "end"]]
    printed = ["loss 2.10", "loss  2.1", "end"]
    assert find(["loss 2.00", "end"], printed) == 1
    assert find(["loss 2.00", "start"], printed) is None
    assert find(["loss 2.40", "end"], printed) is None


def test_blocks_keep_their_lines_and_others_are_left_out():
    page = """# Title
```python
a = 1
```
- item
  ```python
  if a:
      b = 2
  ```
```
not python
```
<!-- not run: reason -->
```python
c = 3
```"""
    source, count = program(page)
    assert count == 2
    assert source.split("\n")[2] == "a = 1"
    assert source.split("\n")[6:8] == ["if a:", "    b = 2"]
    assert source.split() == ["a", "=", "1", "if", "a:", "b", "=", "2"]


def test_block_without_reason_is_run_and_one_without_end_is_refused():
    assert program("<!-- not run: -->\n```python\na = 1\n```")[1] == 1
    with pytest.raises(ValueError, match="line 2: a block without an end"):
        program("text\n```python\na = 1")
