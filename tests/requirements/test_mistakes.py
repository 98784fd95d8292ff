"""Lines that are not requirements: the one that was meant is suggested, and is a requirement."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.hints import quoted_words

from bundler.errors import InputError
from bundler.requirements.files import read_requirements
from bundler.system.environ import HostEnvironment


def refused(folder: Path, line: str) -> str:
    (folder / "r.txt").write_text(f"# first\n{line}\n", "utf-8")
    with pytest.raises(InputError) as caught:
        read_requirements(HostEnvironment(environ={}, cwd=folder), files=[Path("r.txt")])
    assert caught.value.message.startswith("r.txt:2: ")
    assert caught.value.hint
    return f"{caught.value.message} | {caught.value.hint}"


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("six=>2", "six>=2"),
        ("six =< 2", "six<=2"),
        ("six=1.16", "six==1.16"),
        ("six = 1.16.*", "six==1.16.*"),
        ("six 1.16", "six==1.16"),
        ("six v1.16", "six==1.16"),
        ("six~>1.4", "six~=1.4"),
        ("six>=1.0 <2", "six<2,>=1.0"),
        ('"six"', "six"),
        ("'six>=1',", "six>=1"),
        ("six==latest", "six"),
        ("six@latest", "six"),
        ("six@1.16", "six==1.16"),
        ("import six", "six"),
        ("import six as s", "six"),
        ("from six.moves import urllib", "six"),
        ("pip install six", "six"),
        ("$ pip3 install --user six", "six"),
        ("python -m pip install six==1.16", "six==1.16"),
        ("conda install -y six=1.16", "six==1.16"),
        ("uv add six", "six"),
        ("!pip install six", "six"),
        ("six~1.16", "six~=1.16"),
        ("six==1.16.0; python_version < 3.8", 'six==1.16.0; python_version < "3.8"'),
        ('six; python_verison < "3.8"', 'six; python_version < "3.8"'),
        (
            "six; Python_Version<'3.8' && sys.platform=a",
            'six; python_version < "3.8" and sys_platform == "a"',
        ),
        ("six; sys_platform == linux or os_name=posix", 'six; sys_platform == "linux" or os_name == "posix"'),
        ("six=1.0; python_version<3.8", 'six==1.0; python_version < "3.8"'),
        ("six; platform_machine not in x86_64", 'six; platform_machine not in "x86_64"'),
        ("six; (python_version => 3.7)", 'six; python_version >= "3.7"'),
        # Markdown, and text of a word processor or of a page
        ("* six", "six"),
        ("- six==1.16", "six==1.16"),
        ("1. six", "six"),
        ("2) six==1.16", "six==1.16"),
        ("+ six", "six"),
        ("\u2022 six", "six"),
        ("- [ ] six", "six"),
        ("- [x] `six`", "six"),
        ("`six>=1`", "six>=1"),
        ("**six**", "six"),
        ("six==\u201c1.16\u201d", "six==1.16"),
        ("six\u00a0==\u00a01.16", "six==1.16"),
        ("six\u200b==1.16", "six==1.16"),
        ("\uff53\uff49\uff58", "six"),
        ("six==1.16 \u2013 needed", "six==1.16"),
        ("(six)", "six"),
        # versions
        ('six=="1.16.0"', "six==1.16.0"),
        ("six = '1.16'", "six==1.16"),
        ("six>1.16.x", "six>=1.17"),
        ("six==1.x", "six==1.*"),
        ("six>=1.16.x,<2.x", "six<2,>=1.16"),
        ("six<=1.16.*", "six<1.17"),
        ("six~=1.16.x", "six~=1.16.0"),
        ("six==1.16.", "six==1.16"),
        ("six==1,16", "six==1.16"),
        ("six>=1.16<2", "six<2,>=1.16"),
        ("six (1.16)", "six==1.16"),
        ("six: 1.16", "six==1.16"),
        ("six!1.16", "six!=1.16"),
        ("six==", "six"),
        ('six = "*"', "six"),
        ('six = "^1.16"', "six<2,>=1.16"),
        ('six = "^0.3.1"', "six<0.4,>=0.3.1"),
        ('six = "~1.16"', "six~=1.16"),
        ('six = ">=1.16,<2"', "six<2,>=1.16"),
        ("six as s", "six"),
        ("install six", "six"),
        ("RUN pip install six==1.16", "six==1.16"),
    ],
)
def test_the_requirement_that_was_meant_is_suggested(line: str, meant: str, tmp_path: Path) -> None:
    text = refused(tmp_path, line)
    (quoted,) = re.findall(r"(?:did you mean|write) `([^`]+)`", text)
    assert quoted == meant

    (tmp_path / "r.txt").write_text(f"{quoted}\n", "utf-8")
    read = read_requirements(HostEnvironment(environ={}, cwd=tmp_path), files=[Path("r.txt")])
    assert [root.text for root in read.roots] == [meant]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("pkg-resources==0.0.0", "`pkg-resources` is not a distribution"),
        ("pkg_resources==0.0.0", "remove the line"),
        ("- six", "an item of a YAML list"),
        ("six==1.16 --upgrade", "write `six==1.16`"),
        ("requirements.txt", "write `-r requirements.txt`"),
        ("constraints-dev.txt", "write `-c constraints-dev.txt`"),
        ("six==1.16 -- needed", "a comment starts with ` #`"),
        ("[packages]", "a heading, not a requirement | remove the line"),
        ("dependencies:", "a heading, not a requirement | remove the line"),
        ("six\u200b==1.16", "an invisible character: U+200B ZERO WIDTH SPACE"),
        ("six==1.16\\", "remove the `\\` at its end"),
        ("<<<<<<< HEAD\nsix==1.16\n=======\nsix==1.15\n>>>>>>> other", "conflict of a merge of git"),
        ("certifi @ file:///feedstock_root/certifi_16/work/certifi", "`pip list --format=freeze`"),
        ("numpy @ file:///feedstock_root/numpy", "the path of `numpy` does not exist here"),
    ],
)
def test_lines_of_other_tools_are_explained(line: str, text: str, tmp_path: Path) -> None:
    assert text in refused(tmp_path, line)


def test_a_directory_cannot_have_a_hash_but_its_wheel_can(tmp_path: Path) -> None:
    (tmp_path / "proj").mkdir()
    (tmp_path / "proj/pyproject.toml").write_text("", "utf-8")
    (tmp_path / "r.txt").write_text(f"six==1.16 --hash=sha256:{'0' * 64}\n./proj\n", "utf-8")
    with pytest.raises(InputError, match="a directory or repository cannot have a hash") as caught:
        read_requirements(HostEnvironment(environ={}, cwd=tmp_path), files=[Path("r.txt")])

    assert f"`pip wheel --no-deps {tmp_path}/proj`" in str(caught.value.hint)


@pytest.mark.parametrize(
    "line",
    [
        "six; foo",
        "six; python_version",
        "six; 1 < 2",
        "six; bad == 1",
        "six;; os_name == 'x'",
        "?; os_name == x",
    ],
)
def test_no_marker_is_invented(line: str, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text(f"{line}\n", "utf-8")
    with pytest.raises(InputError) as caught:
        read_requirements(HostEnvironment(environ={}, cwd=tmp_path), files=[Path("r.txt")])
    assert "did you mean" not in str(caught.value.hint)


@pytest.mark.parametrize(
    ("line", "fact", "pasted"),
    [
        (r".\wheels\foo-1.0.tar.gz", "a path of Windows", "./wheels/foo-1.0.tar.gz"),
        (r"wheels\foo-1.0.tar.gz", "a path of Windows", "./wheels/foo-1.0.tar.gz"),
        (r"C:\Users\me\foo-1.0.tar.gz", "a path of Windows", "./foo-1.0.tar.gz"),
        ("file://./wheels/foo-1.0.tar.gz", "the path of a `file:` URL must", "./wheels/foo-1.0.tar.gz"),
        ("file://../here/foo-1.0.tar.gz", "the path of a `file:` URL must", "../here/foo-1.0.tar.gz"),
        ("six,idna", "several requirements in one", "six"),
        ("six[a]==1.0, idna", "several requirements in one", "six[a]==1.0"),
        ("six idna requests", "several requirements in one", "six"),
    ],
)
def test_what_pip_cannot_parse_gets_what_it_can(line: str, fact: str, pasted: str, tmp_path: Path) -> None:
    cwd = tmp_path / "here"
    (cwd / "wheels").mkdir(parents=True)
    for folder in (cwd, cwd / "wheels"):
        (folder / "foo-1.0.tar.gz").write_bytes(b"x")
    text = refused(cwd, line)

    assert text.startswith(f"r.txt:2: {fact}")
    assert re.findall("(?:write|mean) `([^`]+)`", text) == [pasted]
    (cwd / "r.txt").write_text(f"{pasted}\n", "utf-8")
    assert read_requirements(HostEnvironment(environ={}, cwd=cwd), files=[Path("r.txt")]).roots


def test_several_requirements_of_the_command_line_are_words(tmp_path: Path) -> None:
    host = HostEnvironment(environ={}, cwd=tmp_path)
    with pytest.raises(InputError) as caught:
        read_requirements(host, strings=["requests[socks],idna"])

    words = quoted_words(caught.value.hint)
    assert len(read_requirements(host, strings=words).roots) == 2


@pytest.mark.parametrize("line", ["six=1.16.0=build_0", "libgcc-ng=11.2.0=h1234567_1"])
def test_a_line_of_conda_list_gets_the_export(line: str, tmp_path: Path) -> None:
    assert refused(tmp_path, line) == (
        "r.txt:2: a conda package with its build, not a requirement | "
        "`conda env export > env.yml`, then pass `-f env.yml`"
    )


WHEEL = "six-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("line", "fact", "hint"),
    [
        ("no.whl", "file or directory not found", None),
        ("./no.whl", "file or directory not found", None),
        ("no.whl ; python_version < '3.8'", "file or directory not found", None),
        ("six @ ./six-1.whl", "file or directory not found", None),
        ("six @ ./no-1.0.tar.gz", "file or directory not found", None),
        ("six @ ../no", "file or directory not found", None),
        ("wrongly_named.whl", "not a valid file name of a wheel", None),
        ("six @ ./wrongly_named.whl", "not a valid file name of a wheel", None),
        (f"six @ ./{WHEEL}", "the text after `@` is a path, not a URL", f"write `./{WHEEL}`"),
        (f"six[a]@{WHEEL}", "the text after `@` is a path, not a URL", f"write `./{WHEEL}[a]`"),
        ("six @ ./project", "the text after `@` is a path, not a URL", "write `./project`"),
    ],
)
def test_a_path_after_a_name_and_a_missing_wheel(
    line: str, fact: str, hint: str | None, tmp_path: Path
) -> None:
    for name in (WHEEL, "wrongly_named.whl", "project/setup.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    host = HostEnvironment(environ={}, cwd=tmp_path)
    (tmp_path / "r.txt").write_text(f"{line}\n", "utf-8")
    for given in ({"files": [Path("r.txt")]}, {"strings": [line]}):
        with pytest.raises(InputError) as caught:
            read_requirements(host, **given)
        assert caught.value.message.endswith(f": {fact}")
        assert caught.value.hint == hint
    if hint:
        (tmp_path / "r.txt").write_text(hint.split("`")[1], "utf-8")
        assert read_requirements(host, files=[Path("r.txt")]).roots
