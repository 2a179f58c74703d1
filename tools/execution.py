"""One notebook at a time: the form that all share, the Colab cells, running it in a process of its own or as on Colab.

nbdev cleans; the form (beginning, end, captions, solutions) is our own. nbdev_test stores no outputs, nbconvert knows
no flags of nbdev: execnb runs what nbdev_test would run. No library makes Colab's place: alone in an empty folder, with
only what Colab has. `.colab` (of the Makefile) stands for that; a thin environment over it holds what a notebook's
install cell brings, and a copy of this tree answers the tag in that cell.
"""
from __future__ import annotations

import os
import posixpath
import re
import sys
import sysconfig
import tempfile
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import project
import street
from execnb.nbio import mk_cell, nb2str, read_nb, write_nb
from execnb.shell import CaptureShell
from nbdev.clean import clean_nb
from nbdev.process import extract_directives

ROW = re.compile(r"^(\| \[[^\]]+]\(([^)]+\.ipynb)\) \|.*?\|.*?\|)[^|]*\|$", re.MULTILINE)
OPENING = "**What you will have at the end:**"
TITLE = re.compile(r"# \S[^\n]*(\n+> \S[^\n]*)?\s*")
SHELL = re.compile(r"^[ \t]*!(?!=)(?:.*\\\n)*.*", re.MULTILINE)  # a line for the shell, with those that continue it
OUR_PYTHON, HELD = '!"{sys.executable}" -m ', "assert _exit_code == 0"
CLOSED = "jp-MarkdownHeadingCollapsed"  # JupyterLab shows such a heading without what stands below it
KINDS = ("*Change this and see.*", "*Open.*")  # of exercises
WORDS, LINES = 2_500, 400  # of a notebook; lines of code that is not folded
BYTES = 500_000  # of its file, with the pictures
EXPORTED, DEFINED = re.compile(r"(?m)^#\|\s*export"), re.compile(r"(?m)^\s*(?:def|class) ")
LIMIT = 240  # seconds a cell may take on Colab
FIGURES = "%config InlineBackend.print_figure_kwargs = {'bbox_inches': 'tight', 'metadata': {'Software': None}}"


def clean_text(notebook) -> str:
    "The notebook as it is stored: cleaned by nbdev, with sorted keys."
    clean_nb(notebook, allowed_cell_metadata_keys=["jupyter", CLOSED], clean_ids=project.settings().clean_ids)
    return nb2str(notebook)


def install_source(notebook) -> str:
    "The cell that installs the released package on Colab, and what else this notebook uses."
    settings = project.settings()
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code" and not is_stamp(cell))
    modules = {need: re.match(r"[\w-]+", need)[0].replace("-", "_") for need in settings.colab_requirements.split()}
    named = {need for need, module in modules.items() if re.search(rf"\b{module}\b", code)}
    for extra in settings.extras.split():                                    # what one extra needs comes together
        if named & (group := {*getattr(settings, f"{extra}_requirements").split()}): named |= group & {*modules}
    others = [f'"{need}"' for need in modules if need in named]
    wanted = " ".join([f"git+{settings.git_url}@v{settings.version}", *others])
    first = "# Installs csnas_nb on Colab only; does nothing elsewhere."
    return f'{first}\nimport sys\nif "google.colab" in sys.modules:\n    %pip install -q {wanted}'


def colab_address(name: str) -> str:
    "Where a notebook under nbs/ opens in Colab."
    settings = project.settings()
    return f"https://colab.research.google.com/github/{settings.user}/{settings.repo}/blob/{settings.branch}/nbs/{name}"


def is_stamp(cell) -> bool:
    "Whether `stamp` wrote the cell."
    return cell.get("id") in ("colab-badge", "colab-install", "street")


def is_folded(cell) -> bool:
    "Whether a code cell's code is folded away."
    return "true" in extract_directives(cell, remove=False).get("code-fold:", [])


