"""The studies draw what cells that run for hours once printed: both are read here, and nothing is run.

A figure's numbers stand in a text below `# printed by the slow cell: NAME`: the summary that its folded code has, or
else the first line of its code. Each line of that text begins a line of that cell's stored output, in the same order.
"""
from __future__ import annotations

import html
import re
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from execnb.nbio import read_nb
from nbdev.process import extract_directives

QUOTATION = re.compile(r'^# printed by the slow cell: ([^\n]+)\n[^\n]*"""\n(.*?)^"""', re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d+\.\d+")
STUDIES = sorted((ROOT / "nbs" / "08_studies").glob("*.ipynb"))


def lines_of(text: str) -> list[list[str]]:
    "The words of every line that has some."
    return [line.split() for line in text.splitlines() if line.strip()]


def stored(cell) -> list[list[str]]:
    "The words of every line that a cell printed; a row of a table is a line."
    found = []
    for output in cell.get("outputs", []):
        table = "".join(output.get("data", {}).get("text/html", ""))
        rows = [html.unescape(re.sub(r"<[^>]+>", " ", row)).replace("\n", " ") for row in table.split("</tr>")]
        found += lines_of("".join(output.get("text", "")) or "\n".join(rows))
    return found


def name_of(source: str) -> str:
    "The summary of folded code, or the first line of code in sight."
    summary = re.search(r'^#\| code-summary: "(.+)"$', source, re.MULTILINE)
    return summary[1] if summary else next(line for line in source.splitlines() if not line.startswith("#|"))


def slow_cells(notebook) -> dict[str, list[list[str]]]:
    "What each slow cell printed, by its name; without those that share a name."
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"
             and "slow" in extract_directives(cell, remove=False)]
    names = [name_of(cell.source) for cell in cells]
    return {name: stored(cell) for name, cell in zip(names, cells) if names.count(name) == 1}


def quotations(notebook) -> list[tuple[str, str]]:
    "Each slow cell that is named, and the text below its name."
    return [found for cell in notebook.cells if cell.cell_type == "code" for found in QUOTATION.findall(cell.source)]


def misquoted(text: str, printed: list[list[str]]) -> list[str]:
    "Lines of a text that are not the beginnings of lines that were printed, in this order."
    left = iter(printed)
    return [" ".join(words) for words in lines_of(text) if not any(line[:len(words)] == words for line in left)]


class TestStudies(unittest.TestCase):
    def test_quoted(self):
        "Every study quotes its slow cells, and quotes them right."
        for path in STUDIES:
            notebook = read_nb(path)
            found, slow = quotations(notebook), slow_cells(notebook)
            with self.subTest(path.name):
                self.assertTrue(found)
                self.assertEqual([name for name, _ in found if name not in slow], [], "no slow cell, or two of a name")
                for name, text in found:
                    self.assertTrue(lines_of(text))
                    self.assertEqual(misquoted(text, slow[name]), [])

    def test_altered(self):
        "One other number, in the figure's code or in the stored output, and the two disagree."
        for path in STUDIES:
            notebook = read_nb(path)
            slow = slow_cells(notebook)
            for name, text in quotations(notebook):
                for number in NUMBER.finditer(text):
                    other = text[:number.end() - 1] + str((int(number[0][-1]) + 1) % 10) + text[number.end():]
                    self.assertTrue(misquoted(other, slow[name]), f"{path.name}: {number[0]}")
                for words in lines_of(text):
                    others = [line for line in slow[name] if line[:len(words)] != words]
                    self.assertTrue(misquoted(text, others), f"{path.name}: {words}")

    def test_order(self):
        "Lines that change places are noticed: they may belong to different data."
        printed = lines_of("first\n  rank +0.1\nsecond\n  rank +0.2")
        self.assertEqual(misquoted("first\nrank +0.1\nsecond\nrank +0.2\n", printed), [])
        self.assertTrue(misquoted("first\nrank +0.2\nsecond\nrank +0.1\n", printed))
