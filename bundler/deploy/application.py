"""Stage 7, effect: put a bundle, models and code together as the application of a container.

The tree below ``azureml-app`` is that of azureml's ``Model.package``; the bundle
lies beside the code, so that a change of one is no change of the other. Two
ways lead to the packages: a folder that is mounted (AZUREML_EXTRA_PYTHON_LIB_PATH),
and wheels that the image installs when it starts (AZUREML_EXTRA_REQUIREMENTS_TXT),
here from a folder beside, without an index.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from bundler.bundle.manifest import Manifest
from bundler.bundle.reader import unpack_bundle, verify_bundle
from bundler.checks.user_code import UserCode
from bundler.data.azure_image import PUBLIC_PORT, USER
from bundler.digest import Sha256, hash_stream, read_chunks, sha256_of
from bundler.errors import InputError, MalformedError
from bundler.oci.filetree import APP_ROOT, App, AppFile, AppLayer
from bundler.paths import UnsafePathError, archive_path, printable

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.store.store import Store

__all__ = [
    "LibVar",
    "Mode",
    "ModelFiles",
    "PackageOptions",
    "bundle_env",
    "parse_model",
    "plan_app",
    "tree_files",
]

Mode = Literal["mount", "dynamic"]
LibVar = Literal["extra", "pythonpath", "sagemaker"]
"""How the image learns where the packages are: Azure's variable, PYTHONPATH, or SageMaker's ``code/lib``."""

_COMMAND = ("runsvdir", "/var/runit")
_MODELS = "azureml-models"
_WHEELHOUSE = "wheelhouse"
_MODEL = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]{0,254}):(?P<version>[0-9A-Za-z][\w.-]*)=(?P<path>.+)", re.ASCII
)
# What tools leave beside code; none of it is code.
_SKIPPED = frozenset(
    {
        ".git",
        ".hg",
        ".svn",
        "__pycache__",
        ".venv",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".ipynb_checkpoints",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFiles:
    """A registered model."""

    name: str
    version: str
    path: Path
    """A file or a folder; in the image it is the one entry of the version's folder."""


@dataclass(frozen=True, kw_only=True)
class PackageOptions:
    """What an application is made of."""

    bundle: Path | None
    """An archive or a folder; None where the packages are in the base, or beside the code."""
    code: UserCode | None
    """None makes the environment alone: the base's own user and command stay."""
    models: tuple[ModelFiles, ...] = ()
    mode: Mode = "mount"
    lib_var: LibVar = "extra"
    user: str = USER
    """By name, since its number differs between images; empty keeps the base's."""
    epoch: int = 0
    """The time of every file where there is no bundle, which says it."""
    group_writable: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    """Further variables of the image."""


def parse_model(text: str, cwd: Path) -> ModelFiles:
    """Return what ``--model NAME:VERSION=PATH`` names.

    :raises InputError: if it is not of that form, or there is nothing.
    """
    match = _MODEL.fullmatch(text)
    if match is None:
        raise InputError(
            f"`--model {printable(text)}` names no model",
            evidence=("wanted  NAME:VERSION=PATH",),
            hint="--model iris:1=model.pkl",
        )
    path = cwd / match["path"]
    if not path.exists():
        raise InputError(f"the model `{printable(match['path'])}` is not there")
    return ModelFiles(name=match["name"], version=match["version"], path=path)


def plan_app(
    options: PackageOptions, *, scratch: Path, store: Store, reporter: Reporter
) -> tuple[App, Manifest | None]:
    """Return the application, every byte of its bundle checked, and what the bundle says of itself.

    :param scratch: an existing private folder; an archive is unpacked in it, and
        it must be there as long as the files are read.
    :raises BundlerError: if the bundle is not what was built, or something cannot be packed.
    """
    manifest, folder = _checked(options.bundle, scratch, reporter)
    code = options.code
    env = {}
    if code is not None:
        env = {"AZUREML_SOURCE_DIRECTORY": code.folder.name, "AZUREML_ENTRY_SCRIPT": code.entry}
    layers: list[AppLayer] = []
    if manifest is not None:
        layers, found = _packages(options, manifest, folder, scratch, store)
        env |= found
    if options.models:
        env["AZUREML_MODEL_DIR"] = _model_dir(options.models)
        layers += map(_model_layer, _distinct(options.models))
    if code is not None:
        layers.append(_code_layer(code, options.models))
    about = {}
    if manifest is not None and code is not None:
        about["bundler.bundle.plan"] = f"{manifest.name} {manifest.version}"
        about["bundler.identity"] = manifest.identity
    app = App(
        layers=tuple(layers),
        env={**env, **options.env},
        user=options.user if code else "",
        command=_COMMAND if code else (),
        port=PUBLIC_PORT if code else 0,
        epoch=manifest.epoch if manifest else options.epoch,
        labels=about,
        group_writable=options.group_writable,
    )
    _check_paths(app)
    return app, manifest


