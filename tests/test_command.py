"""The command: what it refuses it refuses before PyTorch is imported, and its table is what the verbs declare."""
from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from csnas_nb.__main__ import VERBS, verb_table, written_table

HEAVY = {"torch", "optuna", "sklearn", "scipy", "pandas", "matplotlib"}
ASK = """import json, sys, csnas_nb.__main__ as command
code = command.main(sys.argv[1:])
print(json.dumps([code, sorted(set(sys.modules))]))"""


def answered(*line: str) -> tuple[int, set[str], str]:
    "Exit code, modules that were imported, and what is said, of a command in a process of its own."
    done = subprocess.run([sys.executable, "-c", ASK, *line], capture_output=True, text=True, check=True)
    code, modules = json.loads(done.stdout.splitlines()[-1])
    return code, set(modules), done.stderr.strip()


class TestAtOnce(unittest.TestCase):
    def test_refusals(self):
        with tempfile.TemporaryDirectory() as bare:
            for line, word in (
                (["find"], "No such command"), (["search", "--trails", "3"], "No such option"),
                (["search", "--trials", "0"], "at least 1"), (["evaluate", "DARTS_V2", "--schedule", "flat"], "cosine"),
                (["search", "--data", f"{bare}/none"], "no such folder"), (["evaluate", bare], "no run in"),
                (["compare", "DARTS_V2", "DARTS_V9"], "known cells"), (["search", "--timeout", "soon"], "--timeout"),
                (["search", "--run", __file__], "a folder is wanted"),
                (["check", "--run", __file__], "a folder is wanted"),
                (["evaluate", "DARTS_V2", "--output", __file__], "--output: a folder is wanted"),
                (["worst", bare, "--picture", f"{bare}/none/w.png"], "--picture"),
                (["predict", bare, "x.jpg", "-o", "t.txt"], "--csv must end in .csv"),
                (["report", bare, "--output", "r.pdf"], "--output must end in .html or .htm"),
                (["features", bare, bare, "-o", f"{bare}/none/f.csv"], "--output"),
                (["export", bare, f"{bare}/none/n.onnx"], "no such folder"),
                (["predict", bare, "x.jpg", "--device", "gpu"], "--device must be cpu, cuda, cuda:N, mps or auto"),
                (["show", "DARTS_V2", "--pick", "foo"], "--pick must be best, knee or a place"),
            ):
                with self.subTest(line=line):
                    code, modules, said = answered(*line)
                    self.assertEqual((code, modules & HEAVY, len(said.splitlines())), (2, set(), 1), said)
                    self.assertIn(word, said)

    def test_help(self):
        for verb in VERBS:
            with self.subTest(verb=verb):
                code, modules, said = answered(verb, "--help")
                self.assertEqual((code, modules & HEAVY, said), (0, set(), ""))

    def test_table(self):
        self.assertEqual(written_table(), verb_table(), "make export")

    def test_table_is_in_the_wheel(self):
        self.assertIn("command/verbs.json", (Path(__file__).parents[1] / "setup.py").read_text())


if __name__ == "__main__":
    unittest.main()
