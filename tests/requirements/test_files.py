"""What the user asks for: rows R01-R27 of the fault corpus, each with the line it is found on."""

from __future__ import annotations

import os
import traceback
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from pip._internal.req.req_file import preprocess as pip_preprocess
from support.wheels import make_sdist, make_wheel

from bundler.errors import InputError, UsageError
from bundler.requirements.files import read_requirements
from bundler.requirements.line import (
    RootRequirement,
    _no_options,
    _parse_parts,
    _parser,
    _plain_requirement,
    split_options,
)
from bundler.requirements.requirement_set import IndexOptions, RequirementSet
from bundler.requirements.text import logical_lines
from bundler.system.environ import HostEnvironment

SHA = "ab" * 32
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Folder:
    """A working directory with files in it."""

    def __init__(self, path: Path, **environ: str) -> None:
        self.path = path
        self.environ = environ

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def read(self, content: str | bytes | None = None, **more: object) -> RequirementSet:
        files = [Path("requirements.txt")] if content is not None else []
        if content is not None:
            self.write("requirements.txt", content)
        host = HostEnvironment(environ=self.environ, cwd=self.path)
        return read_requirements(host, **{"files": files, **more})  # type: ignore[arg-type]

    def refused(self, content: str | bytes | None = None, **more: object) -> str:
        with pytest.raises(InputError) as caught:
            self.read(content, **more)
        assert caught.value.exit_code == 3
        return rendered(caught.value)


def rendered(error: InputError | UsageError) -> str:
    hint = [f"hint: {error.hint}"] if error.hint else []
    return "\n".join([error.message, *(f"  {line}" for line in error.evidence), *hint])


def texts(roots: tuple[RootRequirement, ...]) -> list[str]:
    return [root.text for root in roots]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    path = tmp_path / "here"
    path.mkdir()
    return Folder(path)


