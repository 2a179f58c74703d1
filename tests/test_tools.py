"""Tests of tools/: each makes what it needs in a temporary folder and leaves the tree alone."""
from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "benchmarks")]

import equal
import execution
import floors
import notebooks
import pages
import project
import rooms
import space
import street
import torch
from execnb.nbio import dict2nb, mk_cell, read_nb, write_nb

NAME = street.order()[0]
WHOLE = ["# Title\n\n> line", f"{execution.OPENING} much",
         "## Recap\n\nSo.\n\n**Exercises**\n\n1. *Change this and see.* Do\n2. *Open.* Think\n\nNext: [it](NEXT)", "## Solutions",
         "**1.** Done", "**2.** Thought"]


def notebook(*cells):
    "A notebook of texts (Markdown) and cells."
    return dict2nb({"cells": [mk_cell(cell, "markdown") if isinstance(cell, str) else cell for cell in cells],
                    "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


class Temporary(unittest.TestCase):
    "With a folder of its own."

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp()).resolve()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path


class TestForm(unittest.TestCase):
    def test_whole(self):
        following = Path(street.order()[1])
        link = following.name if following.parent == Path(NAME).parent else f"../{following}"
        texts = [text.replace("NEXT", link) for text in WHOLE]
        self.assertEqual(execution.form_faults(notebook(*texts), NAME), [])
        self.assertEqual(len(execution.form_faults(notebook(*texts[:-1]), NAME)), 1)

    def test_nothing(self):
        found = execution.form_faults(notebook("# Title"), NAME)
        self.assertEqual(len(found), 7)
        self.assertEqual(execution.form_faults(notebook("# Title"), street.FRONT), [])

    def test_reading(self):
        made = "#| export\ndef f(): return 1"
        self.assertEqual(execution.reading_faults(notebook("Why.", mk_cell(made))), [])
        for cells in (["word " * 2_501], [mk_cell("a = 1\n" * 401)], ["Why.", mk_cell("f()"), mk_cell(made)]):
            self.assertEqual(len(execution.reading_faults(notebook(*cells))), 1)
        away = mk_cell("#| code-fold: true\n" + "a = 1\n" * 401), mk_cell(made.replace("\n", "\n#| code-fold: true\n", 1))
        self.assertEqual(execution.reading_faults(notebook("Why.", *away)), [])

    def test_weight(self):
        self.assertEqual(execution.faults(project.ROOT / "nbs" / NAME), [])
        with mock.patch.object(execution, "BYTES", 1_000):
            found, = execution.faults(project.ROOT / "nbs" / NAME)
        self.assertIn("bytes, 1,000 at most", found)

    def test_pictures(self):
        picture = mk_cell("show()")
        picture["outputs"] = [{"data": {"image/png": ""}}]
        self.assertEqual(execution.form_faults(notebook(picture, "*A house.*"), street.FRONT), [])
        self.assertEqual(len(execution.form_faults(notebook("# Title", picture, "**Bold**"), street.FRONT)), 1)
        self.assertEqual(len(execution.form_faults(notebook("# Title", picture), street.FRONT)), 1)

    def test_summary(self):
        folds = [mk_cell(f'#| code-fold: true\n#| code-summary: "{words}"\n1') for words in ("no `f`", "no f")]
        self.assertEqual([len(execution.form_faults(notebook("# Title", fold), street.FRONT)) for fold in folds], [1, 0])

    def test_shell(self):
        good = mk_cell('import sys\n!"{sys.executable}" -m csnas_nb search \\\n  --trials 6\nassert _exit_code == 0')
        other = mk_cell('a = (b\n    != c)\nsubprocess.run([sys.executable, "-m", "csnas_nb"])')
        self.assertEqual(execution.shell_faults(notebook("!csnas in prose", good, other)), [])
        for source in ("!csnas show DARTS_V2\nassert _exit_code == 0", '!"{sys.executable}" -m csnas_nb show DARTS_V2',
                       'subprocess.run(["csnas", "show"])', 'subprocess.run([\n    "csnas",\n "show"])',
                       '["--no-python", "csnas"]', "    !ls\n    assert _exit_code == 0"):
            self.assertEqual(len(execution.shell_faults(notebook("# Title", mk_cell(source)))), 1, source)
        for path in project.notebooks():
            self.assertEqual(execution.shell_faults(read_nb(path)), [], path)

    def test_stored(self):
        path = project.ROOT / "nbs" / NAME
        read = read_nb(path)
        self.assertFalse(execution.is_stamp(read.cells[0]))
        execution.stamp_notebook(read, path)
        once = execution.clean_text(read)
        execution.stamp_notebook(read, path)
        self.assertEqual(execution.clean_text(read), once)
        self.assertEqual([cell.get("id") for cell in read.cells[1:4]], ["colab-badge", "street", "colab-install"])


class TestExecution(Temporary):
    def execute(self, *cells, options=("--write",)):
        path = self.folder / "one.ipynb"
        made = notebook(*map(mk_cell, cells))
        made.cells[-1].outputs = [{"output_type": "stream", "name": "stdout", "text": ["before"]}]
        write_nb(made, path)
        execution.execute_apart(path, *options)
        return read_nb(path).cells

    def test_stores(self):
        slow = "#| slow\nraise ValueError"
        said, described, shown, kept = self.execute("print(6 * 7)", 'ROOM = 3\n"What it is."', "ROOM + 1", slow)
        self.assertEqual(said.outputs[0].text, ["42\n"])
        self.assertEqual(described.outputs, [])
        self.assertEqual(shown.outputs[0].data["text/plain"], ["4"])
        self.assertEqual(kept.outputs[0].text, ["before"])

    def test_fails(self):
        with self.assertRaisesRegex(project.Failure, "(?s)Cell #2.*ZeroDivisionError"):
            self.execute("1", "1 / 0")
        self.assertEqual(read_nb(self.folder / "one.ipynb").cells[0].outputs, [])
        with self.assertRaisesRegex(project.Failure, "Cell #1 prints on stderr:\nhelp"):
            self.execute("import sys\nprint('help', file=sys.stderr)")
        with self.assertRaisesRegex(project.Failure, "Cell #1"):
            self.execute("#| slow\nraise ValueError", options=("--slow",))


    def test_shell_line(self):
        "A line for the shell that fails ends the notebook, in the form that is asked for."
        line = '!"{sys.executable}" -c "import sys; sys.exit(CODE)"\nassert _exit_code == 0'
        self.execute("import sys", line.replace("CODE", "0"))
        with self.assertRaisesRegex(project.Failure, "(?s)Cell #2.*AssertionError"):
            self.execute("import sys", line.replace("CODE", "3"))


class TestStop(Temporary):
    "Ctrl-C ends the gate: what runs is interrupted, nothing more begins."
    JOBS = """
import signal, sys
sys.path.insert(0, TOOLS)
import execution, project
for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, project.stop)
def job(path, *options):
    project.call([sys.executable, "-c", WORK, path.stem])
execution.execute_apart = job
execution.execute_all({project.ROOT / f"{k}.ipynb": [] for k in range(9)})
"""
    WORK = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); DEAF\ntime.sleep(60)"

    def stopped(self, number, work):
        code = self.JOBS.replace("TOOLS", repr(str(project.ROOT / "tools"))).replace("WORK", repr(work))
        code = code.replace("import execution, project", "import execution, project, os\n"
                            f"os.chdir({str(self.folder)!r}); project.call.__kwdefaults__ = None\n"
                            f"project.call.__defaults__ = (project.Path({str(self.folder)!r}),)")
        running = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        last = time.monotonic() + 60
        while len(list(self.folder.iterdir())) < project.WORKERS and time.monotonic() < last: time.sleep(0.1)
        running.send_signal(number)
        began = time.monotonic()
        said = running.communicate(timeout=60)[0]
        return running.returncode, said, sorted(path.name for path in self.folder.iterdir()), time.monotonic() - began

    def test_interrupted(self):
        code, said, begun, seconds = self.stopped(signal.SIGINT, self.WORK.replace("DEAF", ""))
        self.assertEqual((code, begun), (130, ["7", "8"]), said)
        self.assertNotIn("FAIL", said)
        self.assertLess(seconds, project.PATIENCE)

    def test_deaf(self):
        "A job that does not listen is killed."
        deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
        code, said, begun, _ = self.stopped(signal.SIGTERM, self.WORK.replace("DEAF", deaf))
        self.assertEqual((code, begun), (143, ["7", "8"]), said)


