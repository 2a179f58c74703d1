"""One training step on a GPU, call by call and as a CUDA graph: `python benchmarks/gpu.py`

A label-free task (by how many quarter turns was an image rotated?) on 20,000 random images of 28x28 pixels, with the network of the `quick`
preset, by the loop that everybody writes and by `csnas_nb.support.steps`. Of each the median time of a step, and the seconds of the whole training
with everything before it. Without a GPU it says so; `--device cpu --steps 3` tries the script out on the CPU.
"""
from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from csnas_nb.networks.genotype import KNOWN_CELLS
from csnas_nb.networks.network import Network
from csnas_nb.support.steps import StepConfig, TrainStep

CHANNELS, LAYERS, SIDE, RATE, EPOCHS = 8, 5, 28, 3e-3, 3
Step = Callable[[Tensor, Tensor], Tensor]  # images and turns -> loss


def make_network(cell: str, device: torch.device) -> tuple[Network, torch.optim.Optimizer]:
    "The network of the `quick` preset with four classes, and its optimiser: the same at every call."
    network = Network(KNOWN_CELLS[cell], CHANNELS, LAYERS, classes=4).to(device).train()
    return network, torch.optim.Adam(network.parameters(), RATE, fused=True)


def plain_step(network: nn.Module, optimiser: torch.optim.Optimizer) -> Step:
    "The loop that everybody writes."
    def step(images: Tensor, turns: Tensor) -> Tensor:
        loss = F.cross_entropy(network(images), turns)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.detach()
    return step


def our_step(config: StepConfig) -> Callable[[nn.Module, torch.optim.Optimizer], Step]:
    "The step of this project."
    def make(network: nn.Module, optimiser: torch.optim.Optimizer) -> Step:
        step = TrainStep(lambda images, turns: (F.cross_entropy(network(images), turns),), network, optimiser, config)
        return lambda images, turns: step(images, turns)[0]
    return make


WAYS: dict[str, Callable[[nn.Module, torch.optim.Optimizer], Step]] = {
    "the usual loop": plain_step,
    "our step, call by call": our_step(StepConfig(graph="never")),
    "our step, graph fp32": our_step(StepConfig()),
    "our step, graph bf16": our_step(StepConfig("bf16")),
}


def turned(images: Tensor) -> tuple[Tensor, Tensor]:
    "A batch with a quarter of its images turned by each of the four angles, and the turns."
    parts = images.tensor_split(4)
    turns = torch.cat([torch.full((len(part),), k, device=images.device) for k, part in enumerate(parts)])
    return torch.cat([torch.rot90(part, k, (2, 3)) for k, part in enumerate(parts)]), turns


def wait(device: torch.device) -> None:
    "Until the device has done what it was given."
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(make: Callable[[nn.Module, torch.optim.Optimizer], Step], images: Tensor, cell: str, batch: int, steps: int) -> tuple[float, float, float, float]:
    "Seconds of the whole training; median milliseconds of single steps after it; the first and the last loss."
    device = images.device
    wait(device)
    start = time.perf_counter()
    step, losses = make(*make_network(cell, device)), []
    order = torch.cat([torch.randperm(len(images), device=device) for _ in range(-(-steps * batch // len(images)))])
    for chosen in order[:steps * batch].split(batch):
        losses.append(step(*turned(images[chosen])))
    wait(device)
    seconds, taken = time.perf_counter() - start, []
    inputs = turned(images[:batch])
    for _ in range(min(steps, 50)):
        start = time.perf_counter()
        step(*inputs)
        wait(device)
        taken.append(1e3 * (time.perf_counter() - start))
    return seconds, median(taken), losses[0].item(), losses[-1].item()


def main() -> int:
    "Measure, print a line for each way."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="where to measure (default %(default)s)")
    parser.add_argument("--steps", type=int, help="of each training (default: as many as three epochs have)")
    parser.add_argument("--images", type=int, default=20_000, help="how many (default %(default)s)")
    parser.add_argument("--batch", type=int, help="images a step (default: 512 on a GPU, else 32)")
    parser.add_argument("--cell", default="DARTS_V2", choices=sorted(KNOWN_CELLS), help="whose network (default %(default)s)")
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("There is no GPU that PyTorch can use here: nothing was measured. `--device cpu --steps 3` tries the script out.")
        return 0
    batch = args.batch or (512 if device.type == "cuda" else 32)
    steps = args.steps or EPOCHS * (args.images // batch)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device}, a trial run: there are no graphs here"
    print(f"{name}; PyTorch {torch.__version__}; {args.cell}, C={CHANNELS}, {LAYERS} cells, {SIDE}x{SIDE}, {steps} steps of {batch} images", flush=True)
    images = torch.rand(args.images, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(device)
    torch.manual_seed(0)
    measure(plain_step, images, args.cell, batch, min(steps, 3))  # the device's libraries are loaded, at nobody's expense
    print(f"{'':24s} {'ms a step':>10s} {'seconds':>9s} {'first loss':>11s} {'last loss':>10s}", flush=True)
    for way, make in WAYS.items():
        torch.manual_seed(0)  # the same order of images
        seconds, milliseconds, first, last = measure(make, images, args.cell, batch, steps)
        print(f"{way:24s} {milliseconds:10.2f} {seconds:9.2f} {first:11.4f} {last:10.4f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
