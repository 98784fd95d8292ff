"""Resolve requirements to a lock with uv.

uv chooses the versions, with the files of the indexes alone. It runs no foreign code: requirements by path
or URL, and source distributions whose metadata needs a build, are prepared by the target's pip in its
sandbox, as for `PipResolver`, and uv gets their metadata.

Spec: uv documentation, "Locking environments", "Resolution", "Compatibility with pip and pip-tools".
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import tomli_w
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from bundler.errors import InputError, NetworkError, ResolutionError, UsageError
from bundler.resolve.lockfile import Lock, LockedDistribution
from bundler.resolve.releases import find_files
from bundler.resolve.uv import Compiled, Uv
from bundler.resolve.uv_lock import annotated_edges, locked_package, required_hashes
from bundler.resolve.uv_sources import PreparedSources
from bundler.system.process import tail

if TYPE_CHECKING:
    from pip._internal.models.format_control import FormatControl

    from bundler.reporter import Reporter
    from bundler.requirements.requirement_set import RequirementSet
    from bundler.resolve.resolver import PipResolver

__all__ = ["UvResolver"]

_ALL = ":all:"
_FIELD = re.compile(r"^(Name|Version):[ \t]*(\S+)[ \t]*$", re.MULTILINE | re.IGNORECASE)
_NOT_FOUND = re.compile(r"\b(?P<name>[A-Za-z0-9][\w.-]*) was not found in ")
_NO_WHEELS = " no usable wheels"
_WARNING = "warning: "
_LINES = 40
"""The most lines of uv's output in a message."""


@dataclass(frozen=True, kw_only=True)
class UvResolver:
    """Resolves with uv."""

    uv: Uv
    pip: Callable[[], PipResolver]
    """Returns the resolver with the target's pip; called only if uv needs its help."""
    only_binary: bool = False
    """Whether to reject source distributions."""
    prefer_binary: bool = True
    """Whether an older release with a wheel is preferred to a newer one with only an sdist."""
    exclude_newer: str | None = None
    """The time from which files count as not uploaded yet, in RFC 3339."""

    @property
    def name(self) -> str:
        """The program, with its version."""
        return f"uv {self.uv.version}"

    def resolve(
        self, requirements: RequirementSet, *, reporter: Reporter, preferred: Sequence[str] = ()
    ) -> Lock:
        """Run uv, with the help of pip where uv would run foreign code."""
        run = _Resolution(
            resolver=self,
            requirements=requirements,
            reporter=reporter,
            preferred=preferred,
            sources=PreparedSources(
                requirements=requirements,
                pip=self.pip,
                reporter=reporter,
                markers=self.uv.interpreter.target.markers,
            ),
        )
        with reporter.task("lock", None):
            run.prepare()
            packages, ended = run.choose()
            edges = run.edges(packages)
        for line in ended.splitlines():
            reporter.detail(line)
            if line.startswith(_WARNING):
                reporter.warn(line.removeprefix(_WARNING))
        locked = [run.locked(package, edges) for package in packages]
        return Lock(
            requirements=tuple(sorted({root.text for root in requirements.roots})),
            packages=tuple(sorted(locked, key=lambda package: package.name)),
            resolver="uv",
        )