REFUSED = {
    "R01-operator": ("foo = = 1", "not a valid requirement"),
    "R01-comma": ("foo>=1,<", "not a valid requirement: expected comma"),
    "R01-quote": ("foo==1'", "not a valid requirement"),
    "R01-marker": ("foo; bad == 1", "not a valid requirement: expected a marker variable"),
    "R01-extra": ("foo[a==1", "not a valid requirement: expected matching RIGHT_BRACKET"),
    "R01-control": ("foo\x01", r"it contains a control character"),
    "R01-options": ("foo --hash='", "cannot parse its options: no closing quotation"),
    "R01-value": ("--index-url", "invalid options: --index-url option requires 1 argument"),
    "R01-stray": (f"foo --hash=sha256:{SHA} ; python_version<'4'", "pip would ignore `;`"),
    "R01-marker-of-path": ("https://index.example/[x.whl", "not a valid requirement: "),
    "R01-wheel-name": ("./local.whl", "file or directory not found"),
    "R05-missing": ("-r other.txt", "`-r other.txt`: file not found"),
    "R05-folder": ("-r .", "`-r .`: a directory, not a file"),
    "R05-below-a-file": (
        "-r requirements.txt/x",
        "`-r requirements.txt/x`: cannot read the file: not a directory",
    ),
    "R05-long": (f"-c {'x' * 300}", "cannot read the file: file name too long"),
    "R05-https": ("-r https://index.example/r.txt", "`-r` with a URL is unsupported"),
    "R05-file": ("-c file:///r.txt", "`-c` with a URL is unsupported"),
    "R05-device": ("-r /dev/null", "not a regular file"),
    "R05-two": ("-r a.txt -r b.txt", "pip would read only one of its files"),
    "R05-both": ("-r a.txt --pre", "pip would read only one of its files"),
    "R05-stray": ("-r a.txt b.txt", "pip would ignore `b.txt`"),
    "R10-bare": ("https://index.example/foo-1.0.zip", "must have exactly one `#sha256=` fragment"),
    "R10-named": ("foo @ https://index.example/foo-1.0.zip", "must have exactly one `#sha256=` fragment"),
    "R10-short": ("foo @ https://index.example/f.zip#sha256=abc", "not a valid sha256 digest"),
    "R10-not-hex": (f"foo @ https://index.example/f.zip#sha256={'g' * 64}", "not a valid sha256 digest"),
    "R10-two": (
        f"foo @ https://h/f.zip#sha256={SHA}&sha256={SHA}",
        "must have exactly one `#sha256=` fragment",
    ),
    "R10-sha512": (f"foo @ https://h/f.zip#sha512={'ab' * 64}", "must have exactly one `#sha256=` fragment"),
    "R10-ftp": (f"ftp://index.example/foo.zip#sha256={SHA}", "unsupported URL scheme `ftp:`"),
    "R10-no-host": (f"https:///foo.zip#sha256={SHA}", "unsupported URL scheme `https:`"),
    "R10-malformed": (f"foo @ https://[h/foo.zip#sha256={SHA}", "its URL is malformed: invalid IPv6 URL"),
    "R11-branch": ("git+https://h/x@main#egg=x", "a branch or tag may move"),
    "R11-none": ("x @ git+https://h/x", "a branch or tag may move"),
    "R11-short": (f"x @ git+https://h/x@{COMMIT[:39]}", "a branch or tag may move"),
    "R11-no-at": (f"x @ git+https://h/{COMMIT}", "a branch or tag may move"),
    "R11-path-only": (f"x @ git+https://h{COMMIT}", "a branch or tag may move"),
    "R11-injected": ("x @ git+https://h/x@--upload-pack=touch", "a branch or tag may move"),
    "R11-ssh": (f"x @ git+ssh://git@h/x@{COMMIT}", "unsupported URL scheme `git+ssh`: only git over https"),
    "R11-file": (f"x @ git+file:///x@{COMMIT}", "unsupported URL scheme `git+file`: only git over https"),
    "R11-http": (f"x @ git+http://h/x@{COMMIT}", "unsupported URL scheme `git+http`: only git over https"),
    "R11-http-named-like-loopback": (
        f"x @ git+http://localhost.h/x@{COMMIT}",
        "unsupported URL scheme `git+http`: only git over https",
    ),
    "R11-hg": (f"x @ hg+https://h/x@{COMMIT}", "unsupported URL scheme `hg+https`: only git over https"),
    "R11-ext": (f"x @ ext::sh@{COMMIT}", "the text after `@` is not a URL"),
    "R11-ext-path": ("x @ ext::sh -c touch%20/tmp/x", "`-c` is not allowed after a requirement"),
    "R11-git-ext": (f"git+ext::sh/@{COMMIT}", "file or directory not found"),
    "R12-named-path": ("foo @ here", "the text after `@` is not a URL"),
    "R12-editable": ("-e .", "an editable requirement depends on files of this host"),
    "R12-editable-long": ("--editable=./x", "an editable requirement depends on files of this host"),
    "R12-editable-behind": ("foo -e .", "an editable requirement depends on files of this host"),
    "R12-not-a-project": (".", "the directory contains neither `pyproject.toml` nor `setup.py`"),
    "R12-no-folder": ("./nothing", "file or directory not found"),
    "R12-no-wheel": ("foo-1.0-py3-none-any.whl", "file or directory not found"),
    "R12-other-file": ("./requirements.txt", "the file is neither a wheel nor an sdist"),
    "R12-passwd": ("file:///etc/passwd", "the file is neither a wheel nor an sdist"),
    "R12-named-passwd": ("foo @ file:///etc/passwd", "the file is neither a wheel nor an sdist"),
    "R12-host": ("foo @ file://elsewhere/x.whl", "its URL is malformed: non-local file URIs"),
    "R13-unset": ("foo @ https://${UNSET}@h/x", "the environment variable `UNSET` is not set"),
    "R13-unset-anywhere": ("foo==${UNSET}", "the environment variable `UNSET` is not set"),
    "R14-unknown": ("--no-such-opt", "the option `--no-such-opt` is not allowed in a requirements file"),
    "R14-global": (
        "foo --global-option=x",
        "the option `--global-option` is not allowed after a requirement",
    ),
    "R14-install": ("foo --install-option=x", "`--install-option` is not allowed"),
    "R14-config": ("foo --config-settings=a=b", "`--config-settings` is not allowed"),
    "R14-abbreviated": ("--index https://h", "the option `--index` is not allowed in a requirements file"),
    "R14-no-hashes": ("--no-require-hashes", "`--no-require-hashes` is not allowed"),
    "R14-index-behind": ("foo --index-url https://h", "`--index-url` is not allowed after a requirement"),
    "R14-links-twice": ("-f a -f b", "pip would read only one of its files"),
    "R16-hash-alone": (f"--hash=sha256:{SHA}", "`--hash` without a requirement"),
    "R17-md5": ("foo==1 --hash=md5:" + "a" * 32, "`md5` is not a secure digest"),
    "R17-sha1": ("foo==1 --hash=sha1:" + "a" * 40, "`sha1` is not a secure digest"),
    "R17-md5-address": ("https://h/foo.zip#md5=" + "a" * 32, "`md5` is not a secure digest"),
    "R17-short": ("foo==1 --hash=sha256:abc", "not a valid sha256 digest"),
    "R17-no-algorithm": ("foo==1 --hash=abc", "`abc` is not a secure digest"),
    "R24-cyrillic": (
        "f\u043eo==1",
        "invalid character in the name of the project: U+043E CYRILLIC SMALL LETTER O",
    ),
    "R24-hyphen": ("foo\u2010bar==1", "invalid character in the name of the project: U+2010 HYPHEN"),
    "R24-bidi": ("foo\u202e==1", "it contains an invisible character: U+202E RIGHT-TO-LEFT OVERRIDE"),
}


