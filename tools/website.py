"""Whether the built site holds together: links, anchors, pictures, the library's names, the order of the pages.

smalldocs reports broken links of the sources; link checkers read servers, and neither knows anchors, empty pictures or the library's names.
"""
from __future__ import annotations

import base64
import posixpath
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import project
import reference
import street
from bs4 import BeautifulSoup

LOADED = {"img": "src", "script": "src", "link": "href", "source": "src"}  # what a browser fetches with the page
REMOTE = re.compile(r"(?:@import|url\()\s*[\"']?(?:https?:)?//")


@cache
def page(path: Path) -> BeautifulSoup:
    "A page, parsed."
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@cache
def anchors(path: Path) -> frozenset[str]:
    "The places of a page that a link can name."
    return frozenset(tag["id"] for tag in page(path).find_all(id=True))


def target(site: Path, origin: Path, address: str) -> Path | None:
    "The file of the site that an address means, or None if it leaves the site."
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return None
    joined = posixpath.join(origin.parent.relative_to(site).as_posix(), unquote(parts.path)) if parts.path else origin.relative_to(site).as_posix()
    found = site / posixpath.normpath(joined)
    return found / "index.html" if found.is_dir() else found


def bad_link(site: Path, origin: Path, address: str) -> str:
    "What is wrong with a link, or nothing."
    found = target(site, origin, address)
    if found is None:
        return ""
    if not found.is_file():
        return f"no such file: {address}"
    anchor = unquote(urlsplit(address).fragment)
    if anchor and found.suffix == ".html" and anchor not in anchors(found):
        return f"no such anchor: {address}"
    return ""


def bad_resource(site: Path, origin: Path, address: str) -> str:
    "What is wrong with something the page loads: not there, or not on the site."
    if address.startswith("data:"):
        kind, _, data = address.partition(",")
        empty = kind.endswith(";base64") and not base64.b64decode(data, validate=False)
        return f"empty picture: {address[:40]}" if empty else ""
    found = target(site, origin, address)
    if found is None:
        return f"needs the network: {address}"
    return "" if found.is_file() and found.stat().st_size else f"no such file: {address}"


def raw_markup(path: Path) -> list[str]:
    "Text that still shows how a link was written, such as a link within a link."
    texts = [tag for tag in page(path).find_all(["p", "li", "td"]) if "](" in tag.get_text()]
    plain = ["".join(part for part in tag.strings if part.find_parent("code") is None) for tag in texts]
    return [f"raw Markdown: …{text[max(0, text.find('](') - 40):][:80]}" for text in plain if "](" in text]


def page_problems(site: Path, path: Path) -> list[str]:
    "What is wrong on one page."
    found = [bad_link(site, path, tag["href"]) for tag in page(path).find_all("a", href=True)]
    for tag, attribute in LOADED.items():
        for element in page(path).find_all(tag):
            if element.get(attribute) and element.get("rel") != ["canonical"]:
                found.append(bad_resource(site, path, element[attribute]))
    found += raw_markup(path)
    found += [f"a picture without words: {str(image)[:60]}" for image in page(path).find_all("img") if not image.get("alt")]
    return [f"{path.relative_to(site)}: {problem}" for problem in dict.fromkeys(found) if problem]


def missing_names(site: Path) -> list[str]:
    "The library's names without an entry: a heading on the notebook's page, a line on the reference page."
    listed, lost = page(site / "reference.html").get_text(), []
    for module, entries in reference.modules().items():
        for entry in entries:
            explained = (site / entry.page).with_suffix(".html")
            headed = entry.kind == "constant" or (explained.is_file() and entry.name.lower() in anchors(explained))
            if not headed or entry.name not in listed:
                lost.append(f"no entry for {module}.{entry.name}")
    return lost


def missing_notebooks() -> list[str]:
    "Notebooks that the street leaves out, and places on the street without a notebook."
    there = {project.name_of(path) for path in project.notebooks()} - {street.FRONT}
    listed = street.order()
    return [f"nbs/sidebar.yml and nbs/ disagree about {name}" for name in sorted(there ^ set(listed))]


def remote_styles(site: Path) -> list[str]:
    "Style sheets that ask other servers for something."
    return [f"{path.relative_to(site)} needs the network" for path in sorted(site.rglob("*.css"))
            if REMOTE.search(path.read_text(encoding="utf-8"))]


def problems(site: Path) -> list[str]:
    "All that is wrong with the site."
    pages = sorted(site.rglob("*.html"))
    return [*missing_notebooks(), *(problem for path in pages for problem in page_problems(site, path)), *missing_names(site), *remote_styles(site)]
