"""Does `csnas_nb` give the plain network's numbers? `python benchmarks/equal.py`

For every known cell and 50 random ones, at an even and an odd side: features and all gradients, in double precision, against `plain.py` with the
same weights, three times: with the ways of `csnas_nb.support.fast` for small maps, for middling and for large ones. In single precision twice, where only
rounding may differ. That turns a ReLU or a maximum the other way in two or three of a hundred networks (which ones, depends on the machine and its threads),
and a gradient changes by a thousandth, in plain PyTorch as well. A way that is wrong differs for all weights and images, so such a network is asked again
with others, at most twice, by the same narrow tolerance. The known cells once more at the size of large maps, and in evaluation mode. Last the losses against loops over the samples.
"""
from __future__ import annotations

import argparse

import plain
import torch

from csnas_nb.support import fast
from csnas_nb.networks.genotype import Genotype, KNOWN_CELLS
from csnas_nb.networks.network import Network
from csnas_nb.scoring.losses import nce_loss, ntxent_loss
from csnas_nb.networks.operations import WIDE_PRIMITIVES
from csnas_nb.searching.space import SearchSpace, decode_genotype, random_params

CHANNELS, LAYERS, IMAGES = 4, 5, 3
SEEDS = {torch.float64: 1, torch.float32: 3}  # weights and images that a network is tried with, at most
SIDES = ((8, 8), (13, 9))


def random_cells(count: int) -> dict[str, Genotype]:
    "Cells of 3 to 5 nodes from all ten primitives, always the same ones."
    spaces = [SearchSpace(nodes=nodes, primitives=WIDE_PRIMITIVES) for nodes in (3, 4, 5)]
    return {f"random {k}": decode_genotype(spaces[k % 3], random_params(spaces[k % 3], seed=k)) for k in range(count)}


def difference(genotype: Genotype, sides: tuple[int, int], kind: torch.dtype, seed: int = 0) -> tuple[float, float]:
    "Largest difference of the features, and of all gradients taken as one vector; both as shares of its length."
    ours = Network(genotype, CHANNELS, LAYERS, seed=seed).to(kind)
    theirs = plain.Network(genotype, CHANNELS, LAYERS).to(kind)
    pairs = plain.same_weights(theirs, ours)
    random_numbers = torch.Generator().manual_seed(seed)
    x = torch.randn(IMAGES, 3, *sides, generator=random_numbers).to(kind)
    inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    out, expected = ours(inputs[0]), theirs(inputs[1])
    gradient = torch.randn(out.shape, generator=random_numbers).to(kind)
    parameters = [(own, their) for their, own in pairs]
    gradients = []
    for result, leaves in zip((out, expected), zip(inputs, *parameters)):
        found = torch.autograd.grad(result, leaves, gradient, allow_unused=True)  # None behind a dead node or `none`: a zero
        gradients.append(torch.cat([(torch.zeros_like(leaf) if g is None else g).flatten() for g, leaf in zip(found, leaves)]))
    own, their = gradients
    return ((out - expected).norm() / expected.norm()).item(), ((own - their).norm() / their.norm()).item()


def worst(cells: dict[str, Genotype], kind: torch.dtype, tolerance: float) -> tuple[float, float]:
    "The largest differences over cells and sides; raises AssertionError above the tolerance."
    found = {}
    for name, genotype in cells.items():
        for sides in SIDES:
            tried = (difference(genotype, sides, kind, seed) for seed in range(SEEDS[kind]))
            found[name, sides] = next((pair for pair in tried if max(pair) <= tolerance), None) or difference(genotype, sides, kind)
            assert max(found[name, sides]) <= tolerance, f"{name} at {sides} differs by {found[name, sides]} of {tolerance}"
    return max(features for features, _ in found.values()), max(gradients for _, gradients in found.values())


def check_wide() -> None:
    """The ways of large maps at the size that they are meant for, in single precision, against plain PyTorch in double precision.

    Rounding may turn a ReLU or a maximum the other way, which changes a gradient by a thousandth, in plain PyTorch as well. So the bound is loose;
    where every tap belongs is checked above, in double precision.
    """
    found = []
    for name, genotype in KNOWN_CELLS.items():
        x = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        ours, exact = Network(genotype, 32, 3), plain.Network(genotype, 32, 3).double()
        results = []
        for network, parameters in ((ours, list(ours.parameters())), (exact, [their for their, _ in plain.same_weights(exact, ours)])):
            pixels = x.to(parameters[0].dtype)
            gradients = torch.autograd.grad(network(pixels).square().sum(), parameters, allow_unused=True)
            with torch.no_grad():
                alone = network.eval()(pixels[:1])  # evaluation mode: batch norm's averages must agree too
            results.append((torch.cat([g.flatten().double() for g in gradients if g is not None]), alone.double()))
        found.append([((own - their).norm() / their.norm()).item() for own, their in zip(*results)])
        assert max(found[-1]) <= 1e-2, f"{name}: gradients and evaluation differ by {found[-1]}"
    gradients, alone = (max(column) for column in zip(*found))
    print(f"single, 32 channels, 32x32   {len(found)} cells: gradients differ by {gradients:.1e}, one image in evaluation mode by {alone:.1e}", flush=True)


def check_losses() -> None:
    "NT-Xent and InfoNCE against loops over the samples, in double precision."
    numbers = torch.Generator().manual_seed(0)
    first, second, others = (torch.randn(count, 16, generator=numbers, dtype=torch.float64) for count in (12, 12, 30))
    for ours, theirs in (
        (ntxent_loss(first, second, 0.5).mean(), plain.ntxent_by_row(first, second, 0.5)), (ntxent_loss(first, second, 0.1).mean(), plain.ntxent(first, second, 0.1)),
        (nce_loss(first, second, others, 0.07).mean(), plain.infonce_by_row(first, second, others.expand(12, -1, -1), 0.07)),
    ):
        assert abs(ours - theirs) < 1e-10, (ours, theirs)
    print("double                       losses agree with loops over the samples", flush=True)


def main() -> None:
    "Compare, print one line for each setting, fail where numbers differ."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random", type=int, default=50, help="number of random cells")
    cells = KNOWN_CELLS | random_cells(parser.parse_args().random)
    names = ("SMALL_PIXELS", "LARGE", "PARTS_FROM")
    usual = tuple(getattr(fast, name) for name in names)
    fast.MANY_IMAGES = 1  # so that a few images take the ways of many
    for name, thresholds, kind, tolerance in (
        ("double, ways of small maps", usual, torch.float64, 1e-10), ("double, of middling ones", (0, *usual[1:]), torch.float64, 1e-10),
        ("double, of large ones", (0, 0, 0), torch.float64, 1e-10), ("single, of small ones", usual, torch.float32, 1e-4),
        ("single, of large ones", (0, 0, 0), torch.float32, 1e-4),
    ):
        for setting, value in zip(names, thresholds):
            setattr(fast, setting, value)
        features, gradients = worst(cells, kind, tolerance)
        print(f"{name:28s} {len(cells)} cells, {len(SIDES)} sizes: features differ by {features:.1e}, gradients by {gradients:.1e}", flush=True)
    for setting, value in zip(names, usual):
        setattr(fast, setting, value)
    check_wide()
    check_losses()


if __name__ == "__main__":
    main()
