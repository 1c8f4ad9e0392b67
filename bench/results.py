"""Measured rows on disk, with the machine and the versions that they came from."""

from __future__ import annotations

import json
import os
import platform
from importlib import metadata
from pathlib import Path

from .suites import Row

PACKAGES = ("fastopt", "numpy", "torch", "deepspeed", "thinc", "optax", "jax")


def environment() -> dict:
    """The CPU, the system and the versions of all contenders that are installed."""
    import fastopt

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "isa": fastopt.isa(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def read_rows(path: Path) -> list[Row]:
    """Rows that bench.measure wrote."""
    return [Row(**json.loads(line)) for line in path.read_text().splitlines()]


def load(path: Path) -> tuple[dict, list[Row]]:
    """The environment and rows that `save` wrote."""
    stored = json.loads(path.read_text())
    return stored["environment"], [Row(**row) for row in stored["rows"]]


def save(path: Path, rows: list[Row]) -> None:
    """Write rows, keeping those already there of cells not measured anew."""
    merged = {row.key: row for row in (load(path)[1] if path.exists() else [])}
    merged.update({row.key: row for row in rows})
    stored = {"environment": environment(), "rows": [row.as_dict() for row in merged.values()]}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(stored))
    partial.replace(path)
