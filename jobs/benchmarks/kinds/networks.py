"""Networks of other kinds: what stands before, inside and behind an ordinary network.

All are trained for two epochs on the MNIST images of the package, in some seconds each.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Function = Callable[[Tensor], Tensor]


def convolutional() -> nn.Sequential:
    """Two strided convolutions and a hidden layer: features (B, 100) of images (B, 1, 28, 28)."""
    layers = [nn.Conv2d(1, 16, 5, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(800, 100), nn.ReLU())


class Behind(nn.Module):
    """A convolutional network behind a function of the images."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function
        self.network = nn.Sequential(convolutional(), nn.Linear(100, 10))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10)."""
        return self.network(self.function(x))


class Edges(nn.Module):
    """The magnitude of Sobel's filter, whose slope is unknown where an image is flat."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, H, W)."""
        filter_ = x.new_tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
        both = F.conv2d(x, torch.stack([filter_, filter_.T])[:, None], padding=1)
        return both.square().sum(1, keepdim=True).sqrt()


def spectrum(x: Tensor) -> Tensor:
    """The magnitudes of the Fourier coefficients, twice side by side (B, 1, 28, 28)."""
    return torch.fft.rfft2(x).abs().mul(1 / 28)[..., :14].repeat(1, 1, 1, 2)


def standardised(x: Tensor) -> Tensor:
    """Each image less its mean, over its standard deviation."""
    return (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True)


def sixteen_levels(x: Tensor) -> Tensor:
    """Rounded to 16 levels, with the gradient of the identity."""
    return x + ((16 * x).round() / 16 - x).detach()


class Cosines(nn.Module):
    """A head of cosines: 20 times the cosine with a vector of each class."""

    def __init__(self) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(10, 100))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10)."""
        return 20 * F.normalize(x, dim=1) @ F.normalize(self.vectors, dim=1).T


class Prototypes(nn.Module):
    """A head of distances: minus the distance from a vector of each class."""

    def __init__(self) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(10, 100))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10)."""
        return -torch.cdist(x, self.vectors)


class Experts(nn.Module):
    """A head of four experts, of which each image asks one."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(100, 4), nn.Linear(100, 40)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10)."""
        weight, which = self.gate(x).softmax(1).max(1, keepdim=True)
        gates = torch.zeros(len(x), 4).scatter(1, which, weight)
        return (self.experts(x).view(-1, 4, 10) * gates[:, :, None]).sum(1)


class Ensemble(nn.Module):
    """Three networks: the mean of their probabilities, or the median of their logits."""

    def __init__(self, median: bool) -> None:
        super().__init__()
        self.members = nn.ModuleList(nn.Sequential(convolutional(), nn.Linear(100, 10)) for _ in range(3))
        self.median = median

    def forward(self, x: Tensor) -> Tensor:
        """Logarithms of probabilities, or logits, (B, 10)."""
        logits = torch.stack([member(x) for member in self.members])
        return logits.median(0).values if self.median else logits.softmax(2).mean(0).log()


class Shifted(nn.Module):
    """The mean probabilities of nine shifts of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(convolutional(), nn.Linear(100, 10))

    def forward(self, x: Tensor) -> Tensor:
        """Logarithms of probabilities (B, 10)."""
        steps = (-1, 0, 1)
        views = [self.network(x.roll((down, right), (2, 3))) for down in steps for right in steps]
        return torch.stack(views).softmax(2).mean(0).log()


class Capsules(nn.Module):
    """Capsules of eight values, routed three times (Sabour et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 32, 9, 2), nn.Conv2d(32, 32, 5, 2)
        self.votes = nn.Parameter(0.1 * torch.randn(36, 10, 8, 8))

    @staticmethod
    def squashed(v: Tensor) -> Tensor:
        """Vectors of lengths below 1."""
        square = (v * v).sum(-1, keepdim=True)
        return square / (1 + square) * v / (square + 1e-9).sqrt()

    def forward(self, x: Tensor) -> Tensor:
        """Five times the lengths of ten capsules, (B, 10)."""
        maps = self.second(F.relu(self.first(x))).flatten(2)
        parts = self.squashed(maps.unflatten(1, (4, 8)).transpose(2, 3).flatten(1, 2))
        votes = torch.einsum("bnd,ncde->bnce", parts, self.votes[: parts.shape[1]])
        routes, out = votes.new_zeros(votes.shape[:3]), votes
        for _ in range(3):
            out = self.squashed((routes.softmax(2)[..., None] * votes).sum(1))
            routes = routes + (votes * out[:, None]).sum(3)
        return 5 * out.norm(dim=2)


