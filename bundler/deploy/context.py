"""Stage 7, effect: write an application as a Docker build context that needs no network.

    CONTEXT/
      Dockerfile            only COPY and ENV: no RUN, no USER root
      .dockerignore         excludes everything but azureml-app from the build
      azureml-app/          becomes /var/azureml-app
      context.json          size and sha256 of every file, the bundle's identity
      verify.py             checks every file; runs on any Python >= 3.7
      README.md             the commands that load, build and run the image

Source: Dockerfile reference (COPY and its JSON form, ENV quoting), azureml's ``Model.package``.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from bundler.bundle.extract import extract_entries
from bundler.bundle.manifest import Manifest
from bundler.bundle.plan import ArchiveMember, folders_of
from bundler.data.azure_image import PUBLIC_PORT, image_name, image_python
from bundler.digest import sha256_of
from bundler.errors import InputError, OutputError
from bundler.jsonio import decode
from bundler.oci.filetree import APP_FOLDER, APP_ROOT, App, group_mode
from bundler.oci.reference import corrected_reference, parse_reference
from bundler.paths import archive_path, printable
from bundler.report.summary import is_static, verdict_of
from bundler.system.atomic import staged_dir
from bundler.target.scripts import script

__all__ = [
    "ContextFacts",
    "base_image_of",
    "check_head",
    "context_python",
    "docker_run",
    "dockerfile",
    "environment_dockerfile",
    "existing_context",
    "from_image",
    "read_context_facts",
    "write_context",
]

_COMMENT = "# Made by bundler: what follows copies and sets. It needs no network: docker build --network=none"
_ESCAPE = re.compile(r"#\s*escape\s*=\s*[^\\\s]", re.IGNORECASE)
_FROM = re.compile(r"ARG BASE_IMAGE=(.+)\nFROM \$\{BASE_IMAGE\}\n")
_IMAGE = re.compile(r"[\w\[][\w.:/@+\[\]-]*", re.ASCII)
_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-fA-F]{32,}", re.ASCII)
# Characters that a Dockerfile interprets in the paths of a COPY: quotes, escapes and variables
# in both paths (BuildKit's shell lexer), Go's `filepath.Match` patterns in the source.
_SHELL_SPECIAL = re.compile(r"""[\\"'$]""")
_PATTERN_SPECIAL = re.compile(r"[*?\[]")


class ContextFacts(msgspec.Struct, frozen=True):
    """The fields of ``context.json`` that the commands read; the file has more."""

    format: Literal["bundler-context"]
    env: dict[str, str]
    """Environment variables that the image sets, by name."""
    base_image: str | None = None
    """The image in ``FROM``; None if the context begins with the user's own Dockerfile."""


def write_context(
    app: App, manifest: Manifest | None, *, head: str, out: Path, beside: Mapping[str, bytes] | None = None
) -> None:
    """Write the build context of an application; on failure nothing is left.

    :param manifest: the manifest of its bundle; None without a bundle.
    :param head: the first lines of the Dockerfile: `from_image`, or a whole Dockerfile of the user.
    :param out: the directory to create.
    :param beside: further files of the context, which the image does not contain.
    :raises OutputError: if ``out`` already exists.
    """
    generated = {
        **(beside or {}),
        "Dockerfile": dockerfile(app, head).encode(),
        ".dockerignore": f"*\n!{APP_FOLDER}\n".encode(),
        "README.md": _readme(app, manifest, head).encode(),
    }
    listed = {
        f"{APP_FOLDER}/{file.path}": {"size": file.size, "sha256": file.sha256}
        for layer in app.layers
        for file in layer.files
    }
    listed |= {name: {"size": len(text), "sha256": sha256_of(text)} for name, text in generated.items()}
    context = {
        "format": "bundler-context",
        "format_version": 1,
        "base_image": _image_of(head),
        "bundle": manifest
        and {"identity": manifest.identity, "name": manifest.name, "version": manifest.version},
        "env": dict(app.env),
        "files": listed,
        "layers": [layer.comment for layer in app.layers],
    }
    generated["context.json"] = (
        json.dumps(context, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    )
    generated["verify.py"] = script("verify_context").read_bytes()
    try:
        with staged_dir(out) as staging:
            extract_entries(_entries(app, generated), staging)
            if app.group_writable:
                for folder in (staging / APP_FOLDER).rglob("*/"):
                    folder.chmod(0o775)
    except FileExistsError as error:
        raise existing_context(out) from error


def existing_context(out: Path) -> OutputError:
    """Return the error for a build context whose directory exists."""
    return OutputError(f"`{out}` already exists", hint="pass a new directory, for example `-o context-2`")


def read_context_facts(context: Path) -> ContextFacts:
    """Return the facts that a build context records in its ``context.json``.

    :raises InputError: if the file cannot be read, or a field is missing or has the wrong type;
        the message has the field's path in the document (``$.env``).
    """
    path = context / "context.json"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"`{context}` is not a build context",
            evidence=(f"found   {error}",),
            hint="bundler package --help",
        ) from error
    return decode(content, ContextFacts, str(path), error=InputError)


