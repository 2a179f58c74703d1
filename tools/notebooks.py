"""The notebooks' command line; `make help` says when to use which command. nbdev's own commands neither store outputs nor do the rest."""
from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import browser
import colab
import execution
import gate
import pages
import project

SIMPLE = {"stamp": execution.stamp, "export": project.export, "readme": pages.readme, "docs": pages.docs}
CHOOSING = {
    "run": "execute notebooks in place and store their outputs",
    "cuda": "execute in place the notebooks that have cells flagged cuda, on a machine with a GPU",
    "colab": "run notebooks alone, with only what Colab has installed",
    "execute": "run one notebook in this process (what run and test start)",
}


def parser() -> argparse.ArgumentParser:
    "Describe the commands and their options."
    top = argparse.ArgumentParser(prog="notebooks.py", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    made = {name: commands.add_parser(name, help=(does.__doc__ or "")) for name, does in SIMPLE.items()}
    made |= {name: commands.add_parser(name, help=says) for name, says in CHOOSING.items()}
    made["test"] = commands.add_parser("test", help="run every check; change nothing")
    made["browse"] = commands.add_parser("browse", help="click through the site with Chromium")
    made["browse"].add_argument("--shots", type=Path, help="keep pictures of the pages in this folder")
    for name in CHOOSING:
        made[name].add_argument("notebooks", nargs="+" if name == "execute" else "*", type=Path, help="default: all of them")
    for name in ("run", "test"):
        made[name].add_argument("--workers", type=int, default=execution.WORKERS, help="at a time (default %(default)s)")
    for name in ("run", "execute"):
        made[name].add_argument("--slow", action="store_true", help="run the cells flagged slow as well")
    made["execute"].add_argument("--cuda", action="store_true", help="run the cells flagged cuda as well")
    made["execute"].add_argument("--write", action="store_true", help="store the outputs when every cell succeeded")
    return top


def main() -> int:
    "Run the command asked for; return the exit code."
    args = parser().parse_args()
    chosen = [notebook.resolve() for notebook in getattr(args, "notebooks", [])]
    os.chdir(project.ROOT)  # nbdev looks for settings.ini from the working directory
    chosen = chosen or project.notebooks()
    also = {flag for flag in ("slow", "cuda") if getattr(args, flag, False)}
    actions = SIMPLE | {
        "run": lambda: execution.run_in_place(chosen, also, args.workers),
        "cuda": lambda: execution.run_cuda(chosen),
        "execute": lambda: execution.execute(chosen[0], also, args.write),
        "test": lambda: gate.test(args.workers),
        "colab": lambda: colab.colab(chosen),
        "browse": lambda: browser.command(args.shots and args.shots.resolve()),
    }
    return actions[args.command]()


if __name__ == "__main__":
    sys.exit(main())
