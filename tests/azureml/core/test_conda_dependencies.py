"""`CondaDependencies`: Azure's documents to the byte, and the traps of the original closed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.azureml.core import CondaDependencies as FromPackage
from bundler.azureml.core.conda_dependencies import CondaDependencies
from bundler.azureml.exceptions import MissingError, UserErrorException
from bundler.errors import BundlerError, InputError, OutputError, UsageError
from bundler.requirements.conda import version as python_version

# Azure ML's documents, "Environment": "This example will generate the following file".
DOCUMENTED = """\
# Conda environment specification. The dependencies defined in this file will
# be automatically provisioned for runs with userManagedDependencies=False.

# Details about the Conda environment file format:
# https://conda.io/docs/user-guide/tasks/manage-environments.html#create-env-file-manually

name: project_environment
dependencies:
  # The python interpreter version.
  # Currently Azure ML only supports 3.5.2 and later.
- python=3.7

- pip:
    # Required packages for AzureML execution, history, and data preparation.
  - azureml-defaults

  - pyyaml
- pytorch
- torchvision
channels:
- anaconda
- conda-forge
- pytorch
"""

# The documents' curated environment.
CURATED = """\
channels:
- conda-forge
dependencies:
- python=3.6.2
- pip:
  - azureml-core==1.15.0
  - torch==1.1
  - mkl==2018.0.3
name: azureml_eb61e39e20e87ad998ae2c88df1dd0af
"""

OWN = """\
name: mine
channels: [conda-forge]
dependencies:
  - python=3.8   # the oldest we support
  - numpy=1.18
  # from the index
  - pip:
      - --find-links ./wheels
      - Flask[async]>=1 ; python_version >= "3.6"   # web
      - "six @ https://index.example/six-1.16.0-py2.py3-none-any.whl"
"""


def documented() -> CondaDependencies:
    """The result of the documents' example."""
    conda = CondaDependencies()
    conda.add_channel("pytorch")
    conda.add_conda_package("python=3.7")
    conda.add_conda_package("pytorch")
    conda.add_conda_package("torchvision")
    conda.add_pip_package("pyyaml")
    return conda


def own() -> CondaDependencies:
    return CondaDependencies.from_text(OWN)


def dependencies(conda: CondaDependencies) -> list[Any]:
    listed: list[Any] = conda.as_dict()["dependencies"]
    return listed


def pip(conda: CondaDependencies) -> list[str]:
    (section,) = (item["pip"] for item in dependencies(conda) if isinstance(item, dict))
    return list(section)


def test_the_documented_example_gives_the_documented_file(tmp_path: Path) -> None:
    saved = documented().save(tmp_path / "env.yml")

    assert (tmp_path / "env.yml").read_text("utf-8") == DOCUMENTED
    assert saved == str(tmp_path / "env.yml")


def test_a_new_object_is_for_python_37_with_azureml_defaults() -> None:
    conda = CondaDependencies()

    assert conda.get_python_version() == "3.7"
    assert list(conda.conda_packages) == ["python=3.7"]
    assert list(conda.pip_packages) == ["azureml-defaults"]
    assert list(conda.pip_options) == []
    assert list(conda.conda_channels) == ["anaconda", "conda-forge"]


def test_the_documented_curated_environment_is_printed_as_it_is() -> None:
    conda = CondaDependencies.from_text(CURATED)

    assert conda.serialize_to_string() == CURATED
    assert conda.get_python_version() == "3.6.2"


def test_a_file_is_read_edited_and_keeps_its_comments(tmp_path: Path) -> None:
    path = tmp_path / "env.yml"
    path.write_text(OWN, "utf-8")

    conda = CondaDependencies(conda_dependencies_file_path=path)
    conda.set_python_version("3.7")
    conda.add_pip_package("wheel")
    text = conda.serialize_to_string()

    assert re.search(r"^- python=3\.7 +# the oldest we support$", text, re.MULTILINE)
    assert "# from the index\n" in text
    assert "# web\n" in text
    assert pip(conda)[-1] == "wheel"


def test_the_package_gives_the_same_class() -> None:
    assert FromPackage is CondaDependencies


