"""Turn measured rows into tables and a picture.

python -m bench.steps.report              print every table of what was measured last
python -m bench.steps.report --publish    make that the published results: documents and picture
python -m bench.steps.report --check      compare the documents with the published results
"""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.documents import ROOT, Place, report
from bench.steps import tables
from bench.steps.plot import plot_steps
from bench.steps.results import LATEST, PUBLISHED, RULES, load

PICTURE = ROOT / "docs" / "images" / "steps.png"
NAME = "bench.steps.report"
END = "end of benchmark table"
PLACES = {
    Place("README.md", f"benchmark table: {NAME}", END): tables.short,
    Place("docs/notes/performance.md", f"benchmark tables: {NAME}", f"{END}s"): tables.whole,
    Place("docs/integrations/torch.md", "benchmark table: drop_in", END): tables.drop_in,
    Place("docs/integrations/thinc.md", "benchmark table: thinc", END): tables.thinc,
}
RULES_PLACE = Place("docs/notes/rivals.md", f"benchmark tables: {NAME}", f"{END}s")


def texts() -> dict[Place, str]:
    """What the published results make of each place."""
    measured = load(PUBLISHED) if PUBLISHED.exists() else None
    made = {place: tables.published(make, measured) for place, make in PLACES.items()}
    of_rules = load(RULES) if RULES.exists() else None
    return {**made, RULES_PLACE: tables.published(tables.every_rule, of_rules)}


def publish(results: Path) -> None:
    """Make the results of a file the published ones; then the documents and the picture.

    A file with rows of the suite `rules` has a page of its own, and the picture is left as it is.
    """
    of_rules = results.exists() and any(row.suite == "rules" for row in load(results)[1])
    published = RULES if of_rules else PUBLISHED
    if results.exists() and not (published.exists() and results.samefile(published)):
        shutil.copyfile(results, published)
    for place, text in texts().items():
        place.write(text)
    if PUBLISHED.exists() and not of_rules:
        plot_steps(load(PUBLISHED)[1], PICTURE)


def main() -> None:
    report(
        NAME,
        __doc__,
        LATEST,
        texts=texts,
        publish=publish,
        printed=lambda results: tables.whole(*load(results)),
    )


if __name__ == "__main__":
    main()
