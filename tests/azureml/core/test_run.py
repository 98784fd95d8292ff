"""The run of a training script outside of the service, in the shapes of public scripts."""

from __future__ import annotations

import logging

import pytest

from bundler.azureml.core import Run
from bundler.azureml.core.run import OfflineRun, _OfflineRun
from bundler.azureml.exceptions import ServiceError


def test_metrics_are_logged_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    run = Run.get_context()
    with caplog.at_level(logging.INFO, "bundler"):
        run.log("accuracy", 0.5)
    run.log("accuracy", 0.7, step=2)
    run.log("loss", value=0.1, description="at the end")
    run.log_list("scores", [1, 2])
    run.log_row("epoch", epoch=1, error=0.5)
    run.log_table("table", {"x": [1]})
    run.log_image("plot", path="p.png")
    run.log_image("second", plot="figure")
    run.log_confusion_matrix("matrix", {"data": 1})

    assert run.get_metrics() == {
        "accuracy": [0.5, 0.7],
        "loss": 0.1,
        "scores": [1, 2],
        "epoch": {"epoch": 1, "error": 0.5},
        "table": {"x": [1]},
        "plot": "p.png",
        "second": "figure",
        "matrix": {"data": 1},
    }
    assert run.get_metrics("loss") == {"loss": 0.1}
    assert "accuracy: 0.5" in caplog.text


def test_files_and_states_have_no_effect() -> None:
    with Run.get_context(allow_offline=True) as run:
        run.upload_file("outputs/model.pkl", "model.pkl")
        run.upload_folder(name="outputs", path="outputs")
        run.tag("kind", "test")
        run.set_tags({"a": "b"})
        run.flush()
        child = run.child_run("fold")
        run.complete()

    assert child.id == f"{run.id}.fold"


def test_a_script_distinguishes_the_run_from_one_of_the_service() -> None:
    run = Run.get_context()

    assert _OfflineRun is OfflineRun
    assert isinstance(run, _OfflineRun)
    assert run.id.startswith("OfflineRun")
    assert not hasattr(run, "experiment"), "its workspace is one of the service"
    with pytest.raises(ServiceError, match=r"`Run\.experiment` needs the service of Azure ML") as caught:
        _ = run.experiment
    assert isinstance(caught.value, AttributeError)
    assert "; offline: `Workspace.from_config()` returns the workspace, and `Model.register`" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("name", "offline"),
    [
        ("get_details", "run the training script itself"),
        ("register_model", "`Model.register`"),
        ("input_datasets", "read the data from a directory"),
        ("get_secret", "an environment variable"),
    ],
)
def test_each_attribute_of_the_service_has_its_own_way(name: str, offline: str) -> None:
    with pytest.raises(ServiceError) as caught:
        getattr(Run.get_context(), name)

    assert offline in str(caught.value).partition("; offline: ")[2]
