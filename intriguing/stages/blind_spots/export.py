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
from intriguing.errors import DataError, InputError
from intriguing.results import Run
from intriguing.stages.common.stored_images import StoredImages

_COLUMNS: tuple[str, ...] = (
    "file", "original", "dataset", "model", "model_seed", "search_id", "example_id", "label", "target", "target_rule",
    "grade", "clean_prediction", "prediction", "l2", "linf", "l2_of_png", "linf_of_png",
)  # fmt: skip
_ORDERS = {"nearest": False, "farthest": True}


@dataclass(frozen=True)
class Export:
    """Which adversarial images to write, and in which order: `first` of them, the nearest (smallest change) first."""

    model: str | None = None
    target_rule: str | None = None
    grade: str | None = None
    dataset: str | None = None
    first: int | None = None
    order: str = "nearest"

    def __post_init__(self) -> None:
        if self.first is not None and self.first < 1:
            raise InputError(f"--first {self.first}: give 1 or more.")


def export(run: Run, folder: str, what: Export, images: Callable[[str, Any], Any] | None = None) -> tuple[Path, int]:
    """Write found adversarial images of a run into a new or empty folder; the folder, and how many were written.

    Each is an 8-bit PNG, numbered in order; beside it the unchanged image where `images` (data set, ids) gives it.
    `index.csv` has a row per image: model, labels, distance as found and as the PNG has it, whose rounding to 256
    levels moves every pixel by up to 1/510. `adversarial.npz` has the images as they were found, unrounded:
    `images` (n, C, H, W) float32, and `search_ids`, `models`, `labels`, in the order of the files.

    Raises `InputError` where nothing matches, the folder has files, or images are not of 1 or 3 channels.
    """
    rows = _chosen(run, what)
    target = at_home(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} exists and is not an empty folder: give a new one.")
    pictures = _adversarial(run, rows)
    if len({picture.shape for picture in pictures}) > 1:
        raise InputError("The images have several shapes: choose one data set with --dataset.")
    originals = _originals(rows, images)
    target.mkdir(parents=True, exist_ok=True)
    digits = max(4, len(str(len(rows))))
    lines = []
    for number, (row, picture, original) in enumerate(zip(rows, pictures, originals, strict=True), 1):
        png = f"{number:0{digits}d}.png"
        rounded = _write_png(target / png, picture)
        line = row | {"file": png, "original": "", "l2_of_png": None, "linf_of_png": None}
        if original is not None:
            line["original"] = f"{number:0{digits}d}-original.png"
            _write_png(target / line["original"], original)
            change = (rounded - original).ravel()
            line |= {"l2_of_png": float(np.linalg.norm(change)), "linf_of_png": float(np.abs(change).max())}
        lines.append(line)
    _write_index(target / "index.csv", lines)
    np.savez_compressed(
        target / "adversarial.npz",
        images=np.stack(pictures),
        search_ids=np.array([row["search_id"] for row in rows]),
        models=np.array([row["model"] for row in rows]),
        labels=np.array([row["label"] for row in rows]),
    )
    return target, len(rows)


def _chosen(run: Run, what: Export) -> list[dict[str, Any]]:
    chosen = {"model": what.model, "target_rule": what.target_rule, "grade": what.grade, "dataset": what.dataset}
    chosen = {key: value for key, value in chosen.items() if value is not None}
    found = run.table("distortions", status="found")
    rows = run.table("distortions", status="found", **chosen).to_pylist()
    if not rows:
        present = {key: sorted(set(found[key].to_pylist())) for key in chosen}
        has = "; ".join(f"{key}: {', '.join(map(str, values)) or 'none'}" for key, values in present.items())
        raise InputError(f"The run has no adversarial image with {chosen or 'status found'}. It has {has or 'none'}.")
    rows.sort(key=lambda row: (row["distortion"], row["search_id"]), reverse=_ORDERS[what.order])
    return rows[: what.first]


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


def _originals(rows: list[dict[str, Any]], images: Callable[[str, Any], Any] | None) -> list[np.ndarray | None]:
    if images is None:
        return [None] * len(rows)
    by_id: dict[tuple[str, int], np.ndarray] = {}
    for dataset in {row["dataset"] for row in rows}:
        ids = sorted({row["example_id"] for row in rows if row["dataset"] == dataset})
        try:
            by_id |= zip(((dataset, i) for i in ids), np.asarray(images(dataset, np.array(ids))), strict=True)
        except DataError:
            continue
    return [by_id.get((row["dataset"], row["example_id"])) for row in rows]


def _write_png(path: Path, picture: np.ndarray) -> np.ndarray:
    """Write an image (C, H, W) in [0, 1] as 8 bits, and return what the file holds, in [0, 1]."""
    levels = np.clip(np.rint(picture * 255), 0, 255).astype(np.uint8)
    Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0)).save(path, format="PNG")
    return levels.astype(np.float32) / 255


def _write_index(path: Path, lines: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(lines)
    path.write_text(text.getvalue(), encoding="utf-8")
