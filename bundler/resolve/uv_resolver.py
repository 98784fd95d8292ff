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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w
from packaging.markers import Environment
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name, parse_wheel_filename
from packaging.version import Version
from pip._internal.models.format_control import FormatControl

from bundler.errors import InputError, IntegrityError, NetworkError, ResolutionError, UsageError
from bundler.redaction import url_filename
from bundler.resolve.lockfile import Lock, LockedDistribution
from bundler.resolve.releases import find_files
from bundler.resolve.resolver import location_of, sha256_in
from bundler.resolve.uv import Compiled, Uv
from bundler.system.process import tail

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.requirements.line import RootRequirement
    from bundler.requirements.requirement_set import RequirementSet
    from bundler.resolve.resolver import PipResolver, Source

__all__ = ["UvResolver"]

_ALL = ":all:"
_HASH = re.compile(r"--hash[= ](\w+):([0-9a-fA-F]+)")
_FIELD = re.compile(r"^(Name|Version):[ \t]*(\S+)[ \t\r]*$", re.MULTILINE | re.IGNORECASE)
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?(?:==| @ )")
_VIA = re.compile(r"^ {4}#(?: via |   )(?P<parent>[A-Za-z0-9][\w.-]*)$")
_NOT_FOUND = re.compile(r"\b(?P<name>[A-Za-z0-9][\w.-]*) was not found in ")
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
        run = _Resolution(resolver=self, requirements=requirements, reporter=reporter, preferred=preferred)
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
    """One resolution: the arguments of uv, and what it has learned from earlier runs."""

    resolver: UvResolver
    requirements: RequirementSet
    reporter: Reporter
    preferred: Sequence[str]
    sources: dict[NormalizedName, Source] = field(default_factory=dict)
    """The requirements by path and URL, prepared by pip."""
    metadata: dict[tuple[NormalizedName, str], Mapping[str, Any]] = field(default_factory=dict)
    """The metadata of source distributions, by name and version."""
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
        pairs = [
            pair
            for pair in zip(requirements.roots, requirements.requirement_lines, strict=True)
            if pair[0].kind != "index"
        ]
        if pairs:
            roots, lines = zip(*pairs, strict=True)
            given = replace(requirements, roots=roots, requirement_lines=lines)
            for source in self.resolver.pip().sources(given, reporter=self.reporter):
                self.sources[source.locked.name] = source
        lines = [root.text for root in requirements.roots if root.kind == "index"]
        for name, source in self.sources.items():
            folder = uv.folder / "sources" / name
            folder.mkdir(parents=True, exist_ok=True)
            extras = f"[{','.join(source.extras)}]" if source.extras else ""
            lines.append(f"{name}{extras} @ {folder.as_uri()}")
            self._learn(source)
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
        while True:
            compiled = self._compile(self.as_wheels, refresh=compiled is None)
            if compiled.unbuilt:
                self._prepare_builds(compiled, fixed)
                continue
            packages = self._packages(compiled)
            if packages is None:
                loose = sorted(self.as_wheels - fixed)
                if not loose:
                    raise self._failure(compiled)
                self.as_wheels.remove(loose[0])
                self.not_as_wheels.add(loose[0])
                continue
            late = {
                name
                for package in packages
                if "wheels" not in package
                and (name := canonicalize_name(package["name"])) not in self.sources
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
        edges: dict[NormalizedName, set[NormalizedName]] = {}
        name = canonicalize_name("")
        for line in compiled.ended.stdout.decode("utf-8", "replace").splitlines():
            if pin := _PIN.match(line):
                name = canonicalize_name(pin["name"])
            elif via := _VIA.match(line):
                edges.setdefault(canonicalize_name(via["parent"]), set()).add(name)
        return edges

    def locked(
        self, package: Mapping[str, Any], edges: Mapping[NormalizedName, set[NormalizedName]]
    ) -> LockedDistribution:
        """Return the file of a package that pip would choose: the wheel with the best tag, else the sdist."""
        name = canonicalize_name(package["name"])
        requires = tuple(sorted(edges.get(name, ())))
        if name in self.sources:
            return replace(self.sources[name].locked, requires_dist=requires)
        settings = self.resolver.uv.settings
        kind, file = self._file(name, package)
        url = str(file["url"]) if "url" in file else Path(file["path"]).absolute().as_uri()
        location = location_of(url, settings)
        filename = str(file.get("name") or url_filename(location))
        return LockedDistribution(
            name=name,
            version=Version(package["version"]),
            kind=kind,
            location=location,
            filename=filename,
            sha256=sha256_in(file["hashes"], filename),
            index=settings.name_of(url),
            requires_dist=requires,
        )

    def _file(self, name: NormalizedName, package: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
        """Return the kind and the entry of the file to lock.

        :raises IntegrityError: if hashes are required, and no file has one of them.
        :raises ResolutionError: if hashes are required, and the package has none.
        """
        order = {tag: place for place, tag in enumerate(self.resolver.uv.interpreter.target.tags)}
        ranked = []
        for file in package.get("wheels", ()):
            _, _, build, tags = parse_wheel_filename(file.get("name") or url_filename(file["url"]))
            fitting = [order[tag] for tag in tags if tag in order]
            if fitting:
                ranked.append((-min(fitting), build, file))
        files: list[tuple[str, Mapping[str, Any]]] = [
            ("wheel", file) for _, _, file in sorted(ranked, key=lambda item: item[:2], reverse=True)
        ]
        if "sdist" in package:
            files.append(("sdist", package["sdist"]))
        if self.requirements.require_hashes:
            hashes = self._hashes(name, package)
            allowed = [item for item in files if item[1]["hashes"].get("sha256") in hashes]
            if not allowed:
                digests = [f"found   sha256 {file['hashes'].get('sha256')}" for _, file in files]
                raise IntegrityError(
                    f"no file of `{name}=={package['version']}` has the required hash",
                    evidence=(*(f"wanted  sha256 {digest}" for digest in sorted(hashes)), *digests[:3]),
                )
            files = allowed
        return files[0]

    def _hashes(self, name: NormalizedName, package: Mapping[str, Any]) -> set[str]:
        """Return the sha256 digests of the lines of a project.

        :raises ResolutionError: if there is none.
        """
        requirements = self.requirements
        pairs = [
            *zip(requirements.roots, requirements.requirement_lines, strict=True),
            *zip(requirements.constraints, requirements.constraint_lines, strict=True),
        ]
        found = {
            digest.lower()
            for root, line in pairs
            if root.requirement is not None and canonicalize_name(root.requirement.name) == name
            for algorithm, digest in _HASH.findall(line)
            if algorithm == "sha256"
        }
        if not found:
            raise ResolutionError(
                f"`{name}=={package['version']}` has no sha256 hash, and hashes are required",
                hint=f"write `{name}=={package['version']} --hash=sha256:` and its digest, or --resolver pip",
            )
        return found

    def _control(self) -> FormatControl:
        """Return the projects of the options ``--no-binary`` and ``--only-binary``, as pip reads them.

        :raises UsageError: if one of them is for all projects, and the other one for some.
        """
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
            [*self.inputs, *words, *arguments], metadata=list(self.metadata.values()), refresh=refresh
        )

    def _packages(self, compiled: Compiled) -> list[dict[str, Any]] | None:
        """Return the packages of uv's lock; None if it failed."""
        if compiled.ended.returncode != 0:
            return None
        text = (self.resolver.uv.folder / "pylock.toml").read_text("utf-8")
        packages: list[dict[str, Any]] = tomllib.loads(text).get("packages", [])
        return packages

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
        for file in find_files(name, self.resolver.uv.settings):
            fits = file.tags is not None and not file.tags.isdisjoint(target.tags) and not file.yanked
            if fits and file.supports_python(target.version):
                if all(specifier.contains(file.version) for specifier in wanted):
                    return True
        self.not_as_wheels.add(name)
        return False

    def _prepare_builds(self, compiled: Compiled, fixed: Collection[str]) -> None:
        """Read the metadata of the source distributions that uv could not read, or leave them out.

        :raises ResolutionError: if a build fails, or no source distribution is new.
        """
        news = False
        for text in compiled.unbuilt:
            fields = {match[1].lower(): match[2] for match in _FIELD.finditer(text)}
            name, version = canonicalize_name(fields.get("name", "")), fields.get("version", "")
            if not name or not version or (name, version) in self.metadata:
                continue
            news = True
            if self.resolver.prefer_binary and not self._is_from_source(name) and self._has_wheel(name):
                self.as_wheels.add(name)
                continue
            requirement = Requirement(f"{name}=={version}")
            roots = [root for root in self.requirements.roots if _names(root, name)]
            root = replace(
                (roots or self.requirements.roots)[0],
                text=str(requirement),
                requirement=requirement,
                kind="index",
                location=None,
            )
            given = replace(
                self.requirements,
                roots=(root,),
                requirement_lines=(str(requirement),),
                constraints=(),
                constraint_lines=(),
                pip_options=(f"--no-binary={name}",),
                require_hashes=False,
            )
            for source in self.resolver.pip().sources(given, reporter=self.reporter):
                self._learn(source)
        if not news:
            raise self._failure(compiled)

    def _is_from_source(self, name: NormalizedName) -> bool:
        return not {name, _ALL}.isdisjoint(self._control().no_binary)

    def _learn(self, source: Source) -> None:
        """Keep the metadata of a source distribution for uv.

        :raises ResolutionError: if it requires a URL that the user does not require.
        """
        facts = source.metadata
        name, version = source.locked.name, str(facts["version"])
        requires = []
        for text in facts.get("requires_dist", ()):
            requirement = Requirement(text)
            if requirement.url is not None:
                if self._applies(requirement, source.extras) and not self._is_source(requirement.name):
                    raise ResolutionError(
                        f"`{name}` requires `{requirement.name}` by a URL, which can change, or belong to"
                        " another owner",
                        evidence=(f"found   {requirement}",),
                        hint=f"if you trust it, require it yourself: `{requirement.name} @ {requirement.url}`",
                    )
                requirement.url = None
            requires.append(str(requirement))
        extras = [str(extra) for extra in facts.get("provides_extra", ())]
        self.metadata[name, version] = {
            "name": name,
            "version": version,
            "requires-dist": requires,
            "provides-extra": extras,
            **({"requires-python": facts["requires_python"]} if facts.get("requires_python") else {}),
        }

    def _applies(self, requirement: Requirement, extras: Sequence[str]) -> bool:
        environment: Environment = self.resolver.uv.interpreter.target.environment
        marker = requirement.marker
        return marker is None or any(marker.evaluate({**environment, "extra": extra}) for extra in ("", *extras))

    def _is_source(self, name: str) -> bool:
        return any(_names(root, canonicalize_name(name)) for root in self.requirements.roots)

    def _failure(self, compiled: Compiled) -> ResolutionError | NetworkError:
        """Return the error for a uv that failed, in its own words; of the index, if that is the cause."""
        output = compiled.ended.stderr
        for line in output.splitlines():
            self.reporter.detail(line)
        try:
            find_files("pip", self.resolver.uv.settings)
        except NetworkError as error:
            return error
        for name, source in self.sources.items():
            folder = (self.resolver.uv.folder / "sources" / name).as_uri()
            output = output.replace(folder, source.locked.location)
        missing = _NOT_FOUND.search(output)
        return ResolutionError(
            "uv cannot resolve the requirements",
            evidence=tail(output, _LINES),
            hint="change a requirement that uv names, or see what pip reports: `--resolver pip`",
            facts={"requirement": missing["name"]} if missing else None,
        )


def _names(root: RootRequirement, name: NormalizedName) -> bool:
    return root.requirement is not None and canonicalize_name(root.requirement.name) == name
