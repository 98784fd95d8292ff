"""The registry of a workspace, over every place it can be kept in, and the processes that share it."""

from __future__ import annotations

import importlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.s3server import serve_s3

from bundler.digest import sha256_of
from bundler.errors import (
    BundlerError,
    InputError,
    IntegrityError,
    MalformedError,
    NetworkError,
    OutputError,
    UsageError,
)
from bundler.registry.registry import Registry
from bundler.registry.storage import Folder, Storage, open_storage


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """The URL of an S3 server on loopback."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    with serve_s3() as url:
        yield url


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Make a bucket and return the URL of a workspace in it."""
    point_at(s3_server, monkeypatch)

    def make(bucket: str) -> str:
        importlib.import_module("s3fs").S3FileSystem(skip_instance_cache=True).mkdir(bucket)
        return f"s3://{bucket}/work space/[a]*"

    return make


def point_at(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(params=["folder", "file-url", "memory", pytest.param("s3", marks=pytest.mark.slow)])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a workspace that does not exist yet."""
    if request.param == "folder":
        return str(tmp_path / "work space")
    if request.param == "file-url":
        return (tmp_path / "work space").as_uri()
    if request.param == "memory":
        pytest.importorskip("fsspec")
        return f"memory://{uuid.uuid4()}/work space/[a]*"
    made: str = request.getfixturevalue("s3")(f"b{uuid.uuid4()}")
    return made


@pytest.fixture
def storage(location: str, tmp_path: Path) -> Storage:
    return open_storage(location, tmp_path)


@pytest.fixture
def registry(storage: Storage) -> Registry:
    return Registry(storage, "environments")


# --- a storage, wherever it is --------------------------------------------------------------------


def test_a_file_is_created_once_and_read(storage: Storage) -> None:
    storage.create("a/b/one", b"1")
    with pytest.raises(FileExistsError):
        storage.create("a/b/one", b"2")
    storage.create("a/b/empty", b"")

    assert storage.read("a/b/one") == b"1"
    assert storage.read_many(["a/b/empty", "a/b/one"]) == [b"", b"1"]
    assert storage.read_many([]) == []
    assert (storage.names("a"), storage.names("a/b")) == (["b"], ["empty", "one"])


def test_what_is_not_there_is_not_there(storage: Storage) -> None:
    storage.create("a/file", b"")

    assert (storage.names("nowhere"), storage.names("a/file")) == ([], [])
    with pytest.raises(FileNotFoundError):
        storage.read("nowhere")
    with pytest.raises(FileNotFoundError):
        storage.read_many(["a/file", "a/nowhere"])
    with pytest.raises(FileNotFoundError):
        storage.fetch("nowhere", bytes)


def test_a_small_file_is_replaced(storage: Storage) -> None:
    storage.replace("a/label", b"one, which is longer")
    storage.replace("a/label", b"two")

    assert storage.read("a/label") == b"two"
    assert storage.names("a") == ["label"]


def test_what_one_has_listed_does_not_hide_what_another_writes(location: str, tmp_path: Path) -> None:
    first, second = open_storage(location, tmp_path), open_storage(location, tmp_path)
    first.create("a/1", b"")
    assert second.names("a") == ["1"]

    first.create("a/2", b"")

    assert second.names("a") == ["1", "2"]


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a\\b", "C:x", "a\nb"])
def test_no_path_leaves_a_storage(storage: Storage, path: str) -> None:
    uses: list[Callable[[], object]] = [
        lambda: storage.names(path),
        lambda: storage.read(path),
        lambda: storage.create(path, b""),
        lambda: storage.replace(path, b""),
        lambda: storage.put(path, Path(__file__), sha256_of(b"")),
        lambda: storage.fetch(path, bytes),
    ]
    for use in uses:
        with pytest.raises(ValueError, match="not a path in a storage"):
            use()


def test_a_file_that_changes_while_it_is_copied_is_not_kept(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "model"
    source.write_bytes(b"new")

    with pytest.raises(IntegrityError, match="changed while it was copied"):
        storage.put("blobs/x", source, sha256_of(b"old"))

    assert storage.names("blobs") == []


def test_a_file_that_is_kept_already_is_left_alone(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "model"
    source.write_bytes(b"first")
    storage.put("blobs/x", source, sha256_of(b"first"))
    source.write_bytes(b"second")
    storage.put("blobs/x", source, sha256_of(b"first"))

    assert storage.read("blobs/x") == b"first"


# --- registering and finding ----------------------------------------------------------------------


def versions_of(registry: Registry, name: str) -> tuple[str, ...]:
    return tuple(record.version for record in registry.history(name))


def test_versions_are_counted_and_content_is_registered_once(registry: Registry) -> None:
    one = registry.register("nlp", {"image": "a"})
    two = registry.register("nlp", {"image": "b"})
    again = registry.register("nlp", {"image": "a"})

    assert (one.version, two.version, again) == ("1", "2", one)
    assert versions_of(registry, "nlp") == ("1", "2")
    assert registry.get("nlp") == two
    assert registry.get("nlp", version="1") == one


def test_content_is_the_same_whatever_its_order_and_comes_back_as_it_was(registry: Registry) -> None:
    content = {"b": [1, 2.5, None, True, "ä\u2028\n"], "a": {"y": {}, "x": []}}
    made = registry.register("nlp", content)

    assert registry.register("nlp", dict(reversed(content.items()))) == made
    assert registry.get("nlp").content == content
    assert made.sha256 == sha256_of('{"a":{"x":[],"y":{}},"b":[1,2.5,null,true,"ä\u2028\\n"]}'.encode())
    assert made.created.endswith("+00:00")


def test_a_version_can_be_given_and_counting_goes_on_after_the_largest(registry: Registry) -> None:
    first = registry.register("nlp", {"n": 1}, version="2024-01")
    registry.register("nlp", {"n": 2}, version="7")
    registry.register("nlp", {"n": 3}, version="beta.1")

    assert registry.register("nlp", {"n": 4}).version == "8"
    assert versions_of(registry, "nlp") == ("2024-01", "7", "beta.1", "8")
    assert registry.get("nlp", version="2024-01") == first
    assert registry.get("nlp", version="7").content == {"n": 2}


def test_a_version_that_is_not_the_number_of_its_record_is_found(registry: Registry) -> None:
    registry.register("nlp", {"n": 1}, version="2")
    registry.register("nlp", {"n": 2}, version="1")

    assert [registry.get("nlp", version=version).content["n"] for version in ("1", "2")] == [2, 1]


def test_one_content_can_have_two_versions_if_both_are_given(registry: Registry) -> None:
    registry.register("nlp", {"n": 1}, version="a")
    registry.register("nlp", {"n": 1}, version="b")

    assert versions_of(registry, "nlp") == ("a", "b")
    assert registry.register("nlp", {"n": 1}).version == "b"


def test_a_registered_version_never_changes(registry: Registry) -> None:
    made = registry.register("nlp", {"n": 1}, version="3")
    assert registry.register("nlp", {"n": 1}, version="3") == made

    with pytest.raises(InputError) as caught:
        registry.register("nlp", {"n": 2}, version="3")

    assert caught.value.message == "version `3` of `nlp` already exists with other content"
    other = sha256_of(b'{"n":2}')
    assert caught.value.evidence == (
        "registered content is never changed",
        f"wanted  sha256 {other}",
        f"found   sha256 {made.sha256}, of {made.created}",
    )
    assert registry.get("nlp", version="3") == made


def test_the_latest_of_each_name(registry: Registry, storage: Storage) -> None:
    assert registry.latest() == ()
    for name in ("vision", "nlp", "NLP-large"):
        registry.register(name, {"old": name})
        registry.register(name, {"new": name})
    storage.create("environments/readme.md", b"hello")
    storage.create("environments/nlp/notes.txt", b"hello")
    storage.create("environments/empty/notes.txt", b"hello")
    storage.create("environments/VISION/000001.json", b"not where a record is looked for")

    assert [(each.name, each.version) for each in registry.latest()] == [
        ("NLP-large", "2"),
        ("nlp", "2"),
        ("vision", "2"),
    ]


def test_kinds_have_names_of_their_own(storage: Storage) -> None:
    Registry(storage, "environments").register("nlp", {})

    assert Registry(storage, "models").latest() == ()
    assert Registry(storage, "models").register("microsoft-deberta", {}).version == "1"


def test_labels_move_and_latest_moves_by_itself(registry: Registry) -> None:
    registry.register("nlp", {"n": 1})
    registry.register("nlp", {"n": 2})
    registry.set_labels("nlp", "1", ["prod", "Blue"])
    registry.set_labels("nlp", "2", ["prod"])

    assert registry.labels("nlp") == {"Blue": "1", "prod": "2"}
    assert registry.get("nlp", label="prod").version == "2"
    assert registry.get("nlp", label="blue").version == "1"
    assert registry.get("nlp", label="latest").version == "2"
    registry.register("nlp", {"n": 3})
    assert registry.get("nlp", label="Latest").version == "3"


def test_files_are_kept_by_their_content(registry: Registry, storage: Storage, tmp_path: Path) -> None:
    model = tmp_path / "model.pkl"
    model.write_bytes(random.Random(1).randbytes(3_000_000))
    digest = sha256_of(model.read_bytes())

    assert [registry.put_blob(model) for _ in range(2)] == [(digest, 3_000_000)] * 2
    assert registry.fetch_blob(digest, tmp_path / "back") == 3_000_000

    assert (tmp_path / "back").read_bytes() == model.read_bytes()
    assert storage.names(f"blobs/sha256/{digest[:2]}") == [digest]


def test_a_file_whose_bytes_have_changed_is_not_handed_out(
    registry: Registry, storage: Storage, tmp_path: Path
) -> None:
    (tmp_path / "model").write_bytes(b"good")
    digest, _ = registry.put_blob(tmp_path / "model")
    storage.replace(f"blobs/sha256/{digest[:2]}/{digest}", b"evil")

    with pytest.raises(IntegrityError, match="has changed since it was registered") as caught:
        registry.fetch_blob(digest, tmp_path / "back")
    assert caught.value.evidence == (f"wanted  sha256 {digest}", f"found   sha256 {sha256_of(b'evil')}")
    with pytest.raises(IntegrityError, match="is gone from"):
        registry.fetch_blob(sha256_of(b"never kept"), tmp_path / "back")
    assert not [path.name for path in tmp_path.iterdir() if path.name not in ("model", "work space")]


def test_nothing_is_overwritten_by_a_file_that_is_fetched(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"mine")
    digest, _ = registry.put_blob(tmp_path / "model")

    # The second is not even looked for.
    for wanted in (digest, sha256_of(b"never kept")):
        with pytest.raises(OutputError, match="already exists"):
            registry.fetch_blob(wanted, tmp_path / "model")


# --- refusals ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "-x", "a/b", "a\\b", "a b", "ä", "a\n", "a" * 256, "con", "NUL.txt", "a."],
)
def test_a_name_that_cannot_be_a_folder_everywhere_is_refused(registry: Registry, name: str) -> None:
    with pytest.raises(InputError, match="is not a valid name"):
        registry.register(name, {})
    with pytest.raises(InputError, match="has no environment") as caught:
        registry.get(name)
    assert caught.value.hint == "register one: `bundler env register env.yml`"


@pytest.mark.parametrize("name", ["AzureML-Minimal", "azureml", "MICROSOFT_x"])
def test_the_names_of_azure_are_refused(registry: Registry, name: str) -> None:
    with pytest.raises(InputError, match="prefixes `Microsoft` and `AzureML` are reserved"):
        registry.register(name, {})


def test_names_that_differ_in_case_alone_are_refused_and_not_mixed_up(registry: Registry) -> None:
    registry.register("Nlp", {"n": 1})

    with pytest.raises(InputError, match="conflicts with `Nlp`"):
        registry.register("NLP", {"n": 2})
    for use in (registry.get, registry.history, registry.labels):
        with pytest.raises(InputError, match="has no environment `nLP`") as caught:
            use("nLP")
        assert caught.value.hint == "did you mean `Nlp`?"
    with pytest.raises(InputError, match="has no environment `nlp`"):
        registry.get("nlp", version="1")
    assert versions_of(registry, "Nlp") == ("1",)


@pytest.mark.parametrize("word", ["", "latest", "Latest", "../1", "a b", ".1", "1" * 129, "1\n"])
def test_a_version_or_a_label_that_is_none_is_refused(registry: Registry, word: str) -> None:
    with pytest.raises(InputError, match="is not a valid version"):
        registry.register("nlp", {}, version=word)
    registry.register("nlp", {})
    with pytest.raises(InputError, match="is not a valid label"):
        registry.set_labels("nlp", "1", ["fine", word])
    with pytest.raises(InputError, match="has no version"):
        registry.get("nlp", version=word)
    assert registry.labels("nlp") == {}


def test_what_is_unknown_is_told_with_what_there_is(registry: Registry, storage: Storage) -> None:
    registry.register("text-model", {"n": 1})
    registry.register("vision", {}, version="2024-01")
    for number in range(2, 25):
        registry.register("text-model", {"n": number})
    registry.set_labels("text-model", "1", ["production"])

    with pytest.raises(InputError) as caught:
        registry.get("text-modl")
    assert caught.value.message == f"`{storage.location}` has no environment `text-modl`"
    assert caught.value.evidence == ("known   `text-model`, `vision`",)
    assert caught.value.hint == "did you mean `text-model`?"
    with pytest.raises(InputError) as caught:
        registry.get("vision", version="2024-1")
    assert caught.value.message == "`vision` has no version `2024-1`"
    assert caught.value.hint == "did you mean `2024-01`?"
    with pytest.raises(InputError) as caught:
        registry.set_labels("text-model", "99", ["x"])
    assert caught.value.evidence[0].startswith("known   `5`, `6`, ")
    assert caught.value.evidence[0].endswith("`24`, and 4 more")
    with pytest.raises(InputError) as caught:
        registry.get("text-model", label="prod")
    assert caught.value.message == "no version of `text-model` has the label `prod`"
    assert caught.value.evidence == ("known   `production`, `latest`",)
    with pytest.raises(UsageError, match="only one of version and label"):
        registry.get("text-model", version="1", label="latest")


def test_an_empty_workspace_knows_nothing(registry: Registry) -> None:
    with pytest.raises(InputError) as caught:
        registry.get("nlp")

    assert caught.value.evidence == ("known   none",)
    assert caught.value.hint == "register one: `bundler env register env.yml`"


LEAKS = [
    ("a password", {"url": "https://me:hunter2@index.example/simple"}, "URL at `url`"),
    ("a token alone", {"pip": ["a", "--index-url=https://tok3n@index.example"]}, "URL at `pip[1]`"),
    ("a git token", {"r": "x @ git+https://tok3n@git.example/x"}, "URL at `r`"),
    ("a password of ssh", {"r": "git+ssh://git:hunter2@git.example/x"}, "URL at `r`"),
    ("a conda token", {"channels": ["https://conda.example/t/tk-1-a/main"]}, "the path of a URL at"),
    ("a conda token at the end", {"c": "https://conda.example/t/tk-1-a"}, "the path of a URL at `c`"),
    ("a signed URL", {"c": "https://x.example/y?sv=1&sig=abc%3D"}, "token in a URL at `c`"),
    ("a signed URL of S3", {"c": "https://x.example/y?X-Amz-Signature=ab"}, "token in a URL at"),
    ("a registry", {"docker": {"reg": {"password": "hunter2"}}}, "a secret at `docker.reg.password`"),
    ("a token", {"sasToken": "x"}, "a secret at `sasToken`"),
    ("a token otherwise", {"SAS_TOKEN": "x"}, "a secret at `SAS_TOKEN`"),
    ("a secret", {"clientSecret": {"value": "x"}}, "a secret at `clientSecret`"),
    ("a variable", {"variables": {"DB_PASSWORD": "x"}}, "a secret at `variables.DB_PASSWORD`"),
    (
        "in a key",
        {"a": {"https://u:hunter2@x.example": {"token": "x"}}},
        "credentials in a URL in a key at `a`",
    ),
    ("a strange key", {"a b\n": {"token": "x"}}, 'a secret at `["a b\\n"].token`'),
]


@pytest.mark.parametrize(("content", "told"), [row[1:] for row in LEAKS], ids=[row[0] for row in LEAKS])
def test_credentials_are_never_registered(tmp_path: Path, content: dict[str, Any], told: str) -> None:
    registry = Registry(Folder(tmp_path), "environments")

    with pytest.raises(InputError, match="the content cannot be registered") as caught:
        registry.register("nlp", content)

    assert told in "\n".join((caught.value.message, *caught.value.evidence))
    for secret in ("hunter2", "tok3n", "tk-1-a", "abc"):
        assert secret not in "\n".join([*caught.value.evidence, caught.value.message])
    assert not list(tmp_path.iterdir())


def test_what_looks_like_a_secret_and_is_none_is_registered(tmp_path: Path) -> None:
    content = {
        "password": "",
        "secret": None,
        "token": [],
        "tokenizer": "bert",
        "pad_token": "<pad>",
        "requirements": [
            "x @ git+ssh://git@git.example/x@v1",
            "y @ git+https://git.example/y@v1",
            "abfss://container@account.dfs.example/t",
            "https://npm.example/@scope/t",
            "mail me@x.example",
            "https://x.example/t/",
        ],
    }
    assert Registry(Folder(tmp_path), "environments").register("nlp", content).version == "1"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text", ["x", "://", "https://", "/t/", "a://b/t/", "?sig", "@", "a:", "- ", "a://b"]
)
def test_long_text_is_looked_at_once(tmp_path: Path, text: str) -> None:
    """A pattern that begins anew at each letter would take hours."""
    registry = Registry(Folder(tmp_path), "environments")

    assert registry.register("nlp", {"text": text * (2_000_000 // len(text))}).version == "1"


DEEP: dict[str, Any] = {}
for _ in range(100_000):
    DEEP = {"a": DEEP}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"a": [float("nan")]}, "a number that JSON cannot represent at `a[0]`"),
        ({"a": Path("x")}, "a value that JSON cannot represent (`PosixPath`) at `a`"),
        ({"a": {1: 2}}, "a key that is not a string at `a`"),
        ({"a": "\ud800"}, "text that is not valid Unicode at `a`"),
        (DEEP, "nested too deeply"),
    ],
    ids=["nan", "path", "key", "surrogate", "deep"],
)
def test_what_json_cannot_say_is_refused(tmp_path: Path, content: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as caught:
        Registry(Folder(tmp_path), "environments").register("nlp", content)

    assert told in "\n".join([caught.value.message, *caught.value.evidence])


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def edited(content: bytes) -> bytes:
        envelope = json.loads(content)
        change(envelope)
        return json.dumps(envelope).encode()

    return edited


CORRUPT: list[tuple[str, Callable[[bytes], bytes], type[BundlerError], str]] = [
    ("empty", lambda _: b"", MalformedError, "invalid JSON"),
    ("half", lambda content: content[:50], MalformedError, "invalid JSON"),
    ("a list", lambda _: b"[]", MalformedError, "`format` is not `bundler-registry`"),
    ("deep", lambda _: b"[" * 100_000, MalformedError, "invalid JSON"),
    (
        "another format",
        edit(lambda e: e.update(format="x")),
        MalformedError,
        "`format` is not `bundler-registry`",
    ),
    (
        "a newer format",
        edit(lambda e: e.update(format_version=2)),
        MalformedError,
        "found   format_version 2",
    ),
    (
        "no name",
        edit(lambda e: e.pop("name")),
        MalformedError,
        "000001.json: object missing required field `name`",
    ),
    ("another name", edit(lambda e: e.update(name="x")), MalformedError, "record of `x`"),
    (
        "no version",
        edit(lambda e: e.update(version=1)),
        MalformedError,
        "$.version: expected `str`, got `int`",
    ),
    (
        "no digest",
        edit(lambda e: e.update(sha256="A" * 64)),
        MalformedError,
        "$.sha256: expected `str` matching regex",
    ),
    (
        "no time",
        edit(lambda e: e.update(created="now")),
        MalformedError,
        "$.created: expected `str` matching regex",
    ),
    (
        "no content",
        edit(lambda e: e.update(content=[])),
        MalformedError,
        "$.content: expected `object`, got `array`",
    ),
    ("nan", edit(lambda e: e.update(content={"a": float("nan")})), MalformedError, "JSON cannot represent"),
    ("surrogate", edit(lambda e: e.update(content={"a": "\ud800"})), MalformedError, "JSON cannot represent"),
    ("a changed bit", lambda content: content.replace(b'"n":1', b'"n":3'), IntegrityError, "found   sha256"),
]


@pytest.mark.parametrize(
    ("change", "error", "told"), [row[1:] for row in CORRUPT], ids=[row[0] for row in CORRUPT]
)
def test_a_corrupt_record_is_named(
    tmp_path: Path, change: Callable[[bytes], bytes], error: type[BundlerError], told: str
) -> None:
    registry = Registry(Folder(tmp_path), "environments")
    registry.register("nlp", {"n": 1})
    registry.register("nlp", {"n": 2})
    record = tmp_path / "environments/nlp/000001.json"
    record.chmod(0o644)
    record.write_bytes(change(record.read_bytes()))

    uses: list[Callable[[], object]] = [
        lambda: registry.get("nlp", version="1"),
        lambda: registry.get("nlp", version="7"),
        lambda: registry.register("nlp", {"n": 9}),
    ]
    for use in uses:
        with pytest.raises(error) as caught:
            use()
        assert str(record) in caught.value.message
        assert told in "\n".join((caught.value.message, *caught.value.evidence))
    # The others are still available.
    assert registry.get("nlp").version == "2"
    assert registry.get("nlp", version="2").content == {"n": 2}
    with pytest.warns(UserWarning, match=re.escape(str(record))) as warned:
        assert versions_of(registry, "nlp") == ("2",)
    assert len(warned) == 1


@pytest.mark.parametrize("broken", ["text", "directory", "pipe", "link", "unreadable"])
def test_a_broken_file_does_not_hide_the_others(tmp_path: Path, broken: str) -> None:
    registry = Registry(Folder(tmp_path), "environments")
    for name in ("a", "b", "c"):
        registry.register(name, {"n": 1})
    registry.register("b", {"n": 2}, version="two")
    registry.set_labels("b", "1", ["old", "good"])
    for file in ("000002.json", "labels/old.json"):
        path = tmp_path / "environments/b" / file
        path.unlink()
        if broken == "text":
            path.write_text("{")
        elif broken == "directory":
            path.mkdir()
        elif broken == "pipe":
            os.mkfifo(path)
        elif broken == "link":
            path.symlink_to(tmp_path / "missing")
        else:
            path.write_bytes(b"\xff\xfe")

    with pytest.warns(UserWarning, match=r"^skipped: .*b/000002\.json"):
        assert [record.name for record in registry.latest()] == ["a", "c"]
    with pytest.warns(UserWarning, match=r"000002\.json"):
        assert versions_of(registry, "b") == ("1",)
    assert registry.get("b", version="1").content == {"n": 1}
    assert registry.get("b", label="good").version == "1"
    with pytest.raises(BundlerError, match="000002"):
        registry.get("b")
    with pytest.warns(UserWarning, match=r"000002\.json"), pytest.raises(InputError, match="no environment"):
        registry.get("d")


def test_a_broken_label_does_not_hide_the_others(tmp_path: Path) -> None:
    registry = Registry(Folder(tmp_path), "environments")
    registry.register("a", {"n": 1})
    registry.set_labels("a", "1", ["bad", "good"])
    (tmp_path / "environments/a/labels/bad.json").write_text("{")

    with pytest.warns(UserWarning, match=r"labels/bad\.json"):
        assert registry.labels("a") == {"good": "1"}


@pytest.mark.parametrize("change", [{"label": "blue"}, {"name": "x"}, {"format": "x"}, {"version": ""}])
def test_a_corrupt_label_is_named(tmp_path: Path, change: dict[str, str]) -> None:
    registry = Registry(Folder(tmp_path), "environments")
    registry.register("nlp", {})
    registry.set_labels("nlp", "1", ["prod"])
    label = tmp_path / "environments/nlp/labels/prod.json"
    label.write_text(json.dumps({**json.loads(label.read_text()), **change}))

    with pytest.raises(MalformedError, match=r"labels/prod\.json"):
        registry.get("nlp", label="prod")


@pytest.mark.parametrize("what", ["nothing", "a folder", "a pipe"])
def test_what_is_no_file_is_not_kept(tmp_path: Path, what: str) -> None:
    source = tmp_path / "model"
    if what == "a folder":
        source.mkdir()
    elif what == "a pipe":
        os.mkfifo(source)

    with pytest.raises(InputError, match="model` cannot be read"):
        Registry(Folder(tmp_path / "ws"), "models").put_blob(source)


# --- folders --------------------------------------------------------------------------------------


def test_a_workspace_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "ws").write_text("mine")
    registry = Registry(Folder(tmp_path / "ws"), "environments")

    uses: list[Callable[[], object]] = [
        lambda: registry.register("nlp", {}),
        registry.latest,
        lambda: registry.get("nlp"),
    ]
    for use in uses:
        with pytest.raises(OutputError, match="Not a directory") as caught:
            use()
        assert str(tmp_path / "ws") in caught.value.message
    assert (tmp_path / "ws").read_text() == "mine"


@pytest.mark.parametrize("link", ["environments", "environments/nlp", "environments/nlp/000001.json"])
def test_a_link_that_leads_out_of_a_workspace_is_not_followed(tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    Registry(Folder(outside), "environments").register("nlp", {"n": 1})
    planted = tmp_path / "ws" / link
    planted.parent.mkdir(parents=True)
    planted.symlink_to(outside / link)
    registry = Registry(Folder(tmp_path / "ws"), "environments")

    uses: list[Callable[[], object]] = [
        lambda: registry.get("nlp"),
        lambda: registry.register("nlp", {"n": 2}),
    ]
    for use in uses:
        with pytest.raises(OutputError, match="leads outside of"):
            use()
    assert len(list(outside.rglob("*.json"))) == 1


def test_a_workspace_may_be_reached_through_a_link_and_by_a_relative_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "ws").symlink_to("real")

    Registry(open_storage("ws", tmp_path), "environments").register("nlp", {})

    assert (tmp_path / "real/environments/nlp/000001.json").is_file()


def test_a_pipe_in_the_place_of_a_record_keeps_nobody_waiting(tmp_path: Path) -> None:
    (tmp_path / "environments/nlp").mkdir(parents=True)
    os.mkfifo(tmp_path / "environments/nlp/000001.json")

    with pytest.raises(OutputError, match="is not a regular file"):
        Registry(Folder(tmp_path), "environments").get("nlp")


def test_records_and_files_are_read_only_and_litter_of_the_dead_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "environments/nlp"
    folder.mkdir(parents=True)
    old, young = folder / ".000001.json.00.partial", folder / ".000001.json.01.partial"
    for litter in (old, young):
        litter.write_text("half")
    os.utime(old, (time.time() - 90_000,) * 2)

    registry = Registry(Folder(tmp_path), "environments")
    registry.register("nlp", {})
    digest, _ = registry.put_blob(young)

    assert sorted(path.name for path in folder.iterdir()) == [young.name, "000001.json"]
    assert Folder(tmp_path).names("environments/nlp") == ["000001.json"]
    kept = (folder / "000001.json", tmp_path / "blobs/sha256" / digest[:2] / digest)
    assert [path.stat().st_mode & 0o777 for path in kept] == [0o444, 0o444]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB."""
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(argv, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_named_and_nothing_half_written_is_left(small_disk: Path) -> None:
    registry = Registry(Folder(small_disk), "environments")
    made = registry.register("nlp", {"n": 1})
    (small_disk.parent / "model").write_bytes(bytes(1_000_000))
    with pytest.raises(OutputError, match="No space left on device"):
        registry.put_blob(small_disk.parent / "model")
    with pytest.raises(OutputError, match="No space left on device"):
        registry.register("nlp", {"n": "x" * 1_000_000})

    assert [path.name for path in small_disk.rglob("*") if path.is_file()] == ["000001.json"]
    assert registry.get("nlp") == made
    assert registry.register("nlp", {"n": 2}).version == "2"


def test_a_folder_that_cannot_be_written_still_answers(small_disk: Path) -> None:
    registry = Registry(Folder(small_disk), "environments")
    made = registry.register("nlp", {"n": 1})
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    assert registry.register("nlp", {"n": 1}) == registry.get("nlp") == made
    for name in ("nlp", "new"):
        with pytest.raises(OutputError, match="Read-only file system"):
            registry.register(name, {"n": 2})


class Late(Folder):
    """A directory whose listing never shows new files, as some network shares do for a while."""

    def names(self, folder: str) -> list[str]:  # noqa: ARG002 - whatever it is
        return []


@pytest.mark.timeout(20)
def test_a_late_listing_loses_nothing(tmp_path: Path) -> None:
    late = Registry(Late(tmp_path), "environments")

    assert [late.register("nlp", {"n": number}).version for number in (1, 2, 1, 3)] == ["1", "2", "1", "3"]
    assert versions_of(Registry(Folder(tmp_path), "environments"), "nlp") == ("1", "2", "3")


# --- processes that meet, and processes that die --------------------------------------------------

CHILD = """
import sys
from pathlib import Path
from bundler.registry.registry import Registry
from bundler.registry.storage import open_storage
registry = Registry(open_storage(sys.argv[1], Path.cwd()), "environments")
who = int(sys.argv[2])
print("go", flush=True)
sys.stdin.readline()
"""


def child(code: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + code, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def together(code: str, location: str, count: int) -> list[str]:
    """Let processes begin at the same moment and return the output of each."""
    children = [child(code, location, str(number)) for number in range(count)]
    for process in children:
        assert process.stdout is not None
        process.stdout.readline()
    for process in children:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120)[0] for process in children]
    assert [process.returncode for process in children] == [0] * count
    return said


def test_many_processes_count_without_a_gap_or_a_loss(tmp_path: Path) -> None:
    code = "for n in range(10): print(registry.register('nlp', {'who': who, 'n': n}).version)\n"
    said = together(code, str(tmp_path), 8)

    versions = [line for lines in said for line in lines.split()]
    registry = Registry(Folder(tmp_path), "environments")
    assert sorted(map(int, versions)) == list(range(1, 81))
    assert versions_of(registry, "nlp") == tuple(map(str, range(1, 81)))
    found = {(record["who"], record["n"]) for record in contents(registry, "nlp")}
    assert found == {(who, n) for who in range(8) for n in range(10)}


def contents(registry: Registry, name: str) -> list[Any]:
    return [registry.get(name, version=version).content for version in versions_of(registry, name)]


def test_many_processes_that_register_the_same_get_one_version(tmp_path: Path) -> None:
    said = together("print(registry.register('nlp', {'a': 1}).version)\n", str(tmp_path), 8)

    assert said == ["1\n"] * 8
    assert len(list(tmp_path.rglob("*.json"))) == 1


def test_of_many_processes_that_want_one_version_or_one_name_one_succeeds(tmp_path: Path) -> None:
    code = (
        "from bundler.errors import InputError\n"
        "try: print(registry.register('nlp' if who % 2 else 'NLP', {'n': who}, version='a').version)\n"
        "except InputError: print('refused')\n"
    )
    said = together(code, str(tmp_path), 8)

    assert sorted(said) == ["a\n"] + ["refused\n"] * 7


def test_a_killed_writer_leaves_nothing_half_written_and_nobody_waiting(tmp_path: Path) -> None:
    """Killed at twenty random moments; each time the existing files are complete, and the next run continues."""
    code = (
        "import random\nfrom pathlib import Path\nmodel = Path(sys.argv[3])\nwhile True:\n"
        "    model.write_bytes(random.randbytes(200_000))\n    registry.put_blob(model)\n"
        "    registry.register('nlp', {'n': random.random(), 'x': 'x' * 10_000})\n"
        "    registry.set_labels('nlp', registry.get('nlp').version, ['prod'])\n"
    )
    registry = Registry(Folder(tmp_path / "ws"), "environments")
    for turn in range(20):
        writer = child(code, str(tmp_path / "ws"), "0", str(tmp_path / "model"))
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdout.readline()
        writer.stdin.write("\n")
        writer.stdin.flush()
        time.sleep(random.Random(turn).random() / 10)
        writer.kill()
        writer.communicate()
        mine = registry.register("nlp", {"turn": turn})
        assert versions_of(registry, "nlp") == tuple(map(str, range(1, int(mine.version) + 1)))
        assert set(registry.labels("nlp")) <= {"prod"}
    for blob in (tmp_path / "ws/blobs").glob("sha256/??/[!.]*"):
        assert sha256_of(blob.read_bytes()) == blob.name


# --- services -------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["", "file:relative", "file://server.example/x", "file:///x?y", "http://[x"])
def test_an_invalid_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_storage(url, tmp_path)
    if url.startswith("file:"):
        offered = re.fullmatch("use `(file:///[^`]+)`", caught.value.hint or "")
        assert offered
        open_storage(offered[1], tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "s3://me:hunter2@bucket/x",
        "s3://hunter2@bucket/x",
        "gs://bucket/x?token=hunter2",
        "abfs://c:hunter2@account.example/x",
        "https://me:hunter2@x.example",
    ],
)
def test_a_url_with_credentials_is_refused_and_not_shown(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="contains credentials or a query") as caught:
        open_storage(url, tmp_path)

    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    "url", ["https://x.example/ws", "sftp://x.example/ws", "dir::memory://ws", "memory://x::memory://ws"]
)
def test_a_service_that_cannot_create_for_one_of_many_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(OutputError, match="cannot store a workspace") as caught:
        open_storage(url, tmp_path)

    assert "`s3://`" in caught.value.evidence[1]


