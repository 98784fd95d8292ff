"""An env.yml as input: what it becomes, what pip gets of it, and which Python it asks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.specifiers import SpecifierSet
from support.cli import built
from support.facts import base_of
from support.wheels import make_wheel

from bundler.checks.base_compat import check_system_packages
from bundler.errors import InputError
from bundler.requirements.conda.translate import (
    SystemPackage,
    conda_requirements,
    lowest_python,
    parse_system_package,
)
from bundler.requirements.files import read_requirements
from bundler.requirements.requirement_set import RequirementSet
from bundler.system.environ import HostEnvironment

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex

DIGEST = "ab" * 32


def read(folder: Path, text: str, *, strict: bool = False, **files: str) -> RequirementSet:
    """Read an ``env.yml`` that stands in a folder below the working directory."""
    below = folder / "conda"
    below.mkdir()
    (below / "env.yml").write_text(text)
    for name, content in files.items():
        (below / f"{name}.txt").write_text(content)
    host = HostEnvironment(cwd=folder, environ={"TOKEN": "s3cret", "PATH": "/usr/bin"})
    return read_requirements(host, files=[Path("conda/env.yml")], strict=strict)


def test_l02_conda_packages_become_requirements_and_the_pip_section_stays(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
name: nlp
channels: [pytorch, conda-forge]
dependencies:
  - python=3.8
  - pip
  - pytorch=1.7
  - cudatoolkit=11.1
  - pip:
      - requests[socks]>=2 ; python_version < "4"
""",
    )

    assert [root.text for root in found.roots] == [
        "torch==1.7.*",
        'requests[socks]>=2; python_version < "4"',
    ]
    assert [root.origin for root in found.roots] == ["conda/env.yml:7", "conda/env.yml:10"]
    assert found.requirement_lines == ("torch==1.7.*", 'requests[socks]>=2 ; python_version < "4"')
    assert found.conda is not None
    assert found.conda.read.name == "nlp"
    assert found.conda.read.python == SpecifierSet("==3.8.*")
    assert [one.name for one in found.conda.read.system_packages] == ["cudatoolkit"]
    assert any(
        "conda/env.yml: the base image must provide `cudatoolkit=11.1`" in text for text in found.warnings
    )
    told = found.conda.translations()
    assert any(line.startswith("conda/env.yml:7: `pytorch=1.7` becomes `torch==1.7.*`") for line in told)
    assert any(line.startswith("conda/env.yml:6: `pip` is omitted") for line in told)


def test_l02_what_no_index_has_is_an_error_where_it_is_strict(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, "dependencies: [python=3.7, cudatoolkit=11.1, mkl, numpy]\n", strict=True)

    assert caught.value.message == "2 problems in the requirements"
    assert [line for line in caught.value.evidence if line.startswith("conda")] == [
        f"conda/env.yml:1: `{name}` is a library of conda, not a Python project: the base image must provide it"
        for name in ("cudatoolkit", "mkl")
    ]


def test_l02_lines_of_the_pip_section_mean_what_conda_lets_them_mean(tmp_path: Path) -> None:
    make_wheel(tmp_path, "local", "1.0")
    (tmp_path / "conda").mkdir()
    make_wheel(tmp_path / "conda", "beside", "1.0")
    (tmp_path / "conda" / "env.yml").write_text(f"""
dependencies:
  - pip:
      - --index-url https://user:${{TOKEN}}@index.example/simple
      - --pre
      - -r more.txt
      - -c pins.txt
      - ./beside-1.0-py3-none-any.whl
      - six==1.16.0 --hash=sha256:{DIGEST}
""")
    (tmp_path / "conda" / "more.txt").write_text(f"idna==3.4 --hash=sha256:{DIGEST}\n")
    (tmp_path / "conda" / "pins.txt").write_text("idna<4\n")
    host = HostEnvironment(cwd=tmp_path, environ={"TOKEN": "s3cret"})
    with pytest.raises(InputError) as caught:  # for a local file has no hash, and others have
        read_requirements(host, files=[Path("conda/env.yml")])
    assert "conda/env.yml:8" in caught.value.message

    text = (tmp_path / "conda" / "env.yml").read_text()
    (tmp_path / "conda" / "env.yml").write_text(text.replace(f" --hash=sha256:{DIGEST}", ""))
    (tmp_path / "conda" / "more.txt").write_text("idna==3.4\n")
    found = read_requirements(host, files=[Path("conda/env.yml")])

    assert [root.text for root in found.roots] == [
        "idna==3.4",
        "./beside-1.0-py3-none-any.whl",
        "six==1.16.0",
    ]
    beside = str(tmp_path / "conda" / "beside-1.0-py3-none-any.whl")
    assert found.requirement_lines == ("idna==3.4", beside, "six==1.16.0")
    assert found.constraint_lines == ("idna<4",)
    assert found.pip_options == ("--pre",)
    assert found.options.index_url == "https://user:s3cret@index.example/simple"
    assert found.variables == ("TOKEN",)


