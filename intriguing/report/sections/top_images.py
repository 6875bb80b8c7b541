"""Top-K images of single units beside those of random directions."""

from typing import Any

import pandas as pd

from intriguing.report.pictures import data_uri
from intriguing.report.section import NO_IMAGES, Context, Section, render

_DIRECTIONS = 8
_IMAGES = 8
_CONTROLS = ("gaussian", "haar", "covariance", "pca")
_LAYER = ["dataset", "model", "model_seed", "layer", "condition"]


def section(context: Context) -> Section | None:
    """Per model and layer, the first directions of the natural and of a random basis; None without top-K rows."""
    # Ranks and directions beyond those shown are left out where the table is read: it may hold millions of rows.
    rows = context.run.sql(
        "select * from topk where sign = 1 and rank <= ? and direction < ? and rotation_seed = "
        "(select min(rotation_seed) from topk t where t.basis = topk.basis)",
        [_IMAGES, _DIRECTIONS],
    )
    if rows.empty:
        return None
    shares = _shares(context)
    order = {model: place for place, model in enumerate(context.run.models())}
    layers = []
    for key, group in rows.groupby(_LAYER, sort=False):
        dataset, model, seed, layer, condition = key
        sides = [_side(context, b, group[group.basis == b], shares.get((*key, b))) for b in _bases(group)]
        title = {"dataset": dataset, "model": context.label(dataset, model, seed), "layer": layer, "condition": condition}
        place = (dataset, order.get((model, seed), len(order)), model, seed, layer, condition)
        layers.append((place, title | {"sides": sides}))
    shown = [layer for _, layer in sorted(layers, key=lambda pair: pair[0])]
    html = render(
        "top_images.html",
        layers=shown,
        several=len({layer["dataset"] for layer in shown}) > 1,
        conditions=len({layer["condition"] for layer in shown}) > 1,
        no_images=None if context.images else NO_IMAGES,
        k=int(rows["rank"].max()),
    )
    return Section("units", "What single units respond to", html)


def _bases(group: pd.DataFrame) -> list[str]:
    """The natural basis and the first of the controls that there is."""
    there = list(dict.fromkeys(group.basis))
    controls = [b for b in (*_CONTROLS, *sorted(there)) if b in there and b != "natural"]
    return [b for b in ("natural", *controls[:1]) if b in there]


def _shares(context: Context) -> dict[tuple[Any, ...], dict[str, Any]]:
    """By layer and basis: over all its directions, the mean share of the commonest class among the top images."""
    layer = ", ".join(_LAYER)
    found = context.run.sql(f"""
        with classes as (select {layer}, basis, direction, label, count(*) as n from topk
                         where sign = 1 and rank <= ? and rotation_seed = (select min(rotation_seed) from topk t where t.basis = topk.basis)
                         group by all),
             purest as (select {layer}, basis, direction, max(n) filter (label is not null) / sum(n) as share
                        from classes group by all)
        select {layer}, basis, count(*) as directions, avg(share) as share from purest group by all""", [_IMAGES])
    return {tuple(row[c] for c in (*_LAYER, "basis")): row for row in found.to_dict("records")}


def _side(context: Context, basis: str, rows: pd.DataFrame, share: dict[str, Any] | None) -> dict[str, Any]:
    """One column: a basis, its directions, and their images."""
    noun = "unit" if basis == "natural" else "direction"
    pictures = {}
    if len(rows):
        found = context.pictures(rows.dataset.iloc[0], rows.example_id.tolist())
        pictures = {i: data_uri(picture) for i, picture in found.items()}
    directions = []
    for number, group in rows.sort_values(["direction", "rank"]).groupby("direction"):
        tiles = [
            {
                "picture": pictures.get(row.example_id),
                "label": None if pd.isna(row.label) else int(row.label),
                "alt": f"{noun} {number}, rank {row.rank}: image {row.example_id}"
                + ("" if pd.isna(row.label) else f" of class {int(row.label)}")
                + f", value {row.value:.3g}",
            }
            for row in group.itertuples()
        ]
        tied = int(group.ties.max()) > len(group)
        directions.append({"number": number, "tiles": tiles, "ties": int(group.ties.max()) if tied else 0})
    total, mean = (share["directions"], share["share"]) if share else (len(directions), None)
    return {"basis": basis, "noun": noun, "directions": directions, "total": int(total), "share": mean}
