"""Original, perturbation and adversarial image, side by side."""

import numpy as np

from intriguing.report.pictures import as_pictures, data_uri, on_grey
from intriguing.report.section import Context, Row, Section, render

_QUANTILES = (0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
_KEYS = ("dataset", "model", "model_seed", "target_rule", "grade")


def section(context: Context) -> Section | None:
    """Per model, found searches from small to large distortion; None where nothing was found."""
    columns = [*_KEYS, "search_id", "example_id", "label", "prediction", "distortion"]
    found = context.run.table("distortions", columns=columns, status="found").to_pylist()
    if not found:
        return None
    groups = []
    for key, rows in context.grouped(found, *_KEYS):
        cards = _cards(context, key, _spread(rows))
        groups.append(key | {"name": context.label(key), "cards": cards})
    html = render(
        "examples.html",
        groups=groups,
        several=len({group["dataset"] for group in groups}) > 1,
        grades=len({group["grade"] for group in groups}) > 1,
        no_images=context.no_images(),
    )
    return Section("blind-spots", "The smallest changes that fool a model", html)


def _spread(rows: list[Row]) -> list[Row]:
    """The searches nearest to fixed quantiles of distortion: chosen by a rule, not by eye."""
    ordered = sorted(rows, key=lambda row: (row["distortion"], row["search_id"]))
    return [ordered[place] for place in sorted({round(q * (len(ordered) - 1)) for q in _QUANTILES})]


def _cards(context: Context, key: Row, rows: list[Row]) -> list[Row]:
    """One card per search whose image is stored."""
    chosen = {name: key[name] for name in ("dataset", "model", "model_seed")}
    originals = context.pictures(key["dataset"], (row["example_id"] for row in rows))
    if not originals:
        return []
    names = [row["search_id"] for row in rows]
    stored = context.run.table("adversarial", **chosen, search_id=names).to_pylist()
    images = {row["search_id"]: np.array(row["image"], np.float32).reshape(row["shape"]) for row in stored}
    cards = []
    for row in rows:
        image = images.get(row["search_id"])
        if image is not None and image.ndim == 3:
            original, adversarial = originals[row["example_id"]], as_pictures(image[None], 1)[0]
            if original.shape != adversarial.shape:
                continue  # the data set is not the one that was attacked
            grey, scale = on_grey(adversarial - original)
            cards.append(row | {"scale": scale, "pictures": [data_uri(p) for p in (original, grey, adversarial)]})
    return cards
