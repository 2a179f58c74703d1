"""Is there room for an environment? `python tools/space.py FOLDER GIGABYTES`, before that folder is made.

pip finds a full disk when most of it is written, and says so in fifty lines. This runs before there is an environment,
so it takes the standard library only, of any Python 3.
"""
from __future__ import annotations

import os
import shutil
import sys
import tempfile

DOWNLOADS = 3  # gigabytes that pip unpacks beside it, in the folder for temporary files


def places(folder: str, gigabytes: float) -> dict[str, float]:
    "Gigabytes needed, by a folder that is there, one for each file system."
    needed: dict[int, float] = {}
    names: dict[int, str] = {}
    for place, size in ((folder, gigabytes), (tempfile.gettempdir(), DOWNLOADS)):
        place = os.path.abspath(place)
        while not os.path.isdir(place):
            place = os.path.dirname(place)
        system = os.stat(place).st_dev
        needed[system] = needed.get(system, 0) + size
        names.setdefault(system, place)
    return {names[system]: size for system, size in needed.items()}


def lacking(folder: str, gigabytes: float) -> list[str]:
    "A line for each file system that is too full."
    found = []
    for place, size in places(folder, gigabytes).items():
        free = shutil.disk_usage(place).free / 1e9
        if free < size:
            found.append(f"{folder} takes about {gigabytes:g} GB, and pip {DOWNLOADS} GB more while it installs: "
                         f"{place} has {free:.1f} GB free, {size:g} GB are needed there")
    return found


def main() -> None:
    "Say what is lacking, and fail; say nothing where there is room."
    if said := lacking(sys.argv[1], float(sys.argv[2])):
        sys.exit("\n".join(said))


if __name__ == "__main__":
    main()
