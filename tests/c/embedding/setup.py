"""A third party's package that uses fastopt's functions from Cython."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

names = [path.stem for path in Path(__file__).parent.glob("*.pyx")]
setup(name="embedder", ext_modules=cythonize([Extension(name, [f"{name}.pyx"]) for name in names]))