@dataclass(kw_only=True)
class _Resolution:
    """One resolution: the arguments of uv, and the results of its earlier runs."""

    resolver: UvResolver
    requirements: RequirementSet
    reporter: Reporter
    preferred: Sequence[str]
    sources: PreparedSources
    as_wheels: set[NormalizedName] = field(default_factory=set)
    """The projects whose source distributions are left out, as long as their wheels resolve."""
    not_as_wheels: set[NormalizedName] = field(default_factory=set)
    """The projects whose wheels do not resolve, or that have none for the target."""
    inputs: list[str] = field(default_factory=list)
    """The arguments of every run."""

    def prepare(self) -> None:
        """Write the inputs of uv, after pip has prepared the requirements by path and URL.

        :raises InputError: if a constraint has a URL.
        :raises UsageError: if uv has no option for the sum of ``--no-binary`` and ``--only-binary``.
        """
        requirements, uv = self.requirements, self.resolver.uv
        for root in requirements.constraints:
            if root.kind != "index":
                raise InputError(
                    f"uv cannot use a constraint by path or URL: `{root.text}` ({root.origin})",
                    hint="--resolver pip",
                )
        self.sources.prepare()
        lines = [root.text for root in requirements.roots if root.kind == "index"]
        for name, source in self.sources.prepared.items():
            folder = uv.folder / "sources" / name
            folder.mkdir(parents=True, exist_ok=True)
            extras = f"[{','.join(source.extras)}]" if source.extras else ""
            lines.append(f"{name}{extras} @ {folder.as_uri()}")
        self.inputs = [uv.written("requirements.in", "".join(f"{line}\n" for line in lines))]
        constraints = [root.text for root in requirements.constraints]
        if constraints:
            self.inputs += ["-c", uv.written("constraints.txt", "".join(f"{line}\n" for line in constraints))]
        if "--pre" in requirements.pip_options:
            self.inputs += ["--prerelease", "allow"]
        if self.resolver.exclude_newer:
            self.inputs += ["--exclude-newer", self.resolver.exclude_newer]
        control = self._control()
        self.inputs += [word for name in sorted(control.no_binary) for word in ("--no-binary", name)]
        self.as_wheels = set(map(NormalizedName, control.only_binary))

    def choose(self) -> tuple[list[dict[str, Any]], str]:
        """Return the packages of uv's lock, and its standard error.

        Wheels are tried first, without any source distribution: pip, too, chooses one only if no wheel
        satisfies the requirements, unless a file or the command line says otherwise.

        :raises ResolutionError: if there is no resolution; the evidence is the output of uv.
        :raises NetworkError: if an index cannot be read.
        """
        fixed = frozenset(self.as_wheels)
        is_free = not (self.requirements.require_hashes or any("-binary" in option for option in self.inputs))
        compiled = None
        if self.resolver.prefer_binary and is_free and _ALL not in fixed:
            compiled = self._compile({_ALL}, refresh=True)
            packages = self._packages(compiled)
            if packages is not None and not self._has_new_prerelease(packages):
                return packages, compiled.ended.stderr
            if packages is None and not self._lacks_wheels(compiled):
                raise self._failure(compiled)
        while True:
            compiled = self._compile(self.as_wheels, refresh=compiled is None)
            if compiled.unbuilt:
                self._prepare_builds(compiled)
                continue
            packages = self._packages(compiled)
            if packages is None:
                loose = sorted(self.as_wheels - fixed)
                if not loose or not self._lacks_wheels(compiled):
                    raise self._failure(compiled)
                self.as_wheels.remove(loose[0])
                self.not_as_wheels.add(loose[0])
                continue
            late = {
                name
                for package in packages
                if self.resolver.prefer_binary
                and "wheels" not in package
                and (name := canonicalize_name(package["name"])) not in self.sources.prepared
                and self._has_wheel(name)
            }
            if not late:
                return packages, compiled.ended.stderr
            self.as_wheels |= late

    def edges(self, packages: Sequence[Mapping[str, Any]]) -> dict[NormalizedName, set[NormalizedName]]:
        """Return the packages that each package requires on the target.

        uv writes them as annotations of a requirements file, not into a pylock.toml.
        """
        uv = self.resolver.uv
        pins = [f"{package['name']}=={package['version']}\n" for package in packages if "version" in package]
        arguments = ["--format", "requirements.txt", "--annotation-style", "split"]
        compiled = self._run([*arguments, "-c", uv.written("pins.txt", "".join(pins))], self.as_wheels)
        if compiled.ended.returncode != 0:
            raise self._failure(compiled)
        return annotated_edges(compiled.ended.stdout.decode("utf-8", "replace"))

    def locked(
        self, package: Mapping[str, Any], edges: Mapping[NormalizedName, set[NormalizedName]]
    ) -> LockedDistribution:
        """Return a package of uv's lock as a distribution; that of pip for a requirement by path or URL."""
        name = canonicalize_name(package["name"])
        requires = tuple(sorted(edges.get(name, ())))
        if name in self.sources.prepared:
            return replace(self.sources.prepared[name].locked, requires_dist=requires)
        uv = self.resolver.uv
        if self._is_from_source(name):  # older releases of uv list its wheels, too
            package = {key: value for key, value in package.items() if key != "wheels"}
        allowed = required_hashes(self.requirements, package) if self.requirements.require_hashes else None
        locked = locked_package(package, uv.interpreter.target, uv.settings, allowed=allowed)
        return replace(locked, requires_dist=requires)

    def _control(self) -> FormatControl:
        """Return the projects of the options ``--no-binary`` and ``--only-binary``, as pip reads them.

        :raises UsageError: if one of them is for all projects, and the other one for some.
        """
        from pip._internal.models.format_control import FormatControl  # noqa: PLC0415 - 15 ms of a build

        control = FormatControl()
        for option in self.requirements.pip_options:
            name, _, value = option.partition("=")
            both = [control.no_binary, control.only_binary]
            if name in ("--no-binary", "--only-binary"):
                target, other = both if name == "--no-binary" else reversed(both)
                control.handle_mutual_excludes(value, target, other)
        if self.resolver.only_binary:
            control.handle_mutual_excludes(_ALL, control.only_binary, control.no_binary)
        if control.no_binary and control.only_binary and _ALL in control.no_binary | control.only_binary:
            raise UsageError(
                "uv cannot accept wheels of some projects, and source distributions of all others",
                evidence=(f"found   {' '.join(self.requirements.pip_options)}",),
                hint="--resolver pip",
            )
        return control

    def _compile(self, only_binary: Collection[str], *, refresh: bool = False) -> Compiled:
        path = self.resolver.uv.folder / "pylock.toml"
        pins = [pin.partition("==") for pin in self.preferred]
        known = {
            "lock-version": "1.0",
            "created-by": "bundler",
            "packages": [{"name": name, "version": version} for name, _, version in pins],
        }
        self.resolver.uv.written(path.name, tomli_w.dumps(known))  # uv keeps these versions where it can
        arguments = ["--format", "pylock.toml", "-o", str(path)]
        return self._run(arguments, only_binary, refresh=refresh)

    def _run(
        self, arguments: Sequence[str], only_binary: Collection[str], *, refresh: bool = False
    ) -> Compiled:
        words = [word for name in sorted(only_binary) for word in ("--only-binary", name)]
        return self.resolver.uv.compile(
            [*self.inputs, *words, *arguments], metadata=list(self.sources.metadata.values()), refresh=refresh
        )

    def _packages(self, compiled: Compiled) -> list[dict[str, Any]] | None:
        """Return the packages of uv's lock; None if it failed."""
        if compiled.ended.returncode != 0:
            return None
        text = (self.resolver.uv.folder / "pylock.toml").read_text("utf-8")
        packages: list[dict[str, Any]] = tomllib.loads(text).get("packages", [])
        return packages

    def _lacks_wheels(self, compiled: Compiled) -> bool:
        """Return whether uv failed since a release has no wheel for the target, and not in another way."""
        return _NO_WHEELS in " ".join(compiled.ended.stderr.split())

    def _has_new_prerelease(self, packages: Sequence[Mapping[str, Any]]) -> bool:
        """Return whether uv chose a pre-release, perhaps since the final release has no wheel."""
        if self.resolver.only_binary or "--pre" in self.requirements.pip_options:
            return False
        return any(Version(str(package.get("version", "0"))).is_prerelease for package in packages)

    def _has_wheel(self, name: NormalizedName) -> bool:
        """Return whether a project has a wheel for the target that the user's own requirements accept."""
        if name in self.not_as_wheels:
            return False
        target, requirements = self.resolver.uv.interpreter.target, self.requirements
        roots = [root.requirement for root in (*requirements.roots, *requirements.constraints)]
        wanted = [root.specifier for root in roots if root and canonicalize_name(root.name) == name]
        files = find_files(name, self.resolver.uv.settings)
        finals = [file for file in files if not file.version.is_prerelease]
        if "--pre" in requirements.pip_options or any(specifier.prereleases for specifier in wanted):
            finals = []
        for file in finals or files:
            fits = file.tags is not None and not file.tags.isdisjoint(target.tags) and not file.yanked
            accepted = all(specifier.contains(file.version, prereleases=True) for specifier in wanted)
            if fits and accepted and file.supports_python(target.version):
                return True
        self.not_as_wheels.add(name)
        return False

    def _prepare_builds(self, compiled: Compiled) -> None:
        """Read the metadata of the source distributions that uv could not read, or leave them out.

        :raises ResolutionError: if a build fails, or no source distribution is new.
        """
        news = False
        for text in compiled.unbuilt:
            head = text.replace("\r\n", "\n").partition("\n\n")[0]  # a description may follow it
            fields = {match[1].lower(): match[2] for match in _FIELD.finditer(head)}
            name, version = canonicalize_name(fields.get("name", "")), fields.get("version", "")
            # A source may lie about its name: then uv asks for it again.
            if not name or not version or name in self.as_wheels or (name, version) in self.sources.metadata:
                continue
            news = True
            if self.resolver.prefer_binary and not self._is_from_source(name) and self._has_wheel(name):
                self.as_wheels.add(name)
                continue
            self.sources.read(name, version)
        if not news:
            raise self._failure(compiled)

    def _is_from_source(self, name: NormalizedName) -> bool:
        return not {name, _ALL}.isdisjoint(self._control().no_binary)

    def _failure(self, compiled: Compiled) -> ResolutionError | NetworkError:
        """Return the error for a uv that failed, in its own words; of the index, if that is the cause."""
        output = compiled.ended.stderr
        for line in output.splitlines():
            self.reporter.detail(line)
        try:
            find_files("pip", self.resolver.uv.settings)
        except NetworkError as error:
            return error
        for name, source in self.sources.prepared.items():
            folder = (self.resolver.uv.folder / "sources" / name).as_uri()
            output = output.replace(folder, source.locked.location)
        missing = _NOT_FOUND.search(output)
        return ResolutionError(
            "uv cannot resolve the requirements",
            evidence=tail(output, _LINES),
            hint="change a requirement that uv names, or see what pip reports: `--resolver pip`",
            facts={"requirement": missing["name"]} if missing else None,
        )
