"""Adversarial images of a run as files that other programs take: 8-bit PNGs, and arrays."""

import csv
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from intriguing.basics.folders.files import at_home, check_can_write, writing
from intriguing.errors import DataError, InputError
from intriguing.results import Run
from intriguing.stages.blind_spots.eight_bits import Models, Picture, in_levels, levels, make_fool
from intriguing.stages.common.stored_images import StoredImages

_COLUMNS: tuple[str, ...] = (
    "file", "original", "dataset", "model", "model_seed", "search_id", "example_id", "label", "label_name", "target",
    "target_rule", "grade", "clean_prediction", "prediction", "prediction_name", "l2", "linf", "png",
    "prediction_of_png", "png_fools", "rounded_fools", "l2_of_png", "linf_of_png",
)  # fmt: skip
_NPZ = "adversarial.npz"
_ORDERS = {"nearest": False, "farthest": True}
_ALIKE = ("dataset", "target_rule", "grade")
"""What searches have in common whose distances can be put in one order."""

Images = Callable[[str, Any], Any]
"""images(data set, ids) -> float32 (n, C, H, W); `DataError` says why they are left out."""


@dataclass(frozen=True)
class Export:
    """Which adversarial images to write, and in which order: `first` of them, the nearest (smallest change) first.

    With `first` the images are of one data set, rule and grade. Where the run has several and none is named, that which
    comes first is taken, `untargeted` before other rules. eight_bit: search again, for images of 256 levels.
    """

    model: str | None = None
    target_rule: str | None = None
    grade: str | None = None
    dataset: str | None = None
    first: int | None = None
    order: str = "nearest"
    eight_bit: bool = False

    def __post_init__(self) -> None:
        if self.first is not None and self.first < 1:
            raise InputError(f"--first {self.first}: give 1 or more.")


@dataclass(frozen=True)
class Exported:
    """What was written: the folder, how many images, and sentences that whoever uses them should read."""

    folder: Path
    count: int
    remarks: tuple[str, ...]


def export(run: Run, folder: str, what: Export, images: Images | None = None, models: Models | None = None) -> Exported:
    """Write found adversarial images of a run into a new or empty folder.

    Each is an 8-bit PNG, numbered in order; beside it the unchanged image where `images` gives it. Rounding to 256
    levels moves every pixel by up to 1/510, which often undoes a minimal change: where `models` gives the model, the
    PNG then has a larger change of the same direction, one that fools the model (`make_fool`). `index.csv` has a row
    per image: model, labels, distance as found and of the PNG, how the PNG came about (column png: rounded, farther,
    searched), the class that its model gives to it, and whether plain rounding would have been enough.
    `adversarial.npz` has the images as they were found, unrounded: `images` (n, *shape) float32, where they are to be
    had the unchanged ones, `originals` (n, *shape), and `search_ids`, `models`, `labels`, in the order of the index.
    Inputs that no PNG holds, for they have not 1 or 3 channels, are in it alone.

    Raises `InputError` where nothing matches, the folder has files, or 8-bit images are asked for and no PNG holds
    them, or model or unchanged images are not to be had.
    """
    target = at_home(folder)
    with _told(target):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise InputError(f"{target} exists and is not an empty folder: give a new one.")
        check_can_write(target)
    rows, remarks = _chosen(run, what)
    exact = _adversarial(run, rows)
    if len({picture.shape for picture in exact}) > 1:
        raise InputError("The images have several shapes: choose one data set with --dataset.")
    originals, why = _originals(rows, images)
    pictures = [
        Picture(row, one, original, in_levels(one)) for row, one, original in zip(rows, exact, originals, strict=True)
    ]
    remarks += [f"The unchanged images are left out: {why}."] if why else []
    if _fit_pngs(exact[0].shape):
        remarks += make_fool(pictures, models, what.eight_bit)
    elif what.eight_bit:
        raise InputError(f"{_no_pngs(exact[0].shape)}. Leave out --eight-bit: {_NPZ} has the exact values.")
    else:
        remarks.append(f"{_no_pngs(exact[0].shape)}: {_NPZ} has them all, in the order of index.csv.")
    names = run.class_names()
    for one in pictures:
        labels = {key: (one.row["dataset"], one.row[key]) for key in ("label", "prediction")}
        one.row |= {f"{key}_name": names.get(label) for key, label in labels.items()}
    with _told(target):
        target.mkdir(parents=True, exist_ok=True)
        _write(target, pictures)
    return Exported(target, len(pictures), tuple(remarks))


def _fit_pngs(shape: tuple[int, ...]) -> bool:
    """Whether inputs of this shape are images of 1 or 3 channels."""
    return len(shape) == 3 and shape[0] in (1, 3)


def _no_pngs(shape: tuple[int, ...]) -> str:
    return f"No PNG holds inputs of shape {shape}, which are no images of 1 or 3 channels"


