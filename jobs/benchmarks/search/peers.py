"""The methods that the search is compared with: adv-lib's, foolbox's, and the paper's procedure by SciPy.

Each is a function of a `Cell` that returns images; what it returns is judged elsewhere, on the bare model.
"""

import sys
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import scipy.optimize
import torch
from torch import Tensor, nn

from intriguing.data.vision import torchvision


@dataclass(frozen=True)
class Cell:
    """A comparison: a model, images (B, 1, 28, 28), labels, and targets where it is targeted."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    targets: Tensor | None
    pool: Tensor
    """Training images, among them a start for methods that need one."""

    @property
    def goal(self) -> Tensor:
        """The classes that adv-lib asks for: targets, or the labels to leave."""
        return self.labels if self.targets is None else self.targets

    def first(self, count: int) -> "Cell":
        """The first `count` images."""
        targets = None if self.targets is None else self.targets[:count]
        return replace(self, images=self.images[:count], labels=self.labels[:count], targets=targets)

    def fooled(self, images: Tensor) -> Tensor:
        """(B,) whether the bare model gives the wanted (untargeted: another) class."""
        with torch.no_grad():
            predictions = self.model(images).argmax(1)
        return predictions != self.labels if self.targets is None else predictions == self.targets


@dataclass(frozen=True)
class Peer:
    """A method: its name, how to run it, and on how many images at most (slow ones see fewer)."""

    name: str
    run: Callable[[Cell], Tensor]
    most: int = 1 << 30
    targeted_only: bool = False
    untargeted_only: bool = False


def available() -> tuple[list[Peer], list[str]]:
    """The peers that are installed, and a sentence for each that is not."""
    found, missing = [], []
    for make, line in (
        (_adv_lib, "make peers (adv-lib, without its dependencies)"),
        (_foolbox, "make peers (foolbox)"),
    ):
        try:
            found += make()
        except ImportError as error:
            missing.append(f"Left out, for want of {error.name}: {line} installs it.")
    return found, missing


def adv_lib() -> types.ModuleType:
    """The module of adv-lib's attacks; `ImportError` where it is not installed."""
    torchvision()
    # Its dependency visdom does not build, and no attack needs it.
    if "visdom" not in sys.modules:
        stub = types.ModuleType("visdom")
        stub.Visdom = object  # type: ignore[attr-defined]
        sys.modules["visdom"] = stub
    import adv_lib.attacks  # type: ignore[import-not-found]

    return adv_lib.attacks


def attack(name: str, **options: object) -> Callable[[Cell], Tensor]:
    """An attack of adv-lib by its name, with options."""
    function = getattr(adv_lib(), name)
    return lambda c: function(c.model, c.images, c.goal, targeted=c.targets is not None, **options)


def _adv_lib() -> list[Peer]:
    return [
        Peer("DDN-100", attack("ddn", steps=100)),
        Peer("DDN-1000", attack("ddn", steps=1000)),
        Peer("PDGD-500", attack("pdgd", num_steps=500)),
        Peer("PDGD-1000", attack("pdgd", num_steps=1000)),
        # Its targeted mode raises in 0.2.8 (`penalty` is overwritten by a flag).
        Peer("ALMA-1000", attack("alma", num_steps=1000, distance="l2"), untargeted_only=True),
        Peer("C&W 9x500", attack("carlini_wagner_l2", binary_search_steps=9, max_iterations=500), most=64),
    ]


def _foolbox() -> list[Peer]:
    import foolbox  # type: ignore[import-not-found]  # noqa: F401
    import numba  # type: ignore[import-not-found]  # noqa: F401 (its optimiser is compiled)

    return [Peer(f"BB-{steps}", partial(brendel_bethge, steps=steps)) for steps in (100, 1000)]


def brendel_bethge(cell: Cell, steps: int, starts: Tensor | None = None) -> Tensor:
    """foolbox's attack of Brendel and Bethge from `starts` (B, *shape), by default the nearest training images."""
    import foolbox  # type: ignore[import-not-found]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = foolbox.PyTorchModel(cell.model.eval(), bounds=(0, 1), device="cpu")  # type: ignore[reportPrivateImportUsage]
        attack = foolbox.attacks.L2BrendelBethgeAttack(steps=steps)  # type: ignore[reportPrivateImportUsage]
        if cell.targets is None:
            criterion = foolbox.criteria.Misclassification(cell.labels)
        else:
            criterion = foolbox.criteria.TargetedMisclassification(cell.targets)
        starts = _starts(cell) if starts is None else starts
        return attack(model, cell.images, criterion, starting_points=starts, epsilons=None)[1]


