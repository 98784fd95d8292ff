"""`Workspace`: the ways of the original to name one, and what it shows of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.azureml.core import Environment, Workspace
from bundler.azureml.core.authentication import (
    InteractiveLoginAuthentication,
    MsiAuthentication,
    ServicePrincipalAuthentication,
)
from bundler.errors import InputError
from bundler.redaction import redact


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BUNDLER_WORKSPACE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


@pytest.mark.parametrize(
    "make",
    [
        lambda: Workspace("sub", "group", "mine"),
        lambda: Workspace("sub", "group", "mine", InteractiveLoginAuthentication(tenant_id="t")),
        lambda: Workspace(subscription_id="sub", resource_group="group", workspace_name="mine", auth=None),
        lambda: Workspace("sub", "group", workspace_name="mine", sku="basic", tags={}),
        lambda: Workspace.get("mine", subscription_id="sub", resource_group="group", location="west"),
        lambda: Workspace.get("mine", MsiAuthentication(), "sub", "group"),
        lambda: Workspace.create(
            "mine", None, "sub", "group", "west", exist_ok=True, create_resource_group=True
        ),
    ],
)
def test_the_identity_is_kept(make: Callable[[], Workspace]) -> None:
    ws = make()

    assert (ws.name, ws.subscription_id, ws.resource_group) == ("mine", "sub", "group")
    details = ws.get_details()
    assert (details["name"], details["resourceGroup"], details["subscriptionId"]) == ("mine", "group", "sub")
    assert ws.location.endswith("bundler/workspaces/mine")


def test_one_positional_argument_is_the_location() -> None:
    assert Workspace("here").location == "here"


AZURE = {"subscription_id": "sub", "resource_group": "group", "workspace_name": "mine"}
SCOPE = {
    "Id": None,
    "Scope": "/subscriptions/sub/resourceGroups/group/providers/Microsoft.MachineLearningServices/workspaces/mine",
}


@pytest.mark.parametrize("values", [AZURE, SCOPE])
@pytest.mark.parametrize("name", [None, "other.json"])
def test_the_files_of_azure_name_a_workspace(
    values: dict[str, object], name: str | None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".azureml").mkdir()
    (folder / ".azureml" / (name or "config.json")).write_text(json.dumps(values))
    found = [
        Workspace.from_config(_file_name=name),
        Workspace.from_config("./.azureml", _file_name=name),
        Workspace.from_config(path=f".azureml/{name or 'config.json'}", auth=None),
    ]

    for ws in found:
        assert (ws.name, ws.subscription_id, ws.resource_group) == ("mine", "sub", "group")
        assert ws.location.endswith("workspaces/mine")
    monkeypatch.setenv("BUNDLER_WORKSPACE", str(folder / "here"))
    ws = Workspace.from_config(_file_name=name)
    assert (ws.name, ws.location) == ("mine", str(folder / "here"))


def test_the_variable_stands_for_a_missing_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"`config\.json` not found"):
        Workspace.from_config("elsewhere")
    monkeypatch.setenv("BUNDLER_WORKSPACE", str(folder / "here"))

    assert Workspace.from_config("elsewhere").location == str(folder / "here")
    assert Workspace.setup().location == str(folder / "here")
    assert Workspace.get("any").location == str(folder / "here")


def test_a_location_in_the_file_goes_before_the_variable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Workspace("place").write_config()
    monkeypatch.setenv("BUNDLER_WORKSPACE", str(folder / "here"))

    assert Workspace.from_config().location == str(folder / "place")


def test_the_environments_of_a_workspace() -> None:
    ws = Workspace("here")
    env = Environment("mine")
    env.register(ws)

    assert ws.environments["mine"].version == "1"
    assert "AzureML-Minimal" in ws.environments
    assert ws.webservices == {}


def test_changed_content_of_a_registered_environment_is_the_next_version() -> None:
    ws = Workspace("here")
    Environment("mine").register(ws)
    env = Environment.get(ws, "mine")
    assert env.python.conda_dependencies is not None
    env.python.conda_dependencies.add_pip_package("six")

    assert env.register(ws).version == "2"
    env.version = "7"
    assert env.register(ws).version == "7"


def test_no_message_shows_the_password_of_a_service_principal() -> None:
    ServicePrincipalAuthentication("tenant", "principal", service_principal_password="a-secret-pass")

    assert "a-secret-pass" not in redact("found a-secret-pass")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        (
            "AzureML-sklearn-0.24-ubuntu18.04-py37-cpu-inference",
            "AzureML-sklearn-0.24.1-ubuntu18.04-py37-cpu-inference",
        ),
        ("AzureML-minimal-ubuntu18.04-py37-cpu", "AzureML-minimal-ubuntu18.04-py37-cpu-inference"),
        ("azureml-tutorial", "AzureML-Tutorial"),
        ("AzureML-PyTorch-1.6-CUDA", "AzureML-PyTorch-1.6"),
    ],
)
def test_an_unknown_curated_name_gets_near_ones(name: str, near: str) -> None:
    with pytest.raises(InputError, match="no curated environment") as caught:
        Environment.get(Workspace("here"), name)

    assert near in str(caught.value.hint)


def test_a_version_of_a_curated_environment_that_is_not_known_is_a_warning() -> None:
    with pytest.warns(UserWarning, match="version 1 may differ"):
        env = Environment.get(Workspace("here"), "AzureML-Minimal", version=1)

    assert env.name == "AzureML-Minimal"


def test_the_list_of_workspaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Workspace.list("sub") == {}

    for name in ("second", "first"):
        Environment("e").register(Workspace.get(name))
    listed = Workspace.list("sub", resource_group="group")

    assert list(listed) == ["first", "second"]
    (first,) = listed["first"]
    assert first.location == Workspace.get("first").location
    assert (first.name, first.subscription_id, first.resource_group) == ("first", "sub", "group")

    monkeypatch.setenv("BUNDLER_WORKSPACE", str(tmp_path / "own"))
    assert list(Workspace.list()) == ["own"]