def test_a_copy_of_the_lists_is_handed_out() -> None:
    conda = documented()
    as_dict = conda.as_dict()
    as_dict["channels"].clear()

    assert list(conda.conda_channels) == ["anaconda", "conda-forge", "pytorch"]
    assert json.loads(json.dumps(conda.as_dict())) == conda.as_dict()


# Channels and conda packages


def test_a_channel_is_added_once_and_removed() -> None:
    conda = documented()
    conda.add_channel("pytorch")
    conda.remove_channel("anaconda")
    conda.remove_channel("not there")

    assert list(conda.conda_channels) == ["conda-forge", "pytorch"]


@pytest.mark.parametrize("channel", ["", "a b", "a\nb", 5])
def test_what_is_no_channel_is_refused(channel: Any) -> None:
    conda = CondaDependencies()
    with pytest.raises(InputError, match="invalid channel"):
        conda.add_channel(channel)

    assert list(conda.conda_channels) == ["anaconda", "conda-forge"]


def test_a_conda_package_replaces_that_of_its_name_where_it_stands() -> None:
    conda = own()
    conda.add_conda_package("numpy=1.19")
    conda.add_conda_package("scipy")

    assert dependencies(conda)[:2] == ["python=3.8", "numpy=1.19"]
    assert dependencies(conda)[-1] == "scipy"


def test_a_conda_package_is_removed_by_its_name() -> None:
    conda = own()
    conda.remove_conda_package("numpy")
    conda.remove_conda_package("not-there")

    assert list(conda.conda_packages) == ["python=3.8"]


def test_python_cannot_be_removed() -> None:
    conda = own()
    with pytest.raises(UsageError, match="`python` cannot be removed"):
        conda.remove_conda_package("python=3.8")

    assert conda.get_python_version() == "3.8"


@pytest.mark.parametrize(
    ("added", "entry"),
    [
        ("python=3.7", "python=3.7"),
        ("python==3.7.16", "python=3.7.16"),
        ("python=3.7.*", "python=3.7"),
        ("python>=3.7", "python=3.7"),
        ("python>=3.7,<3.9", "python=3.7"),
        ("python<3.9,>=3.8", "python=3.8"),
        ("python 3.9", "python=3.9"),
        ("python", "python=3.10"),
        ("python<3.11", "python=3.10"),
        ("python<3.9", "python=3.7"),
        ("conda-forge::python=3.8", "conda-forge::python=3.8"),
    ],
)
def test_of_a_python_one_version_is_taken_that_it_allows(added: str, entry: str) -> None:
    """The original takes the last number in the text: `python>=3.7,<3.9` and `python<3.9` became 3.9."""
    conda = CondaDependencies()
    conda.set_python_version("3.10")
    conda.add_conda_package(added)

    assert list(conda.conda_packages) == [entry]


@pytest.mark.parametrize("added", ["python<3.7", "python>3.11,<3.9", "python=2"])
def test_a_python_that_names_no_version_is_refused(added: str) -> None:
    conda = CondaDependencies()
    with pytest.raises(InputError, match="does not select a version of Python"):
        conda.add_conda_package(added)

    assert conda.get_python_version() == "3.7"


def test_a_package_whose_name_begins_with_python_is_another_one() -> None:
    conda = CondaDependencies()
    conda.add_conda_package("python-dateutil=2.8")

    assert list(conda.conda_packages) == ["python=3.7", "python-dateutil=2.8"]


@pytest.mark.parametrize("version", ["banana", "3", "=3.7", "3.7; rm", "", "3.7\n3.8", ">=3.7"])
def test_what_is_no_version_of_python_is_refused(version: str) -> None:
    """The original takes all of these but the last."""
    conda = CondaDependencies()
    with pytest.raises(InputError, match="is not a version of Python"):
        conda.set_python_version(version)

    assert conda.get_python_version() == "3.7"


def test_a_number_is_no_version() -> None:
    """3.10 is 3.1 when it arrives."""
    with pytest.raises(UsageError, match=r"not the float `3\.1`") as caught:
        CondaDependencies().set_python_version(3.10)  # type: ignore[arg-type]

    assert caught.value.hint == 'write `set_python_version("3.1")`'


def test_a_star_behind_a_version_says_nothing() -> None:
    conda = CondaDependencies()
    conda.set_python_version("3.8.*")

    assert list(conda.conda_packages) == ["python=3.8"]


