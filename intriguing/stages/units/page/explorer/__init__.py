"""Units to explore: every unit of a layer beside random directions, with their top images, spread and scores."""

from typing import Any

import numpy as np
from markupsafe import Markup

from intriguing.report.attachments import Attachment, as_json
from intriguing.report.parts import Context, PagePart, Row, render
from intriguing.report.sheets import Sheets, in_parts, sheets
from intriguing.report.text import plural
from intriguing.stages.units.page.explorer.packing import LayerData, packed_layer
from intriguing.stages.units.page.explorer.reading import Chosen, chosen_layers, read_layers

_PICTURES, _NUMBERS = 1_750_000, 4_000_000
"""Bytes of thumbnails and of numbers in the one-file form; base64 makes them a third larger."""
_IDS = 40_000
"""Images of a data set whose numbers and classes are told in the one-file form."""
MOST_BYTES = 4 / 3 * (1.1 * _NUMBERS + _PICTURES) + 300_000


def part(context: Context, most_bytes: float = MOST_BYTES) -> PagePart | None:
    """The explorer of all layers whose top inputs are known, within a share of one file; None without any."""
    share = min(1.0, most_bytes / MOST_BYTES)
    chosen = chosen_layers(context, context.limit(share * _NUMBERS))
    if not chosen.layers:
        return None
    layers = read_layers(context, chosen)
    images = _images(context, layers, share * _PICTURES)
    attachments: list[Attachment] = [sheet for of in images.values() for sheet in of["sheets"].attachments]
    listed = []
    for number, layer in enumerate(layers):
        attachment, about = packed_layer(layer, images[layer.key["dataset"]]["ids"], f"units-{number}")
        attachments.append(attachment)
        listed.append(about | {"name": _name(context, layer.key), "dataset": layer.key["dataset"]})
    told = context.most(_IDS)
    about = {"layers": listed, "images": {name: _about(of, told) for name, of in images.items()}}
    html = render(
        "stages/units/page/explorer/explorer.html",
        about=Markup(as_json(about)),
        k=chosen.images,
        layers=listed,
        left_out=_left_out(chosen, images, told),
        no_images=context.no_images(),
        beside=any(len(layer["sides"]) > 1 for layer in listed),
        cropped=any(side["placed"] for layer in listed for side in layer["sides"]),
        directions=any(side["placed"] for layer in listed for side in layer["sides"][1:]),
        rounded=context.run.section("units").get("dtype") == "float16",
    )
    script = "stages/units/page/explorer/explorer.js"
    return PagePart("units", "What single units respond to", html, tuple(attachments), (script,))


def _about(images: Row, told: int) -> Row:
    """What the script knows of a data set's images; of those listed most it knows number and class, too."""
    numbers = {name: _plain(images[name][:told]) for name in ("ids", "labels")}
    return images["sheets"].about | numbers | {name: images[name] for name in ("classes", "size")}


def _images(context: Context, layers: list[LayerData], most_bytes: float) -> dict[str, Row]:
    """Per data set: the ids of all images that are listed, the most listed first, their thumbnails, their classes."""
    found: dict[str, Row] = {}
    for dataset in dict.fromkeys(layer.key["dataset"] for layer in layers):
        ids, labels = LayerData.images([layer for layer in layers if layer.key["dataset"] == dataset])
        first = list(context.pictures(dataset, ids[:1].tolist()).values())
        there = bool(first)
        share = most_bytes / len({layer.key["dataset"] for layer in layers})
        read = in_parts(lambda part, dataset=dataset: context.pictures(dataset, part), ids.tolist()) if there else ()
        name = f"images-{len(found)}"
        made = sheets(name, read, len(ids) if there else 0, context.limit(share))
        words = {int(label): context.class_words(dataset, int(label)) for label in set(labels.tolist()) if label >= 0}
        found[dataset] = {
            "ids": ids,
            "labels": labels,
            "sheets": made,
            "classes": words,
            "size": first[0].shape[1:] if first else None,
        }
    return found


def _plain(values: np.ndarray) -> list[Any]:
    """Ids and labels as JSON: ids that a script's numbers cannot hold as texts."""
    return values.astype(str).tolist() if (np.abs(values) >= 2**53).any() else values.tolist()


def _name(context: Context, key: Row) -> str:
    """Model and layer, with data set and condition where they tell anything."""
    name = f"{context.label(key)} · {key['layer']}"
    several = len(context.run.spec.get("datasets") or ()) > 1
    name = f"{key['dataset']} · {name}" if several else name
    return name + (f" · {key['condition']}" if key["condition"] not in ("raw", "") else "")


def _left_out(chosen: Chosen, images: dict[str, Row], told: int) -> list[str]:
    """What a file of limited size has no room for, in sentences; told: of how many images number and class are."""
    said = []
    if chosen.left_out:
        said.append(
            f"{plural(chosen.left_out, 'layer')} of this run {'is' if chosen.left_out == 1 else 'are'} not here"
        )
    if chosen.images < chosen.most:
        said.append(f"of the {chosen.most} images listed for a direction {chosen.images} are here")
    for name, of in images.items():
        made: Sheets = of["sheets"]
        lacking = len(of["ids"]) - made.count
        if made.count and lacking:
            said.append(f"{plural(lacking, 'image')} of {name} without a picture, those that are listed least")
        if len(of["ids"]) > told:
            said.append(f"{plural(len(of['ids']) - told, 'image')} of {name} without number and class")
    return said
