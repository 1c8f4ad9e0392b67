"""fastopt's threads under the control of threadpoolctl.

Importing this module registers a controller: from then on ``threadpoolctl.threadpool_limits``
limits fastopt together with BLAS and OpenMP, and ``threadpoolctl.threadpool_info`` lists it.

>>> import fastopt.integrations.threadpoolctl
>>> import threadpoolctl
>>> with threadpoolctl.threadpool_limits(limits=1, user_api="fastopt"):
...     fastopt.get_num_threads()
1
"""

import ctypes

try:
    from threadpoolctl import LibController, register
except ImportError as error:
    raise ModuleNotFoundError(
        "fastopt.integrations.threadpoolctl needs threadpoolctl 3.2 or newer; "
        "install it with: pip install threadpoolctl",
        name="threadpoolctl",
    ) from error

__all__ = ["FastoptController"]


class FastoptController(LibController):
    """The controller of fastopt's library, which threadpoolctl finds by name and symbols."""

    user_api = "fastopt"
    internal_api = "fastopt"
    filename_prefixes = ("_core.", "libfastopt")
    check_symbols = ("fo_get_num_threads", "fo_set_num_threads", "fo_version")

    def get_num_threads(self):
        """The largest number of threads that a step uses."""
        return self.dynlib.fo_get_num_threads()

    def set_num_threads(self, num_threads):
        """Set the largest number of threads that a step uses."""
        return self.dynlib.fo_set_num_threads(num_threads)

    # threadpoolctl calls these two before it checks the symbols, also for another package's _core.

    def get_version(self):
        """The version of the C library."""
        if not hasattr(self.dynlib, "fo_version"):
            return None
        version = self.dynlib.fo_version()
        return f"{version // 10000}.{version // 100 % 100}.{version % 100}"

    def set_additional_attributes(self):
        """The instruction set, under the name that threadpoolctl has for it."""
        if hasattr(self.dynlib, "fo_isa"):
            self.dynlib.fo_isa.restype = ctypes.c_char_p
            self.architecture = self.dynlib.fo_isa().decode("ascii")


register(FastoptController)
