"""Original, perturbation and adversarial image, side by side."""

from typing import Any

import numpy as np
import pandas as pd

from intriguing.report.pictures import as_pictures, data_uri, on_grey
from intriguing.report.section import NO_IMAGES, Context, Section, render

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_KEYS = ["dataset", "model", "model_seed", "target_rule", "grade"]


def section(context: Context) -> Section | None:
    """Per model, found searches from small to large distortion; None where nothing was found."""
    columns = [*_KEYS, "search_id", "example_id", "label", "prediction", "target", "distortion", "linf"]
    found = context.run.pandas("distortions", columns=columns, status="found")
    if found.empty:
        return None
    order = {model: place for place, model in enumerate(context.run.models())}
    groups = []
    for key, rows in found.groupby(_KEYS, sort=False):
        dataset, model, seed, rule, grade = key
        chosen = _spread(rows)
        cards = _cards(context, dataset, model, seed, chosen) if context.images else []
        title = {"dataset": dataset, "model": context.label(dataset, model, seed), "rule": rule, "grade": grade}
        groups.append(((dataset, order.get((model, seed), len(order)), model, seed, rule, grade), title | {"cards": cards}))
    shown = [group for _, group in sorted(groups, key=lambda pair: pair[0])]
    html = render(
        "examples.html",
        groups=shown,
        several=len({g["dataset"] for g in shown}) > 1,
        grades=len({g["grade"] for g in shown}) > 1,
        no_images=None if context.images else NO_IMAGES,
    )
    return Section("blind-spots", "The smallest changes that fool a model", html)


def _spread(rows: pd.DataFrame) -> pd.DataFrame:
    """The searches nearest to fixed quantiles of distortion: chosen by a rule, not by eye."""
    ordered = rows.sort_values(["distortion", "search_id"])
    places = sorted({round(q * (len(ordered) - 1)) for q in _QUANTILES})
    return ordered.iloc[places]


def _cards(context: Context, dataset: str, model: str, seed: int, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """One card per search."""
    names = rows.search_id.tolist()
    stored = context.run.table("adversarial", dataset=dataset, model=model, model_seed=seed, search_id=names).to_pylist()
    images = {row["search_id"]: np.array(row["image"], np.float32).reshape(row["shape"]) for row in stored}
    originals = context.pictures(dataset, rows.example_id.tolist())
    cards = []
    for row in rows.to_dict("records"):
        image, original = images.get(row["search_id"]), originals[row["example_id"]]
        if image is None or image.ndim != 3:
            continue
        adversarial = as_pictures(image[None], 1)[0]
        grey, scale = on_grey(adversarial - original)
        pictures = [data_uri(p) for p in (original, grey, adversarial)]
        prediction = None if pd.isna(row["prediction"]) else int(row["prediction"])
        cards.append(row | {"prediction": prediction, "scale": scale, "pictures": pictures})
    return cards
