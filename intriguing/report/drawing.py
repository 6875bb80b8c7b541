"""Figures as matplotlib draws them: for the page, which gives them its colours, and for papers.

Every function gives a new `Figure`. Its colours are those of the settings that are in force when it is called.
"""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from intriguing.report.text import number, shorten
from intriguing.stats.findings import FAR
from intriguing.stats.signs import signed

_WIDTH, _LABEL = 10.4, 44


class Colours(NamedTuple):
    """What a figure is drawn with: single units, the control, text and lines, what stands back, the background."""

    natural: str
    random: str
    ink: str
    faint: str
    paper: str


def colours() -> Colours:
    """The colours in force: the first five of matplotlib's cycle."""
    return Colours(*mpl.rcParams["axes.prop_cycle"].by_key()["color"][:5])


def histograms(series: Sequence[tuple[str, np.ndarray]], xlabel: str) -> Figure:
    """One histogram per (label, values), stacked over a common axis, each with its median marked.

    Bars show shares of a model's searches, so that models with more searches do not look different.
    """
    c = colours()
    figure = Figure(figsize=(_WIDTH, 0.66 * len(series) + 0.6))
    every = np.concatenate([values for _, values in series])
    edges = np.linspace(0, max(float(every.max(initial=0)), 1e-12) * 1.02, 49)
    axes = figure.subplots(
        len(series), 1, sharex=True, squeeze=False, gridspec_kw=_margins(figure, [label for label, _ in series])
    )[:, 0]
    for axis, (label, values) in zip(axes, series, strict=True):
        heights = np.histogram(values, edges)[0] / max(len(values), 1)
        axis.bar(edges[:-1], heights, np.diff(edges) * 0.86, align="edge", color=c.natural, linewidth=0)
        axis.set(yticks=[], ylim=(0, max(heights.max(initial=0), 1e-12) * 1.12))
        axis.set(xlim=(0, edges[-1]))
        axis.set_ylabel(shorten(label, _LABEL), rotation=0, ha="right", va="center", labelpad=8)
        if len(values):
            median = float(np.median(values))
            axis.axvline(median, color=c.ink, linewidth=1.4)
            axis.text(1, 0.82, f"median {number(median)}", ha="right", va="center", transform=axis.transAxes)
    axes[-1].set_xlabel(xlabel)
    return figure


_FARTHEST = 15.0


def forest(
    rows: Sequence[tuple[str, float, float, float]],
    xlabel: str,
    outcomes: Sequence[str] | None = None,
    reach: float = 0.0,
) -> Figure:
    """A dot with its interval per (label, value, low, high), around a line at zero and a band of ±1.96.

    What lies beyond ±15 is an arrow at the edge with its number, or in words: one huge effect would hide all others.
    outcomes: what each test found; "lower" has the other colour, and what is neither higher nor lower is hollow.
    reach: how far the axis goes at least, for figures that stand below each other.
    """
    c = colours()
    figure = Figure(figsize=(_WIDTH, 0.32 * len(rows) + 0.65))
    axis = figure.subplots(gridspec_kw=_margins(figure, [label for label, *_ in rows]))
    places = np.arange(len(rows))[::-1]
    axis.axvspan(-1.96, 1.96, color=c.faint, alpha=0.55, linewidth=0)
    axis.axvline(0, color=c.ink, linewidth=1)
    for place, (_, value, low, high), outcome in zip(places, rows, outcomes or ["higher"] * len(rows), strict=True):
        colour = c.random if outcome == "lower" else c.natural
        inside = colour if outcome in ("higher", "lower") else c.paper
        if abs(value) > _FARTHEST:
            edge, inward = np.copysign(_FARTHEST, value), -9 if value > 0 else 9
            shape = ">" if value > 0 else "<"
            axis.plot([edge], [place], shape, color=colour, markersize=6.5, markerfacecolor=inside)
            side = "right" if value > 0 else "left"
            said = signed(value, ".0f") if abs(value) <= FAR else "far beyond every rotation"
            axis.annotate(said, (edge, place), (inward, 0), "data", "offset points", ha=side, va="center")
            continue
        ends = np.clip([low, high], -_FARTHEST, _FARTHEST)
        axis.plot(ends, [place, place], color=colour, linewidth=2, solid_capstyle="round")
        axis.plot([value], [place], "o", color=colour, markersize=6.5, markerfacecolor=inside)
    low, high = axis.get_xlim()
    axis.set_xlim(min(low, -reach), max(high, reach))
    axis.set_yticks(places, [shorten(label, _LABEL) for label, *_ in rows])
    axis.set(ylim=(-0.6, len(rows) - 0.4), xlabel=xlabel)
    return figure