@pytest.mark.attack("input")
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("beside @ ./beside-1.0-py3-none-any.whl", "file or directory not found"),
        ("-e .", "editable"),
        ("--target lib", "the option `--target` is not allowed"),
        ("git+https://git.example/x.git@main", "a branch or tag may move"),
    ],
)
def test_the_policy_holds_for_the_pip_section(line: str, wanted: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"conda/env\.yml:3: ") as caught:
        read(tmp_path, f"dependencies:\n  - pip:\n    - {json.dumps(line)}\n")

    assert wanted in str(caught.value)


def test_every_problem_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, "dependencies:\n  - python=3.7\n  - python=3.8\n  - numpy=1.2|1.4\n  - pip: [-e .]\n")

    told = "\n".join(caught.value.evidence)
    for place in ("conda/env.yml:3", "conda/env.yml:4", "conda/env.yml:5"):
        assert place in told


def test_one_specification_is_enough(tmp_path: Path) -> None:
    for name in ("a.yml", "b.yaml"):
        (tmp_path / name).write_text("dependencies: [six]\n")
    host = HostEnvironment(cwd=tmp_path, environ={})

    with pytest.raises(
        InputError, match=r"b\.yaml: only one conda environment file is supported, besides `a\.yml`"
    ):
        read_requirements(host, files=[Path("a.yml"), Path("b.yaml")])


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ("==3.7.*", "3.7"),
        ("==3.7.16", "3.7"),
        ("==3.7", "3.7"),
        (">=3.8,<3.11", "3.8"),
        (">=3.8.5", "3.8"),
        (">=3.7.200", "3.8"),
        ("==3.*", "3.7"),
        ("==3.6.2", None),
        ("==3.6.*", None),
        ("<3.7", None),
        ("==2.7.*", None),
        ("", "3.7"),
    ],
)
def test_l04_the_lowest_python_that_will_do(asked: str, chosen: str | None) -> None:
    assert lowest_python(SpecifierSet(asked)) == chosen


def test_what_a_manifest_says_of_the_base_is_read_back() -> None:
    found = conda_requirements("dependencies: ['nvidia::cudatoolkit=11.1']\n").system_packages[0]

    again = parse_system_package(found.text)
    assert (again.name, again.libraries) == (found.name, found.libraries)


@pytest.mark.parametrize(
    ("libraries", "wanted", "codes"),
    [
        ({"libcudart.so.11.0"}, ("libcudart.so",), []),
        ({"libc.so.6"}, ("libcudart.so",), ["B508"]),
        (None, ("libcudart.so",), ["B509"]),
        ({"libc.so.6"}, (), ["B509"]),
    ],
)
def test_a_base_shows_what_it_has_by_its_libraries(
    libraries: set[str] | None, wanted: tuple[str, ...], codes: list[str]
) -> None:
    base = base_of(libraries=libraries)
    asked = SystemPackage(name="cudatoolkit", text="cudatoolkit=11.1", line=3, libraries=wanted)

    assert [one.code for one in check_system_packages(base, [asked])] == codes


