# cimport fastopt: the functions of the rules for Cython. See docs/embedding.md.
from fastopt._core cimport *