@pytest.mark.attack("input")
@pytest.mark.parametrize(("line", "fact"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_line_is_refused_where_it_stands(folder: Folder, line: str, fact: str) -> None:
    """The message names file and line, and every other line is fine."""
    told = folder.refused(f"# first\n{line}\n")

    first = told.splitlines()[0]
    assert first.startswith("requirements.txt:2: ")
    assert fact in first
    assert not first.endswith(".")


ACCEPTED = {
    "R02-bom": (b"\xef\xbb\xbfsix==1\n", ["six==1"]),
    "R02-utf16-le": ("\ufeffsix==1\n".encode("utf-16-le"), ["six==1"]),
    "R02-utf16-be": ("\ufeffsix==1\n".encode("utf-16-be"), ["six==1"]),
    "R02-comment": ("six==1 # größe\n".encode(), ["six==1"]),
    "R02-coding": (b"# coding: latin-1\nsix==1\n", ["six==1"]),
    "R03-crlf": (b"six==1\r\nfoo\r\n", ["six==1", "foo"]),
    "R03-cr": (b"six==1\rfoo\r", ["six==1", "foo"]),
    "R03-no-newline": (b"six==1", ["six==1"]),
    "R03-form-feed": (b"six==1\x0cfoo", ["six==1", "foo"]),
    "R03-tabs": (b"\tsix\t==\t1\t\n", ["six==1"]),
    "R03-continued": (b"six \\\n ==1 \\\n\nfoo", ["six==1", "foo"]),
    "R03-comment-at-the-end": (b"six\n# no continuation \\", ["six"]),
    "R09-same": (b"six==1\nSix==1.0\n", ["six==1", "Six==1.0"]),
    "R09-markers": (
        b"six==1;python_version<'3'\nsix==2;python_version>='3'",
        ['six==1; python_version < "3"', 'six==2; python_version >= "3"'],
    ),
    "R09-wildcard": (b"six==1.*\nsix==1.2\n", ["six==1.*", "six==1.2"]),
    "R10-digest": (
        f"foo @ https://h/foo.zip#sha256={SHA}".encode(),
        [f"foo @ https://h/foo.zip#sha256={SHA}"],
    ),
    "R10-egg": (
        f"https://h/foo.zip#egg=foo&sha256={SHA} ; python_version<'4'".encode(),
        [f'https://h/foo.zip#egg=foo&sha256={SHA} ; python_version < "4"'],
    ),
    "R10-hash-option": (f"foo @ https://h/foo.zip --hash=sha256:{SHA}".encode(), ["foo @ https://h/foo.zip"]),
    "R11-commit": (f"git+https://h/x@{COMMIT}#egg=x".encode(), [f"git+https://h/x@{COMMIT}#egg=x"]),
    "R11-loopback": (
        f"x[a] @ git+http://127.0.0.1:8000/x@{COMMIT}".encode(),
        [f"x[a] @ git+http://127.0.0.1:8000/x@{COMMIT}"],
    ),
    "R13-dollar": (b"foo; platform_version == '$HOME ${home}'", ['foo; platform_version == "$HOME ${home}"']),
    "R14-extras-keep-case": (b"foo[Bar]\n", ["foo[Bar]"]),
}


@pytest.mark.parametrize(("content", "expected"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_good_file_is_read(folder: Folder, content: bytes, expected: list[str]) -> None:
    found = folder.read(content)

    assert texts(found.roots) == expected
    assert found.files_read == (folder.path / "requirements.txt",)
    assert len(found.requirement_lines) == len(found.roots)
    assert bool(found.warnings) == content.startswith((b"\xff\xfe", b"\xfe\xff"))


BYTES = {
    "R02-latin-1": (b"six\n# gr\xf6\xdfe\n", "requirements.txt:2: byte 0xf6 at offset 8 is not UTF-8"),
    "R02-after-bom": (b"\xef\xbb\xbfsix\r\r\n\xf6", "requirements.txt:3: byte 0xf6 at offset 9 is not UTF-8"),
    "R02-half-utf16": (b"\xff\xfea\0b", "requirements.txt:1: byte 0x62 at offset 4 is not UTF-16-LE"),
    "R02-nul": (b"six\nfoo\0\n", "requirements.txt:2: NUL character at byte offset 7"),
    "R02-nul-utf16": (b"\xff\xfea\0\0\0", "requirements.txt:1: NUL character at byte offset 4"),
    "R02-utf32": ("\ufeffsix".encode("utf-32-le"), "requirements.txt:1: NUL character at byte offset 2"),
    "R02-utf7": (
        b"#!\n# -*- coding: utf-7 -*-\n+AGYAbw-o\n",
        "requirements.txt:2: its `coding: utf-7` comment selects another encoding than UTF-8",
    ),
    "R02-no-such-coding": (
        b"# coding: klingon\nsix",
        "requirements.txt:1: its `coding: klingon` comment selects another encoding than UTF-8",
    ),
    "R03-cut-off": (
        b"six\nfoo==1 \\\n",
        "requirements.txt:2: the file ends after a line continuation `\\`",
    ),
    "R03-cut-off-alone": (
        b"\\",
        "requirements.txt:1: the file ends after a line continuation",
    ),
}


@pytest.mark.attack("input")
@pytest.mark.parametrize(("content", "message"), BYTES.values(), ids=BYTES.keys())
def test_bad_bytes_are_named_by_line_and_offset(folder: Folder, content: bytes, message: str) -> None:
    assert folder.refused(content).splitlines()[0].startswith(message)


def test_all_problems_are_told_at_once(folder: Folder) -> None:
    """One error for the whole input, each problem with its line as it was written (R01, R12, R14)."""
    folder.write("more.txt", "\n\nbar = 1\n")

    told = folder.refused("foo = = 1\n-r more.txt\n-e ./x  # mine\n--find-link x\n", strings=["./gone"])

    assert told.splitlines() == [
        "5 problems in the requirements",
        "  requirements.txt:1: not a valid requirement",
        "    line    `foo = = 1`",
        "    hint    did you mean `foo==1`?",
        "  more.txt:3: not a valid requirement",
        "    line    `bar = 1`",
        "    hint    did you mean `bar==1`?",
        "  requirements.txt:3: an editable requirement depends on files of this host",
        "    line    `-e ./x`",
        "    hint    write `./x` without `-e`",
        "  requirements.txt:4: the option `--find-link` is not allowed in a requirements file",
        "    line    `--find-link x`",
        "    hint    did you mean `--find-links`?",
        "  command line: file or directory not found",
        "    line    `./gone`",
        f"    at      `{folder.path}/gone`",
    ]


def test_one_problem_is_told_in_full(folder: Folder) -> None:
    told = folder.refused(f"six\n\nx @ \\\n  git+https://index.example/x@v{COMMIT}\n")
    ref = f"v{COMMIT}"

    assert told.splitlines() == [
        "requirements.txt:3: the URL must have a full commit ID: a branch or tag may move",
        f"  line    `x @   git+https://index.example/x@v{COMMIT}`",
        "  wanted  `@` and 40 hexadecimal digits",
        f"  found   `v{COMMIT}`",
        f"hint: run `git ls-remote https://index.example/x {ref}`, and replace `{ref}` with the ID that it prints",
    ]


def test_long_line_is_cut_short(folder: Folder) -> None:
    assert f"`{'x' * 200}...`" in folder.refused("x" * 300 + " = 1")


def test_line_numbers_are_those_of_an_editor(folder: Folder) -> None:
    """Continuations count by their first line; a form feed ends a line for pip alone (R03)."""
    found = folder.read("a\x0cb\n\nc \\\n\\\n ==1\r\nd\re\n# x\nf")

    assert [(root.text, root.origin) for root in found.roots] == [
        ("a", "requirements.txt:1"),
        ("b", "requirements.txt:1"),
        ("c==1", "requirements.txt:3"),
        ("d", "requirements.txt:6"),
        ("e", "requirements.txt:7"),
        ("f", "requirements.txt:9"),
    ]


class TestNested:
    def test_path_is_relative_to_the_naming_file(self, folder: Folder) -> None:
        """Nested files start where they are named, requirements where we are; a file is read once."""
        folder.write("sub/a.txt", "a\n-r deep/b.txt\n-c c.txt\n-r ../sub/deep/b.txt\n")
        folder.write("sub/deep/b.txt", "b\n./project\n")
        folder.write("sub/c.txt", "six<2\n")
        folder.write("project/setup.py", "")

        found = folder.read("-r sub/a.txt\n-c sub/c.txt\n")

        assert [(root.text, root.origin) for root in found.roots] == [
            ("a", "sub/a.txt:1"),
            ("b", "sub/deep/b.txt:1"),
            ("./project", "sub/deep/b.txt:2"),
        ]
        assert [(root.text, root.origin) for root in found.constraints] == [("six<2", "sub/c.txt:1")]
        names = ("requirements.txt", "sub/a.txt", "sub/deep/b.txt", "sub/c.txt")
        assert found.files_read == tuple(folder.path / name for name in names)
        assert found.requirement_lines == ("a", "b", "./project")
        assert found.constraint_lines == ("six<2",)

    def test_constraints_file_of_the_command_line(self, folder: Folder) -> None:
        folder.write("c.txt", "-r r.txt\nsix<2\n-c d.txt")
        folder.write("r.txt", "foo")
        folder.write("d.txt", "bar @ https://index.example/bar.zip#sha256=" + SHA)

        found = folder.read(constraints=[Path("c.txt")])

        assert texts(found.roots) == ["foo"]
        assert texts(found.constraints) == ["six<2", f"bar @ https://index.example/bar.zip#sha256={SHA}"]
        assert found.constraint_lines == ("six<2", f"bar @ https://index.example/bar.zip#sha256={SHA}")
        assert found.requirement_lines == ("foo",)

    @pytest.mark.parametrize(
        "line", ["foo[a]<2", f"https://h/foo.zip#sha256={SHA}"], ids=["extras", "no name"]
    )
    def test_constraint_is_a_name_and_a_version(self, folder: Folder, line: str) -> None:
        """R06: pip refuses these after it has started; so they are refused before."""
        folder.write("c.txt", line)

        assert folder.refused("foo\n-c c.txt").startswith(
            "c.txt:1: a constraint must have a name, and no extras"
        )

    def test_loop_is_shown(self, folder: Folder) -> None:
        """R04: a file that includes itself through another."""
        folder.write("a.txt", "\n-r sub/b.txt\n")
        folder.write("sub/b.txt", "-c ../a.txt\n")

        assert folder.refused("-r a.txt").splitlines() == [
            "sub/b.txt:1: the files include each other in a loop",
            "  line    `-c ../a.txt`",
            "  chain   requirements.txt:1 -> a.txt:2 -> sub/b.txt:1 -> a.txt",
        ]

    def test_self_is_a_loop(self, folder: Folder) -> None:
        assert "chain   requirements.txt:1 -> requirements.txt" in folder.refused("-r ./requirements.txt")

    def test_depth_has_an_end(self, folder: Folder) -> None:
        """R04: 200 files deep is refused, and a short chain shown."""
        for number in range(200):
            folder.write(f"{number}.txt", f"-r {number + 1}.txt")

        told = folder.refused("-r 0.txt").splitlines()

        assert told[0] == "49.txt:1: the files include each other more than 50 deep"
        assert told[2] == (
            "  chain   requirements.txt:1 -> 0.txt:1 -> 1.txt:1 -> ... -> 48.txt:1 -> 49.txt:1 -> 50.txt"
        )

    def test_diamonds_are_no_loops_and_cost_nothing(self, folder: Folder) -> None:
        """Each of 30 files includes the next one twice: 2**30 readings, were a file read more than once."""
        for number in range(30):
            folder.write(f"{number}.txt", f"-r {number + 1}.txt\n-r {number + 1}.txt\n")
        folder.write("30.txt", "six")

        assert texts(folder.read("-r 0.txt").roots) == ["six"]

    def test_missing_file_of_the_command_line(self, folder: Folder) -> None:
        outside = folder.path.parent / "gone.txt"

        told = folder.refused(files=[Path("gone.txt"), outside])

        assert told.splitlines() == [
            "2 problems in the requirements",
            "  gone.txt: file not found",
            f"  {outside}: file not found",
        ]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
    def test_unreadable_file(self, folder: Folder) -> None:
        folder.write("secret.txt", "six").chmod(0)

        assert "`-r secret.txt`: cannot read the file: permission denied" in folder.refused("-r secret.txt")

    def test_fifo_is_not_waited_for(self, folder: Folder) -> None:
        """Process substitution can be read once only, and pip reads again."""
        os.mkfifo(folder.path / "pipe")

        assert folder.refused(files=[Path("pipe")]).startswith("pipe: not a regular file")


class TestSources:
    """R10-R12: what may be named by path or address, and what becomes of it."""

    def test_local_files_and_folders(self, folder: Folder) -> None:
        make_wheel(folder.path / "my wheels", "foo-bar", "1.0")
        make_sdist(folder.path, "baz", "2.0", {"baz.py": ""})
        folder.write("project/pyproject.toml", "")
        wheel = folder.path / "my wheels/foo_bar-1.0-py3-none-any.whl"

        found = folder.read(
            "./my wheels/foo_bar-1.0-py3-none-any.whl[fast] ; python_version < '4'\n"
            "baz-2.0.tar.gz\n"
            "./project[dev]\n"
            f"FILE://localhost{folder.path}/my%20wheels/foo_bar-1.0-py3-none-any.whl\n"
            f"baz @ file://{folder.path}/baz-2.0.tar.gz\n"
        )

        assert [(root.kind, root.text, str(root.requirement), root.location) for root in found.roots] == [
            (
                "archive",
                './my wheels/foo_bar-1.0-py3-none-any.whl[fast] ; python_version < "4"',
                'foo-bar[fast]==1.0; python_version < "4"',
                str(wheel),
            ),
            ("archive", "./baz-2.0.tar.gz", "None", str(folder.path / "baz-2.0.tar.gz")),
            ("directory", "./project[dev]", "None", str(folder.path / "project")),
            (
                "archive",
                f"file://localhost{folder.path}/my%20wheels/foo_bar-1.0-py3-none-any.whl",
                "foo-bar==1.0",
                str(wheel),
            ),
            (
                "archive",
                f"baz @ file://{folder.path}/baz-2.0.tar.gz",
                f"baz @ file://{folder.path}/baz-2.0.tar.gz",
                str(folder.path / "baz-2.0.tar.gz"),
            ),
        ]

    def test_remote(self, folder: Folder) -> None:
        found = folder.read(
            f"https://index.example/x/foo-1.0-py3-none-any.whl#sha256={SHA}\n"
            f"bar[a] @ git+https://index.example/bar@{COMMIT}#subdirectory=sub ; python_version < '4'\n"
            "six >= 1, < 2\n"
        )

        assert [(root.kind, root.text, str(root.requirement), root.location) for root in found.roots] == [
            (
                "archive",
                f"https://index.example/x/foo-1.0-py3-none-any.whl#sha256={SHA}",
                "foo==1.0",
                f"https://index.example/x/foo-1.0-py3-none-any.whl#sha256={SHA}",
            ),
            (
                "vcs",
                f'bar[a] @ git+https://index.example/bar@{COMMIT}#subdirectory=sub ; python_version < "4"',
                f'bar[a] @ git+https://index.example/bar@{COMMIT}#subdirectory=sub ; python_version < "4"',
                f"git+https://index.example/bar@{COMMIT}#subdirectory=sub",
            ),
            ("index", "six<2,>=1", "six<2,>=1", None),
        ]


class TestPins:
    def test_two_pins_of_one_project(self, folder: Folder) -> None:
        """R09: name variants are one project, and both lines are told."""
        assert folder.refused("Foo_Bar==1.0\nsix\nfoo-bar[x]==1.1").splitlines() == [
            "requirements.txt:3: `foo-bar` is pinned twice, to 1.0 and to 1.1",
            "  line    `foo-bar[x]==1.1`",
            "  first   requirements.txt:1 `Foo_Bar==1.0`",
        ]

    def test_pins_across_files_and_command_line(self, folder: Folder) -> None:
        told = folder.refused("six==1", strings=["SIX===one"])

        assert told.splitlines()[0] == "command line: `six` is pinned twice, to 1 and to one"

    def test_same_marker(self, folder: Folder) -> None:
        told = folder.refused("six==1; python_version<'4'\nsix==2;  python_version < \"4\"")

        assert "pinned twice" in told


class TestHashes:
    def test_hashes_of_all(self, folder: Folder) -> None:
        """A digest in an address counts, as it does for pip."""
        found = folder.read(
            f"six==1 \\\n  --hash=sha256:{SHA} \\\n  --hash=sha512:{'ab' * 64}\n"
            f"foo @ https://index.example/foo.zip#sha256={SHA}\n"
        )

        assert found.require_hashes
        assert texts(found.roots)[0] == "six==1"

    @pytest.mark.parametrize(
        ("line", "fact"),
        [
            ("foo==1", "missing `--hash`"),
            (f"foo>=1 --hash=sha256:{SHA}", "a requirement with `--hash` must be pinned with `==`"),
            (f"foo==1.* --hash=sha256:{SHA}", "a requirement with `--hash` must be pinned with `==`"),
            (f"foo @ git+https://index.example/foo@{COMMIT}", "a directory or repository cannot have a hash"),
            ("./project", "a directory or repository cannot have a hash"),
        ],
    )
    def test_hashes_are_for_all_or_none(self, folder: Folder, line: str, fact: str) -> None:
        """R16."""
        folder.write("project/setup.py", "")

        told = folder.refused(f"six==1 --hash=sha256:{SHA}\n{line}")

        assert told.startswith(f"requirements.txt:2: {fact}: either all requirements have hashes, or none")

    def test_option_asks_for_hashes(self, folder: Folder) -> None:
        assert "missing `--hash`" in folder.refused("six==1\n--require-hashes")

    def test_constraint_may_carry_the_hash(self, folder: Folder) -> None:
        folder.write("c.txt", f"Six==1 --hash=sha256:{SHA}")

        assert folder.read("six\n-c c.txt").require_hashes


class TestVariables:
    """R13: as pip, ``${UPPER_CASE}`` alone; a value in an address is a secret and is shown nowhere."""

    def test_expanded_and_never_shown(self, folder: Folder) -> None:
        folder.environ = {"T_OK3N": "s3cr3t-token", "USER_": "someuser"}

        found = folder.read(
            f"foo @ https://${{USER_}}:${{T_OK3N}}@index.example/foo.zip#sha256={SHA}\n"
            f"bar @ https://index.example/${{T_OK3N}}/bar.zip#sha256={SHA}\n"
            f"git+https://${{T_OK3N}}@index.example/x@{COMMIT}\n"
            "--index-url https://${USER_}:${T_OK3N}@index.example/simple\n"
            "--extra-index-url https://index.example/${T_OK3N}/simple\n"
            "--find-links https://index.example/?sig=${T_OK3N}\n"
        )

        assert [root.location for root in found.roots] == [
            f"https://index.example/foo.zip#sha256={SHA}",
            f"https://index.example/****/bar.zip#sha256={SHA}",
            f"git+https://index.example/x@{COMMIT}",
        ]
        assert found.variables == ("T_OK3N", "USER_")
        assert found.options.index_url == "https://someuser:s3cr3t-token@index.example/simple"
        shown = f"{found!r} {found} {found.roots} {texts(found.roots)} {found.warnings}"
        assert "s3cr3t" not in shown
        assert "someuser" not in shown

    def test_not_shown_in_an_error(self, folder: Folder) -> None:
        folder.environ = {"PASSWORD_": "c4n4ry-one"}
        with pytest.raises(InputError) as caught:
            folder.read(
                "foo @ https://me:${PASSWORD_}@index.example/foo.zip\n"
                "bar @ https://me:c4n4ry-two@index.example/bar.zip ; nonsense\n"
                "baz @ https://index.example/baz.zip?sig=c4n4ry-three\n"
                "--index-url https://c4n4ry-four@index.example --nope\n"
                "-r https://me:c4n4ry-five@index.example/r.txt\n"
                "foo @ https://me:c4n4ry-six@[index.example/${PASSWORD_}\n",
                strings=["foo @ https://me:c4n4ry-seven@index.example/foo.zip"],
            )

        told = "".join(traceback.format_exception(caught.value)) + rendered(caught.value) + repr(caught.value)
        assert len(caught.value.evidence) > 12
        assert "c4n4ry" not in told

    def test_host_is_no_secret(self, folder: Folder) -> None:
        """A value that is an address's host alone may be shown, or no address could be."""
        folder.environ = {"HOST_": "index.example"}

        found = folder.read(f"foo @ https://${{HOST_}}/foo.zip#sha256={SHA}")

        assert found.roots[0].location == f"https://index.example/foo.zip#sha256={SHA}"

    def test_outside_an_address(self, folder: Folder) -> None:
        folder.environ = {"VERSION_": "1.25.1"}

        found = folder.read("six==${VERSION_} # ${UNSET}\n")

        assert texts(found.roots) == ["six==1.25.1"]

    def test_nested_value_is_not_expanded_again(self, folder: Folder) -> None:
        folder.environ = {"A_": "${B_}", "B_": "b"}

        assert texts(folder.read("foo; platform_version == '${A_}'").roots) == [
            'foo; platform_version == "${B_}"'
        ]

    def test_value_is_parsed_as_pip_parses_it(self, folder: Folder) -> None:
        """What a value smuggles in is held against the policy like anything else."""
        folder.environ = {"A_": "-e ."}

        assert "editable" in folder.refused("${A_}")

    @pytest.mark.parametrize("name", ["HOME", "PIP_INDEX_URL", "PYTHONPATH", "LD_PRELOAD"])
    def test_variable_the_isolated_build_does_not_share(self, folder: Folder, name: str) -> None:
        folder.environ = {name: "/somewhere"}

        told = folder.refused(f"--find-links ${{{name}}}/wheels")

        assert f"`{name}` has another value in the isolated build" in told

    def test_not_on_the_command_line(self, folder: Folder) -> None:
        folder.environ = {"TOKEN_": "t0k3n-not-used"}

        told = folder.refused(strings=[f"foo @ https://${{TOKEN_}}@h/foo.zip#sha256={SHA}"])

        assert "variables, options and comments are allowed in a requirements file only" in told


class TestOptions:
    """R14."""

    def test_index_options_of_all_files(self, folder: Folder) -> None:
        folder.write("sub/more.txt", "--find-links wheels\n-f elsewhere\n--trusted-host index.example\nsix")
        (folder.path / "sub/wheels").mkdir()

        found = folder.read(
            "-i https://one.example/packages --extra-index-url=https://two.example\n"
            "--index-url https://three.example/packages\n"
            "--extra-index-url https://two.example\n"
            "--find-links https://four.example/\n"
            "--no-index\n--pre\n--prefer-binary\n--no-binary six\n--only-binary :all:\n"
            "--use-feature fast-deps\n-r sub/more.txt"
        )

        assert found.options == IndexOptions(
            index_url="https://three.example/packages",
            extra_index_urls=("https://two.example",),
            find_links=(
                "https://four.example/",
                str(folder.path / "sub/wheels"),
                str(folder.path / "elsewhere"),
            ),
            no_index=True,
            trusted_hosts=("index.example",),
        )
        several = (
            "`--extra-index-url` searches several indexes for every project; "
            "a project of the same name on a public index can replace a private one"
        )
        assert found.warnings == (
            f"requirements.txt:1: {several}",
            f"requirements.txt:3: {several}",
            "requirements.txt:10: `--use-feature` is ignored",
        )

    def test_the_other_wins_when_merged(self) -> None:
        one = IndexOptions(index_url="a", extra_index_urls=("b",), no_index=True)
        other = IndexOptions(index_url="c", extra_index_urls=("d", "b"), find_links=("e",))

        assert one.merged_with(other) == IndexOptions(
            index_url="c", extra_index_urls=("b", "d"), find_links=("e",), no_index=True
        )
        assert one.merged_with(IndexOptions()) == one

    def test_no_option_is_kept_between_lines(self, folder: Folder) -> None:
        """The parser is made once; its lists are not shared."""
        found = folder.read("--trusted-host a\nsix\n--trusted-host b\n")

        assert found.options.trusted_hosts == ("a", "b")
        assert _no_options().trusted_hosts == []


class TestCommandLine:
    def test_strings(self, folder: Folder) -> None:
        found = folder.read(strings=[" six == 1 ", f"foo @ https://me:pa55w0rd@h/f.zip#sha256={SHA}"])

        assert [(root.text, root.origin) for root in found.roots] == [
            ("six==1", "command line"),
            (f"foo @ https://h/f.zip#sha256={SHA}", "command line"),
        ]
        assert found.requirement_lines == ("six == 1", f"foo @ https://me:pa55w0rd@h/f.zip#sha256={SHA}")
        assert "pa55w0rd" not in repr(found)

    @pytest.mark.parametrize(
        "text", ["", "-e .", "six\n-e .", "six # x", "six --pre", "six===1\\", "./-x --pre", "six\x0cfoo"]
    )
    def test_string_is_one_requirement(self, folder: Folder, text: str) -> None:
        """Whatever pip would read as something else in a file of one line."""
        folder.write("-x --pre/setup.py", "")

        assert folder.refused(strings=[text]).startswith("command line: ")

    def test_lock_is_named(self, folder: Folder) -> None:
        folder.write("pylock.dev.toml", "")

        assert folder.refused(files=[Path("pylock.dev.toml")]).splitlines() == [
            "pylock.dev.toml: a lockfile, not a requirements file",
            "hint: pass `--lock pylock.dev.toml`",
        ]

    @pytest.mark.parametrize("more", [{"extras": ["dev"]}, {"groups": ["dev"]}])
    def test_extras_need_a_project(self, folder: Folder, more: dict[str, list[str]]) -> None:
        with pytest.raises(UsageError) as caught:
            folder.read("six", **more)

        assert rendered(caught.value) == (
            f"{next(iter(more))} need a `pyproject.toml` among the requirements\n"
            "hint: remove them, or create a `pyproject.toml`"
        )


class TestProjectFile:
    def test_read_beside_others(self, folder: Folder) -> None:
        folder.write(
            "sub/pyproject.toml",
            "[project]\nname='x'\ndependencies=['six>=1 ; python_version<\"4\"']\n"
            "[project.optional-dependencies]\ndev=['foo']\n[dependency-groups]\ntest=['bar']",
        )

        found = folder.read(
            files=[Path("sub/pyproject.toml")], strings=["baz"], extras=["dev"], groups=["test"]
        )

        assert [(root.text, root.origin) for root in found.roots] == [
            ('six>=1; python_version < "4"', "sub/pyproject.toml"),
            ("foo", "sub/pyproject.toml [dev]"),
            ("bar", "sub/pyproject.toml [group test]"),
            ("baz", "command line"),
        ]
        assert found.requirement_lines == ('six>=1; python_version < "4"', "foo", "bar", "baz")
        assert found.files_read == (folder.path / "sub/pyproject.toml",)

    def test_policy_holds_there_too(self, folder: Folder) -> None:
        folder.write(
            "pyproject.toml",
            "[project]\ndependencies=['foo @ https://me:tomls3cret@index.example/foo.zip', "
            "'foo @@ https://me:tomls3cret@index.example/foo.zip']",
        )

        told = folder.refused(files=[Path("pyproject.toml")])

        assert "pyproject.toml: a URL must have exactly one `#sha256=` fragment" in told
        assert "tomls3cret" not in told

    def test_broken_toml_has_a_line(self, folder: Folder) -> None:
        folder.write("pyproject.toml", "[project]\n\nname =\n")

        told = folder.refused(files=[Path("pyproject.toml")])

        assert told == "pyproject.toml:3: not valid TOML: invalid value"

    def test_missing(self, folder: Folder) -> None:
        assert folder.refused(files=[Path("pyproject.toml")]) == "pyproject.toml: file not found"


@pytest.mark.parametrize(
    "content", ["", "# nothing\n\n", "--pre\n"], ids=["R26-empty", "R26-comments", "R26-options"]
)
def test_nothing_asked_for_is_a_warning(folder: Folder, content: str) -> None:
    found = folder.read(content)

    assert found.roots == ()
    assert found.warnings == ("no requirements: the bundle will contain no distribution",)


@pytest.mark.attack("input")
def test_hundred_thousand_lines(folder: Folder) -> None:
    """R27: read whole and in order; the time is measured by the benchmarks, not here."""
    lines = [f"project-{number}=={number}.0" for number in range(100_000)]

    found = folder.read("\n".join(lines))

    assert texts(found.roots) == lines
    assert found.roots[-1].origin == "requirements.txt:100000"


names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,8}[A-Za-z0-9])?", fullmatch=True)
versions = st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,3}){0,4}", fullmatch=True)
clauses = st.tuples(st.sampled_from(["==", ">=", "<", "!=", "<=", ">", "==="]), versions).map("".join)
specifiers = st.lists(clauses, max_size=3).map(",".join)
extras_ = st.sets(names, max_size=2).map(lambda found: f"[{','.join(sorted(found))}]" if found else "")
markers = st.sampled_from(["", " ; python_version < '3.8'", "; extra == 'x' and sys_platform!='win32'"])


