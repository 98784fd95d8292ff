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
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bundler.app import APP_FOLDER, APP_ROOT, App, group_mode
from bundler.bundle import ArchiveMember, folders_of
from bundler.contract import PUBLIC_PORT
from bundler.digest import sha256_of
from bundler.errors import InputError, OutputError
from bundler.extract import extract
from bundler.interpreter import script
from bundler.manifest import Manifest
from bundler.paths import archive_path
from bundler.publish import staged_dir

__all__ = ["docker_run", "dockerfile", "read_context", "write_context"]


def write_context(app: App, manifest: Manifest, *, base_image: str, out: Path) -> None:
    """Write the context of an application; on failure nothing is left.

    :param base_image: what FROM names: a tag that is loaded where it is built, or a digest.
    :raises OutputError: if there is something at ``out``.
    """
    made = {
        "Dockerfile": dockerfile(app, base_image).encode(),
        ".dockerignore": f"*\n!{APP_FOLDER}\n".encode(),
        "README.md": _readme(app, manifest, base_image).encode(),
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
        "base_image": base_image,
        "bundle": {"identity": manifest.identity, "name": manifest.name, "version": manifest.version},
        "env": dict(app.env),
        "files": listed,
        "layers": [layer.comment for layer in app.layers],
    }
    made["context.json"] = json.dumps(context, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    made["verify.py"] = script("verify_context").read_bytes()
    try:
        with staged_dir(out) as staging:
            extract(_entries(app, made), staging)
            if app.group_writable:
                for folder in (staging / APP_FOLDER).rglob("*/"):
                    folder.chmod(0o775)
    except FileExistsError as error:
        raise OutputError(f"`{out}` is there already", hint="name a folder that does not exist") from error


def read_context(context: Path) -> dict[str, Any]:
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
    values = read_context(context)
    folder = (context / APP_FOLDER).resolve()
    parts = ["docker", "run", "--rm", "-ti", "-p", f"{port}:{PUBLIC_PORT}", "-v", f"{folder}:/{APP_ROOT}:ro"]
    for name, value in values["env"].items():
        parts += ["-e", f"{name}={value}"]
    return shlex.join([*parts, image or values["base_image"]])


def dockerfile(app: App, base_image: str) -> str:
    """Return the Dockerfile of an application: it copies and sets, and runs nothing."""
    owner = "0:0"
    tops = sorted({file.path.partition("/")[0] for layer in app.layers for file in layer.files})
    files = {file.path for layer in app.layers for file in layer.files}
    order = sorted(tops, key=_rank)
    lines = [
        "# Made by bundler. It needs no network: docker build --network=none",
        f"ARG BASE_IMAGE={base_image}",
        "FROM ${BASE_IMAGE}",
    ]
    lines += [
        f"COPY --chown={owner} {APP_FOLDER}/{top} /{APP_ROOT}/{top}" + ("" if top in files else "/")
        for top in order
    ]
    if app.env:
        sets = [f"{name}={_quoted(value)}" for name, value in app.env.items()]
        lines.append("ENV " + " \\\n    ".join(sets))
    lines += [f"LABEL {name}={_quoted(value)}" for name, value in app.labels.items()]
    if app.port:
        lines.append(f"EXPOSE {app.port}")
    if app.user:
        lines.append(f"USER {app.user}")
    if app.command:
        lines.append(f"CMD {json.dumps(list(app.command))}")
    return "\n".join(lines) + "\n"


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


_README = """# {name} {version}

A build context made by bundler: the bundle `{name}`{models} and the code that serves it.
Nothing here needs a network, and the image is run as {user}. Identity of the bundle: `{identity}`

Check that every byte is the one that was written (any Python >= 3.7):

    python3 verify.py

Load the base image where it was carried to, build, and run:

    docker load -i base.tar
    docker build --network=none -t {tag} .
    docker run --rm -p {port}:{port} {tag}

It was made for `{base}`; for another base of the same Python add `--build-arg BASE_IMAGE=...`. Ask it:

    curl http://127.0.0.1:{port}/
    curl -X POST -H 'Content-Type: application/json' -d @request.json http://127.0.0.1:{port}/score
"""


def _readme(app: App, manifest: Manifest, base_image: str) -> str:
    models = [layer.comment for layer in app.layers if layer.comment.startswith("model ")]
    return _README.format(
        name=manifest.name,
        version=manifest.version,
        identity=manifest.identity,
        models="".join(f", {model}" for model in models),
        user=f"`{app.user}`" if app.user else "the base's own user",
        tag=f"{manifest.name.lower()}:{manifest.version}",
        port=app.port or PUBLIC_PORT,
        base=base_image,
    )
