"""One file of limited size: explorers take what room the other parts leave, and what does not fit is told."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from intriguing.report.parts import PagePart, Row, render

LARGEST = 14_950_000
"""Bytes of one file at most."""
_FRAME = 250_000
"""What styles, scripts, words and answers take, about."""


@dataclass(frozen=True)
class Explorer:
    """A part that grows with the run, made when the others are: `make` gives it within a number of bytes of the file.

    most_bytes: what it takes of a file however much room there is.
    """

    slug: str
    most_bytes: float
    make: Callable[[float], PagePart | None]


def size_of(part: PagePart) -> int:
    """The bytes that a part takes of one file."""
    return len(part.html.encode()) + sum(4 * -(-len(attachment.content) // 3) for attachment in part.attachments)


def finished(parts: Sequence[PagePart | Explorer], whole: bool) -> list[PagePart]:
    """The parts in their order, explorers in what room the others leave in one file; `whole`: there is no limit."""
    made: dict[str, PagePart | None] = {part.slug: part for part in parts if isinstance(part, PagePart)}
    explorers = sorted((part for part in parts if isinstance(part, Explorer)), key=lambda part: part.most_bytes)
    room = LARGEST - _FRAME - sum(size_of(part) for part in made.values() if part)
    asked = sum(part.most_bytes for part in explorers)
    for explorer in explorers:
        share = max(room, 0) * explorer.most_bytes / asked
        part = made[explorer.slug] = explorer.make(math.inf if whole else min(share, explorer.most_bytes))
        room, asked = room - (size_of(part) if part else 0), asked - explorer.most_bytes
    return [part for slug in dict.fromkeys(part.slug for part in parts) if (part := made[slug])]


def shortened(parts: Sequence[PagePart], excess: int) -> list[PagePart]:
    """The parts, those with the largest texts and tables replaced by a sentence until they take `excess` bytes less."""
    kept = list(parts)
    while excess > 0:
        at = max(range(len(kept)), key=lambda i: len(kept[i].html))
        size, short = size_of(kept[at]), _instead(kept[at])
        if size <= size_of(short):
            break
        excess, kept[at] = excess - size + size_of(short), short
    return kept


def _instead(part: PagePart) -> PagePart:
    said = f"This part would take {size_of(part) / 1e6:.0f} MB, for which one file has no room."
    html = render("report/templates/no_room.html", said=said)
    return replace(part, html=html, attachments=(), scripts=())


def fewer_of(groups: Sequence[object]) -> list[int]:
    """How many of these groups to try, each half as many as the last, down to one."""
    return [len(groups) >> halvings for halvings in range(1, len(groups).bit_length())]


def rendered(template: str, most_bytes: float, versions: Iterable[Row]) -> Markup:
    """The HTML of a template with the first of these values, the fullest first, that take at most so many bytes.

    With the last of them where none does.
    """
    html = Markup()
    for version in versions:
        html = render(template, **version)
        if len(html.encode()) <= most_bytes:
            break
    return html