def base_image_of(context: Path) -> str | None:
    """Return the base image that a Dockerfile of bundler names; None for another Dockerfile."""
    match = _FROM.match((context / "Dockerfile").read_text("utf-8", "replace"))
    return match[1] if match else None


def docker_run(context: Path, *, image: str | None, port: int) -> str:
    """Return the ``docker run`` that mounts a context's application into an unchanged image.

    :param image: the image to run; None runs the base image of the context.
    :param port: the port on this machine where the server answers.
    :raises InputError: if the directory is not a context, it names no base image and ``image`` is None, or
        ``image`` is not the name of an image.
    """
    facts = read_context_facts(context)
    folder = (context / APP_FOLDER).resolve()
    parts = ["docker", "run", "--rm", "-ti", "-p", f"{port}:{PUBLIC_PORT}", "-v", f"{folder}:/{APP_ROOT}:ro"]
    for name, value in facts.env.items():
        parts += ["-e", f"{name}={value}"]
    base = image or facts.base_image
    if image:
        from_image(image, option="--image", example=facts.base_image or _image_for(folder))
    if not base:
        raise InputError(
            "the context has its own Dockerfile, without the name of a base image",
            hint=f"--image {_image_for(folder)}",
        )
    return shlex.join([*parts, base])


def _image_for(folder: Path) -> str:
    """Return the name of Azure ML's image for the Python of an application."""
    python = _python_of_packages(folder) or "3.7"
    return image_name((3, int(python.rpartition(".")[2])))


def _python_of_packages(folder: Path) -> str | None:
    """Return the minor version of Python for which an application has packages, or None."""
    names = [path.name.removeprefix("python") for path in folder.glob("bundle/lib/python3.*")]
    return next((name for name in names if name.removeprefix("3.").isdigit()), None)


def context_python(context: Path) -> str | None:
    """Return the minor version of Python of a build context: of its packages, else of its base image's name.

    :raises InputError: if the directory is not a context.
    """
    image = read_context_facts(context).base_image
    return _python_of_packages(context / APP_FOLDER) or (image_python(image) if image else None)


def from_image(image: str, *, option: str = "--base-image", example: str | None = None) -> str:
    """Return the first lines of a Dockerfile for a base image.

    The image is an ``ARG``, so that ``docker build --build-arg BASE_IMAGE=...`` can replace it.

    :param image: a tag that the daemon has loaded, or a digest.
    :param option: the option of the command line that has the name, for the hint.
    :param example: the name of an image, for the hint.
    :raises InputError: if Docker does not accept the name, for example since it has capitals, or if it has
        a character that no reference has, and that could add an instruction.
    """
    meant = None if image.isupper() else corrected_reference(image)  # `REF` is the word of the help
    hint = f"{option} {meant or example}" if example else "docker image ls"
    name, at, digest = image.partition("@")
    if not _IMAGE.fullmatch(image) or (at and not _DIGEST.fullmatch(digest)):
        raise InputError(
            f"`{printable(image)}` is not the name of an image",
            evidence=("wanted  NAME, NAME:TAG or NAME@DIGEST",),
            hint=hint,
        )
    try:
        parse_reference(name)
    except InputError as error:
        raise InputError(error.message, evidence=error.evidence, hint=hint) from None
    return f"ARG BASE_IMAGE={image}\nFROM ${{BASE_IMAGE}}\n"


