"""Write and read a state file by its path, or by a file object.

The layout of the bytes is in ``_container.py``. A file is replaced as a whole or not at all, see
``_atomic.py``. A file object gets the same bytes, and not that promise.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator
from functools import partial
from typing import IO, Any, TypeAlias, TypeGuard

from numpy.typing import NDArray

from fastopt._atomic import replace, write_all
from fastopt._container import CHUNK_BYTES, StateFileError, decode, encode, read_one, with_digest

__all__ = ["File", "StateFileError", "blaming", "name_of", "read", "write"]

# A path, or a file that is open in binary mode.
File: TypeAlias = str | os.PathLike[str] | IO[bytes]


def write(file: File, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Write `header` and `arrays` to a path, atomically and durably, or to a file object.

    Parameters
    ----------
    file : str, path-like or binary file
        The file, new or to be replaced. A symbolic link stays one: the file that it points to is
        replaced. A new file gets its mode from the umask, a replaced one keeps its mode and, as far
        as the system lets the process, its owner. A file object is written from where it stands.
    header : dict
        Anything that comes back from JSON as it went in: no tuples, no NaN, only string keys.
    arrays : dict of str to ndarray
        float16, float32, float64, bfloat16, int16, int64 or 8-bit blocks in native byte order, of
        any shape.
        Contiguous arrays are written from where they are, without a copy; they must not change
        meanwhile.

    Raises
    ------
    TypeError, ValueError
        `header` or `arrays` cannot be stored. The disk has not been touched.
    StateFileError
        The path is that of a named pipe, a device or a socket.
    OSError
        The system refused, or the path is that of a directory. The previous file is intact and the
        temporary one removed.

    Warns
    -----
    RuntimeWarning
        The file is in place and whole, but the folder could not be synchronised: the process may
        end now, a power cut may still bring the previous file back.

    Notes
    -----
    Windows and some network file systems cannot synchronise a folder; they are not asked to.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = os.path.join(folder.name, "state")
    >>> write(path, {"step": 3}, {"exp_avg": np.zeros(2, dtype=np.float32)})
    >>> read(path)
    ({'step': 3}, {'exp_avg': array([0., 0.], dtype=float32)})
    >>> folder.cleanup()
    """
    parts = encode(header, arrays)
    if _is_open(file, "write"):
        for chunk in with_digest(parts):
            write_all(file.write, chunk)
        return
    name = name_of(file)
    with _naming(name):
        target = os.path.realpath(name)
        replace(target, _status_of(target), partial(with_digest, parts))


def read(file: File) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read and verify what `write` made.

    Parameters
    ----------
    file : str, path-like or binary file
        The file. It is only read. A file object is read from where it stands to the end of the
        state.

    Returns
    -------
    header : dict
    arrays : dict of str to ndarray
        Fresh, writeable, C-contiguous arrays in native byte order.

    Raises
    ------
    StateFileError
        The file is not a state file, is damaged, or was written by a newer version.
    OSError
        The system refused to open or read it, or it is a directory.
    MemoryError
        The arrays, which are as large as the file is, do not fit.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     try:
    ...         read(file.name)
    ...     except StateFileError as error:
    ...         print(str(error).removeprefix(file.name))
    : has 0 bytes, fewer than the smallest state file
    """
    name = name_of(file)
    try:
        if _is_open(file, "read"):
            content = read_one(file)
            return decode(io.BytesIO(content), len(content))
        with (
            _naming(name),
            open(name, "rb", buffering=CHUNK_BYTES, opener=_open_without_waiting) as opened,
        ):
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise StateFileError("is not a regular file")
            return decode(opened, status.st_size)
    except StateFileError as error:
        raise StateFileError(f"{name}: {error}") from error.__cause__


def name_of(file: File) -> str:
    """What messages call it."""
    if isinstance(file, (str, bytes, os.PathLike)):
        return os.fsdecode(file)
    return str(getattr(file, "name", f"<{type(file).__name__}>"))


@contextlib.contextmanager
def blaming(file: File) -> Iterator[None]:
    """Make what is wrong with a content an error of the file that it was read from."""
    try:
        yield
    except (IndexError, TypeError, ValueError) as error:
        raise StateFileError(f"{name_of(file)}: {error}") from error


def _is_open(file: Any, method: str) -> TypeGuard[IO[bytes]]:
    """Whether it is a file object and not a path."""
    if isinstance(file, (str, bytes, os.PathLike)):
        return False
    if not hasattr(file, method):
        raise TypeError(f"file must be a path or a binary file, got {type(file).__name__}")
    if isinstance(file, io.TextIOBase):
        raise TypeError("file must be open in binary mode, got one in text mode")
    return True


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Put this file's name on the system's errors: some have none, some a temporary file's."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename = name
            del error.filename2  # which a renaming has
        raise


def _status_of(target: str) -> os.stat_result | None:
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    if not stat.S_ISREG(status.st_mode):
        raise StateFileError(f"{target}: is not a regular file")
    return status


def _open_without_waiting(name: str, flags: int) -> int:
    # A plain open of a named pipe waits until another process writes to it.
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