def test_a_distribution_of_the_same_name_will_do() -> None:
    base = base_of(libraries={"libc.so.6"}, mkl="2018.0.3")
    asked = SystemPackage(name="mkl", text="mkl", line=1, libraries=("libmkl_rt.so",))

    assert list(check_system_packages(base, [asked])) == []


# --- the command ----------------------------------------------------------------


@pytest.fixture
def served(index: LocalIndex) -> LocalIndex:
    make_wheel(index.folder, "shop", "1.2.3")
    make_wheel(index.folder, "shop", "2.0")
    make_wheel(index.folder, "basket", "2.0")
    return index


def write(folder: Path, text: str) -> Path:
    (folder / "env.yml").write_text(text)
    return folder


@pytest.mark.usefixtures("served")
def test_build_f_env_yml(warm_cli: BundlerCli, tmp_path: Path) -> None:
    write(
        tmp_path, "name: nlp\ndependencies:\n  - python=3.7\n  - shop=1.2\n  - mkl\n  - pip:\n    - basket\n"
    )
    ended = warm_cli.run("build", "-f", "env.yml", "--json", cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr
    result = ended.json["result"]
    assert result["name"] == "nlp"
    assert result["distributions"] == {"basket": "2.0", "shop": "1.2.3"}
    assert "env.yml:4: `shop=1.2` becomes `shop==1.2.*`" in ended.stderr
    assert "env.yml: the base image must provide `mkl`" in ended.stderr
    manifest = json.loads(Path(result["manifest"]).read_text())
    assert manifest["base"] == {"provided": {}, "conda": ["mkl"]}
    assert manifest["requirements"] == ["basket", "shop==1.2.*"]
    shown = warm_cli.run("inspect", result["path"])
    assert "base      must have mkl (conda)" in shown.stdout


@pytest.mark.usefixtures("served")
def test_find_links_is_still_what_it_is_for_pip(warm_cli: BundlerCli, tmp_path: Path) -> None:
    links = tmp_path / "links.d"
    links.mkdir()
    make_wheel(links, "shop", "3.0")
    write(tmp_path, "dependencies: [python=3.7, shop]\n")

    result = built(warm_cli, "-f", "env.yml", "-f", str(links), cwd=tmp_path)

    assert result["distributions"] == {"shop": "3.0"}


@pytest.mark.usefixtures("served")
def test_l04_another_python_than_the_file_asks_for(warm_cli: BundlerCli, tmp_path: Path) -> None:
    write(tmp_path, "dependencies: [python=3.11, shop]\n")
    ended = warm_cli.run("build", "-f", "env.yml", "--python", "3.7", cwd=tmp_path)

    assert ended.returncode == 3
    assert "env.yml requires another Python than the target" in ended.stderr
    assert "wanted  python=3.11" in ended.stderr
    assert not (tmp_path / "dist").exists()


@pytest.mark.usefixtures("served")
def test_l04_a_python_below_the_floor(warm_cli: BundlerCli, tmp_path: Path) -> None:
    write(tmp_path, "dependencies: [python=3.6.2, shop]\n")
    ended = warm_cli.run("build", "-f", "env.yml", cwd=tmp_path)

    assert ended.returncode == 3
    assert "env.yml requires `python=3.6.2`, which is not supported as a target" in ended.stderr


@pytest.mark.usefixtures("served")
def test_the_python_of_the_file_is_the_target(
    warm_cli: BundlerCli, pythons: dict[str, Path], tmp_path: Path
) -> None:
    if "3.8" not in pythons:
        pytest.skip("no CPython 3.8 was found")
    write(tmp_path, "dependencies: [python=3.8, shop]\n")

    assert built(warm_cli, "-f", "env.yml", cwd=tmp_path)["target"]["python"] == "3.8"


@pytest.mark.usefixtures("served")
def test_an_export_of_conda_names_a_release_of_its_python(warm_cli: BundlerCli, tmp_path: Path) -> None:
    write(tmp_path, "dependencies: [python=3.7.1=h7a1cb2a_0, shop=1.2.3=py37_0]\n")
    ended = warm_cli.run("build", "-f", "env.yml", cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert "env.yml requires `python=3.7.1=h7a1cb2a_0`; the target is 3.7." in ended.stderr


@pytest.mark.usefixtures("served")
def test_a_lock_is_held_against_the_specification(warm_cli: BundlerCli, tmp_path: Path) -> None:
    write(tmp_path, "dependencies: [python=3.7, shop=1.2]\n")
    assert warm_cli.run("lock", "-f", "env.yml", cwd=tmp_path).returncode == 0
    fits = warm_cli.run("build", "-f", "env.yml", "--lock", "pylock.toml", cwd=tmp_path)
    write(tmp_path, "dependencies: [python=3.7, shop=2]\n")
    stale = warm_cli.run("build", "-f", "env.yml", "--lock", "pylock.toml", cwd=tmp_path)

    assert (fits.returncode, stale.returncode) == (0, 3), fits.stderr
    assert "shop==2.*" in stale.stderr


@pytest.mark.usefixtures("served")
def test_a_base_without_what_is_left_to_it(warm_cli: BundlerCli, tmp_path: Path) -> None:
    write(tmp_path, "dependencies: [python=3.7, shop, cudatoolkit=11.1]\n")
    profile = base_of(libraries={"libc.so.6"})
    (tmp_path / "base.json").write_text(json.dumps(profile.to_json()))
    ended = warm_cli.run("build", "-f", "env.yml", "--base", "base.json", cwd=tmp_path)

    assert ended.returncode == 10
    assert "B508  the base does not have `cudatoolkit=11.1`" in ended.stderr
    assert "wanted  a library libcudart.so*" in ended.stderr
    allowed = built(warm_cli, "-f", "env.yml", cwd=tmp_path)
    verified = warm_cli.run("verify", allowed["path"], "--base", "base.json", cwd=tmp_path)
    assert verified.returncode == 10
    assert "B508" in verified.stderr


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("python", ["python=3.7.1", "python=3.7.1.*", "python==3.7.1", "python 3.7.99"])
def test_a_release_of_python_is_met_by_its_series(python: str, warm_cli: BundlerCli, tmp_path: Path) -> None:
    write(tmp_path, f"dependencies: ['{python}', shop=1.2.3]\n")
    ended = warm_cli.run("build", "-f", "env.yml", cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert f"env.yml requires `{python}`; the target is 3.7." in ended.stderr


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("python", ["python>=3.7.99,<3.8", "python!=3.7.*,<3.8"])
def test_a_bound_of_python_is_not_a_release(python: str, warm_cli: BundlerCli, tmp_path: Path) -> None:
    write(tmp_path, f"dependencies: ['{python}', shop=1.2.3]\n")

    assert warm_cli.run("lock", "-f", "env.yml", cwd=tmp_path).returncode == 3


# pthread-stubs is on no index, mkl-service has no release for the Python, sip lacks the release.
MISSING = """dependencies:
  - python=3.7
  - shop=1.2
  - pthread-stubs=0.4=h14c3975_1001
  - mkl-service
  - sip=4.19.8
  - unheard-of
"""


@pytest.mark.usefixtures("served")
def test_assumed_names_that_the_index_lacks_must_be_in_the_base(
    warm_cli: BundlerCli, index: LocalIndex, tmp_path: Path
) -> None:
    make_wheel(index.folder, "mkl-service", "2.4", requires_python=">=3.10")
    make_wheel(index.folder, "sip", "6.0")
    make_wheel(index.folder, "unheard-of", "1.0")
    write(tmp_path, MISSING)
    ended = warm_cli.run("build", "-f", "env.yml", "--json", cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr
    result = ended.json["result"]
    assert result["distributions"] == {"shop": "1.2.3", "unheard-of": "1.0"}
    for line, text in ((4, "pthread-stubs==0.4"), (5, "mkl-service"), (6, "sip==4.19.8.*")):
        assert f"env.yml:{line}: the index has no `{text}`: the base image must provide it" in ended.stderr
    manifest = json.loads(Path(result["manifest"]).read_text())
    assert manifest["base"]["conda"] == ["mkl-service", "pthread-stubs=0.4=h14c3975_1001", "sip=4.19.8"]
    assert manifest["requirements"] == ["shop==1.2.*", "unheard-of"]

    assert warm_cli.run("lock", "-f", "env.yml", cwd=tmp_path).returncode == 0
    from_lock = built(warm_cli, "-f", "env.yml", "--lock", "pylock.toml", cwd=tmp_path)
    assert from_lock["identity"] == result["identity"]

    write(tmp_path, MISSING + "  - added-later\n")
    stale = warm_cli.run("build", "-f", "env.yml", "--lock", "pylock.toml", cwd=tmp_path)
    assert stale.returncode == 3
    assert "added-later  (env.yml:8) is not in the lock" in stale.stderr


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        pytest.param("[python=3.7, shop=9]", (), id="a-known-name-without-the-release"),
        pytest.param("[python=3.7, pthread-stubs, {pip: [pthread-stubs]}]", (), id="also-required-by-pip"),
        pytest.param("[python=3.7, shop, pthread-stubs]", ("--strict",), id="strict"),
        pytest.param("[python=3.7, {pip: [pthread-stubs]}]", (), id="required-by-pip"),
    ],
)
def test_other_names_that_the_index_lacks_are_errors(
    text: str, arguments: tuple[str, ...], warm_cli: BundlerCli, tmp_path: Path
) -> None:
    write(tmp_path, f"dependencies: {text}\n".replace("shop=9", "numpy=9"))
    ended = warm_cli.run("build", "-f", "env.yml", *arguments, cwd=tmp_path)

    assert ended.returncode == 4, ended.stderr
    assert "not found on the index" in ended.stderr


@pytest.mark.usefixtures("served")
def test_only_packages_of_the_base_are_left(warm_cli: BundlerCli, tmp_path: Path) -> None:
    write(tmp_path, "dependencies: [python=3.7, pthread-stubs]\n")

    assert built(warm_cli, "-f", "env.yml", cwd=tmp_path)["distributions"] == {}


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("text", ["setuptools", "{pip: [setuptools]}"])
def test_an_explicit_setuptools_is_kept(text: str, warm_cli: BundlerCli, tmp_path: Path) -> None:
    write(tmp_path, f"dependencies: [python=3.7, pip, wheel, shop=2, {text}]\n")

    assert set(built(warm_cli, "-f", "env.yml", cwd=tmp_path)["distributions"]) == {"setuptools", "shop"}


@pytest.mark.attack("input")
@pytest.mark.parametrize(
    "line",
    [
        "-r file:requirements.txt",
        "--requirement=file:requirements.txt",
        "--requirement FILE:./requirements.txt",
        "-r file:%72equirements.txt",
        "-r file:{folder}/requirements.txt",
        "-r file://{folder}/requirements.txt",
        "-r requirements.txt",
    ],
)
def test_a_requirements_file_by_url(line: str, tmp_path: Path) -> None:
    text = f"dependencies: [pip, {{pip: ['{line.format(folder=tmp_path / 'conda')}']}}]\n"
    found = read(tmp_path, text, requirements="shop\n")

    assert [root.text for root in found.roots] == ["shop"]
    assert tmp_path / "conda/requirements.txt" in found.files_read


@pytest.mark.attack("input")
def test_a_constraints_file_by_url_with_a_space(tmp_path: Path) -> None:
    (tmp_path / "conda").mkdir()
    (tmp_path / "conda/my pins.txt").write_text("shop==2\n")
    (tmp_path / "conda/env.yml").write_text("dependencies: [shop, {pip: ['-c file:my%20pins.txt']}]\n")
    host = HostEnvironment(cwd=tmp_path, environ={})

    found = read_requirements(host, files=[Path("conda/env.yml")])

    assert [root.text for root in found.constraints] == ["shop==2"]
    assert tmp_path / "conda/my pins.txt" in found.files_read


@pytest.mark.attack("input")
def test_a_requirements_file_of_another_host(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`-r` with a URL is unsupported"):
        read(tmp_path, "dependencies: [{pip: ['-r file://elsewhere/requirements.txt']}]\n")
