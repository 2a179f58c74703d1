"""`make colab`: run every notebook as Colab would, alone in an empty folder, with only what Colab has installed.

The base environment stands for Colab's. Each notebook gets a thin environment over it, so that what its install cell brings is
its own. The tag that the cell names is answered by a repository made on the spot from this working tree.
"""
from __future__ import annotations

import os
import subprocess
import tempfile
import time
import venv
from pathlib import Path

import execution
import project
from execnb.nbio import nb2str, read_nb

HAS = ["torch", "torchvision", "numpy", "scikit-learn", "matplotlib", "pandas", "ipykernel"]
LIMIT = 240  # seconds a notebook may take, its installation included
STARTUP = "import google.colab\n"  # Colab's kernel has imported it before the first cell


def base() -> Path:
    "The environment that stands for Colab's, made when it is missing."
    folder = project.ROOT / ".colab"
    installed, wanted = folder / ".installed", " ".join(HAS)
    if not installed.is_file() or installed.read_text(encoding="utf-8") != wanted:
        print(f"Installing {', '.join(HAS)} into .colab; this takes minutes.", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        install = [project.python_of(folder), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *HAS], check=True)
        installed.write_text(wanted, encoding="utf-8")
    return folder


def git(folder: Path, *arguments: str) -> None:
    "Run git, as nobody in particular."
    someone = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *someone, *arguments], cwd=folder, check=True, capture_output=True)


def tagged(folder: Path) -> Path:
    "A repository of this working tree with the tag that the install cells name."
    project.copy_tree(folder)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "stand-in for the release")
    git(folder, "tag", f"v{project.settings().version}")
    return folder


def variables(environment: Path, repository: Path, home: Path) -> dict[str, str]:
    "What a notebook's process sees: its environment first, and the local repository for the project's address."
    startup = home / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-colab.py").write_text(STARTUP, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return kept | {
        "PATH": os.pathsep.join([str(project.python_of(environment).parent), kept.get("PATH", "")]),
        "IPYTHONDIR": str(home),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{repository.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": project.settings().git_url,
    }


def execute(path: Path, environment: Path, seen: dict[str, str], folder: Path) -> str:
    "Execute a notebook's cells of the default tier in a kernel of the environment that works in the folder; return what went wrong, or nothing."
    import nbformat
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellControlSignal, CellExecutionError, DeadKernelError

    notebook = read_nb(path)
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code" and not execution.is_skipped(cell, {"slow", "cuda"})]
    over_files = {"transport": "ipc", "ip": str(folder.parent / "kernel")}  # no network between client and kernel
    manager = AsyncKernelManager(**(over_files if os.name != "nt" else {}))
    manager.kernel_spec.argv = [str(project.python_of(environment)), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    try:
        NotebookClient(nbformat.reads(nb2str(notebook), as_version=4), km=manager, timeout=LIMIT).execute(env=seen, cwd=str(folder), cleanup_kc=True)
    except CellExecutionError as error:
        return execution.ANSI.sub("", str(error))
    except (CellControlSignal, DeadKernelError) as error:
        return f"no end after {LIMIT} seconds, or the kernel died: {error}"
    return ""


def run_alone(path: Path, repository: Path, over: Path) -> tuple[str, float]:
    "Run a notebook in an environment and a folder of its own, as Colab's; return what went wrong and the seconds."
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        environment, work = folder / "environment", folder / "content"
        packages = project.thin(environment, [str(project.purelib(over))])
        (packages / "google" / "colab").mkdir(parents=True)
        (packages / "google" / "colab" / "__init__.py").touch()
        work.mkdir()
        start = time.perf_counter()
        problem = execute(path, environment, variables(environment, repository, folder / "ipython"), work)
        seconds = time.perf_counter() - start
        replaced = sorted(found.name for found in packages.iterdir() if found.name.split("-")[0] in ("torch", "torchvision"))
    if not problem and replaced:
        problem = f"the install cell brought its own {', '.join(replaced)}"
    return problem or (f"more than {LIMIT} seconds" if seconds > LIMIT else ""), seconds


def colab(paths: list[Path]) -> int:
    "Run the notebooks one after the other, print a line for each and the total; return the exit code."
    over, total, failed = base(), 0.0, 0
    with tempfile.TemporaryDirectory() as temporary:
        repository = tagged(Path(temporary).resolve())
        for path in paths:
            problem, seconds = run_alone(path, repository, over)
            total, failed = total + seconds, failed + bool(problem)
            execution.report(path, [problem] if problem else [], seconds)
    print(f"{len(paths) - failed} of {len(paths)} notebooks ran as on Colab, {total / 60:.1f} minutes in all")
    return int(failed > 0)