def dockerfile(app: App, head: str) -> str:
    """Return the Dockerfile of an application: after ``head`` it has only COPY and settings, no RUN."""
    paths = [file.path for layer in app.layers for file in layer.files]
    return _text(head, {path.partition("/")[0]: "/" in path for path in paths}, _settings(app))


def environment_dockerfile(head: str, env: Mapping[str, str], *, with_bundle: bool) -> str:
    """Return the Dockerfile of an application without code; it is known before the bundle is built."""
    return _text(head, {"bundle": True} if with_bundle else {}, _sets(env))


def _text(head: str, tops: Mapping[str, bool], settings: list[str]) -> str:
    """Return a Dockerfile.

    :param head: comes first, since it may begin with a parser directive (``# syntax=``).
    :param tops: the top-level entries of the tree, each with whether it is a directory.
    """
    lines = [_copy(top, is_dir=tops[top]) for top in sorted(tops, key=_rank)]
    ours = "\n".join([_COMMENT, *lines, *settings])
    return f"{head.rstrip()}\n\n{ours}\n"


def _copy(top: str, *, is_dir: bool) -> str:
    r"""Return the COPY of one top-level entry; its name is the user's, so nothing in it is interpreted.

    The shell form is split at spaces; the JSON form is not. Both forms expand variables and
    quotes, and take the source for a pattern, so those characters are escaped in the words.

    Source: Dockerfile reference, COPY (``COPY arr[[]0].txt``); BuildKit, ``shell/lex.go``.

    >>> _copy("code", is_dir=True)
    'COPY --chown=0:0 azureml-app/code /var/azureml-app/code/'
    >>> print(_copy("my $code", is_dir=True))
    COPY --chown=0:0 ["azureml-app/my \\$code", "/var/azureml-app/my \\$code/"]
    """
    target = f"/{APP_ROOT}/{top}/" if is_dir else f"/{APP_ROOT}/{top}"
    words = [
        _SHELL_SPECIAL.sub(r"\\\g<0>", _PATTERN_SPECIAL.sub(r"[\g<0>]", f"{APP_FOLDER}/{top}")),
        _SHELL_SPECIAL.sub(r"\\\g<0>", target),
    ]
    is_plain = words == [f"{APP_FOLDER}/{top}", target] and not any(char.isspace() for char in top)
    text = " ".join(words) if is_plain else json.dumps(words, ensure_ascii=False)
    return f"COPY --chown=0:0 {text}"


def check_head(text: str) -> None:
    """Refuse a Dockerfile to which no instruction can be appended.

    :raises InputError: if it has no ``FROM``, its last line is continued, or its ``# escape=``
        directive replaces the backslash, which the appended instructions use.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    fault = None
    if not any(line.upper().startswith("FROM ") for line in lines):
        fault = "`FROM` is missing"
    elif lines[-1].endswith("\\"):
        fault = "its last line ends with `\\`, a continuation"
    elif any(_ESCAPE.match(line) for line in lines):
        fault = "it sets another escape character than `\\`"
    if fault:
        raise InputError(f"unsupported base Dockerfile: {fault}")


def _settings(app: App) -> list[str]:
    """Return the instructions for the variables, labels, port, user and command of an application."""
    lines = _sets(app.env)
    lines += [f"LABEL {name}={_quoted(value)}" for name, value in app.labels.items()]
    if app.port:
        lines.append(f"EXPOSE {app.port}")
    if app.user:
        lines.append(f"USER {app.user}")
    if app.command:
        lines.append(f"CMD {json.dumps(list(app.command))}")
    return lines


def _sets(env: Mapping[str, str]) -> list[str]:
    pairs = [f"{name}={_quoted(value)}" for name, value in env.items()]
    return ["ENV " + " \\\n    ".join(pairs)] if pairs else []


def _rank(top: str) -> tuple[int, str]:
    """Return the sort key of a top-level entry: Docker's cache ends at the first change, so code is last."""
    return {"bundle": 0, "wheelhouse": 0, "azureml-models": 1}.get(top, 2), top