@pytest.mark.parametrize(
    ("url", "module", "package", "hint"),
    [
        ("s3://bucket/x", "fsspec.core", "s3fs", "pip install 'airgap-bundler[s3]'"),
        ("s3://bucket/x", "s3fs", "s3fs", "pip install 'airgap-bundler[s3]'"),
        ("gs://bucket/x", "gcsfs", "gcsfs", "pip install gcsfs"),
        ("abfs://container@account.dfs.example/x", "adlfs", "adlfs", "pip install adlfs"),
    ],
)
def test_a_driver_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, module: str, package: str, hint: str
) -> None:
    registry = pytest.importorskip("fsspec.registry")
    # As if it were not installed, and never had been.
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(registry._registry, url.partition(":")[0], raising=False)

    with pytest.raises(UsageError, match=f"needs {package}, which is not installed") as caught:
        open_storage(url, tmp_path)

    assert caught.value.hint == hint


def test_a_url_without_a_bucket_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(UsageError, match="does not name a bucket"):
        open_storage("memory://", tmp_path)


def old_pipe_file(self: Any, path: str, value: bytes, **kwargs: object) -> None:
    """Write as drivers did before they knew the condition: what they do not know, they ignore."""
    self.open(path, "wb", data=value)


def blind_pipe_file(self: Any, path: str, value: bytes, mode: str = "overwrite") -> None:
    """Write as a driver does whose service does not know the condition."""
    self.open(path, "wb", data=value)


