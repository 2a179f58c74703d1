"""The same search, written as one writes it from the papers: PyTorch's modules in PyTorch's layout, and nothing else.

Here are the network of DARTS (Liu and others, 2019), NT-Xent and InfoNCE, and the views of one image at a time by torchvision.
`csnas_nb` is measured against it (`speed.py`); networks and losses must give its numbers (`equal.py`).
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import transforms

from csnas_nb.networks.genotype import CellGraph, Genotype
from csnas_nb.networks.network import cell_plan


def relu_conv_bn(channels_in: int, channels_out: int) -> nn.Module:
    "ReLU, 1x1 convolution, batch norm."
    return nn.Sequential(nn.ReLU(), nn.Conv2d(channels_in, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out))


class FactorizedReduce(nn.Module):
    "Half the channels from even rows and columns, half from odd ones; an odd side is padded by zeros."

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__()
        self.even = nn.Conv2d(channels_in, channels_out // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(channels_in, channels_out - channels_out // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2)))
        return self.norm(torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], dim=1))


class Zero(nn.Module):
    "Zeros, at half the sides where the stride is 2."

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride, :: self.stride] * 0.0


def separable(channels: int, kernel: int, stride: int, dilation: int) -> list[nn.Module]:
    "ReLU, depthwise and pointwise convolution, batch norm."
    padding = dilation * (kernel // 2)
    depthwise = nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False)
    return [nn.ReLU(), depthwise, nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels)]


def operation(name: str, channels: int, stride: int) -> nn.Module:
    "A primitive of a genotype."
    if name == "none":
        return Zero(stride)
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels)
    if name == "max_pool_3x3":
        return nn.MaxPool2d(3, stride, padding=1)
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
    if name == "conv_7x1_1x7":
        row = nn.Conv2d(channels, channels, (1, 7), (1, stride), (0, 3), bias=False)
        column = nn.Conv2d(channels, channels, (7, 1), (stride, 1), (3, 0), bias=False)
        return nn.Sequential(nn.ReLU(), row, column, nn.BatchNorm2d(channels))
    kernel = int(name[-1])
    if name.startswith("dil"):
        return nn.Sequential(*separable(channels, kernel, stride, 2))
    return nn.Sequential(*separable(channels, kernel, stride, 1), *separable(channels, kernel, 1, 1))


class Cell(nn.Module):
    "Every edge of every node, one after the other."

    def __init__(self, graph: CellGraph, channels_in: tuple[int, int], channels: int, stride: int, older_stride: int):
        super().__init__()
        self.graph = graph
        older, newer = channels_in
        self.older = FactorizedReduce(older, channels) if older_stride == 2 else relu_conv_bn(older, channels)
        self.newer = relu_conv_bn(newer, channels)
        self.operations = nn.ModuleList(operation(op, channels, stride if i < 2 else 1) for op, i in graph.edges)

    def forward(self, older: Tensor, newer: Tensor) -> Tensor:
        states = [self.older(older), self.newer(newer)]
        operations = iter(self.operations)
        for node in self.graph.nodes:
            states.append(sum(next(operations)(states[i]) for _, i in self.graph.inputs(node)))
        return torch.cat([states[n] for n in self.graph.outputs], dim=1)


class Network(nn.Module):
    "Stem, cells, mean over the last map."

    def __init__(self, genotype: Genotype, channels: int, layers: int):
        super().__init__()
        plan = cell_plan(genotype, channels, layers)
        self.stem = nn.Sequential(nn.Conv2d(3, 3 * channels, 3, padding=1, bias=False), nn.BatchNorm2d(3 * channels))
        self.cells = nn.ModuleList(Cell(**step) for step in plan)
        self.features_width = plan[-1]["channels"] * len(plan[-1]["graph"].outputs)

    def forward(self, x: Tensor) -> Tensor:
        older = newer = self.stem(x)
        for cell in self.cells:
            older, newer = newer, cell(older, newer)
        return newer.mean((2, 3))


def same_weights(plain: nn.Module, ours: nn.Module) -> list[tuple[nn.Parameter, nn.Parameter]]:
    "Copies our weights into the plain network; returns the pairs of parameters."
    pairs = list(zip(plain.parameters(), ours.parameters(), strict=True))
    with torch.no_grad():
        for theirs, own in pairs:
            theirs.copy_(own)
    return pairs


def ntxent_by_row(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    "NT-Xent, all cosines of one code at a time: a loop of one step for each sample."
    codes, count = F.normalize(torch.cat([first, second])), len(first)
    losses = []
    for i in range(2 * count):
        cosines = codes @ codes[i] / temperature
        others = torch.cat([cosines[:i], cosines[i + 1:]])
        losses.append(torch.logsumexp(others, 0) - cosines[(i + count) % (2 * count)])
    return torch.stack(losses).mean()


def infonce_by_row(memory: Tensor, query: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    "InfoNCE, one query after the other, K negatives for each."
    losses = []
    for own, code, others in zip(memory, query, negatives):
        exponents = F.cosine_similarity(code[None], torch.cat([own[None], others])) / temperature
        losses.append(torch.logsumexp(exponents, 0) - exponents[0])
    return torch.stack(losses).mean()


def ntxent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    "NT-Xent as most public code has it: one matrix of cosines and a cross-entropy."
    codes, count = F.normalize(torch.cat([first, second])), len(first)
    cosines = (codes @ codes.T / temperature).fill_diagonal_(float("-inf"))
    return F.cross_entropy(cosines, (torch.arange(2 * count) + count) % (2 * count))


def make_views(side: int, grey: bool, mirror: bool) -> transforms.Compose:
    "The strong views of `csnas_nb.scoring.views`, for one PIL image at a time."
    steps = [transforms.RandomResizedCrop(side, scale=(0.5, 1.0), ratio=(0.8, 1.25))]
    if grey:
        steps.append(transforms.RandomAffine(15, translate=(0.1, 0.1), scale=(0.9, 1.1)))
    if mirror:
        steps.append(transforms.RandomHorizontalFlip())
    if not grey:
        jitter = transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)
        steps += [transforms.RandomApply([jitter], p=0.8), transforms.RandomGrayscale(p=0.2)]
    return transforms.Compose([*steps, transforms.ToTensor()])


class Training:
    "SimCLR's training on PIL images, each with two views of its own."

    def __init__(
        self, genotype: Genotype, pictures: list, views: transforms.Compose, mean: Tensor, std: Tensor, *,
        channels: int, layers: int, epochs: int, batch_size: int, rate: float, temperature: float, width: int = 128,
    ):
        self.network = Network(genotype, channels, layers)
        features = self.network.features_width
        self.head = nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, width))
        self.pictures, self.views, self.mean, self.std = pictures, views, mean, std
        self.epochs, self.batch_size, self.temperature = epochs, batch_size, temperature
        self.steps = len(pictures) // batch_size
        self.optimiser = torch.optim.Adam([*self.network.parameters(), *self.head.parameters()], rate)

    def epoch(self) -> float:
        "Mean loss of one pass over the images."
        total = 0.0
        for batch in torch.randperm(len(self.pictures))[: self.steps * self.batch_size].split(self.batch_size):
            both = [torch.stack([self.views(self.pictures[i]) for i in batch]).sub(self.mean).div(self.std) for _ in range(2)]
            first, second = self.head(self.network(torch.cat(both))).chunk(2)
            loss = ntxent(first, second, self.temperature)
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            total += loss.item()
        return total / self.steps

    def score(self) -> float:
        "Mean loss of the last epoch."
        return [self.epoch() for _ in range(self.epochs)][-1]
