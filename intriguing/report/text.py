"""Numbers and verdicts in words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from intriguing.basics.text.printable import filled, width_of
from intriguing.stats.signs import with_minus

NONE = "–"
_THIN = "\u202f"


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits; a dash where there is none."""
    if value is None or math.isnan(value):
        return NONE
    if value == 0 or not math.isfinite(value):
        return with_minus(f"{value:g}")
    # Of the rounded number: 0.0999 with two digits is 0.10.
    places = digits - 1 - int(f"{abs(value):.{digits - 1}e}".partition("e")[2])
    shown = f"{value:.{places}f}" if 0 <= places <= 6 else f"{value:.{digits}g}"
    return with_minus(shown)


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as a percentage, without its sign; a dash where there is none. A rounded zero has no minus."""
    return NONE if value is None or math.isnan(value) else with_minus(f"{100 * value:z.{digits}f}")


def count(value: float) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{int(value):,}".replace(",", _THIN)


def plural(value: int, noun: str) -> str:
    """The number and its noun: "1 search", "2 searches"."""
    ending = "" if value == 1 else "es" if noun.endswith(("ch", "s", "x")) else "s"
    return f"{count(value)} {noun}{ending}"


def shorten(name: str, most: int) -> str:
    """`name`, cut in the middle where it is longer than `most` characters, without line breaks."""
    flat = " ".join(name.split()) or repr(name)
    half = (most - 1) // 2
    return flat if len(flat) <= most else f"{flat[:half]}…{flat[-half:]}"


def score_label(row: Mapping[str, Any]) -> str:
    """What a row's score is called: its metric, with the judge where that is not the first one."""
    judge = row.get("judge")
    return str(row["metric"]) if judge in (None, "", "encoder") else f"{row['metric']} (judged by {judge})"


def figure(n: int, noun: str, more: str = "") -> tuple[str, str]:
    """A number and its noun, for the top of the page: ("3", "models")."""
    return count(n), plural(n, noun).removeprefix(f"{count(n)} ") + more


def grid(header: Sequence[str], rows: Sequence[Sequence[object]], texts: int = 1) -> str:
    """A table for a terminal: columns as wide as they need, the first `texts` to the left, the others to the right.

    Columns in which no row has anything are left out.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    shown = [i for i in range(len(header)) if any(row[i] not in ("", NONE) for row in cells)]
    wide = {i: max(map(width_of, (header[i], *(row[i] for row in cells)))) for i in shown}
    lines = [[header[i] for i in shown], *([row[i] for i in shown] for row in cells)]
    return "\n".join(
        "  ".join(filled(cell, wide[i], right=i >= texts) for i, cell in zip(shown, line, strict=True)).rstrip()
        for line in lines
    )
