"""`make test`: every check of the project, made on a fresh copy so that the working tree stays as it is.

nbdev_test runs cells; nothing else says whether package, README.md, site, wheel and numbers are what the notebooks give.
"""
from __future__ import annotations

import email
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import browser
import execution
import project
import rooms
import website

BUILD_TOOLS = ("nbdev", "fastcore", "execnb")  # what the installed package must not need
LAST_LINES = 25  # of a failed command's output, shown
PROBE = """
import importlib, pkgutil, csnas_nb
for module in pkgutil.walk_packages(csnas_nb.__path__, "csnas_nb."):
    importlib.import_module(module.name)
print(csnas_nb.__file__)
"""


class Failure(Exception):
    "A check that does not hold, with what to do about it."


def call(command: list[str | Path], folder: Path, **variables: str) -> str:
    "Run a command of the check in `folder`; return what it prints."
    done = subprocess.run(
        command, cwd=folder, env=os.environ | variables, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    )
    if done.returncode:
        said = "\n".join(done.stdout.strip().splitlines()[-LAST_LINES:])
        raise Failure(f"{' '.join(map(str, command[-3:]))} ended with code {done.returncode}:\n{said}")
    return done.stdout


def regenerate(copy: Path, command: str, *names: str) -> tuple[list[str], dict[str, bytes]]:
    "Write generated files anew in the copy; return the paths that change, and the new contents."
    before = project.contents(copy, *names)
    call([sys.executable, copy / "tools" / "notebooks.py", command], copy, PYTHONPATH=str(copy))
    after = project.contents(copy, *names)
    return project.differences(before, after), after


def check_library(copy: Path, problems: dict[Path, list[str]]) -> None:
    "The package is what the notebooks export: a module that differs is its notebook's problem."
    changed, after = regenerate(copy, "export", "csnas_nb", "pyproject.toml")
    others = []
    for name in changed:
        origin = rooms.ORIGIN.search(after.get(name, b"").decode())
        notebook = project.ROOT / "nbs" / origin[1] if origin else None
        if notebook in problems:
            problems[notebook].append(f"{name} differs from the notebook (make export)")
        else:
            others.append(name)
    if others:
        raise Failure(f"not what the notebooks export (make export): {', '.join(others)}")
    if not (copy / "csnas_nb" / "py.typed").is_file():
        raise Failure("csnas_nb/py.typed is missing: type checkers would ignore the annotations")


def check_readme(copy: Path) -> None:
    "README.md and its pictures are what the index notebook gives."
    if changed := regenerate(copy, "readme", "README.md", "README_files")[0]:
        raise Failure(f"not what nbs/index.ipynb gives (make export): {', '.join(changed)}")


def check_docs(copy: Path) -> None:
    "docs/ is what the notebooks give, if the tree holds it."
    if not (copy / "docs").is_dir():
        print("         docs/ is not in the tree: not compared")
    elif sys.version_info[:2] != project.DOCS_PYTHON:
        print(f"         docs/ is built with Python {project.docs_python()}: not compared")
    elif changed := regenerate(copy, "docs", "docs")[0]:
        raise Failure(f"not what the notebooks give (make docs): {', '.join(changed[:8])} ({len(changed)} files)")


def check_reading(copy: Path) -> None:
    "The site can be read: a browser follows every link along the street, searches, and complains of nothing."
    if not (copy / "docs").is_dir() or not browser.program():
        print(f"         no docs/ in the tree, or none of {', '.join(browser.BROWSERS)} on this machine: not clicked through")
        return
    try:
        browser.browse(copy / "docs")
    except browser.Fault as fault:
        raise Failure(f"{fault} (make docs, then make browse)") from fault


def check_wheel_contents(wheel: Path) -> None:
    "The wheel says it is typed and needs none of the build tools."
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = email.message_from_bytes(archive.read(next(n for n in names if n.endswith(".dist-info/METADATA"))))
    if "csnas_nb/py.typed" not in names:
        raise Failure("csnas_nb/py.typed is not in the wheel")
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    if tools := [line for line in needed if line.startswith(BUILD_TOOLS)]:
        raise Failure(f"the package requires build tools: {', '.join(tools)}")


