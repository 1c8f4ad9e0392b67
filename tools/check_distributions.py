"""Checks what is uploaded: a source distribution and a wheel, as `python -m build` writes them.

python tools/check_distributions.py dist
"""

import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
MAX_WHEEL_BYTES = 1_000_000
SOURCE_SUFFIXES = {".c", ".h", ".def", ".pyx", ".pxi", ".pxd"}
WRITTEN_AND_INSTALLED = {"_formulas.py", "_rule_names.py"}
WRITTEN_BY_THE_BUILD = {"_core.c", "_core.pxd", "_embedding.pxi", *WRITTEN_AND_INSTALLED}
# What others compile against.
EMBEDDING = {"fastopt.h", "rules.def", "formats.def", "_core.pxd"}


def sources():
    """Everything that is compiled or installed, relative to the root."""
    paths = [*(ROOT / "csrc").rglob("*"), *(ROOT / "src" / "fastopt").rglob("*")]
    kept = {*SOURCE_SUFFIXES, ".py", ".pyi", ".typed", ".css", ".js"}
    return {
        path.relative_to(ROOT).as_posix()
        for path in paths
        if path.suffix in kept and path.name not in WRITTEN_BY_THE_BUILD
    }


def check_source(path):
    """Faults of a source distribution: whatever a build from it would miss or should not find."""
    with tarfile.open(path) as archive:
        members = [PurePosixPath(name) for name in archive.getnames()]
    names = {PurePosixPath(*member.parts[1:]).as_posix() for member in members}
    needed = sources() | {"setup.py", "pyproject.toml", "README.md", "LICENSE", "tests"}
    # The headers that the package installs are copies of those in csrc.
    needed = {name for name in needed if "/fastopt/include/" not in name}
    faults = [f"{path.name}: {name} is missing" for name in sorted(needed - names)]
    built = {f"src/fastopt/{name}" for name in WRITTEN_BY_THE_BUILD} | {
        name for name in names if PurePosixPath(name).suffix in {".so", ".pyd", ".o", ".a", ".db"}
    }
    return faults + [f"{path.name}: {name} must not be in it" for name in sorted(built & names)]


def check_wheel(path):
    """Faults of a wheel: what a user would miss, and what only costs space."""
    size = path.stat().st_size
    faults = [] if size < MAX_WHEEL_BYTES else [f"{path.name}: {size} bytes, not < 1 MB"]
    with zipfile.ZipFile(path) as archive:
        names = {PurePosixPath(name) for name in archive.namelist()}
    modules = {
        name.removeprefix("src/")
        for name in sources()
        if name.startswith("src/") and not name.endswith((".pyx", ".pxi", ".h", ".def"))
    }
    modules |= {f"fastopt/{name}" for name in WRITTEN_AND_INSTALLED}
    installed = {name.as_posix() for name in names}
    faults += [f"{path.name}: {name} is missing" for name in sorted(modules - installed)]
    if not any(name.match("fastopt/_core.*") and name.suffix in {".so", ".pyd"} for name in names):
        faults.append(f"{path.name}: the extension module is missing")
    for name in EMBEDDING - {name.name for name in names}:
        faults.append(f"{path.name}: {name} is missing")
    for name in sorted(names):
        if name.suffix in SOURCE_SUFFIXES - {".pxd"} and name.name not in EMBEDDING:
            faults.append(f"{path.name}: {name} must not be in it")
        if name.parts[0] != "fastopt" and not name.parts[0].endswith(".dist-info"):
            faults.append(f"{path.name}: {name} is outside the package")
    return faults


def main(folder):
    found = {
        check: sorted(Path(folder).glob(pattern))
        for check, pattern in ((check_source, "*.tar.gz"), (check_wheel, "*.whl"))
    }
    faults = [f"{folder} has no {check.__name__[6:]}" for check in found if not found[check]]
    for check, paths in found.items():
        for path in paths:
            faults += check(path)
            print(f"{path.name}: {path.stat().st_size:,} bytes")
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
