"""The search on networks of other kinds: what stands before, inside or behind an ordinary network.

    make peers
    python jobs/benchmark.py kinds [--images 24] [--networks NAME;NAME] [--modes targeted,untargeted] [--markdown FILE]

The networks are trained on the MNIST images of the package, in some seconds each. DDN of 1,000 steps and PDGD of 500
see the same images. What each method returns is judged by the bare network on each image alone. A ratio is an L2 norm
over the smallest one that any method found for that image; where a method found nothing it has none.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from benchmarks.hard.models import splits
from benchmarks.kinds.networks import BUILDERS, trained
from benchmarks.search.peers import Cell, available
from torch import Tensor

from intriguing import SearchOptions, minimal_distortion

GRADES = ("best", "fast", "faithful")
PEERS = ("DDN-1000", "PDGD-500")
_HEADER = "| network | " + " | ".join((*(f"`{grade}`" for grade in GRADES), *PEERS)) + " |\n|---" + "|---" * 5 + "|"


def main(argv: list[str]) -> int:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(prog="benchmark.py kinds", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--networks", help="only these, by semicolons")
    parser.add_argument("--modes", default="targeted,untargeted")
    parser.add_argument("--markdown", type=Path, help="also write the table there")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    data = splits("mnist", None)
    assert data is not None
    train, test = data
    lines = ["A cell: images found, the mean ratio, the largest.", "", _HEADER]
    print("\n".join(lines), flush=True)
    for name in options.networks.split(";") if options.networks else BUILDERS:
        model = trained(name, train.images, train.labels)
        cell = _cell(model, test.images, test.labels, options.images)
        for mode in options.modes.split(","):
            here = cell if mode == "targeted" else replace(cell, targets=None)
            lines.append(f"| {name}, {mode} | {_row(here)} |")
            print(lines[-1], flush=True)
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n")
    return 0


def _cell(model: torch.nn.Module, images: Tensor, labels: Tensor, count: int) -> Cell:
    """The first images that the model classifies right, with targets that go round the wrong classes."""
    with torch.no_grad():
        right = torch.cat([model(some).argmax(1) for some in images.split(250)]) == labels
    index = right.nonzero().squeeze(1)[:count]
    targets = (labels[index] + 1 + torch.arange(len(index)) % 8) % 10
    return Cell(model, images[index], labels[index], targets, images[:0])


def _row(cell: Cell) -> str:
    """What the methods found: images, mean and largest ratio."""
    found = {}
    for grade in GRADES:
        options = SearchOptions(grade=grade, exact_linear="off")
        result = minimal_distortion(cell.model, cell.images, cell.labels, cell.targets, options)
        found[grade] = _judged(cell, result.adversarial)
    peers = {peer.name: peer for peer in available()[0]}
    for name in PEERS:
        found[name] = _judged(cell, peers[name].run(cell).detach())
    least = torch.stack(list(found.values())).amin(0)
    return " | ".join(_told(l2, least) for l2 in found.values())


def _judged(cell: Cell, images: Tensor) -> Tensor:
    """The L2 norms (B,) in float64, infinite where the bare model is right on the image alone."""
    images = images.nan_to_num(0).clamp(0, 1)
    l2 = torch.linalg.vector_norm((images.double() - cell.images.double()).flatten(1), dim=1)
    with torch.no_grad():
        prediction = torch.cat([cell.model(image[None]).argmax(1) for image in images])
    fooled = prediction != cell.labels if cell.targets is None else prediction == cell.targets
    return l2.where(fooled & (l2 > 0), torch.inf)


def _told(l2: Tensor, least: Tensor) -> str:
    won = l2.isfinite()
    if not won.any():
        return "0"
    ratios = (l2 / least)[won]
    return f"{int(won.sum())}: {float(ratios.mean()):.4f}, {float(ratios.max()):.3f}"
