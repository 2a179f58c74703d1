"""What readers see outside the notebooks: README.md from the index, and the site in docs/.

nbdev renders both with Quarto, which no registry has; smalldocs builds what nbdev stages, and here lies what neither of them does.
"""
from __future__ import annotations

import json
import posixpath
import re
import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import execution
import katex
import project
import reference
import street
import website
import yaml
from execnb.nbio import nb2str, read_nb
from nbdev.process import extract_directives

LINK = re.compile(r"(?<=]\()(?![a-z]+:|[#/])([^)\s]+)")  # the path and anchor of a relative Markdown link or picture
AUTOMATIC = re.compile(r"\[(`[^`\]]+`)]\(SITE/([^)#]*)\.html#(\w+)(?:\.\w+)*\)")  # a link that nbdev made of a name
CAPTION = re.compile(r"\*(?!\*)((?:[^*]|\*\*)+?)\*(?!\*)")  # a text in italics
MARKS = re.compile(r"\[([^\]]*)]\([^)]*\)|[`$]")  # links, code, formulas
UNSEEN = re.compile(r"!\[png]\(([^)]*)\)\s+(\*[^\n]*)")  # a picture without words, and the caption below it
REMOTE = re.compile(r"@import url\(https?:[^)]*\);?|@import \"https?:[^\"]*\";?")  # a font from elsewhere; the next in the list serves
PLAIN_FIRST = ["text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain"]  # GitHub shows no styles


def relink(text: str, change: Callable[[str], str]) -> str:
    "Rewrite the relative links of a Markdown text."
    return LINK.sub(lambda match: change(match.group(1)), text)


# README.md

def readme_notebook():
    "The index without Colab cells, hidden cells and directives, its links starting at the repository's root."
    import nbformat

    notebook = read_nb(project.ROOT / "nbs" / project.settings().readme_nb)
    kept = []
    for cell in notebook.cells:
        if execution.is_stamp(cell) or "hide" in extract_directives(cell):
            continue
        if cell.cell_type == "markdown":
            cell.source = relink(cell.source, lambda link: posixpath.normpath(posixpath.join("nbs", link)))
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

def site_link(link: str, folder: str) -> str:
    "A link of a page in `folder`, as the site writes it: to a page, or to the repository."
    path, hash_sign, anchor = link.partition("#")
    target = posixpath.normpath(posixpath.join(folder, path))
    if not target.startswith("../"):
        return street.page_name(path) + hash_sign + anchor
    return project.source_address(target.removeprefix("../")) + hash_sign + anchor


def rewrite_cell(cell: dict, name: str) -> None:
    "Make a staged cell fit its page: links that hold within the site, links for the badge, no file name."
    text, folder = "".join(cell["source"]), posixpath.dirname(name)
    if cell["cell_type"] == "raw":  # the front matter nbdev made of the title
        text = re.sub(r"^output-file: .*\n", "", text, flags=re.MULTILINE)
    elif execution.BADGE.fullmatch(text):
        style = "{.btn .btn-outline-primary .btn-sm}"
        text = f"[Open in Colab]({execution.colab_address(name)}){style} [The notebook on GitHub]({project.source_address('nbs/' + name)}){style}"
    elif cell["cell_type"] == "markdown":
        text = relink(text, lambda link: site_link(link, folder))
    cell["source"] = text


def caption(text: str) -> str:
    "The caption that a text begins with, without its marks; empty if it begins otherwise."
    found = CAPTION.match(text)
    return MARKS.sub(r"\1", found[1]).replace("\n", " ") if found else ""


@cache
def documented() -> set[tuple[str, str]]:
    "Page and anchor of every name with a heading; a method has its class's, what is exported inside the package only has none."
    return {(entry.page.removesuffix(".ipynb"), entry.name.lower()) for entries in reference.modules().values()
            for entry in entries if entry.kind != "constant"}


def rewrite_notebook(path: Path, stage: Path) -> None:
    "Give a staged notebook its page's name, and links that hold within the site."
    settings, name = project.settings(), path.relative_to(stage).as_posix()
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if not "".join(cell["source"]).startswith(execution.INSTALL)]
    for cell, below in zip(cells, cells[1:]):  # a picture's caption is the text for those who do not see it
        text = caption("".join(below["source"])) if below["cell_type"] == "markdown" else ""
        if cell["cell_type"] == "code" and text:
            cell["source"] = f"#| fig-alt: {json.dumps(text, ensure_ascii=False)}\n" + "".join(cell["source"])
    for cell in cells:
        rewrite_cell(cell, name)
    text = json.dumps(notebook | {"cells": cells}, ensure_ascii=False).replace(f"]({settings.doc_host}{settings.doc_baseurl}/", "](SITE/")
    text = AUTOMATIC.sub(lambda link: f"[{link[1]}](/{link[2]}.html#{link[3]})" if (link[2], link[3]) in documented() else link[1], text)
    text = text.replace("](SITE/", "](/")
    path.unlink()
    path.with_name(street.page_name(path.name)).write_text(text, encoding="utf-8")


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
    entries = yaml.safe_load(sidebar.read_text(encoding="utf-8"))
    contents = entries["website"]["sidebar"]["contents"]
    for section in contents:
        if isinstance(section, dict):
            section["contents"] = list(map(street.page_name, section["contents"]))
    contents.insert(contents.index("glossary.md"), "reference.md")
    sidebar.write_text(yaml.safe_dump(entries, sort_keys=False), encoding="utf-8")
    return stage


def finish_site(site: Path) -> None:
    "Add what makes the site work without a network, and from files; drop what changes from build to build."
    from smalldocs.layout import KATEX

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
        up = "../" * (len(path.relative_to(site).parts) - 1) + "site_libs"
        text, script = path.read_text(encoding="utf-8").replace(KATEX, f"{up}/katex"), f'<script src="{up}/smalldocs.js" defer></script>'
        if script not in text:
            raise ValueError(f"{path.relative_to(site)}: the site's script is not where it was: has smalldocs changed?")
        path.write_text(text.replace(script, f'<script src="{up}/offline.js"></script>{script}'), encoding="utf-8")
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
