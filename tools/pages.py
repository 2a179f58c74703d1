"""What readers see outside the notebooks: README.md from the index, and the site in docs/."""
from __future__ import annotations

import json
import posixpath
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import execution
import katex
import project
import reference
import website
from execnb.nbio import nb2str, read_nb
from nbdev.process import extract_directives

LINK = re.compile(r"(?<=]\()(?![a-z]+:|[#/])([^)\s]+)")  # the path and anchor of a relative Markdown link or picture
ENTRY = re.compile(r"(?<=[ /])\d+[a-zA-Z0-9]*_(?=\w+\.ipynb$)", re.MULTILINE)  # the number of a notebook in the sidebar
PRIVATE = re.compile(r"\[(`_\w+`)]\(/[^)]*\)")  # a link of nbdev to a name that has no entry
METHOD = re.compile(r"(]\(/[^)#]*#\w+)\.\w+\)")  # a link of nbdev to a method: its class has the entry
CAPTION = re.compile(r"\*(?!\*)((?:[^*]|\*\*)+?)\*(?!\*)")  # a text in italics
MARKS = re.compile(r"\[([^\]]*)]\([^)]*\)|[`$]")  # links, code, formulas
UNSEEN = re.compile(r"!\[png]\(([^)]*)\)\s+(\*[^\n]*)")  # a picture without words, and the caption below it
REMOTE = re.compile(r"@import url\(https?:[^)]*\);?|@import \"https?:[^\"]*\";?")  # a font from elsewhere; the next in the list serves
NUMBER = re.compile(r"^\d+[a-zA-Z0-9]*_")  # what nbdev drops from a notebook's name to name its page
PLAIN_FIRST = ["text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain"]  # GitHub shows no styles


def relink(text: str, change: Callable[[str], str]) -> str:
    "Rewrite the relative links of a Markdown text."
    return LINK.sub(lambda match: change(match.group(1)), text)


# README.md

def from_root(link: str) -> str:
    "A link of the index notebook, as README.md writes it."
    return posixpath.normpath(posixpath.join("nbs", link))


def readme_notebook():
    "The index without Colab cells, hidden cells and directives, its links starting at the repository's root."
    import nbformat

    notebook = read_nb(project.ROOT / "nbs" / project.settings().readme_nb)
    kept = []
    for cell in notebook.cells:
        if execution.is_stamp(cell) or "hide" in extract_directives(cell):
            continue
        if cell.cell_type == "markdown":
            cell.source = relink(cell.source, from_root)
        else:
            cell.source = re.sub(r"^\s*#\|.*\n?", "", cell.source, flags=re.MULTILINE)
        kept.append(cell)
    notebook.cells = kept
    notebook.metadata["language_info"] = {"name": "python"}  # the language of the code fences
    return nbformat.reads(nb2str(notebook), as_version=4)


def readme() -> int:
    "Write README.md and its pictures from the index notebook."
    from nbconvert.exporters import MarkdownExporter
    from traitlets.config import Config

    exporter = MarkdownExporter(config=Config({"NbConvertBase": {"display_data_priority": PLAIN_FIRST}}))
    names = {"unique_key": "README", "output_files_dir": "README_files"}
    body, resources = exporter.from_notebook_node(readme_notebook(), names)
    shutil.rmtree(project.ROOT / "README_files", ignore_errors=True)
    for name, data in resources["outputs"].items():
        (project.ROOT / name).parent.mkdir(exist_ok=True)
        (project.ROOT / name).write_bytes(data)
    body = UNSEEN.sub(lambda picture: f"![{caption(picture[2])}]({picture[1]}){picture[0].partition(')')[2]}", body)
    (project.ROOT / "README.md").write_text(body.strip() + "\n", encoding="utf-8")
    return 0


# docs/

def page_name(path: str) -> str:
    "A notebook's path as nbdev names its page: without the number in front."
    folder, name = posixpath.split(path)
    return posixpath.join(folder, NUMBER.sub("", name.lower())) if name.endswith(".ipynb") else path


def site_link(link: str, folder: str) -> str:
    "A link of a page in `folder`, as the site writes it: to a page, or to the repository."
    path, hash_sign, anchor = link.partition("#")
    target = posixpath.normpath(posixpath.join(folder, path))
    if not target.startswith("../"):
        return page_name(path) + hash_sign + anchor
    settings = project.settings()
    return f"{settings.git_url}/blob/{settings.branch}/{target.removeprefix('../')}{hash_sign}{anchor}"


def buttons(name: str) -> str:
    "Where a notebook can be run and read, as two links below its title."
    settings = project.settings()
    source = f"{settings.git_url}/blob/{settings.branch}/nbs/{name}"
    style = "{.btn .btn-outline-primary .btn-sm}"
    return f"[Open in Colab]({execution.colab_address(name)}){style} [The notebook on GitHub]({source}){style}"


def rewrite_cell(cell: dict, name: str) -> None:
    "Make a staged cell fit its page: links that hold within the site, links for the badge, no file name."
    text, folder = "".join(cell["source"]), posixpath.dirname(name)
    if cell["cell_type"] == "raw":  # the front matter nbdev made of the title
        text = re.sub(r"^output-file: .*\n", "", text, flags=re.MULTILINE)
    elif execution.BADGE.fullmatch(text):
        text = buttons(name)
    elif cell["cell_type"] == "markdown":
        text = relink(text, lambda link: site_link(link, folder))
    cell["source"] = text


