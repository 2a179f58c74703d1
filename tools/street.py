"""The street: the order of the notebooks, and the picture that says where on it a notebook stands.

smalldocs links previous and next; no library shows on GitHub, in Colab and in JupyterLab where in the book a reader is.
"""
from __future__ import annotations

import base64
import hashlib
import io
from functools import cache
from pathlib import Path

import project
import yaml
from execnb.nbio import mk_cell, read_nb
from nbdev.doclinks import _nbpath2html
from PIL import Image

PICTURE = "street.png"
FLOW = {"Images": "ImageSet", "Networks": "Genotype", "Scoring": "Score", "Searching": "SearchResult", "Evaluating": "Report"}
HERE, WALL, ROOF, LINE = "#e8590c", "#f1f3f5", "#ced4da", "#868e96"
FRONT = "index.ipynb"
STEP = 1.22  # from the left wall of a house to that of the next
DRAWN = 2  # raise when `draw` changes, so that every stored picture is drawn anew


@cache
def sections() -> dict[str, list[str]]:
    "The parts of the street and their notebooks, by path under nbs/, as the site's sidebar lists them."
    entries = yaml.safe_load((project.ROOT / "nbs" / "sidebar.yml").read_text(encoding="utf-8"))
    contents = entries["website"]["sidebar"]["contents"]
    return {entry["section"]: entry["contents"] for entry in contents if isinstance(entry, dict)}


def order() -> list[str]:
    "Every notebook with a place on the street, in the order in which it is read."
    return [name for names in sections().values() for name in names]


def page_name(name: str) -> str:
    "A notebook's path as nbdev names its page: the folder keeps its number, the notebook does not."
    return _nbpath2html(Path(name)).with_suffix(".ipynb").as_posix() if name.endswith(".ipynb") else name


def title(name: str) -> str:
    "The title of a notebook under nbs/."
    first = read_nb(project.ROOT / "nbs" / name).cells[0].source
    return first.splitlines()[0].removeprefix("# ").strip()


def address(name: str) -> tuple[str, int]:
    "The part of the street that a notebook stands in, and its place there from 1; nowhere for the front page."
    if name == FRONT:
        return "", 0
    for section, names in sections().items():
        if name in names:
            return section, names.index(name) + 1
    raise ValueError(f"nbs/sidebar.yml does not list {name}")


def caption(name: str) -> str:
    "What the picture shows, in words."
    street = f"The street: {', '.join(sections())}."
    if name == FRONT:
        return street
    section, place = address(name)
    return f"{street} This is notebook {place} of {len(sections()[section])} in {section}."


def spec(name: str) -> str:
    "What the picture depends on: the same text, the same picture."
    section, place = address(name)
    windows = [(part, len(names)) for part, names in sections().items()]
    return hashlib.sha256(repr((DRAWN, windows, section, place, title(name))).encode()).hexdigest()[:16]


def house(axes, left: float, ground: float, part: str, windows: int, lit: int) -> None:
    "Draw one part as a house: a window for each notebook, the lit one where the reader stands."
    from matplotlib.patches import Polygon, Rectangle

    edge = HERE if lit else LINE
    axes.add_patch(Rectangle((left, ground), 1.0, 0.62, facecolor=WALL, edgecolor=edge, linewidth=1.2))
    roof = [(left - 0.05, ground + 0.62), (left + 0.5, ground + 0.95), (left + 1.05, ground + 0.62)]
    axes.add_patch(Polygon(roof, facecolor=ROOF, edgecolor=edge, linewidth=1.2))
    color, weight = (HERE, "bold") if lit else ("#343a40", "normal")
    axes.text(left + 0.5, ground + 0.44, part, ha="center", va="center", fontsize=8.5, color=color, weight=weight)
    for place in range(1, windows + 1):
        x = left + 0.5 + 0.115 * (place - (windows + 1) / 2)
        axes.add_patch(Rectangle((x - 0.04, ground + 0.1), 0.08, 0.14, facecolor=HERE if place == lit else "white", edgecolor=edge, linewidth=0.8))


def draw(name: str) -> bytes:
    "The street in two rows of houses, the notebook's window lit, as a small PNG that carries its `spec`."
    from matplotlib.figure import Figure
    from PIL.PngImagePlugin import PngInfo

    here, lit = address(name)
    columns = (len(sections()) + 1) // 2
    end = STEP * columns + 0.1
    figure = Figure(figsize=(end, 3.2), dpi=130)
    axes = figure.add_axes((0, 0, 1, 1))
    for place, (part, names) in enumerate(sections().items()):
        left, ground = 0.16 + STEP * (place % columns), -1.6 * (place // columns)
        house(axes, left, ground, part, len(names), lit if part == here else 0)
        if part == here:
            half = 0.042 * len(title(name))  # about half the width of the text
            middle = min(max(left + 0.5, half), end - half)
            axes.text(middle, ground - 0.4, title(name), ha="center", va="center", fontsize=8.5, color=HERE)
        if part in FLOW:
            axes.text(left + 1.11, ground - 0.14, f"{FLOW[part]} →", ha="center", va="center", fontsize=7, color=LINE)
        axes.axhline(ground, color=LINE, linewidth=1.2)
    axes.set(xlim=(0, end), ylim=(-2.15, 1.05))
    axes.axis("off")
    drawn = io.BytesIO()
    figure.savefig(drawn, metadata={"Software": None})
    text, stored = PngInfo(), io.BytesIO()
    text.add_text("Description", spec(name))
    Image.open(drawn).convert("RGB").quantize(32).save(stored, "png", pnginfo=text, optimize=True)
    return stored.getvalue()


def picture_cell(name: str, stored):
    "The cell with the picture; `stored`, an older one or None, lends its picture if that would be drawn alike."
    held = (stored or {}).get("attachments", {}).get(PICTURE)
    data = base64.b64decode(held["image/png"]) if held else None
    if data is None or Image.open(io.BytesIO(data)).info.get("Description") != spec(name):
        data = draw(name)
    cell = mk_cell(f"![{caption(name)}](attachment:{PICTURE})", "markdown", id="street")
    cell["attachments"] = {PICTURE: {"image/png": base64.b64encode(data).decode()}}
    return cell


def is_picture(cell) -> bool:
    "Whether the cell holds the picture of the street."
    return cell.cell_type == "markdown" and cell.source.startswith("![The street:")
