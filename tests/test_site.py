"""The site of the documentation: every link leads somewhere, and nothing is requested from other hosts."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.pages import PAGES
from support.paths import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.online]


def build(root: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a checkout with the environment of this one."""
    return subprocess.run([root / "scripts/docs"], capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files that the site is built from."""
    ended = build(ROOT)
    assert ended.returncode == 0, ended.stderr
    copy = tmp_path_factory.mktemp("checkout")
    left_out = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=left_out, dirs_exist_ok=True)
    (copy / ".venv-docs").symlink_to(ROOT / ".venv-docs")
    return copy


@pytest.fixture(scope="module")
def site(checkout: Path) -> Path:
    page = checkout / "docs/tutorial.md"
    links = "[a file](../examples/azureml/Dockerfile), [a directory](../examples/azureml), [a page](../tests/x.md)"
    page.write_text(f"{page.read_text('utf-8')}\n{links}\n", "utf-8")
    (checkout / "tests/x.md").write_text("# x\n", "utf-8")
    ended = build(checkout)
    assert (ended.returncode, ended.stderr) == (0, "")
    # Later builds of this checkout, which fail, remove theirs.
    return (checkout / "build/site").rename(checkout / "site")


def test_every_page_is_in_it(site: Path) -> None:
    names = {page.relative_to(site).as_posix() for page in site.rglob("*.html")} - {"404.html"}

    assert len(names) == len(PAGES)
    assert {"index.html", "tutorial.html", "commands.html", "contributing.html"} <= names
    assert {"examples/azureml.html", "examples/sklearn-score.html"} <= names


def test_links_to_other_files_of_the_repository(site: Path) -> None:
    text = (site / "tutorial.html").read_text("utf-8")

    assert '<a href="examples/azureml/Dockerfile">a file</a>, a directory, a page' in text
    copied = (site / "examples/azureml/Dockerfile").read_bytes()
    assert copied == (ROOT / "examples/azureml/Dockerfile").read_bytes()


@pytest.mark.parametrize(
    ("added", "messages"),
    [
        pytest.param(
            {
                "docs/tutorial.md": "[x](absent-1.md)\n[x](closure.md#absent-2)",
                "CONTRIBUTING.md": "[x](docs/absent-3.md)\n[x](docs/closure.md#absent-4)",
                "docs/absent-5.md": "# A page that the navigation lacks",
            },
            [f"absent-{number}" for number in range(1, 6)],
            id="links",
        ),
        pytest.param(
            {
                "docs/tutorial.md": "![x](https://example.com/x.png)\n\n"
                '<script src="//example.com/x.js"></script>\n'
            },
            ["<img src=https://example.com/x.png>", "<script src=//example.com/x.js>"],
            id="requests",
        ),
    ],
)
def test_a_wrong_page_is_refused(checkout: Path, added: dict[str, str], messages: list[str]) -> None:
    before = {path: path.read_text("utf-8") for path in map(checkout.joinpath, added) if path.exists()}
    for name, text in added.items():
        path = checkout / name
        path.write_text(f"{before.get(path, '')}\n{text}\n", "utf-8")
    try:
        ended = build(checkout)
    finally:
        for name in added:
            (checkout / name).unlink()
        for path, text in before.items():
            path.write_text(text, "utf-8")

    assert ended.returncode != 0
    for message in messages:
        assert message in ended.stderr


@pytest.fixture
def url(site: Path) -> Iterator[str]:
    """Serve the site on the loopback interface."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_browser_requests_nothing_from_other_hosts(browser: Any, url: str) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"{url}index.html")
        page.locator(".md-search__input").click()
        page.get_by_text("Type to start searching").wait_for()  # the index is loaded
        page.keyboard.type("join")
        page.locator(".md-search-result__link").first.wait_for()
        page.goto(f"{url}tutorial.html")
        page.locator("h1").first.wait_for()
        assert "from requirements.txt to an answer" in page.locator("h1").first.inner_text()

    assert len(requests) > 5
    assert [request for request in requests if not request.startswith((url, "data:", "blob:"))] == []


def test_a_copied_example_contains_its_commands_alone(browser: Any, url: str) -> None:
    with browser.new_context(permissions=["clipboard-read", "clipboard-write"]) as context:
        page = context.new_page()
        page.goto(f"{url}examples/azureml.html")
        example = page.locator(".highlight").first
        example.hover()
        example.locator("button").click()
        page.locator(".md-dialog--active").wait_for()
        copied = page.evaluate("navigator.clipboard.readText()")

    lines = [line for line in copied.splitlines() if line]
    assert lines[:3] == [
        "cd examples/azureml",
        "export BUNDLER_WORKSPACE=$PWD/workspace",
        "python from_pip.py",
    ]
    assert lines[-1] == "python curated.py"
    assert not any(line.startswith(("$", "nlp", "AzureML")) for line in lines)
