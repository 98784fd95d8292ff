"""Stage 7, effect: combine a bundle, models and code into the application of a container.

The tree below ``azureml-app`` is the one of azureml's ``Model.package``. The bundle is beside the
code, in layers of its own, so that a change of the code leaves them cached. The image gets
the packages in one of two modes: from a directory on sys.path (AZUREML_EXTRA_PYTHON_LIB_PATH),
or as wheels that it installs at its start, without an index (AZUREML_EXTRA_REQUIREMENTS_TXT).
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from bundler.bundle.manifest import Manifest
from bundler.bundle.reader import unpack_bundle, verify_bundle
from bundler.checks.user_code import UserCode
from bundler.data.azure_image import IMAGE_ROOT, IMAGE_VARIANTS, PUBLIC_PORT, USER, image_variant
from bundler.deploy.models import ModelFiles, distinct_models, model_dir, model_layer
from bundler.deploy.source_files import app_file, code_files
from bundler.digest import Sha256, sha256_of
from bundler.errors import InputError, MalformedError
from bundler.oci.filetree import APP_ROOT, App, AppFile, AppLayer
from bundler.paths import archive_path, printable
from bundler.problems import check_variables
from bundler.store.store import DamagedStoreError
from bundler.target.scripts import script

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.store.store import Store

__all__ = [
    "LibVar",
    "Mode",
    "PackageOptions",
    "bundle_env",
    "plan_app",
]

Mode = Literal["mount", "dynamic"]
LibVar = Literal["auto", "extra", "pythonpath", "both", "sagemaker"]
"""How Python finds the packages: AZUREML_EXTRA_PYTHON_LIB_PATH, PYTHONPATH, or SageMaker's ``code/lib``;
``auto`` is the variable that the image reads, and both for an image that is not known."""

_COMMAND = ("runsvdir", "/var/runit")
_WHEELHOUSE = "wheelhouse"
_AZUREML = "azureml"
_IMPORTS_AZUREML = re.compile(rb"^[ \t]*(?:from|import)[ \t]+azureml\.core\b", re.MULTILINE)
_USER = re.compile(r"\w[\w.-]*(?::\w[\w.-]*)?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class PackageOptions:
    """The inputs of an application."""

    bundle: Path | None
    """An archive or a directory; None if the packages are in the base image or beside the code."""
    code: UserCode | None
    """The serving code; None packs only the environment, and keeps the base's user and command."""
    models: tuple[ModelFiles, ...] = ()
    mode: Mode = "mount"
    lib_var: LibVar = "auto"
    image: str | None = None
    """The name of the base image, which determines the variables that it reads; None if unknown."""
    user: str | None = None
    """The user by name, since the number differs between images; empty keeps the base's user, which None
    does for a package without code."""
    epoch: int = 0
    """The time of the files without a bundle, in seconds since 1970; a bundle has its own."""
    group_writable: bool = False
    """Give group 0 the permissions of the owner, as OpenShift's arbitrary users need."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Further variables of the image; they replace those set here."""

    def __post_init__(self) -> None:
        """Check the values that become text of a Dockerfile.

        :raises InputError: if the user or a variable could add an instruction.
        """
        check_variables(self.env)
        if self.user and not _USER.fullmatch(self.user):
            raise InputError(
                f"`{printable(self.user)}` is not the name of a user",
                evidence=("wanted  NAME, UID, NAME:GROUP or UID:GID",),
                hint="--user dockeruser",
            )


