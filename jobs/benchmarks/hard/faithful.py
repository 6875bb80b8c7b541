"""`faithful` beside a SciPy loop of the same procedure, and what it says of images for which it finds nothing."""

from collections import Counter

import torch
from benchmarks.hard.cells import HardCell, Method, Runs, ours, sources
from benchmarks.search.main import spread
from benchmarks.search.peers import scipy_loop

from intriguing import SearchOptions, minimal_distortion

HEADER = (
    "| cell | images | found by `faithful` | by SciPy's loop | by the loop alone | ratio where both found: median | "
    "p95 | max | images per CPU-s | of the loop |\n|---|---|---|---|---|---|---|---|---|---|"
)
_OPTIONS = SearchOptions(grade="faithful", exact_linear="off")


def compared(cell: HardCell, runs: Runs) -> list[str]:
    """The line of a cell, and one for each reason that `faithful` gives where it found nothing."""
    count = len(cell.cell.images)
    mine = runs.found(cell, Method("`faithful`", ours(_OPTIONS), "ours", True, sources()), count)
    loop = runs.found(cell, Method("SciPy loop", scipy_loop, "peer"), count)
    both = mine.l2.isfinite() & loop.l2.isfinite()
    median, p95, worst = spread((mine.l2 / loop.l2)[both].numpy())
    numbers = [int(found.l2.isfinite().sum()) for found in (mine, loop)]
    line = (
        f"| {cell.network}, {cell.mode} | {count} | {numbers[0]} | {numbers[1]} | {numbers[1] - int(both.sum())} | "
        f"{median:.4f} | {p95:.4f} | {worst:.4f} | {1 / mine.seconds:.2f} | {1 / loop.seconds:.2f} |"
    )
    return [line, *_reasons(cell, ~mine.l2.isfinite())]


def _reasons(cell: HardCell, missed: torch.Tensor) -> list[str]:
    """The statuses and sentences of a search of the images at `missed` (B,)."""
    if not missed.any():
        return []
    c = cell.cell
    targets = None if c.targets is None else c.targets[missed]
    result = minimal_distortion(c.model, c.images[missed], c.labels[missed], targets, _OPTIONS)
    told = Counter(f"{status}: {why}" for status, why in zip(result.status, result.reasons, strict=True))
    return [f"  {count} x {sentence}" for sentence, count in told.items()]
