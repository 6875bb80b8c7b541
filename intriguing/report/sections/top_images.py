"""Top-K images of single units beside those of random directions."""

from typing import Any

import numpy as np

from intriguing.report.pictures import data_uri
from intriguing.report.section import LAYER, Context, Row, Section, render

_DIRECTIONS = 8
_IMAGES = 8
_MAP = ("dataset", "model", "model_seed", "layer")
_CONTROLS = ("gaussian", "haar", "covariance", "pca")
_SHARES = """
with counts as (select dataset, model, model_seed, layer, condition, basis, rotation_seed, direction, label,
                       count(*) as n
                from topk where sign = 1 and rank <= ? and label is not null group by all),
     shares as (select * exclude (label, n), max(n) / sum(n) as share from counts group by all)
select * exclude (direction, share), count(*) as directions, avg(share) as share from shares group by all"""


def section(context: Context) -> Section | None:
    """Per model and layer, the first directions of the natural and of a random basis; None without top-K rows."""
    # Ranks and directions beyond those shown are left out where the table is read: it may hold millions of rows.
    ranks, directions = list(range(1, _IMAGES + 1)), list(range(_DIRECTIONS))
    rows = context.run.table("topk", rank=ranks, direction=directions, sign=1).to_pylist()
    if not rows:
        return None
    totals = {_key(row, "basis", "rotation_seed"): row for row in context.query(_SHARES, _IMAGES)}
    fields: dict[tuple[Any, ...], dict[int, Row]] = {}
    for row in context.run.table("receptive_fields").to_pylist():
        fields.setdefault(tuple(row[name] for name in _MAP), {})[row["position"]] = row
    layers = []
    for key, members in context.grouped(rows, *LAYER):
        seen = fields.get(tuple(key[name] for name in _MAP), {})
        sides = [_side(context, *chosen, totals, seen) for chosen in _chosen(context, members)]
        layers.append(key | {"name": context.label(key), "sides": sides, "cropped": bool(seen)})
        layers[-1]["has_images"] = any(t["picture"] for s in sides for d in s["directions"] for t in d["tiles"])
    html = render(
        "top_images.html",
        layers=layers,
        several=len({layer["dataset"] for layer in layers}) > 1,
        conditions=len({layer["condition"] for layer in layers}) > 1,
        no_images=context.no_images(),
        k=max(row["rank"] for row in rows),
    )
    return Section("units", "What single units respond to", html)


def _key(row: Row, *more: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in (*LAYER, *more))


def _chosen(context: Context, rows: list[Row]) -> list[tuple[Row, list[Row]]]:
    """The natural basis and the first draw of the first control that there is."""
    bases = context.grouped(rows, "basis", "rotation_seed")
    there = [key["basis"] for key, _ in bases]
    control = next((basis for basis in (*_CONTROLS, *there) if basis in there and basis != "natural"), None)
    wanted = [basis for basis in ("natural", control) if basis in there]
    return [next(group for group in bases if group[0]["basis"] == basis) for basis in wanted]


def _side(
    context: Context, key: Row, rows: list[Row], totals: dict[tuple[Any, ...], Row], fields: dict[int, Row]
) -> Row:
    """One column: a basis, its directions, and their images, cut to what the place of the maximum can see.

    `fields` are the receptive fields of the places of the layer's map. A direction across maps has no place, unless
    every place of the map is a row of its own.
    """
    has_places = key["basis"] == "natural" or (context.run.spec.get("units") or {}).get("reduce") == "positions"
    places = fields if has_places else {}
    noun = "unit" if key["basis"] == "natural" else "direction"
    pictures = context.pictures(rows[0]["dataset"], (row["example_id"] for row in rows))
    directions = []
    for one, members in context.grouped(rows, "direction"):
        ranked = sorted(members, key=lambda row: row["rank"])
        tiles = [{"picture": _picture(pictures, row, places), "alt": _alt(noun, row)} for row in ranked]
        ties = max(row["ties"] for row in ranked)
        directions.append({"number": one["direction"], "tiles": tiles, "ties": ties if ties > len(ranked) else 0})
    total = totals.get(_key(rows[0], "basis", "rotation_seed"))
    return {
        "basis": key["basis"],
        "noun": noun,
        "directions": directions,
        "total": total["directions"] if total else None,
        "share": total["share"] if total else None,
    }


def _picture(pictures: dict[int, np.ndarray], row: Row, places: dict[int, Row]) -> str | None:
    """The row's image, or the part of it that its place in the map can see."""
    picture = pictures.get(row["example_id"])
    if picture is None:
        return None
    box = places.get(row["position"])
    return data_uri(picture if box is None else picture[:, box["top"] : box["bottom"], box["left"] : box["right"]])


def _alt(noun: str, row: Row) -> str:
    """What a tile shows, in words."""
    of = "" if row["label"] is None else f" of class {row['label']}"
    return f"{noun} {row['direction']}, rank {row['rank']}: image {row['example_id']}{of}, value {row['value']:.3g}"