def test_a_driver_that_is_too_old_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = pytest.importorskip("fsspec.implementations.memory")
    monkeypatch.setattr(memory.MemoryFileSystem, "pipe_file", old_pipe_file)

    with pytest.raises(OutputError, match="this version of fsspec has no exclusive creation"):
        open_storage("memory://ws", tmp_path)


def test_a_service_that_ignores_the_condition_is_found_out_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = pytest.importorskip("fsspec.implementations.memory")
    monkeypatch.setattr(memory.MemoryFileSystem, "pipe_file", blind_pipe_file)
    storage = open_storage(f"memory://{uuid.uuid4()}", tmp_path)

    for _ in range(2):
        with pytest.raises(OutputError, match="overwrites existing objects"):
            storage.create("a/file", b"")
    assert storage.names("a") == []


class ElsewhereError(OSError):
    """An error of a driver's own, as those of aiohttp are."""


@pytest.mark.parametrize(
    ("raised", "error", "told"),
    [
        (PermissionError("not you"), OutputError, "found   PermissionError: not you"),
        (OSError(28, "full"), OutputError, "full"),
        (ConnectionRefusedError("no"), NetworkError, "found   ConnectionRefusedError: no"),
        (TimeoutError(), NetworkError, "found   TimeoutError: no message"),
        (ElsewhereError("x"), NetworkError, "found   ElsewhereError: x"),
        (RuntimeError("a\nb \x1b[31m"), NetworkError, "found   RuntimeError: a b \\x1b[31m"),
        (
            RuntimeError("GET https://u:hunter2@x.example/y?sig=hunter2 no"),
            NetworkError,
            "x.example/y?**** no",
        ),
    ],
    ids=["permission", "full", "refused", "timeout", "a driver's own", "lines", "secrets"],
)
def test_what_a_driver_raises_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, error: type[BundlerError], told: str
) -> None:
    memory = pytest.importorskip("fsspec.implementations.memory")

    def fail(*args: object, **kwargs: object) -> None:
        raise raised

    monkeypatch.setattr(memory.MemoryFileSystem, "ls", fail)
    with pytest.raises(error) as caught:
        open_storage("memory://ws", tmp_path).names("a")

    assert caught.value.evidence[0] == "for     /ws/a"
    assert caught.value.evidence[1].endswith(told)
    assert "hunter2" not in caught.value.evidence[1]


