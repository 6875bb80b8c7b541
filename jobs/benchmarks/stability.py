"""Operator norms and certificates, timed: `python jobs/benchmark.py stability [--weights FILE] [--images N]`.

Table 5 of the paper for AlexNet's five convolutions at their real sizes (with `--weights` from a file of their weights,
else random ones, which take as long), then certificates of MNIST images: the median of proven over found, and CPU
seconds an image. One thread, CPU time. What other attacks find (`make peers`) is held against the bounds, too: a
successful image below its bound would prove one of the two wrong.
"""

import argparse
import time
from typing import Any

import numpy as np
import torch
from benchmarks.search.peers import Cell, available
from torch import Tensor

import intriguing as ig
from intriguing.data import load_dataset
from intriguing.models import build_model, load_weights, train_model
from intriguing.stability import excluded_classes, lower_bounds, operator_norm, trace

PAPER = (2.75, 10.0, 7.0, 7.5, 11.0)
"""Table 5 of arXiv:1312.6199: two towers, other weights."""
LAYERS = ((0, 3, 224), (3, 64, 27), (6, 192, 13), (8, 384, 13), (10, 256, 13))
"""Where in `features`, channels and side of the input."""
NETWORKS = {
    "sigmoid 100-100-10": ("mlp", {"hidden": [100, 100]}, "fast >= 0.40 in < 0.03 s, slow >= 0.50 in < 0.5 s"),
    "ReLU 100-100-10": ("mlp", {"hidden": [100, 100], "activation": "relu"}, "fast >= 0.52 in < 0.02 s"),
    "cnn": ("cnn", {}, "fast >= 0.15 in < 0.6 s"),
}


def norms(weights: str | None) -> None:
    """Table 5: both ends of every convolution's norm, the printed formula, the paper's figure, and CPU seconds."""
    model = build_model("alexnet-features", (3, 224, 224), 1000, {}, 0)
    if weights:
        load_weights(model, weights)
    features = model.get_submodule("features")
    print("| layer | stride | norm | proven bound | bound / norm | formula as printed | paper | CPU s |")
    print("|---|---|---|---|---|---|---|---|")
    total = 0.0
    for number, ((place, channels, side), paper) in enumerate(zip(LAYERS, PAPER, strict=True), start=1):
        layer: Any = features.get_submodule(str(place))
        start = time.process_time()
        found = operator_norm(layer, (channels, side, side))
        total += (took := time.process_time() - start)
        printed = operator_norm(layer, (channels, side, side), method="paper").norm
        ends = f"{found.norm:.4f} | {found.upper_bound:.4f} | {found.upper_bound / found.norm:.4f}"
        print(f"| conv{number} | {layer.stride[0]} | {ends} | {printed:.2f} | {paper:g} | {took:.1f} |")
    print(f"\nAll five, both ends: {total:.1f} CPU-s (asked: < 20); bound / norm <= 1.03 asked\n")


PEERS = ("DDN-100", "PDGD-500", "BB-100")
"""Whose results are held against the bounds."""


def below(cell: Cell, bound: Tensor, peers: list[str]) -> str:
    """Per peer that is installed: how many results (untargeted) lie below their bound, of how many."""
    said = []
    for peer in available()[0]:
        if peer.name in peers:
            images = peer.run(cell).detach().clamp(0, 1)
            norm = (images.double() - cell.images.double()).flatten(1).norm(dim=1)
            fooled = cell.fooled(images)
            said.append(f"{peer.name} {int((fooled & (norm < bound)).sum())} of {int(fooled.sum())}")
    return ", ".join(said) or "no peer is installed"


def certificates(root: str | None, images: int, efforts: list[str], peers: list[str]) -> None:
    """How much of what grade best finds is proven, and whether any peer finds less than that."""
    data = load_dataset("mnist", root)
    test = data.split("test")
    x, labels = test.pixels(slice(0, images)), torch.from_numpy(np.array(test.labels[:images]))
    print(
        "| network | effort | images | median proven / found | 5 % to 95 % | CPU s an image | asked | below a bound |"
    )
    print("|---|---|---|---|---|---|---|---|")
    pool = data.split("train").pixels(slice(0, 1000))
    asides = []
    for name, (architecture, options, asked) in NETWORKS.items():
        model = build_model(architecture, data.shape, data.classes, options, 0)
        train_model(model, data, model.recipe, 0, 1)  # type: ignore[arg-type]
        found = ig.minimal_distortion(model, x, labels)
        right = torch.tensor([status == "found" for status in found.status])
        graph = trace(model, data.shape)
        some = right.nonzero().squeeze(1)[:32]
        start = time.process_time()
        beyond = excluded_classes(graph, x[some], labels[some], found.l2[some])
        each = (time.process_time() - start) / len(some)
        classes = float(beyond.sum(1).double().mean())
        spent = []
        for bounds in ("linear", "fast"):
            grade = ig.SearchOptions(classes=9, bounds=bounds)
            every = ig.minimal_distortion(model, x[some], labels[some], "every", grade)
            spent.append(float((every.forward_passes + every.backward_passes).double().mean()))
        asides.append(
            f"{name}: at the norm found {classes:.2f} of 9 classes are excluded, {each:.4f} CPU s an image; a search "
            f"of every class takes {spent[0]:.0f} passes, with bounds {spent[1]:.0f}."
        )
        for effort in efforts:
            start = time.process_time()
            proven = lower_bounds(graph, x, labels, found=found.l2, effort=effort)
            each = (time.process_time() - start) / images
            share = (proven.bound / found.l2)[right]
            low, middle, high = (float(share.quantile(q)) for q in (0.05, 0.5, 0.95))
            ours = f"ours {int((right & (found.l2.double() < proven.bound)).sum())} of {int(right.sum())}"
            theirs = below(Cell(model.eval(), x, labels, None, pool), proven.bound, peers)
            line = f"{middle:.3f} | {low:.2f} to {high:.2f} | {each:.4f} | {asked} | {ours}, {theirs}"
            print(f"| {name} | {effort} | {int(right.sum())} | {line} |", flush=True)
    print("\n" + "\n".join(asides))


def main(argv: list[str]) -> int:
    """The benchmark."""
    parser = argparse.ArgumentParser(prog="benchmark.py stability", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--weights", help="a file of AlexNet's weights (features.0.weight, ...)")
    parser.add_argument("--images", type=int, default=256, help="test images to certify (default: 256; 0: norms alone)")
    parser.add_argument("--effort", action="append", choices=["fast", "slow"], help="default: fast and slow")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"default: {','.join(PEERS)}")
    parser.add_argument("--data", help="the folder of torchvision's data sets")
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    norms(given.weights)
    if given.images:
        certificates(given.data, given.images, given.effort or ["fast", "slow"], given.peers.split(","))
    return 0
