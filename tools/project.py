"""The working tree: its notebooks, a copy of it, a thin environment over another, and the package exported from the notebooks.

nbdev exports into what is there and puts the version before a front door's docstring; here nothing outlives its notebook, the docstring stays first.
"""
from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

from fastcore.foundation import Config
from nbdev.config import get_config
from nbdev.doclinks import nbdev_export, nbglob

DOCS_PYTHON = (3, 11)  # docs/ is built with it: another version may print annotations in other words
ROOT = Path(__file__).resolve().parents[1]
PURELIB = "import sysconfig; print(sysconfig.get_path('purelib'))"


def settings() -> Config:
    "settings.ini as nbdev reads it."
    return get_config(path=ROOT)


def docs_python() -> str:
    "The version of Python that builds the site."
    return ".".join(map(str, DOCS_PYTHON))


def notebooks() -> list[Path]:
    "Every notebook of the project, sorted by path."
    return sorted(path.resolve() for path in nbglob(ROOT / "nbs", as_path=True))


def name_of(notebook: Path) -> str:
    "The notebook's path under nbs/, as the sidebar lists it."
    return notebook.relative_to(ROOT / "nbs").as_posix()


def shown(notebook: Path) -> str:
    "The notebook's path as messages show it."
    return notebook.relative_to(ROOT).as_posix() if notebook.is_relative_to(ROOT) else str(notebook)


def source_address(path: str) -> str:
    "Where a file of the repository is read on the web."
    return f"{settings().git_url}/blob/{settings().branch}/{path}"


def export() -> int:
    "Write the package and pyproject.toml from the notebooks alone, so that no module outlives its notebook."
    package = settings().lib_path
    for module in package.rglob("*.py"):
        module.unlink()
    (ROOT / "pyproject.toml").unlink(missing_ok=True)
    nbdev_export.__wrapped__()
    front = package / "__init__.py"  # nbdev puts the version first: before the docstring, and before imports from __future__
    version, _, code = front.read_text(encoding="utf-8").partition("\n")
    head, mark, rest = code.partition("# %% auto #0\n")
    if mark:
        front.write_text(f"{head}{version}\n\n{mark}{rest}", encoding="utf-8")
    return 0


def copy_tree(target: Path) -> None:
    "Copy what a commit of everything would hold: tracked files and new ones that git does not ignore."
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout
    for name in filter(None, listing.split("\0")):
        if (ROOT / name).is_file():  # a deleted file is still listed until the deletion is committed
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def contents(root: Path, *names: str) -> dict[str, bytes]:
    "The files under the named files and folders of `root`, by relative path."
    paths = [path for name in names for path in [root / name, *sorted((root / name).rglob("*"))]]
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in paths
        if path.is_file() and "__pycache__" not in path.parts
    }


def differences(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    "The relative paths whose files differ or exist on one side only."
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def python_of(environment: Path) -> Path:
    "The interpreter of an environment."
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def purelib(environment: Path) -> Path:
    "Where an environment keeps its packages."
    done = subprocess.run([python_of(environment), "-I", "-c", PURELIB], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


def thin(folder: Path, borrowed: list[str]) -> Path:
    "A fresh environment that sees packages of other folders and keeps its own apart; return its own folder of packages."
    venv.create(folder, symlinks=sys.platform != "win32")
    packages = purelib(folder)
    (packages / "borrowed.pth").write_text("\n".join(borrowed) + "\n", encoding="utf-8")
    return packages
