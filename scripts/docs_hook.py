"""The hook of mkdocs: add the pages outside of docs/, and check that the site requests nothing.

On a plain view of the files, links lead from docs/ to the root and to examples/. The site has one
directory, so that the links of its pages are rewritten. A link to a file that is not a page leads to a copy
of it; that to a directory, or to a page that the site lacks, becomes its text.
"""

from __future__ import annotations

import posixpath
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#:\s]+)(#[^)]*)?\)")
_FENCE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
# Elements whose URL is requested when the page is shown; `a` is not.
_REQUESTED = {"audio", "embed", "iframe", "img", "link", "object", "script", "source", "video"}


def outside_pages() -> dict[str, str]:
    """Return the path in the site for each page of the repository that is not in docs/."""
    paths = {"README.md": "index.md"}
    paths |= {path.name: f"{path.stem.lower()}.md" for path in ROOT.glob("*.md") if path.name != "README.md"}
    for path in ROOT.glob("examples/**/README.md"):
        folder = path.parent.relative_to(ROOT).as_posix()
        paths[f"{folder}/README.md"] = f"{folder}.md"
    return paths | {f"bench/{path.name}": f"bench/{path.stem.lower()}.md" for path in ROOT.glob("bench/*.md")}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside of docs/."""
    for source, target in outside_pages().items():
        files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page from paths in the repository to paths in the site."""
    outside = outside_pages()
    sources = {target: source for source, target in outside.items()}
    here = page.file.src_uri
    source = sources.get(here, f"docs/{here}")

    def rewrite(match: re.Match[str]) -> str:
        image, text, link, anchor = match.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
        target = outside.get(path, path.removeprefix("docs/"))
        elsewhere = ROOT / path
        if target == path and elsewhere.is_file() and elsewhere.suffix != ".md":
            if files.get_file_from_path(path) is None:
                files.append(File.generated(config, path, abs_src_path=str(elsewhere)))
        elif target == path and elsewhere.exists():
            return text
        relative = posixpath.relpath(target, posixpath.dirname(here) or ".")
        return f"{image}[{text}]({relative}{anchor or ''})"

    fences = _FENCE.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(rewrite, part) for part in fences)


class _Requests(HTMLParser):
    """Collects the URLs of other hosts that a browser requests for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in _REQUESTED or values.get("rel") in {"canonical", "next", "prev"}:
            return
        for name in ("src", "href", "data", "srcset"):
            if re.match(r"(?:https?:)?//", values.get(name) or ""):
                self.urls.append(f"<{tag} {name}={values[name]}>")


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Fail if a page requests anything of another host.

    :raises PluginError: with the elements.
    """
    requests = _Requests()
    requests.feed(output)
    if requests.urls:
        raise PluginError(f"{page.file.src_uri} requests other hosts: {', '.join(requests.urls)}")
    return output
