"""The page in a real Chromium: it shows the manifest, can be used without a mouse, and requests nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.bundles import LOCK
from support.paths import ROOT
from support.scoring import CONTENTS, scoring, scoring_manifest

from bundler.bundle.manifest import make_manifest
from bundler.bundle.reader import read_manifest
from bundler.data.finding_rules import rules_by_code
from bundler.report.page import render_page

pytestmark = pytest.mark.slow

WIDTHS = {"phone": (390, 844), "tablet": (820, 1180), "desktop": (1360, 900)}
# Without spaces, so that it may be the URL of a requirement.
HOSTILE = "</script><img/src=x/onerror=document.title='owned'><svg/onload=document.title='owned'>"
VECTORS = sorted((ROOT / "tests/vectors/good").glob("*.tar.[gz]*"))
Open = Callable[..., Any]


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Open the page of a bundle; at the end, no message, error or request but for the page has occurred."""
    contexts: list[Any] = []
    events: list[str] = []

    def opened(content: str, size: str = "desktop", **options: Any) -> Any:
        path = tmp_path / f"{len(contexts)}.html"
        path.write_text(content, "utf-8")
        width, height = WIDTHS[size]
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: events.append(message.text))
        page.on("pageerror", lambda error: events.append(str(error)))
        page.on("request", lambda request: events.append(request.url))
        page.goto(path.as_uri())
        assert events.pop(0) == path.as_uri()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert events == []


def texts(page: Any, selector: str) -> list[str]:
    return [text.strip() for text in page.locator(selector).all_text_contents()]


def rows(page: Any, label: str) -> list[list[str]]:
    """Return the texts of a table's cells."""
    return [
        row.locator("td").all_text_contents()
        for row in page.locator(f"table[aria-label='{label}'] tbody tr").all()
    ]


def test_the_page_shows_the_manifest(open_page: Open) -> None:
    values = scoring()
    page = open_page(render_page(make_manifest(values)))

    assert page.title() == "scoring 1.0"
    assert texts(page, "#verdict") == ["works: all needed modules import, in 2 modes of use"]
    assert texts(page, ".tiles dd")[:2] == ["18.1 kB9 files", "3all from wheels"]
    assert texts(page, ".tiles dd")[3:] == [
        *("2.17 or newer3 shared objects", "2 of 3mount, venv", "1 warningno errors, 2 notes"),
    ]
    sizes = {
        cell.get_attribute("data-name"): int(cell.get_attribute("data-size"))
        for cell in page.locator("#treemap .cell:not(.inner)").all()
    }
    contents = {**CONTENTS, "pylock.toml": {"pylock.toml": LOCK}}
    assert sizes == {name: sum(map(len, files.values())) for name, files in contents.items()}
    assert {node.get_attribute("data-name") for node in page.locator("#graph .node").all()} == {
        *("", "app", "fast", "util", "numpy"),
    }
    assert page.locator("#graph .edge").count() == 5
    assert rows(page, "Licenses") == [
        ["MIT", "2", "4.5 kB", "app, util"],
        ["not declared", "1", "13.5 kB", "fast"],
    ]
    assert rows(page, "Native libraries") == [["fast", "3", "2.17", "libc.so.6, libgomp.so.1"]]
    assert "needs glibc 2.17 or newer, for 1 shared object, for example blas." in texts(page, "#floor")[0]
    assert rows(page, "Other results") == [
        ["util", "util", "optional", "optional", "No module named 'extra'"]
    ]
    (card,) = texts(page, ".finding")
    found = values["verification"]["findings"][0]
    assert found["message"].replace("`", "") in card
    assert rules_by_code()["E404"].fix.replace("`", "") in card
    assert [len(note.locator("li").all()) for note in page.locator("details.notes").all()] == [2]
    assert page.locator("#difference").count() == 0


def test_a_click_enters_a_distribution_and_the_path_leads_back(open_page: Open) -> None:
    page = open_page(render_page(scoring_manifest()))

    page.locator("#treemap [data-name=fast] > text").locator("..").locator("rect").first.click()
    assert texts(page, ".crumbs strong") == ["fast"]
    cells = page.locator("#treemap .cell:not(.inner)")
    assert {cell.get_attribute("data-name") for cell in cells.all()} == {"fast", "fast.libs"}
    assert texts(page, "#size-detail")[0].startswith("fast")
    page.locator(".crumbs button").click()
    assert texts(page, ".crumbs strong") == ["scoring"]


