"""The street: the order of the notebooks, and the line that says where on it a notebook stands.

smalldocs links previous and next; no library shows on GitHub, in Colab and in JupyterLab where in the book a reader is.
"""
from __future__ import annotations

import posixpath
from functools import cache
from pathlib import Path

import project
import yaml
from nbdev.doclinks import _nbpath2html

FRONT = "index.ipynb"


@cache
def sections() -> dict[str, list[str]]:
    "The parts of the street and their notebooks, by path under nbs/, as the site's sidebar lists them."
    entries = yaml.safe_load((project.ROOT / "nbs" / "sidebar.yml").read_text(encoding="utf-8"))
    contents = entries["website"]["sidebar"]["contents"]
    return {entry["section"]: entry["contents"] for entry in contents if isinstance(entry, dict)}


def order() -> list[str]:
    "Every notebook with a place on the street, in the order in which it is read."
    return [name for names in sections().values() for name in names]


def missing() -> list[str]:
    "Notebooks that the street leaves out, and places on the street without a notebook."
    there = {project.name_of(path) for path in project.notebooks()} - {FRONT}
    return [f"nbs/sidebar.yml and nbs/ disagree about {name}" for name in sorted(there ^ set(order()))]


def page_name(name: str) -> str:
    "A notebook's path as nbdev names its page: the folder keeps its number, the notebook does not."
    return _nbpath2html(Path(name)).with_suffix(".ipynb").as_posix() if name.endswith(".ipynb") else name


def address(name: str) -> tuple[str, int]:
    "The part of the street that a notebook stands in, and its place there from 1; none for others, as the front page."
    return next(((part, names.index(name) + 1) for part, names in sections().items() if name in names), ("", 0))


def line(name: str) -> str:
    "The parts of the street as links to their first notebooks, and where a notebook stands, in one line."
    (here, place), folder, parts = address(name), posixpath.dirname(name) or ".", sections().items()
    said = {part: f"**{part}, {place} of {len(names)}**" if part == here else part for part, names in parts}
    return " · ".join(f"[{said[part]}]({posixpath.relpath(names[0], folder)})" for part, names in parts)
