"""Distance by passes: this search with budgets beside the peers with as many, as a table and a figure."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from benchmarks.hard.cells import HardCell, Method, Runs, ours, sources
from benchmarks.search import peers
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from intriguing import SearchOptions

BUDGETS = (100, 300, 1000, 3000)
"""Forward and backward passes together."""
_COLOURS = {"this search": "#1f5fa8", "DDN": "#c2571a", "PDGD": "#3b7d3b", "ALMA": "#7a4a9c"}
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "curve", "font.family": "sans-serif", "font.size": 9}


def drawn(cells: list[HardCell], runs: Runs, path: Path) -> list[str]:
    """Measure what is not kept, write the figure, and return the table: mean L2 (the rows at the network, an image)."""
    families = _families()
    figures: list[tuple[str, dict[str, list[tuple[float, float]]]]] = []
    lines = [
        "| network, mode | method | " + " | ".join(f"{b:,} passes" for b in BUDGETS) + " |",
        "|---|---|---|---|---|---|",
    ]
    for cell in cells:
        points: dict[str, list[tuple[float, float]]] = {}
        for name, budgets in families.items():
            if not budgets[0].suits(cell):
                continue
            values = []
            for method in budgets:
                found = runs.found(cell, method, len(cell.cell.images))
                won = found.l2.isfinite()
                mean, rows = float(found.l2[won].mean()), found.forward + found.backward
                missed = "" if bool(won.all()) else f", {int(won.sum())} found"
                values.append(f"{mean:.4f} ({rows:.0f}{missed})")
                points.setdefault(name, []).append((rows, mean if not missed else float("nan")))
            lines.append(f"| {cell.network}, {cell.mode} | {name} | " + " | ".join(values) + " |")
            print(lines[-1], flush=True)
        figures.append((f"{cell.network}\n{cell.mode}", points))
    _draw(figures, path)
    return lines


def redrawn(table: Path, path: Path) -> list[str]:
    """Write the figure from a table that was measured before: rows of cell, method and the mean L2 of each budget.

    A number with `found` behind it is of a part of the images, and is left out.
    """
    figures: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for line in table.read_text().splitlines():
        parts = [part.strip() for part in line.strip("| ").split("|")]
        if len(parts) != 2 + len(BUDGETS) or parts[1] not in _COLOURS:
            continue
        means = [float("nan") if "found" in part else float(part.split()[0]) for part in parts[2:]]
        network, _, mode = parts[0].rpartition(", ")
        points = [(float(b), mean) for b, mean in zip(BUDGETS, means, strict=True)]
        figures.setdefault(f"{network}\n{mode}", {})[parts[1]] = points
    if not figures:
        return [f"{table} holds no table of this kind."]
    _draw(list(figures.items()), path)
    return [f"{path}: {len(figures)} panels"]


def _families() -> dict[str, list[Method]]:
    """Per name, the method with each of the budgets; the peers make half as many steps, each forward and backward."""
    small = SearchOptions(grade="fast", exact_linear="off")
    mine = [small, *(SearchOptions(passes=b, exact_linear="off") for b in BUDGETS[1:])]
    families = {
        "this search": [
            Method(f"curve {b}", ours(o), "ours", True, sources()) for b, o in zip(BUDGETS, mine, strict=True)
        ]
    }
    for name, attack, steps in (("DDN", "ddn", "steps"), ("PDGD", "pdgd", "num_steps"), ("ALMA", "alma", "num_steps")):
        families[name] = [
            Method(
                f"{name}-{b // 2}",
                peers.attack(attack, **{steps: b // 2}),
                "peer",
                untargeted_only=name == "ALMA",
            )
            for b in BUDGETS
        ]
    return families


def _draw(figures: list[tuple[str, dict[str, list[tuple[float, float]]]]], path: Path) -> None:
    """A panel per cell: mean L2 over the smallest one, by rows at the network, both axes logarithmic."""
    columns = min(3, len(figures))
    rows = -(-len(figures) // columns)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(2.6 * columns, 2.5 * rows + 0.4), facecolor="white")
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axis, (title, points) in zip(grid.ravel(), figures, strict=False):
            least = min(y for values in points.values() for _, y in values if y == y)
            for name, values in points.items():
                x, y = torch.tensor(values, dtype=torch.float64).T
                axis.plot(x, y / least, "o-", label=name, color=_COLOURS[name], linewidth=1.6, markersize=3.5)
            axis.set(xscale="log", yscale="log", ylim=(0.99, 1.32))
            axis.set_title(title, fontsize=9, loc="left")
            axis.set_xticks(BUDGETS, [f"{b:,}" for b in BUDGETS])
            axis.set_yticks([1, 1.05, 1.1, 1.2, 1.3], ["1", "1.05", "1.1", "1.2", "1.3"])
            axis.xaxis.set_minor_locator(NullLocator())
            axis.yaxis.set_minor_formatter(NullFormatter())
            axis.yaxis.set_minor_locator(NullLocator())
            axis.grid(color="#dddddd", linewidth=0.7)
            axis.spines[["top", "right"]].set_visible(False)
        for axis in grid.ravel()[len(figures) :]:
            axis.set_axis_off()
        handles = {
            label: line for a in grid.ravel() for line, label in zip(*a.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), ncols=len(handles), loc="lower center", frameon=False)
        figure.supylabel("mean L2 over the smallest", fontsize=9)
        figure.supxlabel("forward and backward passes per image", fontsize=9, y=0.26 / figure.get_figheight())
        figure.tight_layout(rect=(0, 0.28 / figure.get_figheight(), 1, 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})