def plan_app(
    options: PackageOptions, *, scratch: Path, store: Store, reporter: Reporter
) -> tuple[App, Manifest | None]:
    """Return the application and the manifest of its bundle, every file of the bundle checked.

    :param scratch: an existing private directory, into which an archive is unpacked; it must
        exist as long as the files of the application are read.
    :raises IntegrityError: if a file of the bundle differs from its manifest.
    :raises MalformedError: if two parts of the application have the same path.
    :raises InputError: if a file of the user cannot be packed, or a model is named twice.
    """
    manifest, folder = _checked(options.bundle, scratch, reporter)
    code = options.code
    env = {}
    if code is not None:
        env = {"AZUREML_SOURCE_DIRECTORY": code.folder.name, "AZUREML_ENTRY_SCRIPT": code.entry}
    variant = image_variant(options.image, None)
    if code is not None and variant is not None and "AML_APP_ROOT" in IMAGE_VARIANTS[variant].env:
        env["AML_APP_ROOT"] = IMAGE_ROOT  # instead of the image's own, which its variables name
    layers: list[AppLayer] = []
    if manifest is not None:
        layers, variables = _packages(options, manifest, folder, scratch, store)
        env |= variables
    if options.models:
        env["AZUREML_MODEL_DIR"] = model_dir(options.models)
        layers += map(model_layer, distinct_models(options.models))
    if code is not None:
        packed = _code_layer(code, options.models)
        layers.append(packed)
        if manifest is not None:
            layers += _model_path_layer(code, packed, manifest)
    labels = {}
    if manifest is not None and code is not None:
        labels["bundler.bundle.plan"] = f"{manifest.name} {manifest.version}"
        labels["bundler.identity"] = manifest.identity
    app = App(
        layers=tuple(layers),
        env={**env, **options.env},
        user=(USER if code else "") if options.user is None else options.user,
        command=_COMMAND if code else (),
        port=PUBLIC_PORT if code else 0,
        epoch=manifest.epoch if manifest else options.epoch,
        labels=labels,
        group_writable=options.group_writable,
    )
    _check_paths(app)
    return app, manifest


def bundle_env(target_site_packages: str) -> dict[str, str]:
    """Return the variables with which any Python in the image finds the packages of the bundle.

    :param target_site_packages: the site-packages of the bundle, relative to its root.
    """
    return {"PYTHONPATH": f"/{APP_ROOT}/bundle/{target_site_packages}"}


def _variables_of_image(options: PackageOptions, site_packages: str) -> dict[str, str]:
    """Return the variables with which an image that has the entry script finds the packages."""
    variant = image_variant(options.image, None)
    script = IMAGE_VARIANTS[variant].own_script if variant else ""
    if not script:
        return bundle_env(site_packages)
    path = posixpath.relpath(f"/{APP_ROOT}/bundle/{site_packages}", posixpath.dirname(script))
    return {"AZUREML_EXTRA_PYTHON_LIB_PATH": path}


def _checked(bundle: Path | None, scratch: Path, reporter: Reporter) -> tuple[Manifest | None, Path]:
    """Check a bundle; return its manifest and the directory of its files."""
    if bundle is None:
        return None, scratch
    if bundle.is_dir():
        return verify_bundle(bundle, reporter=reporter).manifest, bundle
    folder = scratch / "bundle"
    return unpack_bundle(bundle, folder, reporter=reporter).manifest, folder


def _packages(
    options: PackageOptions, manifest: Manifest, folder: Path, scratch: Path, store: Store
) -> tuple[list[AppLayer], dict[str, str]]:
    """Return the layers of a bundle, and the variables with which the image finds its packages.

    The AZUREML_EXTRA_ variables are relative to the directory of the entry script.
    """
    site_packages = manifest.target.site_packages
    code = options.code
    if code is None:
        return list(_bundle_layers(manifest, folder, "bundle/")), _variables_of_image(options, site_packages)
    above = "/".join([".."] * len(PurePosixPath(code.entry).parent.parts))
    if options.mode == "dynamic":
        variables = {
            "AZUREML_EXTRA_REQUIREMENTS_TXT": f"{above}/{_WHEELHOUSE}/requirements.txt",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": f"/{APP_ROOT}/{_WHEELHOUSE}",
        }
        return list(_wheelhouse(manifest, store, scratch)), variables
    if options.lib_var == "sagemaker":
        layers = _bundle_layers(manifest, folder, f"{code.folder.name}/lib/", only=f"{site_packages}/")
        return list(layers), {}
    lib_var: LibVar = options.lib_var
    if lib_var == "auto":
        variant = image_variant(options.image, manifest.target.python_version)
        lib_var = IMAGE_VARIANTS[variant].lib_var if variant else "both"
    variables = {}
    if lib_var != "pythonpath":
        variables["AZUREML_EXTRA_PYTHON_LIB_PATH"] = f"{above}/bundle/{site_packages}"
    if lib_var != "extra":
        variables |= bundle_env(site_packages)
    return list(_bundle_layers(manifest, folder, "bundle/")), variables


