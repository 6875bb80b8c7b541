"""The search on an accelerator: examples per second, the model's share of the time, beside DDN and PDGD.

    python jobs/benchmark.py device [--device cuda] [--images 1024] [--slots 256] [--models FC10,CNN,ResNet-20]
                                    [--steps 100] [--cifar cifar10.npz] [--photos DIR] [--out outputs/benchmark-device]

The MNIST networks are those of `benchmark.py search`, trained from a seed on the images of the package. With --cifar
ResNet-20 is that of `benchmark.py hard`, trained on CIFAR-10; with --photos EfficientNet-Lite1 (`make peers`) is fed
the photos of `benchmark.py photos`. What is left is fed uniform noise, with weights drawn from a seed (torchvision's
ResNet-50 at 224 x 224): its speed is measured, not its robustness. `found %` is what a method says of itself (of a
peer: what it changed). `confirmed %` is the share of that for which the bare model errs: on the image alone and in
batches of 64, with full precision and with TF32 allowed. The model's share is the time that the counted passes take
in a bare loop over full batches, over the whole. Wall-clock seconds after the device has caught up; one warm-up each.
Needs no Ray.
"""

import argparse
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from benchmarks import photos
from benchmarks.hard import models as hard_models
from benchmarks.search import models as search_models
from benchmarks.search.peers import Cell, adv_lib
from torch import Tensor, nn

from intriguing import SearchOptions, SearchResult, minimal_distortion
from intriguing.basics.precision import FULL, Precision
from intriguing.data import load_dataset
from intriguing.data.vision import torchvision
from intriguing.models.feeding.rows import Counted, Passes

T = TypeVar("T")


def main(argv: list[str]) -> int:
    """Measure, print a table, write it as Parquet."""
    parser = argparse.ArgumentParser(prog="benchmark.py device", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--models", default="FC10,FC100-100-10,CNN,ResNet-20,EfficientNet-Lite1,ResNet-50")
    parser.add_argument("--steps", type=int, default=100, help="of DDN and PDGD")
    parser.add_argument("--cifar", type=Path, help="CIFAR-10 in NumPy's format, for ResNet-20")
    parser.add_argument("--photos", type=Path, help="photos whose names end in _LABEL.jpg, for EfficientNet-Lite1")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmark-device"))
    arguments = parser.parse_args(argv)
    device = torch.device(arguments.device)
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "CPU"
    print(f"{machine}, torch {torch.__version__}\n\n{HEADER}")
    rows = []
    for name in arguments.models.split(","):
        cell = cell_of(name, arguments.images, device, arguments.cifar, arguments.photos)
        for method, run in methods(arguments.slots, arguments.steps).items():
            rows.append({"machine": machine, "model": name, "method": method, **measured(cell, run, arguments.slots)})
            print(line(rows[-1]), flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), arguments.out / "device.parquet")
    return 0


@dataclass(frozen=True)
class Outcome:
    """What a method returned."""

    images: Tensor
    result: SearchResult | None = None
    """Of this search; None for a peer."""

    def found(self, cell: Cell) -> Tensor:
        """(B,) whether the method says that it found a change: of a peer, whether it changed the image."""
        if self.result is None:
            return ((self.images - cell.images).flatten(1) != 0).any(1)
        return torch.tensor([status == "found" for status in self.result.status], device=cell.images.device)


Method = Callable[[Cell], Outcome]
ON_NOISE: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "ResNet-20": (hard_models.resnet20, 32),
    "EfficientNet-Lite1": (photos.efficientnet, photos.SIZE),
    "ResNet-50": (lambda: torchvision().models.resnet50(weights=None), 224),
}
"""Networks that are measured on images of uniform noise where there are no others, and their size."""
CHECKS = {
    f"{how}, {name}": (precision, size)
    for name, precision in (("full", FULL), ("TF32", Precision.all("tf32")))
    for how, size in (("alone", 1), ("in 64", 64))
}
"""How results are checked: the precision of products, and the size of the batch."""
HEADER = (
    f"| model | method | images | found % | confirmed % ({' / '.join(CHECKS)}) | mean L2 | examples per s | "
    "the model's share | peak memory, MiB |\n|---|---|---|---|---|---|---|---|---|"
)


def methods(slots: int, steps: int) -> dict[str, Method]:
    """Ours by grade, and the peers that are installed."""

    def ours(grade: str) -> Method:
        options = SearchOptions(grade=grade, exact_linear="off", slots=slots)

        def run(cell: Cell) -> Outcome:
            result = minimal_distortion(cell.model, cell.images, cell.labels, cell.targets, options)
            return Outcome(result.adversarial, result)

        return run

    def peer(attack: Callable[..., Tensor], **options: int) -> Method:
        def run(cell: Cell) -> Outcome:
            parts = zip(cell.images.split(slots), cell.labels.split(slots), strict=True)
            return Outcome(torch.cat([attack(cell.model, x, y, targeted=False, **options) for x, y in parts]).detach())

        return run

    found: dict[str, Method] = {"best": ours("best"), "fast": ours("fast")}
    try:
        attacks = adv_lib()
    except ImportError as error:
        print(f"Without peers, for want of {error.name}: make peers installs them.")
        return found
    found[f"DDN-{steps}"] = peer(attacks.ddn, steps=steps)
    found[f"PDGD-{steps}"] = peer(attacks.pdgd, num_steps=steps)
    return found