class TestFloors(unittest.TestCase):
    def test_pins(self):
        self.assertEqual(floors.pins("torch>=2.4 optuna>=5,<6 psycopg[binary]>=3.1"),
                         ["optuna==5", "psycopg[binary]==3.1"])
        with self.assertRaisesRegex(project.Failure, "numpy in settings.ini states no lowest version"):
            floors.pins("typer>=0.16 numpy")
        self.assertIn("numpy==1.24", floors.pins(project.settings().requirements))


class TestSetup(unittest.TestCase):
    def test_links(self):
        "README on the package index: links to files lead to the repository, the others stay."
        with mock.patch("setuptools.setup") as told:
            runpy.run_path(str(project.ROOT / "setup.py"))
        text, git = told.call_args.kwargs["long_description"], project.settings().git_url
        self.assertIn(f"]({git}/raw/main/README_files/", text)
        self.assertIn(f"]({git}/blob/main/nbs/glossary.md#tpe)", text)
        self.assertIn("](#what-is-known-and-what-is-not)", text)
        self.assertEqual(told.call_args.kwargs["license_expression"], "Apache-2.0")


class TestSpace(Temporary):
    def test_space(self):
        self.assertEqual(space.lacking(str(self.folder / "no" / "venv"), 0), [])
        with mock.patch.object(shutil, "disk_usage", lambda place: SimpleNamespace(free=4e9)):
            self.assertEqual(space.lacking(str(self.folder / "venv"), 0.5), [])
            line, = space.lacking(str(self.folder / "venv"), 7)
        self.assertRegex(line, r"venv takes about 7 GB, .* has 4\.0 GB free, 10 GB are needed there$")

    def test_make(self):
        "`make` asks before it makes an environment, with a Python that has no packages."
        done = subprocess.run([sys.executable, "-S", "-I", project.ROOT / "tools" / "space.py", self.folder / "venv",
                               "1000000"], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1), done.stderr)
        make = (project.ROOT / "Makefile").read_text()
        self.assertLess(make.index("tools/space.py .venv"), make.index("-m venv .venv"))
        self.assertLess(make.index("tools/space.py .colab"), make.index("-m venv --clear .colab"))