def _bundle_layers(manifest: Manifest, folder: Path, below: str, *, only: str = "") -> Iterator[AppLayer]:
    """Yield one layer for each distribution, and one for the manifest and bundler's own files.

    :param below: the directory of the bundle in the application, ending with ``/``.
    :param only: pack only files below this directory of the bundle, and without it in their path.
    """
    versions = {item.name: item.version for item in manifest.document.distributions}
    by_owner: dict[str, list[AppFile]] = {name: [] for name in versions}
    for file in manifest.files:
        if file.path.startswith(only) and (file.owner != "bundler" or not only):
            path = below + file.path[len(only) :]
            packed = app_file(path, folder / file.path, file.mode, file.size, file.sha256)
            by_owner.setdefault(file.owner, []).append(packed)
    head = by_owner.pop("bundler", [])
    for name, files in by_owner.items():
        if files:
            yield AppLayer(comment=f"{name} {versions[name]}", files=tuple(files))
    document = _generated(f"{below}manifest.json", manifest.content)
    yield AppLayer(comment="manifest", files=tuple(sorted([*head, document], key=_by_path)))


def _wheelhouse(manifest: Manifest, store: Store, scratch: Path) -> Iterator[AppLayer]:
    """Yield the wheels from which a bundle was built, and a requirements file with their hashes.

    :raises InputError: if the store no longer contains a wheel.
    """
    lines = []
    for item in manifest.document.distributions:
        digest = Sha256(item.wheel_sha256)
        copy = scratch / item.wheel
        try:
            with copy.open("xb") as stream:
                stream.writelines(store.chunks(digest))
        except DamagedStoreError as error:
            raise InputError(
                f"`{item.wheel}` not found in the store",
                hint="build the bundle again with the same `--store`",
            ) from error
        lines.append(f"{item.name}=={item.version} --hash=sha256:{digest}")
        path = f"{_WHEELHOUSE}/{item.wheel}"
        file = app_file(path, copy, 0o644, copy.stat().st_size, digest)
        yield AppLayer(comment=f"{item.name} {item.version}", files=(file,))
    text = "# Made by bundler: every distribution of the bundle, by digest.\n" + "".join(
        f"{line}\n" for line in lines
    )
    yield AppLayer(
        comment="requirements", files=(_generated(f"{_WHEELHOUSE}/requirements.txt", text.encode()),)
    )


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
    files = [*code_files(code.folder, code.script), _generated("model_config_map.json", content)]
    return AppLayer(comment="code", files=tuple(sorted(files, key=_by_path)))


def _model_path_layer(code: UserCode, packed: AppLayer, manifest: Manifest) -> Iterator[AppLayer]:
    """Yield ``azureml.core.model`` if the packed code imports it and the bundle lacks it."""
    provided = f"{manifest.target.site_packages}/{_AZUREML}/core/"
    is_provided = any(file.path.startswith(provided) for file in manifest.files)
    if is_provided or code.folder.name == _AZUREML or (code.folder / _AZUREML).exists():
        return
    sources = (b"".join(file.chunks()) for file in packed.files if file.path.endswith(".py"))
    if any(_IMPORTS_AZUREML.search(source) for source in sources):
        contents = {
            f"{_AZUREML}/__init__.py": b"__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n",
            f"{_AZUREML}/core/__init__.py": b"from azureml.core.model import Model\n",
            f"{_AZUREML}/core/model.py": script("model_path").read_bytes(),
        }
        files = tuple(_generated(path, content) for path, content in sorted(contents.items()))
        yield AppLayer(comment="Model.get_model_path", files=files)


def _generated(path: str, content: bytes) -> AppFile:
    return AppFile(
        path=archive_path(path),
        mode=0o644,
        size=len(content),
        sha256=sha256_of(content),
        chunks=lambda: iter((content,)),
    )


def _by_path(file: AppFile) -> bytes:
    return file.path.encode()


def _check_paths(app: App) -> None:
    """Refuse two files with the same path, as with a source directory named ``bundle``.

    :raises MalformedError: with the path and both layers.
    """
    seen: dict[str, str] = {}
    for layer in app.layers:
        for file in layer.files:
            if file.path in seen:
                raise MalformedError(
                    f"two parts of the application have the path `{printable(file.path)}`",
                    evidence=(f"found  {seen[file.path]}, {layer.comment}",),
                    hint="rename the source directory",
                )
            seen[file.path] = layer.comment
