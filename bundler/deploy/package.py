"""Stage 7, effect: package a bundle as a build context, as an image, or as both.

Before anything is written, the start of the image is simulated, and the bundle is checked against
the base; if either fails, nothing is written.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from bundler.base_image.profile import BaseProfile
from bundler.base_image.reader import read_base
from bundler.bundle.manifest import Manifest
from bundler.checks.base_compat import check_fit
from bundler.checks.report import ClosureReport
from bundler.data.azure_image import IMAGE_VARIANTS, image_by_name, image_name, image_python, image_variant
from bundler.deploy.application import PackageOptions, plan_app
from bundler.deploy.context import existing_context, from_image, write_context
from bundler.deploy.online_endpoint import Routes, endpoint_files
from bundler.deploy.startup.files import AppFiles
from bundler.deploy.startup.simulate import simulate_start
from bundler.errors import ClosureError
from bundler.oci.append import WrittenImage, write_image
from bundler.oci.filetree import App
from bundler.paths import printable

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.store.store import Store

__all__ = ["PackageRequest", "Packaged", "make_package"]
_DERIVED_VERSION = re.compile(r"[0-9a-f]{12}(?:-slim-(\w+))?")
"""The version of a bundle without `--bundle-version`: the start of its lock's digest."""
_UNFIT_FOR_SERVER = "B507"
"""The finding of a build without a base that matters as soon as the bundle runs in an image."""


@dataclass(frozen=True, kw_only=True)
class PackageRequest:
    """The inputs of a package and the paths of its outputs."""

    options: PackageOptions
    base: Path | None = None
    """The base image, a file or directory; an image needs it."""
    head: str | None = None
    """The first lines of the Dockerfile; a context needs them."""
    context: Path | None = None
    """The directory of the build context to create; None writes none."""
    image: Path | None = None
    """The image archive to write; None writes none."""
    tag: str | None = None
    """The name of the image; None derives it from the bundle."""
    delta_from: Path | None = None
    """An earlier image, whose layers are left out of the archive."""
    online_endpoint: bool = False
    """Whether the context has the YAML files of a managed online endpoint."""
    routes: Routes | None = None
    """The routes of the image's own server; None are those of Azure ML's server."""
    network: bool = False
    """Whether the container reaches a package index when it starts."""


@dataclass(frozen=True, kw_only=True)
class Packaged:
    """The outputs of a package."""

    app: App
    """The application that was packaged."""
    context: Path | None
    """The directory of the build context; None if none was written."""
    image: WrittenImage | None
    """The image archive; None if none was written."""

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON values."""
        return {
            "context": str(self.context) if self.context else None,
            "env": dict(self.app.env),
            "image": None
            if self.image is None
            else {
                "id": self.image.image_id,
                "path": str(self.image.path),
                "sha256": self.image.sha256,
                "size": self.image.size,
            },
            "layers": [layer.comment for layer in self.app.layers],
            "user": self.app.user,
        }


def make_package(request: PackageRequest, *, store: Store, reporter: Reporter) -> Packaged:
    """Write the build context and the image that the request names.

    :raises IntegrityError: if a file of the bundle differs from its manifest.
    :raises ClosureError: if the bundle does not fit the base, or the server would not start.
    :raises BundlerError: for other failures; no output remains then.
    """
    if request.context is not None and os.path.lexists(request.context):
        raise existing_context(request.context)
    with store.in_use(), store.scratch() as scratch:
        app, manifest = plan_app(request.options, scratch=scratch, store=store, reporter=reporter)
        size = sum(file.size for layer in app.layers for file in layer.files)
        reporter.stage("app", f"{len(app.layers)} layers, {size / 1e6:.1f} MB")
        base = read_base(request.base, reporter=reporter) if request.base is not None else None
        if manifest is not None:
            _check_fit(manifest, base, reporter)
        if base is None and request.options.image is not None:
            _check_image(request.options.image, manifest, reporter)
        if request.options.code is not None or _has_own_script(request.options):
            _rehearse(app, manifest, base, request, reporter)
        if request.context is not None:
            write_context(
                app,
                manifest,
                head=request.head or from_image("scratch"),
                out=request.context,
                beside=_endpoint_files(app, manifest, request),
            )
            reporter.stage("context", f"no RUN, no network; user: {app.user or 'as in the base'}")
        image = None
        if request.image is not None and request.base is not None:
            image = write_image(
                app,
                request.base,
                request.image,
                tag=request.tag or _tag(manifest),
                delta_from=request.delta_from,
                reporter=reporter,
            )
            if image.needs_join:
                reporter.note(
                    "join it with the earlier image: `bundler join OLD DELTA OUT`, or see DELTA.txt in it"
                )
    return Packaged(app=app, context=request.context, image=image)


def _check_fit(manifest: Manifest, base: BaseProfile | None, reporter: Reporter) -> None:
    """Compare the bundle with the base, or show what the build found about the server of any base.

    :raises ClosureError: if the bundle does not fit.
    """
    if base is not None:
        for finding in check_fit(manifest, base):
            reporter.warn(f"{finding.code}  {finding.message}")
        reporter.stage("base", base.fit_label)
        return
    for noted in manifest.document.verification.findings:
        if noted.code == _UNFIT_FOR_SERVER:
            reporter.warn(f"{noted.code}  {noted.message}")


def _check_image(image: str, manifest: Manifest | None, reporter: Reporter) -> None:
    """Compare the bundle with what the name of an image tells: its Python, and the glibc of a known image.

    :raises ClosureError: if one of them does not fit, as for the base itself (B503).
    """
    found = image_python(image)
    if manifest is not None and found is not None and found != manifest.target.python_version:
        own = manifest.target.python_version
        raise ClosureError(
            f"B503  the bundle is for Python {own}, `{printable(image)}` has {found}",
            hint=f"{_other_image(manifest)}build again: `{_rebuild(manifest, found)}`",
        )
    row = image_by_name(image)
    needed = manifest.document.verification.glibc if manifest is not None else ""
    if manifest is not None and row is not None and needed and Version(needed) > Version(row.glibc):
        rebuild = _rebuild(manifest, manifest.target.python_version, "--target-glibc", row.glibc)
        raise ClosureError(
            f"B503  the bundle needs glibc {needed}, `{printable(image)}` has {row.glibc}",
            hint=f"build again: `{rebuild}`",
        )
    if image_variant(image, None) is None:
        reporter.note(
            f"`{printable(image)}` is not checked, and assumed to start as Azure ML's images do:"
            " `--base` checks it"
        )


def _other_image(manifest: Manifest) -> str:
    """Return the option with Azure ML's image for the Python of a bundle, and "or"; empty without one."""
    image = image_name(manifest.target.release)
    fits = image_python(image) == manifest.target.python_version
    return f"pass `--base-image {image}`, or " if fits else ""


