"""Checks what the extension module of a wheel asks of the system, against what its tags promise.

    python tools/check_symbols.py WHEEL MANYLINUX

To be run by the Python that the wheel is for, on Linux; needs nm and readelf. MANYLINUX is the name
that `auditwheel show` gives. Nothing may be imported that this CPython does not export, nothing of
a newer libc than the name says; no other library may be linked or looked for, and nothing exported
but the module and the C interface.
"""

import ctypes
import re
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

LIBRARIES = {"libc.so.6", "libm.so.6", "libpthread.so.0"}


def lines(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]


def version(text):
    return tuple(int(number) for number in re.findall(r"\d+", text))


def faults(extension, manylinux):
    """What is wrong with the file; prints what it imports."""
    promised = version(re.match(r"manylinux_(\d+_\d+)", manylinux)[1])
    of_python, of_libc, newest = [], [], (0,)
    for *_, kind, symbol in (words for words in lines("nm", "-D", extension) if len(words) > 1):
        name, _, libc = symbol.partition("@")
        if kind not in "Uw":
            if not (name == "PyInit__core" or name.startswith("fo_")):
                yield f"exports {name}"
        elif re.match("_?Py", name):
            of_python.append(name)
            if not hasattr(ctypes.pythonapi, name):
                yield f"imports {name}, which CPython {sys.version.split()[0]} does not export"
        elif libc:
            of_libc.append(name)
            newest = max(newest, version(libc))
            if not libc.strip("@").startswith("GLIBC_") or version(libc) > promised:
                yield f"imports {symbol}, but the wheel is for {manylinux}"
        elif kind == "U":
            yield f"imports {name}, which is nobody's"
    private = sum(name.startswith("_") for name in of_python)
    print(
        f"imports {len(of_python)} names of CPython ({private} private), all exported by this one; "
        f"{len(of_libc)} of libc, the newest of {'.'.join(map(str, newest))}"
    )
    # Some Pythons tell every extension where their own library lies.
    given = f"{sysconfig.get_config_var('LDSHARED')} {sysconfig.get_config_var('LDFLAGS')}"
    for words in lines("readelf", "-dW", extension):
        value = words[-1].strip("[]") if words else ""
        if "(NEEDED)" in words and value not in LIBRARIES:
            yield f"links {value}"
        if {"(RPATH)", "(RUNPATH)"} & set(words) and value not in given:
            yield f"looks for libraries in {value}"
        if "(TEXTREL)" in words:
            yield "has text relocations"
    for words in lines("readelf", "-lW", extension):
        if words[:1] == ["GNU_STACK"] and "E" in words[-2]:
            yield "has an executable stack"


def main(wheel, manylinux):
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    if f"-{tag}-{tag}-" not in Path(wheel).name:
        sys.exit(f"{Path(wheel).name} is not for this Python, {tag}")
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".so" in name]
        if names != [f"fastopt/_core{sysconfig.get_config_var('EXT_SUFFIX')}"]:
            sys.exit(f"{Path(wheel).name} has the libraries {names}")
        found = list(faults(archive.extract(names[0], folder), manylinux))
    if found:
        sys.exit("\n".join(f"{names[0]} {fault}" for fault in found))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