@given(name=names, version=versions)
def test_short_way_to_a_plain_pin_is_the_long_one(name: str, version: str) -> None:
    """What is built for ``name==version`` is what pip's parser and packaging make of it."""
    text = f"{name}=={version}"
    short = _plain_requirement(name, version)
    parts = _parse_parts(text, Path())

    assert (parts.link, parts.marker, parts.extras) == (None, None, set())
    assert all(getattr(short, slot) == getattr(parts.requirement, slot) for slot in Requirement.__slots__)
    assert str(short) == str(parts.requirement) == text


@given(hashes=st.lists(st.from_regex(r"[a-z0-9]{1,6}:[0-9a-f]{1,8}", fullmatch=True), min_size=1, max_size=4))
def test_short_way_to_hashes_is_the_long_one(hashes: list[str]) -> None:
    words = [f"--hash={item}" for item in hashes]
    long, stray = _parser().parse_args(list(words), _no_options())

    assert split_options(f"six {'  '.join(words)}")[1].__dict__ == long.__dict__
    assert stray == []


@given(name=names, extra=extras_, specifier=specifiers, marker=markers)
def test_requirement_survives_a_round_trip(
    folder: Folder, name: str, extra: str, specifier: str, marker: str
) -> None:
    """A valid line means what packaging says, and its canonical text reads back as itself."""
    line = f"{name}{extra}{specifier}{marker}"
    (root,) = folder.read(f"\n{line} # why\n").roots

    assert root == RootRequirement(
        text=str(Requirement(line)),
        requirement=Requirement(line),
        origin="requirements.txt:2",
        kind="index",
        location=None,
    )
    (again,) = folder.read(root.text).roots
    assert replace(again, origin=root.origin) == root


@given(st.text(st.sampled_from("ab=1 \t\\#-\n\r\x0c\u2028'\";"), max_size=40))
def test_lines_are_the_lines_pip_sees(text: str) -> None:
    """What is checked is what pip acts on: comments, continuations and line ends are cut alike."""
    assert [line for _, line in logical_lines(text)] == [line for _, line in pip_preprocess(text)]