_ROOM = 0.18
"""The share of an axis that is left for the number of values beyond it."""


def strips(metrics: Sequence[tuple[str, Sequence[tuple[str, np.ndarray]]]]) -> Figure:
    """For each (metric, [(basis, values), ...]) an axis, with a small histogram per basis and their means marked.

    Values far outside of the others are told by their number at the edge: one would squeeze all others into a bar.
    """
    c = colours()
    rows = sum(len(bases) for _, bases in metrics)
    figure = Figure(figsize=(_WIDTH, 0.27 * rows + 0.52 * len(metrics) + 0.1))
    ratios = [len(bases) for _, bases in metrics]
    labels = [[f"{metric} · {basis}" for basis, _ in bases] for metric, bases in metrics]
    margins = _margins(figure, [label for part in labels for label in part], bottom=0.3)
    grid = {"height_ratios": ratios, "hspace": 1.9 * len(metrics) / rows, **margins}
    axes = figure.subplots(len(metrics), 1, squeeze=False, gridspec_kw=grid)[:, 0]
    for axis, part, (_, bases) in zip(axes, labels, metrics, strict=True):
        low, high = _fences([values for _, values in bases])
        edges = np.linspace(low, high, 101)
        every = np.concatenate([values for _, values in bases])
        room = _ROOM * (high - low)
        left, right = low - room * bool((every < low).any()), high + room * bool((every > high).any())
        for i, (_, values) in enumerate(bases):
            colour = c.random if i else c.natural
            if len(values):
                heights = np.histogram(values, edges)[0] / len(values)
                tall = 0.8 * heights / max(heights.max(), 1e-12)
                # One shape: a hundred bars each would take minutes for a run of many layers.
                axis.stairs(tall - i - 0.4, edges, baseline=-i - 0.4, fill=True, color=colour, linewidth=0)
                axis.plot([values.mean()], [-i], "D", color=c.ink, markersize=5.5, markeredgecolor=c.paper)
                below, above = values[values < low], values[values > high]
                across = axis.get_yaxis_transform()
                if len(below):
                    said = f"◀ {len(below)}, to {number(float(below.min()))}"
                    axis.text(0.0, -i, said, ha="left", va="center", transform=across)
                if len(above):
                    said = f"{len(above)}, to {number(float(above.max()))} ▶"
                    axis.text(1.0, -i, said, ha="right", va="center", transform=across)
        axis.set_yticks([-i for i in range(len(bases))], [shorten(label, _LABEL) for label in part])
        axis.set_ylim(-len(bases) + 0.4, 0.6)
        axis.set_xlim(left - 0.02 * (high - low), right + 0.02 * (high - low))
    return figure


def _fences(series: Sequence[np.ndarray]) -> tuple[float, float]:
    """Between which values an axis is drawn: all of them, or those within six interquartile ranges of the quartiles.

    The means are always within.
    """
    every = np.concatenate(series)
    if len(every) == 0:
        return 0.0, 1.0
    first, third = np.quantile(every, (0.25, 0.75))
    reach = 6 * (third - first) or np.inf
    means = [values.mean() for values in series if len(values)]
    low = min(float(every[every >= first - reach].min()), *means)
    high = max(float(every[every <= third + reach].max()), *means)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def bands(x: np.ndarray, low: np.ndarray, middle: np.ndarray, high: np.ndarray, xlabel: str, ylabel: str) -> Figure:
    """A line with a band around it over a logarithmic axis; all of them (n,), `x` above zero and increasing."""
    c = colours()
    figure = Figure(figsize=(0.62 * _WIDTH, 2.9))
    axis = figure.subplots(gridspec_kw=_margins(figure, [ylabel]))
    axis.fill_between(x, low, high, color=c.natural, alpha=0.22, linewidth=0)
    axis.plot(x, middle, "o-", color=c.natural, linewidth=2, markersize=4.5)
    axis.set(xscale="log", xlabel=xlabel, ylabel=ylabel, ylim=(0, None))
    axis.minorticks_off()
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.grid(axis="y", color=c.faint, linewidth=0.8)
    axis.set_axisbelow(True)
    return figure


