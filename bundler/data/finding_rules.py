"""The kinds of findings, one code each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["RULES", "Rule", "Severity"]


Severity = Literal["error", "warning", "note"]
"""An error fails the build, a warning is shown, a note is only in the report."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One kind of finding."""

    code: str
    title: str
    """What is wrong, in a few words, lower case."""
    severity: Severity
    fix: str
    """What to do, one line."""


def _rules(*rules: tuple[str, Severity, str, str]) -> Mapping[str, Rule]:
    return {
        code: Rule(code=code, severity=severity, title=title, fix=fix) for code, severity, title, fix in rules
    }


RULES: Mapping[str, Rule] = _rules(
    (
        "M101",
        "error",
        "a module of the bundle hides one of the standard library",
        "leave the backport out; pass `--for venv` if nobody mounts the bundle",
    ),
    (
        "M102",
        "error",
        "it imports when installed, and not when mounted on PYTHONPATH",
        "use the bundle as a virtual environment only (`--for venv`), or replace the distribution",
    ),
    (
        "M103",
        "note",
        "a `.pth` file that a mount does not process, and nothing that was imported needs",
        "nothing to do; the proof is that all its modules imported without it",
    ),
    (
        "M104",
        "error",
        "an editable or path-only distribution: its modules are named by a `.pth` file alone",
        "build a wheel of the project and require that",
    ),
    (
        "M105",
        "error",
        "a module of the bundle hides one of your own",
        "rename your module: the bundle comes before your code on sys.path",
    ),
    (
        "M106",
        "note",
        "console scripts are not on PATH when the bundle is mounted",
        "run them by their path in `bin/`, or with `python -m`",
    ),
    (
        "M107",
        "error",
        "a module of the bundle runs at every start of Python",
        "leave the distribution out, or accept it by name: `--allow M107:NAME`",
    ),
    (
        "I201",
        "error",
        "a module does not import",
        "require what is missing, or pass `--allow-import-failure MODULE` to record an exception",
    ),
    (
        "I202",
        "error",
        "a requirement is not met",
        "add the requirement, or correct the pin that contradicts it",
    ),
    (
        "I203",
        "note",
        "an import that nothing in the bundle meets, run whenever its file is imported",
        "require the project that brings it, if you use this part",
    ),
    (
        "I204",
        "note",
        "an import that nothing in the bundle meets, run under a condition, in a function or in try/except",
        "require the project that brings it, if you use this part",
    ),
    (
        "I205",
        "note",
        "an undeclared import that happens to be met",
        "pin what brings it; its author may drop it without notice",
    ),
    (
        "I206",
        "warning",
        "an import wrote, or tried to write, outside of its own folders",
        "give it a folder it may write to on the target, or expect it to fail on a read-only mount",
    ),
    (
        "I207",
        "warning",
        "an import tried to reach the network and went on without it",
        "expect a delay at each start on the target",
    ),
    (
        "I208",
        "note",
        "a module needs an extra that nobody asked for",
        "ask for the extra if you use this part",
    ),
    (
        "I209",
        "warning",
        "a module does not import, and nothing in the bundle needs it to",
        "require what it misses, if your own code uses this part; `--source-dir` finds out",
    ),
    (
        "U301",
        "error",
        "the user's code is not valid for the target's Python",
        "write it in the target's syntax, or build for another Python: `--python`",
    ),
    (
        "U302",
        "error",
        "the entry script does not define init() and run()",
        "define both at the top level of the entry script",
    ),
    (
        "U303",
        "error",
        "the user's code imports what is not there, or what does not import",
        "require the project that brings the module",
    ),
    (
        "U304",
        "warning",
        "the user's code may import what is not there, under a condition, in a function or in try/except",
        "require the project that brings the module, if this code runs",
    ),
    (
        "U305",
        "error",
        "the entry script does not run",
        "correct the script; `--model-dir` names the folder that AZUREML_MODEL_DIR points to",
    ),
    (
        "E401",
        "error",
        "a shared object is for another machine",
        "require a wheel for the target's architecture",
    ),
    (
        "E402",
        "error",
        "a shared object is for another Python, so that it cannot be imported",
        "require a wheel for the target's Python",
    ),
    (
        "E403",
        "error",
        "a shared object needs a newer C library than the target has",
        "pin an older release of the distribution, or choose a newer base",
    ),
    (
        "E404",
        "warning",
        "a shared library is neither in the bundle, nor in the manylinux list, nor in the base",
        "install the library in the base image, or take the variant that needs none (`-headless`)",
    ),
    (
        "E405",
        "warning",
        "a shared object searches a folder of the machine that built it (RPATH)",
        "report it to the project; a folder of that name on the target could be loaded from",
    ),
    (
        "E406",
        "warning",
        "two OpenMP runtimes come with the bundle",
        "expect crashes or slow threads if one process loads both; prefer distributions that share one",
    ),
    (
        "E407",
        "error",
        "a shared object is damaged",
        "download the wheel again, or report it to the project",
    ),
    (
        "E408",
        "error",
        "an extension module needs a library that neither the bundle nor the base has",
        "install the library in the base image, or take the variant that needs none (`-headless`)",
    ),
    (
        "B501",
        "warning",
        "the bundle hides another version of what the base has",
        "pin the base's version, or pass `--omit-provided` to leave it to the base",
    ),
    (
        "B502",
        "error",
        "the base's server cannot live with a version in the bundle",
        "pin a version the server accepts",
    ),
    (
        "B503",
        "error",
        "the base is not for this bundle",
        "build for the base's Python (`--python`), or choose another base",
    ),
    (
        "B504",
        "error",
        "the base does not have what the bundle leaves to it",
        "rebuild the bundle with a profile of this base, or without `--omit-provided`",
    ),
    (
        "B505",
        "error",
        "the base hides a part of the bundle",
        "use the base's version, or a base without that distribution",
    ),
    (
        "B506",
        "error",
        "a module of the base's server does not import with the bundle before it",
        "pin the versions that the server was released with",
    ),
    (
        "B507",
        "note",
        "a version in the bundle that Azure ML's inference server for this Python does not accept",
        "nothing where no such server runs; else pin a version it accepts, and prove it with `--server`",
    ),
    (
        "B508",
        "error",
        "the base does not have what the conda specification leaves to it",
        "choose a base that brings it, or remove the line from the specification",
    ),
    (
        "B509",
        "note",
        "it cannot be told whether the base has what the conda specification leaves to it",
        "look for it in the image; give `--base` as an image or a root filesystem, whose libraries are known",
    ),
    (
        "D601",
        "error",
        "a variable names packages or requirements that are not there",
        "write the path relative to the folder of the entry script",
    ),
    (
        "D602",
        "error",
        "packages cannot be installed when the container starts",
        "add a folder of wheels, and set PIP_NO_INDEX=1 and PIP_FIND_LINKS to its absolute path",
    ),
    (
        "D603",
        "error",
        "the server does not find or load the entry script",
        "set AZUREML_ENTRY_SCRIPT relative to the application root, without a leading `/`",
    ),
    (
        "D604",
        "error",
        "the server cannot call init() or run()",
        "write `def init():` and `def run(data):`",
    ),
    (
        "D605",
        "error",
        "a module beside the entry script is not on sys.path",
        "set AZUREML_SOURCE_DIRECTORY to the folder of the entry script",
    ),
    (
        "D606",
        "error",
        "the server cannot read a setting",
        "correct the value; `config.json` in the root or beside the script is read as well",
    ),
    (
        "D607",
        "error",
        "the variable AZUREML_DEBUG_PORT is set, and debugpy is not among the packages",
        "leave the variable out, or require debugpy",
    ),
    (
        "D608",
        "error",
        "a path that a variable cannot hold",
        "rename the folder: no `:` and no line break",
    ),
    (
        "D609",
        "error",
        "the application root is not an absolute path, or not there",
        "leave AML_APP_ROOT out: the image has one",
    ),
    (
        "D610",
        "warning",
        "a module in the application root comes before the standard library's of the same name",
        "rename it, or remove its `__init__.py` if it is only a folder",
    ),
    (
        "D611",
        "warning",
        "a variable that nothing reads, and that looks like one",
        "correct the name",
    ),
    (
        "D612",
        "warning",
        "two variables bring packages, and only one is used",
        "set one of them",
    ),
    (
        "D613",
        "warning",
        "a variable that this image ignores",
        "set PYTHONPATH to the absolute path of the packages instead",
    ),
    (
        "D614",
        "warning",
        "a folder on PYTHONPATH holds no installed distribution",
        "name the site-packages folder itself, `myenv/lib/python3.7/site-packages`",
    ),
    (
        "D615",
        "warning",
        "packages for another Python than the image's",
        "build the bundle for the image's Python (`--python`)",
    ),
    (
        "D616",
        "warning",
        "a path that is right by luck, or that cannot be checked",
        "use a relative path inside the application root",
    ),
    (
        "D617",
        "warning",
        "the model's folder is not there",
        "set AZUREML_MODEL_DIR to `azureml-models/NAME/VERSION`",
    ),
    (
        "D618",
        "warning",
        "code, packages or requirements in the folder of a model",
        "keep the source directory and the registered model's folder apart",
    ),
    (
        "D619",
        "warning",
        "a `.pth` file in a folder on PYTHONPATH, where none is processed",
        "build a bundle: it is proved under these rules; an editable install needs a wheel",
    ),
    (
        "D620",
        "warning",
        "a `config.json` that the server takes for its own",
        "move it into the model's folder",
    ),
    (
        "D621",
        "warning",
        "an index is asked that cannot be reached",
        "set PIP_NO_INDEX=1",
    ),
    (
        "D622",
        "warning",
        "a requirement without a version",
        "pin it with `==`",
    ),
    (
        "D623",
        "warning",
        "a variable names what is not there, and the start goes on without it",
        "correct the path, or leave the variable out",
    ),
    (
        "D624",
        "note",
        "tools of installation in a folder on PYTHONPATH",
        "leave pip, setuptools and wheel out; a bundle has none",
    ),
    (
        "D625",
        "warning",
        "the entry script could not be read here",
        "write it in the target's syntax; `bundler build --entry-script` asks the target's Python",
    ),
    (
        "D626",
        "warning",
        "a name that azureml's SDK refuses for an entry script",
        "call it by an identifier: `score.py`",
    ),
)
"""Every kind of finding by its code."""
