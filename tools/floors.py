"""Does the package work with the oldest versions that settings.ini allows? pip always takes the newest ones.

pip and uv resolve a whole environment to its lowest versions only where every package states its floors; most do not.
So the direct requirements alone are pinned to their floors, in a thin environment over this one, from which PyTorch
(gigabytes) and what the others require come.
"""
from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import execution
import project
from project import Failure, call

STAY = {"torch", "torchvision"}
FLOOR = re.compile(r"([\w-]+(?:\[\w+])?)>=([\w.]+)")
PROBE = """
import importlib.metadata, pkgutil, sys, csnas_nb
from packaging.version import Version
for name, version in (pin.split("==") for pin in sys.argv[1:]):
    there = importlib.metadata.version(name)
    assert Version(there) == Version(version), f"{name} {there} is in the way of {version}"
for module in pkgutil.walk_packages(csnas_nb.__path__, "csnas_nb."): importlib.import_module(module.name)
"""
COMMANDS = (["--help"], ["search", "--help"], ["show", "DARTS_V2", "--picture", "cell.png"],
            ["search", "digits", "--limit", "90", "--trials", "4", "--objective", "naswot", "--quiet", "--workers", "1"],
            ["search", "digits", "--limit", "90", "--trials", "3", "--passes", "64", "--layers", "2", "--channels", "4",
             "--quiet", "--workers", "1", "--run", "scored"])


def pins(requirements: str) -> list[str]:
    "Every requirement pinned to its floor, but for those that stay as they are."
    found = {}
    for need in requirements.split():
        if not (floor := FLOOR.match(need)):
            raise Failure(f"{need} in settings.ini states no lowest version: NAME>=VERSION")
        found[floor[1]] = f"{floor[1]}=={floor[2]}"
    return [pin for name, pin in found.items() if name not in STAY]


def check(folder: Path) -> None:
    "Make the environment in an empty folder, and try the package there."
    execution.borrow(folder / "floors", Path(sys.prefix), pip=True)
    python = folder / "floors" / "bin" / "python"
    wanted = pins(project.settings().requirements)
    call([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted])
    seen = {"PYTHONPATH": str(project.ROOT), "MPLBACKEND": "agg"}
    print("with", *wanted, flush=True)
    call([python, "-W", "error::DeprecationWarning:csnas_nb", "-c", PROBE, *wanted], folder, **seen)
    for command in COMMANDS:
        call([python, "-m", "csnas_nb", *command], folder, **seen)


def main() -> None:
    "Check, and say in one line what does not hold."
    with tempfile.TemporaryDirectory() as temporary:
        try:
            check(Path(temporary).resolve())
        except Failure as failure:
            sys.exit(str(failure))
    print("the package holds with its oldest requirements")


if __name__ == "__main__":
    main()