def curve_sheets(
    x: np.ndarray,
    series: Sequence[tuple[str, Sequence[tuple[str, np.ndarray]], np.ndarray]],
    xlabel: str,
    ylabel: str,
) -> Figure:
    """A panel per (label, [(name, shares), ...], control): a line per name in percent, over one logarithmic axis.

    All arrays are (n,), as `x`. The line of the panel's own name is thick, the control is dashed. Names stand in one
    legend; a name has the same line in every panel.
    """
    c = colours()
    names = list(dict.fromkeys(name for _, lines, _ in series for name, _ in lines))
    marks = {name: "osv^D<>Pph*X"[i % 12] for i, name in enumerate(names)}
    columns = min(3, len(series))
    rows = -(-len(series) // columns)
    legend = 0.24 * -(-(len(names) + 1) // 3) + 0.2
    height = 2.3 * rows + 0.5 + legend
    figure = Figure(figsize=(_WIDTH * max(columns, 2) / 3, height))
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    top = 1 - (legend + 0.25) / height
    figure.subplots_adjust(left=0.08, right=0.98, top=top, bottom=0.55 / height, hspace=0.3, wspace=0.12)
    for axis in axes.ravel()[len(series) :]:
        axis.set_visible(False)
    for axis, (label, lines, control) in zip(axes.ravel(), series, strict=False):
        for name, shares in lines:
            own = name == label
            axis.plot(
                x,
                100 * shares,
                color=c.natural if own else c.ink,
                linewidth=2.4 if own else 1,
                marker=marks[name],
                markersize=4,
                alpha=1 if own else 0.75,
            )
        axis.plot(x, 100 * control, color=c.random, linewidth=2, linestyle=(0, (4, 2)))
        axis.set(xscale="log", ylim=(-2, 102))
        axis.set_title(shorten(label, 30), fontsize=10.5)
        axis.minorticks_off()
        ticks = _apart(x)
        axis.set_xticks(ticks, [number(size, 2) for size in ticks])
        axis.grid(axis="y", color=c.faint, linewidth=0.8)
        axis.set_axisbelow(True)
    for axis in axes[-1]:
        axis.set_xlabel(xlabel)
    for axis in axes[:, 0]:
        axis.set_ylabel(ylabel)
    plain = [Line2D([], [], color=c.ink, linewidth=1, marker=marks[name], markersize=4) for name in names]
    dashed = Line2D([], [], color=c.random, linewidth=2, linestyle=(0, (4, 2)))
    labels = [*(shorten(name, 30) for name in names), "Gaussian noise"]
    figure.legend([*plain, dashed], labels, loc="upper center", ncols=min(3, len(labels)), frameon=False)
    return figure


def _apart(sizes: np.ndarray) -> list[float]:
    """Those of ascending `sizes` that lie a quarter of a logarithmic axis apart, so that their labels do not meet."""
    least = np.log(sizes[-1] / sizes[0]) / 4
    kept = [float(sizes[0])]
    for size in sizes[1:]:
        if np.log(size / kept[-1]) >= 0.999 * least:
            kept.append(float(size))
    return kept


def brackets(series: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> Figure:
    """A panel per (label, found, proven): a point per search, logarithmic axes of equal range, and the diagonal."""
    c = colours()
    columns = min(4, len(series))
    lines = -(-len(series) // columns)
    figure = Figure(figsize=(_WIDTH * max(columns, 2) / 4, 2.75 * lines + 0.35))
    every = np.concatenate([np.concatenate([x, y[y > 0]]) for _, x, y in series])
    low, high = float(every.min(initial=1.0)) / 1.25, float(every[np.isfinite(every)].max(initial=0.0)) * 1.25
    grid = {"hspace": 0.42, "wspace": 0.3}
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False, gridspec_kw=grid)
    figure.subplots_adjust(left=0.09, right=0.98, top=0.9 + 0.02 * lines, bottom=0.22 / lines + 0.02)
    for axis in axes.ravel()[len(series) :]:
        axis.set_visible(False)
    for axis, (label, x, y) in zip(axes.ravel(), series, strict=False):
        axis.plot([low, high], [low, high], color=c.ink, linewidth=1)
        axis.plot(x, np.maximum(y, low), "o", color=c.natural, markersize=3.2, markeredgewidth=0, alpha=0.6)
        axis.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
        axis.set_title(shorten(label, 24), fontsize=10.5)
        axis.minorticks_off()
        for direction in (axis.xaxis, axis.yaxis):
            direction.set_major_formatter(lambda value, _: f"{value:g}")
    for axis in axes[-1]:
        axis.set_xlabel("found")
    for axis in axes[:, 0]:
        axis.set_ylabel("proven")
    return figure


def curves(series: Sequence[tuple[str, np.ndarray, np.ndarray]], xlabel: str, ylabel: str) -> Figure:
    """A line with its name at its end per (label, x, y), both (n,), over one logarithmic axis and from zero up."""
    c = colours()
    figure = Figure(figsize=(0.72 * _WIDTH, 3.1))
    margins = _margins(figure, [ylabel]) | {"right": 0.8}
    axis = figure.subplots(gridspec_kw=margins)
    for i, (label, x, y) in enumerate(series):
        colour = c.random if i else c.natural
        axis.plot(x, y, "o-", color=colour, linewidth=2, markersize=4.5)
        axis.annotate(shorten(label, _LABEL), (x[-1], y[-1]), (8, 0), "data", "offset points", va="center")
    ticks = np.unique(np.concatenate([x for _, x, _ in series]))
    axis.set(xscale="log", xlabel=xlabel, ylabel=ylabel, ylim=(0, None))
    axis.minorticks_off()
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.grid(axis="y", color=c.faint, linewidth=0.8)
    axis.set_axisbelow(True)
    return figure


def crosses(
    points: Sequence[tuple[str, tuple[float, float, float], tuple[float, float, float]]],
    xlabel: str,
    ylabel: str,
) -> Figure:
    """A named point per (label, x, y), each of x and y as (value, low, high): a cross of both intervals."""
    c = colours()
    figure = Figure(figsize=(0.75 * _WIDTH, 3.9))
    axis = figure.subplots(gridspec_kw=_margins(figure, [ylabel]))
    for _, (x, left, right), (y, low, high) in points:
        axis.plot([left, right], [y, y], color=c.natural, linewidth=1.6, solid_capstyle="round")
        axis.plot([x, x], [low, high], color=c.natural, linewidth=1.6, solid_capstyle="round")
        axis.plot([x], [y], "o", color=c.natural, markersize=6)
    axis.margins(x=0.12, y=0.1)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.grid(color=c.faint, linewidth=0.8)
    axis.set_axisbelow(True)
    _name_apart(axis, [(shorten(label, _LABEL), x, y) for label, (x, *_), (y, *_) in points])
    return figure


def _name_apart(axis: Axes, names: Sequence[tuple[str, float, float]]) -> None:
    """Write names beside their points (name, x, y), from the top down; one that would lie on another goes below it."""
    axis.autoscale_view()
    size = float(mpl.rcParams["font.size"])
    line, taken = 1.25 * size, list[tuple[float, float, float]]()  # of each name: left and right end, lower edge
    for name, x, y in sorted(names, key=lambda point: -point[2]):
        at = axis.transData.transform((x, y)) * 72 / axis.figure.dpi
        left, low = float(at[0]) + 6, float(at[1]) + 5
        right = left + 0.65 * size * len(name)
        while met := [edge for one, other, edge in taken if one < right and left < other and abs(edge - low) < line]:
            low = min(met) - line
        taken.append((left, right, low))
        moved = abs(low - float(at[1]) - 5) > 1
        leader = {"arrowstyle": "-", "color": colours().faint, "linewidth": 0.8} if moved else None
        offset = (left - float(at[0]), low - float(at[1]))
        axis.annotate(name, (x, y), offset, "data", "offset points", arrowprops=leader)


class Curve(NamedTuple):
    """A named line with a band; all of them (n,)."""

    label: str
    x: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray


def panels(curves: Sequence[Curve], reference: Curve, xlabel: str, ylabel: str) -> Figure:
    """A small panel per curve, all of one scale (logarithmic), with `reference` as a faint line in each."""
    c = colours()
    columns = min(4, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(_WIDTH, 1.75 * rows + 0.5))
    margins = _margins(figure, [ylabel]) | {"hspace": 0.42, "wspace": 0.12, "top": 1 - 0.3 / figure.get_figheight()}
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False, gridspec_kw=margins)
    for number_, axis in enumerate(axes.ravel()):
        if number_ >= len(curves):
            axis.set_axis_off()
            continue
        curve = curves[number_]
        axis.plot(reference.x, reference.middle, color=c.ink, alpha=0.35, linewidth=1.2)
        axis.fill_between(curve.x, curve.low, curve.high, color=c.natural, alpha=0.22, linewidth=0)
        axis.plot(curve.x, curve.middle, color=c.natural, linewidth=1.8)
        axis.set(yscale="log")
        axis.set_title(shorten(curve.label, 24), fontsize=10.5, loc="left")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.yaxis.set_minor_locator(NullLocator())
        axis.grid(axis="y", color=c.faint, linewidth=0.8)
    figure.supxlabel(xlabel, fontsize=10.5)
    figure.supylabel(ylabel, fontsize=10.5)
    return figure


class Robustness(NamedTuple):
    """A model's shares of images that stay right under every change of a size, with what is proven; all (n,)."""

    label: str
    sizes: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray
    proven: np.ndarray | None = None


def robustness(models: Sequence[Robustness], xlabel: str) -> Figure:
    """A panel per model: its line in percent with a band, what is proven dashed, the mean of all models faint."""
    c = colours()
    columns = min(4, len(models))
    rows = -(-len(models) // columns)
    figure = Figure(figsize=(_WIDTH * max(columns, 2) / 4, 1.9 * rows + 0.55))
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    height = figure.get_figheight()
    left = 0.62 / figure.get_figwidth()
    figure.subplots_adjust(left, 0.5 / height, 0.99, 1 - 0.28 / height, wspace=0.12, hspace=0.32)
    mean = np.mean([model.share for model in models], axis=0)
    for axis in axes.ravel()[len(models) :]:
        axis.set_visible(False)
    for axis, model in zip(axes.ravel(), models, strict=False):
        if len(models) > 1:
            axis.plot(model.sizes, 100 * mean, color=c.ink, alpha=0.35, linewidth=1.1)
        axis.fill_between(model.sizes, 100 * model.low, 100 * model.high, color=c.natural, alpha=0.22, linewidth=0)
        axis.plot(model.sizes, 100 * model.share, color=c.natural, linewidth=1.9)
        if model.proven is not None:
            axis.plot(model.sizes, 100 * model.proven, color=c.random, linewidth=1.6, linestyle=(0, (4, 2)))
        axis.set(ylim=(-2, 102), xlim=(0, model.sizes[-1]))
        axis.set_title(shorten(model.label, 26), fontsize=10.5, loc="left")
        axis.grid(axis="y", color=c.faint, linewidth=0.8)
        axis.locator_params(axis="x", nbins=4)
    for axis in axes[-1]:
        axis.set_xlabel(xlabel)
    for axis in axes[:, 0]:
        axis.set_ylabel("right, %")
    return figure


def heat(rows: Sequence[str], columns: Sequence[str], values: np.ndarray, texts: np.ndarray, what: str) -> Figure:
    """A matrix of cells with their texts, darker where `values` (rows, columns) are larger; NaN is left empty."""
    c = colours()
    width = 1.6 + 0.085 * max(map(len, map(str, [*rows, ""])), default=0) + 0.62 * len(columns)
    figure = Figure(figsize=(min(max(width, 4), 30), min(1.3 + 0.34 * len(rows), 40)), layout="constrained")
    axis = figure.subplots()
    shown = np.ma.masked_invalid(np.asarray(values, float))
    axis.imshow(shown, cmap=LinearSegmentedColormap.from_list("heat", [c.paper, c.natural]), aspect="auto", vmin=0)
    most = float(shown.max()) if shown.count() else 1.0
    for (i, j), text in np.ndenumerate(texts):
        dark = not np.ma.is_masked(shown[i, j]) and shown[i, j] > 0.6 * most
        axis.text(j, i, str(text), ha="center", va="center", fontsize=8.5, color=c.paper if dark else c.ink)
    axis.set_xticks(range(len(columns)), [shorten(name, 22) for name in columns], rotation=35, ha="left")
    axis.xaxis.tick_top()
    axis.set_yticks(range(len(rows)), [shorten(name, _LABEL) for name in rows])
    axis.set_xlabel(what)
    return figure


def _margins(figure: Figure, labels: Sequence[str], bottom: float = 0.5) -> dict[str, float]:
    """Room for the labels, as fractions. The page's own font draws them, so their width is only estimated."""
    width, height = figure.get_size_inches()
    left = 0.35 + 0.085 * max((min(len(label), _LABEL) for label in labels), default=0)
    return {"left": left / width, "right": 1 - 0.25 / width, "bottom": bottom / height, "top": 1 - 0.06 / height}
