"""The search on hard networks: residual, attending, robust, of 100 classes; why it ends too far; distance by passes.

    python jobs/benchmark.py hard [--cifar cifar10.npz] [--set 2] [--images N] [--networks NAME;NAME]
                                  [--modes MODE,MODE] [--peers NAME,NAME] [--minutes M] [--peers-only]
                                  [--long PASSES] [--why] [--faithful] [--markdown FILE]
    python jobs/benchmark.py hard [--cifar cifar10.npz] --curve FILE.svg [--table TABLE.md]

The networks of the second development set are trained from seeds and kept in the user's cache; those that need
CIFAR-10 are skipped without its file. --set 2 has networks of other seeds and other images: on these nothing was
developed. What each method finds is kept there too, a few images at a time, so that a run that was cut short (or whose
peers were ended by --minutes of CPU time) goes on where it stopped. A cell's table is over the images that all peers
have seen. Ratios are over the best that anything found for an image, long runs included. --why says per image whether
the class, the basin or the finish is what `best` lacks. --curve draws the distance at 100, 300, 1,000 and 3,000
passes, forward and backward, beside the peers'; with --table it draws a table that was measured before. --faithful
compares that grade with a SciPy loop of the paper's procedure, and nothing else.
"""

import argparse
import time
from pathlib import Path

import torch
from benchmarks.hard import cells as hard_cells
from benchmarks.hard import curve, faithful
from benchmarks.hard.cells import Found, HardCell, Method, Runs
from benchmarks.hard.why import reasons
from benchmarks.kept import Kept
from benchmarks.search.main import spread

IMAGES = {
    "ResNet-20": 16,
    "max-pool CNN, Linf 0.3": 128,
    "CIFAR CNN, L2 0.5": 128,
    "ViT": 16,
    "CIFAR CNN, noise 0.12": 64,
    "max-pool CNN": 64,
    "digit pairs, 100 classes": 64,
}
"""Images of each network, the most important first: about 70 minutes of one core, 58 of them for the peers."""
_HEADER = (
    "| method | success % | mean L2 | over the best of all: mean | median | p95 | max | forward | backward | "
    "images per CPU-s |\n|---|---|---|---|---|---|---|---|---|---|"
)
_TARGETS = (
    "| cell | images | success % | mean L2 | best single peer | over it | over the best of all: mean | p95 | asked | "
    "held |\n|---|---|---|---|---|---|---|---|---|---|"
)


def main(argv: list[str]) -> int:
    """Run the benchmark and print its tables."""
    options = _options(argv)
    if options.curve and options.table:
        _report(curve.redrawn(options.table, options.curve), options.markdown)
        return 0
    torch.set_num_threads(1)
    names = options.networks.split(";") if options.networks else list(IMAGES)
    cells: list[HardCell] = []
    for name in names:
        found = hard_cells.cells_of(name, options.cifar, options.images or IMAGES[name], options.set)
        if not found:
            _report([f"\n{name}: skipped, for want of CIFAR-10 (--cifar FILE)."], options.markdown)
        cells += [cell for cell in found if cell.mode in options.modes.split(",")]
    runs = Runs(Kept())
    if options.curve:
        _report(curve.drawn(cells, runs, options.curve), options.markdown)
        return 0
    if options.faithful:
        _report([faithful.HEADER], options.markdown)
        for cell in cells:
            _report(faithful.compared(cell, runs), options.markdown)
        return 0
    every, missing = hard_cells.methods(tuple(options.peers.split(",")), options.long)
    _report(missing, options.markdown)
    _work(cells, every, runs, options.minutes)
    if options.peers_only:
        _report([_seen(cell, every, runs) for cell in cells], options.markdown)
        return 0
    summary = [_TARGETS]
    for cell in cells:
        lines, line = _compared(cell, [method for method in every if method.suits(cell)], runs, options.why)
        _report(lines, options.markdown)
        summary += line
    _report(["\n### Every cell beside what was asked\n", *summary], options.markdown)
    return 0


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmark.py hard", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cifar", type=Path, help="CIFAR-10 in NumPy's format")
    parser.add_argument("--set", type=int, choices=(1, 2), default=1, help="2: other training seeds, other images")
    parser.add_argument("--images", type=int, help="of every network; default: a number for each")
    parser.add_argument("--networks", help="only these, by semicolons (their names hold commas)")
    parser.add_argument("--modes", default=",".join(hard_cells.MODES), help="only these, by commas")
    parser.add_argument("--peers", default=",".join(hard_cells.PEERS))
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="CPU time after which nothing more is begun"
    )
    parser.add_argument("--peers-only", action="store_true", help="compute the peers and the long runs, and no more")
    parser.add_argument("--why", action="store_true", help="per image: class, basin or finish")
    parser.add_argument("--faithful", action="store_true", help="only `faithful` beside a SciPy loop")
    parser.add_argument("--curve", type=Path, help="draw the distance by passes into this SVG file")
    parser.add_argument(
        "--table", type=Path, help="with --curve: draw what this Markdown file holds, and measure nothing"
    )
    parser.add_argument("--long", type=int, default=2000, help="passes of this search in the reference; 0: no such run")
    parser.add_argument("--markdown", type=Path, help="also write the tables there")
    return parser.parse_args(argv)


