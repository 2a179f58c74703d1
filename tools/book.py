"""What makes the notebooks one book, a form of our own: how each begins and ends, captions below pictures, solutions to exercises."""
from __future__ import annotations

import posixpath
import re
from pathlib import Path

import project
import street

OPENING = "**What you will have at the end:**"
EXERCISE = re.compile(r"^(\d+)\. ", re.MULTILINE)
SOLUTION = re.compile(r"^\*\*(\d+)\.\*\*", re.MULTILINE)
FEWEST, MOST = 2, 3  # exercises in a notebook


def has_picture(cell) -> bool:
    "Whether a code cell shows a picture."
    return any(kind.startswith("image/") for output in cell.get("outputs", []) for kind in output.get("data", {}))


def captions(cells: list) -> list[str]:
    "Pictures without a caption in italics below them."
    pairs = zip(cells, [*cells[1:], None])
    bare = [cell for cell, below in pairs if cell.cell_type == "code" and has_picture(cell)
            and not (below and below.cell_type == "markdown" and below.source.startswith("*") and not below.source.startswith("**"))]
    return [f"no caption in italics below the picture of cell #{cell.idx_ + 1}" for cell in bare]


def ending(text: str) -> list[str]:
    "What is missing of recap, exercises, the way on and solutions."
    body, _, appendix = text.partition("\n## Solutions\n")
    _, recapped, recap = body.partition("\n## Recap\n")
    exercises = EXERCISE.findall(recap.partition("**Exercises**")[2])
    solutions = SOLUTION.findall(appendix)
    checks = {
        "no `## Recap`": recapped,
        f"needs {FEWEST} or {MOST} numbered exercises below **Exercises**": FEWEST <= len(exercises) <= MOST,
        "no line `Next: …` at the end of the recap": recap.strip().rpartition("\n")[2].startswith("Next: "),
        "no `## Solutions`": appendix,
        f"solutions {solutions} for exercises {exercises}": solutions == exercises,
    }
    return [problem for problem, holds in checks.items() if not holds]


def way_on(text: str, name: str) -> list[str]:
    "A `Next: …` line that does not lead to the notebook that follows on the street."
    following = dict(zip(street.order(), [*street.order()[1:], street.FRONT]))[name]
    link = posixpath.relpath(following, posixpath.dirname(name) or ".")
    lines = [line for line in text.splitlines() if line.startswith("Next: ")]
    return [] if lines and f"]({link})" in lines[-1] else [f"`Next: …` must link to {link}"]


def faults(notebook, path: Path) -> list[str]:
    "What a notebook lacks of what every notebook has; the front page goes its own way."
    name = project.name_of(path)
    if name == street.FRONT:
        return captions(notebook.cells)
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    opened = [] if any(text.startswith(OPENING) for text in texts[1:4]) else [f"the first paragraph must begin with {OPENING}"]
    whole = "\n" + "\n\n".join(texts) + "\n"
    return [*opened, *captions(notebook.cells), *ending(whole), *way_on(whole, name)]
