"""The reference page: every exported name of the package with its line, read from the modules without running them."""
from __future__ import annotations

import ast
import io
import tokenize
from dataclasses import dataclass
from pathlib import Path

import project

LONGEST = 70  # of a value that is shown


@dataclass
class Entry:
    "An exported name."
    name: str
    kind: str  # 'class', 'function' or 'constant'
    line: str  # its docstring; of a constant the comment beside it, or its value


def comments(text: str) -> dict[int, str]:
    "The comments of a module, by line."
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {token.start[0]: token.string.lstrip("# ").strip() for token in tokens if token.type == tokenize.COMMENT}


def names_of(target: ast.expr) -> list[str]:
    "The names that an assignment gives a value."
    parts = target.elts if isinstance(target, ast.Tuple) else [target]
    return [part.id for part in parts if isinstance(part, ast.Name)]


def value_line(node: ast.Assign | ast.AnnAssign, text: str, said: dict[int, str]) -> str:
    "What stands beside or above an assignment as a comment, or else its value."
    above = said.get(node.lineno - 1, "") if text.splitlines()[node.lineno - 2].startswith("# ") else ""
    comment = said.get(node.lineno) or said.get(node.end_lineno) or above
    if comment and "nbs/" not in comment:  # the last is the line that names a cell's notebook
        return comment
    value = " ".join((ast.get_source_segment(text, node.value) or "").split())
    return f"`{value}`" if len(value) <= LONGEST else f"`{value[:LONGEST]}`…"


def definitions(tree: ast.Module, text: str) -> list[Entry]:
    "What a module defines at its top level."
    said, found = comments(text), []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            kind = "class" if isinstance(node, ast.ClassDef) else "function"
            found.append(Entry(node.name, kind, (ast.get_docstring(node) or "").split("\n")[0]))
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            line = value_line(node, text, said)
            found += [Entry(name, "constant", line) for target in targets for name in names_of(target)]
    return found


def exported(module: Path) -> list[Entry]:
    "The names in a module's `__all__`, in alphabetical order."
    text = module.read_text(encoding="utf-8")
    tree = ast.parse(text)
    public = next(ast.literal_eval(node.value) for node in tree.body
                  if isinstance(node, ast.Assign) and names_of(node.targets[0]) == ["__all__"])
    by_name = {entry.name: entry for entry in definitions(tree, text)}
    return sorted((by_name[name] for name in public), key=lambda entry: entry.name.lower())


def modules() -> dict[str, list[Entry]]:
    "Every module with what it exports, in alphabetical order."
    paths = sorted(project.settings().lib_path.glob("[a-z]*.py"))
    return {path.stem: exported(path) for path in paths}


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
    package = project.settings().lib_path.name
    for module, entries in modules().items():
        lines += [f"## {package}.{module}", "", f"Defined and explained in [this notebook]({module}.ipynb).", "", "| name | | |", "|---|---|---|"]
        for entry in entries:
            link = f"[`{entry.name}`]({module}.ipynb#{entry.name.lower()})"
            shown = f'<a id="{place(module, entry)}"></a>`{entry.name}`' if entry.kind == "constant" else link
            lines.append(f"| {shown} | {entry.kind} | {entry.line.replace('|', chr(92) + '|')} |")
        lines.append("")
    return "\n".join(lines)