def test_everything_works_from_the_keyboard(open_page: Open) -> None:
    page = open_page(render_page(scoring_manifest()))

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("#treemap [tabindex='0']").focus()
    assert texts(page, "#size-detail") == ["fast: 13.5 kB, 74.8 % of the bundle"]
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.name") == "app"
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert texts(page, ".crumbs strong") == ["fast"]
    assert page.evaluate("document.activeElement.dataset.name") == "fast"
    page.keyboard.press("Escape")
    assert texts(page, ".crumbs strong") == ["scoring"]
    page.locator("#graph [tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.dataset.name") == "app"
    page.keyboard.press("Enter")
    assert texts(page, "#why h3") == ["app 1.0"]
    page.keyboard.press("Escape")
    assert texts(page, "#why h3") == ["Why is it here?"]
    page.keyboard.press("/")
    page.keyboard.type("util")
    assert texts(page, "#because li") == ["your requirements ask for app==1.0", "app requires util"]


def test_why_is_it_here(open_page: Open) -> None:
    page = open_page(render_page(scoring_manifest()))

    page.locator("#graph [data-name=numpy]").click()
    assert texts(page, "#why h3") == ["numpy 1.21.6"]
    assert texts(page, "#why ul li") == ["fast (numpy)"]
    page.locator("#why [data-distribution=fast]").click()
    assert texts(page, "#because li") == ["your requirements ask for app==1.0", "app requires fast>=1"]
    assert [edge.get_attribute("data-to") for edge in page.locator("#graph .edge.chain").all()] == [
        "app",
        "fast",
    ]
    page.locator("#licenses [data-distribution=util]").click()
    assert texts(page, "#why h3") == ["util 1.0"]
    page.locator("text=Show all").click()
    assert page.locator("#graph.chosen").count() == 0


def test_a_click_on_a_title_sorts_the_table(open_page: Open) -> None:
    page = open_page(render_page(scoring_manifest()))
    page.locator("text=Sizes as a table").click()

    def names() -> list[str]:
        return [row[0] for row in rows(page, "Sizes")]

    assert names() == ["fast", "app", "util"]
    page.locator("table[aria-label=Sizes] th button", has_text="distribution").click()
    assert names() == ["app", "fast", "util"]
    page.locator("table[aria-label=Sizes] th button", has_text="distribution").click()
    assert names() == ["util", "fast", "app"]
    page.locator("table[aria-label=Sizes] th button", has_text="files").click()
    assert names()[0] == "fast"


def test_texts_of_the_manifest_are_shown_and_never_interpreted(open_page: Open) -> None:
    values = scoring(requirements=[f"app @ https://host/{HOSTILE}"])
    values["distributions"][0] |= {"licence": HOSTILE, "wheel": HOSTILE}
    values["base"] = {"provided": {HOSTILE: "1.0"}, "conda": [HOSTILE]}
    for finding in values["verification"]["findings"]:
        finding |= {"message": HOSTILE, "where": HOSTILE, "distribution": HOSTILE}
    for outcome in values["verification"]["ways"]["mount"]:
        outcome |= {"module": HOSTILE, "detail": HOSTILE, "status": HOSTILE}
    for library in values["verification"]["shared_objects"]:
        library |= {"needed": [HOSTILE], "symbol": HOSTILE}
    values["host"] = {"sandbox": {"missing": [HOSTILE]}}
    manifest = make_manifest(values)
    page = open_page(render_page(manifest, scoring_manifest()))

    assert page.title() == "scoring 1.0"
    assert page.locator("img").count() == 0
    for section in ("#summary", "#size", "#proof", "#native", "#licenses", "#difference"):
        assert HOSTILE in page.locator(section).text_content(), section
    page.locator("#graph [data-name=fast]").click()
    assert HOSTILE in page.locator("#because").text_content()
    page.locator("#why [data-distribution=app]").click()
    assert HOSTILE in page.locator("#why dl").text_content()
    assert page.title() == "scoring 1.0"


