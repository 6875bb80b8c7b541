"""Original, perturbation and adversarial image, side by side."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as _compute

from intriguing.report.parts import Context, PagePart, Row, render
from intriguing.report.pictures import as_pictures, data_uri, on_grey
from intriguing.stages.common.stored_images import StoredImages

pc: Any = _compute

_QUANTILES = (0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
_KEYS = ("dataset", "model", "model_seed", "target_rule", "grade")


def part(context: Context) -> PagePart | None:
    """Per model, found searches from small to large distortion; None where nothing was found."""
    columns = [*_KEYS, "search_id", "example_id", "label", "prediction", "clean_prediction", "distortion"]
    searches = context.run.table("distortions", columns=columns, status="found")
    searches = searches.filter(pc.not_equal(searches["target_rule"], "each"))  # of these no image is kept
    if not searches.num_rows:
        return None
    groups = []
    for key, rows in context.grouped(searches.take(_spread(searches)).to_pylist(), *_KEYS):
        cards = _cards(context, key, rows)
        groups.append(key | {"name": context.label(key), "cards": cards})
    html = render(
        "stages/blind_spots/page/examples.html",
        groups=groups,
        wrong_before=any(card["before"] is not None for group in groups for card in group["cards"]),
        several=len({group["dataset"] for group in groups}) > 1,
        grades=len({group["grade"] for group in groups}) > 1,
        no_images=context.no_images(),
    )
    return PagePart("blind-spots", "Small changes that fool a model", html)


def _spread(searches: pa.Table) -> np.ndarray:
    """Which rows are nearest to fixed quantiles of their group's distortion: chosen by a rule, not by eye."""
    frame = searches.select([*_KEYS, "distortion", "search_id"]).to_pandas()
    chosen = []
    for _, part in frame.groupby(list(_KEYS), sort=False):
        ordered = part.sort_values(["distortion", "search_id"]).index.to_numpy()
        chosen.append(ordered[sorted({round(q * (len(ordered) - 1)) for q in _QUANTILES})])
    return np.concatenate(chosen)


def _cards(context: Context, key: Row, rows: list[Row]) -> list[Row]:
    """One card per search whose image is stored."""
    chosen = {name: key[name] for name in ("dataset", "model", "model_seed")}
    originals = context.pictures(key["dataset"], (row["example_id"] for row in rows))
    if not originals:
        return []
    names = [row["search_id"] for row in rows]
    columns = ["search_id", "shape", "image"]
    stored = StoredImages(context.run.table("adversarial", columns=columns, **chosen, search_id=names))
    images = dict(zip(stored.names, stored.stack(stored.names), strict=True))
    cards = []
    for row in rows:
        image = images.get(row["search_id"])
        if image is not None and image.ndim == 3:
            original, adversarial = originals[row["example_id"]], as_pictures(image[None], 1)[0]
            if original.shape != adversarial.shape:
                continue  # the data set is not the one that was attacked
            grey, scale = on_grey(adversarial - original)
            before = None if row["clean_prediction"] == row["label"] else row["clean_prediction"]
            classes = {
                f"{name}_{form}": call(key["dataset"], row[name])
                for name in ("label", "prediction")
                for form, call in (("name", context.class_name), ("words", context.class_words))
            }
            pictures = [data_uri(p) for p in (original, grey, adversarial)]
            cards.append(row | classes | {"before": before, "scale": scale, "pictures": pictures})
    return cards