def _chosen(run: Run, what: Export) -> tuple[list[dict[str, Any]], list[str]]:
    chosen = {"model": what.model, "target_rule": what.target_rule, "grade": what.grade, "dataset": what.dataset}
    chosen = {key: value for key, value in chosen.items() if value is not None}
    found = run.table("distortions", status="found")
    # Of a search for each wrong class (rule `each`) no image is stored.
    rows = [
        row for row in run.table("distortions", status="found", **chosen).to_pylist() if row["target_rule"] != "each"
    ]
    if not rows:
        present = {key: sorted(set(found[key].to_pylist())) for key in chosen}
        has = "; ".join(f"{key}: {', '.join(map(str, values)) or 'none'}" for key, values in present.items())
        asked = " and ".join(f"{key} {value!r}" for key, value in chosen.items())
        of = f" with {asked}" if asked else ""
        raise InputError(f"The run has no adversarial image{of}. It has {has or 'none'}.")
    backwards = _ORDERS[what.order]
    rows.sort(key=lambda row: (row["distortion"], row["search_id"]), reverse=backwards)
    if what.first is None:
        return rows, []
    kinds = sorted({tuple(row[key] for key in _ALIKE) for row in rows}, key=lambda k: (k[1] != "untargeted", k))
    rows = [row for row in rows if tuple(row[key] for key in _ALIKE) == kinds[0]]
    return rows[: what.first], _others(kinds)


def _others(kinds: list[tuple[str, ...]]) -> list[str]:
    """What `first` leaves out, and how to get it."""
    flags = ("--dataset", "--target-rule", "--grade")
    differing = [at for at in range(len(_ALIKE)) if len({kind[at] for kind in kinds}) > 1]
    if not differing:
        return []
    taken = ", ".join(f"{_ALIKE[at].replace('_', ' ')} {kinds[0][at]}" for at in differing)
    ways = "; ".join(f"{flags[at]} {' or '.join(sorted({k[at] for k in kinds} - {kinds[0][at]}))}" for at in differing)
    return [f"They are of {taken}. The run has others: {ways}."]


def _adversarial(run: Run, rows: list[dict[str, Any]]) -> list[np.ndarray]:
    """The stored image of each row, in their order."""
    pictures: list[np.ndarray | None] = [None] * len(rows)
    groups: dict[tuple[str, str, int], list[int]] = {}
    for at, row in enumerate(rows):
        groups.setdefault((row["dataset"], row["model"], row["model_seed"]), []).append(at)
    for (dataset, model, seed), places in groups.items():
        ids = [rows[at]["search_id"] for at in places]
        table = run.table("adversarial", dataset=dataset, model=model, model_seed=seed, search_id=ids)
        for at, picture in zip(places, StoredImages(table).stack(ids), strict=True):
            pictures[at] = picture
    return [picture for picture in pictures if picture is not None]


def _originals(rows: list[dict[str, Any]], images: Images | None) -> tuple[list[np.ndarray | None], str]:
    """The unchanged image of each row, None where it is not to be had, and why."""
    if images is None:
        return [None] * len(rows), ""
    by_id: dict[tuple[str, int], np.ndarray] = {}
    why = ""
    for dataset in {row["dataset"] for row in rows}:
        ids = sorted({row["example_id"] for row in rows if row["dataset"] == dataset})
        try:
            by_id |= zip(((dataset, i) for i in ids), np.asarray(images(dataset, np.array(ids))), strict=True)
        except DataError as error:
            why = str(error).rstrip(".")
    return [by_id.get((row["dataset"], row["example_id"])) for row in rows], why


def _told(target: Path) -> AbstractContextManager[None]:
    return writing(target, "Choose another folder for --adversarial.")


def _write(target: Path, pictures: list[Picture]) -> None:
    digits = max(4, len(str(len(pictures))))
    lines = []
    for number, one in enumerate(pictures, 1):
        line = one.line(f"{number:0{digits}d}") if _fit_pngs(one.exact.shape) else one.row
        if "file" in line:
            _write_png(target / line["file"], one.png)
        if "original" in line and one.original is not None:
            _write_png(target / line["original"], one.original)
        lines.append(line)
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", restval="")
    writer.writeheader()
    writer.writerows(lines)
    (target / "index.csv").write_text(text.getvalue(), encoding="utf-8")
    originals = [one.original for one in pictures if one.original is not None]
    whole = originals if len(originals) == len(pictures) else []
    np.savez_compressed(
        target / _NPZ,
        originals=np.array(whole, np.float32).reshape(-1, *pictures[0].exact.shape),
        images=np.stack([one.exact for one in pictures]),
        search_ids=np.array([one.row["search_id"] for one in pictures]),
        models=np.array([one.row["model"] for one in pictures]),
        labels=np.array([one.row["label"] for one in pictures]),
    )


def _write_png(path: Path, image: np.ndarray) -> None:
    """Write an image (C, H, W) in [0, 1] as 8 bits."""
    whole = levels(image)
    Image.fromarray(whole[0] if len(whole) == 1 else whole.transpose(1, 2, 0)).save(path, format="PNG")
