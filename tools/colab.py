"""`make colab`: run every notebook as Colab would, alone in an empty folder, with only what Colab has installed.

The base environment stands for Colab's. Each notebook gets a thin environment over it, so that what its install cell brings is
its own. The tag that the cell names is answered by a repository made on the spot from this working tree.
"""
from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import execution
import project
from execnb.nbio import read_nb

HAS = ["torch", "torchvision", "numpy", "scikit-learn", "matplotlib", "pandas", "ipykernel"]
LIMIT = 240  # seconds a notebook may take, its installation included
STARTUP = "import google.colab\n"  # Colab's kernel has imported it before the first cell
ANSI = re.compile(r"\x1b\[[0-9;]*m")
PURELIB = "import sysconfig; print(sysconfig.get_path('purelib'))"


def python_of(environment: Path) -> Path:
    "The interpreter of an environment."
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def purelib(environment: Path) -> Path:
    "Where an environment keeps its packages."
    done = subprocess.run([python_of(environment), "-I", "-c", PURELIB], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


def base() -> Path:
    "The environment that stands for Colab's, made when it is missing."
    folder = project.ROOT / ".colab"
    installed, wanted = folder / ".installed", " ".join(HAS)
    if not installed.is_file() or installed.read_text(encoding="utf-8") != wanted:
        print(f"Installing {', '.join(HAS)} into .colab; this takes minutes.", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        install = [python_of(folder), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *HAS], check=True)
        installed.write_text(wanted, encoding="utf-8")
    return folder


def thin(folder: Path, over: Path) -> Path:
    "A fresh environment that sees the packages of another one, keeps its own apart, and passes for Colab's."
    venv.create(folder, symlinks=os.name != "nt")
    packages = purelib(folder)
    (packages / "base.pth").write_text(f"{purelib(over)}\n", encoding="utf-8")
    (packages / "google" / "colab").mkdir(parents=True)
    (packages / "google" / "colab" / "__init__.py").touch()
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
        "PATH": os.pathsep.join([str(python_of(environment).parent), kept.get("PATH", "")]),
        "IPYTHONDIR": str(home),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{repository.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": project.settings().git_url,
    }


@contextmanager
def kernel_of(environment: Path, seen: dict[str, str], folder: Path) -> Iterator:
    "A client for a kernel of the environment, working in the folder."
    from jupyter_client.manager import KernelManager

    over_files = {"transport": "ipc", "ip": str(folder.parent / "kernel")}  # no network between client and kernel
    manager = KernelManager(**(over_files if os.name != "nt" else {}))
    manager.kernel_spec.argv = [str(python_of(environment)), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    client = None
    try:
        manager.start_kernel(env=seen, cwd=str(folder))
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=120)
        yield client
    finally:
        if client:
            client.stop_channels()
        manager.shutdown_kernel(now=True)


def run_cell(client, source: str) -> str:
    "Execute a cell; return the error it ended with, or nothing."
    printed = []

    def listen(message: dict) -> None:
        if message["msg_type"] == "stream":
            printed.append(message["content"]["text"])

    try:
        reply = client.execute_interactive(source, allow_stdin=False, output_hook=listen, timeout=LIMIT)["content"]
    except TimeoutError:
        return f"no end after {LIMIT} seconds, or the kernel died"
    if reply["status"] == "ok":
        return ""
    return ANSI.sub("", "".join(printed[-5:]) + "\n".join(reply.get("traceback", [reply["status"]])))


def run_cells(client, path: Path) -> tuple[str, float]:
    "Execute a notebook's cells of the default tier; return what went wrong and the seconds its install cell took."
    installing = 0.0
    for cell in read_nb(path).cells:
        if cell.cell_type != "code" or execution.is_skipped(cell, {"slow", "cuda"}):
            continue
        start = time.perf_counter()
        if problem := run_cell(client, cell.source):
            return f"Cell #{cell.idx_ + 1}:\n{problem}", installing
        if execution.is_stamp(cell):
            installing = time.perf_counter() - start
    return "", installing


def touched(environment: Path) -> list[str]:
    "What the install cell replaced of PyTorch, which must be nothing."
    return sorted(found.name for pattern in ("torch", "torchvision", "torch-*", "torchvision-*") for found in purelib(environment).glob(pattern))


def run_alone(path: Path, repository: Path, over: Path) -> tuple[str, float, float]:
    "Run a notebook in an environment and a folder of its own; return problem, seconds, and seconds of installing."
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        environment, work = thin(folder / "environment", over), folder / "content"
        work.mkdir()
        alone = work / path.name
        alone.write_bytes(path.read_bytes())
        seen = variables(environment, repository, folder / "ipython")
        start = time.perf_counter()
        with kernel_of(environment, seen, work) as client:
            problem, installing = run_cells(client, alone)
        seconds = time.perf_counter() - start
        if not problem and (replaced := touched(environment)):
            problem = f"the install cell brought its own {', '.join(replaced)}"
        if not problem and seconds > LIMIT:
            problem = f"more than {LIMIT} seconds"
    return problem, seconds, installing


def colab(paths: list[Path]) -> int:
    "Run the notebooks one after the other, print a line for each and the total; return the exit code."
    over, total, failed = base(), 0.0, 0
    with tempfile.TemporaryDirectory() as temporary:
        repository = tagged(Path(temporary).resolve())
        for path in paths:
            problem, seconds, installing = run_alone(path, repository, over)
            total, failed = total + seconds, failed + bool(problem)
            execution.report(path, [problem] if problem else [], seconds, f"{installing:5.1f} s of them to install")
    print(f"{len(paths) - failed} of {len(paths)} notebooks ran as on Colab, {total / 60:.1f} minutes in all")
    return int(failed > 0)