def test_python_is_added_where_there_is_none() -> None:
    conda = CondaDependencies.from_text("dependencies:\n- numpy\n")
    assert conda.get_python_version() is None
    conda.set_python_version("3.8.1")

    assert dependencies(conda) == ["numpy", "python=3.8.1"]


@pytest.mark.parametrize(
    ("constraint", "chosen", "allowed"),
    [
        (None, None, True),
        ("3.7", "3.7", True),
        ("3.7.*", "3.7", True),
        ("=3.6.2", "3.6.2", False),
        ("3.8|3.7", "3.8", True),
        ("<3.7|>=3.9", "3.9", False),
        ("3", None, True),
        ("3.*", None, True),
        ("*", None, True),
        ("!=3.8,<3.9", None, True),
        (">=3.7,!=3.7", None, False),
        ("~=3.7", "3.7", True),
        ("=3.13.0rc1", "3.13.0rc1", False),
        ("nonsense here", None, False),
    ],
)
def test_a_constraint_on_python(constraint: str | None, chosen: str | None, allowed: bool) -> None:
    assert python_version.chosen_version(constraint) == chosen
    assert python_version.allows(constraint, "3.7") is allowed


# pip


@pytest.mark.parametrize(
    ("added", "left"),
    [
        ("flask==2.0", ["six"]),
        ("FLASK", ["six"]),
        ('flask >= 2 ; python_version < "3.8"', ["six"]),
        ("flask [dotenv]", ["six"]),
        ("flask @ https://index.example/flask.zip", ["six"]),
        ("https://index.example/Flask-2.0-py3-none-any.whl", ["six"]),
        ("./wheels/flask-2.0.tar.gz", ["six"]),
        ("git+https://index.example/f@0#egg=flask", ["six"]),
        ("six==1", ["flask"]),
        ("flask-login", ["flask", "six"]),
        ("./flask", ["flask", "six"]),
    ],
)
def test_a_pip_package_takes_the_place_of_its_project(added: str, left: list[str]) -> None:
    """The original splits at the first sign: a marker, a URL or a space made another project of it."""
    conda = own()
    conda.add_pip_package(added)
    names = {"flask": pip(own())[1], "six": pip(own())[2]}

    assert pip(conda) == ["--find-links ./wheels", *(names[name] for name in left), added]


@pytest.mark.parametrize("removed", ["Flask", "flask==9", 'FLASK ; python_version < "3"'])
def test_a_pip_package_is_removed_by_its_name(removed: str) -> None:
    conda = own()
    conda.remove_pip_package(removed)

    assert [line.partition(" ")[0] for line in conda.pip_packages] == ["six"]


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("-e .", "it is an option, not a package", "pass it to `set_pip_option`"),
        ("--pre", "it is an option, not a package", "pass it to `set_pip_option`"),
        ("banana split", "it is not a requirement", None),
        ("numpy==banana", "it is not a requirement", None),
        ("numpy=1.18", "it is not a requirement", "write `numpy==1.18`: pip pins with `==`"),
        ("", "it is not a requirement", None),
        ("six\n--index-url https://evil.example", "a control character or a line break", None),
        (None, "expected a string", None),
    ],
)
def test_what_is_no_pip_package_is_refused(line: Any, message: str, hint: str | None) -> None:
    conda = own()
    for method in (conda.add_pip_package, conda.remove_pip_package):
        with pytest.raises(InputError, match=message) as caught:
            method(line)

        assert caught.value.hint == hint
    assert conda.as_dict() == own().as_dict()


def test_a_secret_in_an_address_is_not_told() -> None:
    with pytest.raises(InputError) as caught:
        CondaDependencies().add_pip_package("banana split https://index.example/x?sig=hunter2secret")

    assert "hunter2secret" not in f"{caught.value} {caught.value.evidence}"


def test_a_secret_in_a_file_is_not_told(tmp_path: Path) -> None:
    path = tmp_path / "env.yml"
    path.write_text("channels:\n- url: https://index.example/x?sig=hunter3secret\n", "utf-8")
    with pytest.raises(InputError) as caught:
        CondaDependencies(path)

    assert "hunter3secret" not in f"{caught.value} {caught.value.evidence}"