def check_wheel(copy: Path) -> None:
    "The built wheel installs, and all of it imports away from the clone."
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        call([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, copy], folder)
        wheel = next(folder.glob("*.whl"))
        check_wheel_contents(wheel)
        project.thin(folder / "thin", [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")])
        python, away = project.python_of(folder / "thin"), folder / "away"
        call([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--ignore-installed", wheel], folder)
        away.mkdir()
        origin = call([python, "-I", "-c", PROBE], away).strip().splitlines()[-1]
        if not Path(origin).is_relative_to(folder / "thin"):
            raise Failure(f"imported csnas_nb from {origin}, not from the wheel")
        call([python.with_name("csnas"), "--help"], away)


def check_rooms() -> None:
    "Modules import in the order of the street, and no name stands twice."
    if broken := rooms.faults():
        raise Failure("\n    ".join(["the package breaks the rule of the street (tools/rooms.py):", *broken]))


def check_types(copy: Path) -> None:
    "The annotations hold: pyright, as pyrightconfig.json has it, finds nothing."
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    if not done.stdout.startswith("{"):
        raise Failure(f"pyright did not run (pip install -e '.[dev]'): {(done.stderr or done.stdout).strip()[-500:]}")
    errors = [found for found in json.loads(done.stdout)["generalDiagnostics"] if found["severity"] == "error"]
    said = [f"{Path(found['file']).relative_to(copy)}:{found['range']['start']['line'] + 1}: {found['message'].splitlines()[0]} ({found.get('rule', 'syntax')})"
            for found in errors]
    if said:
        raise Failure("\n    ".join([f"{len(said)} errors of pyright:", *said]))


def check_numbers(copy: Path) -> None:
    "The networks give the numbers of plain PyTorch, forwards and backwards."
    print(call([sys.executable, copy / "benchmarks" / "equal.py"], copy, PYTHONPATH=str(copy)), end="")


def made(name: str, check: Callable[..., None], *args: object) -> bool:
    "Make one check of the whole project and print its line; say whether it held."
    start, problem = time.perf_counter(), None
    try:
        check(*args)
    except (Failure, OSError, subprocess.SubprocessError) as error:
        problem = error
    print(f"{'FAIL' if problem else 'ok  '} {time.perf_counter() - start:6.1f} s  {name}", flush=True)
    if problem:
        print(f"FAILED: {name}: {problem}", flush=True)
    return problem is None


def test_notebooks(copy: Path, problems: dict[Path, list[str]], workers: int) -> None:
    "Run every notebook in the copy and print its line, with what was already known of it."
    twins = {copy / path.relative_to(project.ROOT): path for path in problems}
    for twin, problem, seconds in execution.execute_all(list(twins), [], workers, copy):
        path = twins[twin]
        problems[path] += [problem] if problem else []
        execution.report(path, problems[path], seconds)


def check_copy(copy: Path, problems: dict[Path, list[str]], workers: int) -> bool:
    "Make every check on a copy of the tree; say whether those of the whole project held."
    held = [
        made("rooms", check_rooms),
        made("types", check_types, copy),
        made("package and pyproject.toml", check_library, copy, problems),
        made("README.md", check_readme, copy),
        made("docs/", check_docs, copy),
        made("reading the site", check_reading, copy),
        made("wheel", check_wheel, copy),
        made("same numbers as plain PyTorch", check_numbers, copy),
    ]
    test_notebooks(copy, problems, workers)
    return all(held)


def test(workers: int) -> int:
    "Make every check; print the counts of notebooks last."
    if lost := website.missing_notebooks():
        print(f"FAILED: {'; '.join(lost)}")
        return 1
    problems = {path: execution.faults(path) for path in project.notebooks()}
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary).resolve() / "copy"
        if not problems:
            print("FAILED: there are no notebooks under nbs/")
            held = False
        elif held := made("copy of the tree", project.copy_tree, copy):
            held = check_copy(copy, problems, workers)
        else:
            problems = {path: [*found, "not run"] for path, found in problems.items()}
    failed = sum(map(bool, problems.values()))
    print(f"{len(problems) - failed} passed, {failed} failed", flush=True)
    return int(failed > 0 or not held)
