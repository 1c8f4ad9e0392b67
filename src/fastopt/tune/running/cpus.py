"""How many workers the machine has CPUs for."""

from __future__ import annotations

import os

from fastopt import _core

__all__ = ["usable_cpus"]


def usable_cpus() -> int:
    """CPUs that this process may use."""
    # The extension module counts them for its own threads, with the quota of the cgroup.
    count = getattr(_core, "cpu_count", None)
    if count is not None:
        return count()
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
