"""One notebook at a time: what clean means, the Colab cells, and running it in a process of its own.

nbdev_test stores no outputs and nbconvert knows no flags of nbdev: execnb's shell runs the cells that nbdev_test would run.
"""
from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import book
import project
import street
from execnb.nbio import mk_cell, nb2str, read_nb
from execnb.shell import CaptureShell
from nbdev.clean import clean_nb
from nbdev.process import extract_directives

WORKERS = 2
ANSI = re.compile(r"\x1b\[[0-9;]*m")
BADGE = re.compile(r"\[!\[Open in Colab]\(\S+\)]\(\S+\)\s*")
NAME = re.compile(r"[\w-]+")
ROW = re.compile(r"^(\| \[[^\]]+]\(([^)]+\.ipynb)\) \|.*?\|.*?\|)[^|]*\|$", re.MULTILINE)
TITLE = re.compile(r"# \S[^\n]*(\n+> \S[^\n]*)?\s*")
INSTALL = "# Installs csnas_nb on Colab only; does nothing elsewhere."
FIGURES = "%config InlineBackend.print_figure_kwargs = {'bbox_inches': 'tight', 'metadata': {'Software': None}}"


def clean_text(notebook) -> str:
    "The notebook as it is stored: cleaned by nbdev, with sorted keys."
    clean_nb(notebook, allowed_cell_metadata_keys=["jupyter"], clean_ids=project.settings().clean_ids)
    return nb2str(notebook)


def install_source(notebook) -> str:
    "The cell that installs the released package on Colab, and what else this notebook uses."
    settings = project.settings()
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code" and not is_stamp(cell))
    others = [need for need in settings.colab_requirements.split() if re.search(rf"\b{NAME.match(need)[0].replace('-', '_')}\b", code)]
    wanted = " ".join([f"git+{settings.git_url}@v{settings.version}", *(f'"{need}"' for need in others)])
    return f'{INSTALL}\nimport sys\nif "google.colab" in sys.modules:\n    %pip install -q {wanted}'


def colab_address(name: str) -> str:
    "Where a notebook under nbs/ opens in Colab."
    settings = project.settings()
    return f"https://colab.research.google.com/github/{settings.user}/{settings.repo}/blob/{settings.branch}/nbs/{name}"


def is_stamp(cell) -> bool:
    "Whether `stamp` wrote the cell."
    if cell.cell_type == "code":
        return cell.source.startswith(INSTALL)
    return BADGE.fullmatch(cell.source) is not None or street.is_picture(cell)


def stamp_notebook(notebook, path: Path) -> None:
    "Put badge, picture and install cell where they belong, in place of older ones."
    name = project.name_of(path)
    older = next((cell for cell in notebook.cells if street.is_picture(cell)), None)
    kept = [cell for cell in notebook.cells if not is_stamp(cell)]
    badge = mk_cell(f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab_address(name)})", "markdown", id="colab-badge")
    install = mk_cell(install_source(notebook), id="colab-install")
    picture = street.picture_cell(name, older)
    if name == street.FRONT:
        for cell in kept:
            if cell.cell_type == "markdown" and "| Colab |" in cell.source:  # the table of notebooks
                cell.source = ROW.sub(lambda row: f"{row[1]} [open]({colab_address(row[2])}) |", cell.source)
        place = next((k for k, cell in enumerate(kept) if "| Colab |" in cell.source), len(kept))
        notebook.cells = [*kept[:1], badge, install, *kept[1:place], picture, *kept[place:]]
    else:
        notebook.cells = [*kept[:1], badge, picture, install, *kept[1:]]
    for cell in kept:  # the code that the site folds is hidden in JupyterLab
        if cell.cell_type == "code" and cell.source.startswith("#| code-fold: true"):
            cell.metadata["jupyter"] = {"source_hidden": True}


def stamp() -> int:
    "Stamp every notebook from settings.ini and nbs/sidebar.yml."
    known = {street.FRONT, *street.order()}
    for path in project.notebooks():
        if project.name_of(path) not in known:
            print(f"{project.shown(path)} has no place in nbs/sidebar.yml: not stamped")
            continue
        notebook = read_nb(path)
        stamp_notebook(notebook, path)
        path.write_text(clean_text(notebook), encoding="utf-8")
    return 0


def faults(path: Path) -> list[str]:
    "What is wrong with the notebook as it is stored, before any cell runs."
    stored, found = path.read_text(encoding="utf-8"), []
    try:
        notebook = read_nb(path)
    except (ValueError, AttributeError) as error:  # not JSON, or JSON without cells
        return [f"not a notebook: {error}"]
    if not notebook.cells or not TITLE.fullmatch(notebook.cells[0].source):
        found.append("the first cell must hold `# Title` and `> one-line summary` only: the site drops the rest")
    found += book.faults(notebook, path)
    cleaned = clean_text(notebook)
    if cleaned != stored:
        found.append("not clean (make run, or nbdev_clean)")
    stamp_notebook(notebook, path)
    if clean_text(notebook) != cleaned:
        found.append("Colab badge, install cell or picture of the street is stale (make export)")
    return found


