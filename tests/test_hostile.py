"""What a user hands over, damaged at random: it is taken and comes back the same, or it is refused in plain words.

Two properties. What is valid goes out and comes in again unchanged. What is not valid raises ValueError or
FileNotFoundError (the command: exit code 2 and one line), in words that name the value or the file; never another
error, never without end. About 2,200 cases, the same in every run; with CSNAS_SLOW=1 twenty times as many. What the
library gets wrong would be left out and marked `# fault:`; take such a mark away when the fault is mended.
"""
from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import io
import itertools
import json
import logging
import math
import os
import random
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import warnings
from dataclasses import asdict, fields, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Literal, get_args, get_origin
from unittest import mock

import hypothesis.configuration
import numpy as np
import torch
import typer.main
from annotated_types import Ge, Gt, Le, Lt
from hypothesis import HealthCheck, assume, given
from hypothesis import strategies as st
from PIL import Image

from csnas_nb import as_genotype, load_classifier, load_images, load_splits, open_run, search
from csnas_nb.__main__ import VERBS, main, make_app
from csnas_nb.runs.page import report_page
from csnas_nb.evaluating.checkpoints import load_trained, plot_log, read_log
from csnas_nb.evaluating.recipes import RECIPES, Recipe
from csnas_nb.evaluating.reports import Compared, comparison_table
from csnas_nb.formats.decoding import decode_images
from csnas_nb.formats.named import DATASETS
from csnas_nb.formats.tables import folder_catalogue, read_ground_truth
from csnas_nb.images.image_set import image_identity
from csnas_nb.networks.genotype import (
    KNOWN_CELLS, MAX_NODES, CellGraph, Genotype, from_json, from_text, to_json, to_text,
)
from csnas_nb.networks.operations import OPERATIONS
from csnas_nb.runs.evaluations import evaluate_cells, evaluated_on, read_reports, write_evaluation
from csnas_nb.runs.run import known_repeatability
from csnas_nb.scoring.config import PRESETS, QUICK, ScoreConfig, config_from_dict
from csnas_nb.scoring.scorer import load_pretrained, pretrain, save_pretrained
from csnas_nb.searching.proposals import PRUNERS, SAMPLERS, Limits, PrunerConfig, SamplerConfig, SearchOptions
from csnas_nb.searching.results import SearchResult
from csnas_nb.searching.run_folder import load_result
from csnas_nb.searching.space import SearchSpace, decode_genotype, encode_genotype, random_params
from csnas_nb.support.checks import bare_type, setting_types, shown
from csnas_nb.support.files import only_one, read_json, read_tensors, write_tensors, write_whole

SLOW = os.environ.get("CSNAS_SLOW") == "1"
LONGEST = 10  # seconds of one processor for a case; nearly all take milliseconds
LONGEST_WORDS = 4000  # characters of a refusal
MEMORY = 8 * 2**30  # bytes that all cases together may ask for, beyond what the libraries hold
SPACE = SearchSpace()
PLANNED, RUN = {}, {}  # cases by test: how many there shall be, how many there were


def setUpModule():
    "Limit the memory, so that what asks for all of it fails here; keep hypothesis' notes and Pillow's words away."
    place = tempfile.mkdtemp()
    unittest.addModuleCleanup(shutil.rmtree, place)
    hypothesis.configuration.set_hypothesis_home_dir(place)
    quiet = logging.getLogger("PIL")
    unittest.addModuleCleanup(quiet.setLevel, quiet.level)
    quiet.setLevel(logging.CRITICAL)
    held = Path("/proc/self/statm")
    if not held.is_file() or torch.cuda.is_available(): return           # a GPU maps more than any limit of use
    import resource
    before = resource.getrlimit(resource.RLIMIT_AS)
    unittest.addModuleCleanup(resource.setrlimit, resource.RLIMIT_AS, before)
    pages = int(held.read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))


def cases(count, **drawn):
    "A test of so many random cases, the same in every run; what is drawn, by argument."
    def decorate(test):
        name, planned = test.__qualname__, count * (20 if SLOW else 1)
        PLANNED[name] = planned
        def one(self, **values):
            RUN[name] = RUN.get(name, 0) + 1
            start = time.process_time()
            test(self, **values)
            self.assertLess(time.process_time() - start, LONGEST)
        one.__name__, one.__qualname__, one.__doc__ = test.__name__, name, test.__doc__
        return hypothesis.settings(max_examples=planned, derandomize=True, deadline=None, database=None,
                                   suppress_health_check=list(HealthCheck))(given(**drawn)(one))
    return decorate


class Hostile(unittest.TestCase):
    "With an empty folder of its own to work in."

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp()).resolve()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        empty = cls.folder / "empty"
        empty.mkdir()
        cls.addClassCleanup(os.chdir, os.getcwd())
        os.chdir(empty)

    def refused(self, call, *words, kinds=(ValueError, FileNotFoundError)):
        "What the call returns; None where it is refused by an error of these kinds whose text holds one of the words."
        try:
            return call()
        except kinds as error:
            said = str(error)
            self.assertTrue(0 < len(said) < LONGEST_WORDS, f"{len(said)} characters")
            self.assertTrue(any(word in said for word in words), f"{type(error).__name__}: {said}")

    def holding(self, name, content):
        "A file with this content."
        path = self.folder / name
        path.write_bytes(content)
        return path


# what is drawn

STRANGE = st.characters(exclude_categories=())  # surrogates too
TEXTS = st.text(STRANGE, max_size=60) | st.text(max_size=3).map(lambda text: text + "a" * 300)  # longer than a name
HUGE = [math.nan, math.inf, -math.inf, -1, 0, -0.0, 2**70, -2**70, 1e308, 5e-324]
ODD = st.sampled_from([*HUGE, None, True, "", "\ud800", "\ufeff", "nan", "1", [], [[[[]]]], {}, (), b"", b"\xff", 1j,
                       Decimal("NaN"), Fraction(1, 3), np.float64("nan"), np.int64(-1), np.bool_(True), object])
WHOLE = st.integers(-10**300, 10**300) | st.sampled_from([10**309, -10**309, 10**5000])  # beyond every float, too long
VALUES = st.one_of(ODD, WHOLE, st.floats(), st.text(STRANGE, max_size=9))
PLAIN = st.one_of(st.sampled_from(HUGE + [None, True, "", "\ud800", "none"]), st.integers(-9, 9), st.text(max_size=4))
NESTS = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner,
                                                                                      max_size=3), max_leaves=12)
LITERALS = st.recursive(PLAIN | st.binary(max_size=2) | st.just(1j), lambda inner: st.lists(inner, max_size=4)
                        | st.tuples(inner, inner) | st.sets(st.integers(), max_size=2), max_leaves=12)
EDGES = st.lists(st.tuples(st.sampled_from([*OPERATIONS, "", "x"]), st.integers(-1, 6) | PLAIN), max_size=8)


@st.composite
def edited(draw, good, pieces, most=4):
    "A text or bytes with a few places cut out, written over or lengthened."
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, len(good)))
        good = good[:at] + draw(pieces) + good[at + draw(st.integers(0, 4)):]
    return good


def cut(good):
    "Bytes that end too early, hold what is no text, or are nothing like it."
    return st.one_of(st.integers(0, len(good) - 1).map(lambda at: good[:at]),
                     st.integers(0, len(good)).map(lambda at: good[:at] + b"\xff\xfe" + good[at:]),
                     st.binary(max_size=40).map(lambda rest: b"\0" + rest),
                     st.just(b"\xef\xbb\xbf" + good), st.just(good.decode("latin1").encode("utf-16")))


@st.composite
def spaces(draw):
    "Any search space."
    names = draw(st.lists(st.sampled_from(list(OPERATIONS)), min_size=2, max_size=8, unique=True))
    return SearchSpace(draw(st.integers(1, 7)), tuple(names), draw(st.sampled_from(["pairs", "strengths", "released"])))


def cell_of(space, seed):
    "A random cell of a space."
    return decode_genotype(space, random_params(space, seed))


