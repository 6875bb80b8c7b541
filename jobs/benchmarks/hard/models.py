"""The networks of the second development set of the search: residual, attending, max-pooled, robust, of 100 classes.

Each is trained once from a seed, on the MNIST images of the package or on CIFAR-10 (a file in NumPy's format with
train_images, train_labels, test_images and test_labels), and kept on disk outside of the repository: training all takes
about a quarter of an hour of one core.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from benchmarks.kept import CACHE, write
from benchmarks.search.models import Split
from torch import Tensor, nn
from torch.nn import functional as F

from intriguing.data import load_dataset
from intriguing.randomness import generator, torch_seed


def pooled(channels: int = 16, classes: int = 10) -> nn.Module:
    """A LeNet-like net: two 5x5 convolutions, each with ReLU and max-pooling, and a hidden layer of 100."""
    return nn.Sequential(
        nn.Conv2d(1, channels, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(channels, 2 * channels, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * channels, 100),
        nn.ReLU(),
        nn.Linear(100, classes),
    )


def strided() -> nn.Module:
    """Three 3x3 convolutions for 3 x 32 x 32, the last two strided, and a hidden layer of 100."""
    layers: list[nn.Module] = []
    for before, after, stride in ((3, 16, 1), (16, 16, 2), (16, 32, 2)):
        layers += [nn.Conv2d(before, after, 3, stride, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2048, 100), nn.ReLU(), nn.Linear(100, 10))


class _Block(nn.Module):
    """Two 3x3 convolutions with batch norm beside a shortcut (He et al. 2016, section 4.2, option A)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.stride = after // before
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, self.stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, after, H / stride, W / stride)."""
        short = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, (self.stride - 1) * x.shape[1]))
        return F.relu(self.body(x) + short)


def resnet20() -> nn.Module:
    """ResNet-20 of 16, 32 and 64 channels for 3 x 32 x 32."""
    widths = [16] * 4 + [32] * 3 + [64] * 3
    blocks = [_Block(before, after) for before, after in pairwise(widths)]
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class _Attention(nn.Module):
    """Four layers of attention over 8 x 8 patches, then the mean of the tokens."""

    def __init__(self, width: int = 64, depth: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.places = nn.Parameter(0.02 * torch.randn(1, 64, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10)."""
        return self.head(self.layers(self.patches(x).flatten(2).transpose(1, 2) + self.places).mean(1))


@dataclass(frozen=True)
class Training:
    """How a network of the set is made."""

    build: Callable[[], nn.Module]
    data: str
    """mnist, pairs or cifar."""
    epochs: int
    rate: float = 1e-3
    norm: str = ""
    """Norm of the attacks that it is trained with, linf or l2; noise: with Gaussian noise; empty: with neither."""
    radius: float = 0.0
    """Of the attacks, in that norm; of noise its standard deviation."""
    steps: int = 5
    flips: bool = False
    robust: bool = field(default=False)
    """Whether it is held to the targets of robust networks."""
    dear: bool = field(default=False)
    """Whether a row costs ten times as much as one of the other networks."""


TRAININGS = {
    "max-pool CNN, Linf 0.3": Training(pooled, "mnist", 16, 1e-3, "linf", 0.3, robust=True),
    "CIFAR CNN, L2 0.5": Training(strided, "cifar", 6, 1e-3, "l2", 0.5, steps=3, robust=True),
    "max-pool CNN": Training(pooled, "mnist", 6),
    "digit pairs, 100 classes": Training(lambda: pooled(classes=100), "pairs", 6),
    "CIFAR CNN, noise 0.12": Training(strided, "cifar", 6, 1e-3, "noise", 0.12, robust=True),
    "ViT": Training(_Attention, "cifar", 6, flips=True, dear=True),
    "ResNet-20": Training(resnet20, "cifar", 4, 3e-3, flips=True, dear=True),
}


