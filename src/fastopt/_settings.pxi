# The norm, threads, instruction sets, versions; part of _core.pyx.


def norm(array):
    """The Euclidean norm of an array, as clipping takes it: in double, on all threads."""
    cdef fo_tensor tensor
    cdef double total = 0.0
    cdef fo_status status
    tensor.dtype = check_type("array", array)
    check_layout("array", array, False)
    tensor.group = 0
    tensor.n = cnp.PyArray_SIZE(<cnp.ndarray>array)
    tensor.grad = cnp.PyArray_DATA(<cnp.ndarray>array)
    with nogil:
        status = fo_norm(&tensor, 1, &total)
    if status != FO_OK:
        raise_status(status, NULL, NULL, NULL)
    return total


def get_num_threads():
    """The largest number of threads that a step uses, the caller's own included.

    The default is the environment variable ``FASTOPT_NUM_THREADS``, else ``OMP_NUM_THREADS``, else
    the number of CPUs that the process may use (its affinity mask and its control group's quota).

    Returns
    -------
    int

    Examples
    --------
    >>> import fastopt
    >>> fastopt.get_num_threads() >= 1
    True
    """
    return fo_get_num_threads()


def cpu_count():
    """The CPUs that the process may use: its affinity mask, and its control group's quota."""
    return fo_cpu_count()


def set_num_threads(n):
    """Set the largest number of threads that a step uses, the caller's own included.

    It changes no bit of any result. Small steps are done by the caller alone whatever the number.

    Parameters
    ----------
    n : int
        From 1 to 1024.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If `n` is out of range.

    Examples
    --------
    >>> import fastopt
    >>> before = fastopt.get_num_threads()
    >>> fastopt.set_num_threads(1)
    >>> fastopt.get_num_threads()
    1
    >>> fastopt.set_num_threads(before)
    """
    if isinstance(n, bool) or not isinstance(n, numbers.Integral):
        raise TypeError(f"n must be an integer, got {type(n).__name__} {n!r}")
    if not 1 <= n <= FO_MAX_THREADS:
        raise ValueError(f"n must be from 1 to {FO_MAX_THREADS}, got {n}")
    fo_set_num_threads(n)


def isa():
    """The instruction set in use: ``"baseline"`` (SSE2), ``"avx2"``, ``"avx512"`` or ``"neon"``.

    It is the best that CPU and operating system support, or the one that the environment variable
    ``FASTOPT_ISA`` names. It changes no bit of any result.

    Returns
    -------
    str

    Examples
    --------
    >>> import fastopt
    >>> fastopt.isa() in ("baseline", "avx2", "avx512", "neon")
    True
    """
    return text(fo_isa())


def isas():
    """The instruction sets that this CPU and system can run, the best last."""
    names = []
    while fo_isa_available(len(names)) != NULL:
        names.append(text(fo_isa_available(len(names))))
    return names


def c_version():
    """The version of the C library, as "major.minor.patch"."""
    version = fo_version()
    return f"{version // 10000}.{version // 100 % 100}.{version % 100}"
