"""Prints what extras of pyproject.toml require, one a line, without fastopt itself.

python .ci/requirements.py EXTRA...
"""

import sys

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11; comes with `build`
    import tomli as tomllib

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
for extra in sys.argv[1:]:
    for requirement in project["optional-dependencies"][extra]:
        if not requirement.startswith(f"{project['name']}["):
            print(requirement)