def bundle_env(target_site_packages: str) -> dict[str, str]:
    """Return the variables by which any Python finds the packages of a bundle in an image."""
    return {"PYTHONPATH": f"/{APP_ROOT}/bundle/{target_site_packages}"}


def _checked(bundle: Path | None, scratch: Path, reporter: Reporter) -> tuple[Manifest | None, Path]:
    """Return the manifest of a bundle, and the folder in which its files lie."""
    if bundle is None:
        return None, scratch
    if bundle.is_dir():
        return verify_bundle(bundle, reporter=reporter).manifest, bundle
    folder = scratch / "bundle"
    return unpack_bundle(bundle, folder, reporter=reporter).manifest, folder


def _packages(
    options: PackageOptions, manifest: Manifest, folder: Path, scratch: Path, store: Store
) -> tuple[list[AppLayer], dict[str, str]]:
    """Return the layers of a bundle, and the variables by which the image finds its packages."""
    site_packages = manifest.target.site_packages
    code = options.code
    if code is None:
        return list(_bundle_layers(manifest, folder, "bundle/")), bundle_env(site_packages)
    above = "/".join([".."] * len(PurePosixPath(code.entry).parent.parts))
    if options.mode == "dynamic":
        found = {
            "AZUREML_EXTRA_REQUIREMENTS_TXT": f"{above}/{_WHEELHOUSE}/requirements.txt",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": f"/{APP_ROOT}/{_WHEELHOUSE}",
        }
        return list(_wheelhouse(manifest, store, scratch)), found
    if options.lib_var == "sagemaker":
        layers = _bundle_layers(manifest, folder, f"{code.folder.name}/lib/", only=f"{site_packages}/")
        return list(layers), {}
    if options.lib_var == "extra":
        found = {"AZUREML_EXTRA_PYTHON_LIB_PATH": f"{above}/bundle/{site_packages}"}
    else:
        found = bundle_env(site_packages)
    return list(_bundle_layers(manifest, folder, "bundle/")), found


def _bundle_layers(manifest: Manifest, folder: Path, below: str, *, only: str = "") -> Iterator[AppLayer]:
    """Yield one layer a distribution, and one for what says it of all of them."""
    versions = {item.name: item.version for item in manifest.document.distributions}
    by_owner: dict[str, list[AppFile]] = {name: [] for name in versions}
    for file in manifest.files:
        if file.path.startswith(only) and (file.owner != "bundler" or not only):
            path = below + file.path[len(only) :]
            packed = _file(path, folder / file.path, file.mode, file.size, file.sha256)
            by_owner.setdefault(file.owner, []).append(packed)
    head = by_owner.pop("bundler", [])
    for name, files in by_owner.items():
        if files:
            yield AppLayer(comment=f"{name} {versions[name]}", files=tuple(files))
    said = _made(f"{below}manifest.json", manifest.content)
    yield AppLayer(comment="manifest", files=tuple(sorted([*head, said], key=_by_path)))


def _wheelhouse(manifest: Manifest, store: Store, scratch: Path) -> Iterator[AppLayer]:
    """Yield the wheels a bundle was made from, and the requirements that name them by digest.

    :raises InputError: if the store no longer holds one.
    """
    lines = []
    for item in manifest.document.distributions:
        digest = Sha256(item.wheel_sha256)
        copy = scratch / item.wheel
        try:
            with store.open(digest) as blob, copy.open("xb") as stream:
                for piece in read_chunks(blob):
                    stream.write(piece)
        except OSError as error:
            raise InputError(
                f"the store does not hold `{item.wheel}` any more",
                hint="build the bundle again, with the same `--store`",
            ) from error
        lines.append(f"{item.name}=={item.version} --hash=sha256:{digest}")
        path = f"{_WHEELHOUSE}/{item.wheel}"
        file = _file(path, copy, 0o644, copy.stat().st_size, digest)
        yield AppLayer(comment=f"{item.name} {item.version}", files=(file,))
    text = "# Made by bundler: every distribution of the bundle, by digest.\n" + "".join(
        f"{line}\n" for line in lines
    )
    yield AppLayer(comment="requirements", files=(_made(f"{_WHEELHOUSE}/requirements.txt", text.encode()),))