@pytest.mark.parametrize("code", ["PreconditionFailed", "412"])
def test_a_refused_condition_is_known_in_the_forms_of_other_services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """s3fs makes EINVAL of it, unless the answer names the condition as Amazon's does."""
    memory = pytest.importorskip("fsspec.implementations.memory")

    def refuse(self: object, path: str, value: bytes, mode: str = "") -> None:
        answer = RuntimeError("412")
        answer.response = {"Error": {"Code": code}}  # type: ignore[attr-defined]
        raise OSError(22, "At least one of the pre-conditions you specified did not hold") from answer

    monkeypatch.setattr(memory.MemoryFileSystem, "pipe_file", refuse)
    with pytest.raises(FileExistsError):
        open_storage("memory://ws", tmp_path).create("a", b"")


def test_threads_that_share_memory_count_without_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = pytest.importorskip("fsspec.implementations.memory").MemoryFileSystem
    exists = memory.exists

    def slow_exists(self: object, path: str) -> Any:
        found = exists(self, path)
        time.sleep(0.001)  # it looks, and then it writes: let others in between
        return found

    monkeypatch.setattr(memory, "exists", slow_exists)
    location = f"memory://{uuid.uuid4()}/ws"
    in_threads(4, lambda who: register_many(location, tmp_path, who, 10))

    versions = versions_of(Registry(open_storage(location, tmp_path), "environments"), "nlp")
    assert versions == tuple(map(str, range(1, 41)))