@pytest.mark.parametrize("size", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_each_width_and_follows_the_color_scheme(
    size: str, scheme: str, open_page: Open
) -> None:
    page = open_page(
        render_page(scoring_manifest(), make_manifest(scoring(version="2"))), size, color_scheme=scheme
    )

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    root = page.locator("#graph .node.user")
    box, graph = root.bounding_box(), page.locator("#graph").bounding_box()
    assert graph["x"] <= box["x"]
    assert graph["y"] <= box["y"] < graph["y"] + graph["height"]
    background = "getComputedStyle(document.documentElement).backgroundColor"
    colors = {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 24, 28)"}
    assert page.evaluate(background) == colors[scheme]
    page.locator("#theme").click()
    assert page.evaluate(background) == colors["light"]
    page.locator("#theme").click()
    assert page.evaluate(background) == colors["dark"]
    page.set_viewport_size({"width": 700, "height": 800})
    page.locator("#treemap svg[viewBox^='0 0 660 ']").wait_for()  # 700 without the margins


@pytest.mark.parametrize("size", WIDTHS)
def test_the_selected_node_of_a_large_graph_is_in_view(size: str, open_page: Open) -> None:
    values = scoring()
    app, *others = values["distributions"]
    many = [{**others[-1], "name": f"x{number:02}"} for number in range(60)]
    values["distributions"] = [{**app, "requires_dist": [item["name"] for item in many]}, *others, *many]
    page = open_page(render_page(make_manifest(values)), size)

    for name in ("", "x00", "x59", "app"):
        if name:
            page.locator("#find").fill(name)
        graph = page.locator("#graph").bounding_box()
        box = page.locator(f"#graph .node[data-name='{name}']").bounding_box()
        assert graph["x"] <= box["x"] <= graph["x"] + graph["width"], name
        assert graph["y"] <= box["y"] <= graph["y"] + graph["height"], name
    boxes = [node.bounding_box()["y"] for node in page.locator("#graph .node[data-name^=x]").all()]
    assert len(set(boxes)) == 60


@pytest.mark.parametrize("bundle", VECTORS, ids=lambda path: path.name)
def test_the_page_of_each_example_of_the_format(bundle: Path, open_page: Open) -> None:
    manifest = read_manifest(bundle)
    page = open_page(render_page(manifest))

    assert texts(page, "h1") == [f"{manifest.name} {manifest.version}"]
    assert len(rows(page, "Sizes")) == len(manifest.document.distributions)


def test_print_is_light_and_shows_what_is_folded(open_page: Open) -> None:
    page = open_page(render_page(scoring_manifest()), color_scheme="dark")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")

    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".top").is_visible()
    assert page.locator("details.notes li").first.is_visible()
    assert page.locator("table[aria-label=Sizes]").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not page.locator("details.notes li").first.is_visible()
    assert page.pdf().startswith(b"%PDF-")


def test_the_policy_refuses_even_elements_that_are_written_into_the_file(
    browser: Any, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    added = "<img src='http://127.0.0.1:9/x.png'><script>x=1</script></main>"
    path.write_text(render_page(scoring_manifest()).replace("</main>", added), "utf-8")
    context = browser.new_context()
    blocked: list[str] = []
    page = context.new_page()
    page.on("console", lambda message: blocked.append(message.text))
    page.goto(path.as_uri())

    assert sum("Content Security Policy" in text for text in blocked) == len(blocked) == 2
    assert page.evaluate("typeof x") == "undefined"
    assert page.locator("#verdict").is_visible()
    context.close()


def test_without_javascript_the_summary_is_shown(open_page: Open) -> None:
    page = open_page(render_page(scoring_manifest()), java_script_enabled=False)

    assert "verdict   works: all needed modules import" in page.locator("noscript pre").text_content()


def test_the_difference_to_another_bundle(open_page: Open) -> None:
    values = scoring(version="2.0")
    values["distributions"][0] |= {"version": "1.1", "licence": "GPL-3.0-only"}
    values["distributions"][1] |= {"size": 14_000}
    page = open_page(render_page(make_manifest(values), scoring_manifest()))

    assert rows(page, "Changed distributions") == [
        ["app", "changed", "1.0 → 1.1", "0 bytes", "MIT → GPL-3.0-only"]
    ]
    assert rows(page, "Changed licenses") == [["GPL-3.0-only", "", "app"], ["MIT", "app, util", "util"]]
    assert texts(page, "table[aria-label=Totals] tr:first-child td")[:2] == ["scoring 1.0", "scoring 2.0"]
    same = open_page(render_page(scoring_manifest(), scoring_manifest()))
    assert "the same identity" in same.locator("#difference").text_content()


def test_a_bundle_that_was_refused_or_contains_nothing(open_page: Open) -> None:
    values = scoring()
    errors = [{**values["verification"]["findings"][0], "severity": "error", "code": "M101"}]
    failed = open_page(
        render_page(make_manifest({**values, "verification": {**values["verification"], "findings": errors}}))
    )
    assert texts(failed, ".verdict.failed") == ["does not work on its target: 1 error"]
    empty = {**values["verification"], "findings": [], "shared_objects": [], "ways": {}, "glibc": ""}
    lock = [file for file in values["files"] if file["owner"] == "bundler"]
    page = open_page(
        render_page(
            scoring_manifest(
                distributions=[], files=lock, requirements=[], base={"provided": {}}, verification=empty
            )
        )
    )
    assert texts(page, "#verdict") == ["no import was checked"]
    assert "The bundle contains no shared objects." in texts(page, "#floor")