def test_an_option_is_no_package_whatever_it_names() -> None:
    conda = CondaDependencies()
    conda.set_pip_option("-e git+https://index.example/f@0#egg=flask")
    conda.add_pip_package("flask")

    assert pip(conda)[1:] == ["-e git+https://index.example/f@0#egg=flask", "flask"]


def test_a_package_keeps_its_hashes() -> None:
    conda = CondaDependencies()
    conda.add_pip_package(f"six==1.16.0 --hash=sha256:{'0' * 64}")
    conda.add_pip_package("six==1.17.0")

    assert pip(conda) == ["azureml-defaults", "six==1.17.0"]


def test_an_option_replaces_that_of_its_name() -> None:
    conda = own()
    conda.set_pip_option("-f ./other")
    conda.set_pip_option("--pre")
    conda.set_pip_option("--pre")

    assert pip(conda)[0] == "-f ./other"
    assert pip(conda)[-1] == "--pre"
    assert len(list(conda.pip_options)) == 2


def test_an_option_that_stood_twice_stands_once() -> None:
    conda = CondaDependencies.from_text("dependencies:\n- pip: [-f a, six, --find-links=b]\n")
    conda.set_pip_option("--find-links c")

    assert pip(conda) == ["--find-links c", "six"]


def test_an_option_is_removed_by_its_name() -> None:
    conda = own()
    conda.remove_pip_option("-f")
    conda.remove_pip_option("--not-there")

    assert list(conda.pip_options) == []


@pytest.mark.parametrize("option", ["pre", "six==1", "", "# --pre", None])
def test_what_is_no_option_is_refused(option: Any) -> None:
    conda = CondaDependencies()
    for method in (conda.set_pip_option, conda.remove_pip_option):
        with pytest.raises(InputError, match="not an option of pip: it does not start with `-`"):
            method(option)


@pytest.mark.parametrize(
    "given", ["https://index.example/simple", "--index-url https://index.example/simple"]
)
def test_the_index_is_set_by_its_address(given: str) -> None:
    conda = CondaDependencies()
    conda.set_pip_index_url(given)
    conda.set_pip_index_url(given)

    assert list(conda.pip_options) == ["--index-url https://index.example/simple"]


def test_the_pip_section_is_replaced() -> None:
    conda = documented()
    conda.set_pip_requirements(
        ["# tools", "--pre", "", "six==1.16.0 \\", f"  --hash=sha256:{'0' * 64}", "idna # old"]
    )

    assert pip(conda) == ["--pre", f"six==1.16.0 --hash=sha256:{'0' * 64}", "idna"]


def test_a_pip_section_is_made_where_there_is_none() -> None:
    changes: list[Callable[[CondaDependencies], object]] = [
        lambda conda: conda.add_pip_package("six"),
        lambda conda: conda.set_pip_requirements(["six"]),
    ]
    for change in changes:
        conda = CondaDependencies.from_text("dependencies:\n- python=3.7\n")
        change(conda)

        assert dependencies(conda) == ["python=3.7", {"pip": ["six"]}]


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("six idna", "['six', 'idna']"),
        ("six==1.16.0, idna>=3\n", "['six==1.16.0', 'idna>=3']"),
        ("six >= 1", "['six >= 1']"),
        ("six>=1,<2", "['six>=1,<2']"),
        ("six", "['six']"),
    ],
)
def test_the_packages_of_one_text_become_a_list(text: str, items: str) -> None:
    with pytest.raises(UsageError) as caught:
        CondaDependencies.create(pip_packages=text)
    assert caught.value.hint == f"write `pip_packages={items}`"


@pytest.mark.parametrize(
    "call",
    [
        lambda: CondaDependencies().set_pip_requirements("six"),
        lambda: CondaDependencies.create(pip_packages="six"),
        lambda: CondaDependencies.create(conda_packages="numpy"),
        lambda: CondaDependencies.merge_requirements("six"),
        lambda: CondaDependencies().set_pip_requirements([5]),  # type: ignore[list-item]
    ],
)
def test_a_text_is_no_list_of_texts(call: Callable[[], object]) -> None:
    """The original takes a text for its characters."""
    with pytest.raises(UsageError, match="must be a list of strings"):
        call()