def register_many(location: str, cwd: Path, who: int, count: int) -> None:
    registry = Registry(open_storage(location, cwd), "environments")
    for number in range(count):
        registry.register("nlp", {"who": who, "n": number})


def in_threads(count: int, work: Callable[[int], object]) -> None:
    failed: list[Exception] = []

    def run(who: int) -> None:
        try:
            work(who)
        except (BundlerError, AssertionError, OSError, ValueError) as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(who,)) for who in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failed


@pytest.mark.slow
def test_s3_of_two_who_create_one_file_one_succeeds(s3: Callable[[str], str], tmp_path: Path) -> None:
    location = s3("exclusive")
    won: list[tuple[int, int]] = []

    def race(who: int) -> None:
        storage = open_storage(location, tmp_path)
        for number in range(25):
            with suppress(FileExistsError):
                storage.create(f"a/{number}", str(who).encode())
                won.append((number, who))

    in_threads(2, race)

    assert sorted(number for number, _ in won) == list(range(25))
    storage = open_storage(location, tmp_path)
    found = storage.read_many([f"a/{number}" for number in range(25)])
    assert found == [str(who).encode() for _, who in sorted(won)]


@pytest.mark.slow
def test_s3_processes_count_without_a_gap(s3: Callable[[str], str], tmp_path: Path) -> None:
    location = s3("counted")
    together("for n in range(5): registry.register('nlp', {'who': who, 'n': n})\n", location, 3)

    versions = versions_of(Registry(open_storage(location, tmp_path), "environments"), "nlp")
    assert versions == tuple(map(str, range(1, 16)))