def is_skipped(cell, flags: set[str]) -> bool:
    "Whether the cell keeps the outputs it has: nbdev's rule."
    directives = extract_directives(cell, remove=False)
    return directives.get("eval:", [""])[0].lower() == "false" or bool(flags & directives.keys())


def describes(cell) -> bool:
    "Whether a cell ends with the text that describes a constant: a notebook would show it as a result."
    try:
        last = ast.parse(cell.source).body[-1:]
    except SyntaxError:  # a cell with magics
        return False
    return bool(last) and isinstance(last[0], ast.Expr) and isinstance(getattr(last[0].value, "value", None), str)


def run_cells(notebook, path: Path, also: set[str]) -> str:
    "Execute the notebook's cells where it lies, those with the flags in `also` as well; return what went wrong, or nothing."
    flags = set(project.settings().tst_flags.split()) - also
    shell = CaptureShell(path, mpl_format="png")
    shell.run(FIGURES)
    os.chdir(path.parent)
    for cell in notebook.cells:
        if cell.cell_type != "code" or is_skipped(cell, flags):
            continue
        cell.outputs = []
        shell.cell(cell)
        if describes(cell):
            cell.outputs = [output for output in cell.outputs if output.output_type != "execute_result"]
        streams = [output for output in cell.outputs if output.output_type == "stream"]
        for stream in streams:
            stream.text = [line.replace("\r\n", "\n") for line in stream.text]  # what `!command` prints ends so
        if shell.exc:
            return shell.prettytb(project.shown(path))
        if noise := [line for stream in streams if stream.name == "stderr" for line in stream.text]:
            return f"Cell #{cell.idx_ + 1} prints on stderr:\n{''.join(noise)}"
    return ""


def execute(path: Path, also: set[str], write: bool) -> int:
    "Run one notebook in this process; store its outputs if asked and all went well."
    notebook = read_nb(path)
    if problem := run_cells(notebook, path, also):
        print(problem)
        return 1
    if write:
        path.write_text(clean_text(notebook), encoding="utf-8")
    return 0


def execute_apart(path: Path, options: list[str], workers: int, root: Path) -> tuple[str, float]:
    "Run one notebook in a fresh process; return what went wrong, or nothing, and the seconds it took."
    start, threads = time.perf_counter(), str(max(1, (os.cpu_count() or 1) // workers))
    seen = {  # the tree's package and commands, a share of the cores, no bars or colours
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]), "PYTHONPATH": str(root),
        "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "TQDM_DISABLE": "1", "NO_COLOR": "1", "TERM": "dumb",
    }
    command = [sys.executable, str(root / "tools" / "notebooks.py"), "execute", str(path), *options]
    done = subprocess.run(
        command, env=os.environ | seen, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace",
    )
    problem = (done.stdout.strip() or f"the process ended with code {done.returncode}") if done.returncode else ""
    return problem, time.perf_counter() - start


def execute_all(
    paths: list[Path], options: list[str], workers: int, root: Path = project.ROOT
) -> Iterator[tuple[Path, str, float]]:
    "Run notebooks of the tree at `root`, several at a time, and yield each as it ends: path, problem, seconds."
    import matplotlib.font_manager  # noqa: F401  builds its cache now, else the first figure reports it on stderr

    workers = max(1, min(workers, len(paths)))
    with ThreadPoolExecutor(workers) as pool:
        # later rooms train more: started first, they do not make the others wait
        running = {pool.submit(execute_apart, path, options, workers, root): path for path in reversed(paths)}
        for future in as_completed(running):
            yield running[future], *future.result()


def report(path: Path, problems: list[str], seconds: float) -> None:
    "Print a notebook's line, and below it what is wrong."
    print(f"{'FAIL' if problems else 'ok  '} {seconds:6.1f} s  {project.shown(path)}", flush=True)
    for problem in problems:
        print("    " + problem.rstrip().replace("\n", "\n    "), flush=True)


def run_in_place(paths: list[Path], also: set[str], workers: int) -> int:
    "Execute notebooks and store their outputs; a notebook that fails stays as it was."
    failed = False
    for path, problem, seconds in execute_all(paths, ["--write", *(f"--{flag}" for flag in sorted(also))], workers):
        report(path, [problem] if problem else [], seconds)
        failed |= bool(problem)
    return int(failed)


def needs_gpu(path: Path) -> bool:
    "Whether a cell of the notebook is flagged cuda."
    return any(cell.cell_type == "code" and is_skipped(cell, {"cuda"}) and not is_skipped(cell, set()) for cell in read_nb(path).cells)


def run_cuda(paths: list[Path]) -> int:
    "Execute the notebooks that have cells for a GPU, those cells included, one after the other, and store their outputs."
    import torch

    if not torch.cuda.is_available():
        print("There is no GPU that PyTorch can use here: nothing was run, nothing was changed.")
        return 0
    chosen = [path for path in paths if needs_gpu(path)]
    print(f"{torch.cuda.get_device_name()}: {len(chosen)} notebooks have cells for a GPU", flush=True)
    return run_in_place(chosen, {"cuda"}, 1) if chosen else 0
