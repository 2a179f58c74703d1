"""The reference page: every exported name of the package with its line, read from the modules without running them.

nbdev documents what a notebook shows, so constants have no entry; quartodoc and smalldocs' own API pages do not lead to the notebooks.
"""
from __future__ import annotations

import ast
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import rooms
import street

LONGEST = 70  # of a value that is shown
COMMENT = re.compile(r"(?:^|\s)#\s+(\S.*)$")


@dataclass
class Entry:
    "An exported name."
    name: str
    kind: str  # 'class', 'function' or 'constant'
    line: str  # its docstring; of a constant the comment beside it, or its value
    page: str = ""  # the notebook that explains it, named as its page


def names_of(node: ast.stmt) -> list[str]:
    "The names that a statement at the top of a module defines."
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    parts = [part for target in targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return [part.id for part in parts if isinstance(part, ast.Name)]


def line_of(node: ast.stmt, text: str) -> str:
    "A docstring's first line; of a constant what stands beside or above it as a comment, or else its value."
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return (ast.get_docstring(node) or "").split("\n")[0]
    lines = text.splitlines()
    for number in (node.lineno, node.end_lineno, node.lineno - 1):
        said = COMMENT.search(lines[number - 1]) if number >= node.lineno else COMMENT.match(lines[number - 1])
        if said and "nbs/" not in said[1]:  # nbdev's line names a cell's notebook
            return said[1].strip()
    value = " ".join((ast.get_source_segment(text, node.value) or "").split())
    return f"`{value}`" if len(value) <= LONGEST else f"`{value[:LONGEST]}`…"


def exported(module: Path) -> list[Entry]:
    "The names in a module's `__all__`, in alphabetical order; a front door's list is worked out as it runs, so it has none of its own."
    text = module.read_text(encoding="utf-8")
    defined = {name: node for node in ast.parse(text).body for name in names_of(node)[::-1]}
    first = next((node for node in ast.parse(text).body if names_of(node) == ["__all__"]), None)
    public = ast.literal_eval(first.value) if isinstance(first, ast.Assign) else []
    kinds = {ast.FunctionDef: "function", ast.ClassDef: "class"}
    found = [Entry(name, kinds.get(type(defined[name]), "constant"), line_of(defined[name], text)) for name in public]
    return sorted(found, key=lambda entry: entry.name.lower())


@cache
def modules() -> dict[str, list[Entry]]:
    "Every module with what it exports, by its name inside the package (`images.image_set`), in the order of the street."
    found = {}
    for module, notebook in rooms.notebook_of().items():
        if entries := exported(rooms.path_of(module)):
            found[module] = [replace(entry, page=street.page_name(notebook)) for entry in entries]
    return found


def place(module: str, entry: Entry) -> str:
    "The anchor of an entry on the reference page."
    return f"{module}.{entry.name}"


def searched() -> list[dict[str, str]]:
    "What the site's search finds of the constants, which have no heading of their own; an entry for each."
    return [
        {"objectID": href, "href": href, "title": f"csnas_nb.{module}", "section": entry.name, "text": entry.line}
        for module, entries in modules().items() for entry in entries if entry.kind == "constant"
        for href in [f"reference.html#{place(module, entry)}"]
    ]


def page() -> str:
    "The reference page in Markdown."
    lines = ["---", "title: Reference", "description: Every name the library exports, module by module", "---", ""]
    lines += ["## csnas_nb", "", "The front door: `from csnas_nb import …`", ""]
    for name, module in rooms.front_door().items():
        lines.append(f"- [`{name}`]({street.page_name(rooms.notebook_of()[module])}#{name.lower()}), of `csnas_nb.{module}`")
    for module, entries in modules().items():
        lines += ["", f"## csnas_nb.{module}", "", f"Defined and explained in [this notebook]({entries[0].page}).", "", "| name | | |", "|---|---|---|"]
        for entry in entries:
            link = f"[`{entry.name}`]({entry.page}#{entry.name.lower()})"
            shown = f'<a id="{place(module, entry)}"></a>`{entry.name}`' if entry.kind == "constant" else link
            lines.append(f"| {shown} | {entry.kind} | {entry.line.replace('|', chr(92) + '|')} |")
    return "\n".join(lines)
