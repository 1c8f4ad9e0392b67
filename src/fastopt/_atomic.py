"""Replacing a file as a whole or not at all, so that the new content is on the disk on return.

The new content goes to a temporary file in the same folder, is forced to the disk, and takes the
name of the old file in one step. A process killed in the middle leaves the old file as it was and
perhaps a ``.fastopt-*.tmp`` beside it, which may be deleted. The one exception is a file that is a
mount point itself, as a container's bind mount makes it: no name can take its place, so it is
overwritten, while the whole content stands beside it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeAlias

__all__ = ["replace", "write_all"]

# Gives the same pieces at each call: a file may have to be written twice.
Content: TypeAlias = Callable[[], Iterable[memoryview | bytes | bytearray]]

# What file systems answer that know no synchronisation of folders.
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)


def replace(target: str, status: os.stat_result | None, content: Content) -> None:
    """Put a file with this content in the place of `target`, whose `status` is None if absent."""
    mode = None if status is None else stat.S_IMODE(status.st_mode)
    folder = os.path.dirname(target)
    temporary = os.path.join(folder, f".fastopt-{os.urandom(8).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    # From the first moment no one may open the temporary file who could not open the old one.
    descriptor = os.open(temporary, flags, 0o666 if mode is None else mode & 0o777)
    try:
        try:
            if status is not None:
                _keep_owner(descriptor, status)
            if mode is not None and hasattr(os, "fchmod"):
                os.fchmod(descriptor, mode)
            _write_content(descriptor, content)
        finally:
            os.close(descriptor)
        try:
            os.replace(temporary, target)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            _overwrite(target, content)
            os.unlink(temporary)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _keep_owner(descriptor: int, old: os.stat_result) -> None:
    """Give the new file the owner and group of the old one; root may, others the group at most."""
    new = os.fstat(descriptor)
    if not hasattr(os, "fchown") or (old.st_uid, old.st_gid) == (new.st_uid, new.st_gid):
        return
    try:
        os.fchown(descriptor, old.st_uid, old.st_gid)
    except PermissionError:
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, -1, old.st_gid)


def _overwrite(target: str, content: Content) -> None:
    """Write into a file that the system does not let us replace."""
    descriptor = os.open(target, os.O_WRONLY | os.O_TRUNC | getattr(os, "O_BINARY", 0))
    try:
        _write_content(descriptor, content)
    finally:
        os.close(descriptor)


def _write_content(descriptor: int, content: Content) -> None:
    for chunk in content():
        write_all(partial(os.write, descriptor), chunk)
    os.fsync(descriptor)


def write_all(write: Callable[[memoryview], Any], data: memoryview | bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        count = write(view)
        # Files that take everything need not say how much that was.
        view = view[len(view) if count is None else count :]


def _sync_folder(folder: str) -> None:
    """Make the new name durable. The file is in place: what fails here is no failure to save."""
    if os.name == "nt":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            warnings.warn(
                f"{folder}: the state file is in place and whole, but a power cut may still bring "
                f"the previous one back, since the folder could not be synchronised: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
