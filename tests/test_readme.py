"""The first screen: short, with one table that fits a terminal, and the two commands."""

import re
from pathlib import Path

import fastopt
import fastopt.tune

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def tables():
    return re.findall(r"(?:^\|.*\|\n)+", README, re.MULTILINE)


def test_it_has_at_most_150_lines():
    assert len(README.splitlines()) <= 150


def test_its_one_table_has_five_to_eight_rows_in_eighty_columns():
    (table,) = tables()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert 5 <= len(rows) - 2 <= 8
    # Rendered, a column is as wide as its widest cell, with a space on either side.
    widths = [max(map(len, column)) + 3 for column in zip(rows[0], *rows[2:], strict=True)]
    assert sum(widths) + 1 <= 80


def test_the_table_is_the_one_that_the_benchmark_writes():
    (table,) = tables()
    begin = README.index("<!-- benchmark table: bench.steps.report -->")
    end = README.index("<!-- end of benchmark table -->")
    assert begin < README.index(table) < end


def test_the_two_commands_are_there():
    assert "pip install '.[examples]' && python examples/tune_digits.py\n" in README
    assert "pip install '.[test]' && pytest\n" in README


def test_every_page_and_picture_it_links_to_exists():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert len(targets) > 10
    for target in targets:
        assert (ROOT / target).is_file(), target


def test_the_reference_has_an_entry_for_every_public_name():
    """Rules have theirs from the table."""
    pages = "".join(
        page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md")
    )
    rules = {rule.name for rule in fastopt.RULES.values()}
    rules |= {rule.class_name for rule in fastopt.RULES.values()}
    others = {"RULES", "__version__", "schedules", "tune"}  # a table, a string, modules
    entry = r"(?:auto\w+|py:data):: "
    for name in set(fastopt.__all__) - rules - others:
        assert re.search(rf"{entry}fastopt\.{name}\b", pages), name
    for name in fastopt.tune.__all__:
        assert re.search(rf"{entry}fastopt\.tune\.{name}\b", pages), name
    assert "automodule:: fastopt.schedules\n   :members:" in pages
