"""The values beside a record: replaced, bound to the record, checked, and hidden with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.errors import InputError, MalformedError
from bundler.registry.registry import Registry
from bundler.registry.storage import Folder


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(Folder(tmp_path / "ws"), "models")


def test_annotations_are_replaced_and_the_record_stays(registry: Registry, tmp_path: Path) -> None:
    record = registry.register("Iris", {"a": 1})
    before = (tmp_path / "ws/models/iris/000001.json").read_bytes()
    assert registry.annotations(record) == {}
    registry.annotate(record, {"tags": {"x": "1"}})
    registry.annotate(record, {"tags": {"y": "2"}})

    assert registry.annotations(record) == {"tags": {"y": "2"}}
    assert (tmp_path / "ws/models/iris/000001.json").read_bytes() == before
    assert [record.version for record in registry.history("Iris")] == ["1"]
    other = registry.register("Iris", {"a": 2})
    assert registry.annotations(other) == {}


def test_the_annotation_of_another_record_is_ignored(registry: Registry) -> None:
    record = registry.register("iris", {"a": 1}, version="v")
    registry.annotate(record, {"tags": {}})
    registry.delete("iris", "v")
    again = registry.register("iris", {"a": 2}, version="v")

    assert registry.get("iris", version="v").content == {"a": 2}
    assert registry.annotations(again) == {}


def test_credentials_and_malformed_files_are_refused(registry: Registry, tmp_path: Path) -> None:
    record = registry.register("iris", {"a": 1})
    with pytest.raises(InputError):
        registry.annotate(record, {"url": "https://user:secret-password@example.com/x"})
    assert not (tmp_path / "ws/models/iris/annotations").exists()
    registry.annotate(record, {})
    (tmp_path / "ws/models/iris/annotations/1.json").write_text("{}")
    with pytest.raises(MalformedError, match=r"annotations/1\.json"):
        registry.annotations(record)


def test_a_deleted_record_stays_and_is_not_listed(registry: Registry, tmp_path: Path) -> None:
    registry.register("iris", {"a": 1})
    registry.register("iris", {"a": 2})
    registry.delete("iris", "1")

    assert [record.version for record in registry.history("iris")] == ["2"]
    assert [record.version for record in registry.latest()] == ["2"]
    assert (tmp_path / "ws/models/iris/000001.json").is_file()
    assert registry.register("iris", {"a": 1}).version == "3"
    assert registry.register("iris", {"a": 2}).version == "2"
    registry.delete("iris", "3")
    registry.delete("iris", "2")
    assert registry.latest() == ()
    with pytest.raises(InputError, match="no model `iris`"):
        registry.get("iris")
    assert registry.register("iris", {"a": 1}).version == "4"
