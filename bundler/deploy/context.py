"""Stage 7, effect: write an application as a Docker build context that needs no network.

    CONTEXT/
      Dockerfile            COPY and ENV only: no RUN, no USER root
      .dockerignore         what docker is not to send
      azureml-app/          becomes /var/azureml-app
      context.json          every file with size and sha256, the bundle's identity
      verify.py             checks all of it with any Python >= 3.7
      README.md             the commands, as they are to be typed

Source: Dockerfile reference (COPY --chown, ENV quoting), azureml's ``Model.package``.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bundler.bundle.extract import extract_entries
from bundler.bundle.manifest import Manifest
from bundler.bundle.plan import ArchiveMember, folders_of
from bundler.data.azure_image import PUBLIC_PORT
from bundler.digest import sha256_of
from bundler.errors import InputError, OutputError
from bundler.oci.filetree import APP_FOLDER, APP_ROOT, App, group_mode
from bundler.paths import archive_path
from bundler.system.atomic import staged_dir
from bundler.target.scripts import script

__all__ = [
    "check_head",
    "docker_run",
    "dockerfile",
    "environment_dockerfile",
    "from_image",
    "read_context_facts",
    "write_context",
]

_COMMENT = "# Made by bundler: what follows copies and sets. It needs no network: docker build --network=none"
_ESCAPE = re.compile(r"#\s*escape\s*=\s*[^\\\s]", re.IGNORECASE)
_FROM = re.compile(r"ARG BASE_IMAGE=(.+)\nFROM \$\{BASE_IMAGE\}\n")


def write_context(app: App, manifest: Manifest | None, *, head: str, out: Path) -> None:
    """Write the context of an application; on failure nothing is left.

    :param manifest: of its bundle, if it has one.
    :param head: what the Dockerfile begins with: `from_image`, or a Dockerfile of the user's.
    :raises OutputError: if there is something at ``out``.
    """
    made = {
        "Dockerfile": dockerfile(app, head).encode(),
        ".dockerignore": f"*\n!{APP_FOLDER}\n".encode(),
        "README.md": _readme(app, manifest, head).encode(),
    }
    listed = {
        f"{APP_FOLDER}/{file.path}": {"size": file.size, "sha256": file.sha256}
        for layer in app.layers
        for file in layer.files
    }
    listed |= {name: {"size": len(text), "sha256": sha256_of(text)} for name, text in made.items()}
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
    made["context.json"] = json.dumps(context, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    made["verify.py"] = script("verify_context").read_bytes()
    try:
        with staged_dir(out) as staging:
            extract_entries(_entries(app, made), staging)
            if app.group_writable:
                for folder in (staging / APP_FOLDER).rglob("*/"):
                    folder.chmod(0o775)
    except FileExistsError as error:
        raise OutputError(f"`{out}` is there already", hint="name a folder that does not exist") from error


def read_context_facts(context: Path) -> dict[str, Any]:
    """Return what a context says of itself.

    :raises InputError: if it is none.
    """
    try:
        values = json.loads((context / "context.json").read_text("utf-8"))
        if values["format"] != "bundler-context" or not isinstance(values["env"], dict):
            raise ValueError("its format is another one")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"`{context}` is no build context",
            evidence=(f"found   {error}",),
            hint="bundler package BUNDLE --source-dir code --entry-script score.py -o context/",
        ) from error
    return dict(values)


def docker_run(context: Path, *, image: str | None, port: int) -> str:
    """Return the command that runs an image as it is, with the application of a context mounted into it."""
    values = read_context_facts(context)
    folder = (context / APP_FOLDER).resolve()
    parts = ["docker", "run", "--rm", "-ti", "-p", f"{port}:{PUBLIC_PORT}", "-v", f"{folder}:/{APP_ROOT}:ro"]
    for name, value in values["env"].items():
        parts += ["-e", f"{name}={value}"]
    if not (image or values["base_image"]):
        raise InputError("the context is built from a Dockerfile; no image is known", hint="--image REF")
    return shlex.join([*parts, image or values["base_image"]])


def from_image(image: str) -> str:
    """Return the beginning of a Dockerfile for a base image, named by a tag that is loaded or a digest."""
    return f"ARG BASE_IMAGE={image}\nFROM ${{BASE_IMAGE}}\n"


def dockerfile(app: App, head: str) -> str:
    """Return the Dockerfile of an application: after its beginning it copies and sets, and runs nothing."""
    paths = [file.path for layer in app.layers for file in layer.files]
    return _text(head, {path.partition("/")[0]: "/" in path for path in paths}, _settings(app))


def environment_dockerfile(head: str, env: Mapping[str, str], *, with_bundle: bool) -> str:
    """Return the Dockerfile of an application without code: that of its context, known before it is built."""
    return _text(head, {"bundle": True} if with_bundle else {}, _sets(env))


def _text(head: str, tops: Mapping[str, bool], settings: list[str]) -> str:
    """Return a Dockerfile.

    :param head: comes first, since it may begin with a directive to the parser.
    :param tops: the entries of the tree, and whether each is a folder.
    """
    lines = [
        f"COPY --chown=0:0 {APP_FOLDER}/{top} /{APP_ROOT}/{top}" + ("/" if tops[top] else "")
        for top in sorted(tops, key=_rank)
    ]
    ours = "\n".join([_COMMENT, *lines, *settings])
    return f"{head.rstrip()}\n\n{ours}\n"


def check_head(text: str) -> None:
    """Refuse a Dockerfile that nothing can follow.

    :raises InputError: if it has no base, ends inside an instruction, or escapes in another way.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    fault = None
    if not any(line.upper().startswith("FROM ") for line in lines):
        fault = "it has no FROM"
    elif lines[-1].endswith("\\"):
        fault = "its last instruction goes on, and nothing follows"
    elif any(_ESCAPE.match(line) for line in lines):
        fault = "its escape character is not the backslash"
    if fault:
        raise InputError(f"the base Dockerfile cannot be built on: {fault}")