class Recurrent(nn.Module):
    """An LSTM, or a bidirectional GRU, over the rows of an image."""

    def __init__(self, gated: bool) -> None:
        super().__init__()
        self.rows = nn.GRU(28, 48, batch_first=True, bidirectional=True) if gated else nn.LSTM(28, 64, batch_first=True)
        self.head = nn.Linear(96 if gated else 64, 10)
        self.gated = gated

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10)."""
        out, _ = self.rows(x[:, 0])
        return self.head(out.mean(1) if self.gated else out[:, -1])


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return slope * (x.abs() < 1)


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return slope / (1 + (3 * x) ** 2)


class Sign(nn.Module):
    """A binary activation, with a gradient of its own."""

    def forward(self, x: Tensor) -> Tensor:
        """-1, 0 or 1 in place of each value."""
        return _Sign.apply(x)  # type: ignore[return-value]


class Spiking(nn.Module):
    """Leaky neurons that fire, for eight steps, with a surrogate gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(784, 128), nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10)."""
        current = self.first(x.flatten(1))
        charge, out = torch.zeros_like(current), x.new_zeros(len(x), 10)
        for _ in range(8):
            charge = 0.8 * charge + current
            spikes = _Spike.apply(charge - 1)
            charge = charge - spikes
            out = out + self.second(spikes) / 8  # type: ignore[arg-type]
        return out


class Waves(nn.Module):
    """Cosines of fixed random projections (Rahimi and Recht 2007), and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(784, 512).requires_grad_(False), nn.Linear(512, 10)
        self.first.weight.normal_(0, 0.15)
        self.first.bias.uniform_(0, 2 * math.pi)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10)."""
        return self.second(self.first(x.flatten(1)).cos())


def _headed(*head: nn.Module) -> nn.Module:
    return nn.Sequential(convolutional(), *head)


def _binary() -> nn.Module:
    first = [nn.Conv2d(1, 16, 5, 2), nn.BatchNorm2d(16), Sign(), nn.Conv2d(16, 32, 3, 2), nn.BatchNorm2d(32), Sign()]
    return nn.Sequential(*first, nn.Flatten(), nn.Linear(800, 10))


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "gamma correction": lambda: Behind(lambda x: x ** (1 / 2.2)),
    "square root": lambda: Behind(torch.sqrt),
    "Sobel magnitude": lambda: Behind(Edges()),
    "logarithm": lambda: Behind(lambda x: (x + 1e-3).log() / 7 + 1),
    "spectrum": lambda: Behind(spectrum),
    "standardised images": lambda: Behind(standardised),
    "clamp to 0.1-0.9": lambda: Behind(lambda x: x.clamp(0.1, 0.9)),
    "threshold 0.3": lambda: Behind(lambda x: F.relu(x - 0.3) * 1.4),
    "steep sigmoid": lambda: Behind(lambda x: torch.sigmoid(20 * (x - 0.5))),
    "16 levels": lambda: Behind(sixteen_levels),
    "softmax": lambda: _headed(nn.Linear(100, 10), nn.Softmax(1)),
    "sigmoid head": lambda: _headed(nn.Linear(100, 10), nn.Sigmoid()),
    "tanh head": lambda: _headed(nn.Linear(100, 10), nn.Tanh()),
    "clipped logits": lambda: _headed(nn.Linear(100, 10), nn.Hardtanh(-3, 3)),
    "cosine head": lambda: _headed(Cosines()),
    "prototypes": lambda: _headed(Prototypes()),
    "hard experts": lambda: _headed(Experts()),
    "mean of three": lambda: Ensemble(median=False),
    "median of three": lambda: Ensemble(median=True),
    "nine shifts": Shifted,
    "capsules": Capsules,
    "LSTM": lambda: Recurrent(gated=False),
    "GRU": lambda: Recurrent(gated=True),
    "binary": _binary,
    "spiking": Spiking,
    "cosine features": Waves,
}


def trained(name: str, images: Tensor, labels: Tensor) -> nn.Module:
    """The network `name` of `BUILDERS`, trained by Adam for two epochs, in eval mode with frozen weights."""
    torch.manual_seed(3)
    model = BUILDERS[name]()
    optimiser = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], 1e-3)
    for _ in range(2):
        for index in torch.randperm(len(labels)).split(64):
            out = model(images[index])
            out = (out + 1e-9).log() if name == "softmax" else out
            optimiser.zero_grad()
            F.cross_entropy(out, labels[index]).backward()
            optimiser.step()
    return model.eval().requires_grad_(False)