def test_create() -> None:
    conda = CondaDependencies.create(
        pip_packages=["six", "azureml-core"],
        conda_packages=["numpy=1.18", "python=3.8"],
        python_version="3.9",
    )

    assert dependencies(conda) == ["python=3.8", {"pip": ["six", "azureml-core"]}, "numpy=1.18"]
    assert CondaDependencies.create().as_dict() == CondaDependencies().as_dict()


def test_create_adds_no_public_index_to_a_private_one() -> None:
    conda = CondaDependencies.create(pip_indexurl="https://index.example/simple", pip_packages=["six"])

    assert pip(conda) == ["--index-url https://index.example/simple", "six"]


def test_requirements_of_one_project_are_merged() -> None:
    merged = CondaDependencies.merge_requirements(
        ["six >=1, !=1.5", "flask[b]", "Six<2", 'six<1; python_version < "3"', "flask[a]==2", "./local.whl"]
    )

    assert merged == [
        "six>=1,!=1.5,<2",
        "flask[a,b]==2",
        'six<1 ; python_version < "3"',
        "./local.whl",
    ]


# Files


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dependencies: [\n", r"env\.yml"),
        ("- numpy\n", r"env\.yml:1: not an environment"),
        ("", r"env\.yml:1: not an environment"),
        (
            "channels: []\ndependancies: []\n",
            r"env\.yml:2: unknown `dependancies` key in environment specification",
        ),
        ("dependencies:\n- python=3.7\n- 5\n", r"env\.yml:3: a dependency is a number, not text"),
        ("dependencies: numpy\n", r"env\.yml:1: `dependencies` is text, not a list"),
        ("channels:\n- a\n- [b]\n", r"env\.yml:3: a channel is a list, not text"),
        ("dependencies:\n- pip: six\n", r"env\.yml:2: `pip` is text, not a list"),
        (
            "dependencies:\n- pip:\n  - 1.5\n",
            r"env\.yml:3: a requirement of the `pip` section is a number, not text",
        ),
        (
            "dependencies:\n- pip: [a]\n- pip: [b]\n",
            r"env\.yml:3: a second `pip` section: conda would use the last one only",
        ),
        ("variables: [a]\n", r"env\.yml:1: `variables` is a list, not a mapping"),
    ],
)
def test_a_file_of_another_shape_is_refused_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "env.yml"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError, match=message):
        CondaDependencies(path)


def test_a_misspelt_key_is_hinted_at() -> None:
    with pytest.raises(InputError) as caught:
        CondaDependencies.from_text("dependancies: []\n")

    assert caught.value.hint == "did you mean `dependencies`?"


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"name": 5}, "`conda dependencies`: `name` is a number, not text"),
        ({"dependencies": ["a", ""]}, "`conda dependencies`: a dependency is empty"),
        ({"channels": [object()]}, "`conda dependencies`: YAML cannot represent it"),
        ({"variables": {"A-B": "1"}}, "`conda dependencies`: `A-B` is not the name of a variable"),
    ],
)
def test_a_json_form_is_checked_by_the_rules_of_the_file(plain: Any, message: str) -> None:
    """Without a line: the text is not the user's."""
    with pytest.raises(InputError) as caught:
        CondaDependencies.from_plain(plain)

    assert str(caught.value).startswith(message)


def test_a_missing_file_is_both_errors(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="file not found") as caught:
        CondaDependencies(tmp_path / "none.yml")

    assert isinstance(caught.value, FileNotFoundError)
    assert isinstance(caught.value, InputError)
    assert isinstance(caught.value, UserErrorException)
    assert caught.value.exit_code == 3
    assert "none.yml" in str(caught.value)


def test_lists_left_empty_are_empty() -> None:
    conda = CondaDependencies.from_text("channels:\ndependencies:\n- python=3.7\n- pip:\n")
    conda.add_channel("a")
    conda.add_pip_package("six")

    assert conda.as_dict() == {"channels": ["a"], "dependencies": ["python=3.7", {"pip": ["six"]}]}


def test_what_the_original_copied_from_a_requirements_file_is_understood() -> None:
    conda = CondaDependencies.from_text(
        "dependencies:\n- python=3.7\n- pip:\n  - '# tools'\n  - ''\n"
        "  - six==1.16.0 \\\n  - '    --hash=sha256:00'\n  - idna\n"
    )

    assert pip(conda) == ["six==1.16.0 --hash=sha256:00", "idna"]
    assert conda.serialize_to_string().endswith("- pip:\n  - six==1.16.0 --hash=sha256:00\n  - idna\n")


