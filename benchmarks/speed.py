"""`csnas_nb` against plain PyTorch, in one run: `python benchmarks/speed.py`

Each pair is called in turn, so that both see the same machine; of each the median and the range of its middle half. The plain side is
`plain.py`. `equal.py` checks that both give the same numbers. Close other programs first; about ten minutes on two cores.
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles

import numpy as np
import plain
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from csnas_nb.support import fast
from csnas_nb.networks.genotype import Genotype, KNOWN_CELLS
from csnas_nb.networks.network import Network
from csnas_nb.networks.size import network_size
from csnas_nb.support.seeds import seeded
from csnas_nb.scoring.config import ScoreConfig
from csnas_nb.scoring.pretraining import Deck, PretextModel, make_pretext, make_pretext_optimiser, make_pretext_step, pretext_epoch
from csnas_nb.scoring.scorer import label_free_score
from csnas_nb.images.image_set import ImageSet, from_arrays
from csnas_nb.formats.sources import load_images
from csnas_nb.scoring.losses import nce_loss, ntxent_loss
from csnas_nb.scoring.views import make_views

POOLED = [("max_pool_3x3", 0), ("avg_pool_3x3", 1), ("avg_pool_3x3", 0), ("skip_connect", 2),
          ("max_pool_3x3", 1), ("avg_pool_3x3", 2), ("sep_conv_3x3", 0), ("max_pool_3x3", 3)]
POOLING = Genotype(POOLED, range(2, 6), POOLED, range(2, 6))
CELLS = {"s5": KNOWN_CELLS["CSNAS_S5"], "DARTS_V2": KNOWN_CELLS["DARTS_V2"], "pooling": POOLING}
THREE_EPOCHS = ScoreConfig(pretext="transform", passes=None)  # contrastive, what the table was first made with
PAPER_SIZE, QUICK_SIZE = "C=32, 8 cells, 32x32, batch 64", "quick: C=8, 5 cells, 8x8, 128 views"
SIZES = {PAPER_SIZE: (32, 8, 32, 64), QUICK_SIZE: (8, 5, 8, 128)}  # channels, cells, side, images through the network
TARGETS = {("forward+backward", "s5", PAPER_SIZE): 2.5, ("NT-Xent, batch 256", "", ""): 20, ("views, 256 of 32x32, tensors", "", ""): 4, ("views, 256 of 32x32, PIL", "", ""): 4, ("whole score", "s5", QUICK_SIZE): 2.5}


@dataclass(frozen=True)
class Row:
    "One pair of measurements, in seconds."
    what: str
    cell: str
    size: str
    plain: list[float]
    ours: list[float]

    @property
    def ratio(self) -> float:
        "How many times as fast as plain."
        return median(self.plain) / median(self.ours)


def in_turn(first: Callable[[], object], second: Callable[[], object], repeats: int, warm_up: int = 2) -> tuple[list[float], list[float]]:
    "Seconds of two functions, called one after the other, the first calls dropped."
    taken: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + warm_up):
        for function, seconds in zip((first, second), taken):
            start = time.perf_counter()
            function()
            if repeat >= warm_up:
                seconds.append(time.perf_counter() - start)
    return taken


def step(network: torch.nn.Module, x: torch.Tensor, gradient: torch.Tensor) -> None:
    "Forward and backward."
    network.zero_grad()
    network(x).backward(gradient)


def forward(network: torch.nn.Module, x: torch.Tensor) -> None:
    "Forward alone, as in evaluation but with the batch's statistics."
    with torch.no_grad():
        network(x)


def networks(genotype: Genotype, size: str) -> tuple[plain.Network, Network, torch.Tensor, torch.Tensor]:
    "Both networks with the same weights, images, and a gradient."
    channels, layers, side, count = SIZES[size]
    ours, theirs = Network(genotype, channels, layers), plain.Network(genotype, channels, layers)
    plain.same_weights(theirs, ours)
    return theirs, ours, torch.randn(count, 3, side, side), torch.randn(count, ours.features_width)


def network_rows(repeats: int) -> list[Row]:
    "Forward, and forward with backward, of every cell at both sizes."
    rows = []
    for size in SIZES:
        for name, genotype in CELLS.items():
            theirs, ours, x, gradient = networks(genotype, size)
            many = repeats if size == PAPER_SIZE else 4 * repeats
            rows.append(Row("forward", name, size, *in_turn(lambda: forward(theirs, x), lambda: forward(ours, x), many)))
            rows.append(Row("forward+backward", name, size, *in_turn(lambda: step(theirs, x, gradient), lambda: step(ours, x, gradient), many)))
            report(rows[-2:])
    return rows


def colour_images(count: int, side: int) -> ImageSet:
    "Coloured images of smooth random spots."
    with seeded(0):
        spots = torch.nn.functional.interpolate(torch.rand(count, 3, 4, 4), size=side, mode="bilinear")
    return from_arrays((spots * 255).byte())


def pictures(images: ImageSet) -> list[Image.Image]:
    "The images as PIL has them, grey ones with one channel."
    arrays = images.images.permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(array[..., 0] if images.grey else array) for array in arrays]


def plain_training(images: ImageSet, genotype: Genotype, config: ScoreConfig) -> plain.Training:
    "The plain training with the settings of `config`, which are those of SimCLR."
    mean, std = (torch.as_tensor(np.asarray(value), dtype=torch.float32).view(-1, 1, 1)[: 1 if images.grey else 3] for value in (images.mean, images.std))
    views = plain.make_views(images.images.shape[-1], images.grey, images.mirror)
    coloured = (lambda picture: views(picture).expand(3, -1, -1)) if images.grey else views
    return plain.Training(
        genotype, pictures(images), coloured, mean, std, channels=config.channels, layers=config.layers, epochs=config.epochs,
        batch_size=config.batch_size, rate=config.learning_rate, temperature=config.temperature)


def one_epoch(images: ImageSet, genotype: Genotype, config: ScoreConfig) -> Callable[[], float]:
    "One epoch of ours, nothing before or after it."
    model = PretextModel(Network(genotype, config.channels, config.layers), config.width, 0, config.head).train()
    pretext = make_pretext(images, config)
    optimiser, scheduler = make_pretext_optimiser(model, config, 10**6)
    step, deck = make_pretext_step(model, None, optimiser, config), Deck(len(images))
    return lambda: pretext_epoch(step, None, pretext, images, deck, scheduler, config)


def score_rows(repeats: int) -> list[Row]:
    "An epoch of few steps at both sizes, and a whole contrastive score of three epochs on the digits."
    rows, digits, steps = [], load_images("digits"), 3
    large = ScoreConfig(channels=32, layers=8, pretext="transform", passes=None, epochs=1, batch_size=32)
    for name, genotype in CELLS.items():
        for size, config, images in ((PAPER_SIZE, large, colour_images(32 * steps, 32)), (QUICK_SIZE, ScoreConfig(pretext="transform", passes=None, epochs=1), digits)):
            pair = plain_training(images, genotype, config).epoch, one_epoch(images, genotype, config)
            rows.append(Row(f"epoch of {len(images) // config.batch_size} steps", name, size, *in_turn(*pair, max(3, repeats // 2), 1)))
        pair = lambda: plain_training(digits, genotype, THREE_EPOCHS).score(), lambda: label_free_score(genotype, digits, THREE_EPOCHS)
        rows.append(Row("whole score", name, QUICK_SIZE, *in_turn(*pair, 3, 0)))
        report(rows[-3:])
    return rows


def part_rows(repeats: int) -> list[Row]:
    "Views and losses by themselves."
    rows = []
    for what, images in (("views, 256 of 32x32", colour_images(256, 32)), ("views, 256 digits", load_images("digits"))):
        theirs, ours = plain.make_views(images.images.shape[-1], images.grey, images.mirror), make_views(images, "strong")
        chosen, pixels = pictures(images)[:256], images.images[:256].float() / 255
        tensors = images.images[:256, : 1 if images.grey else 3]
        on_tensors = plain.transforms.Compose([*theirs.transforms[:-1], plain.transforms.ConvertImageDtype(torch.float32)])
        rows.append(Row(f"{what}, tensors", "", "", *in_turn(lambda: torch.stack([on_tensors(one) for one in tensors]), lambda: ours(pixels), repeats)))
        rows.append(Row(f"{what}, PIL", "", "", *in_turn(lambda: torch.stack([theirs(one) for one in chosen]), lambda: ours(pixels), repeats)))
    first, second = (torch.randn(256, 128, requires_grad=True) for _ in range(2))
    shared = torch.randn(255, 128)
    negatives = shared.expand(256, -1, -1)
    codes = first.detach()
    for what, theirs, ours in (
        ("NT-Xent, batch 256", lambda: plain.ntxent_by_row(first, second, 0.5), lambda: ntxent_loss(first, second, 0.5).mean()),
        ("InfoNCE, batch 256, K=255", lambda: plain.infonce_by_row(codes, second, negatives, 0.07), lambda: nce_loss(codes, second, shared, 0.07).mean()),
        ("NT-Xent, as one matrix", lambda: plain.ntxent(first, second, 0.5), lambda: ntxent_loss(first, second, 0.5).mean()),
    ):
        assert torch.allclose(theirs(), ours(), rtol=1e-4), what
        rows.append(Row(what, "", "", *in_turn(lambda: theirs().backward(), lambda: ours().backward(), repeats)))
    report(rows)
    return rows


def proposal_rows(repeats: int, trials: int = 100) -> list[Row]:
    "One proposal after 100 trials: a sampler that is kept, against one made anew for each trial, as a search that can be continued needs it."
    import optuna

    from csnas_nb.searching.proposals import SAMPLERS, make_sampler
    from csnas_nb.support.storages import quiet_optuna
    from csnas_nb.searching.space import SearchSpace

    with quiet_optuna():
        space = SearchSpace()
        kept = make_sampler(SAMPLERS["quick"], 0)
        studies = [optuna.create_study(sampler=sampler) for sampler in (kept, optuna.samplers.RandomSampler(seed=0))]
        for study in studies:
            for trial in range(trials):
                study.tell(study.ask(space.distributions), (7919 * trial % 101) / 101)

        def anew() -> None:
            studies[1].sampler = make_sampler(SAMPLERS["quick"], 0)
            studies[1].tell(studies[1].ask(space.distributions), 0.5)

        rows = [Row(f"proposal after {trials} trials", "", "", *in_turn(lambda: studies[0].tell(studies[0].ask(space.distributions), 0.5), anew, 2 * repeats))]
    report(rows)
    return rows


def run_many(count: int) -> None:
    "Score one cell several times; print the seconds of each. (What `side_by_side` starts.)"
    digits = load_images("digits")
    label_free_score(CELLS["DARTS_V2"], digits, ScoreConfig(pretext="transform", passes=None, epochs=1))
    print("ready", flush=True)
    sys.stdin.readline()
    for seed in range(count):
        label_free_score(CELLS["DARTS_V2"], digits, THREE_EPOCHS, seed=seed)


def side_by_side(count: int = 6) -> dict[str, float]:
    "Seconds a score of `quick`: one process with all cores, and as many processes as cores with one thread each."
    cores, seconds = os.cpu_count() or 1, {}
    for processes, threads in ((1, cores), (1, 1), (cores, 1)):
        command = [sys.executable, __file__, "--run-many", str(count)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(processes)]
        for process in started:
            process.stdout.readline()
        start = time.perf_counter()
        for process in started:
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in started:
            process.wait()
        seconds[f"{processes} at once, {threads} thread{'s' * (threads > 1)} each"] = (time.perf_counter() - start) / (count * processes)
    for name, value in seconds.items():
        print(f"quick score, {name:28s} {value:6.2f} s a score", flush=True)
    return seconds


def run_steps(keep: bool) -> None:
    "Steps of s5 at the larger size; print median milliseconds and page faults of the last ones. (What `page_faults` starts.)"
    import resource

    if keep:
        fast.keep_freed_memory()
    _, network, x, gradient = networks(CELLS["s5"], PAPER_SIZE)
    seconds, faults = [], []
    for _ in range(16):
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        step(network, x, gradient)
        seconds.append(time.perf_counter() - start)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    print(1e3 * median(seconds[4:]), median(faults[4:]))


def run_score(name: str) -> None:
    "Score one cell for an epoch of `quick`; print megabytes at the peak. (What `peaks` starts.)"
    print(label_free_score(CELLS[name], load_images("digits"), ScoreConfig(pretext="transform", passes=None, epochs=1)).memory / 2**20)


def peaks() -> dict[str, float]:
    "Peak memory of a new process that scores a cell by `quick`, in megabytes."
    found = {}
    for name in CELLS:
        command = [sys.executable, __file__, "--run-score", name]
        found[name] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"peak memory of a process that scores {name:9s} by quick {found[name]:6.0f} MB", flush=True)
    return found


def page_faults(repeats: int = 3) -> dict[str, list[float]]:
    "Milliseconds and page faults of a step of s5, with glibc as it is and told to keep freed memory; processes in turn."
    found: dict[str, list[list[float]]] = {"as it is": [], "keep": []}
    for _ in range(repeats):
        for name, runs in found.items():
            command = [sys.executable, __file__, "--run-steps", name]
            runs.append([float(value) for value in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()])
    middle = {name: [median(column) for column in zip(*runs)] for name, runs in found.items()}
    for name, (milliseconds, faults) in middle.items():
        print(f"allocator {name:10s} {milliseconds:8.0f} ms a step of s5, {faults:8.0f} page faults", flush=True)
    return middle


def starting(repeats: int = 5) -> dict[str, float]:
    "Median seconds until a new process has imported or answered."
    searching = "import torch, csnas_nb.searching.study"
    commands = {"import torch": ["-c", "import torch"], searching: ["-c", searching], "csnas --help": ["-m", "csnas_nb", "--help"]}
    program = Path(sys.executable).parent / "csnas"
    seconds = {}
    for name, arguments in commands.items():
        command = [str(program), "--help"] if name.startswith("csnas") and program.exists() else [sys.executable, *arguments]
        taken = []
        for _ in range(repeats):
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            taken.append(time.perf_counter() - start)
        seconds[name] = median(taken)
        print(f"{name:40s} {seconds[name]:6.2f} s", flush=True)
    return seconds


def matrix_rate(side: int = 2048, repeats: int = 9) -> float:
    "Multiply-adds a second of a product of two large matrices, the best of several."
    a, b, taken = torch.randn(side, side), torch.randn(side, side), []
    for _ in range(repeats):
        start = time.perf_counter()
        a @ b
        taken.append(time.perf_counter() - start)
    return side**3 / min(taken)


def share_of_rate(row: Row, rate: float) -> tuple[float, float]:
    "What share of the matrix rate forward and backward (three times the forward multiply-adds) reach, plain and ours."
    channels, layers, side, count = SIZES[row.size]
    work = 3 * count * network_size(CELLS[row.cell].canonical, channels, layers, side=side).multiply_adds
    return work / median(row.plain) / rate, work / median(row.ours) / rate


CONVOLUTIONS = "convolutions and products"
KINDS = {  # PyTorch's operations by what they do
    "convolution": CONVOLUTIONS, "convolution_backward": CONVOLUTIONS, "mm": CONVOLUTIONS, "bmm": CONVOLUTIONS,
    "native_batch_norm": "batch norm", "native_batch_norm_backward": "batch norm",
    "relu": "ReLU", "relu_": "ReLU", "threshold_backward": "ReLU"}
COPIES = ("clone", "copy_", "cat", "constant_pad_nd", "new_zeros", "zeros", "slice_backward", "select_backward", "add", "add_", "fill_", "flip", "contiguous")


class Watch(TorchDispatchMode):
    "Counts PyTorch's operations, forward and backward, and the time that each takes."

    def __init__(self) -> None:
        super().__init__()
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        start = time.perf_counter()
        result = function(*arguments, **(named or {}))
        name = function._schema.name.split("::")[1]
        kind = KINDS.get(name, "pooling" if "pool" in name else "adding, copying, padding" if name in COPIES else "the rest")
        self.seconds[kind] += time.perf_counter() - start
        self.calls[kind] += 1
        return result


def where_time_goes(network: torch.nn.Module, x: torch.Tensor, gradient: torch.Tensor, repeats: int = 5) -> dict[str, tuple[float, float]]:
    "Seconds and calls of each kind of operation in one step."
    for _ in range(4):
        step(network, x, gradient)
    forwards, backwards = Watch(), Watch()
    for _ in range(repeats):
        network.zero_grad()
        with forwards:
            out = network(x)
        with backwards:
            out.backward(gradient)
    found: dict[str, tuple[float, float]] = {}
    for watch, way in ((forwards, "forward"), (backwards, "backward")):
        for kind, seconds in watch.seconds.items():
            name = f"convolutions and products, {way}" if kind == CONVOLUTIONS else kind
            before = found.get(name, (0.0, 0.0))
            found[name] = before[0] + seconds / repeats, before[1] + watch.calls[kind] / repeats
    return found


def spread(seconds: list[float]) -> str:
    "Median and the middle half, in milliseconds."
    low, middle, high = quantiles(seconds, n=4) if len(seconds) > 1 else seconds * 3
    return f"{1e3 * middle:9.2f} ({1e3 * low:.2f}-{1e3 * high:.2f})"


def report(rows: list[Row]) -> None:
    "Print rows of the table."
    for row in rows:
        target = TARGETS.get((row.what, row.cell, row.size))
        wanted = "" if target is None else f"   target {target:g}: {'met' if row.ratio >= target else 'NOT met'}"
        print(f"{row.what:28s} {row.cell:9s} {row.size[:20]:20s} plain {spread(row.plain):30s} ours {spread(row.ours):28s} {row.ratio:6.2f}x{wanted}", flush=True)


def main() -> None:
    "Measure everything, print the table, keep it as JSON where asked."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="calls of each function")
    parser.add_argument("--json", type=Path, help="keep the measurements in this file")
    parser.add_argument("--run-many", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--run-score", help=argparse.SUPPRESS)
    parser.add_argument("--run-steps", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run_score:
        return run_score(options.run_score)
    if options.run_steps:
        return run_steps(options.run_steps == "keep")
    if options.run_many:
        return run_many(options.run_many)
    fast.keep_freed_memory()  # for both sides
    begun, rate = time.perf_counter(), matrix_rate()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {rate / 1e9:.0f} G multiply-adds a second in a matrix product; milliseconds, median (middle half)")
    rows = [*network_rows(options.repeats), *part_rows(options.repeats), *proposal_rows(options.repeats), *score_rows(options.repeats)]
    rest = {"rate": rate, "side_by_side": side_by_side(), "page_faults": page_faults(), "peaks": peaks(), "starting": starting()}
    print(f"{(time.perf_counter() - begun) / 60:.1f} minutes")
    if options.json:
        options.json.write_text(json.dumps(rest | {"rows": [asdict(row) for row in rows]}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