def _rebuild(manifest: Manifest, python: str, *options: str) -> str:
    """Return the command that builds the requirements of a bundle for another image."""
    document = manifest.document
    words = [] if document.name == "bundle" else ["--name", document.name]
    derived = _DERIVED_VERSION.fullmatch(document.version)
    if derived is None:
        words += ["--bundle-version", document.version]
    elif derived[1]:
        words += ["--slim", derived[1]]
    return shlex.join(["bundler", "build", *document.requirements, *words, "--python", python, *options])


def _has_own_script(options: PackageOptions) -> bool:
    """Return whether the image has the entry script for the models, and nothing of the server is unknown."""
    variant = image_variant(options.image, None)
    return bool(variant and options.models and IMAGE_VARIANTS[variant].own_script)


def _rehearse(
    app: App, manifest: Manifest | None, base: BaseProfile | None, request: PackageRequest, reporter: Reporter
) -> None:
    """Simulate the start of the image with the application.

    :raises ClosureError: if the start has an error; see `simulate_start`.
    """
    options = request.options
    profile = image_variant(options.image, manifest.target.python_version if manifest else None)
    if profile is None:
        # An unknown image may ignore the variables, unless the user chose them.
        profile = "other" if options.mode == "dynamic" or options.lib_var == "extra" else "stripped"
    boot = simulate_start(app.env, AppFiles(app), profile=profile, offline=not request.network, base=base)
    ClosureReport(modes=(), found=boot.findings).raise_for_errors()
    for finding in boot.findings:
        if finding.rule.severity == "warning":
            remedy = f"; {finding.fix}" if finding.fix else ""
            reporter.warn(f"{finding.code}  {finding.message}{remedy}")
    ending = (
        f"if {' and '.join(boot.conditions)}, the server starts" if boot.conditions else "the server starts"
    )
    reporter.stage("boot", f"{ending} with {len(boot.sys_path)} entries on sys.path")


def _endpoint_files(app: App, manifest: Manifest | None, request: PackageRequest) -> dict[str, bytes]:
    """Return the files of a managed online endpoint, if the request wants them."""
    if not request.online_endpoint:
        return {}
    name, version = (manifest.name, manifest.version) if manifest else ("application", "1")
    return endpoint_files(name, version, request.tag or _tag(manifest), app.env, request.routes)


def _tag(manifest: Manifest | None) -> str:
    return f"{manifest.name.lower()}:{manifest.version}" if manifest else "application:1"