def cell_of(name: str, count: int, device: torch.device, cifar: Path | None = None, folder: Path | None = None) -> Cell:
    """An untargeted cell on `device`, of at most `count` images that the model gets right; noise has its answers."""
    model, images, labels = network_of(name, 2 * count, cifar, folder)
    model, images = model.eval().requires_grad_(False).to(device), images.to(device)
    with torch.no_grad(), FULL.used():
        given = torch.cat([model(x).argmax(1) for x in images.split(64)])
    right = (torch.ones_like(given, dtype=torch.bool) if labels is None else given == labels.to(device)).nonzero()
    index = right.squeeze(1)[:count]
    return Cell(model, images[index], given[index], None, images[:0])


def network_of(
    name: str, count: int, cifar: Path | None, folder: Path | None
) -> tuple[nn.Module, Tensor, Tensor | None]:
    """A network and at most `count` images, with labels (B,) or none where they are noise."""
    if name == "ResNet-20" and cifar:
        parts = hard_models.splits("cifar", cifar)
        if parts is None:
            raise SystemExit(f"--cifar: {cifar} is no file.")
        return hard_models.trained(name, parts[0], 1), parts[1].images[:count], parts[1].labels[:count]
    if name == "EfficientNet-Lite1" and folder:
        model = photos.efficientnet()
        cell = photos.photo_cell(model, folder, count)
        return model, cell.images, cell.labels
    if name in ON_NOISE:
        build, size = ON_NOISE[name]
        torch.manual_seed(0)
        generator = torch.Generator().manual_seed(0)
        return build(), torch.rand(count, 3, size, size, generator=generator), None
    data = load_dataset("mnist-sample")
    train, test = (
        search_models.Split(split.pixels(np.arange(len(split))), torch.as_tensor(np.array(split.labels)).long())
        for split in (data.split("train"), data.split("test"))
    )
    return search_models.trained(name, train, 1), test.images[:count], test.labels[:count]


def measured(cell: Cell, run: Method, slots: int) -> dict[str, float]:
    """What a method found and what of it holds, distance, speed, the model's share and the peak memory."""
    run(cell.first(min(len(cell.images), slots)))
    if cell.images.is_cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds, outcome = timed(lambda: run(cell))
    peak = torch.cuda.max_memory_allocated() / 2**20 if cell.images.is_cuda else float("nan")
    passes = rows_of(cell, run, outcome)
    forward, backward = bare(cell, slots)
    inside = passes.forward * forward + passes.backward * backward
    found = outcome.found(cell)
    l2 = torch.linalg.vector_norm((outcome.images - cell.images).flatten(1), dim=1)
    return {
        "images": len(found),
        "found": float(found.double().mean() * 100),
        **{name: 100 * share for name, share in confirmed(cell, outcome.images, found).items()},
        "mean": float(l2[found].mean()),
        "per_second": len(found) / seconds,
        "model_share": inside / seconds,
        "peak_mib": peak,
    }


def rows_of(cell: Cell, run: Method, outcome: Outcome) -> Passes:
    """The rows that the model saw. This search says it of itself: a graph that is replayed calls no hook."""
    if outcome.result is not None:
        return Passes(outcome.result.forward_rows, outcome.result.backward_rows)
    passes = Passes()
    run(replace(cell, model=Counted(cell.model, passes)))
    return passes


def confirmed(cell: Cell, images: Tensor, found: Tensor) -> dict[str, float]:
    """The share of what was found for which the bare model errs, by each check; NaN where nothing was found."""
    shares = {}
    for name, (precision, size) in CHECKS.items():
        fooled = []
        with torch.no_grad(), precision.used():
            for part, labels in zip(images[found].split(size), cell.labels[found].split(size), strict=True):
                fooled.append(cell.model(part).argmax(1) != labels)
        shares[name] = float(torch.cat(fooled).double().mean()) if fooled else float("nan")
    return shares


def timed(run: Callable[[], T]) -> tuple[float, T]:
    """Seconds until the device has done all of it, and what it returned."""
    _settle()
    start = time.perf_counter()
    result = run()
    _settle()
    return time.perf_counter() - start, result


def _settle() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def bare(cell: Cell, slots: int) -> tuple[float, float]:
    """Seconds per row of a forward pass, and of the backward pass of the input, in full batches of `slots`."""
    x = cell.images[:slots]

    def forward() -> Tensor:
        with torch.no_grad():
            return cell.model(x)

    def both() -> Tensor:
        live = x.detach().requires_grad_()
        logits = cell.model(live)
        return torch.autograd.grad(logits, live, torch.ones_like(logits))[0]

    once, twice = (min(timed(run)[0] for _ in range(5)) / len(x) for run in (forward, both))
    return once, max(0.0, twice - once)


def line(row: dict) -> str:
    """A row as Markdown."""
    checks = " / ".join(f"{row[name]:.1f}" for name in CHECKS)
    return (
        f"| {row['model']} | {row['method']} | {row['images']:.0f} | {row['found']:.1f} | {checks} | "
        f"{row['mean']:.4f} | {row['per_second']:.1f} | {row['model_share']:.0%} | {row['peak_mib']:.0f} |"
    )
