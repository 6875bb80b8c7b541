"""Top-K images of single units beside those of random directions."""

from typing import Any

import numpy as np

from intriguing.report.parts import LAYER, Context, PagePart, Row, render
from intriguing.report.pictures import data_uri

_DIRECTIONS = 8
_IMAGES = 8
_MAP = ("dataset", "model", "model_seed", "layer")
_CONTROLS = ("gaussian", "haar", "covariance", "pca")
_RANDOM = {
    "gaussian": "random directions",
    "haar": "a random rotation",
    "covariance": "random directions",
    "uniform01": "random directions",
}
_TITLES = {"natural": "single units", "pca": "principal components", **_RANDOM}
_SHARES = """
with counts as (select dataset, model, model_seed, layer, condition, basis, rotation_seed, direction, label,
                       count(*) as n
                from topk where sign = 1 and rank <= ? and label is not null group by all),
     shares as (select * exclude (label, n), max(n) / sum(n) as share from counts group by all)
select * exclude (direction, share), count(*) as directions, avg(share) as share from shares group by all"""
_SKIPPED = """
select dataset, model, model_seed, reason, count(*) as images, min(example_id) as first
from skipped group by all order by dataset, model, model_seed, images desc, reason"""
_REASONS = 20


def part(context: Context) -> PagePart | None:
    """Per model and layer, the first directions of the natural and of a random basis, and the images that were left
    out, with the reasons; None without either.
    """
    # Ranks and directions beyond those shown are left out where the table is read: it may hold millions of rows.
    ranks, directions = list(range(1, _IMAGES + 1)), list(range(_DIRECTIONS))
    rows = context.run.table("topk", rank=ranks, direction=directions, sign=1).to_pylist()
    skipped = context.query(_SKIPPED)
    if not rows and not skipped:
        return None
    totals = {_key(row, "basis", "rotation_seed"): row for row in context.query(_SHARES, _IMAGES)}
    fields: dict[tuple[Any, ...], dict[int, Row]] = {}
    places = sorted({row["position"] for row in rows})
    for row in context.run.table("receptive_fields", position=places).to_pylist():
        fields.setdefault(tuple(row[name] for name in _MAP), {})[row["position"]] = row
    layers = []
    for key, members in context.grouped(rows, *LAYER):
        seen = fields.get(tuple(key[name] for name in _MAP), {})
        sides = [_side(context, *chosen, totals, seen) for chosen in _chosen(context, members)]
        has_images = any(t["picture"] for s in sides for d in s["directions"] for t in d["tiles"])
        shown = {"name": context.label(key), "sides": sides, "cropped": _cropped(sides), "has_images": has_images}
        layers.append(key | shown)
    html = render(
        "stages/units/page/top_images.html",
        layers=layers,
        several=len({layer["dataset"] for layer in layers}) > 1,
        conditions=len({layer["condition"] for layer in layers}) > 1,
        no_images=context.no_images(),
        k=max((row["rank"] for row in rows), default=0),
        beside=any(len(layer["sides"]) > 1 for layer in layers),
        skipped=[row | {"name": context.label(row)} for row in skipped[:_REASONS]],
        reasons=len(skipped),
        left_out=sum(row["images"] for row in skipped),
        rounded=context.run.section("units").get("dtype") == "float16",
    )
    return PagePart("units", "What single units respond to", html)


def _key(row: Row, *more: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in (*LAYER, *more))


def _chosen(context: Context, rows: list[Row]) -> list[tuple[Row, list[Row]]]:
    """The natural basis, and the first draw of the first control that the table has."""
    bases = context.grouped(rows, "basis", "rotation_seed")
    present = [key["basis"] for key, _ in bases]
    control = next((basis for basis in (*_CONTROLS, *present) if basis in present and basis != "natural"), None)
    shown = [basis for basis in ("natural", control) if basis in present]
    return [next(group for group in bases if group[0]["basis"] == basis) for basis in shown]


def _side(
    context: Context, key: Row, rows: list[Row], totals: dict[tuple[Any, ...], Row], fields: dict[int, Row]
) -> Row:
    """One column: a basis, its directions, and their images, cut to what the place of the maximum can see.

    `fields` are the receptive fields of the places of the layer's map. A direction across maps has no place, and a
    channel's mean has none, unless every place of the map is a row of its own.
    """
    reduce = context.run.section("units").get("reduce", "max")
    places = fields if reduce == "positions" or (reduce == "max" and key["basis"] == "natural") else {}
    noun = "unit" if key["basis"] == "natural" else "direction"
    pictures = context.pictures(rows[0]["dataset"], (row["example_id"] for row in rows))
    directions = []
    for one, members in context.grouped(rows, "direction"):
        ranked = sorted(members, key=lambda row: row["rank"])
        tiles = [{"picture": _picture(pictures, row, places), "alt": _alt(context, noun, row)} for row in ranked]
        ties = max(row["ties"] for row in ranked)
        directions.append({"number": one["direction"], "tiles": tiles, "ties": ties if ties > len(ranked) else 0})
    total = totals.get(_key(rows[0], "basis", "rotation_seed"))
    return {
        "basis": key["basis"],
        "title": _TITLES.get(key["basis"], "directions"),
        "cropped": bool(places),
        "noun": noun,
        "directions": directions,
        "total": total["directions"] if total else None,
        "share": total["share"] if total else None,
    }


def _cropped(sides: list[Row]) -> str:
    """Of which images only a part is shown, as a sentence."""
    which = [side["noun"] for side in sides if side["cropped"]]
    whose = " or ".join(which) if len(which) > 1 else next(iter(which), "")
    return f"Of each image of a {whose} only the part is shown that its place in the map can see." if which else ""


def _picture(pictures: dict[int, np.ndarray], row: Row, places: dict[int, Row]) -> str | None:
    """The row's image, or the part of it that its place in the map can see."""
    picture = pictures.get(row["example_id"])
    if picture is None:
        return None
    box = places.get(row["position"])
    return data_uri(picture if box is None else picture[:, box["top"] : box["bottom"], box["left"] : box["right"]])


def _alt(context: Context, noun: str, row: Row) -> str:
    """What a tile shows, in words."""
    of = "" if row["label"] is None else f" of class {context.class_words(row['dataset'], row['label'])}"
    return f"{noun} {row['direction']}, rank {row['rank']}: image {row['example_id']}{of}, value {row['value']:.3g}"
