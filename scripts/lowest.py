"""Print the lowest allowed version of each direct dependency in pyproject.toml, as constraints of pip."""

import tomllib
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement

project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
for text in project["dependencies"]:
    requirement = Requirement(text)
    for specifier in requirement.specifier:
        if specifier.operator == ">=":
            marker = f" ; {requirement.marker}" if requirement.marker else ""
            print(f"{requirement.name}=={specifier.version}{marker}")