def is_graph(cell):
    "Whether every edge of a cell comes from an earlier node and every output is a node of its own."
    nodes = range(2, 2 + len(cell.edges) // 2)
    return (all(0 <= i < 2 + k // 2 for k, (_, i) in enumerate(cell.edges)) and len(cell.edges) % 2 == 0
            and len({*cell.outputs}) == len(cell.outputs) > 0 and {*cell.outputs} <= {*nodes})


SEEDS = st.integers(0, 2**32)
NOT_A_CELL = ("not JSON: ", "not a genotype in DARTS' form: ", "a genotype has the parts ", "only lists of constants ",
              "normal cell: ", "reduce cell: ", "unknown operation ", "the text holds different cells", "no such cell, file or run folder: ")
PIECES = st.sampled_from([*"[](){},.:='\"\0\n #*-1", "Genotype(", "normal", "None", "nan", "9" * 30, "none",
                          "range(2, 6)", "lambda: 1", "__import__('os')", "\ufeff", "\u202e", "NaN", "1e999", "true",
                          "import os;"])


class TestCells(Hostile):
    @cases(50, space=spaces(), seed=SEEDS)
    def test_written(self, space, seed):
        cell = cell_of(space, seed)
        path = self.holding("cell", to_text(cell).encode())
        for again in (from_json(to_json(cell)), from_text(to_text(cell)), as_genotype(f" NAME = {to_text(cell)}\n"),
                      as_genotype(to_json(cell)), as_genotype(path), as_genotype(str(path))):
            self.assertEqual(again, cell)
        self.assertEqual(cell.canonical.canonical, cell.canonical)
        self.assertEqual(cell.canonical.digest, cell.digest)

    @cases(50, space=spaces(), other=spaces(), seed=SEEDS)
    def test_encoded(self, space, other, seed):
        cell = cell_of(space, seed)
        for into in (space, other, replace(space, encoding="strengths")):
            words = f"{cell.name}: ", "without 'none' among"
            params = self.refused(lambda into=into: encode_genotype(into, cell), *words)
            self.assertTrue(params is None or decode_genotype(into, params).digest == cell.digest)
            self.assertTrue(params is not None or into is other)

    @cases(60, space=spaces(), seed=SEEDS, draw=st.data())
    def test_edited_json(self, space, seed, draw):
        text = draw.draw(edited(to_json(cell_of(space, seed)), PIECES))
        cell = self.refused(lambda: from_json(text), *NOT_A_CELL)
        if cell is not None:
            self.assertEqual(from_json(to_json(cell)), cell)
            self.assertTrue(all(is_graph(part) for part in cell.cells.values()))

    @cases(60, space=spaces(), seed=SEEDS, draw=st.data())
    def test_edited_text(self, space, seed, draw):
        text = draw.draw(edited(to_text(cell_of(space, seed)), PIECES))
        cell = self.refused(lambda: from_text(text), *NOT_A_CELL)
        self.assertTrue(cell is None or from_text(to_text(cell)) == cell)

    @cases(60, text=TEXTS)
    def test_any_text(self, text):
        self.assertIsNone(self.refused(lambda: as_genotype(text), *NOT_A_CELL))
        self.assertIsNone(self.refused(lambda: from_json(text), *NOT_A_CELL))
        self.assertIsNone(self.refused(lambda: from_text(text), *NOT_A_CELL))

    @cases(30, content=st.binary(max_size=40) | cut(to_json(KNOWN_CELLS["DARTS_V2"]).encode()))
    def test_any_file(self, content):
        path = self.holding("cell", content)
        cell = self.refused(lambda: as_genotype(path), f"{path} holds no cell: ")
        self.assertTrue(cell is None or cell == KNOWN_CELLS["DARTS_V2"] and content[:2] in (b"\xef\xbb", b"\xff\xfe"))

    @cases(60, parts=st.lists(NESTS, min_size=4, max_size=4))
    def test_any_json(self, parts):
        text = json.dumps(dict(zip((f.name for f in fields(Genotype)), parts)))
        self.assertIsNone(self.refused(lambda: from_json(text), *NOT_A_CELL))

    @cases(60, parts=st.lists(LITERALS, min_size=4, max_size=4))
    def test_any_literal(self, parts):
        text = f"Genotype({', '.join(map(repr, parts))})".encode(errors="replace").decode()
        self.assertIsNone(self.refused(lambda: from_text(text), *NOT_A_CELL))

    @cases(60, edges=EDGES | VALUES, outputs=st.lists(st.integers(-1, 6)) | VALUES)
    def test_any_graph(self, edges, outputs):
        cell = self.refused(lambda: CellGraph(edges, outputs), "edges are ", "every node has ", "may use inputs ",
                            "outputs are ")
        self.assertTrue(cell is None or is_graph(cell) and CellGraph(cell.edges, cell.outputs) == cell)
        self.assertIsNone(self.refused(lambda: Genotype(edges, outputs, "ab", [2]), *NOT_A_CELL))

    def test_numbers(self):
        "Of all graphs of two nodes with numbers of -1 to 4 exactly those are taken that are cells."
        words = "every node has ", "may use inputs ", "outputs are "
        for inputs in itertools.product(range(-1, 5), repeat=4):
            edges = [("none", i) for i in inputs]
            for outputs in ([2], [3, 2], [3, 3], [1], [4], []):
                made = self.refused(lambda edges=edges, outputs=outputs: CellGraph(edges, outputs), *words)
                plain = SimpleNamespace(edges=edges, outputs=outputs)
                self.assertEqual(made is not None, is_graph(plain), (inputs, outputs))

    def test_deep(self):
        "Long nests, long ranges and long numbers."
        nests = ["[" * n + "]" * n for n in (190, 900, 960, 980, 990, 100_000)]
        for deep in (*nests, "(" * 5000 + ")" * 5000, "[" * 100_000, "{" * 5000, "Genotype(" * 5000, "-" * 900 + "1",
                     "1" + "+1" * 900, "-" * 100_000 + "1", "9" * 5000, "range(2, 1000000000)", f"range({10**30})"):
            for text in (f"Genotype({deep}, [2], [], [2])", f"Genotype([('none', 0)] * 2, {deep}, [], [2])"):
                self.assertIsNone(self.refused(lambda text=text: from_text(text), *NOT_A_CELL))
        names = [f.name for f in fields(Genotype)]
        for deep in (*nests, '{"normal": ' * 100_000, "[" * 100_000, "9" * 5000):
            for text in (deep, "{" + ", ".join(f'"{name}": {deep}' for name in names) + "}"):
                self.assertIsNone(self.refused(lambda text=text: from_json(text), *NOT_A_CELL))

    def test_all(self):
        "Nothing of a cell is left out, and what stands around it is."
        cell, part = to_text(KNOWN_CELLS["DARTS_V2"]), "[('none', 0), ('none', 1)], [2]"
        parts = f"{part}, {part}"
        self.assertEqual(from_text(f"Genotype({parts})").cells["normal"].outputs, (2,))
        for text in (f"{cell}; import os", f"{cell}\n{cell}", f"10:31 genotype = {cell}, done", f"[{cell}]"):
            self.assertEqual(from_text(text), KNOWN_CELLS["DARTS_V2"])
        with self.assertRaisesRegex(ValueError, "different cells, keep one: DARTS_V2, DARTS_V1$"):
            from_text(f"{cell}\n{cell}\n{to_text(KNOWN_CELLS['DARTS_V1'])}")
        for text in (f"MyGenotype({parts})", f"{cell} and Genotype(", f"{cell} {cell[:-1]}", f"Genotype({parts}, [2])",
                     f"Genotype({parts}, normal=[])", f"Genotype({parts}, *[])", f"Genotype({parts}, **{{}})",
                     f"Genotype({parts}, other=1)"):
            self.assertIsNone(self.refused(lambda text=text: from_text(text), *NOT_A_CELL), text)

    def test_large(self):
        "Cells of more nodes than there are, and faults of a hundred thousand edges."
        for edges in ([("none", 0)] * 4000, [("skip_connect", 0)] * 32, [3] * 100_000, [("x" * 10**6, 0)] * 2,
                      [("none", 10**5000)] * 2):
            self.assertIsNone(self.refused(lambda edges=edges: Genotype(edges, [2], edges, [2]), *NOT_A_CELL))
        twins = [("skip_connect", 0), ("skip_connect", 1)] * 5 + [("none", 2), ("skip_connect", 3)] * 5
        self.assertEqual(len(Genotype(twins, range(2, 12), twins, range(2, 12)).digest), 16)
        dice, start = random.Random(0), time.process_time()              # the most orders: twins that others tell apart
        for alike in [4, 5, 6, 7, 8] * 8:                                # measured: 0.02 s with 7 nodes, 0.25 with 10
            edges = [("skip_connect", 0), ("skip_connect", 1)] * alike   # 2.4 s with 12; 16 never ended
            for node in range(alike + 2, MAX_NODES + 2):
                edges += [("skip_connect", dice.randrange(2, node)), ("skip_connect", dice.randrange(2, node))]
            self.assertEqual(len(CellGraph(edges, range(2, MAX_NODES + 2)).canonical.edges), 2 * MAX_NODES)
        self.assertLess(time.process_time() - start, LONGEST)
        long = [("skip_connect", 0), ("skip_connect", 1)] * 16
        self.assertIsNone(self.refused(lambda: CellGraph(long, range(2, 18)), f"at most {MAX_NODES} nodes"))


# settings


def allowed(hint):
    "Values that a setting may have."
    kind, bounds, none = bare_type(hint)
    low = [getattr(bound, "ge", getattr(bound, "gt", None)) for bound in bounds if isinstance(bound, (Ge, Gt))]
    high = [getattr(bound, "le", getattr(bound, "lt", None)) for bound in bounds if isinstance(bound, (Le, Lt))]
    if get_origin(kind) is Literal: values = st.sampled_from(get_args(kind))
    elif kind is bool: values = st.booleans()
    elif kind is int: values = st.integers(max(low, default=-2**63 + 1), min(high, default=2**63 - 1))
    else:
        values = st.floats(max(low, default=None), min(high, default=None), allow_nan=False, allow_infinity=False,
                           exclude_min=any(isinstance(bound, Gt) for bound in bounds),
                           exclude_max=any(isinstance(bound, Lt) for bound in bounds))
    return st.none() | values if none else values


def is_within(hint, value):
    "Whether a number is of a setting's type and within its bounds."
    kind, bounds, _ = bare_type(hint)
    if kind not in (int, float) or kind is int and not isinstance(value, int) or not math.isfinite(value): return False
    if isinstance(value, int) and abs(value) >= 2**63: return False
    return all(value >= bound.ge if isinstance(bound, Ge) else value > bound.gt if isinstance(bound, Gt) else
               value <= bound.le if isinstance(bound, Le) else value < bound.lt for bound in bounds)


JOINED = {"pretext", "loss", "batch_size", "views", "warm_up"}  # settings that rules join with others
KINDS = {ScoreConfig: PRESETS, SamplerConfig: SAMPLERS, PrunerConfig: PRUNERS, Limits: {"none": Limits()},
         Recipe: RECIPES}


@st.composite
def changes(draw, values=None):
    "A preset and other values for up to three of its settings; those that may be, or any."
    kind = draw(st.sampled_from(list(KINDS)))
    hints = setting_types(kind)
    names = draw(st.lists(st.sampled_from(list(hints)), min_size=1, max_size=3, unique=True))
    return (draw(st.sampled_from(list(KINDS[kind].values()))),
            {name: draw(allowed(hints[name]) if values is None else values) for name in names})

    def test_set_of_edges(self):
        "A set has another order in each process, so it describes no cell."
        edges = {("sep_conv_3x3", 0), ("skip_connect", 1)}
        with self.assertRaisesRegex(ValueError, "edges are"):
            CellGraph(edges, [2])
        with self.assertRaisesRegex(ValueError, "edges are"):
            from_text(f"Genotype(normal={edges!r}, normal_concat=[2], reduce={edges!r}, reduce_concat=[2])")


class TestSettings(Hostile):
    @cases(80, drawn=changes())
    def test_allowed(self, drawn):
        preset, changed = drawn
        made = self.refused(lambda: replace(preset, **changed), *(f"{name} must be " for name in JOINED))
        if made is None: return
        stored = json.loads(json.dumps(asdict(made)))
        again = config_from_dict(stored) if isinstance(made, ScoreConfig) else type(made)(**stored)
        self.assertEqual(again, made)

    @cases(120, drawn=changes(VALUES))
    def test_any(self, drawn):
        preset, changed = drawn
        words = [f"{name} must be " for name in asdict(preset)]
        made = self.refused(lambda: replace(preset, **changed), *words)
        if made is None: return
        for name, value in changed.items():
            self.assertTrue(value is None or isinstance(value, (bool, str)) or math.isfinite(value), (name, value))

    def test_every(self):
        "Every setting by itself: exactly the numbers within its bounds are taken, the others named."
        for kind in KINDS:
            for name, hint in setting_types(kind).items():
                for value in HUGE:
                    made = self.refused(lambda kind=kind, name=name, value=value: kind(**{name: value}), " must be ")
                    if made is None and is_within(hint, value): self.assertIn(name, JOINED)
                    self.assertTrue(made is None or is_within(hint, value), f"{kind.__name__}({name}={value})")

    @cases(60, name=st.sampled_from([f.name for f in fields(ScoreConfig)]), value=VALUES)
    def test_named(self, name, value):
        if self.refused(lambda: replace(QUICK, **{name: value}), " must be ") is not None: return
        with self.assertRaises(ValueError) as stopped: replace(QUICK, **{name: value})
        rule = re.match(r"(\w+) must be ", str(stopped.exception))[1]
        self.assertTrue(rule != name or shown(value) in str(stopped.exception), stopped.exception)

    @cases(60, stored=st.dictionaries(st.sampled_from([f.name for f in fields(ScoreConfig)]) | st.text(max_size=5),
                                      NESTS, max_size=3))
    def test_stored(self, stored):
        words = [f"{name} must be " for name in asdict(QUICK)] + ["unexpected keyword argument"]
        self.refused(lambda: config_from_dict(stored), *words, kinds=(ValueError, TypeError))     # as it says

    @cases(60, name=st.sampled_from([f.name for f in fields(SearchOptions)]), value=VALUES)
    def test_any_option(self, name, value):
        words = f"{name} must be ", "delay must be "
        options = self.refused(lambda: SearchOptions(**{name: value}), *words)
        self.assertTrue(options is None or isinstance(options.pareto, bool))

    @cases(60, nodes=VALUES, primitives=VALUES, encoding=VALUES)
    def test_any_space(self, nodes, primitives, encoding):
        words = "nodes must be in 1..7, got ", "primitives must be ", "encoding must be one of ", "unknown operation "
        for changed in ({"nodes": nodes}, {"primitives": primitives}, {"primitives": [primitives]},
                        {"encoding": encoding}):
            space = self.refused(lambda changed=changed: SearchSpace(**changed), *words)
            self.assertTrue(space is None or isinstance(space.nodes, int) and 1 <= space.nodes <= 7)
        told = "these parameters make no cell of the space: "
        for params in (nodes, {"normal_2_first": nodes}, dict(random_params(SearchSpace(), 0), normal_3_inputs=nodes)):
            self.assertIsNone(self.refused(lambda params=params: decode_genotype(SearchSpace(), params), told))

    @cases(60, nodes=st.integers() | st.sampled_from(HUGE), encoding=st.sampled_from(["pairs", "released", "x", ""]),
           primitives=st.lists(st.sampled_from([*OPERATIONS, "", "\ud800", "x"]), max_size=5))
    def test_spaces(self, nodes, encoding, primitives):
        space = self.refused(lambda: SearchSpace(nodes, tuple(primitives), encoding), "nodes must be in 1..7, got ",
                             "primitives must be ", "encoding must be ", "unknown operation ")
        if space is not None: self.assertEqual(len(cell_of(space, 0).cells["normal"].nodes), nodes)


# run folders


def cheap(genotype, report):
    "A score that costs nothing."
    return int(genotype.digest[:4], 16) / 2**16


class TestRunFolders(Hostile):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.whole, cls.images = cls.folder / "run", load_images("digits", limit=40)
        search(cls.images, 3, objective=cheap, folder=cls.whole, progress=False)
        recipe = Recipe(channels=2, layers=1, epochs=1, batch_size=32)
        evaluate_cells([("known", KNOWN_CELLS["DARTS_V2"])], load_splits("digits", limit=150), recipe, seeds=[0],
                       folder=cls.whole, progress=False)
        cls.files = {name: (cls.whole / name).read_bytes() for name in ("settings.json", "evaluation.json")}
        with contextlib.closing(sqlite3.connect(cls.whole / "study.db")) as database:
            database.execute("vacuum into ?", (str(cls.folder / "whole.db"),))     # all of it in one file
        cls.files["study.db"] = (cls.folder / "whole.db").read_bytes()
        cls.network = next(cls.whole.rglob("network.safetensors")).read_bytes()
        tiny = replace(QUICK, channels=2, layers=1, batch_size=8, passes=64)
        save_pretrained(pretrain(KNOWN_CELLS["DARTS_V2"], cls.images, tiny), cls.folder / "pretrained.safetensors")

    def with_file(self, name, content):
        "A run folder that holds this alone."
        place = self.folder / "damaged"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        (place / name).write_bytes(content)
        return place

    @cases(30, draw=st.data())
    def test_cut(self, draw):
        "JSON that is none."
        for name, read in {"settings.json": lambda place: open_run(place).config,
                           "evaluation.json": lambda place: open_run(place).reports}.items():
            place = self.with_file(name, draw.draw(cut(self.files[name].strip())))
            for ask in (read, load_classifier) if name == "evaluation.json" else (read,):
                self.assertIsNone(self.refused(lambda ask=ask, place=place: ask(place), str(place)))

    def test_other(self):
        "JSON of something else."
        others = [b"null", b"3", b"[]", b"{}", b'{"versions": "x"}', b'{"versions": [3]}',
                  b'{"config": 3, "origin": 3}', b'{"reports": 3}', b'{"reports": [1]}', b'{"reports": []}',
                  b'{"reports": [{"recipe": 3}]}']
        for content in others:
            place = self.with_file("settings.json", content)
            told = f"{place / 'settings.json'} was written by csnas_nb ", f"{place / 'settings.json'} is "
            self.assertIsNone(self.refused(lambda place=place: open_run(place).config, *told), content)
            place = self.with_file("evaluation.json", content)
            self.assertIsNone(self.refused(lambda place=place: load_classifier(place), str(place)), content)
            found = self.refused(lambda place=place: open_run(place).reports, str(place))
            self.assertTrue(not found, content)
        for deep in (b"[" * 100_000, b'{"reports": ' * 100_000):
            place = self.with_file("settings.json", deep)
            self.assertIsNone(self.refused(lambda place=place: open_run(place).config, str(place)))
            place = self.with_file("evaluation.json", deep)
            self.assertIsNone(self.refused(lambda place=place: open_run(place).reports, str(place)))
            self.assertIsNone(self.refused(lambda place=place: load_classifier(place), str(place)))
            place = self.with_file("check.json", deep)
            self.assertIsNone(self.refused(lambda place=place: known_repeatability(QUICK, self.images, place, SPACE),
                                           str(place)))

    @cases(40, name=st.sampled_from([f.name for f in fields(ScoreConfig)]) | st.text(max_size=5), value=NESTS)
    def test_settings(self, name, value):
        stored = json.loads(self.files["settings.json"])
        stored["config"][name] = value
        place = self.with_file("settings.json", json.dumps(stored).encode())
        config = self.refused(lambda: open_run(place).config, f"{place / 'settings.json'} was written by csnas_nb ")
        self.assertTrue(config is None or json.loads(json.dumps(asdict(config))) == stored["config"]
                        or value == "retrieval_error")

    @cases(20, gone=st.sets(st.integers(0, 12), min_size=1, max_size=3))
    def test_reports(self, gone):
        stored = json.loads(self.files["evaluation.json"])
        report = stored["reports"][0]
        names = ["genotype", "recipe", "classes", "seeds", "measures", "valid_errors", "epochs_done", "size", "latency",
                 "memory", "seconds", "sides", "files"]
        for k in gone: del report[names[k]]
        place = self.with_file("evaluation.json", json.dumps(stored).encode())
        told = [f"a report of another version: it has no {', '.join(n for n in report_names() if n not in report)}"]
        self.assertIsNone(self.refused(lambda: open_run(place).reports, *told))
        self.assertIsNone(self.refused(lambda: load_classifier(place), *told))

    @cases(60, where=st.lists(st.integers(0, 40), min_size=1, max_size=4), value=NESTS)
    def test_report(self, where, value):
        "A report with one entry put another way, however deep: it is refused by the file's name, or it can be printed."
        stored = json.loads(self.files["evaluation.json"])
        inner = [stored["reports"][0]]
        for step in where:
            key = (list(inner[-1]) if isinstance(inner[-1], dict) else range(len(inner[-1])))[step % len(inner[-1])]
            last = inner[-1]
            if not isinstance(last[key], (dict, list)) or not last[key]: break
            inner.append(last[key])
        last[key] = value
        place = self.with_file("evaluation.json", json.dumps(stored).encode())
        found = self.refused(lambda: open_run(place).reports, str(place / "evaluation.json"))
        if found: self.assertIn("multiply-adds", comparison_table([Compared("found", found[0])]))
        self.refused(lambda: load_classifier(place), str(place))

    @cases(40, part=st.sampled_from(["data", "images", "source", "root", "split_seed", "splitting", "test"]), value=NESTS)
    def test_evaluated(self, part, value):
        "What an evaluation says of its images, put another way."
        stored = json.loads(self.files["evaluation.json"]) | {"data": {"source": "digits", "seed": 0}}
        inner = {"data": stored, "images": stored, "test": stored["images"]}.get(part, stored["data"])
        inner[part] = value
        place = self.with_file("evaluation.json", json.dumps(stored).encode())
        found = self.refused(lambda: evaluated_on(place), str(place / "evaluation.json"))
        self.assertTrue(found is None or isinstance(found["source"], str))

    @cases(40, part=st.sampled_from(["images", "sides", "mean", "std"]), value=NESTS)
    def test_shown(self, part, value):
        "How images were shown to a network that was trained without labels, and the temperature of another."
        path = self.folder / "shown.safetensors"
        header, weights = read_tensors(self.folder / "pretrained.safetensors", ())
        (header if part == "images" else header["images"])[part] = value
        write_tensors(path, weights, header)
        found = self.refused(lambda: load_pretrained(path), str(path))
        self.assertTrue(found is None or found.sides is None or min(found.sides) > 0 and min(found.std) > 0)
        header, weights = read_tensors(next(self.whole.rglob("network.safetensors")), ())
        header["classifier"]["temperature"] = value
        write_tensors(path, weights, header)
        found = self.refused(lambda: load_classifier(path), str(path))
        self.assertTrue(found is None or found.temperature is None or 0.01 <= found.temperature <= 100)

    @unittest.skipUnless(hasattr(os, "mkfifo"), "pipes of a file system")
    def test_pipes(self):
        "What is no plain file is refused by its name, and not waited for."
        readers = {"settings.json": read_json, "evaluation.json": read_reports, "log.csv": read_log,
                   "network.safetensors": load_trained, "other.safetensors": load_pretrained}
        place = self.folder / "pipes"
        for name, read in readers.items():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            for make in (os.mkfifo, os.mkdir):
                make(place / name)
                target = place if read is read_reports else place / name
                self.assertIsNone(self.refused(lambda read=read, target=target: read(target), f"{place / name} is a "))
                os.unlink(place / name) if make is os.mkfifo else os.rmdir(place / name)

    def test_links(self):
        "Nothing is written by way of a link, and locks empty nothing."
        precious = self.holding("precious", b"of somebody else")
        place = self.folder / "links"
        place.mkdir()
        report = json.loads(self.files["evaluation.json"])["reports"][0]
        for name in ("evaluation.json", ".evaluation.json", "settings.json", ".settings.json", "log.csv", ".log.csv"):
            (place / name).symlink_to(precious)
        for name in ("settings.json", "log.csv"): write_whole(place / name, b"{}")
        (place / "evaluation.json").unlink()
        write_evaluation(place, {"reports": [report]})
        for name in (".lock", ".evaluation.lock"):
            (place / name).unlink(missing_ok=True)
            (place / name).symlink_to(precious)
        self.assertIsNone(self.refused(lambda: write_evaluation(place, {"reports": []}), ".evaluation.lock is a link"))
        with self.assertRaisesRegex(ValueError, "lock is a link"), only_one(place): pass
        self.assertEqual(precious.read_bytes(), b"of somebody else")
        self.assertEqual(len(read_reports(place)), 1)

    def test_outside(self):
        "A report whose files lie elsewhere is refused by all who read it."
        for files in (["../../secret/network.safetensors"], ["/etc/hostname"], [""], [3], "x"):
            stored = json.loads(self.files["evaluation.json"])
            stored["reports"][0]["files"] = files
            place = self.with_file("evaluation.json", json.dumps(stored).encode())
            told = str(place / "evaluation.json")
            for read in (read_reports, load_classifier, report_page, lambda place: open_run(place).reports):
                self.assertIsNone(self.refused(lambda read=read, place=place: read(place), told), files)
            for verb in ("compare", "report"):
                self.assertIn(told, TestCommand.complains(self, verb, str(place)))

    def test_walked(self):
        "The images of a run are not looked for in folders of the system, whoever asks."
        settings = json.loads(self.files["settings.json"])
        for source in ("/proc", "/sys/kernel", "/dev", "/", str(Path.home())):
            settings["origin"] = {"source": source, "limit": 10}
            place = self.folder / "walked"
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(self.whole, place)
            (place / "settings.json").write_text(json.dumps(settings))
            for verb in ("evaluate", "rescore", "pretrain"):
                begun = time.perf_counter()
                more = ("--output", str(self.folder / "x.safetensors")) if verb == "pretrain" else ()
                self.assertIn("no images are sought there", TestCommand.complains(self, verb, str(place), *more))
                self.assertLess(time.perf_counter() - begun, LONGEST)

    def test_linked_study(self):
        "A search is not kept behind a link."
        place = self.folder / "linked"
        for name in ("study.db", "study.db-wal"):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            (place / name).symlink_to(self.folder / "elsewhere.db")
            self.assertIsNone(self.refused(lambda: search(self.images, 2, objective=cheap, folder=place, progress=False),
                                           f"{place / name} is a link"))
            self.assertFalse((self.folder / "elsewhere.db").exists())

    @unittest.skipUnless(sys.platform == "linux", "names of any bytes")
    def test_class_names(self):
        "A class whose name is not UTF-8, in every verb."
        photos, run = self.folder / "photos", self.folder / "named"
        for k, name in enumerate(("n\udcff", "other")):
            (photos / name).mkdir(parents=True)
            for i in range(12):
                pixels = np.random.default_rng(100 * k + i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(photos / name / f"{i}\udcfe.png")
        recipe = Recipe(channels=2, layers=1, epochs=1, batch_size=8)
        origin = {"source": str(photos)}
        evaluate_cells([("known", KNOWN_CELLS["DARTS_V2"])], load_splits(photos, size=8), recipe, seeds=[0], folder=run,
                       origin=origin, progress=False)
        for verb, *more in (("report", run), ("worst", run), ("predict", run, photos), ("compare", run), ("log", run)):
            for form in ((), ("--json",)):
                said, told = io.StringIO(), io.StringIO()
                with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
                    code = main([verb, *map(str, more), *form])
                self.assertEqual((code, "left out" in told.getvalue()), (0, False), (verb, told.getvalue()))
                said.getvalue().encode()
        page = (run / "report.html").read_text()
        self.assertIn("<td>n?</td>", page)

    @cases(30, content=cut(b'{"images": ["x"], "checks": {}}') | st.dictionaries(st.text(max_size=3), NESTS)
           .map(lambda found: json.dumps({"images": ["of others"]} | found).encode()))
    def test_check(self, content):
        place = self.with_file("check.json", content)
        known = self.refused(lambda: known_repeatability(QUICK, self.images, place, SPACE),
                             str(place / "check.json"))
        self.assertTrue(known is None or known[0] is True)

    @cases(30, checks=NESTS | st.dictionaries(st.text(max_size=3), NESTS.map(lambda inner: {"config": inner})),
           space=st.just(asdict(SPACE)) | NESTS)
    def test_own_check(self, checks, space):
        found = {"images": image_identity(self.images), "space": space, "checks": checks}
        place = self.with_file("check.json", json.dumps(found).encode())
        known = self.refused(lambda: known_repeatability(QUICK, self.images, place, SPACE),
                             str(place / "check.json"))
        self.assertTrue(known is None or known[0] is True)

    @cases(30, draw=st.data())
    def test_study(self, draw):
        good = self.files["study.db"]
        content = draw.draw(st.binary(max_size=200) | st.integers(0, len(good) - 5000).map(lambda at: good[:at])
                            | edited(good[:16], st.binary(max_size=4)).map(lambda head: head + good[16:]))
        assume(content != good)
        place = self.with_file("study.db", content)
        self.assertIsNone(self.refused(lambda: load_result(place), str(place)))
        self.assertIsNone(self.refused(lambda: open_run(place).cell(), str(place)))

    def test_tables(self):
        "A database of Optuna's in which something is missing."
        for change in ("delete from trial_user_attributes", "drop table trial_values", "delete from trial_values",
                       "alter table trials rename column number to place", "update alembic_version set version_num = 'x'",
                       "update trials set state = 'TIRED'", "delete from studies"):
            place = self.with_file("study.db", self.files["study.db"])
            with contextlib.closing(sqlite3.connect(place / "study.db")) as study:
                study.execute(change)
                study.commit()
            self.assertIsNone(self.refused(lambda place=place: load_result(place), str(place)), change)

    def test_foreign(self):
        "A database of something else, and none at all."
        place = self.with_file("study.db", b"")
        self.assertIsNone(self.refused(lambda: load_result(place), "study.db is empty"))
        with contextlib.closing(sqlite3.connect(place / "study.db")) as other: other.execute("create table t(a)")
        self.assertIsNone(self.refused(lambda: load_result(place), "study.db holds no study"))
        for name in ("study.db", "settings.json", "evaluation.json"):
            place = self.with_file("other", b"")
            (place / name).mkdir()
            self.assertIsNone(self.refused(lambda place=place: open_run(place), f"no run in {place}"))
        place = self.folder / "a?b"
        place.mkdir()
        (place / "study.db").write_bytes(self.files["study.db"])
        self.assertEqual(len(load_result(place).complete), 3)
        self.assertFalse((self.folder / "a").exists())

    @cases(25, draw=st.data())
    def test_network(self, draw):
        good = self.network
        content = draw.draw(st.integers(0, len(good) - 1).map(lambda at: good[:at])
                            | edited(good[:10], st.binary(max_size=3)).map(lambda head: head + good[10:]))
        assume(content != good)
        place = self.with_file("network.safetensors", content)
        self.assertIsNone(self.refused(lambda: load_classifier(place), str(place)))

    @cases(30, draw=st.data(), value=NESTS)
    def test_header(self, draw, value):
        "A whole file of another kind of network."
        header, weights = read_tensors(next(self.whole.rglob("network.safetensors")), ())
        part, deep = draw.draw(st.sampled_from(sorted(header))), draw.draw(st.booleans())
        if deep and isinstance(header[part], dict):
            value = header[part] | {draw.draw(st.sampled_from(sorted(header[part]))): value}
        path = self.folder / "foreign.safetensors"
        write_tensors(path, draw.draw(st.sampled_from([weights, {}])), header | {part: value})
        self.refused(lambda: load_classifier(path), str(path))
        self.refused(lambda: load_trained(path, identity=header["identity"]), str(path))

    def test_promised(self):
        "A small file that says it holds a huge network; weights of another network."
        header, weights = read_tensors(next(self.whole.rglob("network.safetensors")), ())
        path = self.folder / "huge.safetensors"
        for changed in ({"channels": 9999, "layers": 900}, {"layers": 10**9}, {"channels": 2**70}, {"channels": 3}):
            identity = header["identity"] | {"recipe": header["identity"]["recipe"] | changed}
            write_tensors(path, weights, header | {"identity": identity})
            self.assertIsNone(self.refused(lambda: load_classifier(path), str(path)), changed)
        settings = json.loads(json.dumps(asdict(QUICK)))
        genotype = json.loads(to_json(KNOWN_CELLS["DARTS_V2"]))
        for config in (settings, settings | {"channels": 9999, "layers": 900}, {}, [], 3, None, {"pretext": 3}):
            for cell in (genotype, {}, None):
                write_tensors(path, weights, {"genotype": cell, "config": config, "score": None})
                self.assertIsNone(self.refused(lambda: load_pretrained(path), str(path)))

    def test_whole(self):
        "What is not damaged is read."
        self.assertIsInstance(load_result(self.whole), SearchResult)
        self.assertEqual(load_result(self.with_file("study.db", self.files["study.db"])).genotype,
                         load_result(self.whole).genotype)
        self.assertEqual(len(open_run(self.whole).reports), 1)
        self.assertEqual(open_run(self.whole).config, QUICK)
        self.assertEqual(len(load_classifier(self.whole).classes), 10)


def report_names():
    "Names of what a report holds."
    from csnas_nb.evaluating.reports import Report
    return [f.name for f in fields(Report)]


# weights, tables, images

KEPT = {"w": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bool)}
TYPES = st.sampled_from([torch.float32, torch.int64, torch.uint8, torch.float16])


def tensor_file(header, body=b""):
    "A safetensors file with any header."
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


class TestWeights(Hostile):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        write_tensors(cls.folder / "good.safetensors", KEPT, {"score": 1.5, "config": {"a": [1, 2]}})
        cls.good = (cls.folder / "good.safetensors").read_bytes()

    @cases(30, shapes=st.dictionaries(st.text(max_size=9), st.tuples(TYPES, st.lists(st.integers(0, 3), max_size=3)),
                                      max_size=4), header=st.dictionaries(st.text(max_size=5), NESTS, max_size=3))
    def test_written(self, shapes, header):
        assume("__metadata__" not in shapes)
        tensors = {name: torch.ones(shape).to(kind) for name, (kind, shape) in shapes.items()}
        write_tensors(self.folder / "file", tensors, header)
        found, again = read_tensors(self.folder / "file", list(header))
        self.assertEqual(json.dumps(found, sort_keys=True), json.dumps(header, sort_keys=True))
        self.assertEqual(again.keys(), tensors.keys())
        for name, tensor in tensors.items(): self.assertTrue(torch.equal(again[name], tensor))

    @cases(100, draw=st.data())
    def test_damaged(self, draw):
        end = len(self.good) - 26
        content = draw.draw(st.integers(0, len(self.good) - 1).map(lambda at: self.good[:at])
                            | edited(self.good[:end], st.binary(max_size=4)).map(lambda head: head + self.good[end:])
                            | edited(self.good, st.sampled_from([b'"', b"[", b"}", b"9", b",", b"F16", b"-"]), 1))
        path = self.holding("damaged.safetensors", content)
        self.refused(lambda: read_tensors(path, ("score", "config")), str(path))

    def test_lies(self):
        "Headers that promise more than there is."
        kept = {"__metadata__": {"score": "1", "config": "{}"}}
        def promised(kind, shape, size): return kept | {"w": {"dtype": kind, "shape": shape, "data_offsets": [0, size]}}
        files = [b"", struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 99_000_000) + b"{}", tensor_file({}),
                 tensor_file(promised("F32", [2**40], 2**42)), tensor_file(promised("F6_E2M3", [4], 3), b"\0" * 3),
                 tensor_file({"__metadata__": [1]}), tensor_file({"__metadata__": {"score": 1}}),
                 tensor_file(promised("F32", [0, 2**63], 0)),
                 tensor_file({"__metadata__": kept["__metadata__"] | {"a": "[" * 100_000}}),
                 tensor_file(b'{"a":' * 100_000), tensor_file(b'{"__metadata__":{"score":"\\ud800","config":"1"}}')]
        for content in files:
            path = self.holding("lie.safetensors", content)
            self.assertIsNone(self.refused(lambda path=path: read_tensors(path, ("score", "config")), str(path)))
        self.assertIsNone(self.refused(lambda: read_tensors(self.folder, ()), f"{self.folder} is a folder"))


CELLS = [b",", b"\n", b'"', b"nan", b"-1", b"1e999", b"\0", b"\xff", b"image", b"0x1", b"2", b"\xef\xbb\xbf",
         b"\r", b";"]
NAMES = st.text("abcXYZ_ äé日", min_size=1, max_size=4).map(str.strip).filter(bool)


class TestTables(Hostile):
    @cases(40, classes=st.lists(NAMES, min_size=2, max_size=4, unique_by=str.lower), draw=st.data())
    def test_labels(self, classes, draw):
        "A table of labels, and a folder that goes with it."
        labels = draw.draw(st.lists(st.integers(0, len(classes) - 1), min_size=2, max_size=6))
        place = self.folder / "images"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        rows = [",".join([f"i{k}", *("01"[label == c] for c in range(len(classes)))]) for k, label in enumerate(labels)]
        table = place / "GroundTruth.csv"
        table.write_text("\n".join([",".join(["image", *classes]), *rows]), encoding="utf-8")
        self.assertEqual(read_ground_truth(table).to_numpy().argmax(1).tolist(), labels)
        there = draw.draw(st.sets(st.integers(0, len(labels) - 1), min_size=1))
        for k in there: (place / f"i{k}.png").touch()
        found = self.refused(lambda: folder_catalogue(place, labelled=True, progress=False), str(table))
        if found is None: return self.assertLess(len(there), len(labels))
        self.assertEqual([found.classes[k] for k in found.labels], [classes[label] for label in labels])

    @cases(80, content=edited(b"image,NEV,MEL\na,1,0\nb,0,1\nc,1.0,0.0\n",
                              st.sampled_from(CELLS) | st.binary(max_size=3)) | st.binary(max_size=30))
    def test_damaged(self, content):
        path = self.holding("GroundTruth.csv", content)
        table = self.refused(lambda: read_ground_truth(path), str(path))
        if table is not None: self.assertTrue((table.sum(axis=1) == 1).all() and table.index.is_unique)

    def test_names(self):
        "Names are text: numbers with zeros before them, and what other programs take for nothing."
        names = ["007", "7", "7.0", "NA", "nan", "None", "1e3", "-0", "True"]
        path = self.holding("GroundTruth.csv", "\n".join(["image,A,B", *(f"{name},1,0" for name in names)]).encode())
        self.assertEqual(read_ground_truth(path).index.tolist(), names)
        for head in ("image,A,A", "image,image,A", "A,image,A"):
            path = self.holding("GroundTruth.csv", f"{head}\na,1,0\n".encode())
            self.assertIsNone(self.refused(lambda path=path: read_ground_truth(path), str(path)), head)

    def test_shares(self):
        "Rows that add up to one and are no classes all the same."
        for row in ("2,-1", "0.5,0.5", "nan,1", "1,", "inf,-inf", "x,1", "True,x", "1,1", "0,0", "1e30,-1e30"):
            path = self.holding("GroundTruth.csv", f"image,A,B\na,1,0\nb,{row}\n".encode())
            self.assertIsNone(self.refused(lambda path=path: read_ground_truth(path), str(path)), row)
        for rows in ("a,1,0\na,0,1", "", ",x,1"):
            path = self.holding("GroundTruth.csv", f"image,A,B\n{rows}\n".encode())
            self.assertIsNone(self.refused(lambda path=path: read_ground_truth(path), str(path)), rows)
        for table in ("image\na\n", "image\n", "image,score_weight\na,1\n"):
            path = self.holding("GroundTruth.csv", table.encode())
            self.assertIsNone(self.refused(lambda path=path: read_ground_truth(path), str(path)), table)

    @cases(40, names=st.lists(st.sampled_from(["a", "b", "train", "test", "val", "Valid", "train/a", "test/a", "test/b",
                                               "train/b", ".hidden", "a/b/c", "valid/a", "Training/a", "seg_test/b",
                                               "seg_train/a", "a/x", "b/x", "b/y", "a/y"]), max_size=5),
           labelled=st.booleans())
    def test_layouts(self, names, labelled):
        "Folders in any order."
        place = self.folder / "layout"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for k, name in enumerate(names):
            (place / name).mkdir(parents=True, exist_ok=True)
            (place / name / f"{k}.png").touch()
        found = self.refused(lambda: folder_catalogue(place, labelled, progress=False), str(place))
        if found is None: return
        self.assertEqual(found.files, tuple(sorted(found.files)))
        parts = torch.cat([part for part in (found.train, found.valid, found.test) if part is not None])
        self.assertEqual(len(parts), len(parts.unique()))
        self.assertTrue(not labelled or len(found.labels) == len(found.files) and len(found.classes) >= 2)


    @cases(60, kinds=st.lists(st.integers(0, 3), min_size=2, max_size=40), seed=st.integers(0, 2**63 - 1), draw=st.data())
    def test_cut(self, kinds, seed, draw):
        "Class folders with copies, in any proportion: no copy is on both sides, and the search knows the same test files."
        contents = [draw.draw(st.integers(0, 60)) for _ in kinds]
        place = self.folder / "cut"
        shutil.rmtree(place, ignore_errors=True)
        for n, (kind, content) in enumerate(zip(kinds, contents)):
            (place / "abcd"[kind]).mkdir(parents=True, exist_ok=True)
            (place / "abcd"[kind] / f"{n}.png").write_bytes(f"{content}".encode())
        known = folder_catalogue(place, False, progress=False, split_seed=seed)
        tested, learnt = ([known.files[i] for i in part.tolist()] for part in (known.test, known.train))
        self.assertEqual(sorted([*tested, *learnt]), sorted(known.files))
        self.assertFalse({file.read_bytes() for file in tested} & {file.read_bytes() for file in learnt})
        self.assertEqual(bool(tested), len({*contents}) > 1)
        found = self.refused(lambda: folder_catalogue(place, True, progress=False, split_seed=seed), str(place))
        if found is not None: self.assertEqual([found.files[i] for i in found.test.tolist()], tested)

    @cases(60, size=st.integers(1, 5), draw=st.data())
    def test_links(self, size, draw):
        "Folders full of links to one another are read, each real file at its own place."
        place, ends = self.folder / "web", st.integers(0, size - 1)
        shutil.rmtree(place, ignore_errors=True)
        for n in range(size):
            (place / f"{n}").mkdir(parents=True)
            (place / f"{n}" / f"{n}.png").write_bytes(bytes([n]))
        for k, (a, b) in enumerate(draw.draw(st.lists(st.tuples(ends, ends | st.just(size)), max_size=8))):
            (place / f"{a}" / f"to{k}").symlink_to(place if b == size else place / f"{b}")
        found = folder_catalogue(place, False, progress=False).files
        self.assertEqual(len(found), len({*found}))
        self.assertLessEqual({place / f"{n}" / f"{n}.png" for n in range(size)}, {*found})


FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")


def picture(kind):
    "A small file in a format."
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


class TestImages(Hostile):
    @cases(20, pixels=st.binary(min_size=192, max_size=192), kind=st.sampled_from(["PNG", "BMP", "TIFF", "PPM"]))
    def test_pixels(self, pixels, kind):
        "What is kept without loss comes back to the byte."
        wanted = np.frombuffer(pixels, np.uint8).reshape(8, 8, 3)
        path = self.folder / f"good.{kind.lower()}"
        Image.fromarray(wanted).save(path, kind)
        images, kept, skipped = decode_images([path], 8, progress=False)
        self.assertTrue(np.array_equal(images[0].permute(1, 2, 0).numpy(), wanted) and not skipped and len(kept) == 1)

    @cases(90, kind=st.sampled_from(FORMATS), draw=st.data())
    def test_damaged(self, kind, draw):
        good, pieces = picture(kind), st.binary(max_size=3) | st.sampled_from([b"\xff", b"\0" * 4, b"\x7f\xff"])
        content = draw.draw(edited(good, pieces) | st.integers(0, len(good) - 1).map(lambda at: good[:at])
                            | edited(good[:64], pieces).map(lambda head: head + good[64:]) | st.binary(max_size=60))
        paths = [self.holding("good.png", picture("PNG")), self.holding(f"damaged.{kind.lower()}", content)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = self.refused(lambda: decode_images(paths, 8, progress=False), f"{paths[1]} does not decode (")
            with self.subTest("skipped"), mock.patch("csnas_nb.formats.decoding._log"):
                images, kept, skipped = decode_images(paths, 8, "skip", progress=False)
        self.assertEqual((len(images), skipped), (1, (paths[1].name,)) if found is None else (2, ()))
        self.assertEqual((images.shape[1:], images.dtype, kept[0]), ((3, 8, 8), torch.uint8, 0))

    def test_known(self):
        "Each kind of error that Pillow has, and pictures that are too large or have no range."
        real = io.BytesIO()
        Image.fromarray(np.ones((4, 4), np.float32)).save(real, "TIFF")
        png = picture("PNG")
        files = {"a.png": b"", "b.ppm": b"P6 20000 20000 255\n", "c.ppm": b"P6 a b 255\n", "d.tif": real.getvalue(),
                 "e.png": png[:8] + b"\0\0\0\x0dIHXR" + png[16:], "f.png": png[:40], "g.png": b"\0" * 99,
                 "h.png": png.replace(b"IDAT", b"IDAX"), "i.ppm": b"P6 8 8 99999999\n" + b"\0" * 192,
                 "j.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "k.png": b"BM" + b"\0" * 60,
                 "l.jpg": b"\xd7\xcd\xc6\x9a\0\0" + b"\0" * 60}
        os.mkfifo(self.folder / "pipe.png")
        for name, content in [*files.items(), ("pipe.png", None)]:
            path = self.folder / name if content is None else self.holding(name, content)
            told = f"{path} does not decode ("
            self.assertIsNone(self.refused(lambda path=path: decode_images([path], 8), told), name)


# the command


@functools.cache
def valued(verb):
    "The options of a verb that take a value, by name."
    parameters = typer.main.get_command(make_app(verb)).commands[verb].params
    return {p.opts[0]: p for p in parameters if p.param_type_name == "option" and not getattr(p, "is_flag", False)}


def options(verb): return list(valued(verb))


NOWHERE = {"search": ("--data", "nosuch"), "check": ("--data", "nosuch"), "evaluate": ("DARTS_V2", "--data", "nosuch"),
           "rescore": ("nosuch",), "pretrain": ("nosuch",), "show": ("nosuch",), "log": ("nosuch",),
           "compare": ("nosuch",), "export": ("nosuch", "x.onnx"), "worker": ("nosuch://x",), "proxy": ("nosuch://x",),
           "predict": ("nosuch", "x.jpg"), "worst": ("nosuch",), "features": ("nosuch", "nosuch", "--output", "x.csv"),
           "probe": ("nosuch",)}
REAL = {"search": ("digits",), "check": ("digits",), "evaluate": ("DARTS_V2", "--data", "digits"),
        "rescore": ("nosuch",), "pretrain": ("DARTS_V2", "--data", "digits", "--output", "x.safetensors"),
        "show": ("DARTS_V2",), "log": (".",), "compare": ("DARTS_V2",), "export": (".", "x.onnx"),
        "worker": ("sqlite:///x.db",), "proxy": ("sqlite:///x.db",), "predict": (".", "x.jpg"), "worst": (".",),
        "features": (".", "digits", "--output", "x.csv"), "probe": (".", "--data", "digits")}  # with which it would begin
MORE = {"export": ("x.onnx",), "predict": ("x.jpg",), "features": ("nosuch", "--output", "x.csv")}  # beside a target
OPTIONS = [(verb, name) for verb in NOWHERE for name in options(verb)]
RANGED = [(verb, name, p.metavar, p.help) for verb in NOWHERE for name, p in valued(verb).items()
          if p.metavar in ("INT", "FLOAT")]
NUMBERS = st.sampled_from(["-1", "0", "nan", "inf", "-inf", str(2**70), "1e400", "1" + "0" * 309, "9" * 5000,
                           "0x10", "1_000", "٣", "²", " 1", "+1"])
ARGUMENTS = st.one_of(NUMBERS, TEXTS, st.integers(-10**300, 10**300).map(str), st.floats().map(str),
                      st.sampled_from(["", "\0", "\ud800", "a\nb", "--", "-", "=", "%s", "{}", "*", "nosuch/nosuch"]))


def harmless(text):
    "Whether it names no images, cell or folder that are there, and asks for no help: nothing can begin."
    return (text not in (*DATASETS, *KNOWN_CELLS, "-h", "--help", "--version")
            and not os.path.isabs(text) and ".." not in text and "~" not in text and "://" not in text)


class TestCommand(Hostile):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        root = logging.getLogger()
        cls.addClassCleanup(root.setLevel, root.level)
        for handler in root.handlers: cls.addClassCleanup(root.addHandler, handler)
        cls.addClassCleanup(root.handlers.clear)

    def complains(self, *arguments):
        "One line on standard error, and exit code 2."
        said, told = io.StringIO(), io.StringIO()
        began = AssertionError("a search or a server began")
        with (contextlib.redirect_stdout(said), contextlib.redirect_stderr(told),
              mock.patch("csnas_nb.command.search_verbs.search", side_effect=began),
              mock.patch("csnas_nb.command.worker_verbs.serve_storage", side_effect=began)):
            code = main(arguments)
        self.assertRegex(told.getvalue(), r"\Acsnas: error: [^\n]+\n\Z")
        self.assertNotIn("Traceback", told.getvalue())
        self.assertEqual((code, said.getvalue()), (2, ""))
        return told.getvalue()

    @cases(250, option=st.sampled_from(OPTIONS), value=ARGUMENTS)
    def test_options(self, option, value):
        verb, name = option
        assume(harmless(value))
        self.complains(verb, *NOWHERE[verb], name, value)

    def test_ranges(self):
        "Every number has two ends, which its help shows; beyond them it is refused by its name, with all else right."
        self.assertGreater(len(RANGED), 90)
        for verb, name, metavar, text in RANGED:
            with self.subTest(verb=verb, option=name):
                self.assertRegex(text, r"\((at least|above) .* and (at most|below) .*\)\.$")
                for value in (10**26, -10**26, "nan", "x", ""):
                    told = self.complains(verb, *REAL[verb], name, str(value))
                    self.assertIn(f"'{name}'", told)
                    self.assertIn("must be a whole number" if metavar == "INT" else "must be a finite number", told)
        for verb, (module, _) in VERBS.items():                          # and no number is read without a range
            function = getattr(importlib.import_module(module), f"{verb}_verb")
            for parameter in inspect.signature(function).parameters.values():
                kind, made = bare_type(get_args(parameter.annotation)[0])[0], parameter.annotation.__metadata__[0]
                if kind in (int, float): self.assertIsNotNone(made.parser, (verb, parameter.name))

    def test_large(self):
        "What is within its range and yet needs more memory than there is."
        with mock.patch("csnas_nb.command.targets.total_memory", lambda device: 16 * 10**9):
            for verb, *given in (
                    ("search", "--channels", "10000", "--layers", "100"), ("search", "--channels", "10000"),
                    ("check", "--channels", "9999", "--layers", "9"), ("pretrain", "--layers", "1000", "--channels", "900"),
                    ("evaluate", "--channels", "10000"), ("evaluate", "--batch-size", "1000000", "--size", "512"),
                    ("search", "--preset", "paper", "--channels", "3000")):
                self.assertRegex(self.complains(verb, *REAL[verb], *given), "takes at least [0-9,.]+ GB")

    def test_paths(self):
        "An empty text is no path: Python takes it for the current folder."
        empty = 0
        for verb in NOWHERE:
            for name, parameter in valued(verb).items():
                if parameter.metavar not in ("PATH", "TEXT"): continue
                empty += 1
                for value in ("", "  "): self.assertIn("must not be empty", self.complains(verb, *REAL[verb], name, value))
        self.assertGreater(empty, 20)
        for verb in set(VERBS) - {"worker", "proxy"}:                    # these ask for an address
            self.assertIn("must not be empty", self.complains(verb, "", *MORE.get(verb, ())))
        self.assertIn("given twice", self.complains("search", "digits", "--data", "cifar10"))

    @cases(60, verb=st.sampled_from(list(VERBS)), target=ARGUMENTS | edited(to_text(KNOWN_CELLS["DARTS_V2"]), PIECES))
    def test_targets(self, verb, target):
        assume(harmless(target))
        if "Genotype(" in target:
            try: from_text(target)
            except ValueError: pass
            else: return
        before = ("--data", "nosuch") if "--data" in options(verb) else ()     # whatever the target does
        self.complains(verb, *before, target, *MORE.get(verb, ()))

    @cases(30, words=st.lists(ARGUMENTS, min_size=1, max_size=3))
    def test_words(self, words):
        assume(all(map(harmless, words)) and words[0] not in VERBS)
        self.complains(*words)

    def test_storages(self):
        "Addresses of storages that are none."
        for address in ("nosuch", "nosuch://x", "x.db", "sqlite://", "sqlite:///", "grpc://", "grpc://localhost:x",
                        "postgresql://", "mysql://x", "http://x", "://", "", "\0", "\ud800"):
            for verb in ("worker", "proxy"): self.complains(verb, address)
        nowhere = self.folder / "no" / "x.db"
        self.complains("worker", f"sqlite:///{nowhere}")
        self.assertFalse(nowhere.parent.exists())

    def test_wrong(self):
        "What is refused only when the images are there."
        for arguments in (("--limit", "0"), ("--limit", "-1"), ("--size", "0"), ("--trials", "-1"), ("--split", "x"),
                          ("--seed", "-1", "--limit", "30"), ("--seed", str(2**70), "--limit", "30"),
                          ("--device", "x"), ("--size", str(2**70)), ("--size", "5000"), ("--device", "hpu"),
                          ("--device", "privateuseone"), ("--device", "meta")):
            said, told = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
                code = main(["search", "--sampler", "random", "--run", str(self.folder / "run"), *arguments])
            self.assertEqual(code, 2, arguments)
            self.assertRegex(told.getvalue(), r"\Acsnas: error: [^\n]+\n\Z")
        for name, value in (("--channels", 2**70), ("--layers", 10**9), ("--layers", 2**70), ("--top", -5)):
            self.complains("show", "DARTS_V2", name, str(value))
        with mock.patch.dict(os.environ, WORLD_SIZE="x"): self.complains("show", "DARTS_V2")
        self.assertFalse((self.folder / "run" / "study.db").exists())


    def test_fonts(self):
        "What matplotlib says where it takes long to list the fonts, once on each machine, is not passed on."
        slow = ("import sys, threading, time; real = threading.Timer; threading.Timer = lambda seconds, say: real(0, say);"
                "from csnas_nb.__main__ import main; code = main(['show', 'DARTS_V2']); sys.exit(code)")
        done = subprocess.run([sys.executable, "-c", slow], capture_output=True, text=True,
                              env=os.environ | {"MPLCONFIGDIR": str(self.folder / "fonts")})
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertTrue(list((self.folder / "fonts").glob("fontlist*")))

    def test_logs(self):
        "Files that are no log of a training."
        path = self.holding("log.csv", b"")
        good = b"epoch,loss,valid_loss,valid_error,learning_rate\n"
        for content in (b"", good, b"epoch,loss\n1,2\n", b"loss\n1\n", b"\xff", good + b"x,1,1,1,1\n",
                        good + b"1,1,1,x,1\n", good + b",1,1,1,1\n", good + b"1e999,1,1,1,1\n", b'"', b"\0"):
            path.write_bytes(content)
            for more in ((), ("--picture", "log.png")): self.complains("log", str(self.folder), *more)
            self.assertIsNone(self.refused(lambda: plot_log(path), str(path)), content)
        path.unlink()


class TestNumber(unittest.TestCase):
    def test_planned(self):
        "Are there as many cases as promised?"
        self.assertGreaterEqual(sum(PLANNED.values()), 10_000 if SLOW else 500)


if __name__ == "__main__":
    unittest.main()