def _distinct(models: Iterable[ModelFiles]) -> Iterator[ModelFiles]:
    seen = set()
    for model in models:
        key = (model.name, model.version)
        if key in seen:
            raise InputError(f"the model `{model.name}:{model.version}` is named twice")
        seen.add(key)
        yield model


def _model_dir(models: tuple[ModelFiles, ...]) -> str:
    """Return what AZUREML_MODEL_DIR is: the version's folder of one model, the folder of all of several."""
    if len(models) == 1:
        return f"/{APP_ROOT}/{_MODELS}/{models[0].name}/{models[0].version}"
    return f"/{APP_ROOT}/{_MODELS}"


def _model_layer(model: ModelFiles) -> AppLayer:
    below = f"{_MODELS}/{model.name}/{model.version}/{model.path.resolve().name}"
    comment = f"model {model.name} {model.version}"
    return AppLayer(comment=comment, files=tuple(tree_files(model.path, below)))


def tree_files(path: Path, below: str) -> list[AppFile]:
    """Return a file, or all files of a folder, sorted bytewise by path.

    :param below: the path it gets in the application.
    :raises InputError: if there is none, or one cannot be packed.
    """
    files = [_read(below, path)] if path.is_file() else list(_walk(path, below))
    if not files:
        raise InputError(f"`{printable(str(path))}` holds no file")
    return sorted(files, key=_by_path)


def _code_layer(code: UserCode, models: tuple[ModelFiles, ...]) -> AppLayer:
    config = {
        "accountContext": {},
        "models": {},
        "modelsInfo": {
            f"{model.name}:{model.version}": {"name": model.name, "version": model.version}
            for model in models
        },
    }
    content = json.dumps(config, indent=1, sort_keys=True).encode() + b"\n"
    files = [*_walk(code.folder, code.folder.name), _made("model_config_map.json", content)]
    return AppLayer(comment="code", files=tuple(sorted(files, key=_by_path)))


def _walk(folder: Path, below: str, *, is_venv: bool = False) -> Iterator[AppFile]:
    """Yield the files of a folder of the user, but for what tools leave there.

    The links of a virtual environment lead to the Python of this machine, which
    is none of the image's; its packages are packed.
    """
    is_venv = is_venv or (folder / "pyvenv.cfg").is_file()
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    for entry in listed:
        path = f"{below}/{entry.name}"
        if entry.name in _SKIPPED:
            continue
        if entry.is_symlink() and is_venv:
            continue
        if entry.is_symlink():
            raise InputError(
                f"`{printable(path)}` is a link, and what it names is not packed",
                hint="put the file itself there",
            )
        if entry.is_dir():
            yield from _walk(Path(entry.path), path, is_venv=is_venv)
        elif entry.is_file():
            yield _read(path, Path(entry.path))
        else:
            raise InputError(f"`{printable(path)}` is neither a file nor a folder")


def _read(path: str, source: Path) -> AppFile:
    """Return a file of the user, its mode reduced to whether it can be executed."""
    with source.open("rb") as stream:
        digest, size = hash_stream(stream)
        executable = os.fstat(stream.fileno()).st_mode & stat.S_IXUSR
    return _file(path, source, 0o755 if executable else 0o644, size, digest)


def _made(path: str, content: bytes) -> AppFile:
    return AppFile(
        path=archive_path(path),
        mode=0o644,
        size=len(content),
        sha256=sha256_of(content),
        chunks=lambda: iter((content,)),
    )


def _file(path: str, source: Path, mode: int, size: int, digest: Sha256) -> AppFile:
    def chunks() -> Iterator[bytes]:
        with source.open("rb") as stream:
            yield from read_chunks(stream)

    try:
        checked = archive_path(path)
    except UnsafePathError as error:
        raise InputError(f"`{printable(path)}` cannot be in an image: {error}") from error
    return AppFile(path=checked, mode=mode, size=size, sha256=digest, chunks=chunks)


def _by_path(file: AppFile) -> bytes:
    return file.path.encode()


def _check_paths(app: App) -> None:
    """Refuse two files of one path, such as a source folder that is called like the bundle's.

    :raises MalformedError: naming the path and both layers.
    """
    seen: dict[str, str] = {}
    for layer in app.layers:
        for file in layer.files:
            if file.path in seen:
                raise MalformedError(
                    f"two parts of the application want `{printable(file.path)}`",
                    evidence=(f"found  {seen[file.path]}, {layer.comment}",),
                    hint="rename the source directory",
                )
            seen[file.path] = layer.comment
