"""Adversarial images of a run as files that other programs take: 8-bit PNGs, and arrays."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from intriguing.basics.files import at_home
from intriguing.errors import DataError, InputError, ModelError
from intriguing.results import Run
from intriguing.stages.common.stored_images import StoredImages

_COLUMNS: tuple[str, ...] = (
    "file", "original", "dataset", "model", "model_seed", "search_id", "example_id", "label", "label_name", "target",
    "target_rule", "grade", "clean_prediction", "prediction", "prediction_name", "prediction_of_png", "png_fools", "l2",
    "linf", "l2_of_png", "linf_of_png",
)  # fmt: skip
_ORDERS = {"nearest": False, "farthest": True}
_ALIKE = ("dataset", "target_rule", "grade")
"""What searches have in common whose distances can be put in one order."""

Images = Callable[[str, Any], Any]
"""images(data set, ids) -> float32 (n, C, H, W); `DataError` says why they are left out."""
Models = Callable[[str, str, int], Any]
"""models(data set, model, seed) -> the network; `ModelError` says why it is not to be had."""


@dataclass(frozen=True)
class Export:
    """Which adversarial images to write, and in which order: `first` of them, the nearest (smallest change) first.

    With `first` the images are of one data set, rule and grade. Where the run has several and none is named, that which
    comes first is taken, `untargeted` before other rules. eight_bit: search again for images that are 8-bit images.
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


@dataclass
class _Picture:
    """An image to write: its row of `distortions`, as found, what the PNG holds, the unchanged image where it is to be
    had, and the class that the model gives to the PNG.
    """

    row: dict[str, Any]
    exact: np.ndarray
    rounded: np.ndarray
    original: np.ndarray | None = None
    prediction: int | None = None

    @property
    def fools(self) -> bool | None:
        """Whether the PNG does to the model what the search was for; None where it was not fed."""
        if self.prediction is None:
            return None
        target = self.row["target"]
        return self.prediction == target if target is not None else self.prediction != self.row["label"]

    def line(self, file: str) -> dict[str, Any]:
        """Its row of the index."""
        line = self.row | {"file": f"{file}.png", "prediction_of_png": self.prediction, "png_fools": self.fools}
        if self.original is not None:
            change = (self.rounded - self.original).ravel()
            line |= {"l2_of_png": float(np.linalg.norm(change)), "linf_of_png": float(np.abs(change).max())}
            line |= {"original": f"{file}-original.png"}
        return line


def export(run: Run, folder: str, what: Export, images: Images | None = None, models: Models | None = None) -> Exported:
    """Write found adversarial images of a run into a new or empty folder.

    Each is an 8-bit PNG, numbered in order; beside it the unchanged image where `images` gives it. `index.csv` has a
    row per image: model, labels, distance as found and as the PNG has it, whose rounding to 256 levels moves every
    pixel by up to 1/510, and the class that its own model, where `models` gives it, gives to the PNG: a minimal change
    often does not survive the rounding. `adversarial.npz` has the images as they were found, unrounded: `images`
    (n, C, H, W) float32, and `search_ids`, `models`, `labels`, in the order of the files.

    Raises `InputError` where nothing matches, the folder has files, images are not of 1 or 3 channels, or 8-bit images
    are asked for and model or unchanged images are not to be had.
    """
    target = at_home(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} exists and is not an empty folder: give a new one.")
    rows, remarks = _chosen(run, what)
    exact = _adversarial(run, rows)
    if len({picture.shape for picture in exact}) > 1:
        raise InputError("The images have several shapes: choose one data set with --dataset.")
    originals, why = _originals(rows, images)
    pictures = [
        _Picture(row, one, _levels(one) / np.float32(255), original)
        for row, one, original in zip(rows, exact, originals, strict=True)
    ]
    remarks += [f"The unchanged images are left out: {why}."] if why else []
    remarks += _fed(pictures, models, what.eight_bit)
    names = run.class_names()
    for picture in pictures:
        row = picture.row
        labels = {key: (row["dataset"], row[key]) for key in ("label", "prediction")}
        picture.row = row | {f"{key}_name": names.get(label) for key, label in labels.items()}
    _write(target, pictures)
    return Exported(target, len(pictures), tuple(remarks))


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


