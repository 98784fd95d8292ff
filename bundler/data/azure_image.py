"""Ground: what Azure ML's inference images do with the variables they are started with, as data.

Every row was run or read: the start script of the images (two public copies of
it), and azureml-inference-server-http 0.8.4.2 on Python 3.7. Images differ by
year, so what differs is a `ImageVariant`. Nothing of this is a promise of Microsoft's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

__all__ = [
    "DEFAULT_SCRIPT",
    "EXIT_CODES",
    "EXTRA_SOURCES",
    "IMAGE_ROOT",
    "IMAGE_VARIANTS",
    "MISSPELT",
    "PUBLIC_PORT",
    "SERVER_PORT",
    "SERVICE_FOLDER",
    "USER",
    "VARIABLES",
    "ExtraSource",
    "ImageVariant",
    "RelativeTo",
    "ValueKind",
    "Variable",
]

IMAGE_ROOT: Final = "/var/azureml-app"
"""The application root, unless AML_APP_ROOT names another."""
DEFAULT_SCRIPT: Final = "main.py"
"""The entry script, unless AZUREML_ENTRY_SCRIPT names another."""
SERVICE_FOLDER: Final = "/var/runit/gunicorn"
"""Where the start script runs; it goes to the application root only after it has installed packages."""
PUBLIC_PORT: Final = 5001
"""What the image answers on: GET ``/`` (alive), ``/score``, ``/swagger.json``."""
SERVER_PORT: Final = 31311
"""What the server listens on inside, behind the image's nginx."""
USER: Final = "dockeruser"
"""Who everything is run as; its number differs between images."""

