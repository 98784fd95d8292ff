"""`Model`: its values are stored and shown, found by them, changed beside the record, and hidden."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.azureml.core import Environment, Workspace
from bundler.azureml.core._inference import environment_of
from bundler.azureml.core.model import InferenceConfig, Model, ResourceConfiguration
from bundler.azureml.core.webservice import LocalWebservice, Webservice
from bundler.errors import BundlerError, InputError, OutputError, UsageError


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pkl").write_text("weights")
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    (tmp_path / "folder" / "a.txt").write_text("a")
    (tmp_path / "folder" / "sub" / "b.txt").write_text("b")
    return Workspace(location="ws")


def test_all_values_of_a_registration_are_stored_and_shown(ws: Workspace) -> None:
    model = Model.register(
        ws,
        "model.pkl",
        "iris",
        {"area": "flowers", "score": 0.8},
        {"owner": "me"},
        "a description",
        [("training", "set")],
        Model.Framework.SCIKITLEARN,
        "0.24",
        resource_configuration=ResourceConfiguration(cpu=1, memory_in_gb=0.5),
    )
    again = Model(ws, "iris")

    assert again.serialize() == model.serialize()
    assert again.tags == {"area": "flowers", "score": "0.8"}
    assert (again.model_framework, again.model_framework_version) == ("ScikitLearn", "0.24")
    assert again.resource_configuration == ResourceConfiguration(1, 0.5)
    assert again.datasets == [["training", "set"]]
    assert again.serialize()["resourceConfiguration"] == {"cpu": 1, "memoryInGB": 0.5, "gpu": None}


@pytest.mark.parametrize("wrong", [{"cpu": 0}, {"memory_in_gb": -1}, {"gpu": True}, {"cpu": "2"}])
def test_resources_are_numbers_above_zero(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="must be a number above 0"):
        ResourceConfiguration(**wrong)  # type: ignore[arg-type]


def test_only_the_child_paths_are_registered(ws: Workspace, tmp_path: Path) -> None:
    model = Model.register(ws, "folder", "parts", child_paths=["sub"])
    out = Path(model.download("out"))

    assert [path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()] == ["sub/b.txt"]
    with pytest.raises(InputError, match="none of the files in `child_paths`"):
        Model.register(ws, "folder", "parts", child_paths=["other"])


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"tags": ["area"]}, ["a:1", "a:2", "b:1"]),
        ({"tags": [["area", "x"]]}, ["a:1", "b:1"]),
        ({"tags": ["area", ["score", "2"]]}, ["a:2"]),
        ({"tags": [("area", "x")], "name": "b"}, ["b:1"]),
        ({"tags": ["nothing"]}, []),
        ({"properties": ["owner"]}, ["b:1"]),
        ({"model_framework": "Onnx"}, ["b:1"]),
        ({"latest": True}, ["a:2", "b:1"]),
        ({"tags": [["area", "x"]], "latest": True}, ["b:1"]),
        ({}, ["a:1", "a:2", "b:1"]),
    ],
)
def test_models_are_found_by_their_values(
    filters: dict[str, object], found: list[str], ws: Workspace
) -> None:
    Model.register(ws, "model.pkl", "a", tags={"area": "x"})
    Model.register(ws, "model.pkl", "a", tags={"area": "y", "score": "2"})
    Model.register(
        ws, "model.pkl", "b", tags={"area": "x"}, properties={"owner": "me"}, model_framework="Onnx"
    )

    assert [model.id for model in Model.list(ws, **filters)] == found  # type: ignore[arg-type]


def test_a_tag_without_a_list_is_refused(ws: Workspace) -> None:
    with pytest.raises(UsageError, match="must be lists"):
        Model.list(ws, tags="area")


@pytest.mark.parametrize(
    ("find", "found"),
    [
        (lambda ws: Model(ws, "iris"), 2),
        (lambda ws: Model(ws, "iris", version=1), 1),
        (lambda ws: Model(ws, "iris", version="1"), 1),
        (lambda ws: Model(ws, id="iris:1"), 1),
        (lambda ws: Model(ws, "iris:1"), 1),
        (lambda ws: Model(ws, tags=[["n", "1"]]), 1),
        (lambda ws: ws.models["iris"], 2),
    ],
)
def test_a_model_is_named_in_each_way_of_the_original(
    find: Callable[[Workspace], Model], found: int, ws: Workspace
) -> None:
    Model.register(ws, "model.pkl", "iris", tags={"n": "1"})
    Model.register(ws, "model.pkl", "iris", tags={"n": "2"})

    assert find(ws).version == found


def test_no_name_and_no_match_are_errors(ws: Workspace) -> None:
    with pytest.raises(UsageError, match="needs a name"):
        Model(ws)
    with pytest.raises(InputError, match="no model has these"):
        Model(ws, tags=["x"])


def test_tags_change_and_the_record_does_not(ws: Workspace) -> None:
    model = Model.register(ws, "model.pkl", "iris", tags={"a": "1", "b": "2"}, properties={"p": "1"})
    model.add_tags({"c": 3})
    model.remove_tags(["a", "unknown"])
    model.add_properties({"q": "2"})
    model.update(description="new", resource_configuration=ResourceConfiguration(gpu=1))
    again = Model(ws, "iris")

    assert again.tags == {"b": "2", "c": "3"}
    assert again.properties == {"p": "1", "q": "2"}
    assert again.description == "new"
    assert again.resource_configuration == ResourceConfiguration(gpu=1)
    assert again.version == 1
    assert ws.model_registry.get("iris").content["tags"] == {"a": "1", "b": "2"}
    model.update(tags={"only": "x"})
    assert Model(ws, "iris").tags == {"only": "x"}
    with pytest.raises(UsageError, match="the property `p` already exists"):
        model.add_properties({"p": "other"})
    with pytest.raises(BundlerError, match="credential"):
        model.add_tags({"url": "https://user:secret-password@example.com/x"})
    assert Model(ws, "iris").tags == {"only": "x"}


def test_a_deleted_version_is_hidden_and_its_number_is_not_used_again(ws: Workspace) -> None:
    first = Model.register(ws, "model.pkl", "iris", tags={"n": "1"})
    second = Model.register(ws, "model.pkl", "iris", tags={"n": "2"})
    second.delete()

    assert Model(ws, "iris").version == 1
    assert [model.id for model in Model.list(ws)] == ["iris:1"]
    with pytest.raises(InputError, match="no version `2`"):
        Model(ws, "iris", version=2)
    with pytest.raises(InputError, match="no version `2`"):
        second.delete()
    assert Model.register(ws, "model.pkl", "iris", tags={"n": "2"}).version == 3
    first.delete()
    Model(ws, "iris").delete()
    assert ws.models == {}
    with pytest.raises(InputError, match="has no model `iris`"):
        Model(ws, "iris")
    assert Model.register(ws, "model.pkl", "iris", tags={"n": "1"}).version == 4
    with pytest.raises(InputError, match="differ only in case"):
        Model.register(ws, "model.pkl", "Iris")


@pytest.mark.parametrize("source", ["model.pkl", "folder"])
def test_a_download_replaces_only_if_it_may(source: str, ws: Workspace, tmp_path: Path) -> None:
    model = Model.register(ws, source, "m")
    path = Path(model.download("out"))
    before = sorted(file.name for file in path.rglob("*"))
    with pytest.raises(OutputError, match="already exists"):
        model.download("out")
    if path.is_dir():
        (path / "stale").touch()
    else:
        path.write_text("stale")

    assert model.download("out", exist_ok=True) == str(path)
    assert sorted(file.name for file in path.rglob("*")) == before
    assert path.is_dir() or path.read_text() == "weights"
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == [source]
    other = tmp_path / "other" / source
    other.parent.mkdir()
    if source == "folder":
        other.write_text("a file in the place of the directory")
    else:
        other.mkdir()
    assert Path(model.download("other", exists_ok=True)).is_dir() == (source == "folder")


def test_the_path_of_a_model_here(ws: Workspace, tmp_path: Path) -> None:
    for content in ("one", "two"):
        (tmp_path / "model.pkl").write_text(content)
        Model.register(ws, "model.pkl", "iris")
    with pytest.raises(InputError, match="model not found: `iris`"):
        Model.get_model_path("iris")

    assert Path(Model.get_model_path("iris", _workspace=ws)).read_text() == "two"
    assert Path(Model.get_model_path("iris", 1, _workspace=ws)).read_text() == "one"
    assert Path(Model.get_model_path("iris")).parts[-3:] == ("iris", "2", "model.pkl")
    assert Path(Model.get_model_path("iris", version=1)).read_text() == "one"
    assert Model.get_model_path("model.pkl") == "model.pkl"


def test_an_inference_config_has_an_environment_or_its_parts(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "env.yml").write_text("dependencies: [python=3.8, pip, {pip: [six]}]\n")
    (tmp_path / "steps").write_text("RUN true\n")
    plain = environment_of(InferenceConfig("score.py", "python", "env.yml", source_directory="code"))
    gpu = environment_of(InferenceConfig("score.py", enable_gpu=True, conda_file="code/env.yml"))
    steps = environment_of(InferenceConfig("score.py", base_image="mine:1", extra_docker_file_steps="steps"))
    assert plain is not None
    assert plain.python.conda_dependencies is not None
    assert list(plain.python.conda_dependencies.pip_packages) == ["six"]
    assert gpu is not None
    assert "cuda" in str(gpu.docker.base_image)
    assert steps is not None
    assert (steps.docker.base_image, steps.docker.base_dockerfile) == (None, "FROM mine:1\nRUN true\n")
    assert environment_of(InferenceConfig("score.py")) is None
    with pytest.raises(UsageError, match="`environment` and `conda_file` exclude each other"):
        InferenceConfig("score.py", conda_file="env.yml", environment=Environment("x"))
    with pytest.raises(UsageError, match="unsupported runtime `spark-py`"):
        InferenceConfig("score.py", runtime="spark-py")
    with pytest.raises(UsageError, match="needs a script"):
        InferenceConfig("")


_CODE = InferenceConfig("score.py")


@pytest.mark.parametrize(
    "call",
    [
        lambda place: Environment("mine").register(place),
        lambda place: Environment("mine").build(place),
        lambda place: Environment("mine").build_local(place),
        lambda place: Environment.get(place, "mine"),
        Environment.list,
        lambda place: Environment.label(place, "mine", "1", ["live"]),
        lambda place: Environment.add_private_pip_wheel(place, "a.whl"),
        lambda place: Model(place, "iris"),
        lambda place: Model(place, tags=["a"]),
        Model.list,
        lambda place: Model.register(place, "model.pkl", "iris"),
        lambda place: Webservice(place, "service"),
        Webservice.list,
        lambda place: Model.deploy(place, "s", [], _CODE, LocalWebservice.deploy_configuration()),
    ],
)
def test_a_place_is_no_workspace(call: Callable[[object], object], ws: Workspace) -> None:
    for place, hint in ((ws.location, "write `Workspace('ws')`"), (5, "write `Workspace.from_config()`")):
        with pytest.raises(UsageError, match="`workspace`: expected a `Workspace`") as caught:
            call(place)
        assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("call", "fact", "hint"),
    [
        (
            lambda: InferenceConfig("score.py", environment="mine"),  # type: ignore[arg-type]
            "`environment`: expected an `Environment`",
            "write `environment=Environment.get(workspace, 'mine')`",
        ),
        (
            lambda: Model.package(None, "iris", _CODE),  # type: ignore[arg-type]
            "`models`: expected a `list`",
            "write `[Model(workspace, 'iris')]`",
        ),
        (
            lambda: Model.package(None, ["iris"], _CODE),  # type: ignore[arg-type,list-item]
            "`models`: expected a `RegisteredModel`",
            "write `Model(workspace, 'iris')`",
        ),
        (
            lambda: Model.package(None, [], Environment("mine")),  # type: ignore[arg-type]
            "`inference_config`: expected an `InferenceConfig`",
            "write `InferenceConfig('score.py', source_directory='code', environment=env)`",
        ),
        (
            lambda: LocalWebservice.deploy_configuration(port="8890"),  # type: ignore[arg-type]
            "`port`: expected an `int`",
            "write `port=8890`",
        ),
        (
            lambda: Model.deploy(Workspace("ws"), "s", [], _CODE, {"port": 8890}),  # type: ignore[arg-type]
            "`deployment_config`: expected a `LocalWebserviceDeploymentConfiguration`",
            "write `LocalWebservice.deploy_configuration()`",
        ),
    ],
)
def test_an_argument_of_another_type(call: Callable[[], object], fact: str, hint: str, ws: Workspace) -> None:
    with pytest.raises(UsageError, match=fact) as caught:
        call()
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("config", "fact", "hint"),
    [
        (
            {"source_directory": "kode"},
            "kode: directory not found",
            "did you mean `source_directory='code'`?",
        ),
        ({"source_directory": "xyz"}, "xyz: directory not found", None),
        (
            {"source_directory": "code", "entry_script": "Score.py"},
            "entry script `Score.py` not found",
            "entry_script='score.py'",
        ),
        ({"entry_script": "serve.pi"}, "entry script not found", "did you mean `entry_script='serve.py'`?"),
    ],
)
def test_the_code_of_a_package_that_does_not_exist(
    config: dict[str, str], fact: str, hint: str | None, ws: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "code").mkdir()
    for name in ("code/score.py", "serve.py"):
        (tmp_path / name).write_text("def init(): pass\ndef run(data): return data\n")
    code = InferenceConfig(**{"entry_script": "score.py", **config}, environment=Environment("mine"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=fact) as caught:
        Model.package(ws, [], code, generate_dockerfile=True)
    assert caught.value.hint == hint