def _settings(app: App) -> list[str]:
    """Return the instructions that say how an application is run."""
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
    """Return where a folder stands: what seldom changes comes first, so that its layer is kept."""
    return {"bundle": 0, "wheelhouse": 0, "azureml-models": 1}.get(top, 2), top


def _quoted(value: str) -> str:
    """Return a value as a Dockerfile takes it: ``$`` and quotes stand for themselves."""
    escaped = "".join(f"\\{char}" if char in '\\"$' else char for char in value)
    return f'"{escaped}"'


def _entries(app: App, made: dict[str, bytes]) -> Iterator[tuple[ArchiveMember, Iterator[bytes]]]:
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
    for name, content in made.items():
        mode = 0o755 if name == "verify.py" else 0o644
        path = archive_path(name)
        member = ArchiveMember(path=path, is_dir=False, size=len(content), mode=mode, sha256=None)
        yield member, iter((content,))


_README = """# {title}

A build context made by bundler: {holds}.
Nothing here needs a network, and the image is run as {user}.{identity}

Check that every byte is the one that was written (any Python >= 3.7):

    python3 verify.py

Load the base image where it was carried to, build, and run:

    docker load -i base.tar
    docker build --network=none -t {tag} .
    docker run --rm {publish}{tag}

{base}
"""
_README_BASE = "It was made for `{}`; for another base of the same Python add `--build-arg BASE_IMAGE=...`."
_README_ASK = """ Ask it:

    curl http://127.0.0.1:{port}/
    curl -X POST -H 'Content-Type: application/json' -d @request.json http://127.0.0.1:{port}/score"""


def _readme(app: App, manifest: Manifest | None, head: str) -> str:
    image = _image_of(head)
    holds = [f"the bundle `{manifest.name}`"] if manifest else []
    holds += [layer.comment for layer in app.layers if layer.comment.startswith("model ")]
    holds += ["the code that serves it"] if app.port else []
    name = f"{manifest.name} {manifest.version}" if manifest else "An application"
    base = _README_BASE.format(image) if image else "The base is built from the first part of the Dockerfile."
    return _README.format(
        title=name,
        holds=", ".join(holds),
        user=f"`{app.user}`" if app.user else "the base's own user",
        identity=f" Identity of the bundle: `{manifest.identity}`" if manifest else "",
        tag=name.lower().replace(" ", ":") if manifest else "application",
        publish=f"-p {app.port}:{app.port} " if app.port else "",
        base=base + (_README_ASK.format(port=app.port) if app.port else ""),
    )


def _image_of(head: str) -> str | None:
    """Return the image a Dockerfile is built on, if it is one that can be exchanged."""
    found = _FROM.fullmatch(head)
    return found[1] if found else None