def _report(lines: list[str], path: Path | None) -> None:
    """Print the lines, and add them to the file."""
    if not lines:
        return
    print("\n".join(lines), flush=True)
    if path:
        with path.open("a") as file:
            file.write("\n".join(lines) + "\n")


def _work(cells: list[HardCell], every: list[Method], runs: Runs, minutes: float) -> None:
    """Let the peers do what is not kept yet, until the time is spent."""
    start = time.process_time()
    for cell, method, count in hard_cells.jobs(cells, every):
        if time.process_time() - start < 60 * minutes:
            runs.compute(cell, method, count)


def _seen(cell: HardCell, every: list[Method], runs: Runs) -> str:
    """How many images all peers and long runs of a cell have seen."""
    count = hard_cells.finished(cell, every, runs)
    return f"{cell.network}, {cell.mode}: {count} of {len(cell.cell.images)} images"


def _compared(cell: HardCell, every: list[Method], runs: Runs, why: bool) -> tuple[list[str], list[str]]:
    """The table of a cell over the images that all peers have seen, and its line in the summary."""
    count = hard_cells.finished(cell, every, runs)
    title = f"{cell.network}, {cell.mode}"
    if not count:
        return [f"\n{title}: no images that all peers have seen yet."], []
    found = {method: runs.found(cell, method, count) for method in every}
    best = torch.stack([f.l2 for f in found.values()]).amin(0)
    lines = [f"\n### {title}, {len(best)} images\n", _HEADER, *(_row(m, f, best) for m, f in found.items())]
    if why:
        lines += ["", *reasons(cell, list(found.values()))]
    return lines, [_against_targets(cell, found, best)]


def _row(method: Method, found: Found, best: torch.Tensor) -> str:
    won = found.l2.isfinite()
    median, p95, worst = spread((found.l2 / best).numpy())
    mean = float(found.l2.mean() / best.mean())
    success = 100 * float(won.double().mean())
    return (
        f"| {method.name} | {success:.1f} | {float(found.l2.mean()):.4f} | {mean:.4f} | {median:.4f} | {p95:.4f} | "
        f"{worst:.4f} | {found.forward:.0f} | {found.backward:.0f} | {1 / found.seconds:.2f} |"
    )


def _against_targets(cell: HardCell, found: dict[Method, Found], best: torch.Tensor) -> str:
    """The line of a cell in the summary: `best` beside the peer of smallest mean and the best of all."""
    mine = next(f for m, f in found.items() if m.kind == "ours")
    means = {m.name: float(f.l2.mean()) for m, f in found.items() if m.kind == "peer"}
    peer = min(means, key=lambda name: means[name]) if means else "-"
    over = float(mine.l2.mean()) / means[peer] if means else float("nan")
    mean, p95 = float(mine.l2.mean() / best.mean()), spread((mine.l2 / best).numpy())[1]
    asked = (1.01, 1.10) if cell.training.robust else (1.003, 1.01)
    success = 100 * float(mine.l2.isfinite().double().mean())
    held = [over <= 1, mean <= asked[0], p95 <= asked[1]]
    words = "yes" if success == 100 and all(held) else "no"
    return (
        f"| {cell.network}, {cell.mode} | {len(best)} | {success:.1f} | {float(mine.l2.mean()):.4f} | {peer} | "
        f"{over:.4f} | {mean:.4f} | {p95:.4f} | 1, {asked[0]}, {asked[1]:.2f} | {words} |"
    )
