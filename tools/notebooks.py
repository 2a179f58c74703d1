"""The notebooks' command line (`make help` says when to use what), and the gate: every check of the project.

nbdev_test runs cells; nothing else says whether package, README.md, site and numbers are what the notebooks give.
"""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import browser
import execution
import pages
import project
import rooms
import street
import typer
from project import Failure, call

PROBE = """
import csnas_nb, importlib.metadata, pathlib, pkgutil, re
for module in pkgutil.walk_packages(csnas_nb.__path__, "csnas_nb."):
    importlib.import_module(module.name)
here, needed = pathlib.Path(csnas_nb.__file__).parent, importlib.metadata.requires("csnas-nb")
assert here.parent == pathlib.Path.cwd(), f"imported from {here}, not from what was built"
assert (here / "py.typed").is_file(), "py.typed is missing: type checkers would ignore the annotations"
tools = [need for need in needed if need.startswith(("nbdev", "fastcore", "execnb")) and "extra ==" not in need]
assert not tools, f"the package requires build tools: {tools}"
told = importlib.metadata.metadata("csnas-nb")
assert told["License-Expression"] == "Apache-2.0" and told["License-File"] == "LICENSE", "its licence is not stated"
text = told.get_payload() or told["Description"]
loose = re.findall(r"\\]\\((?![a-z]+:|#)[^)]+\\)", text)
assert len(text) > 10_000 and not loose, f"README has links that hold in the repository only: {loose}"
"""


def fresh(write: Callable[[], None], remedy: str, *names: str) -> None:
    "What is written anew is what the tree holds."
    write()
    options = ["--porcelain", "--no-renames", "--untracked-files=all"]
    if changed := project.git(project.ROOT, "status", *options, "--", *names):
        raise Failure(f"not what the notebooks give ({remedy}):\n{changed}")


def check_wheel() -> None:
    "The built package is typed, needs no build tools, and all of it imports away from the clone."
    with tempfile.TemporaryDirectory() as temporary:
        away = Path(temporary).resolve()
        options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", away]
        call([sys.executable, "-m", "pip", "install", *options, project.ROOT], away)
        call([sys.executable, "-c", PROBE], away, PYTHONPATH=str(away))
        call([away / "bin" / "csnas", "--help"], away, PYTHONPATH=str(away))


def check_editable() -> None:
    "An editable install is found from everywhere, also from the folder above a clone that is named like the package."
    with tempfile.TemporaryDirectory() as temporary:
        above = Path(temporary).resolve()
        clone = project.copy_tree(above / project.settings().lib_path.name)
        execution.borrow(above / "own", Path(sys.prefix))
        python = above / "own" / "bin" / "python"
        options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
        call([sys.executable, "-m", "pip", "--python", python, "install", *options, "-e", clone], above)
        for folder in (above, clone, clone.parent.parent):
            said = call([python, "-c", "import csnas_nb; print(csnas_nb.__file__)"], folder, PYTHONPATH="")
            if Path(said.strip()) != clone / "csnas_nb" / "__init__.py":
                raise Failure(f"in {folder} Python imports {said}")


CHECKS = {
    "tools": lambda: call([sys.executable, "-m", "unittest", "discover", "--start-directory", "tests"]),
    "rooms": rooms.check,
    "types": lambda: call([sys.executable, "-m", "pyright", "--pythonpath", sys.executable]),
    "package and pyproject.toml": lambda: fresh(project.export, "make export", "csnas_nb", "pyproject.toml"),
    "README.md": lambda: fresh(pages.readme, "make export", "README.md", "README_files"),
    "docs/": lambda: fresh(pages.docs, "make docs", "docs") if sys.version_info[:2] == pages.PYTHON
    else print("         docs/ is built with another Python: not compared"),
    "reading the site": lambda: browser.browse() if browser.program()
    else print(f"         none of {', '.join(browser.BROWSERS)} is on this machine: not clicked through"),
    "wheel": check_wheel,
    "editable install": check_editable,
    "same numbers as plain PyTorch": lambda: print(call([sys.executable, "benchmarks/equal.py"]), end=""),
}


def check() -> None:
    "Make every check on this tree, a copy that `test` made; the counts of notebooks come last."
    if lost := street.missing():
        raise Failure("; ".join(lost))
    known = {path: execution.faults(path) for path in project.notebooks()}
    held = [project.held(name, job) for name, job in CHECKS.items()]
    if not all([execution.execute_all(known), *held]):
        sys.exit(1)


def test() -> None:
    "Copy the tree as a commit of everything would hold it, and make every check there."
    with tempfile.TemporaryDirectory() as temporary:
        copy = project.copy_tree(Path(temporary).resolve() / "copy")
        command, seen = [sys.executable, "tools/notebooks.py", "check"], os.environ | {"PYTHONPATH": str(copy)}
        with subprocess.Popen(command, cwd=copy, env=seen, stdin=subprocess.DEVNULL) as running:
            try:
                running.wait()
            except SystemExit:  # stopped: so is the copy's process, which stops its own
                running.send_signal(signal.SIGINT)
                raise
    sys.exit(running.returncode)


def main() -> None:
    "Run the command asked for: one of these functions."
    os.chdir(project.ROOT)  # nbdev looks for settings.ini from the working directory
    app = typer.Typer(help=__doc__, add_completion=False)
    for command in (execution.stamp, project.export, pages.readme, pages.docs, browser.browse, execution.run,
                    execution.execute, execution.colab, check, test):
        app.command()(command)
    if sys.argv[1:2] != ["execute"]:  # a notebook may ask for Ctrl-C as Python has it
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, project.stop)
    try:
        app()
    except Failure as failure:
        sys.exit(str(failure))


if __name__ == "__main__":
    main()
