"""Stage 7, effect: package a bundle, as a context, as an image, or as both.

What is written is first tried on paper: a boot that would fail is refused, and
so is a bundle that does not fit the base.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundler.base_image.reader import read_base
from bundler.bundle.manifest import Manifest
from bundler.checks.base_compat import check_fit
from bundler.checks.report import ClosureReport
from bundler.deploy.application import PackageOptions, plan_app
from bundler.deploy.context import from_image, write_context
from bundler.deploy.startup.files import AppFiles
from bundler.deploy.startup.simulate import simulate_start
from bundler.oci.append import WrittenImage, write_image
from bundler.oci.filetree import App

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.store.store import Store

__all__ = ["PackageRequest", "Packaged", "make_package"]

_EXTRA = "AZUREML_EXTRA_"
"""Variables that an image acts on only if its start script has the block for them."""


@dataclass(frozen=True, kw_only=True)
class PackageRequest:
    """What is to be packaged, and where to."""

    options: PackageOptions
    base: Path | None = None
    """The base itself, in a file or folder."""
    head: str | None = None
    """What the Dockerfile begins with; a context needs it."""
    context: Path | None = None
    image: Path | None = None
    tag: str | None = None
    delta_from: Path | None = None
    network: bool = False
    """Whether the container will reach a package index when it starts."""


@dataclass(frozen=True, kw_only=True)
class Packaged:
    """What was written."""

    app: App
    context: Path | None
    image: WrittenImage | None

    def to_json(self) -> dict[str, Any]:
        """Return the facts as plain values."""
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
    """Write what is asked for.

    :raises BundlerError: if the bundle is not what was built, does not fit the
        base, or would not start; nothing is left then.
    """
    with store.in_use(), store.scratch() as scratch:
        app, manifest = plan_app(request.options, scratch=scratch, store=store, reporter=reporter)
        size = sum(file.size for layer in app.layers for file in layer.files)
        reporter.stage("app", f"{len(app.layers)} layers, {size / 1e6:.1f} MB")
        if request.base is not None and manifest is not None:
            for one in check_fit(manifest, read_base(request.base)):
                reporter.warn(f"{one.code}  {one.message}")
            reporter.stage("base", "the bundle fits it")
        if request.options.code is not None:
            _rehearse(app, request, reporter)
        if request.context is not None:
            write_context(app, manifest, head=request.head or from_image("scratch"), out=request.context)
            reporter.stage("context", "what bundler adds has no RUN, no network, no root")
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
            new = sum(layer.new for layer in image.layers)
            reporter.stage("image", f"{len(image.layers)} layers, {new} of them new")
            if image.needs_join:
                reporter.note(
                    "the site joins it with the older image: `bundler join OLD DELTA OUT`, or DELTA.txt in it"
                )
    return Packaged(app=app, context=request.context, image=image)


def _rehearse(app: App, request: PackageRequest, reporter: Reporter) -> None:
    """Go through the boot of the image with what would be in it.

    :raises ClosureError: if it would end before the server starts.
    """
    profile = "classic" if any(name.startswith(_EXTRA) for name in app.env) else "stripped"
    boot = simulate_start(app.env, AppFiles(app), profile=profile, offline=not request.network)
    ClosureReport(modes=(), found=boot.findings).raise_for_errors()
    for one in boot.findings:
        if one.rule.severity == "warning":
            reporter.warn(f"{one.code}  {one.message}")
    reporter.stage("boot", f"would start the server with {len(boot.sys_path)} entries on sys.path")


def _tag(manifest: Manifest | None) -> str:
    return f"{manifest.name.lower()}:{manifest.version}" if manifest else "application:1"
