"""A coverage-guided fuzzer of the reader of state files; needs atheris.

    python tests/core/fuzz_statefile.py src/fastopt/_statefile.py -max_total_time=120

The reader is loaded without the package's own ``__init__``, so that atheris can instrument it.
Whatever the bytes, `read` returns what `write` could have written or raises StateFileError;
anything else is a finding. Half of the inputs get a right length and checksum, else none would pass
the first line of defence.
"""

import hashlib
import importlib
import os
import struct
import sys
import tempfile
import types

import atheris
import numpy  # noqa: F401  before the instrumentation, which would take it for the target

PREFIX = struct.Struct("<8sIIQ")


def load(path):
    package = types.ModuleType("fastopt")
    package.__path__ = [os.path.dirname(path)]
    sys.modules["fastopt"] = package
    with atheris.instrument_imports():
        module = importlib.import_module("fastopt._statefile")
    atheris.instrument_func(module.read)
    return module


def with_right_checksum(body, header_bytes):
    header_bytes = min(header_bytes, len(body))
    padding = bytes(-(PREFIX.size + header_bytes) % 64)
    content = body[:header_bytes] + padding + body[header_bytes:]
    start = PREFIX.pack(b"\x89fastopt", 1, header_bytes, PREFIX.size + len(content) + 32) + content
    return start + hashlib.sha256(start).digest()


def main(arguments):
    statefile = load(arguments.pop(1))
    folder = tempfile.mkdtemp()
    path, again = os.path.join(folder, "input"), os.path.join(folder, "again")

    def test_one_input(data):
        content = data
        if len(data) > 2 and data[0] & 1:
            content = with_right_checksum(data[2:], 4 * data[1])
        with open(path, "wb") as file:
            file.write(content)
        try:
            header, arrays = statefile.read(path)
        except statefile.StateFileError:
            return
        statefile.write(again, header, arrays)
        assert repr(statefile.read(again)) == repr((header, arrays))

    atheris.Setup(arguments, test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
