"""The working tree: its notebooks, a copy of it, and the package exported from the notebooks.

nbdev exports module by module into what is there, and puts the version before a front door's docstring; here the tree
changes when all is written, nothing outlives its notebook, and the docstring stays first.
"""
from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer
from fastcore.foundation import Config
from nbdev.config import get_config
from nbdev.doclinks import nbglob

ROOT = Path(__file__).resolve().parents[1]
WORKERS = 2
PATIENCE = 5  # seconds that a process has for its end
RUNNING: set[subprocess.Popen] = set()
STOPPED = threading.Event()
Notebook = Annotated[Path, typer.Argument(resolve_path=True)]
Notebooks = Annotated[list[Path], typer.Argument(resolve_path=True, help="all of them if left out")]
FOLD = re.compile(r"(?m)^#\| code-(?:fold|summary):.*\n")
EXPORT = "from nbdev.doclinks import nbdev_export; nbdev_export.__wrapped__()"
TABLE = "import json; from csnas_nb.__main__ import verb_table; print(json.dumps(verb_table(), indent=1, ensure_ascii=False))"


class Failure(Exception):
    "Something that does not hold, with what to do about it."


def call(command: list[str | Path], folder: Path = ROOT, **variables: str) -> str:
    "Run a command in `folder`; return what it prints, or raise a `Failure` that says it."
    if STOPPED.is_set():
        raise SystemExit  # which `held` does not catch: no job after this one either
    with subprocess.Popen(
        command, cwd=folder, env=os.environ | variables, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    ) as running:
        RUNNING.add(running)
        if STOPPED.is_set():  # meanwhile
            running.kill()
        try:
            said = running.communicate()[0]
        finally:
            RUNNING.discard(running)
    if STOPPED.is_set():
        raise SystemExit
    if running.returncode:
        raise Failure(said.strip() or f"{' '.join(map(str, command[-3:]))} ended with code {running.returncode}")
    return said


def stop(number: int, _frame: object = None) -> None:
    "Stop at a signal: interrupt what runs, kill what does not end, begin nothing more, and leave with the shell's code."
    signal.signal(number, signal.SIG_IGN)
    STOPPED.set()
    left, last = list(RUNNING), time.monotonic() + PATIENCE
    for running in left:
        running.send_signal(signal.SIGINT)
    while any(running.poll() is None for running in left) and time.monotonic() < last:
        time.sleep(0.05)
    for running in left:
        running.kill()  # does nothing where it has ended
    raise SystemExit(128 + number)


def held(name: str, job: Callable[[], object], known: Iterable[str] = ()) -> bool:
    "Do a job and print its line, and below it what is wrong; say whether nothing is."
    start, problems = time.perf_counter(), list(known)
    try:
        job()
    except Exception as failure:
        said = str(failure) if isinstance(failure, Failure) else repr(failure)
        problems.append(said.rstrip().replace("\n", "\n    "))
    first = f"{'FAIL' if problems else 'ok  '} {time.perf_counter() - start:6.1f} s  {name}"
    print("\n".join([first, *(f"FAILED: {name}: {problem}" for problem in problems)]), flush=True)
    return not problems


def settings() -> Config:
    "settings.ini as nbdev reads it."
    return get_config(path=ROOT)


def notebooks() -> list[Path]:
    "Every notebook of the project, sorted by path."
    return sorted(path.resolve() for path in nbglob(ROOT / "nbs", as_path=True))


def name_of(notebook: Path) -> str:
    "The notebook's path under nbs/, as the sidebar lists it."
    return notebook.relative_to(ROOT / "nbs").as_posix()


def replace(path: Path, text: str) -> None:
    "Put a text in a file's place in one step, if it differs: who reads meanwhile finds the old one or the new one."
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)


def export() -> None:
    "Write the package and pyproject.toml from the notebooks alone: apart first, then file by file what differs."
    package = ROOT / settings().lib_path.name
    with tempfile.TemporaryDirectory() as temporary:
        apart = Path(temporary).resolve()
        shutil.copy(ROOT / "settings.ini", apart)
        shutil.copytree(ROOT / "nbs", apart / "nbs")
        call([sys.executable, "-c", EXPORT], apart)
        written = {path.relative_to(apart): path.read_text(encoding="utf-8")
                   for path in [*(apart / package.name).rglob("*.py"), apart / "pyproject.toml"]}
    for name, text in written.items():  # how a page shows a cell is nothing to the package
        written[name] = FOLD.sub("", text)
    front = Path(package.name, "__init__.py")  # nbdev puts the version before the docstring and imports from __future__
    version, _, code = written[front].partition("\n")
    written[front] = code.replace("# %% auto #0\n", f"{version}\n\n# %% auto #0\n", 1)
    build = Path("pyproject.toml")  # setuptools knows licence expressions since 77, nbdev asks for 64
    written[build] = written[build].replace('"setuptools>=64.0"', '"setuptools>=77"')
    for name, text in written.items():
        replace(ROOT / name, text)
    for module in package.rglob("*.py"):
        if module.relative_to(ROOT) not in written:
            module.unlink()
    if (package / "command").is_dir():
        write_table(package)


def write_table(package: Path) -> None:
    "Write down the options of the command's verbs, which the command reads before it imports them."
    said = call([sys.executable, "-W", "ignore", "-c", TABLE], ROOT, PYTHONPATH=str(ROOT))
    replace(package / "command" / "verbs.json", said[said.index("{"):])


def git(folder: Path, *arguments: str | Path) -> str:
    "Run git as nobody in particular; return what it prints."
    someone = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost", "-c", "commit.gpgsign=false"]
    return call(["git", *someone, *arguments], folder)


def copy_tree(folder: Path) -> Path:
    "Copy what a commit of everything would hold, tracked files and new ones, into a repository of its own."
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in listed:
        if name and (ROOT / name).is_file():  # a deleted file is listed until the deletion is committed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--message", "stand-in for the release")
    return folder