class TestEqual(unittest.TestCase):
    "A ReLU that rounding turns is no fault; a way that is wrong differs for all weights."

    def worst(self, kind, wrong):
        found = lambda genotype, sides, kind, seed=0: (1e-6, 3e-3 if seed in wrong else 1e-6)
        with mock.patch.object(equal, "difference", found):
            return equal.worst({"cell": None}, kind, 1e-4)

    def test_single(self):
        self.assertEqual(self.worst(torch.float32, {0}), (1e-6, 1e-6))
        with self.assertRaisesRegex(AssertionError, "cell at .* differs by"):
            self.worst(torch.float32, {0, 1, 2})
        with self.assertRaisesRegex(AssertionError, "differs by"):
            self.worst(torch.float64, {0})


class TestProject(Temporary):
    def test_held(self):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            self.assertTrue(project.held("good", lambda: None))
            command = [sys.executable, "-c", "raise SystemExit('no')"]
            self.assertFalse(project.held("bad", lambda: project.call(command)))
            self.assertFalse(project.held("known", lambda: None, ["old"]))
            self.assertFalse(project.held("broken", lambda: {}["key"]))
        self.assertRegex(said.getvalue(), r"ok +0\.\d s  good\nFAIL +\d\.\d s  bad\nFAILED: bad: no\nFAIL")
        self.assertIn("FAILED: broken: KeyError('key')", said.getvalue())

    def test_export(self):
        shutil.copy(project.ROOT / "settings.ini", self.folder)
        cells = [mk_cell("#| default_exp rooms.one"), mk_cell("#| export\ndef one(): return 1")]
        (self.folder / "nbs" / "01_rooms").mkdir(parents=True)
        write_nb(notebook(*cells), self.folder / "nbs" / "01_rooms" / "01_one.ipynb")
        front = [mk_cell("#| default_exp __init__"),
                 mk_cell('#| export\n"The door."\nfrom __future__ import annotations')]
        write_nb(notebook("# Door\n> The door", *front), self.folder / "nbs" / "02_door.ipynb")
        gone = self.write("csnas_nb/rooms/gone.py", "left = 1")
        data = self.write("csnas_nb/bank.csv", "1,2")
        with mock.patch.object(project, "ROOT", self.folder):
            project.export()
            module = self.folder / "csnas_nb" / "rooms" / "one.py"
            before = module.stat().st_ino
            project.export()
        self.assertIn("def one", module.read_text())
        self.assertEqual(module.stat().st_ino, before)
        self.assertFalse(gone.exists())
        self.assertTrue(data.exists() and (self.folder / "pyproject.toml").is_file())
        text = (self.folder / "csnas_nb" / "__init__.py").read_text()
        self.assertLess(text.index("The door"), text.index("__version__"))
        self.assertEqual(list(self.folder.rglob(".*.py.*")), [])

    def test_copy_and_fresh(self):
        self.write("a/kept.txt", "kept")
        self.write("a/gone.txt", "gone")
        self.write(".gitignore", "ignored")
        with mock.patch.object(project, "ROOT", self.folder):
            for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "x"]):
                project.git(self.folder, *command)
            (self.folder / "a" / "gone.txt").unlink()
            self.write("a/new.txt", "new")
            self.write("ignored", "no")
            with self.assertRaisesRegex(project.Failure, "(?s)make it.* D a/gone.txt.*a/new.txt"):
                notebooks.fresh(lambda: None, "make it", "a")
            copy = project.copy_tree(self.folder.parent / f"{self.folder.name}-copy")
        self.addCleanup(shutil.rmtree, copy)
        self.assertEqual(sorted(path.name for path in copy.rglob("*.txt")), ["kept.txt", "new.txt"])
        with mock.patch.object(project, "ROOT", copy):
            notebooks.fresh(lambda: None, "make it", ".")