def stamp_notebook(notebook, path: Path):
    "Put badge, place on the street and install cell where they belong, in place of older ones; return the notebook."
    name = project.name_of(path)
    first, *rest = (cell for cell in notebook.cells if not is_stamp(cell))
    image = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    badge = mk_cell(f"{image}({colab_address(name)})", "markdown", id="colab-badge")
    install = mk_cell(install_source(notebook), id="colab-install")
    notebook.cells = [first, badge, mk_cell(street.line(name), "markdown", id="street"), install, *rest]
    for cell in rest:
        if cell.cell_type == "code" and is_folded(cell):
            cell.metadata["jupyter"] = {"source_hidden": True}  # the code that the site folds is hidden in JupyterLab
        elif cell.source.startswith("## Solutions"):
            cell.metadata[CLOSED] = True
        elif name == street.FRONT:
            cell.source = ROW.sub(lambda row: f"{row[1]} [open]({colab_address(row[2])}) |", cell.source)
    return notebook


def stamp() -> None:
    "Stamp every notebook from settings.ini and nbs/sidebar.yml."
    for path in project.notebooks():
        project.replace(path, clean_text(stamp_notebook(read_nb(path), path)))


def shell_faults(notebook) -> list[str]:
    "Lines for the shell that need a PATH, or that may fail while the notebook goes on (IPython only notes the code)."
    found = []
    for cell in notebook.cells:
        if cell.cell_type != "code" or is_stamp(cell):
            continue
        for line in SHELL.finditer(cell.source):
            if not line[0].lstrip().startswith(OUR_PYTHON):
                found.append(f"cell #{cell.idx_ + 1}: a line for the shell begins with {OUR_PYTHON}")
            if not cell.source[line.end():].lstrip().startswith(HELD):
                found.append(f"cell #{cell.idx_ + 1}: below a line for the shell stands {HELD}")
        if re.search(r"""(\[\s*|--no-python["', ]+)["']csnas["']""", cell.source):
            found.append(f'cell #{cell.idx_ + 1}: starts csnas by its name: [sys.executable, "-m", "csnas_nb", …]')
    return found


def reading_faults(notebook) -> list[str]:
    "What makes a notebook hard to read: too much of it, or a definition that nobody introduces."
    cells = [cell for cell in notebook.cells if not is_stamp(cell)]
    seen = [cell for cell in cells if cell.cell_type == "code" and not is_folded(cell)
            and "hide" not in extract_directives(cell, remove=False)]
    words = sum(len(cell.source.split()) for cell in cells if cell.cell_type == "markdown")
    lines = sum(cell.source.count("\n") + 1 for cell in seen)
    found = [f"{words:,} words, {WORDS:,} at most"] * (words > WORDS)
    found += [f"{lines} lines of code in sight, {LINES} at most: fold what is not taught"] * (lines > LINES)
    for above, cell in zip(cells, cells[1:]):
        if cell in seen and EXPORTED.search(cell.source) and DEFINED.search(cell.source) and above.cell_type == "code":
            found.append(f"no prose above what is defined in cell {cell.id}")
    return found


def form_faults(notebook, name: str) -> list[str]:
    "What a notebook lacks of what every notebook has; the front page, but for captions, goes its own way."
    found = shell_faults(notebook)
    for cell, below in zip(notebook.cells, [*notebook.cells[1:], notebook.cells[0]]):
        kinds = [kind for output in cell.get("outputs", []) for kind in output.get("data", {})]
        captioned = below.cell_type == "markdown" and re.match(r"\*[^*]", below.source)
        if not captioned and any(kind.startswith("image/") for kind in kinds):
            found.append(f"no caption in italics below the picture of cell #{cell.idx_ + 1}")
        if re.search(r"(?m)^#\| code-summary:.*`", cell.source):
            found.append(f"a backtick in the code-summary of cell #{cell.idx_ + 1} ends the fold on the site")
    if name == street.FRONT:
        return found
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    body, _, appendix = ("\n" + "\n\n".join(texts) + "\n").partition("\n## Solutions\n")
    _, recapped, recap = body.partition("\n## Recap\n")
    exercises = re.findall(r"(?m)^(\d+)\. ", recap.partition("**Exercises**")[2])
    solutions = re.findall(r"(?m)^\*\*(\d+)\.\*\*", appendix)
    last = recap.strip().rpartition("\n")[2]
    following = dict(zip(street.order(), [*street.order()[1:], street.FRONT]))[name]
    link = posixpath.relpath(following, posixpath.dirname(name))
    checks = {
        f"the first paragraph must begin with {OPENING}": any(text.startswith(OPENING) for text in texts[1:4]),
        "no `## Recap`": recapped,
        "needs 2 or 3 numbered exercises below **Exercises**": len(exercises) in (2, 3),
        f"the recap must end with `Next: …` to {link}": last.startswith("Next: ") and f"]({link})" in last,
        "no `## Solutions`": appendix,
        f"solutions {solutions} for exercises {exercises}": solutions == exercises,
        **{f"no exercise is {kind}": kind in recap for kind in KINDS},
    }
    return found + reading_faults(notebook) + [problem for problem, holds in checks.items() if not holds]


