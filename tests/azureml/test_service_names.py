"""The names of the SDK that need the service: they can be imported, and fail in one line when used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import pytest

from bundler.azureml import exceptions
from bundler.azureml._service_names import ServiceModules, add_modules
from bundler.azureml.core import VERSION, Workspace
from bundler.azureml.exceptions import ServiceError
from bundler.data.azureml_names import modules_of_names
from bundler.errors import BundlerError, UsageError


def module_of(name: str) -> Any:
    """Import a module whose names the type checker does not know."""
    return importlib.import_module(f"bundler.azureml.{name}")


@pytest.mark.parametrize(
    "module", [name for name in modules_of_names() if name not in ("core.workspace", "core.model")]
)
def test_every_name_of_the_table_can_be_imported(module: str) -> None:
    found = module_of(module)

    for name in modules_of_names()[module]:
        assert getattr(found, name) is getattr(found, name)


@pytest.mark.parametrize(
    ("module", "use", "offline"),
    [
        ("core", lambda m: m.Experiment(None, "x"), "Model.register"),
        ("core", lambda m: m.ScriptRunConfig(source_directory="."), "Model.register"),
        ("core.runconfig", lambda m: m.RunConfiguration(), "Model.register"),
        ("core.run", lambda m: m.Run.get(None, "x"), "Model.register"),
        ("core.run", lambda m: m.Run(None, "x"), "Model.register"),
        ("core", lambda m: m.Run.get_context(allow_offline=False), "Model.register"),
        ("core.compute", lambda m: m.AmlCompute.provisioning_configuration(vm_size="x"), "Model.package"),
        ("core.compute_target", lambda m: m.ComputeTarget.create, "Model.package"),
        ("core", lambda m: m.Dataset.Tabular.from_delimited_files, "from a directory"),
        ("core.datastore", lambda m: m.Datastore.get(None, "x"), "from a directory"),
        ("core.image", lambda m: m.ContainerImage.image_configuration(), "Model.package"),
        ("pipeline.steps", lambda m: m.PythonScriptStep(name="x"), "steps of the pipeline"),
        ("train.hyperdrive.runconfig", lambda m: m.HyperDriveConfig(), "Model.register"),
        ("widgets", lambda m: m.RunDetails(None).show(), "Model.register"),
        ("_base_sdk_common.common", lambda m: m.perform_interactive_login(), "a workspace is a directory"),
        ("core.model", lambda m: m.Dataset.get_by_name(None, "x"), "from a directory"),
        ("core.workspace", lambda m: m.ComputeTarget(None, "x"), "Model.package"),
        ("core.compute.kusto", lambda m: m.KustoCompute(None, "x"), "Model.package"),
        ("core.authentication", lambda m: m.AzureMLTokenAuthentication(), "needs no authentication"),
        ("core.environment", lambda m: m.RSection(), "in the base image"),
        ("core.runconfig", lambda m: m.PyPiLibrary(package="x"), "Model.register"),
        ("core.container_registry", lambda m: m.RegistryIdentity(), "a workspace is a directory"),
        ("core.webservice.aks", lambda m: m.ContainerResourceRequirements(cpu=1), "LocalWebservice"),
        ("contrib.fairness", lambda m: m.upload_dashboard_dictionary(None, {}), "Model.register"),
        ("datadrift", lambda m: m.DataDriftDetector.get(None, "x"), "entry script"),
        ("dataprep", lambda m: m.read_csv("x"), "from a directory"),
        ("core.util", lambda m: m.NewLoggingLevel("x"), "logging"),
        ("core", lambda m: m.Model.profile(None, "x", [], None), "measure its requests"),
        ("core", lambda m: m.Webservice.deploy(None, "x", [], None), "LocalWebservice"),
        ("core", lambda m: m.Webservice.deploy_from_image(None, "x", None), "Model.package"),
        ("core", lambda m: m.Workspace.DEFAULT_CPU_CLUSTER_NAME, "Environment.build"),
        (
            "core.authentication",
            lambda m: m.InteractiveLoginAuthentication().get_authentication_header(),
            "needs no authentication",
        ),
    ],
)
def test_a_use_names_the_service_and_the_alternative_in_one_line(
    module: str, use: Callable[[Any], object], offline: str
) -> None:
    with pytest.raises(ServiceError) as caught:
        use(module_of(module))

    message = str(caught.value)
    assert "needs the service of Azure ML, which " in message
    assert offline in message.partition("; offline: ")[2]
    assert "\n" not in message


def test_a_name_that_needs_the_service_is_a_class() -> None:

    run, estimator = module_of("core.run"), module_of("train.estimator").Estimator
    mine = type(estimator)("Mine", (estimator,), {})
    annotation: Any = run.Run | None

    assert annotation.__args__ == (run.Run, type(None))
    assert not hasattr(run.Run, "__wrapped__")  # as doctest and inspect ask
    assert not isinstance(None, run._OfflineRun)
    with pytest.raises(ServiceError, match="`Mine` needs"):
        mine()


@pytest.mark.parametrize(
    "name", ["ComputeTargetException", "WebserviceException", "RunConfigurationException"]
)
def test_every_exception_of_the_original_catches_the_errors_here(name: str) -> None:
    assert getattr(exceptions, name) is BundlerError
    assert exceptions.DatasetTimestampMissingError is BundlerError
    with pytest.raises(AttributeError):
        exceptions.Nothing  # noqa: B018 - the access is the test


def test_the_documented_way_to_a_compute_target_ends_in_one_line() -> None:

    with pytest.raises(ServiceError, match=r"AmlCompute\.provisioning_configuration"):
        try:
            module_of("core.compute").ComputeTarget(workspace=None, name="cpu")
        except module_of("core.compute_target").ComputeTargetException:
            module_of("core.compute").AmlCompute.provisioning_configuration()


@pytest.mark.parametrize(
    ("module", "name", "near"),
    [
        ("core", "Experimnt", "Experiment"),
        ("core.compute", "AmlComputer", "AmlCompute"),
        ("core.model", "Datset", "Dataset"),
    ],
)
def test_a_misspelt_name_gets_the_nearest(module: str, name: str, near: str) -> None:
    with pytest.raises(AttributeError, match=f"did you mean `{near}`"):
        getattr(module_of(module), name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bundler.azureml.core.nothing", "No module named 'bundler.azureml.core.nothing'"),
        ("bundler.nothing.train", "No module named 'bundler.nothing'"),
        ("bundler.azureml.trains", "`azureml.trains` is not a package of the SDK, did you mean `train`?"),
        (
            "bundler.azureml.rag.models",
            "`azureml.rag` is not a package of the SDK, import it from its own distribution, as `azureml.rag`",
        ),
    ],
)
def test_a_module_that_the_sdk_has_not_does_not_exist(name: str, message: str) -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module(name)

    assert str(caught.value) == message


def test_the_modules_are_added_once() -> None:
    add_modules()
    assert sum(isinstance(finder, ServiceModules) for finder in sys.meta_path) == 1


def test_values_of_the_original() -> None:
    assert module_of("core.profile").MIN_PROFILE_CPU == 0.1
    assert module_of("core.workspace").WORKSPACE_DEFAULT_BLOB_STORE_NAME == "workspaceblobstore"
    assert module_of("core.conda_dependencies").PYTHON_DEFAULT_VERSION == "3.8.13"
    assert module_of("core.compute").VERSION == VERSION


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("core", {"Workspace", "Environment", "Experiment", "ComputeTarget", "Dataset"}),
        ("core.compute", {"AmlCompute", "ComputeTarget"}),
        ("train.hyperdrive", {"HyperDriveConfig", "RandomParameterSampling", "uniform"}),
    ],
)
def test_a_star_imports_the_names_of_the_original(module: str, names: set[str]) -> None:
    found: dict[str, Any] = {}
    exec(f"from bundler.azureml.{module} import *", found)  # noqa: S102 - the import is the test

    assert names <= set(found)


def test_names_with_a_second_module() -> None:

    run, environment = module_of("core.runconfig"), module_of("core.environment")

    assert run.DEFAULT_CPU_IMAGE == environment.DEFAULT_CPU_IMAGE
    assert run.MPI_GPU_IMAGE == run.DEFAULT_GPU_IMAGE == environment.DEFAULT_GPU_IMAGE
    assert module_of("core.webservice.local").LocalWebservice is module_of("core.webservice").LocalWebservice
    assert module_of("core.webservice.aci").Webservice is module_of("core").Webservice
    assert module_of("core.workspace").Model is module_of("core").Model
    assert VERSION.startswith("1.55")


@pytest.mark.parametrize(
    "name", ["compute_targets", "datastores", "datasets", "experiments", "get_default_keyvault"]
)
def test_attributes_of_a_workspace_that_need_the_service(name: str) -> None:
    with pytest.raises(ServiceError, match=rf"`Workspace\.{name}` needs the service"):
        getattr(Workspace(location="ws"), name)


def test_an_unknown_attribute_of_a_workspace() -> None:
    with pytest.raises(AttributeError, match="did you mean `compute_targets`"):
        Workspace(location="ws").compute_target  # noqa: B018 - the access is the test


def test_unknown_parameters_are_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        Workspace.create("ws", friendly_nam="x")

    assert caught.value.hint == "did you mean `friendly_name`?"


def test_a_configuration_of_a_cloud_has_its_parameters() -> None:
    webservice = module_of("core.webservice")
    aci = webservice.AciWebservice.deploy_configuration(1, 2, {"a": "b"}, auth_enabled=True)
    aks = webservice.AksWebservice.deploy_configuration(autoscale_enabled=False, cpu_cores=0.5)

    assert (aci.cpu_cores, aci.memory_gb, aci.tags, aci.auth_enabled) == (1, 2, {"a": "b"}, True)
    assert aci.ssl_enabled is None
    assert (aks.cpu_cores, aks.autoscale_enabled, aks.num_replicas) == (0.5, False, None)
    assert aci.validate_configuration()


@pytest.mark.parametrize(
    ("values", "named", "message"),
    [
        ((), {"cpu_core": 1}, "`AciWebservice.deploy_configuration` has no parameter `cpu_core`"),
        (range(22), {}, "`AciWebservice.deploy_configuration` has only 21 parameters"),
    ],
)
def test_other_parameters_of_a_configuration_are_refused(
    values: tuple[Any, ...], named: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        module_of("core.webservice").AciWebservice.deploy_configuration(*values, **named)

    assert str(caught.value) == message


def test_an_unknown_member_gets_the_nearest() -> None:
    with pytest.raises(
        AttributeError, match=r"`Model` has no attribute `registr`; did you mean `register`\?"
    ):
        module_of("core").Model.registr  # noqa: B018 - the access is the test
    with pytest.raises(AttributeError, match=r"`Webservice` has no attribute `lists`; did you mean `list`\?"):
        module_of("core").Webservice.lists  # noqa: B018 - the access is the test
