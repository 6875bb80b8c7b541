"""Searches to explore: every search by model, rule, status and pair of classes, with pictures of a spread of them."""

import numpy as np
from markupsafe import Markup

from intriguing.report.attachments import Attachment, as_json
from intriguing.report.parts import Context, PagePart, Row, render
from intriguing.report.text import count, plural
from intriguing.stages.blind_spots.page.explorer.packing import packed_searches
from intriguing.stages.blind_spots.page.explorer.pictures import pictured
from intriguing.stages.blind_spots.page.explorer.reading import SEARCHES, Searches, read_searches

_NUMBERS, _PICTURES = 1_600_000, 1_500_000
_PER_SEARCH = 9
"""Bytes of a search, deflated, about."""
MOST_BYTES = 4 / 3 * (_NUMBERS + _PICTURES) + 100_000


def part(context: Context, most_bytes: float = MOST_BYTES) -> PagePart | None:
    """The explorer of all searches, within a share of one file; None where nothing was searched for."""
    share = min(1.0, most_bytes / MOST_BYTES)
    searches = read_searches(context, int(min(context.limit(share * _NUMBERS) / _PER_SEARCH, 1e9)))
    if searches is None:
        return None
    strips = pictured(context, searches, context.limit(share * _PICTURES))
    attachment, about = packed_searches(searches, strips.rows)
    about |= {
        "groups": [_group(context, key) for key in searches.groups],
        "sheets": strips.sheets.about,
        "classes": _classes(context, searches),
        "scales": strips.scales,
    }
    html = render(
        "stages/blind_spots/page/explorer/explorer.html",
        about=Markup(as_json(about)),
        no_images=context.no_images() if searches.found else None,
        searches=searches,
        shown=strips.sheets.count // 4,
        left_out=_left_out(searches, strips.sheets.count // 4),
        each=searches.each,
    )
    attachments: tuple[Attachment, ...] = (attachment, *strips.sheets.attachments)
    script = "stages/blind_spots/page/explorer/explorer.js"
    return PagePart("blind-spots", "Small changes that fool a model", html, attachments, (script,))


def _group(context: Context, key: Row) -> Row:
    """What a group of searches is called in the script's choices."""
    several = len(context.run.spec.get("datasets") or ()) > 1
    name = context.label(key)
    return {
        "model": f"{key['dataset']}: {name}" if several else name,
        "dataset": key["dataset"],
        "rule": f"{key['target_rule']}, {key['grade']}",
    }


def _classes(context: Context, searches: Searches) -> dict[str, dict[int, str]]:
    """The names of the classes that occur, by data set."""
    named: dict[str, dict[int, str]] = {}
    for number, key in enumerate(searches.groups):
        here = searches.columns["group"] == number
        labels: set[int] = set()
        for column in SEARCHES:
            labels |= set(np.unique(searches.columns[column][here]).tolist())
        words: dict[int, str] = named.setdefault(key["dataset"], {})
        words |= {label: context.class_name(key["dataset"], label) for label in sorted(labels) if label >= 0}
    return named


def _left_out(searches: Searches, shown: int) -> list[str]:
    said: list[str] = []
    if searches.total > searches.rows:
        said.append(f"{plural(searches.rows, 'search')} of {count(searches.total)} are here, spread over all groups")
    if 0 < shown < searches.found:
        said.append(
            f"{plural(shown, 'search')} of the {count(searches.found)} that found something have pictures, at even "
            "steps of distortion in each group"
        )
    return said