def faults(path: Path) -> list[str]:
    "What is wrong with the notebook as it is stored, before any cell runs."
    try:
        notebook = read_nb(path)
    except (ValueError, AttributeError) as error:  # not JSON, or JSON without cells
        return [f"not a notebook: {error}"]
    if not notebook.cells or not TITLE.fullmatch(notebook.cells[0].source):
        return ["the first cell must hold `# Title` and `> one-line summary` only: the site drops the rest"]
    found = form_faults(notebook, project.name_of(path))
    if (size := path.stat().st_size) > BYTES:
        found.append(f"{size:,} bytes, {BYTES:,} at most: fewer or smaller pictures")
    if clean_text(stamp_notebook(notebook, path)) != path.read_text(encoding="utf-8"):
        found.append("not clean, or its badge, install cell or place on the street is stale (make export)")
    return found


def is_skipped(cell, flags: set[str]) -> bool:
    "Whether the cell is no code or keeps the outputs it has: nbdev's rule."
    if cell.cell_type != "code":
        return True
    directives = extract_directives(cell, remove=False)
    return directives.get("eval:", [""])[0].lower() == "false" or bool(flags & directives.keys())


def noise(cell) -> str:
    "What a cell that ran printed on stderr; its outputs are put in order on the way."
    last = cell.source.rstrip().rpartition("\n")[2]
    if last[:1] == last[-1:] == '"':  # the text that describes a constant: a notebook would show it as a result
        cell.outputs = [output for output in cell.outputs if output.output_type != "execute_result"]
    streams = [output for output in cell.outputs if output.output_type == "stream"]
    for stream in streams:
        stream.text = [line.replace("\r\n", "\n") for line in stream.text]  # what `!command` prints ends so
    return "".join(line for stream in streams if stream.name == "stderr" for line in stream.text)


def execute(notebook: project.Notebook, write: bool = False, slow: bool = False, cuda: bool = False) -> None:
    "Run one notebook in this process, flagged cells as well if asked; store its outputs if asked and all went well."
    read, shell = read_nb(notebook), CaptureShell(notebook, mpl_format="png")
    flags = set(project.settings().tst_flags.split()) - ({"slow"} if slow else set()) - ({"cuda"} if cuda else set())
    shell.run(FIGURES)
    os.chdir(notebook.parent)
    for cell in read.cells:
        if not is_skipped(cell, flags):
            cell.outputs = []
            shell.cell(cell)
            said = noise(cell)
            if shell.exc:
                raise project.Failure(shell.prettytb(os.path.relpath(notebook, project.ROOT)))
            if said:
                raise project.Failure(f"Cell #{cell.idx_ + 1} prints on stderr:\n{said}")
    if write:
        project.replace(notebook, clean_text(read))


