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
import project
from execnb.nbio import nb2str, read_nb
from nbdev.process import extract_directives

LINK = re.compile(r"(?<=]\()(?![a-z]+:|[#/])([^)\s#]+)")  # the path of a relative Markdown link or picture
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
    (project.ROOT / "README.md").write_text(body.strip() + "\n", encoding="utf-8")
    return 0


# docs/

def page_name(path: str) -> str:
    "A notebook's path as nbdev names its page: without the number in front."
    folder, name = posixpath.split(path)
    return posixpath.join(folder, NUMBER.sub("", name.lower())) if name.endswith(".ipynb") else path


def site_link(link: str, folder: str) -> str:
    "A link of a notebook in `folder`, as the site writes it: to a page, or to the repository."
    target = posixpath.normpath(posixpath.join(folder, link))
    if not target.startswith("../"):
        return page_name(link)
    settings = project.settings()
    return f"{settings.git_url}/blob/{settings.branch}/{target.removeprefix('../')}"


def rewrite_page(path: Path, stage: Path) -> None:
    "Give a staged notebook its page's name, and links that hold within the site."
    settings, folder = project.settings(), path.parent.relative_to(stage).as_posix()
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if not "".join(cell["source"]).startswith(execution.INSTALL)]
    for cell in cells:
        if cell["cell_type"] == "raw":  # the front matter nbdev made of the title
            cell["source"] = re.sub(r"^output-file: .*\n", "", "".join(cell["source"]), flags=re.MULTILINE)
        elif cell["cell_type"] == "markdown":
            cell["source"] = relink("".join(cell["source"]), lambda link: site_link(link, folder))
    text = json.dumps(notebook | {"cells": cells}, ensure_ascii=False)
    own_site = f"]({settings.doc_host}{settings.doc_baseurl}/"  # where nbdev's links to symbols point
    path.unlink()
    path.with_name(page_name(path.name)).write_text(text.replace(own_site, "](/"), encoding="utf-8")


def stage_site() -> Path:
    "Let nbdev add the API documentation to copies of the notebooks, and name the copies as their pages."
    from nbdev.quarto import nbdev_sidebar, refresh_quarto_yml
    from nbdev.serve import proc_nbs

    refresh_quarto_yml()
    nbdev_sidebar.__wrapped__()
    stage = proc_nbs(force=True, n_workers=execution.WORKERS)
    for path in sorted(stage.rglob("*.ipynb")):
        rewrite_page(path, stage)
    sidebar = stage / "sidebar.yml"
    entry = re.compile(r"(?<=[ /])\d+[a-zA-Z0-9]*_(?=\w+\.ipynb$)", re.MULTILINE)
    sidebar.write_text(entry.sub("", sidebar.read_text(encoding="utf-8")), encoding="utf-8")
    return stage


def docs() -> int:
    "Build the site in docs/; a warning of the builder, such as a broken link, is an error."
    from smalldocs.site import build

    site = build(stage_site(), quiet=True)
    for warning in site.warnings:
        print(f"docs: {warning}", file=sys.stderr)
    sitemap = site.out / "sitemap.xml"  # a checkout's file times are not the dates the pages changed
    sitemap.write_text(re.sub(r"\s*<lastmod>.*</lastmod>", "", sitemap.read_text(encoding="utf-8")), encoding="utf-8")
    (site.out / ".nojekyll").touch()
    target = project.ROOT / "docs"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(site.out, target)
    return int(bool(site.warnings))