@pytest.mark.slow
def test_s3_a_service_that_ignores_the_condition_is_found_out(
    s3: Callable[[str], str], tmp_path: Path
) -> None:
    registry = Registry(open_storage(s3("blind-bucket"), tmp_path), "environments")

    with pytest.raises(OutputError, match="overwrites existing objects"):
        registry.register("nlp", {})
    assert registry.latest() == ()


@pytest.mark.slow
def test_s3_a_bucket_that_is_not_there_is_named(s3: Callable[[str], str], tmp_path: Path) -> None:
    registry = Registry(open_storage("s3://nowhere-at-all/x", tmp_path), "environments")

    with pytest.raises(OutputError, match="`s3://nowhere-at-all/x` does not exist"):
        registry.register("nlp", {})


@pytest.mark.slow
def test_s3_a_large_file_goes_and_comes_in_pieces(s3: Callable[[str], str], tmp_path: Path) -> None:
    model = tmp_path / "model"
    with model.open("wb") as stream:
        for number in range(120):
            stream.write(random.Random(number).randbytes(1 << 20))
    registry = Registry(open_storage(s3("large"), tmp_path), "models")

    digest, size = registry.put_blob(model)

    assert registry.fetch_blob(digest, tmp_path / "back") == size == 120 << 20


@pytest.mark.slow
def test_a_service_that_is_not_there_is_named_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("s3fs")
    point_at("http://127.0.0.1:9", monkeypatch)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    registry = Registry(open_storage("s3://bucket/x", tmp_path), "environments")

    uses: list[Callable[[], object]] = [
        registry.latest,
        lambda: registry.register("nlp", {}),
        lambda: registry.fetch_blob(sha256_of(b""), tmp_path / "back"),
    ]
    for use in uses:
        with pytest.raises(NetworkError, match="`s3://bucket/x` is unreachable") as caught:
            use()
        text = "\n".join([caught.value.message, *caught.value.evidence])
        assert "127.0.0.1:9" in text
        assert "hunter2" not in text
    assert not list(tmp_path.iterdir())
