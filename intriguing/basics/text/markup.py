"""Small pieces of HTML for a notebook: a table with a caption, in which every text is escaped."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

_LONGEST = 60


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, what stands small below it, and how dark it is shaded (0 to 1, None: not)."""

    text: str
    below: str = ""
    shade: float | None = None

    def __str__(self) -> str:
        below = f"<br><small>{escape(_short(self.below))}</small>" if self.below else ""
        style = "" if self.shade is None else f"background:rgba(70,130,180,{0.6 * min(max(self.shade, 0.0), 1.0):.2f});"
        return f'<td style="{style}text-align:right">{escape(_short(self.text))}{below}</td>'


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[object]], notes: Sequence[str] = ()) -> str:
    """A table; the first cell of a row is its name, the others are texts or `Cell`s. `notes` are lines below it."""
    head = "".join(f"<th>{escape(_short(name))}</th>" for name in header)
    body = "".join(_row(row) for row in rows)
    below = "".join(f"<div>{escape(note)}</div>" for note in notes)
    titled = f'<caption style="text-align:left">{escape(caption)}</caption>'
    return f"<table>{titled}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"


def _row(row: Sequence[object]) -> str:
    name, *cells = row
    told = "".join(str(cell if isinstance(cell, Cell) else Cell(str(cell))) for cell in cells)
    return f'<tr><th style="text-align:left">{escape(_short(str(name)))}</th>{told}</tr>'


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
