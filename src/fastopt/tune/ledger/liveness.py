"""Who runs a trial, and whether it still lives.

A running trial carries its owner: host name, boot, process namespace, process id, the time at
which that process started (ids are used again), and the study object within it. An owner is dead
if

- it is on this host, but from an earlier boot;
- it is in this process namespace and no such process runs, or it started at another time;
- it is this very process, and its study object has been closed or garbage-collected.

Of a process on another host or in another namespace nothing can be known: it counts as alive, and
``Study.requeue`` is there to say otherwise.
"""

from __future__ import annotations

import functools
import os
import socket
import weakref
from typing import Any

__all__ = ["Owner", "is_alive", "register", "start_time"]

# The kernel's flag PF_EXITING, in field 9 of /proc/PID/stat (proc(5)): no code of it runs any more.
_EXITING = 0x4

_studies: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return None


@functools.cache
def _here() -> tuple[str, str, str]:
    boot = (_read("/proc/sys/kernel/random/boot_id") or "").strip()
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return socket.gethostname(), boot, namespace


def start_time(pid: int) -> str | None:
    """When the process started, "" if this system does not say, None if it is dead."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass  # it lives, under another user
    text = _read(f"/proc/{pid}/stat")
    if text is None:
        return ""
    # Behind the command, which may hold spaces and brackets: state, …, flags, …, start time.
    fields = text.rpartition(")")[2].split()
    # A killed process closes its files some time before its state says that it is dead.
    return None if fields[0] in "ZX" or int(fields[6]) & _EXITING else fields[19]


def register(study: Any) -> str:
    """An owner for trials of ``study``; it lives as long as that object does."""
    pid = os.getpid()
    token = os.urandom(8).hex()
    _studies[token] = study
    return "|".join([*_here(), str(pid), start_time(pid) or "", token])


class Owner:
    """Who runs the trials that ``study`` gives out; in a forked child it is the child."""

    def __init__(self, study: Any) -> None:
        self._study = weakref.ref(study)
        self._process, self._name = os.getpid(), register(study)

    def name(self) -> str:
        """As the study's file has it."""
        if self._process != os.getpid():
            self._process, self._name = os.getpid(), register(self._study())
        return self._name


def is_alive(owner: str | None) -> bool:
    """Whether the owner may still tell its trial."""
    if owner is None:
        return False
    host, boot, namespace, pid, start, token = owner.split("|")
    here = _here()
    if host != here[0]:
        return True
    if boot != here[1]:
        return False
    if namespace != here[2]:
        return True
    if start_time(int(pid)) != start:
        return False
    return int(pid) != os.getpid() or token in _studies