def _fed(pictures: list[_Picture], models: Models | None, eight_bit: bool) -> list[str]:
    """Feed every PNG to the model that it was made for, after a search for 8-bit images where they are wanted."""
    reasons = []
    for group in _by_model(pictures):
        row = group[0].row
        try:
            if models is None:
                raise ModelError("the models are not to be had")
            net = models(row["dataset"], row["model"], row["model_seed"])
        except ModelError as error:
            if eight_bit:
                raise InputError(f"8-bit images need the model they are searched for: {error}.") from error
            reasons.append(f"PNGs were not fed to their model: {error}.")
            continue
        if eight_bit:
            _search_again(net, group)
        for picture, prediction in zip(group, _predictions(net, [p.rounded for p in group]), strict=True):
            picture.prediction = prediction
    judged = [picture.fools for picture in pictures if picture.fools is not None]
    if judged:
        reasons.append(_survival(sum(judged), len(judged), eight_bit))
    return list(dict.fromkeys(reasons))


def _survival(fooling: int, fed: int, eight_bit: bool) -> str:
    said = f"{fooling:,} of {fed:,} PNGs fool the model they were made for."
    if fooling == fed:
        return said
    rest = "The others" if fooling else "They"
    if eight_bit:
        return f"{said} For {rest.lower()} no image of 256 levels was found."
    return (
        f"{said} {rest} do not survive the rounding to 8 bits: adversarial.npz has them as found, and --eight-bit "
        "searches for images that survive."
    )


def _by_model(pictures: list[_Picture]) -> list[list[_Picture]]:
    groups: dict[tuple[Any, ...], list[_Picture]] = {}
    for picture in pictures:
        key = tuple(picture.row[name] for name in ("dataset", "model", "model_seed", "target_rule", "grade"))
        groups.setdefault(key, []).append(picture)
    return list(groups.values())


def _predictions(net: Any, images: list[np.ndarray]) -> list[int]:
    """The classes that a network gives to images that are fed alone, as a person feeds a PNG."""
    from intriguing.models import predict

    return [int(predict(net, image[None], slots=1).argmax()) for image in images]


def _search_again(net: Any, group: list[_Picture]) -> None:
    """Put images of 256 levels that fool the network, as near as the search finds them, in the place of the rounded."""
    import torch

    from intriguing.blind_spots import SearchOptions, minimal_distortion
    from intriguing.blind_spots.grades import GRADES

    originals = [picture.original for picture in group if picture.original is not None]
    if len(originals) < len(group):
        raise InputError("8-bit images are searched from the unchanged images, and these are not to be had.")
    targets, grade = [picture.row["target"] for picture in group], group[0].row["grade"]
    found = torch.from_numpy(np.stack([picture.exact for picture in group]))
    result = minimal_distortion(
        net,
        torch.from_numpy(np.stack(originals)),
        torch.tensor([picture.row["label"] for picture in group]),
        torch.tensor(targets) if None not in targets else None,
        SearchOptions(grade=grade, quantised_levels=256),
        starts=found if GRADES[grade].starts else None,
    )
    for picture, status, image in zip(group, result.status, result.adversarial, strict=True):
        if status == "found":
            picture.rounded = _levels(image.numpy()) / np.float32(255)


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
            if picture.ndim != 3 or picture.shape[0] not in (1, 3):
                raise InputError(
                    f"Inputs of shape {picture.shape} are no images of 1 or 3 channels: no PNG holds them."
                )
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


def _levels(picture: np.ndarray) -> np.ndarray:
    """An image in [0, 1] in whole numbers from 0 to 255."""
    return np.clip(np.rint(picture * 255), 0, 255).astype(np.uint8)


def _write(target: Path, pictures: list[_Picture]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    digits = max(4, len(str(len(pictures))))
    lines = []
    for number, picture in enumerate(pictures, 1):
        line = picture.line(f"{number:0{digits}d}")
        _write_png(target / line["file"], picture.rounded)
        if picture.original is not None:
            _write_png(target / line["original"], picture.original)
        lines.append(line)
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", restval="")
    writer.writeheader()
    writer.writerows(lines)
    (target / "index.csv").write_text(text.getvalue(), encoding="utf-8")
    np.savez_compressed(
        target / "adversarial.npz",
        images=np.stack([picture.exact for picture in pictures]),
        search_ids=np.array([picture.row["search_id"] for picture in pictures]),
        models=np.array([picture.row["model"] for picture in pictures]),
        labels=np.array([picture.row["label"] for picture in pictures]),
    )


def _write_png(path: Path, picture: np.ndarray) -> None:
    """Write an image (C, H, W) in [0, 1] as 8 bits."""
    levels = _levels(picture)
    Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0)).save(path, format="PNG")
