"""The methods that the search is compared with: adv-lib's, foolbox's, and the paper's procedure by SciPy.

Each is a function of a `Cell` that returns images; what it returns is judged elsewhere, on the bare model.
"""

import sys
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

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


def _adv_lib() -> list[Peer]:
    attacks = adv_lib()

    def call(attack: Callable[..., Tensor], **options: object) -> Callable[[Cell], Tensor]:
        return lambda c: attack(c.model, c.images, c.goal, targeted=c.targets is not None, **options)

    return [
        Peer("DDN-100", call(attacks.ddn, steps=100)),
        Peer("DDN-1000", call(attacks.ddn, steps=1000)),
        Peer("PDGD-500", call(attacks.pdgd, num_steps=500)),
        Peer("PDGD-1000", call(attacks.pdgd, num_steps=1000)),
        # Its targeted mode raises in 0.2.8 (`penalty` is overwritten by a flag).
        Peer("ALMA-1000", call(attacks.alma, num_steps=1000, distance="l2"), untargeted_only=True),
        Peer("C&W 9x500", call(attacks.carlini_wagner_l2, binary_search_steps=9, max_iterations=500), most=64),
    ]


def _foolbox() -> list[Peer]:
    import foolbox  # type: ignore[import-not-found]
    import numba  # type: ignore[import-not-found]  # noqa: F401 (its optimiser is compiled)

    def brendel_bethge(cell: Cell, steps: int = 100) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = foolbox.PyTorchModel(cell.model.eval(), bounds=(0, 1), device="cpu")  # type: ignore[reportPrivateImportUsage]
            attack = foolbox.attacks.L2BrendelBethgeAttack(steps=steps)  # type: ignore[reportPrivateImportUsage]
            if cell.targets is None:
                criterion = foolbox.criteria.Misclassification(cell.labels)
            else:
                criterion = foolbox.criteria.TargetedMisclassification(cell.targets)
            return attack(model, cell.images, criterion, starting_points=_starts(cell), epsilons=None)[1]

    return [Peer("BB-100", brendel_bethge), Peer("BB-1000", partial(brendel_bethge, steps=1000))]


def _starts(cell: Cell) -> Tensor:
    """For each image the nearest training image that the model gives the wanted (another) class."""
    with torch.no_grad():
        predictions = cell.model(cell.pool).argmax(1)
    distances = torch.cdist(cell.images.flatten(1), cell.pool.flatten(1))
    same = predictions[None] == cell.goal[:, None]
    allowed = same if cell.targets is not None else ~same
    return cell.pool[distances.masked_fill(~allowed, float("inf")).argmin(1)]


def scipy_loop(cell: Cell) -> Tensor:
    """The paper's procedure, image by image: SciPy's L-BFGS-B in float64, c doubled or halved, then 10 bisections."""
    model = cell.model
    classes = torch.arange(10)
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