def caption(text: str) -> str:
    "The caption that a text begins with, without its marks; empty if it begins otherwise."
    found = CAPTION.match(text)
    return MARKS.sub(r"\1", found[1]).replace("\n", " ") if found else ""


def describe_pictures(cells: list[dict]) -> None:
    "Give each picture its caption as the text for those who do not see it."
    for cell, below in zip(cells, cells[1:]):
        text = caption("".join(below["source"])) if below["cell_type"] == "markdown" else ""
        if cell["cell_type"] == "code" and text:
            cell["source"] = f"#| fig-alt: {json.dumps(text, ensure_ascii=False)}\n" + "".join(cell["source"])


def rewrite_notebook(path: Path, stage: Path) -> None:
    "Give a staged notebook its page's name, and links that hold within the site."
    settings, name = project.settings(), path.relative_to(stage).as_posix()
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if not "".join(cell["source"]).startswith(execution.INSTALL)]
    describe_pictures(cells)
    for cell in cells:
        rewrite_cell(cell, name)
    text = json.dumps(notebook | {"cells": cells}, ensure_ascii=False)
    own_site = f"]({settings.doc_host}{settings.doc_baseurl}/"  # where nbdev's links to symbols point
    text = METHOD.sub(r"\1)", PRIVATE.sub(r"\1", text.replace(own_site, "](/")))
    path.unlink()
    path.with_name(page_name(path.name)).write_text(text, encoding="utf-8")


def stage_site() -> Path:
    "Let nbdev add the API documentation to copies of the notebooks, and name the copies as their pages."
    from nbdev.quarto import refresh_quarto_yml
    from nbdev.serve import proc_nbs

    refresh_quarto_yml()
    stage = proc_nbs(force=True, n_workers=execution.WORKERS)
    for path in sorted(stage.rglob("*.ipynb")):
        rewrite_notebook(path, stage)
    for path in sorted(stage.rglob("*.md")):
        folder = path.parent.relative_to(stage).as_posix()
        path.write_text(relink(path.read_text(encoding="utf-8"), lambda link: site_link(link, folder)), encoding="utf-8")
    (stage / "reference.md").write_text(reference.page(), encoding="utf-8")
    sidebar = stage / "sidebar.yml"
    listed = ENTRY.sub("", sidebar.read_text(encoding="utf-8"))
    place = "      - glossary.md\n"
    if place not in listed:
        raise ValueError("nbs/sidebar.yml: the reference page has its place before glossary.md, which is not listed")
    sidebar.write_text(listed.replace(place, "      - reference.md\n" + place), encoding="utf-8")
    return stage


def finish_page(path: Path, site: Path) -> None:
    "Point a page to the mathematics and the search that lie beside it."
    from smalldocs.layout import KATEX

    up = "../" * (len(path.relative_to(site).parts) - 1) + "site_libs"
    text = path.read_text(encoding="utf-8").replace(KATEX, f"{up}/katex")
    script = f'<script src="{up}/smalldocs.js" defer></script>'
    if script not in text:
        raise ValueError(f"{path.relative_to(site)}: the site's script is not where it was: has smalldocs changed?")
    text = text.replace(script, f'<script src="{up}/offline.js"></script>{script}')
    path.write_text(text, encoding="utf-8")


def finish_site(site: Path) -> None:
    "Add what makes the site work without a network, and from files; drop what changes from build to build."
    katex.copy_to(site / "site_libs" / "katex")
    shutil.copy(Path(__file__).with_name("offline.js"), site / "site_libs" / "offline.js")
    for theme in site.glob("site_libs/themes/*.css"):
        theme.write_text(REMOTE.sub("", theme.read_text(encoding="utf-8")), encoding="utf-8")
    found = json.loads((site / "search.json").read_text(encoding="utf-8")) + reference.searched()
    index = json.dumps(found, ensure_ascii=False)
    (site / "search.json").write_text(index, encoding="utf-8")
    script = f"window.searchIndex = {index};\n"
    (site / "site_libs" / "search.js").write_text(script, encoding="utf-8")
    for path in sorted(site.rglob("*.html")):
        finish_page(path, site)
    sitemap = site / "sitemap.xml"  # a checkout's file times are not the dates the pages changed
    sitemap.write_text(re.sub(r"\s*<lastmod>.*</lastmod>", "", sitemap.read_text(encoding="utf-8")), encoding="utf-8")
    (site / ".nojekyll").touch()


def docs() -> int:
    "Build the site in docs/; a warning of the builder and whatever `website.problems` finds are errors."
    if sys.version_info[:2] != project.DOCS_PYTHON:
        print(f"docs: the site is built with Python {project.docs_python()}: another version prints annotations in other words", file=sys.stderr)
        return 1
    from smalldocs.site import build

    built = build(stage_site(), quiet=True)
    finish_site(built.out)
    problems = [*built.warnings, *website.problems(built.out)]
    for problem in problems:
        print(f"docs: {problem}", file=sys.stderr)
    target = project.ROOT / "docs"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(built.out, target)
    return int(bool(problems))
