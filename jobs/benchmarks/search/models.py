"""The five networks of the search benchmark, trained from a seed on the images that the package carries.

FC10 (linear softmax), FC100-100-10 (sigmoid) and the ReLU CNN are those of the comparison this benchmark repeats; the
adversarially trained CNN and the low-confidence softmax are the ones that break searches tuned to the first three.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from benchmarks.kept import CACHE, digest, write
from torch import Tensor, nn
from torch.nn import functional as F

from intriguing.randomness import generator, torch_seed


@dataclass(frozen=True)
class Split:
    """Images (N, 1, 28, 28) float32 in [0, 1] and labels (N,) int64."""

    images: Tensor
    labels: Tensor


def fc10() -> nn.Module:
    """A softmax on the pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def fc100() -> nn.Module:
    """FC100-100-10 with sigmoids, as in the paper."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 100), nn.Sigmoid(), nn.Linear(100, 100), nn.Sigmoid(), nn.Linear(100, 10)
    )


def cnn() -> nn.Module:
    """Two strided 5x5 convolutions of 16 and 32 channels, a hidden layer of 100, ReLU."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 5, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def _pgd_linf(model: nn.Module, x: Tensor, y: Tensor, radius: float, steps: int) -> Tensor:
    """Images that raise the loss within an L-infinity ball and the box (Madry et al. 2018, equation 2.1)."""
    adversarial = x + radius * (2 * torch.rand_like(x) - 1)
    for _ in range(steps):
        adversarial = adversarial.clamp(0, 1).requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(adversarial), y), adversarial)
        moved = adversarial.detach() + (2.5 * radius / steps) * gradient.sign()
        adversarial = torch.minimum(torch.maximum(moved, x - radius), x + radius)
    return adversarial.clamp(0, 1).detach()


def _train(
    model: nn.Module, split: Split, seed: int, *, epochs: int, rate: float, decay: float, radius: float = 0.0
) -> nn.Module:
    """Adam with a linear decay of its rate; against L-infinity attacks of a growing radius when `radius` is set."""
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    count = len(split.labels)
    for epoch in range(epochs):
        order = torch.from_numpy(generator(seed, "benchmark order", epoch).permutation(count))
        now = radius * min(1.0, (epoch + 1) / (0.5 * epochs))
        for group in optimiser.param_groups:
            group["lr"] = rate * (1 - epoch / epochs)
        for index in order.split(64):
            x, y = split.images[index], split.labels[index]
            if now:
                x = _pgd_linf(model, x, y, now, 5)
            loss = F.cross_entropy(model(x), y) + decay / 2 * sum((p**2).sum() for p in model.parameters())
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
    return model.eval().requires_grad_(False)


def _cooled(model: nn.Module, images: Tensor, top: float) -> nn.Module:
    """`model` (flatten, linear) scaled down until its median top probability on `images` is `top`."""
    logits = model(images)
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if (middle * logits).softmax(1).amax(1).median() < top:
            low = middle
        else:
            high = middle
    linear = model[1]  # type: ignore[index]
    linear.weight.mul_(high)
    linear.bias.mul_(high)
    return model


BUILD: dict[str, Callable[[], nn.Module]] = {
    "FC10": fc10,
    "FC100-100-10": fc100,
    "CNN": cnn,
    "CNN adversarially trained": cnn,
    "softmax low confidence": fc10,
}


def trained(name: str, train: Split, seed: int, folder: Path = CACHE) -> nn.Module:
    """The network `name` of `BUILD`, trained on `train` from `seed`, in eval mode with frozen weights.

    Weights are kept in `folder` under what they were made from, this module included: training takes two minutes.
    """
    torch.manual_seed(torch_seed(seed, "benchmark weights", name) % 2**31)
    model = BUILD[name]()
    recipe = {
        "FC10": {"epochs": 10, "rate": 1e-3, "decay": 1e-4},
        "FC100-100-10": {"epochs": 20, "rate": 2e-3, "decay": 1e-5},
        "CNN": {"epochs": 6, "rate": 1e-3, "decay": 0.0},
        "CNN adversarially trained": {"epochs": 10, "rate": 1e-3, "decay": 0.0, "radius": 0.25},
        "softmax low confidence": {"epochs": 10, "rate": 1e-3, "decay": 1e-4},
    }[name]
    made_from = (name, seed, recipe, train.images, train.labels, Path(__file__).read_text())
    path = folder / f"{digest('search model', *made_from)}.pt"
    if path.is_file():
        model.load_state_dict(torch.load(path, weights_only=True))
        model.eval().requires_grad_(False)
    else:
        model = _train(model, train, seed, **recipe)  # type: ignore[arg-type]
        write(path, lambda part: torch.save(model.state_dict(), part))
    return _cooled(model, train.images, 0.35) if name == "softmax low confidence" else model


def error_percent(model: nn.Module, split: Split) -> float:
    """Share of `split` that `model` gets wrong, in per cent."""
    return float(np.mean((model(split.images).argmax(1) != split.labels).numpy()) * 100)
