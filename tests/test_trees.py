"""Nothing that is read is ever run: the syntax tree of every module of the package, searched for what would do so.

Pickle and its kin, `eval` and its kin, a shell, a module named by a variable: what a file or an option says must reach
none of them. Names are followed through imports and aliases (`from torch import load as fetch`); what hides behind
`getattr` and a text is not seen, nor what other libraries do. What is meant to be there is listed, with its reason.
"""
from __future__ import annotations

import ast
import unittest
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "csnas_nb"

RUNNING = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "runpy"}  # modules, whole
BUILTIN = {"eval", "exec", "compile", "__import__"}
CALLED = {"os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "joblib.load", "pandas.read_pickle"}
IMPORTING = "importlib by a variable name"
HARMLESS = ("importlib.metadata.", "importlib.resources.")  # ask for a package's version or its files

EXCEPTIONS = {  # module, function, thing: the reason
    ("__init__", "__getattr__", IMPORTING): "opens a room of the front door; the names come from a table beside it",
    ("__main__", "function_of", IMPORTING): "opens the verb that is called; the names come from a table beside it",
    ("command.options", "load_plugin", IMPORTING): "the user's own file, named with --plugin and said to be trusted",
    ("command.options", "load_plugin", "exec_module"): "the same file: operations or an objective, in Python",
    ("support.workers", "_sent", "cloudpickle"): "packs an objective for a process that this one starts",
    ("support.workers", "serve", "cloudpickle"): "unpacks it there, from the pipe of its parent, never from a file",
}


class Tree(ast.NodeVisitor):
    "What one module holds of the things above: pairs of a function (empty: none) and the thing."

    def __init__(self, source: str):
        tree = ast.parse(source)
        self.found, self.place, self.checked = set(), [], set()
        self.names = {}                                                  # what a name of this module stands for
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.names[alias.asname or alias.name.split(".")[0]] = (
                        alias.name if alias.asname else alias.name.split(".")[0])
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self.names[alias.asname or alias.name] = f"{'.' * node.level}{node.module or ''}.{alias.name}"
        self.visit(tree)

    def add(self, thing: str) -> None:
        self.found.add((".".join(self.place), thing))

    def inside(self, node) -> None:
        "A function or class: decorators and defaults count as its own."
        self.place.append(node.name)
        self.generic_visit(node)
        self.place.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = inside

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names: self.module(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level: return
        self.module(node.module)
        for alias in node.names: self.whole(f"{node.module}.{alias.name}")

    def module(self, name: str) -> None:
        "An import of a module."
        root = name.split(".")[0]
        if root in RUNNING: self.add(root)

    def whole(self, name: str) -> None:
        "A name that is refused however it is used."
        if name.split(".")[0] in RUNNING: self.add(name.split(".")[0])
        if name.startswith("builtins.") and name.partition(".")[2] in BUILTIN: self.add(name.partition(".")[2])
        if name in CALLED: self.add(name)

    def dotted(self, node) -> str:
        "'torch.load' for what a name or attribute stands for; empty where it is of no import."
        if isinstance(node, ast.Attribute):
            before = self.dotted(node.value)
            return f"{before}.{node.attr}" if before else ""
        return self.names.get(node.id, "") if isinstance(node, ast.Name) else ""

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in BUILTIN and node.id not in self.names: self.add(node.id)
        self.used(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr == "exec_module": self.add("exec_module")
        self.used(node)
        self.generic_visit(node)

    def used(self, node) -> None:
        name = self.dotted(node)
        self.whole(name)
        if name in ("torch.load", "torch.serialization.load") and id(node) not in self.checked: self.add("torch.load")

    def visit_Call(self, node: ast.Call) -> None:
        name, given = self.dotted(node.func), {keyword.arg: keyword.value for keyword in node.keywords}
        def says(option, wanted): return isinstance(value := given.get(option), ast.Constant) and value.value is wanted
        if name.startswith("torch.") and says("weights_only", True): self.checked.add(id(node.func))
        def unsafe(option): return None in given or option in given and not says(option, False)
        if name.startswith("numpy.") and name.endswith("load") and (unsafe("allow_pickle") or len(node.args) > 2):
            self.add("numpy.load")
        if name.startswith("subprocess.") and unsafe("shell"): self.add("shell=True")
        if name.startswith("importlib.") and not name.startswith(HARMLESS):
            first = node.args[0] if node.args else given.get("name")
            if not (isinstance(first, ast.Constant) and isinstance(first.value, str)): self.add(IMPORTING)
        self.generic_visit(node)


def things(package: Path) -> set[tuple[str, str, str]]:
    "Module, function and thing, of all modules of a package."
    found = set()
    for path in sorted(package.rglob("*.py")):
        module = ".".join(path.relative_to(package).with_suffix("").parts)
        found |= {(module, *pair) for pair in Tree(path.read_text(encoding="utf-8")).found}
    return found


def faults(found: set[tuple[str, str, str]], listed: dict[tuple[str, str, str], str]) -> list[str]:
    "What is there and not listed, and what is listed and no longer there."
    new = [f"{module}: {thing} in {function or 'the module itself'}" for module, function, thing in found - {*listed}]
    gone = [f"{module}: no {thing} in {function}, take it off the list"
            for module, function, thing in {*listed} - found]
    return sorted(new + gone)


SAMPLES = {  # thing: texts in which it must be found
    **{name: (f"import {name}", f"from {name} import load", f"import {name} as p", f"def f():\n  from {name} import x")
       for name in RUNNING},
    "eval": ("eval('1')", "list(map(eval, x))", "import builtins\nbuiltins.eval(x)", "from builtins import eval as e"),
    "exec": ("exec(text)", "run = exec", "class A:\n  def f(self): exec(self.x)"),
    "compile": ("compile(text, '', 'eval')",),
    "__import__": ("__import__('os').remove('x')", "__builtins__['x'] = __import__"),
    "os.system": ("import os\nos.system('ls')", "from os import system", "import os as o\nf = o.system"),
    "os.popen": ("import os\nos.popen('ls')",),
    "yaml.load": ("import yaml\nyaml.load(file)", "from yaml import load\nload(file)"),
    "yaml.unsafe_load": ("import yaml\nyaml.unsafe_load(file)",),
    "joblib.load": ("import joblib\njoblib.load('x')", "from joblib import load"),
    "pandas.read_pickle": ("import pandas as pd\npd.read_pickle('x')",),
    "numpy.load": ("import numpy as np\nnp.load(x, allow_pickle=True)", "import numpy as np\nnp.load(x, None, True)",
                   "from numpy import load\nload(x, allow_pickle=why)", "import numpy\nnumpy.load(x, **options)"),
    "torch.load": ("import torch\ntorch.load(x)", "import torch\ntorch.load(x, weights_only=False)",
                   "from torch import load as fetch\nfetch(x)", "import torch\nlist(map(torch.load, x))",
                   "import torch\ntorch.load(x, weights_only=maybe)"),
    "shell=True": ("import subprocess\nsubprocess.run(x, shell=True)",
                   "from subprocess import Popen\nPopen(x, shell=y)", "import subprocess as s\ns.call(x, **options)"),
    IMPORTING: ("import importlib\nimportlib.import_module(name)",
                "from importlib import import_module as i\ni(f'a.{b}')",
                "import importlib.util\nimportlib.util.spec_from_file_location(name, path)"),
    "exec_module": ("spec.loader.exec_module(module)",),
}
INNOCENT = (
    "import re\nre.compile('x')", "from re import compile\ncompile('x')", "network.eval()",
    "import ast\nast.literal_eval(x)", "import torch\ntorch.load(x, weights_only=True)", "import numpy as np\nnp.load(x)",
    "import torch\ntorch.compile(x)",
    "import numpy as np\nnp.load(x, allow_pickle=False)", "import subprocess\nsubprocess.run(['ls'], check=True)",
    "import yaml\nyaml.safe_load(x)", "from importlib import import_module\nimport_module('json')",
    "import os\nos.replace(a, b)",
    "from importlib import metadata\nmetadata.version(name)", "from .pickle import load", "import json\njson.load(x)",
    "'import pickle'  # exec(eval)",
)


class TestTrees(unittest.TestCase):
    def test_package(self):
        self.assertEqual(faults(things(PACKAGE), EXCEPTIONS), [])

    def test_samples(self):
        "Each thing is found in each of its texts, alone and within a function."
        for thing, texts in SAMPLES.items():
            for text in texts:
                with self.subTest(text):
                    self.assertEqual({found for _, found in Tree(text).found}, {thing})
                    within = "def outer():\n" + "\n".join(f"  {line}" for line in text.splitlines())
                    self.assertTrue(all(place.startswith("outer") for place, _ in Tree(within).found))
                    self.assertEqual({found for _, found in Tree(within).found}, {thing})

    def test_innocent(self):
        for text in INNOCENT:
            with self.subTest(text): self.assertEqual(Tree(text).found, set())

    def test_list(self):
        "What is new is told, and what is listed and gone."
        found = {("a", "f", "eval"), ("a", "", "pickle")}
        listed = {("a", "f", "eval"): "why", ("b", "g", "exec"): "why"}
        told = ["a: pickle in the module itself", "b: no exec in g, take it off the list"]
        self.assertEqual(faults(found, listed), told)
        self.assertTrue(all(EXCEPTIONS.values()))
        self.assertGreater(len([*PACKAGE.rglob("*.py")]), 50)


if __name__ == "__main__":
    unittest.main()