def test_what_an_environment_file_may_hold_besides_is_kept() -> None:
    text = "dependencies:\n- python=3.7\n- npm:\n  - left-pad\nprefix: /opt/x\nvariables:\n  A: 1\n"
    conda = CondaDependencies.from_text(text)
    conda.add_conda_package("numpy")

    assert conda.serialize_to_string() == text.replace("prefix", "- numpy\nprefix")


@pytest.mark.parametrize(
    ("where", "error", "message"),
    [
        (None, UsageError, "`save` needs a path"),
        (".", UsageError, "is a directory"),
        ("none/env.yml", OutputError, "directory not found: `none`"),
        (5, UsageError, "must be the path of a file or directory"),
    ],
)
def test_where_nothing_can_be_saved(
    where: Any, error: type[BundlerError], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        documented().save(where)

    assert list(tmp_path.iterdir()) == []


def test_what_has_no_python_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no `python`"):
        CondaDependencies.from_text("dependencies:\n- python-dateutil\n").save(tmp_path / "env.yml")

    assert list(tmp_path.iterdir()) == []


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "env.yml"
    path.write_text("x" * 10_000, "utf-8")
    documented().save(str(path))

    assert path.read_text("utf-8") == DOCUMENTED


def test_save_to_file_is_deprecated(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="use `save`"):
        name = documented().save_to_file(tmp_path, "conda.yml")
    with pytest.warns(DeprecationWarning, match="use `save`"):
        default = documented().save_to_file(tmp_path)

    assert name == "conda.yml"
    assert (tmp_path / name).read_text("utf-8") == DOCUMENTED
    assert (tmp_path / default).read_text("utf-8") == DOCUMENTED


def test_an_emptied_section_leaves_the_other_comments() -> None:
    """Writing the comment of a list that is empty now, ruamel makes another document of it."""
    conda = documented()
    conda.remove_pip_package("azureml-defaults")
    conda.remove_pip_package("pyyaml")
    text = conda.serialize_to_string()

    assert "- pip: []\n" in text
    assert "# The python interpreter version.\n" in text
    assert CondaDependencies.from_text(text).as_dict() == conda.as_dict()


def test_a_long_line_stays_one() -> None:
    conda = CondaDependencies()
    line = f"six @ https://index.example/{'a b' * 60}/six.zip".replace(" b", "%20b")
    conda.add_pip_package(f"{line} ; python_version > '3' and python_version < '4'")

    assert f"{line} ; python_version > '3' and python_version < '4'\n" in conda.serialize_to_string()


CHANGES = st.one_of(
    st.tuples(
        st.sampled_from(["add_pip_package", "remove_pip_package"]),
        st.sampled_from(
            ["azureml-defaults", "six", "Six==1", "flask # x", "null", "on", "a @ https://x.example/a:b"]
        ),
    ),
    st.tuples(
        st.sampled_from(["add_conda_package", "remove_conda_package"]),
        st.sampled_from(["numpy", "numpy=1.18", "pip", "yes", "null"]),
    ),
    st.tuples(
        st.sampled_from(["add_channel", "remove_channel"]),
        st.sampled_from(["anaconda", "conda-forge", "pytorch", "1.0", "#c"]),
    ),
    st.tuples(
        st.sampled_from(["set_pip_option", "remove_pip_option"]),
        st.sampled_from(["--pre", "-f ./x", "-f # y"]),
    ),
    st.tuples(
        st.just("set_pip_requirements"), st.lists(st.sampled_from(["six", "idna>2", "--pre"]), max_size=2)
    ),
)


@given(base=st.sampled_from([DOCUMENTED, CURATED, OWN]), changes=st.lists(CHANGES, max_size=8))
def test_whatever_was_changed_the_text_says_what_the_object_holds(
    base: str, changes: list[tuple[str, Any]]
) -> None:
    conda = CondaDependencies.from_text(base)
    for method, argument in changes:
        getattr(conda, method)(argument)
    text = conda.serialize_to_string()

    assert CondaDependencies.from_text(text).as_dict() == conda.as_dict()
    assert re.search(r"[ \t]$", text, re.MULTILINE) is None