@cache
def compile_brendel_bethge() -> None:
    """Let the attack compile itself, which takes half a minute, on a tiny cell."""
    linear = nn.Linear(4, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0] * 4, [-1.0] * 4]))
        linear.bias.copy_(torch.tensor([-2.0, 2.0]))
    model = nn.Sequential(nn.Flatten(), linear)
    images, pool = torch.full((2, 1, 2, 2), 0.7), torch.full((1, 1, 2, 2), 0.2)
    cell = Cell(model, images, torch.zeros(2, dtype=torch.long), None, pool)
    for one in (cell, replace(cell, targets=torch.ones(2, dtype=torch.long))):
        brendel_bethge(one, 2)


def from_every_class(cell: Cell, steps: int, classes: int = 9) -> Tensor:
    """The nearest of untargeted runs of Brendel and Bethge, one from each of the wrong classes of largest logits.

    A run starts at the training image of its class that is nearest; a class without one gives way to any other.
    """
    with torch.no_grad():
        logits = cell.model(cell.images).scatter(1, cell.labels[:, None], -torch.inf)
    order = logits.argsort(1, descending=True)[:, : min(classes, logits.shape[1] - 1)]
    best, least = cell.images.clone(), torch.full((len(cell.images),), torch.inf)
    usual = _starts(cell)
    for column in order.T:
        starts = _starts(replace(cell, targets=column), usual)
        images = brendel_bethge(cell, steps, starts).clamp(0, 1)
        l2 = (images - cell.images).flatten(1).norm(dim=1)
        nearer = cell.fooled(images) & (l2 < least)
        best[nearer], least[nearer] = images[nearer], l2[nearer]
    return best


def _starts(cell: Cell, otherwise: Tensor | None = None) -> Tensor:
    """For each image the nearest training image that the model gives the wanted (another) class.

    otherwise: (B, *shape) what to take where there is none.
    """
    with torch.no_grad():
        predictions = cell.model(cell.pool).argmax(1)
    distances = torch.cdist(cell.images.flatten(1), cell.pool.flatten(1))
    same = predictions[None] == cell.goal[:, None]
    allowed = same if cell.targets is not None else ~same
    nearest = cell.pool[distances.masked_fill(~allowed, float("inf")).argmin(1)]
    if otherwise is None:
        return nearest
    return nearest.where(allowed.any(1)[:, None, None, None], otherwise)


def scipy_loop(cell: Cell) -> Tensor:
    """The paper's procedure, image by image: SciPy's L-BFGS-B in float64, c doubled or halved, then 10 bisections."""
    model = cell.model
    with torch.no_grad():
        classes = torch.arange(model(cell.images[:1]).shape[1])
    results = []
    model.double()
    try:
        for i, image in enumerate(cell.images):
            wanted = classes != cell.labels[i] if cell.targets is None else classes == cell.targets[i]
            results.append(_scipy_one(model, image, wanted))
    finally:
        model.float()
    return torch.stack(results)


def _scipy_one(model: nn.Module, image: Tensor, wanted: Tensor) -> Tensor:
    start = image.double().numpy().ravel()

    def solve(c: float) -> tuple[np.ndarray, bool]:
        def objective(v: np.ndarray) -> tuple[float, np.ndarray]:
            x = torch.from_numpy(v).reshape(1, *image.shape).requires_grad_()
            loss = -model(x).log_softmax(1)[0][wanted].logsumexp(0)
            (gradient,) = torch.autograd.grad(loss, x)
            r = v - start
            return float(loss.detach() + c * float(r @ r)), gradient.numpy().ravel() + 2 * c * r

        bounds = [(0.0, 1.0)] * start.size
        v = scipy.optimize.minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds).x
        with torch.no_grad():
            logits = model(torch.from_numpy(v).reshape(1, *image.shape))[0]
        return v, bool(logits[wanted].max() > logits[~wanted].max())

    low, high, c = 0.0, float("inf"), 1e-2
    best, norm = start, float("inf")
    for turn in range(60):
        if low and high < float("inf"):
            c = (low * high) ** 0.5
        v, success = solve(c)
        if success:
            low = c
            if np.linalg.norm(v - start) < norm:
                best, norm = v, float(np.linalg.norm(v - start))
        else:
            high = c
        c = 2 * c if high == float("inf") else c / 2
        if low and high <= low * 2 ** (1 / 1024) * (1 + 1e-9):
            break
        del turn
    return torch.from_numpy(best).reshape(image.shape).float()
