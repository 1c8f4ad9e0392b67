"""What runs: the version, the instruction set and the threads."""

from __future__ import annotations

from pathlib import Path

from fastopt import _core

__all__ = ["__version__", "get_include", "show_config"]

__version__ = _core.c_version()


def get_include() -> str:
    """The folder with ``fastopt.h``, for programs that are compiled against the C interface.

    Returns
    -------
    str

    Examples
    --------
    >>> import fastopt
    >>> import pathlib
    >>> (pathlib.Path(fastopt.get_include()) / "fastopt.h").is_file()
    True
    """
    return str(Path(__file__).parent / "include")


def show_config() -> None:
    """Print the version, the instruction set in use and those available, and the threads.

    Examples
    --------
    >>> import fastopt
    >>> fastopt.show_config()  # doctest: +ELLIPSIS
    fastopt ...
      instruction set: ... (available: ...; FASTOPT_ISA forces one)
      threads: ... (FASTOPT_NUM_THREADS sets the number)
    """
    print(f"fastopt {__version__}")
    print(
        f"  instruction set: {_core.isa()} (available: {', '.join(_core.isas())}; "
        "FASTOPT_ISA forces one)"
    )
    print(f"  threads: {_core.get_num_threads()} (FASTOPT_NUM_THREADS sets the number)")
