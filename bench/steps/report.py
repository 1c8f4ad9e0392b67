"""Turn measured rows into tables and a picture.

python -m bench.steps.report              print every table of what was measured last
python -m bench.steps.report --publish    make that the published results: documents and picture
python -m bench.steps.report --check      compare the documents with the published results
"""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.documents import ROOT, Place, report
from bench.steps import quality, tables
from bench.steps.plot import plot_steps
from bench.steps.quality_report import plot_losses, quality_table
from bench.steps.results import LATEST, NARROW, PUBLISHED, RULES, load

PICTURE = ROOT / "docs" / "images" / "steps.png"
NAME = "bench.steps.report"
END = "end of benchmark table"
PLACES = {
    PUBLISHED: {
        Place("README.md", f"benchmark table: {NAME}", END): tables.short,
        Place("docs/notes/performance.md", f"benchmark tables: {NAME}", f"{END}s"): tables.whole,
        Place("docs/integrations/torch.md", "benchmark table: drop_in", END): tables.drop_in,
        Place("docs/integrations/thinc.md", "benchmark table: thinc", END): tables.thinc,
    },
    RULES: {
        Place("docs/notes/rivals.md", f"benchmark tables: {NAME}", f"{END}s"): tables.every_rule,
    },
    NARROW: {
        Place("docs/guides/memory.md", "benchmark table: narrow", END): tables.memory,
        Place("docs/notes/narrow.md", f"benchmark tables: {NAME}", f"{END}s"): tables.every_storage,
    },
}
QUALITY_PLACE = Place("docs/guides/memory.md", "losses", "end of losses")
QUALITY_PICTURE = PICTURE.with_name("narrow_losses.png")
# Rows of these suites are published apart.
APART = {"rules": RULES, "narrow": NARROW}


def texts() -> dict[Place, str]:
    """What the published results make of each place."""
    made = {}
    for path, places in PLACES.items():
        measured = load(path) if path.exists() else None
        made |= {place: tables.published(make, measured) for place, make in places.items()}
    return {**made, QUALITY_PLACE: quality_table(quality.load())}


def publish(results: Path) -> None:
    """Make the results of a file the published ones; then the documents and the pictures."""
    suites = [row.suite for row in load(results)[1]] if results.exists() else []
    published = next((APART[suite] for suite in suites if suite in APART), PUBLISHED)
    if results.exists() and not (published.exists() and results.samefile(published)):
        shutil.copyfile(results, published)
    for place, text in texts().items():
        place.write(text)
    if published.exists() and published == PUBLISHED:
        plot_steps(load(PUBLISHED)[1], PICTURE)
    if published == NARROW and (trainings := quality.load()):
        plot_losses(trainings, QUALITY_PICTURE)


def main() -> None:
    report(
        NAME,
        __doc__,
        LATEST,
        texts=texts,
        publish=publish,
        printed=lambda results: tables.printed(*load(results)),
    )


if __name__ == "__main__":
    main()
