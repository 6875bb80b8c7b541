"""The search on hard networks: residual, attending, robust, of 100 classes; why it ends too far; distance by passes.

    python jobs/benchmark.py hard [--cifar cifar10.npz] [--images 64] [--models NAME,NAME] [--peers NAME,NAME]
                                  [--why] [--curve] [--markdown FILE]

The networks of the second development set are trained from seeds and kept in the user's cache; those that need CIFAR-10
are skipped without its file. Ratios are per image over the best that anything found, long runs included: this search
with 20,000 passes and starts. --why says per image whether the class, the basin or the finish is what `best` lacks.
--curve compares with the peers at 100, 300, 1,000 and 3,000 passes instead, forward and backward.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from benchmarks import hard_models, search, search_peers
from torch import Tensor

from intriguing import SearchOptions, minimal_distortion
from intriguing.blind_spots.boundary import BoundaryFinish
from intriguing.blind_spots.evaluate import Evaluator, frozen
from intriguing.blind_spots.loop import Layout, run
from intriguing.models.rows import PADDED
from intriguing.randomness import generator

PEERS = ("DDN-1000", "PDGD-1000", "ALMA-1000", "BB-1000")
BUDGETS = (100, 300, 1000, 3000)
_LONG = 20000
_FINISHED = 60
_SAME = 3e-3
"""Distances that differ by less than this share are the same."""


def main(argv: list[str]) -> int:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(prog="benchmark.py hard", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cifar", type=Path, help="CIFAR-10 in NumPy's format")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--models", help="only these, by semicolons (their names hold commas)")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--why", action="store_true", help="per image: class, basin or finish")
    parser.add_argument("--curve", action="store_true", help="distance by passes, beside the peers")
    parser.add_argument("--markdown", type=Path, help="also write the tables there")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    peers, missing = search_peers.available()
    peers = [peer for peer in peers if peer.name in arguments.peers.split(",")]
    report(missing, arguments.markdown)
    names = arguments.models.split(";") if arguments.models else hard_models.TRAININGS
    for name in names:
        cells = cells_of(name, arguments.cifar, arguments.images)
        if cells is None:
            report([f"\n{name}: skipped, for want of CIFAR-10 (--cifar FILE)."], arguments.markdown)
            continue
        for mode, cell in cells.items():
            lines = [f"\n### {name}, {mode}, {len(cell.images)} images\n"]
            lines += curve(cell) if arguments.curve else compared(cell, peers, arguments.why)
            report(lines, arguments.markdown)
    return 0


def report(lines: list[str], path: Path | None) -> None:
    """Print the lines, and add them to the file."""
    if not lines:
        return
    print("\n".join(lines), flush=True)
    if path:
        with path.open("a") as file:
            file.write("\n".join(lines) + "\n")


def cells_of(name: str, cifar: Path | None, count: int) -> dict[str, search_peers.Cell] | None:
    """The two cells of a network, on images that it classifies correctly; None where its data are absent."""
    parts = hard_models.splits(hard_models.TRAININGS[name].data, cifar)
    if parts is None:
        return None
    train, test = parts
    model = hard_models.trained(name, train, 1)
    order = torch.from_numpy(generator(0, "benchmark images").permutation(len(test.labels)))[: 4 * count]
    logits = torch.cat([model(test.images[index]) for index in order.split(250)])
    chosen = order[logits.argmax(1) == test.labels[order]][:count]
    classes = logits.shape[1]
    shift = [int(generator(0, "benchmark target", int(i)).integers(1, classes)) for i in chosen]
    images, labels, pool = test.images[chosen], test.labels[chosen], train.images[:2000]
    targets = (labels + torch.tensor(shift)) % classes
    return {
        "targeted": search_peers.Cell(model, images, labels, targets, pool),
        "untargeted": search_peers.Cell(model, images, labels, None, pool),
    }


def compared(cell: search_peers.Cell, peers: list[search_peers.Peer], why: bool) -> list[str]:
    """The table of a cell: this search with and without starts, the peers, and the long run."""
    found = {
        "best": ours(cell, SearchOptions(exact_linear="off")),
        "best, with starts": ours(cell, SearchOptions(exact_linear="off"), cell.pool[:256]),
        "long run": ours(cell, SearchOptions(passes=_LONG, exact_linear="off"), cell.pool),
    }
    for peer in peers:
        if not (peer.untargeted_only and cell.targets is not None):
            found[peer.name] = search.judged(cell.first(peer.most), peer.run)
    best = torch.stack([l2 for l2, _ in found.values() if len(l2) == len(cell.images)]).amin(0)
    table = []
    for method, (l2, row) in found.items():
        median, p95, worst = search.spread((l2 / best[: len(l2)]).numpy())
        table.append({"method": method, "images": len(l2), "median": median, "p95": p95, "max": worst, **row})
    return [*search.markdown(table), *(["", *reasons(cell, best)] if why else [])]


def ours(cell: search_peers.Cell, options: SearchOptions, starts: Tensor | None = None) -> tuple[Tensor, dict]:
    """This search through `search.judged`, which counts its passes as the network sees them, padding included."""

    def run_search(wrapped: search_peers.Cell) -> Tensor:
        model, images = wrapped.model, wrapped.images
        return minimal_distortion(model, images, wrapped.labels, wrapped.targets, options, starts=starts).adversarial

    return search.judged(cell, run_search)


def reasons(cell: search_peers.Cell, best: Tensor) -> list[str]:
    """Per image that `best` does not bring to the best known distance (B,): what was missing."""
    result = minimal_distortion(cell.model, cell.images, cell.labels, cell.targets)
    long = minimal_distortion(
        cell.model, cell.images, cell.labels, cell.targets, SearchOptions(passes=_LONG), starts=cell.pool
    )
    lines = ["| image | `best` | its point finished longer | best known | lacking |", "|---|---|---|---|---|"]
    finished = finished_longer(cell, result.adversarial)
    for i, l2 in enumerate(result.l2.tolist()):
        known = min(float(best[i]), float(long.l2[i]))
        if l2 <= (1 + _SAME) * known:
            continue
        if float(finished[i]) <= (1 + _SAME) * known:
            lacking = "finish"
        else:
            lacking = "class" if int(result.prediction[i]) != int(long.prediction[i]) else "basin"
        lines.append(f"| {i} | {l2:.4f} | {float(finished[i]):.4f} | {known:.4f} | {lacking} |")
    return lines


def finished_longer(cell: search_peers.Cell, adversarial: Tensor) -> Tensor:
    """The distances (B,) after a longer finish from the results."""
    with frozen(cell.model), torch.no_grad():
        reached = cell.model(adversarial).argmax(1)
        classes = torch.arange(int(cell.model(adversarial[:1]).shape[1]))
        rivals = classes == cell.labels[:, None] if cell.targets is None else classes != reached[:, None]
        rows = {"x0": cell.images.flatten(1), "best": adversarial.flatten(1), "target": reached, "rivals": rivals}
        solver = BoundaryFinish(Evaluator(cell.model, tuple(cell.images.shape[1:]), PADDED), 0.0, 1.0, _FINISHED)
        return run(solver, rows, Layout(256))["best_l2"]


def curve(cell: search_peers.Cell) -> list[str]:
    """Mean distance by passes per image, beside the peers with half as many steps: each is a forward and a backward."""
    attacks = search_peers.adv_lib()
    lines = ["| passes | " + " | ".join(map(str, BUDGETS)) + " |", "|---|" + "---|" * len(BUDGETS)]
    rows: dict[str, list[str]] = {"this search (as counted)": [], "DDN": [], "PDGD": [], "ALMA": []}
    options = {"DDN": (attacks.ddn, "steps"), "PDGD": (attacks.pdgd, "num_steps"), "ALMA": (attacks.alma, "num_steps")}
    for passes in BUDGETS:
        grade = SearchOptions(grade="fast") if passes < 300 else SearchOptions(passes=passes)
        grade = replace(grade, exact_linear="off")
        result = minimal_distortion(cell.model, cell.images, cell.labels, cell.targets, grade)
        spent = float((result.forward_passes + result.backward_passes).double().mean())
        rows["this search (as counted)"].append(f"{float(result.l2.nanmean()):.4f} ({spent:.0f})")
        for name, (attack, steps) in options.items():
            if name == "ALMA" and cell.targets is not None:
                rows[name].append("-")
                continue
            targeted = {"targeted": cell.targets is not None, steps: passes // 2}
            images = attack(cell.model, cell.images, cell.goal, **targeted)
            fooled = cell.fooled(images)
            mean = float((images - cell.images).flatten(1).norm(dim=1)[fooled].mean())
            rows[name].append(f"{mean:.4f}" + ("" if bool(fooled.all()) else f" ({int(fooled.sum())} found)"))
    return [*lines, *(f"| {name} | " + " | ".join(values) + " |" for name, values in rows.items())]
