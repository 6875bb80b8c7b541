"""Why a search ends farther than the best that is known: the class, the basin, or a finish that is too short."""

from collections import Counter

import torch
from benchmarks.hard.cells import Found, HardCell
from torch import Tensor

from intriguing.blind_spots.network.evaluate import Evaluator, frozen
from intriguing.blind_spots.solvers.boundary import BoundaryFinish
from intriguing.blind_spots.solvers.loop import Layout, run
from intriguing.models.feeding.rows import PADDED

_STEPS = 60
_SAME = 3e-3
"""Distances that differ by less than this share are the same."""


def reasons(cell: HardCell, every: list[Found]) -> list[str]:
    """Per image that the first of `every` did not bring to the best known distance, what was missing, then the sums.

    finish: a finish three times as long, from where it ended, reaches the best known distance. Else class: the best
    known point has another class; or basin: it has the same class, and the finish does not lead there.
    """
    mine = every[0]
    distances = torch.stack([found.l2 for found in every])
    best, which = distances.min(0)
    classes = torch.stack([found.reached for found in every]).gather(0, which[None])[0]
    longer = finished_longer(cell, mine)
    lines = ["| image | `best` | finished longer | best known | lacking |", "|---|---|---|---|---|"]
    count, excess = Counter[str](), Counter[str]()
    for i, (l2, long, known) in enumerate(zip(mine.l2.tolist(), longer.tolist(), best.tolist(), strict=True)):
        if l2 <= (1 + _SAME) * known:
            continue
        if long <= (1 + _SAME) * known:
            lacking = "finish"
        else:
            lacking = "class" if int(mine.reached[i]) != int(classes[i]) else "basin"
        count[lacking] += 1
        excess[lacking] += l2 - known
        lines.append(f"| {i} | {l2:.4f} | {long:.4f} | {known:.4f} | {lacking} |")
    total = sum(excess.values())
    shares = ", ".join(f"{name} {count[name]} ({100 * excess[name] / total:.0f} % of the excess)" for name in count)
    far = f"{sum(count.values())} of {len(best)} images are more than {100 * _SAME:.1f} % too far"
    return [*lines, "", f"{far}: {shares}." if count else f"{far}."]


def finished_longer(cell: HardCell, found: Found) -> Tensor:
    """The distances (B,) after a finish of `_STEPS` gradients from what was found; infinite where nothing was."""
    won = found.l2.isfinite().nonzero().squeeze(1)
    c, longer = cell.cell, found.l2.clone()
    if len(won) == 0:
        return longer
    with frozen(c.model), torch.no_grad():
        reached = found.reached[won]
        count = int(c.model(c.images[:1]).shape[1])
        away = c.labels[won] if c.targets is None else None
        rivals = torch.arange(count) == away[:, None] if away is not None else torch.arange(count) != reached[:, None]
        x0, best = c.images[won].flatten(1), found.images[won].flatten(1)
        rows = {"x0": x0, "best": best, "target": reached, "rivals": rivals}
        solver = BoundaryFinish(Evaluator(c.model, tuple(c.images.shape[1:]), PADDED), 0.0, 1.0, _STEPS)
        longer[won] = run(solver, rows, Layout(256))["best_l2"].double()
    return longer
