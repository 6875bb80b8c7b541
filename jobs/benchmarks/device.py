"""The search on an accelerator: examples per second and the model's share of the time, beside DDN and PDGD.

    python jobs/benchmark.py device [--device cuda] [--images 1024] [--slots 256] [--models FC10,CNN,ResNet-20]
                                    [--steps 100] [--out outputs/benchmark-device]

The MNIST networks are those of `benchmark.py search`, trained from a seed on the images of the package. The others are
fed uniform noise: ResNet-20 (32 x 32) and torchvision's ResNet-50 (224 x 224) with weights drawn from a seed, and
EfficientNet-Lite1 at 224 x 224 with the weights of its package (`make peers`). Their speed is measured, not their
robustness. The model's share is the time that the counted passes take in a bare loop over full batches, over the whole.
Wall-clock seconds after the device has caught up; one warm-up each. Needs no Ray.
"""

import argparse
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from benchmarks import hard_models, photos, search_models, search_peers
from torch import Tensor, nn

from intriguing import SearchOptions, minimal_distortion
from intriguing.data import load_dataset
from intriguing.data.vision import torchvision


def main(argv: list[str]) -> int:
    """Measure, print a table, write it as Parquet."""
    parser = argparse.ArgumentParser(prog="benchmark.py device", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--models", default="FC10,FC100-100-10,CNN,ResNet-20,EfficientNet-Lite1,ResNet-50")
    parser.add_argument("--steps", type=int, default=100, help="of DDN and PDGD")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmark-device"))
    arguments = parser.parse_args(argv)
    device = torch.device(arguments.device)
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "CPU"
    print(f"{machine}, torch {torch.__version__}\n\n{HEADER}")
    rows = []
    for name in arguments.models.split(","):
        cell = cell_of(name, arguments.images, device)
        for method, run in methods(arguments).items():
            rows.append({"machine": machine, "model": name, "method": method, **measured(cell, run, arguments.slots)})
            print(line(rows[-1]), flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), arguments.out / "device.parquet")
    return 0


Method = Callable[[search_peers.Cell], Tensor]
ON_NOISE: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "ResNet-20": (hard_models.resnet20, 32),
    "EfficientNet-Lite1": (photos.efficientnet, photos.SIZE),
    "ResNet-50": (lambda: torchvision().models.resnet50(weights=None), 224),
}
"""Networks that are measured on images of uniform noise, and their size."""
HEADER = (
    "| model | method | images | success % | mean L2 | examples per s | the model's share | peak memory, MiB |\n"
    "|---|---|---|---|---|---|---|---|"
)


def methods(arguments: argparse.Namespace) -> dict[str, Method]:
    """Ours by grade, and the peers that are installed."""

    def ours(grade: str) -> Method:
        options = SearchOptions(grade=grade, exact_linear="off", slots=arguments.slots)
        return lambda c: minimal_distortion(c.model, c.images, c.labels, c.targets, options).adversarial

    found: dict[str, Method] = {"best": ours("best"), "fast": ours("fast")}
    try:
        attacks = search_peers.adv_lib()
    except ImportError as error:
        print(f"Without peers, for want of {error.name}: make peers installs them.")
        return found
    for name, attack, steps in (("DDN", attacks.ddn, "steps"), ("PDGD", attacks.pdgd, "num_steps")):
        options = {steps: arguments.steps}
        found[f"{name}-{arguments.steps}"] = lambda c, attack=attack, options=options: torch.cat(
            [
                attack(c.model, x, y, targeted=False, **options)
                for x, y in zip(c.images.split(arguments.slots), c.labels.split(arguments.slots), strict=True)
            ]
        )
    return found


def cell_of(name: str, count: int, device: torch.device) -> search_peers.Cell:
    """An untargeted cell on `device`; the labels are what the model says."""
    if name in ON_NOISE:
        build, size = ON_NOISE[name]
        torch.manual_seed(0)
        model: nn.Module = build().eval().requires_grad_(False).to(device)
        images = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    else:
        data = load_dataset("mnist-sample")
        train, test = (
            search_models.Split(split.pixels(np.arange(len(split))), torch.as_tensor(np.array(split.labels)).long())
            for split in (data.split("train"), data.split("test"))
        )
        model = search_models.trained(name, train, 1).to(device)
        images = test.images[:count].to(device)
    with torch.no_grad():
        labels = torch.cat([model(x).argmax(1) for x in images.split(64)])
    return search_peers.Cell(model, images, labels, None, images[:0])


def measured(cell: search_peers.Cell, run: Method, slots: int) -> dict[str, float]:
    """Success, distance, speed, the model's share and the peak memory of one method."""
    run(cell.first(min(len(cell.images), slots)))
    counting = search_peers.Counting(cell.model)
    run(replace(cell, model=counting))
    if cell.images.is_cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds, images = timed(lambda: run(cell))
    forward, backward = bare(cell, slots)
    only_forward = max(0, counting.forward_rows - counting.backward_rows)
    inside = only_forward * forward + counting.backward_rows * (forward + backward)
    l2 = torch.linalg.vector_norm((images - cell.images).flatten(1), dim=1)
    with torch.no_grad():
        now = torch.cat([cell.model(x).argmax(1) for x in images.split(64)])
    fooled = (now != cell.labels) & (l2 > 0)
    return {
        "images": len(images),
        "success": float(fooled.double().mean() * 100),
        "mean": float(l2[fooled].mean()),
        "per_second": len(images) / seconds,
        "model_share": inside / seconds,
        "peak_mib": torch.cuda.max_memory_allocated() / 2**20 if cell.images.is_cuda else float("nan"),
    }


def timed(run: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Seconds until the device has done all of it."""
    _settle()
    start = time.perf_counter()
    result = run().detach()
    _settle()
    return time.perf_counter() - start, result


def _settle() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def bare(cell: search_peers.Cell, slots: int) -> tuple[float, float]:
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
    return (
        f"| {row['model']} | {row['method']} | {row['images']:.0f} | {row['success']:.1f} | {row['mean']:.4f} | "
        f"{row['per_second']:.1f} | {row['model_share']:.0%} | {row['peak_mib']:.0f} |"
    )