def execute_apart(path: Path, *options: str) -> None:
    "Run one notebook in a fresh process."
    threads = str(max(1, (os.cpu_count() or 1) // project.WORKERS))
    project.call(  # with the tree's package and commands, a share of the cores, no bars or colours
        [sys.executable, "tools/notebooks.py", "execute", path, *options], PYTHONPATH=str(project.ROOT),
        PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        MPLBACKEND="module://matplotlib_inline.backend_inline", OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads,
        TQDM_DISABLE="1", NO_COLOR="1", TERM="dumb",
    )


def execute_all(known: dict[Path, list[str]], *options: str) -> bool:
    "Execute notebooks, some at a time; print a line for each, with what is `known` of it, and the counts."
    import matplotlib.font_manager  # noqa: F401  builds its cache now, else the first figure reports it on stderr

    def job(path: Path) -> bool:
        return project.held(os.path.relpath(path, project.ROOT), lambda: execute_apart(path, *options), known[path])

    with ThreadPoolExecutor(project.WORKERS) as pool:  # later rooms train more: started first, they are not waited for
        passed = list(pool.map(job, reversed(known)))
    print(f"{passed.count(True)} passed, {passed.count(False)} failed", flush=True)
    return all(passed)


def run(notebooks: project.Notebooks = (), slow: bool = False, cuda: bool = False) -> None:
    "Execute notebooks in place and store their outputs; a notebook that fails stays as it was."
    options = ["--slow"] * slow + ["--cuda"] * cuda
    if not execute_all({path: [] for path in notebooks or project.notebooks()}, "--write", *options):
        raise SystemExit(1)


def packages_of(environment: Path) -> Path:
    "Where an environment keeps its packages."
    return Path(sysconfig.get_path("purelib", "posix_prefix", {"base": str(environment)}))


def borrow(folder: Path, other: Path, pip: bool = False) -> None:
    "Make an environment with nothing of its own, in which the packages of the other are seen behind its own."
    venv.create(folder, symlinks=True, with_pip=pip)
    (packages_of(folder) / "borrowed.pth").write_text(f"{packages_of(other)}\n", encoding="utf-8")


def place(folder: Path, repository: Path) -> dict[str, str]:
    "Make a notebook's own environment in the folder; return what its process sees: that, and the repository as ours."
    borrow(folder / "own", project.ROOT / ".colab")
    packages = packages_of(folder / "own")
    (packages / "google").mkdir()
    (packages / "google" / "colab.py").touch()
    return {
        "PATH": os.pathsep.join([str(folder / "own" / "bin"), os.environ.get("PATH", "")]), "PYTHONPATH": "",
        "IPYTHONDIR": str(folder / "ipython"), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{repository.as_uri()}.insteadOf", "GIT_CONFIG_VALUE_0": project.settings().git_url,
    }


def run_alone(path: Path, repository: Path) -> None:
    "Run a notebook's cells of the default tier in an environment and a folder of its own, as Colab's."
    notebook = read_nb(path)
    cells = [cell for cell in notebook.cells if not is_skipped(cell, {"slow", "cuda"})]
    notebook.cells = [mk_cell("import google.colab"), *cells]  # Colab's kernel has it before the first cell
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        seen, content = place(folder, repository), folder / "content"
        content.mkdir()
        write_nb(notebook, folder / path.name)
        options = ["--execute", "--to=notebook", f"--output={folder / 'ran'}", f"--ExecutePreprocessor.timeout={LIMIT}",
                   "--KernelManager.transport=ipc", f"--KernelManager.ip={folder / 'kernel'}"]  # no network between
        project.call(["python", "-m", "nbconvert", *options, folder / path.name], content, **seen)
        if own := [name for name in ("torch", "torchvision") if (packages_of(folder / "own") / name).exists()]:
            raise project.Failure(f"the install cell brought its own {' and '.join(own)}")


def colab(notebooks: project.Notebooks = ()) -> None:
    "Run notebooks one after the other, alone, with only what Colab has; print a line for each."
    with tempfile.TemporaryDirectory() as temporary:
        repository = project.copy_tree(Path(temporary).resolve())
        project.git(repository, "tag", f"v{project.settings().version}")
        start = time.perf_counter()
        held = [project.held(os.path.relpath(path, project.ROOT), lambda: run_alone(path, repository))
                for path in notebooks or project.notebooks()]
    minutes = (time.perf_counter() - start) / 60
    print(f"{sum(held)} of {len(held)} notebooks ran as on Colab, in {minutes:.0f} minutes with their installations")
    if not all(held):
        raise SystemExit(1)