def _quoted(value: str) -> str:
    """Return a value in double quotes, with ``$``, quotes and backslashes escaped (ENV and LABEL)."""
    escaped = "".join(f"\\{char}" if char in '\\"$' else char for char in value)
    return f'"{escaped}"'


def _entries(app: App, generated: dict[str, bytes]) -> Iterator[tuple[ArchiveMember, Iterator[bytes]]]:
    files = [file for layer in app.layers for file in layer.files]
    folders = folders_of([f"{APP_FOLDER}/{file.path}" for file in files])
    for folder in folders:
        yield ArchiveMember(path=folder, is_dir=True, size=0, mode=0o755, sha256=None), iter(())
    for file in files:
        member = ArchiveMember(
            path=archive_path(f"{APP_FOLDER}/{file.path}"),
            is_dir=False,
            size=file.size,
            mode=group_mode(file.mode) if app.group_writable else file.mode,
            sha256=file.sha256,
        )
        yield member, file.verified()
    for name, content in generated.items():
        mode = 0o755 if name == "verify.py" else 0o644
        path = archive_path(name)
        member = ArchiveMember(path=path, is_dir=False, size=len(content), mode=mode, sha256=None)
        yield member, iter((content,))


_README = """# {title}

A build context written by bundler: {contents}.
The build needs no network, and the image runs as {user}.{identity}{verdict}

Check every file against its sha256 (any Python >= 3.7):

    python3 verify.py

Load the base image, build, and run:

    docker load -i base.tar
    docker build --network=none -t {tag} .
    docker run --rm {publish}{tag}

{base}
"""
_README_BASE = (
    "The base image is `{}`; for another image with the same Python add `--build-arg BASE_IMAGE=...`."
)
_README_ASK = """ Send a request:

    curl http://127.0.0.1:{port}/
    curl -X POST -H 'Content-Type: application/json' -d @request.json http://127.0.0.1:{port}/score"""


def _readme(app: App, manifest: Manifest | None, head: str) -> str:
    image = _image_of(head)
    contents = [f"the bundle `{manifest.name}`"] if manifest else []
    contents += [layer.comment for layer in app.layers if layer.comment.startswith("model ")]
    if app.port:
        contents.append("the serving code")
    name = f"{manifest.name} {manifest.version}" if manifest else "An application"
    base = _README_BASE.format(image) if image else "The first part of the Dockerfile builds the base image."
    return _README.format(
        title=name,
        contents=", ".join(contents),
        user=f"`{app.user}`" if app.user else "the user of the base image",
        identity=f" Identity of the bundle: `{manifest.identity}`" if manifest else "",
        verdict=_verdict(manifest) if manifest else "",
        tag=name.lower().replace(" ", ":") if manifest else "application",
        publish=f"-p {app.port}:{app.port} " if app.port else "",
        base=base + (_README_ASK.format(port=app.port) if app.port else ""),
    )


def _verdict(manifest: Manifest) -> str:
    """Return a sentence about a bundle of which nothing ran on the build host; empty for others."""
    return f"\nThe bundle {verdict_of(manifest).text}." if is_static(manifest) else ""


def _image_of(head: str) -> str | None:
    """Return the base image of a Dockerfile's first lines, None for a Dockerfile of the user."""
    match = _FROM.fullmatch(head)
    return match[1] if match else None