RelativeTo = Literal["", "absolute", "application root", "entry script"]
"""What a relative path is taken from; "absolute" where none may be; empty for what is no path."""
ValueKind = Literal["text", "path", "int", "bool"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """One variable that the image or its server reads."""

    name: str
    meaning: str
    default: str = ""
    """What holds if it is not set; empty where nothing does."""
    kind: ValueKind = "text"
    base: RelativeTo = ""
    wrong: str = ""
    """What a wrong value leads to."""
    setting: str = ""
    """Its name in the server's ``config.json``, beside its own name."""


def _by_name(*variables: Variable) -> Mapping[str, Variable]:
    return {variable.name: variable for variable in variables}


VARIABLES: Mapping[str, Variable] = _by_name(
    Variable(
        name="AML_APP_ROOT",
        meaning="the application root: the server's working directory, and last on sys.path",
        default=IMAGE_ROOT,
        kind="path",
        base="absolute",
        wrong="the entry script is not found, exit code 3",
        setting="app_root",
    ),
    Variable(
        name="AZUREML_ENTRY_SCRIPT",
        meaning="the script with init() and run()",
        default=DEFAULT_SCRIPT,
        kind="path",
        base="application root",
        wrong="exit code 3",
        setting="entry_script",
    ),
    Variable(
        name="AZUREML_SOURCE_DIRECTORY",
        meaning="the folder of the user's modules, put at the end of sys.path",
        kind="path",
        base="application root",
        wrong="modules beside the entry script are not found, exit code 3",
        setting="source_dir",
    ),
    Variable(
        name="AZUREML_EXTRA_PYTHON_LIB_PATH",
        meaning="a folder of installed packages, put before everything on PYTHONPATH",
        kind="path",
        base="entry script",
        wrong="exit code 97",
    ),
    Variable(
        name="AZUREML_EXTRA_CONDA_YAML_ABS_PATH",
        meaning="a conda environment that is made when the container starts",
        kind="path",
        base="absolute",
        wrong="exit code 98, or 95 where there is no network",
    ),
    Variable(
        name="AZUREML_EXTRA_CONDA_YAML",
        meaning="a conda environment that is made when the container starts",
        kind="path",
        base="entry script",
        wrong="exit code 98, or 95 where there is no network",
    ),
    Variable(
        name="AZUREML_EXTRA_REQUIREMENTS_TXT",
        meaning="requirements that pip installs when the container starts",
        kind="path",
        base="entry script",
        wrong="exit code 99, or 95 where pip cannot install them",
    ),
    Variable(
        name="AZUREML_MODEL_DIR",
        meaning="where init() finds the model: a version's folder, or that of all models",
        kind="path",
        base="application root",
        wrong="init() fails, exit code 3",
        setting="azureml_model_dir",
    ),
    Variable(
        name="AZUREML_CONDA_ENVIRONMENT_PATH",
        meaning="the environment whose Python and libraries are used",
        kind="path",
        base="absolute",
        wrong="other libraries are loaded",
    ),
    Variable(
        name="AZUREML_INFERENCE_SERVER_HTTP_ENABLED",
        meaning="switches the AZUREML_EXTRA_ variables on; inference images set it",
        default="True",
        wrong="empty: the AZUREML_EXTRA_ variables are ignored",
    ),
    Variable(
        name="DYNAMIC_DEP_INSTALLATION",
        meaning="other than `true`, the conda environment is not made (images for MLflow)",
        default="true",
    ),
    Variable(
        name="MLFLOW_MODEL_FOLDER",
        meaning="the model's folder below AZUREML_MODEL_DIR (images for MLflow)",
        default="mlflow_model_folder",
        wrong="exit code 98",
    ),
    Variable(
        name="AZUREML_CONFIG_FILE",
        meaning="the server's settings as JSON; else `config.json` in the root or beside the script",
        kind="path",
        base="application root",
        wrong="not there: another is looked for; not valid: exit code 3",
    ),
    Variable(
        name="PYTHONPATH",
        meaning="folders that come before the standard library, `:` between them",
        wrong="folders that are not there are passed over",
    ),
    Variable(name="PIP_FIND_LINKS", meaning="where pip looks for wheels, besides an index"),
    Variable(name="PIP_NO_INDEX", meaning="pip asks no index", kind="bool"),
    Variable(name="PIP_CONFIG_FILE", meaning="pip's settings", kind="path", base="absolute"),
    Variable(
        name="AML_SERVER_ROOT",
        meaning="the server of images without azureml-inference-server-http",
        default="/var/azureml-server",
        kind="path",
        base="absolute",
    ),
    Variable(name="WORKER_COUNT", meaning="worker processes", default="1", kind="int", wrong="exit code 1"),
    Variable(
        name="WORKER_TIMEOUT",
        meaning="seconds until a silent worker is replaced",
        default="300",
        kind="int",
        wrong="exit code 2",
    ),
    Variable(name="WORKER_PRELOAD", meaning="`true` loads the script before the workers", default="false"),
    Variable(
        name="SCORING_TIMEOUT_MS",
        meaning="how long run() may take",
        default="3600000",
        kind="int",
        wrong="exit code 3",
        setting="scoring_timeout",
    ),
    Variable(
        name="AZUREML_DEBUG_PORT",
        meaning="debugpy connects to this port",
        kind="int",
        wrong="exit code 94 without debugpy, 3 if it is no number",
        setting="debug_port",
    ),
    Variable(
        name="AML_FLASK_ONE_COMPATIBILITY",
        meaning="requests behave as in Flask 1",
        default="true",
        kind="bool",
        wrong="exit code 3",
        setting="flask_one_compatibility",
    ),
    Variable(
        name="AML_MODEL_DC_STORAGE_ENABLED",
        meaning="model data is collected",
        default="false",
        kind="bool",
        wrong="exit code 3",
        setting="model_dc_storage_enabled",
    ),
    Variable(
        name="APP_INSIGHTS_LOG_RESPONSE_ENABLED",
        meaning="answers are logged to Application Insights",
        default="true",
        kind="bool",
        wrong="exit code 3",
        setting="app_insights_log_response_enabled",
    ),
    Variable(
        name="AML_APP_INSIGHTS_ENABLED",
        meaning="`true` switches Application Insights on",
        default="false",
        setting="app_insights_enabled",
    ),
    Variable(name="AML_APP_INSIGHTS_KEY", meaning="its key, a UUID", setting="app_insights_key"),
    Variable(name="AML_CORS_ORIGINS", meaning="origins that may ask, commas between", setting="cors_origins"),
    Variable(name="AZUREML_LOG_LEVEL", meaning="how much is logged", default="INFO", setting="log_level"),
    Variable(name="SERVICE_NAME", meaning="shown in swagger.json", setting="service_name"),
    Variable(name="SERVICE_PATH_PREFIX", meaning="shown in swagger.json", setting="service_path_prefix"),
    Variable(name="SERVICE_VERSION", meaning="shown in swagger.json", setting="service_version"),
    Variable(name="WORKSPACE_NAME", meaning="the workspace's name", setting="workspace_name"),
    Variable(name="HOSTNAME", meaning="the container's name", setting="hostname"),
    Variable(name="SERVER_PORT", meaning="the server's port; it sets it itself", default=str(SERVER_PORT)),
    Variable(name="HEALTH_PORT", meaning="the port of GET `/`; the server sets it itself"),
    Variable(
        name="SEPERATE_HEALTH_ENDPOINT",  # as the server spells it
        meaning="`true` answers GET `/` on port 5000",
        default="false",
    ),
)
"""Every variable that counts, by its name."""

MISSPELT: Mapping[str, str] = {
    "AZUREML_EXTRA_REQUIRMENTS_TXT": "AZUREML_EXTRA_REQUIREMENTS_TXT",  # in Microsoft's own pages
    "AZUREML_EXTRA_REQUIREMENT_TXT": "AZUREML_EXTRA_REQUIREMENTS_TXT",
    "AZUREML_EXTRA_REQUIREMENTS": "AZUREML_EXTRA_REQUIREMENTS_TXT",
    "AZUREML_REQUIREMENTS_TXT": "AZUREML_EXTRA_REQUIREMENTS_TXT",
    "AZUREML_EXTRA_PYTHON_LIB": "AZUREML_EXTRA_PYTHON_LIB_PATH",
    "AZUREML_EXTRA_LIB_PATH": "AZUREML_EXTRA_PYTHON_LIB_PATH",
    "AZUREML_PYTHON_LIB_PATH": "AZUREML_EXTRA_PYTHON_LIB_PATH",
    "AZUREML_EXTRA_CONDA_YML": "AZUREML_EXTRA_CONDA_YAML",
    "AZUREML_APP_ROOT": "AML_APP_ROOT",
    "AML_ENTRY_SCRIPT": "AZUREML_ENTRY_SCRIPT",
    "AML_MODEL_DIR": "AZUREML_MODEL_DIR",
    "AZUREML_MODEL_DIRECTORY": "AZUREML_MODEL_DIR",
    "AZUREML_SOURCE_DIR": "AZUREML_SOURCE_DIRECTORY",
    "SEPARATE_HEALTH_ENDPOINT": "SEPERATE_HEALTH_ENDPOINT",
}
"""Names that nothing reads, and what was meant; others are found by likeness."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtraSource:
    """One way in which an image gets further packages; the first that is set is the only one used."""

    variable: str
    missing: int
    """The exit code if what it names is not there."""
    installs: Literal["", "conda", "requirements"]

    @property
    def is_folder(self) -> bool:
        """Whether it names a folder."""
        return not self.installs


EXTRA_SOURCES: tuple[ExtraSource, ...] = (
    ExtraSource(variable="AZUREML_EXTRA_PYTHON_LIB_PATH", missing=97, installs=""),
    ExtraSource(variable="AZUREML_EXTRA_CONDA_YAML_ABS_PATH", missing=98, installs="conda"),
    ExtraSource(variable="AZUREML_EXTRA_CONDA_YAML", missing=98, installs="conda"),
    ExtraSource(variable="AZUREML_EXTRA_REQUIREMENTS_TXT", missing=99, installs="requirements"),
)
"""In the order in which they are looked at."""

EXIT_CODES: Mapping[int, str] = {
    0: "the server starts",
    1: "the server ends before it has a worker: a setting it cannot read, or a Python that does not start",
    2: "gunicorn does not accept an option",
    3: "no worker starts: the entry script, its init() or a setting fails",
    94: "AZUREML_DEBUG_PORT is set, and debugpy is not installed",
    95: "packages could not be installed; it waits 45 seconds before it ends",
    96: "a conda environment is to be made, and azureml-inference-server-http is not installed",
    97: "the folder of AZUREML_EXTRA_PYTHON_LIB_PATH is not there",
    98: "the file of AZUREML_EXTRA_CONDA_YAML is not there",
    99: "the file of AZUREML_EXTRA_REQUIREMENTS_TXT is not there",
    100: "azureml-inference-server-http is not installed",
    127: "there is no azmlinfsrv to start",
}
"""How the start script ends; on each of them the image stops."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageVariant:
    """What differs between images."""

    title: str
    python: str
    """The minor version of its Python, "3.7"; empty where it differs."""
    reads_extra: bool = True
    """Whether its start script has the part that reads the AZUREML_EXTRA_ variables."""
    switch: str = "AZUREML_INFERENCE_SERVER_HTTP_ENABLED"
    """The variable that must not be empty for it; empty where there is none."""
    checks_server: bool = False
    """Whether it looks for the server before it starts it."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables that the image sets, which the user's replace."""
    forced: Mapping[str, str] = field(default_factory=dict)
    """Variables that its start script sets, whatever the user's; ``{NAME}`` is another variable."""


IMAGE_VARIANTS: Mapping[str, ImageVariant] = {
    "classic": ImageVariant(
        title="the images for Python 3.7 of 2021 to 2023",
        python="3.7",
        env={"AZUREML_INFERENCE_SERVER_HTTP_ENABLED": "True"},
    ),
    "stripped": ImageVariant(
        title="the minimal images since 2024, which know no AZUREML_EXTRA_ variables",
        python="",
        reads_extra=False,
        checks_server=True,
        env={"AZUREML_INFERENCE_SERVER_HTTP_ENABLED": "True"},
    ),
    "mlflow": ImageVariant(
        title="the images for MLflow models, which make the model's conda environment",
        python="",
        switch="",
        checks_server=True,
        forced={"AZUREML_EXTRA_CONDA_YAML_ABS_PATH": "{AZUREML_MODEL_DIR}/{MLFLOW_MODEL_FOLDER}/conda.yaml"},
    ),
}