def splits(data: str, cifar: Path | None) -> tuple[Split, Split] | None:
    """Training and test images of a kind of data; None where its file is absent."""
    if data == "cifar":
        if cifar is None or not cifar.is_file():
            return None
        with np.load(cifar) as arrays:
            return tuple(  # type: ignore[return-value]
                Split(
                    torch.from_numpy(arrays[f"{part}_images"]).permute(0, 3, 1, 2).float().div(255).contiguous(),
                    torch.from_numpy(arrays[f"{part}_labels"]).long(),
                )
                for part in ("train", "test")
            )
    sample = load_dataset("mnist-sample")
    parts = []
    for name in ("train", "test"):
        part = sample.split(name)
        split = Split(part.pixels(np.arange(len(part))), torch.as_tensor(np.array(part.labels)).long())
        parts.append(_pairs(split, name) if data == "pairs" else split)
    return parts[0], parts[1]


def _pairs(split: Split, key: str) -> Split:
    """Two digits side by side, each squeezed to half its width; the class is the number that they make."""
    draw = generator(0, "benchmark pairs", key)
    count = 2 * len(split.labels)
    left, right = (torch.from_numpy(draw.integers(0, len(split.labels), count)) for _ in range(2))
    halves = F.avg_pool2d(split.images, (1, 2))
    images = torch.cat([halves[left], halves[right]], 3)
    return Split(images, 10 * split.labels[left] + split.labels[right])


def trained(name: str, train: Split, seed: int, folder: Path = CACHE) -> nn.Module:
    """The network `name` of `TRAININGS`, in eval mode with frozen weights, from `folder` if it is there."""
    training = TRAININGS[name]
    key = hashlib.sha256(repr((name, seed, _recipe(training), float(train.images.double().mean()))).encode())
    path = folder / f"{key.hexdigest()[:16]}.pt"
    torch.manual_seed(torch_seed(seed, "benchmark weights", name) % 2**31)
    model = training.build()
    if path.is_file():
        model.load_state_dict(torch.load(path, weights_only=True))
    else:
        _train(model, train, training, seed)
        write(path, lambda part: torch.save(model.state_dict(), part))
    return model.eval().requires_grad_(False)


def _recipe(training: Training) -> tuple:
    flips = ("flips",) if training.flips else ()
    return (training.data, training.epochs, training.rate, training.norm, training.radius, training.steps, *flips)


def _train(model: nn.Module, split: Split, training: Training, seed: int) -> None:
    """Adam with a rate that falls linearly to zero."""
    optimiser = torch.optim.Adam(model.parameters(), lr=training.rate)
    batches = -(-len(split.labels) // 64)
    for epoch in range(training.epochs):
        order = torch.from_numpy(generator(seed, "benchmark order", epoch).permutation(len(split.labels)))
        for number, index in enumerate(order.split(64)):
            done = (epoch + number / batches) / training.epochs
            for group in optimiser.param_groups:
                group["lr"] = training.rate * (1 - done)
            x, y = split.images[index], split.labels[index]
            if training.flips:
                x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
            x = _hardened(model, x, y, training, min(1.0, done / 0.4))
            optimiser.zero_grad(set_to_none=True)
            F.cross_entropy(model(x), y).backward()
            optimiser.step()


def _hardened(model: nn.Module, x: Tensor, y: Tensor, training: Training, share: float) -> Tensor:
    """The images with noise, or after an attack of `share` of the radius (Madry et al. 2018, equation 2.1)."""
    radius = share * training.radius
    if not radius:
        return x
    if training.norm == "noise":
        return (x + training.radius * torch.randn_like(x)).clamp(0, 1)
    moved = x + radius * (2 * torch.rand_like(x) - 1) * (1.0 if training.norm == "linf" else 0.02)
    rate = 2.5 * radius / training.steps
    for _ in range(training.steps):
        moved = moved.clamp(0, 1).requires_grad_()
        (slope,) = torch.autograd.grad(F.cross_entropy(model(moved), y), moved)
        moved = moved.detach()
        if training.norm == "linf":
            moved = torch.minimum(torch.maximum(moved + rate * slope.sign(), x - radius), x + radius)
        else:
            size = slope.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None, None]
            r = moved + rate * slope / size - x
            norm = r.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None, None]
            moved = x + r * (radius / norm).clamp(max=1)
    return moved.clamp(0, 1).detach()