class TestRooms(unittest.TestCase):
    def test_signature(self):
        def of(text): return rooms.signature(rooms.ast.parse(text).body[0])
        self.assertEqual(of("def f(a: int, *, b: str = 'x') -> int: pass"), "a, *, b='x'")
        self.assertEqual(of("def f(selfish, b): pass"), "selfish, b")
        self.assertEqual(of("class C(NamedTuple):\n    a: int"), "a")
        self.assertEqual(of("class C:\n    def __init__(self, a: int): pass"), "a")
        self.assertEqual(of("A = 1"), "")

    def test_signatures_of_classes(self):
        other, seen = [], 0
        for name, module in rooms.modules().items():
            for exported in module.exported:
                if not isinstance(node := module.definitions[exported], rooms.ast.ClassDef):
                    continue
                try:
                    real = inspect.signature(getattr(importlib.import_module(f"csnas_nb.{name}"), exported)).parameters
                except (TypeError, ValueError):  # a protocol
                    continue
                taken = rooms.ast.parse(f"def f({rooms.signature(node)}): pass").body[0].args
                names, seen = {part.arg for part in rooms.ast.walk(taken) if isinstance(part, rooms.ast.arg)}, seen + 1
                if names != set(real) and set(real) != {"args", "kwargs"}:
                    other.append((exported, sorted(names ^ set(real))))
        self.assertLessEqual({name for name, _ in other}, {"Explorer", "ReLUFirst", "SearchOptions"}, other)
        self.assertGreater(seen, 50)


