"""The notebooks' command line: run, cuda, test, stamp, export, readme, docs, browse and colab. `make help` says when to use which."""
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


def parser() -> argparse.ArgumentParser:
    "Describe the commands and their options."
    top = argparse.ArgumentParser(prog="notebooks.py", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="execute notebooks in place and store their outputs")
    run.add_argument("notebooks", nargs="*", type=Path, help="default: all of them")
    run.add_argument("--slow", action="store_true", help="run the cells flagged slow as well")

    cuda = commands.add_parser("cuda", help="execute in place the notebooks that have cells flagged cuda, on a machine with a GPU")
    cuda.add_argument("notebooks", nargs="*", type=Path, help="default: all that have such cells")

    test = commands.add_parser("test", help="run every check; change nothing")
    for command in (run, test):
        command.add_argument("--workers", type=int, default=execution.WORKERS, help="at a time (default %(default)s)")

    commands.add_parser("stamp", help="write the Colab badge and install cell into every notebook")
    commands.add_parser("export", help="write the package and pyproject.toml from the notebooks")
    commands.add_parser("readme", help="write README.md from the index notebook")
    commands.add_parser("docs", help="build the site in docs/")

    alone = commands.add_parser("colab", help="run notebooks alone, with only what Colab has installed")
    alone.add_argument("notebooks", nargs="*", type=Path, help="default: all of them")
    read = commands.add_parser("browse", help="click through the site with Chromium")
    read.add_argument("--shots", type=Path, help="keep pictures of the pages in this folder")

    one = commands.add_parser("execute", help="run one notebook in this process (what run and test start)")
    one.add_argument("notebooks", nargs=1, type=Path, metavar="notebook")
    one.add_argument("--slow", action="store_true")
    one.add_argument("--cuda", action="store_true")
    one.add_argument("--write", action="store_true", help="store the outputs when every cell succeeded")
    return top


def main() -> int:
    "Run the command asked for; return the exit code."
    args = parser().parse_args()
    chosen = [notebook.resolve() for notebook in getattr(args, "notebooks", [])]
    os.chdir(project.ROOT)  # nbdev looks for settings.ini from the working directory
    also = {flag for flag in ("slow", "cuda") if getattr(args, flag, False)}
    if args.command == "execute":
        return execution.execute(chosen[0], also, args.write)
    if args.command == "run":
        return execution.run_in_place(chosen or project.notebooks(), also, args.workers)
    if args.command == "cuda":
        return execution.run_cuda(chosen or project.notebooks())
    if args.command == "test":
        return gate.test(args.workers)
    if args.command == "colab":
        return colab.colab(chosen or project.notebooks())
    if args.command == "browse":
        return browser.command(args.shots and args.shots.resolve())
    actions = {"stamp": execution.stamp, "export": project.export, "readme": pages.readme, "docs": pages.docs}
    return actions[args.command]()


if __name__ == "__main__":
    sys.exit(main())
