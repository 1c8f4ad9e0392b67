# cimport fastopt: the functions of the rules for Cython. See docs/guides/embed.md.
from fastopt._core cimport *
