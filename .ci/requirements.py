"""Prints what extras of pyproject.toml require, one a line, without fastopt itself.

With `build-system`, what a build requires.

python .ci/requirements.py EXTRA...
python .ci/requirements.py build-system
"""

import sys

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11; comes with `build`
    import tomli as tomllib

with open("pyproject.toml", "rb") as file:
    settings = tomllib.load(file)
project = settings["project"]
extras = {**project["optional-dependencies"], "build-system": settings["build-system"]["requires"]}
for extra in sys.argv[1:]:
    for requirement in extras[extra]:
        if not requirement.startswith(f"{project['name']}["):
            print(requirement)
