"""The two media of a figure: the page, as inline SVG in its font, light or dark, and paper, dark on white."""

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, ParamSpec

import matplotlib as mpl
from cycler import cycler
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from intriguing.report.attachments import as_json
from intriguing.report.drawing import Colours

P = ParamSpec("P")

# Stand-ins that are replaced by the page's own colours once the figure is drawn.
_STAND_INS = Colours("#070809", "#0a0b0c", "#010203", "#040506", "#0d0e0f")
_ON_THE_PAGE = Colours("var(--accent)", "var(--second)", "currentColor", "var(--rule)", "var(--bg)")
_ON_PAPER = Colours("#2f62c9", "#bd6a14", "#1c1f26", "#d6d3cc", "#ffffff")


def style(colours: Colours) -> Any:
    """Matplotlib's settings for figures in these colours."""
    return {
        "axes.prop_cycle": cycler(color=list(colours)),
        "text.parse_math": False,
        "axes.unicode_minus": True,
        "font.size": 10.5,
        "text.color": colours.ink,
        "axes.labelcolor": colours.ink,
        "axes.edgecolor": colours.faint,
        "xtick.color": colours.ink,
        "ytick.color": colours.ink,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
    }


class Hover(NamedTuple):
    """What is told under the pointer in one panel: at each x of its axis, a text."""

    axes: Axes
    x: Sequence[float]
    texts: Sequence[str]


def for_paper(draw: Callable[P, Figure], *args: P.args, **kwargs: P.kwargs) -> Figure:
    """The figure that `draw` gives, dark on white."""
    with mpl.rc_context(style(_ON_PAPER) | {"figure.facecolor": "white", "pdf.fonttype": 42}), _quiet():
        figure = draw(*args, **kwargs)
        figure.draw_without_rendering()  # ticks take the settings when they are first drawn
        return figure


def for_page(alt: str, draw: Callable[P, Figure], *args: P.args, **kwargs: P.kwargs) -> Markup:
    """The figure that `draw` gives as an <svg> element; `alt` says in words what it shows.

    Settings of matplotlib that a user's model or program has made are for other figures: the page looks alike always.
    """
    usual = {key: value for key, value in mpl.rcParamsDefault.items() if key != "backend"}
    # The salt makes the ids in the SVG the same on every run, and others in every figure.
    with mpl.rc_context(usual | style(_STAND_INS) | {"svg.fonttype": "none", "svg.hashsalt": alt}):
        return _svg(draw(*args, **kwargs), alt)


def with_hover(svg: Markup, hovers: Sequence[Hover]) -> Markup:
    """The figure, and what the page's script tells of it under the pointer."""
    panels = []
    for axes, x, texts in hovers:
        box = axes.get_position()
        places = axes.transAxes.inverted().transform(axes.transData.transform([(value, 0.5) for value in x]))[:, 0]
        sides = {"left": box.x0, "right": box.x1, "top": 1 - box.y1, "bottom": 1 - box.y0}
        rounded = {name: round(float(value), 4) for name, value in sides.items()}
        panels.append(rounded | {"places": [round(float(place), 4) for place in places], "texts": list(texts)})
    return svg + Markup('<script type="application/json" data-hover>{}</script>').format(Markup(as_json(panels)))


@contextmanager
def _quiet() -> Iterator[None]:
    """The reader's font draws the text, so what matplotlib's own font lacks is of no concern."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        yield


def _svg(figure: Figure, alt: str) -> Markup:
    """The drawn figure as an <svg> element with a text alternative."""
    buffer = io.StringIO()
    with _quiet():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], count=1, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?|font: (?P<size>[\d.]+px) [^;\"]*", _font, svg)
    for stand_in, colour in zip(_STAND_INS, _ON_THE_PAGE, strict=True):
        svg = svg.replace(stand_in, colour)
    opening = svg[: svg.index(">") + 1]
    box = re.search(r'viewBox="([^"]+)"', opening)
    width = float(box[1].split()[2]) if box else 600.0
    text = escape(alt)
    style = f"max-width:{1.3 * width:.0f}px;--drawn:{width:.0f}px"
    head = f'<svg role="img" aria-label="{text}" viewBox="{box[1] if box else ""}" style="{style}"'
    return Markup(f'{head} xmlns:xlink="http://www.w3.org/1999/xlink">{svg[len(opening) :].strip()}')


def _font(match: re.Match[str]) -> str:
    return f"font-size: {match['size']}" if match["size"] else ""