class TestPages(Temporary):
    def test_texts(self):
        self.assertEqual(pages.site_link("../03_scoring/02_losses.ipynb", "02_networks"), "../03_scoring/losses.ipynb")
        self.assertTrue(pages.site_link("../../LICENSE", "02_networks").endswith("/blob/main/LICENSE"))
        self.assertEqual(pages.relink("[a](b.md#c) [d](https://e) ![f](g.png)", str.upper),
                         "[a](B.MD#c) [d](https://e) ![f](G.PNG)")
        self.assertEqual(pages.caption("*A `small` [house](x).* And more."), "A small house.")
        self.assertEqual(pages.caption("**Bold**"), "")

    def test_notebook(self):
        known, unknown, method = ("[`x`](https://csnas-nb.github.io/csnas_nb/02_networks/genotype.html#genotype)",
                                  "[`y`](https://csnas-nb.github.io/csnas_nb/02_networks/genotype.html#nowhere)",
                                  "[`z`](https://csnas-nb.github.io/csnas_nb/02_networks/genotype.html#genotype.live)")
        path = self.folder / "02_two.ipynb"
        write_nb(notebook(known, unknown, method, mk_cell("show()"), "*A house.*", "[o](01_one.ipynb#a)"), path)
        pages.rewrite_notebook(path, "02_networks/02_two.ipynb", path)
        self.assertEqual([cell.source for cell in read_nb(self.folder / "two.ipynb").cells],
                         ["[`x`](/02_networks/genotype.html#genotype)", "`y`",
                          "[`z`](/02_networks/genotype.html#genotype)",
                          '#| fig-alt: "A house."\nshow()', "*A house.*", "[o](one.ipynb#a)"])

    def test_own_names(self):
        link = "[`Genotype`](https://csnas-nb.github.io/csnas_nb/02_networks/genotype.html#genotype)"
        for source, expected in (("class Genotype: pass", "`Genotype`"), ("#| export\nclass Genotype: pass", None)):
            path = self.folder / "02_two.ipynb"
            write_nb(notebook(link, mk_cell(source)), path)
            pages.rewrite_notebook(path, "02_networks/02_two.ipynb", path)
            first = read_nb(self.folder / "two.ipynb").cells[0].source
            self.assertEqual(first, expected or "[`Genotype`](/02_networks/genotype.html#genotype)")

    def test_in_sight(self):
        name, public = rooms.modules()["networks.genotype"].notebook, "class Genotype:\n    pass"
        cells = [mk_cell("#| default_exp networks.genotype"), mk_cell("#| export\nimport re"), mk_cell("import os"),
                 mk_cell(f"#| export\n{public}"), mk_cell("#| exporti\ndef _own(): pass"), mk_cell("!ls"),
                 mk_cell("a = 1\n" * 20), mk_cell("#| hide\n1")]
        cells[6]["outputs"] = [{"data": {"image/png": ""}}]
        for place, cell in enumerate(cells):
            cell["id"] = f"cell{place}"
        written = {cell.id: mk_cell(cell.source) for cell in cells}
        for cell in cells:
            cell.source = cell.source.removeprefix("#| exporti\n").removeprefix("#| export\n")
        shown = [cell.source for cell in pages.in_sight(cells, written, name)]
        self.assertEqual(len(shown), 7)
        self.assertRegex(shown[0], '(?s)code-fold: true.*"Imports"\nimport re')
        self.assertRegex(shown[1], '(?s)"Imports of the examples"\nimport os')
        self.assertRegex(shown[2], r"### Genotype \{#genotype .api\}\s+\[source\]\(https://\S+genotype.py#L\d+\)")
        self.assertEqual(shown[3:6], [public, "def _own(): pass", "!ls"])
        self.assertIn("Code of the picture", shown[6])

    def test_solved(self):
        code = mk_cell('#| code-fold: true\n#| code-summary: "Solution 1"\n1')
        cells = notebook("**1.** no", "## Solutions\n\n**1.** Yes.", code, "Still.", "**2.** No.").cells
        found = [cell.source for cell in pages.solved(cells)]
        self.assertEqual(found[0], "**1.** no")
        self.assertEqual(found[3:5], ["1", "Still."])
        self.assertEqual([text.count("<details") for text in found], [0, 0, 1, 0, 0, 1, 0])
        self.assertEqual([text.count("</details") for text in found], [0, 0, 0, 0, 0, 1, 1])

    def test_problems(self):
        self.write("picture.png", "x")
        good = self.write("a/good.html", '<p id="here"><a href="../bad.html#there">x</a> <a href="#here">x</a> '
                          '<a href="https://x.org">x</a> <img alt="x" src="../picture.png"> <code>a](b</code></p>')
        bad = self.write("bad.html", '<p>::: {.cell}</p><p id="there">[x](y) <a href="none.html">x</a> <a href="a/good.html#no">x</a> '
                         '<img alt="" src="data:image/png;base64,"> <script src="https://x.org/y.js"></script></p>')
        self.write("style.css", "@import url(https://fonts.org);")
        listed = [f"<i id='{anchor}'>{name}</i>" for (_, anchor), (_, name) in rooms.entries().items()]
        self.write("reference.html", "".join(listed))
        for page, _ in rooms.entries():
            if page != "reference.ipynb":
                self.write(page.replace(".ipynb", ".html"), (self.folder / "reference.html").read_text())
        found = pages.problems(self.folder)
        self.assertEqual(len(found), 8, found)
        for problem in ("raw Markdown: [x]", "raw Markdown: :::", "no such file: none.html", "no such anchor: a/good.html#no", "empty picture",
                        "a picture without words", "needs the network: https://x.org/y.js",
                        "style.css needs the network"):
            self.assertTrue(any(problem in line for line in found), problem)
        self.assertFalse(any(good.name in line.partition(":")[0] for line in found), bad)


class TestColab(Temporary):
    def test_place(self):
        seen = execution.place(self.folder, Path("/repository"))
        said = project.call(["python", "-c", "import google.colab, sys; print(sys.prefix)"], self.folder, **seen)
        self.assertEqual(said.strip(), str(self.folder / "own"))

    def test_modules(self):
        "What only developers install is imported by no notebook: Colab would lack it."
        settings = project.settings()
        def names(needs): return {re.match(r"[\w-]+", need)[0].replace("-", "_") for need in needs.split()}
        lacking = names(settings.dev_requirements) - names(settings.colab_requirements) - names(settings.grpc_requirements)
        self.assertIn("nbdev", lacking)
        for path in project.notebooks():
            cells = [cell.source for cell in read_nb(path).cells if cell.cell_type == "code"]
            imported = {line.split()[1].split(".")[0] for source in cells for line in source.splitlines()
                        if line.startswith(("import ", "from "))}
            self.assertFalse(imported & lacking, path.name)


if __name__ == "__main__":
    unittest.main()
